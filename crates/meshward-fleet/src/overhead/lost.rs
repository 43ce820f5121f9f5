//! How many reports get lost on their way, by the numbers that they bear: each one asks for a probe.

/// Fewer say nothing.
const SAMPLES_MIN: f64 = 60.0;
/// With more than this all count half.
const SAMPLES_MAX: f64 = 2_000.0;

/// See the module's page.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Lost {
    came: f64,
    missing: f64,
}

impl Lost {
    /// A report has come, and so many before it have not.
    pub fn report(&mut self, missing: u32) {
        self.came += 1.0;
        self.missing += f64::from(missing);
        if self.came + self.missing > SAMPLES_MAX {
            self.came /= 2.0;
            self.missing /= 2.0;
        }
    }

    /// The share that gets lost: none until enough have come.
    pub fn share(&self) -> f64 {
        let sent = self.came + self.missing;
        if sent < SAMPLES_MIN { 0.0 } else { self.missing / sent }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_learnt_and_learnt_anew() {
        let mut lost = Lost::default();
        (0..50).for_each(|_| lost.report(0));
        lost.report(3);
        assert_eq!(lost.share(), 0.0, "three of 54 are no share yet");
        (0..2_000).for_each(|turn| lost.report(u32::from(turn % 4 == 0)));
        assert!((lost.share() - 0.2).abs() < 0.02, "{}", lost.share());
        (0..10_000).for_each(|_| lost.report(0));
        assert!(lost.share() < 0.01, "{}", lost.share());
    }
}
