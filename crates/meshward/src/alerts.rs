//! `meshward alerts`: what somebody must hear of, and what people do with it.

use clap::Subcommand;
use meshward_gateway::rest::model::AlertAct;

use crate::client::{Client, GatewayArgs};
use crate::follow::{Follow, age};
use crate::list::table;

/// Options of `meshward alerts`.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    act: Option<Act>,
    /// Those that are over too, and those that are not bad for long enough.
    #[arg(long)]
    all: bool,
    /// Print JSON: an array of alerts.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    follow: Follow,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// Which alert, and who acts.
#[derive(clap::Args)]
struct Which {
    /// The alert's fingerprint, or enough of its beginning.
    fingerprint: String,
    /// Who you are.
    #[arg(long, env = "USER", default_value = "operator")]
    by: String,
    /// Print the alert as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    gateway: GatewayArgs,
}

#[derive(Subcommand)]
enum Act {
    /// Say that you know: reminders end.
    Ack(Which),
    /// Say that you don't after all.
    Unack(Which),
    /// End an alert by hand; it is raised again only after all was well once.
    Clear(Which),
    /// Write on an alert.
    Comment {
        #[command(flatten)]
        which: Which,
        /// What.
        text: String,
    },
}

pub(crate) async fn run(args: Args) -> anyhow::Result<bool> {
    match args.act {
        Some(Act::Ack(which)) => act(which, "ack", None).await,
        Some(Act::Unack(which)) => act(which, "unack", None).await,
        Some(Act::Clear(which)) => act(which, "clear", None).await,
        Some(Act::Comment { which, text }) => act(which, "comment", Some(text)).await,
        None => list(args).await,
    }
}

async fn list(args: Args) -> anyhow::Result<bool> {
    let client = Client::new(&args.gateway)?;
    let look = async || {
        let mut alerts = client.alerts().await?;
        alerts.retain(|alert| args.all || alert.active);
        if args.json {
            return Ok((args.follow.json(&alerts)?, true));
        }
        if alerts.is_empty() {
            return Ok(("no alerts".to_owned(), true));
        }
        let mut rows = table(&["alert", "severity", "rule", "of", "state", "for", "evidence"]);
        for alert in &alerts {
            let quiet = alert.suppressed_by.as_ref().map_or_else(String::new, |by| format!(", quiet: {by}"));
            let comments = alert.comments.iter().map(|comment| format!("\n{}: {}", comment.by, comment.text));
            rows.add_row([
                alert.fingerprint.clone(),
                alert.severity.clone(),
                alert.rule.clone(),
                alert.subject.clone(),
                format!("{}{quiet}", alert.state),
                age(alert.since),
                format!("{}{}", alert.evidence, comments.collect::<String>()),
            ]);
        }
        Ok((rows.to_string(), true))
    };
    args.follow.show(args.json, look).await
}

async fn act(which: Which, verb: &str, text: Option<String>) -> anyhow::Result<bool> {
    let client = Client::new(&which.gateway)?;
    let mut fingerprint = which.fingerprint;
    if fingerprint.len() < 16 && !fingerprint.is_empty() {
        let alerts = client.alerts().await?;
        let meant: Vec<&String> = alerts
            .iter()
            .map(|alert| &alert.fingerprint)
            .filter(|known| known.starts_with(&fingerprint))
            .collect();
        anyhow::ensure!(
            meant.len() <= 1,
            "`{fingerprint}` is the beginning of {} alerts: give more of it",
            meant.len()
        );
        let known = meant.first().map(|known| (*known).clone());
        fingerprint = known.ok_or_else(|| {
            anyhow::anyhow!("no alert begins with `{fingerprint}`: take one from `meshward alerts --all`")
        })?;
    }
    let act = AlertAct { by: Some(which.by), text, to: None };
    let alert = client.act(&fingerprint, verb, &act).await?;
    if which.json {
        println!("{}", serde_json::to_string_pretty(&alert)?);
    } else {
        println!("{} {} of {}: {}", alert.fingerprint, alert.rule, alert.subject, alert.state);
    }
    Ok(true)
}
