//! The traps of these packages, one test each, and bad input.

use meshward_core::telemetry::Metric;
use meshward_core::time::{Duration, Instant, UnixTime};
use meshward_core::wire::NodeId;
use meshward_core::wire::status::Sent;

use super::*;
use crate::reading::{Doubt, Source};

fn at(seconds: u64) -> Instant {
    Instant::ORIGIN + Duration::from_secs(seconds)
}

/// A frame of node 7.
fn frame(kind: i32, fields: &str) -> String {
    format!("{{\"from\":7,\"routing\":2,\"type\":{kind},{fields}}}")
}

/// What is learnt from one package of node 7.
fn learn(kind: i32, fields: &str) -> Learnt {
    Packages::default().handle_frame(at(0), frame(kind, fields).as_bytes()).unwrap()
}

/// Value and doubt of a metric.
fn value(learnt: &Learnt, metric: Metric) -> Option<(f64, Option<Doubt>)> {
    learnt.reading(metric).map(|reading| (reading.value, reading.doubt))
}

/// What was found of node 7.
fn findings(learnt: &Learnt) -> Vec<&What> {
    learnt.findings.iter().map(|finding| &finding.what).collect()
}

#[test]
fn the_recorded_packages_are_understood() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/wire/17_alteriom_packages.ndjson");
    let text = std::fs::read_to_string(path).unwrap();
    let raw = text.lines().filter_map(|line| line.split_once("\"raw\": \"")?.1.split_once("\", \"len\""));
    let frames = raw.map(|(raw, _)| raw.replace("\\\"", "\"").replace("\\\\", "\\"));
    // Each by itself: its uptimes do not go together, and would be restarts.
    let learn = |frame: String| Packages::default().handle_frame(at(60), frame.as_bytes());
    let learnt: Vec<Learnt> = frames.filter_map(learn).collect();
    assert!(learnt.len() >= 21 && learnt.iter().all(|learnt| learnt.odd.is_empty()));
    let of = |kind: i32| learnt.iter().find(|learnt| learnt.source == Source::Package(kind)).unwrap();
    let status = of(202);
    assert_eq!(value(status, Metric::Uptime), Some((86_461.0, None)));
    assert_eq!(value(status, Metric::FreeHeap), Some((187.0 * 1024.0, None)));
    assert_eq!(value(status, Metric::Battery), Some((83.0, None)));
    let words = [Topic::Name, Topic::Location, Topic::Group, Topic::Version].map(|topic| status.fact(topic));
    assert_eq!(words, [Some("nøde-1"), Some("row 3 / bay 9"), Some("greenhouse"), Some("2.4.1-β")]);
    assert_eq!(status.fact(Topic::Setting("sensors.calibration.temperature_offset")), Some("-0.35"));
    assert_eq!(status.answer.as_ref().map(|answer| answer.id), Some(4242));
    assert!(findings(status).contains(&&What::Sleeps(600_000)));
    assert!(
        status.readings.iter().all(|reading| reading.at == at(60) && reading.source == Source::Package(202))
    );
    let enhanced = of(604);
    assert_eq!(enhanced.fact(Topic::FirmwareMd5), Some("d41d8cd98f00b204e9800998ecf8427e"));
    assert_eq!(enhanced.fact(Topic::LastError), Some("timeout \"AP\" ⚠"));
    assert_eq!(value(of(610), Metric::RouterRssi), Some((-48.0, None)));
    assert_eq!(findings(of(610)), [&What::Bridge { internet: Some(true) }]);
    let problems: Vec<&str> = findings(of(605))
        .into_iter()
        .filter_map(|what| if let What::Problem { name, .. } = what { Some(*name) } else { None })
        .collect();
    assert_eq!(problems, ["low memory", "messages get lost", "update under way"]);
    assert_eq!(of(600).findings.len(), 3);
    assert_eq!(of(603).findings[0].what, What::Bridged { mesh_type: 8, name: "broadcast", bytes: 8 });
}

