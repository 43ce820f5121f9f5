//! The configuration as operators use it: files, variables, options, and what is said of mistakes.

use std::path::{Path, PathBuf};

use crate::program::{Running, meshward, run, text};

/// A file with this text.
pub(crate) fn file(folder: &Path, content: &str) -> PathBuf {
    let path = folder.join("meshward.toml");
    std::fs::write(&path, content).unwrap();
    path
}

#[test]
fn a_broken_file_ends_the_gateway_with_every_mistake_and_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "[mesh]\npeers = [\"a b\"]\n\n[http]\nlisten = 8080\nport = 1\n");
    let path = path.to_str().unwrap();
    for args in [&["gateway", "--config", path][..], &["config", "check", "--config", path]] {
        let output = run(args);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{said}");
        for place in
            ["2:10: mesh.peers is `a b`", "5:10: http.listen is 8080", "6:1: there is no key http.port"]
        {
            assert!(said.contains(&format!("{path}:{place}")), "{place}: {said}");
        }
        assert!(said.contains("3 mistakes") && said.contains("listen = 8080"), "{said}");
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let long = folder.path().join("long.toml");
    std::fs::write(&long, " ".repeat((1 << 20) + 1)).unwrap();
    let binary = folder.path().join("binary.toml");
    std::fs::write(&binary, b"\xFF\xFE").unwrap();
    for (path, needle) in [
        (folder.path().join("none.toml"), "No such file"),
        (folder.path().to_owned(), "directory"),
        (long, "1048577 bytes"),
        (binary, "UTF-8"),
    ] {
        let path = path.to_str().unwrap();
        let output = run(&["config", "check", "--config", path]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{said}");
        assert!(said.contains(path) && said.contains(needle), "{said}");
    }
}

#[test]
fn the_file_is_found_in_the_usual_places_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let home = tempfile::tempdir().unwrap();
    let of_home = home.path().join("meshward");
    std::fs::create_dir(&of_home).unwrap();
    let named = tempfile::tempdir().unwrap();
    let named = file(named.path(), "[mesh]\nname = \"named\"\n");
    let name = |arranged: &mut std::process::Command| {
        let output =
            arranged.current_dir(folder.path()).env("XDG_CONFIG_HOME", home.path()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let keys: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let keys = keys.as_array().unwrap();
        let line = keys.iter().find(|line| line["key"] == "mesh.name").unwrap();
        (line["value"].as_str().unwrap().to_owned(), line["origin"].as_str().unwrap().to_owned())
    };
    let show = ["config", "show", "--json"];
    let said = |value: &str, origin: &str| (format!("\"{value}\""), origin.to_owned());
    file(&of_home, "\n[mesh]\nname = \"home\"\n");
    assert_eq!(name(&mut meshward(&show)), said("home", "line 3"));
    file(folder.path(), "[mesh]\nname = \"here\"\n");
    assert_eq!(name(&mut meshward(&show)), said("here", "line 2"));
    assert_eq!(name(meshward(&show).env("MESHWARD_CONFIG", &named)), said("named", "line 2"));
    let named = named.to_str().unwrap();
    assert_eq!(name(&mut meshward(&[&show[..], &["--config", named]].concat())), said("named", "line 2"));
    let variable = "MESHWARD_MESH__NAME";
    assert_eq!(name(meshward(&show).env(variable, "variable")), said("variable", variable));
}

#[test]
fn a_gateway_does_what_its_file_says_and_its_options_before_that() {
    let folder = tempfile::tempdir().unwrap();
    let node = Running::start(&["node", "--id", "31", "--listen", "127.0.0.1:0"]);
    let port = node.port();
    let content = format!(
        "[mesh]\npeers = [\"{port}\"]\nid = 7\n[http]\nlisten = \"127.0.0.1:0\"\n[status]\nbudget_percent = 3\n\
         query_interval = \"1 min\"\n[ota]\nrollouts = false\noperator_key = \"operator.key\"\n[log]\nformat = \"json\"\n"
    );
    let path = file(folder.path(), &content);
    let gateway = crate::program::Gateway::of(&["gateway", "--config", path.to_str().unwrap(), "--id", "8"]);
    assert_eq!(gateway.greeting.split(':').next(), Some("gateway 8"));
    gateway.sees(1);
    let status = gateway.json(&["status"]);
    assert_eq!(status["overhead"]["budget_percent"], 3.0, "{status}");
    assert_eq!(status["overhead"]["period_seconds"], 60.0, "{status}");
    // Beside the configuration, not where the program was started.
    assert!(folder.path().join("operator.key").exists() && folder.path().join("operator.key.pub").exists());
    let image = crate::program::testdata("firmware/node-c3-v1.4.3.bin");
    let deploy = ["ota", "deploy", image.to_str().unwrap(), "--role", "sensor", "--confirm-receiver"];
    let refused = gateway.ask(&deploy);
    assert!(text(&refused.stderr).contains("ota.rollouts = false"), "{}", text(&refused.stderr));
}
