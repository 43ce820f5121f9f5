//! What roll-outs that are under way at once must not share: a role on a board, and nodes.
//!
//! Two images for one role and hardware would be two plans for the same nodes, those included that join later. Nodes are
//! somebody's who named them, or who has found out that they are of its role; of a roll-out for everybody that has not
//! asked yet, only those of which that is known. Where a node is meant because everybody is, it is passed over if
//! somebody else has it.

use std::collections::BTreeMap;

use meshward_core::node::Node;
use meshward_core::time::Instant;
use meshward_core::wire::NodeId;
use meshward_fleet::deployment::{Phase, State};
use meshward_fleet::rollout::{Facts, drive};

use super::{Gateway, ROLLOUTS_AT_ONCE, Rollout, RolloutError, RolloutRequest};

/// Nodes that are named in an error, at most.
pub(super) const NAMED_MAX: usize = 10;

impl RolloutRequest {
    /// Whether somebody chose its nodes.
    pub(super) fn names_nodes(&self) -> bool {
        self.nodes.is_some() || self.plan.as_ref().is_some_and(|plan| !plan.select.is_empty())
    }
}

/// Whether a node is of a roll-out's role and hardware, as far as that is known.
fn is_for(facts: Option<&Facts>, rollout: &Rollout) -> Option<bool> {
    let facts = facts?;
    let same = |told: &Option<String>, wanted: &String| told.as_ref().map(|told| told == wanted);
    match (same(&facts.role, &rollout.role), same(&facts.hardware, &rollout.hardware)) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), _) => Some(true),
        (None, _) => None,
    }
}

impl Gateway {
    /// Whether one more may be under way, for this role and hardware.
    pub(super) fn has_room_for(&self, role: &str, hardware: &str) -> Result<(), RolloutError> {
        let same = |rollout: &&Rollout| rollout.role == role && rollout.hardware == hardware;
        if let Some(same) = self.told_under_way().find(same) {
            let (role, hardware) = (role.to_owned(), hardware.to_owned());
            return Err(RolloutError::Busy { id: same.id, role, hardware });
        }
        if self.under_way.len() >= ROLLOUTS_AT_ONCE {
            return Err(RolloutError::Full(self.under_way.iter().map(|one| one.id).collect()));
        }
        Ok(())
    }

    /// Whether none of these nodes is somebody else's.
    pub(super) fn are_free(
        &self,
        nodes: &[NodeId],
        taken: &BTreeMap<NodeId, u64>,
    ) -> Result<(), RolloutError> {
        let Some(id) = nodes.iter().find_map(|node| taken.get(node)).copied() else { return Ok(()) };
        let shared = nodes.iter().filter(|node| taken.get(node) == Some(&id));
        Err(RolloutError::Shared { id, nodes: shared.copied().collect() })
    }

