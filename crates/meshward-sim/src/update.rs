//! What a gateway's service does with a signed update: asks who is there, starts, orders, and looks who runs it.
//!
//! An [`UpdateStory`] is what an operator wants; a [`Driver`] carries it out on a node of ours, which it only calls
//! and reads. It decides as little as it can: what the mesh carries, and when, is the node's business. It hears no
//! events; the world lets it look again and again, until every target runs the image for good or has said why not. All that it remembers over a restart of its host is the order
//! that it signed, as a gateway's database does; a world may take that away too.

use std::sync::Arc;

use meshward_core::node::Node;
use meshward_core::ota::Tempo;
use meshward_core::ota::exchange::{
    ImageId, Line, Member, Offering, Phase, PlanError, Stage, Tag, UpdatePlan,
};
use meshward_core::ota::trust::{Refusal, Verb};
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

use crate::signed::{Packing, Release};

/// How long nodes have to say what they are.
const SURVEY_MAX: Duration = Duration::from_secs(60);
/// Those that have not are asked again this often.
const SURVEY_AGAIN: Duration = Duration::from_secs(10);
/// So are those that have not said after the delivery that they run the new image for good.
const FOLLOW_AGAIN: Duration = Duration::from_secs(30);
/// Nodes that are ready and were told to restart are told again this often.
const ORDER_AGAIN: Duration = Duration::from_secs(10);
/// A target that says nothing for so long after the delivery is named as silent.
const SILENT: Duration = Duration::from_secs(330);

/// What an operator wants.
#[derive(Debug)]
pub struct UpdateStory {
    /// To which image.
    pub release: Release,
    /// As what it travels.
    pub offerings: Vec<Offering>,
    /// Who is to have it.
    pub targets: Vec<NodeId>,
    /// How much of the channel it may fill, in per cent.
    pub airtime: u8,
}

impl UpdateStory {
    /// A release to these nodes, packed in one or several manners.
    pub fn new(release: Release, packings: &[Packing], targets: Vec<NodeId>) -> Self {
        let offerings = packings.iter().map(|packing| release.offering(*packing)).collect();
        Self { release, offerings, targets, airtime: 100 }
    }

    fn plan(&self) -> UpdatePlan {
        let Self { offerings, targets, airtime, .. } = self;
        let (offerings, targets) = (offerings.clone(), targets.clone());
        UpdatePlan { offerings, targets, tempo: Tempo::with_airtime(*airtime), broadcast: true }
    }
}

/// What the gateway knows of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is under way.
    Open,
    /// It runs the new image on trial.
    Trying,
    /// It runs the new image for good.
    Updated,
    /// It will not, and says why.
    Named(Stage, u8),
    /// It has not been heard of for a long time.
    Silent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// It has not begun, in this life of its host.
    New,
    /// Nodes are asked what they are.
    Survey { since: Instant },
    /// The mesh has it.
    Bringing,
    /// All targets are at rest.
    Delivered { since: Instant },
    /// Every target has its outcome.
    Over,
    /// The node did not take the plan.
    Refused(PlanError),
}

/// See the module's page.
#[derive(Debug)]
pub struct Driver {
    story: Arc<UpdateStory>,
    image: ImageId,
    tags: Vec<Tag>,
    part: Part,
    /// What was ordered, with its counter.
    order: Option<(u64, Vec<u8>)>,
    asked: Instant,
    told: Instant,
}

impl Driver {
    /// Of this story.
    pub fn new(story: &Arc<UpdateStory>) -> Self {
        Self {
            image: story.release.sha256.into(),
            tags: story.offerings.iter().map(|offering| Tag::of(&offering.descriptor)).collect(),
            story: Arc::clone(story),
            part: Part::New,
            order: None,
            asked: Instant::ORIGIN,
            told: Instant::ORIGIN,
        }
    }

    /// Its host has restarted; the clock began again.
    pub fn restarted(&mut self) {
        self.part = Part::New;
    }

    /// Whether it has nothing more to do.
    pub fn is_over(&self) -> bool {
        matches!(self.part, Part::Over | Part::Refused(_))
    }

    /// Looks at the node, and does what is next.
    pub fn look(&mut self, now: Instant, node: &mut Node) {
        match self.part {
            Part::New => {
                self.ask(now, node);
                self.part = Part::Survey { since: now };
            }
            Part::Survey { since } => self.survey(now, since, node),
            Part::Bringing if node.exchange().phase() == Some(Phase::Delivered) => {
                self.part = Part::Delivered { since: now };
                self.tell_all(now, node);
            }
            Part::Bringing | Part::Over | Part::Refused(_) => {}
            Part::Delivered { since } => self.follow(now, since, node),
        }
    }

