//! Values for InfluxDB: every line is read back, whatever is in it; and servers of every kind.

mod database;
mod grafana;
mod parser;
mod real;

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use meshward_core::wire::status::{Metrics, Package};
use meshward_core::wire::{NodeId, To, Tree};
use meshward_fleet::fleet::Settings as FleetSettings;
use meshward_gateway::influx::line::{Field, line};
use meshward_gateway::influx::queue::Queue;
use meshward_gateway::influx::{self, Api, Kind, Sender, Sent, Server, Settings, Writer};
use meshward_gateway::prometheus::Format;
use meshward_gateway::service::Gateway;
use meshward_gateway::shell::NodeHandle;
use proptest::prelude::*;
use tokio::sync::{Notify, oneshot};

use crate::gateway::gateway;
use crate::notify::until;
use crate::peer::Peer;
use crate::sink::{Got, Reply, Sink};
use parser::{Line, Value};

fn any_field() -> impl Strategy<Value = Field> {
    prop_oneof![
        any::<i64>().prop_map(Field::Int),
        any::<f64>().prop_map(Field::Float),
        any::<bool>().prop_map(Field::Bool),
        any::<String>().prop_map(Field::Text),
    ]
}

/// What a name or tag is on the other side.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c == '\\' {
                '/'
            } else if c.is_control() {
                ' '
            } else {
                c
            }
        })
        .collect()
}

proptest! {
    /// Whatever is in it, a line is whole, is read strictly, and says what was meant.
    #[test]
    fn every_line_is_read_back(
        measurement in "[a-z #,=\\\\\n\u{e4}]{1,9}",
        tags in prop::collection::vec(("[a-z ,=\\\\\t\u{e4}\"]{0,6}", any::<String>()), 0..5),
        fields in prop::collection::vec(("[a-z ,=\\\\\"\u{e4}]{0,6}", any_field()), 0..5),
        at in any::<i64>(),
    ) {
        let tag_list: Vec<(&str, &str)> = tags.iter().map(|(name, value)| (&**name, &**value)).collect();
        let field_list: Vec<(&str, Field)> = fields.iter().map(|(name, value)| (&**name, value.clone())).collect();
        // Two names that differ only in what cannot be written are one on the other side: not in this test.
        let mut names: Vec<String> = tags.iter().map(|(name, _)| plain(name)).filter(|name| !name.is_empty()).collect();
        let mut field_names: Vec<String> = fields.iter().map(|(name, _)| plain(name)).collect();
        names.sort();
        field_names.sort();
        let twice = |names: &[String]| names.windows(2).any(|two| two[0] == two[1]);
        prop_assume!(!twice(&names) && !twice(&field_names));
        prop_assume!(tags.iter().all(|(name, value)| plain(name) == *name && value.len() < 100));
        let Some(text) = line(&measurement, &tag_list, &field_list, at) else {
            let writable = fields.iter().any(|(name, value)| {
                !name.is_empty() && !matches!(value, Field::Float(float) if !float.is_finite())
            });
            prop_assert!(!writable || measurement.trim_start_matches('#').is_empty());
            return Ok(());
        };
        prop_assert!(!text.contains('\n'));
        let read = parser::line(&text).map_err(|error| TestCaseError::fail(format!("{error}: {text}")))?;
        prop_assert_eq!(&read.measurement, &plain(measurement.trim_start_matches('#')));
        prop_assert_eq!(read.at, at);
        for (name, value) in tags.iter().filter(|(name, value)| !name.is_empty() && !value.is_empty()) {
            prop_assert_eq!(read.tags.get(name), Some(&plain(value)));
        }
        for (name, value) in fields.iter().filter(|(name, _)| !name.is_empty()) {
            let found = read.fields.get(&plain(name));
            match value {
                Field::Int(value) => prop_assert_eq!(found, Some(&Value::Int(*value))),
                Field::Float(value) if value.is_finite() => prop_assert_eq!(found, Some(&Value::Float(*value))),
                Field::Float(_) => prop_assert_eq!(found, None),
                Field::Bool(value) => prop_assert_eq!(found, Some(&Value::Bool(*value))),
                Field::Text(value) => {
                    let meant: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                    prop_assert_eq!(found, Some(&Value::Text(meant)));
                }
            }
        }
    }
}

