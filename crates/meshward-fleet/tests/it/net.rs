//! A gateway and nodes of both families, joined by wires with a delay, in virtual time. Nothing is lost but what a
//! test cuts; the simulator has the worlds where more happens.

use std::collections::BTreeMap;

use meshward_core::flash::{self, Books, Completion, FlashOp, Layout, Marks, Region, SECTOR};
use meshward_core::mesh::{LinkId, LinkRole, MeshConfig, Outgoing};
use meshward_core::node::{Firmware, Node, NodeConfig};
use meshward_core::ota::receiver::{self, Receiver};
use meshward_core::ota::trial::{self, ResetReason, TrialCopies, TrialRules};
use meshward_core::ota::trust::{GroupKeys, KeyStore};
use meshward_core::ota::{BootRecord, Md5Sum, ReceiverConfig, write_record};
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;
use meshward_fleet::deployment::{Deployment, Phase, State, take_turns};

/// How long a wire delays.
const DELAY: Duration = Duration::from_millis(2);
/// How long a boot takes.
const BOOT: Duration = Duration::from_millis(500);

/// Sectors of a slot.
const SLOT: u32 = 40;

const fn region(first: u32, sectors: u32) -> Region {
    Region { start: first * SECTOR, len: sectors * SECTOR }
}

/// A small chip.
const LAYOUT: Layout = Layout {
    size: (2 + 2 * SLOT + 6) * SECTOR,
    slots: [region(2, SLOT), region(2 + SLOT, SLOT)],
    boot: [region(0, 1), region(1, 1)],
};
const BOOKS: Books = Books {
    journal: [region(2 + 2 * SLOT, 1), region(3 + 2 * SLOT, 1)],
    marks: Marks::Words,
    trial: [region(4 + 2 * SLOT, 1), region(5 + 2 * SLOT, 1)],
    memory: [region(6 + 2 * SLOT, 1), region(7 + 2 * SLOT, 1)],
};

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Signed,
    Stock,
}

/// A node with its chip.
struct Host {
    id: NodeId,
    kind: Option<Kind>,
    role: &'static str,
    parent: Option<usize>,
    /// `None` while it boots, until then.
    node: Option<Node>,
    boots_at: Option<Instant>,
    chip: Vec<u8>,
    works: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct End {
    host: usize,
    link: LinkId,
}

/// See the module's page.
pub(crate) struct Net {
    pub(crate) now: Instant,
    hosts: Vec<Host>,
    wires: Vec<[End; 2]>,
    transit: BTreeMap<(Instant, u64), (End, Vec<u8>)>,
    sent: u64,
    pub(crate) deployment: Option<Deployment>,
    /// Others beside it, that take turns with it; they come after it.
    pub(crate) beside: Vec<Deployment>,
    /// Bytes over all wires.
    pub(crate) bytes: u64,
    /// Phases that the deployment was in.
    pub(crate) phases: Vec<Phase>,
}

fn apply(chip: &mut [u8], op: &FlashOp) -> Vec<u8> {
    match op {
        FlashOp::Erase { address } => flash::erase(chip, *address).unwrap(),
        FlashOp::Program { address, data } => flash::program(chip, *address, data).unwrap(),
        FlashOp::Read { address, len } => return chip[*address as usize..(address + len) as usize].to_vec(),
    }
    Vec::new()
}

impl Net {
    /// A gateway alone, with the id 1.
    pub(crate) fn new() -> Self {
        let mut net = Self {
            now: Instant::ORIGIN,
            hosts: Vec::new(),
            wires: Vec::new(),
            transit: BTreeMap::new(),
            sent: 0,
            deployment: None,
            beside: Vec::new(),
            bytes: 0,
            phases: Vec::new(),
        };
        let gateway = NodeConfig::new(MeshConfig::gateway(NodeId(1), 1));
        net.hosts.push(Host {
            id: NodeId(1),
            kind: None,
            role: "",
            parent: None,
            node: Some(Node::new(gateway)),
            boots_at: None,
            chip: Vec::new(),
            works: true,
        });
        net
    }

