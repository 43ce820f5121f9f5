//! Stories that the demonstration tells, each with an end that is checked.
//!
//! *bad-canary*: a release that fails its self-test is brought to everybody and started by a canary. Its nodes go back
//! by themselves, a gate breaks, the roll-out goes back, and the image is put into quarantine; somebody who tries it
//! once more finds that nobody takes it. What each node runs in the end is read off its flash, and how often it has
//! started is counted by its boot loader: what nodes and gateway say is told, and not believed.

use std::collections::BTreeSet;
use std::time::Instant;

use meshward_fleet::rollout::{Canary, Gate, Restart, RolloutPlan, Size, Soak, Wave};
use meshward_gateway::rest::model::{NewRollout, Progress, Rollout, RolloutNodeState};

use super::gateway::VirtualGateway;
use super::mesh::VirtualMesh;
use super::trust::Author;
use super::{Args, PATIENCE, ROLE};
use crate::{deploy, waves};

/// A canary, two waves, and somebody in each.
pub(super) const NODES_LEAST: u32 = 6;
/// What the bad release is called.
const VERSION: &str = "1.4.3";

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Story {
    /// A bad release is caught by the canary and rolled back.
    BadCanary,
}

/// See the module's page.
pub(super) struct Scene<'a> {
    pub(super) args: &'a Args,
    pub(super) mesh: &'a VirtualMesh,
    pub(super) gateway: &'a VirtualGateway,
    pub(super) author: &'a Author,
}

/// What was found at the end.
struct Ending {
    /// Where the waves ended.
    phase: String,
    canary: BTreeSet<u32>,
    /// Nodes of the canary that run the old image again.
    back: usize,
    /// Nodes that were let start the image, and are not of the canary.
    others: usize,
    /// Nodes that have started more or less often than they should.
    odd_boots: usize,
    /// Nodes that run another image than at first.
    changed: usize,
    /// Nodes that took the image when it was tried once more.
    took_again: usize,
    refused_again: usize,
    nodes: usize,
    seconds: f64,
}

impl Ending {
    fn is_right(&self) -> bool {
        self.phase == "rolled_back"
            && !self.canary.is_empty()
            && self.back == self.canary.len()
            && self.others + self.odd_boots + self.changed + self.took_again == 0
            && self.refused_again > 0
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "story": "bad-canary",
            "good": self.is_right(),
            "phase": self.phase,
            "nodes": self.nodes,
            "canary": self.canary,
            "canary_back": self.back,
            "others_activated": self.others,
            "odd_boots": self.odd_boots,
            "changed": self.changed,
            "took_again": self.took_again,
            "refused_again": self.refused_again,
            "seconds": (self.seconds * 1_000.0).round() / 1_000.0,
        })
    }
}

/// Short soaks: nobody waits half an hour for a demonstration. The gates are those without statistics, which need no
/// values to compare with.
fn plan() -> RolloutPlan {
    RolloutPlan {
        name: format!("{VERSION} in waves"),
        canary: Canary { size: Size::Count(3), ..Canary::default() },
        waves: vec![Wave::of(Size::Percent(40)), Wave::of(Size::Rest)],
        gates: vec![Gate::Faults { most: 0 }, Gate::Success { percent_least: 90.0, failures_least: 2 }],
        soak: Soak { soak_s: 4, looks: 2, baseline_s: 1, patience_s: 4 },
        restart: Restart { away_percent_most: 50, ..Restart::default() },
        ..RolloutPlan::default()
    }
}

