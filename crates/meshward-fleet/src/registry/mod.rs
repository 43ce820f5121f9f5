//! What is known of each node for good: what it is, what it can, what people call it.
//!
//! Where nodes are is for [`topology`](crate::topology), whether they live for [`liveness`](crate::liveness); this
//! outlives both. Told who joined and left and what was heard; never forgets a node by itself, but keeps at most
//! [`Registry::NODES_MAX`]: the longest absent goes first. A name is a label and never a key: a hundred nodes may
//! have one. Refuses labels that are too long, and says which limit they break.

mod family;
mod label;

use std::collections::{BTreeMap, BTreeSet};

use meshward_core::time::Instant;
use meshward_core::wire::NodeId;

use crate::memory::Changed;
pub use family::{Capability, Family};
pub use label::LabelError;
pub(crate) use label::{cut, one_line};

/// What a node is, as it says itself or as its updates showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its board, as firmware names it.
    pub hardware: Option<String>,
    /// What its firmware is for.
    pub role: Option<String>,
    /// What its firmware calls itself.
    pub version: Option<String>,
    /// The first four bytes of the running image's SHA-256, as a big-endian number.
    pub image: Option<u32>,
}

/// What is known of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose protocol it speaks.
    pub family: Family,
    /// What it has shown that it can.
    pub capabilities: BTreeSet<Capability>,
    /// What it is.
    pub identity: Identity,
    /// What people call it; where they call it nothing, what it calls itself.
    pub name: Option<String>,
    /// Words by which people choose nodes.
    pub tags: BTreeSet<String>,
    /// What people have written down about it.
    pub notes: String,
    /// When it was seen first.
    pub first_seen: Instant,
    /// Whether it is in the tree.
    pub present: bool,
    /// When it came or went last.
    pub since: Instant,
    /// How often it has joined.
    pub joins: u32,
    /// Whether that name is people's.
    pub named_by_people: bool,
}

impl Record {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            family: Family::Unknown,
            capabilities: BTreeSet::new(),
            identity: Identity::default(),
            name: None,
            tags: BTreeSet::new(),
            notes: String::new(),
            first_seen: now,
            present: false,
            since: now,
            joins: 0,
            named_by_people: false,
        }
    }
}

/// Why a node cannot be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForgetError {
    /// Nobody knows it.
    #[error("there is no such node")]
    Unknown,
    /// It would be known again at once.
    #[error("the node is in the mesh now: switch it off first")]
    Present,
}

/// See the module's page.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    nodes: BTreeMap<NodeId, Record>,
    names: BTreeMap<String, BTreeSet<NodeId>>,
    forgotten: u64,
    refused: u64,
    changed: Changed<NodeId>,
}

impl Registry {
    /// Most nodes that are remembered.
    pub const NODES_MAX: usize = 10_000;

    /// A node is in the tree now.
    pub fn joined(&mut self, now: Instant, id: NodeId) {
        if let Some(record) = self.entry(now, id)
            && !record.present
        {
            record.present = true;
            record.since = now;
            record.joins = record.joins.saturating_add(1);
            self.changed.insert(id);
        }
    }

    /// A node is not in the tree any more.
    pub fn left(&mut self, now: Instant, id: NodeId) {
        if let Some(record) = self.nodes.get_mut(&id)
            && record.present
        {
            record.present = false;
            record.since = now;
            self.changed.insert(id);
        }
    }

    /// A package of this type came from a node: what that says about it. Nodes that are not known stay so: only the
    /// tree brings nodes, since anybody can write a sender into a package.
    pub fn heard(&mut self, id: NodeId, kind: i32) {
        if let Some(record) = self.nodes.get_mut(&id) {
            let family = record.family.max(Family::shown_by(kind));
            let other = std::mem::replace(&mut record.family, family) != family;
            let more = Capability::shown_by(kind).is_some_and(|one| record.capabilities.insert(one));
            if other || more {
                self.changed.insert(id);
            }
        }
    }

