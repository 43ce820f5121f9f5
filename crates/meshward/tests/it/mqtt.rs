//! The gateway at a broker, as people use it: Debian's Mosquitto and its two programs, and the demonstration's own
//! broker.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::configuration::file;
use crate::doctor::{doctor, found, free};
use crate::program::{Gateway, Running, testdata};

/// Longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Debian keeps it out of the way of ordinary users.
fn server() -> &'static str {
    let usual = "/usr/sbin/mosquitto";
    if Path::new(usual).exists() { usual } else { "mosquitto" }
}

/// A Mosquitto that forgets everything when it ends.
struct Mosquitto {
    child: Option<Child>,
    folder: tempfile::TempDir,
    port: u16,
}

impl Mosquitto {
    fn start(more: &str) -> Self {
        Self::at(free().rsplit(':').next().unwrap().parse().unwrap(), more)
    }

    fn at(port: u16, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let anonymous = if more.is_empty() { "allow_anonymous true\n" } else { "" };
        let config = format!("listener {port} 127.0.0.1\npersistence false\n{anonymous}{more}");
        std::fs::write(folder.path().join("mosquitto.conf"), config).unwrap();
        let mut broker = Self { child: None, folder, port };
        broker.run();
        broker
    }

    fn run(&mut self) {
        let config = self.folder.path().join("mosquitto.conf");
        let mut command = Command::new(server());
        command.arg("-c").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
        let child =
            command.spawn().expect("mosquitto is installed: apt-get install mosquitto mosquitto-clients");
        self.child = Some(child);
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "the broker listens");
            sleep(Duration::from_millis(20));
        }
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn address(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What somebody at a broker sees and says, by `mosquitto_sub` and `mosquitto_pub` alone.
struct Client {
    port: u16,
    base: String,
    options: Vec<String>,
    sub: Child,
    /// Topic, whether it was retained, and payload.
    heard: Arc<Mutex<Vec<(String, bool, String)>>>,
}

impl Client {
    fn new(port: u16, base: &str, options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let mut sub = Command::new("mosquitto_sub")
            .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1", "-t", "#", "-F", "%t\t%r\t%p"])
            .args(&options)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto-clients is installed");
        let heard: Arc<Mutex<Vec<_>>> = Arc::default();
        let (out, keeps) = (sub.stdout.take().unwrap(), Arc::clone(&heard));
        std::thread::spawn(move || {
            // Chunks of images are no text.
            for line in BufReader::new(out).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                let mut parts = line.splitn(3, '\t');
                let mut part = || parts.next().unwrap_or_default().to_owned();
                let (topic, retained, payload) = (part(), part() == "1", part());
                keeps.lock().unwrap().push((topic, retained, payload));
            }
        });
        Self { port, base: base.to_owned(), options, sub, heard }
    }

    fn mark(&self) -> usize {
        self.heard.lock().unwrap().len()
    }

    /// The first message below the base, from a mark on, that is as it should be.
    fn until(&self, mark: usize, topic: &str, good: impl Fn(&Value) -> bool) -> Value {
        let topic = format!("{}/{topic}", self.base);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let heard = self.heard.lock().unwrap();
            let mut passed = heard.iter().skip(mark).filter(|(at, ..)| *at == topic);
            let read = |payload: &String| serde_json::from_str::<Value>(payload).unwrap_or_default();
            if let Some(found) = passed.find_map(|(_, _, payload)| Some(read(payload)).filter(&good)) {
                return found;
            }
            let last = heard.iter().rev().find(|(at, ..)| *at == topic).cloned();
            drop(heard);
            assert!(Instant::now() < deadline, "nothing good in {topic}, at last {last:?}");
            sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the last message in a topic is as it should be.
    fn settles(&self, topic: &str, good: impl Fn(&Value) -> bool) {
        let topic = format!("{}/{topic}", self.base);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let last = self.heard.lock().unwrap().iter().rev().find(|(at, ..)| *at == topic).cloned();
            let read = last.as_ref().map(|(.., payload)| serde_json::from_str(payload).unwrap_or_default());
            if read.is_some_and(|payload: Value| good(&payload)) {
                return;
            }
            assert!(Instant::now() < deadline, "{topic} stays {last:?}");
            sleep(Duration::from_millis(50));
        }
    }

    fn publish(&self, topic: &str, payload: &[&str]) {
        let topic = format!("{}/{topic}", self.base);
        let sent = Command::new("mosquitto_pub")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-q", "1", "-t", &topic])
            .args(&self.options)
            .args(payload)
            .status()
            .unwrap();
        assert!(sent.success(), "{topic}");
    }

    /// A request and its answer.
    fn ask(&self, name: &str, mut body: Value) -> Value {
        let mark = self.mark();
        let transaction = format!("t{mark}");
        body["transaction"] = transaction.clone().into();
        self.publish(&format!("request/{name}"), &["-m", &body.to_string()]);
        self.until(mark, &format!("response/{name}"), |answer| answer["transaction"] == transaction)
    }

    /// What a new listener finds kept below the base.
    fn kept(&self) -> Vec<String> {
        let other =
            Self::new(self.port, &self.base, &self.options.iter().map(String::as_str).collect::<Vec<_>>());
        other.until(0, "bridge/state", |_| true);
        sleep(Duration::from_millis(500));
        let heard = other.heard.lock().unwrap();
        heard.iter().filter(|(_, retained, _)| *retained).map(|(topic, ..)| topic.clone()).collect()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.sub.kill());
        drop(self.sub.wait());
    }
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Uploads an image in chunks from the last to the first, some of them twice; in the middle `disturb` is called.
fn upload(client: &Client, folder: &Path, image: &[u8], disturb: impl FnOnce()) -> String {
    const CHUNK: usize = 65_536;
    let sha256 = hex(image);
    let begin = json!({ "size": image.len(), "sha256": sha256, "chunk_size": CHUNK, "name": "node 1.5.0" });
    let begun = client.ask("firmware/upload/begin", begin.clone());
    assert_eq!(
        (&begun["status"], &begun["data"]["chunks"]),
        (&json!("ok"), &json!(image.len().div_ceil(CHUNK)))
    );
    let part: PathBuf = folder.join("part");
    let send = |number: usize| {
        std::fs::write(&part, image.chunks(CHUNK).nth(number).unwrap()).unwrap();
        let topic = format!("request/firmware/upload/chunk/{number}");
        client.publish(&topic, &["-f", part.to_str().unwrap()]);
    };
    let chunks: Vec<usize> = (0..image.len().div_ceil(CHUNK)).rev().collect();
    let (first, rest) = chunks.split_at(chunks.len() / 2);
    first.iter().for_each(|number| send(*number));
    send(first[0]);
    // Too early, and said so.
    let early = client.ask("firmware/upload/end", json!({}));
    assert!(early["error"].as_str().unwrap().contains("are missing: 0-"), "{early}");
    disturb();
    let begun = client.ask("firmware/upload/begin", begin);
    assert_eq!(begun["data"]["missing"], rest.len(), "it goes on where it was: {begun}");
    rest.iter().for_each(|number| send(*number));
    let ended = client.ask("firmware/upload/end", json!({}));
    assert_eq!((&ended["status"], &ended["data"]["sha256"]), (&json!("ok"), &json!(sha256)), "{ended}");
    sha256
}

