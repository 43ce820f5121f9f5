//! What operators order, and how a trial or an update ends.

use super::memory::{Known, Wish};
use super::state::{Event, Failure};
use super::work::Task;
use super::{GATEWAY_MEMORY, Receiver};
use crate::flash::Slot;
use crate::hash::{Md5Sum, Sha256Sum};
use crate::ota::BootRecord;
use crate::ota::boot::write_record;
use crate::ota::trial::{Ended, TrialRecord, TrialState, Verdict};
use crate::ota::trust::{Order, Refusal, Verb};
use crate::time::Instant;

impl Receiver {
    /// A signed order came. Its counter and what it wants are on flash before anything happens, so that a power
    /// cut loses neither.
    ///
    /// # Errors
    /// [`Refusal`]: nothing has changed; except that of a [`Refusal::KeyChange`] the counter is remembered.
    pub fn handle_order(&mut self, now: Instant, signed: &[u8]) -> Result<(), Refusal> {
        if !matches!(self.task, Task::Idle | Task::Install(_) | Task::Verify { .. })
            || !self.writes.is_empty()
        {
            return Err(Refusal::Occupied);
        }
        let order = self.memory.keys.order(signed, self.config.id, self.memory.time)?;
        let wish = self.wish(&order.content)?;
        let outcome = self.memory.keys.obeyed(&order);
        self.memory.time = order.content.time_after(self.memory.time);
        if outcome.is_ok() {
            self.memory.wish = wish;
            self.note(&order.content, now);
        }
        self.writes.extend(self.memory.write(&self.config.books));
        outcome
    }

    /// What will have to be done; refuses what cannot be.
    fn wish(&self, order: &Order) -> Result<Option<Wish>, Refusal> {
        let held = self.session.as_ref().filter(|session| session.recipe.is_some());
        let holds = |image: &Sha256Sum| held.is_some_and(|session| session.image() == *image);
        let running = self.running();
        match &order.verb {
            Verb::Activate(image) if holds(image) && self.trial.is_none() => Ok(Some(Wish::Activate(*image))),
            Verb::Cancel(image) if holds(image) => Ok(Some(Wish::Cancel(*image))),
            Verb::Pause(image) if holds(image) => Ok(Some(Wish::Pause(*image))),
            Verb::Resume(image) if holds(image) => Ok(None),
            Verb::Revert(image) if running == Some(*image) && (self.trial.is_some() || self.can_revert()) => {
                Ok(Some(Wish::Revert(*image)))
            }
            Verb::Activate(image) | Verb::Cancel(image) | Verb::Pause(image) | Verb::Resume(image) => {
                Err(Refusal::OtherImage(*image))
            }
            Verb::Revert(image) => Err(Refusal::NoWayBack(*image)),
            Verb::Quarantine(image) if holds(image) => Ok(Some(Wish::Cancel(*image))),
            Verb::Quarantine(_) | Verb::Unquarantine(_) | Verb::Keys(_) | Verb::Policy(_) | Verb::Time(_) => {
                Ok(self.memory.wish)
            }
        }
    }

    /// What else has to be remembered with the counter.
    fn note(&mut self, order: &Order, now: Instant) {
        match &order.verb {
            Verb::Quarantine(image) => self.memory.quarantine(*image),
            Verb::Unquarantine(image) => self.memory.quarantine.retain(|other| other != image),
            Verb::Policy(policy) => self.memory.policy = Some(*policy),
            Verb::Activate(_) => {
                let slot = self.slot();
                if let Some(session) = &self.session {
                    let manifest = &session.manifest;
                    let (md5, sha256) = (manifest.md5, manifest.sha256);
                    let known = Known { md5, sha256, size: manifest.size, sequence: manifest.sequence };
                    self.memory.learn(slot, known);
                }
                self.gateway_at = self.gateway_at.filter(|at| now.since(*at) <= GATEWAY_MEMORY);
            }
            _ => {}
        }
    }

    /// Begins what is wished for, if its time has come; whether anything was begun.
    pub(super) fn grant(&mut self) -> bool {
        let held = self.session.as_ref().filter(|session| session.recipe.is_some());
        let image = held.map(|session| session.image());
        match self.memory.wish {
            Some(Wish::Cancel(wished)) if image == Some(wished) => {
                let [journal, _] = self.config.books.journal;
                self.writes.push_back(crate::flash::FlashOp::Erase { address: journal.start });
                self.session = None;
                self.failed = None;
                true
            }
            Some(Wish::Activate(wished)) if image == Some(wished) && self.failed.is_none() => {
                let ready = held.is_some_and(|session| session.ready);
                if ready {
                    self.activate();
                }
                ready
            }
            Some(Wish::Revert(wished)) if self.running() == Some(wished) && self.failed.is_none() => {
                if self.trial.is_some() {
                    self.end_trial(TrialState::Invalid, Ended::Ordered, false);
                } else {
                    self.look_back();
                }
                true
            }
            _ => false,
        }
    }

