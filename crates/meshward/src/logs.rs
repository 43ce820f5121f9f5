//! `meshward logs`: what has happened since the gateway's start, as far as it is kept, and as it happens.

use std::time::Duration;

use meshward_gateway::rest::model::Event;

use crate::client::{Client, GatewayArgs};
use crate::follow::say;
use crate::shutdown;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Options of `meshward logs`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Go on until Ctrl-C.
    #[arg(short, long)]
    follow: bool,
    /// Only of this node, by id or name.
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// Only this kind: topology, liveness, incident, finding, anomaly, alert, command, log, period; several times.
    #[arg(long = "kind", value_name = "KIND", value_parser = KINDS)]
    kinds: Vec<String>,
    /// Only what came after the event of this number.
    #[arg(long, default_value_t = 0, value_name = "ID")]
    after: u64,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    gateway: GatewayArgs,
}

const KINDS: [&str; 9] =
    ["topology", "liveness", "incident", "finding", "anomaly", "alert", "command", "log", "period"];

pub(crate) async fn run(args: Args) -> anyhow::Result<bool> {
    let client = Client::new(&args.gateway)?;
    let node = match &args.node {
        Some(node) => Some(client.find(node).await?),
        None => None,
    };
    let wanted = |event: &Event| {
        (node.is_none() || event.node == node) && (args.kinds.is_empty() || args.kinds.contains(&event.kind))
    };
    let stop = shutdown::requested();
    tokio::pin!(stop);
    let mut after = args.after;
    loop {
        let events = client.events(after).await?;
        // What was there before anybody looked is nobody's loss.
        if events.lost > 0 && after > 0 {
            eprintln!("{} events are missing here: they came faster than they were read", events.lost);
        }
        for event in events.items.iter().filter(|event| wanted(event)) {
            let text = if args.json { serde_json::to_string(event)? } else { line(event) };
            if !say(&text) {
                return Ok(true);
            }
        }
        let news = events.next != after;
        after = events.next;
        if news {
            // There may be more than one answer holds.
            continue;
        }
        if !args.follow {
            return Ok(true);
        }
        tokio::select! {
            () = &mut stop => return Ok(true),
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

fn line(event: &Event) -> String {
    let node = event.node.map_or_else(String::new, |node| format!("node {node} "));
    // A node's own words end where it ends them, and say nothing to a terminal.
    let text: String = event.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{} {:<8} {node}{}", event.at.strftime("%F %T"), event.kind, text.trim_end())
}
