//! Image exactness: a host runs what it left the factory with, or exactly the bytes that were offered to its
//! role.

use std::collections::BTreeMap;

use meshward_core::ota::Md5Sum;

use super::{Checker, Findings};
use crate::image::content;
use crate::world::{Happening, Record, World};

/// See the module's page.
#[derive(Debug, Default)]
pub struct Images {
    /// Images that were offered, and to which role.
    offered: BTreeMap<Md5Sum, String>,
}

impl Images {
    /// An image is offered to a role.
    pub fn offered(&mut self, md5: Md5Sum, role: &str) {
        self.offered.insert(md5, role.to_owned());
    }
}

impl Checker for Images {
    fn name(&self) -> &'static str {
        "images"
    }

    fn see(&mut self, world: &World, record: &Record, findings: &mut Findings) {
        let Happening::Booted(Some(boot)) = &record.what else { return };
        let id = world.id(record.seat);
        let (Some((chip, layout)), Some(firmware)) =
            (world.chip(record.seat), world.spec(record.seat).firmware.as_ref())
        else {
            return findings.add(format!("node {id} boots an image and has no flash"));
        };
        let bytes = content(chip, layout, boot);
        let whole = |known: &[u8]| bytes.as_deref() == Some(known);
        if whole(&firmware.image.bytes) {
            return;
        }
        let offered =
            self.offered.iter().find(|(md5, _)| world.image(md5).is_some_and(|image| whole(&image.bytes)));
        match offered {
            Some((_, role)) if *role == firmware.role => {}
            Some((md5, role)) => {
                findings.add(format!("node {id} of role {} runs {md5}, which is for {role}", firmware.role))
            }
            None => findings
                .add(format!("node {id} runs {} bytes (record {}) that nobody made", boot.size, boot.md5)),
        }
    }
}
