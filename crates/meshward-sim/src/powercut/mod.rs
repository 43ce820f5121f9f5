//! Power cuts, exhaustively: every command that writes flash in the life of an update.
//!
//! One node receives an image, installs, activates, tries and confirms it, and is ordered back. The run is counted
//! in commands that write; reads change nothing, so that a cut at one is a cut behind the command before. Then, for
//! each of them, the power goes before it, in the middle (torn) and behind it; memory is gone; and the node, with
//! nobody's help but the usual, has to boot one of the two images, lose no chunk but the one in flight, and
//! complete. Then it is cut twice. Then bits are turned over instead: in payload, image, journal and boot state.
//! A small image of our own goes through all of it; of a real one there is a sample, or every single cut.
//!
//! After mcuboot's `sim/src/image.rs`, `run_perm_with_fails`. Chips are copied on write, so each run begins at
//! its cut and not at the factory.

mod board;
mod kit;

use meshward_core::flash::{FlashOp, Region, SECTOR};
use meshward_core::rng::Rng;
use serde::Serialize;

pub use board::{Board, End, LINK, Snapshot, WELL, When};
pub use kit::{Kind, Kit, group_key};

/// Bytes of the image, unless said otherwise.
pub const IMAGE: usize = 64 * 1024;

/// What is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An image of our own making, of so many bytes.
    Made(usize),
    /// A patch release of a real one: 1.4.3 of `testdata/firmware`, upon 1.4.2.
    Real,
}

impl Subject {
    fn kit(self, kind: Kind) -> Kit {
        match self {
            Self::Made(len) => Kit::new(kind, len),
            Self::Real => Kit::real(kind),
        }
    }
}

/// How much is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Every how many commands the power is cut once: 1 is each. Between them it is cut at those that write a
    /// record: of the boot loader, the trial, the memory.
    pub stride: usize,
    /// Pairs of cuts; `None` is all of them.
    pub pairs: Option<u64>,
    /// Bits turned over in each place.
    pub flips: u64,
    /// A bug on purpose, to see it found: the boot loader starts what a record names without looking at it.
    pub trusting: bool,
}

impl Effort {
    /// Every command, a sample of pairs.
    pub const STANDARD: Self = Self { stride: 1, pairs: Some(150), flips: 30, trusting: false };
    /// Every pair, both cuts torn.
    pub const ALL: Self = Self { stride: 1, pairs: None, flips: 500, trusting: false };
    /// A sample of a real image, whose runs are ten times as long.
    pub const SAMPLE: Self = Self { stride: 127, pairs: Some(10), flips: 2, trusting: false };
    /// Every command of a real image, a sample of pairs.
    pub const REAL: Self = Self { stride: 1, pairs: Some(300), flips: 50, trusting: false };
}

/// One run of [`run`].
pub type Job = (Kind, Subject, Effort);

/// What is tried by default, or exhaustively: an image of our own of each kind, and a real one, which nobody
/// writes in place of itself.
pub fn jobs(image: usize, all: bool) -> Vec<Job> {
    let (made, real) = if all { (Effort::ALL, Effort::REAL) } else { (Effort::STANDARD, Effort::SAMPLE) };
    let real = [Kind::Full, Kind::Lzma, Kind::Delta].map(|kind| (kind, Subject::Real, real));
    let made = Kind::ALL.map(|kind| (kind, Subject::Made(image), made));
    real.into_iter().chain(made).collect()
}

/// What came out, for one payload or for all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Bytes of the image; the longest of several.
    pub image: u64,
    /// Commands that write, in the whole update.
    pub commands: u64,
    /// Runs with one cut.
    pub cuts: u64,
    /// Runs with two.
    pub pairs: u64,
    /// Runs with a bit turned over and a cut.
    pub flips: u64,
    /// Runs after which nothing booted.
    pub unbootable: u64,
    /// Runs that did not end as they should.
    pub incomplete: u64,
    /// The most chunks that a cut has cost, the one in flight included.
    pub chunks_lost_max: u32,
    /// Runs in which something else than the two images was started.
    pub wrong_images: u64,
    /// The first runs that failed, to be looked at.
    pub failures: Vec<String>,
}

