//! What a gateway that ran before has left: taken up before the first node is heard.
//!
//! It comes from whoever keeps it; a gateway without one begins with nothing. Numbers go on where they were, so that
//! none is given twice.

use std::collections::BTreeSet;

use meshward_core::time::Instant;
use meshward_fleet::deployment::OrderCounter;
use meshward_fleet::memory::{Memory, Moment, Restored, Stamp};

use super::{Firmware, Gateway, Unfinished};

/// What was left.
#[derive(Debug, Default)]
pub struct Remembered {
    /// What the fleet knew.
    pub memory: Memory,
    /// Images, the oldest first; the newest are kept.
    pub images: Vec<Firmware>,
    /// Images of which an operator has said that they take updates themselves.
    pub confirmed: BTreeSet<[u8; 32]>,
    /// The last number that an event had.
    pub last_event: u64,
    /// The number of the next roll-out; 0 when there was none.
    pub next_rollout: u64,
    /// Roll-outs that had not finished, the oldest first.
    pub unfinished: Vec<Unfinished>,
    /// The counter of the last order that this gateway's key has signed.
    pub last_counter: u64,
    /// Roll-outs in waves that are over and may still be taken back, the oldest first.
    pub ended: Vec<Unfinished>,
    /// Whether somebody writes down what is decided from here on, before it is done.
    pub keeps: bool,
}

impl Gateway {
    /// Both clocks, at this instant.
    pub fn moment(&self, now: Instant) -> Moment {
        let since = self.civil(now).duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
        Moment { now, civil: Stamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)) }
    }

    /// Takes up what was left.
    pub(super) fn take_up(&mut self, now: Instant, remembered: Remembered) -> Restored {
        let Remembered {
            memory, images, confirmed, last_event, next_rollout, unfinished, last_counter, ..
        } = remembered;
        self.keep_decisions(remembered.keeps);
        remembered.ended.into_iter().for_each(|left| self.remember_ended(left));
        self.begin_events_after(last_event);
        self.number_rollouts_from(next_rollout);
        self.counter = OrderCounter::after(last_counter);
        self.confirmed = confirmed;
        for Firmware { name, info, image, manifest } in images {
            let sum = info.sha256;
            self.add_firmware(name, image, info);
            if let Some(manifest) = manifest {
                self.add_manifest(&sum, manifest);
            }
        }
        let restored = self.fleet.restore(self.moment(now), &memory);
        for unfinished in unfinished {
            let id = unfinished.id;
            if let Err(error) = self.resume(now, unfinished) {
                tracing::warn!(rollout = id, %error, "a roll-out that had not finished cannot go on");
            }
        }
        restored
    }

    /// The counter of the last order that was signed here.
    pub fn last_counter(&self) -> u64 {
        self.counter.last()
    }

    /// Whether an operator has said of an image that it takes updates itself.
    pub fn is_confirmed(&self, sha256: &[u8; 32]) -> bool {
        self.confirmed.contains(sha256)
    }
}
