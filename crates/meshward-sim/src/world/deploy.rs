//! A gateway's deployment beside its node: an update of both families, as its service runs one.
//!
//! Here it is only driven: events of the node in, timers, and packing, which takes no time in a world. A restart of
//! the host takes it away, as that of any program. The roll-out that steers it is looked after by whoever runs the
//! world, with the fleet on the same host.

use std::collections::BTreeMap;
use std::sync::Arc;

use meshward_core::node::{self, Node};
use meshward_core::time::Instant;
use meshward_core::wire::NodeId;
use meshward_fleet::deployment::{Deployment, Plan};
use meshward_fleet::memory::{Moment, Stamp};
use meshward_fleet::rollout::{Facts, Rollout, drive};

use super::machine::Machine;
use super::{Seat, World};

/// The node of ours on a host, and the deployment beside it.
type Pair<'a> = (&'a mut Node, &'a mut Deployment);

/// The deployment hears what has happened on its node.
pub(super) fn hear(now: Instant, (node, deployment): Pair<'_>, event: &node::Event) {
    deployment.handle_event(now, node, event);
}

/// Packs what is to be packed; whether there was anything.
pub(super) fn pack(now: Instant, (node, deployment): Pair<'_>) -> bool {
    let Some(job) = deployment.poll_job() else { return false };
    deployment.handle_packed(now, node, job.run());
    true
}

impl World {
    /// The gateway on a host starts a deployment. A node that is busy says so to its operator; there is none here.
    pub(super) fn deploy(&mut self, seat: Seat, plan: &Arc<Plan>) {
        let host = &mut self.hosts[seat.0];
        let local = host.local(self.now);
        if let Some(node) = host.machine.as_mut().and_then(Machine::node_mut) {
            host.deployment = Deployment::start(local, node, (**plan).clone()).ok().map(Box::new);
            self.after_input(seat);
        }
    }

    /// A deployment's timer may be due; whether it was.
    pub(super) fn wake_deployment(&mut self, seat: Seat) -> bool {
        let host = &mut self.hosts[seat.0];
        let local = host.local(self.now);
        let node = host.machine.as_mut().and_then(Machine::node_mut);
        let Some((node, deployment)) = node.zip(host.deployment.as_mut()) else { return false };
        let due = deployment.poll_timeout().is_some_and(|due| due <= local);
        if due {
            deployment.handle_timeout(local, node);
        }
        due
    }

    /// Now, by the clock of a host; civil time began at `civil` when the world did.
    pub fn moment(&self, seat: Seat, civil: Stamp) -> Moment {
        let now = self.hosts[seat.0].local(self.now);
        Moment { now, civil: Stamp(civil.0 + self.now.as_micros() / 1_000) }
    }

    /// What the fleet on a host knows of its nodes.
    pub fn facts(&mut self, seat: Seat) -> BTreeMap<NodeId, Facts> {
        let host = &mut self.hosts[seat.0];
        let local = host.local(self.now);
        host.watcher.as_mut().map(|watcher| drive::facts(local, watcher.fleet_mut())).unwrap_or_default()
    }

    /// One look of a roll-out at the deployment and the fleet on a host, and what it wants done. `keep` sees it
    /// between the two, as a database does.
    pub fn steer(
        &mut self,
        seat: Seat,
        moment: Moment,
        rollout: &mut Rollout,
        facts: &BTreeMap<NodeId, Facts>,
        keep: impl FnOnce(&mut Rollout),
    ) {
        let host = &mut self.hosts[seat.0];
        let node = host.machine.as_mut().and_then(Machine::node_mut);
        if let (Some(node), Some(deployment), Some(watcher)) =
            (node, host.deployment.as_mut(), host.watcher.as_mut())
        {
            let evidence = &*watcher.fleet_mut();
            drive::round(moment, rollout, deployment, node, (facts, evidence), keep);
            self.after_input(seat);
        }
    }

    /// The deployment that the gateway on this host runs or has run, and its node.
    pub fn deployment(&self, seat: Seat) -> Option<(&Deployment, &Node)> {
        let host = &self.hosts[seat.0];
        host.deployment.as_deref().zip(host.machine.as_ref().and_then(Machine::node))
    }
}
