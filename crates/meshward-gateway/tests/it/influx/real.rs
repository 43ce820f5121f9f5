//! What the gateway writes, in a real database: recorded packages of C++ nodes come over TCP, the whole writer sends, and
//! every query of the dashboard is asked.

use std::collections::BTreeSet;
use std::sync::Arc;

use meshward_core::mesh::MeshEvent;
use meshward_core::node::Event;
use meshward_core::wire::peek;
use meshward_gateway::influx::{Field, Kind, names};
use meshward_gateway::shell::Application as _;

use super::database::{Database, Row};
use proptest::strategy::ValueTree as _;

use super::grafana::{self, Chosen, View};
use super::*;

/// The mesh's name has what regular expressions, strings and line protocol each take for theirs.
const MESH: &str = "plant 1.5/a, 'süd'=\"x\"";
/// The node whose packages were recorded, and what hangs below it.
const NODES: [NodeId; 3] = [NodeId(2_748_091_201), NodeId(1_093_410_022), NodeId(3_662_815_033)];
/// Fields that nothing here tells, with the reason.
const UNTOLD: [(&str, &str); 1] = [("boots", "C++ nodes do not count their starts")];

/// The status packages of the recording, byte for byte.
fn recorded() -> Vec<Vec<u8>> {
    let file = include_str!("../../../../../testdata/wire/17_alteriom_packages.ndjson");
    let lines = file.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let raw =
        lines.filter(|line| line["from"] == "A").filter_map(|line| Some(line["raw"].as_str()?.to_owned()));
    // To all: from 200 on, without the command to one.
    raw.filter(|raw| raw.contains("\"routing\":2")).map(String::into_bytes).collect()
}

fn tree(below: &[NodeId]) -> Tree {
    let mut tree = Tree::leaf(NODES[0]);
    below.iter().for_each(|id| tree.graft(&Tree::leaf(*id)));
    tree
}

/// A gateway that knows a mesh, and the neighbour through which it does.
struct World {
    handle: NodeHandle<Gateway>,
    peer: Peer,
}

impl World {
    async fn new() -> Self {
        let (address, handle) =
            gateway(FleetSettings { mesh: MESH.to_owned(), ..FleetSettings::default() }).await;
        let peer = tokio::task::spawn_blocking(move || Peer::join(address, tree(&NODES[1..])));
        Self { handle, peer: peer.await.unwrap() }
    }

    /// These frames come from the neighbour.
    async fn hear(mut self, frames: Vec<Vec<u8>>) -> Self {
        let talk = tokio::task::spawn_blocking(move || {
            frames.iter().for_each(|frame| self.peer.write(&[frame.as_slice(), &[0]].concat()));
            self.peer.settle();
            self
        });
        talk.await.unwrap()
    }

    /// All that was recorded, and how long the way to each node and back takes.
    async fn told(self) -> Self {
        let world = self.hear(recorded()).await;
        let measured = world.handle.with(|now, node, gateway| {
            for (id, millis) in NODES.into_iter().zip([27, 41, 64]) {
                let round_trip = meshward_core::time::Duration::from_millis(millis);
                gateway.on_event(now, node, &Event::Mesh(MeshEvent::Delay { from: id, round_trip }));
            }
        });
        measured.await.unwrap();
        world
    }

    /// The last node vanishes and is given up, and the first one has little memory left for two minutes, all of it ahead
    /// of time.
    async fn fares_badly(self) -> Self {
        let mut world = self;
        let talk = tokio::task::spawn_blocking(move || {
            world.peer.claim(tree(&NODES[1..2]));
            world.peer.settle();
            world
        });
        let world = talk.await.unwrap();
        let low = Package::from(Metrics { heap: 9_000.into(), ..Metrics::default() });
        let bytes = low.encode(NODES[0], To::All);
        let ahead = world.handle.with(move |now, node, gateway| {
            for late in [1, 130].map(|seconds| now + meshward_core::time::Duration::from_secs(seconds)) {
                let (envelope, bytes) = (peek(&bytes).unwrap(), bytes.clone());
                gateway.on_event(late, node, &Event::Package { envelope, bytes });
                gateway.handle_timeout(late, node);
            }
        });
        ahead.await.unwrap();
        world
    }
}

