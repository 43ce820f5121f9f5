//! One cell of the grid, run.

use std::sync::Arc;

use meshward_core::mesh::Limits;
use meshward_core::ota::receiver::State;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

use super::{Cell, Failure, Outcome, Phase, Verdict};
use crate::image::{content, select};
use crate::script::{Silence, Step};
use crate::signed::Release;
use crate::update::{Outcome as Told, UpdateStory};
use crate::world::{Act, Happening, HostSpec, Rule, Seat, World, WorldConfig};

/// Bytes of the image.
const IMAGE: usize = 24 * 1024;
/// The mesh: who dials whom.
const PARENTS: [Option<usize>; 9] =
    [None, Some(0), Some(1), Some(1), Some(2), Some(2), Some(3), Some(6), Some(1)];
const GATEWAY: Seat = Seat(0);
/// What lies between the gateway and everybody else.
const FIRST: Seat = Seat(1);
const RELAY: Seat = Seat(2);
/// A C++ node with two targets behind it.
const STOCK: Seat = Seat(3);
const LEAF: Seat = Seat(4);
const BEHIND_STOCK: [Seat; 2] = [Seat(6), Seat(7)];
/// A gateway that does nothing until the other one is gone.
const SPARE: Seat = Seat(8);
/// How long the phase may take to come.
const PHASE_MAX: Duration = Duration::from_secs(900);
/// How long everything may take from the failure on.
const END_MAX: Duration = Duration::from_secs(3_600);
/// How long a host is dark that loses its power.
const DARK: Duration = Duration::from_secs(3);
const TAKE_OVER: Duration = Duration::from_secs(60);
const PARTED: Duration = Duration::from_secs(120);

/// Runs a cell.
pub fn run(cell: &Cell) -> Outcome {
    let release = Release::made(IMAGE, 10, cell.behaviour);
    let mut grid = Grid::new(*cell, release);
    let hit = grid.reach().then(|| grid.world.now());
    if hit.is_some() {
        grid.hit();
        grid.finish();
    }
    grid.judge(hit)
}

struct Grid {
    cell: Cell,
    world: World,
    release: Release,
    story: Arc<UpdateStory>,
    /// Who finishes the update.
    gateway: Seat,
    /// What happened that must not.
    wrong: Option<String>,
    /// What did not happen in time.
    stuck: Option<String>,
}

impl Grid {
    fn new(cell: Cell, release: Release) -> Self {
        let mut world =
            World::new(WorldConfig { seed: cell.seed, plant: cell.plant, ..WorldConfig::default() });
        let setup = Arc::new(release.setup());
        for (index, parent) in PARENTS.iter().enumerate() {
            let (seat, id, parent) = (Seat(index), 1_001 + index as u32, parent.map(Seat));
            let spec = match seat {
                GATEWAY | SPARE => HostSpec { limits: Limits::GATEWAY, ..HostSpec::node(id, parent) },
                STOCK => HostSpec::stock(id, parent),
                _ => HostSpec::node(id, parent).with_signed_firmware(&setup, &release.base),
            };
            let added = world.add_host(HostSpec { root: seat == GATEWAY, ..spec });
            world.perform(Step::Join(added));
        }
        world.add_image(&release.image);
        let targets: Vec<NodeId> = targets(&world).map(|seat| world.id(seat)).collect();
        let story = Arc::new(UpdateStory::new(release.clone(), &[cell.packing], targets));
        Self { cell, world, release, story, gateway: GATEWAY, wrong: None, stuck: None }
    }

    /// Who is looked at, to see that the phase has come.
    fn watched(&self) -> Seat {
        match self.cell.failure {
            Failure::KillRelay | Failure::CutRelay | Failure::Reparent => RELAY,
            Failure::Partition => BEHIND_STOCK[0],
            Failure::RootChange => FIRST,
            _ => LEAF,
        }
    }

