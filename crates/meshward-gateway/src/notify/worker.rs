//! The worker of one channel: takes what is due from the outbox, one attempt after the other, and writes down what
//! came of it. It knows no other channel, so nothing that its receiver does is felt elsewhere.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use super::backoff::{Circuit, GIVE_UP_AFTER, delay};
use super::channel::{Channel, Kind};
use super::message::{Message, digest};
use super::notifier::Health;
use super::send::{Publisher, SEND_MAX, SendError};
use super::{mail, send};
use crate::store::{End, OutboxRow, Store, StoreError};

/// Messages that are taken from the outbox at a time.
const BATCH: u32 = 100;
/// Longest sleep, should nobody wake the worker.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// How long to wait for a database that takes nothing.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// Longest text of a failure that is kept, in characters.
const WHY_MAX: usize = 300;

/// A row of the outbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Letter {
    /// Whether it was held back, and may go with others as one.
    pub(super) held: bool,
    /// What is to be said.
    pub(super) message: Message,
}

/// Ways out, for all channels.
pub(super) struct Out {
    pub(super) http: reqwest::Client,
    /// Set when there is a broker.
    pub(super) mqtt: OnceLock<Arc<dyn Publisher>>,
    /// Where people find the gateway; may be empty.
    pub(super) public_url: String,
    /// What the mesh is called.
    pub(super) mesh: String,
}

impl Out {
    /// One attempt; what the receiver said. Ends within [`SEND_MAX`].
    pub(super) async fn deliver(
        &self,
        channel: &Channel,
        number: u64,
        message: &Message,
    ) -> Result<String, SendError> {
        let id = self.id(number);
        let attempt = async {
            match &channel.kind {
                Kind::Webhook(hook) => {
                    send::post(&self.http, hook, (&channel.id, &id), message, &self.public_url).await
                }
                Kind::Email(mail) => mail::send(mail, &id, message, &self.public_url).await,
                Kind::Mqtt { topic } => {
                    let broker = self.mqtt.get();
                    let broker =
                        broker.ok_or_else(|| SendError::later("the gateway is connected to no broker"))?;
                    // Texts and numbers always become JSON.
                    let payload = serde_json::json!({ "id": id, "message": message }).to_string();
                    broker.publish(topic.as_deref(), &payload).await.map(|()| "the broker has it".to_owned())
                }
            }
        };
        match tokio::time::timeout(SEND_MAX, attempt).await {
            Ok(done) => done,
            Err(_elapsed) => {
                let what = format!("the receiver did not take it within {} s", SEND_MAX.as_secs());
                Err(SendError::later(what))
            }
        }
    }

    /// Names a message for receivers, the same at each attempt.
    fn id(&self, number: u64) -> String {
        let letter = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
        format!("{}-{number}", self.mesh.chars().map(letter).collect::<String>())
    }
}

/// See the module's page.
pub(super) struct Worker {
    pub(super) store: Store,
    pub(super) channel: Channel,
    pub(super) out: Arc<Out>,
    pub(super) wake: Arc<Notify>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) health: Arc<Mutex<Health>>,
    pub(super) circuit: Circuit,
}

