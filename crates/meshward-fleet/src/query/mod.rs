//! Asks nodes how they fare, for whoever wants to know: one, a selection, or all of a mesh.
//!
//! A query is served from what nodes have told lately where that is young enough; the others are asked (type 210), a
//! few at a time or all by one broadcast, twice at most. What two queries want of one node at one time is asked once.
//! Nodes that do not speak the service are found out by their silence, and give what the core protocol gives: their
//! round trip (type 3). The result names what became of each node, and comes in parts as it comes in.
//!
//! Refuses more than [`Queries::QUERIES_MAX`] at once. Whoever drives the gateway's node hands it what nodes say, the
//! tree after each change, and the time; and sends what it wants sent.

mod cache;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use meshward_core::mesh::Mesh;
use meshward_core::telemetry::{Body, Flags, Metric, Query, Report, query_mask};
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::{NodeId, To};

use cache::Cache;

/// Nodes that are asked one by one and have not answered.
const ASKED_MAX: usize = 8;
/// From so many on, if they are half of the mesh, all are asked by one broadcast: it crosses each link once.
const BROADCAST_LEAST: usize = 8;
/// The time in which each of those who are asked together gets its turn to answer.
const TURN: Duration = Duration::from_millis(25);
/// How long an answer may take, behind the time over which answers are spread. Relays of three hops and a busy
/// channel take a second.
const PATIENCE: Duration = Duration::from_secs(4);
/// How often a node is asked.
const TRIES: u8 = 2;
/// A node that did not speak the service is not asked for so long: it may get other firmware.
const STOCK_REMEMBERED: Duration = Duration::from_secs(600);
/// Events that may wait.
const EVENTS_MAX: usize = 16_384;

/// Names a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueryId(pub u32);

/// What somebody wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Of which nodes.
    pub nodes: Vec<NodeId>,
    /// Which metrics; none for all.
    pub metrics: Vec<Metric>,
    /// What was told no longer ago than this is good enough. Zero: everybody is asked.
    pub max_age: Duration,
    /// Who has not answered by then has timed out.
    pub timeout: Duration,
}

/// What became of one node of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has answered.
    Answered {
        /// What it has of what was wanted, in whole numbers of the metrics.
        values: Vec<(Metric, i64)>,
        /// How long that took.
        after: Duration,
    },
    /// It has told it before.
    Cached {
        /// What it told.
        values: Vec<(Metric, i64)>,
        /// How old the oldest of it is.
        age: Duration,
    },
    /// It does not speak the service, but lives.
    Probed {
        /// The time to it and back.
        round_trip: Duration,
    },
    /// It speaks the service and does not answer.
    Declined,
    /// It has said nothing.
    TimedOut,
    /// It is not in the tree.
    Unreachable,
    /// The query was cancelled before.
    Cancelled,
}

/// A query is not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There are [`Queries::QUERIES_MAX`] already.
    Busy,
    /// It names more than [`Queries::NODES_MAX`] nodes.
    TooMany,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Busy => write!(f, "{} queries are under way; try again later", Queries::QUERIES_MAX),
            Self::TooMany => write!(f, "a query names at most {} nodes", Queries::NODES_MAX),
        }
    }
}

impl std::error::Error for Refused {}

/// Something is known now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryEvent {
    /// What became of one node.
    Outcome {
        /// Of which query.
        query: QueryId,
        /// Which node.
        node: NodeId,
        /// What became of it.
        outcome: Outcome,
    },
    /// All nodes of a query have their outcome; nothing more is kept of it.
    Finished {
        /// Which query.
        query: QueryId,
        /// The outcomes.
        outcomes: BTreeMap<NodeId, Outcome>,
    },
}

/// Something to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transmit {
    /// A package for one node.
    One(NodeId, Vec<u8>),
    /// A package for all.
    All(Vec<u8>),
    /// A delay probe (type 3).
    Probe(NodeId),
}

#[derive(Debug)]
struct Running {
    request: Request,
    started: Instant,
    open: BTreeSet<NodeId>,
    outcomes: BTreeMap<NodeId, Outcome>,
}

/// A node, and the bits that are wanted of it; 0 for all.
type Key = (NodeId, u32);

/// One node that is asked, for whoever wants it.
#[derive(Debug)]
struct Flight {
    q: u16,
    tries: u8,
    /// Until when it waits for an answer; `None` until it was sent.
    due: Option<Instant>,
    /// What a probe has shown.
    round_trip: Option<Duration>,
    /// Asked with others, which does not count among those asked one by one.
    broadcast: bool,
}