    /// A node has a capability that no package of its own shows, such as forwarding its children's reports.
    pub fn can(&mut self, id: NodeId, capability: Capability) {
        if let Some(record) = self.nodes.get_mut(&id)
            && record.capabilities.insert(capability)
        {
            self.changed.insert(id);
        }
    }

    /// What a node is, as far as this says: what is `None` stays as it was. Returns whether it runs another image
    /// or version than before; then what its firmware could is not known any more.
    pub fn identify(&mut self, id: NodeId, told: Identity) -> bool {
        let Some(record) = self.nodes.get_mut(&id) else { return false };
        let before = record.identity.clone();
        let known = &mut record.identity;
        let differs =
            |old: &Option<String>, new: &Option<String>| old.is_some() && new.is_some() && old != new;
        let other_image = known.image.zip(told.image).is_some_and(|(old, new)| old != new);
        let changed = other_image || differs(&known.version, &told.version);
        let take = |old: &mut Option<String>, new: Option<String>| {
            if let Some(new) = new {
                *old = Some(label::cut(new, Self::NAME_BYTES_MAX));
            }
        };
        take(&mut known.hardware, told.hardware);
        take(&mut known.role, told.role);
        take(&mut known.version, told.version);
        known.image = told.image.or(known.image);
        if changed {
            record.family = Family::Unknown;
            record.capabilities.clear();
        }
        if changed || record.identity != before {
            self.changed.insert(id);
        }
        changed
    }

    /// Takes a record that was kept elsewhere, over a restart of the gateway; its node is absent until the tree
    /// shows it.
    pub fn restore(&mut self, now: Instant, id: NodeId, kept: Record) {
        let Some(record) = self.entry(now, id) else { return };
        let since = if record.present { record.since } else { kept.since };
        let (name, present) = (kept.name.clone(), record.present);
        *record = Record { present, since, name: None, ..kept };
        self.rename(id, name);
    }

    /// Something that is kept of a node has changed, which is not known here.
    pub(crate) fn touch(&mut self, id: NodeId) {
        if self.nodes.contains_key(&id) {
            self.changed.insert(id);
        }
    }

    /// Nodes of which something has changed, or that are gone.
    pub(crate) fn changed(&mut self) -> &mut Changed<NodeId> {
        &mut self.changed
    }

    /// Forgets a node that is not in the mesh; if it comes back it is a new one.
    ///
    /// # Errors
    /// [`ForgetError`], and nothing was forgotten.
    pub fn forget(&mut self, id: NodeId) -> Result<Record, ForgetError> {
        let record = self.nodes.get(&id).ok_or(ForgetError::Unknown)?;
        if record.present {
            return Err(ForgetError::Present);
        }
        self.rename(id, None);
        self.changed.insert(id);
        self.nodes.remove(&id).ok_or(ForgetError::Unknown)
    }

    /// The record of a node, a new one if need be; `None` when all that are remembered are in the mesh.
    fn entry(&mut self, now: Instant, id: NodeId) -> Option<&mut Record> {
        if self.nodes.len() >= Self::NODES_MAX && !self.nodes.contains_key(&id) {
            let absent = self.nodes.iter().filter(|(_, record)| !record.present);
            let oldest = absent.min_by_key(|(_, record)| record.since).map(|(id, _)| *id);
            let Some(oldest) = oldest else {
                self.refused = self.refused.saturating_add(1);
                return None;
            };
            self.rename(oldest, None);
            self.changed.insert(oldest);
            self.nodes.remove(&oldest);
            self.forgotten = self.forgotten.saturating_add(1);
        }
        Some(self.nodes.entry(id).or_insert_with(|| Record::new(now)))
    }

