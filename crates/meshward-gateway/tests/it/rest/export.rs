//! Downloads of what the gateway knows.

use jiff::{SignedDuration, Timestamp};
use meshward_gateway::store::{EventRow, Record, Recorder, Sample};
use reqwest::Method;
use serde_json::{Value, json};

use super::kept::store;
use super::{Answer, NODE, Service};

fn lines(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn nodes_values_events_and_the_audit_come_whole() {
    let (_folder, store) = store().await;
    let now = Timestamp::now();
    let ago = |seconds: i64| now.checked_sub(SignedDuration::from_secs(seconds)).unwrap();
    let metric = store.metric("rssi_dbm").await.unwrap();
    // Over several pieces of time; the last is not within the time that is asked for.
    let samples: Vec<Sample> = [20 * 3_600, 10 * 3_600, 600, 5]
        .into_iter()
        .map(|seconds| Sample { node: NODE, metric, at: ago(seconds), value: -61.0 })
        .collect();
    store.add_samples(&samples).await.unwrap();
    let service = Service::start_on(Some(store.clone())).await;
    let path = format!("/api/v1/nodes/{NODE}/name");
    let named = service.request(Method::PUT, &path).json(&json!({"name": "=HYPERLINK(\"http://evil\")"}));
    assert_eq!(service.send(named).await.status, 200);

    let nodes = lines(&service.get("/api/v1/export?what=nodes").await);
    assert_eq!((nodes.len(), &nodes[0]["id"]), (1, &json!(NODE)));
    let table = service.get("/api/v1/export?what=nodes&format=csv").await;
    assert_eq!(table.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
    assert_eq!(table.header("content-disposition"), Some("attachment; filename=\"meshward-nodes.csv\""));
    assert!(table.text.starts_with("id,name,state,"), "{}", table.text);
    let formula = format!("{NODE},\"'=HYPERLINK(\"\"http://evil\"\")\",online,");
    assert!(table.text.contains(&formula), "{}", table.text);

    let to = ago(60);
    let values =
        lines(&service.get(&format!("/api/v1/export?what=telemetry&metrics=rssi_dbm&to={to}")).await);
    let found: Vec<(&str, f64)> =
        values.iter().map(|row| (row["metric"].as_str().unwrap(), row["last"].as_f64().unwrap())).collect();
    assert_eq!(found, [("rssi_dbm", -61.0); 3]);
    assert!(values.windows(2).all(|pair| pair[0]["at"].as_str() < pair[1]["at"].as_str()), "{values:?}");
    let table = service.get("/api/v1/export?what=telemetry&metrics=rssi_dbm&format=csv").await.text;
    assert!(
        table.starts_with("at,node,metric,avg,min,max,last,count\r\n") && table.contains(",-61.0,"),
        "{table}"
    );

    service.until("/api/v1/events/history?limit=1", |events| events["items"][0]["id"].is_u64()).await;
    let events = lines(&service.get("/api/v1/export?what=events").await);
    assert!(events.iter().any(|event| event["kind"] == "topology"), "{events:?}");
    let none = service.get(&format!("/api/v1/export?what=events&to={}", ago(86_400))).await;
    assert_eq!((none.status, &*none.text), (200, ""));
    let audit = lines(&service.get("/api/v1/export?what=audit").await);
    assert!(audit.iter().any(|line| line["action"] == "PUT /api/v1/nodes/{id}/name"), "{audit:?}");
    lines(&service.get("/api/v1/export?what=alerts").await);
    service.stop().await;
}

#[tokio::test]
async fn more_events_than_one_page_come_in_order() {
    let (_folder, store) = store().await;
    let at = Timestamp::now();
    let detail = json!({"name": "join", "text": "is in the mesh"}).to_string();
    let first = store.reserve(meshward_gateway::store::EVENT_IDS, 2_500).await.unwrap();
    let rows: Vec<EventRow> = (0..2_500)
        .map(|n| EventRow {
            id: first + n,
            at,
            kind: "topology".to_owned(),
            node: Some(7),
            detail: detail.clone(),
        })
        .collect();
    let recorder = Recorder::start(store.clone());
    for part in rows.chunks(500) {
        part.iter().for_each(|row| recorder.record(Record::Event(row.clone())));
        recorder.flush().await.unwrap();
    }
    drop(recorder);
    let service = Service::start_on(Some(store.clone())).await;
    let events = lines(&service.get("/api/v1/export?what=events").await);
    let ids: Vec<u64> = events.iter().map(|event| event["id"].as_u64().unwrap()).collect();
    assert!(ids.len() >= 2_500 && ids.windows(2).all(|pair| pair[0] < pair[1]), "{}", ids.len());
    service.stop().await;
}

#[tokio::test]
async fn what_cannot_be_had_is_refused_before_anything_is_sent() {
    let service = Service::start().await;
    for (query, status) in [
        ("", 400),
        ("?what=weather", 400),
        ("?what=nodes&format=xml", 400),
        ("?what=nodes&from=2026-01-01T00:00:00Z", 400),
        ("?what=events&metrics=rssi_dbm", 400),
        ("?what=telemetry&metrics=weather", 400),
        ("?what=telemetry&from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z", 400),
        ("?what=events&from=yesterday", 400),
        ("?what=telemetry", 404),
        ("?what=audit", 404),
    ] {
        service.get(&format!("/api/v1/export{query}")).await.problem(status);
    }
    // Without a database there are the events that the gateway itself remembers.
    assert!(!lines(&service.get("/api/v1/export?what=events").await).is_empty());
    service.stop().await;
}
