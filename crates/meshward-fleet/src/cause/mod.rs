//! What a loss is due to: one incident per cause, however many nodes it takes with it.
//!
//! [`Incidents`] is told every change of state that [`liveness`](crate::liveness) tells, in one batch per input, so
//! that a branch of fourteen nodes is one incident that opens with fourteen. Its cause is the topmost node that is
//! missing; the others inherit. It grows and shrinks, is absorbed when its cause turns out to be due to another one, and
//! closes when the last of its nodes is back. A node stays in the incident that it was lost in until it returns, so a
//! branch that comes back piece by piece is still one. [`Reboots`] tells restarts from losses.

mod reboots;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

use crate::liveness::{Change, State};
pub use reboots::{Reboot, Reboots, Sign, Start};

/// A loss whose node restarts within this time of its return, or returned so soon after a restart, was the restart.
const EXPLAINED_WITHIN: Duration = Duration::from_secs(300);

/// Nodes that were lost for one cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Counts up from 1.
    pub id: u64,
    /// The topmost node that is missing, or was when it opened; the gateway when it was cut off itself.
    pub cause: NodeId,
    /// When the first node was lost.
    pub opened: Instant,
    /// When the last one was back, or was forgotten, or the incident was absorbed.
    pub closed: Option<Instant>,
    /// Who is lost, the cause included while it is.
    pub missing: BTreeSet<NodeId>,
    /// How many were at the most.
    pub missing_max: u32,
    /// The cause is back and has restarted: nobody switched it off for good.
    pub rebooted: bool,
    /// The incident that it turned out to be part of.
    pub absorbed_by: Option<u64>,
}

/// What became of an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is new.
    Opened {
        /// Which.
        incident: u64,
        /// Its cause.
        cause: NodeId,
        /// How many nodes are lost.
        missing: u32,
    },
    /// More nodes are lost for the same cause.
    Grew {
        /// Which.
        incident: u64,
        /// How many are lost now.
        missing: u32,
    },
    /// Some nodes are back.
    Shrank {
        /// Which.
        incident: u64,
        /// How many are lost still.
        missing: u32,
    },
    /// Its nodes were lost for the cause of another one.
    Absorbed {
        /// Which.
        incident: u64,
        /// The other one.
        by: u64,
    },
    /// All are back.
    Closed {
        /// Which.
        incident: u64,
    },
    /// It was the restart of its cause.
    Explained {
        /// Which.
        incident: u64,
    },
}

/// See the module's page.
#[derive(Clone, Debug, Default)]
pub struct Incidents {
    open: BTreeMap<u64, Incident>,
    /// Which incident each lost node is in.
    of: BTreeMap<NodeId, u64>,
    closed: VecDeque<Incident>,
    last: u64,
    dropped: u64,
}

impl Incidents {
    /// Most incidents that are open at once.
    pub const OPEN_MAX: usize = 2_000;
    /// Most closed ones that are remembered; the oldest go first.
    pub const CLOSED_MAX: usize = 500;

    /// These states changed at once.
    pub fn handle_changes(&mut self, changes: &[Change]) -> Vec<Event> {
        let before: BTreeMap<u64, u32> =
            self.open.iter().map(|(id, incident)| (*id, incident.count())).collect();
        let mut events = Vec::new();
        // Causes first, for those who inherit need their incident.
        for change in changes.iter().filter(|change| change.to == State::Offline) {
            self.lost(change, change.node, &mut events);
        }
        for change in changes {
            match change.to {
                State::Unreachable { through } => self.lost(change, through, &mut events),
                State::Offline | State::Learning | State::Suspect => {}
                State::Online | State::Sleeping | State::Forgotten => self.returned(change.node),
            }
        }
        self.tell(changes, &before, &mut events);
        events
    }

