//! Payloads that only holders of a key can read: sealed on a host, opened block by block while they are unpacked.
//!
//! A sealed payload is a row of blocks of [`BLOCK`] bytes, the last one shorter: ciphertext, then the 16 bytes of
//! its tag (ChaCha20-Poly1305 of RFC 8439, without associated data). The key is the payload's own, so that a
//! block's number is nonce enough, and a block of another payload does not open; nor does one in another place.
//!
//! [`Unpacker`](super::Unpacker) reads every block twice: first it compares the tag, then it decrypts, 64 bytes at
//! a time. So no decoder sees a byte that nobody sealed, and no block has to be in memory.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use chacha20::cipher::{KeyIvInit, StreamCipherCore};
use chacha20::variants::Ietf;
use chacha20::{ChaChaCore, R20};
use poly1305::Poly1305;
use poly1305::universal_hash::{KeyInit, UniversalHash};

use super::CodecError;
use crate::hash::BLOCK;

/// Bytes of a tag, at the end of every sealed block.
pub const TAG: usize = 16;
const TAG_LEN: u32 = TAG as u32;
const BLOCK_LEN: u32 = BLOCK as u32;
/// Bytes of a full block that are ciphertext.
const CIPHERTEXT_LEN: u32 = BLOCK_LEN - TAG_LEN;
/// Bytes of key stream that are made at once.
const WINDOW: usize = 64;

/// The key of one payload, and of no other.
#[derive(Clone, PartialEq, Eq)]
pub struct PayloadKey([u8; 32]);

impl PayloadKey {
    /// The key with these bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 64 bytes of key stream with this number, of a block's own stream: the first make the key of its tag.
    // Inlined, what it needs for a moment would stay on an installer's stack.
    #[inline(never)]
    fn stream(&self, block: u32, number: u32, stream: &mut [u8; WINDOW]) {
        let [a, b, c, d] = block.to_le_bytes();
        let nonce = [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0];
        let mut core = ChaChaCore::<R20, Ietf>::new((&self.0).into(), (&nonce).into());
        core.set_block_pos(number);
        core.write_keystream_block(stream.into());
    }
}

impl fmt::Debug for PayloadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PayloadKey")
    }
}

/// Bytes of a sealed payload that opens to `plain` bytes; `None` when there are none, or too many to count.
pub const fn sealed_len(plain: u32) -> Option<u32> {
    if plain == 0 {
        return None;
    }
    plain.checked_add(plain.div_ceil(CIPHERTEXT_LEN).saturating_mul(TAG_LEN))
}

/// Bytes that a sealed payload of `sealed` bytes opens to; `None` when no payload has that length.
pub const fn opened_len(sealed: u32) -> Option<u32> {
    let last = sealed % BLOCK_LEN;
    let sound = sealed > 0 && (last == 0 || last > TAG_LEN);
    if sound { sealed.checked_sub(sealed.div_ceil(BLOCK_LEN).saturating_mul(TAG_LEN)) } else { None }
}

/// Seals `plain`. A key may seal one payload only.
pub fn seal(key: &PayloadKey, plain: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::new();
    for (block, plain) in (0_u32..).zip(plain.chunks(CIPHERTEXT_LEN as usize)) {
        let mut stream = [0; WINDOW];
        key.stream(block, 0, &mut stream);
        let mut tagger = Tagger::new(&stream);
        for (number, piece) in (1_u32..).zip(plain.chunks(WINDOW)) {
            key.stream(block, number, &mut stream);
            stream.iter_mut().zip(piece).for_each(|(to, from)| *to ^= from);
            let piece = stream.get(..piece.len()).unwrap_or_default();
            tagger.absorb(piece);
            sealed.extend_from_slice(piece);
        }
        sealed.extend_from_slice(&tagger.finish(0, plain.len() as u32));
    }
    sealed
}

/// Sums a block up to its tag.
struct Tagger {
    sum: Poly1305,
    /// Bytes that do not make 16 yet.
    held: [u8; TAG],
    count: u8,
}

impl Tagger {
    /// For the block whose stream begins so.
    #[inline(never)]
    fn new(stream: &[u8; WINDOW]) -> Self {
        let mut key = [0; 32];
        key.iter_mut().zip(stream).for_each(|(to, from)| *to = *from);
        Self { sum: Poly1305::new((&key).into()), held: [0; TAG], count: 0 }
    }

