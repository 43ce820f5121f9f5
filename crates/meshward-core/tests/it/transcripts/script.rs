//! One node's part in a recording: what it gets, and what it is expected to send.
//!
//! Most of what a node gets answers what it has sent a moment before. When our node sends a little later
//! than the real one did, the answer has to wait for it: an incoming message knows its *cause*.

use meshward_core::mesh::CloseReason;

use super::cast::{Cast, Scenario};
use super::exceptions::{EXCEPTIONS, Effect, OWN_CLOSES};
use super::recording::{Recording, What};
use super::text::{self, Kind};
use super::verdicts::{Verdict, Verdicts};

/// How long a conversation without an end goes on: the real node stayed quiet.
const EPILOGUE: u64 = 1_000_000;
/// One broadcast leaves on all links within this time.
const SAME_VERB: i64 = 10_000;

/// A node's part. Times are microseconds of the recording.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) file: &'static str,
    pub(super) conversation: usize,
    pub(super) cast: Cast,
    pub(super) links: Vec<LinkScript>,
    /// What happens to the node, in order of time; the first may come before the recording.
    pub(super) steps: Vec<(i64, Step)>,
    /// The real node's clock when the recording began.
    pub(super) clock_at_start: u32,
    /// When the part is over.
    pub(super) end: u64,
    /// How often each row of the table has shaped the script.
    pub(super) applied: Vec<usize>,
}

/// A connection as the node sees it.
#[derive(Debug)]
pub(super) struct LinkScript {
    pub(super) name: String,
    pub(super) peer: String,
    pub(super) dials: bool,
    /// What the node sends, in order.
    pub(super) expected: Vec<Expected>,
    /// Set when the node must close it by itself: when, and why.
    pub(super) own_close: Option<(u64, CloseReason)>,
}

/// A message that the node is expected to send.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) at: u64,
    pub(super) bytes: Vec<u8>,
    /// Our clock may be another by then.
    pub(super) other_clock: bool,
}

/// Something that happens to the node; `link` is an index into [`Script::links`].
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A TCP connection stands.
    Open { link: usize },
    /// It is closed by somebody else, or by the node's application.
    Closed { link: usize },
    /// A message comes in.
    Incoming(Incoming),
    /// The node's application sends this message.
    Verb { message: Vec<u8> },
    /// Two NULs come in on the oldest link.
    Empty,
}

/// A message that comes in.
#[derive(Clone, Debug)]
pub(super) struct Incoming {
    pub(super) link: usize,
    pub(super) bytes: Vec<u8>,
    /// Which of the link's expected messages it answers.
    pub(super) cause: Option<usize>,
    /// What the real node thought of a time reply.
    pub(super) verdict: Option<Verdict>,
}

/// A message that the real node sent on a link.
struct Sent {
    kind: Kind,
    t0: Option<u32>,
    /// Its place among the expected ones; `None` when ours does not send it.
    index: Option<usize>,
    answered: bool,
}

impl Script {
    /// Which part it is: file, conversation, node.
    pub(super) fn part(&self) -> (&'static str, usize, &'static str) {
        (self.file, self.conversation, self.cast.name)
    }

    /// The effects that the table has on this part, with the numbers of their rows.
    pub(super) fn effects(&self) -> impl Iterator<Item = (usize, Effect)> {
        let rows = EXCEPTIONS.iter().enumerate().filter(|(_, row)| row.is_in(self.part()));
        rows.map(|(index, row)| (index, row.effect))
    }
}

struct Writer<'a> {
    recording: &'a Recording,
    verdicts: Verdicts,
    delay: u64,
    /// For each link of the recording, which link of the script it is.
    places: Vec<Option<usize>>,
    /// For each link of the script, what the real node sent there.
    sent: Vec<Vec<Sent>>,
    /// What came in last.
    heard: Vec<u8>,
    script: Script,
}

