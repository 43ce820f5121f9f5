//! What outlives a restart: told piece by piece as it changes, and taken back at the start.

use std::collections::BTreeSet;

use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

use super::{Fleet, PARTED_MAX, Told};
use crate::alert::{Fingerprint, Rule};
use crate::cause;
use crate::condition::{Subject, kind};
use crate::liveness::Kept;
use crate::memory::{
    AlertMemory, Dirty, Memory, MeshMemory, Moment, NodeMemory, Reporting, Restored, Sleep, Start,
    WindowMemory,
};
use crate::packages::{Fact, Topic};
use crate::reading::Source;
use crate::registry::{Record, Registry, cut, one_line};

/// Longest MD5 that is taken, in bytes: 32 digits.
const MD5_BYTES: usize = 32;
/// Longest and shortest period of reports that is believed.
const PERIOD_MS: std::ops::RangeInclusive<u64> = 1_000..=86_400_000;
/// EnhancedStatus, the package that tells an MD5.
const ENHANCED_STATUS: i32 = 604;

/// How long it takes at most to find a state again that was before the start. What is told of each minute, or of each
/// report, is soon found; loops and flapping are judged by an hour; trends by six hours of values.
fn found_again_within(state: &str) -> Duration {
    let minutes = match state {
        kind::OFFLINE | kind::SUSPECT | kind::UNREACHABLE | kind::INCIDENT | kind::PARTITION => 10,
        kind::OVERHEAD | kind::DRIFT | kind::NOISY_NODE => 30,
        kind::REBOOT_LOOP | kind::FLAPPING => 75,
        kind::UNUSUAL | kind::STEP | kind::LIMIT => 120,
        kind::LEAK | kind::LINK_DECAY | kind::DRAIN => 390,
        _ => 120,
    };
    Duration::from_secs(minutes * 60)
}

/// What is to be written.
impl Fleet {
    /// The next thing of which something has changed since it was asked for last; each is told once, however often it
    /// changed. What is learnt with every report (when a node was heard, its uptime, what is usual) counts as a
    /// change once a minute.
    pub fn poll_dirty(&mut self) -> Option<Dirty> {
        let changes = self.engine.changes();
        let overflown = [changes.alerts.take_overflow(), changes.windows.take_overflow()];
        if self.registry.changed().take_overflow() || overflown.contains(&true) {
            self.clean();
            return Some(Dirty::All);
        }
        let mesh = self.memory_of_mesh();
        if std::mem::replace(&mut self.mesh_kept, mesh) != mesh {
            return Some(Dirty::Mesh);
        }
        let changes = self.engine.changes();
        if std::mem::take(&mut changes.rules) {
            return Some(Dirty::Rules);
        }
        let changed =
            changes.alerts.pop().map(Dirty::Alert).or_else(|| changes.windows.pop().map(Dirty::Window));
        changed.or_else(|| self.registry.changed().pop().map(Dirty::Node))
    }

    /// Nothing has changed.
    fn clean(&mut self) {
        self.mesh_kept = self.memory_of_mesh();
        let changes = self.engine.changes();
        changes.rules = false;
        changes.alerts.clear();
        changes.windows.clear();
        self.registry.changed().clear();
    }

    /// Everything that is kept.
    pub fn memory(&self, moment: Moment) -> Memory {
        let nodes = self.registry.iter().map(|(node, record)| self.kept_node(moment, node, record));
        let windows = self.engine.windows();
        Memory {
            mesh: self.memory_of_mesh(),
            nodes: nodes.collect(),
            alerts: self.engine.all_kept(moment).collect(),
            windows: windows.filter_map(|(number, _)| self.memory_of_window(moment, number)).collect(),
            rules: self.memory_of_rules().map(<[Rule]>::to_vec),
        }
    }

    /// Numbers that must not be given twice.
    pub fn memory_of_mesh(&self) -> MeshMemory {
        let (notifications, windows) = self.engine.numbers();
        MeshMemory { policies: self.policy_number, incidents: self.incidents.last(), notifications, windows }
    }

    /// What is kept of a node; `None` when it is gone.
    pub fn memory_of_node(&self, moment: Moment, node: NodeId) -> Option<NodeMemory> {
        self.registry.get(node).map(|record| self.kept_node(moment, node, record))
    }

