//! Power, boot loader, flash and timers of hosts, and what every input to a machine is followed by.

use meshward_core::flash::{Completion, FlashOp, Slot};
use meshward_core::mesh::{LinkId, MeshEvent, Outgoing};
use meshward_core::ota::trial::Choice;
use meshward_core::ota::{BootRecord, Md5Sum};
use meshward_core::time::Duration;
use meshward_fleet::deployment::Deployment;

use super::happening::{Down, Happening, StockUpdate};
use super::machine::{Machine, Said};
use super::queue::{Life, What};
use super::{Seat, World};
use crate::flash;
use crate::image::{self, Behaviour, Image};
use crate::plant::Plant;
use crate::stock::StockEvent;

/// A crashing image gets this far.
const CRASH_AFTER: Duration = Duration::from_millis(150);
/// From the start of the program to the first dial: at most this.
const FIRST_DIAL: u64 = 50_000;
/// What an application needs to find out whether it works.
const SELF_TEST: Duration = Duration::from_secs(1);
/// A gateway's service looks at its node this often.
const DRIVE_EVERY: Duration = Duration::from_millis(100);
/// From the start of a gateway's program until its service does anything: the mesh has to find together.
const DRIVE_AFTER: Duration = Duration::from_secs(5);
/// What a chatty image says.
const CHATTER: [u8; 200] = [b'.'; 200];

/// A record that counts and is started.
const fn untried(record: BootRecord) -> Choice {
    Choice { write: None, start: record, committed: record }
}

impl World {
    /// Whether `life` is the one that a host is living.
    pub(super) fn lives(&self, seat: Seat, life: Life) -> bool {
        self.hosts[seat.0].life == life
    }

    /// Power comes on.
    pub(super) fn power_on(&mut self, seat: Seat, after: Duration) {
        let host = &mut self.hosts[seat.0];
        if host.powered {
            return;
        }
        host.powered = true;
        host.life += 1;
        let at = self.now + after + host.spec.boot_time;
        self.queue.plan(at, What::Boot(seat, host.life));
    }

    /// The boot loader runs, and the program starts.
    pub(super) fn boot(&mut self, seat: Seat, life: Life) {
        if !self.lives(seat, life) {
            return;
        }
        let chosen = self.choose_image(seat);
        let host = &mut self.hosts[seat.0];
        if host.chip.is_some() && chosen.is_none() {
            return self.tell(seat, Happening::Bricked);
        }
        host.committed = chosen.as_ref().map(|choice| choice.committed);
        let chosen = chosen.map(|choice| choice.start);
        host.running = chosen;
        host.boots += 1;
        host.born = self.now;
        let image = chosen.and_then(|record| self.images.get(&record.md5));
        host.behaviour = image.map_or(Behaviour::Healthy, |image| image.behaviour);
        self.trace.number(self.now.as_micros());
        self.trace.number(seat.0 as u64);
        self.trace.bytes(&chosen.map_or([0; 16], |record| record.md5.0));
        let crash_after = match host.behaviour {
            Behaviour::CrashesAtBoot => Some(CRASH_AFTER),
            Behaviour::Leaks(lifetime) => Some(lifetime),
            _ => None,
        };
        if let Some(after) = crash_after {
            self.queue.plan(self.now + after, What::Crash(seat, life));
        }
        if host.behaviour == Behaviour::CrashesAtBoot {
            return self.tell(seat, Happening::Booted(chosen));
        }
        let machine = host.make_machine();
        host.machine = Some(machine);
        if host.spec.firmware.as_ref().is_some_and(|firmware| firmware.signed.is_some()) {
            self.queue.plan(self.now + SELF_TEST, What::SelfTest(seat, life));
        }
        host.mark = None;
        host.dial.afresh();
        let dial = self.now + Duration::from_micros(host.rng.below(FIRST_DIAL));
        self.queue.plan(dial, What::Dial(seat, life, host.dial.wish));
        if let Some(driver) = &mut host.driver {
            driver.restarted();
            self.queue.plan(self.now + DRIVE_AFTER, What::Drive(seat, life));
        }
        if let Behaviour::Chatty(every) = host.behaviour {
            self.queue.plan(self.now + every, What::Chat(seat, life));
        }
        self.begin_watching(seat, life);
        self.tell(seat, Happening::Booted(chosen));
        self.after_input(seat);
    }

    fn choose_image(&mut self, seat: Seat) -> Option<Choice> {
        let host = &mut self.hosts[seat.0];
        let chip = host.chip.as_mut()?;
        if self.config.plant == Some(Plant::UncheckedBoot) {
            let newest = image::newest_first(chip, &host.layout).into_iter().next();
            if let Some(record) = newest.filter(|record| record.sequence > 1) {
                chip.flip(host.layout.slot(record.slot).start + record.size / 2, 3);
            }
            return newest.map(untried);
        }
        let chosen = image::boot(chip, &host.layout, &host.books, &self.images);
        if let (Some(Plant::SilentRevert), Some(choice)) = (self.config.plant, &chosen)
            && choice.start.sequence > 1
        {
            let mut records = image::newest_first(chip, &host.layout).into_iter();
            return records.find(|older| older.sequence < choice.start.sequence).map(untried);
        }
        chosen
    }