/// Writes to the database until the test says that it is enough.
struct Writing {
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
    queue: Arc<Queue>,
    _folder: tempfile::TempDir,
}

impl Writing {
    fn start(database: &Database, handle: &NodeHandle<Gateway>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let token = None;
        let (url, org, bucket) = (database.url.clone(), "home".to_owned(), "mesh".to_owned());
        // By `auto`: that this server has nothing of version 2 is found out.
        let server = Server { url, api: Api::Auto, org, bucket, token };
        let writer = Writer::open(Settings { server, ..settings(String::new(), folder.path()) }).unwrap();
        let queue = writer.queue();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(writer.run(handle.clone(), async move { drop(stopped.await) }));
        Self { stop, task, queue, _folder: folder }
    }

    /// Everything is in the database, and nothing was refused.
    async fn end(self) {
        until(async || self.queue.is_empty().then_some(())).await;
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
        let written = self.queue.written();
        // The first attempt, by version 2, is no failure of the second.
        assert_eq!((written.dropped, written.failure), (0, None));
        assert!(written.at.is_some());
    }
}

/// Waits until a query has so many rows with values.
async fn until_rows(database: &Database, query: &str, count: usize) {
    until(async || (database.ask("mesh", query).await.unwrap().telling() >= count).then_some(())).await;
}

/// A database in which a mesh is that has told everything and lost a node.
async fn filled() -> Database {
    let database = Database::start(&["mesh"]).await;
    let world = World::new().await;
    let writing = Writing::start(&database, &world.handle);
    // What happened before the first round is not written.
    until_rows(&database, "SELECT score FROM mesh", 1).await;
    let world = world.told().await;
    until_rows(&database, "SELECT battery_ratio, latency_ms FROM mesh_node", 2).await;
    let world = world.fares_badly().await;
    until_rows(&database, "SELECT text FROM mesh_event", 1).await;
    until_rows(&database, "SELECT value FROM mesh_alert", 1).await;
    writing.end().await;
    drop(world);
    database
}

