//! A signed manifest, opened as a node opens it.

use alloc::vec::Vec;

use ed25519_compact::{KeyPair, Noise, Seed};
use meshward_core::hash::{Md5Sum, Sha256Sum};
use meshward_core::ota::trust::{
    Domain, Key, KeyKind, KeyStore, Manifest, PublicKey, assemble, to_be_signed,
};

/// A node's keys and a manifest that one of them has signed.
pub(crate) fn signed() -> Option<(KeyStore, Vec<u8>)> {
    let pair = KeyPair::from_seed(Seed::new([7; 32]));
    let public = PublicKey::new(*pair.pk)?;
    let manifest = Manifest {
        sha256: Sha256Sum([1; 32]),
        md5: Md5Sum([2; 16]),
        size: 528_944,
        hardware: "ESP32".into(),
        role: "sensor".into(),
        version: "1.4.3".into(),
        sequence: 12,
        protocol: (1, 1),
        not_after: None,
    };
    let content = manifest.encode();
    let signature = pair.sk.sign(to_be_signed(Domain::Manifest, public.id(), &content), None::<Noise>);
    let store = KeyStore::new(&[Key::new(KeyKind::Author, public)]).ok()?;
    Some((store, assemble(public.id(), &content, &signature)))
}

/// Whether the node believes it.
#[inline(never)]
pub(crate) fn believed(store: &KeyStore, bytes: &[u8]) -> bool {
    store.manifest(bytes, None).is_ok_and(|signed| signed.content.sequence == 12)
}
