//! Compares what our node sends with what the real one sent.
//!
//! Per link and in order: the same bytes, but for the times of the sender's own clock. Those must be what
//! our node's clock shows, and close to what the real node's showed.

use std::collections::BTreeMap;

use meshward_core::mesh::{CloseReason, Limits, MeshEvent};
use meshward_core::node::Event;
use meshward_core::ota::ReceiverEvent;
use meshward_core::time::MeshTime;

use super::exceptions::{EXCEPTIONS, Effect, Sent};
use super::script::{Expected, Script};
use super::text::{self, Kind};
use super::verdicts::Verdict;

/// How much earlier than the real node ours may send and close, in microseconds: the recording machine was
/// busy at times (the longest such wait is 8.2 ms, in 10), and the schedulers of real nodes are late.
pub(super) const EARLY_MAX: u64 = 10_000;
/// How much later, in microseconds: a timer of a real node may fire within the millisecond before it is due.
pub(super) const LATE_MAX: u64 = 1_000;
/// How much later a time answer may be, in microseconds: it is held for up to 16 ms.
pub(super) const ANSWER_LATE_MAX: u64 = 17_000;
/// How much our clock may differ from the real node's, in microseconds: a settled one is right within 5 ms.
pub(super) const CLOCK_APART_MAX: u32 = 5_000;
/// How long a time answer is held, in microseconds.
const HOLD: std::ops::RangeInclusive<u32> = 1_000..=16_000;

/// What came of a part.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Messages that were the same.
    pub(super) compared: usize,
    /// Messages that our node sent.
    pub(super) sent: usize,
    /// What was not the same.
    pub(super) failures: Vec<String>,
    /// How often each row of the table applied.
    pub(super) applied: Vec<usize>,
    /// Links that the node closed by itself.
    pub(super) own_closes: usize,
    /// Messages with times of the node's own clock.
    pub(super) stamped: usize,
    /// Time answers that were held.
    pub(super) held: usize,
    /// Time replies that were rebased: thrown away, near, far.
    pub(super) rebased: [usize; 3],
    /// How much earlier and later than recorded answers and timers came, at most.
    pub(super) spread: BTreeMap<&'static str, (u64, u64)>,
    /// What the application got: from whom, and the bytes.
    pub(super) delivered: Vec<(u32, Vec<u8>)>,
    /// Whose delay was measured.
    pub(super) delays: Vec<u32>,
    /// The size of the firmware that was installed.
    pub(super) installed: Option<u32>,
    /// How far the node's clock was from the real node's, at most.
    pub(super) clock_apart: u32,
}

/// Judges one part.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    script: &'a Script,
    links: Vec<Progress>,
    report: Report,
}

/// How far a link is.
#[derive(Debug)]
struct Progress {
    /// The `t0` of each message that was sent, in the order of the expected ones.
    sent: Vec<Option<u32>>,
    /// What was sent last.
    last: Kind,
    /// When the last time request came, by our node's clock.
    requests: BTreeMap<u32, MeshTime>,
    closed: bool,
}

impl Progress {
    fn new() -> Self {
        Self { sent: Vec::new(), last: Kind::Other, requests: BTreeMap::new(), closed: false }
    }
}

impl<'a> Judge<'a> {
    pub(super) fn new(script: &'a Script) -> Self {
        let report = Report { applied: script.applied.clone(), ..Report::default() };
        let links = script.links.iter().map(|_| Progress::new()).collect();
        Self { script, links, report }
    }

    /// Whether the node has sent the expected message number `cause` on `link`.
    pub(super) fn has_sent(&self, link: usize, cause: Option<usize>) -> bool {
        cause.is_none_or(|cause| self.links[link].sent.len() > cause)
    }

    /// The `t0` of the expected message number `index` on `link`, as our node sent it.
    pub(super) fn t0(&self, link: usize, index: usize) -> Option<u32> {
        self.links[link].sent.get(index).copied().flatten()
    }

    /// The node gets this message when its clock shows `clock`.
    pub(super) fn hear(&mut self, link: usize, message: &[u8], clock: MeshTime) {
        if message.len() >= Limits::GATEWAY.frame {
            for (row, effect) in self.script.effects() {
                self.report.applied[row] += usize::from(matches!(effect, Effect::LongerFrames(_)));
            }
        }
        if matches!(Kind::of(message), Kind::TimeRequest | Kind::DelayRequest)
            && let Some(t0) = text::number(message, "t0")
        {
            self.links[link].requests.insert(t0, clock);
        }
    }

