//! The sender, the queue and the slow loop, at the same bench as the receiver.

use meshward_core::mesh::{LinkRole, Outgoing, Priority};
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::{Announce, Data, DataRequest, NodeId, NodeSync, Tree, kind, peek};

use super::package::decode_base64;
use super::tests::{Bench, NODE, PART, SENDER, firmware};
use super::{StockConfig, StockNode, StockOffer};

fn sender() -> Bench {
    Bench::new(StockConfig::node(NODE, 1))
}

fn offer(broadcasted: bool) -> StockOffer {
    StockOffer {
        image: firmware(3, 3).image.into(),
        part_size: PART,
        role: b"sensor".to_vec(),
        hardware: b"ESP32".to_vec(),
        forced: false,
        broadcasted,
        compressed: false,
    }
}

#[test]
fn a_sender_announces_sixty_times() {
    let mut bench = sender();
    bench.node.offer(bench.now, offer(false));
    let mut announces = bench.frames();
    for _ in 0..70 {
        bench.now = bench.now + Duration::from_secs(60);
        while bench.node.poll_timeout().is_some_and(|(due, _)| due <= bench.now) {
            bench.node.handle_timeout(bench.now);
            announces.extend(bench.frames());
        }
    }
    let wanted = Announce { from: NODE, to: None, offer: firmware(3, 3).offer }.encode();
    assert_eq!(announces.iter().filter(|frame| **frame == wanted).count(), 60);
}

#[test]
fn a_sender_answers_whoever_asks_for_whatever() {
    let mut bench = sender();
    bench.node.offer(bench.now, offer(false));
    bench.frames();
    let mut other = firmware(7, 9);
    other.offer.role = b"other".into();
    for (broadcasted, part, size) in [(false, 1, Some(PART)), (true, 2, Some(PART)), (false, 3, None)] {
        other.offer.broadcasted = broadcasted;
        let request = DataRequest { from: SENDER, dest: NODE, offer: other.offer.clone(), part };
        bench.deliver(&request.encode());
        let frames = bench.frames();
        let answers: Vec<Data<'_>> = frames.iter().filter_map(|frame| Data::decode(frame).ok()).collect();
        assert_eq!(answers.first().map(|answer| answer.data.len()), size);
        if let [answer] = &answers[..] {
            assert_eq!((answer.from, answer.dest), (NODE, SENDER));
            assert_eq!((answer.routing_broadcast, &answer.offer), (broadcasted, &other.offer));
        }
    }
}

#[test]
fn messages_leave_in_order_whatever_they_are_but_for_priority() {
    let mut bench = sender();
    let other = bench.node.handle_link_up(bench.now, LinkRole::Listener).unwrap();
    bench.frames();
    let third = NodeId(3);
    let sync = NodeSync { reply: false, dest: NODE, from: third, tree: Tree::leaf(third) };
    bench.node.handle_data(bench.now, other, &[&sync.encode()[..], &[0]].concat());
    bench.frames();
    let one = firmware(3, 3).broadcasted();
    bench.hear(&one.data(0).encode());
    bench.hear(&Announce { from: SENDER, to: None, offer: one.offer.clone() }.encode());
    bench.node.send_single(third, b"late", Priority::Low).unwrap();
    bench.node.send_single(third, b"first", Priority::Critical).unwrap();
    let mut kinds = Vec::new();
    while let Outgoing::Bytes(bytes) = bench.node.outgoing(other) {
        let (count, frame) = (bytes.len(), bytes.strip_suffix(&[0]).unwrap());
        kinds.push(peek(frame).unwrap().kind);
        bench.node.sent(other, count);
    }
    assert_eq!(
        kinds,
        [kind::SINGLE, kind::NODE_SYNC_REPLY, kind::OTA_DATA, kind::OTA_ANNOUNCE, kind::SINGLE]
    );
    assert_eq!(bench.node.queued(other), 0);
}

#[test]
fn a_slow_loop_handles_a_message_and_a_write_per_pass() {
    let mut config = StockConfig::node(NODE, 1);
    config.loop_delay = Duration::from_secs(1);
    let mut node = StockNode::new(config);
    let link = node.handle_link_up(Instant::ORIGIN, LinkRole::Listener).unwrap();
    while node.poll_event().is_some() {}
    let mut image = offer(false);
    (image.image, image.part_size) = (vec![0; 2_000].into(), 1_000);
    node.offer(Instant::ORIGIN, image);
    let sync = NodeSync { reply: false, dest: NODE, from: SENDER, tree: Tree::leaf(SENDER) }.encode();
    let request = DataRequest { from: SENDER, dest: NODE, offer: firmware(3, 2).offer, part: 1 }.encode();
    node.handle_data(Instant::ORIGIN, link, &[&sync[..], &[0], &request, &[0]].concat());
    while node.poll_event().is_some() {}
    let mut writes = Vec::new();
    for second in 1..=6 {
        node.handle_timeout(Instant::ORIGIN + Duration::from_secs(second));
        while node.poll_event().is_some() {}
        while let Outgoing::Bytes(bytes) = node.outgoing(link) {
            let count = bytes.len();
            writes.push((second, count));
            node.sent(link, count);
        }
    }
    // The sync's answer, an announce, and a Data of more than 1 023 bytes in two writes.
    let seconds: Vec<u64> = writes.iter().map(|(second, _)| *second).collect();
    assert_eq!((seconds, writes[2].1), (vec![1, 2, 3, 4], 1_023));
}

#[test]
fn base64_is_read_as_the_library_reads_it() {
    for (text, bytes) in [
        ("", &b""[..]),
        ("AP8=", b"\0\xff"),
        ("AP8", b"\0\xff"),
        ("/w==", b"\xff"),
        ("_-,+", b"\xff\xef\xbe"),
        ("AAAA", b"\0\0\0"),
        ("!!!!", b"\0\0\0"),
    ] {
        assert_eq!(decode_base64(text.as_bytes()), bytes, "{text}");
    }
}
