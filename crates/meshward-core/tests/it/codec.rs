//! The decoders against streams that others made, cut anywhere, cut off, and spoilt.

use std::io::{Read as _, Write as _};
use std::path::Path;

use heatshrink::encoder::HeatshrinkEncoder;
use heatshrink::{Finish, Poll};
use lzma_rust2::{EncodeMode, LzmaOptions, LzmaReader, LzmaWriter, MfType};
use meshward_core::codec::{Codec, CodecError, Decoder, Sizes, Step};
use proptest::collection::vec;
use proptest::prelude::*;

fn testdata(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name);
    std::fs::read(path).unwrap()
}

fn image(version: &str) -> Vec<u8> {
    testdata(&format!("firmware/node-c3-v{version}.bin"))
}

fn lzma(plain: &[u8], end_marker: bool) -> Vec<u8> {
    let options = LzmaOptions::new(4096, 0, 0, 0, EncodeMode::Normal, 273, MfType::Bt4, 512);
    let mut writer = LzmaWriter::new_no_header(Vec::new(), &options, end_marker).unwrap();
    writer.write_all(plain).unwrap();
    writer.finish().unwrap()
}

fn heatshrink(plain: &[u8]) -> Vec<u8> {
    let mut encoder = Box::new(HeatshrinkEncoder::<11, 3, 4096>::new());
    let (mut packed, mut buffer, mut at) = (Vec::new(), [0; 512], 0);
    loop {
        if at < plain.len() {
            at += encoder.sink(&plain[at..]).unwrap_or(0);
        } else if encoder.finish() == Finish::Done {
            return packed;
        }
        loop {
            let (Poll::More(count) | Poll::Empty(count)) = encoder.poll(&mut buffer).unwrap();
            packed.extend_from_slice(&buffer[..count]);
            if count < buffer.len() {
                break;
            }
        }
    }
}

fn pack(codec: Codec, plain: &[u8]) -> Vec<u8> {
    match codec {
        Codec::None => plain.to_vec(),
        Codec::Heatshrink => heatshrink(plain),
        Codec::Lzma => lzma(plain, false),
    }
}

/// Decodes `stream`, `input` bytes at a time, into room for `room`.
fn unpack(
    codec: Codec,
    plain: usize,
    stream: &[u8],
    input: usize,
    room: usize,
) -> Result<Vec<u8>, CodecError> {
    let sizes = Sizes { packed: stream.len() as u32, plain: plain as u32 };
    let mut decoder = Decoder::new(codec, sizes)?;
    let (mut output, mut buffer, mut at) = (Vec::new(), vec![0; room], 0);
    while !decoder.is_done() {
        let piece = &stream[at..stream.len().min(at + input)];
        let step = decoder.decode(piece, &mut buffer)?;
        if step == Step::default() && piece.is_empty() && !decoder.is_done() {
            return Err(CodecError::Truncated);
        }
        at += step.read;
        output.extend_from_slice(&buffer[..step.written]);
        assert!(output.len() <= plain, "more than was said");
    }
    assert_eq!(at, stream.len(), "not all was read");
    Ok(output)
}

#[test]
fn streams_made_by_xz_are_read() {
    let rows = [
        ("image-32k.lzma", image("1.4.2")[..32_768].to_vec()),
        ("arduinojson.lzma", testdata("json/arduinojson.ndjson")),
        ("zeros-100000.lzma", vec![0; 100_000]),
        ("empty.lzma", Vec::new()),
    ];
    for (name, plain) in rows {
        let stream = testdata(&format!("codec/{name}"));
        for (input, room) in [(usize::MAX >> 1, 1 << 20), (1, 1), (19, 4096), (256, 255), (1, 5_000)] {
            let output = unpack(Codec::Lzma, plain.len(), &stream, input, room);
            assert!(output.as_deref() == Ok(&plain), "{name}, {input} in, {room} out: {:?}", output.err());
        }
    }
}

