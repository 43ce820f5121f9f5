//! Signed messages: what is believed, what is refused and why, and that nothing else is.

use coset::{CborSerializable as _, CoseSign1, RegisteredLabelWithPrivate, iana};
use ed25519_compact::{KeyPair, Noise, Seed};
use meshward_core::codec::{Codec, Recipe, Sizes};
use meshward_core::hash::{Md5Sum, Sha256Sum};
use meshward_core::ota::trust::{
    Board, Descriptor, Domain, KEYS_MAX, Key, KeyChange, KeyId, KeyKind, KeyStore, Manifest, Order, Policy,
    PublicKey, Refusal, Running, SIGNED_MAX, Signed, Verb, assemble, to_be_signed,
};
use meshward_core::time::UnixTime;
use meshward_core::wire::NodeId;
use proptest::prelude::*;

const NODE: NodeId = NodeId(7);

pub(crate) fn pair(seed: u8) -> KeyPair {
    KeyPair::from_seed(Seed::new([seed; 32]))
}

fn public(seed: u8) -> PublicKey {
    PublicKey::new(*pair(seed).pk).unwrap()
}

pub(crate) fn sign(seed: u8, domain: Domain, content: &[u8]) -> Vec<u8> {
    let id = public(seed).id();
    let signature = pair(seed).sk.sign(to_be_signed(domain, id, content), None::<Noise>);
    assemble(id, content, &signature)
}

/// Author 1, operator 2, recovery 3 and 4; operator 5 is revoked.
pub(crate) fn store() -> KeyStore {
    let key = |seed, kind| Key::new(kind, public(seed));
    KeyStore::new(&[
        key(1, KeyKind::Author),
        key(2, KeyKind::Operator),
        key(3, KeyKind::Recovery),
        key(4, KeyKind::Recovery),
        Key { revoked: true, ..key(5, KeyKind::Operator) },
    ])
    .unwrap()
}

fn manifest() -> Manifest {
    Manifest {
        sha256: Sha256Sum::of(b"image"),
        md5: Md5Sum::of(b"image"),
        size: 5,
        hardware: "ESP32".to_owned(),
        role: "sensor".to_owned(),
        version: "1.4.3".to_owned(),
        sequence: 12,
        protocol: (1, 2),
        not_after: Some(UnixTime(2_000)),
    }
}

fn descriptor() -> Descriptor {
    Descriptor {
        image: Sha256Sum::of(b"image"),
        base: Some(Sha256Sum::of(b"base")),
        codec: Codec::Lzma,
        sizes: Sizes { packed: 9_000, plain: 20_000 },
        sha256: Sha256Sum::of(b"payload"),
        chunk_size: 1_024,
        table: Sha256Sum::of(b"table"),
        seal: None,
    }
}

fn order(counter: u64, verb: Verb) -> Order {
    Order { counter, verb, issued_at: Some(UnixTime(900)), not_after: Some(UnixTime(1_000)), nodes: None }
}

fn activate(counter: u64) -> Order {
    order(counter, Verb::Activate(Sha256Sum::of(b"image")))
}

fn signed_order(seed: u8, order: &Order) -> Vec<u8> {
    sign(seed, Domain::Order, &order.encode())
}

#[test]
fn what_the_right_key_signed_is_believed() {
    let store = store();
    let bytes = sign(1, Domain::Manifest, &manifest().encode());
    let expected = Signed { key: public(1).id(), content: manifest() };
    assert_eq!(store.manifest(&bytes, Some(UnixTime(2_000))), Ok(expected));
    let bytes = sign(2, Domain::Descriptor, &descriptor().encode());
    assert_eq!(store.descriptor(&bytes).map(|signed| signed.content), Ok(descriptor()));
    let order = Order { nodes: Some(vec![3, 7, 9]), ..activate(1) };
    assert_eq!(store.order(&signed_order(2, &order), NODE, None).map(|signed| signed.content), Ok(order));
    let most = Order { nodes: Some((1 << 30..).take(64).collect()), ..activate(u64::MAX) };
    assert!(signed_order(2, &most).len() <= SIGNED_MAX);
}

