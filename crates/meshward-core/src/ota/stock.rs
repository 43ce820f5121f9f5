//! A receiver of the stock protocol (types 10, 11, 12), without the C++ library's bugs.
//!
//! It takes an Announce whose role and hardware are its own and whose MD5 is not the running image's, asks
//! for one part after the other, and writes them to the inactive slot. After the last part it reads the slot
//! back, compares the MD5, writes a boot record and restarts [`RESTART_DELAY`] later.
//!
//! As the library's: ten requests 30 s apart, then it waits for the next Announce and goes on where it was;
//! in broadcast mode only a root asks, the others write what passes. Not as the library's: an Announce of
//! another MD5 starts from part 0, requests carry this node's own id, a repeated old part is no gap, and a
//! part whose writing failed ends the update.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use md5::{Digest as _, Md5};

use super::boot::{BootRecord, write_record};
use super::{Md5Sum, Package};
use crate::flash::{Completion, ERASED, FlashOp, Layout, Region, SECTOR, Slot, WRITE_ALIGN};
use crate::time::{Duration, Instant};
use crate::wire::{Announce, Data, DataRequest, NodeId, Offer};

/// Between two requests for one part.
const RETRY: Duration = Duration::from_secs(30);
/// Image bytes that may wait for the flash: an erase takes as long as several parts on the air.
const PENDING_MAX: usize = 8 * 1024;
/// Requests for one part before the receiver waits for an Announce.
const TRIES: u8 = 10;
/// From the last part to the restart, so that the mesh can finish what it is doing.
const RESTART_DELAY: Duration = Duration::from_secs(2);

/// What a receiver is told at its birth.
#[derive(Clone, Debug)]
pub struct ReceiverConfig {
    /// This node's id.
    pub id: NodeId,
    /// Which images it takes: the sketch's name for its kind, as in `initOTAReceive("role")`.
    pub role: Vec<u8>,
    /// `ESP32` or `ESP8266`; the former covers all chips of its family.
    pub hardware: Vec<u8>,
    /// Whether this node is the root, which asks on behalf of all in broadcast mode.
    pub root: bool,
    /// The board's flash.
    pub layout: Layout,
    /// What the boot loader started; `None` on a board without a boot record, which runs slot A.
    pub running: Option<BootRecord>,
}

/// Why an update ended without a new image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateError {
    /// The image does not fit into the slot.
    TooLarge,
    /// The flash refused a command.
    Flash,
    /// What stands in the slot does not have the announced MD5.
    Md5,
}

impl fmt::Display for UpdateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the image does not fit into the slot",
            Self::Flash => "the flash refused a command",
            Self::Md5 => "the written image does not have the announced MD5",
        })
    }
}

/// What a receiver reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiverEvent {
    /// An image was announced that this node takes.
    Started(Md5Sum),
    /// The update ended; the running image stays.
    Failed(UpdateError),
    /// The new image is in its slot and will be started.
    Installed(BootRecord),
    /// Reset the machine now.
    Restart,
}

/// Where a receiver is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiverState {
    /// Nothing to do.
    Idle,
    /// Waits for a part, or writes one.
    Receiving {
        /// Parts written.
        done: u32,
        /// Parts in all.
        parts: u32,
    },
    /// Reads the slot back.
    Verifying,
    /// Writes the boot record.
    Installing,
    /// Waits for the restart.
    Restarting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Parts are wanted; some may be on their way into the flash.
    Receiving,
    /// The last part is on its way into the flash.
    Closing,
    /// The slot is read back, from this offset on.
    Verifying(u32),
    /// The boot record is being written.
    Installing,
    /// The machine restarts at this time.
    Restarting(Instant),
}

/// The requests for the current part.
#[derive(Clone, Copy, Debug)]
struct Asking {
    next: Instant,
    tries: u8,
}

#[derive(Debug)]
struct Update {
    offer: Offer<'static>,
    md5: Md5Sum,
    source: NodeId,
    /// `None` while the receiver does not ask: in broadcast mode, or after it gave up.
    asking: Option<Asking>,
    gave_up: bool,
    /// The part that is wanted next.
    next: u32,
    /// Image bytes accepted so far.
    size: u32,
    /// The last bytes of a part that do not fill a program unit.
    carry: Vec<u8>,
    verify: Md5,
    phase: Phase,
}

/// See the module's page.
#[derive(Debug)]
pub struct StockReceiver {
    config: ReceiverConfig,
    slot: Slot,
    update: Option<Update>,
    /// An image that cannot fit: not asked for again.
    unfit: Option<Md5Sum>,
    commands: VecDeque<FlashOp>,
    /// Bytes that the command under way programs, if one is.
    in_flight: Option<usize>,
    /// Bytes that wait for the flash, the command under way included.
    pending: usize,
    /// Parts not taken because the flash was behind.
    parts_dropped: u64,
    packages: VecDeque<Package>,
    events: VecDeque<ReceiverEvent>,
}