    fn ask(&mut self, now: Instant, node: &mut Node) {
        self.asked = now;
        node.survey(now);
    }

    fn survey(&mut self, now: Instant, since: Instant, node: &mut Node) {
        let known = |id: &NodeId| self.member(node, *id).is_some_and(|member| member.about.is_some());
        // Who is not there is not waited for.
        let open = |id: &NodeId| node.mesh().knows(*id) && !known(id);
        if !self.story.targets.iter().any(open) || now.since(since) >= SURVEY_MAX {
            self.part = match node.start_update(now, self.story.plan()) {
                Ok(()) => Part::Bringing,
                Err(error) => Part::Refused(error),
            };
        } else if now.since(self.asked) >= SURVEY_AGAIN {
            self.ask(now, node);
        }
    }

    /// Signs the order, unless that was done and nodes have not heard a later one.
    fn sign(&mut self, node: &Node) -> Vec<u8> {
        let operator = self.story.release.signers.operator.id();
        let abouts = node.exchange().members().values().filter_map(|member| member.about.as_ref());
        let last = abouts.filter_map(|about| about.counter(operator)).max().unwrap_or(0);
        if let Some((counter, signed)) = &self.order
            && *counter >= last
        {
            return signed.clone();
        }
        let verb = Verb::Activate(self.story.release.sha256);
        let signed = self.story.release.signers.order(last + 1, verb, None);
        self.order = Some((last + 1, signed.clone()));
        signed
    }

    fn tell_all(&mut self, now: Instant, node: &mut Node) {
        let signed = self.sign(node);
        self.told = now;
        node.order(now, &signed, None);
    }

    /// After the delivery: those that are ready still have not heard the order, those that are silent are asked.
    fn follow(&mut self, now: Instant, since: Instant, node: &mut Node) {
        let open: Vec<NodeId> = self.report(now, node).into_iter().filter_map(is_open).collect();
        if open.is_empty() {
            self.part = Part::Over;
            return;
        }
        if now.since(self.told) >= ORDER_AGAIN {
            let is_ready = |id: &NodeId| {
                let line = self.member(node, *id).and_then(|member| member.line);
                line.is_some_and(|line| line.stage == Stage::Ready)
            };
            let ready: Vec<NodeId> = open.into_iter().filter(is_ready).collect();
            self.told = now;
            if !ready.is_empty() {
                let signed = self.sign(node);
                node.order(now, &signed, Some(&ready));
            }
        }
        // What has restarted reports itself; asking is for what was lost.
        if now.since(self.asked.max(since)) >= FOLLOW_AGAIN {
            self.ask(now, node);
        }
    }

    fn member<'n>(&self, node: &'n Node, id: NodeId) -> Option<&'n Member> {
        node.exchange().members().get(&id)
    }

    /// What is known of each target, in the order of the story.
    pub fn report(&self, now: Instant, node: &Node) -> Vec<(NodeId, Outcome)> {
        let line = |id: &NodeId| (*id, self.outcome(now, node, *id));
        self.story.targets.iter().map(line).collect()
    }

    fn outcome(&self, now: Instant, node: &Node, id: NodeId) -> Outcome {
        let member = self.member(node, id);
        let told = member.map_or(Outcome::Open, |member| self.told(member));
        let heard = member.map_or(Instant::ORIGIN, |member| member.heard);
        let silent = match self.part {
            Part::Delivered { since } => now.since(since.max(heard)) >= SILENT,
            Part::Over => true,
            _ => false,
        };
        if silent && matches!(told, Outcome::Open | Outcome::Trying) { Outcome::Silent } else { told }
    }

    /// What a member has told.
    fn told(&self, member: &Member) -> Outcome {
        let Some(Line { tag, stage, reason, .. }) = member.line else { return Outcome::Open };
        let ours = tag.is_some_and(|tag| self.tags.contains(&tag));
        let runs = member.about.as_ref().is_some_and(|about| about.running == Some(self.image));
        // Who runs it already says that it is not newer.
        let same = Refusal::Sequence { offered: 0, running: 0 }.code();
        match stage {
            Stage::Trial if ours => Outcome::Trying,
            Stage::Confirmed if ours || runs => Outcome::Updated,
            Stage::Idle if runs => Outcome::Updated,
            Stage::Refused if runs && reason == same => Outcome::Updated,
            // Without a reason it will be tried again.
            Stage::Reverted if reason == 0 => Outcome::Open,
            Stage::Refused | Stage::Failed | Stage::Reverted => Outcome::Named(stage, reason),
            _ => Outcome::Open,
        }
    }
}

fn is_open((id, outcome): (NodeId, Outcome)) -> Option<NodeId> {
    matches!(outcome, Outcome::Open | Outcome::Trying).then_some(id)
}
