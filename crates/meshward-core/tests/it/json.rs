//! Frames and packages against what C++ nodes and ArduinoJson were recorded to do with them.

use crate::transcript::{bytes, lines, message, testdata, transcripts};
use meshward_core::wire::{
    Announce, Clock, Data, DataRequest, NodeId, NodeSync, Routing, Tree, User, kind, normalise, peek, read,
};
use std::collections::BTreeMap;

/// The node behind the one that is probed in transcript 22.
const Q: NodeId = NodeId(222_222_222);

#[test]
fn every_vector_of_arduinojson_is_met() {
    let vectors = lines("json/arduinojson.ndjson");
    let (mut taken, mut canonical) = (0, 0);
    for vector in &vectors {
        let input = bytes(vector, "in").unwrap();
        let normal = normalise(&input);
        let Some(out) = bytes(vector, "out") else {
            let refusal = format!("{:?}", normal.unwrap_err());
            assert_eq!(Some(refusal.as_str()), vector["refused"].as_str(), "{vector}");
            assert_eq!(peek(&input), None, "{vector}");
            continue;
        };
        let normal = normal.unwrap_or_else(|refusal| panic!("{refusal}: {vector}"));
        assert_eq!(normal.bytes, out, "{vector}");
        let envelope = normal.envelope;
        assert_eq!(Some(i64::from(envelope.kind)), vector["type"].as_i64(), "{vector}");
        assert_eq!(Some(u64::from(envelope.dest.0)), vector["dest"].as_u64(), "{vector}");
        assert_eq!(Some(u64::from(envelope.from.0)), vector["from"].as_u64(), "{vector}");
        assert_eq!(Some(format!("{:?}", envelope.routing).as_str()), vector["routing"].as_str(), "{vector}");
        taken += 1;
        if let Some(peeked) = peek(&input) {
            assert_eq!(peeked, envelope, "{vector}");
            canonical += 1;
        }
    }
    assert_eq!((vectors.len(), taken, canonical), (606, 430, 90));
}

#[test]
fn every_probe_is_forwarded_as_recorded() {
    // Note, what was sent, what came out on the other side.
    let mut probes: Vec<(String, Vec<u8>, Option<Vec<u8>>)> = Vec::new();
    let mut note = None;
    for line in lines("wire/22_probes_forwarding_and_odd_input.ndjson") {
        if let Some(text) = line["note"].as_str() {
            note = Some(text.to_owned());
            if text.starts_with("peer R connects") {
                break;
            }
        } else if let Some((from, raw)) = message(&line) {
            let to = line["to"].as_str();
            if let ("P", Some(text)) = (from.as_str(), note.take()) {
                probes.push((text, raw, None));
            } else if let (Some("Q"), Some((_, _, out @ None))) = (to, probes.last_mut()) {
                *out = Some(raw).filter(|raw| !matches!(read(raw).unwrap().envelope.kind, 4..=6));
            }
        }
    }
    let (mut forwarded, mut kept) = (0, 0);
    for (note, sent, want) in &probes {
        let forwards = read(sent).is_ok_and(|message| match message.envelope.routing {
            Routing::Single => message.envelope.dest == Q,
            Routing::Broadcast => true,
            Routing::Neighbour | Routing::Local => false,
        });
        assert_eq!(forwards, want.is_some(), "{note}");
        if let Some(want) = want {
            assert_eq!(&normalise(sent).unwrap().bytes, want, "{note}");
            forwarded += 1;
        } else {
            kept += 1;
        }
    }
    assert_eq!((forwarded, kept), (36, 15));
}

