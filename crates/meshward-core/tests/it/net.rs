//! A few nodes joined by wires with a delay, in virtual time: for tests of several machines together.
//!
//! Nothing is lost and nothing reordered; the simulator has the worlds where that happens.

use std::collections::BTreeMap;

use meshward_core::flash::{self, Completion, FlashOp, Layout};
use meshward_core::hash::Md5Sum;
use meshward_core::mesh::{LinkId, LinkRole, MeshConfig, Outgoing};
use meshward_core::node::{Event, Firmware, Node, NodeConfig};
use meshward_core::ota::trial::{self, TrialCopies};
use meshward_core::ota::{BootRecord, ReceiverConfig};
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

/// One end of a wire: which node, and what the node calls it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct End {
    node: usize,
    link: LinkId,
}

struct Wire {
    ends: [End; 2],
    delay: Duration,
}

/// A node, its chip, and what it has said.
pub(crate) struct Host {
    pub(crate) node: Node,
    pub(crate) config: NodeConfig,
    pub(crate) chip: Vec<u8>,
    pub(crate) events: Vec<Event>,
}

#[derive(Default)]
pub(crate) struct Net {
    pub(crate) now: Instant,
    pub(crate) hosts: Vec<Host>,
    wires: Vec<Wire>,
    /// Bytes on their way, in order of arrival.
    transit: BTreeMap<(Instant, u64), (End, Vec<u8>)>,
    sent: u64,
}

/// A node's configuration with a receiver for role `demo` on an erased chip.
pub(crate) fn receiving(id: u32, running: Option<BootRecord>) -> NodeConfig {
    plain(id).with_firmware(Firmware::Stock(ReceiverConfig {
        id: NodeId(id),
        role: b"demo".to_vec(),
        hardware: b"ESP32".to_vec(),
        root: false,
        layout: Layout::FOUR_MEGABYTES,
        running,
    }))
}

fn layout(firmware: &Firmware) -> Layout {
    match firmware {
        Firmware::Stock(config) => config.layout,
        Firmware::Signed(config) => config.layout,
    }
}

/// What the boot loader starts, and what that makes of the configuration.
fn boot(firmware: &mut Firmware, chip: &mut [u8]) -> Option<BootRecord> {
    let layout = layout(firmware);
    let at = |chip: &[u8], region: flash::Region| chip[region.start as usize..][..4_096].to_vec();
    let boot = layout.boot.map(|region| at(chip, region));
    match firmware {
        Firmware::Stock(receiver) => {
            receiver.running = BootRecord::newest(&boot[0], &boot[1]);
            receiver.running
        }
        Firmware::Signed(receiver) => {
            let records = boot.each_ref().map(|copy| BootRecord::decode(copy));
            let trial = receiver.books.trial.map(|region| at(chip, region));
            let trial = TrialCopies::read(&trial[0], &trial[1]);
            let choice = trial::choose(Some(&receiver.books), records, trial, |record| {
                let start = layout.slot(record.slot).start as usize;
                Md5Sum::of(&chip[start..start + record.size as usize]) == record.md5
            })?;
            for op in choice.write.into_iter().flatten() {
                execute(chip, op);
            }
            (receiver.running, receiver.committed) = (choice.start, choice.committed);
            receiver.previous =
                records.into_iter().flatten().find(|record| record.sequence != choice.committed.sequence);
            Some(choice.start)
        }
    }
}

fn execute(chip: &mut [u8], op: FlashOp) -> Option<Vec<u8>> {
    match op {
        FlashOp::Erase { address } => flash::erase(chip, address).unwrap(),
        FlashOp::Program { address, data } => flash::program(chip, address, &data).unwrap(),
        FlashOp::Read { address, len } => {
            return Some(chip[address as usize..(address + len) as usize].to_vec());
        }
    }
    None
}

pub(crate) fn plain(id: u32) -> NodeConfig {
    NodeConfig::new(MeshConfig::node(NodeId(id), u64::from(id)))
}

impl Net {
    pub(crate) fn add(&mut self, config: NodeConfig) -> usize {
        let size = config.firmware.as_ref().map_or(0, |firmware| layout(firmware).size as usize);
        let chip = vec![flash::ERASED; size];
        self.hosts.push(Host { node: Node::new(config.clone()), config, chip, events: Vec::new() });
        self.hosts.len() - 1
    }

    /// `child` dials `parent`.
    pub(crate) fn dial(&mut self, child: usize, parent: usize, delay: Duration) {
        let listener = self.hosts[parent].node.handle_link_up(self.now, LinkRole::Listener).unwrap();
        self.drain(parent);
        let dialler = self.hosts[child].node.handle_link_up(self.now, LinkRole::Dialler).unwrap();
        self.drain(child);
        let ends = [End { node: child, link: dialler }, End { node: parent, link: listener }];
        self.wires.push(Wire { ends, delay });
        self.collect();
    }

    pub(crate) fn is_joined(&self, a: usize, b: usize) -> bool {
        self.wires.iter().any(|wire| wire.ends.iter().all(|end| end.node == a || end.node == b))
    }

