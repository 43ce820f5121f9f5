//! `GET /metrics`: the mesh, its nodes and the gateway itself for Prometheus.
//!
//! A scrape takes one copy of what the fleet knows (`snapshot`), in the node's task, and writes it outside of it, as
//! text 0.0.4 or OpenMetrics 1.0, whichever is asked for. Nothing is asked of nodes because of it. Labels are `mesh`,
//! `node` and, of links, `peer`; names are on the info metric alone, so that a renamed node is no new series. A node
//! that is lost keeps `painlessmesh_node_up` 0 and when it was seen last; of one that may be lost, since the mesh has
//! not shown itself after a start, nothing is said but that; a forgotten one vanishes. Counters go on over wraps
//! and restarts of nodes, and begin again with the gateway's.
//!
//! The text is written here and not by `prometheus-client`: that keeps registered metrics for good and writes
//! OpenMetrics alone, while these are a table of a moment, from which nodes vanish, in two formats.

mod families;
mod process;
mod snapshot;
mod text;

use axum::extract::{FromRef, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::notify::Notifier;
use crate::service::{Gateway, Written};
use crate::shell::NodeHandle;
pub use families::{ABSENT, names};
pub(crate) use process::Process;
use snapshot::{Live, NodeCopy, Snapshot};
pub use text::Format;
use text::{Family, Writer};

/// Where it is served.
pub(crate) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    NodeHandle<Gateway>: FromRef<S>,
    Option<Notifier>: FromRef<S>,
{
    OpenApiRouter::new().routes(routes!(metrics))
}

/// The mesh, for Prometheus.
///
/// One text with all series, in the format that `Accept` prefers: the text format 0.0.4, or OpenMetrics 1.0.
#[utoipa::path(get, path = "/metrics", tag = "service", responses(
    (status = 200, description = "All series.", content_type = "text/plain", body = String),
))]
async fn metrics(
    State(gateway): State<NodeHandle<Gateway>>,
    State(notifier): State<Option<Notifier>>,
    headers: HeaderMap,
) -> Response {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    let format = Format::accepted(&accepts.collect::<Vec<_>>().join(","));
    match scrape(&gateway, notifier.as_ref(), format).await {
        Some(text) => {
            let kind = [(header::CONTENT_TYPE, format.content_type()), (header::VARY, "accept")];
            (kind, text).into_response()
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, "the gateway is shutting down\n").into_response(),
    }
}

/// Everything as it is now; `None` when the gateway has gone.
pub async fn scrape(
    gateway: &NodeHandle<Gateway>,
    notifier: Option<&Notifier>,
    format: Format,
) -> Option<String> {
    let mut copy = gateway.with(|now, node, gateway| Snapshot::take(gateway, now, node)).await.ok()?;
    if let Some(notifier) = notifier {
        // A database that cannot be read is seen by what is missing.
        copy.outbox = notifier.waiting().await.unwrap_or_default();
    }
    // Files of the system and some hundred kilobytes of text: not beside the sockets.
    tokio::task::spawn_blocking(move || write(&copy, &Process::read(), format)).await.ok()
}

fn write(copy: &Snapshot, process: &Process, format: Format) -> String {
    let mut writer = Writer::new(format);
    write_mesh(&mut writer, copy);
    write_nodes(&mut writer, copy);
    write_gateway(&mut writer, copy);
    for (family, value) in [
        (families::CPU, process.cpu_seconds),
        (families::RESIDENT, process.resident_bytes),
        (families::VIRTUAL, process.virtual_bytes),
        (families::STARTED, process.started_seconds),
        (families::OPEN_FILES, process.open_files),
        (families::FILES_MAX, process.files_max),
    ] {
        writer.begin(family);
        value.into_iter().for_each(|value| writer.sample(&[], value));
    }
    writer.finish()
}

