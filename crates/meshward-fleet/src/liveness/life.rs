//! What is known of one node's life.

use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

use super::inquiry::Inquiry;
use super::loss::Trials;
use super::{Config, State, Status};

#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) state: State,
    pub(super) since: Instant,
    /// When there was evidence last.
    pub(super) heard: Option<Instant>,
    /// From when on silence counts: the last evidence, or later where it could not have been heard before.
    pub(super) base: Instant,
    /// The node above it and its depth, while it is in the tree.
    pub(super) place: Option<(NodeId, u32)>,
    /// The node that was above it when it left the tree, or before the gateway's start.
    pub(super) below: Option<NodeId>,
    /// Since when it was lost before the gateway's start.
    pub(super) lost_before: Option<Instant>,
    pub(super) period: Option<Duration>,
    /// When a sleeper should be back at the latest.
    pub(super) wakes: Option<Instant>,
    /// Until when it may follow the node above it back into the tree.
    pub(super) returns: Option<Instant>,
    pub(super) inquiry: Option<Inquiry>,
    pub(super) path: Trials,
    /// Its entry among the timers.
    pub(super) timer: Option<Instant>,
}

impl Life {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state: State::Learning,
            since: now,
            heard: None,
            base: now,
            place: None,
            below: None,
            lost_before: None,
            period: None,
            wakes: None,
            returns: None,
            inquiry: None,
            path: Trials::default(),
            timer: None,
        }
    }

    pub(super) const fn status(&self) -> Status {
        Status { state: self.state, since: self.since, heard: self.heard, period: self.period }
    }

    pub(super) fn hops(&self) -> u32 {
        self.place.map_or(1, |(_, hops)| hops.max(1))
    }

    /// The hops of a probe and its answer, while it is in the tree.
    pub(super) fn round_trip_hops(&self) -> Option<u32> {
        self.place.map(|(_, hops)| hops.max(1).saturating_mul(2))
    }

    /// When it is to be looked at.
    pub(super) fn due(&self, config: &Config) -> Option<Instant> {
        if let Some(inquiry) = &self.inquiry {
            return Some(inquiry.next);
        }
        match self.state {
            State::Online | State::Suspect => self.place.map(|(_, hops)| match self.period {
                Some(period) => self.base + period + config.grace,
                // The deepest first: their answers prove the others.
                None => self.base + config.sweep - Duration::from_secs(u64::from(hops.min(60))),
            }),
            State::Sleeping => self.wakes,
            State::Unreachable { .. } if self.place.is_none() => self.returns,
            // Called offline while its neighbour still has it: it may be a mistake.
            State::Offline if self.place.is_some() => Some(self.base.max(self.since) + config.sweep),
            _ => None,
        }
    }
}
