//! `--capture FILE` of programs that run a real node, and `meshward capture …` for the files.
//!
//! A thread of its own takes what the node's tap lets through, makes lines of it and writes them: the node
//! waits for neither it nor the disk. The format is that of the recordings in `testdata/wire`.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::RecvTimeoutError;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use meshward_gateway::shell::{self, Missed, Tap, TapEvent, TapReader, Tapped};
use meshward_sim::capture::{self, Direction, Observer};

/// What is captured is in the file after this time, also when the program is killed.
const FLUSH: Duration = Duration::from_secs(1);

/// Commands for captures.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Print a capture for people to read: a line a message, who to whom, what kind, what matters in it.
    Ladder {
        /// A file that --capture has written, or a recording of testdata/wire.
        file: PathBuf,
    },
}

pub(crate) fn run(command: &Command) -> anyhow::Result<()> {
    let Command::Ladder { file } = command;
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the capture {}", file.display()))?;
    let lines = capture::from_ndjson(&text).with_context(|| format!("{} is no capture", file.display()))?;
    let written = io::stdout().write_all(capture::ladder(&lines).as_bytes());
    match written {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot print the ladder"),
    }
}

/// A capture that is being written.
pub(crate) struct Capture {
    tap: Tap,
    path: PathBuf,
    writer: JoinHandle<io::Result<()>>,
}

impl Capture {
    /// Makes the file and starts to write. One that is there is replaced.
    pub(crate) fn start(path: &Path) -> anyhow::Result<Self> {
        let cannot = || format!("cannot write the capture {}", path.display());
        let file = File::create(path).with_context(cannot)?;
        let (tap, reader) = shell::tap();
        let writer = std::thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || write(&reader, BufWriter::new(file)))
            .with_context(cannot)?;
        Ok(Self { tap, path: path.to_owned(), writer })
    }

    /// For the node.
    pub(crate) fn tap(&self) -> Tap {
        self.tap.clone()
    }

    /// Writes what is left. All nodes that have the tap must have ended.
    pub(crate) async fn finish(self) -> anyhow::Result<()> {
        let Self { tap, path, writer } = self;
        drop(tap);
        let written = tokio::task::spawn_blocking(move || writer.join()).await;
        let written = written.ok().and_then(Result::ok).context("the capture ended abnormally")?;
        written.with_context(|| format!("the capture {} is not complete", path.display()))
    }
}

fn write(reader: &TapReader, mut file: BufWriter<File>) -> io::Result<()> {
    let mut observer = Observer::new();
    let mut noted = Missed::default();
    let mut last = meshward_core::time::Instant::ORIGIN;
    let mut flushed = Instant::now();
    loop {
        let event = reader.next(FLUSH);
        let ended = matches!(event, Err(RecvTimeoutError::Disconnected));
        if let Ok(event) = event {
            last = event.at;
            take(&mut observer, event);
        }
        let flush = ended || flushed.elapsed() >= FLUSH;
        let missed = reader.missed();
        if flush && missed != noted {
            let (events, bytes) = (missed.events - noted.events, missed.bytes - noted.bytes);
            observer.note(last, &format!("{events} events ({bytes} bytes) came too fast to be captured"));
            tracing::warn!(events, bytes, "the capture could not keep up");
            noted = missed;
        }
        let lines = capture::to_ndjson(&observer.take_lines());
        let done = file.write_all(lines.as_bytes()).and_then(|()| if flush { file.flush() } else { Ok(()) });
        if let Err(error) = done {
            tracing::warn!(%error, "the capture ends here");
            return Err(error);
        }
        if ended {
            return Ok(());
        }
        if flush {
            flushed = Instant::now();
        }
    }
}

fn take(observer: &mut Observer, event: TapEvent) {
    let at = event.at;
    match event.what {
        Tapped::Booted(config) => observer.booted(at, &config),
        Tapped::LinkUp { link, role, peer } => observer.link_up(at, link, role, &peer.to_string()),
        Tapped::LinkDown { link, lost } => observer.link_down(at, link, lost),
        Tapped::Bytes { link, direction, offset, bytes } => {
            let direction = match direction {
                shell::Direction::In => Direction::In,
                shell::Direction::Out => Direction::Out,
            };
            observer.bytes(at, link, direction, offset, &bytes);
        }
        Tapped::Timers => observer.timers(at),
        Tapped::Flash => observer.flash(at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meshward_core::mesh::MeshConfig;
    use meshward_core::wire::NodeId;

    #[test]
    fn what_came_too_fast_is_said_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.ndjson");
        let (tap, reader) = shell::tap();
        let boots = 20_000;
        for _ in 0..boots {
            tap.booted(meshward_core::time::Instant::ORIGIN, &MeshConfig::node(NodeId(7), 1));
        }
        let missed = reader.missed();
        assert!(missed.events > 0);
        drop(tap);
        write(&reader, BufWriter::new(File::create(&path).unwrap())).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let note = format!("{} events (0 bytes) came too fast to be captured", missed.events);
        assert!(text.contains(&note));
        assert_eq!(text.matches("\"boot\"").count() as u64, boots - missed.events);
    }
}
