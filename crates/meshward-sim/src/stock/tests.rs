//! The receiver's bugs, one story each: what the model must do wrong.
//!
//! A node under test has one hand-made neighbour (the sender, id 1), which says what it likes and hears what
//! the node sends.

use meshward_core::mesh::{LinkId, LinkRole, Outgoing};
use meshward_core::ota::Md5Sum;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::{Announce, Data, DataRequest, NodeId, NodeSync, Offer, Tree, kind, peek};

use super::StockEvent::{self, GaveUp, Installed, Md5Failed, Restart, UpdateStarted, WriteFailed};
use super::{StockConfig, StockNode};

pub(super) const SENDER: NodeId = NodeId(1);
const ROOT: NodeId = NodeId(2);
pub(super) const NODE: NodeId = NodeId(9);
pub(super) const PART: usize = 100;

/// An image and how it is offered.
#[derive(Clone)]
pub(super) struct Firmware {
    pub(super) image: Vec<u8>,
    pub(super) offer: Offer<'static>,
}

pub(super) fn firmware(seed: u8, parts: u32) -> Firmware {
    let image: Vec<u8> = (0..parts as usize * PART).map(|at| (at as u8).wrapping_mul(seed)).collect();
    let offer = Offer {
        md5: Md5Sum::of(&image).to_string().into_bytes().into(),
        hardware: b"ESP32".into(),
        role: b"sensor".into(),
        forced: false,
        parts,
        broadcasted: false,
        compressed: false,
    };
    Firmware { image, offer }
}

impl Firmware {
    pub(super) fn broadcasted(mut self) -> Self {
        self.offer.broadcasted = true;
        self
    }

    pub(super) fn data(&self, part: u32) -> Data<'_> {
        let broadcast = self.offer.broadcasted;
        let data = self.image.chunks(PART).nth(part as usize).unwrap_or_default();
        Data {
            from: SENDER,
            dest: if broadcast { ROOT } else { NODE },
            routing_broadcast: broadcast,
            offer: self.offer.clone(),
            part,
            data: data.into(),
        }
    }
}

/// The node under test and its neighbour.
pub(super) struct Bench {
    pub(super) node: StockNode,
    pub(super) link: LinkId,
    pub(super) now: Instant,
    events: Vec<StockEvent>,
}

fn receiver() -> StockConfig {
    StockConfig::receiver(NODE, 1, b"sensor", b"ESP32")
}

fn root() -> StockConfig {
    let mut config = receiver();
    config.mesh.root = true;
    config
}

impl Bench {
    pub(super) fn new(config: StockConfig) -> Self {
        let mut node = StockNode::new(config);
        let now = Instant::ORIGIN;
        let link = node.handle_link_up(now, LinkRole::Listener).unwrap();
        while node.poll_event().is_some() {}
        let mut bench = Self { node, link, now, events: Vec::new() };
        bench.sync(false);
        bench.frames();
        bench.events.clear();
        bench
    }

    /// A node sync from the neighbour.
    fn sync(&mut self, reply: bool) {
        let sync = NodeSync { reply, dest: NODE, from: SENDER, tree: Tree::leaf(SENDER) };
        self.deliver(&sync.encode());
        self.collect_events();
    }

    pub(super) fn deliver(&mut self, frame: &[u8]) {
        self.node.handle_data(self.now, self.link, &[frame, &[0]].concat());
    }

