//! Whom the nodes of the demonstration believe: keys that are made for one run and kept nowhere.

use meshward_core::ota::trust::{KeyKind, KeyStore, Manifest};
use meshward_fleet::firmware::ImageInfo;
use meshward_fleet::signing::SigningKey;

use super::ROLE;
use super::mesh::HARDWARE;
use crate::firmware::keygen;

/// See the module's page.
pub(super) struct Signers {
    pub(super) author: Author,
    pub(super) operator: SigningKey,
}

/// Who says what an image is.
pub(super) struct Author(SigningKey);

impl Signers {
    pub(super) fn new() -> anyhow::Result<Self> {
        let key = |kind| anyhow::Ok(SigningKey::from_seed(kind, keygen::random()?)?);
        Ok(Self { author: Author(key(KeyKind::Author)?), operator: key(KeyKind::Operator)? })
    }

    /// What nodes are given.
    pub(super) fn keys(&self) -> anyhow::Result<KeyStore> {
        Ok(KeyStore::new(&[self.author.0.key(), self.operator.key()])?)
    }
}

impl Author {
    /// The signed manifest of an image, for the nodes of the demonstration: its version, and its place in the order of
    /// releases, which nodes go forward in.
    pub(super) fn manifest(&self, image: &[u8], (version, sequence): (&str, u64)) -> anyhow::Result<Vec<u8>> {
        let info = ImageInfo::of(image);
        let manifest = Manifest {
            sha256: meshward_core::hash::Sha256Sum(info.sha256),
            md5: info.md5,
            size: u32::try_from(info.size)?,
            hardware: HARDWARE.to_owned(),
            role: ROLE.to_owned(),
            version: version.to_owned(),
            sequence,
            protocol: (1, 1),
            not_after: None,
        };
        Ok(self.0.manifest(&manifest)?)
    }
}
