//! Runs the built program; whatever a test leaves running is ended with it.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// How long a process may take to say what a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A command of the program, without the caller's settings.
pub(crate) fn meshward(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meshward"));
    command.args(args).env_remove("MESHWARD_URL").env_remove("RUST_LOG");
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
}

impl Running {
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut command = meshward(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // A test that has ended does not listen any more.
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// The first line from here on that has `needle` in it.
    pub(crate) fn says(&self, needle: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("nobody said {needle:?}"));
            if line.contains(needle) {
                return line;
            }
        }
    }

    /// Where the node that has been started accepts neighbours.
    pub(crate) fn port(&self) -> String {
        let line = self.says("boot 1");
        line.split("listening on ").nth(1).unwrap().split(',').next().unwrap().to_owned()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let (option, pid) = (format!("-{name}"), self.child.id().to_string());
        assert!(Command::new("kill").args([&option, &pid]).status().unwrap().success());
    }

    /// Asks it to end, as an operator or a service manager does, and waits for its exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        self.signal("TERM");
        self.child.wait().unwrap().code()
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
}

impl Gateway {
    pub(crate) fn start(peer: &str) -> Self {
        Self::start_with(peer, &[])
    }

    pub(crate) fn start_with(peer: &str, more: &[&str]) -> Self {
        let args = ["gateway", "--peer", peer, "--http", "127.0.0.1:0", "--id", "1"];
        let process = Running::start(&[&args[..], more].concat());
        let line = process.says("REST interface at");
        let url = line.split(" at ").nth(1).unwrap().to_owned();
        Self { process, url }
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
