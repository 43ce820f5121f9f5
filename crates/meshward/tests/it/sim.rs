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
