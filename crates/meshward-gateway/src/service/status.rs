//! Between the fleet and the rest of the gateway: what it wants sent goes to the node, what it tells goes to the log,
//! to those who wait for it, and into a ring for readers.
//!
//! The ring holds the last [`EVENTS_KEPT_MAX`] events, each with a number that rises by one, so that a reader knows
//! what it has missed. Queries and commands are waited for by their askers; a query whose asker has gone is
//! cancelled. A roll-out that restarts nodes keeps them in maintenance. Decides nothing else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::SystemTime;

use meshward_core::mesh::Priority;
use meshward_core::node::Node;
use meshward_core::time::{Duration, Instant, UnixTime};
use meshward_core::wire::NodeId;
use meshward_core::wire::status::Code;
use meshward_fleet::Fleet;
use meshward_fleet::alert;
use meshward_fleet::commands::{CommandError, Ended};
use meshward_fleet::deployment::Deployment;
use meshward_fleet::fleet::{Event, Transmit};
use meshward_fleet::liveness::{Change, State as Life};
use meshward_fleet::query::{Outcome, QueryEvent, QueryId, Refused, Request};
use meshward_fleet::topology::What;
use tokio::sync::{oneshot, watch};

use super::Gateway;
use super::asked::Table;
use super::tally::Tally;
use super::under_way::Window;

/// Events that are kept for readers; the oldest go first.
pub const EVENTS_KEPT_MAX: usize = 4_096;
/// Between two looks at the date.
const CIVIL: Duration = Duration::from_secs(60);
/// How long nodes are in maintenance at the most for one restart.
const UPDATE_MAX: Duration = Duration::from_secs(6 * 3_600);
/// Messages to people that wait to be taken; the oldest go first. The fleet sends few at a time, and they are taken
/// twice a second.
const MESSAGES_MAX: usize = 200;

/// An event as readers get it.
#[derive(Clone, Debug)]
pub struct Told {
    /// Rises for ever, by one while the gateway runs; where a database is kept it goes on over restarts, with gaps.
    pub id: u64,
    /// When it was told.
    pub at: Instant,
    /// What.
    pub event: Event,
}

/// What is under way. See the module's page.
#[derive(Debug, Default)]
pub(super) struct Status {
    ring: VecDeque<Told>,
    last: u64,
    dropped: u64,
    /// Tells readers that there is more to read.
    heeded: watch::Sender<u64>,
    queries: BTreeMap<QueryId, Asked>,
    pub(super) asked: Table,
    tally: Tally,
    commands: BTreeMap<u32, oneshot::Sender<Ended>>,
    /// What is to be told to people.
    messages: VecDeque<alert::Notification>,
    messages_dropped: u64,
    civil_at: Option<Instant>,
}

/// A query that somebody waits for.
#[derive(Debug)]
struct Asked {
    at: Instant,
    asker: oneshot::Sender<BTreeMap<NodeId, Outcome>>,
}

impl Gateway {
    /// How queries ended, and how long they took.
    pub fn tally(&self) -> &Tally {
        &self.status.tally
    }

    /// What is known of the mesh.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// The same, for what changes by reading: scores remember how they were.
    pub fn fleet_mut(&mut self) -> &mut Fleet {
        &mut self.fleet
    }

    /// Another budget for looking after the mesh, in percent of the channel, and another shortest time between reports.
    pub fn set_budget(&mut self, now: Instant, node: &mut Node, percent: f64, period: Duration) {
        self.fleet.set_budget(now, percent, period);
        self.watch(now, node);
    }

    /// The events after the one with this number, the oldest first.
    pub fn events(&self, after: u64) -> impl Iterator<Item = &Told> {
        self.status.ring.iter().filter(move |told| told.id > after)
    }

    /// The number of the newest event; 0 before the first.
    pub fn last_event(&self) -> u64 {
        self.status.last
    }