    pub(super) fn hear(&mut self, frame: &[u8]) -> Vec<DataRequest<'static>> {
        self.deliver(frame);
        self.requests()
    }

    fn collect_events(&mut self) {
        while let Some(event) = self.node.poll_event() {
            self.events.push(event);
        }
    }

    fn announce(&mut self, firmware: &Firmware) -> Vec<DataRequest<'static>> {
        self.hear(&Announce { from: SENDER, to: None, offer: firmware.offer.clone() }.encode())
    }

    fn data(&mut self, data: &Data<'_>) -> Vec<DataRequest<'static>> {
        self.hear(&data.encode())
    }

    /// All frames that the node sends now; node syncs are answered.
    pub(super) fn frames(&mut self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        loop {
            self.collect_events();
            let frame = match self.node.outgoing(self.link) {
                Outgoing::Bytes(bytes) => bytes.to_vec(),
                Outgoing::Idle => break,
                Outgoing::Close(reason) => panic!("{reason}"),
            };
            self.node.sent(self.link, frame.len());
            let frame = frame.strip_suffix(&[0]).expect("a whole message").to_vec();
            if peek(&frame).is_some_and(|envelope| envelope.kind == kind::NODE_SYNC_REQUEST) {
                self.sync(true);
            }
            frames.push(frame);
        }
        frames
    }

    fn requests(&mut self) -> Vec<DataRequest<'static>> {
        let frames = self.frames();
        let requests = frames.iter().filter_map(|frame| DataRequest::decode(frame).ok());
        requests.map(|request| DataRequest { offer: request.offer.into_owned(), ..request }).collect()
    }

    /// Lets time pass; what the node asks for meanwhile, with the seconds.
    fn wait(&mut self, seconds: u64) -> Vec<(u64, DataRequest<'static>)> {
        let until = self.now + Duration::from_secs(seconds);
        let mut all = Vec::new();
        while let Some(due) = self.node.poll_timeout().map(|(due, _)| due).filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.node.handle_timeout(self.now);
            let second = self.now.as_micros() / 1_000_000;
            all.extend(self.requests().into_iter().map(|request| (second, request)));
        }
        self.now = until;
        all
    }

    /// The events of the firmware layer since the last call.
    fn told(&mut self) -> Vec<StockEvent> {
        let mesh = |event: &StockEvent| matches!(event, StockEvent::Mesh(_));
        self.events.drain(..).filter(|event| !mesh(event)).collect()
    }
}

