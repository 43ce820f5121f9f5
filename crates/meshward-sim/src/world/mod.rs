//! The virtual world: hosts, wires, one radio channel, and a clock that jumps.
//!
//! One thread, no real time, no randomness but a seed: a world with equal parts and an equal seed runs
//! byte for byte the same, which [`World::trace_hash`] proves. [`World::step`] lets the next planned thing
//! happen; [`World::records`] gives out what could be seen from outside. It judges nothing: that is for the
//! checkers, and it is for scripts and runners to drive it.
//!
//! Each host has a clock of its own that starts with its program, a chip, a boot loader, and a machine that
//! is made anew at every boot, so that a reset forgets all RAM.

mod air;
mod deploy;
mod happening;
mod host;
mod ledger;
mod links;
mod machine;
mod power;
mod queue;
mod rule;
mod steps;
mod view;
mod vitals;
mod watch;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use meshward_core::ota::Md5Sum;
use meshward_core::rng::Rng;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

pub(crate) use air::is_firmware;
pub use air::{Channel, Hop, Medium, Totals};
pub use happening::{Down, Happening, Record, StockUpdate};
pub use host::{Firmware, HostSpec, Program};
pub use ledger::Ledger;
pub use machine::{Machine, Said};
pub use rule::{Act, Rule};
pub use wire::WireId;

use crate::capture::Recorder;
use crate::image::Image;
use crate::plant::Plant;
use crate::script::Step;
use crate::trace::TraceHash;
use air::Air;
use host::Host;
use queue::{Queue, What};
use rule::Rules;
use wire::Wires;

/// A host's place in a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seat(pub usize);

/// What a world is like.
#[derive(Clone, Debug)]
pub struct WorldConfig {
    /// The seed of everything that is left to chance.
    pub seed: u64,
    /// How frames travel.
    pub medium: Medium,
    /// Frames arrive in pieces of this many bytes, as with an ESP8266's TCP (536); whole when `None`.
    pub segment: Option<usize>,
    /// A bug on purpose.
    pub plant: Option<Plant>,
}

impl Default for WorldConfig {
    fn default() -> Self {
        Self { seed: 0, medium: Medium::Shared(Channel::default()), segment: None, plant: None }
    }
}

/// See the module's page.
pub struct World {
    config: WorldConfig,
    now: Instant,
    queue: Queue,
    hosts: Vec<Host>,
    seats: BTreeMap<NodeId, Seat>,
    wires: Wires,
    air: Air,
    rules: Rules,
    images: BTreeMap<Md5Sum, Arc<Image>>,
    rng: Rng,
    trace: TraceHash,
    records: VecDeque<Record>,
    recorder: Option<Recorder>,
    steps: u64,
    /// Steps since the clock last moved.
    steps_now: u64,
    /// Whether what hosts hold is measured.
    watched: bool,
}

/// More than this at one instant, and the world is spinning.
const STEPS_AT_ONCE_MAX: u64 = 200_000;

impl World {
    /// An empty world.
    pub fn new(config: WorldConfig) -> Self {
        Self {
            now: Instant::ORIGIN,
            queue: Queue::default(),
            hosts: Vec::new(),
            seats: BTreeMap::new(),
            wires: Wires::default(),
            air: Air::default(),
            rules: Rules::default(),
            images: BTreeMap::new(),
            rng: Rng::new(config.seed),
            trace: TraceHash::default(),
            records: VecDeque::new(),
            recorder: None,
            steps: 0,
            steps_now: 0,
            watched: false,
            config,
        }
    }

    /// Puts a host into the world, without power.
    pub fn add_host(&mut self, mut spec: HostSpec) -> Seat {
        let seat = Seat(self.hosts.len());
        if let Some(firmware) = &spec.firmware {
            self.add_image(&Arc::clone(&firmware.image));
        }
        if self.config.plant == Some(Plant::Unbounded) {
            spec.limits.queue = usize::MAX / 4;
        }
        self.seats.insert(spec.id, seat);
        let rng = self.rng.fork();
        self.hosts.push(Host::new(spec, rng));
        seat
    }

    /// Makes an image known, and with it how nodes behave that run it.
    pub fn add_image(&mut self, image: &Arc<Image>) {
        self.images.insert(image.md5, Arc::clone(image));
    }

    /// Writes every frame and every connection to `recorder` from now on.
    pub fn record_to(&mut self, recorder: Recorder) {
        self.recorder = Some(recorder);
    }

    /// Takes the recorder away again.
    pub fn take_recorder(&mut self) -> Option<Recorder> {
        self.recorder.take()
    }

    /// Plans a step.
    pub fn plan(&mut self, at: Instant, step: Step) {
        self.queue.plan(at.max(self.now), What::Script(Box::new(step)));
    }

    /// The time in the world.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// When the next planned thing happens; `None` in a world where nothing will.
    pub fn next_at(&self) -> Option<Instant> {
        self.queue.next_at()
    }

    /// Lets everything happen that is planned up to and including `until`.
    pub fn run_until(&mut self, until: Instant) {
        while self.queue.next_at().is_some_and(|at| at <= until) && !self.is_spinning() {
            self.step();
        }
        self.now = self.now.max(until);
    }

    /// Whether so much happens at one instant that time does not go on: something answers itself. A world
    /// that spins does nothing more.
    pub fn is_spinning(&self) -> bool {
        self.steps_now > STEPS_AT_ONCE_MAX
    }

    /// Lets everything happen for a while.
    pub fn run_for(&mut self, span: Duration) {
        self.run_until(self.now + span);
    }

    /// Lets the next planned thing happen; `false` when there is none.
    pub fn step(&mut self) -> bool {
        let Some((at, what)) = self.queue.pop() else { return false };
        self.steps_now = if at > self.now { 0 } else { self.steps_now + 1 };
        self.now = at;
        self.steps += 1;
        match what {
            What::Wake(seat, life) => self.wake(seat, life),
            What::ChannelFree => self.channel_free(),
            What::LineFree(wire, end) => self.line_free(wire, end),
            What::Arrive(hop) => self.arrive(hop),
            What::Process(hop) => self.process(hop),
            What::Fin(wire, end) => self.fin(wire, end),
            What::Dial(seat, life, wish) => self.dial(seat, life, wish),
            What::Flash(seat, life) => self.flash_done(seat, life),
            What::Boot(seat, life) => self.boot(seat, life),
            What::Crash(seat, life) => self.crash(seat, life),
            What::Chat(seat, life) => self.chat(seat, life),
            What::SelfTest(seat, life) => self.self_test(seat, life),
            What::Drive(seat, life) => self.drive(seat, life),
            What::Measure(seat, life) => self.measure(seat, life),
            What::Script(step) => self.perform(*step),
        }
        true
    }

    /// What has happened since the last call, oldest first.
    pub fn records(&mut self) -> impl Iterator<Item = Record> + '_ {
        self.records.drain(..)
    }

    fn tell(&mut self, seat: Seat, what: Happening) {
        self.records.push_back(Record { at: self.now, seat, what });
    }

    /// A hash over all frames, boots and texts so far: equal for equal runs.
    pub fn trace_hash(&self) -> u64 {
        self.trace.value()
    }

    /// How many planned things have happened.
    pub fn steps(&self) -> u64 {
        self.steps
    }
}
