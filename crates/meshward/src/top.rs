//! `meshward top`: the mesh as a table that is drawn again in its place, the worst nodes first.

use std::cmp::Reverse;
use std::io::IsTerminal as _;
use std::time::Duration;

use meshward_gateway::rest::model::{Node, NodeState, Status};
use serde::Serialize;

use crate::client::{Client, ClientError, GatewayArgs};
use crate::follow::{age, dash, say};
use crate::list::table;
use crate::shutdown;

/// To the top of the terminal; what is written over is not cleared before, so nothing flickers.
const HOME: &str = "\x1b[H";
/// The rest of a line, and of the terminal.
const CLEAR_LINE: &str = "\x1b[K\n";
const CLEAR_BELOW: &str = "\x1b[J";
/// The whole of it, once.
const CLEAR: &str = "\x1b[2J";

/// Options of `meshward top`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Show it once, and end.
    #[arg(long)]
    once: bool,
    /// Between two looks, in seconds.
    #[arg(long, default_value_t = 2, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    interval: u64,
    /// What comes first.
    #[arg(long, value_enum, default_value_t = Sort::Score)]
    sort: Sort,
    /// How many nodes are shown at most.
    #[arg(long, default_value_t = 20, value_name = "NODES")]
    limit: usize,
    /// Print one JSON object a look: the state of the mesh, and nodes.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// An order of nodes.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Sort {
    /// The lowest score.
    Score,
    /// Who has been silent longest.
    Heard,
    /// The weakest signal.
    Rssi,
    /// The least free memory.
    Heap,
    /// The lowest id.
    Id,
}

/// One look.
#[derive(Serialize)]
struct Look {
    status: Status,
    nodes: Vec<Node>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<bool> {
    let client = Client::new(&args.gateway)?;
    if args.once {
        println!("{}", show(&look(&client, &args).await?, &args)?);
        return Ok(true);
    }
    let in_place = !args.json && std::io::stdout().is_terminal();
    if in_place {
        print!("{CLEAR}");
    }
    let stop = shutdown::requested();
    tokio::pin!(stop);
    loop {
        let text = match look(&client, &args).await {
            Ok(look) => show(&look, &args)?,
            // A gateway that is started again comes back.
            Err(error) if in_place && error.is_unreachable() => format!("{error}"),
            Err(error) => return Err(error.into()),
        };
        let text = if in_place {
            format!("{HOME}{}{CLEAR_LINE}{CLEAR_BELOW}", text.replace('\n', CLEAR_LINE))
        } else {
            text
        };
        if !say(&text) {
            return Ok(true);
        }
        tokio::select! {
            () = &mut stop => return Ok(true),
            () = tokio::time::sleep(Duration::from_secs(args.interval)) => {}
        }
    }
}

async fn look(client: &Client, args: &Args) -> Result<Look, ClientError> {
    let (status, mut nodes) = (client.status().await?, client.nodes().await?);
    sort(&mut nodes, args.sort);
    nodes.truncate(args.limit);
    Ok(Look { status, nodes })
}

/// The worst first; what is not known is the last, but for a node that was never heard.
fn sort(nodes: &mut [Node], by: Sort) {
    let metric = |node: &Node, name| node.metric(name).map_or(i64::MAX, |value| value as i64);
    match by {
        Sort::Score => nodes.sort_by_key(|node| (node.score.points.unwrap_or(u8::MAX), node.id)),
        Sort::Heard => nodes.sort_by_key(|node| (node.last_heard_at, node.id)),
        Sort::Rssi => nodes.sort_by_key(|node| (metric(node, "rssi_dbm"), node.id)),
        Sort::Heap => nodes.sort_by_key(|node| (metric(node, "free_heap_bytes"), node.id)),
        Sort::Id => nodes.sort_by_key(|node| node.id),
    }
    // Whatever is wrong with a node that is gone, it is what somebody wants to see.
    if !matches!(by, Sort::Id) {
        nodes.sort_by_key(|node| Reverse(node.state == NodeState::Offline));
    }
}

fn show(look: &Look, args: &Args) -> anyhow::Result<String> {
    if args.json {
        return Ok(serde_json::to_string(look)?);
    }
    let status = &look.status;
    let states: Vec<String> =
        status.states.iter().map(|(state, count)| format!("{count} {}", state.name())).collect();
    let states = if states.is_empty() { "no node seen yet".to_owned() } else { states.join(", ") };
    let points = status.score.points.map_or_else(dash, |points| points.to_string());
    let mut rows = table(&["node", "name", "state", "heard", "score", "RSSI", "heap", "RTT", "why"]);
    for node in &look.nodes {
        let metric = |name, unit: &str| {
            node.metric(name).map_or_else(dash, |value| format!("{} {unit}", (value * 10.0).round() / 10.0))
        };
        let heap = node.metric("free_heap_bytes");
        rows.add_row([
            node.id.to_string(),
            node.name.clone().unwrap_or_else(dash),
            node.state.name().to_owned(),
            node.last_heard_at.map_or_else(dash, age),
            node.score.points.map_or_else(dash, |points| points.to_string()),
            metric("rssi_dbm", "dBm"),
            heap.map_or_else(dash, |bytes| format!("{:.0} KB", bytes / 1_024.0)),
            metric("round_trip_ms", "ms"),
            node.score.deductions.first().map_or_else(String::new, |lost| lost.evidence.clone()),
        ]);
    }
    Ok(format!(
        "{states} · score {points} ({}) · {} alerts · status takes {:.2} % of the channel\n{rows}",
        status.score.level,
        status.alerts.len(),
        status.overhead.share_percent,
    ))
}
