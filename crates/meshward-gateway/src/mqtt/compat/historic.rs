//! The historic status bridge: `mesh/status/…`, every interval, not retained.

use meshward_core::time::{Duration, Instant};
use serde_json::{Value, json};

use super::alteriom;
use super::{known, loosely, of_gateway, of_node, version, whole, word};
use crate::mqtt::message::Message;
use crate::mqtt::settings::Settings;
use crate::mqtt::status::{device_id, is_there, told};
use crate::rest::inside::{Seen, SeenNode};
use crate::rest::model::Alert;

/// When it was told last.
#[derive(Debug, Default)]
pub(super) struct Historic(Option<Instant>);

impl Historic {
    pub(super) fn look(
        &mut self,
        now: Instant,
        settings: &Settings,
        seen: &Seen,
        messages: &mut Vec<Message>,
    ) {
        if self.0.is_some_and(|at| now.since(at) < Duration::from_secs(settings.interval_s)) {
            return;
        }
        self.0 = Some(now);
        let nodes: Vec<Value> = told(seen).map(node).collect();
        let count = nodes.len();
        let body = json!({ "nodes": nodes, "node_count": count, "mesh_id": seen.mesh });
        messages.push(loosely("mesh/status/nodes", &of_gateway(seen, body)));
        if settings.topology {
            messages.push(loosely("mesh/status/topology", &of_gateway(seen, topology(seen))));
        }
        if settings.metrics {
            messages.push(loosely("mesh/status/metrics", &of_gateway(seen, metrics(now, count, seen))));
        }
        if settings.alerts {
            let active: Vec<Value> =
                seen.alerts.iter().filter(|alert| alert.active).map(self::alert).collect();
            let body = json!({ "alert_count": active.len(), "alerts": active });
            messages.push(loosely("mesh/status/alerts", &of_gateway(seen, body)));
        }
        for each in told(seen).filter(|_| settings.nodes) {
            let id = each.node.id;
            messages.push(loosely(format!("mesh/status/node/{id}"), &of_node(each, seen, node(each))));
            messages
                .push(loosely(format!("mesh/status/node/{id}/health"), &of_node(each, seen, health(each))));
        }
    }
}

fn node(each: &SeenNode) -> Value {
    let metric = |name: &str| each.node.metric(name);
    let rssi = whole(metric("rssi_dbm"), -100.0, 0.0);
    known(json!({
        "node_id": device_id(each.node.id), "id": each.node.id, "name": each.node.name, "status": word(each),
        "last_seen": each.node.last_heard_at, "firmware_version": version(each),
        "uptime_seconds": metric("uptime_s"),
        "free_memory_kb": whole(metric("free_heap_bytes").map(|bytes| bytes / 1_024.0), 0.0, f64::MAX),
        "rssi": rssi, "signal_strength": rssi, "hop_count": each.node.hops,
    }))
}

fn health(each: &SeenNode) -> Value {
    let score = &each.node.score;
    let problems: Vec<&str> = score.deductions.iter().map(|lost| &*lost.rule).collect();
    known(json!({ "health_score": score.points, "status": score.level, "problems": problems }))
}

fn topology(seen: &Seen) -> Value {
    let connection = |link: &crate::rest::model::Link| {
        let mut connection = alteriom::connection(seen, link);
        if let Some(percent) = connection.get("quality").and_then(Value::as_f64) {
            connection["link_quality"] = (percent / 100.0).into();
        }
        connection
    };
    let links: Vec<Value> = seen.links.iter().map(connection).collect();
    json!({ "root_node": device_id(seen.status.gateway), "total_connections": links.len(), "connections": links })
}

fn metrics(now: Instant, nodes: usize, seen: &Seen) -> Value {
    let online = told(seen).filter(|each| is_there(each.node.state) == Some(true)).count();
    let uptime_s = now.since(Instant::ORIGIN).as_micros() / 1_000_000;
    known(json!({
        "total_nodes": nodes, "online_nodes": online, "health_score": seen.status.score.points,
        "metrics": { "uptime_s": uptime_s, "mesh_nodes": nodes, "connected_devices": online },
    }))
}

/// What an alert is called in the schemas.
pub(super) fn alert_type(rule: &str) -> &'static str {
    match rule {
        "low_heap" | "memory_leak" => "low_memory",
        "node_offline" => "node_offline",
        "branch_lost" | "mesh_parted" => "connection_lost",
        "high_round_trip" => "high_latency",
        "message_loss" => "packet_loss",
        _ => "other",
    }
}

/// An alert as the schemas have it.
pub(super) fn alert(alert: &Alert) -> Value {
    known(json!({
        "alert_id": alert.fingerprint, "alert_type": alert_type(&alert.rule), "rule": alert.rule,
        "severity": alert.severity, "message": alert.evidence, "node_id": alert.node.map(device_id),
        "metric_value": alert.value,
    }))
}