    /// Whose nodes are, of those that a roll-out under way has.
    pub(super) fn taken(&mut self, now: Instant, node: &Node) -> BTreeMap<NodeId, u64> {
        if self.under_way.is_empty() {
            return BTreeMap::new();
        }
        self.refresh(now, node);
        let mut facts = drive::facts(now, &mut self.fleet);
        drive::told(node, &mut facts);
        let mut taken = BTreeMap::new();
        for rollout in self.told_under_way() {
            let sure =
                rollout.request.names_nodes() || !matches!(rollout.phase, Phase::Surveying | Phase::Queued);
            let has = |id: NodeId| is_for(facts.get(&id), rollout).unwrap_or(sure);
            let lines = rollout.nodes.iter().filter(|line| !matches!(line.state, State::Declined(_)));
            taken.extend(lines.filter(|line| has(line.node)).map(|line| (line.node, rollout.id)));
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use meshward_core::mesh::MeshConfig;
    use meshward_core::node::NodeConfig;
    use meshward_core::ota::trust::KeyKind;
    use meshward_fleet::Fleet;
    use meshward_fleet::firmware::ImageInfo;
    use meshward_fleet::fleet::Settings;
    use meshward_fleet::forecast::Scheme;
    use meshward_fleet::rollout::RolloutPlan;
    use meshward_fleet::signing::SigningKey;
    use tokio::sync::mpsc;

    use crate::service::{Control, Job, Owner};
    use crate::shell::Clock;

    const NOW: Instant = Instant::from_micros(1_000_000);

    /// A gateway with an image, its node, and those who would pack.
    struct Bench {
        gateway: Gateway,
        node: Node,
        _jobs: mpsc::Receiver<(Owner, Job)>,
        image: [u8; 32],
    }

    impl Bench {
        fn new() -> Self {
            let fleet = Fleet::new(Instant::ORIGIN, NodeId(1), 1, Settings::default()).unwrap();
            let operator = SigningKey::from_seed(KeyKind::Operator, [1; 32]).unwrap();
            let (sender, jobs) = mpsc::channel(ROLLOUTS_AT_ONCE);
            let mut gateway = Gateway::new(&Clock::start(), fleet, operator, sender);
            let image: Arc<[u8]> = vec![0xE9; 2_000].into();
            let info = ImageInfo::of(&image);
            let sum = info.sha256;
            gateway.add_firmware("x".to_owned(), image, info);
            let node = Node::new(NodeConfig::new(MeshConfig::gateway(NodeId(1), 1)));
            Self { gateway, node, _jobs: jobs, image: sum }
        }

        fn request() -> RolloutRequest {
            RolloutRequest {
                firmware: [0; 32],
                role: None,
                hardware: "ESP32".to_owned(),
                scheme: Scheme::Turbo,
                nodes: None,
                force_image: true,
                confirm_receiver: true,
                slot_size: 100_000,
                part_size: 1_024,
                concurrency: 1,
                hold: false,
                airtime: 100,
                plan: None,
            }
        }

        fn start(&mut self, role: &str, nodes: &[u32]) -> Result<u64, RolloutError> {
            let nodes = Some(nodes.iter().copied().map(NodeId).collect());
            let (firmware, role) = (self.image, Some(role.to_owned()));
            let request = RolloutRequest { firmware, role, nodes, ..Self::request() };
            self.gateway.start(NOW, &mut self.node, &request, "ada").map(|rollout| rollout.id)
        }

        /// Where a roll-out is, and for which it waits.
        fn stands(&mut self, id: u64) -> (Phase, Option<u64>) {
            let rollout = self.gateway.rollout(NOW, &self.node, id).unwrap();
            (rollout.phase, rollout.waits_for)
        }

        fn act(&mut self, id: u64, control: &Control) {
            self.gateway.control(NOW, &mut self.node, id, (control, "ada")).unwrap();
        }
    }

    #[test]
    fn roll_outs_for_other_nodes_are_under_way_at_once_and_take_turns() {
        let mut bench = Bench::new();
        for (place, role) in ["sensor", "valve", "pump", "door"].into_iter().enumerate() {
            assert_eq!(bench.start(role, &[7 + place as u32]).unwrap(), place as u64 + 1);
        }
        assert_eq!((bench.stands(1), bench.stands(2)), ((Phase::Packing, None), (Phase::Queued, Some(1))));
        let full = bench.start("lamp", &[20]).unwrap_err().to_string();
        assert!(full.starts_with("4 roll-outs are under way at once, and no more: 1, 2, 3, 4"), "{full}");
        // Who is paused lets the next one send, and queues again behind those before it.
        bench.act(1, &Control::Pause);
        assert_eq!((bench.stands(2), bench.stands(3)), ((Phase::Packing, None), (Phase::Queued, Some(2))));
        bench.act(2, &Control::Abort);
        assert_eq!((bench.stands(2).0, bench.stands(3).0), (Phase::Finished, Phase::Packing));
        let paused = bench.gateway.rollout(NOW, &bench.node, 1).unwrap();
        assert!(paused.paused && paused.finished.is_none(), "the end of one is not that of another");
        assert_eq!(bench.start("lamp", &[20]).unwrap(), 5, "there is room again");
    }

    #[test]
    fn two_plans_for_one_node_are_refused_with_the_one_that_has_it() {
        let mut bench = Bench::new();
        bench.start("sensor", &[7, 8]).unwrap();
        let same = bench.start("sensor", &[9]).unwrap_err().to_string();
        assert!(
            same.starts_with("roll-out 1 is under way for the same role and hardware, sensor on ESP32"),
            "{same}"
        );
        let shared = bench.start("valve", &[6, 7, 8]).unwrap_err().to_string();
        assert!(shared.starts_with("roll-out 1 is under way and has nodes 7, 8:"), "{shared}");
        assert!(matches!(bench.start("valve", &[8]), Err(RolloutError::Shared { id: 1, .. })));
        assert_eq!(bench.start("valve", &[6]).unwrap(), 2);
        bench.act(1, &Control::Abort);
        assert_eq!(bench.start("sensor", &[7]).unwrap(), 3, "it is nobody's any more");
    }

    #[test]
    fn nodes_are_chosen_by_somebody_or_are_everybody() {
        let mut request = RolloutRequest { nodes: None, plan: None, ..Bench::request() };
        assert!(!request.names_nodes());
        request.plan = Some(RolloutPlan::default());
        assert!(!request.names_nodes(), "an empty selector means everybody");
        if let Some(plan) = &mut request.plan {
            plan.select.tags = vec!["cellar".to_owned()];
        }
        assert!(request.names_nodes());
    }
}