    /// Runs until the phase has come; whether it did.
    fn reach(&mut self) -> bool {
        self.pass(Duration::from_secs(60));
        if self.cell.loss > 0 {
            self.world.perform(Step::Fault(Rule::everywhere(Act::Lose, self.cell.loss * 10_000)));
        }
        self.world.perform(Step::Update(GATEWAY, Arc::clone(&self.story)));
        let start = self.world.now();
        while !self.is_in_phase() {
            if self.world.now().since(start) > PHASE_MAX || self.world.is_spinning() || !self.world.step() {
                self.stuck = Some(format!("the phase did not come: {}", self.state()));
                return false;
            }
            self.look();
        }
        true
    }

    fn state_of(&self, seat: Seat) -> Option<State> {
        let node = self.world.machine(seat)?.node()?;
        node.exchange().receiver().map(|receiver| receiver.state())
    }

    fn is_in_phase(&self) -> bool {
        let Some(state) = self.state_of(self.watched()) else { return false };
        match (self.cell.phase, state) {
            (Phase::Offer, State::Offered)
            | (Phase::Verify, State::Verifying)
            | (Phase::Install, State::Installing { .. })
            | (Phase::Activate, State::Activating)
            | (Phase::Trial, State::Trial)
            | (Phase::Confirm, State::Confirmed) => true,
            // One chunk is the table of an image so small.
            (Phase::Table, State::Receiving { done, .. }) => done >= 1,
            (Phase::Transfer, State::Receiving { done, chunks }) => 2 * done >= chunks,
            _ => false,
        }
    }

    fn hit(&mut self) {
        let now = self.world.now();
        match self.cell.failure {
            Failure::KillSource => {
                self.world.perform(Step::Leave(GATEWAY));
                self.gateway = SPARE;
                self.world.plan(now + TAKE_OVER, Step::Update(SPARE, Arc::clone(&self.story)));
                self.pass(TAKE_OVER + Duration::from_millis(1));
            }
            Failure::KillRelay => self.world.perform(Step::PowerCut(RELAY, DARK)),
            Failure::KillTarget => self.world.perform(Step::PowerCut(LEAF, DARK)),
            Failure::KillAllTargets => {
                let all: Vec<Seat> = targets(&self.world).collect();
                all.into_iter().for_each(|seat| self.world.perform(Step::PowerCut(seat, DARK)));
            }
            Failure::CutSource => self.silence(FIRST, GATEWAY),
            Failure::CutRelay => self.silence(RELAY, FIRST),
            Failure::CutTarget => self.silence(LEAF, RELAY),
            Failure::Reparent => self.world.perform(Step::Reparent(RELAY, BEHIND_STOCK[0])),
            Failure::RootChange => self.world.perform(Step::ChangeRoot(GATEWAY, FIRST)),
            Failure::Partition => {
                let parted = [&[STOCK], &BEHIND_STOCK[..]].concat();
                self.world.perform(Step::Partition(parted));
                self.world.plan(now + PARTED, Step::Rejoin);
            }
            Failure::RestartGateway => self.world.perform(Step::PowerCut(GATEWAY, DARK)),
            Failure::ForgetfulGateway => {
                self.world.perform(Step::Forget(GATEWAY));
                self.world.perform(Step::PowerCut(GATEWAY, DARK));
                self.world.plan(now + TAKE_OVER, Step::Update(GATEWAY, Arc::clone(&self.story)));
                self.pass(TAKE_OVER + Duration::from_millis(1));
            }
        }
    }

    fn silence(&mut self, below: Seat, above: Seat) {
        self.world.perform(Step::HalfOpen(below, above, Silence::Both));
    }

    /// Runs until the gateway has nothing more to do, and every target has said its last word.
    fn finish(&mut self) {
        let start = self.world.now();
        while !self.is_over() {
            if self.world.now().since(start) > END_MAX || self.world.is_spinning() {
                self.stuck = Some(format!("no end: {}", self.state()));
                return;
            }
            self.pass(Duration::from_secs(1));
        }
    }

    fn is_over(&self) -> bool {
        let over = self.world.update_report(self.gateway).is_some_and(|(_, over)| over);
        over && targets(&self.world).all(|seat| {
            self.world.machine(seat).is_some()
                && !matches!(
                    self.state_of(seat),
                    None | Some(State::Starting | State::Activating | State::Trial)
                )
        })
    }

