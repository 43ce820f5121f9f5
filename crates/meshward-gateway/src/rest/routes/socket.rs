//! The stream of what happens and changes by WebSocket, for those who want to say something too.
//!
//! What comes is what [`stream`](super::stream) sends, one JSON object a message. A client may choose other topics and
//! ask whether anybody is there; whatever else it says is answered with a problem, and who goes on with that is let go,
//! as is who does not read.

use std::pin::pin;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocketUpgrade, close_code};
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, interval, timeout};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::api::Api;
use super::super::extract::QueryOf;
use super::super::feed::{self, Feed, Piece};
use super::super::openapi::Is;
use super::super::problem::{Answer, Problem};

/// Longest message that is read, in bytes; one that is longer is answered with a problem.
const MESSAGE_MAX: usize = 4 * 1024;
/// What is longer than this is not even taken in.
const FRAME_MAX: usize = 64 * 1024;
/// Messages that make no sense, until a client is let go.
const WRONG_MAX: u32 = 16;
/// Between two snapshots that a client asks for: each may have a megabyte.
const CHOICE_PAUSE: Duration = Duration::from_secs(1);

/// How long a client is waited for.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// Between two pings.
    ping: Duration,
    /// For a client to take one message.
    write: Duration,
    /// For a client to say anything, if only that it has heard a ping.
    silence: Duration,
}

const PATIENCE: Patience = Patience {
    ping: Duration::from_secs(15),
    write: Duration::from_secs(10),
    silence: Duration::from_secs(50),
};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(open_socket))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Some of `events`, `nodes`, `alerts`, `rollouts` and `mesh`, separated by commas; all when absent.
    #[param(example = "events,alerts")]
    topics: Option<String>,
    /// The `id` of the last message that was read, to go on from there.
    #[param(example = "19ab-7")]
    last: Option<String>,
}

/// What happens and changes, as it does, by WebSocket.
///
/// Each message is an object with `id`, `event` and `data`, which are what `/api/v1/events/stream` has: first a
/// `snapshot`, then what changes; `reset` where the client lost its place. The client may send
/// `{"subscribe":["nodes","alerts"]}`, which begins again with a snapshot of these topics, at most once a second, and
/// `{"ping":1}`, which is answered by `pong` with the same `data`. What is not understood is answered by `problem`, with a
/// problem document as `data`. Messages may have 4096 bytes; a ping frame comes each 15 s. Who takes nothing for 10 s, says
/// nothing for 50 s or sends too much nonsense is let go. A browser with a session must be on a page of the gateway.
#[utoipa::path(get, path = "/api/v1/ws", tag = "events", params(Wanted),
    responses((status = 101, description = "The protocol is WebSocket from here on."),
        Is::<400>, Is::<426>, Is::<429>))]
async fn open_socket(
    State(api): State<Api>,
    QueryOf(wanted): QueryOf<Wanted>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Answer<Response> {
    let topics = feed::topics(wanted.topics.as_deref())?;
    let upgrade = upgrade.map_err(|rejection| {
        let detail = format!("this path speaks WebSocket, and the request does not: {rejection}");
        Problem::new(StatusCode::UPGRADE_REQUIRED, detail)
    })?;
    let feed = Feed::open(&api, topics, wanted.last.as_deref()).await?;
    let upgrade = upgrade.max_message_size(FRAME_MAX).max_frame_size(FRAME_MAX);
    Ok(upgrade.on_upgrade(move |socket| converse(socket, feed, PATIENCE)))
}

/// What a client may say.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Subscribe(Vec<String>),
    Ping(Value),
}

/// Why a conversation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The client has gone, or said good-bye.
    Gone,
    /// The client does not read.
    Slow,
    /// With these words.
    Close(u16, &'static str),
}

