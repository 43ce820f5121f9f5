//! When everybody has said what it is who can: nodes of the C++ library say nothing.
//!
//! Silence proves that only where nothing gets lost. So each further question has a delay probe behind it, which
//! every node answers: how many of those come back says how often questions and answers get through, and a node is
//! asked until its silence would be an improbable coincidence, the deeper the oftener.
//!
//! Who is there at first and then is not, is waited for: nodes restart, by the order of an update before this one
//! too, and take along who is behind them.

use std::collections::{BTreeMap, BTreeSet};

use meshward_core::node::Node;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

/// How often everybody is asked at the least, as long as somebody says nothing.
const ROUNDS_LEAST: u32 = 2;
/// How often at the most.
const ROUNDS_MAX: u32 = 30;
/// So improbable is it to be that a node that can answer has not.
const MISSED_MAX: f64 = 1e-5;
/// From the second round on so many of those who have said nothing are asked alone: who has heard the first question
/// does not answer the same one again, and its answer may be what was lost.
const ALONE_MAX: usize = 100;
/// A round is over when nobody has answered for so long, and so much longer for each hop: answers wait for others.
const QUIET: Duration = Duration::from_millis(1_500);
const QUIET_PER_HOP: Duration = Duration::from_millis(200);
/// Where things get lost: an answer is repeated after 5 s without thanks, and others wait behind it.
const QUIET_LOSSY: Duration = Duration::from_secs(6);
/// So long may a node stay away that has been there: a restart, and the way back into the mesh.
const AWAY_MAX: Duration = Duration::from_secs(60);
/// No survey takes longer.
const MAX: Duration = Duration::from_secs(180);

/// See the module's page.
#[derive(Debug)]
pub(super) struct Survey {
    since: Instant,
    round: u32,
    /// When somebody answered last, or the round began; and how many had by then.
    news: Instant,
    answered: usize,
    probes: Probes,
    whereabouts: Whereabouts,
}

/// Probes to those who say nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Probes {
    sent: u32,
    /// How deep their nodes are, in sum.
    depth: u32,
    answered: u32,
}

impl Probes {
    /// In how many rounds a node at this depth is to be silent before that proves something.
    fn rounds(&self, depth: u32) -> u32 {
        if self.sent == 0 || self.depth == 0 {
            return ROUNDS_LEAST;
        }
        let sent = f64::from(self.sent);
        let share = (f64::from(self.answered) / sent).clamp(0.01, 1.0);
        // Each hop lets the same share pass.
        let answers = share.powf(f64::from(depth) * sent / f64::from(self.depth));
        // Where everybody answers at once, that is 0.
        let rounds = (MISSED_MAX.ln() / (1.0 - answers).ln()).ceil();
        (rounds as u32).clamp(ROUNDS_LEAST, ROUNDS_MAX)
    }
}

/// Who has been there, and who of those is away.
#[derive(Clone, Debug, Default)]
struct Whereabouts {
    seen: BTreeSet<NodeId>,
    /// Since when.
    away: BTreeMap<NodeId, Instant>,
    /// When they came back: what they said before may be true no longer.
    back: BTreeMap<NodeId, Instant>,
}

impl Whereabouts {
    /// These targets are there now. Those who have come back.
    fn update(&mut self, now: Instant, present: impl Fn(&NodeId) -> bool, targets: &[NodeId]) -> Vec<NodeId> {
        let mut returned = Vec::new();
        for id in targets {
            if !present(id) {
                if self.seen.contains(id) {
                    self.away.entry(*id).or_insert(now);
                }
            } else if !self.seen.insert(*id) && self.away.remove(id).is_some() {
                self.back.insert(*id, now);
                returned.push(*id);
            }
        }
        returned
    }

    /// Until when somebody is waited for.
    fn awaited(&self, now: Instant) -> Option<Instant> {
        self.away.values().map(|since| *since + AWAY_MAX).filter(|end| *end > now).min()
    }
}

