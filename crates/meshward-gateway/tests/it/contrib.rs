//! The files for other tools ask for what there is: dashboards for series and fields, flows for routes and core nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use axum::http::Method;
use meshward_gateway::rest::access::table;
use meshward_gateway::{influx, prometheus};
use serde_json::{Value, json};

/// The nodes that come with Node-RED 4, of those that flows may use.
const CORE: [&str; 22] = [
    "tab",
    "comment",
    "inject",
    "debug",
    "function",
    "change",
    "switch",
    "template",
    "delay",
    "trigger",
    "http in",
    "http response",
    "http request",
    "json",
    "file",
    "file in",
    "catch",
    "status",
    "link in",
    "link out",
    "split",
    "join",
];
/// Kinds of panels that come with Grafana.
const PANELS: [&str; 7] = ["timeseries", "stat", "gauge", "bargauge", "table", "piechart", "nodeGraph"];
/// What reads our own interface in Grafana.
const INFINITY: &str = "yesoreyeram-infinity-datasource";

fn files(folder: &str) -> BTreeMap<String, Value> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../contrib")).join(folder);
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        (name.clone(), serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}")))
    };
    std::fs::read_dir(folder).unwrap().map(read).collect()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}"))
}

fn list<'a>(value: &'a Value, field: &str) -> &'a Vec<Value> {
    value[field].as_array().unwrap_or_else(|| panic!("no list {field} in {value}"))
}

/// Words of a query that are series.
fn series(query: &str) -> Vec<&str> {
    let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || "_:".contains(c)));
    words.filter(|word| word.starts_with("painlessmesh_") || word.starts_with("process_")).collect()
}

/// What is wrong with a dashboard.
fn dashboard(board: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let series_there = prometheus::names();
    let variables: BTreeMap<&str, &Value> =
        list(&board["templating"], "list").iter().map(|one| (text(one, "name"), one)).collect();
    for name in ["datasource", "mesh", "node"] {
        if !variables.contains_key(name) {
            wrong.push(format!("there is no variable {name}"));
        }
    }
    let source = variables.get("datasource").map(|one| text(one, "query")).unwrap_or_default();
    let mut ids = BTreeSet::new();
    let mut check = |query: &str| {
        for word in series(query) {
            let is = |name: &String| {
                let end = word.strip_prefix(&**name);
                end.is_some_and(|end| ["", "_bucket", "_sum", "_count"].contains(&end))
            };
            if source == "influxdb" || !series_there.iter().any(is) {
                wrong.push(format!("there is no series {word}"));
            }
        }
        if source == "influxdb" {
            wrong.extend(not_written(query));
        }
        let (open, close) = (query.matches(['(', '{', '[']).count(), query.matches([')', '}', ']']).count());
        if query.is_empty() || open != close {
            wrong.push(format!("brackets of {query}"));
        }
    };
    let queries = variables.values().filter(|one| one["type"] == "query");
    let targets = list(board, "panels").iter().flat_map(|panel| list(panel, "targets"));
    if source == INFINITY {
        let asked = queries.map(|one| &one["query"]["infinityQuery"]).chain(targets);
        wrong.extend(asked.filter_map(no_route));
    } else {
        let field = if source == "prometheus" { "expr" } else { "query" };
        queries.for_each(|variable| check(text(variable, "definition")));
        targets.for_each(|target| check(target[field].as_str().unwrap_or_default()));
    }
    for panel in list(board, "panels") {
        let (title, place) = (text(panel, "title"), &panel["gridPos"]);
        if !ids.insert(panel["id"].as_u64()) {
            wrong.push(format!("{title} has the id of another panel"));
        }
        if !PANELS.contains(&text(panel, "type")) || panel["datasource"]["uid"] != "${datasource}" {
            wrong.push(format!("{title} is of a kind or source that not everybody has"));
        }
        if place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() > 24 {
            wrong.push(format!("{title} is out of the page"));
        }
    }
    wrong
}