    /// What is kept of an alert; `None` when it is gone, or was never raised.
    pub fn memory_of_alert(&self, moment: Moment, fingerprint: Fingerprint) -> Option<AlertMemory> {
        self.engine.kept(moment, fingerprint)
    }

    /// What is kept of a window; `None` when it is over, or an update's.
    pub fn memory_of_window(&self, moment: Moment, number: u32) -> Option<WindowMemory> {
        self.engine.kept_window(moment, number)
    }

    /// The rules, if people wrote them.
    pub fn memory_of_rules(&self) -> Option<&[Rule]> {
        self.engine.kept_rules()
    }

    fn kept_node(&self, moment: Moment, node: NodeId, record: &Record) -> NodeMemory {
        let life = self.liveness.kept(node).unwrap_or_default();
        let told = self.reporting.get(&node).or_else(|| self.parted.get(&node)).filter(|told| told.acked);
        let start = self.reboots.start(node);
        let stamp = |at: Instant| moment.stamp(at);
        let md5 = self.facts(node).find(|fact| fact.topic == Topic::FirmwareMd5);
        NodeMemory {
            node,
            family: record.family,
            capabilities: record.capabilities.clone(),
            identity: record.identity.clone(),
            firmware_md5: md5.map(|fact| fact.text.clone()),
            name: record.name.clone(),
            named_by_people: record.named_by_people,
            tags: record.tags.clone(),
            notes: record.notes.clone(),
            first_seen: stamp(record.first_seen),
            last_seen: life.heard.map(stamp),
            present: record.present,
            since: stamp(record.since),
            joins: record.joins,
            parent: life.parent,
            lost: life.lost.map(stamp),
            sleep: life.sleep.map(|wakes| Sleep { wakes: wakes.map(stamp) }),
            reporting: told
                .map(|told| Reporting { period_ms: told.period.as_millis(), told: stamp(told.at) }),
            start: Start {
                uptime_s: start.uptime.map(|(seconds, at)| (seconds, stamp(at))),
                boots: start.boots,
                reset_reason: start.reason,
            },
            usual: self.detector.kept(node).collect(),
        }
    }
}

/// What is taken back.
impl Fleet {
    /// Takes back what a fleet knew before, right after [`new`](Self::new) and before anything else is heard. What
    /// has been before the origin of the machine's clock counts as at that origin: a shell that keeps memories
    /// begins its clock long after it.
    ///
    /// Nodes are known and *learning*: none is called offline before the mesh has had its time to show itself, and
    /// none that took its policy is told again. Alerts are in the state that they were in, and end if nobody finds
    /// their cause again; nothing is sent because of the restart.
    pub fn restore(&mut self, moment: Moment, memory: &Memory) -> Restored {
        let mut put = Restored::default();
        let now = moment.now;
        let MeshMemory { policies, incidents, notifications, windows } = memory.mesh;
        self.policy_number = policies;
        self.incidents.restore(incidents);
        self.engine.restore_numbers(notifications, windows);
        if let Some(rules) = &memory.rules {
            put.rules = self.engine.restore_rules(now, rules.clone()).is_ok();
            put.skipped += u64::from(!put.rules);
        }
        for kept in &memory.nodes {
            self.restore_node(moment, kept, &mut put);
        }
        for kept in &memory.windows {
            self.engine.restore_window(moment, kept, &mut put);
        }
        for kept in &memory.alerts {
            // Who is not known any more has no alerts; links may be those of nodes that were forgotten.
            if kept.subject.node().is_some_and(|node| self.registry.get(node).is_none()) {
                put.skipped += 1;
                continue;
            }
            self.engine.restore_alert(moment, kept, found_again_within, &mut put);
        }
        let incidents = self.engine.alerts().map(|alert| alert.subject);
        self.incidents_before = incidents.filter(|subject| matches!(subject, Subject::Link(..))).collect();
        self.clean();
        put
    }

