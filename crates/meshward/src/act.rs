//! `meshward command` and `meshward name`: what people do with one node.

use meshward_gateway::rest::model::{CommandEnd, NewCommand, NewName};

use crate::client::{Client, GatewayArgs};

/// Options of `meshward command`.
#[derive(clap::Args)]
pub(crate) struct CommandArgs {
    /// The node, by id or name.
    node: String,
    /// The command's number, 1 to 255: 1 restart, 200 tell the status, 202 tell everything, 210 and 211 start and stop
    /// regular status; others as the sketch has them.
    #[arg(value_parser = clap::value_parser!(u16).range(1..=255))]
    code: u16,
    /// Its parameters, by convention JSON.
    #[arg(long, default_value = "", value_name = "JSON")]
    params: String,
    /// How long the node has to answer, in seconds.
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    timeout: f64,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// Options of `meshward name`.
#[derive(clap::Args)]
pub(crate) struct NameArgs {
    /// The node, by id or name.
    node: String,
    /// What it is to be called; up to 64 bytes in one line.
    #[arg(required_unless_present = "clear")]
    name: Option<String>,
    /// Take the name away.
    #[arg(long, conflicts_with = "name")]
    clear: bool,
    /// Print the node as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// Whether the node has answered, or restarted.
pub(crate) async fn command(args: CommandArgs) -> anyhow::Result<bool> {
    let client = Client::new(&args.gateway)?;
    let node = client.find(&args.node).await?;
    let command = NewCommand { command: args.code, params: args.params, timeout_seconds: args.timeout };
    let outcome = client.command(node, &command).await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&outcome)?);
    } else {
        let said = outcome.text.as_ref().filter(|text| !text.is_empty());
        let said = said.map_or_else(String::new, |text| format!(": {text}"));
        let (name, took) = (outcome.outcome.name(), outcome.took_seconds);
        println!("node {node}, command {} ({}): {name} after {took:.2} s{said}", args.code, outcome.meaning);
    }
    Ok(matches!(outcome.outcome, CommandEnd::Answered | CommandEnd::Restarted))
}

pub(crate) async fn name(args: NameArgs) -> anyhow::Result<bool> {
    let client = Client::new(&args.gateway)?;
    let node = client.find(&args.node).await?;
    let node = client.name(node, &NewName { name: args.name }).await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&node)?);
    } else {
        println!("node {}: {}", node.id, node.name.as_deref().unwrap_or("no name"));
    }
    Ok(true)
}
