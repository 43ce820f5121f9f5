//! Status packages as they were recorded (17), and ones nobody has thought of.

use meshward_core::wire::status::{Package, Sent, fuzzing};
use meshward_core::wire::{NodeId, To, User, read};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// The frames of recording 17 that are status packages.
fn recorded() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/wire/17_alteriom_packages.ndjson");
    let lines = std::fs::read_to_string(path).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let frames = lines.filter_map(|line| Some(line["raw"].as_str()?.to_owned()));
    frames.filter(|frame| frame.contains("\"routing\"")).collect()
}

#[test]
fn recorded_packages_are_read_and_written_to_the_byte() {
    let mut kinds = BTreeSet::new();
    for frame in recorded() {
        let sent = Sent::decode(frame.as_bytes()).unwrap();
        assert_eq!(sent.from, NodeId(2_748_091_201));
        let to = if sent.package.is_broadcast() { To::All } else { To::One(NodeId(1_093_410_022)) };
        assert_eq!((sent.to, sent.nested), (to, false));
        sent.package.odd(|odd| panic!("{odd:?} in {frame}"));
        assert_eq!(String::from_utf8(sent.package.encode(sent.from, sent.to)).unwrap(), frame);
        kinds.insert(sent.package.kind());
    }
    let want = [200, 202, 204, 400, 600, 601, 602, 603, 604, 605, 610];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), want);
}

/// A field that this side did not know would be lost, and the test above would not see a decoder that keeps
/// frames whole: so the recorded ones, with any one field left out, come back without just that field.
#[test]
fn each_recorded_field_is_read_by_itself() {
    let mut left_out = 0;
    for frame in recorded() {
        let Ok(serde_json::Value::Object(object)) = serde_json::from_str(&frame) else { panic!("{frame}") };
        let envelope = ["type", "from", "dest", "routing"];
        for name in object.keys().filter(|name| !envelope.contains(&name.as_str())) {
            let mut less = object.clone();
            less.remove(name);
            let text = serde_json::to_string(&less).unwrap();
            let sent = Sent::decode(text.as_bytes()).unwrap();
            let written = sent.package.encode(sent.from, sent.to);
            let fields = |text: &[u8]| -> BTreeSet<String> {
                let Ok(serde_json::Value::Object(object)) = serde_json::from_slice(text) else { panic!() };
                object.into_iter().map(|(name, _)| name).collect()
            };
            assert_eq!(fields(&written), fields(text.as_bytes()), "{frame} without {name}");
            left_out += 1;
        }
    }
    assert!(left_out > 100, "{left_out} fields");
}

#[test]
fn recorded_packages_come_as_text_too() {
    for frame in recorded() {
        let native = Sent::decode(frame.as_bytes()).unwrap();
        let user =
            User { broadcast: true, dest: NodeId::NONE, from: native.from, msg: frame.as_bytes().into() };
        let nested = Sent::decode(&user.encode()).unwrap();
        assert!(nested.nested);
        assert_eq!(nested.package, native.package);
    }
}

/// Values that a field should not have, and some that it may.
const VALUES: &[&str] = &[
    "0",
    "-1",
    "7",
    "255",
    "256",
    "65536",
    "4294967296",
    "18446744073709551616",
    "-9223372036854775809",
    "1e400",
    "-1e-400",
    "0.333333",
    "23.75",
    "1013.2500001",
    "1e-5",
    "16777217.5",
    "null",
    "true",
    "\"\"",
    "\"7\"",
    "\"n\\u0000ode\"",
    "\"\\ud83d\\ude00\"",
    "[]",
    "[1,null,{}]",
    "[{\"nodeId\":-1,\"quality\":1e9,\"type\":\"x\",\"from\":1.5}]",
    "{}",
    "{\"enabled\":1,\"timeout\":-3,\"device_name\":null,\"calibration\":{\"temperature_offset\":\"x\"}}",
];

/// Packages of every type whose fields have been given values of other ones, some very long.
fn spoilt() -> impl Strategy<Value = Vec<u8>> {
    let text = |length: usize| format!("\"{}\"", "é\"\\".replace('"', "\\\"").repeat(length / 6));
    let value = prop_oneof![
        8 => prop::sample::select(VALUES).prop_map(str::to_owned),
        1 => (0_usize..9_000).prop_map(text),
        1 => any::<f64>().prop_map(|number| format!("{number:e}")),
        1 => (1_usize..200).prop_map(|count| format!("[{}]", vec!["{\"id\":1}"; count].join(","))),
    ];
    (prop::sample::select(recorded()), vec((any::<prop::sample::Index>(), value), 1..5), any::<bool>())
        .prop_map(|(frame, changes, nested)| {
            let Ok(serde_json::Value::Object(object)) = serde_json::from_str(&frame) else { panic!() };
            let mut fields: Vec<(String, String)> =
                object.into_iter().map(|(name, value)| (name, value.to_string())).collect();
            for (index, value) in changes {
                index.get_mut(&mut fields).1 = value;
            }
            let fields: Vec<_> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            let text = format!("{{{}}}", fields.join(",")).into_bytes();
            if !nested {
                return text;
            }
            User { broadcast: false, dest: NodeId(1), from: NodeId(2), msg: text.into() }.encode()
        })
}

proptest! {
    #[test]
    fn spoilt_packages_survive(frame in spoilt()) {
        fuzzing::status(&frame);
    }

    #[test]
    fn a_spoilt_field_spoils_no_other(index in any::<prop::sample::Index>(), value in prop::sample::select(VALUES)) {
        let frame = recorded().into_iter().find(|frame| frame.contains("\"type\":605")).unwrap();
        let Ok(serde_json::Value::Object(mut object)) = serde_json::from_str(&frame) else { panic!() };
        let names: Vec<String> = object.keys().filter(|name| !["type", "from", "routing"].contains(&name.as_str())).cloned().collect();
        let name = index.get(&names);
        object.remove(name);
        let mut text = serde_json::to_string(&object).unwrap();
        text.insert_str(text.len() - 1, &format!(",\"{name}\":{value}"));
        let message = read(text.as_bytes()).unwrap();
        let Package::HealthCheck(health) = Sent::decode(&message.bytes).unwrap().package else { panic!() };
        let mut odd = Vec::new();
        Package::from(*health).odd(|field| odd.push(field.field));
        prop_assert!(odd.is_empty() || odd == [name.as_str()], "{odd:?} instead of {name}");
    }
}
