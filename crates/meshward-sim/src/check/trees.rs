//! Tree consistency: when nothing has been disturbed for a while, every node's tree is the real one.

use meshward_core::time::{Duration, Instant};

use super::{Checker, Findings};
use crate::world::{Happening, Record, World};

/// A dead link is found within 60 + 10 s; what comes of it takes little more.
const BOUND: Duration = Duration::from_secs(80);

/// See the module's page.
#[derive(Debug, Default)]
pub struct Trees {
    /// When something last happened to a link; `None` while faults are on.
    quiet_since: Option<Instant>,
    told: bool,
}

impl Trees {
    /// Faults are over.
    pub fn healed(&mut self, now: Instant) {
        self.quiet_since = Some(now);
    }
}

impl Checker for Trees {
    fn name(&self) -> &'static str {
        "trees"
    }

    fn see(&mut self, _world: &World, record: &Record, _findings: &mut Findings) {
        let disturbs = matches!(
            record.what,
            Happening::Booted(_) | Happening::Down(_) | Happening::LinkUp(_) | Happening::LinkDown(..)
        );
        if let (true, Some(since)) = (disturbs, self.quiet_since.as_mut()) {
            *since = record.at;
        }
    }

    fn look(&mut self, world: &World, findings: &mut Findings) {
        let quiet = self.quiet_since.is_some_and(|since| world.now().since(since) > BOUND);
        if !quiet || self.told {
            return;
        }
        if let Some(seat) = world.first_wrong_tree(&world.real_edges()) {
            self.told = true;
            findings.add(format!("node {} sees a tree that is not there", world.id(seat)));
        }
    }
}