/// Updates all nodes of a demonstration by MQTT alone, with the broker disturbed while the image is uploaded and while it
/// is sent.
fn update(demo: &Running, port: u16, mut disturb: impl FnMut()) {
    let folder = tempfile::tempdir().unwrap();
    let image = std::fs::read(testdata("firmware/node-c3-v1.5.0.bin")).unwrap();
    let client = Client::new(port, "painlessmesh/demo", &[]);
    client.until(0, "bridge/state", |state| state["state"] == "online");
    client.until(0, "metrics", |metrics| metrics["nodes_online"] == 10);
    let sha256 = upload(&client, folder.path(), &image, || {
        let mark = client.mark();
        disturb();
        client.until(mark, "bridge/state", |state| state["state"] == "online");
        let nodes =
            client.until(mark, "nodes", |nodes| nodes.as_array().is_some_and(|nodes| nodes.len() == 10));
        assert!(nodes.as_array().unwrap().iter().all(|node| node["state"] == "online"), "{nodes}");
    });
    let offline = |client: &Client| {
        let heard = client.heard.lock().unwrap();
        let lost = |(topic, _, payload): &&(String, bool, String)| {
            topic.ends_with("/availability") && payload.contains("offline")
        };
        heard.iter().find(lost).cloned()
    };
    assert_eq!(offline(&client), None, "nobody is offline because the broker was");
    let mark = client.mark();
    let new = json!({ "firmware": sha256, "role": "demo", "scheme": "turbo", "confirm_receiver": true });
    let started = client.ask("rollout/start", new.clone());
    assert_eq!((&started["status"], &started["code"]), (&json!("ok"), &json!(201)), "{started}");
    let id = started["data"]["id"].as_u64().unwrap();
    let twice = client.ask("rollout/start", new);
    assert_eq!((&twice["status"], &twice["code"]), (&json!("error"), &json!(409)), "{twice}");
    client.until(mark, "ota/status", |status| status["id"] == id && status["percent"].as_u64() > Some(10));
    let paused = client.ask("rollout/pause", json!({ "id": id }));
    assert_eq!(paused["data"]["state"], "paused", "{paused}");
    let again = client.mark();
    disturb();
    client.until(again, "bridge/state", |state| state["state"] == "online");
    client.until(again, "ota/status", |status| status["state"] == "paused");
    let resumed = client.ask("rollout/resume", json!({ "id": id }));
    assert_eq!(resumed["data"]["state"], "running", "{resumed}");
    let finished = client.until(again, "ota/status", |status| status["state"] == "finished");
    assert_eq!((&finished["states"], &finished["id"]), (&json!({ "updated": 10 }), &json!(id)), "{finished}");
    let heard = client.heard.lock().unwrap();
    let progress =
        heard.iter().filter(|(topic, ..)| topic.starts_with("painlessmesh/demo/ota/node/")).count();
    assert!(progress >= 30, "every node's way could be watched: {progress}");
    drop(heard);
    // What was done is in the audit.
    client.until(again, "ota/audit", |row| row["action"] == "rollout.resume" && row["actor"] == "mqtt");
    let said = demo.said_so_far();
    assert!(said.iter().any(|line| line.starts_with("broker: mqtt://127.0.0.1:")), "{said:?}");
    let kept = client.kept();
    for topic in ["nodes", "topology", "bridge/info", "ota/status"] {
        assert!(kept.contains(&format!("painlessmesh/demo/{topic}")), "{topic}: {kept:?}");
    }
    let devices = kept.iter().filter(|topic| topic.starts_with("homeassistant/device/pm_demo_")).count();
    assert_eq!(devices, 11, "{kept:?}");
}

