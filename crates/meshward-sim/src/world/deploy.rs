//! A gateway's deployments beside its node: updates of both families, as its service runs them.
//!
//! Here they are only driven: events of the node in, timers, turns, and packing, which takes no time in a world. A
//! restart of the host takes them away, as that of any program. The roll-outs that steer them are looked after by
//! whoever runs the world, with the fleet on the same host. A deployment's place among them is its number.

use std::collections::BTreeMap;
use std::sync::Arc;

use meshward_core::node::{self, Node};
use meshward_core::time::Instant;
use meshward_core::wire::NodeId;
use meshward_fleet::deployment::{Deployment, Plan, take_turns};
use meshward_fleet::memory::{Moment, Stamp};
use meshward_fleet::rollout::{Facts, Rollout, drive};

use super::machine::Machine;
use super::{Seat, World};

fn turns(now: Instant, node: &mut Node, deployments: &mut [Deployment]) {
    if deployments.is_empty() {
        return;
    }
    let mut all: Vec<(u64, &mut Deployment)> = (0..).zip(deployments).collect();
    take_turns(now, node, &mut all);
}

/// The deployments hear what has happened on their node.
pub(super) fn hear(now: Instant, node: &mut Node, deployments: &mut [Deployment], event: &node::Event) {
    deployments.iter_mut().for_each(|deployment| deployment.handle_event(now, node, event));
    turns(now, node, deployments);
}

/// Packs what is to be packed; whether there was anything.
pub(super) fn pack(now: Instant, node: &mut Node, deployments: &mut [Deployment]) -> bool {
    let mut any = false;
    for deployment in deployments.iter_mut() {
        if let Some(job) = deployment.poll_job() {
            deployment.handle_packed(now, node, job.run());
            any = true;
        }
    }
    turns(now, node, deployments);
    any
}

impl World {
    /// The gateway on a host starts a deployment, beside those that it has if it takes turns with them. A node that
    /// is busy says so to its operator; there is none here.
    pub(super) fn deploy(&mut self, seat: Seat, plan: &Arc<Plan>) {
        let host = &mut self.hosts[seat.0];
        let local = host.local(self.now);
        if let Some(node) = host.machine.as_mut().and_then(Machine::node_mut) {
            if !plan.takes_turns {
                host.deployments.clear();
            }
            host.deployments.extend(Deployment::start(local, node, (**plan).clone()));
            turns(local, node, &mut host.deployments);
            self.after_input(seat);
        }
    }

    /// Deployments' timers may be due; whether any was.
    pub(super) fn wake_deployments(&mut self, seat: Seat) -> bool {
        let host = &mut self.hosts[seat.0];
        let local = host.local(self.now);
        let Some(node) = host.machine.as_mut().and_then(Machine::node_mut) else { return false };
        let mut any = false;
        for deployment in &mut host.deployments {
            if deployment.poll_timeout().is_some_and(|due| due <= local) {
                deployment.handle_timeout(local, node);
                any = true;
            }
        }
        turns(local, node, &mut host.deployments);
        any
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

    /// One look of a roll-out at its deployment and the fleet on a host, and what it wants done. `elsewhere` is
    /// another one that restarts nodes. `keep` sees it between the two, as a database does.
    pub fn steer(
        &mut self,
        (seat, number): (Seat, usize),
        moment: Moment,
        rollout: &mut Rollout,
        (facts, elsewhere): (&BTreeMap<NodeId, Facts>, Option<String>),
        keep: impl FnOnce(&mut Rollout),
    ) {
        let host = &mut self.hosts[seat.0];
        let node = host.machine.as_mut().and_then(Machine::node_mut);
        if let (Some(node), Some(deployment), Some(watcher)) =
            (node, host.deployments.get_mut(number), host.watcher.as_mut())
        {
            let evidence = &*watcher.fleet_mut();
            drive::round(moment, rollout, deployment, node, (facts, evidence), elsewhere, keep);
            turns(moment.now, node, &mut host.deployments);
            self.after_input(seat);
        }
    }

    /// The deployment of this number that the gateway on this host runs or has run, and its node.
    pub fn deployment(&self, seat: Seat, number: usize) -> Option<(&Deployment, &Node)> {
        let host = &self.hosts[seat.0];
        host.deployments.get(number).zip(host.machine.as_ref().and_then(Machine::node))
    }
}
