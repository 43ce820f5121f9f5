//! The tests that gates decide by, one-sided: whether the first group is worse.
//!
//! Fisher's exact test by the hypergeometric distribution of `statrs`. The rank test of Mann and Whitney is our own:
//! that of `statrs` goes through every combination, which for eight canaries and ninety others never ends. Here the
//! exact distribution is counted, where the smaller group has at most [`EXACT_MAX`] and nothing is tied; otherwise
//! the normal one is taken, corrected for ties and for continuity. In the tail, where decisions are made, that
//! errs to the safe side: it finds a chance greater than it is.

use statrs::distribution::{Binomial, ContinuousCDF, DiscreteCDF, Hypergeometric, Normal, StudentsT};

/// Up to so many in the smaller group the distribution of ranks is counted.
pub(super) const EXACT_MAX: usize = 10;
/// The share of values at either end that a location leaves out: round trips now and then take five times as long.
const TRIM: f64 = 0.2;

/// How probable it is that so many of the first group have failed, and more, if groups do not matter. `a` of `m`
/// against `b` of `n`.
pub(super) fn fisher((a, m): (u64, u64), (b, n): (u64, u64)) -> f64 {
    if a == 0 || m == 0 || n == 0 || a > m || b > n {
        return 1.0;
    }
    Hypergeometric::new(m + n, a + b, m).map_or(1.0, |all| all.sf(a - 1)).clamp(0.0, 1.0)
}

/// How probable it is that the first group lies so high, and higher, if groups do not matter.
pub(super) fn ranks(first: &[f64], second: &[f64]) -> f64 {
    let (m, n) = (first.len(), second.len());
    if m == 0 || n == 0 {
        return 1.0;
    }
    let mut all: Vec<(f64, bool)> = first.iter().map(|value| (*value, true)).collect();
    all.extend(second.iter().map(|value| (*value, false)));
    all.sort_by(|one, other| one.0.total_cmp(&other.0));
    // Rank sums of the first group; of ties the middle rank.
    let (mut sum, mut ties, mut below) = (0.0, 0.0, 0.0);
    for tied in all.chunk_by(|one, other| one.0 == other.0) {
        let count = tied.len() as f64;
        let mine = tied.iter().filter(|(_, mine)| *mine).count() as f64;
        sum += mine * (below + (count + 1.0) / 2.0);
        ties += count.powi(3) - count;
        below += count;
    }
    let (one, other) = (m as f64, n as f64);
    let above = sum - one * (one + 1.0) / 2.0;
    if ties == 0.0 && m.min(n) <= EXACT_MAX {
        return exact(above.round() as usize, m, n);
    }
    let all = one + other;
    let variance = one * other / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    let z = (above - one * other / 2.0 - 0.5) / variance.sqrt();
    Normal::standard().sf(z).clamp(0.0, 1.0)
}

/// The share of orders in which pairs of the two groups are the right way round at least `above` times.
fn exact(above: usize, m: usize, n: usize) -> f64 {
    let (few, many) = (m.min(n), m.max(n));
    let most = few * many;
    // Coefficients of the Gaussian binomial: partitions into at most `few` parts of at most `many`, as shares.
    let mut ways = vec![0.0_f64; most + 1];
    if let Some(none) = ways.first_mut() {
        *none = 1.0;
    }
    for part in 1..=few {
        let grow = many + part;
        for at in (grow..=most).rev() {
            let less = ways.get(at - grow).copied().unwrap_or(0.0);
            ways.get_mut(at).into_iter().for_each(|way| *way -= less);
        }
        for at in part..=most {
            let more = ways.get(at - part).copied().unwrap_or(0.0);
            ways.get_mut(at).into_iter().for_each(|way| *way += more);
        }
    }
    // It is symmetric; the lower end is counted, where numbers are small and exact.
    let tail: f64 = ways.iter().take((most + 1).saturating_sub(above)).sum();
    let all: f64 = ways.iter().sum();
    (tail / all).clamp(0.0, 1.0)
}

