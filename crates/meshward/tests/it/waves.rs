//! Roll-outs in waves, as processes: a gateway that is killed in the middle of a plan, a bad release, plans that make no
//! sense.

use std::time::{Duration, Instant};

use meshward_gateway::store::{AuditVerdict, Store, StoreOptions};
use serde_json::Value;

use crate::bench::{KEYS, Mesh, image, kill, running};
use crate::program::{Gateway, Running, run, text};

/// Longest that a phase of these small meshes may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// The canary 52 hangs below 51.
fn mesh() -> Mesh {
    Mesh::new(&[(51, "sensor", None, KEYS), (52, "sensor", Some(0), KEYS)])
}

impl Mesh {
    /// What is brought, by this plan.
    fn what(&self, verb: &str, plan: &str) -> Vec<String> {
        let author = self.path("author");
        let words =
            ["ota", verb, &image("1.4.3"), "--role", "sensor", "--author", &author, "--sequence", "1"];
        let words = words.into_iter().map(str::to_owned);
        words.chain(["--base".to_owned(), image("1.4.2"), "--plan".to_owned(), plan.to_owned()]).collect()
    }
}

fn ask(gateway: &Gateway, words: &[String]) -> std::process::Output {
    gateway.ask(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Waits until the waves of the only roll-out are in one of these phases. Meanwhile `always` must hold.
fn until(gateway: &Gateway, phases: &[&str], always: impl Fn()) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let rollouts = gateway.json(&["ota", "status"]);
        let phase = rollouts[0]["progress"]["phase"].as_str().unwrap_or("nothing");
        always();
        if phases.contains(&phase) {
            return rollouts[0].clone();
        }
        assert!(Instant::now() < deadline, "no {phases:?} of {rollouts}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What was decided, oldest first, by a database whose audit is whole.
fn decisions(path: &str) -> Vec<String> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let options = StoreOptions { read_only: true, ..StoreOptions::default() };
        let store = Store::open_with(&path.parse().unwrap(), &options).await.unwrap();
        assert!(matches!(store.verify_audit().await.unwrap(), AuditVerdict::Whole { .. }));
        let mut rows = store.audit(None, 500).await.unwrap();
        store.close().await;
        rows.reverse();
        let decisions = rows.into_iter().filter(|row| row.action == "rollout.decision" && row.subject == "1");
        let what = |detail: &str| serde_json::from_str::<Value>(detail).unwrap()["what"].clone();
        decisions.map(|row| what(&row.detail).as_str().unwrap().to_owned()).collect()
    })
}

/// Without gates, because a trial of these nodes takes a minute.
const PLAN: &str = "name = \"two nodes\"\npromotion = \"after_canary\"\ngates = []\n\
    [canary]\nnodes = [52]\nsoak_s = 6\n[soak]\nlooks = 1\nbaseline_s = 2\nsoak_s = 1\n\
    [restart]\naway_percent_most = 100\n";

