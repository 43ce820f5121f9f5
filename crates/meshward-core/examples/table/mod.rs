// A few nodes on a table: what the examples have instead of Wi-Fi, flash chips and boot loaders. It is a shell as
// the first page of the crate wants one, in virtual time; a real one has sockets and a chip instead.
//
// (Not `//!`, because the doc tests of `meshward_core::guide` include this file.)

use std::collections::VecDeque;

use meshward_core::flash::{self, Completion, ERASED, FlashOp, Layout, SECTOR, Slot};
use meshward_core::hash::Md5Sum;
use meshward_core::mesh::{LinkId, LinkRole, Outgoing};
use meshward_core::node::{Event, Firmware, Node, NodeConfig};
use meshward_core::ota::trial::{self, TrialCopies};
use meshward_core::ota::{BootRecord, write_record};
use meshward_core::time::{Duration, Instant};

/// How long a message takes over a wire.
const HOP: Duration = Duration::from_millis(1);

/// A node and its chip.
pub(crate) struct Host {
    pub(crate) node: Node,
    config: NodeConfig,
    chip: Vec<u8>,
}

/// A wire between two nodes, by their places on the table: the dialler's and the listener's.
struct Wire {
    ends: [usize; 2],
    /// What the two call it, while it is up.
    links: Option<[LinkId; 2]>,
}

/// Nodes, the wires between them, and the time.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) now: Instant,
    pub(crate) hosts: Vec<Host>,
    wires: Vec<Wire>,
    events: VecDeque<(usize, Event)>,
}

fn layout(config: &NodeConfig) -> Option<Layout> {
    config.firmware.as_ref().map(|firmware| match firmware {
        Firmware::Stock(config) => config.layout,
        Firmware::Signed(config) => config.layout,
    })
}

/// Does what a node wants of its flash; the bytes that it reads.
fn execute(chip: &mut [u8], op: &FlashOp) -> Option<Vec<u8>> {
    let done = match op {
        FlashOp::Read { address, len } => {
            return chip.get(*address as usize..(*address + *len) as usize).map(<[u8]>::to_vec);
        }
        FlashOp::Erase { address } => flash::erase(chip, *address),
        FlashOp::Program { address, data } => flash::program(chip, *address, data),
    };
    done.ok().map(|()| Vec::new())
}

impl Host {
    /// Starts what the boot loader chooses. A node from the factory has run before: it finds its image in slot A.
    fn boot(&mut self, now: Instant) {
        let chip = &mut self.chip;
        let sector =
            |chip: &[u8], region: flash::Region| chip[region.start as usize..][..SECTOR as usize].to_vec();
        match &mut self.config.firmware {
            Some(Firmware::Stock(config)) => {
                let [first, second] = config.layout.boot.map(|region| sector(chip, region));
                config.running = BootRecord::newest(&first, &second);
            }
            Some(Firmware::Signed(config)) => {
                let records = config.layout.boot.map(|region| BootRecord::decode(&sector(chip, region)));
                let [first, second] = config.books.trial.map(|region| sector(chip, region));
                let whole = |record: &BootRecord| {
                    let start = config.layout.slot(record.slot).start as usize;
                    Md5Sum::of(&chip[start..][..record.size as usize]) == record.md5
                };
                let trial = TrialCopies::read(&first, &second);
                if let Some(choice) = trial::choose(Some(&config.books), records, trial, whole) {
                    choice.write.iter().flatten().for_each(|op| drop(execute(chip, op)));
                    (config.running, config.committed) = (choice.start, choice.committed);
                    let other = |record: &BootRecord| record.sequence != choice.committed.sequence;
                    config.previous = records.into_iter().flatten().find(other);
                }
            }
            None => {}
        }
        self.node = Node::new(self.config.clone());
        if matches!(self.config.firmware, Some(Firmware::Signed(_))) {
            // The application has looked at its sensors, and they answer.
            self.node.handle_self_test(now, true);
        }
    }

    /// The image that runs.
    pub(crate) fn image(&self) -> &[u8] {
        let running = match &self.config.firmware {
            Some(Firmware::Stock(config)) => config.running,
            Some(Firmware::Signed(config)) => Some(config.running),
            None => None,
        };
        let slot = running.zip(layout(&self.config)).map(|(running, layout)| {
            let start = layout.slot(running.slot).start as usize;
            start..start + running.size as usize
        });
        slot.and_then(|slot| self.chip.get(slot)).unwrap_or_default()
    }
}

