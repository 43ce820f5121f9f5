//! Five `meshward node` processes and a gateway, joined by nothing but TCP.

use std::path::Path;

use meshward_core::flash::Layout;
use meshward_gateway::boot;
use meshward_gateway::flash_file::FlashFile;

use crate::program::{Gateway, Running, run, testdata, text};

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
    let gateway = Gateway::start(&root_port);
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
    let nodes = gateway.json(&["nodes"]);
    let gone = nodes.as_array().unwrap().iter().find(|node| node["id"] == 14).unwrap();
    assert_eq!(gone["state"], "offline");
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

/// A line of JSON per group: what it is sent, and to how many.
fn groups(forecast: &serde_json::Value) -> Vec<(String, usize)> {
    let group = |group: &serde_json::Value| {
        let scheme = group["scheme"].as_str().unwrap_or("nothing").to_owned();
        (scheme, group["nodes"].as_array().unwrap().len())
    };
    forecast["groups"].as_array().unwrap().iter().map(group).collect()
}

/// Whether a chip's owner gave it keys.
fn has_keys(flash: &std::path::Path) -> bool {
    let chip = FlashFile::open(flash, Layout::FOUR_MEGABYTES.size).unwrap();
    boot::has_keys(&chip, &meshward_core::flash::Books::FOUR_MEGABYTES).unwrap()
}

#[test]
fn signed_nodes_and_stock_nodes_are_updated_by_one_verb() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (old, new) = (testdata("firmware/node-c3-v1.4.2.bin"), testdata("firmware/node-c3-v1.4.3.bin"));
    let (old, new) = (old.to_str().unwrap(), new.to_str().unwrap());
    for kind in ["author", "operator"] {
        assert!(run(&["firmware", "keygen", "--kind", kind, "-o", &path(kind)]).status.success());
    }
    let keys = ["--key", &path("author.pub"), "--key", &path("operator.pub")];
    let start = |id: u32, parent: Option<&str>, keys: &[&str]| {
        let (id, flash) = (id.to_string(), path(&format!("{id}.flash")));
        let mut args =
            vec!["node", "--id", &id, "--listen", "127.0.0.1:0", "--role", "sensor", "--flash", &flash];
        args.extend(["--image", old]);
        args.extend(parent.iter().flat_map(|parent| ["--connect", *parent]));
        args.extend(keys);
        let running = Running::start(&args);
        let port = running.port();
        (running, port)
    };
    let (first, port) = start(41, None, &keys);
    let (second, second_port) = start(42, Some(&port), &keys);
    let (stock, _) = start(43, Some(&second_port), &[]);
    let gateway = Gateway::start_with(&port, &["--operator-key", &path("operator")]);
    gateway.sees(3);

    // Without a manifest nothing can be sent to those who want a signature.
    let bare = gateway.json(&["ota", "forecast", new, "--role", "sensor", "--confirm-receiver"]);
    assert_eq!(groups(&bare), [("turbo".to_owned(), 1), ("nothing".to_owned(), 2)], "{bare}");
    let signed = ["--role", "sensor", "--author", &path("author"), "--sequence", "5", "--base", old];
    let forecast = [&["ota", "forecast", new][..], &signed].concat();
    let reckoned = gateway.json(&forecast);
    assert_eq!(groups(&reckoned), [("delta".to_owned(), 2), ("turbo".to_owned(), 1)], "{reckoned}");
    assert_eq!(reckoned["groups"][0]["running"]["name"], "node-c3-v1.4.2.bin");
    assert!(reckoned["channel_seconds"].as_f64() > Some(1.0) && reckoned["eta_seconds"].as_f64() > Some(5.0));
    let shown = text(&gateway.ask(&forecast).stdout);
    assert!(shown.contains("Meshward ESP32 sensor, running node-c3-v1.4.2.bin"), "{shown}");
    assert!(shown.contains("of channel time in all"), "{shown}");

    let deploy = [&["ota", "deploy", new, "--confirm-receiver"][..], &signed].concat();
    let rollout = gateway.json(&deploy);
    let node = |at: usize, field: &str| rollout["nodes"][at][field].as_str().unwrap_or("–").to_owned();
    for (at, family, scheme) in [(0, "meshward", "delta"), (1, "meshward", "delta"), (2, "stock", "turbo")] {
        assert_eq!(
            [node(at, "state"), node(at, "family"), node(at, "scheme")],
            ["updated", family, scheme],
            "{rollout}"
        );
    }
    for running in [&first, &second, &stock] {
        assert!(running.says("boot 2").contains(NEW_MD5));
    }
    // The same again, with the manifest as a file: those who run it are left alone.
    let manifest = ["firmware", "sign", new, "--key", &path("author"), "--role", "sensor", "--sequence", "6"];
    assert!(run(&[&manifest[..], &["-o", &path("manifest")]].concat()).status.success());
    let again = gateway.ask(&["ota", "deploy", new, "--manifest", &path("manifest"), "--node", "41"]);
    let report = text(&again.stdout);
    assert!(again.status.success() && report.contains("runs this image already"), "{report}");
    let other = gateway.ask(&["ota", "deploy", old, "--manifest", &path("manifest")]);
    assert!(text(&other.stderr).contains("the manifest is of image"), "{}", text(&other.stderr));
    // An image that is older by its sequence is refused before its first byte, in words.
    let old_signed = ["--role", "sensor", "--author", &path("author"), "--sequence", "5", "--node", "42"];
    let refused = gateway.ask(&[&["ota", "deploy", old][..], &old_signed].concat());
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stdout).contains("which is not above it"), "{}", text(&refused.stdout));
    // A chip that has been given keys keeps them: what is not signed does not get in by a restart.
    assert_eq!(second.terminate(), Some(0));
    let (_second, _) = start(42, Some(&port), &[]);
    assert!(has_keys(&folder.path().join("42.flash")));
}

