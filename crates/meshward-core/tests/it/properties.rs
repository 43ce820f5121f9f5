//! What must hold for frames nobody has thought of.

use meshward_core::ota::exchange::{self, About, Chunk, Chunks, Head, Line, News, Record, Stage, Want};
use meshward_core::ota::{ImageId, Tag};
use meshward_core::telemetry::{
    BUNDLE_MAX, Body, FIELDS, Field, Flags, Follower, Head as PacketHead, Heard, Numbers, Packet,
    fuzzing as telemetry,
};
use meshward_core::time::MeshTime;
use meshward_core::wire::{
    Announce, Branch, Clock, Data, DataRequest, NodeId, NodeSync, Offer, Parcel, PlainSync, Splitter, Stamp,
    To, Tree, User, fuzzing, kind, normalise, peek, read,
};
use proptest::collection::vec;
use proptest::prelude::*;
use std::borrow::Cow;

/// Pieces of text that mean something to a parser.
const FRAGMENTS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "'",
    "\\",
    " ",
    "\"type\":",
    "\"dest\":",
    "\"from\":",
    "\"routing\":",
    "\"msg\":",
    "\"subs\":[",
    "\"nodeId\":",
    "{\"type\":9,",
    "t\\u0079pe",
    "\\u0000",
    "\\ud83d",
    "\\n",
    "\u{1}",
    "é",
    "0",
    "9",
    "-",
    ".",
    "e",
    "4294967295",
    "true",
    "null",
];

/// Text near to JSON: such pieces in any order.
fn near_json() -> impl Strategy<Value = Vec<u8>> {
    vec(proptest::sample::select(FRAGMENTS), 0..24).prop_map(|fragments| fragments.concat().into_bytes())
}

/// A document without reals, whose keys may repeat.
fn strict_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        Just("true".to_owned()),
        Just("null".to_owned()),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    let key = prop_oneof![
        "[a-c]{1,2}",
        Just("type".to_owned()),
        Just("dest".to_owned()),
        Just("from".to_owned()),
        Just("routing".to_owned()),
        Just("é\"".to_owned()),
    ];
    let value = leaf.prop_recursive(4, 32, 5, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(|items| format!("[{}]", items.join(","))),
            object(key.clone(), inner),
        ]
    });
    object(prop_oneof!["[a-e]{1,3}", Just("type".to_owned()), Just("from".to_owned())], value)
}

fn object(
    key: impl Strategy<Value = String>,
    value: impl Strategy<Value = String>,
) -> impl Strategy<Value = String> {
    vec((key, value), 0..6).prop_map(|fields| {
        let fields: Vec<String> = fields
            .into_iter()
            .map(|(key, value)| format!("{}:{value}", serde_json::to_string(&key).unwrap()))
            .collect();
        format!("{{{}}}", fields.join(","))
    })
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = (any::<u32>(), any::<bool>(), any::<bool>())
        .prop_map(|(id, root, authority)| Tree::leaf(NodeId(id)).flagged(root, authority));
    leaf.clone().prop_recursive(6, 60, 6, move |inner| {
        (leaf.clone(), vec(inner, 0..6)).prop_map(|(mut top, branches)| {
            branches.iter().for_each(|branch| top.graft(branch));
            top
        })
    })
}

fn stamp() -> impl Strategy<Value = Stamp> {
    let time = || any::<u32>().prop_map(MeshTime);
    prop_oneof![
        Just(Stamp::Error),
        Just(Stamp::Ask),
        time().prop_map(|t0| Stamp::Request { t0 }),
        (time(), time(), time()).prop_map(|(t0, t1, t2)| Stamp::Reply { t0, t1, t2 }),
        (3..i32::MAX).prop_map(Stamp::Unknown),
    ]
}

fn bytes(max: usize) -> impl Strategy<Value = Cow<'static, [u8]>> {
    vec(any::<u8>(), 0..max).prop_map(Cow::Owned)
}

fn offer() -> impl Strategy<Value = Offer<'static>> {
    (bytes(40), bytes(10), bytes(10), any::<[bool; 3]>(), any::<u32>()).prop_map(
        |(md5, hardware, role, [forced, broadcasted, compressed], parts)| Offer {
            md5,
            hardware,
            role,
            forced,
            parts,
            broadcasted,
            compressed,
        },
    )
}

