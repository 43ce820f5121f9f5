//! What a seed decides, printed on one line.

use core::fmt;

use meshward_core::ota::Scheme;
use meshward_core::rng::Rng;
use meshward_core::time::Duration;

use crate::check::Charges;
use crate::image::Behaviour;
use crate::topology::Topology;
use crate::world::{Channel, Medium};

/// Everything about a run that is left to chance, but for the moments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knobs {
    /// Hosts, the one that runs the roll-out included.
    pub nodes: usize,
    /// How they hang together.
    pub topology: Topology,
    /// How frames travel.
    pub medium: Medium,
    /// Frames arrive in pieces of this many bytes.
    pub segment: Option<usize>,
    /// How many in 100 hosts are stock nodes.
    pub stock_percent: u64,
    /// How many in 100 hosts have another role than the image is for.
    pub strangers_percent: u64,
    /// Bytes of the new image; no roll-out when 0.
    pub image_bytes: usize,
    /// How the parts travel.
    pub scheme: Scheme,
    /// Bytes in a part.
    pub part_size: u32,
    /// Targets at a time.
    pub concurrency: usize,
    /// What the new image does.
    pub behaviour: Behaviour,
    /// How long faults are on.
    pub safety: Duration,
    /// Between two messages of the application; none when zero.
    pub message_every: Duration,
    /// Forwarded frames lost, in ppm.
    pub loss_ppm: u32,
    /// Forwarded frames doubled, in ppm.
    pub duplicate_ppm: u32,
    /// Frames delayed, in ppm.
    pub delay_ppm: u32,
    /// Flash commands that fail, in ppm.
    pub flash_fail_ppm: u32,
    /// How many times each disturbance happens.
    pub disturbances: Disturbances,
}

/// How many times each happens while faults are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disturbances {
    /// A link closes.
    pub cuts: u64,
    /// A link goes silent, one way or both.
    pub half_opens: u64,
    /// A host loses power, unseen.
    pub power_cuts: u64,
    /// A program crashes.
    pub crashes: u64,
    /// A host leaves, and comes back.
    pub leaves: u64,
    /// Some hosts cannot be heard for a while.
    pub partitions: u64,
    /// A host takes another parent.
    pub reparents: u64,
    /// Another host becomes the root.
    pub root_changes: u64,
    /// A bit turns over in an image that does not run.
    pub bit_flips: u64,
}

impl Knobs {
    /// The knobs of a seed. A quarter of all seeds has no faults at all and is judged strictly.
    pub fn draw(rng: &mut Rng) -> Self {
        let faults = rng.below(4) > 0;
        let mut knobs = Self::draw_mesh(rng);
        knobs.draw_update(rng);
        if faults {
            knobs.draw_faults(rng);
        }
        knobs
    }

    fn draw_mesh(rng: &mut Rng) -> Self {
        let nodes = match rng.below(10) {
            0..5 => 2 + rng.below(7),
            5..9 => 8 + rng.below(14),
            _ => 20 + rng.below(20),
        };
        let topology = match rng.below(6) {
            0 if nodes <= 11 => Topology::Star,
            1 if nodes <= 16 => Topology::Chain,
            2 => Topology::Random(10),
            3 => Topology::Random(2),
            _ => Topology::Random(4),
        };
        let medium = match rng.below(4) {
            0 => Medium::Independent {
                latency: Duration::from_micros(rng.below(20_000)),
                byte_nanos: 100 + rng.below(8_000),
            },
            _ => Medium::Shared(Channel::default()),
        };
        let stock_percent = [0, 0, 0, 30, 70, 100][rng.below(6) as usize];
        Self {
            nodes: nodes as usize,
            topology,
            medium,
            segment: (rng.below(3) == 0).then_some(536),
            stock_percent,
            strangers_percent: if rng.below(4) == 0 { 20 } else { 0 },
            image_bytes: 0,
            scheme: Scheme::Turbo,
            part_size: 1024,
            concurrency: 12,
            behaviour: Behaviour::Healthy,
            safety: Duration::from_secs(60 + rng.below(300)),
            message_every: Duration::from_millis([0, 300, 1_000, 3_000][rng.below(4) as usize]),
            loss_ppm: 0,
            duplicate_ppm: 0,
            delay_ppm: 0,
            flash_fail_ppm: 0,
            disturbances: Disturbances::default(),
        }
    }

