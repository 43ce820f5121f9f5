//! How lossy the relays are, and which manner of broadcasting costs least there.
//!
//! [`Loss`] counts: delay probes that came back and that did not, and parts whose loss would have been told.
//! [`best`] compares what the two manners of a [`super::pass`] cost in channel time, everything included that
//! they make nodes send. It is a model, not a measurement; the worst that an error does is to cost time.

use super::pacing::hop_time;
use super::shape::Shape;

/// Most copies of a part.
const COPIES_MAX: u32 = 8;
/// Lengths of a block that are considered.
const LENGTHS: [u32; 4] = [16, 32, 64, 128];
/// Parts sent again after a gap was told: those that were under way meanwhile.
const REWIND: f64 = 4.0;
/// Seconds until a node repeats a request.
const ASKS_EVERY: f64 = 30.0;
/// Seconds that a check waits for an answer that does not come; as often as answers get lost on the way.
const CHECK_WAITS: f64 = 6.0;
/// Whole branches lose a part at once and are searched for at once, and what comes on top is lost too: by so
/// much a search costs more than its parts.
const SEARCH: f64 = 3.0;
/// A request and a delay probe on the wire, for comparing costs.
const REQUEST_BYTES: u64 = 178;
const PROBE_BYTES: u64 = 110;
/// A verdict on a node may be wrong this often because of lost frames.
const DOUBT: f64 = 1e-4;
/// How often something is said at most, so that a loss of all of them is that improbable.
const ROUNDS_MAX: u8 = 30;
/// The same with one more loss than was seen.
const LUCK: f64 = 1e-3;
/// A node that is there may be given up this often because of lost frames, …
const DESPAIR: f64 = 1e-6;
/// … and after so many attempts at most: then more is wrong with it than the relays.
const TRIES_MAX: u8 = 60;

/// What has been seen to pass relays, and what has not.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::ota) struct Loss {
    lost: u64,
    crossings: u64,
}

impl Loss {
    /// A probe to a node `depth` links away came back, or did not.
    pub(in crate::ota) fn probe(&mut self, depth: u32, answered: bool) {
        // A lost one has come half of the way, on average.
        let relays = u64::from(depth.saturating_sub(1));
        self.crossings += if answered { 2 * relays } else { relays };
        self.lost += u64::from(!answered);
    }

    /// A broadcast went over `relayed` links behind relays, and a gap would be told.
    pub(in crate::ota) fn broadcast(&mut self, relayed: u32) {
        self.crossings += u64::from(relayed);
    }

    /// A gap was told.
    pub(in crate::ota) fn gap(&mut self) {
        self.lost += 1;
    }

    /// The share of forwarded frames that a relay loses, as far as is known.
    pub(in crate::ota) fn rate(&self) -> f64 {
        (self.lost as f64 / self.crossings.max(1) as f64).min(0.5)
    }

    /// How often a question must be asked of a node `depth` links away, so that silence is an answer.
    pub(in crate::ota) fn rounds(&self, depth: u32) -> u8 {
        self.until(depth, DOUBT, ROUNDS_MAX)
    }

    /// The same where more time costs nobody anything: if anything has been lost, that may have been luck.
    pub(in crate::ota) fn careful_rounds(&self, depth: u32) -> u8 {
        if self.lost == 0 {
            return self.rounds(depth);
        }
        let worse = Self { lost: self.lost + 1, crossings: self.crossings + 1 };
        self.rounds(depth).max(worse.until(depth, LUCK, ROUNDS_MAX))
    }

    /// How often a node that far away must have said nothing at all before it counts as deaf.
    pub(in crate::ota) fn tries(&self, depth: u32) -> u8 {
        self.until(depth, DESPAIR, TRIES_MAX)
    }

    fn until(&self, depth: u32, doubt: f64, max: u8) -> u8 {
        let missed = 1.0 - power(1.0 - self.rate(), 2 * depth.saturating_sub(1));
        (1..max).find(|rounds| power(missed, u32::from(*rounds)) <= doubt).unwrap_or(max)
    }
}

/// How parts are broadcast; [`super::pass`] has the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ota) enum Manner {
    /// Once each; a gap is told, and the pass goes back.
    Rewind,
    /// `copies` of each, and after `length` parts every node is asked.
    Blocks { copies: u32, length: u32 },
}

/// What costs least for `left` parts of `bytes` on the wire.
pub(in crate::ota) fn best(loss: f64, shape: &Shape, bytes: u64, left: u32) -> Manner {
    let costs = Costs {
        loss,
        shape,
        left: f64::from(left.max(1)),
        part: seconds(bytes),
        request: seconds(REQUEST_BYTES),
        probe: seconds(PROBE_BYTES),
    };
    let blocks = (1..=COPIES_MAX)
        .flat_map(|copies| LENGTHS.map(|length| Manner::Blocks { copies, length: length.min(left.max(1)) }));
    blocks
        .chain([Manner::Rewind])
        .map(|manner| (manner, costs.of(manner)))
        .min_by(|(_, a), (_, b)| a.total_cmp(b))
        .map_or(Manner::Rewind, |(manner, _)| manner)
}

