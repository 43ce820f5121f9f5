//! Blocks: what one node measured in a span of time, all metrics together.
//!
//! A node tells its metrics in reports, so they share their times: a block has the times once, and of each metric
//! a column of values and, where it is missing in some reports, a bit for each time.

use std::collections::BTreeMap;

use super::column::{
    Reader, put_deltas, put_doubles, put_number, put_plain, put_values, scale, scaled, unscaled,
};

/// What is kept of a value's bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bucket {
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) sum: f64,
    pub(super) last: f64,
    pub(super) count: u64,
}

impl Bucket {
    pub(super) const fn of(value: f64) -> Self {
        Self { min: value, max: value, sum: value, last: value, count: 1 }
    }

    /// Adds what came later.
    pub(super) fn add(&mut self, later: &Self) {
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.sum += later.sum;
        self.last = later.last;
        self.count += later.count;
    }
}

/// Something that a metric's column is made of.
pub(super) trait Cell: Copy + Sized {
    fn put(out: &mut Vec<u8>, cells: &[Self]);
    fn read(reader: &mut Reader<'_>, count: usize) -> Option<Vec<Self>>;
}

impl Cell for f64 {
    fn put(out: &mut Vec<u8>, cells: &[Self]) {
        put_values(out, cells);
    }

    fn read(reader: &mut Reader<'_>, count: usize) -> Option<Vec<Self>> {
        reader.values(count)
    }
}

/// Not scaled: four doubles for each bucket.
const DOUBLES: u8 = 255;

impl Cell for Bucket {
    /// The sum is said only where it does not follow: of one value it is that, of two it is both. The last value
    /// of a bucket mostly is the least or the greatest.
    fn put(out: &mut Vec<u8>, cells: &[Self]) {
        put_deltas(out, cells.iter().map(|cell| cell.count as i64));
        let fits = |cell: &&Self| cell.count < 1 << 20;
        let all = cells.iter().flat_map(|cell| [cell.min, cell.max, cell.last]);
        let Some(scale) = scale(all).filter(|_| cells.iter().all(|cell| fits(&cell))) else {
            out.push(DOUBLES);
            for cell in cells {
                put_doubles(out, &[cell.min, cell.max, cell.sum, cell.last]);
            }
            return;
        };
        out.push(scale);
        let whole = |value| scaled(value, scale);
        put_deltas(out, cells.iter().map(|cell| whole(cell.min)));
        put_plain(out, cells.iter().map(|cell| (whole(cell.max) - whole(cell.min)) as u64));
        put_plain(
            out,
            cells.iter().filter(|cell| cell.count > 2).map(|cell| {
                // In whole numbers, beyond what a double holds.
                let above = cell.sum - cell.count as f64 * cell.min;
                whole(above).max(0) as u64
            }),
        );
        put_plain(
            out,
            cells.iter().map(|cell| match cell.last {
                last if last == cell.max => 0,
                last if last == cell.min => 1,
                last => (whole(last) - whole(cell.min)) as u64 + 2,
            }),
        );
    }

    fn read(reader: &mut Reader<'_>, count: usize) -> Option<Vec<Self>> {
        let counts = reader.deltas(count)?;
        let scale = reader.byte()?;
        let mut cells = Vec::with_capacity(count);
        if scale == DOUBLES {
            for count in counts {
                let mut doubles = [0.0; 4];
                for double in &mut doubles {
                    *double = f64::from_le_bytes(reader.take(8)?.try_into().ok()?);
                }
                let [min, max, sum, last] = doubles;
                cells.push(Self { min, max, sum, last, count: u64::try_from(count).ok()? });
            }
            return Some(cells);
        }
        let lows = reader.deltas(count)?;
        let ranges = reader.plain(count)?;
        let told = counts.iter().filter(|count| **count > 2).count();
        let mut sums = reader.plain(told)?.into_iter();
        let lasts = reader.plain(count)?;
        for (((count, low), range), last) in counts.into_iter().zip(lows).zip(ranges).zip(lasts) {
            let high = low.wrapping_add_unsigned(range);
            let (min, max) = (unscaled(low, scale)?, unscaled(high, scale)?);
            let sum = match count {
                1 => min,
                2 => unscaled(low.wrapping_add(high), scale)?,
                _ => unscaled(i64::try_from(sums.next()?).ok()?, scale)? + count as f64 * min,
            };
            let last = match last {
                0 => max,
                1 => min,
                above => unscaled(low.wrapping_add_unsigned(above - 2), scale)?,
            };
            cells.push(Self { min, max, sum, last, count: u64::try_from(count).ok()? });
        }
        Some(cells)
    }
}

/// Of each metric its cells by time, in milliseconds or in buckets since 1970.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Block<C> {
    pub(super) metrics: BTreeMap<u16, Vec<(i64, C)>>,
}