    fn absorb(&mut self, mut bytes: &[u8]) {
        if self.count > 0 {
            bytes = bytes.get(self.hold(bytes)..).unwrap_or_default();
        }
        let (whole, rest) = bytes.as_chunks::<TAG>();
        for chunk in whole {
            self.sum.update(core::slice::from_ref(chunk.into()));
        }
        self.hold(rest);
    }

    /// Takes what makes 16 bytes; how many.
    fn hold(&mut self, bytes: &[u8]) -> usize {
        let room = self.held.get_mut(usize::from(self.count)..).unwrap_or_default();
        let taken = room.len().min(bytes.len());
        room.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        self.count = self.count.wrapping_add(taken as u8);
        if usize::from(self.count) == TAG {
            self.sum.update(core::slice::from_ref((&self.held).into()));
            self.count = 0;
        }
        taken
    }

    /// Fills up to 16 bytes with zeros.
    fn pad(&mut self) {
        if self.count > 0 {
            self.hold(&[0; TAG]);
        }
    }

    /// The tag, of so many bytes of associated data and of ciphertext.
    fn finish(&mut self, associated: u32, ciphertext: u32) -> [u8; TAG] {
        self.pad();
        let lengths = u128::from(associated) | u128::from(ciphertext) << 64;
        self.absorb(&lengths.to_le_bytes());
        self.sum.clone().finalize().into()
    }
}

/// What becomes of a block. Less than 90 bytes on a chip.
#[allow(clippy::large_enum_variant, reason = "the sum is large only where there are vector registers")]
enum Phase {
    /// Read for the first time: its ciphertext is summed,
    Sum(Tagger),
    /// and the sum compared with its tag.
    Compare { tag: [u8; TAG], different: u8 },
    /// Read for the second time. What is open and was not taken is in the window from `from` to `to`.
    Open { window: [u8; WINDOW], from: u8, to: u8 },
    /// It was not what its tag says. Nothing opens any more.
    Broken,
}

/// Opens one payload, from its beginning to its end.
pub(super) struct Opener {
    key: PayloadKey,
    /// Bytes of the payload.
    len: u32,
    block: u32,
    /// Bytes of the block that have been read this time.
    at: u32,
    phase: Phase,
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").field("block", &self.block).field("at", &self.at).finish_non_exhaustive()
    }
}

impl Opener {
    /// For a payload of `len` bytes, which [`opened_len`] accepts.
    #[inline(never)]
    pub(super) fn new(key: &PayloadKey, len: u32) -> Box<Self> {
        let phase = Phase::Open { window: [0; WINDOW], from: 0, to: 0 };
        let mut opener = Box::new(Self { key: key.clone(), len, block: 0, at: 0, phase });
        opener.begin(0);
        opener
    }

    /// Begins a block when the one before has been taken.
    fn begin(&mut self, block: u32) {
        if let Phase::Open { window, .. } = &mut self.phase {
            self.key.stream(block, 0, window);
            let tagger = Tagger::new(window);
            (self.block, self.at, self.phase) = (block, 0, Phase::Sum(tagger));
        }
    }

    fn start(&self) -> u32 {
        self.block.saturating_mul(BLOCK_LEN)
    }

    /// Bytes of the block, without its tag.
    fn ciphertext(&self) -> u32 {
        self.len.saturating_sub(self.start()).min(BLOCK_LEN).saturating_sub(TAG_LEN)
    }

    /// Where in the payload it reads on, and how far at most.
    pub(super) fn needs(&self) -> (u32, u32) {
        let ciphertext = self.ciphertext();
        let end = match self.phase {
            Phase::Sum(_) | Phase::Compare { .. } => ciphertext.saturating_add(TAG_LEN),
            Phase::Open { .. } => ciphertext,
            Phase::Broken => self.at,
        };
        (self.start().saturating_add(self.at), end.saturating_sub(self.at))
    }

    /// What is open.
    pub(super) fn window(&self) -> &[u8] {
        match &self.phase {
            Phase::Open { window, from, to } => {
                window.get(usize::from(*from)..usize::from(*to)).unwrap_or_default()
            }
            _ => &[],
        }
    }