    /// The image is whole in its slot, and is to be started.
    fn activate(&mut self) {
        let slot = self.slot();
        let Some(session) = &self.session else { return };
        let manifest = &session.manifest;
        let (size, md5, sha256) = (manifest.size, manifest.md5, manifest.sha256);
        let gateway = self.gateway_at.is_some();
        let state = TrialState::New;
        let record = TrialRecord { state, attempts: 0, gateway, slot, size, md5, sha256, ended: None };
        if self.config.rollback {
            self.writes.extend(self.trial_copies.write(&self.config.books, record));
        } else {
            let sequence = self.config.committed.sequence.saturating_add(1);
            self.writes.extend(write_record(&self.config.layout, &record.boot_record(sequence)));
        }
        self.task = Task::Restart;
    }

    /// The trial is over.
    pub(super) fn judge(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Confirm => self.confirm(),
            Verdict::Revert(failure) => {
                self.events.push_back(Event::TrialFailed(failure));
                let state = if failure.quarantines() { TrialState::Invalid } else { TrialState::Aborted };
                self.end_trial(state, Ended::Failed(failure), failure.quarantines());
            }
        }
    }

    pub(super) fn confirm(&mut self) {
        let Some(record) = self.trial_copies.record else { return };
        let counts = record.boot_record(self.config.committed.sequence.saturating_add(1));
        let news = self.config.committed.md5 != record.md5;
        // It is confirmed when the flash has it: a reset before that is one of an image on trial.
        self.confirming = Some(news);
        if news {
            self.writes.extend(write_record(&self.config.layout, &counts));
            self.config.previous = Some(self.config.committed);
            self.config.committed = counts;
            self.config.running = counts;
        }
        let valid = TrialRecord { state: TrialState::Valid, ..record };
        self.writes.extend(self.trial_copies.write(&self.config.books, valid));
        self.memory.wish = None;
        self.writes.extend(self.memory.write(&self.config.books));
        self.trial = None;
    }

    /// Says on flash how the trial ended, and restarts into the old image.
    fn end_trial(&mut self, state: TrialState, ended: Ended, quarantined: bool) {
        let Some(record) = self.trial_copies.record else { return };
        if quarantined {
            self.memory.quarantine(record.sha256);
        }
        // Only a reset that nobody wanted is a reason to try again: who went back by its own judgement waits for another
        // order.
        self.memory.wish = None;
        // The quarantine first: between the two, the boot loader goes back anyway.
        self.writes.extend(self.memory.write(&self.config.books));
        let record = TrialRecord { state, ended: Some(ended), ..record };
        self.writes.extend(self.trial_copies.write(&self.config.books, record));
        self.trial = None;
        self.task = Task::Restart;
    }

    /// Looks whether the image before is whole.
    fn look_back(&mut self) {
        match self.previous() {
            Some(previous) if self.can_revert() => {
                self.task = Task::LookBack { at: 0, sum: crate::hash::Summing::default(), previous };
            }
            _ => self.no_way_back(),
        }
    }

    fn no_way_back(&mut self) {
        self.memory.wish = None;
        self.fail(Failure::NoPrevious);
        self.writes.extend(self.memory.write(&self.config.books));
    }

    /// The image before has this sum.
    pub(super) fn looked_back(&mut self, previous: BootRecord, md5: Md5Sum) {
        if previous.md5 != md5 {
            return self.no_way_back();
        }
        // Two on, it is written over the record of the image that is left, and not over the one that names the
        // image to be started: whatever happens meanwhile, that one still counts.
        let named = self.config.previous.is_some_and(|record| record.slot == previous.slot);
        let sequence = self.config.committed.sequence.saturating_add(if named { 2 } else { 1 });
        self.writes.extend(write_record(&self.config.layout, &BootRecord { sequence, ..previous }));
        if let Some(image) = self.running() {
            self.note_revert(image);
        }
        self.task = Task::Restart;
    }

    /// Says in the books that the image before this one runs again.
    pub(super) fn note_revert(&mut self, image: Sha256Sum) {
        let tried = self.trial_copies.record.filter(|record| record.sha256 == image);
        // One that counted without a trial has no record yet.
        let record = tried.or_else(|| self.known_record(image));
        if let Some(record) = record {
            let ended = Some(Ended::Ordered);
            let invalid = TrialRecord { state: TrialState::Invalid, ended, ..record };
            self.writes.extend(self.trial_copies.write(&self.config.books, invalid));
        }
        self.memory.wish = None;
        self.writes.extend(self.memory.write(&self.config.books));
    }

    fn known_record(&self, image: Sha256Sum) -> Option<TrialRecord> {
        let slots = [Slot::A, Slot::B].map(|slot| self.memory.known(slot).map(|known| (slot, known)));
        let (slot, known) = slots.into_iter().flatten().find(|(_, known)| known.sha256 == image)?;
        let Known { md5, sha256, size, .. } = known;
        let state = TrialState::Invalid;
        Some(TrialRecord { state, attempts: 0, gateway: false, slot, size, md5, sha256, ended: None })
    }
}
