//! `meshward profile`, and which gateway a command asks.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::program::{Gateway, Running, meshward, text};

/// A command of somebody whose settings are there.
fn mine(home: &Path, args: &[&str]) -> Command {
    let mut command = meshward(args);
    command.env("XDG_CONFIG_HOME", home);
    command
}

fn run(home: &Path, args: &[&str]) -> Output {
    mine(home, args).output().unwrap()
}

#[test]
fn gateways_are_added_used_and_removed() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let list = || -> serde_json::Value {
        serde_json::from_slice(&run(home, &["profile", "list", "--json"]).stdout).unwrap()
    };
    assert_eq!(list().as_array().unwrap().len(), 0);
    let mut add =
        mine(home, &["profile", "add", "plant", "--gateway", "https://plant:1/", "--token-file", "-"]);
    let mut add = add.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    add.stdin.take().unwrap().write_all(b"secret-of-the-plant\n").unwrap();
    let added = add.wait_with_output().unwrap();
    assert!(added.status.success() && !text(&added.stdout).contains("secret"), "{}", text(&added.stdout));
    assert!(run(home, &["profile", "add", "home", "--gateway", "http://127.0.0.1:1"]).status.success());

    let file = home.join("meshward/profiles.toml");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(std::fs::read_to_string(&file).unwrap().contains("secret-of-the-plant"));
    let said = text(&run(home, &["profile", "list"]).stdout);
    assert!(said.contains("https://plant:1") && !said.contains("secret"), "{said}");
    let line = |name: &str, url: &str, has_token: bool, current: bool| serde_json::json!({"name": name, "url": url, "has_token": has_token, "current": current});
    let (home_url, plant_url) = ("http://127.0.0.1:1", "https://plant:1");
    let want = [line("home", home_url, false, false), line("plant", plant_url, true, true)];
    assert_eq!(list(), serde_json::json!(want));

    assert!(run(home, &["profile", "use", "home"]).status.success());
    assert!(run(home, &["profile", "remove", "plant"]).status.success());
    assert_eq!(list(), serde_json::json!([line("home", home_url, false, true)]));
    assert!(!std::fs::read_to_string(&file).unwrap().contains("secret"));
    let asked = run(home, &["nodes"]);
    assert_eq!(asked.status.code(), Some(3), "{}", text(&asked.stderr));
    assert!(text(&asked.stderr).contains(home_url), "{}", text(&asked.stderr));
    assert!(run(home, &["profile", "remove", "home"]).status.success());
    assert_eq!(list().as_array().unwrap().len(), 0);
}

#[test]
fn a_command_asks_the_gateway_that_is_named_nearest() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let node = Running::start(&["node", "--id", "31", "--listen", "127.0.0.1:0"]);
    let gateway = Gateway::start(&node.port());
    for (name, url) in [("real", &*gateway.url), ("gone", "http://127.0.0.1:1")] {
        assert!(run(home, &["profile", "add", name, "--gateway", url]).status.success());
    }
    assert!(run(home, &["profile", "use", "gone"]).status.success());
    let (variable, name) = ("MESHWARD_URL", "MESHWARD_PROFILE");
    let status = ["status"];
    let by_profile = ["status", "--profile", "real"];
    for (command, code) in [
        (&mut mine(home, &status), 3),
        (&mut mine(home, &by_profile), 0),
        (mine(home, &status).env(name, "real"), 0),
        (mine(home, &status).env(variable, &gateway.url), 0),
        (mine(home, &by_profile).env(variable, "http://127.0.0.1:1"), 0),
        (mine(home, &["status", "--url", &gateway.url]).env(name, "gone"), 0),
    ] {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{command:?}: {}", text(&output.stderr));
    }
}

#[test]
fn profiles_that_cannot_be_used_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    for (args, code, needle) in [
        (&["profile", "add", "a b", "--gateway", "http://x"][..], 2, "letters"),
        (&["profile", "add", "a", "--gateway", "x"], 2, "write a URL"),
        (&["profile", "add", "a", "--gateway", "http://x", "--token-file", "/nowhere"], 1, "/nowhere"),
        (&["profile", "add", "a", "--gateway", "http://x", "--token-file", "/dev/null"], 1, "no token"),
        (&["profile", "use", "a"], 4, "no profile `a`"),
        (&["nodes", "--profile", "a"], 4, "no profile `a`"),
    ] {
        let output = run(home, args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(needle), "{args:?}: {}", text(&output.stderr));
        assert!(!home.join("meshward").exists(), "{args:?} leaves nothing behind");
    }
    assert!(run(home, &["profile", "add", "a", "--gateway", "http://x"]).status.success());
    let file = home.join("meshward/profiles.toml");
    for (content, mode, needle) in [
        ("current = \"a\"\n", 0o644, "chmod 600"),
        ("current = \"a\"\nnonsense = 1\n", 0o600, "line 2, column 1"),
        ("current = 3\n", 0o600, "line 1, column 11"),
    ] {
        std::fs::write(&file, content).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let output = run(home, &["nodes"]);
        assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains(needle), "{}", text(&output.stderr));
        // Who names an address needs none of it.
        assert_eq!(run(home, &["nodes", "--url", "http://127.0.0.1:1"]).status.code(), Some(3));
    }
}
