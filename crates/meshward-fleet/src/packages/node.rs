//! What a node says of itself: one function per type, one line per field.

use meshward_core::telemetry::Metric;
use meshward_core::wire::status::{
    EnhancedStatus, HealthCheck, LogLine, Metrics, MqttRetry, Organization, Performance, RemoteLog, Sensor,
    Sensors, Status,
};

use super::learnt::{Level, Topic, What};
use super::reader::Reader;

pub(super) fn performance(reader: &mut Reader<'_>, package: &Performance) {
    reader.number(Metric::FreeHeap, &package.free_memory);
    reader.number(Metric::Stability, &package.stability);
    reader.text(Topic::Hardware, &package.hardware);
    if let Some(id) = package.id.get() {
        reader.running_number(id);
    }
}

/// The node sends all lines that it still has; those that came before are not told again.
pub(super) fn remote_log(reader: &mut Reader<'_>, package: &RemoteLog) {
    let lines = package.lines.value().map_or(&[][..], |lines| lines.items());
    let text = |line: &LogLine| line.text.value().map(|text| text.to_str().trim_end().to_owned());
    let lines: Vec<_> = lines.iter().map(|line| (line.when.get(), text(line).unwrap_or_default())).collect();
    let known = reader.known_lines(&lines);
    for (when, text) in lines.into_iter().skip(known) {
        reader.find(What::Logged { when, text });
    }
}

/// Temperature of the surroundings, unlike that of 605.
pub(super) fn sensor(reader: &mut Reader<'_>, package: &Sensor) {
    reader.number(Metric::Temperature, &package.temperature);
    reader.number(Metric::Humidity, &package.humidity);
    reader.number_if_set(Metric::Pressure, &package.pressure);
    reader.number_if_set(Metric::Battery, &package.battery);
}

pub(super) fn status(reader: &mut Reader<'_>, package: &Status) {
    reader.number(Metric::StatusByte, &package.status);
    reader.uptime(&package.uptime_s, 1000);
    reader.memory_kb(&package.memory_kb);
    reader.wifi(&package.wifi);
    reader.text(Topic::Version, &package.firmware);
    if let Some(organization) = package.organization.value() {
        self::organization(reader, organization);
    }
    if let Some(sensors) = package.sensors.value() {
        self::sensors(reader, sensors);
    }
    if let Some(inventory) = package.inventory.value() {
        reader.setting("sensor_inventory.count", &inventory.count);
        reader.setting("sensor_inventory.type_mask", &inventory.type_mask);
    }
    if let Some(display) = package.display.value() {
        reader.setting("display_config.enabled", &display.enabled);
        reader.setting("display_config.brightness", &display.brightness);
        reader.setting("display_config.timeout_ms", &display.timeout_ms);
    }
    if let Some(power) = package.power.value() {
        reader.setting("power_config.deep_sleep_enabled", &power.deep_sleep);
        reader.setting("power_config.deep_sleep_interval_ms", &power.deep_sleep_ms);
        reader.number_if_set(Metric::Battery, &power.battery);
        if let (Some(true), Some(ms @ 1..)) = (power.deep_sleep.get(), power.deep_sleep_ms.get()) {
            reader.find(What::Sleeps(ms));
        }
    }
    if let Some(retry) = package.mqtt_retry.value() {
        mqtt_retry(reader, retry);
    }
}

fn organization(reader: &mut Reader<'_>, package: &Organization) {
    reader.text(Topic::Organization, &package.organization_id);
    reader.text(Topic::Customer, &package.customer_id);
    reader.text(Topic::Group, &package.group);
    reader.text(Topic::Name, &package.name);
    reader.text(Topic::Location, &package.location);
    reader.setting("organization.device_secret_set", &package.secret_set);
}

fn sensors(reader: &mut Reader<'_>, package: &Sensors) {
    reader.setting("sensors.read_interval_ms", &package.read_ms);
    reader.setting("sensors.transmission_interval_ms", &package.transmission_ms);
    if let Some(calibration) = package.calibration.value() {
        reader.real_setting("sensors.calibration.temperature_offset", &calibration.temperature);
        reader.real_setting("sensors.calibration.humidity_offset", &calibration.humidity);
        reader.real_setting("sensors.calibration.pressure_offset", &calibration.pressure);
    }
}

fn mqtt_retry(reader: &mut Reader<'_>, package: &MqttRetry) {
    reader.setting("mqtt_retry.max_attempts", &package.attempts);
    reader.setting("mqtt_retry.circuit_breaker_ms", &package.circuit_breaker_ms);
    reader.setting("mqtt_retry.hourly_retry_enabled", &package.hourly);
    reader.setting("mqtt_retry.initial_retry_ms", &package.initial_ms);
    reader.setting("mqtt_retry.max_retry_ms", &package.longest_ms);
    reader.real_setting("mqtt_retry.backoff_multiplier", &package.backoff);
}