    /// Runs until `until`, or `deadline` passes; whether it came true.
    pub(crate) fn run(&mut self, limit: Duration, mut until: impl FnMut(&Self) -> bool) -> bool {
        let deadline = self.now + limit;
        loop {
            if until(self) {
                return true;
            }
            let arrival = self.transit.keys().next().map(|(at, _)| *at);
            let timer =
                self.hosts.iter().filter_map(|host| host.node.poll_timeout()).map(|(due, _)| due).min();
            let Some(next) = [arrival, timer].into_iter().flatten().min() else { return false };
            if next > deadline {
                self.now = deadline;
                return until(self);
            }
            self.now = self.now.max(next);
            self.step();
        }
    }

    fn step(&mut self) {
        while let Some(entry) = self.transit.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (end, bytes) = entry.remove();
            self.hosts[end.node].node.handle_data(self.now, end.link, &bytes);
            self.drain(end.node);
        }
        for index in 0..self.hosts.len() {
            if self.hosts[index].node.poll_timeout().is_some_and(|(due, _)| due <= self.now) {
                self.hosts[index].node.handle_timeout(self.now);
                self.drain(index);
            }
        }
        self.collect();
    }

    /// Puts on the wires what the nodes have to send, and takes down the wires that they close.
    fn collect(&mut self) {
        while let Some(closed) = self.wires.iter().position(|wire| self.is_closing(wire)) {
            self.cut(closed);
        }
        for wire in &self.wires {
            for (from, to) in [(wire.ends[0], wire.ends[1]), (wire.ends[1], wire.ends[0])] {
                let node = &mut self.hosts[from.node].node;
                while let Outgoing::Bytes(bytes) = node.outgoing(from.link) {
                    let bytes = bytes.to_vec();
                    node.sent(from.link, bytes.len());
                    self.sent += 1;
                    self.transit.insert((self.now + wire.delay, self.sent), (to, bytes));
                }
            }
        }
    }

    fn is_closing(&self, wire: &Wire) -> bool {
        let closes = |end: &End| matches!(self.hosts[end.node].node.outgoing(end.link), Outgoing::Close(_));
        wire.ends.iter().any(closes)
    }

    fn cut(&mut self, index: usize) {
        let wire = self.wires.remove(index);
        self.transit.retain(|_, (end, _)| !wire.ends.contains(end));
        for end in wire.ends {
            self.hosts[end.node].node.handle_link_down(self.now, end.link);
            self.drain(end.node);
        }
    }

    /// Takes a node's events and runs its flash commands; a restart is a new node on the same wires.
    fn drain(&mut self, index: usize) {
        let now = self.now;
        let host = &mut self.hosts[index];
        loop {
            while let Some(event) = host.node.poll_event() {
                host.events.push(event);
            }
            let Some(op) = host.node.poll_flash() else { return };
            match execute(&mut host.chip, op) {
                Some(bytes) => host.node.handle_flash(now, Completion::Data(&bytes)),
                None => host.node.handle_flash(now, Completion::Done),
            }
        }
    }

    /// Reboots a node that wants it: its wires are cut, its memory is gone, its chip stays.
    pub(crate) fn reboot_if_wanted(&mut self, index: usize) -> bool {
        if !self.hosts[index].events.iter().any(Event::is_restart) {
            return false;
        }
        self.reboot(index);
        true
    }

    /// Reboots a node: its wires are cut, its memory is gone, its chip stays.
    pub(crate) fn reboot(&mut self, index: usize) {
        while let Some(wire) =
            self.wires.iter().position(|wire| wire.ends.iter().any(|end| end.node == index))
        {
            self.cut(wire);
        }
        self.collect();
        let host = &mut self.hosts[index];
        host.events.retain(|event| !event.is_restart());
        if let Some(firmware) = &mut host.config.firmware {
            boot(firmware, &mut host.chip);
        }
        host.node = Node::new(host.config.clone());
    }

    /// Has a chip execute commands, as in a factory.
    pub(crate) fn write(&mut self, index: usize, ops: impl IntoIterator<Item = FlashOp>) {
        ops.into_iter().for_each(|op| drop(execute(&mut self.hosts[index].chip, op)));
    }

    /// Does something with a node, and what follows from it.
    pub(crate) fn with<T>(&mut self, index: usize, act: impl FnOnce(&mut Node, Instant) -> T) -> T {
        let result = act(&mut self.hosts[index].node, self.now);
        self.drain(index);
        self.collect();
        result
    }

    /// The image that a node's boot record names.
    pub(crate) fn image(&self, index: usize) -> Option<&[u8]> {
        let host = &self.hosts[index];
        let firmware = host.config.firmware.as_ref()?;
        let record = match firmware {
            Firmware::Stock(receiver) => receiver.running?,
            Firmware::Signed(receiver) => receiver.running,
        };
        let start = layout(firmware).slot(record.slot).start as usize;
        Some(&host.chip[start..start + record.size as usize])
    }
}