    /// `count` bytes of the window have been taken; then reads some of `bytes`, which are from where it
    /// [`needs`](Self::needs) them, and says how many.
    ///
    /// # Errors
    /// [`CodecError::Seal`], and again for every later call.
    // Inlined, what it needs for a moment would stay on an installer's stack.
    #[inline(never)]
    pub(super) fn advance(&mut self, count: usize, bytes: &[u8]) -> Result<usize, CodecError> {
        if let Phase::Open { from, to, .. } = &mut self.phase {
            *from = from.wrapping_add(count as u8).min(*to);
        }
        if !self.window().is_empty() {
            return Ok(0);
        }
        let next = self.start().saturating_add(BLOCK_LEN);
        if matches!(self.phase, Phase::Open { .. }) && self.at == self.ciphertext() && next < self.len {
            self.begin(self.block.saturating_add(1));
        }
        let (_, left) = self.needs();
        let read = self.read(bytes.get(..left as usize).unwrap_or(bytes));
        self.at = self.at.wrapping_add(read as u32);
        self.next_phase()?;
        Ok(read)
    }

    fn read(&mut self, bytes: &[u8]) -> usize {
        let at = self.at as usize;
        let ciphertext = self.ciphertext() as usize;
        match &mut self.phase {
            Phase::Broken => 0,
            Phase::Sum(tagger) => {
                let bytes = bytes.get(..ciphertext.wrapping_sub(at)).unwrap_or(bytes);
                tagger.absorb(bytes);
                bytes.len()
            }
            Phase::Compare { tag, different } => {
                // Without a look at where they differ, which a clock could tell.
                let tag = tag.get(at.wrapping_sub(ciphertext)..).unwrap_or_default();
                *different = tag.iter().zip(bytes).fold(*different, |sum, (one, other)| sum | (one ^ other));
                bytes.len()
            }
            Phase::Open { window, from, to } => {
                let first = at % WINDOW;
                let number = (at / WINDOW).wrapping_add(1) as u32;
                self.key.stream(self.block, number, window);
                let place = window.get_mut(first..).unwrap_or_default();
                let count = place.len().min(bytes.len());
                place.iter_mut().zip(bytes).for_each(|(to, from)| *to ^= from);
                (*from, *to) = (first as u8, first.wrapping_add(count) as u8);
                count
            }
        }
    }