/// Writes the part of `cast` in a recording.
pub(super) fn script(scenario: &Scenario, conversation: usize, recording: &Recording, cast: Cast) -> Script {
    let (lines, end) = curtain(recording, cast.name);
    let verdicts = Verdicts::new(recording, cast, scenario.delay);
    let script = Script {
        file: scenario.file,
        conversation,
        cast,
        links: Vec::new(),
        steps: Vec::new(),
        clock_at_start: verdicts.clock_at_start(),
        end,
        applied: vec![0; EXCEPTIONS.len()],
    };
    let places = vec![None; recording.links.len()];
    let mut writer = Writer {
        recording,
        verdicts,
        delay: scenario.delay,
        places,
        sent: Vec::new(),
        heard: Vec::new(),
        script,
    };
    for index in 0..lines {
        writer.line(index);
    }
    writer.script.steps.sort_by_key(|(at, _)| *at);
    writer.script
}

/// How many lines of a recording a node lives through, and when its part is over: when it is frozen, when
/// it is shut down, or when the recording ends.
fn curtain(recording: &Recording, node: &str) -> (usize, u64) {
    let lines = &recording.lines;
    let sent = |what: &What| matches!(what, What::Message { from, .. } if from == node);
    let last_sent = lines.iter().rposition(|line| sent(&line.what)).unwrap_or(0);
    let over = lines.iter().enumerate().position(|(index, line)| match &line.what {
        What::Frozen { node: who } => who == node,
        What::Closed { link, by } => {
            index > last_sent && by == node && first_close(recording, *link) == index
        }
        _ => false,
    });
    let epilogue =
        if lines.iter().any(|line| matches!(line.what, What::Closed { .. })) { 0 } else { EPILOGUE };
    let last = lines.last().map_or(0, |line| line.at);
    over.map_or((lines.len(), last + epilogue), |index| (index, lines[index].at))
}

/// The first line that says that a link is closed: it is the closer's.
fn first_close(recording: &Recording, link: usize) -> usize {
    let closed = |what: &What| matches!(what, What::Closed { link: other, .. } if *other == link);
    recording.lines.iter().position(|line| closed(&line.what)).unwrap_or(usize::MAX)
}

