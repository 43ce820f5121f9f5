//! What makes the program pleasant: the live table, images at the gateway, completions, manual pages.

use std::time::Duration;

use crate::program::{Gateway, Running, meshward, run, testdata, text};

#[test]
fn the_table_shows_nodes_once_or_again_and_again() {
    let node = Running::start(&["node", "--id", "31", "--listen", "127.0.0.1:0"]);
    let gateway = Gateway::start(&node.port());
    gateway.sees(1);
    let once = gateway.ask(&["top", "--once"]);
    let said = text(&once.stdout);
    assert!(once.status.success() && said.contains("31") && said.contains("% of the channel"), "{said}");
    assert!(!said.contains('\x1b'), "nobody but a terminal is drawn upon: {said:?}");
    let look = gateway.json(&["top", "--once", "--sort", "id"]);
    assert_eq!(look["nodes"][0]["id"], 31, "{look}");
    assert!(look["status"]["overhead"].is_object(), "{look}");
    let top = Running::start(&["top", "--json", "--interval", "1", "--url", &gateway.url]);
    for _ in 0..2 {
        let line: serde_json::Value = serde_json::from_str(&top.says("nodes")).unwrap();
        assert_eq!(line["nodes"][0]["id"], 31);
    }
    assert_eq!(top.terminate(), Some(0));
    let limited = gateway.json(&["top", "--once", "--limit", "0"]);
    assert_eq!(limited["nodes"].as_array().unwrap().len(), 0);
}

#[test]
fn a_new_build_is_offered_as_soon_as_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let node = Running::start(&["node", "--id", "31", "--listen", "127.0.0.1:0"]);
    let gateway = Gateway::start(&node.port());
    gateway.sees(1);
    let (old, new) = (testdata("firmware/node-c3-v1.4.2.bin"), testdata("firmware/node-c3-v1.4.3.bin"));
    std::fs::copy(&old, folder.path().join("old.bin")).unwrap();
    let path = folder.path().to_str().unwrap();
    let watch = ["firmware", "watch", path, "--settle", "300", "--url", &gateway.url];
    let watch = Running::start(&watch);
    watch.says("watching");
    // A compiler that stops half-way has not made an image; when it goes on, it has.
    let image = std::fs::read(&new).unwrap();
    let build = folder.path().join("new.bin");
    std::fs::write(&build, &image[..image.len() / 2]).unwrap();
    watch.logs("cut off");
    std::fs::write(&build, &image).unwrap();
    let line = watch.says("new.bin");
    assert!(line.contains("528944 bytes"), "{line}");
    let listed = gateway.json(&["firmware", "list"]);
    let names: Vec<&str> =
        listed.as_array().unwrap().iter().map(|image| image["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["new.bin"], "what was there before is not news");
    assert_eq!(watch.terminate(), Some(0));

    let added = gateway.ask(&["firmware", "add", old.to_str().unwrap()]);
    assert!(added.status.success() && text(&added.stdout).contains("not signed"), "{}", text(&added.stdout));
    let table = text(&gateway.ask(&["firmware", "list"]).stdout);
    assert!(table.contains("node-c3-v1.4.2.bin") && table.contains("new.bin"), "{table}");
}

#[test]
fn a_new_build_is_rolled_out() {
    let folder = tempfile::tempdir().unwrap();
    let flash = folder.path().join("31.flash");
    let image = testdata("firmware/node-c3-v1.4.2.bin");
    let node = ["node", "--id", "31", "--listen", "127.0.0.1:0", "--role", "sensor"];
    let files = ["--flash", flash.to_str().unwrap(), "--image", image.to_str().unwrap()];
    let node = Running::start(&[&node[..], &files].concat());
    let gateway = Gateway::start(&node.port());
    gateway.sees(1);
    let builds = tempfile::tempdir().unwrap();
    let path = builds.path().to_str().unwrap();
    let watch = ["firmware", "watch", path, "--settle", "300", "--url", &gateway.url, "--deploy"];
    let watch = Running::start(&[&watch[..], &["--role", "sensor", "--confirm-receiver"]].concat());
    watch.says("watching");
    std::fs::copy(testdata("firmware/node-c3-v1.4.3.bin"), builds.path().join("build.bin")).unwrap();
    watch.says("1 updated, 0 declined, 0 failed");
    assert!(node.says("boot 2").contains("528944 bytes"));
    assert_eq!(watch.terminate(), Some(0));
}

#[test]
fn what_the_gateway_knows_comes_as_a_file_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nodes.csv");
    let node = Running::start(&["node", "--id", "31", "--listen", "127.0.0.1:0"]);
    let gateway = Gateway::start(&node.port());
    gateway.sees(1);
    let lines = text(&gateway.ask(&["export", "nodes"]).stdout);
    let line: serde_json::Value = serde_json::from_str(lines.trim_end()).unwrap();
    assert_eq!(line["id"], 31, "{lines}");
    let csv = ["export", "nodes", "--format", "csv", "--output", file.to_str().unwrap()];
    assert!(gateway.ask(&csv).status.success());
    let table = std::fs::read_to_string(&file).unwrap();
    assert!(table.starts_with("id,name,state,") && table.contains("\r\n31,"), "{table}");
    // What was there before stays when nothing comes instead.
    let times = ["--from", "2026-03-02T00:00:00Z", "--to", "2026-03-01T00:00:00Z"];
    let refused =
        gateway.ask(&[&["export", "events", "--output", file.to_str().unwrap()], &times[..]].concat());
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused.stderr));
    assert!(!text(&refused.stderr).is_empty());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), table);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing half is left");
}

