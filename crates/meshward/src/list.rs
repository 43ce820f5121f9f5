//! `meshward nodes` and `meshward topology`: what the mesh looks like.

use std::collections::BTreeMap;

use comfy_table::{Table, presets};
use meshward_gateway::rest::model::{Node, NodeState, Topology};

use crate::client::{Client, GatewayArgs};

/// Options of `meshward nodes`.
#[derive(clap::Args)]
pub(crate) struct NodesArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// Print JSON: an array of nodes.
    #[arg(long)]
    json: bool,
}

/// Options of `meshward topology`.
#[derive(clap::Args)]
pub(crate) struct TopologyArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// Print JSON: an object with nodes and links.
    #[arg(long)]
    json: bool,
}

/// An empty table in the house's style.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(header);
    table
}

pub(crate) async fn nodes(args: NodesArgs) -> anyhow::Result<bool> {
    let nodes = Client::new(&args.gateway).nodes().await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&nodes)?);
        return Ok(true);
    }
    let mut rows = table(&["node", "state", "since", "hops", "parent", "joins"]);
    let or_dash = |value: Option<u32>| value.map_or_else(|| "–".to_owned(), |value| value.to_string());
    for node in &nodes {
        rows.add_row([
            format!("{}{}", node.id, if node.root { " (root)" } else { "" }),
            state(node).to_owned(),
            node.since.strftime("%F %T").to_string(),
            or_dash(node.hops),
            or_dash(node.parent),
            node.joins.to_string(),
        ]);
    }
    println!("{rows}");
    let online = nodes.iter().filter(|node| node.state == NodeState::Online).count();
    println!("{online} online, {} offline", nodes.len() - online);
    Ok(true)
}

const fn state(node: &Node) -> &'static str {
    match node.state {
        NodeState::Online => "online",
        NodeState::Offline => "offline",
    }
}

pub(crate) async fn topology(args: TopologyArgs) -> anyhow::Result<bool> {
    let topology = Client::new(&args.gateway).topology().await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&topology)?);
    } else {
        print!("{}", draw(&topology));
    }
    Ok(true)
}

/// The tree, one node a line. Drawn without recursion: a mesh may be a chain of hundreds.
fn draw(topology: &Topology) -> String {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for link in &topology.links {
        children.entry(link.from).or_default().push(link.to);
    }
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
        text.push_str(&format!("{indent}{}{id}\n", if last { "└─ " } else { "├─ " }));
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
