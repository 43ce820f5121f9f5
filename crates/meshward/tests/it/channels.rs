//! Channels from the command line, against a gateway that keeps its database.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use serde_json::Value;

use crate::program::{Gateway, text};

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
