//! What is asked for of one payload, and when.
//!
//! While chunks go by for all, a gap is seen at once, because links keep order; what lies ahead may still come.
//! When they have stopped, everything that is missing is wanted. What was asked for is not asked for again while
//! it may be on its way: so nothing crosses a link twice.

use super::message::Chunks;
use super::peers::Manner;
use crate::time::{Duration, Instant};

/// How long a gap waits for others before it is told, and for how many times the usual pause between chunks.
const GAP: Duration = Duration::from_millis(700);
const GAP_PAUSES: u64 = 3;
/// How long the one who was asked may give nothing, and where there is no source that others wait for.
const PATIENCE: Duration = Duration::from_secs(12);
const PATIENCE_HURRIED: Duration = Duration::from_secs(4);
/// Chunks have stopped when none has gone by for so long, and for so many times the usual pause.
const QUIET: Duration = Duration::from_secs(10);
const QUIET_PAUSES: u64 = 4;
/// Chunks that are asked for at once over links that may lose some.
const FAR_MAX: usize = 8;

/// See the module's page.
#[derive(Debug)]
pub(super) struct Asker {
    /// Chunks below have gone by.
    reach: u32,
    /// When the last one went by, or was first waited for, and the usual pause between two.
    last: Instant,
    pause: Option<Duration>,
    /// Whether no more will go by.
    over: bool,
    /// What was asked for, and until when it may take.
    asked: Chunks,
    due: Instant,
    patience: Duration,
    /// When a gap was first seen that was not asked for.
    gap: Option<Instant>,
}

impl Asker {
    pub(super) fn new(now: Instant) -> Self {
        let asked = Chunks::default();
        Self { reach: 0, last: now, pause: None, over: false, asked, due: now, patience: PATIENCE, gap: None }
    }

    /// A chunk went by for all.
    pub(super) fn passed(&mut self, now: Instant, chunk: u32) {
        if chunk >= self.reach {
            let took = now.since(self.last);
            self.pause = (self.reach > 0).then(|| match self.pause {
                Some(pause) => Duration::from_micros((pause.as_micros() * 7 + took.as_micros()) / 8),
                None => took,
            });
            (self.reach, self.last) = (chunk + 1, now);
        }
        self.over = false;
        // What goes by need not come from the one who was asked.
        self.asked.remove(chunk);
    }

    /// It was said that no more chunks will go by; whether that is news.
    pub(super) fn pass_is_over(&mut self) -> bool {
        !core::mem::replace(&mut self.over, true)
    }

    /// Whether nothing is expected to go by.
    pub(super) const fn is_over(&self) -> bool {
        self.over
    }

    /// A chunk has come from whoever was asked.
    pub(super) fn came(&mut self, now: Instant, chunk: u32) {
        if self.asked.contains(chunk) {
            self.asked.remove(chunk);
            self.due = now + self.patience;
        }
    }

    fn pauses(&self, count: u64) -> Duration {
        self.pause.map_or(Duration::ZERO, |pause| pause.saturating_mul(count))
    }

    fn quiet_at(&self) -> Instant {
        self.last + QUIET + self.pauses(QUIET_PAUSES)
    }

    /// How long a gap waits for others, to be told in one message.
    fn patience_for_gaps(&self) -> Duration {
        GAP.max(self.pauses(GAP_PAUSES))
    }