#[test]
fn trap_1_a_604_or_605_is_about_its_node_unless_a_schema_says_mesh() {
    let broker = |kind, fields| {
        let sent = Sent::decode(frame(kind, fields).as_bytes()).unwrap();
        Packages::default().handle(at(0), &sent, Via::Broker)
    };
    for (kind, fields, mesh, broker_mesh) in [
        (604, "\"uptime\":5,\"nodes\":9", false, false),
        (604, "\"uptime\":5,\"nodes\":9,\"message_type\":604", false, true),
        (604, "\"uptime\":5,\"nodes\":9,\"mesh_status\":\"healthy\"", true, true),
        (605, "\"uptime\":5,\"loss\":9,\"message_type\":605", false, true),
        (605, "\"uptime\":5,\"loss\":9,\"mesh_status\":{\"a\":1}", true, true),
        (202, "\"uptime\":5,\"message_type\":202", false, false),
    ] {
        for (learnt, mesh) in [(learn(kind, fields), mesh), (broker(kind, fields), broker_mesh)] {
            let want = if mesh { Scope::Mesh } else { Scope::Node };
            assert_eq!(learnt.scope, want, "{fields}, {:?}", learnt.via);
            assert_eq!(value(&learnt, Metric::Uptime).is_some(), !mesh, "the mesh has no uptime");
        }
    }
    let learnt = learn(604, "\"nodes\":9,\"mesh_status\":\"healthy\"");
    assert_eq!(
        findings(&learnt),
        [&What::MeshStatus { words: Some("healthy".into()), nodes: Some(9), loss: None }]
    );
}

