//! How much of the channel went to what, over the last ten minutes.
//!
//! Time is cut into slices of [`SLICE`]; a sum over the window takes whole slices and so looks back up to one slice
//! further than [`WINDOW`]: what stays below a budget here does so in every ten minutes.

use std::collections::VecDeque;

use meshward_core::time::{Duration, Instant};
use meshward_core::wire::kind;

use crate::forecast::Channel;

/// What budgets are kept over.
pub const WINDOW: Duration = Duration::from_secs(600);
/// The steps that the window moves in.
pub(super) const SLICE: Duration = Duration::from_secs(10);
/// The slices that may lie in a window, the one under way included.
const SLICES: u64 = WINDOW.as_micros() / SLICE.as_micros() + 1;

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Status that nodes send to us by themselves: telemetry, and status packages that are sent singly.
    Reports,
    /// Status that we ask for: probes, queries, answers, and how nodes are to report.
    Questions,
    /// Status that nodes broadcast by themselves; ours never do.
    Chatter,
    /// What holds a mesh together: node syncs and time syncs.
    Baseline,
    /// What the mesh is for.
    User,
    /// Firmware.
    Update,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Reports, Self::Questions, Self::Chatter, Self::Baseline, Self::User, Self::Update];

    /// Its name in interfaces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reports => "reports",
            Self::Questions => "questions",
            Self::Chatter => "chatter",
            Self::Baseline => "baseline",
            Self::User => "user",
            Self::Update => "update",
        }
    }

    /// What a message of this type is for. Sensor values and commands are what the mesh is for.
    pub const fn of(kind: i32, broadcast: bool) -> Self {
        match kind {
            kind::TIME_SYNC | kind::NODE_SYNC_REQUEST | kind::NODE_SYNC_REPLY => Self::Baseline,
            kind::OTA_ANNOUNCE..=kind::OTA_DATA | kind::OFFER..=kind::ORDER => Self::Update,
            kind::TIME_DELAY | 210 | 211 | 214 | 215 => Self::Questions,
            13 | 14 | 202 | 204 | 212 | 213 | 600..=605 | 610..=614 | 622 => {
                if broadcast {
                    Self::Chatter
                } else {
                    Self::Reports
                }
            }
            _ => Self::User,
        }
    }

    const fn index(self) -> usize {
        self as usize
    }
}

/// How many links a message crosses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crossings {
    /// As many as its sender, or whom it is for, is deep.
    Hops(u32),
    /// Each link of a mesh of so many nodes, the gateway included.
    Everywhere(u32),
    /// So many links within messages of others: its bytes are all that it takes.
    Within(u32),
}

impl Crossings {
    /// The number.
    pub const fn count(self) -> u32 {
        match self {
            Self::Hops(hops) | Self::Within(hops) => hops,
            Self::Everywhere(nodes) => nodes.saturating_sub(1),
        }
    }
}

/// A message as the gateway saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: i32,
    /// Its bytes on a link, the NUL included.
    pub bytes: usize,
    /// The links that it crosses.
    pub crossings: Crossings,
}

impl Frame {
    /// What it is for.
    pub const fn class(&self) -> Class {
        Class::of(self.kind, matches!(self.crossings, Crossings::Everywhere(_)))
    }

    /// The time that it takes of the channel, in nanoseconds.
    pub const fn nanos(&self, channel: &Channel) -> u64 {
        let once = match self.crossings {
            Crossings::Within(_) => channel.byte_nanos.saturating_mul(self.bytes as u64),
            _ => channel.nanos(self.bytes),
        };
        once.saturating_mul(self.crossings.count() as u64)
    }
}

/// Air time in nanoseconds and bytes times hops, by class.
#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    number: u64,
    nanos: [u64; 6],
    bytes: [u64; 6],
}

/// How much of the channel each class took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares {
    /// By [`Class::ALL`], in percent of the channel's time.
    percent: [f64; 6],
    bytes: [u64; 6],
    minutes: f64,
}

/// Application traffic, in bytes times hops a minute, below which a ratio of bytes says nothing.
const RATIO_FLOOR: f64 = 10_000.0;

impl Shares {
    /// How long that was.
    pub(super) const fn span(&self) -> Duration {
        Duration::from_secs((self.minutes * 60.0) as u64)
    }

    /// In percent of the channel's time.
    pub fn percent(&self, class: Class) -> f64 {
        self.percent.get(class.index()).copied().unwrap_or(0.0)
    }

