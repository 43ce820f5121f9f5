//! One source for all streams: what has happened, and what has changed of what can be read.
//!
//! One task per gateway is told of events and, while somebody listens, compares every [`LOOK`] what nodes, alerts,
//! roll-outs and the mesh are with what they were; the difference is published with a revision. Listeners share the
//! published messages: the node's task is asked once, however many listen. The last [`KEPT_MAX`] messages are kept, so
//! that who comes back with the revision it had is given what it missed; who was away for longer, or whose revision is
//! of another start, is told to begin again. Who reads too slowly loses its place and begins again too: nobody waits
//! for a listener.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::convert;
use crate::service::{Gateway, Slow};
use crate::shell::{NodeHandle, Stopped};

/// Streams at once.
pub(crate) const STREAMS_MAX: usize = 64;
/// Messages that are kept for those who come back.
const KEPT_MAX: usize = 4_096;
/// Messages that may wait for a slow listener.
const WAITING_MAX: usize = 1_024;
/// Events that are fetched at once.
const EVENTS_MAX: usize = 1_000;
/// Between two looks at what has changed.
const LOOK: Duration = Duration::from_millis(1_000);
/// So long changes are looked for after the last listener has gone: it may come back.
const GRACE: Duration = Duration::from_secs(60);

/// What a listener may choose.
pub(crate) const TOPICS: [&str; 5] = ["events", "nodes", "alerts", "rollouts", "mesh"];

/// Something that was published.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    /// Rises by one.
    pub(crate) revision: u64,
    pub(crate) topic: &'static str,
    /// `event`, `changed` or `removed`.
    pub(crate) kind: &'static str,
    /// JSON.
    pub(crate) data: Arc<str>,
}