fn tag() -> impl Strategy<Value = Option<Tag>> {
    prop_oneof![Just(None), (1..=u32::MAX).prop_map(|tag| Some(Tag(tag)))]
}

fn node_id() -> impl Strategy<Value = NodeId> {
    any::<u32>().prop_map(NodeId)
}

/// A number of three bytes.
fn number() -> impl Strategy<Value = u32> {
    0..1_u32 << 24
}

fn head() -> impl Strategy<Value = Head> {
    let image = any::<[u8; 8]>().prop_map(ImageId);
    (bytes(400), bytes(400), vec(image, 0..4)).prop_map(|(manifest, descriptor, except)| Head {
        manifest: manifest.into_owned(),
        descriptor: descriptor.into_owned(),
        except,
    })
}

fn update_offer() -> impl Strategy<Value = exchange::Offer> {
    (tag(), node_id(), number(), any::<[bool; 3]>(), proptest::option::of(head())).prop_map(
        |(tag, source, held, [ask, ask_about, thanks], head)| exchange::Offer {
            tag,
            source,
            held,
            ask,
            ask_about,
            thanks,
            head,
        },
    )
}

fn about() -> impl Strategy<Value = About> {
    let running = proptest::option::of(any::<[u8; 8]>().prop_map(ImageId));
    let counters = vec(any::<(u32, u64)>(), 0..=4);
    let numbers = (any::<[u32; 4]>(), any::<u64>(), any::<(u16, u16)>());
    (running, numbers, any::<[bool; 2]>(), "[a-zé]{0,16}", "[a-zé]{0,16}", counters).prop_map(
        |(running, numbers, [rollback, updates], hardware, role, counters)| {
            let ([size, slot, staging, chunks], sequence, protocol) = numbers;
            About {
                running,
                size,
                sequence,
                slot,
                staging,
                chunks,
                protocol,
                rollback,
                updates,
                hardware,
                role,
                counters,
            }
        },
    )
}

fn record() -> impl Strategy<Value = Record> {
    let line = (tag(), proptest::sample::select(&Stage::ALL[..]), any::<u8>(), number())
        .prop_map(|(tag, stage, reason, done)| News::Line(Line { tag, stage, reason, done }));
    (node_id(), prop_oneof![line, about().prop_map(News::About)])
        .prop_map(|(node, news)| Record { node, news })
}

fn want() -> impl Strategy<Value = Want> {
    let missing = prop_oneof![
        Just(Chunks::default()),
        (number(), vec(any::<u8>(), 1..=Chunks::BYTES_MAX)).prop_map(|(first, bits)| Chunks { first, bits }),
    ];
    (tag(), any::<[bool; 2]>(), missing, vec(record(), 0..4))
        .prop_map(|(tag, [head, thanks], missing, records)| Want { tag, head, thanks, missing, records })
}