/// How probable it is that differences lie so far above zero, and farther, if nothing has changed: Wilcoxon's signed
/// ranks, counted exactly for few and normal for many.
pub(super) fn signed_ranks(differences: &[f64]) -> f64 {
    let mut sizes: Vec<f64> = differences.iter().copied().filter(|one| *one != 0.0).collect();
    sizes.sort_by(|one, other| one.abs().total_cmp(&other.abs()));
    let n = sizes.len();
    if n == 0 {
        return 1.0;
    }
    let positive = sizes.iter().enumerate().filter(|(_, one)| **one > 0.0);
    let sum: usize = positive.map(|(rank, _)| rank + 1).sum();
    if n > 40 {
        let n = n as f64;
        let (mean, variance) = (n * (n + 1.0) / 4.0, n * (n + 1.0) * (2.0 * n + 1.0) / 24.0);
        return Normal::standard().sf((sum as f64 - mean - 0.5) / variance.sqrt()).clamp(0.0, 1.0);
    }
    let most = n * (n + 1) / 2;
    let mut ways = vec![0.0_f64; most + 1];
    if let Some(none) = ways.first_mut() {
        *none = 1.0;
    }
    for rank in 1..=n {
        for at in (rank..=most).rev() {
            let more = ways.get(at - rank).copied().unwrap_or(0.0);
            ways.get_mut(at).into_iter().for_each(|way| *way += more);
        }
    }
    let tail: f64 = ways.iter().skip(sum).sum();
    (tail / 2.0_f64.powi(n as i32)).clamp(0.0, 1.0)
}

/// The least that [`ranks`] can find in groups of these sizes: that of the one order that is the worst.
pub(super) fn ranks_least(m: usize, n: usize) -> f64 {
    (1..=m.min(n)).fold(1.0, |all, at| all * at as f64 / (m.max(n) + at) as f64)
}

/// How probable it is that the first group lies so high, and higher, if groups do not matter and all vary alike:
/// Student's test with one variance, for groups that are too small for ranks. The second may be empty: then it is
/// nothing that the first is held against.
pub(super) fn student(first: &[f64], second: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let squares = |values: &[f64]| {
        let mean = mean(values);
        values.iter().map(|value| (value - mean).powi(2)).sum::<f64>()
    };
    let (m, n) = (first.len() as f64, second.len() as f64);
    let freedom = (m - 1.0).max(0.0) + (n - 1.0).max(0.0);
    if first.is_empty() || freedom < 1.0 {
        return 1.0;
    }
    let variance = (squares(first) + squares(second)) / freedom;
    let error = (variance * (1.0 / m + if n > 0.0 { 1.0 / n } else { 0.0 })).sqrt();
    if error <= 0.0 {
        return 1.0;
    }
    let t = (mean(first) - mean(second)) / error;
    StudentsT::new(0.0, 1.0, freedom).map_or(1.0, |all| all.sf(t)).clamp(0.0, 1.0)
}

/// How probable it is that so many events and more fall upon `m` of `m + n` nodes, of as many as there were.
pub(super) fn events((a, m): (u64, u64), (b, n): (u64, u64)) -> f64 {
    if a == 0 || m == 0 || n == 0 {
        return 1.0;
    }
    let share = m as f64 / (m + n) as f64;
    Binomial::new(share, a + b).map_or(1.0, |all| all.sf(a - 1)).clamp(0.0, 1.0)
}

/// Where values lie: their mean, a fifth at either end left out. `None` of nothing.
pub(super) fn location(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let cut = (values.len() as f64 * TRIM) as usize;
    let kept = values.get(cut..values.len().saturating_sub(cut))?;
    (!kept.is_empty()).then(|| kept.iter().sum::<f64>() / kept.len() as f64)
}

/// The middle one; `None` of nothing.
pub(super) fn median(values: &mut [f64]) -> Option<f64> {
    crate::anomaly::median(values)
}

