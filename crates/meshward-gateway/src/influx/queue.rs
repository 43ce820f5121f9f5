//! Batches that wait for a server, one packed file each in a folder of their own: bounded, and there after a restart.
//!
//! A file is written beside its place, synced and moved there, so that it is whole or not there. Its name has its
//! number and how many lines it has. When the folder is full the oldest batches go, and their lines are counted.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use thiserror::Error;

use crate::service::Written;

/// How files of the queue end.
const SUFFIX: &str = ".lp.gz";
/// Most files, however small they are.
pub const BATCHES_MAX: usize = 10_000;

/// A file of the queue could not be used.
#[derive(Debug, Error)]
#[error("cannot {doing} {}", path.display())]
pub struct QueueError {
    doing: &'static str,
    path: PathBuf,
    source: std::io::Error,
}

/// A batch that waits.
#[derive(Clone, Debug)]
pub struct Batch {
    number: u64,
    /// How many lines it has.
    pub lines: u64,
    /// The lines, packed by gzip.
    pub body: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    number: u64,
    lines: u64,
    bytes: u64,
}

/// See the module's page.
#[derive(Debug)]
pub struct Queue {
    folder: PathBuf,
    bytes_max: u64,
    places: Mutex<VecDeque<Place>>,
    next: AtomicU64,
    dropped: AtomicU64,
    /// When the server has taken a batch last, and why it took none after that.
    fate: Mutex<(Option<Timestamp>, Option<String>)>,
}

impl Queue {
    /// Opens a folder, makes it if it is not there, and takes up what is in it.
    ///
    /// # Errors
    /// [`QueueError`]: the folder cannot be made or read.
    pub fn open(folder: &Path, bytes_max: u64) -> Result<Self, QueueError> {
        let failed = |doing, source| QueueError { doing, path: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(|source| failed("make the folder", source))?;
        let mut places = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(|source| failed("read the folder", source))? {
            let entry = entry.map_err(|source| failed("read the folder", source))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.ends_with(".tmp") {
                // Of a program that was killed while it wrote: it is not whole.
                drop(std::fs::remove_file(entry.path()));
            }
            let parts = name.strip_suffix(SUFFIX).and_then(|bare| bare.split_once('-'));
            let parts = parts.and_then(|(number, lines)| Some((number.parse().ok()?, lines.parse().ok()?)));
            let Some((number, lines)) = parts else { continue };
            let bytes = entry.metadata().map_err(|source| failed("read the folder", source))?.len();
            places.push(Place { number, lines, bytes });
        }
        places.sort_by_key(|place| place.number);
        let next = places.last().map_or(1, |place| place.number + 1);
        let queue = Self {
            folder: folder.to_owned(),
            bytes_max,
            places: Mutex::new(places.into()),
            next: AtomicU64::new(next),
            dropped: AtomicU64::new(0),
            fate: Mutex::default(),
        };
        queue.make_room(0);
        Ok(queue)
    }

    fn places(&self) -> MutexGuard<'_, VecDeque<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, place: &Place) -> PathBuf {
        self.folder.join(format!("{:016}-{}{SUFFIX}", place.number, place.lines))
    }

    /// Takes up lines. Blocks while the disk is written.
    ///
    /// # Errors
    /// [`QueueError`]: the disk does not take them.
    pub fn put(&self, lines: &[String]) -> Result<(), QueueError> {
        if lines.is_empty() {
            return Ok(());
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut place = Place { number, lines: lines.len() as u64, bytes: 0 };
        let path = self.path(&place);
        let failed = |doing| {
            let path = path.clone();
            move |source| QueueError { doing, path, source }
        };
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        for line in lines {
            encoder.write_all(line.as_bytes()).map_err(failed("pack"))?;
            encoder.write_all(b"\n").map_err(failed("pack"))?;
        }
        let body = encoder.finish().map_err(failed("pack"))?;
        place.bytes = body.len() as u64;
        self.make_room(place.bytes);
        let beside = path.with_extension("tmp");
        let mut file = File::create(&beside).map_err(failed("write"))?;
        file.write_all(&body).and_then(|()| file.sync_all()).map_err(failed("write"))?;
        std::fs::rename(&beside, &path).map_err(failed("write"))?;
        self.places().push_back(place);
        Ok(())
    }

    /// Drops the oldest until so many more bytes have room.
    fn make_room(&self, more: u64) {
        let mut places = self.places();
        let mut bytes: u64 = places.iter().map(|place| place.bytes).sum();
        while bytes + more > self.bytes_max || places.len() >= BATCHES_MAX {
            let Some(oldest) = places.pop_front() else { return };
            bytes -= oldest.bytes;
            self.dropped.fetch_add(oldest.lines, Ordering::Relaxed);
            drop(std::fs::remove_file(self.path(&oldest)));
            tracing::warn!(
                lines = oldest.lines,
                "the queue for InfluxDB is full: the oldest values are dropped"
            );
        }
    }

    /// The batch that waits longest.
    ///
    /// # Errors
    /// [`QueueError`]: its file cannot be read.
    pub fn oldest(&self) -> Result<Option<Batch>, QueueError> {
        loop {
            let Some(place) = self.places().front().copied() else { return Ok(None) };
            let path = self.path(&place);
            match std::fs::read(&path) {
                Ok(body) => return Ok(Some(Batch { number: place.number, lines: place.lines, body })),
                // Somebody has cleaned up.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    self.places().retain(|other| other.number != place.number);
                }
                Err(source) => return Err(QueueError { doing: "read", path, source }),
            }
        }
    }

