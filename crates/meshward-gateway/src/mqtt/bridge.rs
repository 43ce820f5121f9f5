//! The bridge without a socket: what is known of the mesh goes in, and messages come out; messages come in, and calls
//! go out and are answered.
//!
//! It is driven by `run`: [`Bridge::handle_up`] and [`Bridge::handle_down`] say how the connection is, `handle_*` what
//! has happened, and then [`Bridge::poll_publish`] and [`Bridge::poll_call`] are drained. Nothing but the birth is
//! published before that is acknowledged. What was under way when a connection was lost, and is not kept by the
//! broker, is sent again. While there is no broker only what is said once piles up, at most [`OUTBOX_MAX`] messages,
//! the oldest go first. A retained command is ignored: whoever sent it may have done so a year ago.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use meshward_core::hash::Sha256Sum;
use meshward_core::time::{Duration, Instant};
use serde_json::{Value, json};

use super::board::{Board, Pace, Want};
use super::compat::{self, Compat};
use super::firmware::{Begin, Uploads};
use super::home_assistant::HomeAssistant;
use super::message::{Incoming, Message, Qos};
use super::post::PostError;
use super::request::{self, Request};
use super::settings::Settings;
use super::status::{self, Look, Status};
use super::topics::{Heard, Topics, is_topic, levels};
use super::update::{self, Progress};
use crate::rest::inside::{Call, Content, Seen};
use crate::rest::model::Event;
use crate::store::AuditRow;

/// Messages said once that wait.
pub(crate) const OUTBOX_MAX: usize = 1_000;
/// Messages that the broker does not have for sure.
pub(crate) const IN_FLIGHT_MAX: usize = 32;
/// Calls that are under way or wait.
pub(crate) const CALLS_MAX: usize = 32;
/// Messages that are remembered, to know those that the broker brings twice.
const HEARD_MAX: usize = 64;
/// After a connection, orphans are looked for so long.
const LOOK_FOR: Duration = Duration::from_secs(10);
/// Orphans that are listed.
const ORPHANS_SHOWN: usize = 100;
/// Longest topic in which other parts of the program may say something, in bytes.
const TOPIC_MAX: usize = 256;
/// Between two messages about the gateway's own health, in seconds.
const HEALTH_S: u64 = 60;

/// How the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// There is none.
    Down,
    /// The birth is to be sent.
    Up,
    /// The birth is on its way.
    Greeting,
    /// The broker has it.
    Live,
    /// Nothing more is sent but that we go.
    Leaving,
}

/// Where an answer goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reply {
    topic: String,
    correlation: Option<Vec<u8>>,
    transaction: Value,
}

/// Something to be done, and where its answer goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Task {
    /// At the REST interface.
    Ask(Call, Reply),
    /// A text for a node, or, without one, for all.
    Say(Option<u32>, String),
}

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

/// See the module's page.
pub(crate) struct Bridge {
    settings: Settings,
    topics: Topics,
    link: Link,
    /// When the connection came up.
    up_at: Instant,
    looking: bool,
    board: Board,
    outbox: VecDeque<Message>,
    in_flight: BTreeMap<u64, Message>,
    next: u64,
    tasks: VecDeque<Task>,
    calls: usize,
    uploads: Uploads,
    status: Status,
    progress: Progress,
    home_assistant: HomeAssistant,
    compat: Compat,
    levels: BTreeMap<u32, String>,
    /// What is offered to whom, from the last look.
    seen: Option<Seen>,
    heard: VecDeque<Sha256Sum>,
    audited: Option<u64>,
    /// What became of messages of other parts of the program.
    posted: VecDeque<(u64, Result<(), PostError>)>,
    counters: Counters,
}

