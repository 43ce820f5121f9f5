//! The stream of what happens and changes (server-sent events).

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::api::{Api, Stop};
use super::super::extract::QueryOf;
use super::super::hub::{Hub, Message, NoStart, STREAMS_MAX, Start, TOPICS};
use super::super::openapi::Is;
use super::super::problem::{Answer, Problem};
use crate::shell::Stopped;

/// How long a client waits before it comes back.
const RETRY: Duration = Duration::from_secs(3);
/// Between two comments that show that the connection lives.
const PING: Duration = Duration::from_secs(15);

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(stream_events))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Some of `events`, `nodes`, `alerts`, `rollouts` and `mesh`, separated by commas; all when absent.
    #[param(example = "events,alerts")]
    topics: Option<String>,
}

/// A listener.
struct Listener {
    hub: Hub,
    topics: Vec<&'static str>,
    start: Start,
    /// What comes next.
    ready: VecDeque<Event>,
    stop: Stop,
}

/// What happens and changes, as it does (`text/event-stream`).
///
/// The first event is `snapshot`, with everything of the topics; then come `events.event` (something has happened),
/// and `nodes.changed`, `alerts.changed`, `rollouts.changed`, `mesh.changed` (the whole thing as it is now) or
/// `….removed` (its `id` or `fingerprint`). Each event's `id` is a revision. Who comes back with `Last-Event-ID` gets what it
/// missed, of the last 4096, and no snapshot; when that is not kept any more, or a listener reads too slowly, comes
/// `reset` and then a snapshot. Changes are looked for each second. A comment comes each 15 s when nothing else does.
/// At most 64 streams at once; a browser should open one.
#[utoipa::path(get, path = "/api/v1/events/stream", tag = "events",
    params(Wanted, ("Last-Event-ID" = Option<String>, Header, description = "The `id` of the last event that was read.")),
    responses((status = 200, description = "The stream.", body = String, content_type = "text/event-stream",
            example = "retry: 3000\nid: 19ab-7\nevent: snapshot\ndata: {\"revision\":7,\"alerts\":[]}\n\n"),
        Is::<400>, Is::<429>))]
async fn stream_events(
    State(api): State<Api>,
    QueryOf(wanted): QueryOf<Wanted>,
    headers: HeaderMap,
) -> Answer<Response> {
    let topics = topics(wanted.topics.as_deref())?;
    let last = headers.get("last-event-id").and_then(|last| last.to_str().ok());
    let start = api.hub.listen(last).await.map_err(|refused| match refused {
        NoStart::Stopped => Problem::from(Stopped),
        NoStart::Crowded => {
            let detail = format!("{STREAMS_MAX} streams are open already: close one");
            Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
        }
    })?;
    let mut listener = Listener { hub: api.hub, topics, start, ready: VecDeque::new(), stop: api.stop };
    listener.begin();
    let events = Sse::new(listener.events()).keep_alive(KeepAlive::new().interval(PING).text("ping"));
    // Proxies must not collect what is meant for now.
    Ok(([(header::CACHE_CONTROL, "no-store"), (X_ACCEL_BUFFERING, "no")], events).into_response())
}

/// Tells nginx not to collect.
const X_ACCEL_BUFFERING: header::HeaderName = header::HeaderName::from_static("x-accel-buffering");

fn topics(wanted: Option<&str>) -> Answer<Vec<&'static str>> {
    let Some(wanted) = wanted else { return Ok(TOPICS.to_vec()) };
    let one = |name: &str| {
        TOPICS.into_iter().find(|topic| *topic == name).ok_or_else(|| {
            let right = format!("take some of {}", TOPICS.join(", "));
            Problem::parameter("topics", format!("topic `{name}` is none: {right}"))
        })
    };
    wanted.split(',').map(one).collect()
}

impl Listener {
    /// Readies what a listener begins with.
    fn begin(&mut self) {
        let retry = Event::default().retry(RETRY);
        let id = self.hub.id(self.start.revision);
        if self.start.reset {
            self.ready.push_back(Event::default().id(&id).event("reset").data("{}"));
        }
        let first = match self.start.snapshot.take() {
            Some(state) => {
                retry.id(&id).event("snapshot").data(snapshot(&self.topics, self.start.revision, &state))
            }
            None => retry.comment("goes on"),
        };
        self.ready.push_back(first);
        for message in std::mem::take(&mut self.start.missed) {
            self.take(&message);
        }
    }

    fn take(&mut self, message: &Message) {
        if self.topics.contains(&message.topic) {
            let name = format!("{}.{}", message.topic, message.kind);
            let event = Event::default().id(self.hub.id(message.revision)).event(name).data(&*message.data);
            self.ready.push_back(event);
        }
    }

    /// What comes next; nothing when the service stops.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let news = tokio::select! {
                () = self.stop.stopped() => return None,
                news = self.start.news.recv() => news,
            };
            match news {
                Ok(message) => self.take(&message),
                Err(RecvError::Closed) => return None,
                Err(RecvError::Lagged(_)) => {
                    // Its seat is taken once more before the old one is given back: at the brim it ends instead.
                    self.start = self.hub.listen(Some("")).await.ok()?;
                    self.begin();
                }
            }
        }
    }

    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, async |mut listener| {
            let event = listener.next().await?;
            Some((Ok(event), listener))
        })
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
mod tests {
    use super::*;

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