    /// A time reply was rebased.
    pub(super) fn rebased(&mut self, verdict: Verdict) {
        self.report.rebased[verdict as usize] += 1;
    }

    /// The node tells its application something.
    pub(super) fn event(&mut self, event: Event) {
        match event {
            Event::Message { from, text, .. } => self.report.delivered.push((from.0, text)),
            Event::Mesh(MeshEvent::Delay { from, .. }) => self.report.delays.push(from.0),
            Event::Update(ReceiverEvent::Installed(record)) => self.report.installed = Some(record.size),
            _ => {}
        }
    }

    /// The node closes a link.
    pub(super) fn closed(&mut self, link: usize, at: u64, reason: CloseReason) {
        let name = &self.script.links[link].name;
        match &self.script.links[link].own_close {
            Some((when, why)) if *why == reason && is_in_time(*when, at, Kind::Other) => {
                self.report.own_closes += 1;
                self.links[link].closed = true;
            }
            expected => {
                let text = format!("closes {name} at {} ms: {reason:?}; expected {expected:?}", ms(at));
                self.fail(&text);
            }
        }
    }

    /// The node sends a message at `at`, when its clock shows `clock`.
    pub(super) fn frame(&mut self, link: usize, at: u64, clock: MeshTime, frame: &[u8]) {
        self.report.sent += 1;
        let expected = self.script.links[link].expected.get(self.links[link].sent.len());
        if !expected.is_some_and(|expected| {
            self.is_same(expected, frame) && is_in_time(expected.at, at, Kind::of(frame))
        }) && self.is_listed_extra(link, at, clock, frame)
        {
            return;
        }
        let Some(expected) = expected else {
            return self.fail_frame(link, at, frame, None, "nothing more is expected");
        };
        if !self.is_same(expected, frame) {
            self.fail_frame(link, at, frame, Some(expected), "another message");
        } else if !is_in_time(expected.at, at, Kind::of(frame)) {
            self.fail_frame(link, at, frame, Some(expected), "another time");
        } else if let Err(what) = self.check_stamps(link, expected, frame, (at, clock)) {
            self.fail_frame(link, at, frame, Some(expected), &what);
        } else {
            self.report.compared += 1;
        }
        self.note_spread(expected.at, at, Kind::of(frame));
        self.links[link].last = Kind::of(frame);
        self.links[link].sent.push(text::number(frame, "t0"));
    }

    fn is_own(&self, message: &[u8]) -> bool {
        text::number(message, "from") == Some(self.script.cast.id)
    }

    fn is_same(&self, expected: &Expected, frame: &[u8]) -> bool {
        if self.is_own(frame) && Kind::of(frame) == Kind::of(&expected.bytes) {
            text::without_stamps(frame) == text::without_stamps(&expected.bytes)
        } else {
            frame == expected.bytes
        }
    }

    /// Whether the table allows this message, which the real node did not send.
    fn is_listed_extra(&mut self, link: usize, at: u64, clock: MeshTime, frame: &[u8]) -> bool {
        let (script, kind) = (self.script, Kind::of(frame));
        let stamp = kind.own_stamps().last().and_then(|key| text::number(frame, key));
        // Parts follow each other: behind a part means behind the last one.
        let all_sent = self.links[link].sent.len() == script.links[link].expected.len();
        let last = self.links[link].last;
        let is_text = |text: &str| text.as_bytes() == text::without_stamps(frame);
        let is_recorded = || script.links[link].expected.iter().any(|expected| expected.bytes == frame);
        let is = |what: Sent| match what {
            Sent::Text(text) => is_text(text),
            Sent::Part(part) => text::number(frame, "partNo") == Some(part) && is_recorded(),
        };
        let fits = |effect: Effect| match effect {
            Effect::Extra(text, after) => is_text(text) && after == last && (after != Kind::Part || all_sent),
            Effect::Unasked(what, after) => after == last && is(what),
            _ => false,
        };
        let row = EXCEPTIONS.iter().position(|row| {
            fits(row.effect)
                && row.is_in(script.part())
                && row.is_about(&script.links[link].peer, Some(kind), at)
        });
        let Some(row) = row.filter(|_| stamp.is_none_or(|stamp| stamp == clock.0)) else { return false };
        self.report.applied[row] += 1;
        if matches!(EXCEPTIONS[row].effect, Effect::Unasked(..)) {
            self.links[link].last = kind;
        }
        true
    }

