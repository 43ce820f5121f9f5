//! What operators get wrong: each is refused with the field, the value, and what would be right.

use std::path::Path;

use crate::program::{Gateway, Running, run, testdata, text};

/// Runs a command that must fail; its exit code and what it said.
fn fails(args: &[&str]) -> (i32, String) {
    let output = run(args);
    (output.status.code().unwrap(), text(&output.stderr))
}

#[test]
fn usage_errors_name_the_flag() {
    for (args, code, needle) in [
        (&["gateway"][..], 1, "--peer HOST:PORT"),
        (&["gateway", "--peer", "a b"], 2, "HOST:PORT"),
        (&["gateway", "--peer", "127.0.0.1:1", "--http", "0.0.0.0:80"], 1, "127.0.0.1"),
        (&["gateway", "--peer", "127.0.0.1:1", "--id", "0", "--http", "127.0.0.1:0"], 1, "node id 0"),
        (&["node", "--id", "0", "--listen", "127.0.0.1:0"], 2, "--id"),
        (&["node", "--id", "4294967296", "--listen", "127.0.0.1:0"], 2, "--id"),
        (&["node", "--id", "5"], 1, "--listen"),
        (&["node", "--id", "5", "--listen", "127.0.0.1:0", "--role", "x"], 2, "--flash"),
        (&["demo", "--nodes", "0"], 2, "--nodes"),
        (&["ota", "deploy", "x.bin", "--role", "x", "--airtime", "0"], 2, "--airtime"),
        (&["ota", "deploy", "x.bin", "--role", "x", "--airtime", "101"], 2, "--airtime"),
        (&["ota", "deploy", "x.bin", "--role", "x", "--author", "key"], 2, "--sequence"),
        (&["ota", "deploy", "x.bin", "--author", "key", "--sequence", "1"], 2, "--role"),
        (&["ota", "deploy", "x.bin", "--sequence", "1"], 2, "--author"),
        (&["ota", "forecast", "x.bin", "--scheme", "best"], 2, "delta"),
        (&["gateway", "--peer", "127.0.0.1:1", "--operator-key", "/nowhere/at/all"], 1, "/nowhere/at/all"),
        (&["node", "--id", "5", "--listen", "127.0.0.1:0", "--key", "x"], 2, "--flash"),
        (&["demo", "--topology", "ring"], 2, "star"),
        (&["demo", "--no-gateway", "--once"], 2, "--once"),
        (&["demo", "--nodes", "6", "--stock", "7"], 1, "--stock 6"),
        (&["demo", "--image", "/nowhere/at/all.bin", "--once"], 1, "/nowhere/at/all.bin"),
        (&["ota", "deploy", "/nowhere/at/all.bin", "--role", "x"], 1, "/nowhere/at/all.bin"),
        (&["nodes", "--url", "http://127.0.0.1:1"], 3, "no gateway answers at http://127.0.0.1:1"),
    ] {
        let (found, said) = fails(args);
        assert_eq!(found, code, "{args:?}: {said}");
        assert!(said.contains(needle), "{args:?} should name {needle}: {said}");
    }
}

#[test]
fn a_flash_file_of_another_size_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.txt");
    std::fs::write(&file, b"not a flash chip").unwrap();
    let path = file.to_str().unwrap();
    let node = ["node", "--id", "5", "--listen", "127.0.0.1:0", "--role", "x", "--flash", path];
    let (code, said) = fails(&node);
    assert_eq!(code, 1);
    assert!(said.contains("16 bytes") && said.contains(path), "{said}");
    assert_eq!(std::fs::read(&file).unwrap(), b"not a flash chip");
}

/// One node behind a gateway; nothing that is refused may reach it.
fn small_mesh() -> (Running, Gateway) {
    let node = Running::start(&["node", "--id", "31", "--listen", "127.0.0.1:0"]);
    let line = node.says("boot 1");
    let port = line.split("listening on ").nth(1).unwrap().split(',').next().unwrap();
    let gateway = Gateway::start(port);
    gateway.sees(1);
    (node, gateway)
}