    /// What we add to keep an eye on the mesh, in percent of the channel's time.
    pub fn status(&self) -> f64 {
        self.percent(Class::Reports) + self.percent(Class::Questions)
    }

    fn bytes(&self, class: Class) -> f64 {
        self.bytes.get(class.index()).copied().unwrap_or(0) as f64
    }

    /// Status by all bytes, hops counted: 0 to 1; `None` on a mesh that does little else, where it says nothing.
    pub fn byte_ratio(&self) -> Option<f64> {
        let application = self.bytes(Class::User) + self.bytes(Class::Update);
        let ours = self.bytes(Class::Reports) + self.bytes(Class::Questions);
        let status = ours + self.bytes(Class::Chatter);
        let all = application + status + self.bytes(Class::Baseline);
        (application > RATIO_FLOOR * self.minutes).then(|| status / all)
    }
}

/// See the module's page.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    past: VecDeque<Slice>,
    current: Slice,
    began: Option<Instant>,
    /// Bytes times hops since the start.
    totals: [u64; 6],
}

impl Meter {
    /// A message was seen or sent; `channel` says what it took.
    pub fn record(&mut self, now: Instant, channel: &Channel, frame: &Frame) {
        self.began.get_or_insert(now);
        let nanos = frame.nanos(channel);
        let bytes = (frame.bytes as u64).saturating_mul(u64::from(frame.crossings.count()));
        let at = frame.class().index();
        if let Some(sum) = self.totals.get_mut(at) {
            *sum = sum.saturating_add(bytes);
        }
        let slice = self.slice(now);
        if let Some(sum) = slice.nanos.get_mut(at) {
            *sum = sum.saturating_add(nanos);
        }
        if let Some(sum) = slice.bytes.get_mut(at) {
            *sum = sum.saturating_add(bytes);
        }
    }

    fn slice(&mut self, now: Instant) -> &mut Slice {
        // Time does not go back.
        let number = (now.as_micros() / SLICE.as_micros()).max(self.current.number);
        if self.current.number < number {
            let full = std::mem::replace(&mut self.current, Slice { number, ..Slice::default() });
            self.past.push_back(full);
            while self.past.front().is_some_and(|slice| slice.number.saturating_add(SLICES) <= number) {
                self.past.pop_front();
            }
        }
        &mut self.current
    }

    /// Bytes of a class since the start, each counted once for every link that it crossed.
    pub fn bytes_total(&self, class: Class) -> u64 {
        self.totals.get(class.index()).copied().unwrap_or(0)
    }

    /// What status took of the ten minutes that end now, in percent, however short the meter has run.
    pub fn window(&self, now: Instant) -> f64 {
        let nanos = self.nanos(now, Class::Reports).saturating_add(self.nanos(now, Class::Questions));
        nanos as f64 / (WINDOW.as_micros() as f64 * 10.0)
    }

    /// The slices of the window that ends now.
    fn slices_of(&self, now: Instant, span: u64) -> impl Iterator<Item = &Slice> {
        let number = now.as_micros() / SLICE.as_micros();
        let slices = self.past.iter().chain([&self.current]);
        slices.filter(move |slice| slice.number.saturating_add(span) > number)
    }

    /// What a class took within the window that ends now, in nanoseconds.
    pub fn nanos(&self, now: Instant, class: Class) -> u64 {
        self.nanos_back(now, class, SLICES)
    }

    /// What a class took within so many slices, the one under way included, in nanoseconds.
    pub(super) fn nanos_back(&self, now: Instant, class: Class, slices: u64) -> u64 {
        let sums = self.slices_of(now, slices).filter_map(|slice| slice.nanos.get(class.index()));
        sums.fold(0, |sum, nanos| sum.saturating_add(*nanos))
    }

    /// How much each class took of the last ten minutes, or of the time since the first message where that is
    /// shorter, but at least one minute.
    pub fn shares(&self, now: Instant) -> Shares {
        let running = self.began.map_or(Duration::ZERO, |began| now.since(began));
        let span = running.clamp(Duration::from_secs(60), WINDOW);
        let mut shares = Shares { percent: [0.0; 6], bytes: [0; 6], minutes: span.as_secs_f64() / 60.0 };
        for slice in self.slices_of(now, SLICES.saturating_sub(1)) {
            for (sum, nanos) in shares.percent.iter_mut().zip(slice.nanos) {
                *sum += nanos as f64 / (span.as_micros() as f64 * 10.0);
            }
            for (sum, bytes) in shares.bytes.iter_mut().zip(slice.bytes) {
                *sum = sum.saturating_add(bytes);
            }
        }
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    #[test]
    fn messages_are_for_something() {
        for (kind, broadcast, class) in [
            (3, false, Class::Questions),
            (6, false, Class::Baseline),
            (9, false, Class::User),
            (12, true, Class::Update),
            (222, true, Class::Update),
            (202, true, Class::Chatter),
            (202, false, Class::Reports),
            (213, false, Class::Reports),
            (200, true, Class::User),
            (777, true, Class::User),
        ] {
            assert_eq!(Class::of(kind, broadcast), class, "{kind}");
        }
        for (at, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class.index(), at);
        }
    }

