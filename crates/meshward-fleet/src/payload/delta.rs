//! Patches: what [`meshward_core::codec::Patch`] applies.
//!
//! `bidiff` finds what the new image has in common with the old one (bsdiff's search over a suffix array);
//! the operations are ours.

use std::convert::Infallible;

use bidiff::{DiffParams, Match};

/// The operations' numbers; see [`meshward_core::codec::Patch`].
const COPY: u64 = 0;
const ADD: u64 = 1;
const INSERT: u64 = 2;
const SEEK: u64 = 3;

/// What turns `base` into `image`.
pub(super) fn patch(base: &[u8], image: &[u8]) -> Vec<u8> {
    let mut writer = Writer { patch: Vec::new(), place: 0 };
    let outcome: Result<(), Infallible> = bidiff::diff(base, image, &DiffParams::default(), |found| {
        writer.part(base, image, &found);
        Ok(())
    });
    match outcome {
        Ok(()) => writer.patch,
    }
}

struct Writer {
    patch: Vec<u8>,
    /// Where the node will be in the base.
    place: usize,
}

impl Writer {
    /// A part of the image: a piece that resembles the base, then one that does not.
    fn part(&mut self, base: &[u8], image: &[u8], found: &Match) {
        let (old, new, len) = (found.add_old_start, found.add_new_start, found.add_length);
        if len > 0 {
            self.seek(old);
            self.alike(&base[old..old + len], &image[new..new + len]);
            self.place = old + len;
        }
        let fresh = &image[found.copy_start()..found.copy_end];
        if !fresh.is_empty() {
            self.operation(INSERT, fresh.len());
            self.patch.extend_from_slice(fresh);
        }
    }

    /// Runs of equal bytes, and differences between them.
    fn alike(&mut self, old: &[u8], new: &[u8]) {
        let pairs: Vec<(u8, u8)> = old.iter().copied().zip(new.iter().copied()).collect();
        for run in pairs.chunk_by(|a, b| (a.0 == a.1) == (b.0 == b.1)) {
            let equal = run.first().is_some_and(|(old, new)| old == new);
            self.operation(if equal { COPY } else { ADD }, run.len());
            if !equal {
                self.patch.extend(run.iter().map(|(old, new)| new.wrapping_sub(*old)));
            }
        }
    }

    fn seek(&mut self, target: usize) {
        if target > self.place {
            self.operation(SEEK, 2 * (target - self.place));
        } else if target < self.place {
            self.operation(SEEK, 2 * (self.place - target) - 1);
        }
    }

    fn operation(&mut self, kind: u64, count: usize) {
        let mut number = (count as u64) << 2 | kind;
        while number >= 0x80 {
            self.patch.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.patch.push(number as u8);
    }
}
