//! A node's reporter and a gateway's follower against each other, packet by packet: sizes, losses, order.

use super::follower::{Follower, Heard};
use super::registry::Registry;
use super::reporter::Reporter;
use super::*;
use crate::time::{Duration, Instant};
use crate::wire::{NodeId, To};

/// Bytes of the recorded 604 with its NUL (testdata/wire/17, the frame that the design counts).
const ENHANCED_RECORDED: usize = 293;

/// A node, and somebody who hears what is not lost.
struct Pair {
    now: Instant,
    registry: Registry,
    reporter: Reporter,
    follower: Follower,
}

impl Pair {
    fn new() -> Self {
        let reporter = Reporter::new(NodeId(7), 3, Policy::default());
        let (registry, follower) = (Registry::default(), Follower::default());
        Self { now: Instant::ORIGIN, registry, reporter, follower }
    }

    fn set(&mut self, values: &[(Metric, i64)]) {
        for (metric, value) in values {
            assert!(self.registry.set(*metric, *value), "{metric:?}");
        }
    }

    /// The node's next packet, `seconds` later.
    fn next(&mut self, seconds: u64) -> Packet {
        self.now = self.now + Duration::from_secs(seconds);
        let packet = self.reporter.packet(self.now, &self.registry, 10_000);
        let bytes = Body::Packet(packet.clone()).encode();
        let kind = Body::Packet(packet.clone()).kind();
        assert!(bytes.len() <= BODY_MAX, "{} bytes", bytes.len());
        assert_eq!(Body::decode(kind, &bytes), Ok(Body::Packet(packet.clone())));
        packet
    }

    fn heard(&mut self, packet: &Packet) -> Vec<(Metric, i64)> {
        match self.follower.take(packet) {
            Ok(Heard::Report(report)) => report.values,
            other => panic!("{other:?}"),
        }
    }
}

use alloc::vec::Vec;

/// The design's node after a year: what its keyframe names.
const YEAR: [(Metric, i64); 20] = [
    (Metric::Uptime, 31_536_000),
    (Metric::FreeHeap, 182_344),
    (Metric::MinHeap, 151_020),
    (Metric::Fragmentation, 14),
    (Metric::Cpu, 37),
    (Metric::Rssi, -67),
    (Metric::Links, 4),
    (Metric::MessagesRx, 40_000_000),
    (Metric::MessagesTx, 39_000_000),
    (Metric::MessagesDropped, 317),
    (Metric::BytesRx, 6_000_000_000),
    (Metric::BytesTx, 5_900_000_000),
    (Metric::Latency, 27),
    (Metric::Loss, 15),
    (Metric::Parent, 2_748_091_201),
    (Metric::Firmware, 3_662_815_033),
    (Metric::Battery, 88),
    (Metric::ChipTemperature, 415),
    (Metric::Boots, 300),
    (Metric::Alerts, 21),
];

fn value(values: &[(Metric, i64)], metric: Metric) -> Option<i64> {
    values.iter().find(|(told, _)| *told == metric).map(|(_, value)| *value)
}

fn wire(body: &Body) -> usize {
    body.frame(NodeId(u32::MAX), To::One(NodeId(u32::MAX))).len() + 1
}

