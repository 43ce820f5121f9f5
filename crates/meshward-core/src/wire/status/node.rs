//! What a node says of itself: types 13 and 14 of the library, 200, 202, 204, 604 and 605 of Alteriom.
//!
//! Names, order and widths are those of the C++ classes (`examples/alteriom/alteriom_sensor_package.hpp`,
//! `src/plugin/performance.hpp` and `remote.hpp` of library version 1.10.0); what fields mean, and where not to
//! believe that, is said in section 13 of `docs/protocol.md`.

use super::field::{List, Text, record};

/// Most lines of a [`RemoteLog`].
pub const LOG_LINES_MAX: usize = 64;

record! {
    /// Type 13, the library's `plugin/performance`: broadcast every 2 s where a sketch starts it.
    Performance {
        /// Counts these packages; one that is missing was lost.
        id: i32 = "id",
        /// Node time when it was sent, µs, of 32 bits with a sign.
        time: i32 = "time",
        /// How stable the node finds the mesh, 0 to 1000.
        stability: i32 = "stability",
        /// Free heap, bytes.
        free_memory: i32 = "freeMemory",
        /// `ESP32` or `ESP8266`.
        hardware: Text = "hardware",
    }
}

record! {
    /// Type 14, the library's `plugin/remote`: what a node logged, every 120 s, to one node. The same lines come
    /// again until newer ones push them out.
    RemoteLog {
        /// The lines.
        lines: List<LogLine, LOG_LINES_MAX> = "log",
    }
}

record! {
    /// One line of a [`RemoteLog`].
    LogLine {
        /// When, in the node's own reckoning.
        when: u32 = "first",
        /// What it says.
        text: Text = "second",
    }
}

record! {
    /// Type 200: what sensors measure.
    Sensor {
        /// Of the surroundings, °C.
        temperature: f64 = "temp",
        /// Relative, %.
        humidity: f64 = "hum",
        /// hPa.
        pressure: f64 = "press",
        /// Which sensor.
        sensor_id: u32 = "sid",
        /// Civil time, s.
        timestamp: u32 = "ts",
        /// %.
        battery: u8 = "bat",
        /// 200.
        message_type: u16 = "message_type",
    }
}

record! {
    /// Type 202: status and settings, and the answer to a [`Command`](super::Command).
    Status {
        /// Flags, in one document; 0 ok, 1 warning, 2 error in another; 1 operational in a third.
        status: u8 = "status",
        /// Since the last reset, s.
        uptime_s: u32 = "uptime",
        /// Free heap, KB.
        memory_kb: u16 = "mem",
        /// Strength of the signal: see the traps in `docs/protocol.md`.
        wifi: u8 = "wifi",
        /// Version.
        firmware: Text = "fw",
        /// The `cid` of the command that this answers; never sent as 0.
        response_to: u32 = "respTo",
        /// What the node says to that command.
        response: Text = "respMsg",
        /// Whose it is.
        organization: Organization = "organization",
        /// How often it measures.
        sensors: Sensors = "sensors",
        /// What it measures with.
        inventory: Inventory = "sensor_inventory",
        /// Its display.
        display: Display = "display_config",
        /// Its power.
        power: Power = "power_config",
        /// How it retries with its broker.
        mqtt_retry: MqttRetry = "mqtt_retry",
        /// 202.
        message_type: u16 = "message_type",
    }
}

record! {
    /// Whose a node is.
    Organization {
        /// The organization.
        organization_id: Text = "organizationId",
        /// The customer.
        customer_id: Text = "customerId",
        /// What the node is one of.
        group: Text = "deviceGroup",
        /// Its name, which other nodes may have too.
        name: Text = "device_name",
        /// Where it is, in words.
        location: Text = "device_location",
        /// Whether it has been given a secret.
        secret_set: bool = "device_secret_set",
    }
}