impl<C> Default for Block<C> {
    fn default() -> Self {
        Self { metrics: BTreeMap::new() }
    }
}

impl<C: Cell> Block<C> {
    /// Puts a cell in, in the place of one of the same time.
    pub(super) fn put(&mut self, metric: u16, at: i64, cell: C) {
        let cells = self.metrics.entry(metric).or_default();
        if cells.last().is_none_or(|(last, _)| *last < at) {
            cells.push((at, cell));
            return;
        }
        match cells.binary_search_by_key(&at, |(at, _)| *at) {
            Ok(place) => cells[place].1 = cell,
            Err(place) => cells.insert(place, (at, cell)),
        }
    }

    /// The cells of a metric from one time to before another.
    pub(super) fn range(&self, metric: u16, from: i64, to: i64) -> &[(i64, C)] {
        let cells = self.metrics.get(&metric).map(Vec::as_slice).unwrap_or_default();
        let first = cells.partition_point(|(at, _)| *at < from);
        let end = cells.partition_point(|(at, _)| *at < to);
        cells.get(first..end).unwrap_or_default()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut times: Vec<i64> = self.metrics.values().flatten().map(|(at, _)| *at).collect();
        times.sort_unstable();
        times.dedup();
        let mut out = Vec::new();
        put_number(&mut out, times.len() as u64);
        let mut last = 0;
        // By how the differences differ: reports come at a steady pace.
        put_deltas(
            &mut out,
            times.iter().map(|at| {
                let step = at - last;
                last = *at;
                step
            }),
        );
        let mut column = Vec::new();
        for (metric, cells) in &self.metrics {
            column.clear();
            column.push(u8::from(cells.len() == times.len()));
            if cells.len() < times.len() {
                put_presence(&mut column, &times, cells);
            }
            let cells: Vec<C> = cells.iter().map(|(_, cell)| *cell).collect();
            C::put(&mut column, &cells);
            put_number(&mut out, u64::from(*metric));
            put_number(&mut out, column.len() as u64);
            out.extend_from_slice(&column);
        }
        out
    }

    /// A block with the metrics that are wanted, all if none is named; nothing if the bytes make no sense.
    pub(super) fn decode(bytes: &[u8], wanted: Option<&[u16]>) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        // Runs make a column shorter than its count: the limit is one of what a span can have.
        let count = reader.len(TIMES_MAX)?;
        let mut at = 0_i64;
        let times: Vec<i64> = reader
            .deltas(count)?
            .into_iter()
            .map(|step| {
                at = at.wrapping_add(step);
                at
            })
            .collect();
        let mut block = Self::default();
        while !reader.is_empty() {
            let metric = u16::try_from(reader.number()?).ok()?;
            let len = reader.len(bytes.len())?;
            let mut column = Reader::new(reader.take(len)?);
            if wanted.is_some_and(|wanted| !wanted.contains(&metric)) {
                continue;
            }
            let times = match column.byte()? {
                1 => times.clone(),
                _ => present(&mut column, &times)?,
            };
            let cells = C::read(&mut column, times.len())?;
            block.metrics.insert(metric, times.into_iter().zip(cells).collect());
        }
        Some(block)
    }
}

/// The most times that a block has: more than an hour of reports every 10 ms.
const TIMES_MAX: usize = 1 << 20;