    /// The server has a batch.
    ///
    /// # Errors
    /// [`QueueError`]: its file stays, and the batch is sent again after a restart.
    pub fn done(&self, batch: &Batch) -> Result<(), QueueError> {
        let place = Place { number: batch.number, lines: batch.lines, bytes: 0 };
        self.places().retain(|other| other.number != batch.number);
        let path = self.path(&place);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(QueueError { doing: "remove", path, source })
            }
            _ => Ok(()),
        }
    }

    /// The server will never take a batch.
    ///
    /// # Errors
    /// As [`done`](Self::done).
    pub fn give_up(&self, batch: &Batch) -> Result<(), QueueError> {
        self.dropped.fetch_add(batch.lines, Ordering::Relaxed);
        self.done(batch)
    }

    /// The server has taken a batch, or has not, and why.
    pub(super) fn fares(&self, taken: Result<Timestamp, &str>) {
        let mut fate = self.fate.lock().unwrap_or_else(PoisonError::into_inner);
        match taken {
            Ok(at) => *fate = (Some(at), None),
            Err(why) => fate.1 = Some(why.to_owned()),
        }
    }

    /// How the writing fares.
    pub fn written(&self) -> Written {
        let (at, failure) = self.fate.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let places = self.places();
        Written {
            batches: places.len() as u64,
            bytes: places.iter().map(|place| place.bytes).sum(),
            dropped: self.dropped(),
            at,
            failure,
        }
    }

    /// How many batches wait.
    pub fn len(&self) -> usize {
        self.places().len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lines that had no room, or that the server will never take, since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn lines(batch: &Batch) -> String {
        let mut text = String::new();
        flate2::read::GzDecoder::new(&*batch.body).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn batches_come_out_as_they_went_in_and_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let queue = Queue::open(folder.path(), 1 << 20).unwrap();
        assert!(queue.is_empty() && queue.oldest().unwrap().is_none());
        queue.put(&[]).unwrap();
        for text in ["a v=1i 1", "b v=1i 1", "c v=1i 1"] {
            queue.put(&[text.to_owned(), text.to_owned()]).unwrap();
        }
        let first = queue.oldest().unwrap().unwrap();
        assert_eq!((first.lines, lines(&first)), (2, "a v=1i 1\na v=1i 1\n".to_owned()));
        queue.done(&first).unwrap();
        std::fs::write(folder.path().join("0000000000000009-1.lp.tmp"), "half").unwrap();
        std::fs::write(folder.path().join("notes.txt"), "not ours").unwrap();
        let queue = Queue::open(folder.path(), 1 << 20).unwrap();
        assert_eq!(queue.len(), 2);
        assert!(lines(&queue.oldest().unwrap().unwrap()).starts_with("b "));
        queue.put(&["d v=1i 1".to_owned()]).unwrap();
        for _ in 0..2 {
            queue.done(&queue.oldest().unwrap().unwrap()).unwrap();
        }
        assert!(lines(&queue.oldest().unwrap().unwrap()).starts_with("d "), "numbers go on");
        assert!(folder.path().join("notes.txt").exists(), "nothing of others is touched");
    }

    #[test]
    fn a_full_queue_drops_the_oldest_and_counts() {
        let folder = tempfile::tempdir().unwrap();
        let noise = |seed: u32| {
            let digits =
                (0..400).map(|n: u32| (n.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 3).to_string());
            digits.collect::<String>()
        };
        let queue = Queue::open(folder.path(), 8_000).unwrap();
        for seed in 0..20 {
            queue.put(&[noise(seed * 77_777), "x".to_owned()]).unwrap();
        }
        let kept = queue.len() as u64;
        assert!((1..20).contains(&kept));
        assert_eq!(queue.dropped(), (20 - kept) * 2);
        let smaller = Queue::open(folder.path(), 10).unwrap();
        assert_eq!((smaller.len(), smaller.dropped()), (0, kept * 2));
        // A file that somebody removed is passed over.
        queue.put(&["y".to_owned()]).unwrap();
        let oldest = queue.oldest().unwrap().unwrap();
        assert_eq!(lines(&oldest), "y\n");
    }
}