    /// What to ask for now, of a payload of `chunks`; and whether the one who was asked before has given nothing.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        chunks: u32,
        manner: Manner,
        missing: impl Fn(u32) -> bool,
    ) -> Option<(Chunks, bool)> {
        let open = self.asked.iter().any(&missing);
        if open && self.due > now {
            return None;
        }
        if !open {
            self.asked = Chunks::default();
        }
        self.over |= self.quiet_at() <= now;
        let limit = if self.over { chunks } else { self.reach.min(chunks) };
        let most = if manner.near { usize::MAX } else { FAR_MAX };
        let wanted = Chunks::of((0..limit).filter(|chunk| missing(*chunk)).take(most));
        if wanted.is_empty() {
            (self.asked, self.gap) = (Chunks::default(), None);
            return None;
        }
        if !self.over && !open && now < *self.gap.get_or_insert(now) + self.patience_for_gaps() {
            return None;
        }
        self.patience = if manner.hurried { PATIENCE_HURRIED } else { PATIENCE };
        (self.asked, self.due, self.gap) = (wanted.clone(), now + self.patience, None);
        Some((wanted, open))
    }

    /// Whoever was asked is gone: everything is to be asked for anew.
    pub(super) fn forget(&mut self) {
        self.asked = Chunks::default();
    }

    /// When to [`ask`](Self::ask) again; `None` while only news can change anything.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if !self.asked.is_empty() {
            return Some(self.due);
        }
        let gap = self.gap.map(|gap| gap + self.patience_for_gaps());
        let quiet = (!self.over).then(|| self.quiet_at());
        gap.into_iter().chain(quiet).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const NEAR: Manner = Manner { near: true, hurried: false };
    const FAR: Manner = Manner { near: false, hurried: false };

    fn at(millis: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(millis)
    }

    fn list(asked: Option<(Chunks, bool)>) -> Vec<u32> {
        asked.map_or(Vec::new(), |(chunks, _)| chunks.iter().collect())
    }

    #[test]
    fn gaps_are_told_together_and_once() {
        let mut asker = Asker::new(at(0));
        (0..10).filter(|chunk| ![3, 4].contains(chunk)).for_each(|chunk| asker.passed(at(100), chunk));
        let missing = |chunk: u32| [3, 4].contains(&chunk) || chunk >= 10;
        assert_eq!(asker.ask(at(100), 100, NEAR, missing), None, "more may follow");
        assert_eq!(asker.poll_timeout(), Some(at(800)));
        assert_eq!(list(asker.ask(at(800), 100, NEAR, missing)), [3, 4]);
        assert_eq!(asker.ask(at(2_000), 100, NEAR, missing), None, "they are on their way");
        asker.came(at(3_000), 3);
        assert_eq!(asker.poll_timeout(), Some(at(15_000)));
        let failed = asker.ask(at(15_000), 100, NEAR, |chunk| chunk == 4 || chunk >= 10);
        assert_eq!(failed.map(|(_, failed)| failed), Some(true));
    }

    #[test]
    fn gaps_of_slow_chunks_wait_for_more_of_them() {
        let mut asker = Asker::new(at(0));
        (0..4).for_each(|chunk| asker.passed(at(1_000 * u64::from(chunk)), chunk));
        asker.passed(at(5_000), 5);
        let missing = |chunk: u32| [4, 7].contains(&chunk) || chunk >= 9;
        assert_eq!(asker.ask(at(5_000), 100, NEAR, missing), None);
        assert!(asker.poll_timeout() > Some(at(8_000)), "{:?}", asker.poll_timeout());
        (6..9)
            .filter(|chunk| *chunk != 7)
            .for_each(|chunk| asker.passed(at(1_000 * u64::from(chunk)), chunk));
        let due = asker.poll_timeout().unwrap();
        assert_eq!(list(asker.ask(due, 100, NEAR, missing)), [4, 7], "in one message");
    }

    #[test]
    fn everything_is_wanted_when_chunks_have_stopped() {
        let mut asker = Asker::new(at(0));
        asker.passed(at(0), 0);
        asker.passed(at(2_000), 1);
        let missing = |chunk: u32| chunk >= 2;
        assert_eq!(asker.ask(at(3_000), 20, NEAR, missing), None);
        let quiet = asker.poll_timeout().unwrap();
        assert_eq!(quiet, at(2_000 + 10_000 + 8_000));
        assert_eq!(list(asker.ask(quiet, 20, NEAR, missing)), (2..20).collect::<Vec<_>>());
        let mut asker = Asker::new(at(0));
        asker.pass_is_over();
        assert_eq!(list(asker.ask(at(0), 20, FAR, |_| true)), (0..8).collect::<Vec<_>>(), "from afar");
        assert_eq!(asker.ask(at(1), 20, FAR, |_| false), None);
        assert_eq!(asker.poll_timeout(), None);
    }
}
