//! What a gateway with a database still knows when it has ended and been started again.

use reqwest::Method;
use serde_json::{Value, json};

use super::{NODE, PATIENCE, Service};
use meshward_gateway::store::Store;

/// A database in a file of its own.
pub(super) async fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("mesh.db").display()).parse().unwrap();
    let store = Store::open(&url).await.unwrap();
    (folder, store)
}

fn names(rules: &Value) -> Vec<&str> {
    rules["items"].as_array().unwrap().iter().map(|rule| rule["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn rules_that_people_write_outlive_a_restart() {
    let (_folder, store) = store().await;
    let service = Service::start_on(Some(store.clone())).await;
    let put = async |name: &str, body: Value, matches: Option<&str>| {
        let mut request = service.request(Method::PUT, &format!("/api/v1/alert-rules/{name}")).json(&body);
        if let Some(tag) = matches {
            request = request.header("if-match", tag);
        }
        service.send(request).await
    };
    let delete = async |name: &str| {
        service.send(service.request(Method::DELETE, &format!("/api/v1/alert-rules/{name}"))).await
    };
    let hot = json!({"signal": "temperature_c", "side": "above", "raise": 70.0, "severity": "warning"});
    assert_eq!(put("hot", hot.clone(), None).await.status, 201);
    assert_eq!(put("hot", hot.clone(), None).await.status, 200);
    let read = service.get("/api/v1/alert-rules/hot").await;
    assert_eq!(
        (read.json()["clear"].as_f64(), read.json()["fresh_seconds"].as_f64()),
        (Some(70.0), Some(3_600.0))
    );
    // What was read can be written, by whoever read it last.
    let tag = read.header("etag").unwrap().to_owned();
    let mut hotter = read.json();
    hotter["raise"] = 80.into();
    hotter["clear"] = 75.into();
    assert_eq!(put("hot", hotter.clone(), Some(&tag)).await.status, 200);
    put("hot", hotter, Some(&tag)).await.problem(412);
    // A built-in rule is changed, and cannot be taken away.
    delete("low_heap").await.problem(409);
    let mut quiet = service.ok("/api/v1/alert-rules/low_heap").await;
    quiet["enabled"] = false.into();
    assert_eq!(put("low_heap", quiet, None).await.status, 200);
    for (name, body, pointer) in [
        ("x", json!({"severity": "warning"}), "/signal"),
        ("x", json!({"state": "offline", "severity": "loud"}), "/severity"),
        ("x", json!({"state": "offline", "severity": "info", "name": "y"}), "/name"),
        ("two%20words", json!({"state": "offline", "severity": "info"}), "/name"),
        ("x", json!({"state": "offline", "severity": "info", "colour": "red"}), "/colour"),
    ] {
        let errors = put(name, body, None).await.problem(422);
        assert_eq!(errors[0]["pointer"], pointer, "{errors}");
    }
    delete("x").await.problem(404);
    let before = service.ok("/api/v1/alert-rules?limit=1000").await;
    service.stop().await;

    let service = Service::start_on(Some(store.clone())).await;
    assert_eq!(service.ok("/api/v1/alert-rules?limit=1000").await, before);
    assert!(names(&before).contains(&"hot"));
    let delete = async |name: &str| {
        service.send(service.request(Method::DELETE, &format!("/api/v1/alert-rules/{name}"))).await.status
    };
    assert_eq!((delete("hot").await, delete("low_heap").await), (204, 204));
    assert_eq!(service.ok("/api/v1/alert-rules/low_heap").await["enabled"], true);
    let audit = service.ok("/api/v1/audit").await;
    let done: Vec<&str> =
        audit["items"].as_array().unwrap().iter().map(|line| line["action"].as_str().unwrap()).collect();
    assert_eq!(done.iter().filter(|action| action.starts_with("alert_rule.")).count(), 6, "{done:?}");
    service.stop().await;

    let service = Service::start_on(Some(store)).await;
    assert!(!names(&service.ok("/api/v1/alert-rules?limit=1000").await).contains(&"hot"));
    service.stop().await;
}

#[tokio::test]
async fn a_rule_can_be_tried_before_it_is_one() {
    let service = Service::start().await;
    let tried = json!({"signal": "free_heap_bytes", "side": "below", "raise": 1e9, "severity": "info"});
    let said = service.post("/api/v1/alert-rule-tests?window=1h", tried).await;
    assert_eq!((said.status, said.json()["rule"].as_str()), (200, Some("new")), "{}", said.text);
    let state = json!({"state": "offline", "severity": "info"});
    service.post("/api/v1/alert-rule-tests", state).await.problem(422);
    assert_eq!(service.get("/api/v1/alert-rules/new").await.status, 404);
    service.stop().await;
}

#[tokio::test]
async fn a_key_is_known_after_a_restart() {
    let (_folder, store) = store().await;
    let silence = json!({"nodes": [NODE], "lasts_seconds": 600, "why": "a"});
    let send = async |service: &Service, key: &str, body: &Value| {
        let request = service.request(Method::POST, "/api/v1/silences");
        service.send(request.header("idempotency-key", key).json(body)).await
    };
    let service = Service::start_on(Some(store.clone())).await;
    let first = send(&service, "one", &silence).await;
    assert_eq!(first.status, 201, "{}", first.text);
    // Begun by a gateway that ended before it answered.
    let (now, later) = (jiff::Timestamp::now(), jiff::Timestamp::MAX);
    let other = store.claim_idempotency("local", "lost", "of nobody", now, later).await.unwrap();
    assert_eq!(other, meshward_gateway::store::Claim::New);
    send(&service, "lost", &silence).await.problem(422);
    service.stop().await;

    let service = Service::start_on(Some(store.clone())).await;
    let again = send(&service, "one", &silence).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (201, Some("true")));
    assert_eq!((&again.text, again.header("location")), (&first.text, first.header("location")));
    send(&service, "one", &json!({"nodes": [NODE], "lasts_seconds": 601})).await.problem(422);
    // One that was refused for good is remembered too; one that was begun by another is not done again.
    let bad = json!({"nodes": [NODE]});
    send(&service, "bad", &bad).await.problem(422);
    assert_eq!(send(&service, "bad", &bad).await.header("idempotency-replayed"), Some("true"));
    service.stop().await;
}

#[tokio::test]
async fn events_and_trees_of_before_are_told() {
    let (_folder, store) = store().await;
    let service = Service::start_on(Some(store.clone())).await;
    let joined =
        |events: &Value| events["items"].as_array().unwrap().iter().any(|event| event["name"] == "join");
    let path = format!("/api/v1/events/history?kind=topology&node={NODE}");
    service.until(&path, joined).await;
    let changes = "/api/v1/meshes/mesh/topology/changes";
    // The newest change; the first may be of the gateway alone.
    let deadline = std::time::Instant::now() + PATIENCE;
    while !store.last_topology().await.unwrap().is_some_and(|row| row.tree.contains(&NODE.to_string())) {
        assert!(std::time::Instant::now() < deadline, "the tree is kept");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let found = service.ok(changes).await;
    let last = found["items"][0]["at"].as_str().unwrap().to_owned();
    service.stop().await;

    let service = Service::start_on(Some(store)).await;
    let events = service.ok(&path).await;
    assert!(joined(&events), "{events}");
    let one = service.ok("/api/v1/events/history?limit=1").await;
    assert_eq!((one["items"].as_array().unwrap().len(), &one["next"]), (1, &one["items"][0]["id"]));
    assert_eq!(service.ok("/api/v1/events/history?before=0").await, json!({"items": []}));
    let rest = service.ok(&format!("/api/v1/events/history?before={}", one["next"])).await;
    assert!(joined(&rest), "{rest}");
    assert!(
        rest["items"].as_array().unwrap().iter().all(|event| event["id"].as_u64() < one["next"].as_u64())
    );
    // The tree of a time before this gateway's start.
    let past = service.ok(&format!("/api/v1/meshes/mesh/topology/history?at={last}")).await;
    assert_eq!(past["links"], json!([{"from": 1, "to": NODE}]), "{past}");
    service.get("/api/v1/meshes/mesh/topology/history?at=2001-01-01T00:00:00Z").await.problem(404);
    for (path, parameter) in [
        ("/api/v1/events/history?limit=0", "limit"),
        ("/api/v1/events/history?limit=1001", "limit"),
        ("/api/v1/meshes/mesh/topology/changes?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from"),
    ] {
        assert_eq!(service.get(path).await.problem(400)[0]["parameter"], parameter, "{path}");
    }
    service.stop().await;
    // Without a database there is no history, and that is said.
    let service = Service::start().await;
    service.get("/api/v1/events/history").await.problem(404);
    service.stop().await;
}
