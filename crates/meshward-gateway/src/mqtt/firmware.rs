//! Images that come in chunks, in any order: begun with their size and SHA-256, resumable, bounded.
//!
//! At most [`UPLOADS_MAX`] at once, each no longer than REST takes; one that nobody goes on with for [`PATIENCE`] is
//! dropped. A chunk that comes twice is the same chunk. Nothing is believed but the sum of all bytes at the end.

use std::collections::BTreeMap;

use meshward_core::hash::Sha256Sum;
use meshward_core::time::{Duration, Instant};
use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;

use crate::rest::FIRMWARE_MAX;

/// Uploads at once.
pub(crate) const UPLOADS_MAX: usize = 2;
/// So long an upload waits for its next chunk.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);
/// Bytes in a chunk, at the least (unless the image is shorter) and at the most.
const CHUNK_MIN: u32 = 256;
pub(crate) const CHUNK_MAX: u32 = 256 * 1024;
/// Bytes in a chunk when nobody says how many.
const CHUNK_USUAL: u32 = 16 * 1024;
/// Ranges of missing chunks that are named at once.
const RANGES_MAX: usize = 64;
/// Longest name, in characters.
const NAME_MAX: usize = 128;

/// How an upload begins.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Begin {
    /// Bytes of the image.
    size: u64,
    /// Of the image, in hexadecimal.
    sha256: String,
    /// Bytes in each chunk but the last.
    #[serde(default = "usual")]
    chunk_size: u32,
    /// What the file is called.
    #[serde(default)]
    name: String,
}

fn usual() -> u32 {
    CHUNK_USUAL
}

/// Why something was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum UploadError {
    #[error("size {0} is out of range: take 1 to {FIRMWARE_MAX} bytes")]
    Size(u64),
    #[error("chunk_size {0} is out of range: take {CHUNK_MIN} to {CHUNK_MAX} bytes")]
    ChunkSize(u32),
    #[error("sha256 `{0}` is none: take 64 hexadecimal digits")]
    Sum(String),
    #[error("{UPLOADS_MAX} uploads are under way: end one of them, or wait until it is given up")]
    Crowded,
    #[error(
        "an upload of this image is under way with other sizes: go on with it, or wait until it is given up"
    )]
    Other,
    #[error("there is no such upload: begin one")]
    Unknown,
    #[error("several uploads are under way: say which one by chunk/SHA256/NUMBER, or `sha256` at the end")]
    Ambiguous,
    #[error("chunk `{0}` is none: take a number from 0")]
    Number(String),
    #[error("chunk {number} is out of range: there are 0 to {last}")]
    Range { number: u32, last: u32 },
    #[error("chunk {number} has {bytes} bytes, and must have {right}")]
    Length { number: u32, bytes: usize, right: usize },
    #[error("{missing} chunks are missing: {ranges}")]
    Missing { missing: usize, ranges: String },
    #[error("the image's SHA-256 is {found}, not {declared}: the upload is dropped, begin again")]
    Wrong { found: String, declared: String },
}

/// An upload under way.
#[derive(Debug)]
struct Upload {
    name: String,
    size: usize,
    chunk_size: u32,
    chunks: BTreeMap<u32, Vec<u8>>,
    touched: Instant,
}

/// A whole image.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    uploads: BTreeMap<String, Upload>,
    given_up: u64,
}

impl Upload {
    fn count(&self) -> u32 {
        // At most 2^24 bytes.
        self.size.div_ceil(self.chunk_size as usize) as u32
    }

    fn missing(&self) -> (usize, Vec<(u32, u32)>) {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        let mut next = 0;
        for &have in self.chunks.keys() {
            if have > next {
                ranges.push((next, have - 1));
            }
            next = have + 1;
        }
        if next < self.count() {
            ranges.push((next, self.count() - 1));
        }
        (self.count() as usize - self.chunks.len(), ranges)
    }

    fn report(&self, sha256: &str) -> Value {
        let (missing, ranges) = self.missing();
        json!({
            "sha256": sha256, "name": self.name, "size": self.size, "chunk_size": self.chunk_size,
            "chunks": self.count(), "missing": missing,
            "missing_ranges": ranges.iter().take(RANGES_MAX).collect::<Vec<_>>(),
        })
    }
}