#[test]
fn killed_in_the_middle_of_a_plan_it_goes_on_where_it_was_and_nobody_starts_early() {
    let mesh = mesh();
    let plan = mesh.bench.write("plan.toml", PLAN);
    let gateway = mesh.gateway();
    gateway.sees(2);
    let preview = ask(&gateway, &[mesh.what("forecast", &plan), vec!["--json".to_owned()]].concat());
    let preview: Value = serde_json::from_slice(&preview.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&preview.stderr)));
    let of = |wave: usize| preview["waves"][wave]["nodes"][0]["id"].clone();
    assert_eq!((of(0), of(1), &preview["no_way_back"]), (52.into(), 51.into(), &serde_json::json!([])));
    assert!(preview["bytes"].as_u64().unwrap() > 0 && preview["eta_seconds"].as_f64().unwrap() > 9.0);

    let deploy = [mesh.what("deploy", &plan), vec!["--url".to_owned(), gateway.url.clone()]].concat();
    let deploy = Running::start(&deploy.iter().map(String::as_str).collect::<Vec<_>>());
    let spared = || assert_eq!(mesh.boots()[0], 1, "51 is not of the canary");
    // Whatever a wave is doing, and while somebody is waited for.
    until(&gateway, &["activating"], spared);
    kill(gateway);
    drop(deploy);
    let gateway = mesh.gateway();
    until(&gateway, &["soaking"], spared);
    kill(gateway);
    let gateway = mesh.gateway();
    let waits = until(&gateway, &["approval"], spared);
    assert_eq!(running(&waits), 1, "the canary runs it: {waits}");
    kill(gateway);
    let gateway = mesh.gateway();
    // As it is known at once, and when its nodes are back.
    until(&gateway, &["approval"], spared);
    gateway.sees(2);
    let shown = text(&gateway.ask(&["ota", "show", "1"]).stdout);
    assert!(shown.contains("waits for somebody's approval"), "{shown}");
    assert_eq!(mesh.boots(), [1, 2], "the canary has started it, once");

    gateway.json(&["ota", "approve", "1"]);
    let twice = gateway.ask(&["ota", "approve", "1"]);
    assert_eq!(twice.status.code(), Some(1), "nothing waits any more");
    let over = until(&gateway, &["finished"], || {});
    assert_eq!(running(&over), 2, "{over}");
    assert_eq!(mesh.boots(), [2, 2], "nobody is updated twice");

    // Back again, after its end and another restart; which nobody ends half way. An end that is not written yet would
    // be decided once more.
    let deadline = Instant::now() + PATIENCE;
    while !decisions(&mesh.path("mesh.db")).iter().any(|one| one == "finished") {
        assert!(Instant::now() < deadline, "the end is not written");
        std::thread::sleep(Duration::from_millis(100));
    }
    kill(gateway);
    let gateway = mesh.gateway();
    gateway.sees(2);
    gateway.json(&["ota", "rollback", "1"]);
    let abort = gateway.ask(&["ota", "abort", "1"]);
    assert!(text(&abort.stderr).contains("half a mesh on each image is nobody's plan"), "{abort:?}");
    let back = until(&gateway, &["rolled_back"], || {});
    assert_eq!(back["progress"]["counts"], serde_json::json!({ "reverted": 2 }), "{back}");
    let report = text(&gateway.ask(&["ota", "report", "1"]).stdout);
    assert!(report.starts_with("# Roll-out two nodes: rolled_back") && report.contains("| 51 |"), "{report}");
    assert_eq!(gateway.process.terminate(), Some(0));
    assert_eq!(mesh.boots(), [3, 3]);
    let decided = decisions(&mesh.path("mesh.db"));
    for what in
        ["start", "place", "begin", "promote", "ask", "approve", "finished", "roll_back", "quarantine"]
    {
        assert!(decided.iter().any(|one| one == what), "{what} of {decided:?}");
    }
    assert_eq!(decided.iter().filter(|what| *what == "place").count(), 1, "decided once: {decided:?}");
}

#[test]
fn a_bad_release_is_caught_by_the_canary() {
    let output =
        run(&["demo", "--story", "bad-canary", "--once", "--json", "--latency", "0", "--nodes", "8"]);
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    let told: Value = serde_json::from_str(text(&output.stdout).lines().last().unwrap()).unwrap();
    let (canary, back) = (told["canary"].as_array().unwrap().len(), told["canary_back"].as_u64().unwrap());
    assert!(canary == 3 && back == 3 && told["good"] == true, "{told}");
    for none in ["others_activated", "odd_boots", "changed", "took_again"] {
        assert_eq!(told[none], 0, "{none} of {told}");
    }
    assert_eq!((&told["phase"], &told["refused_again"]), (&"rolled_back".into(), &8.into()), "{told}");
    // A demonstration is waited for. On a machine with other things to do it takes longer.
    assert!(told["seconds"].as_f64().unwrap() < 120.0, "{told}");
}

#[test]
fn a_plan_that_makes_no_sense_is_refused_before_anything_is_asked() {
    let bench = tempfile::tempdir().unwrap();
    let check = |name: &str, plan: &str, said: &str| {
        let path = bench.path().join(name);
        std::fs::write(&path, plan).unwrap();
        // There is no gateway there: who gets so far fails otherwise.
        let args = ["ota", "deploy", &image("1.4.3"), "--role", "sensor", "--url", "http://127.0.0.1:9"];
        let output = run(&[&args[..], &["--plan", path.to_str().unwrap()]].concat());
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
    };
    check("a.toml", "colour = 1", "colour");
    check("b.toml", "waves = [{ size = 0 }]", "waves[0].size: it is 0, and should be at least one node");
    check("c.json", "{\"soak\": {\"looks\": 0}}", "soak.looks: it is 0, and should be from 1 to 50");
    check("d.json", "{", "cannot be read");
    let missing = run(&["ota", "deploy", &image("1.4.3"), "--plan", "/no/such/plan.toml"]);
    assert!(text(&missing.stderr).contains("cannot read the plan /no/such/plan.toml"));
}