#[test]
fn a_held_rollout_of_signed_nodes_starts_the_image_in_waves() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    assert!(run(&["firmware", "keygen", "--kind", "author", "-o", &path("author")]).status.success());
    let (old, new) = (testdata("firmware/node-c3-v1.4.2.bin"), testdata("firmware/node-c3-v1.4.3.bin"));
    // The gateway makes its key at its first start.
    let gateway = Running::start(&[
        "gateway",
        "--listen",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--operator-key",
        &path("op"),
    ]);
    let line = gateway.says("operator key");
    assert!(line.contains("op.pub (for the nodes)"), "{line}");
    assert_eq!(gateway.terminate(), Some(0));
    let mut nodes = Vec::new();
    let mut parent: Option<String> = None;
    for id in ["51", "52"] {
        let flash = path(id);
        let (author, operator) = (path("author.pub"), path("op.pub"));
        let mut args =
            vec!["node", "--id", id, "--listen", "127.0.0.1:0", "--role", "sensor", "--flash", &flash];
        args.extend(["--image", old.to_str().unwrap(), "--key", &author, "--key", &operator]);
        args.extend(parent.iter().flat_map(|parent| ["--connect", parent]));
        let running = Running::start(&args);
        let port = running.port();
        nodes.push(running);
        parent.get_or_insert(port);
    }
    let gateway = Gateway::start_with(parent.as_deref().unwrap(), &["--operator-key", &path("op")]);
    gateway.sees(2);
    let args = ["ota", "deploy", new.to_str().unwrap(), "--role", "sensor", "--author", &path("author")];
    let output = gateway.ask(&[&args[..], &["--sequence", "1", "--hold", "--airtime", "50"]].concat());
    let said = text(&output.stdout);
    assert!(
        output.status.success() && said.contains("2 ready") && said.contains("has it installed"),
        "{said}"
    );
    let state = |rollout: &serde_json::Value, at: usize| rollout["nodes"][at]["state"].clone();
    let canary = gateway.json(&["ota", "activate", "1", "--node", "52"]);
    assert_eq!((state(&canary, 0), state(&canary, 1)), ("ready".into(), "updated".into()), "{canary}");
    assert!(nodes[1].says("boot 2").contains(NEW_MD5));
    let rest = gateway.json(&["ota", "activate", "1"]);
    assert_eq!((state(&rest, 0), state(&rest, 1)), ("updated".into(), "updated".into()), "{rest}");
    assert_eq!(rest["state"], "finished");
}