impl Table {
    /// Puts a node on the table, with its power on. Its chip has `image` in slot A, and what a factory writes
    /// besides.
    pub(crate) fn add(&mut self, config: NodeConfig, image: &[u8], factory: &[FlashOp]) -> usize {
        let mut chip = Vec::new();
        if let Some(layout) = layout(&config) {
            chip.resize(layout.size as usize, ERASED);
            let start = layout.slot(Slot::A).start as usize;
            chip[start..][..image.len()].copy_from_slice(image);
            let (size, md5) = (image.len() as u32, Md5Sum::of(image));
            let record = BootRecord { sequence: 1, slot: Slot::A, size, md5 };
            let record = write_record(&layout, &record);
            record.iter().chain(factory).for_each(|op| drop(execute(&mut chip, op)));
        }
        let mut host = Host { node: Node::new(config.clone()), config, chip };
        host.boot(self.now);
        self.hosts.push(host);
        self.drain(self.hosts.len() - 1);
        self.hosts.len() - 1
    }

    /// One node dials another, now and after every restart.
    pub(crate) fn join(&mut self, dialler: usize, listener: usize) {
        self.wires.push(Wire { ends: [dialler, listener], links: None });
    }

    /// What happens next, and what the nodes say of it: by their places on the table.
    pub(crate) fn step(&mut self) -> Vec<(usize, Event)> {
        self.dial();
        if self.carry() {
            self.now = self.now + HOP;
        } else {
            let due = self.hosts.iter().filter_map(|host| host.node.poll_timeout()).map(|(due, _)| due).min();
            self.now = due.map_or(self.now, |due| due.max(self.now));
        }
        for at in 0..self.hosts.len() {
            if self.hosts[at].node.poll_timeout().is_some_and(|(due, _)| due <= self.now) {
                self.hosts[at].node.handle_timeout(self.now);
                self.drain(at);
            }
        }
        let events: Vec<_> = self.events.drain(..).collect();
        let restarts = events.iter().filter(|(_, event)| event.is_restart()).map(|(at, _)| *at);
        restarts.for_each(|at| self.restart(at));
        events
    }

    fn dial(&mut self) {
        for wire in 0..self.wires.len() {
            let Wire { ends: [dialler, listener], links: None } = self.wires[wire] else { continue };
            let listening = self.hosts[listener].node.handle_link_up(self.now, LinkRole::Listener);
            self.drain(listener);
            let dialling = self.hosts[dialler].node.handle_link_up(self.now, LinkRole::Dialler);
            self.drain(dialler);
            self.wires[wire].links =
                dialling.zip(listening).map(|(dialling, listening)| [dialling, listening]);
        }
    }

    /// Carries what is to be sent to the other ends of the wires; whether there was anything.
    fn carry(&mut self) -> bool {
        let (mut carried, mut closed) = (Vec::new(), Vec::new());
        for (at, wire) in self.wires.iter().enumerate() {
            let Some(links) = wire.links else { continue };
            for (from, to) in [(0, 1), (1, 0)] {
                let node = &mut self.hosts[wire.ends[from]].node;
                match node.outgoing(links[from]) {
                    Outgoing::Idle => {}
                    Outgoing::Bytes(bytes) => {
                        let bytes = bytes.to_vec();
                        node.sent(links[from], bytes.len());
                        carried.push((wire.ends[to], links[to], bytes));
                    }
                    // As when a cable is pulled: the other end is told.
                    Outgoing::Close(_) => closed.push(at),
                }
            }
        }
        for (at, link, bytes) in &carried {
            self.hosts[*at].node.handle_data(self.now, *link, bytes);
            self.drain(*at);
        }
        closed.into_iter().for_each(|wire| self.cut(wire));
        !carried.is_empty()
    }

    /// Takes a node's events, and does what it wants of its flash.
    pub(crate) fn drain(&mut self, at: usize) {
        let Host { node, chip, .. } = &mut self.hosts[at];
        loop {
            while let Some(event) = node.poll_event() {
                self.events.push_back((at, event));
            }
            let Some(op) = node.poll_flash() else { return };
            let read = execute(chip, &op);
            node.handle_flash(
                self.now,
                match (&op, &read) {
                    (FlashOp::Read { .. }, Some(bytes)) => Completion::Data(bytes),
                    (_, Some(_)) => Completion::Done,
                    (_, None) => Completion::Failed,
                },
            );
        }
    }

    /// A node restarts: its wires are cut and its memory is gone.
    fn restart(&mut self, at: usize) {
        for wire in 0..self.wires.len() {
            if self.wires[wire].ends.contains(&at) {
                self.cut(wire);
            }
        }
        self.hosts[at].boot(self.now);
        self.drain(at);
    }

    fn cut(&mut self, wire: usize) {
        let Some(links) = self.wires[wire].links.take() else { return };
        for (end, link) in self.wires[wire].ends.into_iter().zip(links) {
            self.hosts[end].node.handle_link_down(self.now, link);
            self.drain(end);
        }
    }

    /// Waits until all nodes know of all.
    pub(crate) fn settle(&mut self) {
        while self.hosts.iter().any(|host| host.node.mesh().tree().len() < self.hosts.len()) {
            self.step();
        }
    }
}