    /// What follows when the block has been read so far.
    fn next_phase(&mut self) -> Result<(), CodecError> {
        let ciphertext = self.ciphertext();
        match &mut self.phase {
            Phase::Broken => return Err(CodecError::Seal),
            Phase::Sum(tagger) if self.at == ciphertext => {
                let tag = tagger.finish(0, ciphertext);
                self.phase = Phase::Compare { tag, different: 0 };
            }
            Phase::Compare { different, .. } if self.at == ciphertext.wrapping_add(TAG_LEN) => {
                if *different != 0 {
                    self.phase = Phase::Broken;
                    return Err(CodecError::Seal);
                }
                self.at = 0;
                self.phase = Phase::Open { window: [0; WINDOW], from: 0, to: 0 };
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        core::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
    }

    const SUNSCREEN: &[u8; 114] = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";

    /// RFC 8439, 2.8.2: the whole construction. Its nonce is no block's number, so the parts are put together here.
    #[test]
    fn the_standards_example_comes_out() {
        let key: [u8; 32] = core::array::from_fn(|at| 0x80 + at as u8);
        let nonce: [u8; 12] = hex("070000004041424344454647");
        let stream = |number| {
            let mut stream = [0; WINDOW];
            let mut core = ChaChaCore::<R20, Ietf>::new((&key).into(), (&nonce).into());
            core.set_block_pos(number);
            core.write_keystream_block((&mut stream).into());
            stream
        };
        assert_eq!(
            stream(0)[..32],
            hex::<32>("7bac2b252db447af09b67a55a4e955840ae1d6731075d9eb2a9375783ed553ff")
        );
        let ciphertext: Vec<u8> = (SUNSCREEN.chunks(WINDOW).zip(1..))
            .flat_map(|(piece, number)| {
                piece.iter().zip(stream(number)).map(|(a, b)| a ^ b).collect::<Vec<_>>()
            })
            .collect();
        let expected: [u8; 114] = hex(concat!(
            "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b",
            "1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc",
            "3ff4def08e4b7a9de576d26586cec64b6116"
        ));
        assert_eq!(ciphertext, expected);
        for cut in [1, 7, 16, 100, 114] {
            let mut tagger = Tagger::new(&stream(0));
            tagger.absorb(&hex::<12>("50515253c0c1c2c3c4c5c6c7"));
            tagger.pad();
            ciphertext.chunks(cut).for_each(|piece| tagger.absorb(piece));
            assert_eq!(tagger.finish(12, 114), hex("1ae10b594f09e26a7e902ecbd0600691"), "{cut} at a time");
        }
    }

    /// RFC 8439, 2.3.2: the key stream of a block, reached as payloads reach it. Nonce and number of the example
    /// are not a payload's, so this is A.1's second vector: all zeros, block 1.
    #[test]
    fn the_key_stream_is_the_standards() {
        let mut stream = [0; WINDOW];
        PayloadKey::new([0; 32]).stream(0, 1, &mut stream);
        let expected: [u8; WINDOW] = hex(concat!(
            "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed",
            "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"
        ));
        assert_eq!(stream, expected);
    }

    /// Opens as [`super::super::Unpacker`] does, with a taker that takes `take` bytes at most.
    fn open(key: &PayloadKey, sealed: &[u8], cut: usize, take: usize) -> Result<Vec<u8>, CodecError> {
        let mut opener = Opener::new(key, sealed.len() as u32);
        let mut opened = vec![];
        loop {
            let (offset, len) = opener.needs();
            let piece = &sealed[offset as usize..offset as usize + cut.min(len as usize)];
            let count = opener.window().len().min(take);
            opened.extend_from_slice(&opener.window()[..count]);
            let read = opener.advance(count, piece)?;
            assert!(read <= piece.len());
            if opener.needs().1 == 0 && opener.window().is_empty() {
                return Ok(opened);
            }
        }
    }

    #[test]
    fn lengths_say_how_many_blocks_there_are() {
        for (plain, sealed) in [(1, 17), (4_080, 4_096), (4_081, 4_113), (8_160, 8_192), (8_161, 8_209)] {
            assert_eq!((sealed_len(plain), opened_len(sealed)), (Some(sealed), Some(plain)));
        }
        for none in [0, 1, 16, 4_096 + 1, 4_096 + 16] {
            assert_eq!(opened_len(none), None, "{none}");
        }
        assert_eq!((sealed_len(0), sealed_len(u32::MAX)), (None, None));
    }

    #[test]
    fn what_was_sealed_opens_however_it_is_cut() {
        let plain: Vec<u8> = (0..9_000_u32).map(|at| ((at * at) >> 7) as u8).collect();
        let key = PayloadKey::new([9; 32]);
        for len in [1, 15, 16, 17, 63, 64, 65, 4_079, 4_080, 4_081, 8_160, 9_000] {
            let sealed = seal(&key, &plain[..len]);
            assert_eq!(sealed_len(len as u32), Some(sealed.len() as u32));
            for (cut, take) in [(1, 64), (7, 3), (64, 64), (256, 1), (9_999, 50)] {
                assert_eq!(
                    open(&key, &sealed, cut, take).as_deref(),
                    Ok(&plain[..len]),
                    "{len} by {cut}, {take}"
                );
            }
        }
    }

    #[test]
    fn nothing_else_opens() {
        let plain: Vec<u8> = (0..8_500_u32).map(|at| at as u8).collect();
        let key = PayloadKey::new([9; 32]);
        let sealed = seal(&key, &plain);
        let refused = |sealed: &[u8], what: &str| {
            assert_eq!(open(&key, sealed, 256, 64), Err(CodecError::Seal), "{what}");
        };
        for at in (0..sealed.len()).step_by(509).chain([4_080, 4_095, sealed.len() - 1]) {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1 << (at % 8);
            refused(&flipped, "a flipped bit");
        }
        let swapped = [&sealed[4_096..8_192], &sealed[..4_096], &sealed[8_192..]].concat();
        refused(&swapped, "swapped blocks");
        refused(&sealed[..sealed.len() - 1], "a byte too few");
        refused(&[&sealed[..], &[0]].concat(), "a byte too many");
        assert_eq!(open(&PayloadKey::new([8; 32]), &sealed, 256, 64), Err(CodecError::Seal), "another key");
    }

    #[test]
    fn a_broken_block_stays_broken() {
        let key = PayloadKey::new([9; 32]);
        let mut sealed = seal(&key, b"seventeen or more");
        sealed[3] ^= 1;
        let mut opener = Opener::new(&key, sealed.len() as u32);
        assert_eq!(opener.advance(0, &sealed), Ok(17));
        assert_eq!(opener.advance(0, &sealed[17..]), Err(CodecError::Seal));
        assert_eq!(opener.advance(0, &sealed), Err(CodecError::Seal));
        assert!(opener.window().is_empty() && opener.needs().1 == 0);
        assert!(alloc::format!("{opener:?}").starts_with("Opener { block: 0"), "and its key is not shown");
    }
}