/// What a message takes on one hop.
fn seconds(bytes: u64) -> f64 {
    hop_time(bytes).as_micros() as f64 / 1e6
}

struct Costs<'a> {
    loss: f64,
    shape: &'a Shape,
    left: f64,
    part: f64,
    request: f64,
    probe: f64,
}

impl Costs<'_> {
    /// Seconds of channel time a part.
    fn of(&self, manner: Manner) -> f64 {
        let everywhere = f64::from(self.shape.links) * self.part;
        match manner {
            Manner::Rewind => {
                let gaps = f64::from(self.shape.relayed) * self.loss;
                // Who has told a gap asks for every part from then on: half of the time, on average.
                let chatter = |depth: f64, missed: f64| depth * (self.left * missed).min(1.0) / 2.0;
                // Its first request may be lost too.
                let deaf = self.each(1, |_, missed| missed) / self.shape.depths.len().max(1) as f64;
                let gap = everywhere * REWIND + deaf * ASKS_EVERY;
                everywhere + gaps * gap + self.each(1, chatter) * self.request
            }
            Manner::Blocks { copies, length } => {
                let others = f64::from(length.saturating_sub(1));
                let waits = self.each(1, |_, missed| 1.0 / power((1.0 - missed).max(0.1), 2)) * CHECK_WAITS
                    / self.shape.depths.len().max(1) as f64;
                // What goes to one node alone is repeated until it has come through, there and back.
                let alone = |depth: f64| depth / power(1.0 - self.loss, 2 * (depth as u32).saturating_sub(1));
                let asked = self.each(copies, |depth, _| alone(depth)) * (self.part + self.request);
                // Who lacks something gets the block again, part by part, with a probe behind each.
                let again = |depth: f64, missed: f64| alone(depth) * (others * missed).min(1.0);
                let alone = f64::from(length) * (self.part + 2.0 * self.probe) * SEARCH;
                let again = self.each(copies, again) * alone;
                (others * f64::from(copies) * everywhere + asked + again + waits) / f64::from(length)
            }
        }
    }

    /// The sum of `cost` over all targets, by their depth and the chance that all copies miss them.
    fn each(&self, copies: u32, cost: impl Fn(f64, f64) -> f64) -> f64 {
        let missed = |depth: u32| power(1.0 - power(1.0 - self.loss, depth.saturating_sub(1)), copies);
        self.shape.depths.iter().map(|depth| cost(f64::from(*depth), missed(*depth))).sum()
    }
}

/// `base` to the power of `exponent`, by squaring: `core` has none.
fn power(mut base: f64, mut exponent: u32) -> f64 {
    let mut result = 1.0;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result *= base;
        }
        base *= base;
        exponent >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hundred nodes, most of them four or five links away.
    fn hundred() -> Shape {
        let depths = (0..100).map(|index| 1 + index % 8).collect();
        Shape { depths, links: 100, relayed: 96, children: 4, ..Shape::default() }
    }

    #[test]
    fn the_manner_follows_the_loss() {
        let manner = |loss| best(loss, &hundred(), 1_600, 500);
        assert_eq!(manner(0.0), Manner::Rewind);
        assert_eq!(manner(0.000_05), Manner::Rewind);
        let copies = |loss| match manner(loss) {
            Manner::Rewind => 0,
            Manner::Blocks { copies, .. } => copies,
        };
        assert!((2..=3).contains(&copies(0.01)), "{:?}", manner(0.01));
        assert!((3..=6).contains(&copies(0.05)), "{:?}", manner(0.05));
        assert!(copies(0.2) > copies(0.05));
    }

    #[test]
    fn a_star_loses_nothing_to_relays() {
        let star = Shape { depths: [1; 9].into(), links: 9, relayed: 0, children: 9, ..Shape::default() };
        assert_eq!(best(0.05, &star, 1_600, 100), Manner::Rewind);
    }

    #[test]
    fn silence_is_an_answer_after_enough_questions() {
        let mut loss = Loss::default();
        assert_eq!(loss.rounds(9), 1, "nothing is lost");
        (0..99).for_each(|_| loss.probe(6, true));
        loss.probe(6, false);
        assert!((loss.rate() - 1.0 / 995.0).abs() < 1e-6, "{}", loss.rate());
        assert_eq!((loss.rounds(1), loss.rounds(6)), (1, 3), "a neighbour's frames pass no relay");
        assert_eq!((loss.careful_rounds(1), loss.careful_rounds(6)), (1, 3));
        let mut little = Loss::default();
        (0..9).for_each(|_| little.probe(2, true));
        assert_eq!((little.rounds(2), little.careful_rounds(2)), (1, 1), "nothing has been lost");
        little.probe(2, false);
        assert_eq!((little.rounds(2), little.careful_rounds(2)), (5, 5));
        (0..50).for_each(|_| loss.gap());
        assert_eq!(loss.rounds(6), 11);
        (0..500).for_each(|_| loss.gap());
        assert_eq!(loss.rounds(6), ROUNDS_MAX);
    }
}
