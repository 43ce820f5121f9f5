//! Turns one package into what is learnt: the tools that [`node`](super::node) and [`mesh`](super::mesh) use.

use meshward_core::hash::Md5Sum;
use meshward_core::telemetry::Metric;
use meshward_core::time::Instant;
use meshward_core::wire::status::{Answer, Field, Oddity, Package, Sent, Text, decimal};
use meshward_core::wire::{NodeId, To};

use super::counter::{Counter, Life, UPTIME_MS_MAX, Width};
use super::learnt::{DeviceType, Fact, Finding, Learnt, ODD_MAX, OddField, Scope, Topic, Via, What};
use super::scale::{as_written, wifi};
use super::{Track, mesh, node};
use crate::reading::{Doubt, Reading, Source};
use crate::uptime::Uptimes;

/// More heap than any board has, KB: what claims more counts in bytes, or was cut to 16 bits.
const MEMORY_KB_MAX: f64 = 32_768.0;

/// A package on its way to becoming what is learnt.
pub(super) struct Reader<'a> {
    learnt: Learnt,
    track: &'a mut Track,
    kind: i32,
    /// What has become of the sender since its last package, as far as its uptime says.
    life: Life,
    /// Counters of this package, which are judged together.
    counters: Vec<(Metric, u64, Width)>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(now: Instant, sent: &Sent, via: Via, track: &'a mut Track) -> Self {
        let kind = sent.package.kind();
        let learnt = Learnt {
            from: sent.from,
            at: now,
            source: Source::Package(kind),
            via,
            broadcast: sent.to == To::All,
            scope: scope(sent, via),
            readings: Vec::new(),
            facts: Vec::new(),
            findings: Vec::new(),
            odd: Vec::new(),
            odd_left_out: 0,
            answer: Answer::of(sent),
        };
        Self { learnt, track, kind, life: Life::Unknown, counters: Vec::new() }
    }

    /// Reads all of the package.
    pub(super) fn read(mut self, sent: &Sent) -> Learnt {
        self.odd(&sent.package);
        if self.learnt.scope == Scope::Mesh {
            mesh::of_mesh(&mut self, sent);
            return self.learnt;
        }
        if let Some(name) = sent.label.device_type.value() {
            self.find(What::Device(DeviceType::of(&name.to_str())));
        }
        self.text(Topic::Version, &sent.label.firmware_version);
        match &sent.package {
            Package::Performance(package) => node::performance(&mut self, package),
            Package::RemoteLog(package) => node::remote_log(&mut self, package),
            Package::Sensor(package) => node::sensor(&mut self, package),
            Package::Status(package) => node::status(&mut self, package),
            Package::Metrics(package) => node::metrics(&mut self, package),
            Package::EnhancedStatus(package) => node::enhanced(&mut self, package),
            Package::HealthCheck(package) => node::health(&mut self, package),
            // Who commands whom is not news of the sender.
            Package::Command(_) => {}
            other => mesh::read(&mut self, other),
        }
        self.settle_counters();
        self.learnt
    }

    fn odd(&mut self, package: &Package) {
        let Learnt { odd, odd_left_out, .. } = &mut self.learnt;
        package.odd(|field| {
            let (doubt, raw) = match field.why {
                Oddity::Outside(raw) => (Some(Doubt::Absurd), raw.to_str().into_owned()),
                Oddity::Wrong(raw) => (Some(Doubt::Type), raw.to_str().into_owned()),
                Oddity::Cut(count) => (None, format!("{count} left out")),
            };
            if odd.len() < ODD_MAX {
                odd.push(OddField { field: field.field, doubt, raw });
            } else {
                *odd_left_out = odd_left_out.saturating_add(1);
            }
        });
    }

    /// A number; one that does not fit is marked, and one that is none is a reading of nothing.
    pub(super) fn number<T: Copy + Into<f64>>(&mut self, metric: Metric, field: &Field<T>) {
        self.scaled(metric, field, 1.0);
    }

    /// A number in another unit than the metric's.
    pub(super) fn scaled<T: Copy + Into<f64>>(&mut self, metric: Metric, field: &Field<T>, factor: f64) {
        let doubt = match field {
            Field::Missing => return,
            Field::Value(_) => None,
            Field::Outside(_) => Some(Doubt::Absurd),
            Field::Wrong(_) => Some(Doubt::Type),
        };
        let number = field.number().map_or(f64::NAN, as_written);
        self.push(metric, number * factor, doubt);
    }

    /// A number that is 0 where a sketch has not set it.
    pub(super) fn number_if_set<T: Copy + Into<f64>>(&mut self, metric: Metric, field: &Field<T>) {
        if field.number() != Some(0.0) {
            self.number(metric, field);
        }
    }

    /// A reading, with a doubt of its own or that of its range.
    pub(super) fn push(&mut self, metric: Metric, value: f64, doubt: Option<Doubt>) {
        let Learnt { from, at, source, .. } = self.learnt;
        let reading = Reading::new(from, metric, value, at, source);
        let doubt = if reading.doubt == Some(Doubt::Absurd) && doubt != Some(Doubt::Type) {
            reading.doubt
        } else {
            doubt
        };
        self.learnt.readings.push(Reading { doubt, ..reading });
    }

    /// How many of these lines of a log, the oldest first, are the last ones of the log before.
    pub(super) fn known_lines(&mut self, lines: &[(Option<u32>, String)]) -> usize {
        let sum = |(when, text): &(Option<u32>, String)| Md5Sum::of(format!("{when:?} {text}").as_bytes());
        let sums: Vec<Md5Sum> = lines.iter().map(sum).collect();
        let before = std::mem::replace(&mut self.track.log, sums);
        let goes_on = |count: &usize| before.ends_with(self.track.log.get(..*count).unwrap_or_default());
        (0..=before.len().min(lines.len())).rev().find(goes_on).unwrap_or(0)
    }

    /// The signal of the sender, which later decides what a Wi-Fi byte was.
    pub(super) fn rssi(&mut self, field: &Field<i8>) {
        self.number_if_set(Metric::Rssi, field);
        if let Some(rssi) = field.get().filter(|rssi| *rssi < 0) {
            self.track.rssi = Some(f64::from(rssi));
        }
    }

    /// The Wi-Fi byte, as it came and as what it likely is.
    pub(super) fn wifi(&mut self, field: &Field<u8>) {
        self.number(Metric::WifiByte, field);
        let byte = field.number().filter(|byte| byte.abs() < 1e9).map(|byte| byte as i64);
        if let Some((metric, value, doubt)) = byte.and_then(|byte| wifi(byte, self.track.rssi)) {
            self.push(metric, value, doubt);
        }
    }

    /// Free heap in KB. Without any a node could not have said so: 0 is written where it is not known.
    pub(super) fn memory_kb(&mut self, field: &Field<u16>) {
        match field.number() {
            Some(kb) if kb == 0.0 || kb > MEMORY_KB_MAX => {
                self.push(Metric::FreeHeap, kb * 1024.0, Some(Doubt::Absurd))
            }
            _ => self.scaled(Metric::FreeHeap, field, 1024.0),
        }
    }

    /// The uptime, a whole number of `unit_ms`.
    pub(super) fn uptime(&mut self, field: &Field<u32>, unit_ms: u64) {
        let raw = field.get().map(|raw| u64::from(raw).saturating_mul(unit_ms));
        let Some(raw) = raw.filter(|raw| *raw <= UPTIME_MS_MAX) else {
            let doubt = if field.number().is_some() { Doubt::Absurd } else { Doubt::Type };
            if !field.is_missing() {
                let value = field.number().map_or(f64::NAN, |number| number * unit_ms as f64 / 1000.0);
                self.push(Metric::Uptime, value, Some(doubt));
            }
            return;
        };
        let now = self.learnt.at;
        self.life = self.track.uptime.handle(raw, now).into();
        if self.life == Life::Restarted {
            self.track.id = None;
            self.restarted();
        }
        self.push(Metric::Uptime, self.track.uptime.total(raw) as f64 / 1000.0, None);
    }

    fn restarted(&mut self) {
        self.track.start = self.track.start.wrapping_add(1);
        self.find(What::Restarted);
    }

    /// The running number of a package that comes again and again: what is missing was lost.
    pub(super) fn running_number(&mut self, id: i32) {
        let Some(before) = self.track.id.replace(id) else { return };
        if id < before {
            // Or its next uptime would tell of the same restart again.
            self.track.uptime = Uptimes::default();
            self.restarted();
        } else if let Ok(lost @ 1..) = u32::try_from(i64::from(id) - i64::from(before) - 1) {
            self.find(What::PackagesLost(lost));
        }
    }

    /// A counter, to be judged with the others of the package.
    pub(super) fn counter16(&mut self, metric: Metric, field: &Field<u16>) {
        match field.get() {
            Some(raw) => self.counters.push((metric, u64::from(raw), Width::Bits16)),
            None => self.number(metric, field),
        }
    }

    /// As [`counter16`](Self::counter16).
    pub(super) fn counter32(&mut self, metric: Metric, field: &Field<u32>) {
        match field.get() {
            Some(raw) => self.counters.push((metric, u64::from(raw), Width::Bits32)),
            None => self.number(metric, field),
        }
    }

    /// Judges the counters of the package together, and makes totals of them.
    fn settle_counters(&mut self) {
        let rows = core::mem::take(&mut self.counters);
        let life = self.life_of(&rows);
        for (metric, raw, width) in rows {
            let start = self.track.start;
            let first = Counter::first(raw, start);
            let counter = self.track.counters.entry((self.kind, metric)).or_insert(first);
            let doubt = counter.update(raw, width, start, life);
            let total = counter.total();
            self.push(metric, total as f64, doubt);
        }
    }

    /// What has become of the node, by its uptime and by what its counters say. One counter that fell from far
    /// below its end is enough: even where the node ran, somebody has reset them.
    fn life_of(&self, rows: &[(Metric, u64, Width)]) -> Life {
        let counters = &self.track.counters;
        let testimonies = rows.iter().filter_map(|(metric, raw, width)| {
            Some(counters.get(&(self.kind, *metric))?.testimony(*raw, *width, self.track.start))
        });
        let mut life = self.life;
        for testimony in testimonies {
            match testimony {
                Life::Restarted => life = Life::Restarted,
                Life::Ran if life == Life::Unknown => life = Life::Ran,
                _ => {}
            }
        }
        life
    }

    /// Words, unless there are none. A C++ node that has read a package without them writes `null`.
    pub(super) fn text<const MAX: usize>(&mut self, topic: Topic, field: &Field<Text<MAX>>) {
        let Some(text) = field.value().filter(|text| !matches!(text.as_bytes(), b"" | b"null")) else {
            return;
        };
        self.fact(topic, text.to_str().into_owned(), None);
    }

    /// The MD5 of the running image; what is none is marked.
    pub(super) fn md5(&mut self, field: &Field<Text>) {
        let Some(text) = field.value().filter(|text| !matches!(text.as_bytes(), b"" | b"null")) else {
            return;
        };
        let hexadecimal = text.as_bytes().len() == 32 && text.as_bytes().iter().all(u8::is_ascii_hexdigit);
        let doubt = (!hexadecimal).then_some(Doubt::Absurd);
        self.fact(Topic::FirmwareMd5, text.to_str().to_ascii_lowercase(), doubt);
    }

    /// One setting, as text.
    pub(super) fn setting<T: ToString>(&mut self, name: &'static str, field: &Field<T>) {
        if let Some(value) = field.value() {
            self.fact(Topic::Setting(name), value.to_string(), None);
        }
    }

    /// As [`setting`](Self::setting), of a real.
    pub(super) fn real_setting(&mut self, name: &'static str, field: &Field<f64>) {
        if let Some(value) = field.get() {
            self.fact(Topic::Setting(name), decimal(value), None);
        }
    }

    fn fact(&mut self, topic: Topic, text: String, doubt: Option<Doubt>) {
        let Learnt { from, at, source, .. } = self.learnt;
        self.learnt.facts.push(Fact { node: from, topic, text, at, source, doubt });
    }

    /// Something about the sender.
    pub(super) fn find(&mut self, what: What) {
        self.find_of(self.learnt.from, what);
    }

    /// Something about a node.
    pub(super) fn find_of(&mut self, node: NodeId, what: What) {
        self.learnt.findings.push(Finding { node, what });
    }
}

/// What a package is about. The numbers 604 and 605 mean one node in the mesh and the whole mesh in the MQTT schema:
/// what has a `mesh_status` is of the schema, and so is what a broker brought with a `message_type`.
fn scope(sent: &Sent, via: Via) -> Scope {
    let message_type = match &sent.package {
        Package::EnhancedStatus(package) => &package.message_type,
        Package::HealthCheck(package) => &package.message_type,
        _ => return Scope::Node,
    };
    let of_mesh = !sent.label.mesh_status.is_missing() || (via == Via::Broker && !message_type.is_missing());
    if of_mesh { Scope::Mesh } else { Scope::Node }
}