fn put_presence<C>(out: &mut Vec<u8>, times: &[i64], cells: &[(i64, C)]) {
    let mut cells = cells.iter().peekable();
    let start = out.len();
    out.resize(start + times.len().div_ceil(8), 0);
    for (index, at) in times.iter().enumerate() {
        if cells.next_if(|(cell, _)| cell == at).is_some()
            && let Some(byte) = out.get_mut(start + index / 8)
        {
            *byte |= 1 << (index % 8);
        }
    }
}

fn present(column: &mut Reader<'_>, times: &[i64]) -> Option<Vec<i64>> {
    let bits = column.take(times.len().div_ceil(8))?;
    let is_set = |index: usize| bits.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1);
    Some(times.iter().enumerate().filter(|(index, _)| is_set(*index)).map(|(_, at)| *at).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw() -> Block<f64> {
        let mut block = Block::default();
        for index in 0..120_i64 {
            let at = 1_790_000_000_000 + index * 30_000 + index * 37 % 11;
            block.put(1, at, (180_000 + index * 7919 % 4001) as f64);
            block.put(2, at, -70.0 - (index % 5) as f64);
            block.put(3, at, 23.5);
            if index % 7 == 0 {
                block.put(9, at, index as f64 / 3.0);
            }
        }
        block
    }

    fn buckets() -> Block<Bucket> {
        let mut block = Block::default();
        for index in 0..240_i64 {
            let mut bucket = Bucket::of(20.0 + (index % 9) as f64 / 10.0);
            for step in 0..index % 5 {
                bucket.add(&Bucket::of(20.3 + (step * 13 % 7) as f64 / 10.0));
            }
            block.put(7, 29_833_333 + index, bucket);
            block.put(8, 29_833_333 + index, Bucket::of(1.0 / (index + 1) as f64));
        }
        block
    }

    #[test]
    fn blocks_come_back() {
        let block = raw();
        let bytes = block.encode();
        assert!(bytes.len() < 1_100, "{} bytes", bytes.len());
        assert_eq!(Block::decode(&bytes, None).unwrap(), block);
        let some = Block::<f64>::decode(&bytes, Some(&[3])).unwrap();
        assert_eq!(some.metrics.keys().collect::<Vec<_>>(), [&3]);
        assert_eq!(some.metrics[&3], block.metrics[&3]);
        assert_eq!(Block::<f64>::decode(&Block::<f64>::default().encode(), None).unwrap(), Block::default());
    }

    #[test]
    fn buckets_come_back_with_sums_to_the_last_decimal() {
        let block = buckets();
        let back = Block::<Bucket>::decode(&block.encode(), None).unwrap();
        for (metric, cells) in &block.metrics {
            for ((at, cell), (back_at, back)) in cells.iter().zip(&back.metrics[metric]) {
                assert_eq!(
                    (at, cell.min, cell.max, cell.last, cell.count),
                    (back_at, back.min, back.max, back.last, back.count)
                );
                assert!((cell.sum - back.sum).abs() < 1e-9, "{cell:?} {back:?}");
            }
        }
    }

    #[test]
    fn spoilt_blocks_are_nothing_or_something_but_no_panic() {
        let bytes = raw().encode();
        for len in 0..bytes.len() {
            Block::<f64>::decode(&bytes[..len], None);
            Block::<Bucket>::decode(&bytes[..len], None);
        }
        let bytes = buckets().encode();
        for index in (0..bytes.len()).step_by(13) {
            for flip in [1, 0x80] {
                let mut spoilt = bytes.clone();
                spoilt[index] ^= flip;
                Block::<Bucket>::decode(&spoilt, None);
                Block::<f64>::decode(&spoilt, None);
            }
        }
        assert_eq!(Block::<f64>::decode(&bytes[..5], None), None);
    }

    #[test]
    fn a_later_word_on_the_same_time_counts_and_order_does_not_matter() {
        let mut block = Block::default();
        for (at, value) in [(30, 3.0), (10, 1.0), (20, 9.0), (20, 2.0), (30, 3.0)] {
            block.put(1, at, value);
        }
        assert_eq!(block.range(1, 0, 100), [(10, 1.0), (20, 2.0), (30, 3.0)]);
        assert_eq!(block.range(1, 11, 30), [(20, 2.0)]);
        assert_eq!(block.range(2, 0, 100), []);
    }
}
