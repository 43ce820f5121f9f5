//! What a gateway does when its database takes nothing, its clock is wrong, or a listener sleeps: the mesh is looked
//! after, what cannot be promised is refused, and what waits is written when it can be.

use std::path::{Path, PathBuf};
use std::time::Duration;

use meshward_gateway::keep::Keeper;
use meshward_gateway::store::{Retention, Store, StoreOptions, StoreUrl};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::kept::store;
use super::stream::Reader;
use super::{NODE, PATIENCE, Service};
use crate::store::server::Server;

fn silence() -> Value {
    json!({"nodes": [NODE], "lasts_seconds": 600, "why": "a test"})
}

fn count(list: &Value) -> usize {
    list["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_full_disk_refuses_what_would_be_promised_and_nothing_else() {
    let (folder, first) = store().await;
    first.close().await;
    let url: StoreUrl = format!("sqlite:{}", folder.path().join("mesh.db").display()).parse().unwrap();
    let small = StoreOptions { size_max: Some(600_000), ..StoreOptions::default() };
    let store = Store::open_with(&url, &small).await.unwrap();
    let service = Service::start_on(Some(store)).await;
    let image = std::fs::read(testdata("firmware/node-c3-v1.4.2.bin")).unwrap();
    let upload = service.request(Method::POST, "/api/v1/firmware?name=a.bin").body(image);
    let refused = service.send(upload).await;
    refused.problem(507);
    assert!(refused.text.contains("nothing was done"), "{}", refused.text);
    assert_eq!(count(&service.ok("/api/v1/firmware").await), 0);
    // What is small finds its place, and the mesh is seen as before.
    assert_eq!(service.post("/api/v1/silences", silence()).await.status, 201);
    assert_eq!(service.ok("/api/v1/nodes").await["items"][0]["id"], NODE);
    service.stop().await;
}

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name)
}

#[tokio::test]
async fn a_database_that_cannot_be_written_is_named_before_anything_begins() {
    let (folder, first) = store().await;
    first.close().await;
    let url = format!("sqlite:{}", folder.path().join("mesh.db").display()).parse().unwrap();
    let read_only = StoreOptions { read_only: true, ..StoreOptions::default() };
    let store = Store::open_with(&url, &read_only).await.unwrap();
    let error = Keeper::open(store, Retention::default()).await.unwrap_err();
    assert!(matches!(error, meshward_gateway::store::StoreError::ReadOnly { .. }), "{error:?}");
}

/// The way to the database server, which can be blocked.
struct Way {
    socket: PathBuf,
    server: PathBuf,
    open: JoinSet<()>,
}

