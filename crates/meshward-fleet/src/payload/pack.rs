//! The encoders behind the codecs, with the parameters that nodes decode.

use std::io::{self, Write as _};

use heatshrink::encoder::HeatshrinkEncoder;
use heatshrink::{Finish, Poll};
use lzma_rust2::{EncodeMode, LzmaOptions, LzmaWriter, MfType};

/// Bytes of the dictionary: what a node has memory for.
const DICTIONARY: u32 = 4096;
/// For each level: how long a match ends the search, and how many candidates are looked at.
const EFFORT: [(u32, i32); 9] =
    [(8, 4), (12, 8), (16, 8), (24, 16), (32, 24), (64, 32), (96, 64), (128, 128), (273, 512)];

/// A raw LZMA1 stream (lc=0, lp=0, pb=0, 4 KB) without an end marker.
pub(super) fn lzma(plain: &[u8], level: u8) -> io::Result<Vec<u8>> {
    let effort = EFFORT.get(usize::from(level).saturating_sub(1)).or(EFFORT.last());
    let (nice_len, depth) = effort.copied().unwrap_or((273, 512));
    let options = LzmaOptions::new(DICTIONARY, 0, 0, 0, EncodeMode::Normal, nice_len, MfType::Bt4, depth);
    let mut writer = LzmaWriter::new_no_header(Vec::new(), &options, false)?;
    writer.write_all(plain)?;
    writer.finish()
}

/// heatshrink with w=11, l=3.
pub(super) fn heatshrink(plain: &[u8]) -> Vec<u8> {
    let mut encoder = Box::new(HeatshrinkEncoder::<11, 3, 4096>::new());
    let (mut packed, mut rest) = (Vec::new(), plain);
    loop {
        if rest.is_empty() {
            if encoder.finish() == Finish::Done {
                return packed;
            }
        } else {
            let taken = encoder.sink(rest).unwrap_or(0);
            rest = &rest[taken..];
        }
        drain(&mut encoder, &mut packed);
    }
}

fn drain(encoder: &mut HeatshrinkEncoder<11, 3, 4096>, packed: &mut Vec<u8>) {
    let mut buffer = [0; 1024];
    while let Ok(Poll::More(count) | Poll::Empty(count)) = encoder.poll(&mut buffer) {
        packed.extend_from_slice(&buffer[..count]);
        if count < buffer.len() {
            return;
        }
    }
}