    fn lost(&mut self, change: &Change, cause: NodeId, events: &mut Vec<Event>) {
        let known = self.of.get(&change.node).copied();
        let by_itself = cause == change.node;
        let of_cause = if by_itself { known } else { self.incident_of_cause(cause) };
        let target = match of_cause {
            Some(target) => target,
            None => match self.open_new(change.at, cause) {
                Some(id) => id,
                None => return,
            },
        };
        if let Some(known) = known.filter(|known| *known != target) {
            // What it caused itself is due to the same.
            let whole = self.open.get(&known).is_some_and(|incident| incident.cause == change.node);
            if whole {
                self.absorb(change.at, known, target, events);
            } else {
                self.remove(change.node);
            }
        }
        if let Some(incident) = self.open.get_mut(&target) {
            incident.missing.insert(change.node);
            incident.missing_max = incident.missing_max.max(incident.count());
            self.of.insert(change.node, target);
        }
    }

    /// The incident in which a cause is missing itself, or that is open for it.
    fn incident_of_cause(&self, cause: NodeId) -> Option<u64> {
        let by_cause = || self.open.values().rev().find(|incident| incident.cause == cause);
        self.of.get(&cause).copied().or_else(|| by_cause().map(|incident| incident.id))
    }

    fn open_new(&mut self, at: Instant, cause: NodeId) -> Option<u64> {
        if self.open.len() >= Self::OPEN_MAX {
            self.dropped = self.dropped.saturating_add(1);
            return None;
        }
        self.last = self.last.saturating_add(1);
        let incident = Incident {
            id: self.last,
            cause,
            opened: at,
            closed: None,
            missing: BTreeSet::new(),
            missing_max: 0,
            rebooted: false,
            absorbed_by: None,
        };
        self.open.insert(self.last, incident);
        Some(self.last)
    }

    fn absorb(&mut self, at: Instant, gone: u64, by: u64, events: &mut Vec<Event>) {
        let Some(mut incident) = self.open.remove(&gone) else { return };
        let missing = std::mem::take(&mut incident.missing);
        for node in &missing {
            self.of.insert(*node, by);
        }
        if let Some(target) = self.open.get_mut(&by) {
            target.opened = target.opened.min(incident.opened);
            target.missing.extend(missing);
            target.missing_max = target.missing_max.max(target.count());
        }
        (incident.closed, incident.absorbed_by) = (Some(at), Some(by));
        self.remember(incident);
        events.push(Event::Absorbed { incident: gone, by });
    }

    fn remove(&mut self, node: NodeId) {
        if let Some(id) = self.of.remove(&node)
            && let Some(incident) = self.open.get_mut(&id)
        {
            incident.missing.remove(&node);
        }
    }

    fn returned(&mut self, node: NodeId) {
        self.remove(node);
    }

    /// Compares with what was before, so that a batch is one event for each incident.
    fn tell(&mut self, changes: &[Change], before: &BTreeMap<u64, u32>, events: &mut Vec<Event>) {
        let mut empty = Vec::new();
        for (id, incident) in &self.open {
            let (incident_id, missing) = (*id, incident.count());
            match before.get(id) {
                _ if missing == 0 => empty.push(*id),
                None => {
                    let cause = incident.cause;
                    events.push(Event::Opened { incident: incident_id, cause, missing });
                }
                Some(old) if *old < missing => events.push(Event::Grew { incident: incident_id, missing }),
                Some(old) if *old > missing => events.push(Event::Shrank { incident: incident_id, missing }),
                Some(_) => {}
            }
        }
        for id in empty {
            let Some(mut incident) = self.open.remove(&id) else { continue };
            incident.closed = changes.last().map(|change| change.at);
            self.remember(incident);
            // What opened and closed within one batch is nobody's news.
            if before.contains_key(&id) {
                events.push(Event::Closed { incident: id });
            }
        }
    }

    fn remember(&mut self, incident: Incident) {
        if self.closed.len() >= Self::CLOSED_MAX {
            self.closed.pop_front();
        }
        self.closed.push_back(incident);
    }

