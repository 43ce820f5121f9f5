//! `meshward setup` without anybody to ask, as scripts run it.

use std::process::{Command, Stdio};

use crate::program::{meshward, run, text};

#[test]
fn a_configuration_and_a_unit_are_written_once() {
    let folder = tempfile::tempdir().unwrap();
    let (config, unit) = (folder.path().join("meshward.toml"), folder.path().join("meshward.service"));
    let output = config.to_str().unwrap();
    let args = [
        "setup",
        "--yes",
        "--name",
        "the \"plant\"",
        "--peer",
        "10.0.0.1",
        "--peer",
        "auto",
        "--listen",
        "[::]:5555",
        "--output",
        output,
    ];
    let first = run(&args);
    assert!(first.status.success(), "{}", text(&first.stderr));
    let said = text(&first.stdout);
    assert!(said.contains("meshward doctor --config") && said.contains("systemctl enable --now"), "{said}");

    let shown = run(&["config", "show", "--json", "--config", output]);
    let keys: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    let set: Vec<(&str, &str)> = keys
        .as_array()
        .unwrap()
        .iter()
        .filter(|line| line["origin"] != "default")
        .map(|line| (line["key"].as_str().unwrap(), line["value"].as_str().unwrap()))
        .collect();
    let (peers, key) = ("[\"10.0.0.1\", \"auto\"]", "\"/var/lib/meshward/operator.key\"");
    let want = [
        ("mesh.name", "'the \"plant\"'"),
        ("mesh.peers", peers),
        ("mesh.listen", "\"[::]:5555\""),
        ("ota.operator_key", key),
    ];
    assert_eq!(set, want);
    verify(&unit);

    // Nothing is written over, nor written half.
    let before = std::fs::read_to_string(&config).unwrap();
    std::fs::remove_file(&unit).unwrap();
    let second = run(&args);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("is there already"), "{}", text(&second.stderr));
    assert_eq!(std::fs::read_to_string(&config).unwrap(), before);
    assert!(!unit.exists());
}

/// What systemd says of a unit, where there is one.
fn verify(unit: &std::path::Path) {
    let content = std::fs::read_to_string(unit).unwrap();
    for line in [
        "Type=notify",
        "WatchdogSec=30",
        "DynamicUser=yes",
        "StateDirectory=meshward",
        "ProtectSystem=strict",
    ] {
        assert!(content.lines().any(|found| found == line), "{line}: {content}");
    }
    let Ok(output) = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(unit).output() else {
        return;
    };
    let said = text(&output.stderr);
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("meshward")).collect();
    assert!(ours.is_empty(), "{said}");
}

#[test]
fn what_setup_cannot_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("meshward.toml");
    let output = config.to_str().unwrap();
    for (args, code, needle) in [
        (&["--yes"][..], 1, "--peer HOST:PORT"),
        (&["--peer", "10.0.0.1"], 1, "nobody to ask"),
        (&["--yes", "--peer", "a b"], 2, "--peer"),
        (&["--yes", "--peer", "a", "--name", ""], 4, "mesh.name"),
        (&["--yes", "--peer", "a", "--unit", "x", "--no-unit"], 2, "--no-unit"),
    ] {
        let mut command = meshward(&[&["setup", "--output", output], args].concat());
        let found = command.stdin(Stdio::null()).output().unwrap();
        assert_eq!(found.status.code(), Some(code), "{args:?}: {}", text(&found.stderr));
        assert!(text(&found.stderr).contains(needle), "{args:?}: {}", text(&found.stderr));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{args:?} leaves nothing behind");
    }
}