fn parts(requests: &[DataRequest<'_>]) -> Vec<u32> {
    requests.iter().map(|request| request.part).collect()
}

#[test]
fn stop_and_wait() {
    let (mut bench, one) = (Bench::new(receiver()), firmware(3, 3));
    assert_eq!(parts(&bench.announce(&one)), [0]);
    assert_eq!(bench.announce(&one), [], "it is at that one");
    assert_eq!(parts(&bench.data(&one.data(0))), [1]);
    assert_eq!(bench.data(&one.data(0)), [], "a repeat");
    assert_eq!(bench.data(&one.data(2)), [], "a gap");
    assert_eq!(parts(&bench.data(&one.data(1))), [2]);
    assert_eq!(bench.data(&one.data(2)), []);
    let installed = Installed { image: one.image.clone(), md5: one.offer.md5.to_vec() };
    assert_eq!(bench.told(), [UpdateStarted, installed]);
    assert_eq!(bench.wait(120), [], "and no more requests");
    assert_eq!(bench.told(), [Restart]);
}

#[test]
fn another_image_is_asked_for_from_the_old_ones_part_on_and_fails() {
    let (mut bench, one, two) = (Bench::new(receiver()), firmware(3, 4), firmware(5, 4));
    bench.announce(&one);
    bench.data(&one.data(0));
    bench.data(&one.data(1));
    let asked = bench.announce(&two);
    assert_eq!((parts(&asked), &asked[0].offer.md5), (vec![2], &two.offer.md5));
    assert_eq!(parts(&bench.data(&two.data(2))), [3]);
    assert_eq!(bench.data(&two.data(3)), []);
    assert_eq!(bench.told(), [UpdateStarted, UpdateStarted, Md5Failed]);
    assert_eq!((bench.node.part(), bench.node.update_md5()), (Some(0), None));
    assert_eq!(parts(&bench.announce(&two)), [0], "the next announce starts properly");
}

#[test]
fn the_file_names_the_image_announced_last_whatever_was_written() {
    let (mut bench, one) = (Bench::new(receiver()), firmware(3, 2));
    let mut two = one.clone();
    two.offer.md5 = b"00000000000000000000000000000002".into();
    bench.announce(&one);
    bench.data(&one.data(0));
    bench.announce(&two);
    bench.data(&two.data(1));
    let installed = Installed { image: one.image, md5: two.offer.md5.to_vec() };
    assert_eq!(bench.told().last(), Some(&installed));
}

#[test]
fn ten_tries_then_the_counter_stays_for_the_next_announce() {
    let (mut bench, one) = (Bench::new(receiver()), firmware(3, 3));
    bench.announce(&one);
    assert_eq!(parts(&bench.data(&one.data(0))), [1]);
    let tries: Vec<u64> = bench.wait(400).iter().map(|(second, _)| *second).collect();
    assert_eq!(tries, [30, 60, 90, 120, 150, 180, 210, 240, 270]);
    assert_eq!(bench.told(), [UpdateStarted, GaveUp]);
    assert_eq!(bench.data(&one.data(1)), [], "nobody waits for it any more");
    assert_eq!(parts(&bench.announce(&one)), [1]);
    assert_eq!(parts(&bench.data(&one.data(1))), [2]);
}

#[test]
fn the_tenth_request_is_asked_in_vain() {
    let (mut bench, one) = (Bench::new(receiver()), firmware(3, 3));
    bench.announce(&one);
    assert_eq!(bench.wait(270).len(), 9);
    assert_eq!(bench.told(), [UpdateStarted, GaveUp], "by the pass after the request");
    assert_eq!(bench.data(&one.data(0)), []);
}

#[test]
fn an_old_task_goes_on_and_wipes_the_new_update() {
    let (mut bench, one, two) = (Bench::new(receiver()), firmware(3, 4), firmware(5, 4));
    bench.announce(&one);
    bench.wait(100);
    bench.announce(&two);
    let asked = bench.wait(169);
    let of = |firmware: &Firmware| {
        asked.iter().filter(|(_, request)| request.offer.md5 == firmware.offer.md5).count()
    };
    assert_eq!((of(&one), of(&two)), (5, 5));
    assert_eq!(bench.told(), [UpdateStarted, UpdateStarted]);
    bench.wait(2);
    assert_eq!(bench.told(), [GaveUp], "the tenth try of one");
    assert_eq!(bench.data(&two.data(0)), [], "two is forgotten");
}

#[test]
fn a_gap_in_broadcast_mode_is_asked_for_in_the_roots_name() {
    let (mut bench, one) = (Bench::new(receiver()), firmware(3, 4).broadcasted());
    assert_eq!(bench.announce(&one), [], "only a root asks");
    assert_eq!(bench.data(&one.data(0)), [], "taken in silence");
    assert_eq!(bench.node.part(), Some(1));
    let asked = bench.data(&one.data(2));
    let request = DataRequest {
        from: ROOT,
        dest: SENDER,
        offer: Offer { broadcasted: false, ..one.offer.clone() },
        part: 1,
    };
    assert_eq!(asked, std::slice::from_ref(&request));
    assert_eq!(bench.data(&one.data(3)), [], "it is out of broadcast mode");
    let again = bench.wait(400);
    assert_eq!(again.len(), 9);
    assert!(again.iter().all(|(_, one)| *one == request));
    assert_eq!(bench.told(), [UpdateStarted, GaveUp]);
    assert_eq!(bench.announce(&one), [], "and only a root asks");
    assert_eq!(bench.node.part(), Some(1));
}

#[test]
fn a_repeat_in_broadcast_mode_ends_it_too() {
    let (mut bench, one) = (Bench::new(receiver()), firmware(3, 4).broadcasted());
    bench.announce(&one);
    bench.data(&one.data(0));
    let asked = bench.data(&one.data(0));
    assert_eq!((parts(&asked), asked[0].from), (vec![1], ROOT));
    // A Data of its own gets the next request right: `from` is the node it was for.
    let mut single = one.clone();
    single.offer.broadcasted = false;
    let asked = bench.data(&single.data(1));
    assert_eq!((parts(&asked), asked[0].from), (vec![2], NODE));
}

#[test]
fn a_root_takes_a_strays_answer_and_ends_the_broadcast_for_all() {
    let (mut bench, one) = (Bench::new(root()), firmware(3, 4).broadcasted());
    let asked = bench.announce(&one);
    assert_eq!((parts(&asked), asked[0].offer.broadcasted), (vec![0], true));
    let mut single = one.clone();
    single.offer.broadcasted = false;
    let asked = bench.data(&single.data(0));
    assert_eq!((parts(&asked), asked[0].offer.broadcasted), (vec![1], false));
}

#[test]
fn a_node_without_a_task_finishes_by_the_last_part_alone() {
    let (mut bench, one) = (Bench::new(receiver()), firmware(3, 3).broadcasted());
    bench.announce(&one);
    let mut last = one.data(2);
    (last.routing_broadcast, last.dest) = (false, NODE);
    for data in [one.data(0), one.data(1), last] {
        assert_eq!(bench.data(&data), []);
    }
    assert!(matches!(bench.told()[..], [UpdateStarted, Installed { .. }]));
}

#[test]
fn a_part_too_many_rescues_a_stale_counter() {
    let (mut bench, one, two) = (Bench::new(receiver()), firmware(3, 5), firmware(5, 5));
    bench.announce(&one);
    bench.data(&one.data(0));
    bench.data(&one.data(1));
    assert_eq!(parts(&bench.announce(&two)), [2]);
    let mut rescue = two.data(2);
    rescue.offer.parts = 3;
    assert_eq!(bench.data(&rescue), []);
    assert_eq!(bench.told().last(), Some(&Md5Failed));
    let mut asked = bench.announce(&two);
    for part in 0..5 {
        assert_eq!(parts(&asked), [part]);
        asked = bench.data(&two.data(part));
    }
    assert!(matches!(bench.told()[..], [UpdateStarted, Installed { .. }]));
}

#[test]
fn a_forced_image_is_taken_again_after_every_restart() {
    let mut one = firmware(3, 1);
    let mut config = receiver();
    for (forced, wanted) in [(false, 1), (false, 0), (true, 1), (true, 1)] {
        one.offer.forced = forced;
        let mut bench = Bench::new(config.clone());
        assert_eq!(bench.announce(&one).len(), wanted);
        bench.data(&one.data(0));
        bench.wait(3);
        if wanted == 1 {
            assert!(matches!(bench.told()[..], [UpdateStarted, Installed { .. }, Restart]));
            config.receiver.as_mut().unwrap().current_md5 = one.offer.md5.to_vec();
        }
    }
}

#[test]
fn a_failed_write_does_not_stop_the_requests() {
    let mut config = receiver();
    config.receiver.as_mut().unwrap().slot_bytes = PART + PART / 2;
    let (mut bench, one) = (Bench::new(config), firmware(3, 3));
    bench.announce(&one);
    bench.data(&one.data(0));
    assert_eq!(bench.data(&one.data(1)), []);
    assert_eq!(bench.told(), [UpdateStarted, WriteFailed]);
    assert_eq!((bench.node.part(), bench.node.update_md5()), (Some(0), None));
    let asked = bench.wait(400);
    assert_eq!(asked.len(), 9);
    assert!(asked.iter().all(|(_, request)| request.part == 1));
    assert_eq!(bench.told(), [GaveUp]);
}

#[test]
fn a_last_part_that_comes_twice_is_written_to_nothing() {
    let (mut bench, one) = (Bench::new(receiver()), firmware(3, 2));
    bench.announce(&one);
    bench.data(&one.data(0));
    bench.data(&one.data(1));
    bench.told();
    bench.data(&one.data(1));
    assert_eq!(bench.told(), [WriteFailed]);
    bench.wait(3);
    assert_eq!(bench.told(), [Restart], "into the new image all the same");
}

#[test]
fn other_roles_and_chips_are_left_alone() {
    for (role, hardware) in [("other", "ESP32"), ("sensor", "ESP8266")] {
        let mut one = firmware(3, 2);
        one.offer.role = role.as_bytes().into();
        one.offer.hardware = hardware.as_bytes().into();
        let mut bench = Bench::new(receiver());
        assert_eq!(bench.announce(&one), []);
        assert_eq!(bench.data(&one.data(0)), []);
        assert_eq!(bench.told(), []);
    }
}
