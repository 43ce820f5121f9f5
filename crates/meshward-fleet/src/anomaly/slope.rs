//! How fast something falls, by Theil and Sen: the middle one of the slopes between all pairs of points, which a
//! third of wild points doesn't move. How sure that is, follows from the rank of slopes by Kendall's variance, made
//! wider where neighbouring points are alike: their number says too much then (after Hamed and Rao, "A modified
//! Mann-Kendall trend test for autocorrelated data", 1998).

use super::median;

/// Most points that are looked at, so that the pairs are at most 1 770: of more, every so many.
pub const POINTS_MAX: usize = 60;
/// More alike than this neighbouring points are not taken to be: beyond, it is a bend that makes them so.
const ALIKE_MAX: f64 = 0.5;

/// See the module's page.
#[derive(Clone, Debug, PartialEq)]
pub struct Slope {
    /// Per hour, in the unit of the points.
    pub per_hour: f64,
    /// The level at the end, where the hours are 0.
    pub level: f64,
    /// The middle of the hours, and the level there, which is surer than that at the end.
    pub middle: (f64, f64),
    /// All slopes between two points, in order.
    slopes: Vec<f64>,
    /// One standard error in ranks.
    ranks: f64,
}

impl Slope {
    /// The slope of points (hours, value) in the order of time; `None` of fewer than three.
    pub fn of(points: &[(f64, f64)]) -> Option<Self> {
        let every = points.len().div_ceil(POINTS_MAX).max(1);
        let points: Vec<(f64, f64)> = points.iter().rev().step_by(every).rev().copied().collect();
        if points.len() < 3 {
            return None;
        }
        let mut slopes = Vec::with_capacity(points.len() * points.len() / 2);
        for (at, (from, low)) in points.iter().enumerate() {
            let later = points.iter().skip(at + 1).filter(|(to, _)| to > from);
            slopes.extend(later.map(|(to, high)| (high - low) / (to - from)));
        }
        let per_hour = median(&mut slopes)?;
        let mut levels: Vec<f64> = points.iter().map(|(hours, value)| value - per_hour * hours).collect();
        let level = median(&mut levels.clone())?;
        levels.iter_mut().for_each(|value| *value -= level);
        let n = points.len() as f64;
        let kendall = n * (n - 1.0) * (2.0 * n + 5.0) / 18.0;
        let ranks = (kendall * inflation(&levels)).sqrt();
        let mut hours: Vec<f64> = points.iter().map(|(hours, _)| *hours).collect();
        let middle = median(&mut hours)?;
        Some(Self { per_hour, level, middle: (middle, level + per_hour * middle), slopes, ranks })
    }

    /// Between what the slope is, with `sure` standard errors to both sides; `None` when the points are too few to
    /// say that.
    pub fn bounds(&self, sure: f64) -> Option<(f64, f64)> {
        let count = self.slopes.len() as f64;
        let low = ((count - sure * self.ranks) / 2.0).floor();
        let high = ((count + sure * self.ranks) / 2.0).ceil();
        if low < 0.0 || high > count - 1.0 {
            return None;
        }
        Some((*self.slopes.get(low as usize)?, *self.slopes.get(high as usize)?))
    }
}

/// By how much alikeness of neighbours widens the variance; 1 where they are not.
fn inflation(rests: &[f64]) -> f64 {
    let all: f64 = rests.iter().map(|rest| rest * rest).sum();
    let neighbours: f64 = rests.iter().zip(rests.iter().skip(1)).map(|(one, next)| one * next).sum();
    if all <= 0.0 {
        return 1.0;
    }
    // What is estimated from few points is too low (Kendall, "Note on bias in the estimation of autocorrelation",
    // 1954).
    let raw = neighbours / all;
    let alike = (raw + (1.0 + 4.0 * raw) / rests.len() as f64).clamp(0.0, ALIKE_MAX);
    (1.0 + alike) / (1.0 - alike)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_of_a_line_is_found_through_wild_points() {
        let points: Vec<(f64, f64)> = (0..60)
            .map(|at| {
                let hours = f64::from(at - 59) / 10.0;
                (hours, if at % 4 == 0 { 1e6 } else { 500.0 - 7.0 * hours })
            })
            .collect();
        let slope = Slope::of(&points).unwrap();
        assert!((slope.per_hour + 7.0).abs() < 1.0, "{}", slope.per_hour);
        assert!((slope.level - 500.0).abs() < 5.0, "{}", slope.level);
    }

    #[test]
    fn what_is_not_sure_is_not_said() {
        let flat: Vec<(f64, f64)> = (0..40).map(|at| (f64::from(at), f64::from((at * 7) % 5))).collect();
        let (low, high) = Slope::of(&flat).unwrap().bounds(2.0).unwrap();
        assert!(low <= 0.0 && high >= 0.0, "{low} to {high}");
        let few: Vec<(f64, f64)> = (0..5).map(|at| (f64::from(at), f64::from(-at))).collect();
        assert_eq!(Slope::of(&few).unwrap().bounds(4.0), None);
        assert_eq!(Slope::of(&[(0.0, 1.0), (1.0, 2.0)]), None);
        let still = Slope::of(&[(0.0, 1.0); 30]);
        assert_eq!(still, None, "points of one instant have no slope");
    }

    #[test]
    fn the_cost_is_bounded() {
        let many: Vec<(f64, f64)> = (0..5_000).map(|at| (f64::from(at), f64::from(-at))).collect();
        let slope = Slope::of(&many).unwrap();
        assert!(slope.slopes.len() <= POINTS_MAX * (POINTS_MAX - 1) / 2);
        assert!((slope.per_hour + 1.0).abs() < 1e-9);
    }
}
