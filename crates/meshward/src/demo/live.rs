//! A mesh that lives, for whoever looks at the dashboard: nodes go and come back or find another parent, one leaks until
//! it must restart, and now and then there is an update to watch.
//!
//! Everything that happens follows from the seed, but for when: that is real time. What a visitor does to the mesh goes
//! first: while a roll-out runs, whoever's it is, nobody leaves, and no other one is started. What the gateway refuses
//! is said and tried again later.

use std::time::Duration;

use meshward_core::rng::Rng;
use meshward_gateway::rest::model::{NewName, NewRollout, RolloutState};
use tokio::time::Instant;

use super::gateway::VirtualGateway;
use super::mesh::VirtualMesh;
use super::trust::Author;
use super::{Args, ROLE};
use crate::client::ClientError;

/// Between two looks at what is to happen.
const TURN: Duration = Duration::from_secs(1);
/// How long the mesh is at rest before the first node does something.
const FIRST_CHURN: Duration = Duration::from_secs(25);
/// From one node that does something to the next, in seconds.
const CHURN: std::ops::Range<u64> = 20..50;
/// How long a node is away, in seconds.
const AWAY: std::ops::Range<u64> = 20..60;
/// When the first update starts.
const FIRST_UPDATE: Duration = Duration::from_secs(40);
/// From the end of one update to the start of the next.
const UPDATES: Duration = Duration::from_secs(240);
/// Until an update that was refused is tried again.
const AGAIN: Duration = Duration::from_secs(30);
/// What the images are called that the nodes are updated to, in turn. The second is what they run at first.
const VERSIONS: [&str; 2] = ["1.4.3", "1.4.2"];

/// Places where nodes hang. After the last one they are counted.
const PLACES: [&str; 20] = [
    "hall",
    "kitchen",
    "stairs",
    "attic",
    "cellar",
    "garage",
    "garden",
    "gate",
    "greenhouse",
    "shed",
    "workshop",
    "office",
    "library",
    "pantry",
    "laundry",
    "terrace",
    "orchard",
    "pond",
    "stable",
    "barn",
];

/// What a living mesh is made of.
pub(super) struct Scene<'a> {
    pub(super) args: &'a Args,
    pub(super) gateway: &'a VirtualGateway,
    pub(super) author: &'a Author,
    /// What the nodes are updated to, in turn.
    pub(super) images: [&'a [u8]; 2],
}

/// What is to happen, and when.
struct Plot {
    rng: Rng,
    churn: Instant,
    update: Instant,
    /// Who is away, and until when.
    away: Option<(usize, Instant)>,
    /// Releases so far.
    releases: u64,
    /// The roll-out that was started here and is not over.
    running: Option<u64>,
}

impl Plot {
    fn new(seed: u64, now: Instant) -> Self {
        let rng = Rng::new(seed ^ 0x11FE);
        let (churn, update) = (now + FIRST_CHURN, now + FIRST_UPDATE);
        Self { rng, churn, update, away: None, releases: 0, running: None }
    }

    fn seconds(&mut self, of: &std::ops::Range<u64>) -> Duration {
        Duration::from_secs(of.start + self.rng.below(of.end - of.start))
    }

    fn one_of(&mut self, of: &[usize]) -> Option<usize> {
        let index = self.rng.below(of.len().max(1) as u64);
        of.get(index as usize).copied()
    }
}

/// What the node at this place in the list is called.
fn name(index: usize) -> String {
    let round = index / PLACES.len();
    let place = PLACES.get(index % PLACES.len()).copied().unwrap_or_default();
    if round == 0 { place.to_owned() } else { format!("{place} {}", round + 1) }
}