/// What of `alpha` may be spent at the look in this place, of `looks`: as much as makes the square of the share of
/// the time that is over. Early looks need overwhelming evidence; the sum over all never exceeds `alpha`, so that by
/// Boole's inequality neither does the chance of a false alarm, however looks depend on one another.
pub(super) fn spend(alpha: f64, look: u32, looks: u32) -> f64 {
    let share = |at: u32| (f64::from(at.min(looks)) / f64::from(looks.max(1))).powi(2);
    alpha * (share(look + 1) - share(look))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(one: f64, other: f64) -> bool {
        (one - other).abs() <= 1e-6 * other.abs().max(1e-3)
    }

    #[test]
    fn fisher_says_what_the_books_say() {
        // Fisher's tea: 17/70 for three of four, 1/70 for all.
        assert!(near(fisher((3, 4), (1, 4)), 17.0 / 70.0));
        assert!(near(fisher((4, 4), (0, 4)), 1.0 / 70.0));
        // Three canaries of three against none of 97.
        assert!(near(fisher((3, 3), (0, 97)), 6.0 / (100.0 * 99.0 * 98.0)));
        for (first, second) in [((0, 3), (5, 97)), ((1, 0), (0, 5)), ((0, 0), (0, 0)), ((5, 3), (0, 4))] {
            assert_eq!(fisher(first, second), 1.0);
        }
    }

    #[test]
    fn ranks_are_counted_for_few_and_normal_for_many_or_ties() {
        // All three above all of seven: 1 of C(10, 3).
        let low: Vec<f64> = (0..7).map(f64::from).collect();
        assert!(near(ranks(&[7.0, 8.0, 9.0], &low), 1.0 / 120.0));
        assert!(near(ranks(&[-1.0, -2.0, -3.0], &low), 1.0));
        // Right 58 times of 81, two ties each: z = 1.5027 by the formula, worked out apart from this code.
        let first = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30];
        let second = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.15, 1.29];
        let p = ranks(&first, &second);
        assert!(near(p, 0.066_459_729), "{p}");
        // Ninety others do not take for ever.
        let many: Vec<f64> = (0..92).map(f64::from).collect();
        let eight: Vec<f64> = (0..8).map(|at| 100.0 + f64::from(at)).collect();
        assert!(near(ranks(&eight, &many) * 1e11, 1e11 / 186_087_894_300.0));
        assert_eq!((ranks(&[1.0; 5], &[1.0; 9]), ranks(&[], &[1.0])), (1.0, 1.0));
    }

    #[test]
    fn the_normal_tail_errs_to_the_safe_side() {
        let many: Vec<f64> = (0..80).map(f64::from).collect();
        for shift in [45.0, 55.0, 65.0] {
            let ten: Vec<f64> = (0..10).map(|at| shift + f64::from(at) * 2.0 + 0.5).collect();
            let counted = ranks(&ten, &many);
            // A tie among the others takes the exact way away and changes nothing else.
            let mut tied = many.clone();
            tied[1] = tied[0];
            let normal = ranks(&ten, &tied);
            assert!(counted < normal && counted < 0.05, "{shift}: {counted} {normal}");
        }
    }

    #[test]
    fn signed_ranks_are_counted_for_few() {
        assert!(near(signed_ranks(&[1.0, 2.0, 3.0, 4.0, 5.0]), 1.0 / 32.0));
        assert!(near(signed_ranks(&[-1.0, 2.0, 3.0, 4.0, 5.0]), 2.0 / 32.0));
        assert_eq!((signed_ranks(&[-1.0]), signed_ranks(&[0.0]), signed_ranks(&[])), (1.0, 1.0, 1.0));
        let many: Vec<f64> = (1..=60).map(f64::from).collect();
        assert!(signed_ranks(&many) < 1e-9);
    }

    #[test]
    fn looks_spend_all_and_no_more() {
        let spent: f64 = (0..6).map(|look| spend(0.01, look, 6)).sum();
        assert!(near(spent, 0.01) && spend(0.01, 0, 6) < spend(0.01, 5, 6) / 10.0);
        assert_eq!(spend(0.01, 6, 6), 0.0, "later looks have nothing");
    }

    #[test]
    fn small_groups_are_held_against_their_spread() {
        assert!(near(ranks_least(3, 7), 1.0 / 120.0) && near(ranks_least(7, 3), 1.0 / 120.0));
        // Means 4 apart, error 0.6831: t = 5.8554 with 5 degrees of freedom, integrated numerically.
        let p = student(&[5.0, 6.0, 7.0], &[1.0, 2.0, 3.0, 2.0]);
        assert!(near(p, 0.001_029_262), "{p}");
        // With 2 degrees of freedom there is a formula: 1/2 - t / (2 sqrt(2 + t²)).
        let p = student(&[1.0, 2.0, 3.0], &[]);
        assert!(near(p, 0.5 - 12.0_f64.sqrt() / (2.0 * 14.0_f64.sqrt())), "{p}");
        assert_eq!(
            (student(&[1.0], &[]), student(&[], &[1.0]), student(&[2.0; 3], &[2.0; 3])),
            (1.0, 1.0, 1.0)
        );
        // Nine restarts, all upon three of ten.
        assert!(near(events((9, 3), (0, 7)) * 1e5, 0.3_f64.powi(9) * 1e5));
        assert_eq!(events((0, 3), (4, 7)), 1.0);
    }

    #[test]
    fn a_location_leaves_the_ends_out() {
        assert_eq!(location(&mut [1.0, 2.0, 3.0, 2.0, 900.0]), Some(7.0 / 3.0));
        assert_eq!((location(&mut []), location(&mut [4.0])), (None, Some(4.0)));
    }
}