fn view(variables: Vec<(&'static str, Chosen)>) -> View {
    let now = jiff::Timestamp::now().as_millisecond();
    // The node is given up ahead of time.
    View { variables, range: (now - 21_600_000, now + 300_000), interval: "30s" }
}

fn these(values: &[&str]) -> Chosen {
    Chosen::These(values.iter().map(|value| (*value).to_owned()).collect())
}

/// A query with each of the names that it selects misspelt, and with its measurement.
fn misspelt(query: &str) -> Vec<String> {
    let (before, rest) = query.split_once(" FROM ").unwrap();
    let selected = before.split('"').skip(1).step_by(2);
    let spoil = |name: &str| query.replacen(&format!("\"{name}\""), "\"joy\"", 1);
    let measurement = rest.split('"').nth(1).unwrap();
    let lost = query.replacen(&format!(" FROM \"{measurement}\""), " FROM \"lost\"", 1);
    selected.map(spoil).chain([lost]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_the_dashboard_is_answered() {
    let database = filled().await;
    let ask = async |query: &str, view: &View| {
        let sent = grafana::sent(query, view);
        database.ask("mesh", &sent).await.unwrap_or_else(|error| panic!("{error}: {sent}"))
    };
    // As Grafana does: the meshes, and of the first one the nodes.
    let meshes = ask(&grafana::values_of("mesh").text, &view(Vec::new())).await;
    assert_eq!(meshes.column("value"), [MESH]);
    let mesh = || ("mesh", these(&[MESH]));
    let nodes = ask(&grafana::values_of("node").text, &view(vec![mesh()])).await;
    let found: BTreeSet<String> =
        nodes.column("value").iter().map(|id| id.as_str().unwrap().to_owned()).collect();
    assert_eq!(found, NODES.map(|id| id.to_string()).into());
    let panels = grafana::panels();
    assert_eq!(panels.len(), 16);
    let ids = NODES.map(|id| id.to_string());
    // Alerts are about these two.
    let some = these(&[&ids[0], &ids[2]]);
    for (what, nodes) in [("all", grafana::all("node")), ("some", some)] {
        let view = view(vec![mesh(), ("node", nodes)]);
        for panel in &panels {
            let rows = ask(&panel.text, &view).await;
            assert!(rows.is_whole(), "{} of {what} nodes lacks something: {}", panel.title, panel.text);
        }
    }
    // What is not there is not found: neither by name, nor of another mesh or node.
    let (all, nobody) = (|| ("node", grafana::all("node")), || ("node", these(&["4711"])));
    for panel in &panels {
        for wrong in misspelt(&panel.text) {
            assert!(wrong != panel.text, "{wrong}");
            assert!(!ask(&wrong, &view(vec![mesh(), all()])).await.is_whole(), "{wrong}");
        }
        let other = view(vec![("mesh", these(&["plant 1x5/a, 'süd'=\"x\""])), all()]);
        assert_eq!(ask(&panel.text, &other).await.telling(), 0, "{}", panel.text);
        if panel.text.contains("node:regex") {
            let nothing = ask(&panel.text, &view(vec![mesh(), nobody()])).await;
            assert_eq!(nothing.telling(), 0, "{}", panel.text);
        }
    }
    let broken = panels[0].text.replace(" FROM ", " FORM ");
    assert!(database.ask("mesh", &grafana::sent(&broken, &view(vec![mesh(), all()]))).await.is_err());
}

/// Every field has the type in the database that it is said to have, whatever values come, and nothing is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_field_has_one_type() {
    let database = filled().await;
    let keys = async |database: &Database| -> BTreeSet<(String, String, String)> {
        let rows = database.ask("mesh", "SHOW FIELD KEYS").await.unwrap();
        let text = |row: &Row, name: &str| row.columns[name].as_str().unwrap().to_owned();
        rows.0.iter().map(|row| (row.of.clone(), text(row, "fieldKey"), text(row, "fieldType"))).collect()
    };
    let told = names().into_iter().filter(|(_, name, _)| UNTOLD.iter().all(|(untold, _)| untold != name));
    let name = |kind: Kind| match kind {
        Kind::Int => "integer",
        Kind::Float => "float",
        Kind::Bool => "boolean",
        Kind::Text => "string",
    };
    let expected: BTreeSet<(String, String, String)> =
        told.map(|(of, field, kind)| (of.to_owned(), field.to_owned(), name(kind).to_owned())).collect();
    assert_eq!(keys(&database).await, expected);
    // That the server minds is seen by breaking it: the gateway drops such a batch and says so.
    let mut sender = database.sender(Api::V1, "mesh", None);
    // A type holds within a shard, so it is the present that counts.
    let now = jiff::Timestamp::now().as_millisecond() * 1_000_000;
    let other = line("mesh", &[("mesh", "x")], &[("score", Field::Int(7))], now).unwrap();
    let Sent::Refused(why) = sender.send(&packed(&[other])).await else { panic!("a type was changed") };
    assert!(why.contains("field type conflict"), "{why}");
}

/// A node tells lines of its log in one message: they have one time, and none may take another's place.
#[tokio::test(flavor = "multi_thread")]
async fn what_happens_at_once_is_kept_apart() {
    let database = Database::start(&["mesh"]).await;
    let world = World::new().await;
    let writing = Writing::start(&database, &world.handle);
    until_rows(&database, "SELECT score FROM mesh", 1).await;
    let package = r#"{"type":14,"from":2748091201,"dest":1,"routing":1,"log":[
        {"first":5,"second":"door open"},{"first":5,"second":"light on"},{"first":6,"second":"door shut"}]}"#;
    let world = world.hear(vec![package.replace('\n', "").into_bytes()]).await;
    until_rows(&database, "SELECT text FROM mesh_event WHERE kind = 'log'", 1).await;
    writing.end().await;
    drop(world);
    let rows = database.ask("mesh", "SELECT text FROM mesh_event WHERE kind = 'log'").await.unwrap();
    assert_eq!(rows.column("text"), ["door open", "light on", "door shut"]);
}

