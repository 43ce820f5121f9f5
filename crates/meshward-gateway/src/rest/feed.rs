//! What one listener is given of the [`Hub`], piece by piece: the same by server-sent events and by WebSocket.
//!
//! A feed begins with a snapshot, or with what a listener missed that comes back, and goes on with what is published.
//! Who reads too slowly finds `reset` and a snapshot where it lost its place. It ends when the service stops.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use axum::http::StatusCode;
use tokio::sync::broadcast::error::RecvError;

use super::api::{Api, Stop};
use super::hub::{Hub, Message, NoStart, STREAMS_MAX, Seat, Start, TOPICS};
use super::problem::{Answer, Problem};
use crate::service::Slow;
use crate::shell::Stopped;

/// A piece.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Piece {
    /// The revision, for who comes back.
    pub(super) id: String,
    /// `reset`, `snapshot`, or topic and kind with a dot between them.
    pub(super) name: String,
    /// JSON.
    pub(super) data: Arc<str>,
}

/// See the module's page.
pub(super) struct Feed {
    hub: Hub,
    topics: Vec<&'static str>,
    start: Start,
    /// What comes next.
    ready: VecDeque<Piece>,
    /// Its place was lost.
    lost: bool,
    stop: Stop,
    _seat: Seat,
}

/// The topics of these names; all if nobody names any.
pub(super) fn topics(wanted: Option<&str>) -> Answer<Vec<&'static str>> {
    let Some(wanted) = wanted else { return Ok(TOPICS.to_vec()) };
    wanted.split(',').map(topic).collect()
}

/// The topic of that name.
pub(super) fn topic(name: &str) -> Answer<&'static str> {
    TOPICS.into_iter().find(|topic| *topic == name).ok_or_else(|| {
        let right = format!("take some of {}", TOPICS.join(", "));
        Problem::parameter("topics", format!("topic `{name}` is none: {right}"))
    })
}

impl From<NoStart> for Problem {
    fn from(refused: NoStart) -> Self {
        match refused {
            NoStart::Stopped => Self::from(Stopped),
            NoStart::Crowded => {
                let detail = format!("{STREAMS_MAX} streams are open already: close one");
                Self::new(StatusCode::TOO_MANY_REQUESTS, detail)
            }
        }
    }
}

impl Feed {
    /// Takes a seat. Who comes back says which revision it had.
    pub(super) async fn open(api: &Api, topics: Vec<&'static str>, last: Option<&str>) -> Answer<Self> {
        let seat = api.hub.seat()?;
        let start = api.hub.start_from(last).await?;
        let (hub, stop, ready) = (api.hub.clone(), api.stop.clone(), VecDeque::new());
        let mut feed = Self { hub, topics, start, ready, lost: false, stop, _seat: seat };
        feed.begin();
        Ok(feed)
    }

    /// Goes on with other topics, and a snapshot of them.
    pub(super) async fn choose(&mut self, topics: Vec<&'static str>) -> Answer<()> {
        self.start = self.hub.start_from(None).await?;
        (self.topics, self.lost) = (topics, false);
        self.ready.clear();
        self.begin();
        Ok(())
    }

    /// Readies what a listener begins with.
    fn begin(&mut self) {
        let id = self.hub.id(self.start.revision);
        if self.start.reset {
            self.ready.push_back(Piece { id: id.clone(), name: "reset".to_owned(), data: "{}".into() });
        }
        if let Some(state) = self.start.snapshot.take() {
            let data = snapshot(&self.topics, self.start.revision, &state).into();
            self.ready.push_back(Piece { id, name: "snapshot".to_owned(), data });
        }
        for message in std::mem::take(&mut self.start.missed) {
            self.take(&message);
        }
    }

    fn take(&mut self, message: &Message) {
        if self.topics.contains(&message.topic) {
            let name = format!("{}.{}", message.topic, message.kind);
            let (id, data) = (self.hub.id(message.revision), Arc::clone(&message.data));
            self.ready.push_back(Piece { id, name, data });
        }
    }