    /// Lets time go by, and looks at what happens.
    fn pass(&mut self, span: Duration) {
        self.world.run_for(span);
        self.look();
    }

    fn look(&mut self) {
        let records: Vec<_> = self.world.records().collect();
        for record in records {
            let id = self.world.id(record.seat);
            let wrong = match &record.what {
                Happening::Bricked => format!("node {id} has nothing to boot"),
                Happening::FlashRefused(error) => {
                    format!("node {id} breaks the rules of its flash: {error:?}")
                }
                Happening::Booted(Some(boot)) => {
                    let (Some((chip, layout)), [old, new]) =
                        (self.world.chip(record.seat), [&self.release.base, &self.release.image])
                    else {
                        continue;
                    };
                    let started = content(chip, layout, boot);
                    if [old, new].iter().any(|image| started.as_deref() == Some(&*image.bytes)) {
                        continue;
                    }
                    format!("node {id} has started something else")
                }
                _ => continue,
            };
            self.wrong.get_or_insert(wrong);
        }
    }

    /// What counts on a host's chip.
    fn runs_for_good(&self, seat: Seat) -> bool {
        let md5 = self.release.image.md5;
        let counts = self.world.chip(seat).and_then(|(chip, layout)| select(chip, layout));
        let running = self.world.running(seat);
        [counts, running].iter().all(|record| record.is_some_and(|record| record.md5 == md5))
    }

    fn judge(mut self, hit: Option<Instant>) -> Outcome {
        let report = self.world.update_report(self.gateway).map(|(report, _)| report).unwrap_or_default();
        let (mut updated, mut named) = (0, 0);
        let all: Vec<Seat> = targets(&self.world).collect();
        for seat in &all {
            let (id, runs) = (self.world.id(*seat), self.runs_for_good(*seat));
            if self.world.chip(*seat).is_none_or(|(chip, layout)| select(chip, layout).is_none()) {
                self.wrong.get_or_insert(format!("node {id} could not boot if it had to"));
            }
            let told = report.iter().find(|(node, _)| *node == id).map(|(_, told)| *told);
            match told {
                Some(Told::Updated) if runs => updated += 1,
                Some(Told::Named(..)) if !runs => named += 1,
                Some(Told::Updated | Told::Named(..)) if self.stuck.is_none() => {
                    self.wrong.get_or_insert(format!("node {id} is said to be {told:?}: {}", self.state()));
                }
                _ if self.stuck.is_none() => {
                    self.stuck = Some(format!("node {id} is {told:?}: {}", self.state()));
                }
                _ => {}
            }
        }
        let Cell { phase, failure, seed, .. } = self.cell;
        let verdict = match (self.wrong, self.stuck) {
            (Some(words), _) => Verdict::Wrong(words),
            (None, Some(words)) => Verdict::Stuck(words),
            (None, None) => Verdict::Green,
        };
        let took = hit.map_or(Duration::ZERO, |hit| self.world.now().since(hit));
        Outcome {
            phase: phase.name(),
            failure: failure.name(),
            seed,
            targets: all.len(),
            updated,
            named,
            seconds: took.as_secs_f64() as u64,
            verdict,
        }
    }

    /// Where everybody is, in one line.
    fn state(&self) -> String {
        let exchange = |seat| Some(self.world.machine(seat)?.node()?.exchange());
        let gateway = exchange(self.gateway);
        let mut text = format!("the gateway is at {:?}", gateway.and_then(|exchange| exchange.phase()));
        for seat in targets(&self.world) {
            let id = self.world.id(seat);
            let state = self.state_of(seat).map_or("off".to_owned(), |state| state.to_string());
            let line =
                gateway.and_then(|exchange| exchange.members().get(&id)).and_then(|member| member.line);
            let known = line.map_or("nothing".to_owned(), |line| format!("{:?} {}", line.stage, line.reason));
            text += &format!("; {id} {state}, of which it knows {known}");
        }
        text
    }
}

/// Hosts that are to be updated.
fn targets(world: &World) -> impl Iterator<Item = Seat> + '_ {
    world.seats().filter(|seat| world.spec(*seat).firmware.is_some())
}