#[test]
fn a_full_keyframe_and_a_typical_delta_have_room_to_spare() {
    let mut pair = Pair::new();
    pair.set(&YEAR);
    let keyframe = pair.next(0);
    assert!(!keyframe.head.flags.has(Flags::MORE), "all twenty have room");
    let told = pair.heard(&keyframe);
    for (metric, sent) in YEAR {
        let step = Field::ALL[Field::bit(metric).unwrap()].step;
        let heard = value(&told, metric).unwrap();
        assert!((0..step).contains(&(sent - heard)), "{metric:?}: {sent} was heard as {heard}");
    }
    let mut sizes = Vec::from([("keyframe", Body::Packet(keyframe))]);
    let changes = [
        (Metric::FreeHeap, 176_100),
        (Metric::Rssi, -71),
        (Metric::MessagesRx, 40_000_300),
        (Metric::MessagesTx, 39_000_310),
        (Metric::BytesRx, 6_000_030_000),
    ];
    for (name, count) in [("delta, nothing", 0), ("delta, 3 fields", 3), ("delta, 5 fields", 5)] {
        pair.set(&changes[..count]);
        let delta = pair.next(60);
        assert_eq!(delta.present().count_ones() as usize, count);
        assert!(!delta.head.keyframe);
        sizes.push((name, Body::Packet(delta)));
    }
    for (name, body) in sizes {
        let (payload, wire) = (body.encode().len(), wire(&body));
        let saved = |len: usize| 100 - len * 100 / ENHANCED_RECORDED;
        std::println!(
            "{name}: {payload} B, {wire} B on the wire; against 604 ({ENHANCED_RECORDED} B): payload −{} %, wire −{} %",
            saved(payload),
            saved(wire)
        );
        match name {
            "keyframe" => assert!(payload <= 57 && wire <= 144),
            _ => assert!(payload <= 20 && saved(payload) >= 90, "{name}"),
        }
    }
}

#[test]
fn a_lost_delta_costs_nothing() {
    let mut pair = Pair::new();
    pair.set(&YEAR);
    let keyframe = pair.next(0);
    pair.heard(&keyframe);
    pair.set(&[(Metric::Rssi, -80), (Metric::FreeHeap, 120_000)]);
    let _lost = pair.next(60);
    // The signal is as before, so this one does not name it: that says so.
    pair.set(&[(Metric::Rssi, -67), (Metric::Alerts, 0)]);
    let third = pair.next(60);
    let Ok(Heard::Report(report)) = pair.follower.take(&third) else { panic!() };
    assert_eq!(report.lost, 1);
    let told = |metric| value(&report.values, metric);
    assert_eq!((told(Metric::Rssi), told(Metric::Alerts)), (Some(-67), Some(0)));
    assert_eq!(told(Metric::FreeHeap), Some(120_000));
    assert_eq!(told(Metric::Uptime), None, "what is only in keyframes is not said to be what it was");
    assert_eq!(report.values.len(), YEAR.len() - 1);
}

#[test]
fn copies_and_latecomers_change_nothing_and_numbers_may_wrap() {
    let mut pair = Pair::new();
    pair.set(&YEAR);
    let keyframe = pair.next(0);
    pair.heard(&keyframe);
    assert_eq!(pair.follower.take(&keyframe), Ok(Heard::Duplicate));
    let mut before = None;
    for round in 0..600_i64 {
        pair.set(&[(Metric::Rssi, -60 - round % 20)]);
        let packet = pair.next(1);
        assert_eq!(value(&pair.heard(&packet), Metric::Rssi), Some(-60 - round % 20), "round {round}");
        assert_eq!(pair.follower.take(&packet), Ok(Heard::Duplicate));
        if let Some(before) = before.replace(packet) {
            assert_eq!(pair.follower.take(&before), Ok(Heard::Stale));
        }
    }
    // A keyframe that is overtaken by its first delta, and the last delta before it.
    let old = pair.next(0);
    pair.reporter.want_keyframe();
    let (keyframe, delta) = (pair.next(0), pair.next(1));
    assert_eq!(pair.follower.take(&delta), Ok(Heard::Unknown(keyframe.head.generation)));
    assert!(matches!(pair.follower.take(&keyframe), Ok(Heard::Report(_))));
    assert_eq!(pair.follower.take(&old), Ok(Heard::Stale));
    assert!(matches!(pair.follower.take(&delta), Ok(Heard::Report(_))));
}