    /// The times in a message of the node's own must be its clock's.
    fn check_stamps(
        &mut self,
        link: usize,
        expected: &Expected,
        frame: &[u8],
        (at, clock): (u64, MeshTime),
    ) -> Result<(), String> {
        let kind = Kind::of(frame);
        let stamps: Vec<u32> = kind.own_stamps().iter().filter_map(|key| text::number(frame, key)).collect();
        let Some(latest) = stamps.last().filter(|_| self.is_own(frame)) else { return Ok(()) };
        self.report.stamped += 1;
        if *latest != clock.0 {
            return Err(format!("its clock shows {clock}"));
        }
        if let [t1, t2] = stamps[..] {
            let t0 = text::number(frame, "t0").unwrap_or(0);
            let heard = self.links[link].requests.get(&t0).map_or(t2, |heard| heard.0);
            if t1 != heard {
                return Err(format!("the request came at {heard}"));
            }
            match (kind, t2.wrapping_sub(t1)) {
                (Kind::TimeReply, hold) if HOLD.contains(&hold) => self.report.held += 1,
                (Kind::DelayReply, 0) => {}
                (_, hold) => return Err(format!("held for {hold} µs")),
            }
        }
        if expected.other_clock {
            return Ok(());
        }
        let theirs = kind.own_stamps().last().and_then(|key| text::number(&expected.bytes, key)).unwrap_or(0);
        // What the real node's clock showed when ours sent this.
        let then = MeshTime(theirs.wrapping_add(at as u32).wrapping_sub(expected.at as u32));
        let apart = clock.signed_since(then).unsigned_abs();
        self.report.clock_apart = self.report.clock_apart.max(apart);
        if apart > CLOCK_APART_MAX {
            Err(format!("the real node's clock was {apart} µs away"))
        } else {
            Ok(())
        }
    }

    fn note_spread(&mut self, expected: u64, at: u64, kind: Kind) {
        let name = if kind == Kind::TimeReply { "time answers" } else { "all others" };
        let (early, late) = self.report.spread.entry(name).or_default();
        *early = (*early).max(expected.saturating_sub(at));
        *late = (*late).max(at.saturating_sub(expected));
    }

    /// Something went wrong.
    pub(super) fn fail(&mut self, what: &str) {
        let Script { file, conversation, cast, .. } = self.script;
        self.report.failures.push(format!("{file} #{conversation} as {}: {what}", cast.name));
    }

    fn fail_frame(&mut self, link: usize, at: u64, frame: &[u8], expected: Option<&Expected>, what: &str) {
        let name = &self.script.links[link].name;
        let wanted = expected
            .map(|expected| format!("\n    want {} ms {}", ms(expected.at), text::shown(&expected.bytes)));
        let wanted = wanted.unwrap_or_default();
        self.fail(&format!("{what} on {name}{wanted}\n    got  {} ms {}", ms(at), text::shown(frame)));
    }

    /// The part is over: whatever is still expected is missing.
    pub(super) fn report(mut self) -> Report {
        let script = self.script;
        for (link, progress) in script.links.iter().zip(&self.links) {
            for missing in link.expected.iter().skip(progress.sent.len()) {
                let text = text::shown(&missing.bytes);
                let Script { file, conversation, cast, .. } = script;
                self.report.failures.push(format!(
                    "{file} #{conversation} as {}: missing on {} {} ms {text}",
                    cast.name,
                    link.name,
                    ms(missing.at)
                ));
            }
            if link.own_close.is_some() && !progress.closed {
                self.report
                    .failures
                    .push(format!("{} as {} keeps {}", script.file, script.cast.name, link.name));
            }
        }
        self.report
    }
}

fn is_in_time(recorded: u64, at: u64, kind: Kind) -> bool {
    let late_max = if kind == Kind::TimeReply { ANSWER_LATE_MAX } else { LATE_MAX };
    (recorded.saturating_sub(EARLY_MAX)..=recorded + late_max).contains(&at)
}

fn ms(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}