    /// A node below the one with this place; its own place, which is its id less one.
    pub(crate) fn add(&mut self, kind: Kind, parent: usize, image: &[u8], keys: &KeyStore) -> usize {
        let mut chip = vec![flash::ERASED; LAYOUT.size as usize];
        let [slot, _] = LAYOUT.slots;
        let padded: Vec<u8> =
            [image, &vec![flash::ERASED; image.len().next_multiple_of(4) - image.len()]].concat();
        apply(&mut chip, &FlashOp::Program { address: slot.start, data: padded });
        let record = BootRecord {
            sequence: 1,
            slot: flash::Slot::A,
            size: image.len() as u32,
            md5: Md5Sum::of(image),
        };
        let factory = write_record(&LAYOUT, &record).into_iter().chain(Receiver::provision(&BOOKS, keys));
        factory.for_each(|op| drop(apply(&mut chip, &op)));
        let place = self.hosts.len();
        self.hosts.push(Host {
            id: NodeId(place as u32 + 1),
            kind: Some(kind),
            role: "sensor",
            parent: Some(parent),
            node: None,
            boots_at: Some(self.now),
            chip,
            works: true,
        });
        place
    }

    /// What this node is for, from its next boot on.
    pub(crate) fn assign(&mut self, place: usize, role: &'static str) {
        self.hosts[place].role = role;
    }

    /// From its next boot on, what this node runs says that it does not work.
    pub(crate) fn spoil(&mut self, place: usize) {
        self.hosts[place].works = false;
    }

    /// Takes a node out of the mesh for good.
    pub(crate) fn kill(&mut self, place: usize) {
        self.unplug(place);
        (self.hosts[place].node, self.hosts[place].boots_at) = (None, None);
    }

    /// Restarts a node, as if by somebody's order.
    pub(crate) fn restart(&mut self, place: usize) {
        self.unplug(place);
        self.hosts[place].node = None;
        self.hosts[place].boots_at = Some(self.now + BOOT);
    }

    pub(crate) fn gateway(&mut self) -> &mut Node {
        self.hosts[0].node.as_mut().unwrap()
    }

    /// The image that a node's boot record names.
    pub(crate) fn image(&self, place: usize) -> Vec<u8> {
        let chip = &self.hosts[place].chip;
        let at = |region: Region| &chip[region.start as usize..];
        let record = BootRecord::newest(at(LAYOUT.boot[0]), at(LAYOUT.boot[1])).unwrap();
        let start = LAYOUT.slot(record.slot).start as usize;
        chip[start..start + record.size as usize].to_vec()
    }

    /// How a node stands in the deployment.
    pub(crate) fn state(&mut self, place: usize) -> State {
        let id = self.hosts[place].id;
        let deployment = self.deployment.take().unwrap();
        let report = deployment.report(self.gateway());
        self.deployment = Some(deployment);
        report.into_iter().find(|line| line.node == id).unwrap().state
    }

    /// How a node stands in one of those beside the deployment.
    pub(crate) fn state_beside(&mut self, at: usize, place: usize) -> State {
        let id = self.hosts[place].id;
        let node = self.hosts[0].node.as_ref().unwrap();
        self.beside[at].report(node).into_iter().find(|line| line.node == id).unwrap().state
    }

    /// Whoever waits for the channel may have it.
    fn turns(&mut self) {
        let Some(node) = &mut self.hosts[0].node else { return };
        let all = self.deployment.iter_mut().chain(&mut self.beside);
        take_turns(self.now, node, &mut (1..).zip(all).collect::<Vec<_>>());
    }

    /// Acts on one of those beside the deployment, and the gateway.
    pub(crate) fn with_beside(&mut self, at: usize, act: impl FnOnce(Instant, &mut Deployment, &mut Node)) {
        let now = self.now;
        act(now, &mut self.beside[at], self.hosts[0].node.as_mut().unwrap());
        self.settle();
    }

    /// Acts on the deployment and the gateway.
    pub(crate) fn with<R>(&mut self, act: impl FnOnce(Instant, &mut Deployment, &mut Node) -> R) -> R {
        let mut deployment = self.deployment.take().unwrap();
        let now = self.now;
        let answer = act(now, &mut deployment, self.gateway());
        self.deployment = Some(deployment);
        self.settle();
        answer
    }

