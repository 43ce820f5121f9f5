//! What one node's samples do to its blocks: pure, so that keeping and asking reckon the same.
//!
//! Samples go into raw blocks; each minute that was touched is reckoned anew from the raw block, each hour that was
//! touched from its minutes. So it does not matter whether samples come twice, late or out of order.

use std::collections::{BTreeMap, BTreeSet};

use super::block::{Block, Bucket};

/// How fine something is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resolution {
    /// Every value as it came.
    Raw,
    /// The least, the greatest, the sum, the last and the number of values of each minute.
    Minute,
    /// The same of each hour.
    Hour,
}

pub(super) const MINUTE_MS: i64 = 60_000;
pub(super) const HOUR_MS: i64 = 3_600_000;

impl Resolution {
    pub(super) const ALL: [Self; 3] = [Self::Raw, Self::Minute, Self::Hour];

    /// As the database has it: seconds of a bucket, 0 for raw.
    pub(super) const fn number(self) -> i64 {
        match self {
            Self::Raw => 0,
            Self::Minute => 60,
            Self::Hour => 3600,
        }
    }

    /// How long a block is, in milliseconds: long enough that it fills pages, short enough to be written again
    /// every few minutes.
    pub(super) const fn span(self) -> i64 {
        match self {
            Self::Raw => HOUR_MS,
            Self::Minute => 4 * HOUR_MS,
            Self::Hour => 120 * HOUR_MS,
        }
    }

    /// The beginning of the block that a time belongs to.
    pub(super) const fn start(self, at: i64) -> i64 {
        at - at.rem_euclid(self.span())
    }
}

/// Blocks of one node, as far as they are at hand.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    pub(super) raw: BTreeMap<i64, Block<f64>>,
    pub(super) minutes: BTreeMap<i64, Block<Bucket>>,
    pub(super) hours: BTreeMap<i64, Block<Bucket>>,
}

/// A metric, a time in milliseconds, a value.
pub(super) type Measured = (u16, i64, f64);

/// Where blocks begin that samples touch.
pub(super) fn touched(samples: &[Measured]) -> BTreeSet<(Resolution, i64)> {
    let mut found = BTreeSet::new();
    for (_, at, _) in samples {
        for resolution in Resolution::ALL {
            found.insert((resolution, resolution.start(*at)));
        }
    }
    found
}

impl Blocks {
    /// Takes a block as it was kept; whether it could be read.
    pub(super) fn load(
        &mut self,
        resolution: Resolution,
        start: i64,
        data: &[u8],
        wanted: Option<&[u16]>,
    ) -> bool {
        match resolution {
            Resolution::Raw => {
                Block::decode(data, wanted).map(|block| self.raw.insert(start, block)).is_some()
            }
            Resolution::Minute => {
                Block::decode(data, wanted).map(|block| self.minutes.insert(start, block)).is_some()
            }
            Resolution::Hour => {
                Block::decode(data, wanted).map(|block| self.hours.insert(start, block)).is_some()
            }
        }
    }

    /// A block as it is kept.
    pub(super) fn encoded(&self, resolution: Resolution, start: i64) -> Option<Vec<u8>> {
        match resolution {
            Resolution::Raw => self.raw.get(&start).map(Block::encode),
            Resolution::Minute => self.minutes.get(&start).map(Block::encode),
            Resolution::Hour => self.hours.get(&start).map(Block::encode),
        }
    }

    /// Adds samples. The blocks that they [touch](touched) must be loaded, if there are any.
    pub(super) fn merge(&mut self, samples: &[Measured]) {
        let mut minutes = BTreeSet::new();
        for &(metric, at, value) in samples {
            self.raw.entry(Resolution::Raw.start(at)).or_default().put(metric, at, value);
            minutes.insert((metric, at.div_euclid(MINUTE_MS)));
        }
        let mut hours = BTreeSet::new();
        for (metric, minute) in minutes {
            let from = minute * MINUTE_MS;
            let Some(raw) = self.raw.get(&Resolution::Raw.start(from)) else { continue };
            let cells = raw.range(metric, from, from + MINUTE_MS).iter();
            if let Some(bucket) = sum(cells.map(|(_, value)| Bucket::of(*value))) {
                let block = self.minutes.entry(Resolution::Minute.start(from)).or_default();
                block.put(metric, minute, bucket);
                hours.insert((metric, from.div_euclid(HOUR_MS)));
            }
        }
        for (metric, hour) in hours {
            let from = hour * HOUR_MS;
            let Some(minutes) = self.minutes.get(&Resolution::Minute.start(from)) else { continue };
            let cells = minutes.range(metric, from / MINUTE_MS, (from + HOUR_MS) / MINUTE_MS).iter();
            if let Some(bucket) = sum(cells.map(|(_, bucket)| *bucket)) {
                self.hours.entry(Resolution::Hour.start(from)).or_default().put(metric, hour, bucket);
            }
        }
    }
}

/// Buckets in the order of time, together.
pub(super) fn sum(buckets: impl Iterator<Item = Bucket>) -> Option<Bucket> {
    buckets.reduce(|mut all, later| {
        all.add(&later);
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_790_000_000_000 / HOUR_MS * HOUR_MS;

    fn story() -> Vec<Measured> {
        let every = |index: i64| START + HOUR_MS / 2 + index * 20_000;
        (0..400)
            .map(|index| ((index % 3) as u16, every(index), (index * 7919 % 1000) as f64 / 10.0))
            .collect()
    }

    #[test]
    fn minutes_and_hours_are_what_the_samples_say() {
        let mut blocks = Blocks::default();
        let samples = story();
        blocks.merge(&samples);
        for metric in 0..3 {
            let own = samples.iter().filter(|(of, ..)| *of == metric);
            let hour = START / HOUR_MS + 1;
            let within: Vec<f64> =
                own.filter(|(_, at, _)| at / HOUR_MS == hour).map(|(.., value)| *value).collect();
            let hours = &blocks.hours[&Resolution::Hour.start(START)];
            let [(_, bucket)] = hours.range(metric, hour, hour + 1) else { panic!("one hour") };
            assert_eq!(bucket.count, within.len() as u64);
            assert_eq!(bucket.min, within.iter().copied().fold(f64::MAX, f64::min));
            assert_eq!(bucket.max, within.iter().copied().fold(f64::MIN, f64::max));
            assert_eq!(Some(&bucket.last), within.last());
            assert!((bucket.sum - within.iter().sum::<f64>()).abs() < 1e-6);
        }
    }

    #[test]
    fn it_does_not_matter_how_often_or_in_which_order_samples_come() {
        let samples = story();
        let mut at_once = Blocks::default();
        at_once.merge(&samples);
        let mut odd: Vec<Measured> = samples.iter().rev().copied().collect();
        odd.extend_from_slice(&samples[100..300]);
        let mut in_pieces = Blocks::default();
        for piece in odd.chunks(17) {
            in_pieces.merge(piece);
        }
        assert_eq!(in_pieces.raw, at_once.raw);
        let keys = |blocks: &Blocks| blocks.minutes.keys().copied().collect::<Vec<_>>();
        assert_eq!(keys(&in_pieces), keys(&at_once));
        for (start, block) in &at_once.minutes {
            assert_eq!(in_pieces.minutes[start], *block);
        }
        for (start, block) in &at_once.hours {
            assert_eq!(in_pieces.hours[start], *block);
        }
    }
}
