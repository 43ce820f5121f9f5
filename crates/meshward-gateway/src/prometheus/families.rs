//! Every series by name: what it is and where it comes from, or why it is not there.

use meshward_core::telemetry::Metric;

use super::text::{Family, Kind};

const fn gauge(name: &'static str, unit: &'static str, help: &'static str) -> Family {
    Family { name, kind: Kind::Gauge, unit, help }
}

const fn counter(name: &'static str, unit: &'static str, help: &'static str) -> Family {
    Family { name, kind: Kind::Counter, unit, help }
}

const fn info(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: Kind::Info, unit: "", help }
}

macro_rules! families {
    ($($constant:ident = $make:ident($($text:literal),*);)*) => {
        $(pub(super) const $constant: Family = $make($($text),*);)*
        /// All that do not come from a node's own values.
        pub(super) const FIXED: &[Family] = &[$($constant),*];
    };
}

families! {
    NODES = gauge("painlessmesh_nodes", "", "Nodes that are known, by state.");
    LINKS = gauge("painlessmesh_links", "", "Links of the tree.");
    DIAMETER = gauge("painlessmesh_diameter_hops", "hops", "Hops between the two nodes of the tree that are farthest apart.");
    PARTITIONS = gauge("painlessmesh_partitions", "", "Branches of two nodes or more that are lost.");
    HEALTH = gauge("painlessmesh_health_score_ratio", "ratio", "The mesh's score, from 0 to 1.");
    CHANGES = counter("painlessmesh_topology_changes", "", "Trees that were another one than before.");
    OVERHEAD = gauge("painlessmesh_status_overhead_ratio", "ratio", "What watching the mesh takes: of the channel's time, or of all bytes where there is enough other traffic.");
    STATUS_BYTES = counter("painlessmesh_status_bytes", "bytes", "Bytes of status since the gateway's start, each counted for every link that it crossed.");
    ALERTS = gauge("painlessmesh_alerts", "", "Alerts, by severity and state.");
    NODE = info("painlessmesh_node", "What a node is and is called.");
    UP = gauge("painlessmesh_node_up", "", "Whether a node lives: 1 while it is online, suspect or asleep, 0 while it is offline or unreachable.");
    LAST_SEEN = gauge("painlessmesh_node_last_seen_timestamp_seconds", "seconds", "When something came from a node or through it last.");
    BOOT = gauge("painlessmesh_node_boot_timestamp_seconds", "seconds", "When a node started last, by its uptime.");
    HOPS = gauge("painlessmesh_node_hops", "hops", "Hops between the gateway and a node.");
    CONNECTIONS = gauge("painlessmesh_node_connections", "", "Links of a node in the tree.");
    NODE_HEALTH = gauge("painlessmesh_node_health_score_ratio", "ratio", "A node's score, from 0 to 1.");
    LINK_RTT = gauge("painlessmesh_link_rtt_seconds", "seconds", "There and back over one link of the gateway itself, by a probe.");
    BUILD = info("painlessmesh_gateway_build", "The gateway's version.");
    QUERIES = counter("painlessmesh_gateway_queries", "", "Queries, by how they ended.");
    QUERY_TIME = histogram("painlessmesh_gateway_query_duration_seconds", "seconds", "How long queries took that came to their end.");
    MQTT = gauge("painlessmesh_gateway_mqtt_connected", "", "1 while the broker has let the gateway in, 0 while it has not; absent where there is to be none.");
    PARSE_ERRORS = counter("painlessmesh_gateway_parse_errors", "", "Frames from the mesh that were not read, by why.");
    OUTBOX = gauge("painlessmesh_gateway_outbox_pending", "", "Messages to people that wait to be delivered, by channel.");
    SLOW = counter("painlessmesh_gateway_slow_listeners", "", "Listeners of streams that read too slowly: `reset` began again, `cut_off` was let go.");
    INFLUX_BATCHES = gauge("painlessmesh_gateway_influx_pending_batches", "", "Batches that wait for InfluxDB; absent where nothing is written there.");
    INFLUX_BYTES = gauge("painlessmesh_gateway_influx_pending_bytes", "bytes", "Bytes in them, packed.");
    INFLUX_DROPPED = counter("painlessmesh_gateway_influx_dropped_lines", "", "Lines that had no room, or that InfluxDB will never take.");
    INFLUX_AT = gauge("painlessmesh_gateway_influx_last_write_timestamp_seconds", "seconds", "When InfluxDB has taken something last.");
    CPU = counter("process_cpu_seconds", "seconds", "Processor time of the gateway's process.");
    RESIDENT = gauge("process_resident_memory_bytes", "bytes", "Memory of the gateway's process that is in RAM.");
    VIRTUAL = gauge("process_virtual_memory_bytes", "bytes", "Memory that is mapped into the gateway's process.");
    STARTED = gauge("process_start_time_seconds", "seconds", "When the gateway's process started.");
    OPEN_FILES = gauge("process_open_fds", "", "Files and sockets that the gateway's process has open.");
    FILES_MAX = gauge("process_max_fds", "", "How many it may have open.");
}