    /// Runs until `until`, or the limit passes; whether it came true.
    pub(crate) fn run(&mut self, limit: Duration, mut until: impl FnMut(&mut Self) -> bool) -> bool {
        let deadline = self.now + limit;
        self.settle();
        loop {
            if until(self) {
                return true;
            }
            let arrival = self.transit.keys().next().map(|(at, _)| *at);
            let timers = self.hosts.iter().filter_map(|host| Some(host.node.as_ref()?.poll_timeout()?.0));
            let boots = self.hosts.iter().filter_map(|host| host.boots_at);
            let own = self.deployment.iter().chain(&self.beside).filter_map(Deployment::poll_timeout);
            let next = timers.chain(boots).chain(arrival).chain(own).min();
            let Some(next) = next.filter(|next| *next <= deadline) else {
                self.now = deadline;
                return until(self);
            };
            self.now = self.now.max(next);
            self.step();
        }
    }

    /// Runs until everybody is in the gateway's tree.
    pub(crate) fn form(&mut self) {
        let all = self.hosts.len();
        assert!(self.run(Duration::from_secs(60), |net| net.gateway().mesh().tree().len() == all));
    }

    fn step(&mut self) {
        while let Some(entry) = self.transit.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (end, bytes) = entry.remove();
            let now = self.now;
            if let Some(node) = &mut self.hosts[end.host].node {
                node.handle_data(now, end.link, &bytes);
            }
            self.drain(end.host);
        }
        for place in 0..self.hosts.len() {
            self.boot_if_due(place);
            let now = self.now;
            if let Some(node) = &mut self.hosts[place].node
                && node.poll_timeout().is_some_and(|(due, _)| due <= now)
            {
                node.handle_timeout(now);
                self.drain(place);
            }
        }
        if self.deployment.as_ref().and_then(Deployment::poll_timeout).is_some_and(|due| due <= self.now) {
            self.with(|now, deployment, node| deployment.handle_timeout(now, node));
        }
        for at in 0..self.beside.len() {
            if self.beside[at].poll_timeout().is_some_and(|due| due <= self.now) {
                self.with_beside(at, |now, deployment, node| deployment.handle_timeout(now, node));
            }
        }
        self.settle();
    }

    /// Packs what is to be packed, dials, and puts on the wires what nodes have to send.
    fn settle(&mut self) {
        self.drain(0);
        self.turns();
        for at in 0..self.beside.len() {
            if let Some(job) = self.beside[at].poll_job() {
                let packed = job.run();
                self.with_beside(at, |now, deployment, node| deployment.handle_packed(now, node, packed));
            }
        }
        if let Some(job) = self.deployment.as_mut().and_then(Deployment::poll_job) {
            let packed = job.run();
            self.with(|now, deployment, node| deployment.handle_packed(now, node, packed));
        }
        if let Some(phase) = self.deployment.as_ref().map(Deployment::phase)
            && self.phases.last() != Some(&phase)
        {
            self.phases.push(phase);
        }
        self.dial();
        while let Some(closed) = self.wires.iter().position(|wire| wire.iter().any(|end| self.closes(*end))) {
            self.cut(closed);
        }
        for wire in self.wires.clone() {
            for (from, to) in [(wire[0], wire[1]), (wire[1], wire[0])] {
                let Some(node) = &mut self.hosts[from.host].node else { continue };
                while let Outgoing::Bytes(bytes) = node.outgoing(from.link) {
                    let bytes = bytes.to_vec();
                    node.sent(from.link, bytes.len());
                    self.bytes += bytes.len() as u64;
                    self.sent += 1;
                    self.transit.insert((self.now + DELAY, self.sent), (to, bytes));
                }
            }
        }
    }

    fn closes(&self, end: End) -> bool {
        let node = self.hosts[end.host].node.as_ref();
        node.is_some_and(|node| matches!(node.outgoing(end.link), Outgoing::Close(_)))
    }

    fn dial(&mut self) {
        for child in 0..self.hosts.len() {
            let Some(parent) = self.hosts[child].parent else { continue };
            let joined = self.wires.iter().any(|wire| wire[0].host == child);
            if joined || self.hosts[child].node.is_none() || self.hosts[parent].node.is_none() {
                continue;
            }
            let ends = [(child, LinkRole::Dialler), (parent, LinkRole::Listener)].map(|(host, role)| {
                let now = self.now;
                let link = self.hosts[host].node.as_mut().unwrap().handle_link_up(now, role).unwrap();
                self.drain(host);
                End { host, link }
            });
            self.wires.push(ends);
        }
    }

