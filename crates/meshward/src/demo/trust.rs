//! Whom the nodes of the demonstration believe: keys that are made for one run and kept nowhere.

use meshward_core::ota::trust::{KeyKind, KeyStore, Manifest};
use meshward_fleet::firmware::ImageInfo;
use meshward_fleet::signing::SigningKey;

use crate::firmware::keygen;

/// See the module's page.
pub(super) struct Signers {
    author: SigningKey,
    pub(super) operator: SigningKey,
}

impl Signers {
    pub(super) fn new() -> anyhow::Result<Self> {
        let key = |kind| anyhow::Ok(SigningKey::from_seed(kind, keygen::random()?)?);
        Ok(Self { author: key(KeyKind::Author)?, operator: key(KeyKind::Operator)? })
    }

    /// What nodes are given.
    pub(super) fn keys(&self) -> anyhow::Result<KeyStore> {
        Ok(KeyStore::new(&[self.author.key(), self.operator.key()])?)
    }

    /// The signed manifest of an image, for the nodes of the demonstration.
    pub(super) fn manifest(&self, image: &[u8], hardware: &str, role: &str) -> anyhow::Result<Vec<u8>> {
        let info = ImageInfo::of(image);
        let manifest = Manifest {
            sha256: meshward_core::hash::Sha256Sum(info.sha256),
            md5: info.md5,
            size: u32::try_from(info.size)?,
            hardware: hardware.to_owned(),
            role: role.to_owned(),
            version: "demo".to_owned(),
            sequence: 1,
            protocol: (1, 1),
            not_after: None,
        };
        Ok(self.author.manifest(&manifest)?)
    }
}