/// Ten stock nodes with room for the image, to which nothing happens by itself.
fn demo(mqtt: &[&str]) -> Running {
    let image = testdata("firmware/node-c3-v1.5.0.bin");
    let mesh =
        ["demo", "--still", "--nodes", "10", "--topology", "binary", "--scheme", "turbo", "--rate", "0"];
    let more = ["--latency", "0", "--http", "127.0.0.1:0", "--image", image.to_str().unwrap()];
    Running::start(&[&mesh[..], &more, mqtt].concat())
}

#[test]
fn ten_nodes_are_updated_by_mosquittos_own_programs_while_the_broker_is_killed_twice() {
    let mut broker = Mosquitto::start("");
    let demo = demo(&["--mqtt", &broker.address()]);
    let port = broker.port;
    update(&demo, port, || {
        broker.kill();
        broker.run();
    });
    let client = Client::new(port, "painlessmesh/demo", &[]);
    client.until(0, "bridge/state", |state| state["state"] == "online");
    let mark = client.mark();
    assert_eq!(demo.terminate(), Some(0));
    client.until(mark, "bridge/state", |state| state["state"] == "offline");
    let offline = client
        .heard
        .lock()
        .unwrap()
        .iter()
        .any(|(topic, _, payload)| topic.contains("/node/") && payload.contains("offline"));
    assert!(!offline, "that the gateway goes says nothing of the nodes");
}

/// Pushes the demonstration's gateway out of its own broker, which cannot be killed without it: somebody else comes
/// under the gateway's name.
fn push_out(port: u16, id: u32) {
    let name = format!("meshward-demo-{id}");
    let came = Command::new("mosquitto_sub")
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &port.to_string(),
            "-V",
            "5",
            "-i",
            &name,
            "-t",
            "nothing",
            "-W",
            "1",
        ])
        .output()
        .unwrap();
    // 27: nothing came within that second; 0: it was pushed out itself. Whoever does not get in says something else.
    assert!(matches!(came.status.code(), Some(0 | 27)), "{came:?}");
}

#[test]
fn the_same_with_the_demonstrations_own_broker_and_a_gateway_that_is_pushed_out_twice() {
    let demo = demo(&["--mqtt"]);
    let port = demo.says("broker: mqtt://").rsplit(':').next().unwrap().parse().unwrap();
    update(&demo, port, || push_out(port, demo.id()));
    assert_eq!(demo.terminate(), Some(0));
}

/// A gateway with one node, at a broker.
struct Bench {
    _folder: tempfile::TempDir,
    _node: Running,
    config: PathBuf,
}