    fn cut(&mut self, wire: usize) {
        let ends = self.wires.remove(wire);
        self.transit.retain(|_, (end, _)| !ends.contains(end));
        for end in ends {
            let now = self.now;
            if let Some(node) = &mut self.hosts[end.host].node {
                node.handle_link_down(now, end.link);
            }
            self.drain(end.host);
        }
    }

    fn unplug(&mut self, place: usize) {
        while let Some(wire) = self.wires.iter().position(|wire| wire.iter().any(|end| end.host == place)) {
            self.cut(wire);
        }
    }

    /// Takes a node's events and runs its flash commands.
    fn drain(&mut self, place: usize) {
        let now = self.now;
        let mut restart = false;
        loop {
            let host = &mut self.hosts[place];
            let Some(node) = &mut host.node else { return };
            while let Some(event) = node.poll_event() {
                restart |= event.is_restart();
                if place == 0 {
                    let all = self.deployment.iter_mut().chain(&mut self.beside);
                    all.for_each(|deployment| deployment.handle_event(now, node, &event));
                }
            }
            let Some(op) = node.poll_flash() else { break };
            let bytes = apply(&mut host.chip, &op);
            let read = matches!(op, FlashOp::Read { .. });
            node.handle_flash(now, if read { Completion::Data(&bytes) } else { Completion::Done });
        }
        if restart {
            self.restart(place);
        }
    }

    fn boot_if_due(&mut self, place: usize) {
        let now = self.now;
        let host = &mut self.hosts[place];
        if host.boots_at.is_none_or(|due| due > now) {
            return;
        }
        host.boots_at = None;
        let firmware = match host.kind {
            Some(Kind::Signed) => Some(Firmware::Signed(Box::new(signed(host)))),
            Some(Kind::Stock) => Some(Firmware::Stock(stock(host))),
            None => None,
        };
        let mesh = MeshConfig::node(host.id, u64::from(host.id.0) + now.as_micros());
        let mut node = Node::new(NodeConfig::new(mesh).with_firmware(firmware));
        if host.kind == Some(Kind::Signed) {
            node.handle_self_test(now, host.works);
        }
        host.node = Some(node);
        self.drain(place);
    }
}

fn records(chip: &[u8]) -> [Option<BootRecord>; 2] {
    LAYOUT.boot.map(|region| BootRecord::decode(&chip[region.start as usize..][..BootRecord::LEN as usize]))
}

fn stock(host: &Host) -> ReceiverConfig {
    let [first, second] = records(&host.chip);
    let running = first.into_iter().chain(second).max_by_key(|record| record.sequence);
    let (role, hardware) = (host.role.as_bytes().to_vec(), b"ESP32".to_vec());
    ReceiverConfig { id: host.id, role, hardware, root: false, layout: LAYOUT, running }
}

/// The boot loader.
fn signed(host: &mut Host) -> receiver::Config {
    let whole = |record: &BootRecord| {
        let start = LAYOUT.slot(record.slot).start as usize;
        Md5Sum::of(&host.chip[start..start + record.size as usize]) == record.md5
    };
    let copy = |region: Region| &host.chip[region.start as usize..][..TrialCopies::LEN as usize];
    let copies = TrialCopies::read(copy(BOOKS.trial[0]), copy(BOOKS.trial[1]));
    let choice = trial::choose(Some(&BOOKS), records(&host.chip), copies, whole).unwrap();
    let previous =
        records(&host.chip).into_iter().flatten().find(|record| record.sequence != choice.committed.sequence);
    choice.write.into_iter().flatten().for_each(|op| drop(apply(&mut host.chip, &op)));
    receiver::Config {
        id: host.id,
        hardware: "ESP32".to_owned(),
        role: host.role.to_owned(),
        protocol: (1, 1),
        chip: None,
        layout: LAYOUT,
        books: BOOKS,
        running: choice.start,
        committed: choice.committed,
        previous,
        reset: ResetReason::Software,
        group_keys: GroupKeys::default(),
        rollback: true,
        rules: TrialRules::default(),
        supply_least: None,
    }
}