    /// The program ends: all RAM is gone. Neighbours see their links close, unless `silent`.
    pub(super) fn go_down(&mut self, seat: Seat, why: Down, silent: bool) {
        let host = &mut self.hosts[seat.0];
        host.powered = false;
        host.reset = why.reset_reason();
        host.life += 1;
        host.wake = None;
        let was_running = host.machine.take().is_some();
        if let (Some(op), Some(chip)) = (host.flash_op.take(), host.chip.as_mut()) {
            match why {
                Down::Power => chip.tear(&op, &mut host.rng),
                // The chip finishes what it has begun, whatever becomes of the program.
                _ => drop(chip.execute(&op)),
            }
        }
        let ends: Vec<_> = std::mem::take(&mut host.links).into_values().collect();
        for (wire, end) in ends {
            self.end_is_gone(wire, end, silent);
        }
        if was_running {
            self.tell(seat, Happening::Down(why));
        }
    }

    /// Ends the program and starts it again.
    pub(super) fn reset(&mut self, seat: Seat, why: Down, silent: bool, after: Duration) {
        self.go_down(seat, why, silent);
        self.power_on(seat, after);
    }

    pub(super) fn crash(&mut self, seat: Seat, life: Life) {
        if self.lives(seat, life) {
            self.reset(seat, Down::Crash, false, Duration::ZERO);
        }
    }

    /// A host's application knows whether it works.
    pub(super) fn self_test(&mut self, seat: Seat, life: Life) {
        let host = &mut self.hosts[seat.0];
        let local = host.local(self.now);
        let works = host.behaviour.self_test();
        if host.life != life {
            return;
        }
        if let Some(node) = host.machine.as_mut().and_then(Machine::node_mut) {
            node.handle_self_test(local, works);
            self.after_input(seat);
        }
    }

    /// A gateway's service looks at its node.
    pub(super) fn drive(&mut self, seat: Seat, life: Life) {
        if !self.lives(seat, life) {
            return;
        }
        let host = &mut self.hosts[seat.0];
        let local = host.local(self.now);
        let node = host.machine.as_mut().and_then(Machine::node_mut);
        if let (Some(driver), Some(node)) = (&mut host.driver, node)
            && !driver.is_over()
        {
            driver.look(local, node);
            self.queue.plan(self.now + DRIVE_EVERY, What::Drive(seat, life));
            self.after_input(seat);
        }
    }

    pub(super) fn chat(&mut self, seat: Seat, life: Life) {
        if !self.lives(seat, life) {
            return;
        }
        let Behaviour::Chatty(every) = self.hosts[seat.0].behaviour else { return };
        self.queue.plan(self.now + every, What::Chat(seat, life));
        if let Some(machine) = &mut self.hosts[seat.0].machine {
            // What does not fit is not said: nobody counts on chatter.
            let _dropped = machine.send(None, &CHATTER);
            self.after_input(seat);
        }
    }

    /// A planned wake-up: the machine's timer may have moved since.
    pub(super) fn wake(&mut self, seat: Seat, life: Life) {
        let host = &mut self.hosts[seat.0];
        if host.life != life || host.wake != Some(self.now) {
            return;
        }
        host.wake = None;
        let local = host.local(self.now);
        let Some(machine) = &mut host.machine else { return };
        let due = machine.poll_timeout().is_some_and(|due| due <= local);
        if due {
            machine.handle_timeout(local);
        }
        let watcher = self.wake_watcher(seat);
        if self.wake_deployments(seat) || watcher || due {
            self.after_input(seat);
        } else {
            self.plan_wake(seat);
        }
    }

    fn plan_wake(&mut self, seat: Seat) {
        let host = &mut self.hosts[seat.0];
        let Some(machine) = &host.machine else { return };
        let watcher = host.watcher.as_ref().and_then(|watcher| watcher.poll_timeout());
        let deployments = host.deployments.iter().filter_map(Deployment::poll_timeout);
        let timers = machine.poll_timeout().into_iter().chain(watcher).chain(deployments);
        let Some(due) = timers.min() else { return };
        let due = host.global(due).max(self.now);
        if host.wake.is_none_or(|wake| due < wake) {
            host.wake = Some(due);
            self.queue.plan(due, What::Wake(seat, host.life));
        }
    }

    /// What every input is followed by: events out, flash commands out, links served, timer set.
    pub(super) fn after_input(&mut self, seat: Seat) {
        let mut restart = self.drain(seat);
        while !restart && let Some(link) = self.serve_links(seat) {
            self.close_link(seat, link);
            restart |= self.drain(seat);
        }
        if restart {
            self.plant_at_restart(seat);
            return self.reset(seat, Down::Restart, false, Duration::ZERO);
        }
        self.start_flash(seat);
        self.plan_wake(seat);
    }