/// A frame that we wrote: everybody takes it, and reads it as we do.
fn check_written(frame: &[u8]) {
    assert!(peek(frame).is_some(), "{}", frame.escape_ascii());
    assert_eq!(normalise(frame).unwrap().bytes, frame, "{}", frame.escape_ascii());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn canonical_frames_have_one_envelope(near in near_json(), any in vec(any::<u8>(), 0..64), text in strict_json()) {
        for frame in [near, any, text.into_bytes()] {
            fuzzing::peek(&frame);
            fuzzing::normalise(&frame);
            fuzzing::packages(&frame);
        }
    }

    #[test]
    fn frames_do_not_depend_on_the_cut(stream in vec(prop_oneof![Just(0_u8), any::<u8>()], 0..200), cuts in vec(1_usize..20, 1..20)) {
        fuzzing::splitter(&stream);
        let mut splitter = Splitter::new(1000);
        let mut frames = Vec::new();
        let (mut rest, mut cuts) = (&stream[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (mut piece, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            rest = after;
            while let Some(frame) = splitter.split(&mut piece).unwrap() {
                frames.push(frame.to_vec());
            }
        }
        let last = stream.rsplit(|byte| *byte == 0).next().unwrap_or_default();
        prop_assert_eq!(splitter.buffered(), last.len());
        let mut want: Vec<&[u8]> = stream.split(|byte| *byte == 0).collect();
        want.pop();
        want.retain(|frame| !frame.is_empty());
        prop_assert_eq!(frames, want);
    }

    #[test]
    fn strict_documents_mean_the_same_to_serde(text in strict_json()) {
        let normal = normalise(text.as_bytes()).unwrap();
        // serde_json does not take raw control characters, ArduinoJson writes them.
        let strict: String = String::from_utf8(normal.bytes.clone()).unwrap().chars()
            .flat_map(|c| if c < ' ' { format!("\\u{:04x}", c as u32).chars().collect() } else { vec![c] })
            .collect();
        let before: serde_json::Value = serde_json::from_str(&text).unwrap();
        let after: serde_json::Value = serde_json::from_str(&strict).unwrap();
        prop_assert_eq!(before, after);
        prop_assert_eq!(&normalise(&normal.bytes).unwrap(), &normal, "without reals, once is enough");
        prop_assert_eq!(read(&normal.bytes).unwrap().envelope, normal.envelope);
    }

    #[test]
    fn syncs_survive(tree in tree(), reply: bool, dest: u32, from: u32) {
        let sync = NodeSync { reply, dest: NodeId(dest), from: NodeId(from), tree };
        let frame = sync.encode();
        check_written(&frame);
        prop_assert_eq!(NodeSync::decode(&frame, 1000).unwrap(), sync);
    }

    #[test]
    fn syncs_are_read_in_one_pass_as_they_are_otherwise(
        tree in tree(), other in tree(), reply: bool, dest: u32, from: u32, at: prop::sample::Index, byte: u8
    ) {
        let sync = NodeSync { reply, dest: NodeId(dest), from: NodeId(from), tree };
        let mut frame = sync.encode();
        let (other, same) = (Branch::new(other), Branch::new(sync.tree.clone()));
        for known in [None, Some(&other)] {
            let plain = PlainSync::read(&frame, 1000, known).unwrap();
            prop_assert_eq!((plain.reply, plain.dest, plain.from), (reply, sync.dest, sync.from));
            prop_assert_eq!(plain.tree.as_ref().or(known.map(Branch::tree)), Some(&sync.tree));
            prop_assert_eq!(PlainSync::read(&frame, sync.tree.len() - 1, known), None);
        }
        prop_assert_eq!(PlainSync::read(&frame, 1000, Some(&same)).unwrap().tree, None);
        fuzzing::packages(&frame);
        let at = at.index(frame.len());
        frame[at] = byte;
        fuzzing::packages(&frame);
    }

    #[test]
    fn clocks_survive(stamp in stamp(), delay: bool, dest: u32, from: u32) {
        let clock = Clock { delay, dest: NodeId(dest), from: NodeId(from), stamp };
        let frame = clock.encode();
        check_written(&frame);
        prop_assert_eq!(Clock::decode(&frame).unwrap(), clock);
    }

    #[test]
    fn user_text_survives(msg in bytes(100), broadcast: bool, dest: u32, from: u32) {
        let user = User { broadcast, dest: NodeId(dest), from: NodeId(from), msg };
        let frame = user.encode();
        check_written(&frame);
        prop_assert_eq!(User::decode(&frame).unwrap(), user);
    }

    #[test]
    fn firmware_packages_survive(offer in offer(), from: u32, dest: u32, flag: bool, part: u32, data in bytes(100)) {
        let (from, dest) = (NodeId(from), NodeId(dest));
        let announce = Announce { from, to: flag.then_some(dest), offer: offer.clone() };
        let frame = announce.encode();
        check_written(&frame);
        prop_assert_eq!(Announce::decode(&frame).unwrap(), announce);
        let request = DataRequest { from, dest, offer: offer.clone(), part };
        let frame = request.encode();
        check_written(&frame);
        prop_assert_eq!(DataRequest::decode(&frame).unwrap(), request);
        let data = Data { from, dest, routing_broadcast: flag, offer, part, data };
        let frame = data.encode();
        check_written(&frame);
        prop_assert_eq!(Data::decode(&frame).unwrap(), data);
    }
    #[test]
    fn parcels_survive(kind in kind::OFFER..=kind::ORDER, from in 1..u32::MAX, dest: Option<u32>, all: bool, body in bytes(1_600)) {
        let to = match dest {
            Some(dest) => To::One(NodeId(dest)),
            None if all => To::All,
            None => To::Neighbour,
        };
        let parcel = Parcel { kind, from: NodeId(from), to, body: body.into_owned() };
        let frame = parcel.encode();
        check_written(&frame);
        prop_assert_eq!(Parcel::decode(&frame).unwrap(), parcel);
    }

    #[test]
    fn what_nodes_say_of_updates_survives(offer in update_offer(), want in want(), tag in 1..=u32::MAX, index in number(), data in bytes(1_500)) {
        prop_assert_eq!(exchange::Offer::decode(&offer.encode()), Some(offer.clone()));
        prop_assert_eq!(Want::decode(&want.encode()), Some(want.clone()));
        let chunk = Chunk { tag: Tag(tag), index, bytes: &data };
        let body = chunk.encode();
        prop_assert_eq!(Chunk::decode(&body), Some(chunk));
    }

    #[test]
    fn bodies_nobody_has_thought_of_are_read_or_refused(
        any in vec(any::<u8>(), 0..200), offer in update_offer(), want in want(), at: prop::sample::Index, byte: u8
    ) {
        for mut body in [any, offer.encode(), want.encode()] {
            exchange::fuzzing::messages(&body);
            if !body.is_empty() {
                let at = at.index(body.len());
                body[at] = byte;
                exchange::fuzzing::messages(&body);
                exchange::fuzzing::messages(&body[..at]);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_node_bears_any_story(story in vec(any::<u8>(), 0..400)) {
        meshward_core::fuzzing::exchange(&story);
    }
}

fn numbers() -> impl Strategy<Value = Numbers> {
    vec((0..FIELDS, any::<u32>(), 0..33_u32), 0..FIELDS).prop_map(|list| {
        let mut numbers = Numbers::default();
        for (bit, number, shift) in list {
            numbers.set(bit, number.checked_shr(shift).unwrap_or(0));
        }
        numbers
    })
}

proptest! {
    #[test]
    fn any_body_is_refused_or_written_again(body in vec(any::<u8>(), 0..BUNDLE_MAX)) {
        telemetry::bodies(&body);
    }

    #[test]
    fn bodies_near_to_real_ones_are_refused_or_written_again(
        kind in 0x0F..0x19_u8,
        rest in vec(prop_oneof![0..4_u8, any::<u8>()], 0..60),
    ) {
        telemetry::bodies(&[&[kind][..], &rest].concat());
    }

    #[test]
    fn a_node_that_tells_keeps_its_bounds_in_any_story(story in vec(any::<u8>(), 0..600)) {
        meshward_core::fuzzing::telemetry(&story);
    }

    #[test]
    fn a_delta_says_what_differs_from_its_keyframe(key in numbers(), now in numbers(), room in 8..200_usize) {
        let head = PacketHead { keyframe: true, ..PacketHead::default() };
        let (keyframe, left) = Packet::build(head, &key, None, u32::MAX, 0, 200);
        prop_assert_eq!(left, 0);
        let mut follower = Follower::default();
        prop_assert!(matches!(follower.take(&keyframe), Ok(Heard::Report(_))));
        let head = PacketHead { seq: 1, ..PacketHead::default() };
        let (delta, left) = Packet::build(head, &now, Some(&key), now.differing(&key), 0, room);
        prop_assert!(delta.len() <= room.max(8));
        prop_assert_eq!(delta.head.flags.has(Flags::MORE), left != 0);
        let Ok(Body::Packet(delta)) = Body::decode(213, &Body::Packet(delta).encode()) else { panic!() };
        let Ok(Heard::Report(report)) = follower.take(&delta) else { panic!() };
        for (metric, value) in report.values {
            let bit = Field::bit(metric).unwrap();
            let number = now.get(bit).or(key.get(bit)).unwrap();
            prop_assert_eq!(value, Field::ALL[bit].value(number));
        }
    }
}
