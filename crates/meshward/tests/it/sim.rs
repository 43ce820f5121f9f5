//! The simulator's commands as processes.

use crate::program::{run, text};

#[test]
fn powercut_says_what_it_tried() {
    let output = run(&["sim", "powercut", "--image", "4096", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stdout));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for none in ["unbootable", "incomplete", "wrong_images"] {
        assert_eq!(report[none], 0, "{report}");
    }
    assert!(report["cuts"].as_u64() > Some(500) && report["pairs"].as_u64() > Some(200), "{report}");
    assert_eq!(report["chunks_lost_max"], 1, "{report}");
    assert_eq!(run(&["sim", "powercut", "--image", "1"]).status.code(), Some(2));
}

#[test]
fn grid_has_a_line_for_every_run() {
    let output = run(&["sim", "grid", "--seeds", "1", "--json"]);
    let lines = text(&output.stdout);
    assert!(output.status.success(), "{lines}");
    let runs: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(runs.len(), 8 * 12);
    assert!(runs.iter().all(|run| run["verdict"] == "green" && run["updated"] == run["targets"]), "{lines}");
}
