//! Whether each route answers what its description says, and what it says to nonsense.

use reqwest::Method;
use serde_json::{Value, json};

use super::schema::Schemas;
use super::{NODE, Service};

/// Fills in what a path names.
fn filled(path: &str, window: u64, query: u64, alert: &str) -> String {
    path.replace("{mesh}", "mesh")
        .replace("{fingerprint}", alert)
        .replace("{name}", "low_heap")
        .replace("queries/{id}", &format!("queries/{query}"))
        .replace("silences/{id}", &format!("silences/{window}"))
        .replace("nodes/{id}", &format!("nodes/{NODE}"))
        .replace("status/{id}", &format!("status/{NODE}"))
        .replace("{id}", "1")
}

#[tokio::test]
async fn every_readable_route_answers_as_it_is_described() {
    let service = Service::start().await;
    let document = service.ok("/api/v1/openapi.json").await;
    assert_eq!(document["openapi"], "3.1.0");
    let silence = json!({"nodes": [NODE], "lasts_seconds": 60, "why": "a test"});
    let silence = service.post("/api/v1/silences", silence).await;
    assert_eq!(silence.status, 201, "{}", silence.text);
    let window = silence.json()["id"].as_u64().unwrap();
    assert_eq!(silence.header("location").unwrap(), format!("/api/v1/silences/{window}"));
    let asked = service.post("/api/v1/queries", json!({})).await;
    assert_eq!(asked.status, 202, "{}", asked.text);
    let query = asked.json()["id"].as_u64().unwrap();

    let schemas = Schemas(&document);
    let mut answered = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let Some(operation) = item.get("get").filter(|_| !path.ends_with("/stream")) else { continue };
        let asked = filled(path, window, query, "0123456789abcdef");
        let answer = service.get(&asked).await;
        let described = &operation["responses"][answer.status.to_string()];
        assert!(described.is_object(), "{asked} answers {}, which is not described", answer.status);
        let kind = answer.header("content-type").unwrap().split(';').next().unwrap().to_owned();
        let schema = &described["content"][&kind]["schema"];
        assert!(schema.is_object(), "{asked} answers by {kind}, which is not described: {described}");
        if kind.ends_with("json") {
            let wrong = schemas.wrong(schema, &answer.json(), "");
            assert_eq!(wrong, None, "{asked}");
        }
        answered += usize::from(answer.status == 200);
    }
    assert!(answered >= 30, "only {answered} routes answered 200");
    service.stop().await;
}

