//! Everything bad that can come: refused with a reason that an operator can read, nothing lost, the old image
//! still boots, and a good update completes afterwards. Each row is also tried without its fault, and then has
//! to be taken: a row that cannot fail is none.

use meshward_core::flash::FlashOp;
use meshward_core::ota::receiver::{ChunkOutcome, Event, State};
use meshward_core::ota::trial::ResetReason;
use meshward_core::ota::trust::{KeyChange, KeyKind, Manifest, Order, Verb};
use meshward_core::time::UnixTime;
use meshward_fleet::payload::{self, Options, Payload};
use meshward_fleet::signing::SigningKey;
use meshward_sim::powercut::{Board, End, Kind, Kit, LINK};

use super::{NOW, deliver, done, receiving, started};

/// Does something to a node, with its fault or without; what the node says against it.
type Row = fn(&mut Board<'_>, &Kit, bool) -> Option<String>;

const ROWS: [(&str, &str, Row); 19] = [
    ("wrong key", "is not known", wrong_key),
    ("wrong kind of key", "is of kind operator, and kind author must sign this", wrong_kind),
    ("revoked key", "has been revoked", revoked_key),
    ("lower sequence", "sequence 1 is not above that of the running image, 2", lower_sequence),
    ("expired", "it was good until 1000 (seconds since 1970), and it is 2000 at least", expired),
    ("wrong chip", "the image's header names another chip", wrong_chip),
    ("wrong hardware", "the image is for other hardware", |board, kit, spoil| {
        offer_of(board, kit, |manifest| {
            manifest.hardware = if spoil { "ESP8266" } else { "ESP32" }.to_owned()
        })
    }),
    ("wrong role", "the image is for another role", |board, kit, spoil| {
        offer_of(board, kit, |manifest| manifest.role = if spoil { "pump" } else { "sensor" }.to_owned())
    }),
    ("wrong size", "the image has 1048576 bytes and the slot holds", |board, kit, spoil| {
        offer_of(board, kit, |manifest| manifest.size = if spoil { 1 << 20 } else { manifest.size })
    }),
    ("wrong protocol", "the image speaks protocol 2 to 3, this node 1 to 1", |board, kit, spoil| {
        offer_of(board, kit, |manifest| {
            (manifest.protocol, manifest.sequence) = (if spoil { (2, 3) } else { (1, 3) }, 3)
        })
    }),
    ("payload too long", "bytes and there is room for", too_long),
    ("messages truncated or bit-flipped", "signature", spoilt_messages),
    ("payload truncated or bit-flipped before it was signed", "payload", spoilt_payload),
    ("chunks truncated or bit-flipped on the way", "BadBlock", spoilt_chunks),
    ("delta for another base", "the payload is a patch of image", other_base),
    ("forged chunks", "charged to link 9", forged_chunks),
    ("replayed order", "counter 5 is not above the last one of that key, 6", replayed_order),
    ("descriptor swapped mid-transfer", "another update", swapped_descriptor),
    ("journal of another image of the same size", "BadBlock", foreign_journal),
];

#[test]
fn is_refused_with_a_reason_and_harms_nobody() {
    for (name, reason, row) in ROWS {
        let kit = Kit::new(Kind::Lzma, 16 * 1024);
        let mut board = started(&kit);
        let said = row(&mut board, &kit, true).unwrap_or_else(|| panic!("{name}: was taken"));
        assert!(said.contains(reason), "{name}: {said}");
        board.start(ResetReason::PowerOn).unwrap();
        assert!(
            board.receiver().running().is_some_and(|image| [kit.old_image(), kit.image()].contains(&image))
        );
        if matches!(board.receiver().state(), State::Failed(_)) {
            board
                .receiver()
                .offer(&kit.manifest, &kit.descriptor)
                .unwrap_or_else(|no| panic!("{name}: {no}"));
            board.flash().unwrap();
        }
        assert_eq!(board.power_on(), End::Done, "{name}: a good update afterwards");
        let mut board = started(&kit);
        assert_eq!(row(&mut board, &kit, false), None, "{name}, without the fault");
    }
}

fn offer(board: &mut Board<'_>, manifest: &[u8], descriptor: &[u8]) -> Option<String> {
    let before = done(board);
    let refusal = board.receiver().offer(manifest, descriptor).err()?;
    board.flash().unwrap();
    assert_eq!(done(board), before, "{refusal}: and something was lost");
    Some(refusal.to_string())
}

/// Chunks are under way when the offer comes.
fn offer_of(board: &mut Board<'_>, kit: &Kit, change: impl FnOnce(&mut Manifest)) -> Option<String> {
    receiving(board, kit, 5);
    offer(board, &kit.sign_manifest(change), &kit.descriptor)
}

fn stranger(kind: KeyKind) -> SigningKey {
    SigningKey::from_seed(kind, [9; 32]).unwrap()
}

fn wrong_key(board: &mut Board<'_>, kit: &Kit, spoil: bool) -> Option<String> {
    receiving(board, kit, 5);
    let author = if spoil { &stranger(KeyKind::Author) } else { &kit.signers.author };
    offer(board, &author.manifest(&kit.image_manifest()).unwrap(), &kit.descriptor)
}

fn wrong_kind(board: &mut Board<'_>, kit: &Kit, spoil: bool) -> Option<String> {
    receiving(board, kit, 5);
    let seed = SigningKey::from_seed(KeyKind::Author, [2; 32]).unwrap();
    assert_eq!(seed.id(), kit.signers.operator.id(), "the operator's key in an author's hand");
    let author = if spoil { &seed } else { &kit.signers.author };
    offer(board, &author.manifest(&kit.image_manifest()).unwrap(), &kit.descriptor)
}

fn revoked_key(board: &mut Board<'_>, kit: &Kit, spoil: bool) -> Option<String> {
    receiving(board, kit, 5);
    let spare = stranger(KeyKind::Operator);
    let mut change = |counter, change| {
        let order =
            Order { counter, verb: Verb::Keys(change), issued_at: None, not_after: None, nodes: None };
        board.receiver().handle_order(NOW, &kit.signers.recovery.order(&order).unwrap()).unwrap();
        board.flash().unwrap();
    };
    change(1, KeyChange::Add { kind: KeyKind::Operator, public: spare.key().public });
    if spoil {
        change(2, KeyChange::Revoke(spare.id()));
    }
    offer(board, &kit.manifest, &spare.descriptor(&kit.payload.descriptor()).unwrap())
}

fn lower_sequence(board: &mut Board<'_>, kit: &Kit, spoil: bool) -> Option<String> {
    board.stop_when_confirmed = true;
    assert_eq!(board.power_on(), End::Done);
    board.stop_when_confirmed = false;
    let other = Kit::variant(Kind::Lzma, 16 * 1024);
    let manifest = other.sign_manifest(|manifest| manifest.sequence = if spoil { 1 } else { 3 });
    assert_ne!(other.image(), kit.image());
    offer(board, &manifest, &other.descriptor)
}

fn expired(board: &mut Board<'_>, kit: &Kit, spoil: bool) -> Option<String> {
    receiving(board, kit, 5);
    let (issued_at, verb) = (Some(UnixTime(2_000)), Verb::Unquarantine(kit.image()));
    let order = Order { counter: 1, verb, issued_at, not_after: None, nodes: None };
    board.receiver().handle_order(NOW, &kit.signers.operator.order(&order).unwrap()).unwrap();
    board.flash().unwrap();
    let not_after = Some(UnixTime(if spoil { 1_000 } else { 3_000 }));
    let manifest = kit.sign_manifest(|manifest| {
        manifest.not_after = not_after;
        manifest.sequence = 3;
    });
    offer(board, &manifest, &kit.descriptor)
}

fn wrong_chip(board: &mut Board<'_>, _: &Kit, spoil: bool) -> Option<String> {
    let mut other = Kit::variant(Kind::Lzma, 16 * 1024);
    other.new[12] = if spoil { 9 } else { other.new[12] };
    other.payload = payload::build(&other.new, None, &Options::default()).unwrap();
    received(board, other)
}

/// Receives a payload, signed as it is, and unpacks it; why that failed.
fn received(board: &mut Board<'_>, mut kit: Kit) -> Option<String> {
    (kit.manifest, kit.descriptor) = (kit.sign_manifest(|_| {}), kit.sign_descriptor(&kit.payload));
    deliver(board, &kit);
    let state = board.receiver().state();
    (state != State::Ready).then(|| state.to_string())
}

fn too_long(board: &mut Board<'_>, kit: &Kit, spoil: bool) -> Option<String> {
    receiving(board, kit, 5);
    let mut payload = kit.payload.clone();
    payload.bytes.resize(if spoil { 30_000 } else { 15_000 }, 7);
    payload.recipe.sizes.packed = payload.bytes.len() as u32;
    let manifest = kit.sign_manifest(|manifest| manifest.sequence = 3);
    offer(board, &manifest, &kit.sign_descriptor(&payload))
}

/// Each message, cut off at and flipped in every seventh byte.
fn spoilt_messages(board: &mut Board<'_>, kit: &Kit, spoil: bool) -> Option<String> {
    receiving(board, kit, 5);
    let mut said = offer(board, &kit.manifest, &kit.descriptor);
    for (own, is_manifest) in [(&kit.manifest, true), (&kit.descriptor, false)] {
        for at in (0..own.len()).step_by(7).filter(|_| spoil) {
            let mut flipped = own.clone();
            flipped[at] ^= 1 << (at % 8);
            for bytes in [&own[..at], &flipped[..]] {
                let (manifest, descriptor) =
                    if is_manifest { (bytes, &kit.descriptor[..]) } else { (&kit.manifest[..], bytes) };
                said = Some(offer(board, manifest, descriptor).unwrap_or_else(|| panic!("byte {at}")));
                assert!(said.as_ref().is_some_and(|text| text.len() > 15), "{said:?}");
            }
        }
    }
    said
}

fn flip(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1 << (at % 8);
    bytes
}

/// Whatever stands in a signed payload: no other image than the manifest's comes out.
fn spoilt_payload(board: &mut Board<'_>, kit: &Kit, spoil: bool) -> Option<String> {
    let whole = &kit.payload;
    let spoilt = |bytes: Vec<u8>| {
        let mut payload = Payload { bytes, ..whole.clone() };
        payload.recipe.sizes.packed = payload.bytes.len() as u32;
        payload
    };
    let len = whole.bytes.len();
    let at = (6..len).step_by(len / 12);
    let payloads = at.flat_map(|at| [spoilt(flip(&whole.bytes, at)), spoilt(whole.bytes[..at].to_vec())]);
    let mut said = None;
    for payload in payloads.filter(|_| spoil) {
        let mut other = Kit::new(Kind::Lzma, 16 * 1024);
        other.payload = payload;
        said = Some(received(board, other).unwrap_or_else(|| panic!("another payload makes the same image")));
        let bad = said.as_deref().unwrap_or_default();
        assert!(bad.contains("does not unpack") || bad.contains("makes another image"), "{bad}");
    }
    if spoil { said } else { received(board, Kit::new(Kind::Lzma, 16 * 1024)) }
}

/// One chunk, flipped in every hundredth byte or too short.
fn spoilt_chunks(board: &mut Board<'_>, kit: &Kit, spoil: bool) -> Option<String> {
    receiving(board, kit, 4);
    let chunk = kit.chunk(4).unwrap();
    let mut said = None;
    for at in (0..chunk.len()).step_by(100).filter(|_| spoil) {
        assert_eq!(board.receiver().handle_chunk(LINK, 4, &chunk[..at]), ChunkOutcome::Malformed);
        for index in 1..4 {
            board.receiver().handle_chunk(LINK, index, &kit.chunk(index).unwrap());
            board.flash().unwrap();
        }
        assert_eq!(board.receiver().handle_chunk(LINK, 4, &flip(&chunk, at)), ChunkOutcome::Taken);
        board.flash().unwrap();
        assert!(matches!(done(board), Some((1, _))), "the block's chunks are wanted again");
        said = board.events.iter().find(|event| matches!(event, Event::BadBlock { .. }));
    }
    said.map(|event| format!("{event:?}")).or_else(|| {
        assert_eq!(board.receiver().handle_chunk(LINK, 4, &chunk), ChunkOutcome::Taken);
        board.flash().unwrap();
        board.events.iter().find(|event| matches!(event, Event::BadBlock { .. })).map(|e| format!("{e:?}"))
    })
}

fn other_base(board: &mut Board<'_>, kit: &Kit, spoil: bool) -> Option<String> {
    receiving(board, kit, 5);
    let base = if spoil { vec![9; 5_000] } else { kit.old.clone() };
    let patch = payload::build(&kit.new, Some(&base), &Options::default()).unwrap();
    let manifest = kit.sign_manifest(|manifest| manifest.sequence = 3);
    offer(board, &manifest, &kit.sign_descriptor(&patch))
}

/// A neighbour puts its own among the chunks; at the third bad block it stands there alone.
fn forged_chunks(board: &mut Board<'_>, kit: &Kit, spoil: bool) -> Option<String> {
    use meshward_core::mesh::LinkId;
    receiving(board, kit, 1);
    let forged = vec![0x55; 1_024];
    for _ in 0..3 {
        for index in (1..5).rev() {
            let (link, chunk) = if spoil && index > 1 {
                (LinkId(9), forged.clone())
            } else {
                (LINK, kit.chunk(index).unwrap())
            };
            board.receiver().handle_chunk(link, index, &chunk);
            board.flash().unwrap();
        }
        // Over the one link it is taken from now.
        board.receiver().handle_chunk(LinkId(9), 1, &forged).eq(&ChunkOutcome::Taken).then(|| board.flash());
    }
    let charged = board.receiver().charges(LinkId(9));
    assert_eq!(board.receiver().charges(LINK), 0, "the honest one is not charged");
    (charged > 0).then(|| format!("a bad block is charged to {}", LinkId(9)))
}

fn replayed_order(board: &mut Board<'_>, kit: &Kit, spoil: bool) -> Option<String> {
    receiving(board, kit, 3);
    let mut order = |counter, verb| {
        board.start(ResetReason::PowerOn).unwrap();
        let outcome = board.receiver().handle_order(NOW, &kit.order(counter, verb));
        board.flash().unwrap();
        outcome.err().map(|refusal| refusal.to_string())
    };
    assert_eq!(order(5, Verb::Pause(kit.image())), None);
    assert_eq!(order(6, Verb::Resume(kit.image())), None);
    let said = order(if spoil { 5 } else { 7 }, Verb::Pause(kit.image()));
    assert_eq!(board.receiver().state() == State::Paused, !spoil);
    said
}

fn swapped_descriptor(board: &mut Board<'_>, kit: &Kit, spoil: bool) -> Option<String> {
    receiving(board, kit, 5);
    let patch = payload::build(&kit.new, Some(&kit.old), &Options::default()).unwrap();
    let descriptor = if spoil { kit.sign_descriptor(&patch) } else { kit.descriptor.clone() };
    offer(board, &kit.manifest, &descriptor)
}

/// Somebody's journal, properly signed, that claims all chunks of an image which this node has never seen.
fn foreign_journal(board: &mut Board<'_>, kit: &Kit, spoil: bool) -> Option<String> {
    let other = Kit::variant(Kind::Lzma, 16 * 1024);
    assert_eq!(other.new.len(), kit.new.len());
    let source = if spoil { &other } else { kit };
    let mut theirs = started(source);
    deliver(&mut theirs, source);
    deliver(board, kit);
    let [journal, _] = kit.setup.books.journal;
    for address in (journal.start..journal.start + journal.len).step_by(4_096) {
        let data = theirs.chip.read(address, 4_096).unwrap();
        board.chip.execute(&FlashOp::Erase { address }).unwrap();
        board.chip.execute(&FlashOp::Program { address, data }).unwrap();
    }
    board.events.clear();
    board.start(ResetReason::PowerOn).unwrap();
    let said = board.events.iter().find(|event| matches!(event, Event::BadBlock { .. }));
    let said = said.map(|event| format!("{event:?}"));
    if spoil {
        // The block table is not the journal's; when that has come, no block is.
        assert!(
            board.receiver().state() != State::Ready && board.receiver().running() == Some(kit.old_image())
        );
        assert_eq!(board.receiver().handle_chunk(LINK, 0, &other.chunk(0).unwrap()), ChunkOutcome::Taken);
        board.flash().unwrap();
        assert!(matches!(done(board), Some((1, _))), "nothing of it counts: {:?}", board.receiver().state());
        let newer = kit.sign_manifest(|manifest| manifest.sequence = 3);
        board.receiver().offer(&newer, &kit.descriptor).unwrap();
        board.flash().unwrap();
    }
    said
}
