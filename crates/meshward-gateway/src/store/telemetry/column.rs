//! Columns of numbers in few bytes: whole numbers as variable-length differences, runs of equal ones as one.

/// Powers of ten that values are scaled by before they are whole: what nodes tell has at most three decimals.
const SCALES: [f64; 4] = [1.0, 10.0, 100.0, 1000.0];
/// Instead of a power of ten: the values are kept as they are.
const UNSCALED: u8 = 255;
/// Beyond it a double does not hold every whole number (2⁵³).
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// What has been encoded is read with this; `None` means that the bytes end too early or make no sense.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(len)?;
        self.bytes = rest;
        Some(taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// A length, no longer than what could follow it: each thing takes at most so many fewer bytes.
    pub(super) fn len(&mut self, max: usize) -> Option<usize> {
        usize::try_from(self.number()?).ok().filter(|len| *len <= max)
    }

    /// `count` numbers that [`put_plain`] wrote.
    pub(super) fn plain(&mut self, count: usize) -> Option<Vec<u64>> {
        let mut values = Vec::with_capacity(count);
        while values.len() < count {
            match self.number()? {
                0 => {
                    let run = self.len(count - values.len())?;
                    values.resize(values.len() + run.max(1), 0);
                }
                value => values.push(value),
            }
        }
        (values.len() == count).then_some(values)
    }

    /// `count` numbers that [`put_deltas`] wrote.
    pub(super) fn deltas(&mut self, count: usize) -> Option<Vec<i64>> {
        let mut last = 0_i64;
        let sum = |delta: u64| {
            last = last.wrapping_add(unzigzag(delta));
            last
        };
        Some(self.plain(count)?.into_iter().map(sum).collect())
    }

    fn double(&mut self) -> Option<f64> {
        self.take(8)?.try_into().ok().map(f64::from_le_bytes)
    }

    /// `count` values that [`put_values`] wrote.
    pub(super) fn values(&mut self, count: usize) -> Option<Vec<f64>> {
        match self.byte()? {
            UNSCALED => (0..count).map(|_| self.double()).collect(),
            scale => {
                let divisor = *SCALES.get(usize::from(scale))?;
                Some(self.deltas(count)?.into_iter().map(|whole| whole as f64 / divisor).collect())
            }
        }
    }
}

pub(super) fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Numbers, of which zeros that follow each other take two bytes.
pub(super) fn put_plain(out: &mut Vec<u8>, values: impl Iterator<Item = u64>) {
    let mut zeros = 0_u64;
    for value in values {
        if value == 0 {
            zeros += 1;
            continue;
        }
        put_zeros(out, &mut zeros);
        put_number(out, value);
    }
    put_zeros(out, &mut zeros);
}

fn put_zeros(out: &mut Vec<u8>, zeros: &mut u64) {
    if *zeros > 0 {
        put_number(out, 0);
        put_number(out, *zeros);
        *zeros = 0;
    }
}

/// Numbers by how they differ from the one before.
pub(super) fn put_deltas(out: &mut Vec<u8>, values: impl Iterator<Item = i64>) {
    let mut last = 0_i64;
    put_plain(
        out,
        values.map(|value| {
            let delta = value.wrapping_sub(last);
            last = value;
            zigzag(delta)
        }),
    );
}

/// Values, scaled to whole numbers where that loses nothing.
pub(super) fn put_values(out: &mut Vec<u8>, values: &[f64]) {
    match scale(values.iter().copied()) {
        Some(scale) => {
            out.push(scale);
            put_deltas(out, values.iter().map(|value| scaled(*value, scale)));
        }
        None => {
            out.push(UNSCALED);
            put_doubles(out, values);
        }
    }
}

pub(super) fn put_doubles(out: &mut Vec<u8>, values: &[f64]) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

/// The least power of ten with which all values are whole and come back as they were.
pub(super) fn scale(values: impl Iterator<Item = f64>) -> Option<u8> {
    let mut scale = 0_u8;
    for value in values {
        loop {
            let divisor = SCALES.get(usize::from(scale))?;
            let whole = (value * divisor).round();
            if whole.abs() >= WHOLE_MAX {
                return None;
            }
            if whole / divisor == value {
                break;
            }
            scale += 1;
        }
    }
    Some(scale)
}

/// A value as a whole number, with a power that [`scale`] gave; sums are rounded to it.
pub(super) fn scaled(value: f64, scale: u8) -> i64 {
    (value * SCALES.get(usize::from(scale)).copied().unwrap_or(1.0)).round() as i64
}

pub(super) fn unscaled(whole: i64, scale: u8) -> Option<f64> {
    Some(whole as f64 / SCALES.get(usize::from(scale))?)
}

const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_and_take_few_bytes() {
        for (values, bytes_max) in [
            (vec![], 1),
            (vec![0.0; 1000], 5),
            (vec![40.0; 1000], 6),
            (vec![-72.0, -71.0, -73.0, -72.0], 6),
            (vec![23.5, 23.4, 23.6], 6),
            (vec![180_000.0, 180_016.0, 179_904.0], 8),
            (vec![9_007_199_254_740_991.0, 0.0], 20),
            (vec![0.1 + 0.2, 1.0 / 3.0], 17),
            (vec![1e300, -0.25], 17),
        ] {
            let mut out = Vec::new();
            put_values(&mut out, &values);
            assert!(out.len() <= bytes_max, "{values:?}: {} bytes", out.len());
            let mut reader = Reader::new(&out);
            assert_eq!(reader.values(values.len()).unwrap(), values);
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn differences_reach_over_all_whole_numbers() {
        let values = [i64::MIN, i64::MAX, 0, -1, 1, i64::MIN];
        let mut out = Vec::new();
        put_deltas(&mut out, values.into_iter());
        assert_eq!(Reader::new(&out).deltas(values.len()).unwrap(), values);
    }

    #[test]
    fn what_ends_early_is_nothing() {
        let mut out = Vec::new();
        put_values(&mut out, &[1.5, 900.0, 0.0, 0.0, 7.25]);
        for len in 0..out.len() {
            assert_eq!(Reader::new(&out[..len]).values(5), None, "{len} bytes");
        }
        // A run that is longer than the column, and a number that never ends.
        assert_eq!(Reader::new(&[0, 0, 9]).values(5), None);
        assert_eq!(Reader::new(&[0xFF; 20]).number(), None);
    }
}
