//! Channels from the command line, against a gateway that keeps its database.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use serde_json::Value;

use crate::program::{Gateway, run, text};

/// Takes one request and says yes; its head and body.
fn receiver() -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let taking = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut got = Vec::new();
        let mut buffer = [0; 4_096];
        // The body ends with the object that its beginning opens.
        while !got.ends_with(b"}") {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "the request ends early");
            got.extend_from_slice(&buffer[..count]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        text(&got)
    });
    (url, taking)
}

#[test]
fn a_channel_of_the_configuration_tells_and_is_changed_there_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (url, taking) = receiver();
    std::fs::write(path("hook.url"), format!("{url}\n")).unwrap();
    std::fs::write(path("hook.secret"), "0123456789abcdef\n").unwrap();
    let config = |more: &str| {
        let text = format!(
            "[mesh]\npeers = [\"127.0.0.1:9\"]\n[http]\nlisten = \"127.0.0.1:0\"\n\
             [[notify.channel]]\nid = \"ops\"\nkind = \"webhook\"\n{more}"
        );
        std::fs::write(path("meshward.toml"), text).unwrap();
    };
    // What cannot work is said at the start, with the channel.
    let meshward = |args: &[&str]| {
        let output = run(args);
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (file, store) = (path("meshward.toml"), path("mesh.db"));
    let gateway = ["gateway", "--config", &file, "--store", &store];
    for (more, why) in [
        ("url_file = \"nowhere\"\n", "url_file"),
        ("url = \"ftp://example.org/\"\n", "http"),
        ("chat = \"x\"\nurl_file = \"hook.url\"\n", "chat"),
    ] {
        config(more);
        let (code, _, wrong) = meshward(&gateway);
        assert!(code != Some(0) && wrong.contains("`ops`") && wrong.contains(why), "{more}: {wrong}");
    }
    config("url_file = \"hook.url\"\nsecret_file = \"hook.secret\"\n");
    let (code, shown, _) = meshward(&["config", "show", "--config", &file]);
    assert!(
        code == Some(0) && shown.contains("hook.secret") && !shown.contains("0123456789abcdef"),
        "{shown}"
    );
    let gateway = Gateway::of(&gateway);
    let listed = gateway.json(&["channels", "list"]);
    assert_eq!((&listed[0]["id"], &listed[0]["configured"]), (&"ops".into(), &true.into()));
    let tried = gateway.ask(&["channels", "test", "ops"]);
    assert!(tried.status.success(), "{tried:?}");
    assert!(taking.join().unwrap().contains("x-signature-256: sha256="));
    let removed = gateway.ask(&["channels", "remove", "ops"]);
    let wrong = text(&removed.stderr);
    assert!(!removed.status.success() && wrong.contains("[[notify.channel]]"), "{wrong}");
    assert_eq!(gateway.process.terminate(), Some(0));
}

#[test]
fn a_channel_is_added_tried_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("secret"), "0123456789abcdef\n").unwrap();
    let gateway = Gateway::start_with("127.0.0.1:9", &["--store", &path("mesh.db")]);
    let said = |args: &[&str]| {
        let output = gateway.ask(args);
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (_, none, _) = said(&["channels", "list"]);
    assert!(none.contains("nobody is told"), "{none}");
    let (url, taking) = receiver();
    let add =
        ["channels", "add", "ops", "--kind", "webhook", "--to-url", &url, "--secret-file", &path("secret")];
    let (code, added, wrong) = said(&add);
    assert_eq!(code, Some(0), "{wrong}");
    assert!(added.starts_with("ops tells http://127.0.0.1:"), "{added}");
    let (code, tested, wrong) = said(&["channels", "test", "ops"]);
    assert_eq!(code, Some(0), "{tested}{wrong}");
    let request = taking.join().unwrap();
    assert!(
        request.contains("x-signature-256: sha256=") && !request.contains("0123456789abcdef"),
        "{request}"
    );
    // Nobody is there any more.
    let (code, tested, _) = said(&["channels", "test", "ops"]);
    assert!(code == Some(1) && tested.contains("not delivered"), "{code:?} {tested}");
    let letters: Value = gateway.json(&["channels", "deliveries", "ops", "--dead"]);
    assert_eq!((letters[0]["state"].as_str(), letters[0]["notice"].as_str()), (Some("dead"), Some("test")));
    let listed = gateway.json(&["channels", "list"]);
    assert_eq!((&listed[0]["id"], &listed[0]["secrets"][0]), (&"ops".into(), &"secret".into()));
    let (code, _, wrong) = said(&["channels", "add", "Ops!", "--kind", "mqtt"]);
    assert!(code != Some(0) && wrong.contains("`Ops!` is no name of a channel"), "{wrong}");
    assert_eq!(said(&["channels", "remove", "ops"]).0, Some(0));
    assert_ne!(said(&["channels", "test", "ops"]).0, Some(0));
    assert_eq!(gateway.process.terminate(), Some(0));
}
