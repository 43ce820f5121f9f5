//! What must hold for frames nobody has thought of.

use meshward_core::time::MeshTime;
use meshward_core::wire::{
    Announce, Clock, Data, DataRequest, NodeId, NodeSync, Offer, PlainSync, Splitter, Stamp, Tree, User,
    fuzzing, normalise, peek, read,
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
        for known in [None, Some(&other)] {
            let plain = PlainSync::read(&frame, 1000, known).unwrap();
            prop_assert_eq!((plain.reply, plain.dest, plain.from), (reply, sync.dest, sync.from));
            prop_assert_eq!(plain.tree.as_ref().or(known), Some(&sync.tree));
        }
        prop_assert_eq!(PlainSync::read(&frame, 1000, Some(&sync.tree)).unwrap().tree, None);
        prop_assert_eq!(PlainSync::read(&frame, sync.tree.len() - 1, Some(&sync.tree)), None);
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
}