/// What a query of InfluxQL asks for that is not written: each name in quotation marks is the measurement, a field or
/// tag of it. That the database answers such queries is another test's matter.
fn not_written(query: &str) -> Vec<String> {
    let names = || query.split('"').skip(1).step_by(2);
    let measurement =
        query.split("FROM \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
    let Some((_, tags)) = influx::TAGS.iter().find(|(name, _)| *name == measurement) else {
        return vec![format!("there is no measurement {measurement:?} in {query}")];
    };
    let field =
        |name: &str| influx::names().iter().any(|(of, known, _)| *of == measurement && *known == name);
    let strange = names().filter(|name| *name != measurement && !tags.contains(name) && !field(name));
    strange.map(|name| format!("there is no field {name} of {measurement}")).collect()
}

/// What a query of our own interface asks for that there is not.
fn no_route(query: &Value) -> Option<String> {
    let path = text(query, "url").split('?').next().unwrap_or_default();
    let Some(rule) = table::find(&Method::GET, path) else {
        return Some(format!("there is no route {path}"));
    };
    let fields: BTreeSet<String> =
        list(query, "columns").iter().map(|one| text(one, "selector").to_owned()).collect();
    let rows = match rule.path {
        "/api/v1/grafana/nodes" => {
            json!(["id", "title", "subtitle", "mainstat", "secondarystat", "arc__good", "arc__lost", "color"])
        }
        "/api/v1/grafana/edges" => json!(["id", "source", "target", "mainstat"]),
        "/api/v1/alerts" => json!(["severity", "rule", "subject", "state", "evidence"]),
        "/api/v1/meshes" => json!(["id"]),
        _ => return Some(format!("nobody knows the fields of {path}")),
    };
    let strange = fields.into_iter().find(|field| !rows.as_array().unwrap().contains(&json!(field)));
    strange.map(|field| format!("there is no field {field} of {path}"))
}

#[test]
fn dashboards_ask_for_what_there_is() {
    let boards = files("grafana/dashboards");
    let names: Vec<&str> = boards.keys().map(String::as_str).collect();
    let expected = [
        "alerts.json",
        "firmware.json",
        "fleet.json",
        "gateway.json",
        "influx.json",
        "node.json",
        "topology.json",
    ];
    assert_eq!(names, expected);
    let mut uids = BTreeSet::new();
    for (name, board) in &boards {
        assert_eq!(dashboard(board), Vec::<String>::new(), "{name}");
        assert!(uids.insert(text(board, "uid")) && !list(board, "panels").is_empty(), "{name}");
        let source = &list(&board["templating"], "list")[0]["current"]["value"];
        let provisioned = include_str!("../../../../contrib/grafana/provisioning/datasources/meshward.yml");
        assert!(provisioned.contains(&format!("uid: {}\n", source.as_str().unwrap())), "{name}");
    }
}

/// Makes something wrong.
type Spoil = fn(&mut Value);

#[test]
fn a_dashboard_that_asks_for_nothing_is_found() {
    let good = files("grafana/dashboards").remove("fleet.json").unwrap();
    let spoilt = |spoil: Spoil| {
        let mut board = good.clone();
        spoil(&mut board);
        dashboard(&board)
    };
    let rows: [(Spoil, &str); 4] = [
        (
            |board| board["panels"][0]["targets"][0]["expr"] = json!("painlessmesh_happiness"),
            "painlessmesh_happiness",
        ),
        (|board| board["panels"][1]["id"] = json!(1), "the id of another"),
        (|board| board["templating"]["list"][2]["name"] = json!("nodes"), "no variable node"),
        (|board| board["panels"][0]["datasource"]["uid"] = json!("mine"), "source"),
    ];
    for (spoil, found) in rows {
        assert!(spoilt(spoil).iter().any(|wrong| wrong.contains(found)), "{found}: {:?}", spoilt(spoil));
    }
    let mut board = files("grafana/dashboards").remove("influx.json").unwrap();
    board["panels"][0]["targets"][0]["query"] = json!("SELECT mean(\"joy\") FROM \"mesh\"");
    board["panels"][1]["targets"][0]["query"] = json!("SELECT mean(\"score\") FROM \"meshes\"");
    let found = [
        "there is no field joy of mesh",
        "there is no measurement \"meshes\" in SELECT mean(\"score\") FROM \"meshes\"",
    ];
    assert_eq!(dashboard(&board), found);
    let mut board = files("grafana/dashboards").remove("topology.json").unwrap();
    board["panels"][0]["targets"][0]["url"] = json!("/api/v1/grafana/vertices");
    board["panels"][0]["targets"][1]["columns"][0]["selector"] = json!("weight");
    let found =
        ["there is no route /api/v1/grafana/vertices", "there is no field weight of /api/v1/grafana/edges"];
    assert_eq!(dashboard(&board), found);
}

/// What is wrong with a flow.
fn flow(nodes: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let nodes = nodes.as_array().expect("a flow is a list");
    let ids: BTreeSet<&str> = nodes.iter().map(|node| text(node, "id")).collect();
    if ids.len() != nodes.len() {
        wrong.push("two nodes have one id".to_owned());
    }
    let tabs: BTreeSet<&str> =
        nodes.iter().filter(|node| node["type"] == "tab").map(|tab| text(tab, "id")).collect();
    for node in nodes {
        let kind = text(node, "type");
        if !CORE.contains(&kind) {
            wrong.push(format!("{kind} is no core node"));
        }
        if kind == "tab" {
            continue;
        }
        if !tabs.contains(text(node, "z")) {
            wrong.push(format!("{} is on no tab", text(node, "name")));
        }
        for to in list(node, "wires").iter().flat_map(|wires| wires.as_array().unwrap()) {
            if !ids.contains(to.as_str().unwrap()) {
                wrong.push(format!("a wire of {} leads nowhere", text(node, "name")));
            }
        }
        let outputs = node["outputs"].as_u64().unwrap_or(1);
        if kind == "function" && list(node, "wires").len() as u64 != outputs {
            wrong.push(format!("{} has not {outputs} wires", text(node, "name")));
        }
        if kind == "change" {
            wrong.extend(asked(node));
        }
    }
    wrong
}

/// Whether a node asks for a route that there is.
fn asked(node: &Value) -> Option<String> {
    let set =
        |field: &str| list(node, "rules").iter().find(|rule| rule["p"] == field).map(|rule| text(rule, "to"));
    let (url, method) = (set("url")?, set("method")?);
    let start = url.find("\"/api/")?;
    let path = url[start + 1..].split(['"', '?']).next()?;
    let method: Method = method.parse().ok()?;
    let path = if path.ends_with('/') { format!("{path}{{id}}") } else { path.to_owned() };
    table::find(&method, &path).is_none().then(|| format!("there is no route {method} {path}"))
}

#[test]
fn flows_are_whole_and_of_core_nodes() {
    let flows = files("node-red");
    let names: Vec<&str> = flows.keys().map(String::as_str).collect();
    assert_eq!(names, ["alert-to-chat.json", "ota.json", "query-node.json", "status.json"]);
    let mut asks = 0;
    for (name, nodes) in &flows {
        assert_eq!(flow(nodes), Vec::<String>::new(), "{name}");
        asks += nodes.as_array().unwrap().iter().filter(|node| node["type"] == "change").count();
    }
    assert!(asks >= 5, "flows ask for routes: {asks}");
}

#[test]
fn a_flow_that_is_not_whole_is_found() {
    let good = files("node-red").remove("ota.json").unwrap();
    let spoilt = |place: &str, value: Value| {
        let mut nodes = good.clone();
        *nodes.pointer_mut(place).unwrap() = value;
        flow(&nodes).join("; ")
    };
    let change = good.as_array().unwrap().iter().position(|node| node["type"] == "change").unwrap();
    for (place, value, found) in [
        ("/1/type".to_owned(), json!("ui_gauge"), "no core node"),
        ("/2/wires/0/0".to_owned(), json!("nobody"), "leads nowhere"),
        ("/2/z".to_owned(), json!("nobody"), "on no tab"),
        (
            format!("/{change}/rules/0/to"),
            json!("$env(\"MESHWARD_URL\") & \"/api/v1/firmwares\""),
            "no route",
        ),
    ] {
        assert!(spoilt(&place, value).contains(found), "{found}");
    }
}
