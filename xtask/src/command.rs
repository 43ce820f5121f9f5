//! One external command: how it is shown, how it is run, how it fails.
//!
//! Output is never captured unless asked for: what cargo prints goes straight to the terminal or the log.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The repository's root directory. Cargo names this package's directory to whatever it runs; what was
/// compiled in may be that of another checkout that shares the target directory.
pub(crate) fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&here).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Why a verb ended early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line makes no sense.
    Usage(String),
    /// A command could not be started at all.
    Start { line: String, source: io::Error },
    /// A command ran and said no.
    Failed { line: String },
    /// Something that has to be installed is not there; the text says what and how.
    Missing(String),
    /// A stage of the test run failed.
    Stage { name: &'static str, repeat: String, cause: Box<Failure> },
}

impl Failure {
    /// 2 for a wrong command line, 1 for everything else.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            _ => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Missing(text) => f.write_str(text),
            Self::Start { line, source } => write!(f, "could not start `{line}`: {source}"),
            Self::Failed { line } => write!(f, "`{line}` failed"),
            Self::Stage { name, repeat, cause } => {
                write!(f, "stage \"{name}\" failed: {cause}\nxtask: to repeat it alone: {repeat}")
            }
        }
    }
}

/// A command line, kept as data so that it can be shown, run, or tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    program: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Line {
    /// `program` with `arguments`.
    pub(crate) fn new(program: &str, arguments: &[&str]) -> Self {
        Self {
            program: program.to_owned(),
            arguments: arguments.iter().map(|&a| a.to_owned()).collect(),
            environment: Vec::new(),
        }
    }

    /// Which program it starts.
    pub(crate) fn program(&self) -> &str {
        &self.program
    }

    /// `cargo` with `arguments`.
    pub(crate) fn cargo(arguments: &[&str]) -> Self {
        Self::new("cargo", arguments)
    }

    /// The same with one more argument for each of `more`.
    pub(crate) fn with(mut self, more: &[String]) -> Self {
        self.arguments.extend_from_slice(more);
        self
    }

    /// The same with an environment variable set.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs it at the repository's root; how long that took.
    pub(crate) fn run(&self) -> Result<Duration, Failure> {
        let started = Instant::now();
        let status = self.command().current_dir(root()).status().map_err(|e| self.not_started(e))?;
        if status.success() { Ok(started.elapsed()) } else { Err(Failure::Failed { line: self.to_string() }) }
    }

    /// Runs it quietly at the repository's root; what it wrote to standard output.
    pub(crate) fn output(&self) -> Result<String, Failure> {
        let output = self.command().current_dir(root()).output().map_err(|e| self.not_started(e))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(Failure::Failed { line: self.to_string() })
        }
    }

    /// Runs it at the repository's root; what it wrote to standard output. The rest goes to the terminal.
    pub(crate) fn stdout(&self) -> Result<String, Failure> {
        let mut command = self.command();
        command.current_dir(root()).stderr(Stdio::inherit());
        let output = command.output().map_err(|e| self.not_started(e))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(Failure::Failed { line: self.to_string() })
        }
    }

    /// Becomes this command, in the caller's directory: signals and the exit code are the command's own.
    #[cfg(unix)]
    pub(crate) fn become_it(&self) -> Failure {
        use std::os::unix::process::CommandExt as _;
        let source = self.command().exec();
        self.not_started(source)
    }

    fn not_started(&self, source: io::Error) -> Failure {
        Failure::Start { line: self.to_string(), source }
    }

    fn command(&self) -> Command {
        // Cargo tells its children where it is, so that they meet the same toolchain again.
        let own_cargo = (self.program == "cargo").then(|| std::env::var_os("CARGO")).flatten();
        let mut command = Command::new(own_cargo.unwrap_or_else(|| self.program.clone().into()));
        command.args(&self.arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

impl fmt::Display for Line {
    /// As a shell takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.environment {
            write!(f, "{name}={} ", quoted(value))?;
        }
        f.write_str(&self.program)?;
        for argument in &self.arguments {
            write!(f, " {}", quoted(argument))?;
        }
        Ok(())
    }
}

/// `word` as a shell takes it: bare where that is safe, else in single quotes.
fn quoted(word: &str) -> String {
    let bare = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_=./:,@+".contains(c));
    if bare { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_shown_as_a_shell_takes_it() {
        let line = Line::cargo(&["doc", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(line.to_string(), "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps");
        let line = Line::new("echo", &["it's", ""]).with(&["x=1".to_owned()]);
        assert_eq!(line.to_string(), r"echo 'it'\''s' '' x=1");
    }

    #[test]
    fn failures_keep_the_command() {
        let line = Line::new("no-such-program-anywhere", &[]);
        let failure = line.run().unwrap_err();
        assert!(failure.to_string().starts_with("could not start `no-such-program-anywhere`"));
        assert_eq!(failure.exit_code(), 1);
        assert_eq!(Failure::Usage(String::new()).exit_code(), 2);
    }

    #[test]
    fn the_root_is_the_workspace() {
        assert!(root().join("xtask/Cargo.toml").is_file());
    }
}
