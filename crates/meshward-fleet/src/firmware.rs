//! Firmware images: what a file is, and whether it may be sent to a node.
//!
//! An ESP32-family application image is a header (magic 0xE9, chip id), segments, a one-byte XOR checksum
//! and, usually, a SHA-256 over all before it (ESP-IDF, "Application image format"). An image that is cut
//! off, bent or for another chip is refused by name before its first byte is sent: a stock node would write
//! it, restart into it, and be lost.

use std::borrow::Cow;
use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use meshward_core::ota::Md5Sum;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// First byte of every image.
const MAGIC: u8 = 0xE9;
/// The longest image that is looked at, packed or not, in bytes: more than any ESP32 has flash for two of.
pub const IMAGE_MAX: usize = 16 * 1024 * 1024;
/// First bytes of a gzip file.
const GZIP_MAGIC: [u8; 2] = [0x1F, 0x8B];
/// Bytes of the ESP32 header.
const HEADER: usize = 24;
/// Bytes of a segment's header: where it is loaded, and how long it is.
const SEGMENT_HEADER: usize = 8;
/// Where the header says whether a SHA-256 follows the image.
const HASH_APPENDED: usize = 23;
/// Marks the application description at the start of the first segment.
const DESCRIPTION_MAGIC: [u8; 4] = 0xABCD_5432_u32.to_le_bytes();
/// Start value of the segments' XOR checksum.
const CHECKSUM_SEED: u8 = 0xEF;

/// A chip of the ESP32 family, by its number in the image header (`esp_chip_id_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chip {
    /// ESP32, number 0.
    Esp32,
    /// ESP32-S2, number 2.
    Esp32S2,
    /// ESP32-C3, number 5.
    Esp32C3,
    /// ESP32-S3, number 9.
    Esp32S3,
    /// ESP32-C2, number 12.
    Esp32C2,
    /// ESP32-C6, number 13.
    Esp32C6,
    /// ESP32-H2, number 16.
    Esp32H2,
    /// A number that this version does not know.
    Other(u16),
}

impl Chip {
    fn from_number(number: u16) -> Self {
        match number {
            0 => Self::Esp32,
            2 => Self::Esp32S2,
            5 => Self::Esp32C3,
            9 => Self::Esp32S3,
            12 => Self::Esp32C2,
            13 => Self::Esp32C6,
            16 => Self::Esp32H2,
            other => Self::Other(other),
        }
    }
}

impl core::fmt::Display for Chip {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Esp32 => f.write_str("ESP32"),
            Self::Esp32S2 => f.write_str("ESP32-S2"),
            Self::Esp32C3 => f.write_str("ESP32-C3"),
            Self::Esp32S3 => f.write_str("ESP32-S3"),
            Self::Esp32C2 => f.write_str("ESP32-C2"),
            Self::Esp32C6 => f.write_str("ESP32-C6"),
            Self::Esp32H2 => f.write_str("ESP32-H2"),
            Self::Other(number) => write!(f, "unknown chip {number}"),
        }
    }
}

/// Why a file is not sent as firmware.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ImageError {
    /// Nothing in it.
    #[error("the image is empty")]
    Empty,
    /// Not a gzip file after all.
    #[error("the image begins as a gzip file and cannot be unpacked: {0}")]
    Gzip(String),
    /// Longer than any chip holds when it is unpacked.
    #[error("the image has more than {IMAGE_MAX} bytes when it is unpacked")]
    Bomb,
    /// Longer than a slot.
    #[error("the image has {size} bytes and a slot holds {slot}")]
    TooLarge {
        /// Its length.
        size: usize,
        /// What would fit.
        slot: u32,
    },
    /// Another first byte.
    #[error("this is not an ESP image: it begins with 0x{first:02X}, not 0xE9")]
    NotAnImage {
        /// What stands there.
        first: u8,
    },
    /// It ends before its header says so.
    #[error("the image is cut off: its segments need {needed} bytes and it has {size}")]
    CutOff {
        /// Its length.
        size: usize,
        /// What its header promises.
        needed: usize,
    },
    /// Its segments do not fit their checksum.
    #[error("the image is damaged: its checksum is 0x{found:02X}, its segments give 0x{computed:02X}")]
    Checksum {
        /// What stands at the end.
        found: u8,
        /// What would be right.
        computed: u8,
    },
    /// Its bytes do not fit the SHA-256 at its end.
    #[error("the image is damaged: it does not match the SHA-256 at its own end")]
    Hash,
    /// It cannot run on the hardware it is meant for.
    #[error("the image is for {chip}, which is not {hardware} hardware")]
    WrongHardware {
        /// What it was built for.
        chip: Chip,
        /// What the operator named.
        hardware: String,
    },
    /// Not a name that nodes use.
    #[error("hardware `{0}` is not known: nodes say `ESP32` (all chips of that family) or `ESP8266`")]
    UnknownHardware(String),
}

