//! What must hold for any bytes: one function per fuzz target, shared with the tests that replay the
//! corpus. They panic when it does not hold; nothing else calls them.

use super::{
    Announce, Branch, Clock, Data, DataRequest, NodeSync, PlainSync, Routing, Splitter, User, fields, read,
};
use alloc::vec::Vec;

/// Frames come out of a stream the same however it is cut. The first byte says how.
pub fn splitter(input: &[u8]) {
    let Some((size, stream)) = input.split_first() else { return };
    let whole = split(stream, stream.len());
    let pieces = split(stream, usize::from(*size % 16).max(1));
    assert_eq!(whole, pieces, "the cut shows");
    if let Some(frames) = whole {
        assert!(frames.iter().all(|frame| !frame.is_empty() && !frame.contains(&0)));
    }
}

/// All frames of `stream` given in pieces of `size` bytes; `None` when one is too long.
fn split(stream: &[u8], size: usize) -> Option<Vec<Vec<u8>>> {
    let mut splitter = Splitter::new(48);
    let mut frames = Vec::new();
    for piece in stream.chunks(size.max(1)) {
        let mut piece = piece;
        while let Some(frame) = splitter.split(&mut piece).ok()? {
            frames.push(frame.to_vec());
        }
        assert!(piece.is_empty() && splitter.buffered() <= 48);
    }
    Some(frames)
}

/// A canonical frame is taken by the slow way too, and has the same envelope there.
pub fn peek(frame: &[u8]) {
    let Some(envelope) = super::peek(frame) else { return };
    let normal = super::normalise(frame);
    assert_eq!(normal.map(|normal| normal.envelope), Ok(envelope));
}

/// What has been normalised is taken again and keeps its keys. Its envelope may change, once: a real may
/// have become an integer.
pub fn normalise(frame: &[u8]) {
    let Ok(once) = super::normalise(frame) else { return };
    assert!(once.bytes.len() <= frame.len().saturating_mul(4));
    let twice = super::normalise(&once.bytes);
    assert_eq!(twice.as_ref().map(|twice| keys(&twice.bytes)), Ok(keys(&once.bytes)));
    if let (Some(envelope), Ok(twice)) = (super::peek(&once.bytes), twice) {
        assert_eq!(envelope, twice.envelope);
    }
}

fn keys(object: &[u8]) -> Vec<Vec<u8>> {
    fields(object).map(|(key, _)| key.name().into_owned()).collect()
}

/// What can be decoded survives being written and read again; nothing panics on what can't.
pub fn packages(frame: &[u8]) {
    plain_sync(frame);
    decode_all(frame);
    if let Ok(message) = read(frame) {
        decode_all(&message.bytes);
    }
}

/// What is read in one pass is canonical, for neighbours, and decodes to the same; it is found unchanged just
/// when it is.
fn plain_sync(frame: &[u8]) {
    let Some(plain) = PlainSync::read(frame, 1000, None) else { return };
    let envelope = super::peek(frame);
    assert_eq!(envelope.map(|envelope| envelope.routing), Some(Routing::Neighbour));
    let sync = NodeSync::decode(frame, 1000);
    let fields = |sync: &NodeSync| (sync.reply, sync.dest, sync.from, Some(sync.tree.clone()));
    assert_eq!(sync.as_ref().map(fields), Ok((plain.reply, plain.dest, plain.from, plain.tree.clone())));
    let known = plain.tree.clone().map(|tree| Branch::of_plain(tree, plain.text, None));
    assert_eq!(known, plain.tree.clone().map(Branch::new));
    assert_eq!(PlainSync::read(frame, 1000, known.as_ref()), Some(PlainSync { tree: None, ..plain }));
}

fn decode_all(bytes: &[u8]) {
    if let Ok(sync) = NodeSync::decode(bytes, 1000) {
        assert_eq!(NodeSync::decode(&sync.encode(), 1000), Ok(sync));
    }
    if let Some(clock) = Clock::of_plain(bytes) {
        assert!(super::peek(bytes).is_some(), "canonical");
        assert_eq!(Clock::of_fields(bytes), Ok(clock));
    }
    if let Ok(clock) = Clock::decode(bytes) {
        assert_eq!(Clock::decode(&clock.encode()), Ok(clock));
    }
    if let Ok(user) = User::decode(bytes) {
        assert_eq!(User::decode(&user.encode()), Ok(user.clone()));
    }
    if let Ok(announce) = Announce::decode(bytes) {
        assert_eq!(Announce::decode(&announce.encode()), Ok(announce.clone()));
    }
    if let Ok(request) = DataRequest::decode(bytes) {
        assert_eq!(DataRequest::decode(&request.encode()), Ok(request.clone()));
    }
    if let Ok(data) = Data::decode(bytes) {
        assert_eq!(Data::decode(&data.encode()), Ok(data.clone()));
    }
}