impl Bridge {
    /// One that knows nothing yet.
    pub(crate) fn new(settings: Settings, mesh: &str) -> Self {
        let discovery = settings.home_assistant.clone().unwrap_or_default();
        let topics = Topics::new(&settings.base, &discovery, mesh);
        Self {
            settings,
            topics,
            link: Link::Down,
            up_at: Instant::ORIGIN,
            looking: false,
            board: Board::default(),
            outbox: VecDeque::new(),
            in_flight: BTreeMap::new(),
            next: 1,
            tasks: VecDeque::new(),
            calls: 0,
            uploads: Uploads::default(),
            status: Status::default(),
            progress: Progress::default(),
            home_assistant: HomeAssistant::default(),
            compat: Compat::default(),
            levels: BTreeMap::new(),
            seen: None,
            heard: VecDeque::new(),
            audited: None,
            posted: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// What the broker says for us when we vanish.
    pub(crate) fn will(&self) -> Message {
        self.presence("offline")
    }

    fn presence(&self, state: &str) -> Message {
        let payload = json!({ "state": state }).to_string();
        Message::retained(self.topics.of("bridge/state"), payload, Qos::AtLeastOnce)
    }

    /// What is listened to as long as the connection is up.
    pub(crate) fn listens(&self) -> Vec<String> {
        let acts = self.settings.role.is_some();
        let mut filters = self.topics.listens(self.settings.home_assistant.is_some());
        filters.retain(|filter| acts || !filter.starts_with(&*self.topics.of("")));
        if acts {
            filters.extend(compat::listens(&self.settings));
        }
        filters
    }

    /// What is listened to for a moment after that.
    pub(crate) fn looks(&self) -> Vec<String> {
        self.topics.looks()
    }

    /// What was counted.
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Whether the broker knows that we are here.
    pub(crate) fn is_live(&self) -> bool {
        self.link == Link::Live
    }

    /// The connection is up, and subscribed.
    pub(crate) fn handle_up(&mut self, now: Instant) {
        (self.link, self.up_at, self.looking) = (Link::Up, now, true);
        self.counters.connections += 1;
    }

    /// The connection is lost.
    pub(crate) fn handle_down(&mut self) {
        self.link = Link::Down;
        // What the broker keeps is sent anyhow when it is back; who waits for an answer tries again.
        let under_way = std::mem::take(&mut self.in_flight);
        let mut again = VecDeque::new();
        for message in std::mem::take(&mut self.outbox).into_iter().rev().chain(under_way.into_values().rev())
        {
            match message.post {
                Some(post) => self.posted.push_back((post, Err(PostError::NotTaken))),
                None if message.retain => {}
                None => again.push_front(message),
            }
        }
        self.outbox = again;
        self.shorten();
    }

    /// The broker has a message.
    pub(crate) fn handle_acknowledged(&mut self, tag: u64) {
        if let Some(post) = self.in_flight.remove(&tag).and_then(|message| message.post) {
            self.posted.push_back((post, Ok(())));
        }
        if self.link == Link::Greeting && tag + 1 == self.next {
            self.link = Link::Live;
            self.board.reconnected();
        }
    }

    /// The broker does not take a message.
    pub(crate) fn handle_refused(&mut self, tag: u64) {
        self.counters.unsent += 1;
        if let Some(post) = self.in_flight.get_mut(&tag).and_then(|message| message.post.take()) {
            self.posted.push_back((post, Err(PostError::NotTaken)));
        }
        self.handle_acknowledged(tag);
    }

    /// We go: nothing more is sent but that.
    pub(crate) fn handle_stop(&mut self) {
        if self.link != Link::Down {
            self.link = Link::Leaving;
            self.outbox.clear();
            let last = self.presence("offline");
            self.outbox.push_back(last);
        }
    }

    /// Whether it is said that we go, and the broker has it.
    pub(crate) fn has_left(&self) -> bool {
        self.outbox.is_empty() && self.in_flight.is_empty()
    }

    /// The next message for the broker.
    pub(crate) fn poll_publish(&mut self) -> Option<(u64, Message)> {
        if self.in_flight.len() >= IN_FLIGHT_MAX {
            return None;
        }
        let message = match self.link {
            Link::Down | Link::Greeting => return None,
            Link::Up => {
                self.link = Link::Greeting;
                self.presence("online")
            }
            Link::Live => self.outbox.pop_front().or_else(|| self.board.poll())?,
            Link::Leaving => self.outbox.pop_front()?,
        };
        let tag = self.next;
        self.next += 1;
        self.counters.published += 1;
        self.counters.published_bytes += message.payload.len() as u64;
        self.in_flight.insert(tag, message.clone());
        Some((tag, message))
    }

    /// The next thing to be done.
    pub(crate) fn poll_task(&mut self) -> Option<Task> {
        self.tasks.pop_front()
    }

    fn say(&mut self, message: Message) {
        self.outbox.push_back(message);
        self.shorten();
    }

    fn shorten(&mut self) {
        while self.outbox.len() > OUTBOX_MAX {
            let dropped = self.outbox.pop_front();
            self.posted.extend(
                dropped.and_then(|message| message.post).map(|post| (post, Err(PostError::NotTaken))),
            );
            self.counters.outbox_dropped += 1;
        }
    }

    /// Another part of the program has something to say; `post` names it.
    pub(crate) fn handle_post(&mut self, post: u64, topic: Option<String>, payload: String) {
        let topic = topic.unwrap_or_else(|| self.topics.of("notification"));
        if !is_topic(&topic, TOPIC_MAX) {
            self.posted.push_back((post, Err(PostError::Topic(topic))));
        } else if self.link == Link::Live {
            let message = Message::passing(topic, payload, Qos::AtLeastOnce);
            self.say(Message { post: Some(post), ..message });
        } else {
            self.posted.push_back((post, Err(PostError::Down)));
        }
    }

    /// What became of such a message.
    pub(crate) fn poll_posted(&mut self) -> Option<(u64, Result<(), PostError>)> {
        self.posted.pop_front()
    }

    /// What is known of the mesh now.
    pub(crate) fn handle_seen(&mut self, now: Instant, vitals: Vitals, seen: Seen) {
        self.uploads.tend(now);
        let nodes = status::told(&seen).map(|each| (each.node.id, each.node.name.as_deref()));
        self.levels = levels(nodes, self.settings.names);
        self.board.begin();
        let look = self.status.look(&self.settings, &self.topics, &self.levels, &seen);
        let Look { mut wants, keeps, mut once } = look;
        let (more, said) = self.progress.look(now, &self.topics, &seen);
        wants.extend(more);
        once.extend(said);
        if self.settings.home_assistant.is_some() {
            let announced = self.home_assistant.look(&self.settings, &self.topics, &self.levels, &seen);
            wants.extend(announced);
        }
        once.extend(self.compat.look(now, &self.settings, &self.topics, &seen));
        wants.push(self.own_health(&seen, vitals));
        for want in wants {
            self.board.put(now, seen.at, want);
        }
        keeps.iter().for_each(|topic| self.board.keep(topic));
        let topics = &self.topics;
        self.board.end(|topic| topics.is_own(topic));
        self.sweep(now, &seen);
        for topic in self.home_assistant.due(now) {
            self.board.repeat(&topic);
        }
        once.into_iter().for_each(|message| self.say(message));
        self.seen = Some(seen);
    }

    /// Whether the moment for looking at what the broker keeps is over: then that is not listened to any more.
    pub(crate) fn stops_looking(&mut self, now: Instant) -> bool {
        let over = self.looking && self.link == Link::Live && now.since(self.up_at) >= LOOK_FOR;
        self.looking &= !over;
        over
    }

    /// Takes orphans away, when it is known who is there.
    fn sweep(&mut self, now: Instant, seen: &Seen) {
        if !seen.status.learning && now.since(self.up_at) >= LOOK_FOR && self.link == Link::Live {
            self.counters.orphans_removed += self.board.sweep() as u64;
        }
    }

    fn own_health(&self, seen: &Seen, vitals: Vitals) -> Want {
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

    /// Something has happened.
    pub(crate) fn handle_event(&mut self, event: &Event) {
        let messages = status::event(&self.settings, &self.topics, event)
            .into_iter()
            .chain(status::node_event(&self.topics, &self.levels, event))
            .chain(compat::event(&self.settings, &self.topics, self.seen.as_ref(), event));
        let messages: Vec<Message> = messages.collect();
        messages.into_iter().for_each(|message| self.say(message));
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

    /// A message has come.
    pub(crate) fn handle_message(&mut self, now: Instant, incoming: Incoming) {
        self.counters.received += 1;
        let topic = incoming.topic.clone();
        match self.topics.heard(&topic) {
            Heard::Own if incoming.retain && !incoming.payload.is_empty() => self.board.found(&topic),
            Heard::Own | Heard::Nothing => {}
            Heard::Birth => self.birth(now, &incoming),
            _ if self.settings.role.is_none() => {}
            _ if incoming.retain => self.ignore_retained(&topic),
            _ if self.is_repeated(&incoming) => self.counters.repeated_ignored += 1,
            Heard::Request(name) => self.request(now, name, incoming),
            Heard::Node(level) => self.command(level, &incoming),
            Heard::Update(level) => self.install(level, &incoming),
            Heard::Control => self.control(now, incoming),
            Heard::Bridge(to) => self.pass_on(to, &incoming),
        }
    }

    fn ignore_retained(&mut self, topic: &str) {
        self.counters.retained_ignored += 1;
        let text = format!("a retained message in {topic} was ignored: commands are not to be retained");
        tracing::warn!(topic, "a retained command was ignored");
        self.note("warning", &text);
    }

    fn note(&mut self, level: &str, text: &str) {
        let now = Timestamp::now();
        let body =
            json!({ "level": level, "message": text, "kind": "mqtt", "at": now, "ts": now.as_millisecond() });
        self.say(Message::passing(self.topics.of("bridge/logging"), body.to_string(), Qos::AtMostOnce));
    }

    /// Whether the broker brings again what it has brought.
    fn is_repeated(&mut self, incoming: &Incoming) -> bool {
        let mut text = incoming.topic.clone().into_bytes();
        text.push(0);
        text.extend_from_slice(&incoming.payload);
        let sum = Sha256Sum::of(&text);
        if incoming.dup && self.heard.contains(&sum) {
            return true;
        }
        if self.heard.len() >= HEARD_MAX {
            self.heard.pop_front();
        }
        self.heard.push_back(sum);
        false
    }

    fn birth(&mut self, now: Instant, incoming: &Incoming) {
        // One that the broker kept is of before our own announcements.
        if incoming.payload != b"online" || incoming.retain {
            return;
        }
        let ids = self.levels.keys().map(ToString::to_string).chain(["gateway".to_owned()]);
        let topics: Vec<String> = ids.map(|id| self.topics.device(&id)).collect();
        let of = |level: &String| {
            ["availability", "health", "state", "update"].map(|rest| self.topics.node(level, rest))
        };
        let states: Vec<String> = self.levels.values().flat_map(of).collect();
        self.home_assistant.birth(now, self.settings.seed, topics.into_iter().chain(states));
    }

    /// Where the answer to a message goes.
    fn reply(&self, name: &str, incoming: &Incoming, transaction: Value) -> Reply {
        let wanted = incoming.response_topic.as_ref().filter(|topic| self.topics.may_answer(topic));
        let topic = wanted.cloned().unwrap_or_else(|| self.topics.of(&format!("response/{name}")));
        let correlation = incoming.correlation.clone().filter(|data| data.len() <= 256);
        Reply { topic, correlation, transaction }
    }

    fn answer(&mut self, reply: Reply, body: &Value) {
        let message = Message::passing(reply.topic, body.to_string(), Qos::AtLeastOnce);
        self.say(Message { correlation: reply.correlation, ..message });
    }

    fn refuse(&mut self, reply: Reply, code: u16, why: &str) {
        self.counters.refused += 1;
        let body = request::refusal(code, why, &reply.transaction);
        self.answer(reply, &body);
    }

    fn request(&mut self, now: Instant, name: &str, incoming: Incoming) {
        self.counters.requests += 1;
        if let Some(rest) = name.strip_prefix("firmware/upload/") {
            return self.upload(now, rest, incoming);
        }
        let request = match Request::read(&incoming.payload) {
            Ok(request) => request,
            Err(error) => {
                let reply = self.reply(name, &incoming, Value::Null);
                return self.refuse(reply, error.code(), &error.to_string());
            }
        };
        let reply = self.reply(name, &incoming, request.transaction.clone());
        match request.call(name) {
            Ok(call) => self.ask(call, reply),
            Err(error) => self.refuse(reply, error.code(), &error.to_string()),
        }
    }

    fn ask(&mut self, call: Call, reply: Reply) {
        if self.calls >= CALLS_MAX {
            return self.refuse(
                reply,
                429,
                &format!("{CALLS_MAX} requests are under way: ask again in a moment"),
            );
        }
        self.calls += 1;
        self.tasks.push_back(Task::Ask(call, reply));
    }

    /// What became of a call.
    pub(crate) fn handle_answer(&mut self, reply: Reply, code: u16, data: Value) {
        self.calls = self.calls.saturating_sub(1);
        if code >= 400 {
            self.counters.refused += 1;
        }
        let body = request::answer(code, data, &reply.transaction);
        self.answer(reply, &body);
    }

    fn upload(&mut self, now: Instant, rest: &str, incoming: Incoming) {
        let verb = rest.split('/').next().unwrap_or_default();
        let name = format!("firmware/upload/{verb}");
        if let (true, Some(number)) = (self.settings.may_act(), rest.strip_prefix("chunk/")) {
            let reply = self.reply(&name, &incoming, Value::Null);
            // A good chunk is only answered where somebody wants to hear of it.
            let wanted = incoming.response_topic.is_some();
            return match self.uploads.chunk(now, number, incoming.payload) {
                Ok(report) if wanted => self.answer(reply, &request::answer(200, report, &Value::Null)),
                Ok(_) => {}
                Err(error) => self.refuse(reply, 422, &error.to_string()),
            };
        }
        let request = Request::read(&incoming.payload);
        let transaction = request.as_ref().map(|request| request.transaction.clone()).unwrap_or_default();
        let reply = self.reply(&name, &incoming, transaction);
        let fields = match request {
            _ if !self.settings.may_act() => {
                return self.refuse(reply, 403, "this needs the role operator: see mqtt.role");
            }
            Ok(request) => Value::Object(request.fields),
            Err(error) => return self.refuse(reply, error.code(), &error.to_string()),
        };
        match rest {
            "begin" => match serde_json::from_value::<Begin>(fields) {
                Err(error) => self.refuse(reply, 422, &error.to_string()),
                Ok(begin) => match self.uploads.begin(now, &begin) {
                    Ok(report) => {
                        let body = request::answer(200, report, &reply.transaction);
                        self.answer(reply, &body);
                    }
                    Err(error) => self.refuse(reply, 422, &error.to_string()),
                },
            },
            "end" => match self.uploads.end(now, fields.get("sha256").and_then(Value::as_str)) {
                Ok(image) => {
                    let target =
                        format!("/api/v1/firmware?name={}", crate::rest::inside::encoded(&image.name));
                    let call = Call { method: "POST", target, content: Content::Bytes(image.bytes) };
                    self.ask(call, reply);
                }
                Err(error) => self.refuse(reply, 422, &error.to_string()),
            },
            _ => self.refuse(reply, 404, "there are begin, chunk/NUMBER and end"),
        }
    }

    /// The node of a level.
    fn node_of(&self, level: &str) -> Option<u32> {
        let by_name = self.levels.iter().find(|(_, known)| *known == level).map(|(id, _)| *id);
        by_name.or_else(|| level.parse().ok())
    }

    /// A command to a node: `restart`, `identify`, or a command of REST.
    fn command(&mut self, level: &str, incoming: &Incoming) {
        self.counters.requests += 1;
        let name = format!("node/{level}/set");
        let reply = self.reply(&name, incoming, Value::Null);
        let Some(id) = self.node_of(level) else {
            return self.refuse(reply, 404, "there is no such node");
        };
        let fields = match incoming.payload.as_slice() {
            b"restart" => json!({ "command": 1 }),
            b"identify" => json!({ "command": 10, "params": "{\"state\":true,\"blink\":true}" }),
            other => match Request::read(other) {
                Ok(request) if !request.fields.is_empty() => Value::Object(request.fields),
                _ => {
                    let right = "take restart, identify, or {\"command\": NUMBER, \"params\": \"…\"}";
                    return self.refuse(reply, 422, right);
                }
            },
        };
        let call = Call {
            method: "POST",
            target: format!("/api/v1/nodes/{id}/commands"),
            content: Content::Json(fields),
        };
        self.ask(call, reply);
    }

    /// A node is to be brought what is on offer for it.
    fn install(&mut self, level: &str, incoming: &Incoming) {
        self.counters.requests += 1;
        let reply = self.reply(&format!("node/{level}/update/set"), incoming, Value::Null);
        if incoming.payload != b"install" {
            return self.refuse(reply, 422, "take install");
        }
        let found = self.node_of(level).zip(self.seen.as_ref()).and_then(|(id, seen)| {
            let each = seen.nodes.iter().find(|each| each.node.id == id)?;
            update::offer(seen, each)
        });
        let Some(offer) = found else {
            return self.refuse(reply, 404, "there is no such node, or nothing on offer for it");
        };
        let content = Content::Json(json!(offer.rollout));
        self.ask(Call { method: "POST", target: "/api/v1/rollouts".to_owned(), content }, reply);
    }

    /// `{"action": "pause", …}` is the request `rollout/pause`.
    fn control(&mut self, now: Instant, incoming: Incoming) {
        let read = Request::read(&incoming.payload).ok();
        let action = read.and_then(|mut request| {
            let action = request.fields.remove("action")?.as_str()?.to_owned();
            let mut fields = request.fields;
            fields.insert("transaction".to_owned(), request.transaction);
            Some((action, Value::Object(fields)))
        });
        let Some((action, fields)) = action else {
            let reply = self.reply("rollout", &incoming, Value::Null);
            return self.refuse(reply, 422, "`action` is missing: start, pause, resume, abort or activate");
        };
        let incoming = Incoming { payload: fields.to_string().into_bytes(), ..incoming };
        self.request(now, &format!("rollout/{action}"), incoming);
    }

    /// What the `mqttBridge` example does.
    fn pass_on(&mut self, to: &str, incoming: &Incoming) {
        self.counters.requests += 1;
        let seen = self.seen.as_ref();
        match compat::pass_on(&self.settings, seen, to, &incoming.payload) {
            compat::Passed::Answer(message) => self.say(message),
            compat::Passed::Say(node, text) if self.calls < CALLS_MAX => {
                self.calls += 1;
                self.tasks.push_back(Task::Say(node, text));
            }
            compat::Passed::Say(..) | compat::Passed::Nothing => self.counters.refused += 1,
        }
    }

    /// A text was handed to the mesh, or could not be.
    pub(crate) fn handle_said(&mut self, sent: bool) {
        self.calls = self.calls.saturating_sub(1);
        if !sent {
            self.say(compat::not_connected());
        }
    }

    /// A text of a node for the gateway.
    pub(crate) fn handle_text(&mut self, from: u32, text: &[u8]) {
        if let Some(message) = compat::text(&self.settings, from, text) {
            self.say(message);
        }
    }
}
