// What signs and packs a release in the examples. On a gateway that is `meshward-fleet` (`payload::build`,
// `signing::SigningKey`), and on the command line `meshward firmware`.
//
// (Not `//!`, because the doc tests of `meshward_core::guide` include this file.)

use std::io::{self, Write as _};

use ed25519_compact::{KeyPair, Noise, Seed};
use lzma_rust2::{EncodeMode, LzmaOptions, LzmaWriter, MfType};
use meshward_core::codec::{Codec, Sizes};
use meshward_core::hash::{BLOCK, BlockHash, Md5Sum, Sha256Sum};
use meshward_core::ota::exchange::Offering;
use meshward_core::ota::trust::{
    Descriptor, Domain, Key, KeyKind, KeyStore, Manifest, Order, PublicKey, Verb, assemble, to_be_signed,
};

/// The key of this kind. Yours are random, and an author's is never on a gateway.
fn pair(kind: KeyKind) -> KeyPair {
    KeyPair::from_seed(Seed::new([kind.number(); 32]))
}

fn public(kind: KeyKind) -> PublicKey {
    PublicKey::new(*pair(kind).pk).unwrap_or_else(|| unreachable!("no weak key has such a seed"))
}

fn sign(kind: KeyKind, domain: Domain, content: &[u8]) -> Vec<u8> {
    let key = public(kind).id();
    let signature = pair(kind).sk.sign(to_be_signed(domain, key, content), None::<Noise>);
    assemble(key, content, &signature)
}

/// What a factory gives to each node: whom it believes.
pub(crate) fn keys() -> KeyStore {
    let kinds = [KeyKind::Author, KeyKind::Operator, KeyKind::Recovery];
    let keys = kinds.map(|kind| Key::new(kind, public(kind)));
    KeyStore::new(&keys).unwrap_or_else(|refusal| unreachable!("one key of each kind: {refusal}"))
}

/// Raw LZMA1 with the parameters that nodes decode.
fn lzma(plain: &[u8]) -> io::Result<Vec<u8>> {
    let options = LzmaOptions::new(4_096, 0, 0, 0, EncodeMode::Normal, 64, MfType::Bt4, 64);
    let mut writer = LzmaWriter::new_no_header(Vec::new(), &options, false)?;
    writer.write_all(plain)?;
    writer.finish()
}

/// An image for the sensors, compressed, with the signatures of its author and of an operator.
pub(crate) fn offering(image: &[u8], sequence: u64) -> io::Result<Offering> {
    let payload = lzma(image)?;
    let table: Vec<u8> = payload.chunks(BLOCK).flat_map(|block| BlockHash::of(block).0).collect();
    let manifest = Manifest {
        sha256: Sha256Sum::of(image),
        md5: Md5Sum::of(image),
        size: image.len() as u32,
        hardware: "ESP32".to_owned(),
        role: "sensor".to_owned(),
        version: format!("1.{sequence}"),
        sequence,
        protocol: (1, 1),
        not_after: None,
    };
    let descriptor = Descriptor {
        image: manifest.sha256,
        base: None,
        codec: Codec::Lzma,
        sizes: Sizes { packed: payload.len() as u32, plain: image.len() as u32 },
        sha256: Sha256Sum::of(&payload),
        chunk_size: 1_024,
        table: Sha256Sum::of(&table),
        seal: None,
    };
    Ok(Offering {
        manifest: sign(KeyKind::Author, Domain::Manifest, &manifest.encode()),
        descriptor: sign(KeyKind::Operator, Domain::Descriptor, &descriptor.encode()),
        table,
        payload,
    })
}

/// The operator's order to start an image. The counter is above that of the key's last order.
pub(crate) fn activate(image: &[u8], counter: u64) -> Vec<u8> {
    let verb = Verb::Activate(Sha256Sum::of(image));
    let order = Order { counter, verb, issued_at: None, not_after: None, nodes: None };
    sign(KeyKind::Operator, Domain::Order, &order.encode())
}
