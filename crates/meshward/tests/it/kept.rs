//! A gateway that is killed at any moment of an update, without warning, and started again: nothing that was accepted
//! is lost, what was known is known, and nobody is updated twice.

use std::thread::sleep;
use std::time::{Duration, Instant};

use meshward_core::rng::Rng;
use serde_json::Value;

use crate::program::{Gateway, Running, run, testdata, text};
use crate::status::until;

/// Kills in one run, unless `MESHWARD_KILLS` says how many.
const KILLS: usize = 10;
/// No update of two nodes takes so long, with waiting for those that are to come back.
const UPDATE_MAX: Duration = Duration::from_secs(180);

/// A folder with keys, flash files, a database and two real images; a Meshward node, and a stock one below it.
struct Bench {
    folder: tempfile::TempDir,
    images: [String; 2],
    processes: [Running; 2],
    nodes: [u32; 2],
    port: String,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        for kind in ["author", "operator"] {
            let made = run(&["firmware", "keygen", "--kind", kind, "-o", &path(kind)]);
            assert!(made.status.success(), "{}", text(&made.stderr));
        }
        let images = ["1.4.2", "1.4.3"].map(|version| {
            testdata(&format!("firmware/node-c3-v{version}.bin")).to_str().unwrap().to_owned()
        });
        let node = |id: &str, parent: Option<&str>, keys: &[String]| {
            let (flash, image) = (path(&format!("{id}.flash")), &images[0]);
            let mut args = vec!["node", "--id", id, "--listen", "127.0.0.1:0", "--role", "sensor"];
            args.extend(["--flash", &flash, "--image", image]);
            args.extend(parent.iter().flat_map(|parent| ["--connect", *parent]));
            args.extend(keys.iter().flat_map(|key| ["--key", key]));
            let running = Running::start(&args);
            let port = running.port();
            (running, port)
        };
        let keys = [path("author.pub"), path("operator.pub")];
        let (signed, port) = node("71", None, &keys);
        let (stock, _) = node("72", Some(&port), &[]);
        Self { folder, images, processes: [signed, stock], nodes: [71, 72], port }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn gateway(&self) -> Gateway {
        let (key, store) = (self.path("operator"), self.path("mesh.db"));
        let args = ["--operator-key", &key, "--store", &store, "--learning", "5"];
        Gateway::start_with(&self.port, &args)
    }

    /// How often each node has started.
    fn boots(&self) -> [usize; 2] {
        let boot = |line: &String| line.split(": boot ").nth(1)?.split(',').next()?.parse().ok();
        let boots = |running: &Running| running.said_so_far().iter().filter_map(boot).max().unwrap_or(0);
        [boots(&self.processes[0]), boots(&self.processes[1])]
    }
}

/// The newest roll-out; nothing while there is none.
fn newest(gateway: &Gateway) -> Value {
    let rollouts = gateway.json(&["ota", "status"]);
    rollouts.as_array().and_then(|rollouts| rollouts.first().cloned()).unwrap_or_default()
}

fn is_finished(rollout: &Value) -> bool {
    rollout["state"] == "finished"
}

#[test]
fn killed_at_any_moment_of_an_update_it_goes_on_and_loses_nothing() {
    let seed = std::env::var("MESHWARD_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_129);
    let kills = std::env::var("MESHWARD_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    println!("MESHWARD_SEED={seed} MESHWARD_KILLS={kills}");
    let mut rng = Rng::new(seed);
    let bench = Bench::new();
    let mut gateway = bench.gateway();
    gateway.sees(2);
    gateway.json(&["name", "71", "pump house"]);
    let mut done = 0;
    for round in 0..kills {
        let image = &bench.images[(round + 1) % 2];
        let sequence = (round + 1).to_string();
        let boots = bench.boots();
        let started = Instant::now();
        // The client waits for the end, which it will not see.
        let (url, author) = (gateway.url.clone(), bench.path("author"));
        let deploy = Running::start(&[
            "ota",
            "deploy",
            image,
            "--role",
            "sensor",
            "--author",
            &author,
            "--sequence",
            &sequence,
            "--confirm-receiver",
            "--url",
            &url,
        ]);
        let id =
            until(&gateway, &["ota", "status"], |rollouts| rollouts[0]["id"] == round + 1)[0]["id"].clone();
        // From the first question to the last restart.
        sleep(Duration::from_millis(rng.below(9_000)));
        let before = newest(&gateway);
        gateway.process.signal("KILL");
        drop((deploy, gateway.process.ended()));
        gateway = bench.gateway();
        let mut now = newest(&gateway);
        assert_eq!(now["id"], id, "round {round}: what was accepted is there: {now}");
        while !is_finished(&now) {
            assert!(started.elapsed() < UPDATE_MAX, "round {round}, killed at {before}: {now}");
            sleep(Duration::from_millis(200));
            now = newest(&gateway);
        }
        done += usize::from(is_finished(&before));
        for node in now["nodes"].as_array().unwrap() {
            assert_eq!(node["state"], "updated", "round {round}, killed at {before}: {now}");
        }
        assert_eq!(now["nodes"].as_array().unwrap().len(), 2, "{now}");
        gateway.sees(2);
        let restarts = bench.boots().iter().zip(boots).map(|(now, before)| now - before).collect::<Vec<_>>();
        assert_eq!(restarts, [1, 1], "round {round}: nobody is updated twice; killed at {before}");
    }
    println!("{done} of {kills} were over when they were killed");
    assert!(done < kills, "some were killed in the middle");

    // What people said, what happened, and what was measured outlives it all.
    let nodes = until(&gateway, &["nodes"], |nodes| nodes[0]["name"] == "pump house");
    assert_eq!(nodes[0]["id"], bench.nodes[0]);
    let rollouts = gateway.json(&["ota", "status"]);
    assert_eq!(rollouts.as_array().unwrap().len(), kills.min(200), "{rollouts}");
    assert_eq!(gateway.process.terminate(), Some(0));
}

#[test]
fn two_gateways_do_not_share_a_database() {
    let bench = Bench::new();
    let first = bench.gateway();
    let store = bench.path("mesh.db");
    let args = ["gateway", "--peer", &bench.port, "--http", "127.0.0.1:0", "--store", &store];
    let second = run(&args);
    let said = text(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("another gateway uses this database: process"), "{said}");
    assert_eq!(first.process.terminate(), Some(0));
    // It was given back.
    let third = Gateway::of(&args);
    assert_eq!(third.process.terminate(), Some(0));
    let unusable =
        run(&["gateway", "--peer", &bench.port, "--http", "127.0.0.1:0", "--store", "/proc/no/mesh.db"]);
    assert!(text(&unusable.stderr).contains("/proc/no/mesh.db"), "{}", text(&unusable.stderr));
}