    fn draw_update(&mut self, rng: &mut Rng) {
        if rng.below(8) == 0 {
            return;
        }
        self.image_bytes = 1 + rng.below(24_000) as usize;
        self.scheme = if rng.below(3) == 0 { Scheme::Unicast } else { Scheme::Turbo };
        self.part_size = [256, 1_000, 1_024, 1_024, 1_024, 1_400][rng.below(6) as usize];
        self.concurrency = 1 + rng.below(16) as usize;
    }

    fn draw_faults(&mut self, rng: &mut Rng) {
        let mut sometimes =
            |one_in: u64, most: u64| if rng.below(one_in) == 0 { 1 + rng.below(most) } else { 0 };
        self.loss_ppm = sometimes(3, 200_000) as u32;
        self.duplicate_ppm = sometimes(5, 50_000) as u32;
        self.delay_ppm = sometimes(3, 300_000) as u32;
        self.flash_fail_ppm = sometimes(8, 5_000) as u32;
        self.disturbances = Disturbances {
            cuts: sometimes(3, 8),
            half_opens: sometimes(3, 4),
            power_cuts: sometimes(3, 6),
            crashes: sometimes(3, 6),
            leaves: sometimes(4, 3),
            partitions: sometimes(5, 2),
            reparents: sometimes(4, 4),
            root_changes: sometimes(6, 2),
            bit_flips: sometimes(6, 4),
        };
        let bad_image = sometimes(5, 5);
        self.behaviour = match bad_image {
            1 => Behaviour::CrashesAtBoot,
            2 => Behaviour::CannotJoin,
            3 => Behaviour::Leaks(Duration::from_secs(1_000)),
            4 => Behaviour::Slow(Duration::from_millis(40)),
            // So much that it shows, and not so much that nothing else gets through.
            5 => Behaviour::Chatty(Duration::from_millis(5_000.max(500 * self.nodes as u64))),
            _ => Behaviour::Healthy,
        };
    }

    /// What the checkers have to expect.
    pub fn charges(&self) -> Charges {
        let quiet = Disturbances { bit_flips: self.disturbances.bit_flips, ..Disturbances::default() };
        let healthy = self.behaviour == Behaviour::Healthy;
        Charges {
            disturbed: self.disturbances != quiet || !healthy || self.loss_ppm > 0,
            duplicates: self.duplicate_ppm > 0,
            bad_flash: self.flash_fail_ppm > 0 || self.disturbances.power_cuts > 0,
            flipped_bits: self.disturbances.bit_flips > 0,
        }
    }
}

impl fmt::Display for Knobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nodes={} topology={}", self.nodes, self.topology.name())?;
        match self.medium {
            Medium::Shared(_) => f.write_str(" medium=one-channel")?,
            Medium::Independent { latency, byte_nanos } => {
                write!(f, " medium=lines({} µs, {byte_nanos} ns/B)", latency.as_micros())?;
            }
        }
        if let Some(segment) = self.segment {
            write!(f, " segment={segment}")?;
        }
        let of_part = [("stock%", self.stock_percent), ("strangers%", self.strangers_percent)];
        for (name, value) in of_part.into_iter().filter(|(_, value)| *value > 0) {
            write!(f, " {name}={value}")?;
        }
        if self.image_bytes > 0 {
            let Self { image_bytes, scheme, part_size, concurrency, behaviour, .. } = self;
            write!(f, " image={image_bytes}/{part_size} scheme={scheme:?} concurrency={concurrency}")?;
            write!(f, " behaviour={behaviour:?}")?;
        }
        write!(f, " safety={:.0}s", self.safety.as_secs_f64())?;
        let d = &self.disturbances;
        let rest = [
            ("message_ms", self.message_every.as_millis()),
            ("loss_ppm", u64::from(self.loss_ppm)),
            ("duplicate_ppm", u64::from(self.duplicate_ppm)),
            ("delay_ppm", u64::from(self.delay_ppm)),
            ("flash_fail_ppm", u64::from(self.flash_fail_ppm)),
            ("cuts", d.cuts),
            ("half_opens", d.half_opens),
            ("power_cuts", d.power_cuts),
            ("crashes", d.crashes),
            ("leaves", d.leaves),
            ("partitions", d.partitions),
            ("reparents", d.reparents),
            ("root_changes", d.root_changes),
            ("bit_flips", d.bit_flips),
        ];
        rest.iter().filter(|(_, value)| *value > 0).try_for_each(|(name, value)| write!(f, " {name}={value}"))
    }
}
