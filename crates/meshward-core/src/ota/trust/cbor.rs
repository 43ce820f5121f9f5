//! Maps with small integer keys, in deterministic CBOR: `minicbor` under manners of our own.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::decode::Error;
use minicbor::{Decoder, Encoder};

use super::Refusal;

/// The key under which every map says its format.
const FORMAT: u64 = 0;

fn refusal(error: &Error) -> Refusal {
    if error.is_end_of_input() { Refusal::Truncated } else { Refusal::Malformed }
}

/// Reads a map whose keys are known and rise.
pub(super) struct Reader<'b> {
    decoder: Decoder<'b>,
    /// Entries that have not been read.
    left: u64,
    /// The key of the next entry, when it has been read.
    key: Option<u64>,
}

impl<'b> Reader<'b> {
    /// A map that says to have this format.
    pub(super) fn open(bytes: &'b [u8], format: u64) -> Result<Self, Refusal> {
        let mut decoder = Decoder::new(bytes);
        let left = decoder.map().map_err(|error| refusal(&error))?.ok_or(Refusal::Malformed)?;
        let mut reader = Self { decoder, left, key: None };
        match reader.u64(FORMAT)? {
            found if found == format => Ok(reader),
            found => Err(Refusal::Format(found)),
        }
    }

    fn has(&mut self, key: u64) -> Result<bool, Refusal> {
        if self.key.is_none() && self.left > 0 {
            self.key = Some(self.value(Decoder::u64)?);
        }
        Ok(self.key == Some(key))
    }

    fn value<T>(&mut self, read: impl FnOnce(&mut Decoder<'b>) -> Result<T, Error>) -> Result<T, Refusal> {
        read(&mut self.decoder).map_err(|error| refusal(&error))
    }

    fn entry<T>(
        &mut self,
        key: u64,
        read: impl FnOnce(&mut Decoder<'b>) -> Result<T, Error>,
    ) -> Result<T, Refusal> {
        self.optional(key, read)?.ok_or(Refusal::Malformed)
    }

    fn optional<T>(
        &mut self,
        key: u64,
        read: impl FnOnce(&mut Decoder<'b>) -> Result<T, Error>,
    ) -> Result<Option<T>, Refusal> {
        if !self.has(key)? {
            return Ok(None);
        }
        self.key = None;
        self.left = self.left.saturating_sub(1);
        self.value(read).map(Some)
    }

    pub(super) fn u64(&mut self, key: u64) -> Result<u64, Refusal> {
        self.entry(key, Decoder::u64)
    }

    pub(super) fn u32(&mut self, key: u64) -> Result<u32, Refusal> {
        self.entry(key, Decoder::u32)
    }

    pub(super) fn u16(&mut self, key: u64) -> Result<u16, Refusal> {
        self.entry(key, Decoder::u16)
    }

    pub(super) fn optional_u64(&mut self, key: u64) -> Result<Option<u64>, Refusal> {
        self.optional(key, Decoder::u64)
    }

    /// A byte string of just this length.
    pub(super) fn array<const N: usize>(&mut self, key: u64) -> Result<[u8; N], Refusal> {
        self.optional_array(key)?.ok_or(Refusal::Malformed)
    }

    pub(super) fn optional_array<const N: usize>(&mut self, key: u64) -> Result<Option<[u8; N]>, Refusal> {
        let bytes = self.optional(key, Decoder::bytes)?;
        bytes.map(|bytes| bytes.try_into().map_err(|_wrong_length| Refusal::Malformed)).transpose()
    }

    /// A text of 1 to `max` bytes.
    pub(super) fn text(&mut self, key: u64, max: usize) -> Result<String, Refusal> {
        let text = self.entry(key, Decoder::str)?;
        if text.is_empty() || text.len() > max { Err(Refusal::Malformed) } else { Ok(text.into()) }
    }

    /// 1 to `max` numbers.
    pub(super) fn numbers(&mut self, key: u64, max: usize) -> Result<Option<Vec<u32>>, Refusal> {
        let Some(count) = self.optional(key, Decoder::array)? else { return Ok(None) };
        let count = count.and_then(|count| usize::try_from(count).ok()).ok_or(Refusal::Malformed)?;
        if count == 0 || count > max {
            return Err(Refusal::Malformed);
        }
        (0..count).map(|_| self.value(Decoder::u32)).collect::<Result<_, _>>().map(Some)
    }

    /// The map's end, and the message's.
    pub(super) fn close(self) -> Result<(), Refusal> {
        let over = self.left == 0 && self.decoder.position() == self.decoder.input().len();
        if over { Ok(()) } else { Err(Refusal::Malformed) }
    }
}

/// Writes a map; its keys have to rise. Writing into memory cannot fail.
pub(super) struct Writer {
    encoder: Encoder<Vec<u8>>,
}

impl Writer {
    /// A map of `entries` entries behind the one that says its format.
    pub(super) fn open(entries: u64, format: u64) -> Self {
        let mut encoder = Encoder::new(Vec::new());
        let _infallible = encoder.map(entries.saturating_add(1)).is_ok();
        let mut writer = Self { encoder };
        writer.u64(FORMAT, format);
        writer
    }

    pub(super) fn u64(&mut self, key: u64, value: u64) {
        let _infallible = self.encoder.u64(key).and_then(|encoder| encoder.u64(value)).is_ok();
    }

    pub(super) fn bytes(&mut self, key: u64, value: &[u8]) {
        let _infallible = self.encoder.u64(key).and_then(|encoder| encoder.bytes(value)).is_ok();
    }

    pub(super) fn text(&mut self, key: u64, value: &str) {
        let _infallible = self.encoder.u64(key).and_then(|encoder| encoder.str(value)).is_ok();
    }

    pub(super) fn numbers(&mut self, key: u64, values: &[u32]) {
        let mut outcome = self.encoder.u64(key).and_then(|encoder| encoder.array(values.len() as u64));
        for value in values {
            outcome = outcome.and_then(|encoder| encoder.u32(*value));
        }
        let _infallible = outcome.is_ok();
    }

    pub(super) fn close(self) -> Vec<u8> {
        self.encoder.into_writer()
    }
}
