//! Channels and routes over HTTP: made, changed, tried, removed; and never a secret in an answer.

use std::net::SocketAddr;
use std::sync::Arc;

use meshward_core::mesh::MeshConfig;
use meshward_core::ota::trust::KeyKind;
use meshward_core::wire::NodeId;
use meshward_fleet::alert::Severity;
use meshward_fleet::fleet::Settings;
use meshward_fleet::signing::SigningKey;
use meshward_gateway::notify::{Channel, Kind, Notifier, NotifierError};
use meshward_gateway::rest::access::{self, Access};
use meshward_gateway::rest::{self, Api, Http};
use meshward_gateway::service;
use meshward_gateway::shell::{ShellConfig, Traffic};
use meshward_gateway::store::Store;
use serde_json::{Value, json};

use super::{Kit, message};
use crate::sink::{Reply, Sink};

/// The interface of a gateway that tells by the kit.
struct Service {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Service {
    async fn start(kit: &Kit) -> Self {
        let operator = SigningKey::from_seed(KeyKind::Operator, [7; 32]).unwrap();
        let (mesh, traffic) = (MeshConfig::gateway(NodeId(1), 1), Arc::new(Traffic::default()));
        let (shell, settings) = (ShellConfig::default(), Settings::default());
        let joined = service::join(
            mesh,
            shell,
            traffic,
            operator,
            settings,
            service::Allowed::default(),
            service::Remembered::default(),
        );
        let (shell, handle) = joined.await.unwrap();
        tokio::spawn(shell.run(std::future::pending()));
        let bound = rest::bind(&Http::at(SocketAddr::from(([127, 0, 0, 1], 0)))).await.unwrap();
        let url = bound.url().unwrap();
        let access = Access::open(None, access::Settings::default()).await.unwrap();
        let token = access.local().reveal_token();
        let api = Api::new(handle, access)
            .with_store(Some(kit.store.clone()))
            .with_notifier(Some(kit.notifier.clone()));
        tokio::spawn(rest::serve(bound, api, std::future::pending()));
        Self { http: reqwest::Client::new(), url, token }
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value, Option<String>) {
        let request = self.http.request(method.parse().unwrap(), format!("{}/api/v1{path}", self.url));
        let request = request.bearer_auth(&self.token);
        let request = match &body {
            Some(body) => request.json(body),
            None => request,
        };
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let tag = response.headers().get("etag").map(|tag| tag.to_str().unwrap().to_owned());
        let text = response.text().await.unwrap();
        for secret in ["0123456789abcdef", "tk_secret", "hunter22", "hook-path"] {
            assert!(!text.contains(secret), "{method} {path} tells {secret}: {text}");
        }
        (status, serde_json::from_str(&text).unwrap_or_default(), tag)
    }
}

#[tokio::test]
async fn a_channel_is_made_tried_changed_and_removed() {
    let (kit, sink) = (Kit::new().await, Sink::start(|_| Reply::Say(200, "", "thanks")).await);
    let service = Service::start(&kit).await;
    let settings =
        json!({ "url": sink.url("/hook-path"), "secret": "0123456789abcdef", "token": "tk_secret" });
    let new = json!({ "id": "ops", "kind": "webhook", "settings": settings });
    let (status, made, _) = service.ask("POST", "/notification-channels", Some(new.clone())).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!((&made["secrets"], &made["circuit"]), (&json!(["secret", "token"]), &json!("closed")));
    assert_eq!(made["target"], format!("{}/…", sink.url("")));
    assert_eq!(service.ask("POST", "/notification-channels", Some(new)).await.0, 409);

    let (status, tested, _) = service.ask("POST", "/notification-channels/ops/test", None).await;
    assert_eq!((status, &tested["delivered"]), (200, &json!(true)), "{tested}");
    assert_eq!(tested["detail"], "200 OK: thanks");
    assert_eq!(sink.got()[0].json()["receiver"], "ops");

    let edit = |body| service.ask("PATCH", "/notification-channels/ops", Some(body));
    let (status, changed, _) = edit(json!({ "enabled": false, "token": "" })).await;
    assert_eq!((status, &changed["secrets"], &changed["version"]), (200, &json!(["secret"]), &json!(2)));
    for (body, pointer) in [
        (json!({ "url": "nowhere" }), "/url"),
        (json!({ "secret": "short" }), "/secret"),
        (json!({ "server": "mail.example.org" }), "/server"),
        (json!({ "colour": "red" }), ""),
    ] {
        let (status, problem, _) = edit(body.clone()).await;
        let found = problem["errors"][0]["pointer"].as_str().unwrap_or_default();
        assert!(status == 422 && found.starts_with(pointer), "{body}: {problem}");
    }
    let (_, list, _) = service.ask("GET", "/notification-channels", None).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(list["items"][0]["enabled"], false);

    let (_, all, _) = service.ask("GET", "/notification-channels/ops/deliveries", None).await;
    assert_eq!(
        (&all["items"][0]["notice"], &all["items"][0]["state"]),
        (&json!("test"), &json!("delivered"))
    );
    assert_eq!(service.ask("DELETE", "/notification-channels/ops", None).await.0, 204);
    for (method, path) in [
        ("GET", "/notification-channels/ops"),
        ("DELETE", "/notification-channels/ops"),
        ("POST", "/notification-channels/ops/test"),
        ("GET", "/notification-channels/ops/deliveries"),
        ("POST", "/notification-channels/ops/deliveries/1/retry"),
    ] {
        assert_eq!(service.ask(method, path, None).await.0, 404, "{method} {path}");
    }
}

#[tokio::test]
async fn a_channel_of_the_configuration_is_shown_and_tried_and_changed_by_nobody() {
    crate::sink::provider();
    let sink = Sink::start(|_| Reply::Say(200, "", "")).await;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&super::url(&folder)).await.unwrap();
    let ops =
        Channel { id: "ops".to_owned(), enabled: true, kind: Kind::Webhook(super::hook(&sink.url("/a"))) };
    // One that was kept under this name is passed over, and is there again when the configuration has none.
    let kept = Notifier::open(store.clone(), "home", "").await.unwrap();
    kept.create(Channel { enabled: false, ..ops.clone() }).await.unwrap();
    kept.close().await;
    let notifier = Notifier::open_with(store.clone(), "home", "", vec![ops.clone()]).await.unwrap();
    let kit = Kit { store: store.clone(), notifier: notifier.clone(), _folder: folder };
    let service = Service::start(&kit).await;
    let path = "/notification-channels/ops";
    let (status, channel, _) = service.ask("GET", path, None).await;
    assert_eq!((status, &channel["configured"], &channel["enabled"]), (200, &json!(true), &json!(true)));
    let (status, tested, _) = service.ask("POST", &format!("{path}/test"), Some(json!({}))).await;
    assert_eq!((status, &tested["delivered"]), (200, &json!(true)), "{tested}");
    for (method, body) in [("PATCH", Some(json!({ "enabled": false }))), ("DELETE", None)] {
        let (status, problem, _) = service.ask(method, path, body).await;
        assert_eq!(status, 409, "{method}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains("[[notify.channel]]"), "{problem}");
    }
    notifier.accept(vec![message(Severity::Critical, 7)]).await;
    sink.wait(2).await;
    let waits = kit.until_ended("ops", |row| row.delivered).await;
    assert!(waits.delivered);
    notifier.close().await;
    let again = Notifier::open(store, "home", "").await.unwrap();
    assert!(!again.channel("ops").unwrap().0.enabled && !again.is_configured("ops"));
    // Two of one name, and one that cannot be used, are refused at the start.
    let twice = Notifier::open_with(kit.store.clone(), "home", "", vec![ops.clone(), ops.clone()]).await;
    assert!(matches!(twice, Err(NotifierError::Exists(_))));
    let bad = Channel { id: "Ops!".to_owned(), ..ops };
    assert!(matches!(
        Notifier::open_with(kit.store.clone(), "home", "", vec![bad]).await,
        Err(NotifierError::Channel(_))
    ));
}

#[tokio::test]
async fn dead_letters_are_shown_and_sent_again() {
    let (kit, sink) = (Kit::new().await, Sink::start(|_| Reply::Say(404, "", "who?")).await);
    let service = Service::start(&kit).await;
    kit.hook("ops", &sink.url("/")).await;
    kit.notifier.accept(vec![message(Severity::Warning, 7)]).await;
    let dead = kit.until_ended("ops", |row| !row.delivered).await;
    let list = "/notification-channels/ops/deliveries?state=dead";
    let (_, letters, _) = service.ask("GET", list, None).await;
    let letter = &letters["items"][0];
    assert_eq!((letter["id"].as_u64(), &letter["detail"]), (Some(dead.id), &json!("404 Not Found: who?")));
    assert_eq!(letter["title"], "[warning] home: node_offline: roof (node 7) raised");
    sink.answer(|_| Reply::Say(200, "", ""));
    let retry = format!("/notification-channels/ops/deliveries/{}/retry", dead.id);
    assert_eq!(service.ask("POST", &retry, None).await.0, 202);
    kit.until_ended("ops", |row| row.delivered).await;
    assert_eq!(service.ask("POST", &retry, None).await.0, 404);
    assert!(service.ask("GET", list, None).await.1["items"].as_array().unwrap().is_empty());
    let metrics = service.http.get(format!("{}/metrics", service.url)).bearer_auth(&service.token);
    let text = metrics.send().await.unwrap().text().await.unwrap();
    assert!(text.contains("painlessmesh_gateway_outbox_pending{channel=\"ops\"} 0\n"), "{text}");
}

#[tokio::test]
async fn routes_are_a_tree_that_can_be_tried() {
    let kit = Kit::new().await;
    let service = Service::start(&kit).await;
    kit.hook("ops", "http://127.0.0.1:9/").await;
    kit.hook("pager", "http://127.0.0.1:9/").await;
    let (_, empty, tag) = service.ask("GET", "/notification-routes", None).await;
    assert_eq!(empty["routes"], json!([]));
    let tree = json!({
        "name": "all", "channels": ["ops"], "digest_seconds": 3600,
        "quiet": { "days": ["sat", "sun"], "from_minute": 0, "to_minute": 1440, "ahead_minutes": 60 },
        "routes": [{ "name": "urgent", "severity_min": "critical", "channels": ["pager"] }],
    });
    let (status, kept, _) = service.ask("PUT", "/notification-routes", Some(tree.clone())).await;
    assert_eq!((status, &kept["routes"][0]["channels"]), (200, &json!(["pager"])), "{kept}");
    assert_eq!(kept["quiet"], tree["quiet"]);
    for (severity, channel, route) in [("critical", "pager", "urgent"), ("warning", "ops", "all")] {
        let question = json!({ "rule": "node_offline", "severity": severity, "node": 7 });
        let (_, found, _) = service.ask("POST", "/notification-routes/try", Some(question)).await;
        assert_eq!((&found[0]["channel"], &found[0]["route"]), (&json!(channel), &json!(route)), "{found}");
    }
    for (bad, pointer) in [
        (json!({ "routes": [{ "channels": ["nobody"] }] }), "/routes/0/channels/0"),
        (json!({ "routes": [{ "severity_min": "dreadful" }] }), "/routes/0/severity_min"),
        (json!({ "digest_seconds": 5 }), "/digest_seconds"),
        (
            json!({ "quiet": { "days": ["someday"], "from_minute": 0, "to_minute": 9, "ahead_minutes": 0 } }),
            "/quiet/days/0",
        ),
    ] {
        let (status, problem, _) = service.ask("PUT", "/notification-routes", Some(bad)).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!(pointer)), "{problem}");
    }
    // What somebody else changed meanwhile is not overwritten.
    let tag = tag.unwrap();
    let stale = async |method: &str, path: &str, body: &Value| {
        let url = format!("{}/api/v1{path}", service.url);
        let edit = service.http.request(method.parse().unwrap(), url).bearer_auth(&service.token);
        edit.header("if-match", tag.clone()).json(body).send().await.unwrap().status()
    };
    assert_eq!(stale("PUT", "/notification-routes", &tree).await, 412);
    // Unless it would be refused in any case.
    let nobody = json!({ "routes": [{ "channels": ["nobody"] }] });
    assert_eq!(stale("PUT", "/notification-routes", &nobody).await, 422);
    let ops = "/notification-channels/ops";
    assert_eq!(stale("PATCH", ops, &json!({ "enabled": false })).await, 412);
    assert_eq!(stale("PATCH", ops, &json!({ "url": "ftp://127.0.0.1/" })).await, 422);
    assert_eq!(stale("PATCH", ops, &json!([null, null])).await, 422);
    assert_eq!(
        service.ask("DELETE", "/notification-channels/pager", None).await.0,
        409,
        "the routes name it"
    );
}
