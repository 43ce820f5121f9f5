//! Pages, filters, entity tags, edits.

use reqwest::Method;
use serde_json::json;

use super::kept::store;
use super::{NODE, Service};

#[tokio::test]
async fn lists_come_in_pages() {
    let service = Service::start().await;
    let rules = service.ok("/api/v1/alert-rules?limit=1000").await;
    let all: Vec<&str> =
        rules["items"].as_array().unwrap().iter().map(|rule| rule["name"].as_str().unwrap()).collect();
    assert!(rules["next_cursor"].is_null() && all.len() > 3 && all.is_sorted(), "{all:?}");
    assert_eq!(names(&service, "/api/v1/alert-rules?limit=3").await, all);
    service.stop().await;
}

/// The names on all pages from here on, by the links from each to the next.
async fn names(service: &Service, first: &str) -> Vec<String> {
    let (mut seen, mut path) = (Vec::new(), Some(first.to_owned()));
    while let Some(next) = path {
        let page = service.get(&next).await;
        let body = page.json();
        let items = body["items"].as_array().unwrap();
        seen.extend(items.iter().map(|item| item["name"].as_str().unwrap().to_owned()));
        path = page.header("link").map(|link| {
            let (link, relation) = link.split_once('>').unwrap();
            assert_eq!(relation, "; rel=\"next\"");
            link.strip_prefix('<').unwrap().to_owned()
        });
        assert_eq!(path.is_some(), body["next_cursor"].is_string());
    }
    seen
}

#[tokio::test]
async fn all_images_of_the_database_are_listed_and_the_last_eight_without_one() {
    let upload = async |service: &Service, index: u8| {
        let path = format!("/api/v1/firmware?name=build-{index:02}");
        let answer = service.send(service.request(Method::POST, &path).body(vec![index; 1_000])).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
    };
    let names_of =
        |range: std::ops::Range<u8>| range.map(|index| format!("build-{index:02}")).collect::<Vec<_>>();
    let (_folder, store) = store().await;
    for (store, expected) in [(Some(store), names_of(0..11)), (None, names_of(3..11))] {
        let service = Service::start_on(store).await;
        for index in 0..11 {
            upload(&service, index).await;
        }
        let mut listed = names(&service, "/api/v1/firmware?limit=4").await;
        // Those of one millisecond have no order.
        listed.sort();
        assert_eq!(listed, expected);
        service.stop().await;
    }
}

#[tokio::test]
async fn nodes_are_chosen_sorted_and_cut() {
    let service = Service::start().await;
    let label = json!({"name": "Pump House", "tags": ["roof", "east"], "notes": "key is at the gate"});
    let patch = service.request(Method::PATCH, &format!("/api/v1/nodes/{NODE}/label")).json(&label);
    assert_eq!(
        service.send(patch).await.json(),
        json!({"name": "Pump House", "tags": ["east", "roof"], "notes": "key is at the gate"})
    );
    for (query, count) in [
        ("", 1),
        ("?q=pump", 1),
        ("?q=ROOF", 1),
        ("?q=21", 1),
        ("?q=cellar", 0),
        ("?tag=east", 1),
        ("?tag=eas", 0),
        ("?state=offline", 0),
        ("?state=offline,online,learning,suspect", 1),
        ("?fw=1.2", 0),
        ("?sort=-score&limit=1", 1),
    ] {
        let found = service.ok(&format!("/api/v1/nodes{query}")).await;
        assert_eq!(found["items"].as_array().unwrap().len(), count, "{query}");
    }
    let fields = service.ok("/api/v1/nodes?fields=name,tags").await;
    assert_eq!(fields["items"], json!([{"id": NODE, "name": "Pump House", "tags": ["east", "roof"]}]));
    service.stop().await;
}

#[tokio::test]
async fn what_is_known_is_not_sent_again_and_edits_meet_what_was_read() {
    let service = Service::start().await;
    let path = format!("/api/v1/nodes/{NODE}/label");
    let read = service.get(&path).await;
    let tag = read.header("etag").unwrap();
    assert!(tag.starts_with('"'), "{tag}");
    assert_eq!(read.header("cache-control"), Some("private, no-cache"));
    let known = |tag: &str| service.request(Method::GET, &path).header("if-none-match", tag.to_owned());
    let same = service.send(known(tag)).await;
    assert_eq!((same.status, &*same.text, same.header("etag")), (304, "", Some(tag)));
    assert_eq!(service.send(known("\"other\"")).await.status, 200);

    let edit = |body: serde_json::Value| service.request(Method::PATCH, &path).json(&body);
    let mine = service.send(edit(json!({"name": "mine"})).header("if-match", tag)).await;
    assert_eq!((mine.status, &mine.json()["name"]), (200, &json!("mine")));
    service.send(edit(json!({"name": "yours"})).header("if-match", tag)).await.problem(412);
    // What would be refused in any case is refused for that.
    for (wrong, pointer) in [
        (json!({"name": ""}), "/name"),
        (json!({"tags": ["a", "b\nc"]}), "/tags/1"),
        (json!({"notes": "n".repeat(2_049)}), "/notes"),
        (json!([null, null, null]), ""),
    ] {
        let errors = service.send(edit(wrong).header("if-match", tag)).await.problem(422);
        assert_eq!(errors[0]["pointer"], pointer);
    }
    assert_eq!(service.send(known(tag)).await.status, 200);
    // All or nothing.
    let wrong = service.send(edit(json!({"tags": ["new"], "name": " "}))).await.problem(422);
    assert_eq!(wrong[0]["pointer"], "/name");
    let wrong = service.send(edit(json!({"tags": ["ok", ""]}))).await.problem(422);
    assert_eq!(wrong[0]["pointer"], "/tags/1");
    assert_eq!(service.ok(&path).await, json!({"name": "mine", "tags": [], "notes": ""}));
    let unnamed = service.send(edit(json!({"name": null}))).await;
    assert_eq!(unnamed.json()["name"], json!(null));
    let posted = service.post("/api/v1/queries?wait=true", json!({})).await;
    assert_eq!(posted.header("cache-control"), Some("no-store"));
    // A node that is in the mesh stays known.
    service.send(service.request(Method::DELETE, &format!("/api/v1/nodes/{NODE}"))).await.problem(409);
    service.send(service.request(Method::DELETE, "/api/v1/nodes/7")).await.problem(404);
    service.stop().await;
}

#[tokio::test]
async fn the_newest_events_are_had_at_once() {
    let service = Service::start().await;
    let all = service.ok("/api/v1/events").await;
    let all = all["items"].as_array().unwrap();
    assert!(all.len() > 1, "{all:?}");
    let newest = service.ok("/api/v1/events?last=1").await;
    let id = newest["items"][0]["id"].as_u64().unwrap();
    assert!((newest["items"].as_array().unwrap().len(), newest["next"].as_u64()) == (1, Some(id)));
    assert!(id >= all.last().unwrap()["id"].as_u64().unwrap());
    assert_eq!(service.ok("/api/v1/events?last=1000").await["items"][0], all[0]);
    for query in ["last=0", "last=1001", "last=5&after=1"] {
        let errors = service.get(&format!("/api/v1/events?{query}")).await.problem(400);
        assert_eq!(errors[0]["parameter"], "last", "{query}");
    }
    service.stop().await;
}