impl Scene<'_> {
    /// Lets the mesh live until `asked` is ready.
    pub(super) async fn play(
        &self,
        mesh: &mut VirtualMesh,
        asked: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        tokio::select! {
            () = asked => Ok(()),
            ended = self.live(mesh) => ended,
        }
    }

    async fn live(&self, mesh: &mut VirtualMesh) -> anyhow::Result<()> {
        self.gateway.sees(mesh.len()).await?;
        let client = self.gateway.client();
        for (index, id) in mesh.ids().enumerate() {
            client.name(id.0, &NewName { name: Some(name(index)) }).await?;
        }
        let url = client.url();
        let update = if self.args.still {
            String::new()
        } else {
            format!("; an update starts in {} s", FIRST_UPDATE.as_secs())
        };
        self.args.say(&format!(
            "{} nodes are in the mesh{update}. Open {url}/ in a browser of this machine, or try `meshward top`, `status` or \
             `logs -f` with --url {url}; Ctrl-C ends it",
            mesh.len()
        ));
        if self.args.still {
            return std::future::pending().await;
        }
        let mut plot = Plot::new(self.args.seed, Instant::now());
        let mut turns = tokio::time::interval(TURN);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            self.turn(mesh, &mut plot).await?;
        }
    }

    async fn turn(&self, mesh: &mut VirtualMesh, plot: &mut Plot) -> anyhow::Result<()> {
        let now = Instant::now();
        if let Some((index, _)) = plot.away.take_if(|(_, until)| *until <= now) {
            mesh.come(index, None)?;
        }
        for index in mesh.exhausted() {
            mesh.leave(index).await?;
            mesh.come(index, None)?;
        }
        let due = plot.churn <= now || plot.update <= now || plot.running.is_some();
        if !due {
            return Ok(());
        }
        let busy = match self.is_busy().await {
            Ok(busy) => busy,
            Err(error) => {
                tracing::warn!(%error, "the roll-outs cannot be had");
                true
            }
        };
        if busy {
            plot.churn = plot.churn.max(now + TURN);
            return Ok(());
        }
        if plot.running.take().is_some() {
            plot.update = now + UPDATES;
        }
        if plot.update <= now && plot.away.is_none() {
            self.update(plot, now).await;
        } else if plot.churn <= now {
            plot.churn = now + plot.seconds(&CHURN);
            self.churn(mesh, plot, now).await?;
        }
        Ok(())
    }

    /// Whether a roll-out is not over, whoever's it is.
    async fn is_busy(&self) -> Result<bool, ClientError> {
        let rollouts = self.gateway.client().rollouts().await?;
        Ok(rollouts.iter().any(|rollout| rollout.state != RolloutState::Finished))
    }

    /// A leaf goes for a while, or hangs itself on another node.
    async fn churn(&self, mesh: &mut VirtualMesh, plot: &mut Plot, now: Instant) -> anyhow::Result<()> {
        if plot.away.is_some() {
            return Ok(());
        }
        let Some(leaf) = plot.one_of(&mesh.leaves()) else { return Ok(()) };
        let parent = plot.one_of(&mesh.other_parents(leaf)).filter(|_| plot.rng.below(2) == 0);
        mesh.leave(leaf).await?;
        match parent {
            Some(_) => mesh.come(leaf, parent)?,
            None => plot.away = Some((leaf, now + plot.seconds(&AWAY))),
        }
        Ok(())
    }

    async fn update(&self, plot: &mut Plot, now: Instant) {
        match self.release(plot.releases).await {
            Ok(id) => {
                plot.releases += 1;
                plot.running = Some(id);
            }
            Err(error) => {
                tracing::warn!(%error, "no update for now");
                plot.update = now + AGAIN;
            }
        }
    }

    /// Starts the roll-out of the next release; its id.
    async fn release(&self, releases: u64) -> anyhow::Result<u64> {
        let client = self.gateway.client();
        let turn = usize::from(releases % 2 == 1);
        let names = VERSIONS.map(|version| format!("node-c3 v{version}"));
        // What the nodes run is what patches are made from.
        let mut new = None;
        for (index, (image, name)) in self.images.iter().zip(&names).enumerate() {
            let firmware = client.upload(name, image.to_vec()).await?;
            if index == turn {
                let version = VERSIONS.get(turn).copied().unwrap_or_default();
                let manifest = self.author.manifest(image, (version, releases + 1))?;
                client.manifest(&firmware.sha256, manifest).await?;
                new = Some(firmware.sha256);
            }
        }
        let sha256 = new.unwrap_or_default();
        let new = NewRollout {
            scheme: self.args.scheme.into(),
            confirm_receiver: true,
            ..NewRollout::new(sha256, Some(ROLE.to_owned()))
        };
        Ok(client.start(&new).await?.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_have_names_of_their_own() {
        let names: std::collections::BTreeSet<String> = (0..500).map(name).collect();
        assert_eq!(names.len(), 500);
        assert_eq!((name(0).as_str(), name(39).as_str()), ("hall", "barn 2"));
    }

    #[test]
    fn what_happens_follows_from_the_seed() {
        let now = Instant::now();
        let story = |seed| {
            let mut plot = Plot::new(seed, now);
            (0..20).map(|_| (plot.seconds(&CHURN), plot.one_of(&[3, 5, 7, 9]))).collect::<Vec<_>>()
        };
        assert_eq!(story(7), story(7));
        assert_ne!(story(7), story(8));
        assert!(story(1).iter().all(|(wait, _)| CHURN.contains(&wait.as_secs())));
        assert_eq!(Plot::new(1, now).one_of(&[]), None);
    }
}
