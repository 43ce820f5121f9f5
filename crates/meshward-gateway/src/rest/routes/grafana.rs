//! The tree in the words of Grafana's Node Graph panel: one frame of nodes and one of edges, a row each.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::api::Api;
use super::super::convert;
use super::super::model::{GrafanaEdge, GrafanaNode, Node, NodeState, Topology};
use super::super::problem::Answer;
use super::Handle;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list_grafana_nodes)).routes(routes!(list_grafana_edges))
}

/// Nodes for Grafana's Node Graph panel.
///
/// The gateway and every node in the tree, a row each, in the panel's own words.
#[utoipa::path(get, path = "/api/v1/grafana/nodes", tag = "mesh", responses(
    (status = 200, description = "The rows.", body = Vec<GrafanaNode>)))]
async fn list_grafana_nodes(State(gateway): Handle) -> Answer<Json<Vec<GrafanaNode>>> {
    let tree = gateway.with(|now, node, gateway| convert::topology(gateway, now, node)).await?;
    Ok(Json(nodes(&tree)))
}

/// Edges for Grafana's Node Graph panel.
///
/// What joins the nodes, a row each, with the strength at which the lower end hears the upper one.
#[utoipa::path(get, path = "/api/v1/grafana/edges", tag = "mesh", responses(
    (status = 200, description = "The rows.", body = Vec<GrafanaEdge>)))]
async fn list_grafana_edges(State(gateway): Handle) -> Answer<Json<Vec<GrafanaEdge>>> {
    let tree = gateway.with(|now, node, gateway| convert::topology(gateway, now, node)).await?;
    Ok(Json(edges(&tree)))
}

fn nodes(tree: &Topology) -> Vec<GrafanaNode> {
    let own = GrafanaNode {
        id: tree.gateway.to_string(),
        title: "gateway".to_owned(),
        subtitle: tree.gateway.to_string(),
        mainstat: String::new(),
        secondarystat: String::new(),
        arc__good: 1.0,
        arc__lost: 0.0,
        color: "blue".to_owned(),
    };
    std::iter::once(own).chain(tree.nodes.iter().map(row)).collect()
}

fn row(node: &Node) -> GrafanaNode {
    let id = node.id.to_string();
    // Of whom nothing is known nothing is lost.
    let good = f64::from(node.score.points.unwrap_or(100)) / 100.0;
    GrafanaNode {
        title: node.name.clone().unwrap_or_else(|| id.clone()),
        subtitle: if node.name.is_some() { id.clone() } else { String::new() },
        id,
        mainstat: node.score.points.map_or_else(|| "–".to_owned(), |points| points.to_string()),
        secondarystat: node.state.name().to_owned(),
        arc__good: good,
        arc__lost: 1.0 - good,
        color: color(node.state).to_owned(),
    }
}

const fn color(state: NodeState) -> &'static str {
    match state {
        NodeState::Online => "green",
        NodeState::Suspect => "orange",
        NodeState::Offline | NodeState::Unreachable => "red",
        NodeState::Sleeping => "purple",
        NodeState::Learning | NodeState::Forgotten => "gray",
    }
}

fn edges(tree: &Topology) -> Vec<GrafanaEdge> {
    let heard = |id: u32| {
        let node = tree.nodes.iter().find(|node| node.id == id)?;
        let rssi = node.metrics.iter().find(|metric| metric.name == "rssi_dbm")?;
        Some(format!("{:.0} dBm", rssi.value))
    };
    let edge = |link: &super::super::model::Link| GrafanaEdge {
        id: format!("{}-{}", link.from, link.to),
        source: link.from.to_string(),
        target: link.to.to_string(),
        mainstat: heard(link.to).unwrap_or_default(),
    };
    tree.links.iter().map(edge).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tree() -> Topology {
        let node = |id: u32, parent: u32, more: serde_json::Value| {
            let mut node = json!({
                "id": id, "name": null, "state": "online", "since": "2026-03-01T00:00:00Z", "family": "meshward",
                "joins": 1, "parent": parent, "hops": 1, "root": false, "time_authority": false, "tags": [],
                "score": {"points": null, "level": "unknown", "trend": "steady", "deductions": []},
                "metrics": [], "facts": [],
            });
            node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            node
        };
        let score = json!({"points": 75, "level": "warning", "trend": "steady", "deductions": []});
        let rssi = json!([{"name": "rssi_dbm", "value": -61.0, "unit": "dBm", "source": "telemetry",
            "observed_at": "2026-03-01T00:00:00Z"}]);
        let nodes = [
            node(2, 1, json!({"name": "roof", "score": score})),
            node(3, 2, json!({"state": "suspect", "metrics": rssi})),
        ];
        let links = [(1, 2), (2, 3)].map(|(from, to)| json!({"from": from, "to": to}));
        serde_json::from_value(json!({"gateway": 1, "revision": 4, "nodes": nodes, "links": links})).unwrap()
    }

    #[test]
    fn rows_have_the_panels_words() {
        let rows = serde_json::to_value(nodes(&tree())).unwrap();
        assert_eq!((&rows[0]["id"], &rows[0]["title"]), (&json!("1"), &json!("gateway")));
        let roof = json!({
            "id": "2", "title": "roof", "subtitle": "2", "mainstat": "75", "secondarystat": "online",
            "arc__good": 0.75, "arc__lost": 0.25, "color": "green",
        });
        assert_eq!(rows[1], roof);
        assert_eq!((&rows[2]["title"], &rows[2]["mainstat"]), (&json!("3"), &json!("–")));
        assert_eq!((&rows[2]["color"], &rows[2]["arc__good"]), (&json!("orange"), &json!(1.0)));
        let rows = serde_json::to_value(edges(&tree())).unwrap();
        assert_eq!(rows[0], json!({"id": "1-2", "source": "1", "target": "2", "mainstat": ""}));
        assert_eq!(rows[1], json!({"id": "2-3", "source": "2", "target": "3", "mainstat": "-61 dBm"}));
    }
}
