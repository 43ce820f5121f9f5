//! The stream of what happens and changes (server-sent events).

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt as _};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::api::Api;
use super::super::extract::QueryOf;
use super::super::feed::{self, Feed, Piece};
use super::super::openapi::Is;
use super::super::problem::Answer;

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

/// What happens and changes, as it does (`text/event-stream`).
///
/// The first event is `snapshot`, with everything of the topics; then come `events.event` (something has happened),
/// and `nodes.changed`, `alerts.changed`, `rollouts.changed`, `mesh.changed` (the whole thing as it is now) or
/// `….removed` (its `id` or `fingerprint`). Each event's `id` is a revision. Who comes back with `Last-Event-ID` gets what it
/// missed, of the last 4096, and no snapshot; when that is not kept any more, or a listener reads too slowly, comes
/// `reset` and then a snapshot. Changes are looked for each second. A comment comes each 15 s when nothing else does.
/// At most 64 streams at once, those of `/api/v1/ws` included; a browser should open one.
#[utoipa::path(get, path = "/api/v1/events/stream", tag = "events",
    params(Wanted, ("Last-Event-ID" = Option<String>, Header, description = "The `id` of the last event that was read.")),
    responses((status = 200, description = "The stream.", body = String, content_type = "text/event-stream",
            example = "retry: 3000\n\nid: 19ab-7\nevent: snapshot\ndata: {\"revision\":7,\"alerts\":[]}\n\n"),
        Is::<400>, Is::<429>))]
async fn stream_events(
    State(api): State<Api>,
    QueryOf(wanted): QueryOf<Wanted>,
    headers: HeaderMap,
) -> Answer<Response> {
    let last = headers.get("last-event-id").and_then(|last| last.to_str().ok());
    let feed = Feed::open(&api, feed::topics(wanted.topics.as_deref())?, last).await?;
    let events = Sse::new(events(feed)).keep_alive(KeepAlive::new().interval(PING).text("ping"));
    // Proxies must not collect what is meant for now.
    Ok(([(header::CACHE_CONTROL, "no-store"), (X_ACCEL_BUFFERING, "no")], events).into_response())
}

/// Tells nginx not to collect.
const X_ACCEL_BUFFERING: header::HeaderName = header::HeaderName::from_static("x-accel-buffering");

/// How long to wait before coming back, and then what there is.
fn events(feed: Feed) -> impl Stream<Item = Result<Event, Infallible>> {
    let first = Event::default().retry(RETRY).comment("begins");
    let pieces = stream::unfold(feed, async |mut feed| {
        let Piece { id, name, data } = feed.next().await?;
        Some((Ok(Event::default().id(id).event(name).data(&*data)), feed))
    });
    stream::once(std::future::ready(Ok(first))).chain(pieces)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::super::super::feed::tests::service;
    use super::*;

    #[tokio::test]
    async fn a_stream_that_is_not_read_is_reset_and_goes_on() {
        let api = service().await;
        let app = router().split_for_parts().0.with_state(api.clone());
        let request = Request::get("/api/v1/events/stream?topics=alerts").body(Body::empty()).unwrap();
        let mut body = app.oneshot(request).await.unwrap().into_body().into_data_stream();
        let mut text = String::new();
        while !text.contains("event: snapshot") {
            text.push_str(&String::from_utf8_lossy(&body.next().await.unwrap().unwrap()));
        }
        assert!(
            text.starts_with(": begins\nretry: 3000\n\n") || text.starts_with("retry: 3000\n: begins\n\n"),
            "{text}"
        );
        assert!(!text.contains("event: reset"));
        // Nobody reads while more is published than waits for anybody.
        api.hub.publish_many("alerts", 1_100);
        text.clear();
        while !text.contains("event: snapshot") {
            text.push_str(&String::from_utf8_lossy(&body.next().await.unwrap().unwrap()));
        }
        assert!(text.contains("event: reset\n") && !text.contains("alerts.changed"), "{text}");
        api.hub.publish_many("alerts", 1);
        while !text.contains("event: alerts.changed") {
            text.push_str(&String::from_utf8_lossy(&body.next().await.unwrap().unwrap()));
        }
    }
}