    /// The same, for who waits for it to rise.
    pub fn heed(&self) -> watch::Receiver<u64> {
        self.status.heeded.subscribe()
    }

    /// What people are to be told, since this was asked last.
    pub fn take_notifications(&mut self) -> Vec<alert::Notification> {
        self.status.messages.drain(..).collect()
    }

    /// How many messages to people have had to make room, because nobody took them.
    pub fn notifications_dropped(&self) -> u64 {
        self.status.messages_dropped
    }

    /// How many events have had to make room.
    pub fn events_dropped(&self) -> u64 {
        self.status.dropped
    }

    /// Numbers of events go on after this one.
    pub(super) fn begin_events_after(&mut self, last: u64) {
        self.status.last = self.status.last.max(last);
    }

    /// Asks nodes how they fare. The answer comes when each has its outcome; if the receiver is dropped before, the
    /// query is cancelled.
    ///
    /// # Errors
    /// [`Refused`], and nobody was asked.
    pub fn query(
        &mut self,
        now: Instant,
        node: &mut Node,
        request: Request,
    ) -> Result<oneshot::Receiver<BTreeMap<NodeId, Outcome>>, Refused> {
        let query =
            self.fleet.query(now, node.mesh(), request).inspect_err(|_| self.status.tally.refused())?;
        let (asker, receiver) = oneshot::channel();
        self.status.queries.insert(query, Asked { at: now, asker });
        self.watch(now, node);
        Ok(receiver)
    }

    /// Tells a node to do something. The answer comes when that is over.
    ///
    /// # Errors
    /// [`CommandError`], and nothing was sent.
    pub fn command(
        &mut self,
        now: Instant,
        node: &mut Node,
        to: NodeId,
        code: Code,
        params: &str,
        patience: Duration,
    ) -> Result<oneshot::Receiver<Ended>, CommandError> {
        let cid = self.fleet.command(now, to, code, params, patience)?;
        let (sender, receiver) = oneshot::channel();
        self.status.commands.insert(cid, sender);
        self.watch(now, node);
        Ok(receiver)
    }

    /// What people do with alerts.
    pub fn alerts_mut<R>(
        &mut self,
        now: Instant,
        node: &mut Node,
        act: impl FnOnce(&mut alert::Engine) -> R,
    ) -> R {
        let result = self.fleet.alerts_mut(now, act);
        self.watch(now, node);
        result
    }

