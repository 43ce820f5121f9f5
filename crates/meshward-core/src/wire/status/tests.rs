use super::*;
use crate::wire::normalise;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;

fn decode(kind: i32, fields: &str) -> Package {
    Package::decode(format!("{{\"type\":{kind},{fields}}}").as_bytes()).unwrap()
}

macro_rules! decoded {
    ($package:ident, $kind:literal, $fields:expr) => {{
        let Package::$package(package) = decode($kind, $fields) else { panic!("another package") };
        package
    }};
}

/// The package, written for all as node 1 would.
fn written(package: &Package) -> Vec<u8> {
    package.encode(NodeId(1), To::All)
}

/// What is odd in a package, in words.
fn odd(package: &Package) -> Vec<String> {
    let mut seen = Vec::new();
    package.odd(|odd| {
        seen.push(match odd.why {
            Oddity::Outside(raw) => format!("{} outside {}", odd.field, raw.to_str()),
            Oddity::Wrong(raw) => format!("{} wrong {}", odd.field, raw.to_str()),
            Oddity::Cut(count) => format!("{} cut {count}", odd.field),
        });
    });
    seen
}

#[test]
fn fields_are_read_as_leniently_as_can_be() {
    let outside = |raw: &str| Field::Outside(Box::new(Text::new(raw.as_bytes())));
    let wrong = |raw: &str| Field::Wrong(Box::new(Text::new(raw.as_bytes())));
    for (json, want) in [
        ("\"x\":1", Field::Missing),
        ("\"mem\":187", Field::Value(187)),
        ("\"mem\":187.9", Field::Value(187)),
        ("\"mem\":1e2", Field::Value(100)),
        ("\"mem\":1,\"mem\":2", Field::Value(2)),
        ("\"mem\":65536", outside("65536")),
        ("\"mem\":-1", outside("-1")),
        ("\"mem\":1e400", outside("1e400")),
        ("\"mem\":18446744073709551615", outside("18446744073709551615")),
        ("\"mem\":\"187\"", wrong("\"187\"")),
        ("\"mem\":null", wrong("null")),
        ("\"mem\":true", wrong("true")),
        ("\"mem\":[{\"a\":1}]", wrong("[{\"a\":1}]")),
    ] {
        assert_eq!(decoded!(Status, 202, json).memory_kb, want, "{json}");
    }
}

#[test]
fn what_is_not_a_number_is_kept_as_it_came() {
    let sensor = decoded!(Sensor, 200, "\"temp\":null,\"hum\":1e999,\"press\":-1e30,\"bat\":900");
    assert_eq!(sensor.temperature.number(), None);
    assert_eq!(sensor.humidity.number(), Some(f64::INFINITY));
    assert_eq!(sensor.pressure.get(), Some(f64::from(-1e30_f32)));
    assert_eq!(sensor.battery.number(), Some(900.0));
    assert_eq!(odd(&(*sensor).into()), ["temp wrong null", "hum outside 1e999", "bat outside 900"]);
}

#[test]
fn reals_are_told_as_they_were_written() {
    for text in ["-0.35", "41.2", "23.75", "1013.25", "0.333333", "1e-5", "20"] {
        let sensor = decoded!(Sensor, 200, &format!("\"temp\":{text}"));
        assert_eq!(decimal(sensor.temperature.get().unwrap()), text);
    }
}

#[test]
fn old_names_count_where_the_new_ones_are_missing() {
    for (json, want) in [
        ("\"timeout\":3", Some(3)),
        ("\"timeout\":3,\"timeout_ms\":4", Some(4)),
        ("\"timeout_ms\":4,\"timeout\":3", Some(4)),
        ("\"timeout_s\":4", None),
    ] {
        let status = decoded!(Status, 202, &format!("\"display_config\":{{{json}}}"));
        assert_eq!(status.display.value().unwrap().timeout_ms.get(), want, "{json}");
    }
    let status = decoded!(Status, 202, "\"power_config\":{\"deep_sleep_interval\":9}");
    assert_eq!(status.power.value().unwrap().deep_sleep_ms.get(), Some(9));
}

#[test]
fn lists_and_texts_are_cut_and_say_so() {
    let list = |element: &str, count: usize| vec![element; count].join(",");
    for (kind, json, want) in [
        (600, format!("\"nodes\":[{}]", list("{\"nodeId\":1}", 53)), "nodes cut 3"),
        (601, format!("\"connections\":[{}]", list("{}", 104)), "connections cut 4"),
        (602, format!("\"alerts\":[{}]", list("{}", 21)), "alerts cut 1"),
        (602, "\"alerts\":[{},7,null]".into(), "alerts cut 2"),
        (602, "\"alerts\":21".into(), "alerts wrong 21"),
        (613, format!("\"peerBridges\":[{}]", list("7", 40)), "peerBridges cut 8"),
        (202, format!("\"fw\":\"{}\"", "x".repeat(300)), "fw cut 44"),
        (603, format!("\"payload\":\"{}\"", "x".repeat(9_000)), "payload cut 808"),
    ] {
        let package = decode(kind, &json);
        assert_eq!(odd(&package), [want]);
        assert!(written(&package).len() < 8 * 1024 + 200);
        assert_eq!(
            odd(&Package::decode(&written(&package)).unwrap()).len(),
            usize::from(want.contains("wrong"))
        );
    }
    let text: Text<4> = Text::new("abcé".as_bytes());
    assert_eq!((text.as_bytes(), text.left_out()), (&b"abc"[..], 2), "no half character");
}