/// What can be read, by topic and key.
type State = BTreeMap<(&'static str, String), Arc<str>>;

#[derive(Debug, Default)]
struct Kept {
    messages: VecDeque<Message>,
    revision: u64,
    /// Who had an older revision than this begins again: changes were not looked at before.
    whole_since: u64,
    state: State,
    /// Whether `state` is up to date, because somebody listens.
    watched: bool,
    last_event: u64,
    /// When roll-outs ended whose text is in `state`: it does not change any more, and may name hundreds of nodes.
    ended: BTreeMap<u64, SystemTime>,
}

/// What a listener begins with.
pub(crate) struct Start {
    /// Whether what it had is of no use any more.
    pub(crate) reset: bool,
    /// Everything, for who begins.
    pub(crate) snapshot: Option<Vec<(&'static str, Arc<str>)>>,
    pub(crate) revision: u64,
    /// What was published after its revision, for who comes back.
    pub(crate) missed: Vec<Message>,
    pub(crate) news: broadcast::Receiver<Message>,
}

/// A place among [`STREAMS_MAX`], which is given back when this goes.
pub(crate) struct Seat(Arc<AtomicUsize>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// See the module's page.
#[derive(Clone)]
pub(crate) struct Hub {
    /// Tells this start from others.
    epoch: Arc<str>,
    kept: Arc<Mutex<Kept>>,
    news: broadcast::Sender<Message>,
    seats: Arc<AtomicUsize>,
    gateway: NodeHandle<Gateway>,
}

/// Too many listen already, or the gateway is shutting down.
#[derive(Debug)]
pub(crate) enum NoStart {
    Crowded,
    Stopped,
}

impl From<Stopped> for NoStart {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

fn text(value: &impl Serialize) -> Arc<str> {
    // What is answered as JSON always becomes JSON.
    serde_json::to_string(value).unwrap_or_default().into()
}

impl Hub {
    /// Starts the task, which ends with the gateway.
    pub(crate) fn start(gateway: NodeHandle<Gateway>) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (news, _) = broadcast::channel(WAITING_MAX);
        let hub = Self {
            epoch: format!("{:x}", since.as_millis()).into(),
            kept: Arc::default(),
            news,
            seats: Arc::default(),
            gateway,
        };
        tokio::spawn(hub.clone().run());
        hub
    }

    /// A revision as listeners know it.
    pub(crate) fn id(&self, revision: u64) -> String {
        format!("{}-{revision}", self.epoch)
    }

    fn revision(&self, id: &str) -> Option<u64> {
        let (epoch, revision) = id.split_once('-')?;
        (epoch == &*self.epoch).then(|| revision.parse().ok()).flatten()
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        // Nothing that is done under the lock leaves it half done.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a listener.
    pub(crate) fn seat(&self) -> Result<Seat, NoStart> {
        let seat = Seat(Arc::clone(&self.seats));
        if self.seats.fetch_add(1, Ordering::AcqRel) >= STREAMS_MAX {
            Err(NoStart::Crowded)
        } else {
            Ok(seat)
        }
    }

    /// Counts a listener that reads too slowly.
    pub(crate) async fn note(&self, slow: Slow) {
        // A gateway that has gone counts nothing.
        drop(self.gateway.with(move |_, _, gateway| gateway.note_slow_listener(slow)).await);
    }

    /// What a listener begins with. Who comes back says which revision it had.
    pub(crate) async fn start_from(&self, last: Option<&str>) -> Result<Start, NoStart> {
        let watched = self.kept().watched;
        if !watched {
            self.look().await?;
        }
        let kept = self.kept();
        let known = last.map(|id| self.revision(id).filter(|revision| kept.has_after(*revision)));
        let (missed, snapshot) = match known {
            Some(Some(revision)) => {
                (kept.messages.iter().filter(|message| message.revision > revision).cloned().collect(), None)
            }
            _ => {
                let state = kept.state.iter().map(|((topic, _), data)| (*topic, Arc::clone(data)));
                (Vec::new(), Some(state.collect()))
            }
        };
        // Under the lock, so that nothing is published between what is kept and what is new.
        let news = self.news.subscribe();
        let reset = matches!(known, Some(None));
        Ok(Start { reset, snapshot, revision: kept.revision, missed, news })
    }

    async fn run(self) {
        let Ok(mut told) = self.gateway.with(|_, _, gateway| gateway.heed()).await else { return };
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut alone = Duration::ZERO;
        loop {
            let done = tokio::select! {
                // An error means that the gateway has gone.
                told = told.changed() => match told {
                    Ok(()) => self.hear().await,
                    Err(_) => return,
                },
                _ = look.tick() => {
                    let nobody = self.seats.load(Ordering::Acquire) == 0;
                    alone = if nobody { alone + LOOK } else { Duration::ZERO };
                    if alone >= GRACE {
                        self.kept().watched = false;
                    }
                    let watched = self.kept().watched;
                    if watched { self.look().await } else { Ok(()) }
                }
            };
            if done.is_err() {
                return;
            }
        }
    }

    /// Publishes the events that there are.
    async fn hear(&self) -> Result<(), Stopped> {
        loop {
            let after = self.kept().last_event;
            let events =
                self.gateway.with(move |_, _, gateway| convert::events(gateway, after, EVENTS_MAX)).await?;
            if events.next == after {
                return Ok(());
            }
            let mut kept = self.kept();
            // Another call may have been faster.
            let before = kept.last_event;
            kept.last_event = before.max(events.next);
            for event in events.items.iter().filter(|event| event.id > before) {
                self.publish(&mut kept, "events", "event", text(event));
            }
        }
    }

    /// Publishes what has changed.
    async fn look(&self) -> Result<(), Stopped> {
        self.hear().await?;
        let ended = self.kept().ended.clone();
        let (nodes, alerts, rollouts, mesh) = self
            .gateway
            .with(move |now, node, gateway| {
                let rollouts = gateway.rollouts(now, node);
                let rollouts: Vec<_> = rollouts
                    .iter()
                    .map(|rollout| {
                        let is_known =
                            rollout.finished.is_some() && ended.get(&rollout.id) == rollout.finished.as_ref();
                        let shown = (!is_known).then(|| convert::rollout(gateway, node, rollout));
                        (rollout.id, rollout.finished, shown)
                    })
                    .collect();
                let status = convert::status(gateway, now, node);
                (convert::nodes(gateway, now), convert::alerts(gateway), rollouts, status)
            })
            .await?;
        let mut state = State::new();
        state.extend(nodes.iter().map(|node| (("nodes", node.id.to_string()), text(node))));
        state.extend(alerts.iter().map(|alert| (("alerts", alert.fingerprint.clone()), text(alert))));
        state.insert(("mesh", "mesh".to_owned()), text(&mesh));
        let mut kept = self.kept();
        for (id, _, shown) in &rollouts {
            let key = ("rollouts", id.to_string());
            let data = shown.as_ref().map(text).or_else(|| kept.state.get(&key).cloned());
            state.extend(data.map(|data| (key, data)));
        }
        kept.ended = rollouts.iter().filter_map(|(id, finished, _)| Some((*id, (*finished)?))).collect();
        self.compare(&mut kept, state);
        Ok(())
    }

    fn compare(&self, kept: &mut Kept, state: State) {
        let old = std::mem::replace(&mut kept.state, state.clone());
        if !kept.watched {
            kept.watched = true;
            // A revision of its own: who had the last one does not know what changed meanwhile.
            kept.revision += 1;
            kept.whole_since = kept.revision;
            return;
        }
        for (key, data) in &state {
            if old.get(key) != Some(data) {
                self.publish(kept, key.0, "changed", Arc::clone(data));
            }
        }
        for (topic, key) in old.keys().filter(|key| !state.contains_key(key)) {
            let gone = json!({ name(topic): key.parse::<u64>().map_or_else(|_| Value::from(key.clone()), Value::from) });
            self.publish(kept, topic, "removed", text(&gone));
        }
    }

    fn publish(&self, kept: &mut Kept, topic: &'static str, kind: &'static str, data: Arc<str>) {
        kept.revision += 1;
        if kept.messages.len() >= KEPT_MAX {
            kept.messages.pop_front();
        }
        let message = Message { revision: kept.revision, topic, kind, data };
        kept.messages.push_back(message.clone());
        // Nobody may listen.
        drop(self.news.send(message));
    }
}

#[cfg(test)]
impl Hub {
    /// Publishes so many changes of a topic, as if so many things had changed at once.
    pub(crate) fn publish_many(&self, topic: &'static str, count: usize) {
        let mut kept = self.kept();
        (0..count)
            .for_each(|at| self.publish(&mut kept, topic, "changed", format!("{{\"at\":{at}}}").into()));
    }
}

/// What names a thing of a topic.
fn name(topic: &str) -> &'static str {
    if topic == "alerts" { "fingerprint" } else { "id" }
}

impl Kept {
    /// Whether all that was published after this revision is here.
    fn has_after(&self, revision: u64) -> bool {
        let oldest =
            self.messages.front().map_or(self.revision, |message| message.revision.saturating_sub(1));
        (oldest.max(self.whole_since)..=self.revision).contains(&revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_can_be_gone_on_from() {
        let message = |revision| Message { revision, topic: "events", kind: "event", data: Arc::from("{}") };
        let messages = (5..=9).map(message).collect();
        let kept = Kept { messages, revision: 9, whole_since: 6, ..Kept::default() };
        for (revision, there) in [(3, false), (4, false), (5, false), (6, true), (9, true), (10, false)] {
            assert_eq!(kept.has_after(revision), there, "{revision}");
        }
        let kept = Kept { whole_since: 0, ..kept };
        assert!(kept.has_after(4) && !kept.has_after(3));
        assert!(Kept::default().has_after(0) && !Kept::default().has_after(1));
    }
}