fn file(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn images_that_no_node_could_run_are_refused_before_the_first_byte() {
    let folder = tempfile::tempdir().unwrap();
    let (_node, gateway) = small_mesh();
    let good = std::fs::read(testdata("firmware/node-c3-v1.4.3.bin")).unwrap();
    let mut huge = good.clone();
    huge.resize(0x1E_0001, 0);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &good).unwrap();
    let packed = gzip.finish().unwrap();
    for (name, bytes, needle) in [
        ("empty.bin", &[][..], "is empty"),
        ("elf.bin", b"\x7fELF and so on", "not an ESP image"),
        ("cut.bin", &good[..good.len() / 2], "cut off"),
        ("huge.bin", &huge, "a slot holds 1966080"),
        ("cut.bin.gz", &packed[..packed.len() / 2], "cannot be unpacked"),
    ] {
        let path = file(folder.path(), name, bytes);
        let output = gateway.ask(&["ota", "deploy", &path, "--role", "sensor"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(needle), "{name} should be refused as {needle}: {said}");
    }
    assert!(gateway.json(&["ota", "status"]).as_array().unwrap().is_empty(), "nothing was started");
    // A compressed image is the image.
    let packed = file(folder.path(), "x.bin.gz", &packed);
    let unsaid = gateway.ask(&["ota", "deploy", &packed, "--role", "r"]);
    assert_eq!(unsaid.status.code(), Some(1));
    assert!(text(&unsaid.stderr).contains("--confirm-receiver"), "{}", text(&unsaid.stderr));
    let nobody = gateway.ask(&["ota", "deploy", &packed, "--role", "r", "--node", "1", "--confirm-receiver"]);
    assert!(text(&nobody.stderr).contains("no node to update"), "{}", text(&nobody.stderr));
}

#[test]
fn force_image_sends_it_all_the_same_and_abort_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let (_node, gateway) = small_mesh();
    let path = file(folder.path(), "odd.bin", b"whatever the operator insists on");
    let odd = ["--force-image", "--confirm-receiver"];
    let deploy = [&["ota", "deploy", &path, "--role", "sensor", "--node", "31"][..], &odd].concat();
    let deploy: Vec<String> = deploy.iter().map(|arg| (*arg).to_owned()).collect();
    let url = gateway.url.clone();
    // The node is asked what it is, and does not say: that takes long enough to be paused, and aborted.
    let deploying = std::thread::spawn(move || {
        let args: Vec<&str> = deploy.iter().map(String::as_str).chain(["--url", &url]).collect();
        run(&args)
    });
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while gateway.json(&["ota", "status"]).as_array().unwrap().is_empty() {
        assert!(std::time::Instant::now() < deadline, "the roll-out did not start");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(gateway.ask(&["ota", "pause", "1"]).status.success());
    assert_eq!(gateway.json(&["ota", "status"])[0]["state"], "paused");
    let second = gateway.ask(&["ota", "deploy", &path, "--role", "sensor", "--force-image"]);
    assert!(text(&second.stderr).contains("roll-out 1 is under way"), "{}", text(&second.stderr));
    assert!(gateway.ask(&["ota", "resume", "1"]).status.success());
    assert!(gateway.ask(&["ota", "abort", "1"]).status.success());
    let output = deploying.join().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("the roll-out was aborted"), "{}", text(&output.stdout));
    let again = gateway.ask(&["ota", "abort", "1"]);
    assert!(text(&again.stderr).contains("roll-out 1 has finished"), "{}", text(&again.stderr));
    let missing = gateway.ask(&["ota", "pause", "7"]);
    assert!(text(&missing.stderr).contains("there is no roll-out 7"), "{}", text(&missing.stderr));
}