fn write_mesh(writer: &mut Writer, copy: &Snapshot) {
    let mesh = ("mesh", &*copy.mesh);
    writer.begin(families::NODES);
    copy.states.iter().for_each(|(state, count)| writer.sample(&[mesh, ("state", state)], *count as f64));
    for (family, value) in [
        (families::LINKS, copy.links as f64),
        (families::DIAMETER, copy.diameter as f64),
        (families::PARTITIONS, copy.partitions as f64),
        (families::HEALTH, copy.score),
        (families::CHANGES, copy.changes as f64),
    ] {
        writer.begin(family);
        writer.sample(&[mesh], value);
    }
    writer.begin(families::OVERHEAD);
    writer.sample(&[mesh, ("definition", "capacity")], copy.overhead);
    copy.byte_ratio.into_iter().for_each(|ratio| writer.sample(&[mesh, ("definition", "bytes")], ratio));
    writer.begin(families::STATUS_BYTES);
    copy.status_bytes.iter().for_each(|(kind, bytes)| writer.sample(&[mesh, ("kind", kind)], *bytes as f64));
    writer.begin(families::ALERTS);
    for ((severity, state), count) in &copy.alerts {
        writer.sample(&[mesh, ("severity", severity), ("state", state)], *count as f64);
    }
}

fn write_nodes(writer: &mut Writer, copy: &Snapshot) {
    let mesh = ("mesh", &*copy.mesh);
    let mut each = |family: Family, value: &dyn Fn(&NodeCopy) -> Option<f64>| {
        writer.begin(family);
        for node in &copy.nodes {
            value(node).into_iter().for_each(|value| writer.sample(&[mesh, ("node", &node.id)], value));
        }
    };
    let live = |node: &NodeCopy, value: fn(&Live) -> Option<f64>| node.live.as_ref().and_then(value);
    each(families::UP, &|node| node.up.map(f64::from));
    each(families::LAST_SEEN, &|node| node.last_seen);
    each(families::BOOT, &|node| live(node, |live| live.booted));
    each(families::HOPS, &|node| live(node, |live| live.hops));
    each(families::CONNECTIONS, &|node| live(node, |live| live.connections));
    each(families::NODE_HEALTH, &|node| live(node, |live| live.score));
    for (place, told) in families::TOLD.iter().enumerate() {
        each(told.family, &|node| node.live.as_ref()?.told.get(place).copied().flatten());
    }
    writer.begin(families::NODE);
    for (node, live) in copy.nodes.iter().filter_map(|node| Some((node, node.live.as_ref()?))) {
        let labels = [
            mesh,
            ("node", &*node.id),
            ("name", &*live.name),
            ("firmware", &*live.firmware),
            ("firmware_md5", &*live.firmware_md5),
            ("hardware", &*live.hardware),
            ("role", &*live.role),
        ];
        writer.sample(&labels, 1.0);
    }
    writer.begin(families::LINK_RTT);
    for (node, live) in copy.nodes.iter().filter_map(|node| Some((node, node.live.as_ref()?))) {
        let labels = [mesh, ("node", &*node.id), ("peer", &*copy.own)];
        live.link_rtt.into_iter().for_each(|seconds| writer.sample(&labels, seconds));
    }
}

fn write_gateway(writer: &mut Writer, copy: &Snapshot) {
    writer.begin(families::BUILD);
    writer.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    writer.begin(families::QUERIES);
    copy.tally.results().for_each(|(result, count)| writer.sample(&[("result", result)], count as f64));
    writer.begin(families::QUERY_TIME);
    writer.histogram(&[], copy.tally.durations(), copy.tally.seconds());
    writer.begin(families::MQTT);
    copy.broker.into_iter().for_each(|connected| writer.sample(&[], f64::from(u8::from(connected))));
    writer.begin(families::PARSE_ERRORS);
    copy.parse_errors.iter().for_each(|(why, count)| writer.sample(&[("reason", why)], *count as f64));
    writer.begin(families::SLOW);
    copy.slow.iter().for_each(|(slow, count)| writer.sample(&[("result", slow.name())], *count as f64));
    writer.begin(families::OUTBOX);
    copy.outbox.iter().for_each(|(channel, count)| writer.sample(&[("channel", channel)], *count as f64));
    let influx = |value: fn(&Written) -> Option<f64>| copy.written.as_ref().and_then(value);
    for (family, value) in [
        (families::INFLUX_BATCHES, influx(|written| Some(written.batches as f64))),
        (families::INFLUX_BYTES, influx(|written| Some(written.bytes as f64))),
        (families::INFLUX_DROPPED, influx(|written| Some(written.dropped as f64))),
        (families::INFLUX_AT, influx(|written| Some(written.at?.as_millisecond() as f64 / 1e3))),
    ] {
        writer.begin(family);
        value.into_iter().for_each(|value| writer.sample(&[], value));
    }
}

#[cfg(test)]
mod tests;
