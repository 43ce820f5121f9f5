//! The image on its way: payloads to Meshward nodes, then parts to stock nodes.

use meshward_core::node::Node;
use meshward_core::ota::exchange::{self, UpdatePlan};
use meshward_core::ota::{Distributor, ImagePlan, Scheme, TargetReport as StockReport, TargetState};
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

use super::reasons::Why;
use super::{Deployment, Family, Phase, STOCK_SILENCE};

/// When payloads have not moved for so long, what has come has come.
const DELIVERY_SILENCE: Duration = Duration::from_secs(15 * 60);

impl Deployment {
    /// Brings payloads to the Meshward nodes that lack them; also after a pause.
    pub(super) fn send_payloads(&mut self, now: Instant, node: &mut Node) {
        let open = self.targets.iter().filter(|(_, target)| target.is_open(Family::Meshward));
        let plan = UpdatePlan {
            offerings: self.offerings.clone(),
            targets: open.map(|(id, _)| *id).collect(),
            tempo: self.plan.tempo,
            broadcast: self.plan.broadcast,
        };
        node.stop_update(now);
        if let Err(error) = node.start_update(now, plan) {
            let why = Why::NotStarted(error.to_string());
            let open = self.targets.values_mut().filter(|target| target.is_open(Family::Meshward));
            open.for_each(|target| target.fail(now, why.clone()));
        }
    }

    pub(super) fn look_at_delivery(&mut self, now: Instant, node: &mut Node) -> bool {
        let phase = node.exchange().phase();
        if phase != self.seen {
            (self.seen, self.moved) = (phase, now);
        }
        let since = self.since;
        if self.recognise(now, node) {
            self.send_payloads(now, node);
        }
        let lines = node.exchange().members();
        let said = |id: &NodeId| {
            let member = lines.get(id).filter(|member| member.heard >= since)?;
            member.line
        };
        for (id, target) in self.targets.iter_mut().filter(|(_, target)| target.is_open(Family::Meshward)) {
            if let Some(line) = said(id) {
                target.take_line(now, &line, &self.tags);
            }
        }
        let over = phase == Some(exchange::Phase::Delivered) || now.since(self.moved) >= DELIVERY_SILENCE;
        if !over && self.is_open(Family::Meshward) {
            return false;
        }
        for (id, target) in self.targets.iter_mut().filter(|(_, target)| target.is_open(Family::Meshward)) {
            target.judge_delivery(now, said(id), node.mesh().knows(*id), &self.tags);
        }
        self.delivered = true;
        self.pace.delivered(now.since(self.since), self.forecast.as_ref(), self.plan.tempo);
        self.begin_sending(now, node);
        true
    }

    /// Who was taken for a stock node, because its answers got lost, and says something of these payloads is none.
    /// Whether there was one.
    fn recognise(&mut self, now: Instant, node: &Node) -> bool {
        let members = node.exchange().members();
        let tag_of = |id: &NodeId| {
            let member = members.get(id).filter(|member| member.heard >= self.since)?;
            member.line?.tag.filter(|tag| self.tags.contains(tag))
        };
        let (ours, stock): (Vec<_>, Vec<_>) = self
            .targets
            .iter()
            .filter(|(_, target)| !target.state.is_final())
            .filter_map(|(id, target)| Some((*id, tag_of(id)?, target.parts, target.family)))
            .partition(|(.., family)| *family == Some(Family::Meshward));
        for (id, tag, ..) in &stock {
            let Some(target) = self.targets.get_mut(id) else { continue };
            let alike = ours.iter().find(|(_, other, ..)| other == tag);
            target.family = Some(Family::Meshward);
            (target.since, target.parts) = (now, alike.map_or(0, |(.., parts, _)| *parts));
        }
        !stock.is_empty()
    }

    pub(super) fn begin_sending(&mut self, now: Instant, node: &mut Node) {
        let stock: Vec<NodeId> = self.open(Family::Stock).collect();
        if stock.is_empty() {
            return self.staged(now);
        }
        let plan = ImagePlan {
            scheme: self.forecast.as_ref().and_then(|forecast| forecast.stock).unwrap_or(Scheme::Turbo),
            image: self.plan.image.to_vec(),
            role: self.plan.role.clone().into_bytes(),
            hardware: self.plan.hardware.clone().into_bytes(),
            targets: stock,
            part_size: self.plan.part_size,
            concurrency: self.plan.concurrency.max(1),
            // Where nobody else is waited for, stock nodes start the image as soon as they have it.
            hold: self.plan.hold || self.is_open(Family::Meshward),
            tempo: self.plan.tempo,
        };
        self.go(now, Phase::Sending);
        match node.start_rollout(now, plan) {
            Ok(session) => self.stock = Some(session),
            Err(error) => {
                let why = Why::NotStarted(error.to_string());
                let open = self.targets.values_mut().filter(|target| target.is_open(Family::Stock));
                open.for_each(|target| target.fail(now, why.clone()));
            }
        }
    }

    fn open(&self, family: Family) -> impl Iterator<Item = NodeId> + '_ {
        self.targets.iter().filter(move |(_, target)| target.is_open(family)).map(|(id, _)| *id)
    }

    fn stock_report(&self, node: &Node) -> Vec<StockReport> {
        let distributor = self.stock.and_then(|session| node.distributors().get(session));
        distributor.map(Distributor::report).unwrap_or_default()
    }

    /// Hears what the distributor says of its targets. Where messages are lost it may be wrong about a silent one,
    /// and that one may ask later.
    pub(super) fn hear_stock(&mut self, now: Instant, node: &Node) {
        for report in self.stock_report(node) {
            let target = self.targets.get_mut(&report.node);
            let target =
                target.filter(|target| target.is_open(Family::Stock) || target.is_judged_by_silence());
            target.into_iter().for_each(|target| target.take_stock(now, &report));
        }
    }

    pub(super) fn look_at_stock(&mut self, now: Instant, node: &mut Node) -> bool {
        self.hear_stock(now, node);
        let comes = |state: TargetState| {
            use TargetState::{Announced, Listening, Receiving, Waiting};
            matches!(state, Waiting | Announced | Listening | Receiving)
        };
        if now.since(self.moved) >= STOCK_SILENCE {
            self.give_up_stock(now, node);
        } else if self.stock_report(node).iter().any(|report| comes(report.state)) {
            return false;
        }
        self.pace.sent(now.since(self.since));
        self.staged(now);
        true
    }

    pub(super) fn give_up_stock(&mut self, now: Instant, node: &mut Node) {
        if let Some(session) = self.stock {
            node.abort_rollout(now, session);
        }
        self.hear_stock(now, node);
    }
}