impl Way {
    fn open(&mut self) {
        let listener = UnixListener::bind(&self.socket).unwrap();
        let server = self.server.clone();
        self.open.spawn(async move {
            let mut through = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let server = server.clone();
                through.spawn(async move {
                    let mut server = UnixStream::connect(server).await.unwrap();
                    drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
                });
            }
        });
    }

    /// All connections end, and there is nobody to connect to.
    async fn close(&mut self) {
        self.open.shutdown().await;
        std::fs::remove_file(&self.socket).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_server_may_go_away_and_come_back() {
    let server = Server::get();
    let url = server.database().await;
    let folder = tempfile::tempdir().unwrap();
    let name = ".s.PGSQL.5432";
    let mut way =
        Way { socket: folder.path().join(name), server: server.folder().join(name), open: JoinSet::new() };
    way.open();
    let there = server.folder().display().to_string();
    let url: StoreUrl = url.replace(&there, &folder.path().display().to_string()).parse().unwrap();
    let busy = StoreOptions { busy: Duration::from_millis(500), ..StoreOptions::default() };
    let service = Service::start_on(Some(Store::open_with(&url, &busy).await.unwrap())).await;
    assert_eq!(service.post("/api/v1/silences", silence()).await.status, 201);

    way.close().await;
    let refused = service.post("/api/v1/silences", silence()).await;
    refused.problem(503);
    assert!(refused.text.contains("nothing was done"), "{}", refused.text);
    assert_eq!(count(&service.ok("/api/v1/silences").await), 1);
    // The mesh is looked after as before, and what happens meanwhile is kept for later.
    assert_eq!(service.ok("/api/v1/nodes").await["items"][0]["id"], NODE);
    let asked = service.post("/api/v1/queries?wait=true", json!({"nodes": [NODE]})).await;
    assert_eq!(asked.status, 200, "nothing is promised by a question: {}", asked.text);
    let last = service.ok("/api/v1/events?last=1").await["next"].as_u64().unwrap();

    way.open();
    let deadline = std::time::Instant::now() + PATIENCE;
    while service.post("/api/v1/silences", silence()).await.status != 201 {
        assert!(std::time::Instant::now() < deadline, "the database is used again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let kept = |events: &Value| events["items"].as_array().unwrap().iter().any(|event| event["id"] == last);
    service.until("/api/v1/events/history", kept).await;
    service.stop().await;
    way.close().await;
}

#[tokio::test]
async fn a_clock_that_was_set_back_hides_and_repeats_nothing() {
    let (folder, store) = store().await;
    let service = Service::start_on(Some(store.clone())).await;
    let named =
        service.request(Method::PUT, &format!("/api/v1/nodes/{NODE}/name")).json(&json!({"name": "roof"}));
    assert_eq!(service.send(named).await.status, 200);
    let named = |nodes: &Value| count(nodes) > 0;
    service.until("/api/v1/events/history", named).await;
    service.stop().await;
    let before = store.events(&Default::default(), 1).await.unwrap()[0].id;
    store.close().await;
    // All that was kept is a year ahead of the clock now.
    let year = 31_536_000_000_i64;
    let path = folder.path().join("mesh.db");
    for column in ["events SET at = at", "topology SET at = at", "lease SET expires = expires"] {
        crate::store::kit::meddle_with(&path, &format!("UPDATE {column} + {year}")).await;
    }
    let seen = format!("UPDATE nodes SET first_seen = first_seen + {year}, last_seen = last_seen + {year}");
    crate::store::kit::meddle_with(&path, &seen).await;

    let url: StoreUrl = format!("sqlite:{}", path.display()).parse().unwrap();
    let service = Service::start_on(Some(Store::open(&url).await.unwrap())).await;
    let node = service.ok(&format!("/api/v1/nodes/{NODE}")).await;
    assert_eq!(node["name"], "roof", "{node}");
    let heard: jiff::Timestamp = node["last_heard_at"].as_str().unwrap().parse().unwrap();
    let now = jiff::Timestamp::now();
    assert!(heard <= now, "{node}");
    service.until(&format!("/api/v1/nodes/{NODE}"), |node| node["state"] == "online").await;
    let newer = |events: &Value| events["items"][0]["id"].as_u64() > Some(before);
    let events = service.until("/api/v1/events/history?limit=1", newer).await;
    let at: jiff::Timestamp = events["items"][0]["at"].as_str().unwrap().parse().unwrap();
    assert!(at < now.checked_add(jiff::SignedDuration::from_hours(1)).unwrap(), "{events}");
    service.stop().await;
}

#[tokio::test]
async fn a_listener_that_sleeps_holds_up_nobody() {
    let service = Service::start().await;
    let address: std::net::SocketAddr = service.url.strip_prefix("http://").unwrap().parse().unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    // So that little fits between the two.
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut sleeper = socket.connect(address).await.unwrap();
    let request = format!(
        "GET /api/v1/events/stream HTTP/1.1\r\nhost: {address}\r\nauthorization: {}\r\n\r\n",
        service.bearer
    );
    sleeper.write_all(request.as_bytes()).await.unwrap();
    // It has begun to listen, and never reads again.
    sleeper.readable().await.unwrap();
    let mut reader = Reader::open(&service, "?topics=nodes", None).await;
    for number in 0..300 {
        let path = format!("/api/v1/nodes/{NODE}/name");
        let name = json!({"name": number.to_string()});
        let renamed = service.send(service.request(Method::PUT, &path).json(&name)).await;
        assert_eq!(renamed.status, 200, "{}", renamed.text);
    }
    while reader.until("nodes.changed").await.data["name"] != "299" {}
    drop(reader);
    service.stop().await;
    drop(sleeper);
}