/// Talks with a client until one of both ends it.
async fn converse<S, E>(socket: S, mut feed: Feed, patience: Patience)
where
    S: Stream<Item = Result<Message, E>> + Sink<Message>,
{
    let mut socket = pin!(socket);
    let mut session = Session { wrong: 0, chose: None, heard: Instant::now(), patience };
    let mut pings = interval(patience.ping);
    pings.reset();
    let end = loop {
        let answer = tokio::select! {
            piece = feed.next() => match piece {
                Some(piece) => Ok(Some(Message::text(envelope(&piece)))),
                None => Err(End::Close(close_code::AWAY, "the gateway is shutting down")),
            },
            said = socket.next() => match said {
                Some(Ok(message)) => session.hear(&mut feed, &message).await,
                // What is no WebSocket frame, or too long to be taken in.
                Some(Err(_)) => Err(End::Close(close_code::POLICY, "this message is not understood, or too long")),
                None => Err(End::Gone),
            },
            _ = pings.tick() => session.ping(),
        };
        let message = match answer {
            Ok(Some(message)) => message,
            Ok(None) => continue,
            Err(end) => break end,
        };
        match timeout(patience.write, socket.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => break End::Gone,
            Err(_) => break End::Slow,
        }
    };
    match end {
        End::Gone => {}
        End::Slow => feed.cut_off().await,
        End::Close(code, reason) => {
            let frame = CloseFrame { code, reason: reason.into() };
            // Whoever does not take it has gone.
            drop(timeout(patience.write, socket.send(Message::Close(Some(frame)))).await);
        }
    }
}

/// What is known of a client.
struct Session {
    wrong: u32,
    /// When it chose topics last.
    chose: Option<Instant>,
    heard: Instant,
    patience: Patience,
}

impl Session {
    fn ping(&self) -> Result<Option<Message>, End> {
        if self.heard.elapsed() >= self.patience.silence {
            return Err(End::Close(close_code::POLICY, "nothing came back for too long"));
        }
        Ok(Some(Message::Ping(Vec::new().into())))
    }

    /// What is answered.
    async fn hear(&mut self, feed: &mut Feed, message: &Message) -> Result<Option<Message>, End> {
        self.heard = Instant::now();
        let heard = match message {
            Message::Ping(_) | Message::Pong(_) => return Ok(None),
            Message::Close(_) => return Err(End::Gone),
            Message::Binary(_) => {
                Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "messages are JSON as text"))
            }
            Message::Text(text) => self.obey(feed, text.as_str()).await,
        };
        match heard {
            Ok(answer) => Ok(answer.map(Message::text)),
            Err(_) if self.wrong + 1 >= WRONG_MAX => {
                Err(End::Close(close_code::POLICY, "too many messages that make no sense"))
            }
            Err(problem) => {
                self.wrong += 1;
                Ok(Some(Message::text(format!("{{\"event\":\"problem\",\"data\":{}}}", problem.json()))))
            }
        }
    }

    /// Does what a client says; the answer, if there is one beside what the feed says.
    async fn obey(&mut self, feed: &mut Feed, text: &str) -> Answer<Option<String>> {
        if text.len() > MESSAGE_MAX {
            let detail = format!("the message has {} bytes: {MESSAGE_MAX} are the most", text.len());
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
        let word = serde_json::from_str(text).map_err(|error| {
            let right = r#"say {"subscribe":["nodes"]} or {"ping":1}"#;
            Problem::new(StatusCode::BAD_REQUEST, format!("{error}: {right}"))
        })?;
        match word {
            Word::Ping(data) => Ok(Some(format!("{{\"event\":\"pong\",\"data\":{data}}}"))),
            Word::Subscribe(names) => {
                let topics = names.iter().map(|name| feed::topic(name)).collect::<Answer<Vec<_>>>()?;
                if self.chose.is_some_and(|at| at.elapsed() < CHOICE_PAUSE) {
                    let detail = "topics can be chosen once a second: choose all at once";
                    return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail));
                }
                self.chose = Some(Instant::now());
                feed.choose(topics).await?;
                Ok(None)
            }
        }
    }
}

