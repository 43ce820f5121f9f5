//! What must hold for any bytes: one function per fuzz target, shared with the tests that replay the
//! corpus. They panic when it does not hold; nothing else calls them.

use super::{Descriptor, Key, KeyKind, KeyStore, Manifest, Order, PublicKey, Refusal};
use crate::wire::NodeId;

/// A manifest's content, or a whole signed one.
pub fn manifest(input: &[u8]) {
    if let Ok(manifest) = Manifest::decode(input) {
        assert_eq!(manifest.encode(), input);
    }
    assert!(keys().is_none_or(|keys| keys.manifest(input, None).is_err()), "nobody signed this");
}

/// A descriptor's content, or a whole signed one.
pub fn descriptor(input: &[u8]) {
    if let Ok(descriptor) = Descriptor::decode(input) {
        assert_eq!(descriptor.encode(), input);
        assert!(descriptor.chunks() > descriptor.table_chunks());
    }
    assert!(keys().is_none_or(|keys| keys.descriptor(input).is_err()), "nobody signed this");
}

/// An order's content, or a whole signed one; or a key store.
pub fn order(input: &[u8]) {
    if let Ok(order) = Order::decode(input) {
        assert_eq!(order.encode(), input);
    }
    if let Ok(store) = KeyStore::decode(input) {
        assert_eq!(store.encode(), input);
    }
    if let Some(keys) = keys() {
        let refused = keys.order(input, NodeId(1), None);
        assert!(refused.is_err(), "nobody signed this");
        assert_ne!(refused, Err(Refusal::KeyChange), "a key was believed before its signature");
    }
}

/// A store with the key of RFC 8032, §7.1, test 1, whose private half is known but not here.
fn keys() -> Option<KeyStore> {
    let public = PublicKey::new([
        0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e,
        0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
    ])?;
    KeyStore::new(&[Key::new(KeyKind::Operator, public)]).ok()
}