#[test]
fn payloads_arrive_at_applications_as_recorded() {
    let mut want: Vec<String> = lines("wire/09_user_messages_chain3.app_received.ndjson")
        .iter()
        .filter_map(|line| line["hex"].as_str().map(str::to_owned))
        .collect();
    let mut got = Vec::new();
    for line in lines("wire/09_user_messages_chain3.ndjson") {
        let Some((_, raw)) = message(&line) else { continue };
        assert_eq!(normalise(&raw).unwrap().bytes, raw, "a node's own writing stays as it is");
        let message = read(&raw).unwrap();
        let Ok(user) = User::decode(&message.bytes) else { continue };
        got.push(user.msg.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    }
    for list in [&mut want, &mut got] {
        list.sort();
        list.dedup();
    }
    assert_eq!(want, got);
    assert!(want.len() > 13);
}

#[test]
fn recorded_packages_are_written_again_to_the_same_bytes() {
    let mut counts: BTreeMap<i32, usize> = BTreeMap::new();
    for name in transcripts() {
        let probed = name.starts_with("22_") || name.starts_with("23_");
        for line in lines(&format!("wire/{name}")) {
            let Some((from, raw)) = message(&line) else { continue };
            let Some(envelope) = peek(&raw) else { continue };
            let user = matches!(envelope.kind, kind::SINGLE | kind::BROADCAST);
            // Hand-made peers, and what a real node only passed on for them.
            if probed && (from != "B" || user) {
                continue;
            }
            let again = match envelope.kind {
                kind::TIME_DELAY | kind::TIME_SYNC => Clock::decode(&raw).unwrap().encode(),
                kind::NODE_SYNC_REQUEST | kind::NODE_SYNC_REPLY => {
                    NodeSync::decode(&raw, 10).unwrap().encode()
                }
                kind::BROADCAST | kind::SINGLE => User::decode(&raw).unwrap().encode(),
                kind::OTA_ANNOUNCE => Announce::decode(&raw).unwrap().encode(),
                kind::OTA_REQUEST => DataRequest::decode(&raw).unwrap().encode(),
                kind::OTA_DATA => Data::decode(&raw).unwrap().encode(),
                _ => continue,
            };
            assert_eq!(again.escape_ascii().to_string(), raw.escape_ascii().to_string(), "{name}");
            *counts.entry(envelope.kind).or_default() += 1;
        }
    }
    let counts: Vec<(i32, usize)> = counts.into_iter().collect();
    assert_eq!(counts, RECORDED);
}

/// How many packages of each type real nodes sent in the recordings.
const RECORDED: [(i32, usize); 9] =
    [(3, 14), (4, 666), (5, 255), (6, 233), (8, 54), (9, 36), (10, 55), (11, 105), (12, 114)];

#[test]
fn real_nodes_write_canonical_frames() {
    let mut count = 0;
    for name in transcripts().iter().filter(|name| !name.starts_with("22_")) {
        for line in lines(&format!("wire/{name}")) {
            if let Some((_, raw)) = message(&line) {
                assert!(peek(&raw).is_some(), "{}", raw.escape_ascii());
                count += 1;
            }
        }
    }
    assert!(count > 1000, "{count} frames in {}", testdata("wire").display());
}

#[test]
fn strings_and_keys_end_at_65535_bytes() {
    for (before, after) in [("{\"a\":\"", "\"}"), ("{\"", "\":1}"), ("{", ":1}")] {
        let frame = |len: usize| [before, &"x".repeat(len), after].concat().into_bytes();
        assert!(normalise(&frame(65_535)).is_ok());
        assert_eq!(normalise(&frame(65_536)).unwrap_err().to_string(), "a string is longer than 65535 bytes");
        assert_eq!(peek(&frame(65_536)), None);
    }
    // The limit is on decoded bytes.
    let newlines = ["{\"a\":\"", &"\\n".repeat(65_535), "\"}"].concat();
    assert_eq!(normalise(newlines.as_bytes()).unwrap().bytes, newlines.as_bytes());
}

#[test]
fn equal_keys_by_the_thousand_are_joined() {
    let mut frame = String::from("{\"type\":9");
    for index in 0..6000 {
        frame.push_str(&format!(", k{} : {index}", index % 3000));
    }
    frame.push('}');
    let normal = normalise(frame.as_bytes()).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&normal.bytes).unwrap();
    assert_eq!((value.as_object().unwrap().len(), &value["k7"]), (3001, &serde_json::json!(3007)));
    assert!(normal.bytes.starts_with(b"{\"type\":9,\"k0\":3000,\"k1\":3001,"));
}

#[test]
fn a_tree_of_ten_thousand_nodes_survives() {
    let mut tree = Tree::leaf(NodeId(1));
    for branch in 0..100 {
        let mut sub = Tree::leaf(NodeId(1000 + branch * 1000));
        for leaf in 1..100 {
            sub.graft(&Tree::leaf(NodeId(1000 + branch * 1000 + leaf)).flagged(leaf == 7, leaf == 8));
        }
        tree.graft(&sub);
    }
    check_tree(&tree, 10_001);
    assert_eq!(tree.depths().map(|(_, depth, _)| depth).max(), Some(2));
}

#[test]
fn a_chain_of_127_levels_survives_and_no_more() {
    let chain = |levels: u32| {
        let mut tree = Tree::leaf(NodeId(levels));
        for id in (1..levels).rev() {
            let mut above = Tree::leaf(NodeId(id));
            above.graft(&tree);
            tree = above;
        }
        tree
    };
    // Two levels of nesting a node, less the array that the last one does not need.
    check_tree(&chain(127), 127);
    check_tree(&chain(128), 128);
    let sync = NodeSync { reply: true, dest: NodeId(9), from: NodeId(1), tree: chain(129) };
    assert_eq!(peek(&sync.encode()), None);
    assert!(normalise(&sync.encode()).is_err());
}

/// `tree` goes through a node sync unchanged, and C++ nodes would take it.
fn check_tree(tree: &Tree, len: usize) {
    let sync = NodeSync { reply: false, dest: NodeId(9), from: tree.top().id, tree: tree.clone() };
    let frame = sync.encode();
    assert_eq!(peek(&frame).unwrap().kind, kind::NODE_SYNC_REQUEST);
    assert_eq!(normalise(&frame).unwrap().bytes, frame);
    assert_eq!(NodeSync::decode(&frame, len).unwrap(), sync);
    assert_eq!(NodeSync::decode(&frame, len - 1).unwrap_err().field, "subs");
    assert_eq!((tree.len(), tree.depths().count()), (len, len));
}
