//! The library's enhanced bridge: what nodes tell in `mesh/sensor/ID`, `mesh/metrics/ID` and `mesh/health/ID`, the sum
//! of it in `mesh/aggregated/…`, and `mesh/alerts/critical`.
//!
//! A node is told about when it has told something new, not more often than every `mqtt.publish_interval`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use meshward_core::time::{Duration, Instant};
use serde_json::{Map, Value, json};

use super::historic;
use super::{known, loosely, of_gateway, of_node, surely, whole};
use crate::mqtt::message::Message;
use crate::mqtt::settings::Settings;
use crate::mqtt::status::{is_there, told};
use crate::rest::inside::{Seen, SeenNode};
use crate::rest::model::Alert;

/// Between two sums.
const SUM: Duration = Duration::from_secs(60);
/// What of a node is a sensor's value: our name, theirs, and its unit.
const SENSORS: [(&str, &str, &str); 3] = [
    ("temperature_c", "temperature", "C"),
    ("humidity_percent", "humidity", "%"),
    ("pressure_hpa", "pressure", "hPa"),
];

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Data {
    sum_at: Option<Instant>,
    nodes: BTreeMap<u32, (Instant, Timestamp)>,
    /// Critical alerts that are raised, and when they were.
    critical: BTreeSet<(String, Option<Timestamp>)>,
}

impl Data {
    pub(super) fn look(
        &mut self,
        now: Instant,
        settings: &Settings,
        seen: &Seen,
        messages: &mut Vec<Message>,
    ) {
        let interval = Duration::from_secs(settings.interval_s);
        self.nodes.retain(|id, _| seen.nodes.iter().any(|each| each.node.id == *id));
        for each in told(seen).filter(|_| settings.nodes) {
            let id = each.node.id;
            let Some(newest) = each.node.metrics.iter().map(|metric| metric.observed_at).max() else {
                continue;
            };
            let before = self.nodes.get(&id);
            if before.is_some_and(|(at, told)| now.since(*at) < interval || *told == newest) {
                continue;
            }
            self.nodes.insert(id, (now, newest));
            let mut tell = |kind: &str, body: Option<Value>| {
                let topic = format!("mesh/{kind}/{id}");
                messages.extend(body.map(|body| loosely(topic, &of_node(each, seen, body))));
            };
            tell("sensor", sensors(each));
            tell("metrics", metrics(each));
            tell("health", Some(health(each)));
        }
        if settings.alerts {
            let raised = seen.alerts.iter().filter(|alert| alert.active && alert.severity == "critical");
            let key = |alert: &Alert| (alert.fingerprint.clone(), alert.raised_at);
            let new = raised.clone().filter(|alert| !self.critical.contains(&key(alert)));
            messages.extend(new.map(|alert| critical(alert, seen)));
            self.critical = raised.map(key).collect();
        }
        if self.sum_at.is_none_or(|at| now.since(at) >= SUM) {
            self.sum_at = Some(now);
            if settings.metrics {
                messages.push(loosely("mesh/aggregated/metrics", &of_gateway(seen, all_metrics(now, seen))));
            }
            messages.push(loosely("mesh/aggregated/health", &of_gateway(seen, all_health(seen))));
        }
    }
}

/// What a sensor measures; nothing of a node that measures nothing.
fn sensors(each: &SeenNode) -> Option<Value> {
    let mut sensors = Map::new();
    for (ours, name, unit) in SENSORS {
        if let Some(metric) = each.node.metrics.iter().find(|metric| metric.name == ours) {
            let body = json!({ "value": metric.value, "unit": unit, "timestamp": metric.observed_at });
            sensors.insert(name.to_owned(), body);
        }
    }
    let battery = whole(each.node.metric("battery_percent"), 0.0, 100.0);
    let rssi = whole(each.node.metric("rssi_dbm"), -200.0, 0.0);
    (!sensors.is_empty())
        .then(|| known(json!({ "sensors": sensors, "battery_level": battery, "signal_strength": rssi })))
}

/// How a node fares; nothing of one that has not said how long it runs, which the schema wants.
fn metrics(each: &SeenNode) -> Option<Value> {
    let metric = |name: &str| each.node.metric(name);
    let uptime_s = metric("uptime_s")?;
    let metrics = known(json!({
        "uptime_s": uptime_s,
        "battery_level": whole(metric("battery_percent"), 0.0, 100.0),
        "battery_voltage": metric("supply_mv").map(|millivolts| millivolts / 1_000.0),
        "rssi": metric("rssi_dbm"), "signal_quality": metric("wifi_quality_percent"),
        "link_quality": metric("link_quality_percent"), "cpu_usage_pct": metric("cpu_percent"),
        "free_memory_bytes": whole(metric("free_heap_bytes"), 0.0, f64::MAX),
        "temperature_c": metric("chip_temperature_c"),
        "reboot_count": whole(metric("boots"), 0.0, f64::MAX),
    }));
    Some(json!({ "metrics": metrics }))
}