impl Report {
    /// Whether all is as it must be.
    pub fn is_sound(&self) -> bool {
        self.unbootable + self.incomplete + self.wrong_images == 0
            && self.chunks_lost_max <= 1
            && self.cuts > 0
    }

    /// Both together.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.image = self.image.max(other.image);
        self.commands += other.commands;
        self.cuts += other.cuts;
        self.pairs += other.pairs;
        self.flips += other.flips;
        self.unbootable += other.unbootable;
        self.incomplete += other.incomplete;
        self.chunks_lost_max = self.chunks_lost_max.max(other.chunks_lost_max);
        self.wrong_images += other.wrong_images;
        self.failures.extend(other.failures.iter().cloned());
        self.failures.truncate(FAILURES_MAX);
        self
    }

    fn judge(&mut self, end: End, name: impl FnOnce() -> String) {
        match end {
            End::Done => return,
            End::Unbootable => self.unbootable += 1,
            End::Wrong => self.wrong_images += 1,
            End::Cut | End::Stuck => self.incomplete += 1,
        }
        if self.failures.len() < FAILURES_MAX {
            self.failures.push(format!("{}: {end:?}", name()));
        }
    }
}

const FAILURES_MAX: usize = 10;

/// The reports of jobs, as the table of `docs/benchmarks.md`.
pub fn markdown<'a>(reports: impl IntoIterator<Item = (Kind, &'a Report)>) -> String {
    let mut text = String::from(
        "| image | payload | commands | cuts | pairs | bits | unbootable | incomplete | wrong images | chunks lost, at most |\n\
         | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for (kind, report) in reports {
        let Report { image, commands, cuts, pairs, flips, unbootable, incomplete, wrong_images, .. } = report;
        text += &format!(
            "| {image} | {} | {commands} | {cuts} | {pairs} | {flips} | {unbootable} | {incomplete} | {wrong_images} | {} |\n",
            kind.name(),
            report.chunks_lost_max
        );
    }
    text
}

/// Runs everything for one kind of payload.
pub fn run((kind, subject, effort): Job) -> Report {
    let mut kit = subject.kit(kind);
    kit.trusting = effort.trusting;
    let mut report = Report { image: kit.new.len() as u64, ..Report::default() };
    let snapshots = baseline(&kit, &mut report, kind);
    report.commands = snapshots.len() as u64;
    cuts(&kit, &snapshots, effort, &mut report, kind);
    pairs(&kit, &snapshots, effort, &mut report, kind);
    flips(&kit, &snapshots, effort, &mut report, kind);
    report
}

/// The update without any cut, and the chip before each of its commands.
fn baseline(kit: &Kit, report: &mut Report, kind: Kind) -> Vec<Snapshot> {
    let mut board = Board::new(kit, kit.chip());
    board.snapshots = Some(Vec::new());
    let end = board.power_on();
    report.judge(end, || format!("{} without a cut", kind.name()));
    board.snapshots.unwrap_or_default()
}

/// Whether a command writes a record, which decides what boots.
fn is_record(kit: &Kit, op: &FlashOp) -> bool {
    let (FlashOp::Erase { address } | FlashOp::Program { address, .. } | FlashOp::Read { address, .. }) = op;
    let sectors = [kit.setup.layout.boot, kit.setup.books.trial, kit.setup.books.memory].concat();
    sectors.iter().any(|sector| (sector.start..sector.start + sector.len).contains(address))
}