#[test]
fn a_package_may_be_text_in_a_message() {
    let text = |kind: i32, msg: &str| {
        let msg = format!("{{\"type\":{kind},\"dest\":9,\"from\":7,\"msg\":{msg}}}");
        Sent::decode(&normalise(msg.as_bytes()).unwrap().bytes)
    };
    // The order of the library's own `sendBridgeStatus`, which calls `sendBroadcast` with it.
    let own = r#""{\"type\":610,\"from\":8,\"routing\":2,\"timestamp\":5,\"internetConnected\":true,\"routerRSSI\":-48}""#;
    let sent = text(8, own).unwrap();
    assert_eq!(
        (sent.from, sent.to, sent.nested),
        (NodeId(7), To::All, true),
        "the message counts, not its text"
    );
    let Package::BridgeStatus(status) = sent.package else { panic!() };
    assert_eq!((status.internet.get(), status.router_rssi.get()), (Some(true), Some(-48)));
    assert_eq!(text(9, "{\"type\":604,\"uptime\":5}").unwrap().to, To::One(NodeId(9)));
    let schema = r#""{'message_type':604,'device_type':'mesh_gateway','mesh_status':'healthy'} ""#;
    let sent = text(8, schema).unwrap();
    assert_eq!(sent.package.kind(), 604);
    assert_eq!(sent.label.device_type.value().unwrap().as_bytes(), b"mesh_gateway");
    for other in ["\"hello\"", "\"{\\\"type\\\":8}\"", "\"{\\\"a\\\":1}\"", "5", "\"\"", "\"[202]\""] {
        assert!(text(8, other).is_err(), "{other}");
    }
}

#[test]
fn other_types_and_packages_of_nobody_are_refused() {
    let field = |text: &str| Sent::decode(text.as_bytes()).unwrap_err().field;
    assert_eq!(field("{\"type\":203,\"from\":1}"), "type");
    assert_eq!(field("{\"type\":222,\"from\":1}"), "type");
    assert_eq!(field("{\"type\":202}"), "from");
    assert!(Package::is_kind(201) && Package::is_kind(614) && !Package::is_kind(203));
}

#[test]
fn only_commands_logs_and_gateway_messages_are_for_one_node() {
    let single: Vec<i32> = Package::KINDS
        .iter()
        .copied()
        .filter(|kind| !Package::decode(format!("{{\"type\":{kind}}}").as_bytes()).unwrap().is_broadcast())
        .collect();
    assert_eq!(single, [14, 400, 620, 621]);
}

#[test]
fn codes_that_do_not_fit_are_read_and_not_sent() {
    for (json, want) in [
        ("\"cmd\":1", Some(Code::Reset)),
        ("\"cmd\":255", Some(Code::Acknowledge)),
        ("\"cmd\":44", Some(Code::Other(44))),
        ("\"cmd\":300", Some(Code::GetTopology)),
        ("\"cmd\":400", Some(Code::GetMetrics)),
        ("\"cmd\":70000", None),
        ("\"cmd\":\"1\"", None),
        ("\"x\":1", None),
    ] {
        assert_eq!(decoded!(Command, 400, json).code(), want, "{json}");
        assert_eq!(decoded!(Command, 201, json).code(), want, "{json}, as it was");
    }
    for code in Code::ALL {
        assert_eq!(Code::of(code.number()), *code);
        assert_eq!(Command::new(*code, 1, "{}", 1).is_some(), *code != Code::GetTopology);
    }
}

#[test]
fn answers_name_their_command() {
    let answer = |package: Package| Answer::of(&Sent::decode(&written(&package)).unwrap());
    let status = Status { status: 0.into(), ..Status::default() };
    assert_eq!(answer(status.clone().into()), None);
    assert_eq!(answer(status.clone().answering(0, "x").into()), None, "0 is no command");
    let text = answer(status.answering(4242, "done").into()).unwrap();
    assert_eq!((text.id, text.text.to_str().to_string(), text.status), (4242, "done".into(), Some(0)));
    let done = Command::new(Code::Acknowledge, 0, "", 7).unwrap();
    assert_eq!(answer(done.into()).map(|answer| answer.id), Some(7));
    assert_eq!(answer(Command::new(Code::Reset, 0, "", 7).unwrap().into()), None);
}
