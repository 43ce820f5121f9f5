//! `meshward doctor`, with everything well and with one thing after the other broken.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::configuration::file;
use crate::program::{Gateway, Running, run};

/// A port that is free when it is asked for.
pub(crate) fn free() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// What is said with this configuration, and whether all is well.
pub(crate) fn doctor(config: &Path, url: &str) -> (Vec<Value>, Option<i32>) {
    let output = run(&["doctor", "--json", "--config", config.to_str().unwrap(), "--url", url]);
    let checks: Value = serde_json::from_slice(&output.stdout).unwrap();
    (checks.as_array().unwrap().clone(), output.status.code())
}

/// The level of a check, and what was found.
pub(crate) fn found(checks: &[Value], check: &str) -> (String, String) {
    let line =
        checks.iter().find(|line| line["check"] == check).unwrap_or_else(|| panic!("no {check}: {checks:?}"));
    let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
    assert_eq!(line["level"] == "ok", line["advice"].is_null(), "what is not well has an advice: {line}");
    (text("level"), text("found"))
}

#[test]
fn a_gateway_that_is_well_passes() {
    let folder = tempfile::tempdir().unwrap();
    let node = Running::start(&["node", "--id", "31", "--listen", "127.0.0.1:0"]);
    let peer = node.port();
    let http = free();
    let content = format!(
        "[mesh]\npeers = [\"{peer}\"]\n[http]\nlisten = \"{http}\"\n[ota]\noperator_key = \"operator.key\"\n"
    );
    let config = file(folder.path(), &content);
    let gateway = Gateway::of(&["gateway", "--config", config.to_str().unwrap()]);
    gateway.sees(1);
    crate::status::until(&gateway, &["nodes"], |nodes| crate::status::state(nodes, 31) == "online");
    let (checks, code) = doctor(&config, &gateway.url);
    for check in [
        "configuration",
        "clock",
        "operator key",
        "folder",
        "REST port",
        "peer",
        "gateway",
        "version",
        "mesh",
    ] {
        assert_eq!(found(&checks, check).0, "ok", "{checks:?}");
    }
    assert!(found(&checks, "REST port").1.contains("as a gateway runs"), "{checks:?}");
    assert!(found(&checks, "mesh").1.contains("1 of 1"), "{checks:?}");
    // Whether the disk of this machine is full is not the gateway's.
    assert_eq!(code, Some(i32::from(checks.iter().any(|line| line["level"] == "fail"))));
}

#[test]
fn each_thing_that_is_broken_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let nobody = free();
    let key = folder.path().join("open.key");
    let key = key.to_str().unwrap();
    let author = folder.path().join("author.key");
    let author = author.to_str().unwrap();
    assert!(run(&["firmware", "keygen", "--kind", "operator", "-o", key]).status.success());
    assert!(run(&["firmware", "keygen", "--kind", "author", "-o", author]).status.success());
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o644)).unwrap();
    for (content, check, level, needle) in [
        ("[mesh]\nid = 0\n".to_owned(), "configuration", "fail", "2:6: mesh.id is 0".to_owned()),
        (String::new(), "configuration", "fail", "no way into a mesh".to_owned()),
        (format!("[mesh]\npeers = [\"{nobody}\"]"), "peer", "fail", "cannot be reached".to_owned()),
        (format!("[http]\nlisten = \"{taken}\""), "REST port", "fail", "another program".to_owned()),
        (format!("[mesh]\nlisten = \"{taken}\""), "mesh port", "fail", "another program".to_owned()),
        (
            "[http]\nlisten = \"192.0.2.1:80\"".to_owned(),
            "REST port",
            "fail",
            "no address of this machine".to_owned(),
        ),
        ("[http]\nlisten = \"0.0.0.0:0\"".to_owned(), "TLS", "fail", "there is no TLS".to_owned()),
        (
            "[http]\nlisten = \"0.0.0.0:0\"\nallow_insecure = true".to_owned(),
            "TLS",
            "warn",
            "there is no TLS".to_owned(),
        ),
        ("[http]\ncertificate = \"x.pem\"".to_owned(), "TLS", "fail", "one is missing".to_owned()),
        (
            "[http]\ncertificate = \"x.pem\"\ncertificate_key = \"x.key\"".to_owned(),
            "TLS",
            "fail",
            "x.pem cannot be read".to_owned(),
        ),
        (format!("[ota]\noperator_key = \"{key}\""), "operator key", "fail", "mode 0644".to_owned()),
        (format!("[ota]\noperator_key = \"{author}\""), "operator key", "fail", "kind author".to_owned()),
        (
            "[ota]\noperator_key = \"meshward.toml\"".to_owned(),
            "operator key",
            "fail",
            "meshward.toml".to_owned(),
        ),
        (
            "[ota]\noperator_key = \"new.key\"".to_owned(),
            "operator key",
            "warn",
            "at the first start".to_owned(),
        ),
        (String::new(), "operator key", "warn", "each start makes another".to_owned()),
        ("[ota]\noperator_key = \"none/o.key\"".to_owned(), "folder", "fail", "is not there".to_owned()),
        (
            "[ota]\noperator_key = \"/proc/o.key\"".to_owned(),
            "folder",
            "fail",
            "cannot be written".to_owned(),
        ),
        (String::new(), "gateway", "fail", "no gateway answers".to_owned()),
    ] {
        let config = file(folder.path(), &content);
        let (checks, code) = doctor(&config, &format!("http://{nobody}"));
        let (is, said) = found(&checks, check);
        assert_eq!(is, level, "{content}: {checks:?}");
        assert!(said.contains(&needle), "{content}: {said}");
        assert_eq!(code, Some(1), "a gateway that does not answer is a failure, whatever else");
    }
}