record! {
    /// How often a node measures. Whoever reads in C++ takes the milliseconds.
    Sensors {
        /// ms.
        read_ms: u32 = "read_interval_ms",
        /// The same, s, rounded down.
        read_s: u32 = "read_interval_s",
        /// ms.
        transmission_ms: u32 = "transmission_interval_ms",
        /// The same, s, rounded down.
        transmission_s: u32 = "transmission_interval_s",
        /// What is added to what is measured.
        calibration: Calibration = "calibration",
    }
}

record! {
    /// What is added to what is measured.
    Calibration {
        /// °C.
        temperature: f64 = "temperature_offset",
        /// Percentage points.
        humidity: f64 = "humidity_offset",
        /// hPa.
        pressure: f64 = "pressure_offset",
    }
}

record! {
    /// What a node measures with.
    Inventory {
        /// How many sensors.
        count: u8 = "count",
        /// Which kinds, a bit each.
        type_mask: u8 = "type_mask",
    }
}

record! {
    /// A node's display.
    Display {
        /// Whether it is on.
        enabled: bool = "enabled",
        /// 0 to 255.
        brightness: u8 = "brightness",
        /// When it goes dark, ms.
        timeout_ms: u32 = "timeout_ms" or "timeout",
        /// The same, s, rounded down.
        timeout_s: u32 = "timeout_s",
    }
}

record! {
    /// A node's power.
    Power {
        /// Whether it sleeps between measurements.
        deep_sleep: bool = "deep_sleep_enabled",
        /// How long, ms.
        deep_sleep_ms: u32 = "deep_sleep_interval_ms" or "deep_sleep_interval",
        /// The same, s, rounded down.
        deep_sleep_s: u32 = "deep_sleep_interval_s",
        /// %.
        battery: u8 = "battery_percent",
    }
}

record! {
    /// How a node retries with its broker.
    MqttRetry {
        /// How often at most.
        attempts: u8 = "max_attempts",
        /// How long it leaves it then, ms.
        circuit_breaker_ms: u32 = "circuit_breaker_ms",
        /// The same, s, rounded down.
        circuit_breaker_s: u32 = "circuit_breaker_s",
        /// Whether it tries again each hour.
        hourly: bool = "hourly_retry_enabled",
        /// The first wait, ms.
        initial_ms: u32 = "initial_retry_ms",
        /// The same, s, rounded down.
        initial_s: u32 = "initial_retry_s",
        /// The longest wait, ms.
        longest_ms: u32 = "max_retry_ms",
        /// The same, s, rounded down.
        longest_s: u32 = "max_retry_s",
        /// What each wait is of the one before.
        backoff: f64 = "backoff_multiplier",
    }
}

record! {
    /// Type 204: measurements of the node itself.
    Metrics {
        /// %.
        cpu: u8 = "cpu",
        /// Turns of the main loop, per second.
        loops: u32 = "loops",
        /// Tasks that wait.
        tasks: u16 = "tasks",
        /// Free, bytes.
        heap: u32 = "heap",
        /// Least free since the reset, bytes.
        heap_min: u32 = "minHeap",
        /// %.
        fragmentation: u32 = "fragHeap",
        /// Largest free block, bytes.
        heap_block: u32 = "maxHeap",
        /// Counts, wraps.
        bytes_rx: u32 = "bytesRx",
        /// Counts, wraps.
        bytes_tx: u32 = "bytesTx",
        /// Counts, wraps early.
        packets_rx: u16 = "pktsRx",
        /// Counts, wraps early.
        packets_tx: u16 = "pktsTx",
        /// Counts, wraps early.
        packets_dropped: u16 = "pktsDrop",
        /// Bytes per second.
        throughput: u16 = "throughput",
        /// Mean, µs.
        response_us: u32 = "avgResp",
        /// Longest, µs.
        response_us_max: u32 = "maxResp",
        /// Mean, ms.
        latency_ms: u16 = "avgLat",
        /// 0 to 100.
        connection_quality: u8 = "connQual",
        /// dBm.
        rssi: i8 = "rssi",
        /// When it was measured, s, of a clock that nobody names.
        timestamp: u32 = "ts",
        /// Time between two packages, ms.
        interval_ms: u32 = "interval",
        /// 204.
        message_type: u16 = "message_type",
    }
}

