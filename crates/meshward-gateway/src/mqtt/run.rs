//! The task that feeds the [`Bridge`] with the mesh and a broker: it connects again and again, looks, and carries out.
//!
//! A broker that is not there, refuses, hangs or answers garbage costs nothing but a try every now and then: from half
//! a second up to a minute apart, with some chance in it, so that a hundred gateways do not come back at once. Only a
//! connection that has lasted makes the waiting short again; so two gateways with one name, which push each other out,
//! do it once a minute.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use meshward_core::mesh::Priority;
use meshward_core::rng::Rng;
use meshward_core::time::Instant;
use meshward_core::wire::NodeId;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant as Clock, MissedTickBehavior, interval};

use super::bridge::{Bridge, Reply, Task, Vitals};
use super::client::{Connection, Happened, Lost, Notice, Outcome, Problem, Secure, connect};
use super::message::Message;
use super::post::{PostBox, PostError, Wish, post};
use super::settings::{Broker, Settings, Shape};
use crate::prometheus::Process;
use crate::rest::Api;
use crate::rest::access::Role;
use crate::rest::inside::Inside;
use crate::rest::model::Event;
use crate::shell::Stopped;

/// Between two looks at the mesh while there is a broker.
const LOOK: Duration = Duration::from_secs(1);
/// Looks between two at the audit.
const AUDIT_LOOKS: u64 = 5;
/// Rows of the audit that are looked at.
const AUDIT_ROWS: u32 = 100;
/// Events that are fetched at once.
const EVENTS_MAX: usize = 500;
/// The first and the longest wait before the next connection.
const WAIT_MIN: Duration = Duration::from_millis(500);
const WAIT_MAX: Duration = Duration::from_secs(60);
/// A connection that has lasted so long was a good one.
const GOOD: Duration = Duration::from_secs(30);
/// So long a broker may take to let us in, and to acknowledge that we are there.
const BIRTH: Duration = Duration::from_secs(20);
/// So long it may take to say good-bye.
const LEAVE: Duration = Duration::from_secs(2);
/// The name in the audit.
const ACTOR: &str = "mqtt";

/// Everything that can happen.
enum What {
    Look,
    Told,
    Broker(Option<Happened>),
    Noticed(u64, Outcome),
    Answered(Reply, u16, Value),
    Said(bool),
    Text(NodeId, Vec<u8>),
    Wished(Wish),
    Retry,
    Gone,
    Stop,
}

/// What a task has found out.
enum Done {
    Answered(Reply, u16, Value),
    Said(bool),
}

/// Comes when it is known what became of the message of this number.
type Noticed = std::pin::Pin<Box<dyn Future<Output = (u64, Outcome)> + Send>>;

/// The connection and what is under way with it.
struct Wire {
    connection: Connection,
    notices: FuturesUnordered<Noticed>,
    /// Handed out and not taken yet.
    held: VecDeque<(u64, Message)>,
    since: Clock,
    packet_max: Option<u32>,
    keeps: bool,
}

/// How long is waited before the next connection.
struct Backoff {
    next: Duration,
    rng: Rng,
}

impl Backoff {
    fn wait(&mut self, lost: &Lost, lasted: Duration) -> Duration {
        if lasted >= GOOD {
            self.next = WAIT_MIN;
        }
        if lost.taken_over {
            self.next = WAIT_MAX;
        }
        let wait = self.next;
        self.next = (self.next * 2).min(WAIT_MAX);
        // Between three quarters of it and all of it.
        let micros = wait.as_micros() as u64;
        Duration::from_micros(micros - self.rng.below(micros / 4 + 1))
    }
}

struct Runner {
    inside: Inside,
    broker: Broker,
    secure: Secure,
    bridge: Bridge,
    wire: Option<Wire>,
    backoff: Backoff,
    retry_at: Option<Clock>,
    /// The broker is to forget what it keeps for us.
    clean: bool,
    begun: Clock,
    last_event: u64,
    told: watch::Receiver<u64>,
    done: (mpsc::Sender<Done>, mpsc::Receiver<Done>),
    texts: mpsc::Receiver<(NodeId, Vec<u8>)>,
    posts: PostBox,
    /// Who waits for what becomes of a message.
    waiting: BTreeMap<u64, oneshot::Sender<Result<(), PostError>>>,
    next_post: u64,
    looks: u64,
}

