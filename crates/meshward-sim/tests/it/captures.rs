//! Captures: what the simulator writes is read, shown and replayed like what real nodes have said.

use meshward_core::mesh::MeshConfig;
use meshward_core::node::{Firmware, Node, NodeConfig};
use meshward_core::ota::ReceiverConfig;
use meshward_core::time::Instant;
use meshward_sim::capture::{Line, Recorder, What, from_ndjson, ladder, replay, to_ndjson};
use meshward_sim::flash::Chip;
use meshward_sim::image::{Behaviour, Image};
use meshward_sim::topology::Topology;
use meshward_sim::world::{Happening, Seat, World, WorldConfig};

use crate::tools::{ROLE, build, roll_out, seconds, settle};

/// A mesh that finds together and is updated; the capture, and when each host booted first.
fn recorded() -> (World, Vec<Line>, Vec<Instant>) {
    let old = Image::synthetic("old", 6_000, 1, Behaviour::Healthy);
    let new = Image::synthetic("new", 5_000, 2, Behaviour::Healthy);
    let config = WorldConfig { segment: Some(536), ..WorldConfig::default() };
    let mut world = build(config, Topology::Random(2), 7, &old);
    world.record_to(Recorder::new());
    settle(&mut world, seconds(30));
    roll_out(&mut world, &new, seconds(300));
    let mut born = vec![Instant::ORIGIN; 7];
    for record in world.records() {
        if matches!(record.what, Happening::Booted(_)) && born[record.seat.0] == Instant::ORIGIN {
            born[record.seat.0] = record.at;
        }
    }
    let lines = world.take_recorder().unwrap().take_lines();
    (world, lines, born)
}

#[test]
fn a_capture_is_read_as_it_was_written() {
    let (_, lines, _) = recorded();
    assert_eq!(from_ndjson(&to_ndjson(&lines)).unwrap(), lines);
    let text = ladder(&lines);
    for part in [
        "A is node 100",
        "5 node sync request, 7 nodes",
        "4 time reply",
        "10 announce",
        "11 request",
        "12 data",
    ] {
        // A tree of 7 is never sent: the receiver's branch is left out.
        assert_eq!(text.contains(part), part != "5 node sync request, 7 nodes", "{part}");
    }
}

#[test]
fn recordings_of_real_nodes_are_read_and_shown() {
    let folder = format!("{}/../../testdata/wire", env!("CARGO_MANIFEST_DIR"));
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".ndjson") || name.contains("app_received") {
            continue;
        }
        let lines = from_ndjson(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(from_ndjson(&to_ndjson(&lines)).unwrap(), lines, "{name}");
        let shown = ladder(&lines);
        assert_eq!(shown.lines().count(), lines.len(), "{name}");
        files += 1;
    }
    assert_eq!(files, 27);
}

#[test]
fn a_node_says_again_what_it_said() {
    let (world, lines, born) = recorded();
    let first_life = |seat: Seat| {
        // Up to its restart: its RAM is gone then.
        let id = world.id(seat);
        let name = name_of(&lines, id.0);
        let end = lines.iter().position(|line| matches!(&line.what, What::Closed { by, .. } if *by == name));
        (name, end.unwrap_or(lines.len()))
    };
    let mut given = 0;
    for seat in world.seats() {
        let (name, end) = first_life(seat);
        let node = twin(&world, seat);
        let mut chip = Chip::erased(4 * 1024 * 1024);
        let (_, layout) = world.chip(seat).map_or((None, None), |(chip, layout)| (Some(chip), Some(layout)));
        if let (Some(layout), Some(firmware)) = (layout, &world.spec(seat).firmware) {
            firmware.image.provision(&mut chip, layout);
        }
        if seat == Seat(0) {
            continue; // It was told to start a roll-out, which no capture shows.
        }
        let replayed = replay(&lines[..end], &name, node, born[seat.0], Some(chip));
        assert_eq!(replayed.differences, [], "node {name}");
        assert!(replayed.same > 10, "node {name}: {replayed:?}");
        given += replayed.given;
    }
    assert!(given > 200, "{given}");
}

#[test]
fn another_node_does_not() {
    let (world, lines, born) = recorded();
    let seat = Seat(1);
    let stranger = Node::new(NodeConfig::new(MeshConfig::node(meshward_core::wire::NodeId(5), 1)));
    let replayed = replay(&lines, &name_of(&lines, world.id(seat).0), stranger, born[seat.0], None);
    assert!(!replayed.differences.is_empty());
}

fn name_of(lines: &[Line], id: u32) -> String {
    let words = format!(" is node {id}");
    let note = lines.iter().find_map(|line| match &line.what {
        What::Note(note) => note.strip_suffix(&words).map(str::to_owned),
        _ => None,
    });
    note.unwrap()
}

/// The same node, made anew.
fn twin(world: &World, seat: Seat) -> Node {
    let spec = world.spec(seat);
    let mesh = MeshConfig { limits: spec.limits.clone(), ..MeshConfig::node(spec.id, 1) };
    let receiver = spec.firmware.as_ref().zip(world.chip(seat)).map(|(firmware, (_, layout))| {
        let mut chip = Chip::erased(layout.size);
        firmware.image.provision(&mut chip, layout);
        ReceiverConfig {
            id: spec.id,
            role: ROLE.into(),
            hardware: firmware.hardware.clone().into_bytes(),
            root: false,
            layout: *layout,
            running: meshward_sim::image::select(&chip, layout),
        }
    });
    Node::new(NodeConfig::new(mesh).with_firmware(receiver.map(Firmware::Stock)))
}