/// Brings an image to a C++ node by a gateway with these `[ota]` options: the seconds from the announcement until it had
/// all parts but the last, or why not.
fn sent_with(options: &str, scheme: &str) -> Result<f64, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("meshward.toml"), format!("[ota]\n{options}\n")).unwrap();
    let image = testdata("firmware/node-c3-v1.4.2.bin");
    let node = ["node", "--id", "31", "--listen", "127.0.0.1:0", "--role", "sensor"];
    let files = ["--flash", &path("31.flash"), "--image", image.to_str().unwrap()];
    let node = Running::start(&[&node[..], &files].concat());
    let gateway = Gateway::start_with(&node.port(), &["--config", &path("meshward.toml")]);
    gateway.sees(1);
    let new = testdata("firmware/node-c3-v1.4.3.bin");
    let deploy = ["ota", "deploy", new.to_str().unwrap(), "--role", "sensor", "--confirm-receiver"];
    let deployed = gateway.ask(&[&deploy[..], &["--scheme", scheme]].concat());
    if !deployed.status.success() {
        return Err(text(&deployed.stderr));
    }
    Ok(gateway.json(&["ota", "show", "1"])["transfers"]["stock_seconds"].as_f64().unwrap())
}

#[test]
fn an_operator_says_how_many_parts_a_second_go_and_whether_to_all() {
    // 517 parts.
    let seconds = sent_with("fixed_rate = 150", "auto").unwrap();
    assert!(seconds > 3.4, "{seconds}");
    let refused = sent_with("broadcast = false", "turbo").unwrap_err();
    assert!(refused.contains("ota.broadcast = false"), "{refused}");
    sent_with("broadcast = false", "auto").unwrap();
}

#[test]
fn shells_and_readers_of_manuals_are_served() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]);
        let script = text(&output.stdout);
        assert!(
            output.status.success() && script.contains("status-budget") && script.contains("firmware"),
            "{shell}"
        );
    }
    let checked = meshward(&["completions", "bash"]).output().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("meshward.bash");
    std::fs::write(&script, checked.stdout).unwrap();
    if let Ok(status) = std::process::Command::new("bash").arg("-n").arg(&script).status() {
        assert!(status.success(), "bash reads it");
    }
    let pages = folder.path().join("man");
    assert!(run(&["man", pages.to_str().unwrap()]).status.success());
    let page = std::fs::read_to_string(pages.join("meshward-ota-deploy.1")).unwrap();
    assert!(page.contains("confirm\\-receiver"), "{page}");
    assert!(pages.join("meshward.1").exists() && pages.join("meshward-doctor.1").exists());
}

