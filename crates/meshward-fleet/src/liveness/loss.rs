//! How much gets lost on the way to nodes, learnt from probes and reports, and how many unanswered ones mean something.
//!
//! A relay of the C++ library drops messages when it is short of memory, so each hop of a message is a trial. A probe
//! that was answered has crossed every link twice; one that was not, to a node that then showed itself alive, was
//! lost on one of them, half-way on average. A report that came has crossed every link once, and its number tells how
//! many before it did not: a mesh in which nothing gets lost is known as one before anybody is probed. Old trials fade.
//! All nodes share an estimate, and each has its own, which begins with the shared one and is never less: a single bad
//! link makes only those behind it hard to judge, and nobody is called lost because a few messages had good luck.

/// The share of messages that a hop loses, before anything was learnt: pessimistic, so that a young gateway asks
/// once more rather than once too little.
const LOSS_AT_FIRST: f64 = 0.05;
/// How many trials that is worth.
const TRIALS_AT_FIRST: f64 = 200.0;
/// How many trials the shared estimate is worth to one node.
const TRIALS_SHARED: f64 = 100.0;
/// With more trials than this all count half.
const TRIALS_MAX: f64 = 4_000.0;
/// Less loss than this is never believed: losses come in heaps.
pub(super) const LOSS_MIN: f64 = 0.02;
/// More loss than this leaves no mesh to speak of.
const LOSS_MAX: f64 = 0.5;

/// Trials on the hops to one node, or to all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Trials {
    hops: f64,
    lost: f64,
}

impl Trials {
    /// A message got over so many hops or did not: a report, or a probe there and back.
    pub(super) fn message(&mut self, hops: u32, came: bool) {
        let hops = f64::from(hops);
        self.hops += if came { hops } else { f64::midpoint(hops, 1.0) };
        self.lost += if came { 0.0 } else { 1.0 };
        if self.hops > TRIALS_MAX {
            self.hops /= 2.0;
            self.lost /= 2.0;
        }
    }

    /// One standard deviation above what the trials say, since a loss that is taken for a fifth too small makes mistakes
    /// ten times as likely.
    fn with(&self, loss: f64, trials: f64) -> f64 {
        ((self.lost + self.lost.sqrt() + loss * trials) / (self.hops + trials)).clamp(LOSS_MIN, LOSS_MAX)
    }

    /// The share that a hop loses, on the whole.
    pub(super) fn shared(&self) -> f64 {
        self.with(LOSS_AT_FIRST, TRIALS_AT_FIRST)
    }

    /// The share that a hop to this node loses.
    pub(super) fn own(&self, shared: &Self) -> f64 {
        let shared = shared.shared();
        self.with(shared, TRIALS_SHARED).max(shared)
    }
}

/// The logarithm of the probability that a message does not get over so many hops.
pub(super) fn ln_lost(loss: f64, hops: u32) -> f64 {
    let through = (1.0 - loss).powi(i32::try_from(hops.max(1)).unwrap_or(i32::MAX));
    (1.0 - through).max(f64::MIN_POSITIVE).ln()
}

/// How many probes in a row must stay unanswered before a node of which `doubt` (a logarithm) was known before is lost
/// with the wanted certainty.
pub(super) fn probes_needed(wanted: f64, doubt: f64, loss: f64, hops: u32, least: u32) -> u32 {
    let each = ln_lost(loss, hops.saturating_mul(2));
    // `each` is negative; where nearly everything is lost it is nearly zero and nothing would ever be enough.
    let needed = ((wanted - doubt) / each.min(-0.01)).ceil();
    (needed.clamp(0.0, f64::from(PROBES_MAX)) as u32).max(least)
}

/// More unanswered probes than these in a row are never asked for.
pub(super) const PROBES_MAX: u32 = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_is_learnt() {
        for (loss, hops) in [(0.02, 2), (0.05, 8), (0.1, 4), (0.3, 2)] {
            let mut rng = meshward_core::rng::Rng::new(7);
            let mut trials = Trials::default();
            for _ in 0..2_000 {
                let answered = (0..hops).all(|_| rng.below(1_000) >= (loss * 1_000.0) as u64);
                trials.message(hops, answered);
            }
            let learnt = trials.shared();
            assert!((learnt - loss).abs() < 0.25 * loss + 0.005, "{learnt} for {loss}");
        }
        // Good luck makes no link better than all are, and what is known of few messages is taken for worse.
        let (mut lucky, mut all, mut few) = (Trials::default(), Trials::default(), Trials::default());
        (0..100).for_each(|_| lucky.message(4, true));
        (0..1_000).for_each(|number| all.message(4, number % 5 > 0));
        (0..10).for_each(|number| few.message(4, number % 5 > 0));
        assert_eq!(lucky.own(&all), all.shared());
        assert!(few.own(&all) > all.shared() && few.lost / few.hops < few.own(&all));
        let mut bad = Trials::default();
        (0..60).for_each(|_| bad.message(2, false));
        let shared = Trials::default();
        assert!(bad.own(&shared) > 0.3 && Trials::default().own(&shared) == 0.05);
    }

    #[test]
    fn deeper_nodes_and_worse_meshes_take_more_probes() {
        let wanted = (8.7e-8_f64).ln();
        for (loss, hops, needed) in [(0.02, 1, 4), (0.05, 1, 6), (0.05, 2, 9), (0.05, 4, 14), (0.2, 4, 86)] {
            let doubt = ln_lost(loss, hops);
            let probes = probes_needed(wanted, doubt, loss, hops, 2);
            assert_eq!(probes, needed, "{loss} over {hops}");
            let enough = doubt + f64::from(probes) * ln_lost(loss, 2 * hops);
            assert!(enough <= wanted && enough - ln_lost(loss, 2 * hops) > wanted);
        }
        assert_eq!(probes_needed(wanted, wanted, 0.05, 1, 2), 2);
        assert_eq!(probes_needed(wanted, 0.0, 0.5, 60, 2), PROBES_MAX);
    }
}
