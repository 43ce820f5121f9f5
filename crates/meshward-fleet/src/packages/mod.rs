//! What C++ nodes tell in packages, turned into what the rest of the fleet understands.
//!
//! [`Packages`] is given each package when it comes and says what is [`Learnt`] from it: readings, words, findings.
//! It knows every trap of these packages (section 13 of `docs/protocol.md`), remembers of each node just what it
//! takes to tell a counter that wrapped from one that was reset, and refuses nothing: what cannot be is marked,
//! what is not known is counted. Whether a node is well or gone is for others to say.

mod counter;
mod learnt;
mod mesh;
mod node;
mod reader;
mod scale;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use meshward_core::hash::Md5Sum;
use meshward_core::telemetry::Metric;
use meshward_core::time::Instant;
use meshward_core::wire::status::{Package, Sent};
use meshward_core::wire::{NodeId, User, read};

use counter::Counter;
pub use learnt::{
    DeviceType, Fact, Finding, Learnt, Level, ODD_MAX, OddField, Presence, Scope, Topic, Via, What,
};
use reader::Reader;

use crate::uptime::Uptimes;

/// What has come so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packages that were learnt from.
    pub learnt: u64,
    /// Packages with at least one field that is not as it should be.
    pub odd: u64,
    /// Frames of types that are none of these, user text left aside.
    pub unknown: u64,
    /// Nodes whose counters were forgotten for want of room.
    pub forgotten: u64,
}

/// What is remembered of one node.
#[derive(Clone, Debug, Default)]
struct Track {
    heard: Instant,
    uptime: Uptimes,
    /// Which of its starts this is, as far as seen.
    start: u32,
    /// By type and metric: two types may count differently.
    counters: BTreeMap<(i32, Metric), Counter>,
    /// Its signal, where it was said without a doubt, dBm.
    rssi: Option<f64>,
    /// The number of its last package of type 13.
    id: Option<i32>,
    /// The sums of the lines of its last log, of which there are at most 64.
    log: Vec<Md5Sum>,
}

/// See the module's page.
#[derive(Clone, Debug, Default)]
pub struct Packages {
    nodes: BTreeMap<NodeId, Track>,
    unknown: BTreeMap<i32, u64>,
    counts: Counts,
}

impl Packages {
    /// Most nodes whose counters are remembered; the one that was silent longest goes first.
    pub const NODES_MAX: usize = 10_000;
    /// Most unknown types that are counted one by one.
    pub const UNKNOWN_MAX: usize = 32;

    /// A frame came from the mesh, as it is or normalised; what is learnt from it, if it is a package of these or
    /// text that is one.
    pub fn handle_frame(&mut self, now: Instant, frame: &[u8]) -> Option<Learnt> {
        let message = read(frame).ok()?;
        if let Ok(sent) = Sent::decode(&message.bytes) {
            let via = if sent.nested { Via::Text } else { Via::Frame };
            return Some(self.handle(now, &sent, via));
        }
        let kind = message.envelope.kind;
        if User::decode(&message.bytes).is_err() && !Package::is_kind(kind) {
            self.counts.unknown = self.counts.unknown.saturating_add(1);
            let room = self.unknown.len() < Self::UNKNOWN_MAX;
            match self.unknown.get_mut(&kind) {
                Some(count) => *count = count.saturating_add(1),
                None if room => _ = self.unknown.insert(kind, 1),
                None => {}
            }
        }
        None
    }

    /// A package came; what is learnt from it.
    pub fn handle(&mut self, now: Instant, sent: &Sent, via: Via) -> Learnt {
        self.make_room(sent.from);
        let track = self.nodes.entry(sent.from).or_default();
        track.heard = now;
        let learnt = Reader::new(now, sent, via, track).read(sent);
        self.counts.learnt = self.counts.learnt.saturating_add(1);
        self.counts.odd = self.counts.odd.saturating_add(u64::from(!learnt.odd.is_empty()));
        learnt
    }

    /// The node is gone for good.
    pub fn forget(&mut self, node: NodeId) {
        self.nodes.remove(&node);
    }

    /// What has come so far.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// How many frames of which unknown types came, of the first [`UNKNOWN_MAX`](Self::UNKNOWN_MAX) types.
    pub fn unknown(&self) -> impl Iterator<Item = (i32, u64)> {
        self.unknown.iter().map(|(kind, count)| (*kind, *count))
    }

    fn make_room(&mut self, node: NodeId) {
        if self.nodes.len() < Self::NODES_MAX || self.nodes.contains_key(&node) {
            return;
        }
        if let Some(id) = self.nodes.iter().min_by_key(|(_, track)| track.heard).map(|(id, _)| *id) {
            self.nodes.remove(&id);
            self.counts.forgotten = self.counts.forgotten.saturating_add(1);
        }
    }
}

/// What must hold for any bytes that come, twice and over a restart: the body of a test over the fuzz corpus. It
/// panics when it does not hold.
#[doc(hidden)]
pub fn fuzz(frame: &[u8]) {
    let mut packages = Packages::default();
    for at in [0, 1_000_000, 30_000_000] {
        let Some(learnt) = packages.handle_frame(Instant::from_micros(at), frame) else { return };
        assert!(learnt.odd.len() <= ODD_MAX);
        for reading in &learnt.readings {
            assert_eq!(reading.node, learnt.from);
            assert!(reading.value.is_finite() || !reading.is_sound(), "{reading:?}");
        }
        let sound = learnt.findings.iter().all(|finding| match finding.what {
            What::Link { quality: Some(quality), doubt, .. } => {
                doubt.is_some() || (0.0..=1.0).contains(&quality)
            }
            _ => true,
        });
        assert!(sound, "{:?}", learnt.findings);
    }
}