fn lines_of(got: &Got) -> Vec<Line> {
    assert_eq!(got.header("content-encoding"), Some("gzip"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&*got.body).read_to_string(&mut text).unwrap();
    assert!(text.ends_with('\n'));
    text.lines().map(|text| parser::line(text).unwrap_or_else(|error| panic!("{error}: {text}"))).collect()
}

fn server(url: String, api: Api, token: &str) -> Server {
    let (org, bucket) = ("or g".to_owned(), "mesh/1".to_owned());
    Server { url, api, org, bucket, token: Some(token.to_owned()) }
}

fn settings(url: String, folder: &Path) -> Settings {
    Settings {
        server: server(url, Api::Auto, "tk"),
        interval: Duration::from_millis(200),
        names: false,
        folder: folder.to_owned(),
        bytes_max: 1 << 20,
    }
}

/// What is written has the names and types that it is said to have.
fn are_as_named(lines: &[Line]) {
    let known = influx::names();
    for line in lines {
        for (field, value) in &line.fields {
            let kind = match value {
                Value::Int(_) => Kind::Int,
                Value::Float(_) => Kind::Float,
                Value::Bool(_) => Kind::Bool,
                Value::Text(_) => Kind::Text,
            };
            let named = known.contains(&(&line.measurement, field, kind));
            assert!(named, "{field} of {}, {kind:?}, is not among the names", line.measurement);
        }
        let tags = influx::TAGS.iter().find(|(of, _)| *of == line.measurement).unwrap().1;
        assert!(line.tags.keys().all(|tag| tags.contains(&&**tag)), "{line:?}");
    }
}

/// How the writing fares is known to Prometheus and to the gateway; at the end the server takes values again.
async fn fares(sink: &Sink, asking: &NodeHandle<Gateway>) {
    until(async || {
        let text = meshward_gateway::prometheus::scrape(asking, None, Format::Text).await.unwrap();
        let value = |name: &str| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(&format!("painlessmesh_gateway_influx_{name} ")));
            line.map(|value| value.parse::<f64>().unwrap())
        };
        assert_eq!(value("dropped_lines_total"), Some(0.0), "{text}");
        value("pending_batches").unwrap();
        value("last_write_timestamp_seconds").filter(|at| *at > 1.7e9)
    })
    .await;
    sink.answer(|_| Reply::Say(503, "", ""));
    let written = until(async || {
        let written = asking.with(|_, _, gateway| gateway.written()).await.unwrap().unwrap();
        (written.batches > 0 && written.failure.is_some()).then_some(written)
    })
    .await;
    assert!(written.bytes > 0 && written.failure.unwrap().contains("503"));
    sink.answer(|_| Reply::Say(204, "", ""));
}

/// A whole gateway and a node that has told how it fares.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_writes_what_it_knows() {
    crate::sink::provider();
    let sink = Sink::start(|_| Reply::Say(204, "", "")).await;
    let folder = tempfile::tempdir().unwrap();
    let (address, handle) =
        gateway(FleetSettings { mesh: "my mesh".to_owned(), ..FleetSettings::default() }).await;
    let writer = Writer::open(settings(sink.url("/"), folder.path())).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let asking = handle.clone();
    let writing = tokio::spawn(writer.run(handle, async move { drop(stopped.await) }));
    sink.wait(1).await;
    fares(&sink, &asking).await;
    let talk = tokio::task::spawn_blocking(move || {
        let mut peer = Peer::join(address, Tree::leaf(NodeId(7)));
        let told = Package::from(Metrics { heap: 150_000.into(), rssi: (-61).into(), ..Metrics::default() });
        peer.write(&[told.encode(NodeId(7), To::One(NodeId(1))), vec![0]].concat());
        peer.settle();
        peer
    });
    let _stays_open = talk.await.unwrap();
    let lines = until(async || {
        let lines: Vec<Line> = sink.got().iter().flat_map(lines_of).collect();
        let told = |line: &Line| line.fields.contains_key("free_heap_bytes");
        let joined = |line: &Line| line.measurement == "mesh_event";
        (lines.iter().any(told) && lines.iter().any(joined)).then_some(lines)
    })
    .await;
    are_as_named(&lines);
    let node = lines.iter().find(|line| line.fields.contains_key("free_heap_bytes")).unwrap();
    assert_eq!((&*node.measurement, &*node.tags["mesh"], &*node.tags["node"]), ("mesh_node", "my mesh", "7"));
    assert_eq!(node.fields["free_heap_bytes"], Value::Int(150_000));
    assert_eq!((&node.fields["online"], &node.fields["rssi_dbm"]), (&Value::Bool(true), &Value::Int(-61)));
    assert!(matches!(lines[0].fields["score"], Value::Float(_)) && lines[0].measurement == "mesh");
    let joined = lines.iter().find(|line| line.measurement == "mesh_event").unwrap();
    assert_eq!(joined.tags["node"], "7");
    let got = &sink.got()[0];
    assert_eq!(got.path, "//api/v2/write?org=or+g&bucket=mesh%2F1&precision=ns".replacen("//", "/", 1));
    assert_eq!(got.header("authorization"), Some("Token tk"));
    stop.send(()).unwrap();
    writing.await.unwrap();
}

/// Whether an attempt came to that.
type Expected = Box<dyn Fn(&Sent) -> bool>;

