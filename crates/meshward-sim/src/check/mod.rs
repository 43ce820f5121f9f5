//! Checkers: they stand apart from the world, and judge it from what could be seen from outside.
//!
//! Each is a module of its own with one question. A [`Panel`] shows every record to all of them, lets them
//! look at the world once a second, and asks them for their last word. A finding is a verdict: whatever a
//! checker reports fails the run. [`crate::plant`] has a bug for each.

mod accounts;
mod boots;
mod images;
mod manners;
mod memory;
mod messages;
mod trees;

use core::fmt;

use meshward_core::time::Instant;

pub use accounts::{Accounts, Promise};
pub use boots::Boots;
pub use images::Images;
pub use manners::Manners;
pub use memory::Memory;
pub use messages::Messages;
pub use trees::Trees;

use crate::world::{Record, World};

/// Findings kept; the first ones tell the story.
const FINDINGS_MAX: usize = 20;

/// Something that must not have happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Who found it.
    pub checker: &'static str,
    /// When.
    pub at: Instant,
    /// What.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s: {}: {}", self.at.as_micros() as f64 / 1e6, self.checker, self.what)
    }
}

/// Where a checker puts what it has found.
#[derive(Debug)]
pub struct Findings {
    list: Vec<Finding>,
    checker: &'static str,
    at: Instant,
}

impl Findings {
    /// Something must not have happened.
    pub fn add(&mut self, what: String) {
        if self.list.len() < FINDINGS_MAX {
            self.list.push(Finding { checker: self.checker, at: self.at, what });
        }
    }
}

/// What a run may contain: a run without any fault is judged more strictly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charges {
    /// Links are cut or silenced, hosts lose power, or images misbehave.
    pub disturbed: bool,
    /// Relays double frames.
    pub duplicates: bool,
    /// Flash commands fail, or are torn.
    pub bad_flash: bool,
    /// Bits turn over in flash.
    pub flipped_bits: bool,
}

impl Charges {
    /// Whether nothing in the run is a reason for an update to fail.
    pub fn is_free_of_faults(&self) -> bool {
        !self.disturbed && !self.bad_flash && !self.flipped_bits
    }
}

/// One question about a run.
pub trait Checker {
    /// What it is called in a report.
    fn name(&self) -> &'static str;

    /// Something happened.
    fn see(&mut self, _world: &World, _record: &Record, _findings: &mut Findings) {}

    /// A second has passed.
    fn look(&mut self, _world: &World, _findings: &mut Findings) {}

    /// The run is over.
    fn end(&mut self, _world: &World, _findings: &mut Findings) {}
}

/// All checkers, and what they have found.
pub struct Panel {
    pub(crate) images: Images,
    pub(crate) boots: Boots,
    pub(crate) accounts: Accounts,
    pub(crate) trees: Trees,
    pub(crate) messages: Messages,
    pub(crate) memory: Memory,
    pub(crate) manners: Manners,
    findings: Findings,
}

impl Panel {
    /// A panel for a run that may contain this.
    pub fn new(charges: Charges) -> Self {
        Self {
            images: Images::default(),
            boots: Boots,
            accounts: Accounts::new(charges),
            trees: Trees::default(),
            messages: Messages::new(charges),
            memory: Memory,
            manners: Manners::new(charges),
            findings: Findings { list: Vec::new(), checker: "", at: Instant::ORIGIN },
        }
    }

    /// Shows the panel what has happened since the last call.
    pub fn see(&mut self, world: &mut World) {
        let records: Vec<Record> = world.records().collect();
        for record in &records {
            self.findings.at = record.at;
            self.each(|checker, findings| checker.see(world, record, findings));
        }
    }

    /// Lets every checker look at the world.
    pub fn look(&mut self, world: &World) {
        self.findings.at = world.now();
        self.each(|checker, findings| checker.look(world, findings));
    }

    /// Asks for the last word.
    pub fn end(&mut self, world: &World) {
        self.findings.at = world.now();
        self.each(|checker, findings| checker.end(world, findings));
    }

    /// What has been found.
    pub fn findings(&self) -> &[Finding] {
        &self.findings.list
    }

    fn each(&mut self, mut act: impl FnMut(&mut dyn Checker, &mut Findings)) {
        let Self { images, boots, accounts, trees, messages, memory, manners, findings } = self;
        let checkers: [&mut dyn Checker; 7] = [images, boots, accounts, trees, messages, memory, manners];
        for checker in checkers {
            findings.checker = checker.name();
            act(checker, findings);
        }
    }
}