impl StockReceiver {
    /// An idle receiver.
    pub fn new(config: ReceiverConfig) -> Self {
        let slot = config.running.map_or(Slot::A, |record| record.slot).other();
        Self {
            config,
            slot,
            update: None,
            unfit: None,
            commands: VecDeque::new(),
            in_flight: None,
            pending: 0,
            parts_dropped: 0,
            packages: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Where the receiver is.
    pub fn state(&self) -> ReceiverState {
        let Some(update) = &self.update else { return ReceiverState::Idle };
        match update.phase {
            Phase::Receiving | Phase::Closing => {
                ReceiverState::Receiving { done: update.next, parts: update.offer.parts }
            }
            Phase::Verifying(_) => ReceiverState::Verifying,
            Phase::Installing => ReceiverState::Installing,
            Phase::Restarting(_) => ReceiverState::Restarting,
        }
    }

    fn region(&self) -> Region {
        self.config.layout.slot(self.slot)
    }

    fn is_mine(&self, offer: &Offer<'_>) -> bool {
        *offer.role == *self.config.role && *offer.hardware == *self.config.hardware
    }

    /// A type 10 arrived.
    pub fn handle_announce(&mut self, now: Instant, announce: &Announce<'_>) {
        let offer = &announce.offer;
        let Some(md5) = Md5Sum::parse(&offer.md5).filter(|_| self.is_mine(offer) && offer.parts > 0) else {
            return;
        };
        let running = self.config.running.is_some_and(|record| record.md5 == md5);
        if (running && !offer.forced) || self.unfit == Some(md5) {
            return;
        }
        match &mut self.update {
            Some(update) if update.md5 == md5 => {
                if update.gave_up {
                    update.gave_up = false;
                    update.source = announce.from;
                    update.asking = Some(Asking { next: now, tries: 0 });
                }
            }
            // A verified image that is about to start must not be touched any more.
            Some(update) if matches!(update.phase, Phase::Installing | Phase::Restarting(_)) => return,
            _ => self.begin(now, md5, announce),
        }
        self.ask(now);
    }

    fn begin(&mut self, now: Instant, md5: Md5Sum, announce: &Announce<'_>) {
        let asks = !announce.offer.broadcasted || self.config.root;
        self.forget_commands();
        self.update = Some(Update {
            offer: announce.offer.clone().into_owned(),
            md5,
            source: announce.from,
            asking: asks.then_some(Asking { next: now, tries: 0 }),
            gave_up: false,
            next: 0,
            size: 0,
            carry: Vec::new(),
            verify: Md5::new(),
            phase: Phase::Receiving,
        });
        self.events.push_back(ReceiverEvent::Started(md5));
    }

    /// Sends the request that is due, if one is.
    fn ask(&mut self, now: Instant) {
        let idle = self.pending == 0;
        let Some(update) = self.update.as_mut().filter(|update| idle && update.phase == Phase::Receiving)
        else {
            return;
        };
        let Some(asking) = update.asking.as_mut().filter(|asking| asking.next <= now) else { return };
        if asking.tries >= TRIES {
            update.asking = None;
            update.gave_up = true;
            return;
        }
        asking.tries += 1;
        asking.next = now + RETRY;
        let request = DataRequest {
            from: self.config.id,
            dest: update.source,
            offer: update.offer.clone(),
            part: update.next,
        };
        self.packages.push_back(Package::Single {
            dest: update.source,
            chunk: false,
            frame: request.encode(),
        });
    }

    /// Whether a part could be of use now.
    pub fn wants_data(&self) -> bool {
        self.update.as_ref().is_some_and(|update| update.phase == Phase::Receiving)
    }

    /// A type 12 arrived, asked for or not.
    pub fn handle_data(&mut self, now: Instant, data: &Data<'_>) {
        if !self.is_mine(&data.offer) {
            return;
        }
        let Some(update) = self.update.as_mut().filter(|update| update.phase == Phase::Receiving) else {
            return;
        };
        let theirs = (Md5Sum::parse(&data.offer.md5), data.offer.parts);
        if theirs != (Some(update.md5), update.offer.parts) || data.data.is_empty() {
            return;
        }
        if data.part == update.next {
            update.source = data.from;
            if self.pending + data.data.len() > PENDING_MAX {
                self.parts_dropped += 1;
                return;
            }
            self.take(data);
            if self.commands.is_empty() && self.in_flight.is_none() {
                self.advance(now);
            }
            return;
        }
        if update.offer.broadcasted && data.offer.broadcasted && data.part > update.next {
            // A part has been missed: from here on this node asks for itself.
            update.offer.broadcasted = false;
            update.source = data.from;
            update.asking = Some(Asking { next: now, tries: 0 });
            self.ask(now);
        }
    }

    /// Queues the flash commands that put a part into the slot.
    fn take(&mut self, data: &Data<'_>) {
        let region = self.region();
        let Some(update) = &mut self.update else { return };
        let at = update.size - update.carry.len() as u32;
        let size = update.size.saturating_add(data.data.len() as u32);
        if size > region.len {
            self.unfit = Some(update.md5);
            return self.fail(UpdateError::TooLarge);
        }
        update.carry.extend_from_slice(&data.data);
        let last = data.part + 1 == update.offer.parts;
        let unit = WRITE_ALIGN as usize;
        let whole = if last {
            update.carry.resize(update.carry.len().next_multiple_of(unit), ERASED);
            update.carry.len()
        } else {
            update.carry.len() / unit * unit
        };
        let rest = update.carry.split_off(whole);
        let bytes = core::mem::replace(&mut update.carry, rest);
        let end = at + bytes.len() as u32;
        for sector in at.div_ceil(SECTOR)..end.div_ceil(SECTOR) {
            self.commands.push_back(FlashOp::Erase { address: region.start + sector * SECTOR });
        }
        self.pending += bytes.len();
        if !bytes.is_empty() {
            self.commands.push_back(FlashOp::Program { address: region.start + at, data: bytes });
        }
        update.size = size;
        update.next = data.part + 1;
        if last {
            update.phase = Phase::Closing;
        }
    }

    /// A flash command is done; `now` is when.
    pub fn handle_flash(&mut self, now: Instant, completion: Completion<'_>) {
        self.pending -= self.in_flight.take().unwrap_or(0).min(self.pending);
        let Some(update) = &mut self.update else { return };
        match (update.phase, completion) {
            (_, Completion::Failed) => return self.fail(UpdateError::Flash),
            (Phase::Verifying(offset), Completion::Data(bytes)) => {
                update.verify.update(bytes);
                update.phase = Phase::Verifying(offset + bytes.len() as u32);
            }
            _ => {}
        }
        if self.commands.is_empty() {
            self.advance(now);
        }
    }

    /// All queued flash commands are done: what comes next?
    fn advance(&mut self, now: Instant) {
        let region = self.region();
        let Some(update) = &mut self.update else { return };
        match update.phase {
            Phase::Receiving => {
                // A command of an update that was given up for this one says nothing about its parts.
                if update.next > 0 && (update.asking.is_some() || update.gave_up) {
                    update.gave_up = false;
                    update.asking = Some(Asking { next: now, tries: 0 });
                    self.ask(now);
                }
            }
            Phase::Closing => {
                update.phase = Phase::Verifying(0);
                self.advance(now);
            }
            Phase::Verifying(offset) if offset < update.size => {
                let len = SECTOR.min(update.size - offset);
                self.commands.push_back(FlashOp::Read { address: region.start + offset, len });
            }
            Phase::Verifying(_) => self.verified(),
            Phase::Installing => {
                let record = self.next_record();
                if let Some(update) = &mut self.update {
                    update.phase = Phase::Restarting(now + RESTART_DELAY);
                }
                self.events.extend(record.map(ReceiverEvent::Installed));
            }
            Phase::Restarting(_) => {}
        }
    }

    fn verified(&mut self) {
        let Some(update) = &mut self.update else { return };
        let sum = Md5Sum(core::mem::take(&mut update.verify).finalize().into());
        if sum != update.md5 {
            return self.fail(UpdateError::Md5);
        }
        update.phase = Phase::Installing;
        if let Some(record) = self.next_record() {
            self.commands.extend(write_record(&self.config.layout, &record));
        }
    }

    /// The boot record that makes the received image the one to start.
    fn next_record(&self) -> Option<BootRecord> {
        let update = self.update.as_ref()?;
        let sequence = self.config.running.map_or(0, |record| record.sequence).wrapping_add(1);
        Some(BootRecord { sequence, slot: self.slot, size: update.size, md5: update.md5 })
    }

    fn fail(&mut self, error: UpdateError) {
        self.update = None;
        self.forget_commands();
        self.events.push_back(ReceiverEvent::Failed(error));
    }

    fn forget_commands(&mut self) {
        self.commands.clear();
        self.pending = self.in_flight.unwrap_or(0);
    }

    /// Parts that came faster than the flash takes them; they are asked for again.
    pub fn parts_dropped(&self) -> u64 {
        self.parts_dropped
    }

    /// Repeats a request or restarts, when it is time.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(Update { phase: Phase::Restarting(at), .. }) = &self.update
            && *at <= now
        {
            self.update = None;
            self.events.push_back(ReceiverEvent::Restart);
        }
        self.ask(now);
    }

    /// When to call [`StockReceiver::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let update = self.update.as_ref()?;
        match update.phase {
            Phase::Restarting(at) => Some(at),
            Phase::Receiving if self.pending == 0 => update.asking.map(|asking| asking.next),
            _ => None,
        }
    }

    /// The next flash command, once the one before is done.
    pub fn poll_flash(&mut self) -> Option<FlashOp> {
        if self.in_flight.is_some() {
            return None;
        }
        let command = self.commands.pop_front()?;
        self.in_flight = Some(if let FlashOp::Program { data, .. } = &command { data.len() } else { 0 });
        Some(command)
    }

    /// The next frame to be sent.
    pub fn poll_transmit(&mut self) -> Option<Package> {
        self.packages.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<ReceiverEvent> {
        self.events.pop_front()
    }
}