/// A general COSE library reads what we write, and finds our signature right.
#[test]
fn messages_are_cose() {
    let bytes = sign(1, Domain::Manifest, &manifest().encode());
    let message = CoseSign1::from_slice(&bytes).unwrap();
    let algorithm = message.protected.header.alg.clone();
    assert_eq!(algorithm, Some(RegisteredLabelWithPrivate::Assigned(iana::Algorithm::EdDSA)));
    assert_eq!(message.protected.header.key_id, public(1).id().0);
    assert_eq!(message.payload.as_deref(), Some(&manifest().encode()[..]));
    let verify = |signature: &[u8], signed: &[u8]| {
        pair(1).pk.verify(signed, &ed25519_compact::Signature::from_slice(signature).unwrap())
    };
    assert_eq!(message.verify_signature(Domain::Manifest.external_data(), verify), Ok(()));
    assert!(message.verify_signature(Domain::Order.external_data(), verify).is_err());
    assert_eq!(message.to_vec().unwrap(), bytes);
}

#[test]
fn wrong_keys_are_refused_by_name() {
    let store = store();
    let content = manifest().encode();
    let open = |seed, domain| store.manifest(&sign(seed, domain, &content), None).unwrap_err();
    let id = |seed| public(seed).id();
    let kind = |seed, has, needs| Refusal::WrongKind { key: id(seed), has, needs };
    assert_eq!(open(9, Domain::Manifest), Refusal::UnknownKey(id(9)));
    assert_eq!(open(5, Domain::Manifest), Refusal::RevokedKey(id(5)));
    assert_eq!(open(2, Domain::Manifest), kind(2, KeyKind::Operator, KeyKind::Author));
    assert_eq!(open(3, Domain::Manifest), kind(3, KeyKind::Recovery, KeyKind::Author));
    assert_eq!(open(1, Domain::Descriptor), Refusal::BadSignature(id(1)), "signed as something else");
    let by_author = sign(1, Domain::Descriptor, &descriptor().encode());
    assert_eq!(store.descriptor(&by_author), Err(kind(1, KeyKind::Author, KeyKind::Operator)));
    let revoke = order(1, Verb::Keys(KeyChange::Revoke(id(1))));
    for (seed, has, order, needs) in [
        (1, KeyKind::Author, activate(1), KeyKind::Operator),
        (3, KeyKind::Recovery, activate(1), KeyKind::Operator),
        (2, KeyKind::Operator, revoke, KeyKind::Recovery),
    ] {
        let refusal = store.order(&signed_order(seed, &order), NODE, None).unwrap_err();
        assert_eq!(refusal, kind(seed, has, needs));
        assert_eq!(refusal.code(), 6);
    }
    // The name of a key that is known over the signature of one that is not.
    let forged =
        assemble(id(1), &content, &pair(9).sk.sign(to_be_signed(Domain::Manifest, id(1), &content), None));
    assert_eq!(store.manifest(&forged, None), Err(Refusal::BadSignature(id(1))));
}

#[test]
fn images_that_a_node_must_not_take_are_refused() {
    let board = Board { hardware: "ESP32", role: "sensor", slot: 100, protocol: (2, 3), sequence: 11 };
    let check = |manifest: Manifest, expected: Result<(), Refusal>| {
        assert_eq!(manifest.admit(&board), expected, "{manifest:?}");
    };
    let sequence = |offered| Err(Refusal::Sequence { offered, running: 11 });
    let protocol = |image| Err(Refusal::Protocol { image, node: (2, 3) });
    check(manifest(), Ok(()));
    check(Manifest { hardware: "ESP8266".to_owned(), ..manifest() }, Err(Refusal::Hardware));
    check(Manifest { role: "Sensor".to_owned(), ..manifest() }, Err(Refusal::Role));
    check(Manifest { size: 101, ..manifest() }, Err(Refusal::TooLarge { size: 101, slot: 100 }));
    check(Manifest { sequence: 10, ..manifest() }, sequence(10));
    check(Manifest { sequence: 11, ..manifest() }, sequence(11));
    check(Manifest { protocol: (0, 1), ..manifest() }, protocol((0, 1)));
    check(Manifest { protocol: (4, 9), ..manifest() }, protocol((4, 9)));
    let bytes = sign(1, Domain::Manifest, &manifest().encode());
    let expired = Refusal::Expired { not_after: 2_000, now: 2_001 };
    assert_eq!(store().manifest(&bytes, Some(UnixTime(2_001))), Err(expired));
    assert!(store().manifest(&bytes, None).is_ok(), "without a clock the sequence protects");
}

