//! What it costs to find out who a frame is for, next to a parse of everything.
//!
//! The frame is the usual one of an update: a part of 1,024 bytes, 1.6 KB of text. C++ nodes put the fields
//! that routing needs first and `dest` before the data; the other order is the worst case.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use meshward_core::wire::{Data, NodeId, Offer, normalise, peek};
use std::borrow::Cow;
use std::hint::black_box;

fn data() -> Vec<u8> {
    let offer = Offer {
        md5: Cow::Borrowed(b"6b74213310b3814759b444e3e7b2529d"),
        hardware: Cow::Borrowed(b"ESP32"),
        role: Cow::Borrowed(b"sensor"),
        forced: false,
        parts: 5,
        broadcasted: false,
        compressed: false,
    };
    let image: Vec<u8> = (0..1024_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let data = Cow::Owned(image);
    Data {
        from: NodeId(2_748_091_201),
        dest: NodeId(3_662_815_033),
        routing_broadcast: false,
        offer,
        part: 3,
        data,
    }
    .encode()
}

/// The same with `from`, `routing` and `type` at the end.
fn head_last(frame: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(frame);
    let (head, rest) = text.split_once("\"md5\"").unwrap_or_default();
    let head = head.trim_start_matches('{').trim_end_matches(',');
    format!("{{\"md5\"{},{head}}}", rest.trim_end_matches('}')).into_bytes()
}

fn benches(criterion: &mut Criterion) {
    let frame = data();
    let last = head_last(&frame);
    assert!(peek(&frame).is_some() && peek(&frame) == peek(&last));
    let mut group = criterion.benchmark_group("ota_data");
    group.throughput(Throughput::Bytes(frame.len() as u64));
    group.bench_function("peek, head first", |bencher| bencher.iter(|| peek(black_box(&frame))));
    group.bench_function("peek, head last", |bencher| bencher.iter(|| peek(black_box(&last))));
    group.bench_function("normalise", |bencher| bencher.iter(|| normalise(black_box(&frame))));
    group.bench_function("decode", |bencher| bencher.iter(|| Data::decode(black_box(&frame)).is_ok()));
    group.bench_function("serde_json::Value", |bencher| {
        bencher.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(&frame)).is_ok());
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
