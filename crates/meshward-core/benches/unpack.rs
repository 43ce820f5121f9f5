//! How fast payloads become images: each codec alone, then the whole way with both sums.
//!
//! The image is a real one of 528 KB; throughput counts its bytes, not those of the payload.

use std::hint::black_box;
use std::io::Write as _;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lzma_rust2::{EncodeMode, LzmaOptions, LzmaWriter, MfType};
use meshward_core::codec::{Codec, Decoder, Need, Recipe, Sizes, Unpacker};

/// What an installer reads at once.
const READ: usize = 256;

fn lzma(plain: &[u8]) -> Vec<u8> {
    let options = LzmaOptions::new(4096, 0, 0, 0, EncodeMode::Normal, 273, MfType::Bt4, 512);
    let mut packed = Vec::new();
    let writer = LzmaWriter::new_no_header(&mut packed, &options, false);
    let done = writer.and_then(|mut writer| writer.write_all(plain).and_then(|()| writer.finish().map(drop)));
    assert!(done.is_ok());
    packed
}

fn decode(codec: Codec, stream: &[u8], plain: usize) -> bool {
    let sizes = Sizes { packed: stream.len() as u32, plain: plain as u32 };
    let Ok(mut decoder) = Decoder::new(codec, sizes) else { return false };
    let (mut at, mut room) = (0, [0; READ]);
    while !decoder.is_done() {
        let piece = stream.get(at..stream.len().min(at + READ)).unwrap_or_default();
        let Ok(step) = decoder.decode(piece, &mut room) else { return false };
        at += step.read;
        black_box(&room);
    }
    true
}

fn unpack(codec: Codec, payload: &[u8], image: usize) -> bool {
    let sizes = Sizes { packed: payload.len() as u32, plain: image as u32 };
    let recipe = Recipe { codec, sizes, image_len: image as u32, base_len: None };
    let Ok(mut unpacker) = Unpacker::new(recipe, None) else { return false };
    loop {
        let outcome = match unpacker.needs() {
            Need::Payload { offset, len } => {
                let from = offset as usize;
                let piece = payload.get(from..from + READ.min(len as usize)).unwrap_or_default();
                unpacker.payload(piece).map(drop)
            }
            Need::Write => unpacker.page_written(),
            Need::Base { .. } => return false,
            Need::Nothing(_) => return true,
        };
        if outcome.is_err() {
            return false;
        }
    }
}

fn benches(criterion: &mut Criterion) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/firmware/node-c3-v1.4.2.bin");
    let image = std::fs::read(path).unwrap_or_default();
    let packed = lzma(&image);
    assert!(decode(Codec::Lzma, &packed, image.len()) && unpack(Codec::Lzma, &packed, image.len()));
    let mut group = criterion.benchmark_group("payload");
    group.throughput(Throughput::Bytes(image.len() as u64));
    group.sample_size(20);
    group.bench_function("LZMA", |bencher| {
        bencher.iter(|| decode(Codec::Lzma, black_box(&packed), image.len()));
    });
    group.bench_function("LZMA, pages and sums", |bencher| {
        bencher.iter(|| unpack(Codec::Lzma, black_box(&packed), image.len()));
    });
    group.bench_function("pages and sums alone", |bencher| {
        bencher.iter(|| unpack(Codec::None, black_box(&image), image.len()));
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
