//! `meshward demo`, the README's first command.

use crate::program::{Gateway, Running, run, text};

/// Runs a small demonstration to its end; its last line as JSON.
fn demo(args: &[&str]) -> serde_json::Value {
    let output = run(&[&["demo", "--once", "--json", "--latency", "0", "--rate", "0"], args].concat());
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    serde_json::from_str(text(&output.stdout).lines().last().unwrap()).unwrap()
}

#[test]
fn a_chain_and_a_star_are_updated() {
    for (topology, nodes, scheme) in [("chain", 3, "unicast"), ("star", 8, "turbo")] {
        let count = nodes.to_string();
        let result = demo(&["--topology", topology, "--nodes", &count, "--seed", "5", "--scheme", scheme]);
        assert_eq!((&result["nodes"], &result["updated"]), (&nodes.into(), &nodes.into()), "{result}");
        assert_eq!((&result["failed"], &result["seed"]), (&0.into(), &5.into()));
        assert_eq!(result["stock"], 0);
        assert_eq!(result["topology"], topology);
        assert_eq!(result["scheme"], scheme);
        let sha256 = "a69f70927458a0d46fdbb2dee921752855206f5f4dfe65e9b31c6b5a2df440cd";
        assert_eq!(result["image_sha256"], sha256);
        // Every byte of the image crosses every link at least once, in base64.
        assert!(result["tcp_bytes"].as_u64().unwrap() > nodes * 528_944 * 4 / 3, "{result}");
    }
}

#[test]
fn signed_nodes_are_updated_by_a_patch_or_as_was_asked_for() {
    // Bytes on all links over the image's on each: a patch is 2 % of it, LZMA 60 %, and base64 adds a third.
    for (scheme, sent, share) in [("auto", "delta", 0.2), ("lzma", "lzma", 2.0)] {
        let result = demo(&["--nodes", "5", "--topology", "binary", "--seed", "4", "--scheme", scheme]);
        assert_eq!((&result["updated"], &result["failed"]), (&5.into(), &0.into()), "{result}");
        assert_eq!((&result["scheme"], &result["schemes"]), (&scheme.into(), &serde_json::json!([sent])));
        assert!(result["transfer_seconds"]["meshward"].as_f64().is_some_and(|took| took > 0.0), "{result}");
        assert_eq!(result["transfer_seconds"]["stock"], serde_json::Value::Null);
        assert!(result["tcp_bytes"].as_f64().unwrap() < share * 5.0 * 528_944.0, "{result}");
    }
}

#[test]
fn stock_nodes_among_ours_are_updated_over_tcp_in_one_roll_out() {
    let result = demo(&["--nodes", "6", "--stock", "4", "--topology", "star", "--seed", "2"]);
    assert_eq!((&result["nodes"], &result["stock"], &result["updated"]), (&6.into(), &4.into(), &6.into()));
    assert_eq!(result["schemes"], serde_json::json!(["delta", "turbo"]), "{result}");
    let (passed, all) = (result["pass_seconds"].as_f64().unwrap(), result["seconds"].as_f64().unwrap());
    // The library restarts 2 s after its last part, and the first node only when the others are back.
    assert!(0.0 < passed && passed + 4.0 < all, "{result}");
    let took = |family: &str| result["transfer_seconds"][family].as_f64().unwrap();
    assert!(took("meshward") > 0.0 && took("stock") > 0.0, "{result}");
}

#[test]
fn nodes_alone_are_there_for_a_gateway_of_ones_own() {
    let demo = Running::start(&["demo", "--no-gateway", "--nodes", "3"]);
    let entry = demo.says("mesh: ");
    let gateway = Gateway::start(entry.trim_start_matches("mesh: "));
    // With another gateway in the mesh there would be four.
    gateway.sees(3);
    assert_eq!(gateway.json(&["topology"])["nodes"].as_array().map(Vec::len), Some(3));
    assert!(!demo.said_so_far().iter().any(|line| line.contains("dashboard")), "{:?}", demo.said_so_far());
    assert_eq!(demo.terminate(), Some(0));
}
