//! A gateway that is killed at any moment of an update, without warning, and started again: nothing that was accepted
//! is lost, what was known is known, and nobody is updated twice.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use meshward_core::rng::Rng;
use meshward_gateway::store::{EventFilter, Store, StoreOptions};
use serde_json::Value;

use crate::bench::{KEYS, Mesh, image};
use crate::program::{Gateway, Running, run, text};
use crate::status::until;

/// Kills in one run, unless `MESHWARD_KILLS` says how many; so many meshes at once, unless `MESHWARD_AT_ONCE` does.
const KILLS: u64 = 10;
const AT_ONCE: u64 = 5;
/// The latest of them after the start of an update, in milliseconds: most are over a little later.
const LATEST_MS: u64 = 20_000;
/// No update of two nodes takes so long, with waiting for those that are to come back.
const UPDATE_MAX: Duration = Duration::from_secs(180);

/// A Meshward node, and a stock one below it.
fn mesh() -> Mesh {
    Mesh::new(&[(71, "sensor", None, KEYS), (72, "sensor", Some(0), &[])])
}

/// The newest roll-out; nothing while there is none.
fn newest(gateway: &Gateway) -> Value {
    let rollouts = gateway.json(&["ota", "status"]);
    rollouts.as_array().and_then(|rollouts| rollouts.first().cloned()).unwrap_or_default()
}

fn is_finished(rollout: &Value) -> bool {
    rollout["state"] == "finished"
}

/// Starts an update, kills the gateway some time later, starts it again and sees the update through. The phase in which
/// it was killed.
fn kill_once(after: Duration) -> String {
    let mesh = mesh();
    let gateway = mesh.gateway();
    gateway.sees(2);
    gateway.json(&["name", "71", "pump house"]);
    let started = Instant::now();
    // The client waits for the end, which it will not see.
    let (url, author) = (gateway.url.clone(), mesh.path("author"));
    let (old, new) = (image("1.4.2"), image("1.4.3"));
    let args =
        ["ota", "deploy", &new, "--role", "sensor", "--author", &author, "--sequence", "1", "--base", &old];
    let deploy = Running::start(&[&args[..], &["--confirm-receiver", "--url", &url]].concat());
    let accepted = until(&gateway, &["ota", "status"], |rollouts| rollouts[0]["id"].is_u64());
    // From the first question to the last restart.
    sleep(after);
    let before = newest(&gateway);
    let told = logged(&gateway);
    sleep(Duration::from_secs(1));
    gateway.process.signal("KILL");
    drop((deploy, gateway.process.ended()));

    let kept = events(&mesh.path("mesh.db"));
    for id in told {
        assert!(kept.contains(&id), "event {id}, of a second ago, is kept");
    }
    let gateway = mesh.gateway();
    let mut now = newest(&gateway);
    assert_eq!(now["id"], accepted[0]["id"], "what was accepted is there: {now}");
    while !is_finished(&now) {
        assert!(started.elapsed() < UPDATE_MAX, "killed at {before}: {now}");
        sleep(Duration::from_millis(200));
        now = newest(&gateway);
    }
    let nodes = now["nodes"].as_array().unwrap();
    // A C++ node that got its last part in the second that is lost has no use for the image any more.
    let is_done = |node: &Value| {
        node["state"] == "updated" || (node["family"] == "stock" && node["state"] == "declined")
    };
    assert!(nodes.len() == 2 && nodes.iter().all(is_done), "killed at {before}: {now}");
    gateway.sees(2);
    assert_eq!(mesh.boots(), [2, 2], "each runs the image, and nobody is updated twice; killed at {before}");
    let nodes = gateway.json(&["nodes"]);
    assert_eq!((&nodes[0]["id"], &nodes[0]["name"]), (&71.into(), &"pump house".into()), "{nodes}");
    let first = logged(&gateway).into_iter().min();
    assert!(first > kept.last().copied(), "no number of an event comes twice");
    assert_eq!(gateway.process.terminate(), Some(0));
    let audit = audited(&mesh.path("mesh.db"));
    for action in ["PUT /api/v1/nodes/{id}/name", "firmware.add", "rollout.start"] {
        assert!(audit.iter().any(|line| line == action), "{action} is in the audit: {audit:?}");
    }
    before["phase"].as_str().unwrap_or("nothing").to_owned()
}

