//! The stream by WebSocket, with a client that other people wrote.

use futures_util::{SinkExt as _, StreamExt as _};
use meshward_gateway::rest::access::Role;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::{NODE, PATIENCE, Service};
use crate::access::kit::{Kit, PASSWORD, Wanted, cookie};

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

/// Opens one with these headers; else the status and the answer.
async fn open(url: &str, headers: &[(&'static str, String)]) -> Result<Client, (u16, String)> {
    let mut request = url.replacen("http", "ws", 1).into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    match connect_async(request).await {
        Ok((stream, _)) => Ok(Client(stream)),
        Err(Error::Http(answer)) => {
            let body = answer.body().clone().unwrap_or_default();
            Err((answer.status().as_u16(), String::from_utf8_lossy(&body).into_owned()))
        }
        Err(error) => panic!("{error}"),
    }
}

impl Client {
    async fn of(service: &Service, query: &str) -> Self {
        let url = format!("{}/api/v1/ws{query}", service.url);
        open(&url, &[("authorization", service.bearer.clone())]).await.unwrap()
    }

    /// The next message with words; nothing when the conversation is over.
    async fn next(&mut self) -> Option<Value> {
        let read = async {
            loop {
                match self.0.next().await? {
                    Ok(Message::Text(text)) => return Some(serde_json::from_str(text.as_str()).unwrap()),
                    Ok(Message::Close(_)) | Err(_) => return None,
                    Ok(_) => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("a message comes")
    }

    /// Reads on until an event is of this name.
    async fn until(&mut self, event: &str) -> Value {
        loop {
            let read = self.next().await.expect("it goes on");
            if read["event"] == event {
                return read;
            }
        }
    }

    async fn say(&mut self, text: impl Into<String>) {
        self.0.send(Message::text(text.into())).await.unwrap();
    }
}

async fn rename(service: &Service, name: &str) {
    let path = format!("/api/v1/nodes/{NODE}/name");
    let renamed = service.send(service.request(Method::PUT, &path).json(&json!({"name": name}))).await;
    assert_eq!(renamed.status, 200, "{}", renamed.text);
}

#[tokio::test]
async fn what_comes_is_what_the_stream_has_and_topics_can_be_chosen() {
    let service = Service::start().await;
    let mut client = Client::of(&service, "?topics=alerts").await;
    let first = client.next().await.unwrap();
    assert_eq!(first["event"], "snapshot");
    assert!(first["data"]["alerts"].is_array() && first["data"].get("nodes").is_none(), "{first}");
    client.say(r#"{"ping": {"at": 7}}"#).await;
    assert_eq!(client.until("pong").await["data"], json!({"at": 7}));
    client.say(r#"{"subscribe": ["nodes"]}"#).await;
    let chosen = client.until("snapshot").await;
    assert_eq!(chosen["data"]["nodes"][0]["id"], NODE);
    client.say(r#"{"subscribe": ["mesh"]}"#).await;
    let again = client.until("problem").await;
    assert_eq!(
        (&again["data"]["status"], &again["data"]["title"]),
        (&json!(429), &json!("Too Many Requests"))
    );
    rename(&service, "roof").await;
    let mut changed = client.until("nodes.changed").await;
    while changed["data"]["name"] != "roof" {
        changed = client.until("nodes.changed").await;
    }
    // Who comes back gets what it missed, and no snapshot; of what nobody has any more a reset.
    let had = chosen["id"].as_str().unwrap();
    drop(client);
    let mut back = Client::of(&service, &format!("?topics=nodes&last={had}")).await;
    assert_eq!(back.next().await.unwrap()["event"], "nodes.changed");
    let mut stale = Client::of(&service, "?topics=nodes&last=0-1").await;
    assert_eq!(stale.next().await.unwrap()["event"], "reset");
    assert_eq!(stale.next().await.unwrap()["event"], "snapshot");
    service.stop().await;
    while back.next().await.is_some() {}
}

#[tokio::test]
async fn what_makes_no_sense_is_answered_and_not_obeyed() {
    let service = Service::start().await;
    let mut client = Client::of(&service, "?topics=alerts").await;
    assert_eq!(client.next().await.unwrap()["event"], "snapshot");
    for (text, status, part) in [
        ("nonsense".to_owned(), 400, "subscribe"),
        ("{}".to_owned(), 400, "subscribe"),
        (r#"{"reboot": true}"#.to_owned(), 400, "unknown variant"),
        (r#"{"subscribe": "nodes"}"#.to_owned(), 400, "subscribe"),
        (r#"{"subscribe": ["weather"]}"#.to_owned(), 400, "topic `weather` is none"),
        (format!("{{\"ping\": \"{}\"}}", "x".repeat(5_000)), 413, "4096 are the most"),
    ] {
        client.say(&text).await;
        let problem = client.until("problem").await;
        let detail = problem["data"]["detail"].as_str().unwrap();
        assert_eq!(problem["data"]["status"], status, "{text}");
        assert!(detail.contains(part), "{text}: {detail}");
    }
    client.0.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_eq!(client.until("problem").await["data"]["status"], 415);
    client.say(r#"{"ping": 1}"#).await;
    assert_eq!(client.until("pong").await["data"], 1, "it is still there");
    // Something that is not even taken in.
    client.say("x".repeat(100_000)).await;
    while client.next().await.is_some() {}

    let url = format!("{}/api/v1/ws", service.url);
    let bearer = [("authorization", service.bearer.clone())];
    let refused = open(&format!("{url}?topics=weather"), &bearer).await.map(drop).unwrap_err();
    assert_eq!(refused.0, 400);
    assert!(refused.1.contains("topic `weather` is none"), "{}", refused.1);
    assert_eq!(open(&url, &[]).await.map(drop).unwrap_err().0, 401);
    service.get("/api/v1/ws").await.problem(426);
    service.stop().await;
}

#[tokio::test]
async fn a_page_elsewhere_reads_nothing_with_a_session() {
    let kit = Kit::start().await;
    kit.user("ada", "viewer").await;
    let session = cookie(&kit.login("ada", PASSWORD).await);
    let url = format!("{}/api/v1/ws?topics=alerts", kit.url);
    let own = kit.url.clone();
    let port = own.rsplit(':').next().unwrap().to_owned();
    for (origin, site, opens) in [
        (Some(own.clone()), None, true),
        (Some(own.clone()), Some("same-origin"), true),
        (Some("http://localhost:1".to_owned()), None, false),
        (Some(own.clone()), Some("cross-site"), false),
        (Some(format!("http://localhost:{port}")), Some("same-site"), false),
        (None, None, false),
    ] {
        let mut headers = vec![("cookie", session.clone())];
        headers.extend(origin.clone().map(|origin| ("origin", origin)));
        headers.extend(site.map(|site| ("sec-fetch-site", site.to_owned())));
        let opened = open(&url, &headers).await.map(drop);
        assert_eq!(
            opened.map_err(|(status, _)| status),
            if opens { Ok(()) } else { Err(403) },
            "{origin:?} {site:?}"
        );
    }
    // No browser sends a token by itself.
    let token = kit.token(Role::Viewer, 3_600).await;
    assert!(open(&url, &[("authorization", format!("Bearer {token}"))]).await.is_ok());
    kit.stop().await;
    let visited = Kit::start_with(Wanted { visitors: true, ..Wanted::default() }).await;
    let url = format!("{}/api/v1/ws?topics=alerts", visited.url);
    for (site, opens) in [(None, true), (Some("same-origin"), true), (Some("same-site"), false)] {
        let headers: Vec<_> = site.map(|site| ("sec-fetch-site", site.to_owned())).into_iter().collect();
        assert_eq!(open(&url, &headers).await.is_ok(), opens, "{site:?}");
    }
    visited.stop().await;
}