/// Serves a broker until `stop` is ready.
///
/// # Errors
/// [`Problem`] when a file for TLS makes no sense. A broker that is not there is no error: it is waited for.
pub async fn run(
    api: Api,
    broker: Broker,
    settings: Settings,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), Problem> {
    run_with(api, broker, settings, post().1, stop).await
}

/// The same, with a way for other parts of the program to say something.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    api: Api,
    broker: Broker,
    settings: Settings,
    posts: PostBox,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), Problem> {
    let secure = Secure::read(broker.tls.as_ref())?;
    let inside = Inside::new(api, ACTOR, settings.role.unwrap_or(Role::Viewer));
    let wants_texts = settings.has(Shape::MqttBridge);
    let begun = inside.gateway().with(move |_, _, gateway| {
        gateway.set_broker(Some(false));
        let mesh = gateway.fleet().mesh_name().to_owned();
        let texts = if wants_texts { gateway.hear_texts() } else { mpsc::channel(1).1 };
        (mesh, gateway.heed(), gateway.last_event(), texts)
    });
    let Ok((mesh, told, last_event, texts)) = begun.await else { return Ok(()) };
    let rng = Rng::new(settings.seed);
    let runner = Runner {
        bridge: Bridge::new(settings, &mesh),
        inside,
        broker,
        secure,
        wire: None,
        backoff: Backoff { next: WAIT_MIN, rng },
        retry_at: Some(Clock::now()),
        clean: false,
        begun: Clock::now(),
        last_event,
        told,
        done: mpsc::channel(64),
        texts,
        posts,
        waiting: BTreeMap::new(),
        next_post: 1,
        looks: 0,
    };
    runner.run(stop).await
}

