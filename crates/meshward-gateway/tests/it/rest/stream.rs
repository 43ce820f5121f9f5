//! The stream of events.

use reqwest::Method;
use serde_json::{Value, json};

use super::{NODE, PATIENCE, Service};

/// A stream that is read event by event.
pub(super) struct Reader {
    response: reqwest::Response,
    text: String,
}

/// Name, id and data.
#[derive(Debug)]
pub(super) struct Read {
    name: String,
    id: String,
    pub(super) data: Value,
}

impl Reader {
    pub(super) async fn open(service: &Service, query: &str, last: Option<&str>) -> Self {
        let url = format!("{}/api/v1/events/stream{query}", service.url);
        let request = service.http.request(Method::GET, url);
        let request = last.iter().fold(request, |request, last| request.header("last-event-id", *last));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert!(response.headers().get("etag").is_none());
        Self { response, text: String::new() }
    }

    /// The next event; nothing when the stream ends.
    async fn next(&mut self) -> Option<Read> {
        tokio::time::timeout(PATIENCE, self.read()).await.expect("an event comes")
    }

    async fn read(&mut self) -> Option<Read> {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                let field = |name: &str| {
                    block
                        .lines()
                        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                        .map(str::to_owned)
                };
                if let (Some(name), Some(id), Some(data)) = (field("event"), field("id"), field("data")) {
                    return Some(Read { name, id, data: serde_json::from_str(&data).unwrap() });
                }
            }
            let chunk = self.response.chunk().await.ok().flatten()?;
            self.text.push_str(&String::from_utf8_lossy(&chunk));
        }
    }

    /// Reads on until an event is of this name.
    pub(super) async fn until(&mut self, name: &str) -> Read {
        loop {
            let read = self.next().await.expect("the stream goes on");
            if read.name == name {
                return read;
            }
        }
    }
}

async fn rename(service: &Service, name: &str) {
    let path = format!("/api/v1/nodes/{NODE}/name");
    let renamed = service.send(service.request(Method::PUT, &path).json(&json!({"name": name}))).await;
    assert_eq!(renamed.status, 200, "{}", renamed.text);
}

#[tokio::test]
async fn a_stream_begins_with_everything_and_goes_on_with_what_changes() {
    let service = Service::start().await;
    let mut reader = Reader::open(&service, "?topics=nodes,mesh", None).await;
    let first = reader.next().await.unwrap();
    assert_eq!((&*first.name, &first.data["nodes"][0]["id"]), ("snapshot", &json!(NODE)));
    assert!(first.data["mesh"]["score"].is_object() && first.data.get("alerts").is_none(), "{}", first.data);
    rename(&service, "roof").await;
    let mut changed = reader.until("nodes.changed").await;
    while changed.data["name"] != "roof" {
        changed = reader.until("nodes.changed").await;
    }
    service.stop().await;
    while reader.next().await.is_some() {}
}

#[tokio::test]
async fn who_comes_back_gets_what_it_missed_or_begins_again() {
    let service = Service::start().await;
    let mut reader = Reader::open(&service, "?topics=nodes", None).await;
    let had = reader.next().await.unwrap().id;
    rename(&service, "cellar").await;
    let mut changed = reader.until("nodes.changed").await;
    while changed.data["name"] != "cellar" {
        changed = reader.until("nodes.changed").await;
    }
    drop(reader);
    let mut again = Reader::open(&service, "?topics=nodes", Some(&had)).await;
    let mut missed = again.next().await.unwrap();
    assert_eq!(missed.name, "nodes.changed", "no snapshot");
    while missed.id != changed.id {
        missed = again.next().await.unwrap();
    }
    assert_eq!(missed.data, changed.data);
    for stale in ["0-1", "nonsense", "-"] {
        let mut stranger = Reader::open(&service, "?topics=nodes", Some(stale)).await;
        assert_eq!(stranger.next().await.unwrap().name, "reset", "{stale}");
        assert_eq!(stranger.next().await.unwrap().name, "snapshot");
    }
    service.stop().await;
}

#[tokio::test]
async fn there_are_only_so_many_streams() {
    let service = Service::start().await;
    let mut open = Vec::new();
    for _ in 0..64 {
        open.push(Reader::open(&service, "?topics=alerts", None).await);
    }
    service.get("/api/v1/events/stream").await.problem(429);
    open.pop();
    let path = format!("{}/api/v1/events/stream", service.url);
    let deadline = std::time::Instant::now() + PATIENCE;
    // The service notices that a client has gone when it writes to it.
    let again = || service.http.get(&path).send();
    while again().await.unwrap().status() != 200 {
        assert!(std::time::Instant::now() < deadline, "a place is given back");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    service.stop().await;
}