#[test]
fn whole_images_come_back() {
    for version in ["1.4.2", "1.4.3", "1.5.0"] {
        let plain = image(version);
        for codec in Codec::ALL {
            let stream = pack(codec, &plain);
            let output = unpack(codec, plain.len(), &stream, 1_024, 256);
            assert!(output.as_deref() == Ok(&plain), "{version} {codec}: {:?}", output.err());
        }
        let stream = lzma(&plain, true);
        assert!(unpack(Codec::Lzma, plain.len(), &stream, 97, 256).as_deref() == Ok(&plain));
    }
}

#[test]
fn a_stream_that_is_cut_off_or_goes_on_is_refused() {
    let plain = &image("1.5.0")[100_000..103_000];
    for codec in [Codec::Heatshrink, Codec::Lzma] {
        let stream = pack(codec, plain);
        for len in 0..stream.len() {
            let outcome = unpack(codec, plain.len(), &stream[..len], 64, 256);
            assert_eq!(outcome, Err(CodecError::Truncated), "{codec}, {len} bytes");
        }
        let longer = [&stream[..], &[0x55; 30]].concat();
        assert!(unpack(codec, plain.len(), &longer, 64, 256).is_err(), "{codec} goes on");
        // Another length than the stream's own: never more, and never taken for the whole.
        for announced in [0, 1, plain.len() - 1, plain.len() + 1] {
            assert!(unpack(codec, announced, &stream, 64, 256).is_err(), "{codec}, {announced} announced");
        }
    }
}

/// What the encoder's own crate makes of a raw stream.
fn reference(stream: &[u8], plain: usize) -> Option<Vec<u8>> {
    let mut reader = LzmaReader::new(stream, plain as u64, 0, 0, 0, 4096, None).ok()?;
    let mut output = Vec::new();
    reader.read_to_end(&mut output).ok()?;
    (output.len() == plain).then_some(output)
}

/// A bomb: 16 MB of zeros in a few kilobytes.
#[test]
fn a_bomb_stops_at_what_was_announced() {
    let zeros = vec![0; 16 << 20];
    for codec in [Codec::Heatshrink, Codec::Lzma] {
        let stream = pack(codec, &zeros);
        for announced in [1, 4_096, 100_000] {
            assert!(unpack(codec, announced, &stream, 256, 256).is_err());
        }
    }
}

/// Bytes with repetitions of all kinds.
fn structured() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        vec(any::<u8>(), 0..60),
        (any::<u8>(), 0..400_usize).prop_map(|(byte, count)| vec![byte; count]),
        (vec(any::<u8>(), 1..9), 1..200_usize).prop_map(|(unit, count)| unit.repeat(count)),
        vec(97..101_u8, 0..300),
    ];
    vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whatever_is_packed_comes_back_however_it_is_cut(
        plain in structured(),
        input in 1..80_usize,
        room in 1..700_usize,
        marker in any::<bool>(),
    ) {
        for codec in Codec::ALL {
            let stream = if codec == Codec::Lzma { lzma(&plain, marker) } else { pack(codec, &plain) };
            let output = unpack(codec, plain.len(), &stream, input, room);
            prop_assert_eq!(output.as_deref(), Ok(&plain[..]), "{}", codec);
        }
    }

    #[test]
    fn a_flipped_bit_is_refused_or_read_as_others_read_it(
        plain in structured(),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u32,
    ) {
        for codec in [Codec::Heatshrink, Codec::Lzma] {
            let mut stream = pack(codec, &plain);
            if stream.is_empty() {
                continue;
            }
            let at = at.index(stream.len());
            stream[at] ^= 1 << bit;
            let whole = unpack(codec, plain.len(), &stream, stream.len(), 4_096);
            prop_assert_eq!(&whole, &unpack(codec, plain.len(), &stream, 7, 33), "the cut shows");
            if let (Codec::Lzma, Ok(output)) = (codec, whole) {
                prop_assert_eq!(Some(output), reference(&stream, plain.len()));
            }
        }
    }
}