fn cuts(kit: &Kit, snapshots: &[Snapshot], effort: Effort, report: &mut Report, kind: Kind) {
    // A cut behind a command is a cut before the next one: the same chip, the same memory, which is none.
    let mut behind: Option<(usize, End, u32)> = None;
    for (index, snapshot) in snapshots.iter().enumerate() {
        if !index.is_multiple_of(effort.stride.max(1)) && !is_record(kit, &snapshot.op) {
            continue;
        }
        for when in [When::Before, When::During(index as u64), When::After] {
            let known = behind.filter(|(at, ..)| when == When::Before && *at == index);
            let (end, lost) = known.map_or_else(
                || {
                    let mut board = Board::after(kit, snapshot, when);
                    let next = snapshots.get(index + 1).filter(|next| board.is_at(next));
                    let end = board.power_on();
                    behind = next.filter(|_| when == When::After).map(|_| (index + 1, end, board.lost));
                    (end, board.lost)
                },
                |(_, end, lost)| (end, lost),
            );
            report.cuts += 1;
            report.chunks_lost_max = report.chunks_lost_max.max(lost);
            report
                .judge(end, || format!("{} cut {when:?} command {index}, {:.60?}", kind.name(), snapshot.op));
        }
    }
}

/// One cut, and another one some commands after it.
fn pair(
    kit: &Kit,
    snapshot: &Snapshot,
    first: When,
    later: u64,
    second: When,
    report: &mut Report,
) -> Option<End> {
    let mut board = Board::after(kit, snapshot, first);
    board.cut = Some((later, second));
    let mut end = board.power_on();
    if end != End::Cut {
        // There were not so many commands left.
        return (end != End::Done).then_some(end);
    }
    board.cut = None;
    report.pairs += 1;
    end = board.power_on();
    report.chunks_lost_max = report.chunks_lost_max.max(board.lost);
    Some(end)
}

fn pairs(kit: &Kit, snapshots: &[Snapshot], effort: Effort, report: &mut Report, kind: Kind) {
    let mut rng = Rng::new(7);
    let judge = |report: &mut Report, index: usize, later: u64, whens: [When; 2]| {
        let Some(snapshot) = snapshots.get(index) else { return false };
        let [first, second] = whens;
        let end = pair(kit, snapshot, first, later, second, report);
        report.judge(end.unwrap_or(End::Done), || {
            format!("{} cut {first:?} command {index}, then {second:?} {later} later", kind.name())
        });
        end.is_some()
    };
    let Some(count) = effort.pairs else {
        for index in 0..snapshots.len() {
            let mut later = 0;
            while judge(report, index, later, [When::During(later), When::During(index as u64)]) {
                later += 1;
            }
        }
        return;
    };
    for _ in 0..count {
        let index = rng.below(snapshots.len() as u64) as usize;
        // Mostly soon: recovery is what a second cut can hurt.
        let later = if rng.below(4) == 0 { rng.below(snapshots.len() as u64) } else { rng.below(12) };
        let mut when = || match rng.below(3) {
            0 => When::Before,
            1 => When::During(rng.next_u64()),
            _ => When::After,
        };
        let whens = [when(), when()];
        judge(report, index, later, whens);
    }
}

/// A bit turned over in each of the places, then a cut, so that it is found by whoever reads it.
fn flips(kit: &Kit, snapshots: &[Snapshot], effort: Effort, report: &mut Report, kind: Kind) {
    let mut rng = Rng::new(11);
    let [journal, table] = kit.setup.books.journal;
    let [_, slot] = kit.setup.layout.slots;
    // The running image itself is not among them: nobody else has it.
    let (boot, trial) = (kit.setup.layout.boot, kit.setup.books.trial);
    let places = [("slot", slot), ("journal", journal), ("table", table)];
    let states = [("boot", boot[0]), ("boot", boot[1]), ("trial", trial[0]), ("trial", trial[1])];
    for (name, Region { start, len }) in places.into_iter().chain(states) {
        for _ in 0..effort.flips {
            let index = rng.below(snapshots.len() as u64) as usize;
            let Some(snapshot) = snapshots.get(index) else { return };
            // Bits in records and marks matter, those behind them do not.
            let len = if name == "slot" { len } else { len.min(SECTOR / 2) };
            let (at, bit) = (start + rng.below(len.into()) as u32, rng.below(8) as u8);
            let mut board = Board::after(kit, snapshot, When::Before);
            board.chip.flip(at, bit);
            let end = board.power_on();
            report.flips += 1;
            report.judge(end, || format!("{} bit {bit} of {at:#x} in {name}, command {index}", kind.name()));
        }
    }
}