record! {
    /// Type 604: status of the node and what it makes of the mesh. A C++ node sends no `message_type` with it.
    EnhancedStatus {
        /// As in [`Status`].
        status: u8 = "status",
        /// Since the last reset, s.
        uptime_s: u32 = "uptime",
        /// Free heap, KB.
        memory_kb: u16 = "mem",
        /// As in [`Status`].
        wifi: u8 = "wifi",
        /// Version.
        firmware: Text = "fw",
        /// MD5 of the running image, in hexadecimal.
        firmware_md5: Text = "fwMD5",
        /// Nodes that it knows.
        nodes: u16 = "nodes",
        /// Neighbours.
        connections: u8 = "conns",
        /// Counts, wraps.
        messages_rx: u32 = "msgRx",
        /// Counts, wraps.
        messages_tx: u32 = "msgTx",
        /// Counts, wraps.
        messages_dropped: u32 = "msgDrop",
        /// Mean, ms.
        latency_ms: u16 = "latency",
        /// %.
        loss: u8 = "loss",
        /// Bytes per second.
        throughput: u16 = "throughput",
        /// Bits that no document explains.
        alerts: u8 = "alerts",
        /// The last error, in words.
        last_error: Text = "lastErr",
        /// Only where somebody else than a C++ node speaks.
        message_type: u16 = "message_type",
    }
}

record! {
    /// Type 605: the node's own judgement.
    HealthCheck {
        /// 0 critical, 1 warning, 2 well.
        health: u8 = "health",
        /// Bits, see [`HealthCheck::PROBLEMS`].
        problems: u16 = "problems",
        /// 0 to 100.
        memory_health: u8 = "memHealth",
        /// Bytes lost per hour.
        memory_trend: u32 = "memTrend",
        /// 0 to 100.
        network_health: u8 = "netHealth",
        /// %.
        loss: u8 = "loss",
        /// In the last hour.
        reconnects: u8 = "reconn",
        /// 0 to 100.
        performance_health: u8 = "perfHealth",
        /// Tasks that ran too late.
        deadlines_missed: u32 = "missed",
        /// Longest turn of the main loop, ms.
        loop_ms_max: u16 = "maxLoop",
        /// Of the chip, °C.
        temperature: i8 = "temp",
        /// 0 to 100.
        temperature_health: u8 = "tempHealth",
        /// Since the last reset, s.
        uptime_s: u32 = "uptime",
        /// Counts, wraps early.
        crashes: u16 = "crashes",
        /// Why it started last, the platform's number.
        reboot_reason: u32 = "reboot",
        /// Hours until it fails, as it thinks; 0 when it does not.
        hours_to_failure: u16 = "ettf",
        /// Advice, in words.
        advice: Text = "recommend",
        /// When it looked, s, of a clock that nobody names.
        timestamp: u32 = "ts",
        /// When it looks again, by the same clock.
        next_check: u32 = "nextCheck",
        /// 605.
        message_type: u16 = "message_type",
    }
}

impl HealthCheck {
    /// The bits of [`problems`](Self::problems), with their names.
    pub const PROBLEMS: [(u16, &'static str); 10] = [
        (0x001, "low memory"),
        (0x002, "high CPU load"),
        (0x004, "unstable links"),
        (0x008, "messages get lost"),
        (0x010, "congestion"),
        (0x020, "low battery"),
        (0x040, "too hot or too cold"),
        (0x080, "mesh partitioned"),
        (0x100, "update under way"),
        (0x200, "wrong configuration"),
    ];
}
