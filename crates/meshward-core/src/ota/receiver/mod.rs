//! The receiver of Meshward updates: from a signed offer to a confirmed image, through any power cut.
//!
//! A machine without IO. What the mesh brings are typed calls ([`offer`](Receiver::offer),
//! [`handle_chunk`](Receiver::handle_chunk), [`handle_order`](Receiver::handle_order),
//! [`handle_health`](Receiver::handle_health), [`handle_supply`](Receiver::handle_supply)); flash goes out through [`poll_flash`](Receiver::poll_flash) and
//! its answers come in through [`handle_flash`](Receiver::handle_flash), one at a time. Chunks are taken in any
//! order, from anybody, twice, one at a time; nothing touches what boots until the payload is complete and
//! verified, and nothing is started that nobody signed.
//!
//! All that matters is on flash: the [`journal`](crate::ota::journal), the trial's record, and the node's memory.
//! A receiver that is made anew after a reset goes on where the old one was. Only one receiver may use the
//! inactive slot at a time: a shell that runs a [`StockReceiver`](crate::ota::StockReceiver) too lets it write
//! only while this one is idle.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod blame;
#[doc(hidden)]
pub mod fuzzing;
mod memory;
mod orders;
mod recover;
mod report;
mod serve;
mod session;
mod state;
mod wear;
mod work;

use alloc::collections::VecDeque;
use alloc::string::String;

use blame::Blame;
use memory::Memory;
pub use report::{BootLoader, Capabilities};
use serve::Serving;
pub use serve::{Held, Piece};
use session::Session;
pub use state::{ChunkOutcome, Config, Event, Failure, State};
use wear::Wear;
pub use wear::{WRONG_BLOCK_EVERY, WRONG_BLOCKS_AT_ONCE};
use work::Task;

use super::trial::{Health, Trial, TrialCopies, TrialRules};
use super::trust::{KeyStore, Refusal};
use crate::flash::{Books, Completion, FlashOp};
use crate::mesh::LinkId;
use crate::time::{Duration, Instant};

/// How long ago the old image may have reached the gateway for the new one to have to.
const GATEWAY_MEMORY: Duration = Duration::from_secs(3_600);

/// See the module's page.
#[derive(Debug)]
pub struct Receiver {
    config: Config,
    memory: Memory,
    trial_copies: TrialCopies,
    trial: Option<Trial>,
    /// The flash is told that the image counts, and whether that is news.
    confirming: Option<bool>,
    session: Option<Session>,
    blame: Blame,
    /// What was measured last, in millivolts.
    supply: Option<u16>,
    /// Commands that go before anything else; a dozen at most.
    writes: VecDeque<FlashOp>,
    task: Task,
    /// Whether the mark of the chunk that is being stored is on its way.
    marking: bool,
    wear: Wear,
    serving: Serving,
    /// Whether a command is under way.
    busy: bool,
    refused: Option<Refusal>,
    failed: Option<Failure>,
    gateway_at: Option<Instant>,
    events: VecDeque<Event>,
}

impl Receiver {
    /// A receiver after a reset. It reads its books first, and takes nothing before.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            memory: Memory::default(),
            trial_copies: TrialCopies::default(),
            trial: None,
            confirming: None,
            session: None,
            blame: Blame::default(),
            supply: None,
            writes: VecDeque::new(),
            task: Task::start(),
            marking: false,
            wear: Wear::new(),
            serving: Serving::default(),
            busy: false,
            refused: None,
            failed: None,
            gateway_at: None,
            events: VecDeque::new(),
        }
    }

    /// The commands by which a factory gives a node its first keys.
    pub fn provision(books: &Books, keys: &KeyStore) -> [FlashOp; 2] {
        Memory::new(keys).write(books)
    }

    /// The keys that this node believes, with the last counter of each.
    pub fn keys(&self) -> &KeyStore {
        &self.memory.keys
    }

    /// The next command to the flash. Nothing more comes before its completion.
    pub fn poll_flash(&mut self) -> Option<FlashOp> {
        if self.busy {
            return None;
        }
        let op = self.writes.pop_front().or_else(|| self.read_for_others()).or_else(|| self.read());
        self.busy = op.is_some();
        op
    }

    /// The command under way is done.
    pub fn handle_flash(&mut self, now: Instant, completion: Completion<'_>) {
        self.busy = false;
        if self.serving.is_reading() {
            return self.have_read_for_others(&completion);
        }
        match completion {
            Completion::Failed => self.fail(Failure::Flash),
            Completion::Done if self.writes.is_empty() => self.written(now),
            Completion::Done => {}
            Completion::Data(bytes) => self.have_read(now, bytes),
        }
    }

    /// What has happened; until `None`.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if event.is_none() {
            // There are few, and seldom: their memory is worth more than the time to get it again.
            self.events.shrink_to_fit();
        }
        event
    }

    /// The node's health has changed, or is the same. To be called once a minute at least.
    pub fn handle_health(&mut self, now: Instant, health: Health) {
        if health.gateway_reached && health.gateway_in_tree {
            self.gateway_at = Some(now);
        }
        if let Some(trial) = &mut self.trial {
            trial.handle_health(now, health);
        }
        self.handle_timeout(now);
    }

    /// The supply was measured, in millivolts. Updates that have begun are not stopped by it.
    pub fn handle_supply(&mut self, millivolts: u16) {
        self.supply = Some(millivolts);
    }

    /// The link is down: nothing is expected of it any more.
    pub fn handle_link_down(&mut self, link: LinkId) {
        self.blame.gone(link);
    }

    /// Bad blocks that this link alone has brought, during this update and since the reset.
    pub fn charges(&self, link: LinkId) -> u16 {
        self.blame.charges(link)
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        let waited = self.wear.spent_until().is_some();
        self.wear.handle_timeout(now);
        if waited && self.wear.spent_until().is_none() && self.is_idle() {
            self.proceed();
        }
        let idle = matches!(self.task, Task::Idle);
        let verdict = self.trial.as_mut().filter(|_| idle).and_then(|trial| trial.verdict(now));
        if let Some(verdict) = verdict {
            self.judge(verdict);
        }
    }

    /// When the trial wants to be looked at again, or blocks that wait for the flash's sake.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let idle = matches!(self.task, Task::Idle);
        let trial = self.trial.as_ref().filter(|_| idle).and_then(Trial::poll_timeout);
        [trial, self.wear.spent_until()].into_iter().flatten().min()
    }

    fn is_idle(&self) -> bool {
        matches!(self.task, Task::Idle) && self.writes.is_empty() && !self.busy
    }

    fn fail(&mut self, failure: Failure) {
        self.writes.clear();
        (self.marking, self.confirming) = (false, None);
        self.failed = Some(failure);
        self.task = Task::Idle;
        self.events.push_back(Event::Failed(failure));
    }

    /// How long trials take: as the policy says, else the board.
    fn rules(&self) -> TrialRules {
        self.memory.policy.map_or(self.config.rules, |policy| TrialRules {
            soak: Duration::from_secs(policy.soak.into()),
            limit: Duration::from_secs(policy.limit.into()),
        })
    }

    fn names(&self) -> (&String, &String) {
        (&self.config.hardware, &self.config.role)
    }
}
