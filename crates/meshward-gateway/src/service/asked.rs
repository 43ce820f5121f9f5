//! Questions that are answered while their asker looks again and again.
//!
//! At most [`ASKED_MAX`] are kept; the oldest that is over makes room. Who waits for an answer in one request does
//! not come here.

use std::collections::{BTreeMap, BTreeSet};

use meshward_core::node::Node;
use meshward_core::time::Instant;
use meshward_core::wire::NodeId;
use meshward_fleet::query::{Outcome, QueryEvent, QueryId, Refused, Request};

use super::Gateway;

/// Questions that are kept, under way and over.
pub const ASKED_MAX: usize = 64;

/// A question.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its number.
    pub id: QueryId,
    /// When it was asked.
    pub at: Instant,
    /// When the last node had its outcome.
    pub finished: Option<Instant>,
    /// Who has none yet.
    pub missing: BTreeSet<NodeId>,
    /// What became of the others.
    pub outcomes: BTreeMap<NodeId, Outcome>,
}

/// Those that are kept, by their numbers, which rise.
#[derive(Debug, Default)]
pub(super) struct Table(BTreeMap<QueryId, Asked>);

impl Table {
    fn make_room(&mut self) -> Result<(), Refused> {
        if self.0.len() < ASKED_MAX {
            return Ok(());
        }
        let over = self.0.values().find(|asked| asked.finished.is_some()).map(|asked| asked.id);
        over.and_then(|id| self.0.remove(&id)).map(drop).ok_or(Refused::Busy)
    }

    /// Notes what became of a question; whether it is one of these.
    pub(super) fn note(&mut self, now: Instant, event: &QueryEvent) -> bool {
        let (QueryEvent::Outcome { query, .. } | QueryEvent::Finished { query, .. }) = event;
        let Some(asked) = self.0.get_mut(query) else { return false };
        match event {
            QueryEvent::Outcome { node, outcome, .. } => {
                asked.missing.remove(node);
                asked.outcomes.insert(*node, outcome.clone());
            }
            QueryEvent::Finished { outcomes, .. } => {
                asked.missing.clear();
                asked.outcomes.clone_from(outcomes);
                asked.finished = Some(now);
            }
        }
        true
    }
}

impl Gateway {
    /// Asks nodes how they fare; what comes of it is kept, under this number.
    ///
    /// # Errors
    /// [`Refused`], and nobody was asked.
    pub fn ask(&mut self, now: Instant, node: &mut Node, request: Request) -> Result<QueryId, Refused> {
        self.status.asked.make_room()?;
        let missing = request.nodes.iter().copied().collect();
        let id = self.fleet.query(now, node.mesh(), request)?;
        let asked = Asked { id, at: now, finished: None, missing, outcomes: BTreeMap::new() };
        self.status.asked.0.insert(id, asked);
        self.watch(now, node);
        Ok(id)
    }

    /// A question that is kept.
    pub fn asked(&self, id: QueryId) -> Option<&Asked> {
        self.status.asked.0.get(&id)
    }

    /// All of them, the oldest first.
    pub fn all_asked(&self) -> impl Iterator<Item = &Asked> {
        self.status.asked.0.values()
    }

    /// Takes a question back and forgets it. Whether there was one.
    pub fn take_back(&mut self, now: Instant, node: &mut Node, id: QueryId) -> bool {
        let known = self.status.asked.0.remove(&id);
        if known.as_ref().is_some_and(|asked| asked.finished.is_none()) {
            self.fleet.cancel_query(now, id);
            self.watch(now, node);
        }
        known.is_some()
    }
}