    /// Sends and tells what there is.
    pub(super) fn watch(&mut self, now: Instant, node: &mut Node) {
        if self.status.civil_at.is_none_or(|due| due <= now) {
            self.status.civil_at = Some(now + CIVIL);
            if let Ok(since) = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
                self.fleet.set_civil(now, UnixTime(since.as_secs()));
            }
        }
        let gone: Vec<QueryId> = self
            .status
            .queries
            .iter()
            .filter(|(_, asked)| asked.asker.is_closed())
            .map(|(id, _)| *id)
            .collect();
        for query in gone {
            self.status.queries.remove(&query);
            self.status.tally.cancelled();
            self.fleet.cancel_query(now, query);
        }
        while let Some(transmit) = self.fleet.poll_transmit() {
            send(now, node, &transmit);
        }
        while let Some(event) = self.fleet.poll_event() {
            self.tell(now, event);
        }
    }

    /// An event goes to whoever waits for it, and to readers.
    fn tell(&mut self, now: Instant, event: Event) {
        log(&event);
        if let Event::Query(event) = &event
            && self.status.asked.note(now, event)
        {
            return;
        }
        match event {
            Event::Query(QueryEvent::Finished { query, outcomes }) => {
                if let Some(asked) = self.status.queries.remove(&query) {
                    self.status.tally.finished(now.since(asked.at), &outcomes);
                    // Whoever asked may have gone just now.
                    drop(asked.asker.send(outcomes));
                }
                return;
            }
            // Outcomes come again with the end.
            Event::Query(_) => return,
            // Messages go to people, not to readers.
            Event::Notification(message) => {
                if self.status.messages.len() >= MESSAGES_MAX {
                    self.status.messages.pop_front();
                    self.status.messages_dropped += 1;
                }
                self.status.messages.push_back(message);
                return;
            }
            Event::Command(ref ended) => {
                if let Some(asker) = self.status.commands.remove(&ended.cid) {
                    drop(asker.send(ended.clone()));
                }
            }
            _ => {}
        }
        let status = &mut self.status;
        status.last += 1;
        if status.ring.len() >= EVENTS_KEPT_MAX {
            status.ring.pop_front();
            status.dropped += 1;
        }
        status.ring.push_back(Told { id: status.last, at: now, event });
        status.heeded.send_replace(status.last);
    }

    /// Keeps the nodes in maintenance that roll-outs under way restart: a window is opened anew for more nodes, and
    /// ends when none of them restarts any more. While one is held nobody does, for days maybe, and losses are losses.
    pub(super) fn maintain(&mut self, now: Instant) {
        for place in 0..self.under_way.len() {
            let Some(one) = self.under_way.get_mut(place) else { return };
            let nodes = one.deployment().map(Deployment::restarted).unwrap_or_default();
            let covered = |window: &Window| !nodes.is_empty() && nodes.is_subset(&window.nodes);
            if one.window.as_ref().map_or(nodes.is_empty(), covered) {
                continue;
            }
            let (id, before) = (one.id, one.window.take());
            self.close_window(now, before);
            let opened = (!nodes.is_empty()).then(|| self.open_window(now, id, nodes));
            if let Some(one) = self.under_way_mut(id) {
                one.window = opened;
            }
        }
    }

    /// Ends a maintenance window, if there is one.
    pub(super) fn close_window(&mut self, now: Instant, window: Option<Window>) {
        if let Some(number) = window.and_then(|window| window.number) {
            // It may have ended by itself.
            let _ended = self.fleet.alerts_mut(now, |engine| engine.close(now, number));
        }
    }

    fn open_window(&mut self, now: Instant, id: u64, nodes: BTreeSet<NodeId>) -> Window {
        let (whose, what) = (nodes.clone(), format!("roll-out {id}"));
        let opened =
            self.fleet.alerts_mut(now, |engine| engine.open_for_update(now, whose, UPDATE_MAX, &what));
        let opened = opened
            .inspect_err(|error| tracing::warn!(%error, "nodes are updated without a maintenance window"));
        Window { number: opened.ok(), nodes }
    }
}

/// Hands a message to the node. What cannot be sent now is as good as lost on its way: whoever wants it asks again.
fn send(now: Instant, node: &mut Node, transmit: &Transmit) {
    let sent = match transmit {
        Transmit::One(to, frame) => node.send_package(*to, frame, Priority::Normal),
        Transmit::All(frame) => {
            node.send_package_to_all(frame, Priority::Normal);
            Ok(())
        }
        Transmit::Probe(to) => node.probe(now, *to),
    };
    if let Err(error) = sent {
        tracing::debug!(%error, "not sent");
    }
}

