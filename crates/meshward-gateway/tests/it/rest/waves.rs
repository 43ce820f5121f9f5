//! Roll-outs in waves: plans that make no sense, and what people may do when.

use meshward_gateway::store::AuditVerdict;
use reqwest::Method;
use serde_json::{Value, json};

use super::kept::store;
use super::{NODE, Service};

/// An image for whoever takes any; its SHA-256.
async fn uploaded(service: &Service) -> String {
    let request = service.request(Method::POST, "/api/v1/firmware?name=x.bin");
    let image = vec![0xE9; 40_000];
    let answer = service.send(request.header("content-type", "application/octet-stream").body(image)).await;
    answer.json()["sha256"].as_str().unwrap_or_else(|| panic!("{}", answer.text)).to_owned()
}

/// What the waves of the first roll-out have decided, by the audit, oldest first.
async fn decisions(service: &Service) -> Vec<String> {
    let audit = service.ok("/api/v1/audit").await;
    let rows = audit["items"].as_array().unwrap().iter().rev();
    rows.filter(|row| row["action"] == "rollout.decision" && row["subject"] == "1")
        .map(|row| row["detail"]["what"].as_str().unwrap().to_owned())
        .collect()
}

fn rollout(firmware: &str, plan: Value) -> Value {
    json!({"firmware": firmware, "role": "sensor", "force_image": true, "confirm_receiver": true, "plan": plan})
}

#[tokio::test]
async fn every_mistake_of_a_plan_is_pointed_at() {
    let service = Service::start().await;
    let firmware = uploaded(&service).await;
    let twice = json!({"size": 1, "select": {"nodes": [NODE]}});
    for (plan, pointers) in [
        (json!({"colour": 1}), &["/plan/colour"][..]),
        (json!({"waves": [{"size": "lots"}]}), &["/plan/waves/0/size"]),
        (json!({"soak": {"looks": "x"}}), &["/plan/soak/looks"]),
        (json!({"waves": [{"size": 0}], "confidence": 2.0}), &["/plan/confidence", "/plan/waves/0/size"]),
        (json!({"waves": [twice.clone(), twice.clone()]}), &["/plan/waves/1/select"]),
        (
            json!({"canary": {"nodes": [4_444]}, "select": {"nodes": [77]}}),
            &["/plan/select/nodes", "/plan/canary/nodes"],
        ),
        (json!({"select": {"roles": ["nobody"]}}), &["/plan/select"]),
        (
            json!({"gates": [{"kind": "success", "percent_least": 90.0, "failures_least": 30}]}),
            &["/plan/gates/0/failures_least"],
        ),
    ] {
        for path in ["/api/v1/rollout-previews", "/api/v1/rollouts"] {
            let errors = service.post(path, rollout(&firmware, plan.clone())).await.problem(422);
            let found: Vec<&str> =
                errors.as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect();
            assert_eq!(found, pointers, "{path} {plan}");
        }
    }
    assert_eq!(service.ok("/api/v1/rollouts").await["items"], json!([]), "nothing has begun");
    let unknown = "00".repeat(32);
    service.post("/api/v1/rollout-previews", rollout(&unknown, json!({}))).await.problem(404);
    for verb in ["approve", "rollback"] {
        service.post(&format!("/api/v1/rollouts/1/{verb}"), json!({})).await.problem(404);
    }
    service.get("/api/v1/rollouts/1/report").await.problem(404);
    service.stop().await;
}

#[tokio::test]
async fn people_do_what_can_be_done_and_every_decision_is_written() {
    let (_folder, store) = store().await;
    let service = Service::start_on(Some(store.clone())).await;
    let firmware = uploaded(&service).await;
    let started = service.post("/api/v1/rollouts", rollout(&firmware, json!({}))).await;
    assert_eq!(
        (started.status, started.header("location")),
        (201, Some("/api/v1/rollouts/1")),
        "{started:?}"
    );
    let begun = started.json();
    assert_eq!((&begun["progress"]["phase"], &begun["hold"]), (&"staging".into(), &true.into()), "{begun}");
    assert_eq!(begun["plan"]["soak"]["looks"], 6, "with every default");
    assert_eq!(begun["progress"]["verbs"], json!(["pause", "abort"]));
    let act = async |verb: &str| service.post(&format!("/api/v1/rollouts/1/{verb}"), json!({})).await;
    let refused = async |verb: &str, why: &str| {
        let answer = act(verb).await;
        answer.problem(409);
        assert!(answer.text.contains(why), "{verb}: {}", answer.text);
    };
    // Two plans for one node.
    for path in ["/api/v1/rollout-previews", "/api/v1/rollouts"] {
        let busy = service.post(path, rollout(&firmware, json!({}))).await;
        busy.problem(409);
        assert!(busy.text.contains("roll-out 1 is under way"), "{}", busy.text);
    }

    refused("activate", "its waves say who starts the image").await;
    refused("approve", "nothing waits for an approval: the roll-out is staging").await;
    refused("rollback", "nobody has started the image").await;
    refused("resume", "is not paused").await;
    let paused = act("pause").await.json();
    assert_eq!(
        (&paused["state"], &paused["progress"]["paused"]),
        (&"paused".into(), &true.into()),
        "{paused}"
    );
    refused("approve", "resume it first").await;
    // Who paused it finds it paused after a crash: it is written already.
    let kept = store.rollout_waves(1).await.unwrap().unwrap();
    assert!(!serde_json::from_str::<Value>(&kept).unwrap()["paused"].is_null(), "{kept}");
    assert_eq!(act("resume").await.json()["progress"]["paused"], false);
    assert_eq!(act("abort").await.status, 200);
    let over = service.until("/api/v1/rollouts/1", |rollout| rollout["state"] == "finished").await;
    assert_eq!(
        (&over["progress"]["phase"], &over["progress"]["why"]),
        (&"aborted".into(), &"local ended it".into())
    );
    refused("abort", "has finished").await;
    refused("rollback", "nobody has started the image").await;

    let report = service.ok("/api/v1/rollouts/1/report").await;
    assert_eq!((&report["phase"], &report["name"]), (&"aborted".into(), &"default".into()), "{report}");
    let request = service.request(Method::GET, "/api/v1/rollouts/1/report").header("accept", "text/markdown");
    let page = service.send(request).await;
    assert_eq!(page.header("content-type"), Some("text/markdown; charset=utf-8"));
    assert!(page.text.starts_with("# Roll-out default: aborted"), "{}", page.text);

    assert_eq!(decisions(&service).await, ["start", "pause", "resume", "abort"]);
    service.stop().await;
    assert!(matches!(store.verify_audit().await.unwrap(), AuditVerdict::Whole { .. }));

    // A gateway that starts again knows of it, and nothing is under way.
    let service = Service::start_on(Some(store.clone())).await;
    assert_eq!(service.ok("/api/v1/rollouts/1/report").await["phase"], "aborted");
    assert_eq!(service.ok("/api/v1/rollouts/1").await["progress"]["phase"], "aborted");
    service.stop().await;
}