/// No uptime: whether a counter wrapped its fellows say.
pub(super) fn metrics(reader: &mut Reader<'_>, package: &Metrics) {
    reader.number(Metric::Cpu, &package.cpu);
    reader.number(Metric::LoopRate, &package.loops);
    reader.number(Metric::Tasks, &package.tasks);
    reader.number(Metric::FreeHeap, &package.heap);
    reader.number(Metric::MinHeap, &package.heap_min);
    reader.number(Metric::Fragmentation, &package.fragmentation);
    reader.number(Metric::LargestBlock, &package.heap_block);
    reader.counter32(Metric::BytesRx, &package.bytes_rx);
    reader.counter32(Metric::BytesTx, &package.bytes_tx);
    reader.counter16(Metric::MessagesRx, &package.packets_rx);
    reader.counter16(Metric::MessagesTx, &package.packets_tx);
    reader.counter16(Metric::MessagesDropped, &package.packets_dropped);
    reader.number(Metric::Throughput, &package.throughput);
    reader.number(Metric::Response, &package.response_us);
    reader.number(Metric::ResponseMax, &package.response_us_max);
    reader.number(Metric::Latency, &package.latency_ms);
    reader.number(Metric::LinkQuality, &package.connection_quality);
    reader.rssi(&package.rssi);
}

/// `alerts` is a bit mask here, and an array in 602.
pub(super) fn enhanced(reader: &mut Reader<'_>, package: &EnhancedStatus) {
    reader.number(Metric::StatusByte, &package.status);
    reader.uptime(&package.uptime_s, 1000);
    reader.memory_kb(&package.memory_kb);
    reader.wifi(&package.wifi);
    reader.text(Topic::Version, &package.firmware);
    reader.md5(&package.firmware_md5);
    reader.number(Metric::NodesKnown, &package.nodes);
    reader.number(Metric::Links, &package.connections);
    reader.counter32(Metric::MessagesRx, &package.messages_rx);
    reader.counter32(Metric::MessagesTx, &package.messages_tx);
    reader.counter32(Metric::MessagesDropped, &package.messages_dropped);
    reader.number(Metric::Latency, &package.latency_ms);
    reader.number(Metric::Loss, &package.loss);
    reader.number(Metric::Throughput, &package.throughput);
    reader.number(Metric::Alerts, &package.alerts);
    reader.text(Topic::LastError, &package.last_error);
}

/// Temperature of the chip, unlike that of 200.
pub(super) fn health(reader: &mut Reader<'_>, package: &HealthCheck) {
    reader.uptime(&package.uptime_s, 1000);
    reader.number(Metric::MemoryHealth, &package.memory_health);
    reader.number(Metric::MemoryLoss, &package.memory_trend);
    reader.number(Metric::NetworkHealth, &package.network_health);
    reader.number(Metric::Loss, &package.loss);
    reader.number(Metric::Reconnects, &package.reconnects);
    reader.number(Metric::PerformanceHealth, &package.performance_health);
    reader.counter32(Metric::DeadlinesMissed, &package.deadlines_missed);
    reader.number(Metric::LoopTime, &package.loop_ms_max);
    reader.number(Metric::ChipTemperature, &package.temperature);
    reader.number(Metric::TemperatureHealth, &package.temperature_health);
    // Not reset at a restart: it counts them.
    reader.number(Metric::Crashes, &package.crashes);
    reader.number(Metric::ResetReason, &package.reboot_reason);
    reader.number_if_set(Metric::TimeToFailure, &package.hours_to_failure);
    reader.text(Topic::Advice, &package.advice);
    match package.health.get() {
        Some(0) => reader.find(What::Health(Level::Critical)),
        Some(1) => reader.find(What::Health(Level::Warning)),
        Some(2) => reader.find(What::Health(Level::Info)),
        _ => {}
    }
    problems(reader, package.problems.get().unwrap_or(0));
}

/// One finding for each bit, those without a name too.
fn problems(reader: &mut Reader<'_>, bits: u16) {
    for bit in (0..u16::BITS).map(|shift| 1 << shift).filter(|bit| bits & bit != 0) {
        let name = HealthCheck::PROBLEMS.iter().find(|(known, _)| *known == bit).map_or("", |(_, name)| name);
        reader.find(What::Problem { bit, name });
    }
}