impl Runner {
    async fn run(mut self, stop: impl Future<Output = ()> + Send) -> Result<(), Problem> {
        let mut stop = pin!(stop);
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let what = tokio::select! {
                () = &mut stop => What::Stop,
                _ = look.tick() => What::Look,
                what = self.next() => what,
            };
            let went_on = match what {
                What::Stop => break,
                What::Gone => return Ok(()),
                other => self.act(other).await?,
            };
            if went_on.is_err() {
                // The gateway has gone, and we with it.
                return Ok(());
            }
            self.carry_out();
        }
        self.leave().await;
        Ok(())
    }

    /// What happens next, apart from time and the end.
    async fn next(&mut self) -> What {
        let Self { wire, told, done, texts, posts, retry_at, .. } = self;
        let retry_at = *retry_at;
        let retry = async {
            match retry_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let broker = async {
            match wire {
                Some(wire) => tokio::select! {
                    happened = wire.connection.happened.recv() => What::Broker(happened),
                    Some((tag, outcome)) = wire.notices.next() => What::Noticed(tag, outcome),
                },
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            what = broker => what,
            () = retry => What::Retry,
            changed = told.changed() => if changed.is_ok() { What::Told } else { What::Gone },
            Some(done) = done.1.recv() => match done {
                Done::Answered(reply, code, data) => What::Answered(reply, code, data),
                Done::Said(sent) => What::Said(sent),
            },
            Some((from, text)) = texts.recv() => What::Text(from, text),
            Some(wish) = posts.0.recv() => What::Wished(wish),
        }
    }

    fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    async fn act(&mut self, what: What) -> Result<Result<(), Stopped>, Problem> {
        let now = self.now();
        match what {
            What::Look => return Ok(self.look().await),
            What::Told => return Ok(self.events().await),
            What::Retry => self.connect()?,
            What::Broker(Some(Happened::Up { packet_max, keeps })) => self.up(packet_max, keeps).await,
            What::Broker(Some(Happened::Message(incoming))) => self.bridge.handle_message(now, incoming),
            What::Broker(Some(Happened::Lost(lost))) => self.lost(&lost).await,
            What::Broker(None) => {
                let why = "the connection ended".to_owned();
                self.lost(&Lost { why, poisoned: false, taken_over: false }).await;
            }
            What::Noticed(tag, Outcome::Taken) => self.acknowledged(tag).await,
            What::Noticed(tag, Outcome::Refused(why)) => {
                tracing::warn!(why, "the broker does not take a message");
                self.bridge.handle_refused(tag);
            }
            // The connection is gone, or will be.
            What::Noticed(_, Outcome::Unknown) => {}
            What::Answered(reply, code, data) => self.bridge.handle_answer(reply, code, data),
            What::Said(sent) => self.bridge.handle_said(sent),
            What::Text(from, text) => self.bridge.handle_text(from.0, &text),
            What::Wished(Wish::Switch(switches)) => self.bridge.handle_switches(switches),
            What::Wished(Wish::Say(posted)) => {
                let post = self.next_post;
                self.next_post += 1;
                self.waiting.insert(post, posted.done);
                self.bridge.handle_post(post, posted.topic, posted.payload);
            }
            What::Gone | What::Stop => {}
        }
        Ok(Ok(()))
    }

    fn connect(&mut self) -> Result<(), Problem> {
        self.retry_at = None;
        let connection = connect(&self.broker, &self.secure, &self.bridge.will(), self.clean)?;
        self.clean = false;
        self.wire = Some(Wire {
            connection,
            notices: FuturesUnordered::new(),
            held: VecDeque::new(),
            since: Clock::now(),
            packet_max: None,
            keeps: true,
        });
        Ok(())
    }

    async fn up(&mut self, packet_max: Option<u32>, keeps: bool) {
        let now = self.now();
        let (listens, looks) = (self.bridge.listens(), self.bridge.looks());
        let Some(wire) = &mut self.wire else { return };
        (wire.packet_max, wire.keeps) = (packet_max, keeps);
        if !keeps {
            tracing::warn!(
                "the broker keeps no messages: who comes later knows nothing until something changes"
            );
        }
        let client = &mut wire.connection.client;
        if client.subscribe(&listens).and_then(|()| client.subscribe(&looks)).is_err() {
            let why = "there is no room for subscriptions".to_owned();
            return self.lost(&Lost { why, poisoned: false, taken_over: false }).await;
        }
        self.bridge.handle_up(now);
        tracing::info!(host = self.broker.host, port = self.broker.port, "the broker has let us in");
    }

    async fn acknowledged(&mut self, tag: u64) {
        let before = self.bridge.is_live();
        self.bridge.handle_acknowledged(tag);
        if !before && self.bridge.is_live() {
            self.gauge(true).await;
            // What is kept is to be there at once, not after the next look.
            drop(self.look().await);
        }
    }

    async fn lost(&mut self, lost: &Lost) {
        let lasted = self.wire.take().map_or(Duration::ZERO, |wire| wire.since.elapsed());
        self.bridge.handle_down();
        self.clean = lost.poisoned;
        let wait = self.backoff.wait(lost, lasted);
        let seconds = wait.as_secs_f64();
        if lost.taken_over {
            tracing::warn!(
                client_id = self.broker.client_id,
                seconds,
                "another client has the same name at the broker (mqtt.client_id): it has pushed us out"
            );
        } else {
            tracing::warn!(why = lost.why, seconds, "there is no connection to the broker");
        }
        self.retry_at = Some(Clock::now() + wait);
        self.gauge(false).await;
    }

    async fn gauge(&mut self, connected: bool) {
        // Without a gateway there is nobody to tell.
        drop(self.inside.gateway().with(move |_, _, gateway| gateway.set_broker(Some(connected))).await);
    }

    async fn look(&mut self) -> Result<(), Stopped> {
        self.looks += 1;
        let since = self.wire.as_ref().map(|wire| wire.since.elapsed());
        if since.is_some_and(|since| since > BIRTH) && !self.bridge.is_live() {
            let why =
                format!("the broker has not let us in, or not acknowledged it, within {} s", BIRTH.as_secs());
            self.lost(&Lost { why, poisoned: false, taken_over: false }).await;
        }
        if !self.bridge.is_live() {
            return Ok(());
        }
        let seen = self.inside.look().await?;
        let process = Process::read();
        let vitals = Vitals { resident_bytes: process.resident_bytes, cpu_seconds: process.cpu_seconds };
        let now = self.now();
        self.bridge.handle_seen(now, vitals, seen);
        // The first look says what is old: what is done soon after the start must not be taken for that.
        if self.looks.is_multiple_of(AUDIT_LOOKS) || !self.bridge.knows_audit() {
            let rows = self.inside.audit(AUDIT_ROWS).await;
            self.bridge.handle_audit(rows);
        }
        if self.bridge.stops_looking(now) {
            let looks = self.bridge.looks();
            if let Some(wire) = &mut self.wire {
                // Without room it is listened to until the next connection.
                let _kept = wire.connection.client.unsubscribe(&looks);
            }
        }
        Ok(())
    }

    async fn events(&mut self) -> Result<(), Stopped> {
        loop {
            let events = self.inside.events(self.last_event, EVENTS_MAX).await?;
            if events.next == self.last_event {
                return Ok(());
            }
            self.last_event = events.next;
            events.items.iter().for_each(|event: &Event| self.bridge.handle_event(event));
        }
    }

    /// Hands over what the bridge has to say, and begins what is to be done.
    fn carry_out(&mut self) {
        self.publish();
        while let Some((post, outcome)) = self.bridge.poll_posted() {
            if let Some(done) = self.waiting.remove(&post) {
                // Whoever waited may have given up.
                drop(done.send(outcome));
            }
        }
        while let Some(task) = self.bridge.poll_task() {
            tokio::spawn(carry_out(self.inside.clone(), task, self.done.0.clone()));
        }
    }

    fn publish(&mut self) {
        let Some(wire) = &mut self.wire else { return };
        loop {
            let next = wire.held.pop_front().or_else(|| self.bridge.poll_publish());
            let Some((tag, mut message)) = next else { return };
            message.retain &= wire.keeps;
            let bytes = message.topic.len() + message.payload.len() + 64;
            if wire.packet_max.is_some_and(|most| bytes > most as usize) {
                tracing::warn!(topic = message.topic, bytes, "a message is longer than the broker takes");
                self.bridge.handle_refused(tag);
                continue;
            }
            match wire.connection.client.publish(&message) {
                Ok(notice) => wire.notices.push(tagged(tag, notice)),
                Err(_full) => {
                    wire.held.push_front((tag, message));
                    return;
                }
            }
        }
    }

    /// Says that we go, and waits until the broker knows.
    async fn leave(&mut self) {
        self.bridge.handle_stop();
        self.publish();
        let deadline = Clock::now() + LEAVE;
        while self.wire.is_some() && !self.bridge.has_left() {
            let what = tokio::time::timeout_at(deadline, self.next()).await;
            match what {
                Ok(What::Noticed(tag, _)) => self.bridge.handle_acknowledged(tag),
                Ok(What::Broker(None | Some(Happened::Lost(_)))) | Err(_) => break,
                Ok(_) => {}
            }
            self.publish();
        }
        if let Some(wire) = &mut self.wire {
            wire.connection.client.leave();
            // Until the connection ends.
            while let Ok(Some(happened)) =
                tokio::time::timeout_at(deadline, wire.connection.happened.recv()).await
            {
                if matches!(happened, Happened::Lost(_)) {
                    break;
                }
            }
        }
        let counted = *self.bridge.counters();
        let (published, bytes) = (counted.published, counted.published_bytes);
        tracing::info!(published, bytes, dropped = counted.outbox_dropped, "the broker is left");
        self.gauge(false).await;
    }
}

fn tagged(tag: u64, notice: Notice) -> Noticed {
    Box::pin(async move { (tag, notice.await) })
}

async fn carry_out(inside: Inside, task: Task, done: mpsc::Sender<Done>) {
    let calls = match task {
        Task::Ask(call, reply) => vec![(call, reply)],
        Task::Each(calls) => calls,
        Task::Say(to, text) => {
            let sent = inside.gateway().with(move |_, node, _| match to {
                Some(to) => node.send_single(NodeId(to), text.as_bytes(), Priority::Normal).is_ok(),
                None => node.send_broadcast(text.as_bytes(), Priority::Normal).is_ok(),
            });
            let sent = sent.await.unwrap_or(false);
            // Nobody waits for it any more when we stop.
            return drop(done.send(Done::Said(sent)).await);
        }
    };
    for (call, reply) in calls {
        let (code, data) = inside.ask(call).await;
        drop(done.send(Done::Answered(reply, code, data)).await);
    }
}
