//! Faults as rules: each looks at a hop, or at a flash command, and says what becomes of it. Rules add up.
//!
//! Only what a relay *forwards* is ever lost or doubled (its memory is exhausted, or it is confused): what
//! neighbours exchange, and what a node sends of its own, is carried by TCP while the link stands.

use meshward_core::rng::Rng;
use meshward_core::time::Duration;

use super::Seat;

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A forwarded frame dies at the relay, before it takes any channel time there.
    Lose,
    /// A forwarded frame arrives twice.
    Duplicate,
    /// Any frame is up to this much later; frames of one wire keep their order.
    Delay(Duration),
    /// A flash command fails and changes nothing.
    FailFlash,
}

/// A fault: what, where, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What happens.
    pub act: Act,
    /// How often, in parts per million.
    pub ppm: u32,
    /// On this sending host only; on every one when `None`.
    pub at: Option<Seat>,
}

impl Rule {
    /// A rule for every host.
    pub const fn everywhere(act: Act, ppm: u32) -> Self {
        Self { act, ppm, at: None }
    }

    fn strikes(&self, seat: Seat, rng: &mut Rng) -> bool {
        self.at.is_none_or(|at| at == seat) && self.ppm > 0 && rng.below(1_000_000) < u64::from(self.ppm)
    }
}

/// What becomes of a hop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) lost: bool,
    pub(super) duplicated: bool,
    pub(super) delay: Duration,
}

/// The rules in force.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules(Vec<Rule>);

impl Rules {
    pub(super) fn add(&mut self, rule: Rule) {
        self.0.push(rule);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether any rule needs to know if a frame is forwarded.
    pub(super) fn look_at_frames(&self) -> bool {
        self.0.iter().any(|rule| matches!(rule.act, Act::Lose | Act::Duplicate))
    }

    pub(super) fn judge(&self, sender: Seat, forwarded: bool, rng: &mut Rng) -> Verdict {
        let mut verdict = Verdict::default();
        for rule in &self.0 {
            match rule.act {
                Act::Lose if forwarded => verdict.lost |= rule.strikes(sender, rng),
                Act::Duplicate if forwarded => verdict.duplicated |= rule.strikes(sender, rng),
                Act::Delay(most) if rule.strikes(sender, rng) => {
                    verdict.delay += Duration::from_micros(rng.below(most.as_micros() + 1));
                }
                _ => {}
            }
        }
        verdict
    }

    pub(super) fn flash_fails(&self, seat: Seat, rng: &mut Rng) -> bool {
        self.0.iter().any(|rule| rule.act == Act::FailFlash && rule.strikes(seat, rng))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_add_up_and_spare_what_is_not_forwarded() {
        let mut rng = Rng::new(1);
        let mut rules = Rules::default();
        let half = |act| Rule::everywhere(act, 500_000);
        let most = Duration::from_millis(3);
        for rule in [half(Act::Lose), half(Act::Duplicate), half(Act::Delay(most)), half(Act::Lose)] {
            rules.add(rule);
        }
        let verdicts: Vec<Verdict> = (0..4_000).map(|_| rules.judge(Seat(0), true, &mut rng)).collect();
        let share =
            |of: fn(&Verdict) -> bool| verdicts.iter().filter(|verdict| of(verdict)).count() as f64 / 4_000.0;
        assert!((0.72..0.78).contains(&share(|verdict| verdict.lost)), "two losses of a half are 3/4");
        assert!((0.47..0.53).contains(&share(|verdict| verdict.duplicated)));
        assert!(verdicts.iter().all(|verdict| verdict.delay <= most));
        let own: Vec<Verdict> = (0..500).map(|_| rules.judge(Seat(0), false, &mut rng)).collect();
        assert!(own.iter().all(|verdict| !verdict.lost && !verdict.duplicated));
    }

    #[test]
    fn a_rule_for_one_host_spares_the_others() {
        let mut rng = Rng::new(1);
        let mut rules = Rules::default();
        rules.add(Rule { act: Act::FailFlash, ppm: 1_000_000, at: Some(Seat(2)) });
        assert!(rules.flash_fails(Seat(2), &mut rng) && !rules.flash_fails(Seat(1), &mut rng));
    }
}
