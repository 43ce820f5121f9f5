//! What the broker is to keep: the newest value per topic, sent when it changes, again from time to time, again after
//! every reconnect, and taken away when it is not wanted any more.
//!
//! [`Board::put`] says what a topic should hold and how often that may change ([`Pace`]); [`Board::poll`] gives out
//! what is to be sent. A value that changes again before it was sent is sent once, so nothing piles up while there is
//! no broker. What the broker keeps and nobody wants ([`Board::found`]) is an orphan: it is taken away by
//! [`Board::sweep`], when it is known who is wanted. It knows no broker and no clock.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use meshward_core::time::{Duration, Instant};
use serde_json::Value;

use super::message::{Message, Qos};

/// Topics that are kept, and orphans that are remembered.
pub(crate) const TOPICS_MAX: usize = 8_192;

/// How often a topic is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Between two changes.
    pub(crate) least: Duration,
    /// After so long also without a change.
    pub(crate) refresh: Option<Duration>,
}

impl Pace {
    /// At every change, at once.
    pub(crate) const CHANGE: Self = Self { least: Duration::ZERO, refresh: None };

    /// At changes not more often than every `least` seconds, and without one after `refresh`.
    pub(crate) const fn between(least: u64, refresh: u64) -> Self {
        Self { least: Duration::from_secs(least), refresh: Some(Duration::from_secs(refresh)) }
    }
}

/// Whether the time is written into a payload, as `ts` in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stamp {
    /// As it is.
    Bare,
    /// With `ts`; of something that is no object, as it is.
    Stamped,
}

/// What a topic should hold.
pub(crate) struct Want {
    pub(crate) topic: String,
    pub(crate) body: Value,
    /// What is written too, and is no change by itself.
    pub(crate) also: Option<(&'static str, Value)>,
    pub(crate) stamp: Stamp,
    pub(crate) pace: Pace,
    pub(crate) qos: Qos,
}

impl Want {
    /// A stamped one at QoS 1.
    pub(crate) fn new(topic: String, body: Value, pace: Pace) -> Self {
        Self { topic, body, also: None, stamp: Stamp::Stamped, pace, qos: Qos::AtLeastOnce }
    }

    /// The same without the time.
    pub(crate) fn bare(self) -> Self {
        Self { stamp: Stamp::Bare, ..self }
    }

    /// The same with something that is no change by itself.
    pub(crate) fn with(self, key: &'static str, value: Value) -> Self {
        Self { also: Some((key, value)), ..self }
    }

    /// The same at QoS 0.
    pub(crate) fn loosely(self) -> Self {
        Self { qos: Qos::AtMostOnce, ..self }
    }
}

#[derive(Debug)]
struct Slot {
    body: Value,
    payload: Vec<u8>,
    qos: Qos,
    at: Instant,
    /// Of the latest [`Board::begin`] in which it was wanted.
    round: u64,
}

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Board {
    slots: BTreeMap<String, Slot>,
    /// What is to be sent; a topic that has no slot is to be emptied.
    due: BTreeSet<String>,
    orphans: BTreeSet<String>,
    round: u64,
    /// Topics for which there was no room.
    dropped: u64,
}

impl Board {
    /// From here on it is said what is wanted.
    pub(crate) fn begin(&mut self) {
        self.round += 1;
    }

    /// What a topic should hold.
    pub(crate) fn put(&mut self, now: Instant, at: Timestamp, want: Want) {
        let round = self.round;
        if let Some(slot) = self.slots.get_mut(&want.topic) {
            slot.round = round;
            let age = now.since(slot.at);
            let changed = slot.body != want.body && age >= want.pace.least;
            if !changed && want.pace.refresh.is_none_or(|refresh| age < refresh) {
                return;
            }
        } else if self.slots.len() >= TOPICS_MAX {
            self.dropped += 1;
            return;
        }
        let payload = written(&want, at);
        self.orphans.remove(&want.topic);
        self.due.insert(want.topic.clone());
        self.slots.insert(want.topic, Slot { body: want.body, payload, qos: want.qos, at: now, round });
    }

    /// What a topic holds is to stay, whatever it is.
    pub(crate) fn keep(&mut self, topic: &str) {
        let round = self.round;
        if let Some(slot) = self.slots.get_mut(topic) {
            slot.round = round;
        }
    }

    /// What was not wanted since [`Board::begin`] is taken away, of those for which `owned` says so.
    pub(crate) fn end(&mut self, owned: impl Fn(&str) -> bool) {
        let gone: Vec<String> = self
            .slots
            .iter()
            .filter(|(topic, slot)| slot.round != self.round && owned(topic))
            .map(|(topic, _)| topic.clone())
            .collect();
        for topic in gone {
            self.slots.remove(&topic);
            self.due.insert(topic);
        }
    }

    /// A topic is not wanted any more.
    pub(crate) fn withdraw(&mut self, topic: &str) {
        if self.slots.remove(topic).is_some() {
            self.due.insert(topic.to_owned());
        }
    }

    /// The broker keeps something in a topic that is ours.
    pub(crate) fn found(&mut self, topic: &str) {
        if self.slots.contains_key(topic) || self.due.contains(topic) {
            return;
        }
        if self.orphans.len() >= TOPICS_MAX {
            self.dropped += 1;
            return;
        }
        self.orphans.insert(topic.to_owned());
    }