impl Writer<'_> {
    fn line(&mut self, index: usize) {
        let recording = self.recording;
        let line = &recording.lines[index];
        match &line.what {
            What::Open { link } => self.open(line.at, *link),
            What::Closed { link, by } => self.closed(line.at, *link, by),
            What::Message { link, from, bytes, withheld } => {
                let Some(place) = self.places[*link] else { return };
                if from == self.script.cast.name {
                    self.expect(line.at, place, bytes);
                } else if !withheld {
                    self.deliver(index, place, bytes);
                }
            }
            What::Note(words) if words.starts_with("empty message") => self.step(line.at, Step::Empty),
            What::Note(_) | What::Frozen { .. } => {}
        }
    }

    fn step(&mut self, at: u64, step: Step) {
        self.script.steps.push((at as i64, step));
    }

    fn open(&mut self, at: u64, link: usize) {
        let (ends, node) = (&self.recording.links[link], self.script.cast.name);
        if ends.dialler != node && ends.listener != node {
            return;
        }
        let place = self.script.links.len();
        self.places[link] = Some(place);
        self.sent.push(Vec::new());
        let closed_at = self.recording.lines.get(first_close(self.recording, link)).map_or(0, |line| line.at);
        let own = OWN_CLOSES
            .iter()
            .find(|own| self.script.file.starts_with(own.file) && own.node == node && own.link == ends.name);
        self.script.links.push(LinkScript {
            name: ends.name.clone(),
            peer: ends.peer_of(node).to_owned(),
            dials: ends.dialler == node,
            expected: Vec::new(),
            own_close: own.map(|own| (closed_at, own.reason)),
        });
        self.step(at, Step::Open { link: place });
        self.open_otherwise(at, place);
    }

    /// What the table says about a link.
    fn open_otherwise(&mut self, at: u64, place: usize) {
        let part = self.script.part();
        for (index, row) in EXCEPTIONS.iter().enumerate().filter(|(_, row)| row.is_in(part)) {
            let link = &mut self.script.links[place];
            match row.effect {
                Effect::StoodEarlier(micros) if row.is_about(&link.peer, None, at) => {
                    self.script.steps.last_mut().expect("the link stands").0 -= micros as i64;
                    self.script.applied[index] += 1;
                }
                // Refused at its first message, which comes in the span of the row.
                Effect::Refuses(reason) if row.peer == link.peer => {
                    link.own_close = Some((row.ms.start * 1_000, reason));
                    self.script.applied[index] += 1;
                }
                _ => {}
            }
        }
    }

    fn closed(&mut self, at: u64, link: usize, by: &str) {
        let Some(place) = self.places[link] else { return };
        let node = self.script.cast.name;
        let closes =
            |what: &What| matches!(what, What::Closed { link: other, by } if *other == link && by == node);
        let has_own_line = self.recording.lines.iter().any(|line| closes(&line.what));
        if self.script.links[place].own_close.is_none() && (by == node || !has_own_line) {
            self.step(at, Step::Closed { link: place });
        }
    }

    fn expect(&mut self, at: u64, place: usize, bytes: &[u8]) {
        let kind = Kind::of(bytes);
        let is_own = text::number(bytes, "from") == Some(self.script.cast.id);
        if is_own && kind.is_a_verb() {
            self.verb(at, bytes);
        }
        let effect = self.effect(at, place, kind);
        let link = &mut self.script.links[place];
        let index = (effect != Some(Effect::NotSent)).then_some(link.expected.len());
        self.sent[place].push(Sent { kind, t0: text::number(bytes, "t0"), index, answered: false });
        let bytes = match effect {
            Some(Effect::NotSent) => return,
            Some(Effect::Instead(text)) => text.as_bytes().to_vec(),
            Some(Effect::AsItCame) => self.heard.clone(),
            _ => bytes.to_vec(),
        };
        let other_clock = matches!(effect, Some(Effect::OtherClock | Effect::Instead(_)));
        link.expected.push(Expected { at, bytes, other_clock });
    }

    /// What the table says about a message, counted.
    fn effect(&mut self, at: u64, place: usize, kind: Kind) -> Option<Effect> {
        let script = &mut self.script;
        let peer = &script.links[place].peer;
        let row = EXCEPTIONS.iter().position(|row| {
            !matches!(row.effect, Effect::Extra(..) | Effect::Unasked(..))
                && row.is_in(script.part())
                && row.is_about(peer, Some(kind), at)
        })?;
        script.applied[row] += 1;
        Some(EXCEPTIONS[row].effect)
    }

    fn verb(&mut self, at: u64, bytes: &[u8]) {
        let said = self.script.steps.iter().rev().any(|(before, step)| {
            before + SAME_VERB > at as i64 && matches!(step, Step::Verb { message } if message == bytes)
        });
        if !said {
            self.step(at, Step::Verb { message: bytes.to_vec() });
        }
    }

    fn deliver(&mut self, index: usize, place: usize, bytes: &[u8]) {
        let kind = Kind::of(bytes);
        self.heard = bytes.to_vec();
        let cause = self.cause(place, kind, bytes).map(|sent| self.sent[place][sent].index);
        if cause == Some(None) {
            return;
        }
        let line = &self.recording.lines[index];
        let What::Message { link, .. } = &line.what else { return };
        let verdict = (kind == Kind::TimeReply).then(|| self.verdicts.of_reply(index, line.at, *link));
        let incoming = Incoming { link: place, bytes: bytes.to_vec(), cause: cause.flatten(), verdict };
        self.step(line.at + self.delay, Step::Incoming(incoming));
    }

    /// Which message that the node sent on this link an incoming one answers.
    fn cause(&mut self, place: usize, kind: Kind, bytes: &[u8]) -> Option<usize> {
        let sent = &mut self.sent[place];
        let t0 = text::number(bytes, "t0");
        let open = |sent: &[Sent], asks: Kind| sent.iter().position(|one| one.kind == asks && !one.answered);
        let found = match kind {
            Kind::SyncReply => open(sent, Kind::SyncRequest),
            Kind::TimeRequest => open(sent, Kind::TimeAsk),
            Kind::TimeReply => {
                sent.iter().position(|one| one.kind == Kind::TimeRequest && one.t0 == t0 && !one.answered)
            }
            Kind::DelayReply => {
                sent.iter().position(|one| one.kind == Kind::DelayRequest && one.t0 == t0 && !one.answered)
            }
            Kind::PartRequest => {
                return sent.iter().rposition(|one| matches!(one.kind, Kind::Announce | Kind::Part));
            }
            Kind::Part => return sent.iter().rposition(|one| one.kind == Kind::PartRequest),
            _ => None,
        }?;
        sent[found].answered = true;
        Some(found)
    }
}
