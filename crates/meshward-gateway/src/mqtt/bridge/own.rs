//! What the gateway says of itself at the broker: its health, notes, and what somebody did.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Bridge;
use crate::mqtt::board::{Pace, Want};
use crate::mqtt::message::{Message, Qos};
use crate::rest::inside::Seen;
use crate::store::AuditRow;

/// Orphans that are listed.
const ORPHANS_SHOWN: usize = 100;
/// Between two messages about the gateway's own health, in seconds.
const HEALTH_S: u64 = 60;

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) connections: u64,
    pub(crate) published: u64,
    pub(crate) published_bytes: u64,
    pub(crate) received: u64,
    pub(crate) requests: u64,
    pub(crate) refused: u64,
    pub(crate) retained_ignored: u64,
    pub(crate) repeated_ignored: u64,
    /// Messages for which there was no room.
    pub(crate) outbox_dropped: u64,
    /// Messages that the broker does not take.
    pub(crate) unsent: u64,
    pub(crate) orphans_removed: u64,
}

/// What the system says of the process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Vitals {
    pub(crate) resident_bytes: Option<f64>,
    pub(crate) cpu_seconds: Option<f64>,
}

impl Bridge {
    /// How the gateway itself is.
    pub(super) fn own_health(&self, seen: &Seen, vitals: Vitals) -> Want {
        let counted = self.counters;
        let orphans: Vec<&str> = self.board.orphans().take(ORPHANS_SHOWN).collect();
        let body = json!({
            "process": { "resident_bytes": vitals.resident_bytes, "cpu_seconds": vitals.cpu_seconds },
            "queues": {
                "outbox": self.outbox.len(), "in_flight": self.in_flight.len(), "calls": self.calls,
                "retained_waiting": self.board.waiting(), "uploads": self.uploads.len(),
            },
            "mqtt": {
                "connections": counted.connections, "published": counted.published,
                "published_bytes": counted.published_bytes, "received": counted.received,
                "requests": counted.requests, "refused": counted.refused,
                "retained_ignored": counted.retained_ignored, "repeated_ignored": counted.repeated_ignored,
                "outbox_dropped": counted.outbox_dropped, "unsent": counted.unsent,
                "topics": self.board.len(), "topics_dropped": self.board.dropped(),
                "uploads_given_up": self.uploads.given_up(),
                "orphans": orphans, "orphans_removed": counted.orphans_removed,
            },
            "overhead": seen.status.overhead,
        });
        Want::new(self.topics.of("bridge/health"), body, Pace::between(HEALTH_S, HEALTH_S))
    }

    /// Whether it is known which rows of the audit were there before us.
    pub(crate) const fn knows_audit(&self) -> bool {
        self.audited.is_some()
    }

    /// The newest rows of the audit, in any order; those that are new are told.
    pub(crate) fn handle_audit(&mut self, mut rows: Vec<AuditRow>) {
        rows.sort_by_key(|row| row.seq);
        let last = rows.last().map_or(0, |row| row.seq);
        // What was written before we were there is not new.
        let told = self.audited.replace(last.max(self.audited.unwrap_or(0))).unwrap_or(last);
        for row in rows.into_iter().filter(|row| row.seq > told) {
            let detail = serde_json::from_str::<Value>(&row.detail).unwrap_or_default();
            let body = json!({
                "seq": row.seq, "at": row.at, "actor": row.actor, "action": row.action, "subject": row.subject,
                "detail": detail, "ts": row.at.as_millisecond(),
            });
            self.say(Message::passing(self.topics.of("ota/audit"), body.to_string(), Qos::AtLeastOnce));
        }
    }

    /// Says something to whoever reads along.
    pub(super) fn note(&mut self, level: &str, text: &str) {
        let now = Timestamp::now();
        let body =
            json!({ "level": level, "message": text, "kind": "mqtt", "at": now, "ts": now.as_millisecond() });
        self.say(Message::passing(self.topics.of("bridge/logging"), body.to_string(), Qos::AtMostOnce));
    }
}
