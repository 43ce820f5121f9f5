//! Replays the seeds of the fuzz targets, with the bodies of the targets.

use meshward_core::codec::fuzzing as codec;
use meshward_core::fuzzing as node;
use meshward_core::ota::trust::fuzzing as trust;
use meshward_core::ota::{journal, receiver};
use meshward_core::wire::fuzzing;
use meshward_core::wire::status::fuzzing as status_packages;
use std::path::Path;

/// Feeds every file of the corpus `target` to `body`.
fn replay(target: &str, body: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&corpus).unwrap() {
        let path = entry.unwrap().path();
        let input = std::fs::read(&path).unwrap();
        if let Err(panic) = std::panic::catch_unwind(|| body(&input)) {
            panic!("{}: {panic:?}", path.display());
        }
        count += 1;
    }
    assert_ne!(count, 0, "no seeds in {}", corpus.display());
}

#[test]
fn splitter() {
    replay("splitter", fuzzing::splitter);
}

#[test]
fn peek() {
    replay("peek", fuzzing::peek);
}

#[test]
fn normalise() {
    replay("normalise", fuzzing::normalise);
}

#[test]
fn packages() {
    replay("packages", fuzzing::packages);
}

#[test]
fn status() {
    replay("status", status_packages::status);
}

#[test]
fn lzma() {
    replay("lzma", codec::lzma);
}

#[test]
fn heatshrink() {
    replay("heatshrink", codec::heatshrink);
}

#[test]
fn patch() {
    replay("patch", codec::patch);
}

#[test]
fn unpack() {
    replay("unpack", codec::unpack);
}

#[test]
fn sealed() {
    replay("sealed", codec::sealed);
}

#[test]
fn manifest() {
    replay("manifest", trust::manifest);
}

#[test]
fn descriptor() {
    replay("descriptor", trust::descriptor);
}

#[test]
fn order() {
    replay("order", trust::order);
}

#[test]
fn staging_journal() {
    replay("journal", journal::fuzz);
}

#[test]
fn receiver_operations() {
    replay("receiver", receiver::fuzzing::operations);
}

#[test]
fn exchange_between_nodes() {
    replay("exchange", node::exchange);
}

#[test]
fn what_nodes_tell() {
    replay("telemetry", node::telemetry);
}