#[test]
fn trap_2_link_quality_is_a_fraction_or_a_percentage() {
    for (qualities, want) in [
        (["0.95", "1"], [(Some(0.95), None), (Some(1.0), None)]),
        (["95", "1"], [(Some(0.95), Some(Doubt::Guessed)), (Some(0.01), Some(Doubt::Guessed))]),
        (["300", "1"], [(Some(300.0), Some(Doubt::Absurd)), (Some(1.0), None)]),
        (["-1", "null"], [(Some(-1.0), Some(Doubt::Absurd)), (None, Some(Doubt::Type))]),
    ] {
        let links =
            qualities.map(|quality| format!("{{\"from\":11,\"to\":12,\"quality\":{quality}}}")).join(",");
        let learnt = learn(601, &format!("\"connections\":[{links}]"));
        let found: Vec<_> = findings(&learnt)
            .into_iter()
            .map(|what| match what {
                What::Link { quality, doubt, .. } => {
                    (quality.map(|quality| (quality * 100.0).round() / 100.0), *doubt)
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(found, want, "{qualities:?}");
    }
}

#[test]
fn trap_3_uptimes_and_heaps_come_in_two_units() {
    for (kind, fields, metric, want) in [
        (202, "\"uptime\":3600", Metric::Uptime, 3_600.0),
        (604, "\"uptime\":3600", Metric::Uptime, 3_600.0),
        (605, "\"uptime\":3600", Metric::Uptime, 3_600.0),
        (610, "\"uptime\":3600000", Metric::Uptime, 3_600.0),
        (611, "\"uptime\":1500", Metric::Uptime, 1.5),
        (202, "\"mem\":187", Metric::FreeHeap, 191_488.0),
        (204, "\"heap\":182344", Metric::FreeHeap, 182_344.0),
        (611, "\"freeMemory\":182344", Metric::FreeHeap, 182_344.0),
        (13, "\"freeMemory\":182344", Metric::FreeHeap, 182_344.0),
    ] {
        assert_eq!(value(&learn(kind, fields), metric), Some((want, None)), "{kind} {fields}");
    }
    // Bytes in the field for KB, cut to 16 bits or not; and what a node writes that does not know.
    for mem in ["51272", "182344", "0"] {
        let heap = value(&learn(202, &format!("\"mem\":{mem}")), Metric::FreeHeap).unwrap();
        assert_eq!(heap.1, Some(Doubt::Absurd), "{mem}");
    }
    // The two units are one clock.
    let mut packages = Packages::default();
    packages.handle_frame(at(0), frame(610, "\"uptime\":3600900").as_bytes()).unwrap();
    let learnt = packages.handle_frame(at(1), frame(604, "\"uptime\":3601").as_bytes()).unwrap();
    assert!(!findings(&learnt).contains(&&What::Restarted));
}

#[test]
fn trap_4_the_wifi_byte_is_guessed_and_kept() {
    for (byte, metric, want) in [
        ("75", Metric::WifiQuality, 75.0),
        ("110", Metric::Rssi, -110.0),
        ("191", Metric::Rssi, -65.0),
        ("-65", Metric::Rssi, -65.0),
    ] {
        let learnt = learn(202, &format!("\"wifi\":{byte}"));
        assert_eq!(value(&learnt, metric), Some((want, Some(Doubt::Guessed))), "{byte}");
        assert!(learnt.reading(metric).unwrap().is_sound());
        assert_eq!(learnt.reading(Metric::WifiByte).unwrap().value, byte.parse::<f64>().unwrap(), "kept");
    }
    let unset = learn(202, "\"wifi\":0");
    assert_eq!((value(&unset, Metric::Rssi), value(&unset, Metric::WifiQuality)), (None, None));
    let mut packages = Packages::default();
    packages.handle_frame(at(0), frame(204, "\"rssi\":-67").as_bytes()).unwrap();
    let learnt = packages.handle_frame(at(1), frame(604, "\"wifi\":69").as_bytes()).unwrap();
    assert_eq!(value(&learnt, Metric::WifiQuality), None, "100 - 67, doubled, is 66");
    assert_eq!(value(&learnt, Metric::Rssi), Some((-69.0, Some(Doubt::Guessed))));
}

#[test]
fn trap_5_temp_and_alerts_mean_what_their_type_says() {
    let (sensor, health) = (learn(200, "\"temp\":23.75"), learn(605, "\"temp\":-12"));
    assert_eq!(value(&sensor, Metric::Temperature), Some((23.75, None)));
    assert_eq!(value(&sensor, Metric::ChipTemperature), None);
    assert_eq!(value(&health, Metric::ChipTemperature), Some((-12.0, None)));
    assert_eq!(value(&health, Metric::Temperature), None);
    let mask = learn(604, "\"alerts\":21");
    assert_eq!(value(&mask, Metric::Alerts), Some((21.0, None)));
    assert!(mask.findings.is_empty());
    let list = learn(
        602,
        "\"alerts\":[{\"type\":1,\"severity\":2,\"msg\":\"gone\",\"nodeId\":9,\"alertId\":3},{\"severity\":9}]",
    );
    let about: Vec<_> = list.findings.iter().map(|finding| finding.node.0).collect();
    assert_eq!((about, value(&list, Metric::Alerts)), (vec![9, 7], None));
    let level = |index: usize| match &list.findings[index].what {
        What::Alert { level, .. } => *level,
        other => panic!("{other:?}"),
    };
    assert_eq!([level(0), level(1)], [Some(Level::Critical), None]);
}

/// Each row is a story of one node: frames, a minute apart, and what `pktsDrop` has come to in the last.
#[test]
fn trap_6_a_counter_that_wraps_is_not_one_that_was_reset() {
    let metrics = |bytes: u64, dropped: u64| {
        frame(204, &format!("\"bytesRx\":{bytes},\"bytesTx\":{bytes},\"pktsDrop\":{dropped}"))
    };
    let uptime = |seconds: u64| frame(202, &format!("\"uptime\":{seconds}"));
    let alone = |dropped: u64| frame(204, &format!("\"pktsDrop\":{dropped}"));
    for (story, want) in [
        (vec![metrics(1_000, 10), metrics(2_000, 30)], (30.0, None)),
        (vec![metrics(1_000, 65_500), metrics(2_000, 20)], (65_556.0, None)),
        (vec![metrics(1_000, 65_500), metrics(2_000, 20), metrics(3_000, 10)], (131_082.0, None)),
        (vec![metrics(900_000, 65_500), metrics(2_000, 20)], (20.0, None)),
        (vec![metrics(4_294_967_290, 65_500), metrics(5, 20)], (65_556.0, Some(Doubt::Guessed))),
        // The uptime in between decides, whatever the bytes are.
        (vec![uptime(9_000), metrics(1_000, 65_500), uptime(10), metrics(2_000, 20)], (20.0, None)),
        (vec![uptime(9_000), metrics(1_000, 65_500), uptime(9_120), metrics(2_000, 20)], (65_556.0, None)),
        (vec![alone(65_500), alone(20)], (65_556.0, Some(Doubt::Guessed))),
        (vec![alone(500), alone(20)], (20.0, Some(Doubt::Guessed))),
        (vec![metrics(1_000, 70_000)], (70_000.0, Some(Doubt::Absurd))),
    ] {
        let mut packages = Packages::default();
        let mut hear =
            |(minute, text): (u64, &String)| packages.handle_frame(at(60 * minute), text.as_bytes()).unwrap();
        let learnt: Vec<_> = (0..).zip(&story).map(&mut hear).collect();
        let last = learnt.last().unwrap();
        assert_eq!(value(last, Metric::MessagesDropped), Some(want), "{story:?}");
    }
    let mut packages = Packages::default();
    let mut enhanced = |second: u64, uptime: u64, count: u64| {
        let text = frame(604, &format!("\"uptime\":{uptime},\"msgRx\":{count}"));
        let learnt = packages.handle_frame(at(second), text.as_bytes()).unwrap();
        (value(&learnt, Metric::MessagesRx).unwrap().0, findings(&learnt).contains(&&What::Restarted))
    };
    assert_eq!(enhanced(0, 100, 4_294_967_000), (4_294_967_000.0, false));
    assert_eq!(enhanced(60, 160, 4), (4_294_967_300.0, false));
    assert_eq!(enhanced(120, 20, 90), (90.0, true));
}

#[test]
fn trap_7_codes_of_commands_that_do_not_fit_are_seen() {
    let learnt = learn(400, "\"cmd\":300,\"cid\":5");
    let odd = OddField { field: "cmd", doubt: Some(Doubt::Absurd), raw: "300".into() };
    assert_eq!((learnt.odd, learnt.readings.len()), (vec![odd], 0));
}

#[test]
fn trap_8_core_types_have_the_names_of_the_library() {
    for (mesh_type, protocol, want) in [
        (3, 0, "time delay"),
        (4, 0, "time sync"),
        (5, 0, "node sync request"),
        (6, 0, "node sync reply"),
        (9, 0, "single"),
        (200, 0, ""),
        (3, 1, ""),
    ] {
        let learnt = learn(603, &format!("\"protocol\":{protocol},\"meshType\":{mesh_type}"));
        assert_eq!(findings(&learnt), [&What::Bridged { mesh_type, name: want, bytes: 0 }]);
    }
}

#[test]
fn trap_9_a_mesh_gateway_is_a_gateway() {
    for (name, want) in [
        ("mesh_gateway", DeviceType::Gateway),
        ("gateway", DeviceType::Gateway),
        ("sensor", DeviceType::Sensor),
        ("toaster", DeviceType::Other),
    ] {
        let learnt = learn(202, &format!("\"device_type\":\"{name}\",\"firmware_version\":\"GW 2\""));
        assert_eq!(findings(&learnt), [&What::Device(want)], "{name}");
        assert_eq!(learnt.fact(Topic::Version), Some("GW 2"));
    }
}

#[test]
fn trap_10_who_sends_to_all_is_seen() {
    assert!(learn(604, "\"uptime\":1").broadcast);
    let single = "{\"from\":7,\"dest\":1,\"routing\":1,\"type\":604,\"uptime\":1}";
    assert!(!Packages::default().handle_frame(at(0), single.as_bytes()).unwrap().broadcast);
    let text = "{\"type\":8,\"from\":7,\"msg\":\"{\\\"type\\\":604,\\\"uptime\\\":1}\"}";
    let learnt = Packages::default().handle_frame(at(0), text.as_bytes()).unwrap();
    assert_eq!((learnt.broadcast, learnt.via), (true, Via::Text));
}

#[test]
fn what_a_sketch_has_not_set_is_no_news() {
    let status = learn(
        202,
        "\"fw\":\"null\",\"organization\":{\"device_name\":\"\"},\"power_config\":{\"battery_percent\":0}",
    );
    assert_eq!((status.fact(Topic::Version), status.fact(Topic::Name)), (None, None));
    assert_eq!(value(&status, Metric::Battery), None);
    assert_eq!(value(&learn(204, "\"rssi\":0"), Metric::Rssi), None);
    assert_eq!(value(&learn(605, "\"ettf\":0"), Metric::TimeToFailure), None);
    assert!(learn(614, "\"ntpTime\":0").findings.is_empty());
    let civil = learn(614, "\"ntpTime\":1700000000,\"accuracy\":20");
    assert_eq!(findings(&civil), [&What::Civil { time: UnixTime(1_700_000_000), accuracy_ms: Some(20) }]);
}

#[test]
fn what_is_wrong_is_marked_and_spoils_nothing_else() {
    let learnt = learn(
        604,
        "\"uptime\":\"5\",\"mem\":null,\"nodes\":-3,\"fw\":7,\"fwMD5\":\"xyz\",\"conns\":3,\"msgRx\":1e99",
    );
    for (metric, sound, doubt) in [
        (Metric::Uptime, false, Some(Doubt::Type)),
        (Metric::FreeHeap, false, Some(Doubt::Type)),
        (Metric::NodesKnown, false, Some(Doubt::Absurd)),
        (Metric::MessagesRx, false, Some(Doubt::Absurd)),
        (Metric::Links, true, None),
    ] {
        let reading = learnt.reading(metric).unwrap();
        assert_eq!((reading.is_sound(), reading.doubt), (sound, doubt), "{reading:?}");
    }
    let odd: Vec<_> = learnt.odd.iter().map(|odd| (odd.field, odd.raw.as_str())).collect();
    assert_eq!(odd, [("uptime", "\"5\""), ("mem", "null"), ("fw", "7"), ("nodes", "-3"), ("msgRx", "1e99")]);
    assert_eq!(learnt.fact(Topic::Version), None);
    assert_eq!(learnt.facts[0].doubt, Some(Doubt::Absurd), "no MD5");
    let absurd = learn(202, "\"uptime\":4294967295");
    assert_eq!(value(&absurd, Metric::Uptime).unwrap().1, Some(Doubt::Absurd));
}

#[test]
fn running_numbers_tell_losses_and_restarts_once() {
    let mut packages = Packages::default();
    let mut hear = |text: String| {
        let learnt = packages.handle_frame(at(0), text.as_bytes()).unwrap();
        findings(&learnt).into_iter().cloned().collect::<Vec<_>>()
    };
    let performance = |id: i32| frame(13, &format!("\"id\":{id},\"stability\":900,\"freeMemory\":1000"));
    let status = |uptime: u32| frame(202, &format!("\"uptime\":{uptime}"));
    assert_eq!(hear(performance(5)), []);
    assert_eq!(hear(status(900)), []);
    assert_eq!(hear(performance(6)), []);
    assert_eq!(hear(performance(9)), [What::PackagesLost(2)]);
    assert_eq!(hear(performance(1)), [What::Restarted]);
    assert_eq!(hear(status(4)), [], "the same restart");
    assert_eq!(hear(performance(i32::MIN)), [What::Restarted]);
    assert!(matches!(hear(performance(i32::MAX))[..], [What::PackagesLost(_)]));
}

#[test]
fn a_hundred_nodes_with_one_name_stay_a_hundred() {
    let mut packages = Packages::default();
    for id in 1..=100_u32 {
        let text = format!(
            "{{\"from\":{id},\"routing\":2,\"type\":202,\"uptime\":{},\"organization\":{{\"device_name\":\"node\"}}}}",
            10_000 - id
        );
        let learnt = packages.handle_frame(at(0), text.as_bytes()).unwrap();
        assert_eq!((learnt.facts[0].node, learnt.findings.len()), (NodeId(id), 0), "nobody restarted");
    }
}

#[test]
fn memory_is_bounded() {
    let mut packages = Packages::default();
    for id in 1..=Packages::NODES_MAX as u32 + 50 {
        let text = format!("{{\"from\":{id},\"routing\":2,\"type\":{},\"pktsDrop\":1}}", 204);
        packages.handle_frame(at(u64::from(id)), text.as_bytes()).unwrap();
    }
    assert_eq!((packages.nodes.len(), packages.counts().forgotten), (Packages::NODES_MAX, 50));
    assert!(packages.nodes.contains_key(&NodeId(51)) && !packages.nodes.contains_key(&NodeId(50)));
    for kind in 1_000..1_100 {
        assert_eq!(packages.handle_frame(at(0), frame(kind, "\"a\":1").as_bytes()), None);
    }
    assert_eq!((packages.unknown().count(), packages.counts().unknown), (Packages::UNKNOWN_MAX, 100));
    assert_eq!(packages.handle_frame(at(0), b"{\"type\":8,\"from\":7,\"msg\":\"hello\"}"), None);
    assert_eq!(packages.counts().unknown, 100, "text is not for us");
    let nodes = "{\"nodeId\":\"x\",\"status\":-1,\"lastSeen\":null}";
    let learnt = learn(600, &format!("\"nodes\":[{}]", vec![nodes; 60].join(",")));
    assert_eq!((learnt.odd.len(), learnt.odd_left_out), (ODD_MAX, 3 * 50 + 1 - ODD_MAX as u32));
}

#[test]
fn nothing_that_comes_is_fatal() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/status");
    let mut rng = meshward_core::rng::Rng::new(7);
    let mut seeds = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        let seed = std::fs::read(entry.unwrap().path()).unwrap();
        fuzz(&seed);
        for _ in 0..200 {
            let mut spoilt = seed.clone();
            for _ in 0..rng.below(6) {
                let place = rng.below(spoilt.len() as u64) as usize;
                spoilt[place] = b"0123456789-.e\"{}[],:ntf"[rng.below(23) as usize];
            }
            fuzz(&spoilt);
        }
        seeds += 1;
    }
    assert!(seeds > 15);
    let long = format!("\"fw\":\"{}\",\"lastErr\":\"{}\"", "é".repeat(2_000), "\\u0000".repeat(700));
    let learnt = learn(604, &long);
    assert_eq!(learnt.fact(Topic::Version).map(str::len), Some(256));
    assert_eq!(learnt.odd.iter().map(|odd| odd.doubt).collect::<Vec<_>>(), [None, None]);
}

#[test]
fn lines_of_a_remote_log_that_come_again_are_not_told_again() {
    let mut packages = Packages::default();
    let mut told = |lines: &[(u32, &str)]| {
        let lines: Vec<String> =
            lines.iter().map(|(when, text)| format!(r#"{{"first":{when},"second":"{text}"}}"#)).collect();
        let frame = format!(r#"{{"type":14,"from":7,"dest":1,"routing":1,"log":[{}]}}"#, lines.join(","));
        let learnt = packages.handle_frame(Instant::ORIGIN, frame.as_bytes()).unwrap();
        let text = |finding: Finding| match finding.what {
            What::Logged { text, .. } => text,
            what => panic!("{what:?}"),
        };
        learnt.findings.into_iter().map(text).collect::<Vec<_>>()
    };
    let (a, b, c) = ((1, "a"), (2, "b"), (3, "c"));
    assert_eq!(told(&[a]), ["a"]);
    assert_eq!(told(&[a]), [""; 0]);
    assert_eq!(told(&[a, b]), ["b"]);
    // Older lines were pushed out.
    assert_eq!(told(&[b, c]), ["c"]);
    // The same line twice is two lines; so is one at another time.
    assert_eq!(told(&[c, c]), ["c"]);
    assert_eq!(told(&[(4, "c")]), ["c"]);
    // After a restart all is new.
    assert_eq!(told(&[a, b]), ["a", "b"]);
    assert_eq!(told(&[]), [""; 0]);
}
