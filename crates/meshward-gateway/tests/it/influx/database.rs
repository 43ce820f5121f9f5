//! A real InfluxDB of version 1 (Debian's package `influxdb`): started on free ports with everything in a temporary
//! folder, asked as Grafana asks, and gone when it is dropped. Whatever else of InfluxDB runs on the machine is not
//! touched.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use meshward_gateway::influx::{Api, Sender, Server};
use serde_json::Value;
use tempfile::TempDir;

/// Longest that the server may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// The port 0 lets the system choose; where it listens is in the log.
const CONFIG: &str = r#"
reporting-disabled = true
bind-address = "127.0.0.1:0"
[meta]
dir = "FOLDER/meta"
[data]
dir = "FOLDER/data"
wal-dir = "FOLDER/wal"
[monitor]
store-enabled = false
[logging]
format = "logfmt"
[http]
bind-address = "127.0.0.1:0"
log-enabled = false
auth-enabled = USERS
"#;

/// See the module's page.
pub(super) struct Database {
    process: Child,
    _folder: TempDir,
    pub(super) url: String,
    http: reqwest::Client,
    /// Whom it is asked by.
    pub(super) login: Option<(&'static str, &'static str)>,
}

impl Drop for Database {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A row of an answer.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// The measurement.
    pub(super) of: String,
    pub(super) columns: serde_json::Map<String, Value>,
}

/// All rows of an answer, of whatever series.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows(pub(super) Vec<Row>);

impl Rows {
    /// The rows that tell something: a window without a value is a row too.
    pub(super) fn telling(&self) -> usize {
        let tells = |row: &&Row| row.columns.iter().any(|(name, value)| name != "time" && !value.is_null());
        self.0.iter().filter(tells).count()
    }

    /// Whether there are rows, and each column tells something in one of them.
    pub(super) fn is_whole(&self) -> bool {
        let names: BTreeSet<&String> = self.0.iter().flat_map(|row| row.columns.keys()).collect();
        let told = |name: &String| {
            self.0.iter().any(|row| row.columns.get(name).is_some_and(|value| !value.is_null()))
        };
        !names.is_empty() && names.into_iter().all(told)
    }

    /// All values of a column.
    pub(super) fn column(&self, name: &str) -> Vec<Value> {
        self.0.iter().map(|row| row.columns[name].clone()).collect()
    }
}

impl Database {
    /// One that lets everybody in, with these databases.
    pub(super) async fn start(databases: &[&str]) -> Self {
        let started = Self::with_users(false);
        for name in databases {
            started.run(&format!("CREATE DATABASE \"{name}\"")).await;
        }
        started
    }

    /// One that may want to know who comes.
    pub(super) fn with_users(users: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = CONFIG.replace("FOLDER", folder.path().to_str().unwrap());
        let path = folder.path().join("influxdb.conf");
        std::fs::write(&path, config.replace("USERS", &users.to_string())).unwrap();
        let mut command = Command::new("influxd");
        command.arg("-config").arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process =
            command.spawn().expect("influxd of version 1 is installed: apt-get install influxdb");
        let address = listens(&mut process);
        crate::sink::provider();
        let (url, http) = (format!("http://{address}"), reqwest::Client::new());
        Self { process, _folder: folder, url, http, login: None }
    }

    /// What is written to this database.
    pub(super) fn sender(&self, api: Api, database: &str, token: Option<&str>) -> Sender {
        let (bucket, token) = (database.to_owned(), token.map(str::to_owned));
        Sender::new(Server { url: self.url.clone(), api, org: "home".to_owned(), bucket, token }).unwrap()
    }

    /// Does something that has no rows.
    pub(super) async fn run(&self, statement: &str) {
        self.ask("", statement).await.unwrap();
    }

    /// What InfluxDB says to a query, as Grafana sends it: by POST, with times in milliseconds. What it calls an error
    /// is one.
    pub(super) async fn ask(&self, database: &str, query: &str) -> Result<Rows, String> {
        let mut form = reqwest::Url::parse(&self.url).unwrap();
        form.query_pairs_mut().append_pair("q", query);
        let request = self.http.post(format!("{}/query", self.url)).body(form.query().unwrap().to_owned());
        let request = request.header("Content-Type", "application/x-www-form-urlencoded");
        let request = request.query(&[("db", database), ("epoch", "ms")]);
        let request = match self.login {
            Some((name, password)) => request.basic_auth(name, Some(password)),
            None => request,
        };
        let body: Value = request.send().await.unwrap().json().await.unwrap();
        let result = &body["results"][0];
        if let Some(error) = body["error"].as_str().or_else(|| result["error"].as_str()) {
            return Err(error.to_owned());
        }
        let mut rows = Rows::default();
        for series in result["series"].as_array().into_iter().flatten() {
            let columns: Vec<&str> =
                series["columns"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
            for values in series["values"].as_array().into_iter().flatten() {
                let named = columns.iter().map(|name| (*name).to_owned());
                let columns = named.zip(values.as_array().unwrap().iter().cloned()).collect();
                rows.0.push(Row { of: series["name"].as_str().unwrap().to_owned(), columns });
            }
        }
        Ok(rows)
    }
}

/// Where the server listens, by its log; which is read to its end, so that the server never waits for a reader.
fn listens(process: &mut Child) -> String {
    let log = BufReader::new(process.stderr.take().unwrap());
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            drop(tell.send(line));
        }
    });
    let (deadline, mut lines) = (Instant::now() + PATIENCE, Vec::new());
    while let Ok(line) = told.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        if line.contains("Listening on HTTP") {
            let address = line.split_whitespace().find_map(|word| word.strip_prefix("addr="));
            return address.unwrap_or_else(|| panic!("no address in {line}")).to_owned();
        }
        lines.push(line);
    }
    panic!("influxd of version 1 does not listen; it said: {}", lines.join("\n"));
}