/// See the module's page.
#[derive(Debug)]
pub struct Queries {
    id: NodeId,
    cache: Cache,
    running: BTreeMap<QueryId, Running>,
    flights: BTreeMap<Key, Flight>,
    waiting: VecDeque<Key>,
    /// Who did not speak the service, and when that was found.
    stock: BTreeMap<NodeId, Instant>,
    next_query: u32,
    next_q: u16,
    transmits: VecDeque<Transmit>,
    events: VecDeque<QueryEvent>,
    dropped: u64,
}

impl Queries {
    /// Queries at once.
    pub const QUERIES_MAX: usize = 32;
    /// Nodes in one query, and nodes that are remembered.
    pub const NODES_MAX: usize = 2_500;

    /// For the gateway's node `id`.
    pub fn new(id: NodeId) -> Self {
        Self {
            id,
            cache: Cache::default(),
            running: BTreeMap::new(),
            flights: BTreeMap::new(),
            waiting: VecDeque::new(),
            stock: BTreeMap::new(),
            next_query: 1,
            next_q: 0,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            dropped: 0,
        }
    }

    /// Events and remembered nodes beyond the bounds.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Begins a query. What is known already comes with the next events.
    ///
    /// # Errors
    /// [`Refused`], and nothing has changed.
    pub fn start(&mut self, now: Instant, request: Request, mesh: &Mesh) -> Result<QueryId, Refused> {
        if self.running.len() >= Self::QUERIES_MAX {
            return Err(Refused::Busy);
        }
        if request.nodes.len() > Self::NODES_MAX {
            return Err(Refused::TooMany);
        }
        let query = QueryId(self.next_query);
        self.next_query = self.next_query.wrapping_add(1);
        let open: BTreeSet<NodeId> = request.nodes.iter().copied().collect();
        let mask = query_mask(&request.metrics);
        // A list of metrics none of which travels is not a wish for all.
        let nothing = mask == 0 && !request.metrics.is_empty();
        let nodes: Vec<NodeId> = open.iter().copied().collect();
        let running = Running { request, started: now, open, outcomes: BTreeMap::new() };
        let found = |node: NodeId| {
            let Request { metrics, max_age, .. } = &running.request;
            let cached = self.cache.get(now, node, metrics, *max_age);
            match cached {
                Some((values, age)) => Some(Outcome::Cached { values, age }),
                None if !mesh.knows(node) || node == self.id => Some(Outcome::Unreachable),
                None if nothing => Some(Outcome::Declined),
                None => None,
            }
        };
        let found: Vec<(NodeId, Option<Outcome>)> = nodes.iter().map(|node| (*node, found(*node))).collect();
        self.running.insert(query, running);
        let mut asked = Vec::new();
        for (node, outcome) in found {
            match outcome {
                Some(outcome) => self.settle(query, node, outcome),
                None if self.covering(node, mask).is_none() => asked.push((node, mask)),
                None => {}
            }
        }
        self.ask(now, asked, mesh);
        self.finish();
        Ok(query)
    }

    /// The flight that brings what is wanted.
    fn covering(&self, node: NodeId, mask: u32) -> Option<Key> {
        let flights = self.flights.range((node, 0)..=(node, u32::MAX));
        flights.map(|(key, _)| *key).find(|(_, bits)| *bits == 0 || (mask != 0 && bits & mask == mask))
    }

    /// Asks who is not asked already: many together, few one by one.
    fn ask(&mut self, now: Instant, asked: Vec<Key>, mesh: &Mesh) {
        let q = self.next_number();
        let speaks =
            |node: &NodeId| self.stock.get(node).is_none_or(|since| now.since(*since) >= STOCK_REMEMBERED);
        let together = asked.iter().filter(|(node, _)| speaks(node)).count();
        let broadcast = together >= BROADCAST_LEAST && together * 2 >= mesh.tree().len() - 1;
        let window = TURN.saturating_mul(together as u64).min(Duration::from_secs(60));
        let speaking: BTreeSet<NodeId> =
            asked.iter().map(|(node, _)| *node).filter(|node| speaks(node)).collect();
        if broadcast && let Some((_, mask)) = asked.first() {
            let query = Query { q, mask: *mask, window_ms: window.as_millis() as u16 };
            self.transmits.push_back(Transmit::All(Body::Query(query).frame(self.id, To::All)));
        }
        for (node, mask) in asked {
            let all = broadcast && speaking.contains(&node);
            let due = all.then(|| now + window + PATIENCE);
            let flight = Flight { q, tries: u8::from(all), due, round_trip: None, broadcast: all };
            self.flights.insert((node, mask), flight);
            if !all {
                self.waiting.push_back((node, mask));
            }
        }
        self.send_waiting(now);
    }