    /// Takes the machine's events; whether it wants a reset.
    pub(super) fn drain(&mut self, seat: Seat) -> bool {
        let mut restart = false;
        while let Some(said) = self.next_said(seat) {
            let what = match said {
                Said::Restart => {
                    restart = true;
                    continue;
                }
                Said::Message { from, broadcast, text } => {
                    self.trace.bytes(&text);
                    Happening::Message { from, broadcast, text }
                }
                Said::Mesh(MeshEvent::LinkUp { peer, .. }) => Happening::LinkUp(peer),
                Said::Mesh(MeshEvent::LinkDown { peer, reason, .. }) => Happening::LinkDown(peer, reason),
                Said::Mesh(MeshEvent::TopologyChanged { .. }) => Happening::TopologyChanged,
                Said::Mesh(_) | Said::Package | Said::Telemetry(_) => continue,
                Said::Update(event) => Happening::Update(event),
                Said::Rollout(event) => Happening::Rollout(event),
                Said::Exchange(event) => Happening::Exchange(event),
                Said::Stock(event) => Happening::Stock(self.stock_update(seat, event)),
            };
            self.tell(seat, what);
        }
        restart
    }

    /// A stock node writes its own flash, without asking anybody how.
    fn stock_update(&mut self, seat: Seat, event: StockEvent) -> StockUpdate {
        match event {
            StockEvent::Installed { image, md5 } => {
                // Named by the file, as a rule; to compare costs a thirtieth of a hash.
                let named = Md5Sum::parse(&md5).and_then(|named| self.images.get(&named));
                let known = named.filter(|named| *named.bytes == *image);
                let known = known.or_else(|| self.images.get(&Md5Sum::of(&image))).cloned();
                let image = known.unwrap_or_else(|| Image::new("unknown", &image, Behaviour::Healthy));
                let host = &mut self.hosts[seat.0];
                host.md5_file = md5;
                if let Some(chip) = &mut host.chip {
                    let slot = host.running.map_or(Slot::A, |record| record.slot).other();
                    let sequence = host.running.map_or(0, |record| record.sequence) + 1;
                    image.install(chip, &host.layout, slot, sequence);
                }
                StockUpdate::Installed
            }
            StockEvent::Md5Failed => StockUpdate::Md5Failed,
            StockEvent::WriteFailed => StockUpdate::WriteFailed,
            StockEvent::GaveUp => StockUpdate::GaveUp,
            _ => StockUpdate::Started,
        }
    }

    /// Puts links with something to send into the channel's line; the first that wants to be closed.
    fn serve_links(&mut self, seat: Seat) -> Option<LinkId> {
        let host = &mut self.hosts[seat.0];
        let machine = host.machine.as_ref()?;
        let mark = machine.output_mark();
        if mark.is_some() && mark == host.mark {
            return None;
        }
        let mut closing = None;
        let mut ready = Vec::new();
        for (link, (wire, end)) in &host.links {
            match machine.outgoing(*link) {
                Outgoing::Idle => {}
                Outgoing::Bytes(_) => ready.push((*wire, *end)),
                Outgoing::Close(_) => closing = closing.or(Some(*link)),
            }
        }
        host.mark = if closing.is_none() { mark } else { None };
        for (wire, end) in ready {
            self.line_up(wire, end);
        }
        closing
    }

    fn start_flash(&mut self, seat: Seat) {
        let host = &mut self.hosts[seat.0];
        if host.flash_op.is_some() {
            return;
        }
        let Some(op) = host.machine.as_mut().and_then(Machine::poll_flash) else { return };
        let at = self.now + flash::duration(&op);
        host.flash_op = Some(op);
        self.queue.plan(at, What::Flash(seat, host.life));
    }

    pub(super) fn flash_done(&mut self, seat: Seat, life: Life) {
        if !self.lives(seat, life) {
            return;
        }
        let fails = self.rules.flash_fails(seat, &mut self.rng);
        let host = &mut self.hosts[seat.0];
        let Some(op) = host.flash_op.take() else { return };
        let done = match host.chip.as_mut() {
            Some(chip) if !fails => chip.execute(&op).map(Some),
            _ => Ok(None),
        };
        let local = host.local(self.now);
        let Some(machine) = &mut host.machine else { return };
        match (&done, &op) {
            (Ok(Some(bytes)), FlashOp::Read { .. }) => machine.handle_flash(local, Completion::Data(bytes)),
            (Ok(Some(_)), _) => machine.handle_flash(local, Completion::Done),
            _ => machine.handle_flash(local, Completion::Failed),
        }
        if let Err(error) = done {
            self.tell(seat, Happening::FlashRefused(error));
        }
        self.after_input(seat);
    }

    fn plant_at_restart(&mut self, seat: Seat) {
        let host = &mut self.hosts[seat.0];
        if self.config.plant != Some(Plant::BothRecordsErased) {
            return;
        }
        for sector in host.layout.boot {
            let erase = FlashOp::Erase { address: sector.start };
            drop(host.chip.as_mut().map(|chip| chip.execute(&erase)));
        }
    }
}
