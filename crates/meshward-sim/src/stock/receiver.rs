//! `addReceivePackageCallback` of `ota.hpp`, lines 374–578, statement by statement, bugs included.
//!
//! It refuses an Announce of another role or hardware, of the running image (unless forced) or of the one it
//! is at, and a Data of anything else than it is at. It trusts everything else: who sent it, whether it was
//! asked for, how many parts there are. Driven by the node with packages and time; what it holds is RAM, and
//! gone with a restart.
//!
//! The names are those of the source: `md5`, `part`, `broadcasted` are `updateFW`'s, `task` is its task.

use std::collections::VecDeque;

use meshward_core::time::{Duration, Instant};
use meshward_core::wire::{NodeId, Offer};

use super::flash::Update;
use super::package::{Outgoing, Package, request_for_announce, request_for_data};
use super::{StockEvent, StockReceiverConfig};

/// Between two runs of a request task.
const RETRY: Duration = Duration::from_secs(30);
/// Runs of a request task.
const TRIES: u8 = 10;
/// From the last part to `ESP.restart()`.
const RESTART_DELAY: Duration = Duration::from_secs(2);

/// A `Task` of TaskScheduler that sends one request again and again.
#[derive(Debug)]
struct RequestTask {
    id: u32,
    request: Outgoing,
    next: Instant,
    /// Runs that are left. At 0 the scheduler's next pass disables it.
    left: u8,
    enabled: bool,
    /// Whether `onDisable` forgets the md5; it is set to NULL after the last part.
    forgets: bool,
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Receiver {
    id: NodeId,
    root: bool,
    config: StockReceiverConfig,
    md5: Vec<u8>,
    part: u32,
    broadcasted: bool,
    /// `updateFW->task`, by number: NULL until this node has asked for something.
    task: Option<u32>,
    tasks: Vec<RequestTask>,
    next_task: u32,
    update: Update,
    restarts: Vec<Instant>,
    pub(super) outgoing: VecDeque<Outgoing>,
    pub(super) events: VecDeque<StockEvent>,
}

impl Receiver {
    pub(super) fn new(id: NodeId, root: bool, config: StockReceiverConfig) -> Self {
        Self {
            id,
            root,
            md5: Vec::new(),
            part: 0,
            broadcasted: false,
            task: None,
            tasks: Vec::new(),
            next_task: 0,
            update: Update::new(config.slot_bytes),
            restarts: Vec::new(),
            outgoing: VecDeque::new(),
            events: VecDeque::new(),
            config,
        }
    }

    /// The part it would take next.
    pub(super) fn part(&self) -> u32 {
        self.part
    }

    /// The image it is at; empty when at none.
    pub(super) fn md5(&self) -> &[u8] {
        &self.md5
    }

    /// Bytes in the slot that is being written.
    pub(super) fn written(&self) -> Option<usize> {
        self.update.written()
    }

    fn is_mine(&self, offer: &Offer<'_>) -> bool {
        *self.config.role == *offer.role && *self.config.hardware == *offer.hardware
    }

    /// A type 10 (`ota.hpp:407`).
    pub(super) fn handle_announce(&mut self, now: Instant, frame: &[u8]) {
        let pkg = Package::read(frame);
        if !self.is_mine(&pkg.offer) {
            return;
        }
        let has = *self.config.current_md5 == *pkg.offer.md5 && !pkg.offer.forced;
        if has || *self.md5 == *pkg.offer.md5 {
            return;
        }
        self.md5 = pkg.offer.md5.to_vec();
        self.broadcasted = pkg.offer.broadcasted;
        self.events.push_back(StockEvent::UpdateStarted);
        if !pkg.offer.broadcasted || self.root {
            // The part number of whatever went on before.
            let request = request_for_announce(&pkg, self.id, self.part);
            self.add_task(now, request);
        }
    }

    /// `updateFW->task = mesh.addTask(...)`: the old task is not disabled, so it goes on.
    fn add_task(&mut self, now: Instant, request: Outgoing) {
        let id = self.next_task;
        self.next_task = self.next_task.wrapping_add(1);
        self.task = Some(id);
        self.tasks.retain(|task| task.enabled);
        self.tasks.push(RequestTask { id, request, next: now, left: TRIES, enabled: true, forgets: true });
    }

    /// A type 12 (`ota.hpp:458`).
    pub(super) fn handle_data(&mut self, now: Instant, frame: &[u8]) {
        let head = Package::read(frame);
        if *self.md5 != *head.offer.md5 || !self.is_mine(&head.offer) {
            return;
        }
        if self.part == head.part {
            self.take(now, &head);
        } else if self.broadcasted && head.offer.broadcasted {
            self.broadcasted = false;
            self.add_task(now, request_for_data(&head, self.part, false));
        }
    }

    /// The part that was expected.
    fn take(&mut self, now: Instant, pkg: &Package<'_>) {
        if pkg.part == 0 {
            self.update.begin(&pkg.offer.md5);
        }
        if !self.update.write(&pkg.data()) {
            // The task is not stopped.
            self.update.abort();
            self.forget();
            self.events.push_back(StockEvent::WriteFailed);
        } else if pkg.part == pkg.offer.parts.wrapping_sub(1) {
            self.finish(now);
        } else {
            self.part = self.part.wrapping_add(1);
            let request = request_for_data(pkg, self.part, pkg.offer.broadcasted);
            if let Some(task) = self.current_task() {
                task.request = request;
                (task.left, task.next, task.enabled) = (TRIES, now, true);
            }
        }
    }

    /// `updateFW->md5 = ""; updateFW->partNo = 0;`
    fn forget(&mut self) {
        self.md5.clear();
        self.part = 0;
    }

    /// The last part, by the word of whoever sent it.
    fn finish(&mut self, now: Instant) {
        match self.update.end() {
            Some(image) => {
                // The file says what `updateFW` says, not what `begin` was told.
                self.events.push_back(StockEvent::Installed { image, md5: self.md5.clone() });
                self.restarts.push(now + RESTART_DELAY);
            }
            None => {
                self.forget();
                self.events.push_back(StockEvent::Md5Failed);
            }
        }
        if let Some(task) = self.current_task() {
            (task.forgets, task.enabled) = (false, false);
        }
    }

    fn current_task(&mut self) -> Option<&mut RequestTask> {
        let id = self.task?;
        self.tasks.iter_mut().find(|task| task.id == id)
    }

    /// One pass of the scheduler over the tasks; whether any of them did something.
    pub(super) fn pass(&mut self, now: Instant) -> bool {
        let mut active = false;
        for task in self.tasks.iter_mut().filter(|task| task.enabled) {
            if task.left == 0 {
                task.enabled = false;
                active = true;
                if task.forgets {
                    // The part number stays, and the md5 may be another task's.
                    self.md5.clear();
                    self.events.push_back(StockEvent::GaveUp);
                }
            } else if task.next <= now {
                task.left -= 1;
                task.next = task.next + RETRY;
                active = true;
                self.outgoing.push_back(task.request.clone());
            }
        }
        let before = self.restarts.len();
        self.restarts.retain(|at| *at > now);
        let due = before - self.restarts.len();
        self.events.extend((0..due).map(|_| StockEvent::Restart));
        active || due > 0
    }

    /// When [`Receiver::pass`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let tasks = self.tasks.iter().filter(|task| task.enabled).map(|task| task.next);
        tasks.chain(self.restarts.iter().copied()).min()
    }
}