    fn next_number(&mut self) -> u16 {
        self.next_q = self.next_q.wrapping_add(1);
        self.next_q
    }

    fn send_waiting(&mut self, now: Instant) {
        loop {
            let asked =
                self.flights.values().filter(|flight| flight.due.is_some() && !flight.broadcast).count();
            if asked >= ASKED_MAX {
                return;
            }
            let Some(key) = self.waiting.pop_front() else { return };
            if self.flights.get(&key).is_some_and(|flight| flight.due.is_none()) {
                self.send(now, key);
            }
        }
    }

    /// Asks one node, or probes it, or both.
    fn send(&mut self, now: Instant, key: Key) {
        let (node, mask) = key;
        let is_stock = self.stock.get(&node).is_some_and(|since| now.since(*since) < STOCK_REMEMBERED);
        let Some(flight) = self.flights.get_mut(&key) else { return };
        flight.tries += 1;
        flight.due = Some(now + PATIENCE);
        flight.broadcast = false;
        let again = flight.tries > 1;
        if !is_stock {
            let body = Body::Query(Query { q: flight.q, mask, window_ms: 0 });
            self.transmits.push_back(Transmit::One(node, body.frame(self.id, To::One(node))));
        }
        // Who was silent may be of another kind.
        if is_stock || again {
            self.transmits.push_back(Transmit::Probe(node));
        }
    }

    /// A node has answered ([`CollectorEvent::Answer`](meshward_core::telemetry::CollectorEvent::Answer)).
    pub fn handle_answer(&mut self, now: Instant, node: NodeId, q: u16, values: Option<&[(Metric, i64)]>) {
        self.stock.remove(&node);
        let flights = self.flights.range((node, 0)..=(node, u32::MAX));
        let key = flights.filter(|(_, flight)| flight.q == q).map(|(key, _)| *key).next();
        if let Some(values) = values {
            let whole = key.is_some_and(|(_, mask)| mask == 0);
            self.remember(node, now, values, whole);
        }
        let Some(key) = key else { return };
        self.end(key, |started, metrics| match values {
            Some(values) => {
                let wanted = |metric: &Metric| metrics.is_empty() || metrics.contains(metric);
                let values = values.iter().copied().filter(|(metric, _)| wanted(metric)).collect();
                Outcome::Answered { values, after: now.since(started) }
            }
            None => Outcome::Declined,
        });
        self.send_waiting(now);
        self.finish();
    }

    /// A node has told something by itself.
    pub fn handle_report(&mut self, now: Instant, node: NodeId, report: &Report) {
        self.stock.remove(&node);
        self.remember(node, now - report.age, &report.values, !report.flags.has(Flags::MORE));
    }

    fn remember(&mut self, node: NodeId, at: Instant, values: &[(Metric, i64)], whole: bool) {
        if !self.cache.put(node, at, values, whole) {
            self.dropped += 1;
        }
    }

    /// A probe has come back.
    pub fn handle_delay(&mut self, now: Instant, node: NodeId, round_trip: Duration) {
        let is_stock = self.stock.contains_key(&node);
        let mut over = Vec::new();
        for (key, flight) in self.flights.range_mut((node, 0)..=(node, u32::MAX)) {
            flight.round_trip = Some(round_trip);
            if is_stock && flight.due.is_some() {
                over.push(*key);
            }
        }
        over.into_iter().for_each(|key| self.end(key, |_, _| Outcome::Probed { round_trip }));
        self.send_waiting(now);
        self.finish();
    }

    /// The tree has changed: who is gone does not answer.
    pub fn handle_topology(&mut self, now: Instant, mesh: &Mesh) {
        let gone: Vec<Key> = self.flights.keys().filter(|(node, _)| !mesh.knows(*node)).copied().collect();
        gone.into_iter().for_each(|key| self.end(key, |_, _| Outcome::Unreachable));
        self.send_waiting(now);
        self.finish();
    }

    /// A node is gone for good.
    pub fn forget(&mut self, node: NodeId) {
        self.cache.forget(node);
        self.stock.remove(&node);
    }

