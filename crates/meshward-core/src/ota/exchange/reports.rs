//! News on its way to whoever began the roll-out: a node's own and that of the nodes behind it, merged.
//!
//! Pieces of news wait a moment for others, so that a relay sends one report for many nodes, and never more than one
//! in a round: a gateway hears at most as many as it has neighbours. Where a stock node lies between, a report may get
//! lost there: it is kept until there were thanks, and sent again.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::message::Record;
use crate::time::{Duration, Instant};
use crate::wire::NodeId;

/// How long news waits for more, and from one report to the next.
const ROUND: Duration = Duration::from_millis(100);
/// Bytes of news in one report.
const REPORT_BYTES: usize = 700;
/// Reports that wait; news that comes when they are full is lost, and is asked for again by who misses it.
const REPORTS_MAX: usize = 8;
/// After how long thanks are overdue, and how often a report is repeated.
const THANKS: Duration = Duration::from_secs(5);
const TRIES: u8 = 4;

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// Encoded records, cut into reports.
    waiting: VecDeque<Vec<u8>>,
    due: Option<Instant>,
    /// When the round of the last one is over.
    next: Option<Instant>,
    /// What was sent, and to whom, until there were thanks.
    sent: Vec<u8>,
    to: NodeId,
    overdue: Option<Instant>,
    tries: u8,
    /// Records for which there was no room.
    pub(super) dropped: u64,
}

impl Reports {
    /// Empty ones, with the count of those before.
    pub(super) fn after(before: &Self) -> Self {
        Self { dropped: before.dropped, next: before.next, ..Self::default() }
    }

    /// There is news; `soon` when it cannot wait for more.
    pub(super) fn note(&mut self, now: Instant, record: &Record, soon: bool) {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        let full = self.waiting.len() >= REPORTS_MAX;
        match self.waiting.back_mut().filter(|report| report.len() + bytes.len() <= REPORT_BYTES) {
            Some(report) => report.append(&mut bytes),
            None if !full => self.waiting.push_back(bytes),
            None => {
                self.dropped += 1;
                return;
            }
        }
        let due = match self.next {
            Some(next) if next > now => next,
            _ if soon => now,
            _ => now + ROUND,
        };
        self.due = Some(self.due.map_or(due, |known| known.min(due)));
    }

    /// The records of a report that is due.
    pub(super) fn take(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.overdue.is_some_and(|due| due <= now) {
            self.overdue = None;
            if self.tries < TRIES {
                self.tries += 1;
                return Some(core::mem::take(&mut self.sent));
            }
            self.sent = Vec::new();
        }
        // One at a time, so that thanks are for that one.
        self.due.filter(|due| *due <= now && self.overdue.is_none())?;
        self.tries = 0;
        let report = self.waiting.pop_front();
        self.next = Some(now + ROUND);
        self.due = self.next.filter(|_| !self.waiting.is_empty());
        report
    }

    /// A report was sent; with `kept` it is repeated until there are thanks of that node.
    pub(super) fn sent(&mut self, now: Instant, kept: Option<(NodeId, Vec<u8>)>) {
        self.overdue = kept.as_ref().map(|_| now + THANKS);
        (self.to, self.sent) = kept.unwrap_or_default();
    }

    /// There were thanks; those of a node that was asked for chunks meanwhile are for that.
    pub(super) fn thanked(&mut self, by: NodeId) {
        if by == self.to {
            (self.overdue, self.sent, self.tries) = (None, Vec::new(), 0);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.overdue {
            Some(overdue) => Some(overdue),
            None => self.due,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ota::exchange::{About, News};
    use crate::wire::NodeId;

    fn at(millis: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(millis)
    }

    fn record(node: u32) -> Record {
        Record { node: NodeId(node), news: News::About(About::default()) }
    }

    #[test]
    fn news_waits_for_more_and_long_reports_are_cut() {
        let mut reports = Reports::default();
        reports.note(at(0), &record(1), false);
        reports.note(at(50), &record(2), false);
        assert_eq!(reports.take(at(99)), None);
        let mut both = Vec::new();
        record(1).encode(&mut both);
        record(2).encode(&mut both);
        assert_eq!(reports.take(at(100)), Some(both.clone()));
        reports.sent(at(300), None);
        assert_eq!((reports.take(at(900)), reports.poll_timeout()), (None, None));
        (0..300).for_each(|node| reports.note(at(1_000), &record(node), false));
        assert!(reports.dropped > 0);
        let mut sizes = Vec::new();
        for round in 1..=REPORTS_MAX as u64 {
            assert_eq!(reports.poll_timeout(), Some(at(1_000 + 100 * round)), "one a round");
            sizes.extend(reports.take(at(1_000 + 100 * round)).map(|report| report.len()));
            assert_eq!(reports.take(at(1_000 + 100 * round)), None);
        }
        assert_eq!((sizes.len(), reports.poll_timeout()), (REPORTS_MAX, None));
        assert!(sizes.iter().all(|len| *len <= REPORT_BYTES && *len > REPORT_BYTES / 2));
    }

    #[test]
    fn what_cannot_wait_goes_at_once_but_not_twice_in_a_round() {
        let mut reports = Reports::default();
        reports.note(at(0), &record(1), true);
        assert!(reports.take(at(0)).is_some());
        reports.note(at(30), &record(2), false);
        reports.note(at(40), &record(3), true);
        assert_eq!((reports.take(at(99)), reports.poll_timeout()), (None, Some(at(100))));
        assert!(reports.take(at(100)).is_some());
        reports.note(at(500), &record(4), false);
        assert_eq!(reports.poll_timeout(), Some(at(600)));
    }

    #[test]
    fn what_nobody_thanks_for_is_repeated_but_not_for_ever() {
        let mut reports = Reports::default();
        reports.note(at(0), &record(1), true);
        let mut now = at(0);
        let mut sent = 0;
        while let Some(report) = reports.take(now) {
            sent += 1;
            reports.sent(now, Some((NodeId(7), report)));
            now = reports.poll_timeout().unwrap();
        }
        assert_eq!((sent, reports.poll_timeout()), (1 + usize::from(TRIES), None));
        reports.note(now, &record(1), true);
        let report = reports.take(now);
        reports.sent(now, report.map(|report| (NodeId(7), report)));
        let due = reports.poll_timeout();
        reports.thanked(NodeId(8));
        assert_eq!(reports.poll_timeout(), due, "those were for something else");
        reports.thanked(NodeId(7));
        assert_eq!(reports.poll_timeout(), None);
    }
}