#[test]
fn the_exit_codes_are_those_that_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.toml");
    std::fs::write(&broken, "x").unwrap();
    let broken = broken.to_str().unwrap();
    for (args, code) in [
        (&["config", "reference"][..], 0),
        (&["firmware", "add", "/nowhere/at/all.bin"], 1),
        (&["no", "such", "command"], 2),
        (&["top", "--once", "--url", "http://127.0.0.1:1"], 3),
        (&["firmware", "list", "--url", "http://127.0.0.1:1"], 3),
        (&["config", "check", "--config", broken], 4),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", text(&output.stderr));
        let help = text(&run(&["--help"]).stdout);
        assert!(help.lines().any(|line| line.starts_with(&format!("  {code}  "))), "{help}");
    }
    // A program that does not answer in time is waited for no longer than that.
    let begun = std::time::Instant::now();
    drop(run(&["doctor", "--url", "http://192.0.2.1:1"]));
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[test]
fn rules_are_written_tried_and_taken_away() {
    let folder = tempfile::tempdir().unwrap();
    let node = Running::start(&["node", "--id", "31", "--listen", "127.0.0.1:0"]);
    let gateway = Gateway::start(&node.port());
    gateway.sees(1);
    let file = folder.path().join("rule.json");
    let path = file.to_str().unwrap();
    let rule = r#"{"name": "hot", "signal": "chip_temperature_c", "side": "above", "raise": 70, "severity": "info"}"#;
    std::fs::write(&file, rule).unwrap();
    let tried = gateway.ask(&["rules", "test", "--file", path]);
    assert!(tried.status.success(), "{}", text(&tried.stderr));
    assert!(text(&gateway.ask(&["rules", "show", "hot"]).stderr).contains("no rule `hot`"));
    let set = gateway.ask(&["rules", "set", path]);
    assert!(text(&set.stdout).contains("hot: chip_temperature_c above 70"), "{set:?}");
    assert!(gateway.ask(&["rules", "disable", "low_heap"]).status.success());
    let rules = gateway.json(&["rules", "list"]);
    let enabled = |name: &str| {
        let rule = rules.as_array().unwrap().iter().find(|rule| rule["name"] == name).unwrap();
        rule["enabled"].as_bool().unwrap()
    };
    assert!(enabled("hot") && !enabled("low_heap"));
    assert!(text(&gateway.ask(&["rules", "list"]).stdout).contains("hot"));
    // What one rule is, another can be made of.
    let shown = text(&gateway.ask(&["rules", "show", "low_heap"]).stdout);
    std::fs::write(&file, shown.replace("low_heap", "lower_heap")).unwrap();
    assert!(gateway.ask(&["rules", "set", path]).status.success());
    for name in ["hot", "lower_heap", "low_heap"] {
        assert!(gateway.ask(&["rules", "remove", name]).status.success(), "{name}");
    }
    let again = gateway.ask(&["rules", "remove", "low_heap"]);
    assert!(text(&again.stderr).contains("is built in"), "{again:?}");
    for (content, said) in [
        ("nonsense", "no rule, nor a list of rules"),
        (r#"{"severity": "info", "state": "offline"}"#, "has no name"),
        (r#"{"name": "x", "severity": "info", "state": "sad"}"#, "there is no state `sad`"),
    ] {
        std::fs::write(&file, content).unwrap();
        let refused = gateway.ask(&["rules", "set", path]);
        assert!(!refused.status.success() && text(&refused.stderr).contains(said), "{content}: {refused:?}");
    }
}

#[test]
fn people_and_programs_are_let_in_and_out() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("mesh.db");
    let node = Running::start(&["node", "--id", "31", "--listen", "127.0.0.1:0"]);
    let gateway = Gateway::start_with(&node.port(), &["--store", store.to_str().unwrap()]);
    let (good, short) = (folder.path().join("good"), folder.path().join("short"));
    std::fs::write(&good, "correct horse battery\n").unwrap();
    std::fs::write(&short, "short").unwrap();
    let add = |name: &str, file: &std::path::Path| {
        gateway.ask(&["users", "add", name, "--role", "admin", "--password-file", file.to_str().unwrap()])
    };
    assert!(text(&add("ann", &short).stderr).contains("12"), "a password has twelve characters");
    assert!(add("ann", &good).status.success());
    assert!(text(&gateway.ask(&["users", "list"]).stdout).contains("ann"));
    // A program of hers, which may look and no more.
    let made = gateway.json(&["tokens", "create", "wall screen", "--user", "ann", "--days", "30"]);
    let secret = made["secret"].as_str().unwrap();
    let as_program = |args: &[&str]| gateway.ask(&[args, &["--token", secret]].concat());
    assert!(as_program(&["nodes"]).status.success());
    let refused = as_program(&["name", "31", "roof"]);
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    let listed = gateway.json(&["tokens", "list"]);
    let id =
        listed.as_array().unwrap().iter().find(|token| token["name"] == "wall screen").unwrap()["id"].clone();
    assert!(gateway.ask(&["tokens", "revoke", id.as_str().unwrap()]).status.success());
    assert_eq!(as_program(&["nodes"]).status.code(), Some(5));
    assert!(!gateway.ask(&["users", "remove", "bob"]).status.success());
    assert!(
        gateway.ask(&["users", "add", "bob", "--password-file", good.to_str().unwrap()]).status.success()
    );
    assert!(gateway.ask(&["users", "role", "bob", "operator"]).status.success());
    assert!(
        gateway
            .ask(&["users", "password", "bob", "--password-file", good.to_str().unwrap()])
            .status
            .success()
    );
    let users = gateway.json(&["users", "list"]);
    assert!(users.as_array().unwrap().iter().any(|user| user["name"] == "bob" && user["role"] == "operator"));
    assert!(gateway.ask(&["users", "remove", "bob"]).status.success());
}