#[tokio::test]
async fn servers_of_every_kind_are_understood() {
    crate::sink::provider();
    let body = b"not read".to_vec();
    let later = |seconds: Option<u64>| move |sent: &Sent| matches!(sent, Sent::Later { after, .. } if after.map(|wait| wait.as_secs()) == seconds);
    let refused = |sent: &Sent| matches!(sent, Sent::Refused(_));
    let taken = |sent: &Sent| *sent == Sent::Taken;
    let rows: [(Reply, Expected); 13] = [
        (Reply::Say(204, "", ""), Box::new(taken)),
        (Reply::Say(200, "", "<html>a page"), Box::new(later(None))),
        (Reply::Say(400, "", r#"{"code":"invalid","message":"field type conflict"}"#), Box::new(refused)),
        (Reply::Say(413, "", ""), Box::new(refused)),
        (Reply::Say(422, "", ""), Box::new(refused)),
        (Reply::Say(401, "", "unauthorized"), Box::new(later(None))),
        (Reply::Say(404, "", r#"{"message":"bucket \"mesh\" not found"}"#), Box::new(later(None))),
        (Reply::Say(429, "Retry-After: 7\r\n", ""), Box::new(later(Some(7)))),
        (Reply::Say(503, "Retry-After: 0\r\n", ""), Box::new(later(Some(0)))),
        (Reply::Say(500, "", ""), Box::new(later(None))),
        (Reply::Say(302, "Location: http://127.0.0.1:9/\r\n", ""), Box::new(later(None))),
        (Reply::Nonsense, Box::new(later(None))),
        (Reply::Close, Box::new(later(None))),
    ];
    for (reply, expected) in rows {
        let said = reply.clone();
        let sink = Sink::start(move |_| said.clone()).await;
        let mut sender = Sender::new(server(sink.url(""), Api::Auto, "secret-token")).unwrap();
        let sent = sender.send(&body).await;
        assert!(expected(&sent), "{reply:?}: {sent:?}");
        assert!(!format!("{sent:?}{sender:?}").contains("secret-token"));
    }
    let nobody = Sink::start(|_| Reply::Close).await.url("");
    assert!(matches!(
        Sender::new(server(nobody, Api::Auto, "x")).unwrap().send(&body).await,
        Sent::Later { .. }
    ));
}

#[tokio::test]
async fn a_server_of_version_1_is_found_out() {
    crate::sink::provider();
    let sink = Sink::start(|got| {
        if got.path.starts_with("/write?") {
            Reply::Say(204, "", "")
        } else {
            Reply::Say(404, "", "404 page not found")
        }
    })
    .await;
    let mut sender = Sender::new(server(sink.url(""), Api::Auto, "ann:pass")).unwrap();
    assert!(matches!(sender.send(b"x").await, Sent::Later { after: Some(Duration::ZERO), .. }));
    assert_eq!(sender.send(b"x").await, Sent::Taken);
    let got = sink.got();
    assert_eq!(got[1].path, "/write?db=mesh%2F1&precision=ns");
    assert_eq!(got[1].header("authorization"), Some("Basic YW5uOnBhc3M="));
    let mut strict = Sender::new(server(sink.url(""), Api::V2, "x")).unwrap();
    assert!(matches!(strict.send(b"x").await, Sent::Later { .. }));
    assert!(sink.got()[2].path.starts_with("/api/v2/write?"));
}

/// The server hangs, then the gateway ends; the next one sends what waited, in order, and a bad batch stops nothing.
#[tokio::test]
async fn what_waits_is_sent_after_a_restart() {
    crate::sink::provider();
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start(|_| Reply::Hang).await;
    let start = |url: String| {
        let queue = Arc::new(Queue::open(folder.path(), 1 << 20).unwrap());
        let sender = Sender::new(server(url, Api::V2, "t")).unwrap();
        let sending = tokio::spawn(influx::drain(sender, queue.clone(), Arc::new(Notify::new())));
        (queue, sending)
    };
    let queue = Queue::open(folder.path(), 1 << 20).unwrap();
    for text in ["a v=1i 1", "b v=1i 2", "c v=1i 3"] {
        queue.put(&[text.to_owned()]).unwrap();
    }
    drop(queue);
    let (queue, sending) = start(sink.url(""));
    sink.wait(1).await;
    sending.abort();
    assert_eq!(queue.len(), 3, "nothing is lost while the server hangs");
    let mut asked = 0;
    sink.answer(move |_| {
        asked += 1;
        if asked == 2 { Reply::Say(400, "", "type conflict") } else { Reply::Say(204, "", "") }
    });
    let (queue, sending) = start(sink.url(""));
    until(async || queue.is_empty().then_some(())).await;
    sending.abort();
    let names: Vec<String> = sink.got().iter().flat_map(lines_of).map(|line| line.measurement).collect();
    assert_eq!(names, ["a", "a", "b", "c"]);
    assert_eq!(queue.dropped(), 1, "the refused batch is counted");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