#[test]
fn payloads_that_do_not_fit_are_refused() {
    let running = Running { sha256: Sha256Sum::of(b"base"), size: 77 };
    let recipe = |descriptor: Descriptor, running, staging| descriptor.recipe(&manifest(), running, staging);
    let good = Recipe { codec: Codec::Lzma, sizes: descriptor().sizes, image_len: 5, base_len: Some(77) };
    assert_eq!(recipe(descriptor(), Some(running), 9_000), Ok(good));
    let other = Running { sha256: Sha256Sum::of(b"other"), ..running };
    let other_base = Err(Refusal::OtherBase(running.sha256));
    assert_eq!(recipe(descriptor(), Some(other), 9_000), other_base);
    assert_eq!(recipe(descriptor(), None, 9_000), other_base);
    let staging = Refusal::Staging { size: 9_000, staging: 8_999 };
    assert_eq!(recipe(descriptor(), Some(running), 8_999), Err(staging));
    let image = Sha256Sum::of(b"another image");
    let of_other = Descriptor { image, ..descriptor() };
    assert_eq!(recipe(of_other, Some(running), 9_000), Err(Refusal::OtherImage(image)));
    let whole = Descriptor { base: None, ..descriptor() };
    assert_eq!(recipe(whole, None, 9_000), Err(Refusal::Malformed), "20000 bytes are not an image of 5");
    assert_eq!((descriptor().table_len(), descriptor().table_chunks(), descriptor().chunks()), (48, 1, 10));
}

#[test]
fn an_order_counts_once_and_in_time() {
    let mut store = store();
    let first = store.order(&signed_order(2, &activate(5)), NODE, None).unwrap();
    store.obeyed(&first).unwrap();
    for counter in [0, 4, 5] {
        let outcome = store.order(&signed_order(2, &activate(counter)), NODE, None);
        assert_eq!(outcome, Err(Refusal::Replayed { counter, last: 5 }));
    }
    let next = signed_order(2, &activate(6));
    assert!(store.order(&next, NODE, Some(UnixTime(1_000))).is_ok());
    let expired = Refusal::Expired { not_after: 1_000, now: 1_001 };
    assert_eq!(store.order(&next, NODE, Some(UnixTime(1_001))), Err(expired));
    // An order says itself how late it is at least.
    let stale = Order { issued_at: Some(UnixTime(1_001)), ..activate(6) };
    assert_eq!(store.order(&signed_order(2, &stale), NODE, None), Err(expired));
    let others = Order { nodes: Some(vec![6, 8]), ..activate(6) };
    assert_eq!(store.order(&signed_order(2, &others), NODE, None), Err(Refusal::OtherNodes));
    // What a node remembers survives its flash.
    let kept = KeyStore::decode(&store.encode()).unwrap();
    assert_eq!(kept, store);
    assert!(matches!(kept.order(&signed_order(2, &activate(5)), NODE, None), Err(Refusal::Replayed { .. })));
}

/// A verb of each kind of signer, or the one that sets the time.
fn verbs() -> impl Strategy<Value = Verb> {
    let image = Sha256Sum::of(b"image");
    prop_oneof![
        Just(Verb::Activate(image)),
        Just(Verb::Unquarantine(image)),
        Just(Verb::Keys(KeyChange::Revoke(public(2).id()))),
        any::<u64>().prop_map(|seconds| Verb::Time(UnixTime(seconds))),
    ]
}