    /// What comes next; nothing when the service stops. Whoever drops the future before it is ready loses nothing.
    pub(super) async fn next(&mut self) -> Option<Piece> {
        loop {
            if self.lost {
                self.start = self.hub.start_from(Some("")).await.ok()?;
                self.lost = false;
                self.begin();
            }
            if let Some(piece) = self.ready.pop_front() {
                return Some(piece);
            }
            let news = tokio::select! {
                () = self.stop.stopped() => return None,
                news = self.start.news.recv() => news,
            };
            match news {
                Ok(message) => self.take(&message),
                Err(RecvError::Closed) => return None,
                Err(RecvError::Lagged(_)) => {
                    self.lost = true;
                    self.hub.note(Slow::Reset).await;
                }
            }
        }
    }

    /// Its listener does not read at all, and is let go.
    pub(super) async fn cut_off(self) {
        self.hub.note(Slow::CutOff).await;
    }
}

/// The parts of the state as one object.
fn snapshot(topics: &[&'static str], revision: u64, state: &[(&'static str, Arc<str>)]) -> String {
    let mut parts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for topic in topics.iter().filter(|topic| **topic != "events") {
        parts.insert(topic, Vec::new());
    }
    for (topic, data) in state {
        if let Some(part) = parts.get_mut(topic) {
            part.push(data);
        }
    }
    let mut text = format!("{{\"revision\":{revision}");
    for (topic, items) in parts {
        let items = items.join(",");
        let items = if topic == "mesh" { items } else { format!("[{items}]") };
        text.push_str(&format!(",\"{topic}\":{items}"));
    }
    text.push('}');
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::access::{Access, Settings};
    use super::*;

    /// A gateway without nodes, what stops it, and its interface.
    pub(in super::super) async fn service() -> Api {
        let handle = crate::service::tests::gateway().await;
        Api::new(handle, Access::open(None, Settings::default()).await.unwrap())
    }

    #[tokio::test]
    async fn who_falls_behind_begins_again_where_the_news_are() {
        let api = service().await;
        let mut feed = Feed::open(&api, vec!["alerts"], None).await.unwrap();
        assert_eq!(feed.next().await.unwrap().name, "snapshot");
        api.hub.publish_many("alerts", 10);
        for _ in 0..10 {
            assert_eq!(feed.next().await.unwrap().name, "alerts.changed");
        }
        // More than wait for anybody, without a look at them.
        api.hub.publish_many("alerts", 1_500);
        let (reset, snapshot) = (feed.next().await.unwrap(), feed.next().await.unwrap());
        assert_eq!((&*reset.name, &*snapshot.name, &reset.id), ("reset", "snapshot", &snapshot.id));
        let counted = api.gateway.with(|_, _, gateway| gateway.slow_listeners()).await.unwrap();
        assert_eq!(counted, [(Slow::Reset, 1), (Slow::CutOff, 0)]);
        // What it missed does not come again; what is new does.
        api.hub.publish_many("alerts", 1);
        let next = feed.next().await.unwrap();
        assert_eq!(next.name, "alerts.changed");
        assert_ne!(next.id, snapshot.id);
    }

    #[test]
    fn a_snapshot_has_what_was_chosen() {
        let state = [("alerts", "1"), ("mesh", "{}"), ("nodes", "2"), ("nodes", "3")];
        let state: Vec<(&'static str, Arc<str>)> =
            state.into_iter().map(|(topic, data)| (topic, Arc::from(data))).collect();
        for (chosen, found) in [
            (&["nodes", "mesh"][..], r#"{"revision":4,"mesh":{},"nodes":[2,3]}"#),
            (&["rollouts"], r#"{"revision":4,"rollouts":[]}"#),
            (&["events"], r#"{"revision":4}"#),
        ] {
            assert_eq!(snapshot(chosen, 4, &state), found);
        }
    }

    #[test]
    fn topics_are_those_that_there_are() {
        assert_eq!(topics(None).unwrap().len(), TOPICS.len());
        assert_eq!(topics(Some("mesh,events")).unwrap(), ["mesh", "events"]);
        for wrong in ["", "mesh,", "weather"] {
            assert!(topics(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
