//! When everybody has said what it is who can: nodes of the C++ library say nothing.

use meshward_core::node::Node;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

/// How often everybody is asked, as long as somebody says nothing.
const ROUNDS: u32 = 2;
/// In the second round so many of those who have said nothing are asked alone as well: who has heard the first
/// question does not answer the same one again, and its answer may be what was lost.
const ALONE_MAX: usize = 100;
/// A round is over when nobody has answered for so long, and so much longer for each hop: answers wait for others.
const QUIET: Duration = Duration::from_millis(1_500);
const QUIET_PER_HOP: Duration = Duration::from_millis(200);
/// No survey takes longer.
const MAX: Duration = Duration::from_secs(60);

/// See the module's page.
#[derive(Debug)]
pub(super) struct Survey {
    since: Instant,
    round: u32,
    /// When somebody answered last, or the round began; and how many had by then.
    news: Instant,
    answered: usize,
}

impl Survey {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, round: 1, news: now, answered: 0 }
    }

    /// Whether nothing more is to be expected. Asks again if it is worth it.
    pub(super) fn is_over<'a>(
        &mut self,
        now: Instant,
        node: &mut Node,
        targets: impl Iterator<Item = &'a NodeId>,
    ) -> bool {
        let members = node.exchange().members();
        let told = |id: &NodeId| {
            let member = members.get(id);
            member.is_some_and(|member| member.about.is_some() && member.heard >= self.since)
        };
        let present: Vec<&NodeId> = targets.filter(|id| node.mesh().knows(**id)).collect();
        let answered = present.iter().filter(|id| told(id)).count();
        if answered > self.answered {
            (self.answered, self.news) = (answered, now);
        }
        if answered == present.len() || now >= self.since + MAX {
            return true;
        }
        if now < self.due(node) {
            return false;
        }
        if self.round >= ROUNDS {
            return true;
        }
        self.round += 1;
        self.news = now;
        let silent: Vec<NodeId> =
            present.iter().filter(|id| !told(id)).take(ALONE_MAX).map(|id| **id).collect();
        node.survey(now);
        silent.into_iter().for_each(|id| node.survey_one(now, id));
        false
    }

    /// When the round is over if nobody answers.
    pub(super) fn due(&self, node: &Node) -> Instant {
        let deepest = node.mesh().tree().depths().map(|(_, depth, _)| depth).max().unwrap_or(0);
        (self.news + QUIET + QUIET_PER_HOP.saturating_mul(deepest.into())).min(self.since + MAX)
    }
}
