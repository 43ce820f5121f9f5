//! One node with its boot loader and the world's part in its update, up to a power cut.

use meshward_core::flash::{Completion, FlashOp};
use meshward_core::mesh::LinkId;
use meshward_core::ota::BootRecord;
use meshward_core::ota::receiver::{ChunkOutcome, Event, Receiver, State};
use meshward_core::ota::trial::{Health, ResetReason, TrialRules};
use meshward_core::ota::trust::Verb;
use meshward_core::rng::Rng;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

use super::kit::Kit;
use crate::flash::Chip;
use crate::image;
use crate::signed::ROLE;

/// Steps after which an update that is not finished never will be.
const STEPS_MAX: u32 = 100_000;
/// All is well.
pub const WELL: Health = Health {
    self_test: Some(true),
    joined: true,
    gateway_in_tree: true,
    gateway_reached: true,
    neighbour_reached: true,
};

/// The link that chunks come over.
pub const LINK: LinkId = LinkId(1);

/// When, in a command, the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before its first cell.
    Before,
    /// In the middle: torn, by this seed.
    During(u64),
    /// Behind its last cell, before anybody hears of it.
    After,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Updated, confirmed, and taken back again.
    Done,
    /// The power went.
    Cut,
    /// No image is whole.
    Unbootable,
    /// Something else than the old or the new image was started.
    Wrong,
    /// It got stuck.
    Stuck,
}

/// A node. Its memory is gone with each [`power_on`](Self::power_on).
pub struct Board<'k> {
    kit: &'k Kit,
    /// Its flash.
    pub chip: Chip,
    receiver: Option<Receiver>,
    now: Instant,
    reset: ResetReason,
    /// The next command that writes is cut off after so many others.
    pub cut: Option<(u64, When)>,
    /// The chip before each command that writes, if wanted.
    pub snapshots: Option<Vec<Snapshot>>,
    /// Commands that wrote, so far.
    pub writes: u64,
    /// Chunks that were on flash, and the one on its way.
    chunks: (u32, bool),
    /// Whether the chunks have been counted since the last boot.
    counted: bool,
    /// The most chunks that a cut has cost.
    pub lost: u32,
    confirmed: bool,
    /// Whether a run ends with the confirmed image, and is not taken back.
    pub stop_when_confirmed: bool,
    /// What the node went through, for whoever looks.
    pub events: Vec<Event>,
    /// What it showed after each command, if wanted; the same twice in a row once.
    pub states: Option<Vec<State>>,
}

/// A chip, and what the world knew, before a command that writes.
#[derive(Clone)]
pub struct Snapshot {
    /// The chip.
    pub chip: Chip,
    /// The command.
    pub op: FlashOp,
    chunks: (u32, bool),
    confirmed: bool,
}

impl<'k> Board<'k> {
    /// A node with this chip, switched off.
    pub fn new(kit: &'k Kit, chip: Chip) -> Self {
        Self {
            kit,
            chip,
            receiver: None,
            now: Instant::ORIGIN,
            reset: ResetReason::PowerOn,
            cut: None,
            snapshots: None,
            writes: 0,
            chunks: (0, false),
            counted: true,
            lost: 0,
            confirmed: false,
            stop_when_confirmed: false,
            events: Vec::new(),
            states: None,
        }
    }

    /// Whether a power cut leaves this node just where one before the snapshot's command does.
    pub fn is_at(&self, snapshot: &Snapshot) -> bool {
        let chunks = |(had, coming): (u32, bool)| had + u32::from(coming);
        (chunks(self.chunks), self.confirmed) == (chunks(snapshot.chunks), snapshot.confirmed)
            && self.chip.holds_the_same(&snapshot.chip)
    }

    /// A node that lost its power in or beside the snapshot's command.
    pub fn after(kit: &'k Kit, snapshot: &Snapshot, when: When) -> Self {
        let mut board = Self::new(kit, snapshot.chip.clone());
        board.chunks = snapshot.chunks;
        board.confirmed = snapshot.confirmed;
        board.apply(&snapshot.op, when);
        board
    }

    fn apply(&mut self, op: &FlashOp, when: When) {
        match when {
            When::Before => {}
            When::During(seed) => self.chip.tear(op, &mut Rng::new(seed)),
            When::After => drop(self.chip.execute(op)),
        }
    }

    /// Executes a command; `None` when the power goes, or the chip refuses.
    fn execute(&mut self, op: &FlashOp) -> Option<Vec<u8>> {
        if matches!(op, FlashOp::Read { .. }) {
            return self.chip.execute(op).ok();
        }
        if let Some(snapshots) = &mut self.snapshots {
            let (chunks, confirmed) = (self.chunks, self.confirmed);
            snapshots.push(Snapshot { chip: self.chip.clone(), op: op.clone(), chunks, confirmed });
        }
        self.writes += 1;
        if let Some((left, when)) = &mut self.cut {
            if *left == 0 {
                let when = *when;
                self.apply(op, when);
                return None;
            }
            *left -= 1;
        }
        self.chip.execute(op).ok()
    }

    /// The boot loader, and the receiver of the image that it starts.
    fn boot(&mut self) -> Result<(), End> {
        let (layout, books) = (self.kit.setup.layout, self.kit.setup.books);
        let read = |start, len| self.chip.read(start, len).unwrap_or_default();
        let kit = self.kit;
        let whole = |record: &BootRecord| {
            let slot = layout.slot(record.slot);
            kit.trusting || record.size <= slot.len && kit.md5(&read(slot.start, record.size)) == record.md5
        };
        let choice = image::choose(&self.chip, &layout, Some(&books), whole);
        let Some(choice) = choice else { return Err(End::Unbootable) };
        for op in choice.write.iter().flatten() {
            self.execute(op).ok_or(End::Cut)?;
        }
        let start = choice.start;
        let image = self.chip.read(layout.slot(start.slot).start, start.size).unwrap_or_default();
        if image != self.kit.old && image != self.kit.new {
            return Err(End::Wrong);
        }
        let config = kit.setup.receiver(NodeId(1), ROLE, &self.chip, &choice, self.reset);
        self.receiver = Some(Receiver::new(config));
        self.counted = false;
        Ok(())
    }

