//! `meshward channels`: by what people are told of alerts.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use meshward_gateway::rest::model::{
    ChannelKind, ChannelSettings, Delivery, DeliveryState, MailSecurity, NewNotificationChannel,
};

use crate::client::{Client, GatewayArgs};
use crate::follow::age;
use crate::list::table;

/// Options of `meshward channels`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// List the channels and how they fare.
    List {
        /// Print JSON: an array of channels.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// Add a channel.
    Add(Box<Add>),
    /// Send a message that says that this is a test, and wait for what comes of it. Exits 1 when it is not delivered.
    Test {
        /// The channel.
        channel: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// List a channel's messages: waiting, delivered and dead.
    Deliveries {
        /// The channel.
        channel: String,
        /// Only dead letters.
        #[arg(long)]
        dead: bool,
        /// Print JSON: an array of messages.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// Send a dead letter again.
    Retry {
        /// The channel.
        channel: String,
        /// The message's number, as `deliveries` shows it.
        delivery: u64,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// Remove a channel, with everything that waits for it.
    Remove {
        /// The channel.
        channel: String,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// The body of Alertmanager's webhooks.
    Webhook,
    /// A server of ntfy.
    Ntfy,
    /// A bot of Telegram.
    Telegram,
    /// Mail.
    Email,
    /// The gateway's own broker.
    Mqtt,
}

#[derive(Clone, Copy, ValueEnum)]
enum Security {
    /// No TLS.
    None,
    /// TLS after a greeting.
    Starttls,
    /// TLS from the first byte on.
    Tls,
}

/// Options of `meshward channels add`.
#[derive(clap::Args)]
struct Add {
    /// Its name: a to z, 0 to 9, - and _.
    channel: String,
    /// What it is.
    #[arg(long, value_enum)]
    kind: Kind,
    /// Of webhook, ntfy and telegram: where. Of ntfy with the topic as the last part of the path.
    #[arg(long = "to-url", value_name = "URL")]
    to_url: Option<String>,
    /// Of webhook and ntfy: a file whose first line is the secret with which bodies are signed.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// A file whose first line is the receiver's token for us; of telegram the bot's.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Of telegram: the chat's number, or @NAME.
    #[arg(long, allow_hyphen_values = true)]
    chat: Option<String>,
    /// Of email: the mail server.
    #[arg(long)]
    server: Option<String>,
    /// Of email: its port. [default: 587, with tls 465, with none 25]
    #[arg(long)]
    port: Option<u16>,
    /// Of email: whether TLS, and when. [default: starttls]
    #[arg(long, value_enum)]
    security: Option<Security>,
    /// Of email: who we are there.
    #[arg(long)]
    user: Option<String>,
    /// Of email: a file whose first line is the password.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Of email: a file with certificates in PEM of those who are believed to know the server.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Of email: from whom.
    #[arg(long, value_name = "ADDRESS")]
    from: Option<String>,
    /// Of email: to whom; more than once for several.
    #[arg(long, value_name = "ADDRESS")]
    to: Vec<String>,
    /// Of mqtt: on which topic.
    #[arg(long)]
    topic: Option<String>,
    #[command(flatten)]
    gateway: GatewayArgs,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<bool> {
    match args.act {
        Act::List { json, gateway } => list(json, &gateway).await,
        Act::Add(add) => self::add(*add).await,
        Act::Test { channel, json, gateway } => {
            let tested = Client::new(&gateway)?.test_channel(&channel).await?;
            if json {
                println!("{}", serde_json::to_string_pretty(&tested)?);
            } else {
                let word = if tested.delivered { "delivered" } else { "not delivered" };
                println!("{channel}: {word} after {:.2} s: {}", tested.seconds, tested.detail);
            }
            Ok(tested.delivered)
        }
        Act::Deliveries { channel, dead, json, gateway } => deliveries(&channel, dead, json, &gateway).await,
        Act::Retry { channel, delivery, gateway } => {
            Client::new(&gateway)?.retry_delivery(&channel, delivery).await?;
            println!("{channel}: message {delivery} waits to be sent");
            Ok(true)
        }
        Act::Remove { channel, gateway } => {
            Client::new(&gateway)?.remove_channel(&channel).await?;
            println!("{channel} is removed");
            Ok(true)
        }
    }
}

async fn list(json: bool, gateway: &GatewayArgs) -> anyhow::Result<bool> {
    let channels = Client::new(gateway)?.channels().await?;
    if json {
        println!("{}", serde_json::to_string_pretty(&channels)?);
        return Ok(true);
    }
    if channels.is_empty() {
        println!("no channels: nobody is told of alerts; add one by `meshward channels add`");
        return Ok(true);
    }
    let mut rows = table(&["channel", "kind", "to", "from", "state", "waiting", "delivered", "last failure"]);
    for channel in &channels {
        let state = if channel.enabled { &*channel.circuit } else { "disabled" };
        let from = if channel.configured { "configuration" } else { "REST" };
        let failure = channel.failed_at.zip(channel.failure.as_ref());
        let failure = failure.map(|(at, why)| format!("{} ago: {why}", age(at)));
        rows.add_row([
            channel.id.clone(),
            format!("{:?}", channel.kind).to_lowercase(),
            channel.target.clone(),
            from.to_owned(),
            state.to_owned(),
            channel.waiting.to_string(),
            channel.delivered.to_string(),
            failure.unwrap_or_default(),
        ]);
    }
    println!("{rows}");
    Ok(true)
}

/// The first line of a file.
fn secret(file: Option<&PathBuf>) -> anyhow::Result<Option<String>> {
    let Some(file) = file else { return Ok(None) };
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Some(text.lines().next().unwrap_or_default().trim().to_owned()))
}

fn whole(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

async fn add(add: Add) -> anyhow::Result<bool> {
    let settings = ChannelSettings {
        enabled: None,
        url: add.to_url,
        secret: secret(add.secret_file.as_ref())?,
        token: secret(add.token_file.as_ref())?,
        chat: add.chat,
        server: add.server,
        port: add.port,
        security: add.security.map(|security| match security {
            Security::None => MailSecurity::None,
            Security::Starttls => MailSecurity::Starttls,
            Security::Tls => MailSecurity::Tls,
        }),
        user: add.user,
        password: secret(add.password_file.as_ref())?,
        ca: add.ca_file.as_deref().map(whole).transpose()?,
        from: add.from,
        to: (!add.to.is_empty()).then_some(add.to),
        topic: add.topic,
    };
    let kind = match add.kind {
        Kind::Webhook => ChannelKind::Webhook,
        Kind::Ntfy => ChannelKind::Ntfy,
        Kind::Telegram => ChannelKind::Telegram,
        Kind::Email => ChannelKind::Email,
        Kind::Mqtt => ChannelKind::Mqtt,
    };
    let new = NewNotificationChannel { id: add.channel, kind, settings };
    let made = Client::new(&add.gateway)?.add_channel(&new).await?;
    println!("{} tells {}; try it by `meshward channels test {}`", made.id, made.target, made.id);
    Ok(true)
}

async fn deliveries(channel: &str, dead: bool, json: bool, gateway: &GatewayArgs) -> anyhow::Result<bool> {
    let mut all = Client::new(gateway)?.deliveries(channel).await?;
    all.retain(|delivery| !dead || delivery.state == DeliveryState::Dead);
    if json {
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(true);
    }
    if all.is_empty() {
        println!("no messages");
        return Ok(true);
    }
    let mut rows = table(&["message", "state", "tries", "since", "what", "detail"]);
    for Delivery { id, state, attempts, ended_at, title, detail, .. } in &all {
        rows.add_row([
            id.to_string(),
            format!("{state:?}").to_lowercase(),
            attempts.to_string(),
            ended_at.map(age).unwrap_or_default(),
            title.clone(),
            detail.clone(),
        ]);
    }
    println!("{rows}");
    Ok(true)
}