impl Uploads {
    /// Begins an upload, or goes on with one; what it lacks.
    pub(crate) fn begin(&mut self, now: Instant, begin: &Begin) -> Result<Value, UploadError> {
        let sha256 = begin.sha256.to_ascii_lowercase();
        if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(UploadError::Sum(begin.sha256.chars().take(80).collect()));
        }
        let size = usize::try_from(begin.size).ok().filter(|size| (1..=FIRMWARE_MAX).contains(size));
        let size = size.ok_or(UploadError::Size(begin.size))?;
        if !(CHUNK_MIN..=CHUNK_MAX).contains(&begin.chunk_size) {
            return Err(UploadError::ChunkSize(begin.chunk_size));
        }
        self.tend(now);
        if let Some(upload) = self.uploads.get_mut(&sha256) {
            if (upload.size, upload.chunk_size) != (size, begin.chunk_size) {
                return Err(UploadError::Other);
            }
            upload.touched = now;
            return Ok(upload.report(&sha256));
        }
        if self.uploads.len() >= UPLOADS_MAX {
            return Err(UploadError::Crowded);
        }
        let name = begin.name.chars().take(NAME_MAX).collect();
        let upload =
            Upload { name, size, chunk_size: begin.chunk_size, chunks: BTreeMap::new(), touched: now };
        let report = upload.report(&sha256);
        self.uploads.insert(sha256, upload);
        Ok(report)
    }

    /// Which upload is meant: the one of this sum, or the only one.
    fn meant(&self, sha256: Option<&str>) -> Result<String, UploadError> {
        match sha256 {
            Some(sum) => {
                let sum = sum.to_ascii_lowercase();
                if self.uploads.contains_key(&sum) { Ok(sum) } else { Err(UploadError::Unknown) }
            }
            None if self.uploads.len() > 1 => Err(UploadError::Ambiguous),
            None => self.uploads.keys().next().cloned().ok_or(UploadError::Unknown),
        }
    }

    /// Takes a chunk: `NUMBER`, or `SHA256/NUMBER`.
    pub(crate) fn chunk(&mut self, now: Instant, name: &str, bytes: Vec<u8>) -> Result<Value, UploadError> {
        self.tend(now);
        let (sha256, number) = match name.split_once('/') {
            Some((sha256, number)) => (Some(sha256), number),
            None => (None, name),
        };
        let number: u32 =
            number.parse().map_err(|_| UploadError::Number(number.chars().take(80).collect()))?;
        let sha256 = self.meant(sha256)?;
        let upload = self.uploads.get_mut(&sha256).ok_or(UploadError::Unknown)?;
        let last = upload.count() - 1;
        if number > last {
            return Err(UploadError::Range { number, last });
        }
        let rest = upload.size - (number as usize * upload.chunk_size as usize);
        let right = rest.min(upload.chunk_size as usize);
        if bytes.len() != right {
            return Err(UploadError::Length { number, bytes: bytes.len(), right });
        }
        upload.touched = now;
        upload.chunks.insert(number, bytes);
        Ok(json!({ "sha256": sha256, "chunk": number, "missing": upload.missing().0 }))
    }

    /// The image, if all of it is there and it is the right one.
    pub(crate) fn end(&mut self, now: Instant, sha256: Option<&str>) -> Result<Image, UploadError> {
        self.tend(now);
        let sha256 = self.meant(sha256)?;
        let upload = self.uploads.get(&sha256).ok_or(UploadError::Unknown)?;
        let (missing, ranges) = upload.missing();
        if missing > 0 {
            let range = |(from, to): &(u32, u32)| {
                if from == to { from.to_string() } else { format!("{from}-{to}") }
            };
            let mut text: Vec<String> = ranges.iter().take(RANGES_MAX).map(range).collect();
            if ranges.len() > RANGES_MAX {
                text.push("…".to_owned());
            }
            return Err(UploadError::Missing { missing, ranges: text.join(", ") });
        }
        let upload = self.uploads.remove(&sha256).ok_or(UploadError::Unknown)?;
        let bytes: Vec<u8> = upload.chunks.into_values().flatten().collect();
        let sum = Sha256Sum::of(&bytes).0;
        let found: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        if found != sha256 {
            return Err(UploadError::Wrong { found, declared: sha256 });
        }
        Ok(Image { name: upload.name, bytes })
    }

    /// Drops what nobody goes on with.
    pub(crate) fn tend(&mut self, now: Instant) {
        let before = self.uploads.len();
        self.uploads.retain(|_, upload| now.since(upload.touched) < PATIENCE);
        self.given_up += (before - self.uploads.len()) as u64;
    }

    /// How many were dropped.
    pub(crate) fn given_up(&self) -> u64 {
        self.given_up
    }

    /// How many are under way.
    pub(crate) fn len(&self) -> usize {
        self.uploads.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn image(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at * 31 % 251) as u8).collect()
    }

    fn begin(image: &[u8], chunk_size: u32) -> Begin {
        let sha256 = Sha256Sum::of(image).0.iter().map(|byte| format!("{byte:02X}")).collect();
        Begin { size: image.len() as u64, sha256, chunk_size, name: "node.bin".to_owned() }
    }

    #[test]
    fn chunks_come_in_any_order_twice_and_after_a_break() {
        let (image, mut uploads) = (image(1_000), Uploads::default());
        let begin = begin(&image, 256);
        assert_eq!(uploads.begin(at(0), &begin).unwrap()["chunks"], 4);
        let chunk = |number: usize| image.chunks(256).nth(number).unwrap().to_vec();
        for number in [3, 1, 1] {
            uploads.chunk(at(1), &number.to_string(), chunk(number)).unwrap();
        }
        let missing = UploadError::Missing { missing: 2, ranges: "0, 2".to_owned() };
        assert_eq!(uploads.end(at(2), None), Err(missing));
        // It goes on where it was.
        let report = uploads.begin(at(500), &begin).unwrap();
        assert_eq!((&report["missing"], &report["missing_ranges"]), (&json!(2), &json!([[0, 0], [2, 2]])));
        let named = format!("{}/0", begin.sha256);
        uploads.chunk(at(501), &named, chunk(0)).unwrap();
        assert_eq!(uploads.chunk(at(502), "2", chunk(2)).unwrap()["missing"], 0);
        let whole = Image { name: "node.bin".to_owned(), bytes: image.clone() };
        assert_eq!(uploads.end(at(503), None), Ok(whole));
        assert_eq!(uploads.end(at(504), None), Err(UploadError::Unknown));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would_be_right() {
        let (image, mut uploads) = (image(600), Uploads::default());
        let good = begin(&image, 256);
        for (bad, said) in [
            (Begin { size: 0, ..good.clone() }, "size 0 is out of range"),
            (Begin { size: 1 << 40, ..good.clone() }, "out of range: take 1 to 16777216"),
            (Begin { chunk_size: 0, ..good.clone() }, "chunk_size 0"),
            (Begin { chunk_size: 1 << 20, ..good.clone() }, "262144"),
            (Begin { sha256: "xyz".to_owned(), ..good.clone() }, "64 hexadecimal digits"),
        ] {
            assert!(uploads.begin(at(0), &bad).unwrap_err().to_string().contains(said), "{bad:?}");
        }
        assert_eq!(uploads.chunk(at(0), "0", image.clone()), Err(UploadError::Unknown));
        uploads.begin(at(0), &good).unwrap();
        assert_eq!(uploads.begin(at(0), &Begin { chunk_size: 300, ..good.clone() }), Err(UploadError::Other));
        for (name, len, said) in [
            ("3", 256, "0 to 2"),
            ("-1", 256, "take a number"),
            ("", 256, "take a number"),
            ("2", 256, "must have 88"),
            ("0", 255, "must have 256"),
            ("abc/0", 256, "no such upload"),
        ] {
            let error = uploads.chunk(at(0), name, vec![0; len]).unwrap_err().to_string();
            assert!(error.contains(said), "{name}: {error}");
        }
    }

    #[test]
    fn a_wrong_sum_drops_the_upload() {
        let (image, mut uploads) = (image(600), Uploads::default());
        uploads.begin(at(0), &begin(&image, 600)).unwrap();
        uploads.chunk(at(0), "0", vec![7; 600]).unwrap();
        assert!(matches!(uploads.end(at(0), None), Err(UploadError::Wrong { .. })));
        assert_eq!(uploads.len(), 0);
    }

    #[test]
    fn an_upload_that_never_ends_makes_room() {
        let mut uploads = Uploads::default();
        let images = [image(300), image(301), image(302)];
        uploads.begin(at(0), &begin(&images[0], 256)).unwrap();
        uploads.begin(at(300), &begin(&images[1], 256)).unwrap();
        assert_eq!(uploads.begin(at(400), &begin(&images[2], 256)), Err(UploadError::Crowded));
        assert_eq!(uploads.chunk(at(400), "0", vec![0; 256]), Err(UploadError::Ambiguous));
        uploads.begin(at(601), &begin(&images[2], 256)).unwrap();
        assert_eq!((uploads.len(), uploads.given_up()), (2, 1));
    }
}