fn packed(lines: &[String]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, (lines.join("\n") + "\n").as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// Whatever is in a tag or a text, the server reads what was meant.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_escaped_is_read_back() {
    let database = Database::start(&["mesh"]).await;
    let texts: Vec<String> = {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let odd = "[ ,=\\\\\"'#/a\u{e4}\u{1f600}\n\t]{1,12}";
        let any = prop_oneof![odd.prop_map(|text| text), any::<String>()];
        let mut text = || any.new_tree(&mut runner).unwrap().current();
        (0..500).map(|_| text()).filter(|text| !text.is_empty() && text.len() < 200).collect()
    };
    assert!(texts.len() > 400);
    let lines = texts.iter().enumerate().map(|(at, text)| {
        let number = at.to_string();
        let fields = [
            ("text", Field::Text(text.clone())),
            ("int", Field::Int(i64::MAX - at as i64)),
            ("float", Field::Float(1.0 / at as f64)),
            ("whole", Field::Float(at as f64)),
        ];
        line("odd", &[("number", &number), ("tag", text)], &fields, at as i64).unwrap()
    });
    let lines: Vec<String> = lines.collect();
    let mut sender = database.sender(Api::V1, "mesh", None);
    assert_eq!(sender.send(&packed(&lines)).await, Sent::Taken);
    let rows = database.ask("mesh", "SELECT * FROM odd").await.unwrap();
    assert_eq!(rows.0.len(), texts.len());
    for row in &rows.0 {
        let row = &row.columns;
        let at: usize = row["number"].as_str().unwrap().parse().unwrap();
        let (tag, text) = (row["tag"].as_str().unwrap(), row["text"].as_str().unwrap());
        let meant: String = texts[at].chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        assert_eq!((tag, text), (&*plain(&texts[at]), &*meant));
        assert_eq!(row["int"].as_i64(), Some(i64::MAX - at as i64));
        assert_eq!(row["whole"].as_f64(), Some(at as f64));
        assert_eq!(row["float"].as_f64(), (at > 0).then(|| 1.0 / at as f64));
    }
}

/// A database that is not there yet, a wrong password and a right one: what can be mended is tried again.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_write_yet_waits() {
    let mut database = Database::with_users(true);
    database.run("CREATE USER ann WITH PASSWORD 'pa:ss w' WITH ALL PRIVILEGES").await;
    let batch = packed(&["mesh,mesh=x links=1i 1700000000000000000".to_owned()]);
    for (token, status) in [("ann:no", "401"), ("ann:pa:ss w", "404")] {
        let mut sender = database.sender(Api::V1, "mesh", Some(token));
        let Sent::Later { why, .. } = sender.send(&batch).await else { panic!("{token} may write") };
        assert!(why.contains(status), "{why}");
    }
    assert!(database.ask("mesh", "SHOW DATABASES").await.is_err(), "nobody is let in without a password");
    database.login = Some(("ann", "pa:ss w"));
    database.run("CREATE DATABASE mesh").await;
    let mut sender = database.sender(Api::Auto, "mesh", Some("ann:pa:ss w"));
    assert!(matches!(sender.send(&batch).await, Sent::Later { .. }), "version 2 was tried");
    assert_eq!(sender.send(&batch).await, Sent::Taken);
    assert_eq!(database.ask("mesh", "SELECT links FROM mesh").await.unwrap().column("links"), [1]);
}
