//! A mesh and a gateway to be measured or tried, as processes that end with this.
//!
//! `meshward demo` makes the nodes, a gateway in a process of its own joins them, with a database and all it has by
//! default. Everything is on free ports and in a folder that goes with it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::command::Failure;
use crate::program;

/// Longest wait for a program to say where it is: a mesh of 500 nodes is made chip by chip.
const PATIENCE: Duration = Duration::from_secs(300);

/// See the module's page.
pub(crate) struct Scene {
    gateway: Started,
    mesh: Started,
    address: SocketAddr,
    /// Behind the programs, which have files in it.
    folder: Folder,
}

/// A folder that goes with this.
struct Folder(PathBuf);

/// A program that ends with this.
struct Started {
    what: &'static str,
    child: Child,
}

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("xtask: {} stays: {error}", self.0.display());
        }
    }
}

impl Scene {
    /// Builds the program, and starts mesh and gateway.
    pub(crate) fn start(nodes: usize) -> Result<Self, Failure> {
        println!("xtask: $ {}", program::build());
        let meshward = program::built()?;
        let path = std::env::temp_dir().join(format!("meshward-scene-{}", std::process::id()));
        let cannot = |error| Failure::Missing(format!("cannot make {}: {error}", path.display()));
        fs::create_dir_all(&path).map_err(cannot)?;
        let folder = Folder(path.clone());
        // The defaults, whatever this machine's own configuration says; and the greatest budget that there is, with
        // which 500 nodes have been told to report after five minutes: no radio is waited for here.
        let configuration = path.join("meshward.toml");
        fs::write(&configuration, "[status]\nbudget_percent = 50\n").map_err(cannot)?;
        let program = meshward.program();
        let start = |what, arguments: &[&str], begins: &str| start(program, (what, arguments), &path, begins);
        let nodes = nodes.to_string();
        // Nodes report to one gateway: with another one in the mesh this would never be told by all.
        let arguments = ["demo", "--no-gateway", "--nodes", &nodes];
        println!("xtask: $ meshward {}", arguments.join(" "));
        let (mesh, entry) = start("the mesh", &arguments, "mesh: ")?;
        let (configuration, database) = (shown(&configuration), shown(&path.join("scene.db")));
        let arguments = [
            "gateway",
            "--config",
            &configuration,
            "--http",
            "127.0.0.1:0",
            "--peer",
            &entry,
            "--store",
            &database,
        ];
        println!("xtask: $ meshward {}", arguments.join(" "));
        let (gateway, greeting) = start("the gateway", &arguments, "gateway ")?;
        let address =
            greeting.rsplit("http://").next().and_then(|address| address.trim_end_matches('/').parse().ok());
        let address = address
            .ok_or_else(|| Failure::Missing(format!("the gateway does not say where it is: {greeting}")))?;
        Ok(Self { gateway, mesh, address, folder })
    }

    /// Where the gateway answers.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The token that the gateway has left for its own user, who may do everything.
    pub(crate) fn token(&self) -> Result<String, Failure> {
        let path = self.folder.0.join("meshward").join(format!("{}.token", self.address.port()));
        let token = fs::read_to_string(&path).map_err(|error| {
            Failure::Missing(format!("the gateway left no token in {}: {error}", path.display()))
        })?;
        Ok(token.trim().to_owned())
    }

    /// Whether the mesh and the gateway are still there.
    pub(crate) fn live(&mut self) -> Result<(), Failure> {
        for Started { what, child } in [&mut self.mesh, &mut self.gateway] {
            match child.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => return Err(Failure::Missing(format!("{what} has ended: {status}"))),
                Err(error) => return Err(Failure::Missing(format!("cannot look after {what}: {error}"))),
            }
        }
        Ok(())
    }

    /// What the gateway's process has in memory, and what it had at most, in MiB.
    pub(crate) fn memory_mib(&self) -> Result<(f64, f64), Failure> {
        let path = format!("/proc/{}/status", self.gateway.child.id());
        let text = fs::read_to_string(&path)
            .map_err(|error| Failure::Missing(format!("cannot read {path} (this takes Linux): {error}")))?;
        let both = kibibytes(&text, "VmRSS").zip(kibibytes(&text, "VmHWM"));
        let (now, most) = both.ok_or_else(|| Failure::Missing(format!("{path} does not tell the memory")))?;
        Ok((now / 1_024.0, most / 1_024.0))
    }
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A line of the kernel's, as `VmRSS:   12345 kB`.
fn kibibytes(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Starts a program, whose files go into `folder`, and waits until a line of its output begins like this; the rest of
/// that line. What it writes afterwards is read and forgotten, so that it never waits for us.
fn start(
    program: &str,
    (what, arguments): (&'static str, &[&str]),
    folder: &Path,
    begins: &str,
) -> Result<(Started, String), Failure> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped());
    command.env("XDG_RUNTIME_DIR", folder).env("RUST_LOG", "error").env("TMPDIR", folder);
    let line = || format!("meshward {}", arguments.join(" "));
    let mut child = command.spawn().map_err(|source| Failure::Start { line: line(), source })?;
    let output = child.stdout.take();
    let started = Started { what, child };
    let (found, wait) = mpsc::channel();
    let begins = begins.to_owned();
    std::thread::spawn(move || {
        for line in output.into_iter().flat_map(|output| BufReader::new(output).lines().map_while(Result::ok))
        {
            if let Some(rest) = line.strip_prefix(&begins) {
                // Only the first one is waited for.
                drop(found.send(rest.to_owned()));
            }
        }
    });
    match wait.recv_timeout(PATIENCE) {
        Ok(rest) => Ok((started, rest)),
        Err(_) => Err(Failure::Missing(format!("`{}` does not say where it is", line()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_figures_are_read() {
        let status = "Name:\tmeshward\nVmPeak:\t  999 kB\nVmHWM:\t   61440 kB\nVmRSS:\t   51200 kB\n";
        assert_eq!(
            (kibibytes(status, "VmRSS"), kibibytes(status, "VmHWM")),
            (Some(51_200.0), Some(61_440.0))
        );
        assert_eq!(kibibytes(status, "VmSwap"), None);
        assert_eq!(kibibytes("VmRSS: x", "VmRSS"), None);
    }

    #[test]
    fn a_program_that_says_nothing_is_not_waited_for() {
        let folder = std::env::temp_dir();
        let failure = start("true", ("nothing", &[]), &folder, "mesh: ").map(drop).unwrap_err().to_string();
        assert!(failure.ends_with("does not say where it is"), "{failure}");
        let (_started, said) = start("echo", ("a word", &["mesh: here"]), &folder, "mesh: ").unwrap();
        assert_eq!(said, "here");
    }
}
