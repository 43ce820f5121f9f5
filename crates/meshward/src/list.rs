//! `meshward nodes` and `meshward topology`: what the mesh looks like.

use std::collections::BTreeMap;

use comfy_table::{Table, presets};
use meshward_gateway::rest::model::{Node, NodeState, Topology};

use crate::client::{Client, GatewayArgs};
use crate::follow::{Follow, age, dash};

/// Options of `meshward nodes`.
#[derive(clap::Args)]
pub(crate) struct NodesArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// Print JSON: an array of nodes.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    follow: Follow,
}

/// Options of `meshward topology`.
#[derive(clap::Args)]
pub(crate) struct TopologyArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// Print JSON: an object with nodes and links.
    #[arg(long, conflicts_with = "dot")]
    json: bool,
    /// Print the tree in the language of Graphviz.
    #[arg(long)]
    dot: bool,
    #[command(flatten)]
    follow: Follow,
}

/// An empty table in the house's style.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(header);
    table
}

pub(crate) async fn nodes(args: NodesArgs) -> anyhow::Result<bool> {
    let client = Client::new(&args.gateway)?;
    args.follow.show(args.json, async || Ok((nodes_once(&client, &args).await?, true))).await
}

async fn nodes_once(client: &Client, args: &NodesArgs) -> anyhow::Result<String> {
    let nodes = client.nodes().await?;
    if args.json {
        return args.follow.json(&nodes);
    }
    let header =
        ["node", "name", "state", "heard", "score", "RSSI", "heap", "RTT", "parent", "hops", "joins"];
    let mut rows = table(&header);
    let metric = |node: &Node, name, unit: &str| {
        node.metric(name).map_or_else(dash, |value| format!("{} {unit}", (value * 10.0).round() / 10.0))
    };
    let heap = |node: &Node| {
        node.metric("free_heap_bytes").map_or_else(dash, |bytes| format!("{:.0} KB", bytes / 1_024.0))
    };
    for node in &nodes {
        rows.add_row([
            format!("{}{}", node.id, if node.root { " (root)" } else { "" }),
            node.name.clone().unwrap_or_else(dash),
            node.state.name().to_owned(),
            node.last_heard_at.map_or_else(dash, age),
            node.score.points.map_or_else(dash, |points| points.to_string()),
            metric(node, "rssi_dbm", "dBm"),
            heap(node),
            metric(node, "round_trip_ms", "ms"),
            node.parent.map_or_else(dash, |parent| parent.to_string()),
            node.hops.map_or_else(dash, |hops| hops.to_string()),
            node.joins.to_string(),
        ]);
    }
    let mut states: BTreeMap<NodeState, usize> =
        BTreeMap::from([(NodeState::Online, 0), (NodeState::Offline, 0)]);
    for node in &nodes {
        *states.entry(node.state).or_insert(0) += 1;
    }
    let counts: Vec<String> =
        states.iter().map(|(state, count)| format!("{count} {}", state.name())).collect();
    Ok(format!("{rows}\n{}", counts.join(", ")))
}

pub(crate) async fn topology(args: TopologyArgs) -> anyhow::Result<bool> {
    let client = Client::new(&args.gateway)?;
    let show = async || {
        if args.dot {
            return Ok((client.dot().await?.trim_end().to_owned(), true));
        }
        let topology = client.topology().await?;
        let text =
            if args.json { args.follow.json(&topology)? } else { draw(&topology).trim_end().to_owned() };
        Ok((text, true))
    };
    args.follow.show(args.json || args.dot, show).await
}

/// The tree, one node a line. Drawn without recursion: a mesh may be a chain of hundreds.
fn draw(topology: &Topology) -> String {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for link in &topology.links {
        children.entry(link.from).or_default().push(link.to);
    }
    let nodes: BTreeMap<u32, &Node> = topology.nodes.iter().map(|node| (node.id, node)).collect();
    // What is to be said of a node beside its id.
    let remark = |id: u32| {
        let Some(node) = nodes.get(&id) else { return String::new() };
        let name = node.name.as_ref().map_or_else(String::new, |name| format!(" {name}"));
        let state = node.state;
        let state = if state == NodeState::Online { String::new() } else { format!(" ({})", state.name()) };
        format!("{name}{state}")
    };
    let mut text = format!("{} (this gateway)\n", topology.gateway);
    // A node, what stands before it, and whether it is its parent's last child.
    let mut open: Vec<(u32, String, bool)> = Vec::new();
    let push_children = |open: &mut Vec<_>, children: &mut BTreeMap<u32, Vec<u32>>, id, indent: &str| {
        let below = children.remove(&id).unwrap_or_default();
        let last = below.last().copied();
        open.extend(below.into_iter().rev().map(|child| (child, indent.to_owned(), Some(child) == last)));
    };
    push_children(&mut open, &mut children, topology.gateway, "");
    while let Some((id, indent, last)) = open.pop() {
        text.push_str(&format!("{indent}{}{id}{}\n", if last { "└─ " } else { "├─ " }, remark(id)));
        let deeper = format!("{indent}{}", if last { "   " } else { "│  " });
        push_children(&mut open, &mut children, id, &deeper);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use meshward_gateway::rest::model::Link;

    #[test]
    fn a_tree_is_drawn() {
        let links = [(1, 2), (1, 3), (2, 4), (2, 5), (5, 6)];
        let links = links.iter().map(|(from, to)| Link { from: *from, to: *to }).collect();
        let topology = Topology { gateway: 1, revision: 7, nodes: Vec::new(), links };
        let want = "1 (this gateway)\n├─ 2\n│  ├─ 4\n│  └─ 5\n│     └─ 6\n└─ 3\n";
        assert_eq!(draw(&topology), want);
    }
}
