//! What is measured on nodes: one list, one unit each, for packets, packages, rules and pages alike.
//!
//! A value is a whole number of the metric's unit divided by ten to the power of its [`decimals`](Metric::decimals),
//! so that a chip without floating point can say it: 23.5 °C is 235.

use core::ops::RangeInclusive;

/// How a metric's values follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// Goes up and down.
    Gauge,
    /// Only rises, until the node restarts or the counter wraps.
    Counter,
    /// Names something: bigger or smaller means nothing.
    Name,
}

macro_rules! metrics {
    ($($(#[doc = $doc:literal])* $variant:ident $name:literal $unit:literal $decimals:literal $shape:ident $low:literal ..= $high:literal;)*) => {
        /// Something that is measured on a node.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Metric { $($(#[doc = $doc])* $variant,)* }

        impl Metric {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name in interfaces, in snake case, with the unit last where there is one.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Its unit, empty for a number of something and for names.
            pub const fn unit(self) -> &'static str {
                match self { $(Self::$variant => $unit,)* }
            }

            /// How many decimals a whole number of it has.
            pub const fn decimals(self) -> u32 {
                match self { $(Self::$variant => $decimals,)* }
            }

            /// How its values follow one another.
            pub const fn shape(self) -> Shape {
                match self { $(Self::$variant => Shape::$shape,)* }
            }

            /// What can be, in whole numbers with [`decimals`](Self::decimals); anything else is absurd.
            pub const fn range(self) -> RangeInclusive<i64> {
                match self { $(Self::$variant => $low..=$high,)* }
            }
        }
    };
}

metrics! {
    /// Since the last reset.
    Uptime "uptime_s" "s" 0 Counter 0..=4_294_967_295;
    /// Heap that is free.
    FreeHeap "free_heap_bytes" "B" 0 Gauge 0..=67_108_864;
    /// The least that was ever free since the reset.
    MinHeap "min_heap_bytes" "B" 0 Gauge 0..=67_108_864;
    /// How much of the free heap is not in its largest block.
    Fragmentation "heap_fragmentation_percent" "%" 0 Gauge 0..=100;
    /// How busy the processor is.
    Cpu "cpu_percent" "%" 0 Gauge 0..=100;
    /// The longest turn of the main loop since it was told last.
    LoopTime "loop_time_ms" "ms" 0 Gauge 0..=3_600_000;
    /// How strong the node hears its parent.
    Rssi "rssi_dbm" "dBm" 0 Gauge -127..=0;
    /// How good the node says its Wi-Fi is, where it gives no strength.
    WifiQuality "wifi_quality_percent" "%" 0 Gauge 0..=100;
    /// Neighbours.
    Links "links" "" 0 Gauge 0..=64;
    /// Messages received.
    MessagesRx "messages_rx" "" 0 Counter 0..=9_007_199_254_740_991;
    /// Messages sent.
    MessagesTx "messages_tx" "" 0 Counter 0..=9_007_199_254_740_991;
    /// Messages dropped.
    MessagesDropped "messages_dropped" "" 0 Counter 0..=9_007_199_254_740_991;
    /// Bytes received.
    BytesRx "bytes_rx" "B" 0 Counter 0..=9_007_199_254_740_991;
    /// Bytes sent.
    BytesTx "bytes_tx" "B" 0 Counter 0..=9_007_199_254_740_991;
    /// Bytes that wait to be sent.
    Queue "queue_bytes" "B" 0 Gauge 0..=67_108_864;
    /// What the node says its messages take.
    Latency "latency_ms" "ms" 0 Gauge 0..=600_000;
    /// What a probe from the gateway took, there and back.
    RoundTrip "round_trip_ms" "ms" 1 Gauge 0..=6_000_000;
    /// Messages that get lost, as the node says.
    Loss "loss_percent" "%" 1 Gauge 0..=1_000;
    /// The node one hop nearer to the root.
    Parent "parent" "" 0 Name 0..=4_294_967_295;
    /// The first four bytes of the running image's SHA-256, as a big-endian number.
    Firmware "firmware_id" "" 0 Name 0..=4_294_967_295;
    /// What is left in the battery.
    Battery "battery_percent" "%" 0 Gauge 0..=100;
    /// The supply's voltage.
    Supply "supply_mv" "mV" 0 Gauge 0..=60_000;
    /// How warm the chip is.
    ChipTemperature "chip_temperature_c" "°C" 1 Gauge -600..=2_000;
    /// How often the node has started, as it counts.
    Boots "boots" "" 0 Counter 0..=4_294_967_295;
    /// Why it started last, by ESP-IDF's `esp_reset_reason_t`.
    ResetReason "reset_reason" "" 0 Name 0..=255;
    /// Links that ended.
    LinksLost "links_lost" "" 0 Counter 0..=4_294_967_295;
    /// What the node complains of: bits of type 604.
    Alerts "alert_bits" "" 0 Name 0..=4_294_967_295;
    /// Chunks of updates that it has received.
    UpdateChunks "update_chunks" "" 0 Counter 0..=4_294_967_295;
    /// How warm its surroundings are.
    Temperature "temperature_c" "°C" 1 Gauge -1_000..=2_000;
    /// How humid they are.
    Humidity "humidity_percent" "%" 1 Gauge 0..=1_000;
    /// The pressure of the air.
    Pressure "pressure_hpa" "hPa" 1 Gauge 1_000..=20_000;
    // From here on: what only packages of C++ nodes tell.
    /// The status byte of types 202 and 604, which no two documents explain alike.
    StatusByte "status_byte" "" 0 Name 0..=255;
    /// The Wi-Fi byte of types 202 and 604 as it came, whatever it was read as.
    WifiByte "wifi_byte" "" 0 Name 0..=255;
    /// Turns of the main loop.
    LoopRate "loops_per_s" "1/s" 0 Gauge 0..=100_000_000;
    /// Tasks that wait.
    Tasks "tasks_waiting" "" 0 Gauge 0..=65_535;
    /// The largest block of heap that is free.
    LargestBlock "largest_block_bytes" "B" 0 Gauge 0..=67_108_864;
    /// What goes through the node.
    Throughput "throughput_bytes_per_s" "B/s" 0 Gauge 0..=16_777_215;
    /// How long the node takes to respond, on average.
    Response "response_us" "µs" 0 Gauge 0..=4_294_967_295;
    /// How long it took at worst.
    ResponseMax "response_max_us" "µs" 0 Gauge 0..=4_294_967_295;
    /// How good the node finds its links.
    LinkQuality "link_quality_percent" "%" 0 Gauge 0..=100;
    /// How stable the node finds the mesh.
    Stability "stability_permille" "‰" 0 Gauge 0..=1_000;
    /// Nodes that the node knows.
    NodesKnown "nodes_known" "" 0 Gauge 0..=10_000;
    /// The node's own judgement of its heap.
    MemoryHealth "memory_health_percent" "%" 0 Gauge 0..=100;
    /// The node's own judgement of its network.
    NetworkHealth "network_health_percent" "%" 0 Gauge 0..=100;
    /// The node's own judgement of its speed.
    PerformanceHealth "performance_health_percent" "%" 0 Gauge 0..=100;
    /// The node's own judgement of its temperature.
    TemperatureHealth "temperature_health_percent" "%" 0 Gauge 0..=100;
    /// Heap that the node loses, as it says.
    MemoryLoss "memory_loss_bytes_per_h" "B/h" 0 Gauge 0..=67_108_864;
    /// Links that ended in the last hour, as the node says.
    Reconnects "reconnects_per_h" "1/h" 0 Gauge 0..=255;
    /// Tasks that ran too late.
    DeadlinesMissed "deadlines_missed" "" 0 Counter 0..=9_007_199_254_740_991;
    /// Crashes and restarts, as the node counts.
    Crashes "crashes" "" 0 Counter 0..=9_007_199_254_740_991;
    /// When the node thinks that it will fail.
    TimeToFailure "time_to_failure_h" "h" 0 Gauge 0..=65_535;
    /// How a bridge hears its router.
    RouterRssi "router_rssi_dbm" "dBm" 0 Gauge -127..=0;
    /// The channel of a bridge's router.
    RouterChannel "router_channel" "" 0 Name 0..=14;
    /// How busy a bridge says it is.
    BridgeLoad "bridge_load_percent" "%" 0 Gauge 0..=100;
}

impl Metric {
    /// The metric of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|metric| metric.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_one_name_and_what_can_be() {
        for metric in Metric::ALL {
            assert_eq!(Metric::named(metric.name()), Some(*metric));
            assert!(metric.range().contains(&0) || *metric == Metric::Pressure, "{metric:?}");
        }
        assert_eq!(Metric::named("uptime"), None);
    }
}