    /// The design's table: N nodes of this depth that each send so many bytes once a minute.
    #[test]
    fn the_share_of_a_class_is_that_of_the_table() {
        for (nodes, depth, bytes, broadcast, percent) in [
            (10, 2.0, 80, false, 0.09),
            (10, 2.0, 144, false, 0.11),
            (10, 2.0, 273, false, 0.14),
            (10, 2.0, 273, true, 0.63),
            (10, 2.0, 920, true, 1.4),
            (25, 2.5, 80, false, 0.28),
            (25, 2.5, 144, false, 0.33),
            (25, 2.5, 273, false, 0.43),
            (25, 2.5, 273, true, 4.2),
            (25, 2.5, 920, true, 9.1),
            (50, 3.0, 80, false, 0.68),
            (50, 3.0, 144, false, 0.80),
            (50, 3.0, 273, false, 1.04),
            (50, 3.0, 273, true, 17.0),
            (50, 3.0, 920, true, 37.0),
            (100, 4.0, 80, false, 1.80),
            (100, 4.0, 144, false, 2.13),
            (100, 4.0, 273, false, 2.79),
            (100, 4.0, 273, true, 69.0),
            (100, 4.0, 920, true, 150.0),
            (200, 5.0, 80, false, 4.5),
            (200, 5.0, 144, false, 5.3),
            (200, 5.0, 273, false, 7.0),
            (200, 5.0, 273, true, 277.0),
        ] {
            let mut meter = Meter::default();
            let channel = Channel::default();
            for minute in 0..10 {
                for node in 0..nodes {
                    let hops = if node % 2 == 0 { f64::floor(depth) } else { f64::ceil(depth) };
                    let crossings =
                        if broadcast { Crossings::Everywhere(nodes) } else { Crossings::Hops(hops as u32) };
                    let kind = if broadcast { 604 } else { 213 };
                    meter.record(at(60 * minute + 15), &channel, &Frame { kind, bytes, crossings });
                }
            }
            let shares = meter.shares(at(609));
            let class = if broadcast { Class::Chatter } else { Class::Reports };
            let (measured, within) = (shares.percent(class), 0.005_f64.max(percent * 0.02));
            assert!(
                (measured - percent).abs() <= within,
                "{nodes} {bytes} {broadcast}: {measured} {percent}"
            );
        }
    }

    #[test]
    fn the_window_moves_and_memory_is_bounded() {
        let mut meter = Meter::default();
        let channel = Channel { frame_nanos: 1_000, byte_nanos: 0 };
        let frame = Frame { kind: 3, bytes: 1, crossings: Crossings::Hops(1) };
        for second in 0..10_000 {
            meter.record(at(second), &channel, &frame);
        }
        assert_eq!(meter.past.len() as u64 + 1, SLICES);
        assert_eq!(meter.nanos(at(9_999), Class::Questions), 610_000, "never less than ten minutes");
        assert_eq!(meter.nanos(at(10_400), Class::Questions), 200_000);
        meter.record(at(5), &channel, &frame);
        assert_eq!(meter.nanos(at(9_999), Class::Questions), 611_000, "a clock that jumps back");
        assert_eq!(meter.nanos(at(99_999), Class::Questions), 0);
    }

    #[test]
    fn a_ratio_of_bytes_needs_something_else_to_compare_with() {
        let mut meter = Meter::default();
        let channel = Channel::default();
        let mut record = |kind, bytes| {
            meter.record(at(1), &channel, &Frame { kind, bytes, crossings: Crossings::Hops(2) });
            meter.shares(at(2)).byte_ratio()
        };
        assert_eq!(record(213, 100), None);
        assert_eq!(record(9, 4_000), None);
        assert_eq!(record(9, 5_900), Some(0.01));
    }
}