proptest! {
    /// Whatever is ordered, only a recovery key moves a node's time back, and it can always.
    #[test]
    fn the_time_goes_back_only_by_a_recovery_key(
        known in any::<Option<u64>>(),
        orders in prop::collection::vec((verbs(), any::<Option<u64>>()), 1..20),
        right in any::<u64>(),
    ) {
        let mut time = known.map(UnixTime);
        for (verb, issued_at) in orders {
            let order = Order { issued_at: issued_at.map(UnixTime), not_after: None, ..order(1, verb) };
            prop_assert_eq!(Order::decode(&order.encode()), Ok(order.clone()));
            let after = order.time_after(time);
            match verb {
                Verb::Time(to) => {
                    prop_assert_eq!(verb.needs(), KeyKind::Recovery);
                    prop_assert_eq!(after, Some(to));
                }
                _ => prop_assert_eq!(after, time.max(order.issued_at)),
            }
            time = after;
        }
        let order = Order { not_after: None, ..order(9, Verb::Time(UnixTime(right))) };
        let believed = store().order(&signed_order(3, &order), NODE, time).map(|signed| signed.content);
        prop_assert_eq!(believed, Ok(order.clone()), "the time that is wrong cannot refuse it");
        prop_assert_eq!(order.time_after(time), Some(UnixTime(right)));
        let by_operator = store().order(&signed_order(2, &order), NODE, time);
        let wrong = Refusal::WrongKind { key: public(2).id(), has: KeyKind::Operator, needs: KeyKind::Recovery };
        prop_assert_eq!(by_operator, Err(wrong));
    }
}

#[test]
fn a_policy_is_an_operators_and_within_bounds() {
    let store = store();
    let policy = Policy { updates: false, soak: 86_400, limit: 60 };
    let open = |seed, policy| {
        let order = Order { nodes: Some(vec![7]), ..order(1, Verb::Policy(policy)) };
        store.order(&signed_order(seed, &order), NODE, None).map(|signed| signed.content.verb)
    };
    assert_eq!(open(2, policy), Ok(Verb::Policy(policy)));
    assert!(matches!(open(3, policy), Err(Refusal::WrongKind { .. })));
    for odd in [
        Policy { soak: 86_401, ..policy },
        Policy { limit: 59, ..policy },
        Policy { limit: 86_401, ..policy },
    ] {
        assert_eq!(open(2, odd), Err(Refusal::Malformed), "{odd:?}");
    }
}

#[test]
fn a_recovery_key_changes_keys_and_never_the_last_one() {
    let mut store = store();
    let mut change = |seed, counter, change| {
        let order = order(counter, Verb::Keys(change));
        let opened = store.order(&signed_order(seed, &order), NODE, None)?;
        store.obeyed(&opened)?;
        Ok(store.clone())
    };
    let add = |seed, kind| KeyChange::Add { kind, public: public(seed) };
    let revoke = |seed| KeyChange::Revoke(public(seed).id());
    let now = change(3, 1, add(6, KeyKind::Operator)).unwrap();
    assert!(now.order(&signed_order(6, &activate(1)), NODE, None).is_ok());
    let now = change(3, 2, revoke(2)).unwrap();
    let refused = now.order(&signed_order(2, &activate(1)), NODE, None);
    assert_eq!(refused, Err(Refusal::RevokedKey(public(2).id())));
    assert_eq!(change(3, 3, add(2, KeyKind::Operator)), Err(Refusal::KeyChange), "a revoked key stays so");
    assert_eq!(change(3, 4, revoke(9)), Err(Refusal::KeyChange), "nobody knows it");
    assert_eq!(change(3, 4, revoke(9)), Err(Refusal::Replayed { counter: 4, last: 4 }));
    assert!(change(4, 1, revoke(3)).is_ok());
    assert_eq!(change(4, 2, revoke(4)), Err(Refusal::KeyChange), "the last recovery key");
    assert!(matches!(change(3, 9, revoke(1)), Err(Refusal::RevokedKey(_))));
    for seed in 20..=30 {
        assert_eq!(change(4, u64::from(seed), add(seed, KeyKind::Author)).is_ok(), seed < 30, "key {seed}");
    }
    assert_eq!(store.keys().count(), KEYS_MAX);
}

#[test]
fn keys_that_are_none_are_refused() {
    assert_eq!(PublicKey::new([0; 32]), None, "a point of small order");
    assert_eq!(PublicKey::new([0xFF; 32]), None, "no point");
    let twice = [Key::new(KeyKind::Author, public(1)), Key::new(KeyKind::Operator, public(1))];
    assert_eq!(KeyStore::new(&twice), Err(Refusal::KeyChange));
    let mut damaged = store().encode();
    damaged[20] ^= 1;
    assert!(KeyStore::decode(&damaged).is_err());
    let encoded = store().encode();
    for len in 0..encoded.len() {
        assert!(KeyStore::decode(&encoded[..len]).is_err(), "{len} bytes");
    }
}

