//! Which payloads are sent: of all that could be, those that serve most nodes for least channel time.
//!
//! One pass serves everybody who can take its payload. A patch shortens nothing for those who cannot take it, so it
//! is worth its pass only if no whole image has to be sent for the same nodes, or more is saved otherwise. There are
//! few candidates, so all sets of them are tried.

use std::collections::BTreeMap;

use meshward_core::ota::exchange::ImageId;

/// Sets are bits of a word.
const CANDIDATES_MAX: usize = 12;

/// A payload that could be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// The image that it is a patch of.
    pub(super) base: Option<ImageId>,
    /// What its pass takes, in nanoseconds.
    pub(super) nanos: u64,
}

/// A node, as far as the choice is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wish {
    /// What it runs.
    pub(super) running: Option<ImageId>,
    /// The candidates that it can take, a bit each.
    pub(super) takes: u32,
}

impl Wish {
    /// The cheapest of a set that this node is offered. A node whose patch is sent is not offered a whole image.
    pub(super) fn served_by(&self, candidates: &[Candidate], set: u32) -> Option<usize> {
        let sent = || candidates.iter().enumerate().filter(|(at, _)| set & (1 << at) != 0);
        let own = |base: Option<ImageId>| base.is_some() && base == self.running;
        let patched = sent().any(|(_, candidate)| own(candidate.base));
        let mine =
            sent().filter(|(at, candidate)| self.takes & (1 << at) != 0 && (!patched || own(candidate.base)));
        mine.min_by_key(|(_, candidate)| candidate.nanos).map(|(at, _)| at)
    }
}

/// The best set: it leaves out fewest nodes, then takes least time, then has fewest payloads. Looks at the first
/// twelve candidates, and at sets of up to `most`.
pub(super) fn best(candidates: &[Candidate], wishes: &[Wish], most: usize) -> u32 {
    let mut alike: BTreeMap<Wish, usize> = BTreeMap::new();
    for wish in wishes {
        *alike.entry(*wish).or_default() += 1;
    }
    let cost = |set: &u32| {
        let left_out = alike.iter().filter(|(wish, _)| wish.served_by(candidates, *set).is_none());
        let left_out: usize = left_out.map(|(_, count)| *count).sum();
        let sent = candidates.iter().enumerate().filter(|(at, _)| set & (1 << at) != 0);
        let nanos: u64 = sent.map(|(_, candidate)| candidate.nanos).sum();
        (left_out, nanos, set.count_ones())
    };
    let count = candidates.len().min(CANDIDATES_MAX);
    (0..1 << count).filter(|set: &u32| set.count_ones() as usize <= most).min_by_key(cost).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ImageId = ImageId([1; 8]);
    const B: ImageId = ImageId([2; 8]);

    /// Full, LZMA, a patch of A, one of B.
    fn candidates() -> [Candidate; 4] {
        [(None, 100), (None, 60), (Some(A), 3), (Some(B), 50)].map(|(base, nanos)| Candidate { base, nanos })
    }

    fn check(wishes: &[(Option<ImageId>, u32)], most: usize, expected: u32) {
        let wishes: Vec<Wish> =
            wishes.iter().map(|(running, takes)| Wish { running: *running, takes: *takes }).collect();
        assert_eq!(best(&candidates(), &wishes, most), expected, "{wishes:?}");
    }

    #[test]
    fn least_time_is_chosen() {
        let (a, b, other) = ((Some(A), 0b0111), (Some(B), 0b1011), (None, 0b0011));
        check(&[], 8, 0);
        check(&[a, a], 8, 0b0100);
        check(&[other, a], 8, 0b0010);
        check(&[a, b], 8, 0b1100);
        check(&[a, b, other], 8, 0b0010);
        // Patches of both cost less than a whole image; of three, more.
        check(&[a, b], 1, 0b0010);
    }

    #[test]
    fn nobody_is_left_out_for_the_sake_of_time() {
        // One cannot stage a packed image, another has no room for a whole one's chunks.
        check(&[(None, 0b0001), (None, 0b0010)], 8, 0b0011);
        // The patch of A does not fit one of those who run A: it is not sent, or that one would get nothing.
        check(&[(Some(A), 0b0100), (Some(A), 0b0010), (Some(A), 0b0110)], 8, 0b0100);
        check(&[(Some(A), 0b0110), (Some(A), 0b0010)], 8, 0b0010);
        check(&[(Some(A), 0)], 8, 0);
    }
}
