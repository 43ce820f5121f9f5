//! Five `meshward node` processes and a gateway, joined by nothing but TCP.

use std::path::Path;

use meshward_core::flash::Layout;
use meshward_gateway::boot;
use meshward_gateway::flash_file::FlashFile;

use crate::program::{Gateway, Running, testdata, text};
use crate::status::{state, until};

const OLD_MD5: &str = "7d357540635bed0bdf5b935c5f2084fa";
const NEW_MD5: &str = "4639cc6276c15e1cc31cda3b69b09ad2";

/// Starts node `id` below the node that listens at `parent`; returns it and its port.
fn node(folder: &Path, id: u32, parent: Option<&str>) -> (Running, String) {
    let flash = folder.join(format!("{id}.flash"));
    let image = testdata("firmware/node-c3-v1.4.2.bin");
    let id = id.to_string();
    let mut args = vec!["node", "--id", &id, "--listen", "127.0.0.1:0", "--role", "sensor"];
    args.extend(["--flash", flash.to_str().unwrap(), "--image", image.to_str().unwrap()]);
    args.extend(parent.iter().flat_map(|parent| ["--connect", *parent]));
    let running = Running::start(&args);
    let line = running.says("boot 1");
    assert!(line.contains(OLD_MD5), "{line}");
    let port = line.split("listening on ").nth(1).unwrap().split(',').next().unwrap().to_owned();
    (running, port)
}

#[test]
fn five_processes_are_updated_by_a_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let (root, root_port) = node(folder.path(), 11, None);
    let (left, left_port) = node(folder.path(), 12, Some(&root_port));
    let (right, right_port) = node(folder.path(), 13, Some(&root_port));
    let (far_left, _) = node(folder.path(), 14, Some(&left_port));
    let (far_right, _) = node(folder.path(), 15, Some(&right_port));
    let gateway = Gateway::start_with(&root_port, &["--learning", "2"]);
    gateway.sees(5);

    let nodes = gateway.json(&["nodes"]);
    let hops: Vec<u64> =
        nodes.as_array().unwrap().iter().map(|node| node["hops"].as_u64().unwrap()).collect();
    assert_eq!(hops, [1, 2, 2, 3, 3]);
    let tree = text(&gateway.ask(&["topology"]).stdout);
    assert!(tree.contains("└─ 11") && tree.contains("14"), "{tree}");

    // One node first, then the others, which leaves out the one that has it.
    let image = testdata("firmware/node-c3-v1.4.3.bin");
    let deploy = ["ota", "deploy", image.to_str().unwrap(), "--role", "sensor"];
    let canary = gateway.json(&[&deploy[..], &["--node", "15", "--confirm-receiver"]].concat());
    assert_eq!(canary["nodes"][0]["state"], "updated", "{canary}");
    assert!(far_right.says("boot 2").contains(NEW_MD5));
    // What was said of the image once holds.
    let output = gateway.ask(&deploy);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report = text(&output.stdout);
    assert!(report.contains("4 updated, 1 declined, 0 failed"), "{report}");
    for running in [&root, &left, &right, &far_left] {
        assert!(running.says("boot 2").contains(NEW_MD5));
    }

    let layout = Layout::FOUR_MEGABYTES;
    let image = std::fs::read(&image).unwrap();
    for id in 11..=15 {
        let chip = FlashFile::open(&folder.path().join(format!("{id}.flash")), layout.size).unwrap();
        let record = boot::select(&chip, &layout).unwrap().unwrap();
        assert_eq!(boot::image(&chip, &layout, &record).unwrap().unwrap(), image, "flash of node {id}");
    }
    // A node that goes away is seen to go; one that is asked to end does so in good order.
    assert_eq!(far_left.terminate(), Some(0));
    gateway.sees(4);
    // Whether it is back soon, when all have restarted just now, is waited for first.
    let nodes = until(&gateway, &["nodes"], |nodes| state(nodes, 14) != "learning");
    assert_eq!(state(&nodes, 14), "offline");
    assert_eq!(gateway.process.terminate(), Some(0));
}

#[test]
fn a_killed_node_comes_back_with_what_its_flash_holds() {
    let folder = tempfile::tempdir().unwrap();
    let (first, _) = node(folder.path(), 21, None);
    drop(first);
    let (_second, port) = node(folder.path(), 21, None);
    let gateway = Gateway::start(&port);
    gateway.sees(1);
}

#[test]
fn a_held_rollout_restarts_only_who_is_activated() {
    let folder = tempfile::tempdir().unwrap();
    let (root, root_port) = node(folder.path(), 31, None);
    let (leaf, _) = node(folder.path(), 32, Some(&root_port));
    let gateway = Gateway::start(&root_port);
    gateway.sees(2);
    let image = testdata("firmware/node-c3-v1.4.3.bin");
    let deploy =
        ["ota", "deploy", image.to_str().unwrap(), "--role", "sensor", "--confirm-receiver", "--hold"];
    let output = gateway.ask(&deploy);
    let said = text(&output.stdout);
    assert!(output.status.success() && said.contains("0 updated, 0 declined, 0 failed, 2 ready"), "{said}");
    assert!(said.contains("meshward ota activate 1"), "it says how to go on: {said}");

    for (nodes, needle) in [("33", "node 33 is not in this roll-out"), ("31x", "invalid value")] {
        let output = gateway.ask(&["ota", "activate", "1", "--node", nodes]);
        let said = text(&output.stderr);
        assert!(!output.status.success() && said.contains(needle), "{said}");
    }
    let state = |rollout: &serde_json::Value, at: usize| rollout["nodes"][at]["state"].clone();
    let canary = gateway.json(&["ota", "activate", "1", "--node", "32"]);
    assert_eq!((state(&canary, 0), state(&canary, 1)), ("ready".into(), "updated".into()), "{canary}");
    assert!(leaf.says("boot 2").contains(NEW_MD5));
    let rest = gateway.json(&["ota", "activate", "1"]);
    assert_eq!((state(&rest, 0), state(&rest, 1)), ("updated".into(), "updated".into()), "{rest}");
    assert_eq!(rest["state"], "finished");
    assert!(root.says("boot 2").contains(NEW_MD5));
    let over = gateway.ask(&["ota", "activate", "1"]);
    assert!(text(&over.stderr).contains("roll-out 1 has finished"), "{}", text(&over.stderr));
}
