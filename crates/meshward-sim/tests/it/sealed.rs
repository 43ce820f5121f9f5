//! Sealed payloads on a node: who can install them, and what happens to those that somebody spoilt.

use meshward_core::codec::{Codec, CodecError};
use meshward_core::flash::Slot;
use meshward_core::hash::BLOCK;
use meshward_core::ota::receiver::{ChunkOutcome, Event, Failure, State};
use meshward_core::ota::trial::ResetReason;
use meshward_core::ota::trust::{GroupKeys, Refusal};
use meshward_fleet::payload::{self, Options, Payload};
use meshward_sim::powercut::{Board, End, Kind, Kit, LINK, group_key};

const IMAGE: usize = 16 * 1024;

/// A whole image, sealed: several blocks of it.
fn whole(kind: Kind, codec: Codec) -> Kit {
    let mut kit = Kit::new(kind, IMAGE);
    let options = Options { codec, group_key: Some(group_key(1)), ..Options::default() };
    let payload = payload::build(&kit.new, None, &options).unwrap();
    give(&mut kit, payload);
    kit
}

/// An operator signs for this payload, whatever it is.
fn give(kit: &mut Kit, payload: Payload) {
    kit.descriptor = kit.sign_descriptor(&payload);
    kit.payload = payload;
}

/// A node that took the offer and was given every chunk that it wanted.
fn given(kit: &Kit) -> Board<'_> {
    let mut board = Board::new(kit, kit.chip());
    board.start(ResetReason::PowerOn).unwrap();
    board.receiver().offer(&kit.manifest, &kit.descriptor).unwrap();
    board.flash().unwrap();
    for index in 0.. {
        let Some(chunk) = kit.chunk(index) else { break };
        assert_eq!(board.receiver().handle_chunk(LINK, index, &chunk), ChunkOutcome::Taken);
        board.flash().unwrap();
    }
    board
}

#[test]
fn a_node_with_the_key_installs_what_others_cannot_read() {
    for kit in [Kit::new(Kind::Sealed, IMAGE), whole(Kind::Lzma, Codec::Heatshrink)] {
        let mut board = given(&kit);
        assert_eq!(board.receiver().state(), State::Ready);
        assert_eq!(board.power_on(), End::Done);
        // Peers get it as it came.
        assert!(kit.payload.seal.is_some());
        let slot = kit.setup.layout.slot(Slot::B);
        let len = kit.payload.bytes.len() as u32;
        let staged = board.chip.read(slot.start + slot.len - len.next_multiple_of(4_096), len).unwrap();
        assert_eq!(staged, kit.payload.bytes);
    }
}

#[test]
fn a_node_without_the_key_says_so_before_the_first_byte() {
    let mut kit = Kit::new(Kind::Sealed, IMAGE);
    for keys in [&[][..], &[group_key(2), group_key(3)]] {
        kit.setup.group_keys = GroupKeys::new(keys).unwrap();
        let mut board = Board::new(&kit, kit.chip());
        board.start(ResetReason::PowerOn).unwrap();
        let writes = board.writes;
        let refusal = board.receiver().offer(&kit.manifest, &kit.descriptor).unwrap_err();
        assert_eq!(refusal, Refusal::UnknownGroupKey(group_key(1).id()));
        board.flash().unwrap();
        assert_eq!(board.receiver().state(), State::Refused(refusal));
        assert_eq!(board.writes, writes, "its flash is as it was");
    }
    kit.setup.group_keys = GroupKeys::new(&[group_key(2), group_key(1)]).unwrap();
    assert_eq!(Board::new(&kit, kit.chip()).power_on(), End::Done, "with the key beside the next one");
}

/// A node that loses its key in the middle, and gets it back.
#[test]
fn a_journal_of_a_payload_whose_key_is_gone_waits_for_nothing() {
    let kit = whole(Kind::Lzma, Codec::Lzma);
    let chip = given(&kit).chip.clone();
    let mut without = whole(Kind::Lzma, Codec::Lzma);
    without.setup.group_keys = GroupKeys::default();
    let mut board = Board::new(&without, chip.clone());
    board.start(ResetReason::PowerOn).unwrap();
    let refusal = Refusal::UnknownGroupKey(group_key(1).id());
    assert_eq!(board.receiver().state(), State::Refused(refusal));
    let mut board = Board::new(&kit, chip);
    board.start(ResetReason::PowerOn).unwrap();
    assert_eq!(board.receiver().state(), State::Ready);
}