/// The image in a file: what a `.bin` has, or what comes out of a `.bin.gz`.
///
/// # Errors
/// [`ImageError::Gzip`] and [`ImageError::Bomb`].
pub fn plain(file: &[u8]) -> Result<Cow<'_, [u8]>, ImageError> {
    if !file.starts_with(&GZIP_MAGIC) {
        return Ok(Cow::Borrowed(file));
    }
    let mut image = Vec::new();
    let mut bounded = MultiGzDecoder::new(file).take(IMAGE_MAX as u64 + 1);
    bounded.read_to_end(&mut image).map_err(|error| ImageError::Gzip(error.to_string()))?;
    if image.len() > IMAGE_MAX { Err(ImageError::Bomb) } else { Ok(Cow::Owned(image)) }
}

/// A piece of an image that is loaded or mapped as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where the chip sees it.
    pub address: u32,
    /// Where it is in the image.
    pub offset: usize,
    /// Its length in bytes.
    pub len: usize,
}

/// What an image says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageInfo {
    /// Its length in bytes.
    pub size: usize,
    /// The name that stock nodes know it by.
    pub md5: Md5Sum,
    /// The name that Meshward knows it by.
    pub sha256: [u8; 32],
    /// What it was built for; `None` for an ESP8266 or a file that is no image.
    pub chip: Option<Chip>,
    /// Project and version of its application description, where it has one.
    pub description: Option<(String, String)>,
    /// Its segments, as far as they are whole; none where the chip is not known.
    pub segments: Vec<Segment>,
    /// Whether its header says that its own SHA-256 stands at its end.
    pub hash_appended: bool,
}

impl ImageInfo {
    /// The identity of any file, without judging it.
    pub fn of(image: &[u8]) -> Self {
        let esp32 = image.first() == Some(&MAGIC);
        Self {
            size: image.len(),
            md5: Md5Sum::of(image),
            sha256: Sha256::digest(image).into(),
            chip: if esp32 { chip_of(image) } else { None },
            description: if esp32 { description_of(image) } else { None },
            segments: if esp32 { segments(image).map_while(Result::ok).collect() } else { Vec::new() },
            hash_appended: esp32 && image.get(HASH_APPENDED) == Some(&1),
        }
    }
}

/// Reads and judges an image for nodes of `hardware` whose slots hold `slot` bytes.
///
/// # Errors
/// [`ImageError`] names the first thing that is wrong.
pub fn inspect(image: &[u8], hardware: &str, slot: u32) -> Result<ImageInfo, ImageError> {
    let first = *image.first().ok_or(ImageError::Empty)?;
    if image.len() > slot as usize {
        return Err(ImageError::TooLarge { size: image.len(), slot });
    }
    if !matches!(hardware, "ESP32" | "ESP8266") {
        return Err(ImageError::UnknownHardware(hardware.to_owned()));
    }
    if first != MAGIC {
        return Err(ImageError::NotAnImage { first });
    }
    if hardware == "ESP32" {
        check_segments(image)?;
    }
    let info = ImageInfo::of(image);
    match (hardware, info.chip) {
        ("ESP32", Some(chip @ Chip::Other(_))) => {
            Err(ImageError::WrongHardware { chip, hardware: hardware.to_owned() })
        }
        ("ESP8266", _) => Ok(ImageInfo {
            chip: None,
            description: None,
            segments: Vec::new(),
            hash_appended: false,
            ..info
        }),
        _ => Ok(info),
    }
}