    /// All nodes, in order of id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (NodeId, &Record)> {
        self.nodes.iter().map(|(id, record)| (*id, record))
    }

    /// What is known of one node.
    pub fn get(&self, id: NodeId) -> Option<&Record> {
        self.nodes.get(&id)
    }

    /// How many absent nodes were forgotten for want of room.
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// How often a node was not remembered for want of room.
    pub const fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meshward_core::time::Duration;

    const T0: Instant = Instant::ORIGIN;

    fn second(n: u64) -> Instant {
        T0 + Duration::from_secs(n)
    }

    #[test]
    fn nodes_join_leave_and_return() {
        let mut registry = Registry::default();
        let id = NodeId(2);
        let state = |registry: &Registry| registry.get(id).map(|r| (r.present, r.since, r.joins));
        registry.left(T0, id);
        assert_eq!(state(&registry), None, "who never came cannot leave");
        registry.joined(T0, id);
        registry.joined(second(1), id);
        assert_eq!(state(&registry), Some((true, T0, 1)));
        assert_eq!(registry.forget(id), Err(ForgetError::Present));
        registry.left(second(2), id);
        registry.left(second(3), id);
        assert_eq!(state(&registry), Some((false, second(2), 1)));
        registry.joined(second(4), id);
        assert_eq!(state(&registry), Some((true, second(4), 2)));
        registry.left(second(5), id);
        assert!(registry.forget(id).is_ok());
        assert_eq!(registry.forget(id), Err(ForgetError::Unknown));
    }

    #[test]
    fn a_new_image_takes_away_what_the_old_one_could() {
        let mut registry = Registry::default();
        let id = NodeId(2);
        let version = |text: &str| Identity { version: Some(text.to_owned()), ..Identity::default() };
        let image = |image| Identity { image: Some(image), ..Identity::default() };
        assert!(!registry.identify(id, image(1)), "nobody knows it");
        registry.joined(T0, id);
        for (told, changed) in [
            (version("1.0"), false),
            (image(7), false),
            (version("1.0"), false),
            (image(8), true),
            (version("1.1"), true),
            (Identity::default(), false),
        ] {
            registry.heard(id, 212);
            assert_eq!(registry.identify(id, told.clone()), changed, "{told:?}");
            let record = registry.get(id).unwrap();
            assert_eq!(record.family == Family::Unknown, changed);
            assert_eq!(record.capabilities.is_empty(), changed);
        }
        let identity = &registry.get(id).unwrap().identity;
        assert_eq!((identity.version.as_deref(), identity.image), (Some("1.1"), Some(8)));
    }

    #[test]
    fn memory_is_bounded_and_the_longest_absent_goes_first() {
        let mut registry = Registry::default();
        let max = Registry::NODES_MAX as u32;
        for id in 0..max {
            registry.joined(T0, NodeId(id));
        }
        registry.joined(T0, NodeId(max));
        assert_eq!((registry.get(NodeId(max)), registry.refused()), (None, 1), "all are in the mesh");
        registry.left(second(2), NodeId(5));
        registry.left(second(1), NodeId(6));
        registry.set_name(NodeId(6), "kitchen").unwrap();
        registry.joined(second(3), NodeId(max));
        assert!(registry.get(NodeId(6)).is_none() && registry.get(NodeId(5)).is_some());
        assert_eq!((registry.iter().count(), registry.forgotten()), (Registry::NODES_MAX, 1));
        assert_eq!(registry.named("kitchen").count(), 0, "its name went with it");
    }

    #[test]
    fn a_kept_record_survives_a_restart() {
        let mut registry = Registry::default();
        registry.joined(T0, NodeId(2));
        registry.set_name(NodeId(2), "kitchen").unwrap();
        registry.heard(NodeId(2), 202);
        let kept = registry.get(NodeId(2)).unwrap().clone();
        let mut after = Registry::default();
        after.restore(second(9), NodeId(2), kept);
        let record = after.get(NodeId(2)).unwrap();
        assert_eq!((record.present, record.joins, record.family), (false, 1, Family::Alteriom));
        assert_eq!(after.named("kitchen").collect::<Vec<_>>(), [NodeId(2)]);
        assert!(!after.name_itself(NodeId(2), "esp"), "people's names stay people's");
    }
}