/// 2 is well, 1 a warning, 0 critical; nothing while nobody knows.
fn mark(level: &str) -> Option<u8> {
    match level {
        "ok" => Some(2),
        "warning" => Some(1),
        "critical" => Some(0),
        _ => None,
    }
}

fn health(each: &SeenNode) -> Value {
    let score = &each.node.score;
    let metric = |name: &str| each.node.metric(name);
    let problems: Vec<&str> = score.deductions.iter().map(|lost| &*lost.rule).collect();
    let advice: Vec<&str> = score.deductions.iter().map(|lost| &*lost.advice).collect();
    known(json!({
        "health": mark(&score.level), "health_score": score.points, "problem_names": problems,
        "memHealth": metric("memory_health_percent"), "netHealth": metric("network_health_percent"),
        "perfHealth": metric("performance_health_percent"), "recommend": advice.join("; "),
    }))
}

/// Of a value of all nodes that are there: how many have it, the least, the mean and the most.
fn spread(seen: &Seen, name: &str) -> Option<(f64, f64, f64)> {
    let there = told(seen).filter(|each| is_there(each.node.state) == Some(true));
    let values: Vec<f64> = there.filter_map(|each| each.node.metric(name)).collect();
    let (least, most) = values
        .iter()
        .fold((f64::MAX, f64::MIN), |(least, most), value| (least.min(*value), most.max(*value)));
    let mean = (values.iter().sum::<f64>() / values.len().max(1) as f64).round();
    (!values.is_empty()).then_some((least, mean, most))
}

fn all_metrics(now: Instant, seen: &Seen) -> Value {
    let online = told(seen).filter(|each| is_there(each.node.state) == Some(true)).count();
    let (heap, quality) = (spread(seen, "free_heap_bytes"), spread(seen, "link_quality_percent"));
    let rssi = spread(seen, "rssi_dbm");
    let metrics = known(json!({
        "uptime_s": now.since(Instant::ORIGIN).as_micros() / 1_000_000,
        "total_nodes": told(seen).count(), "active_nodes": online,
        "average_rssi": rssi.map(|(_, mean, _)| mean), "weakest_link_rssi": rssi.map(|(least, ..)| least),
        "strongest_link_rssi": rssi.map(|(.., most)| most),
        "average_latency_ms": spread(seen, "round_trip_ms").map(|(_, mean, _)| mean),
        "packet_loss_pct": spread(seen, "loss_percent").map(|(_, mean, _)| mean),
    }));
    known(json!({
        "mesh_network_id": seen.mesh, "metrics": metrics, "node_count": online,
        "avg_cpu": spread(seen, "cpu_percent").map(|(_, mean, _)| mean),
        "avg_heap": heap.map(|(_, mean, _)| mean), "min_heap": heap.map(|(least, ..)| least),
        "max_heap": heap.map(|(.., most)| most), "avg_quality": quality.map(|(_, mean, _)| mean),
        "min_quality": quality.map(|(least, ..)| least), "max_quality": quality.map(|(.., most)| most),
        "avg_rssi": rssi.map(|(_, mean, _)| mean),
    }))
}

fn all_health(seen: &Seen) -> Value {
    let count = |level: &str| told(seen).filter(|each| each.node.score.level == level).count();
    let there = |wanted| told(seen).filter(|each| is_there(each.node.state) == Some(wanted)).count();
    let (well, warned, critical) = (count("ok"), count("warning"), count("critical"));
    let mark = match (critical, warned, well) {
        (1.., ..) => Some(0),
        (0, 1.., _) => Some(1),
        (0, 0, 1..) => Some(2),
        _ => None,
    };
    let parted = seen.status.incidents.iter().any(|incident| incident.missing.len() > 1);
    let status = match (parted, mark) {
        (_, _) if seen.status.learning => "forming",
        (true, _) => "partitioned",
        (false, Some(2)) => "healthy",
        _ => "degraded",
    };
    known(json!({
        "mesh_network_id": seen.mesh, "mesh_status": status, "mesh_protocol": "painlessMesh",
        "node_count": told(seen).count(), "online_nodes": there(true), "offline_nodes": there(false),
        "max_hop_count": seen.nodes.iter().filter_map(|each| each.node.hops).max(),
        "mesh_health": mark, "healthy_nodes": well, "warning_nodes": warned, "critical_nodes": critical,
        "avg_memory_health": spread(seen, "memory_health_percent").map(|(_, mean, _)| mean),
        "avg_network_health": spread(seen, "network_health_percent").map(|(_, mean, _)| mean),
        "avg_performance_health": spread(seen, "performance_health_percent").map(|(_, mean, _)| mean),
    }))
}

/// A critical alert, as the enhanced bridge has one and as the schema has several.
fn critical(alert: &Alert, seen: &Seen) -> Message {
    let one = historic::alert(alert);
    let mut body = one.clone();
    body["alerts"] = json!([one]);
    body["alert_count"] = 1.into();
    surely("mesh/alerts/critical", &of_gateway(seen, body))
}