impl Scene<'_> {
    /// Tells it; whether it ended as it should. Then, if the mesh stays, waits until `asked` is ready.
    pub(super) async fn tell(
        &self,
        story: Story,
        images: (&[u8], &[u8]),
        asked: impl Future<Output = ()>,
    ) -> anyhow::Result<bool> {
        let Story::BadCanary = story;
        let told = async {
            let ending = self.bad_canary(images).await?;
            self.args.say(&sentence(&ending));
            if self.args.json {
                println!("{}", ending.json());
            }
            if !self.args.once {
                self.args.say(&format!("it stays at {}/; Ctrl-C ends it", self.gateway.client().url()));
                std::future::pending::<()>().await;
            }
            Ok(ending.is_right())
        };
        tokio::select! {
            () = asked => Ok(true),
            good = told => good,
        }
    }

    async fn bad_canary(&self, (bad, base): (&[u8], &[u8])) -> anyhow::Result<Ending> {
        let started = Instant::now();
        let client = self.gateway.client();
        self.gateway.sees(self.mesh.len()).await?;
        client.upload("node-c3 v1.4.2", base.to_vec()).await?;
        let firmware = client.upload(&format!("node-c3 v{VERSION}"), bad.to_vec()).await?;
        client.manifest(&firmware.sha256, self.author.manifest(bad, (VERSION, 1))?).await?;
        let new = NewRollout {
            confirm_receiver: true,
            plan: Some(plan()),
            ..NewRollout::new(firmware.sha256, Some(ROLE.to_owned()))
        };
        self.say_plan(&new).await?;
        let started_rollout = client.start(&new).await?;
        let mut said = BTreeSet::new();
        let rollout = waves::follow(client, started_rollout, false, |rollout| {
            for line in waves::news(rollout) {
                if said.insert(line.clone()) {
                    self.args.say(&format!("  {:5.1} s  {line}", started.elapsed().as_secs_f64()));
                }
            }
        })
        .await?;
        if !self.args.json {
            println!("{}", waves::page(&rollout));
        }
        // A gateway's queue of nodes that restart is empty only when they are back.
        self.gateway.sees(self.mesh.len()).await?;
        self.args.say("somebody tries the same image once more, without waves:");
        let again = client.start(&NewRollout { plan: None, ..new }).await?;
        let again = deploy::watch(client, again, false, |_| false, |_| {}).await?;
        let mut ending = self.look(&rollout, base).await?;
        ending.took_again = again.count(RolloutNodeState::Updated);
        ending.refused_again =
            again.count(RolloutNodeState::Failed) + again.count(RolloutNodeState::Declined);
        for node in again.nodes.iter().take(1) {
            let reason = node.reason.as_deref().unwrap_or("has no use for it");
            self.args.say(&format!("  node {} {reason}", node.id));
        }
        ending.seconds = started.elapsed().as_secs_f64();
        Ok(ending)
    }

    /// Says who would be in which wave, before anything is sent.
    async fn say_plan(&self, new: &NewRollout) -> anyhow::Result<()> {
        let preview = self.gateway.client().preview(new).await?;
        for wave in &preview.waves {
            let ids: Vec<String> = wave.nodes.iter().map(|node| node.id.to_string()).collect();
            self.args.say(&format!("{}: {}", wave.name, ids.join(", ")));
        }
        for note in &preview.notes {
            self.args.say(&format!("note: {note}"));
        }
        Ok(())
    }

    /// Reads every node's flash, and holds it against what was told of it.
    async fn look(&self, rollout: &Rollout, base: &[u8]) -> anyhow::Result<Ending> {
        let progress = rollout.progress.clone();
        let nodes = |mine: fn(usize) -> bool| {
            let waves = progress.iter().flat_map(|progress: &Progress| &progress.waves);
            let nodes = waves.filter(move |wave| mine(wave.wave)).flat_map(|wave| &wave.nodes);
            nodes.cloned().collect::<Vec<_>>()
        };
        let canary: BTreeSet<u32> = nodes(|wave| wave == 0).iter().map(|node| node.id).collect();
        let outcome = self.mesh.outcome(base, PATIENCE).await?;
        // A canary starts the image once, and then the old one again.
        let usual = |id: u32| if canary.contains(&id) { 3 } else { 1 };
        Ok(Ending {
            phase: progress.as_ref().map(|progress| progress.phase.clone()).unwrap_or_default(),
            back: outcome.iter().filter(|node| canary.contains(&node.id.0) && node.updated).count(),
            others: nodes(|wave| wave > 0).iter().filter(|node| node.tries > 0).count(),
            odd_boots: outcome.iter().filter(|node| !node.stock && node.boots != usual(node.id.0)).count(),
            changed: outcome.iter().filter(|node| !node.updated).count(),
            took_again: 0,
            refused_again: 0,
            nodes: outcome.len(),
            seconds: 0.0,
            canary,
        })
    }
}

fn sentence(ending: &Ending) -> String {
    let Ending { phase, canary, back, others, changed, took_again, refused_again, nodes, seconds, .. } =
        ending;
    let verdict = if ending.is_right() { "it ended as it should" } else { "it did NOT end as it should" };
    format!(
        "{verdict}: {}; {back} of {} canaries are back on the old image, {others} others were let start the new one, \
         {changed} of {nodes} nodes run anything else than at first, proved by their flash; tried once more {took_again} \
         took it and {refused_again} did not; {seconds:.1} s",
        phase.replace('_', " "),
        canary.len(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_makes_sense_and_a_story_that_ends_badly_is_no_success() {
        assert_eq!(meshward_fleet::rollout::check(&plan()), Ok(()));
        let right = || Ending {
            phase: "rolled_back".to_owned(),
            canary: [1, 2, 3].into(),
            back: 3,
            others: 0,
            odd_boots: 0,
            changed: 0,
            took_again: 0,
            refused_again: 12,
            nodes: 12,
            seconds: 1.0,
        };
        assert!(right().is_right() && sentence(&right()).starts_with("it ended as it should"));
        let wrong = [
            Ending { phase: "finished".to_owned(), ..right() },
            Ending { back: 2, ..right() },
            Ending { others: 1, ..right() },
            Ending { odd_boots: 1, ..right() },
            Ending { changed: 1, ..right() },
            Ending { took_again: 1, ..right() },
            Ending { refused_again: 0, ..right() },
            Ending { canary: BTreeSet::new(), back: 0, ..right() },
        ];
        assert!(wrong.iter().all(|ending| !ending.is_right()));
    }
}