    /// A node has restarted: that explains the incident that it caused, if that is open or closed not long ago.
    pub fn rebooted(&mut self, now: Instant, node: NodeId) -> Option<Event> {
        let recent = |incident: &&mut Incident| {
            let closed = incident.closed.is_none_or(|closed| now.since(closed) <= EXPLAINED_WITHIN);
            incident.cause == node && !incident.rebooted && closed && incident.absorbed_by.is_none()
        };
        let all = self.closed.iter_mut().chain(self.open.values_mut());
        let incident = all.filter(recent).last()?;
        incident.rebooted = true;
        Some(Event::Explained { incident: incident.id })
    }

    /// Those that are open, oldest first.
    pub fn open(&self) -> impl Iterator<Item = &Incident> {
        self.open.values()
    }

    /// Those that are closed and remembered, in the order in which they closed.
    pub fn closed(&self) -> impl Iterator<Item = &Incident> {
        self.closed.iter()
    }

    /// An incident, open or remembered.
    pub fn get(&self, id: u64) -> Option<&Incident> {
        self.open.get(&id).or_else(|| self.closed.iter().find(|incident| incident.id == id))
    }

    /// The incident that a node is lost in.
    pub fn of(&self, node: NodeId) -> Option<&Incident> {
        self.open.get(self.of.get(&node)?)
    }

    /// How many there was no room for.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The number of the newest; 0 before the first.
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// Numbers up to this one were given before the gateway's start.
    pub fn restore(&mut self, last: u64) {
        self.last = self.last.max(last);
    }
}