impl Worker {
    /// Works until it is told to stop; an attempt under way is finished.
    pub(super) async fn run(mut self) {
        while !*self.stop.borrow() {
            let pause = match self.round().await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::warn!(channel = self.channel.id, %error, "the outbox cannot be used");
                    STORE_PAUSE
                }
            };
            let mut stop = self.stop.clone();
            tokio::select! {
                () = tokio::time::sleep(pause.min(SLEEP_MAX)) => {}
                () = self.wake.notified(), if self.circuit.resting(Timestamp::now()).is_none() => {}
                // An error means that nobody can stop it any more, which is the same.
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Tries what is due; how long nothing will be.
    async fn round(&mut self) -> Result<Duration, StoreError> {
        let now = Timestamp::now();
        let pause = |until: Timestamp| Duration::try_from(until.duration_since(now)).unwrap_or_default();
        if let Some(until) = self.circuit.resting(now) {
            return Ok(pause(until));
        }
        let limit = if self.circuit.is_probing() { 1 } else { BATCH };
        let due = self.store.due_outbox(&self.channel.id, now, limit).await?;
        if due.is_empty() {
            let next = self.store.next_outbox(&self.channel.id).await?;
            return Ok(next.map_or(SLEEP_MAX, pause));
        }
        let (parcels, unreadable) = parcels(due);
        if !unreadable.is_empty() {
            let why = "it cannot be read: another version of the program has written it";
            self.store.end_outbox(&unreadable, &End { at: now, delivered: false, why }).await?;
        }
        for (rows, message) in parcels {
            if *self.stop.borrow() || self.circuit.resting(Timestamp::now()).is_some() {
                break;
            }
            self.attempt(&rows, &message).await?;
        }
        Ok(Duration::ZERO)
    }

    async fn attempt(&mut self, rows: &[OutboxRow], message: &Message) -> Result<(), StoreError> {
        let Some(first) = rows.first() else { return Ok(()) };
        let done = self.out.deliver(&self.channel, first.id, message).await;
        let at = Timestamp::now();
        let id = &*self.channel.id;
        match done {
            Ok(said) => {
                let why = cut(&said);
                self.store.end_outbox(rows, &End { at, delivered: true, why: &why }).await?;
                self.worked(at).await?;
                self.note(|health| {
                    (health.delivered, health.delivered_at) = (health.delivered + 1, Some(at))
                });
            }
            Err(SendError::Never { what }) => {
                let why = cut(&what);
                tracing::warn!(channel = id, why, "a message was refused for good: it is a dead letter");
                self.store.end_outbox(rows, &End { at, delivered: false, why: &why }).await?;
                self.worked(at).await?;
                self.note(|health| health.error = Some((at, why)));
            }
            Err(SendError::Later { what, after }) => {
                let why = cut(&what);
                if self.circuit.state(at) == "closed" {
                    tracing::warn!(channel = id, why, "a message was not delivered: it is tried again");
                }
                self.circuit.failed(at);
                self.note(|health| health.error = Some((at, why.clone())));
                let (old, young): (Vec<OutboxRow>, Vec<OutboxRow>) =
                    rows.iter().cloned().partition(|row| is_old(row, at));
                if !old.is_empty() {
                    let why = format!("given up after a day: {why}");
                    self.store.end_outbox(&old, &End { at, delivered: false, why: &why }).await?;
                }
                for row in young {
                    let next = at.checked_add(delay(row.attempts.saturating_add(1), after)).unwrap_or(at);
                    self.store.postpone_outbox(row.id, next, &why).await?;
                }
            }
        }
        Ok(())
    }

    /// The receiver answers: what waits because it did not is tried at once.
    async fn worked(&mut self, now: Timestamp) -> Result<(), StoreError> {
        if self.circuit.worked() {
            let waiting = self.store.hurry_outbox(&self.channel.id, now).await?;
            tracing::info!(channel = self.channel.id, waiting, "the channel works again");
        }
        Ok(())
    }

    fn note(&self, change: impl FnOnce(&mut Health)) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut health);
        health.circuit = self.circuit;
    }
}

/// Whether a message has been tried for as long as one is, from when it might be for the first time.
fn is_old(row: &OutboxRow, now: Timestamp) -> bool {
    row.attempts > 0 && now.duration_since(row.first_at) > GIVE_UP_AFTER
}

/// At most so much of what somebody else said.
fn cut(text: &str) -> String {
    text.chars().take(WHY_MAX).collect()
}

/// What is sent together: each message for itself, but those that were held back as one. Then the rows that cannot be
/// read.
fn parcels(rows: Vec<OutboxRow>) -> (Vec<(Vec<OutboxRow>, Message)>, Vec<OutboxRow>) {
    let (mut parcels, mut unreadable) = (Vec::new(), Vec::new());
    let (mut held_rows, mut held) = (Vec::new(), Vec::new());
    for row in rows {
        match serde_json::from_str::<Letter>(&row.payload) {
            Ok(Letter { held: true, message }) => {
                held_rows.push(row);
                held.push(message);
            }
            Ok(Letter { message, .. }) => parcels.push((vec![row], message)),
            Err(_) => unreadable.push(row),
        }
    }
    if let Some(message) = digest(&held) {
        parcels.push((held_rows, message));
    }
    (parcels, unreadable)
}

#[cfg(test)]
mod tests {
    use meshward_fleet::alert::Severity;

    use super::super::message::tests::{at, message_of};
    use super::*;

    fn row(id: u64, payload: String) -> OutboxRow {
        OutboxRow {
            id,
            channel: "ops".to_owned(),
            payload,
            attempts: 1,
            next_at: at(0),
            why: String::new(),
            first_at: at(0),
        }
    }

    fn letter(held: bool, node: u32) -> String {
        let message = message_of("a", Severity::Warning, &[node], &[]);
        serde_json::to_string(&Letter { held, message }).unwrap()
    }

    #[test]
    fn what_was_held_back_goes_as_one() {
        let rows = vec![
            row(1, letter(true, 1)),
            row(2, letter(false, 2)),
            row(3, "{}".to_owned()),
            row(4, letter(true, 3)),
        ];
        let (parcels, unreadable) = parcels(rows);
        let ids: Vec<Vec<u64>> =
            parcels.iter().map(|(rows, _)| rows.iter().map(|row| row.id).collect()).collect();
        assert_eq!(ids, [vec![2], vec![1, 4]]);
        assert_eq!(parcels[1].1.firing.len(), 2);
        assert_eq!(unreadable.iter().map(|row| row.id).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn a_message_is_given_up_after_a_day() {
        let day = 86_400;
        for (seconds, attempts, old) in
            [(99, 9, false), (100 + day, 9, false), (101 + day, 9, true), (101 + day, 0, false)]
        {
            let row = OutboxRow { attempts, first_at: at(100), ..row(1, String::new()) };
            assert_eq!(is_old(&row, at(seconds)), old, "{seconds} {attempts}");
        }
    }
}