#[test]
fn a_bit_turned_over_on_the_way_costs_a_block() {
    let kit = whole(Kind::Lzma, Codec::Lzma);
    let mut board = Board::new(&kit, kit.chip());
    board.start(ResetReason::PowerOn).unwrap();
    board.receiver().offer(&kit.manifest, &kit.descriptor).unwrap();
    board.flash().unwrap();
    for index in 0..5 {
        let mut chunk = kit.chunk(index).unwrap();
        if index == 3 {
            chunk[100] ^= 0x10;
        }
        assert_eq!(board.receiver().handle_chunk(LINK, index, &chunk), ChunkOutcome::Taken);
        board.flash().unwrap();
    }
    assert!(
        board.events.contains(&Event::BadBlock { block: Some(0), link: Some(LINK) }),
        "{:?}",
        board.events
    );
    assert_eq!(board.power_on(), End::Done);
}

/// Whoever has an operator's key and not the group's can have nodes receive anything; it does not open, nothing of
/// the block is decoded, and the old image runs on.
#[test]
fn what_was_spoilt_before_it_was_signed_does_not_open() {
    let good = whole(Kind::Lzma, Codec::Lzma).payload;
    let blocks: Vec<&[u8]> = good.bytes.chunks(BLOCK).collect();
    assert!(blocks.len() > 2, "{} blocks", blocks.len());
    let with = |bytes: Vec<u8>| {
        let mut payload = Payload { bytes, ..good.clone() };
        payload.recipe.sizes.packed = payload.bytes.len() as u32;
        payload
    };
    let flipped = |at: usize| {
        let mut bytes = good.bytes.clone();
        bytes[at] ^= 1;
        with(bytes)
    };
    let salt = |salt| Payload {
        seal: good.seal.map(|seal| meshward_core::ota::trust::Seal { salt, ..seal }),
        ..good.clone()
    };
    let rows = [
        ("a bit of the ciphertext", flipped(1_000)),
        ("a bit of a tag", flipped(BLOCK - 1)),
        ("a bit of the last tag", flipped(good.bytes.len() - 1)),
        ("swapped blocks", with([blocks[1], blocks[0], &blocks[2..].concat()].concat())),
        ("cut off between blocks", with(blocks[..blocks.len() - 1].concat())),
        ("cut off in a block", with(good.bytes[..good.bytes.len() - 5].to_vec())),
        ("something behind it", with([&good.bytes[..], &[0; 40]].concat())),
        ("another salt", salt([0; 16])),
    ];
    for (what, payload) in rows {
        let mut kit = Kit::new(Kind::Lzma, IMAGE);
        give(&mut kit, payload);
        let mut board = given(&kit);
        let failed = State::Failed(Failure::Codec(CodecError::Seal));
        assert_eq!(board.receiver().state(), failed, "{what}");
        board.start(ResetReason::PowerOn).unwrap();
        assert_ne!(board.receiver().running(), Some(kit.image()), "{what}");
        assert_eq!(board.receiver().state(), failed, "{what}, after a reset");
        // The right one is taken after it.
        let (manifest, right) = (kit.manifest.clone(), whole(Kind::Lzma, Codec::Lzma).descriptor);
        assert_eq!(board.receiver().offer(&manifest, &right), Ok(()), "{what}");
    }
    assert!(Failure::Codec(CodecError::Seal).to_string().contains("a sealed block does not open"));
}

/// A payload that is the image is written where it belongs when there is no room beside it. A sealed one is not the
/// image: it is staged, or refused.
#[test]
fn a_sealed_image_is_never_written_in_place() {
    let kit = whole(Kind::Full, Codec::None);
    let mut board = given(&kit);
    assert_eq!(board.receiver().state(), State::Ready);
    assert_eq!(board.power_on(), End::Done);
    let kit = whole(Kind::InPlace, Codec::None);
    let mut board = Board::new(&kit, kit.chip());
    board.start(ResetReason::PowerOn).unwrap();
    let refusal = board.receiver().offer(&kit.manifest, &kit.descriptor).unwrap_err();
    assert!(matches!(refusal, Refusal::Staging { .. }), "{refusal}");
}
