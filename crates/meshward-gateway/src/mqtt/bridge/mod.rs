//! The bridge without a socket: what is known of the mesh goes in, and messages come out; messages come in, and calls
//! go out and are answered.
//!
//! It is driven by `run`: [`Bridge::handle_up`] and [`Bridge::handle_down`] say how the connection is, `handle_*` what
//! has happened, and then [`Bridge::poll_publish`] and [`Bridge::poll_call`] are drained. Nothing but the birth is
//! published before that is acknowledged. What was under way when a connection was lost, and is not kept by the
//! broker, is sent again. While there is no broker only what is said once piles up, at most [`OUTBOX_MAX`] messages,
//! the oldest go first. A retained command is ignored: whoever sent it may have done so a year ago.

mod own;
mod requests;
mod uploads;

use std::collections::{BTreeMap, VecDeque};

use meshward_core::hash::Sha256Sum;
use meshward_core::time::{Duration, Instant};
use serde_json::{Value, json};

use super::board::Board;
use super::compat::{self, Compat, Old};
use super::firmware::Uploads;
use super::home_assistant::HomeAssistant;
use super::message::{Incoming, Message, Qos};
use super::post::PostError;
use super::settings::{Settings, Switches};
use super::status::{self, Look, Status};
use super::topics::{Heard, Topics, is_topic, levels};
use super::update::Progress;
use crate::rest::inside::{Call, Seen};
use crate::rest::model::Event;

pub(crate) use own::{Counters, Vitals};

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
/// Longest topic in which other parts of the program may say something, in bytes.
const TOPIC_MAX: usize = 256;

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
    /// In which older shape, if in one.
    old: Option<Old>,
}

/// Something to be done, and where its answer goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Task {
    /// At the REST interface.
    Ask(Call, Reply),
    /// The same of several, one after the other.
    Each(Vec<(Call, Reply)>),
    /// A text for a node, or, without one, for all.
    Say(Option<u32>, String),
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
            filters.extend(compat::listens(&self.settings, &self.topics));
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

    /// What is told is another from now on; what is not told any more is taken away.
    pub(crate) fn handle_switches(&mut self, switches: Switches) {
        self.settings.switch(switches);
        for (told, topic) in
            [(switches.topology, "topology"), (switches.metrics, "metrics"), (switches.alerts, "alerts")]
        {
            if !told {
                self.board.withdraw(&self.topics.of(topic));
            }
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

    /// Something has happened.
    pub(crate) fn handle_event(&mut self, event: &Event) {
        let messages = status::event(&self.settings, &self.topics, event)
            .into_iter()
            .chain(status::node_event(&self.topics, &self.levels, event))
            .chain(compat::event(&self.settings, &self.topics, self.seen.as_ref(), event));
        let messages: Vec<Message> = messages.collect();
        messages.into_iter().for_each(|message| self.say(message));
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
            Heard::Old(asked, to) => self.old(asked, to, &incoming.payload),
            Heard::Alteriom => self.alteriom(&incoming.payload),
        }
    }

    fn ignore_retained(&mut self, topic: &str) {
        self.counters.retained_ignored += 1;
        let text = format!("a retained message in {topic} was ignored: commands are not to be retained");
        tracing::warn!(topic, "a retained command was ignored");
        self.note("warning", &text);
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
}
