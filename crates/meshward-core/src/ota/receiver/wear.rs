//! How many erases of the flash strangers may cost.
//!
//! Whoever is in the mesh can send chunks that nobody signed. They are found out when their block is complete, and
//! its sector is then erased for the right ones. Nobody may wear the flash out like that: there are
//! [`WRONG_BLOCKS_AT_ONCE`] such erases, and from then on one every [`WRONG_BLOCK_EVERY`]. While there is none left,
//! complete blocks wait unread, and chunks are still taken: a right one costs no erase.

use crate::time::{Duration, Instant};

/// Wrong blocks that are erased without a pause: every block of 512 KB once.
pub const WRONG_BLOCKS_AT_ONCE: u16 = 128;
/// How long each of these takes to come back. A sector of NOR flash lasts some 100 000 erases: nearly two years of
/// forged chunks without a pause, all for the same block.
pub const WRONG_BLOCK_EVERY: Duration = Duration::from_secs(600);

/// What is left of them. It begins anew with a reset.
#[derive(Debug)]
pub(super) struct Wear {
    left: u16,
    /// When one comes back; `None` while none is missing.
    next: Option<Instant>,
}

impl Wear {
    pub(super) const fn new() -> Self {
        Self { left: WRONG_BLOCKS_AT_ONCE, next: None }
    }

    /// A wrong block is erased.
    pub(super) fn erased(&mut self, now: Instant) {
        self.handle_timeout(now);
        self.left = self.left.saturating_sub(1);
        self.next = self.next.or(Some(now + WRONG_BLOCK_EVERY));
    }

    /// Takes back what has come back by now.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some(at) = self.next.filter(|at| *at <= now) {
            self.left += 1;
            self.next = (self.left < WRONG_BLOCKS_AT_ONCE).then_some(at + WRONG_BLOCK_EVERY);
        }
    }

    /// Until when no wrong block may be erased; `None` when one may be now.
    pub(super) fn spent_until(&self) -> Option<Instant> {
        self.next.filter(|_| self.left == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whenever wrong blocks come, and however late timers are.
        #[test]
        fn erases_are_bounded_and_never_stop(pauses in prop::collection::vec((0_u64..900, any::<bool>()), 1..2_000)) {
            let (mut wear, mut now, mut erases) = (Wear::new(), Instant::ORIGIN, 0_u64);
            for (seconds, timer) in pauses {
                now = now + Duration::from_secs(seconds);
                if timer {
                    wear.handle_timeout(now);
                }
                if wear.spent_until().is_none() {
                    wear.erased(now);
                    erases += 1;
                }
                let most = u64::from(WRONG_BLOCKS_AT_ONCE)
                    + now.as_micros() / WRONG_BLOCK_EVERY.as_micros();
                prop_assert!(erases <= most, "{erases} of {most}");
                prop_assert!(wear.left <= WRONG_BLOCKS_AT_ONCE);
                if let Some(until) = wear.spent_until() {
                    prop_assert!(until <= now + WRONG_BLOCK_EVERY);
                }
            }
            if let Some(until) = wear.spent_until() {
                wear.handle_timeout(until);
                prop_assert_eq!(wear.spent_until(), None);
            }
            wear.handle_timeout(now + Duration::from_secs(u64::from(WRONG_BLOCKS_AT_ONCE) * 600));
            prop_assert_eq!((wear.left, wear.next), (WRONG_BLOCKS_AT_ONCE, None));
        }
    }
}