const fn histogram(name: &'static str, unit: &'static str, help: &'static str) -> Family {
    Family { name, kind: Kind::Histogram, unit, help }
}

/// How a node's metric becomes a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Read {
    /// The last value, times this.
    Last(f64),
    /// A counter over wraps and restarts.
    Total,
}

/// A family that comes from what nodes tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) family: Family,
    pub(super) metric: Metric,
    pub(super) read: Read,
}

const fn last(family: Family, metric: Metric, factor: f64) -> Told {
    Told { family, metric, read: Read::Last(factor) }
}

const fn total(family: Family, metric: Metric) -> Told {
    Told { family, metric, read: Read::Total }
}

/// All that come from nodes' own values.
pub(super) const TOLD: [Told; 16] = [
    last(
        gauge("painlessmesh_node_uptime_seconds", "seconds", "How long a node has run, as it told last."),
        Metric::Uptime,
        1.0,
    ),
    last(
        gauge("painlessmesh_node_free_heap_bytes", "bytes", "Heap that is free on a node."),
        Metric::FreeHeap,
        1.0,
    ),
    last(
        gauge(
            "painlessmesh_node_min_free_heap_bytes",
            "bytes",
            "The least heap that was free on a node since it started.",
        ),
        Metric::MinHeap,
        1.0,
    ),
    last(
        gauge(
            "painlessmesh_node_heap_fragmentation_ratio",
            "ratio",
            "How much of a node's free heap is not in its largest block.",
        ),
        Metric::Fragmentation,
        0.01,
    ),
    last(
        gauge("painlessmesh_node_cpu_usage_ratio", "ratio", "How busy a node's processor is."),
        Metric::Cpu,
        0.01,
    ),
    last(
        gauge("painlessmesh_node_rssi_dbm", "dbm", "How strong a node hears its parent."),
        Metric::Rssi,
        1.0,
    ),
    total(
        counter(
            "painlessmesh_node_received_packets",
            "packets",
            "Messages that a node received, over restarts and wraps.",
        ),
        Metric::MessagesRx,
    ),
    total(
        counter(
            "painlessmesh_node_transmitted_packets",
            "packets",
            "Messages that a node sent, over restarts and wraps.",
        ),
        Metric::MessagesTx,
    ),
    total(
        counter(
            "painlessmesh_node_dropped_packets",
            "packets",
            "Messages that a node dropped, over restarts and wraps.",
        ),
        Metric::MessagesDropped,
    ),
    total(
        counter(
            "painlessmesh_node_received_bytes",
            "bytes",
            "Bytes that a node received, over restarts and wraps.",
        ),
        Metric::BytesRx,
    ),
    total(
        counter(
            "painlessmesh_node_transmitted_bytes",
            "bytes",
            "Bytes that a node sent, over restarts and wraps.",
        ),
        Metric::BytesTx,
    ),
    last(
        gauge("painlessmesh_node_packet_loss_ratio", "ratio", "Messages that get lost, as a node says."),
        Metric::Loss,
        0.01,
    ),
    last(
        gauge(
            "painlessmesh_node_latency_seconds",
            "seconds",
            "From the gateway to a node and back, by a probe.",
        ),
        Metric::RoundTrip,
        0.001,
    ),
    last(
        gauge("painlessmesh_node_battery_ratio", "ratio", "What is left in a node's battery."),
        Metric::Battery,
        0.01,
    ),
    last(
        gauge("painlessmesh_node_chip_temperature_celsius", "celsius", "How warm a node's chip is."),
        Metric::ChipTemperature,
        1.0,
    ),
    last(
        counter("painlessmesh_node_reboots", "", "How often a node has started, as it counts."),
        Metric::Boots,
        1.0,
    ),
];

/// Series that somebody may look for, and why they are not there.
pub const ABSENT: [(&str, &str); 2] = [
    (
        "painlessmesh_node_anomaly_score",
        "anomalies are findings that begin and end; there is no running score",
    ),
    (
        "painlessmesh_link_quality_ratio",
        "nobody measures the quality of one link; there is the strength at which a node hears its parent",
    ),
];

/// Names of all series as samples have them, without those of histograms.
pub fn names() -> Vec<String> {
    FIXED.iter().chain(TOLD.iter().map(|told| &told.family)).map(Family::sample).collect()
}