impl Incident {
    fn count(&self) -> u32 {
        u32::try_from(self.missing.len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::liveness::{Config, Liveness, Why};
    use crate::topology::Topology;
    use crate::topology::tests::tree;

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    /// States at a second: `o` online, `x` offline, `s` suspect, a number: unreachable through that one.
    fn changes(second: u64, states: &[(u32, &str)]) -> Vec<Change> {
        let state = |text: &str| match text {
            "o" => State::Online,
            "x" => State::Offline,
            "s" => State::Suspect,
            "f" => State::Forgotten,
            id => State::Unreachable { through: NodeId(id.parse().unwrap()) },
        };
        let change = |(node, text): &(u32, &str)| Change {
            node: NodeId(*node),
            from: State::Online,
            to: state(text),
            at: at(second),
            why: Why::Heard,
        };
        states.iter().map(change).collect()
    }

    /// What is told of batches at seconds 0, 1, …
    fn check(batches: &[&[(u32, &str)]], expected: &[&str]) -> Incidents {
        let mut incidents = Incidents::default();
        let mut told = Vec::new();
        for (batch, second) in batches.iter().zip(0..) {
            for event in incidents.handle_changes(&changes(second, batch)) {
                told.push(match event {
                    Event::Opened { incident, cause, missing } => {
                        format!("{incident} opened {cause} {missing}")
                    }
                    Event::Grew { incident, missing } => format!("{incident} grew {missing}"),
                    Event::Shrank { incident, missing } => format!("{incident} shrank {missing}"),
                    Event::Absorbed { incident, by } => format!("{incident} in {by}"),
                    Event::Closed { incident } => format!("{incident} closed"),
                    Event::Explained { incident } => format!("{incident} explained"),
                });
            }
        }
        assert_eq!(told, expected, "{batches:?}");
        incidents
    }

    #[test]
    fn incidents_open_grow_shrink_and_close() {
        check(&[&[(2, "s")], &[(2, "o")]], &[]);
        check(&[&[(2, "s")], &[(2, "x")], &[(2, "o")]], &["1 opened 2 1", "1 closed"]);
        check(&[&[(2, "x")], &[(9, "x")], &[(2, "o")]], &["1 opened 2 1", "2 opened 9 1", "1 closed"]);
        let branch = &[(3, "2"), (4, "2"), (2, "x")];
        check(&[branch], &["1 opened 2 3"]);
        check(&[&[(2, "x")], &[(3, "2"), (4, "2")]], &["1 opened 2 1", "1 grew 3"]);
        // The cause returns before those behind it, who are then lost by themselves: still the same incident.
        check(
            &[branch, &[(2, "o")], &[(3, "x"), (4, "3")], &[(3, "o"), (4, "o")]],
            &["1 opened 2 3", "1 shrank 2", "1 closed"],
        );
        check(&[branch, &[(2, "o"), (3, "o"), (4, "f")]], &["1 opened 2 3", "1 closed"]);
        // The leaf was noticed first, then what it hangs on.
        check(
            &[&[(4, "x")], &[(2, "x"), (3, "2"), (4, "2")], &[(2, "o"), (3, "o"), (4, "o")]],
            &["1 opened 4 1", "1 in 2", "2 opened 2 3", "2 closed"],
        );
        check(&[&[(2, "1"), (3, "1"), (9, "1")]], &["1 opened 1 3"]);
    }

    /// A whole branch is one incident with one cause, whether the tree loses it or its reports stop.
    #[test]
    fn a_lost_branch_of_fourteen_is_one_incident() {
        let links: Vec<(u32, u32)> = (2..=15).map(|id| (id, id / 2)).chain([(20, 1), (21, 20)]).collect();
        let mut links = links;
        links[0].1 = 1;
        links[1].1 = 2;
        for by_tree in [true, false] {
            let mut topology = Topology::new(NodeId(1));
            let mut liveness = Liveness::new(NodeId(1), Config::default());
            let mut incidents = Incidents::default();
            topology.handle_tree(at(0), &tree(&links));
            liveness.handle_topology(at(0), &topology);
            links
                .iter()
                .for_each(|(id, _)| liveness.expect(at(0), NodeId(*id), Some(Duration::from_secs(30))));
            let mut events = Vec::new();
            for second in 1..400u64 {
                let alive = |id: u32| id >= 20 || second < 200;
                if by_tree && second == 200 {
                    topology.handle_tree(at(second), &tree(&[(20, 1), (21, 20)]));
                    liveness.handle_topology(at(second), &topology);
                }
                let due = links.iter().filter(|(id, _)| second % 30 == u64::from(*id) && alive(*id));
                due.for_each(|(id, _)| liveness.heard(at(second), NodeId(*id)));
                liveness.handle_timeout(at(second));
                while let Some(probe) = liveness.poll_probe() {
                    if alive(probe.node.0) {
                        liveness.probe_answered(at(second), probe.node);
                    }
                }
                let changes: Vec<Change> = std::iter::from_fn(|| liveness.poll_event()).collect();
                events.extend(incidents.handle_changes(&changes));
            }
            let open: Vec<&Incident> = incidents.open().collect();
            assert_eq!((open.len(), open[0].cause, open[0].missing.len()), (1, NodeId(2), 14));
            let opened = |event: &&Event| matches!(event, Event::Opened { .. });
            assert_eq!(events.iter().filter(opened).count(), 1, "{events:?}");
        }
    }

    #[test]
    fn a_restart_explains_the_loss() {
        for (second, explained) in [(3, true), (301, true), (302, false)] {
            let mut incidents =
                check(&[&[(2, "x"), (3, "2")], &[(2, "o"), (3, "o")]], &["1 opened 2 2", "1 closed"]);
            assert_eq!(incidents.rebooted(at(second), NodeId(3)), None, "not the cause");
            let told = incidents.rebooted(at(second), NodeId(2));
            assert_eq!(told, explained.then_some(Event::Explained { incident: 1 }), "{second}");
            assert_eq!(incidents.get(1).unwrap().rebooted, explained);
            assert_eq!(incidents.rebooted(at(second), NodeId(2)), None, "once");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut incidents = Incidents::default();
        let batch: Vec<(u32, &str)> = (1..=3_000).map(|id| (id, "x")).collect();
        incidents.handle_changes(&changes(0, &batch));
        assert_eq!((incidents.open().count(), incidents.dropped()), (Incidents::OPEN_MAX, 1_000));
        let back: Vec<(u32, &str)> = (1..=3_000).map(|id| (id, "o")).collect();
        incidents.handle_changes(&changes(1, &back));
        assert_eq!((incidents.open().count(), incidents.closed().count()), (0, Incidents::CLOSED_MAX));
    }
}
