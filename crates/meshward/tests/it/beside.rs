//! Two roll-outs in waves at once, as processes: for two roles of one mesh, over REST, and over the end of the gateway.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bench::{KEYS, Mesh, image, kill, running};
use crate::program::{Gateway, Running, text};

/// Longest that a phase of this small mesh may take; two share the channel and the restarts.
const PATIENCE: Duration = Duration::from_secs(150);

/// Sensors 61 and 62 below it, valves 63 and 64; each role has a canary, which is the one below.
fn mesh() -> Mesh {
    Mesh::new(&[
        (61, "sensor", None, KEYS),
        (62, "sensor", Some(0), KEYS),
        (63, "valve", Some(0), KEYS),
        (64, "valve", Some(2), KEYS),
    ])
}

impl Mesh {
    /// Brings an image to a role, its canary first; the client waits for the end, which it need not see.
    fn deploy(&self, gateway: &Gateway, role: &str, version: &str, canary: u32) -> Running {
        // Without gates, because a trial of these nodes takes a minute.
        let plan = format!(
            "name = \"{role}s\"\npromotion = \"after_canary\"\ngates = []\n[canary]\nnodes = [{canary}]\nsoak_s = 4\n\
             [soak]\nlooks = 1\nbaseline_s = 2\nsoak_s = 1\n[restart]\naway_percent_most = 100\n"
        );
        let path = self.bench.write(&format!("{role}.toml"), &plan);
        let (author, image, base) = (self.path("author"), image(version), image("1.4.2"));
        let words = ["ota", "deploy", &image, "--role", role, "--author", &author, "--sequence", "1"];
        let more = ["--base", &base, "--plan", &path, "--url", &gateway.url];
        Running::start(&[&words[..], &more].concat())
    }
}

/// The roll-outs, by their number.
fn rollouts(gateway: &Gateway) -> Vec<Value> {
    let mut all = gateway.json(&["ota", "status"]).as_array().unwrap().clone();
    all.sort_by_key(|rollout| rollout["id"].as_u64());
    all
}

fn phases(all: &[Value]) -> Vec<&str> {
    all.iter().map(|rollout| rollout["progress"]["phase"].as_str().unwrap_or("nothing")).collect()
}

fn until(gateway: &Gateway, what: &str, done: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let all = rollouts(gateway);
        if done(&all) {
            return all;
        }
        assert!(Instant::now() < deadline, "not {what}: {all:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn two_roles_are_brought_their_images_at_once_and_a_killed_gateway_goes_on_with_both() {
    let mesh = mesh();
    let gateway = mesh.gateway();
    gateway.sees(4);
    let clients = [mesh.deploy(&gateway, "sensor", "1.4.3", 62), {
        until(&gateway, "one", |all| all.len() == 1);
        mesh.deploy(&gateway, "valve", "1.5.0", 64)
    }];
    let knows = |all: &[Value]| all.len() == 2 && all.iter().all(|rollout| rollout["phase"] != "surveying");
    let both = until(&gateway, "two at once, that know their nodes", knows);
    assert!(both.iter().all(|rollout| rollout["state"] == "running"), "{both:?}");
    // What would be a second plan for a node is refused, and says whose it is.
    let refused = |args: &[&str], said: &str| {
        let output = gateway.ask(&[&["ota", "deploy"][..], args].concat());
        let errors = text(&output.stderr);
        assert!(output.status.code() == Some(1) && errors.contains(said), "{errors}");
    };
    let (new, bare) = (image("1.5.0"), image("1.4.3"));
    let same = ["--role", "sensor", "--confirm-receiver", "--scheme", "turbo"];
    refused(&[&[&*new][..], &same].concat(), "roll-out 1 is under way for the same role and hardware");
    let node = ["--role", "door", "--confirm-receiver", "--scheme", "turbo", "--node", "63"];
    refused(&[&[&*bare][..], &node].concat(), "roll-out 2 is under way and has node 63");

    // Killed while both are under way, whatever they do.
    until(&gateway, "a canary that starts", |all| phases(all).contains(&"activating"));
    kill(gateway);
    drop(clients);
    let gateway = mesh.gateway();
    let waiting = until(&gateway, "both waiting for somebody", |all| phases(all) == ["approval", "approval"]);
    assert_eq!(waiting.iter().map(running).collect::<Vec<_>>(), [1, 1], "{waiting:?}");
    kill(gateway);
    let gateway = mesh.gateway();
    until(&gateway, "both as they were", |all| phases(all) == ["approval", "approval"]);
    gateway.sees(4);
    assert_eq!(mesh.boots(), [1, 2, 1, 2], "the canaries have started it, once");

    // Each goes on by itself.
    gateway.json(&["ota", "approve", "2"]);
    let valves = until(&gateway, "the valves' end", |all| phases(all)[1] == "finished");
    assert_eq!((phases(&valves)[0], running(&valves[1])), ("approval", 2), "{valves:?}");
    assert_eq!(mesh.boots(), [1, 2, 2, 2], "no sensor was touched");
    gateway.json(&["ota", "approve", "1"]);
    let over = until(&gateway, "the end of both", |all| phases(all) == ["finished", "finished"]);
    assert_eq!(over.iter().map(running).collect::<Vec<_>>(), [2, 2], "{over:?}");
    gateway.sees(4);
    assert_eq!(mesh.boots(), [2, 2, 2, 2], "nobody is updated twice");
    for (rollout, mine) in over.iter().zip([[61, 62], [63, 64]]) {
        let nodes = rollout["nodes"].as_array().unwrap();
        let updated: Vec<u64> = nodes
            .iter()
            .filter(|node| node["state"] == "updated")
            .map(|node| node["id"].as_u64().unwrap())
            .collect();
        assert_eq!(updated, mine, "{rollout}");
    }
    assert_eq!(gateway.process.terminate(), Some(0));
}