    /// The power is there: boots, and takes part in the update until it is done, taken back, or cut off.
    pub fn power_on(&mut self) -> End {
        self.reset = ResetReason::PowerOn;
        match self.boot().and_then(|()| self.update()) {
            Ok(()) => End::Done,
            Err(end) => end,
        }
    }

    /// Boots after a reset, and lets the node read its books; nothing else happens.
    ///
    /// # Errors
    /// How it ended instead.
    pub fn start(&mut self, reason: ResetReason) -> Result<(), End> {
        self.reset = reason;
        self.boot()?;
        self.flash()
    }

    fn update(&mut self) -> Result<(), End> {
        for _ in 0..STEPS_MAX {
            self.flash()?;
            if self.step()? {
                return Ok(());
            }
        }
        Err(End::Stuck)
    }

    /// Executes all commands; reboots when the node wants it.
    ///
    /// # Errors
    /// How it ended instead.
    pub fn flash(&mut self) -> Result<(), End> {
        loop {
            let Some(receiver) = &mut self.receiver else { return Err(End::Stuck) };
            if let Some(states) = &mut self.states
                && states.last() != Some(&receiver.state())
            {
                states.push(receiver.state());
            }
            if let Some(op) = receiver.poll_flash() {
                let done = self.execute(&op);
                let Some(receiver) = &mut self.receiver else { return Err(End::Stuck) };
                match (done, &op) {
                    (None, _) if self.cut == Some((0, When::Before)) => return Err(End::Cut),
                    (None, _) if self.cut.is_some_and(|(left, _)| left == 0) => return Err(End::Cut),
                    (None, _) => receiver.handle_flash(self.now, Completion::Failed),
                    (Some(bytes), FlashOp::Read { .. }) => {
                        receiver.handle_flash(self.now, Completion::Data(&bytes));
                    }
                    (Some(_), _) => receiver.handle_flash(self.now, Completion::Done),
                }
            } else if let Some(event) = receiver.poll_event() {
                self.events.push(event);
                if event == Event::Restart {
                    self.reset = ResetReason::Software;
                    self.boot()?;
                }
            } else {
                return Ok(());
            }
        }
    }

    /// What the receiver shows, once it has started.
    pub fn receiver(&mut self) -> &mut Receiver {
        self.receiver.as_mut().unwrap_or_else(|| panic!("the node is off"))
    }

    fn count(&mut self, here: Option<u32>) {
        if !core::mem::replace(&mut self.counted, true) {
            let (had, coming) = self.chunks;
            let here = here.unwrap_or(had + u32::from(coming));
            self.lost = self.lost.max((had + u32::from(coming)).saturating_sub(here));
        }
    }

    /// The world's part, by what the node shows; whether all is done.
    fn step(&mut self) -> Result<bool, End> {
        let state = self.receiver().state();
        let here = match state {
            State::Receiving { done, .. } => Some(done),
            State::Idle | State::Refused(_) => Some(0),
            _ => None,
        };
        self.count(here);
        self.now = self.now + Duration::from_secs(1);
        let (now, kit) = (self.now, self.kit);
        let receiver = self.receiver.as_mut().ok_or(End::Stuck)?;
        match state {
            State::Idle | State::Refused(_) => {
                receiver.handle_health(now, WELL);
                receiver.offer(&kit.manifest, &kit.descriptor).map_err(|_| End::Stuck)?;
                self.chunks = (0, false);
            }
            State::Receiving { done, chunks } => {
                let bitmap = receiver.bitmap().ok_or(End::Stuck)?;
                let has = |index: &u32| bitmap[(index / 8) as usize] & (1 << (index % 8)) != 0;
                let next = (0..chunks).find(|index| !has(index)).ok_or(End::Stuck)?;
                let chunk = kit.chunk(next).ok_or(End::Stuck)?;
                if receiver.handle_chunk(LINK, next, &chunk) != ChunkOutcome::Taken {
                    return Err(End::Stuck);
                }
                self.chunks = (done, true);
                self.flash()?;
                self.chunks = (0, false);
                if let State::Receiving { done, .. } = self.receiver().state() {
                    self.chunks = (done, false);
                }
            }
            State::Reverted { .. } if self.confirmed => return Ok(true),
            State::Ready | State::Reverted { quarantined: false, .. } => {
                self.order(Verb::Activate(kit.image()))?
            }
            State::Trial => {
                receiver.handle_health(now, WELL);
                self.now = self.now + TrialRules::default().soak;
            }
            State::Confirmed if self.stop_when_confirmed => return Ok(true),
            State::Confirmed => {
                self.confirmed = true;
                self.order(Verb::Revert(kit.image()))?;
            }
            _ => return Err(End::Stuck),
        }
        Ok(false)
    }

    fn order(&mut self, verb: Verb) -> Result<(), End> {
        let (now, kit) = (self.now, self.kit);
        let receiver = self.receiver();
        let counter = receiver.keys().keys().map(|(_, key)| key.counter).max().unwrap_or(0) + 1;
        receiver.handle_order(now, &kit.order(counter, verb)).map_err(|_| End::Stuck)
    }
}