#[test]
fn a_node_that_restarts_is_not_taken_for_what_it_was() {
    let mut pair = Pair::new();
    pair.set(&YEAR);
    let keyframe = pair.next(0);
    pair.heard(&keyframe);
    for seed in 0..200 {
        // Its first keyframe is lost.
        pair.reporter = Reporter::new(NodeId(7), seed, Policy::default());
        pair.next(1);
        let delta = pair.next(60);
        assert!(!matches!(pair.follower.take(&delta), Ok(Heard::Report(_))), "{seed}");
        // It is asked for one; of 256 one looks like a latecomer, and then the next one does it.
        let mut tries = 0;
        let found = |pair: &mut Pair| {
            pair.reporter.want_keyframe();
            let (keyframe, delta) = (pair.next(1), pair.next(1));
            let _heard = pair.follower.take(&keyframe);
            matches!(pair.follower.take(&delta), Ok(Heard::Report(_)))
        };
        while !found(&mut pair) {
            tries += 1;
            assert!(tries < 2, "{seed}: the follower does not find back");
        }
    }
}

#[test]
fn what_does_not_fit_comes_with_the_next_packet() {
    let mut pair = Pair::new();
    pair.set(&YEAR);
    pair.set(&[
        (Metric::ResetReason, 4),
        (Metric::LoopTime, 1_250),
        (Metric::Queue, 9_000),
        (Metric::LinksLost, 40),
        (Metric::Supply, 3_300),
        (Metric::UpdateChunks, 500),
        (Metric::WifiQuality, 71),
        (Metric::Temperature, 235),
        (Metric::Humidity, 412),
        (Metric::Pressure, 10_132),
    ]);
    let keyframe = pair.next(0);
    assert!(keyframe.head.flags.has(Flags::MORE));
    let mut told: Vec<_> = pair.heard(&keyframe).into_iter().map(|(metric, _)| metric).collect();
    assert!(told.contains(&Metric::Alerts) && !told.contains(&Metric::Pressure));
    assert!(pair.reporter.due(pair.now).unwrap() <= pair.now + Duration::from_secs(10), "pmin later");
    let delta = pair.next(10);
    told.extend(pair.heard(&delta).into_iter().map(|(metric, _)| metric));
    let missing: Vec<_> = Field::ALL.iter().filter(|field| !told.contains(&field.metric)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn when_much_has_changed_a_keyframe_takes_the_place_of_a_delta() {
    let mut pair = Pair::new();
    pair.set(&YEAR);
    let first = pair.next(0);
    let all: Vec<(Metric, i64)> = (YEAR.iter())
        .map(|(metric, value)| (*metric, (value + (1 << 29)).min(*metric.range().end())))
        .chain((Metric::ALL.iter()).filter(|m| YEAR.iter().all(|(there, _)| there != *m)).filter_map(
            |metric| Field::bit(*metric).is_some().then_some((*metric, *metric.range().end() - 1)),
        ))
        .collect();
    pair.set(&all);
    let early = pair.next(30);
    assert!(!early.head.keyframe && early.head.flags.has(Flags::MORE), "too soon for another keyframe");
    assert_eq!(early.head.generation, first.head.generation);
    let late = pair.next(31);
    assert!(late.head.keyframe || !late.head.flags.has(Flags::MORE));
}

#[test]
fn packets_go_by_pmin_pmax_and_bands_and_urgent_ones_within_a_second() {
    let at = |seconds: u64| Instant::ORIGIN + Duration::from_secs(seconds);
    let mesh = crate::mesh::Mesh::new(crate::mesh::MeshConfig::node(NodeId(7), 1));
    let policy = Policy { aggregate: false, pmin_s: 10, pmax_s: 60, ..Policy::default() };
    let check = |metric: Metric, value: i64, expected: u64| {
        let mut pair = Pair::new();
        pair.reporter = Reporter::new(NodeId(7), 3, policy.clone());
        pair.set(&YEAR);
        pair.next(0);
        pair.reporter.plan(pair.now, &mesh, NodeId(1));
        pair.set(&[(metric, value)]);
        pair.reporter.look(&pair.registry, Field::bit(metric).unwrap(), 10_000);
        assert_eq!(pair.reporter.due(at(5)), Some(at(expected)), "{metric:?} {value}");
    };
    check(Metric::Rssi, -68, 60);
    check(Metric::Rssi, -75, 10);
    check(Metric::Rssi, -74, 60);
    check(Metric::FreeHeap, 175_000, 60);
    check(Metric::FreeHeap, 170_000, 10);
    check(Metric::FreeHeap, 9_999, 1);
    check(Metric::MessagesRx, 90_000_000, 60);
    check(Metric::Parent, 9, 10);
    check(Metric::Alerts, 20, 1);
    check(Metric::Alerts, 21, 60);
}

#[test]
fn a_turn_is_waited_for_and_never_left_out() {
    let mesh = crate::mesh::Mesh::new(crate::mesh::MeshConfig::node(NodeId(7), 1));
    // The mesh clock begins anew each 2^32 µs, in the middle of a period: from before that until after it.
    let begins = (1_u64 << 32) / 1_000_000;
    let anew = mesh.mesh_time(Instant::ORIGIN + Duration::from_secs(begins + 1));
    assert!(anew.0 < 1_000_000);
    for (pmin_s, now_s) in
        [40, 10].into_iter().flat_map(|pmin| (100..begins + 90).map(move |now| (pmin, now)))
    {
        if now_s > 150 && now_s + 90 < begins {
            continue;
        }
        let mut pair = Pair::new();
        let policy = Policy { pmin_s, pmax_s: 40, ..Policy::default() };
        pair.reporter = Reporter::new(NodeId(7), 3, policy);
        pair.set(&YEAR);
        pair.next(now_s);
        pair.reporter.plan(pair.now, &mesh, NodeId(1));
        let seconds = |due: Instant| due.since(pair.now).as_secs_f64();
        let turn = pair.reporter.due(pair.now).unwrap();
        assert!((1.0..=41.0).contains(&seconds(turn)), "{now_s} s: {}", seconds(turn));
        // News waits for a turn that is near, and does not wait for one that is not.
        pair.registry.set(Metric::Rssi, -80);
        pair.reporter.look(&pair.registry, Field::bit(Metric::Rssi).unwrap(), 10_000);
        let due = pair.reporter.due(pair.now).unwrap();
        let waits = seconds(turn) <= f64::from(pmin_s) * 1.25;
        assert_eq!(due, if waits { turn } else { pair.now + Duration::from_secs(10) }, "{now_s} s");
    }
}

#[test]
fn the_worked_example_of_the_documentation() {
    // Its bytes were reckoned by another program.
    let numbers = |values: &[(Metric, i64)]| {
        let mut numbers = Numbers::default();
        for (metric, value) in values {
            let bit = Field::bit(*metric).unwrap();
            numbers.set(bit, Field::ALL[bit].number(*value));
        }
        numbers
    };
    let parent = (Metric::Parent, 2_748_091_201);
    let mut values = [
        (Metric::Uptime, 3_600),
        (Metric::FreeHeap, 182_344),
        (Metric::Rssi, -67),
        (Metric::Links, 3),
        parent,
        (Metric::Alerts, 0),
    ];
    let head = Head { keyframe: true, seq: 7, generation: 5, flags: Flags::REBOOT, age: 0 };
    let key = numbers(&values);
    let (keyframe, _) = Packet::build(head, &key, None, u32::MAX, 0, BODY_MAX);
    let frame = Body::Packet(keyframe).frame(NodeId(1_093_410_022), To::One(NodeId(2_748_091_201)));
    let text = "{\"type\":212,\"from\":1093410022,\"dest\":2748091201,\"routing\":1,\"b\":\"EAcFAQBjQAiQHKEWPANBi8yjAKMG\"}";
    assert_eq!(frame, text.as_bytes());
    values[1].1 = 176_100;
    values[2].1 = -71;
    let (now, head) = (numbers(&values), Head { keyframe: false, seq: 8, ..head });
    let (delta, _) = Packet::build(head, &now, Some(&key), now.differing(&key), 0, BODY_MAX);
    assert_eq!(Body::Packet(delta).encode(), [0x11, 8, 5, 1, 0, 0x22, 0, 0, 0xC3, 1, 7, 0x19, 0x75]);
}