impl Bench {
    fn new(mqtt: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let node = Running::start(&["node", "--id", "31", "--listen", "127.0.0.1:0"]);
        let peer = node.port();
        let content = format!(
            "[mesh]\npeers = [\"{peer}\"]\nname = \"garden\"\n[http]\nlisten = \"127.0.0.1:0\"\n[status]\nlearning = 0\n[mqtt]\n{mqtt}\n"
        );
        let config = file(folder.path(), &content);
        Self { _folder: folder, _node: node, config }
    }

    fn gateway(&self, more: &[&str]) -> Gateway {
        let config = self.config.to_str().unwrap();
        let gateway = Gateway::of(&[&["gateway", "--config", config], more].concat());
        gateway.sees(1);
        gateway
    }
}

/// A broker that is none: what it does with whoever comes.
fn fake(does: fn(TcpStream)) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || does(stream));
        }
    });
    port
}

#[test]
fn a_broker_that_hangs_refuses_or_answers_garbage_is_said_and_harms_nothing() {
    let hangs = fake(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let garbage = fake(|mut stream| {
        drop(stream.write_all(&[0xFF; 400]));
        drop(stream.read_to_end(&mut Vec::new()));
    });
    // CONNACK of 3.1.1 and 5: not authorised.
    let refuses = fake(|mut stream| {
        drop(stream.read(&mut [0; 512]));
        drop(stream.write_all(&[0x20, 3, 0, 0x87, 0]));
        sleep(Duration::from_millis(200));
    });
    let nobody = free().rsplit(':').next().unwrap().parse().unwrap();
    let runs: Vec<_> = [(hangs, "imeout"), (garbage, ""), (refuses, "NotAuthorized"), (nobody, "refused")]
        .map(|(port, why)| {
            std::thread::spawn(move || {
                let bench = Bench::new(&format!("broker = \"mqtt://127.0.0.1:{port}\""));
                let gateway = bench.gateway(&[]);
                let log = gateway.process.logs("there is no connection to the broker");
                assert!(log.contains(why), "{why}: {log}");
                let nodes = crate::status::until(&gateway, &["nodes"], |nodes| {
                    crate::status::state(nodes, 31) == "online"
                });
                assert_eq!(nodes.as_array().unwrap().len(), 1);
                let (checks, code) = doctor(&bench.config, &gateway.url);
                let (level, text) = found(&checks, "broker");
                assert_eq!((&*level, code), ("fail", Some(1)), "{text}");
                assert!(text.contains(&port.to_string()), "{text}");
                assert_eq!(gateway.process.terminate(), Some(0));
            })
        })
        .into_iter()
        .collect();
    runs.into_iter().for_each(|run| run.join().unwrap());
}

/// A broker that lets in the user `mesh` with the password `secret` and nobody else.
fn with_password(folder: &Path) -> Mosquitto {
    let passwords = folder.join("passwords");
    let made = Command::new("mosquitto_passwd")
        .args(["-b", "-c", passwords.to_str().unwrap(), "mesh", "secret"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    Mosquitto::start(&format!("allow_anonymous false\npassword_file {}\n", passwords.display()))
}

#[test]
fn version_3_1_1_a_password_a_will_and_two_gateways_of_one_name() {
    let folder = tempfile::tempdir().unwrap();
    let broker = with_password(folder.path());
    let secret = folder.path().join("mqtt.password");
    std::fs::write(&secret, "secret\n").unwrap();
    let settings = format!(
        "broker = \"{}\"\nversion = \"3.1.1\"\nclient_id = \"one\"\nuser = \"mesh\"\npassword_file = \"{}\"\nrole = \"operator\"\n\
         home_assistant = true\nbase_topic = \"sites/a/{{mesh_id}}\"\nnames_in_topics = true",
        broker.address(),
        secret.display()
    );
    let bench = Bench::new(&settings);
    let gateway = bench.gateway(&[]);
    let client = Client::new(broker.port, "sites/a/garden", &["-u", "mesh", "-P", "secret"]);
    client.until(0, "bridge/state", |state| state["state"] == "online");
    client.until(0, "node/31/availability", |state| state["state"] == "online");
    let (checks, _) = doctor(&bench.config, &gateway.url);
    assert_eq!(found(&checks, "broker").0, "ok");
    // Named by MQTT, the node has other topics, and the old ones are gone.
    let named = client.ask("node/name", json!({ "id": 31, "name": "Pump/House #1" }));
    assert_eq!(named["status"], "ok", "{named}");
    client.until(0, "node/pump_house__1/availability", |state| state["state"] == "online");
    let gone = || client.kept().iter().all(|topic| !topic.contains("/node/31/"));
    let deadline = Instant::now() + PATIENCE;
    while !gone() {
        assert!(Instant::now() < deadline);
    }
    // Oversize, malformed, retained, in the wrong place.
    client.publish("request/node/name", &["-r", "-m", r#"{"id":31,"name":"evil"}"#]);
    let huge = folder.path().join("huge");
    std::fs::write(&huge, vec![b' '; 17 << 20]).unwrap();
    let mark = client.mark();
    client.publish("request/status", &["-f", huge.to_str().unwrap()]);
    // The broker would bring it again and again: it is asked to forget it.
    gateway.process.logs("payload size limit exceeded");
    client.until(mark, "bridge/state", |state| state["state"] == "offline");
    client.settles("bridge/state", |state| state["state"] == "online");
    let healthy = client.ask("health", json!({}));
    assert_eq!(healthy["status"], "ok", "{healthy}");
    client.publish("request/status", &["-m", "\u{1}{"]);
    client.until(0, "response/status", |answer| answer["code"] == 400);
    let strange = client.ask("node/command", json!({ "id": 99, "command": 1 }));
    assert_eq!((&strange["status"], &strange["code"]), (&json!("error"), &json!(404)), "{strange}");
    // Of the same name: one of them says so or is pushed out, and both go on.
    let before = client.mark();
    let other = Bench::new(&settings);
    let second = other.gateway(&["--id", "9"]);
    gateway.process.logs("there is no connection to the broker");
    assert_eq!(second.process.terminate(), Some(0));
    client.settles("bridge/state", |state| state["state"] == "online");
    // What is retained is ignored when we come back.
    let ignored = |line: &Value| line["message"].as_str().is_some_and(|text| text.contains("was ignored"));
    client.until(before, "bridge/logging", ignored);
    let nodes = gateway.json(&["nodes"]);
    assert_eq!(nodes.as_array().unwrap().len(), 1);
    // Killed, it cannot say good-bye: the broker does it.
    let mark = client.mark();
    gateway.process.signal("KILL");
    client.until(mark, "bridge/state", |state| state["state"] == "offline");
    let heard = client.heard.lock().unwrap();
    let lost = heard
        .iter()
        .skip(mark)
        .any(|(topic, _, payload)| topic.ends_with("/availability") && payload.contains("offline"));
    assert!(!lost, "the nodes are as they were");
}

#[test]
fn what_is_told_is_another_after_a_reload() {
    let broker = Mosquitto::start("");
    let told = |more: &str| format!("broker = \"{}\"\n{more}", broker.address());
    let bench = Bench::new(&told(""));
    let gateway = bench.gateway(&[]);
    let client = Client::new(broker.port, "painlessmesh/garden", &[]);
    client.until(0, "topology", |topology| topology["nodes"].is_array());
    let before = std::fs::read_to_string(&bench.config).unwrap();
    std::fs::write(&bench.config, before + "topology = false\npublish_interval = 5\n").unwrap();
    let mark = client.mark();
    gateway.process.signal("HUP");
    // An empty payload takes it away.
    client.until(mark, "topology", Value::is_null);
    client.until(mark, "metrics", |metrics| metrics["nodes"] == 1);
    let kept = client.kept();
    assert!(!kept.contains(&"painlessmesh/garden/topology".to_owned()), "{kept:?}");
    assert_eq!(gateway.process.terminate(), Some(0));
}

#[test]
fn people_are_told_by_the_broker() {
    let broker = Mosquitto::start("");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let config = format!("[mqtt]\nbroker = \"{}\"\n", broker.address());
    std::fs::write(path("meshward.toml"), config).unwrap();
    let (config, store) = (path("meshward.toml"), path("mesh.db"));
    let args = ["gateway", "--config", &config, "--peer", "127.0.0.1:9", "--http", "127.0.0.1:0"];
    let gateway = Gateway::of(&[&args[..], &["--store", &store]].concat());
    let client = Client::new(broker.port, "painlessmesh/mesh", &[]);
    client.until(0, "bridge/state", |state| state["state"] == "online");
    assert!(gateway.ask(&["channels", "add", "room", "--kind", "mqtt"]).status.success());
    let mark = client.mark();
    let tried = gateway.ask(&["channels", "test", "room"]);
    assert!(tried.status.success(), "{tried:?}");
    client.until(mark, "notification", |message| message.is_object());
    assert_eq!(gateway.process.terminate(), Some(0));
}