#[tokio::test]
async fn nonsense_is_answered_by_problems() {
    let service = Service::start().await;
    let node = format!("/api/v1/nodes/{NODE}");
    for (path, status, parameter) in [
        ("/nothing", 404, None),
        ("/api/v1/nodes/7", 404, None),
        ("/api/v1/nodes/seven", 400, Some("id")),
        ("/api/v1/nodes?limit=0", 400, Some("limit")),
        ("/api/v1/nodes?limit=many", 400, Some("limit")),
        ("/api/v1/nodes?cursor=x", 400, Some("cursor")),
        ("/api/v1/nodes?state=asleep", 400, Some("state")),
        ("/api/v1/nodes?sort=beauty", 400, Some("sort")),
        ("/api/v1/nodes?fields=id,mood", 400, Some("fields")),
        ("/api/v1/nodes?colour=red", 400, Some("colour")),
        ("/api/v1/meshes/other/status", 404, None),
        ("/api/v1/events?after=-1", 400, Some("after")),
        ("/api/v1/events/stream?topics=weather", 400, Some("topics")),
        ("/api/v1/alert-rules/none", 404, None),
        ("/api/v1/alert-rules/low_heap/test?window=9y", 400, Some("window")),
        ("/api/v1/alert-rules/node_offline/test", 422, None),
        ("/api/v1/silences/99", 404, None),
        ("/api/v1/queries/99", 404, None),
    ] {
        let errors = service.get(path).await.problem(status);
        assert_eq!(errors[0]["parameter"].as_str(), parameter, "{path}");
    }
    let commands = format!("{node}/commands");
    for (path, body, status, pointer) in [
        ("/api/v1/queries", json!({"nodes": [1, "two"]}), 422, Some("/nodes/1")),
        ("/api/v1/queries", json!({"metrics": ["mood"]}), 422, Some("/metrics/0")),
        ("/api/v1/queries", json!({"timeout_seconds": 0}), 422, Some("/timeout_seconds")),
        ("/api/v1/queries", json!({"patience": 1}), 422, Some("/patience")),
        ("/api/v1/queries", json!({"nodes": [77]}), 404, None),
        (&*commands, json!({}), 422, Some("")),
        (&*commands, json!({"command": 0}), 422, Some("/command")),
        ("/api/v1/silences", json!({"nodes": [1]}), 422, Some("/until")),
        ("/api/v1/silences", json!({"lasts_seconds": 1}), 422, Some("/matchers")),
        ("/api/v1/rollouts", json!({"firmware": "aa"}), 422, Some("/firmware")),
        (
            "/api/v1/rollouts",
            json!({"firmware": "ab".repeat(32), "concurrency": 65}),
            422,
            Some("/concurrency"),
        ),
        ("/api/v1/rollouts/9/pause", json!({}), 404, None),
        ("/api/v1/alerts/0123456789abcdef/ack", json!(null), 404, None),
        ("/api/v1/alerts/0123456789abcdef/comment", json!({}), 422, Some("/text")),
        ("/api/v1/alerts/0123456789abcdef/assign", json!({"by": "r".repeat(513)}), 422, Some("/by")),
    ] {
        let errors = service.post(path, body.clone()).await.problem(status);
        assert_eq!(errors[0]["pointer"].as_str(), pointer, "{path} {body}");
    }
    let post = |path: &str| service.request(Method::POST, path);
    let broken = post("/api/v1/queries").header("content-type", "application/json").body("{");
    service.send(broken).await.problem(400);
    service.send(post("/api/v1/queries").header("content-type", "text/plain").body("{}")).await.problem(415);
    service.send(post("/api/v1/queries").json(&json!({"metrics": ["x".repeat(300_000)]}))).await.problem(413);
    let method = service.send(service.request(Method::DELETE, "/api/v1/status")).await;
    method.problem(405);
    assert!(method.header("allow").unwrap().contains("GET"));
    service.stop().await;
}

#[tokio::test]
async fn a_key_makes_a_request_happen_once() {
    let service = Service::start().await;
    let silence = |why: &str| json!({"nodes": [NODE], "lasts_seconds": 600, "why": why});
    let send = async |key: &str, body: Value| {
        let request = service.request(Method::POST, "/api/v1/silences");
        service.send(request.header("idempotency-key", key).json(&body)).await
    };
    let first = send("one", silence("a")).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (201, None));
    let again = send("one", silence("a")).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (201, Some("true")));
    assert_eq!((&again.text, again.header("location")), (&first.text, first.header("location")));
    send("one", silence("b")).await.problem(422);
    send(" ", silence("b")).await.problem(400);
    assert_eq!(service.ok("/api/v1/silences").await["items"].as_array().unwrap().len(), 1);
    let other = send("two", silence("a")).await;
    assert_ne!(other.json()["id"], first.json()["id"]);
    let gone = service.request(Method::DELETE, &format!("/api/v1/silences/{}", first.json()["id"]));
    assert_eq!(service.send(gone).await.status, 204);
    assert_eq!(service.ok("/api/v1/silences").await["items"].as_array().unwrap().len(), 1);
    service.stop().await;
}

#[tokio::test]
async fn questions_go_on_by_themselves() {
    let service = Service::start().await;
    let asked = service.post("/api/v1/queries", json!({"max_age_seconds": 0, "timeout_seconds": 10})).await;
    assert_eq!(asked.status, 202, "{}", asked.text);
    assert_eq!(asked.json()["missing"], json!([NODE]));
    let location = asked.header("location").unwrap();
    let done = service.until(location, |progress| progress["finished_at"].is_string()).await;
    assert_eq!((&done["answered"], &done["missing"]), (&json!(1), &json!([])), "{done}");
    assert_eq!(done["nodes"][0]["id"], NODE);
    let gone = service.send(service.request(Method::DELETE, location)).await;
    assert_eq!(gone.status, 204);
    service.get(location).await.problem(404);
    // Whoever prefers to wait gets the answer itself.
    let prefers =
        service.request(Method::POST, "/api/v1/queries").header("prefer", "wait=10").json(&json!({}));
    for answer in [service.send(prefers).await, service.post("/api/v1/queries?wait=true", json!({})).await] {
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.json()["nodes"][0]["id"], NODE);
    }
    service.stop().await;
}
