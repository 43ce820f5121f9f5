//! `--capture`: what real nodes say over TCP is in the file, and a fresh node that is given it says it again.

use std::path::Path;

use meshward_core::flash::Layout;
use meshward_core::mesh::MeshConfig;
use meshward_core::node::{Firmware, Node, NodeConfig};
use meshward_core::ota::ReceiverConfig;
use meshward_core::time::Instant;
use meshward_sim::capture::{Line, Replayed, What, from_ndjson, replay};
use meshward_sim::flash::Chip;
use meshward_sim::image::{self, Behaviour, Image};

use crate::program::{Gateway, Running, run, text};

/// The lines of a capture.
fn lines(file: &Path) -> Vec<Line> {
    from_ndjson(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// What the node that was captured was told, and its lines, for each time that it booted.
fn lives(lines: &[Line]) -> Vec<(MeshConfig, &[Line])> {
    let boots: Vec<usize> = (0..lines.len())
        .filter(|index| matches!(lines[*index].what, What::Boot { .. }))
        .chain([lines.len()])
        .collect();
    let life = |ends: &[usize]| match &lines[ends[0]].what {
        What::Boot { config, .. } => ((**config).clone(), &lines[ends[0]..ends[1]]),
        other => panic!("{other:?}"),
    };
    boots.windows(2).map(life).collect()
}

/// Plays a life again with a node made of nothing but what the capture says, and its flash.
fn plays_again(config: MeshConfig, lines: &[Line], chip: Option<(&str, Chip)>) {
    let id = config.id;
    let replayed = play(config.clone(), lines, chip.clone());
    assert_eq!(replayed.differences, [], "node {id}");
    assert!(replayed.given > 2 && replayed.same > 2, "node {id}: {replayed:?}");
    // A clock that is off by a microsecond is noticed.
    let other = MeshConfig { clock_offset: 1, ..config };
    assert!(!play(other, lines, chip).differences.is_empty(), "node {id}");
}

fn play(config: MeshConfig, lines: &[Line], chip: Option<(&str, Chip)>) -> Replayed {
    let layout = Layout::FOUR_MEGABYTES;
    let receiver = chip.as_ref().map(|(role, chip)| ReceiverConfig {
        id: config.id,
        role: role.as_bytes().to_vec(),
        hardware: b"ESP32".to_vec(),
        root: config.root,
        layout,
        running: image::select(chip, &layout),
    });
    let node = Node::new(
        NodeConfig::new(config)
            .with_firmware(receiver.map(Firmware::Stock))
            .with_telemetry(meshward_core::telemetry::Config::default()),
    );
    replay(lines, "A", node, Instant::ORIGIN, chip.map(|(_, chip)| chip))
}

fn provisioned(image: &Image) -> Chip {
    let layout = Layout::FOUR_MEGABYTES;
    let mut chip = Chip::erased(layout.size);
    image.provision(&mut chip, &layout);
    chip
}

/// Both directions, and links that come and go.
fn is_whole(lines: &[Line], peers: &[&str]) {
    let count = |wanted: &dyn Fn(&What) -> bool| lines.iter().filter(|line| wanted(&line.what)).count();
    for peer in peers {
        let said = |a: &str, b: &str| {
            count(&|what| matches!(what, What::Message { from, to, .. } if from == a && to == b))
        };
        assert!(said("A", peer) > 5 && said(peer, "A") > 5, "{peer}");
    }
    assert!(count(&|what| matches!(what, What::Open { .. })) >= peers.len());
    assert!(count(&|what| matches!(what, What::Closed { by, .. } if by == "A")) >= peers.len());
    assert!(count(&|what| matches!(what, What::Timers { .. })) > 0);
    assert_eq!(count(&|what| matches!(what, What::Note(words) if words.contains("captured"))), 0);
    assert!(lines.is_sorted_by_key(|line| line.at));
}

#[test]
fn an_update_of_real_nodes_is_captured_and_replays() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let old = Image::synthetic("old", 6_000, 1, Behaviour::Healthy);
    let new = Image::synthetic("new", 40_000, 2, Behaviour::Healthy);
    std::fs::write(path("old.bin"), &old.bytes).unwrap();
    std::fs::write(path("new.bin"), &new.bytes).unwrap();
    let string = |name: &str| path(name).to_str().unwrap().to_owned();

    let leaf = ["node", "--id", "51", "--listen", "127.0.0.1:0", "--capture", &string("leaf.ndjson")];
    let firmware = ["--role", "tap", "--flash", &string("51.flash"), "--image", &string("old.bin")];
    let leaf = Running::start(&[&leaf[..], &firmware[..]].concat());
    let leaf_port = leaf.port();
    let relay = ["node", "--id", "52", "--listen", "127.0.0.1:0", "--connect", &leaf_port];
    let relay = Running::start(&[&relay[..], &["--capture", &string("relay.ndjson")]].concat());
    let gateway = Gateway::start_with(&relay.port(), &["--capture", &string("gateway.ndjson")]);
    gateway.sees(2);
    let new_file = string("new.bin");
    let deploy =
        ["ota", "deploy", &new_file, "--role", "tap", "--node", "51", "--force-image", "--confirm-receiver"];
    let rollout = gateway.json(&deploy);
    assert_eq!(rollout["nodes"][0]["state"], "updated", "{rollout}");
    for process in [gateway.process, relay, leaf] {
        assert_eq!(process.terminate(), Some(0));
    }

    let leaf = lines(&path("leaf.ndjson"));
    is_whole(&leaf, &["B"]);
    let [(first, told), (second, after)] = lives(&leaf).try_into().unwrap();
    plays_again(first, told, Some(("tap", provisioned(&old))));
    plays_again(second, after, Some(("tap", provisioned(&new))));
    let relay = lines(&path("relay.ndjson"));
    is_whole(&relay, &["B", "C"]);
    let [(config, all)] = lives(&relay).try_into().unwrap();
    plays_again(config, all, None);
    is_whole(&lines(&path("gateway.ndjson")), &["B"]);

    let ladder = run(&["capture", "ladder", &string("relay.ndjson")]);
    assert!(ladder.status.success(), "{}", text(&ladder.stderr));
    let ladder = text(&ladder.stdout);
    for part in
        ["A boots as node 52", "(B is node 51)", "5 node sync request", "12 data 1 to 51, part 39 of 40"]
    {
        assert!(ladder.contains(part), "{part} is not in\n{ladder}");
    }
}

#[test]
fn a_capture_that_cannot_be_is_said_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("no/such/folder/x.ndjson");
    let file = file.to_str().unwrap();
    for args in [
        &["node", "--id", "5", "--listen", "127.0.0.1:0", "--capture", file][..],
        &["gateway", "--peer", "127.0.0.1:1", "--http", "127.0.0.1:0", "--capture", file],
        &["demo", "--nodes", "1", "--once", "--capture", file],
        &["capture", "ladder", file],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(text(&output.stdout).is_empty(), "{args:?}: {}", text(&output.stdout));
        assert!(text(&output.stderr).contains(file), "{args:?}: {}", text(&output.stderr));
    }
    let flash = folder.path().join("notes.txt");
    std::fs::write(&flash, "not a capture").unwrap();
    let output = run(&["capture", "ladder", flash.to_str().unwrap()]);
    assert!(text(&output.stderr).contains("is no capture: line 1"), "{}", text(&output.stderr));
}