impl Survey {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            round: 1,
            news: now,
            answered: 0,
            probes: Probes::default(),
            whereabouts: Whereabouts::default(),
        }
    }

    /// A probe has come back.
    pub(super) fn probe_answered(&mut self) {
        // Others may probe as well.
        self.probes.answered = (self.probes.answered + 1).min(self.probes.sent);
    }

    /// Whether nothing more is to be expected. Asks again if it is worth it.
    pub(super) fn is_over<'a>(
        &mut self,
        now: Instant,
        node: &mut Node,
        targets: impl Iterator<Item = &'a NodeId>,
    ) -> bool {
        let depths: BTreeMap<NodeId, u32> =
            node.mesh().tree().depths().map(|(id, depth, _)| (id, depth)).collect();
        let targets: Vec<NodeId> = targets.copied().collect();
        let returned = self.whereabouts.update(now, |id| depths.contains_key(id), &targets);
        if !returned.is_empty() {
            (self.round, self.news) = (1, now);
            returned.iter().for_each(|id| node.survey_one(now, *id));
        }
        let members = node.exchange().members();
        let told = |id: &NodeId| {
            let since = *self.whereabouts.back.get(id).unwrap_or(&self.since);
            let member = members.get(id);
            member.is_some_and(|member| member.about.is_some() && member.heard >= since)
        };
        let present = targets.iter().filter_map(|id| depths.get(id).map(|depth| (*id, *depth)));
        let (told, silent): (Vec<_>, Vec<_>) = present.partition(|(id, _)| told(id));
        if told.len() > self.answered {
            (self.answered, self.news) = (told.len(), now);
        }
        if now >= self.since + MAX {
            return true;
        }
        if self.whereabouts.awaited(now).is_some() {
            return false;
        }
        if silent.is_empty() {
            return true;
        }
        if now < self.due(now, node) {
            return false;
        }
        let is_open = |(_, depth): &(NodeId, u32)| self.round < self.probes.rounds(*depth);
        let open: Vec<_> = silent.into_iter().filter(is_open).take(ALONE_MAX).collect();
        if !open.is_empty() {
            self.ask_again(now, node, &open);
        }
        open.is_empty()
    }

    /// Another round, for these nodes at these depths.
    fn ask_again(&mut self, now: Instant, node: &mut Node, silent: &[(NodeId, u32)]) {
        self.round += 1;
        self.news = now;
        if self.round == ROUNDS_LEAST {
            node.survey(now);
        }
        for (id, depth) in silent {
            node.survey_one(now, *id);
            if node.probe(now, *id).is_ok() {
                self.probes.sent += 1;
                self.probes.depth += depth;
            }
        }
    }

    /// When to look again: when the round is over if nobody answers, or nobody is waited for any longer.
    pub(super) fn due(&self, now: Instant, node: &Node) -> Instant {
        if let Some(end) = self.whereabouts.awaited(now) {
            return end.min(self.since + MAX);
        }
        let deepest = node.mesh().tree().depths().map(|(_, depth, _)| depth).max().unwrap_or(0);
        let quiet = QUIET + QUIET_PER_HOP.saturating_mul(deepest.into());
        let quiet = if self.round > ROUNDS_LEAST { quiet.max(QUIET_LOSSY) } else { quiet };
        (self.news + quiet).min(self.since + MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_there_is_waited_for_and_who_never_was_is_not() {
        let (there, gone, never) = (NodeId(1), NodeId(2), NodeId(3));
        let targets = [there, gone, never];
        let at = |seconds| Instant::ORIGIN + Duration::from_secs(seconds);
        let mut whereabouts = Whereabouts::default();
        assert!(whereabouts.update(at(0), |id| *id != never, &targets).is_empty());
        assert_eq!(whereabouts.awaited(at(0)), None);
        for second in [1, 30] {
            assert!(whereabouts.update(at(second), |id| *id == there, &targets).is_empty());
            assert_eq!(whereabouts.awaited(at(second)), Some(at(1) + AWAY_MAX));
        }
        assert_eq!(whereabouts.update(at(40), |id| *id != never, &targets), [gone]);
        assert_eq!((whereabouts.awaited(at(40)), whereabouts.back.get(&gone)), (None, Some(&at(40))));
        // Once more, for ever.
        whereabouts.update(at(50), |_| false, &targets);
        assert_eq!(whereabouts.awaited(at(50) + AWAY_MAX), None);
    }

    #[test]
    fn silence_proves_more_where_less_gets_lost() {
        let check = |sent, answered, depth: u32, of: u32, rounds| {
            let probes = Probes { sent, answered, depth };
            assert_eq!(probes.rounds(of), rounds, "{probes:?}, a node at depth {of}");
        };
        // Nobody was probed yet.
        check(0, 0, 0, 9, ROUNDS_LEAST);
        // All came back.
        check(30, 30, 90, 9, ROUNDS_LEAST);
        // One in ten got lost at a depth of three.
        check(30, 27, 90, 1, 4);
        check(30, 27, 90, 3, 5);
        check(30, 27, 90, 9, 9);
        // Half did.
        check(30, 15, 90, 3, 17);
        check(30, 15, 90, 9, ROUNDS_MAX);
        // Nothing comes through at all.
        check(30, 0, 90, 1, ROUNDS_MAX);
    }
}
