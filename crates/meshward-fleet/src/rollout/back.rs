//! The way back: Meshward nodes go back to the image before, the last wave first, and then the image is put into
//! quarantine in the whole mesh.
//!
//! Whoever was told to start the image and is not known to run the one before is meant, the silent ones too: who
//! cannot join goes back by itself, and says so when it is there again. Stock nodes have no way back but another
//! update, and are named.

use meshward_core::time::Duration;
use meshward_core::wire::NodeId;

use super::{ENGINE, Effect, Family, Outcome, Phase, Rollout, Seen, wave_name};
use crate::deployment::{self, Revert};
use crate::memory::Moment;

/// So long one wave's way back may take; the deployment gives a node up before.
pub const REVERT_MAX: Duration = Duration::from_secs(25 * 60);
/// So long the quarantine may take to be heard by those who are there.
pub const QUARANTINE_MAX: Duration = Duration::from_secs(10 * 60);
/// What is said of stock nodes.
const NO_WAY_BACK: &str = "is a stock node: only another update takes it back";

impl Rollout {
    /// Everything that was updated goes back.
    pub(super) fn go_back(&mut self, moment: Moment, by: &str, why: String) {
        self.why.clone_from(&why);
        self.decide(moment, by, "roll_back", why, Vec::new());
        // From the wave that was begun last.
        self.wave = self.wave.min(self.waves.len().saturating_sub(1));
        self.settled = None;
        self.go(moment.now, Phase::RollingBack);
    }

    /// One look at the wave that goes back; whether another step may follow at once.
    pub(super) fn look_at_rollback(&mut self, seen: &Seen) -> bool {
        let now = seen.moment.now;
        // Nobody else starts it, whatever happens.
        if seen.phase != deployment::Phase::Finished {
            self.want(Effect::Stop);
        }
        if self.settled.is_some() {
            return self.look_at_quarantine(seen);
        }
        let (mut untold, mut open) = (Vec::new(), false);
        let late = now.since(self.since) >= REVERT_MAX;
        let wave = self.wave;
        for (id, member) in self.nodes.iter_mut().filter(|(_, one)| one.wave == Some(wave)) {
            if member.told.is_none() {
                if member.outcome == Outcome::Waiting {
                    member.outcome = Outcome::LeftOut("the roll-out went back before its turn".to_owned());
                }
                continue;
            }
            if member.family != Some(Family::Meshward) {
                if member.outcome.runs() || member.outcome == Outcome::Starting {
                    member.outcome = Outcome::Kept(NO_WAY_BACK.to_owned());
                }
                continue;
            }
            if !may_run(&member.outcome) {
                continue;
            }
            match seen.nodes.get(id).and_then(|node| node.revert.as_ref()) {
                None if late => member.outcome = Outcome::Kept("has not been heard".to_owned()),
                None => untold.push(*id),
                Some(Revert::Done) => member.outcome = Outcome::Reverted,
                Some(Revert::Failed(why)) => member.outcome = Outcome::Kept(why.to_string()),
                Some(Revert::Ordered) if late => {
                    member.outcome = Outcome::Kept("has not shown that it went back".to_owned());
                }
                Some(Revert::Ordered) => open = true,
            }
        }
        if !untold.is_empty() {
            self.order_back(seen, untold);
            return false;
        }
        if open {
            return false;
        }
        if self.wave > 0 {
            self.wave -= 1;
            self.since = now;
            return true;
        }
        self.leave_out();
        (self.settled, self.since) = (Some(now), now);
        self.decide(
            seen.moment,
            ENGINE,
            "quarantine",
            "the image may not run any more".to_owned(),
            Vec::new(),
        );
        true
    }

    fn order_back(&mut self, seen: &Seen, nodes: Vec<NodeId>) {
        let names: Vec<String> = nodes.iter().map(ToString::to_string).collect();
        let words = format!("of {} go back: {}", wave_name(self.wave), names.join(", "));
        self.decide(seen.moment, ENGINE, "revert", words, Vec::new());
        self.want(Effect::Revert(nodes));
    }

    /// Whose wave had not begun will not be updated.
    fn leave_out(&mut self) {
        for member in self.nodes.values_mut().filter(|member| member.outcome == Outcome::Waiting) {
            member.outcome = Outcome::LeftOut("the roll-out went back before its turn".to_owned());
        }
    }

    fn look_at_quarantine(&mut self, seen: &Seen) -> bool {
        let ours = self.nodes.values().any(|member| member.family == Some(Family::Meshward));
        if ours && !seen.quarantined && seen.moment.now.since(self.since) < QUARANTINE_MAX {
            self.want(Effect::Quarantine);
            return false;
        }
        let kept = self.nodes.values().filter(|member| matches!(member.outcome, Outcome::Kept(_))).count();
        let words = match kept {
            0 => "nobody runs the image any more".to_owned(),
            count => format!("{count} nodes may still run the image, and are named"),
        };
        let why = format!("{}; {words}", self.why);
        self.end(seen, Phase::RolledBack, why)
    }
}

/// Whether a node may run the image.
fn may_run(outcome: &Outcome) -> bool {
    !matches!(
        outcome,
        Outcome::Waiting
            | Outcome::Declined(_)
            | Outcome::Fault(_)
            | Outcome::LeftOut(_)
            | Outcome::Reverted
            | Outcome::Kept(_)
    )
}
