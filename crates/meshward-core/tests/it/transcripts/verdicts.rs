//! What a real node thought of a time reply.
//!
//! Whether a C++ node uses a reply turns on microseconds that no proxy sees: its 85 × rule, and that an
//! offset of exactly 0 counts as failed. But what it did next tells: its clock jumped, or it asked again
//! after 200 ms, or it was content for a minute.

use super::cast::Cast;
use super::recording::{Recording, What};
use super::text::{self, Kind};

/// A clock that is off by more than this (in microseconds) between two stamps has been set.
const JUMP: u32 = 100_000;
/// How long after a reply (in microseconds) a node that threw it away asks again.
const ASKS_AGAIN: std::ops::Range<u64> = 195_000..220_000;

/// What came of a time reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Thrown away, or no better than that.
    Discarded,
    /// Used: the clock was right within 5 ms, and the node was content.
    Near,
    /// Used: the clock was far off, and the node asked again.
    Far,
}

/// What a node's messages show about its clock.
#[derive(Debug)]
pub(super) struct Verdicts {
    /// Line, time and stamp of every message with a time by the node's own clock.
    stamps: Vec<(usize, u64, u32)>,
    /// Line, time and link of every time sync that the node began by itself.
    begun: Vec<(usize, u64, usize)>,
    delay: u64,
}

impl Verdicts {
    /// Reads a recording, in which a message takes `delay` longer than the proxy noted.
    pub(super) fn new(recording: &Recording, cast: Cast, delay: u64) -> Self {
        let mut verdicts = Self { stamps: Vec::new(), begun: Vec::new(), delay };
        let mut asked = vec![0; recording.links.len()];
        for (index, line) in recording.lines.iter().enumerate() {
            let What::Message { link, from, bytes, .. } = &line.what else { continue };
            let kind = Kind::of(bytes);
            if from != cast.name {
                asked[*link] += usize::from(kind == Kind::TimeAsk);
                continue;
            }
            verdicts.stamps.extend(own_stamp(bytes, cast).map(|stamp| (index, line.at, stamp)));
            match kind {
                Kind::TimeRequest if asked[*link] > 0 => asked[*link] -= 1,
                Kind::TimeRequest | Kind::TimeAsk => verdicts.begun.push((index, line.at, *link)),
                _ => {}
            }
        }
        verdicts
    }

    /// The node's clock when the recording began.
    pub(super) fn clock_at_start(&self) -> u32 {
        self.stamps.first().map_or(0, |(_, at, stamp)| stamp.wrapping_sub(*at as u32))
    }

    /// What came of the time reply on line `index`, noted at `at`.
    pub(super) fn of_reply(&self, index: usize, at: u64, link: usize) -> Verdict {
        let before = self.stamps.iter().rev().find(|(line, ..)| *line < index);
        let after = self.stamps.iter().find(|(line, ..)| *line > index);
        if let (Some((_, t, stamp)), Some((_, later_t, later))) = (before, after) {
            let jump = later.wrapping_sub(*stamp).wrapping_sub((later_t - t) as u32) as i32;
            if jump.unsigned_abs() > JUMP {
                return Verdict::Far;
            }
        }
        let arrived = at + self.delay;
        let again = self.begun.iter().any(|(line, begun, on)| {
            *line > index && *on == link && ASKS_AGAIN.contains(&begun.saturating_sub(arrived))
        });
        if again { Verdict::Discarded } else { Verdict::Near }
    }
}

/// The time by the node's own clock at which it sent this message, if it says so.
fn own_stamp(message: &[u8], cast: Cast) -> Option<u32> {
    let latest = Kind::of(message).own_stamps().last()?;
    text::number(message, latest).filter(|_| text::number(message, "from") == Some(cast.id))
}
