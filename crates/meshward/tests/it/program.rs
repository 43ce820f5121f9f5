//! Runs the built program; whatever a test leaves running is ended with it.

use std::io::{BufRead as _, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a process may take to say what a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A command of the program, without the caller's settings.
pub(crate) fn meshward(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meshward"));
    command.args(args);
    // Not this machine's own settings.
    for variable in [
        "MESHWARD_URL",
        "MESHWARD_TOKEN",
        "MESHWARD_PROFILE",
        "MESHWARD_CONFIG",
        "RUST_LOG",
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
    ] {
        command.env_remove(variable);
    }
    // Tests that keep something say where.
    if args.first() == Some(&"gateway") {
        command.env("MESHWARD_STORE__URL", "none");
    }
    command.env("XDG_CONFIG_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/nobody")).env("NO_COLOR", "1");
    // Where gateways leave the token for the clients of these tests.
    command.env("XDG_RUNTIME_DIR", env!("CARGO_TARGET_TMPDIR"));
    command
}

/// Runs a command to its end.
pub(crate) fn run(args: &[&str]) -> Output {
    meshward(args).output().unwrap()
}

/// What a command has printed, as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn testdata(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata")).join(name)
}

/// A process that runs until the test is over.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    said: Arc<Mutex<Vec<String>>>,
    log: Receiver<String>,
}

/// The lines that come from there, as they come.
fn lines(from: impl Read + Send + 'static, said: Arc<Mutex<Vec<String>>>) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            said.lock().unwrap().push(line.clone());
            // A test that has ended does not listen any more; the process must not wait for it all the same.
            drop(sender.send(line));
        }
    });
    lines
}

impl Running {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::spawn(meshward(args))
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::default();
        let out = lines(child.stdout.take().unwrap(), Arc::clone(&said));
        let log = lines(child.stderr.take().unwrap(), Arc::default());
        Self { child, lines: out, said, log }
    }

    /// The first line from here on that has `needle` in it.
    pub(crate) fn says(&self, needle: &str) -> String {
        first(&self.lines, needle)
    }

    /// All that it has said so far.
    pub(crate) fn said_so_far(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// The same of its log.
    pub(crate) fn logs(&self, needle: &str) -> String {
        first(&self.log, needle)
    }

    /// Where the node that has been started accepts neighbours.
    pub(crate) fn port(&self) -> String {
        let line = self.says("boot 1");
        line.split("listening on ").nth(1).unwrap().split(',').next().unwrap().to_owned()
    }

    /// The process's number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let (option, pid) = (format!("-{name}"), self.child.id().to_string());
        assert!(Command::new("kill").args([&option, &pid]).status().unwrap().success());
    }

    /// Asks it to end, as an operator or a service manager does, and waits for its exit code.
    pub(crate) fn terminate(self) -> Option<i32> {
        self.signal("TERM");
        self.ended()
    }

    /// Waits for its exit code.
    pub(crate) fn ended(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

fn first(lines: &Receiver<String>, needle: &str) -> String {
    let mut passed = Vec::new();
    loop {
        let next = lines.recv_timeout(PATIENCE);
        let line = next.unwrap_or_else(|_| panic!("nobody said {needle:?}, but {passed:#?}"));
        if line.contains(needle) {
            return line;
        }
        passed.push(line);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already ended is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A gateway process and where it answers.
pub(crate) struct Gateway {
    pub(crate) process: Running,
    pub(crate) url: String,
    /// Its first line.
    pub(crate) greeting: String,
}

impl Gateway {
    pub(crate) fn start(peer: &str) -> Self {
        Self::start_with(peer, &[])
    }

    pub(crate) fn start_with(peer: &str, more: &[&str]) -> Self {
        let args = ["gateway", "--peer", peer, "--http", "127.0.0.1:0", "--id", "1"];
        Self::of(&[&args[..], more].concat())
    }

    /// By these words.
    pub(crate) fn of(args: &[&str]) -> Self {
        Self::greeted(Running::start(args))
    }

    /// One that has been started, when it says where it answers.
    pub(crate) fn greeted(process: Running) -> Self {
        let greeting = process.says("REST interface at");
        let url = greeting.split(" at ").nth(1).unwrap().to_owned();
        Self { process, url, greeting }
    }

    /// The token that it has left for the clients of these tests.
    pub(crate) fn token(&self) -> String {
        let port = self.url.rsplit(':').next().unwrap();
        let file = format!("{}/meshward/{port}.token", env!("CARGO_TARGET_TMPDIR"));
        std::fs::read_to_string(file).unwrap().trim().to_owned()
    }

    /// Runs a client command against it.
    pub(crate) fn ask(&self, args: &[&str]) -> Output {
        meshward(args).args(["--url", &self.url]).output().unwrap()
    }

    pub(crate) fn json(&self, args: &[&str]) -> serde_json::Value {
        let output = self.ask(&[args, &["--json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
    }

    /// Waits until the mesh has this many nodes.
    pub(crate) fn sees(&self, nodes: usize) {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let seen = self.json(&["topology"])["nodes"].as_array().unwrap().len();
            if seen == nodes {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "{seen} of {nodes} nodes");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