    fn restore_node(&mut self, moment: Moment, kept: &NodeMemory, put: &mut Restored) {
        let node = kept.node;
        let full = self.registry.iter().len() >= Registry::NODES_MAX;
        if node == NodeId::NONE || node == self.own || full || self.registry.get(node).is_some() {
            put.skipped += 1;
            return;
        }
        let ahead = [Some(kept.first_seen), kept.last_seen, Some(kept.since), kept.lost];
        put.corrected += ahead.into_iter().flatten().filter(|stamp| moment.is_ahead(*stamp)).count() as u64;
        let life = Kept {
            heard: kept.last_seen.map(|at| moment.past(at)),
            parent: kept.parent,
            lost: kept.lost.map(|at| moment.past(at)),
            sleep: kept.sleep.map(|sleep| sleep.wakes.map(|wakes| moment.any(wakes))),
        };
        if !self.liveness.restore(moment.now, node, life) {
            put.skipped += 1;
            return;
        }
        self.registry.restore(moment.now, node, record(moment, kept, put));
        put.nodes += 1;
        let start = kept.start;
        let uptime = start.uptime_s.map(|(seconds, at)| (seconds, moment.past(at)));
        let (boots, reason) = (start.boots, start.reset_reason);
        self.reboots.restore(node, cause::Start { uptime, boots, reason });
        if let Some((seconds, at)) = uptime {
            self.store.restore(node, seconds as f64, at);
        }
        if let Some(reporting) = kept.reporting {
            self.restore_policy(moment, node, reporting, put);
        }
        for usual in &kept.usual {
            put.skipped += u64::from(!self.detector.restore(node, usual));
        }
        if let Some(md5) = &kept.firmware_md5 {
            if md5.len() == MD5_BYTES && md5.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                let at = moment.past(kept.last_seen.unwrap_or(kept.since));
                let (topic, text) = (Topic::FirmwareMd5, md5.to_ascii_lowercase());
                let fact =
                    Fact { node, topic, text, at, source: Source::Package(ENHANCED_STATUS), doubt: None };
                self.facts.entry(node).or_default().insert(topic, fact);
            } else {
                put.corrected += 1;
            }
        }
    }

    /// A node that took a policy reports by it when it shows itself, as one that only changed its place.
    fn restore_policy(&mut self, moment: Moment, node: NodeId, kept: Reporting, put: &mut Restored) {
        if !PERIOD_MS.contains(&kept.period_ms) || self.parted.len() >= PARTED_MAX {
            put.corrected += 1;
            return;
        }
        let period = Duration::from_millis(kept.period_ms);
        let told = Told { number: 0, period, at: moment.past(kept.told), acked: true };
        self.parted.insert(node, told);
    }
}

/// The record of a node: labels that could not have been given are left out or cut.
fn record(moment: Moment, kept: &NodeMemory, put: &mut Restored) -> Record {
    let mut corrected = 0;
    let mut line = |what: &'static str, text: &str, max: usize| {
        let taken = one_line(what, text, max).ok().map(str::to_owned);
        corrected += u64::from(taken.is_none());
        taken
    };
    let name = kept.name.as_deref().and_then(|name| line("name", name, Registry::NAME_BYTES_MAX));
    let tags: BTreeSet<String> = kept
        .tags
        .iter()
        .filter_map(|tag| line("tag", tag, Registry::TAG_BYTES_MAX))
        .take(Registry::TAGS_MAX)
        .collect();
    let excess = kept.tags.len().saturating_sub(Registry::TAGS_MAX);
    let short = |text: &Option<String>| text.clone().map(|text| cut(text, Registry::NAME_BYTES_MAX));
    let mut identity = kept.identity.clone();
    identity.hardware = short(&identity.hardware);
    identity.role = short(&identity.role);
    identity.version = short(&identity.version);
    let notes = cut(kept.notes.clone(), Registry::NOTES_BYTES_MAX);
    put.corrected += corrected + excess as u64;
    put.corrected += u64::from(identity != kept.identity) + u64::from(notes != kept.notes);
    Record {
        family: kept.family,
        capabilities: kept.capabilities.clone(),
        identity,
        named_by_people: kept.named_by_people && name.is_some(),
        name,
        tags,
        notes,
        first_seen: moment.past(kept.first_seen),
        present: false,
        since: moment.past(kept.since),
        // Coming back after the gateway's restart is no new joining.
        joins: kept.joins.saturating_sub(u32::from(kept.present)),
    }
}