/// A piece as a message.
fn envelope(Piece { id, name, data }: &Piece) -> String {
    // Revisions and names have no letter that JSON would want escaped.
    format!("{{\"id\":\"{id}\",\"event\":\"{name}\",\"data\":{data}}}")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::sync::{Arc, Mutex};
    use std::task::{Context, Poll, Waker};

    use tokio::sync::mpsc;

    use super::super::super::feed::tests::service;
    use super::*;
    use crate::service::Slow;

    /// What is on its way to the client: one message at most.
    #[derive(Default)]
    struct Wire {
        message: Option<Message>,
        wakers: Vec<Waker>,
        cut: bool,
    }

    impl Wire {
        fn wake(&mut self) {
            self.wakers.drain(..).for_each(Waker::wake);
        }
    }

    /// The gateway's end.
    struct Socket {
        said: mpsc::Receiver<Message>,
        wire: Arc<Mutex<Wire>>,
    }

    impl Drop for Socket {
        fn drop(&mut self) {
            let mut wire = self.wire.lock().unwrap();
            wire.cut = true;
            wire.wake();
        }
    }

    impl Stream for Socket {
        type Item = Result<Message, Infallible>;

        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            self.said.poll_recv(cx).map(|said| said.map(Ok))
        }
    }

    impl Sink<Message> for Socket {
        type Error = Infallible;

        fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            let mut wire = self.wire.lock().unwrap();
            if wire.message.is_none() {
                return Poll::Ready(Ok(()));
            }
            wire.wakers.push(cx.waker().clone());
            Poll::Pending
        }

        fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Infallible> {
            let mut wire = self.wire.lock().unwrap();
            wire.message = Some(message);
            wire.wake();
            Ok(())
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }
    }

    struct Client {
        says: mpsc::Sender<Message>,
        wire: Arc<Mutex<Wire>>,
        ended: tokio::task::JoinHandle<()>,
    }

    fn client(feed: Feed, patience: Patience) -> Client {
        let ((says, said), wire) = (mpsc::channel(8), Arc::<Mutex<Wire>>::default());
        let socket = Socket { said, wire: Arc::clone(&wire) };
        Client { says, wire, ended: tokio::spawn(converse(socket, feed, patience)) }
    }

    impl Client {
        async fn next(&self) -> Message {
            std::future::poll_fn(|cx| {
                let mut wire = self.wire.lock().unwrap();
                let taken = wire.message.take();
                wire.wake();
                match taken {
                    Some(message) => Poll::Ready(message),
                    None => {
                        assert!(!wire.cut, "the conversation goes on");
                        wire.wakers.push(cx.waker().clone());
                        Poll::Pending
                    }
                }
            })
            .await
        }

        /// The next message that is no ping.
        async fn hear(&self) -> Value {
            loop {
                match self.next().await {
                    Message::Text(text) => return serde_json::from_str(text.as_str()).unwrap(),
                    Message::Close(frame) => return serde_json::json!({ "closed": frame.unwrap().code }),
                    _ => {}
                }
            }
        }

        async fn say(&self, text: &str) {
            self.says.send(Message::text(text)).await.unwrap();
        }
    }

    #[tokio::test]
    async fn who_falls_behind_begins_again_and_who_does_not_read_is_let_go() {
        let api = service().await;
        let feed = Feed::open(&api, vec!["alerts"], None).await.unwrap();
        let client = client(feed, Patience { write: Duration::from_millis(200), ..PATIENCE });
        assert_eq!(client.hear().await["event"], "snapshot");
        api.hub.publish_many("alerts", 1_300);
        // What was on its way is read first, and then that more was missed than waits for anybody.
        let mut event = client.hear().await;
        while event["event"] == "alerts.changed" {
            event = client.hear().await;
        }
        assert_eq!(event["event"], "reset");
        assert_eq!(client.hear().await["event"], "snapshot");
        // From here on it reads nothing, and there is more than the wire holds.
        api.hub.publish_many("alerts", 20);
        client.ended.await.unwrap();
        let counted = api.gateway.with(|_, _, gateway| gateway.slow_listeners()).await.unwrap();
        assert_eq!(counted, [(Slow::Reset, 1), (Slow::CutOff, 1)]);
    }

    #[tokio::test]
    async fn who_says_nothing_or_too_much_nonsense_is_let_go() {
        let api = service().await;
        let brief = Duration::from_millis(50);
        let feed = Feed::open(&api, vec!["alerts"], None).await.unwrap();
        let silent = client(feed, Patience { ping: brief, silence: brief, ..PATIENCE });
        assert_eq!(silent.hear().await["event"], "snapshot");
        assert_eq!(silent.hear().await["closed"], close_code::POLICY);
        let feed = Feed::open(&api, vec!["alerts"], None).await.unwrap();
        let noisy = client(feed, PATIENCE);
        assert_eq!(noisy.hear().await["event"], "snapshot");
        for _ in 1..WRONG_MAX {
            noisy.say("nonsense").await;
            assert_eq!(noisy.hear().await["event"], "problem");
        }
        noisy.say("nonsense").await;
        assert_eq!(noisy.hear().await["closed"], close_code::POLICY);
    }
}