fn u32_at(image: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(image.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn chip_of(image: &[u8]) -> Option<Chip> {
    let bytes = image.get(12..14)?;
    Some(Chip::from_number(u16::from_le_bytes(bytes.try_into().ok()?)))
}

/// The application description stands at the beginning of the first segment (`esp_app_desc_t`).
fn description_of(image: &[u8]) -> Option<(String, String)> {
    let start = HEADER + 8;
    let text = |from: usize| {
        let field = image.get(start + from..start + from + 32)?;
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
        String::from_utf8(field.get(..end)?.to_vec()).ok()
    };
    (image.get(start..start + 4)? == DESCRIPTION_MAGIC).then(|| Some((text(48)?, text(16)?)))?
}

/// The segments that the header announces, up to the first that is not whole: that one is an error, the length
/// that the image should have.
fn segments(image: &[u8]) -> impl Iterator<Item = Result<Segment, usize>> {
    let count = image.get(1).copied().unwrap_or(0);
    let mut at = HEADER;
    let mut broken = image.len() < HEADER;
    (0..count).map_while(move |_| {
        if broken {
            return None;
        }
        let offset = at + SEGMENT_HEADER;
        let segment = |len: usize| {
            let address = u32_at(image, at)?;
            (offset.checked_add(len)? <= image.len()).then_some(Segment { address, offset, len })
        };
        let len = u32_at(image, at + 4).map(|len| len as usize);
        let found = len.and_then(segment).ok_or(offset.saturating_add(len.unwrap_or(0)));
        broken = found.is_err();
        at = offset.saturating_add(len.unwrap_or(0));
        Some(found)
    })
}

/// Checks segments, checksum, and the SHA-256 at the end if there is one.
fn check_segments(image: &[u8]) -> Result<(), ImageError> {
    let cut_off = |needed: usize| ImageError::CutOff { size: image.len(), needed };
    if image.len() < HEADER {
        return Err(cut_off(HEADER));
    }
    let mut at = HEADER;
    let mut computed = CHECKSUM_SEED;
    for segment in segments(image) {
        let Segment { offset, len, .. } = segment.map_err(cut_off)?;
        at = offset + len;
        computed = image.get(offset..at).unwrap_or_default().iter().fold(computed, |sum, byte| sum ^ byte);
    }
    // The checksum is the last byte of a 16-byte line.
    let checksum = at + 15 - at % 16;
    let found = *image.get(checksum).ok_or(cut_off(checksum + 1))?;
    if found != computed {
        return Err(ImageError::Checksum { found, computed });
    }
    let hashed = checksum + 1;
    if image.get(HASH_APPENDED) == Some(&1) {
        let appended = image.get(hashed..hashed + 32).ok_or(cut_off(hashed + 32))?;
        if Sha256::digest(image.get(..hashed).unwrap_or_default()).as_slice() != appended {
            return Err(ImageError::Hash);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    const SLOT: u32 = 0x1E_0000;

    fn v142() -> Vec<u8> {
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/firmware/node-c3-v1.4.2.bin"))
            .unwrap()
    }

    #[test]
    fn a_real_image_is_read() {
        let info = inspect(&v142(), "ESP32", SLOT).unwrap();
        assert_eq!(info.size, 527_968);
        assert_eq!(info.chip, Some(Chip::Esp32C3));
        assert_eq!(info.md5.to_string(), "7d357540635bed0bdf5b935c5f2084fa");
        assert_eq!(info.description, Some(("fw".into(), "0.1.0".into())));
        assert!(info.hash_appended);
        let segments = info.segments;
        assert!(segments.len() > 3, "{segments:?}");
        assert!(segments.iter().any(|segment| segment.address >> 24 == 0x42), "code that runs from flash");
        let ends = segments.iter().map(|segment| segment.offset + segment.len);
        let gaps = segments.iter().skip(1).zip(ends).map(|(next, end)| next.offset - end);
        assert!(gaps.into_iter().all(|gap| gap == SEGMENT_HEADER), "one after the other");
    }

    #[test]
    fn a_compressed_image_is_unpacked_and_a_bomb_is_not() {
        let zip = |bytes: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        let image = v142();
        let zipped = zip(&image);
        assert_eq!(plain(&zipped).as_deref(), Ok(&image[..]));
        assert_eq!(plain(&image).as_deref(), Ok(&image[..]));
        assert!(matches!(plain(&zipped[..zipped.len() / 2]), Err(ImageError::Gzip(_))));
        assert!(matches!(plain(&GZIP_MAGIC), Err(ImageError::Gzip(_))));
        assert_eq!(plain(&zip(&vec![0; IMAGE_MAX + 1])), Err(ImageError::Bomb));
        assert_eq!(plain(b"").as_deref(), Ok(&[][..]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let good = v142();
        let mut flipped = good.clone();
        flipped[300_000] ^= 1;
        let mut bad_hash = good.clone();
        let last = bad_hash.len() - 1;
        bad_hash[last] ^= 1;
        let mut other_chip = good.clone();
        other_chip[12] = 0x77;
        let mut hashless = other_chip.clone();
        hashless[23] = 0;
        let rows: [(&[u8], &str, &str); 9] = [
            (&[], "ESP32", "empty"),
            (b"\x7fELF", "ESP32", "begins with 0x7F, not 0xE9"),
            (&good[..good.len() - 40], "ESP32", "cut off"),
            (&good[..good.len() - 1], "ESP32", "cut off"),
            (&flipped, "ESP32", "damaged: its checksum"),
            (&bad_hash, "ESP32", "SHA-256"),
            (&other_chip, "ESP32", "SHA-256"),
            (&hashless, "ESP32", "unknown chip 119, which is not ESP32 hardware"),
            (&good, "esp32", "`esp32` is not known"),
        ];
        for (image, hardware, message) in rows {
            let error = inspect(image, hardware, SLOT).unwrap_err().to_string();
            assert!(error.contains(message), "{error} should say {message}");
        }
        let error = inspect(&good, "ESP32", 1024).unwrap_err();
        assert_eq!(error, ImageError::TooLarge { size: good.len(), slot: 1024 });
    }

    #[test]
    fn no_prefix_panics() {
        let good = v142();
        for len in (0..4096).chain((4096..good.len()).step_by(9973)) {
            assert!(inspect(&good[..len], "ESP32", SLOT).is_err(), "{len} bytes");
        }
        let mut huge = good[..1024].to_vec();
        huge[28..32].fill(0xFF);
        assert!(matches!(inspect(&huge, "ESP32", SLOT), Err(ImageError::CutOff { .. })));
    }
}