/// What somebody should know who reads the log.
fn log(event: &Event) {
    match event {
        Event::Topology(event) => match event.what {
            What::Joined { .. } => tracing::info!(node = %event.node, "joined"),
            What::Left { .. } => tracing::info!(node = %event.node, "left"),
            What::ParentChanged { .. } => tracing::debug!(node = %event.node, "has another parent"),
            what => tracing::info!(node = %event.node, what = what.name()),
        },
        Event::Liveness(Change { node, to, .. }) => match to {
            Life::Offline => tracing::warn!(%node, "is lost"),
            to => tracing::info!(%node, state = to.name(), "is in another state"),
        },
        Event::Incident(event) => tracing::info!(?event, "incident"),
        Event::Finding(change) => tracing::info!(?change, "finding"),
        Event::Anomaly(event) => tracing::info!(began = event.began, "{}", event.finding),
        Event::Alert(change) => match change.to {
            Some(to) if to.is_active() && change.by.is_none() => {
                tracing::warn!(rule = change.rule, subject = %change.subject, "alert raised");
            }
            Some(alert::State::Pending) | None => {
                tracing::debug!(rule = change.rule, subject = %change.subject)
            }
            Some(to) => tracing::info!(rule = change.rule, subject = %change.subject, "{}", to.name()),
        },
        Event::Notification(message) => {
            tracing::info!(
                rule = message.rule,
                firing = message.firing.len(),
                cleared = message.cleared.len()
            );
        }
        Event::Query(event) => tracing::debug!(?event),
        Event::Command(ended) => {
            tracing::info!(node = %ended.node, cid = ended.cid, end = ?ended.end, "command")
        }
        Event::Log { node, text, .. } => tracing::debug!(%node, text, "log"),
        Event::Period(period) => {
            tracing::info!(
                seconds = period.value.as_secs_f64(),
                bound = period.bound,
                "reports have another period"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meshward_core::mesh::MeshConfig;
    use meshward_core::node::NodeConfig;
    use meshward_core::ota::trust::KeyKind;
    use meshward_fleet::fleet::Settings;
    use meshward_fleet::signing::SigningKey;

    use crate::shell::Clock;

    fn gateway() -> Gateway {
        let fleet = Fleet::new(Instant::ORIGIN, NodeId(1), 1, Settings::default()).unwrap();
        let operator = SigningKey::from_seed(KeyKind::Operator, [1; 32]).unwrap();
        Gateway::new(&Clock::start(), fleet, operator, tokio::sync::mpsc::channel(1).0)
    }

    fn line(text: &str) -> Event {
        Event::Log { node: NodeId(2), when: None, text: text.to_owned() }
    }

    #[test]
    fn a_reader_knows_what_it_has_missed() {
        let mut gateway = gateway();
        assert_eq!((gateway.last_event(), gateway.events(0).count()), (0, 0));
        for number in 0..EVENTS_KEPT_MAX + 3 {
            gateway.tell(Instant::ORIGIN, line(&number.to_string()));
        }
        let kept: Vec<&Told> = gateway.events(0).collect();
        assert_eq!((kept.len(), gateway.events_dropped()), (EVENTS_KEPT_MAX, 3));
        assert_eq!(kept.first().map(|told| told.id), Some(4), "numbers go on, so a gap shows");
        assert_eq!(kept.last().map(|told| told.id), Some(gateway.last_event()));
        let new: Vec<&Event> = gateway.events(gateway.last_event() - 1).map(|told| &told.event).collect();
        assert_eq!(new, [&line(&(EVENTS_KEPT_MAX + 2).to_string())]);
    }

    #[test]
    fn a_query_whose_asker_has_gone_is_cancelled() {
        let (mut gateway, now) = (gateway(), Instant::ORIGIN);
        let mut node = Node::new(NodeConfig::new(MeshConfig::gateway(NodeId(1), 1)));
        let ask = |gateway: &mut Gateway, node: &mut Node| {
            let (nodes, timeout) = (vec![NodeId(7)], Duration::from_secs(5));
            gateway.query(now, node, Request { nodes, metrics: Vec::new(), max_age: Duration::ZERO, timeout })
        };
        // A node that is not there has its outcome at once.
        let mut answer = ask(&mut gateway, &mut node).unwrap();
        assert!(answer.try_recv().is_ok());
        assert!(gateway.status.queries.is_empty());
        gateway.status.queries.insert(QueryId(99), Asked { at: now, asker: oneshot::channel().0 });
        gateway.watch(now, &mut node);
        assert!(gateway.status.queries.is_empty(), "nobody waits for it");
    }
}