/// Every message: cut off at every byte, each bit flipped, and with something behind it.
#[test]
fn nothing_but_the_very_bytes_is_believed() {
    let store = store();
    type Open = fn(&KeyStore, &[u8]) -> Option<Refusal>;
    let messages: [(Vec<u8>, Open); 3] = [
        (sign(1, Domain::Manifest, &manifest().encode()), |store, bytes| store.manifest(bytes, None).err()),
        (sign(2, Domain::Descriptor, &descriptor().encode()), |store, bytes| store.descriptor(bytes).err()),
        (signed_order(2, &activate(1)), |store, bytes| store.order(bytes, NODE, None).err()),
    ];
    for (bytes, refusal) in messages {
        assert_eq!(refusal(&store, &bytes), None);
        for len in 0..bytes.len() {
            assert_eq!(refusal(&store, &bytes[..len]), Some(Refusal::Truncated), "{len} bytes");
        }
        for bit in (0..bytes.len() * 8).step_by(3) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let refused = refusal(&store, &flipped).unwrap_or_else(|| panic!("bit {bit} does not count"));
            assert!(!refused.to_string().is_empty() && refused.code() > 0);
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(refusal(&store, &longer), Some(Refusal::Malformed));
    }
}

/// Contents that the right key signed and that make no sense all the same.
#[test]
fn signed_nonsense_is_refused() {
    let store = store();
    let manifest_of = |content: &[u8]| store.manifest(&sign(1, Domain::Manifest, content), None).err();
    assert_eq!(manifest_of(&[]), Some(Refusal::Truncated));
    assert_eq!(manifest_of(&[0xA1, 0x00, 0x07]), Some(Refusal::Format(7)));
    assert_eq!(manifest_of(&[0xA1, 0x01, 0x01]), Some(Refusal::Malformed), "no format");
    assert_eq!(manifest_of(&[0xBF, 0x00, 0x01, 0xFF]), Some(Refusal::Malformed), "indefinite length");
    let good = manifest().encode();
    for len in 0..good.len() {
        assert_eq!(manifest_of(&good[..len]), Some(Refusal::Truncated), "{len} bytes");
    }
    // The same number in a longer form.
    let mut longer = good.clone();
    longer.splice(1..3, [0x18, 0x00, 0x01]);
    assert_eq!(manifest_of(&longer), Some(Refusal::Malformed));
    let odd = [
        Manifest { size: 0, ..manifest() },
        Manifest { protocol: (3, 2), ..manifest() },
        Manifest { role: String::new(), ..manifest() },
        Manifest { version: "v".repeat(65), ..manifest() },
    ];
    for manifest in odd {
        assert_eq!(manifest_of(&manifest.encode()), Some(Refusal::Malformed), "{manifest:?}");
    }
    let bomb = Sizes { packed: 9, plain: (16 << 20) + 1 };
    let odd = [
        Descriptor { sizes: bomb, ..descriptor() },
        Descriptor { sizes: Sizes { packed: 0, plain: 1 }, ..descriptor() },
        Descriptor { codec: Codec::None, ..descriptor() },
        Descriptor { chunk_size: 0, ..descriptor() },
        Descriptor { chunk_size: 1_022, ..descriptor() },
        Descriptor { chunk_size: 1_404, ..descriptor() },
    ];
    for descriptor in odd {
        let bytes = sign(2, Domain::Descriptor, &descriptor.encode());
        assert_eq!(store.descriptor(&bytes), Err(Refusal::Malformed), "{descriptor:?}");
    }
    for nodes in [vec![], vec![2, 1], vec![1, 1], (0..65).collect()] {
        let order = Order { nodes: Some(nodes), ..activate(1) };
        assert_eq!(store.order(&signed_order(2, &order), NODE, None), Err(Refusal::Malformed), "{order:?}");
    }
    assert_eq!(KeyId([0xAB; 8]).to_string(), "abababababababab");
}