    /// What the broker keeps and nobody wants.
    pub(crate) fn orphans(&self) -> impl Iterator<Item = &str> {
        self.orphans.iter().map(String::as_str)
    }

    /// Takes the orphans away; how many there were.
    pub(crate) fn sweep(&mut self) -> usize {
        let orphans = std::mem::take(&mut self.orphans);
        let count = orphans.len();
        self.due.extend(orphans);
        count
    }

    /// The broker may have forgotten everything.
    pub(crate) fn reconnected(&mut self) {
        self.due.extend(self.slots.keys().cloned());
    }

    /// A topic is to be sent once more.
    pub(crate) fn repeat(&mut self, topic: &str) {
        if self.slots.contains_key(topic) {
            self.due.insert(topic.to_owned());
        }
    }

    /// The next message; its order is that of the topics' names.
    pub(crate) fn poll(&mut self) -> Option<Message> {
        let topic = self.due.pop_first()?;
        Some(match self.slots.get(&topic) {
            Some(slot) => Message::retained(topic, slot.payload.clone(), slot.qos),
            None => Message::retained(topic, Vec::new(), Qos::AtLeastOnce),
        })
    }

    /// How many topics are kept.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// How many messages wait.
    pub(crate) fn waiting(&self) -> usize {
        self.due.len()
    }

    /// Topics for which there was no room.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

fn written(want: &Want, at: Timestamp) -> Vec<u8> {
    let mut body = want.body.clone();
    if let Some(object) = body.as_object_mut() {
        object.extend(want.also.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        if want.stamp == Stamp::Stamped {
            object.insert("ts".to_owned(), at.as_millisecond().into());
        }
    }
    body.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn want(topic: &str, value: u32, pace: Pace) -> Want {
        Want::new(topic.to_owned(), json!({ "v": value }), pace)
    }

    fn sent(board: &mut Board) -> Vec<(String, String)> {
        std::iter::from_fn(|| board.poll())
            .inspect(|message| assert!(message.retain))
            .map(|message| (message.topic, String::from_utf8(message.payload.to_vec()).unwrap()))
            .collect()
    }

    #[test]
    fn a_value_is_sent_when_it_changes_as_often_as_it_may_and_again_after_a_while() {
        let mut board = Board::default();
        let pace = Pace::between(5, 60);
        // When it is put, its value, and whether it is sent.
        for (second, value, is_sent) in [
            (0, 1, true),
            (1, 1, false),
            (2, 2, false),
            (5, 2, true),
            (6, 2, false),
            (64, 2, false),
            (65, 2, true),
            (66, 3, false),
            (70, 3, true),
        ] {
            board.put(at(second), Timestamp::from_second(second as i64).unwrap(), want("a", value, pace));
            let messages = sent(&mut board);
            assert_eq!(messages.len(), usize::from(is_sent), "{second}: {messages:?}");
            if is_sent {
                assert_eq!(messages[0].1, format!(r#"{{"ts":{},"v":{value}}}"#, second * 1_000));
            }
        }
    }

    #[test]
    fn what_is_not_wanted_any_more_is_emptied_and_the_rest_survives_a_reconnect() {
        let (mut board, now) = (Board::default(), Timestamp::UNIX_EPOCH);
        board.begin();
        for topic in ["node/1/state", "node/2/state", "nodes"] {
            board.put(at(0), now, want(topic, 1, Pace::CHANGE).bare());
        }
        board.end(|topic| topic.starts_with("node/"));
        assert_eq!(sent(&mut board).len(), 3);
        board.begin();
        board.put(at(1), now, want("node/2/state", 1, Pace::CHANGE).bare());
        board.end(|topic| topic.starts_with("node/"));
        assert_eq!(sent(&mut board), [("node/1/state".to_owned(), String::new())]);
        board.reconnected();
        let again: Vec<String> = sent(&mut board).into_iter().map(|(topic, _)| topic).collect();
        assert_eq!(again, ["node/2/state", "nodes"]);
    }

    #[test]
    fn orphans_are_those_that_nobody_wants() {
        let (mut board, now) = (Board::default(), Timestamp::UNIX_EPOCH);
        board.put(at(0), now, want("a", 1, Pace::CHANGE));
        ["a", "b", "c"].into_iter().for_each(|topic| board.found(topic));
        assert_eq!(board.orphans().collect::<Vec<_>>(), ["b", "c"]);
        // It comes after all.
        board.put(at(1), now, want("b", 1, Pace::CHANGE));
        assert_eq!(board.sweep(), 1);
        let sent = sent(&mut board);
        assert_eq!(sent.iter().filter(|(_, payload)| payload.is_empty()).count(), 1);
        assert_eq!(sent.last().unwrap().0, "c");
    }

    #[test]
    fn a_value_that_changes_again_before_it_was_sent_is_sent_once_and_topics_have_a_limit() {
        let (mut board, now) = (Board::default(), Timestamp::UNIX_EPOCH);
        for value in 0..1_000 {
            board.put(at(0), now, want("a", value, Pace::CHANGE).bare());
        }
        assert_eq!(sent(&mut board), [("a".to_owned(), r#"{"v":999}"#.to_owned())]);
        for number in 0..TOPICS_MAX {
            board.put(at(0), now, want(&format!("t/{number}"), 1, Pace::CHANGE));
        }
        assert_eq!((board.len(), board.dropped()), (TOPICS_MAX, 1));
    }
}