    /// Nobody wants to know any more. False for a query that is over.
    pub fn cancel(&mut self, now: Instant, query: QueryId) -> bool {
        let Some(running) = self.running.get(&query) else { return false };
        let open: Vec<NodeId> = running.open.iter().copied().collect();
        open.into_iter().for_each(|node| self.settle(query, node, Outcome::Cancelled));
        self.drop_unwanted();
        self.send_waiting(now);
        self.finish();
        true
    }

    /// Asks again, and gives up.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due = |flight: &Flight| flight.due.is_some_and(|due| due <= now);
        let due: Vec<Key> =
            self.flights.iter().filter(|(_, flight)| due(flight)).map(|(key, _)| *key).collect();
        for key in due {
            let Some(flight) = self.flights.get_mut(&key) else { continue };
            if flight.tries < TRIES {
                flight.due = None;
                flight.broadcast = false;
                self.waiting.push_back(key);
            } else {
                let outcome = self.silence(now, key);
                self.end(key, |_, _| outcome.clone());
            }
        }
        let late = |running: &Running| running.started + running.request.timeout <= now;
        let late: Vec<QueryId> =
            self.running.iter().filter(|(_, running)| late(running)).map(|(query, _)| *query).collect();
        for query in late {
            let open =
                self.running.get(&query).map_or(Vec::new(), |running| Vec::from_iter(running.open.clone()));
            for node in open {
                let flight = self.flights.range((node, 0)..=(node, u32::MAX)).find_map(|(_, f)| f.round_trip);
                let outcome = flight.map_or(Outcome::TimedOut, |round_trip| Outcome::Probed { round_trip });
                self.settle(query, node, outcome);
            }
        }
        self.drop_unwanted();
        self.send_waiting(now);
        self.finish();
    }

    /// What it means that a node has not answered twice.
    fn silence(&mut self, now: Instant, key: Key) -> Outcome {
        let Some(round_trip) = self.flights.get(&key).and_then(|flight| flight.round_trip) else {
            return Outcome::TimedOut;
        };
        if self.stock.len() < Self::NODES_MAX {
            self.stock.insert(key.0, now);
        } else {
            self.dropped += 1;
        }
        Outcome::Probed { round_trip }
    }

    /// When to call [`Queries::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let flights = self.flights.values().filter_map(|flight| flight.due);
        let queries = self.running.values().map(|running| running.started + running.request.timeout);
        flights.chain(queries).min()
    }

    /// The next thing to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// What is known, the oldest first.
    pub fn poll_event(&mut self) -> Option<QueryEvent> {
        self.events.pop_front()
    }

    /// A flight is over: whoever waited for it has its outcome.
    fn end(&mut self, key: Key, outcome: impl Fn(Instant, &[Metric]) -> Outcome) {
        let (node, mask) = key;
        self.flights.remove(&key);
        let served = |running: &Running| {
            let wanted = query_mask(&running.request.metrics);
            running.open.contains(&node) && (mask == 0 || (wanted != 0 && wanted & mask == wanted))
        };
        let served: Vec<(QueryId, Outcome)> = (self.running.iter())
            .filter(|(_, running)| served(running))
            .map(|(query, running)| (*query, outcome(running.started, &running.request.metrics)))
            .collect();
        served.into_iter().for_each(|(query, outcome)| self.settle(query, node, outcome));
    }

    /// A node of a query has its outcome.
    fn settle(&mut self, query: QueryId, node: NodeId, outcome: Outcome) {
        let Some(running) = self.running.get_mut(&query) else { return };
        if running.open.remove(&node) {
            running.outcomes.insert(node, outcome.clone());
            self.push(QueryEvent::Outcome { query, node, outcome });
        }
    }

    /// Flights that nobody waits for any more.
    fn drop_unwanted(&mut self) {
        let Self { flights, running, .. } = self;
        flights.retain(|(node, mask), _| {
            running.values().any(|running| {
                let wanted = query_mask(&running.request.metrics);
                running.open.contains(node) && (*mask == 0 || (wanted != 0 && wanted & mask == wanted))
            })
        });
    }

    fn finish(&mut self) {
        let over: Vec<QueryId> = self
            .running
            .iter()
            .filter(|(_, running)| running.open.is_empty())
            .map(|(query, _)| *query)
            .collect();
        for query in over {
            if let Some(running) = self.running.remove(&query) {
                self.push(QueryEvent::Finished { query, outcomes: running.outcomes });
            }
        }
    }

    fn push(&mut self, event: QueryEvent) {
        if self.events.len() >= EVENTS_MAX {
            self.dropped += 1;
        } else {
            self.events.push_back(event);
        }
    }
}