/// The numbers of the events that a gateway tells.
fn logged(gateway: &Gateway) -> Vec<u64> {
    let said = text(&gateway.ask(&["logs", "--json"]).stdout);
    said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_u64().unwrap()).collect()
}

/// What was done, by the audit of a database, the newest first.
fn audited(path: &str) -> Vec<String> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let options = StoreOptions { read_only: true, ..StoreOptions::default() };
        let store = Store::open_with(&path.parse().unwrap(), &options).await.unwrap();
        let lines = store.audit(None, 100).await.unwrap();
        store.close().await;
        lines.into_iter().map(|line| line.action).collect()
    })
}

/// The numbers of the events that a database has, rising.
fn events(path: &str) -> Vec<u64> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let options = StoreOptions { read_only: true, ..StoreOptions::default() };
        let store = Store::open_with(&path.parse().unwrap(), &options).await.unwrap();
        let mut ids: Vec<u64> = store
            .events(&EventFilter::default(), 1_000)
            .await
            .unwrap()
            .iter()
            .map(|event| event.id)
            .collect();
        store.close().await;
        ids.sort_unstable();
        ids
    })
}

#[test]
fn killed_at_any_moment_of_an_update_it_goes_on_and_loses_nothing() {
    let number = |name: &str| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    let seed = number("MESHWARD_SEED").unwrap_or(20_261_129);
    let kills = number("MESHWARD_KILLS").unwrap_or(KILLS);
    println!("MESHWARD_SEED={seed} MESHWARD_KILLS={kills}");
    let mut rng = Rng::new(seed);
    let mut phases: BTreeMap<String, usize> = BTreeMap::new();
    let moments: Vec<Duration> = (0..kills).map(|_| Duration::from_millis(rng.below(LATEST_MS))).collect();
    let at_once = number("MESHWARD_AT_ONCE").unwrap_or(AT_ONCE).max(1);
    for some in moments.chunks(at_once as usize) {
        let runs: Vec<_> = some
            .iter()
            .map(|after| {
                (
                    *after,
                    std::thread::spawn({
                        let after = *after;
                        move || kill_once(after)
                    }),
                )
            })
            .collect();
        for (after, run) in runs {
            let phase = run.join().unwrap_or_else(|_| panic!("killed after {after:?}"));
            *phases.entry(phase).or_default() += 1;
        }
    }
    println!("killed while {phases:?}");
    assert!(phases.keys().any(|phase| phase != "finished"), "none was over: {phases:?}");
}

#[test]
fn two_gateways_do_not_share_a_database() {
    let mesh = mesh();
    let first = mesh.gateway();
    let store = mesh.path("mesh.db");
    let args = ["gateway", "--peer", &mesh.port, "--http", "127.0.0.1:0", "--store", &store];
    let second = run(&args);
    let said = text(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("another gateway uses this database: process"), "{said}");
    // It can be copied meanwhile, but not replaced.
    let (copy, more) = (mesh.path("copy.db"), ["--store", &store]);
    let store_is = |verb: &[&str]| run(&[&["store"][..], verb, &more].concat());
    let copied = store_is(&["backup", &copy]);
    assert!(copied.status.success(), "{}", text(&copied.stderr));
    assert!(text(&store_is(&["restore", &copy]).stderr).contains("another gateway uses this database"));
    let whole = store_is(&["verify"]);
    assert!(whole.status.success() && text(&whole.stdout).contains("the audit is whole"), "{whole:?}");
    assert_eq!(first.process.terminate(), Some(0));
    let restored = store_is(&["restore", &copy]);
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    assert!(!store_is(&["backup", &copy]).status.success(), "a backup is never written over");
    // It was given back.
    let third = Gateway::of(&args);
    assert_eq!(third.process.terminate(), Some(0));
    let unusable =
        run(&["gateway", "--peer", &mesh.port, "--http", "127.0.0.1:0", "--store", "/proc/no/mesh.db"]);
    assert!(text(&unusable.stderr).contains("/proc/no/mesh.db"), "{}", text(&unusable.stderr));
}
