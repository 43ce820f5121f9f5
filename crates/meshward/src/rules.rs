//! `meshward rules`: when alerts are raised.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use meshward_gateway::rest::model::{AlertRule, NewAlertRule, Rehearsal};
use reqwest::Method;

use crate::client::{Client, GatewayArgs, in_path};
use crate::list::table;

/// What to do with rules.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// List the rules that are in force or switched off.
    List(ListArgs),
    /// Print one rule as JSON, as `set` takes it.
    Show(OneArgs),
    /// Write rules, or change them, from a file: a rule, or a list of rules.
    Set(SetArgs),
    /// Put a rule in force.
    Enable(OneArgs),
    /// Switch a rule off.
    Disable(OneArgs),
    /// Take a rule of yours away; a built-in one is then as it came.
    Remove(OneArgs),
    /// Say what a rule would have done on the values that the gateway has, of the last six hours at most.
    Test(TestArgs),
}

/// Options of `meshward rules list`.
#[derive(clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// Print JSON: an array of rules.
    #[arg(long)]
    json: bool,
}

/// One rule.
#[derive(clap::Args)]
pub(crate) struct OneArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// Its name, as `meshward rules list` has it.
    name: String,
}

/// Options of `meshward rules set`.
#[derive(clap::Args)]
pub(crate) struct SetArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// JSON: a rule as `show` prints it, or a list of them.
    file: PathBuf,
}

/// Options of `meshward rules test`.
#[derive(clap::Args)]
pub(crate) struct TestArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// The name of a rule.
    #[arg(required_unless_present = "file")]
    name: Option<String>,
    /// A rule that is none yet, in a file of JSON.
    #[arg(long, value_name = "FILE", conflicts_with = "name")]
    file: Option<PathBuf>,
    /// How far back: a number with s, m, h or d.
    #[arg(long, default_value = "6h")]
    window: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::List(args) => list(&args).await,
        Command::Show(args) => {
            let rule: AlertRule = Client::new(&args.gateway)?.get(&path(&args.name)).await?;
            println!("{}", serde_json::to_string_pretty(&rule)?);
            Ok(true)
        }
        Command::Set(args) => set(&args).await,
        Command::Enable(args) => switch(&args, true).await,
        Command::Disable(args) => switch(&args, false).await,
        Command::Remove(args) => {
            Client::new(&args.gateway)?.delete(&path(&args.name)).await?;
            println!("rule {} is as if you had not written it", args.name);
            Ok(true)
        }
        Command::Test(args) => test(&args).await,
    }
}

fn path(name: &str) -> String {
    format!("alert-rules/{}", in_path(name))
}

/// When a rule raises, in words.
fn when(rule: &AlertRule) -> String {
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    match (&rule.state, &rule.signal) {
        (Some(state), _) => state.clone(),
        (None, Some(signal)) => {
            format!("{signal} {} {}", rule.side.as_deref().unwrap_or_default(), number(rule.raise))
        }
        (None, None) => String::new(),
    }
}

async fn list(args: &ListArgs) -> anyhow::Result<bool> {
    let rules: Vec<AlertRule> = Client::new(&args.gateway)?.all("alert-rules").await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rules)?);
        return Ok(true);
    }
    let mut rows = table(&["rule", "raised when", "for", "severity", "in force"]);
    for rule in &rules {
        rows.add_row([
            rule.name.clone(),
            when(rule),
            format!("{} s", rule.hold_seconds),
            rule.severity.clone(),
            if rule.enabled { "yes" } else { "no" }.to_owned(),
        ]);
    }
    println!("{rows}");
    Ok(true)
}

/// The rules of a file.
fn read(file: &Path) -> anyhow::Result<Vec<NewAlertRule>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let what = || format!("{} has no rule, nor a list of rules", file.display());
    let is_list = text.trim_start().starts_with('[');
    let rules = if is_list {
        serde_json::from_str(&text).with_context(what)?
    } else {
        vec![serde_json::from_str(&text).with_context(what)?]
    };
    Ok(rules)
}

async fn set(args: &SetArgs) -> anyhow::Result<bool> {
    let client = Client::new(&args.gateway)?;
    let rules = read(&args.file)?;
    if let Some(at) = rules.iter().position(|rule| rule.name.is_empty()) {
        anyhow::bail!("rule {} of {} has no name", at + 1, args.file.display());
    }
    for rule in &rules {
        let kept: AlertRule = client.send(Method::PUT, &path(&rule.name), rule).await?;
        println!("rule {}: {}, {}", kept.name, when(&kept), kept.severity);
    }
    Ok(true)
}

async fn switch(args: &OneArgs, enabled: bool) -> anyhow::Result<bool> {
    let client = Client::new(&args.gateway)?;
    let rule: AlertRule = client.get(&path(&args.name)).await?;
    let _kept: AlertRule =
        client.send(Method::PUT, &path(&args.name), &AlertRule { enabled, ..rule }).await?;
    println!("rule {} is {}", args.name, if enabled { "in force" } else { "switched off" });
    Ok(true)
}

async fn test(args: &TestArgs) -> anyhow::Result<bool> {
    let client = Client::new(&args.gateway)?;
    let window = in_path(&args.window);
    let tried: Rehearsal = match (&args.file, &args.name) {
        (Some(file), _) => {
            let rules = read(file)?;
            let [rule] = &rules[..] else {
                anyhow::bail!("{} has {} rules; one can be tried at a time", file.display(), rules.len());
            };
            client.send(Method::POST, &format!("alert-rule-tests?window={window}"), rule).await?
        }
        (None, Some(name)) => client.get(&format!("{}/test?window={window}", path(name))).await?,
        (None, None) => anyhow::bail!("name a rule, or give one by --file"),
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&tried)?);
    } else {
        println!("{}", tried.text);
    }
    Ok(true)
}
