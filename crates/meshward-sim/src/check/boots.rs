//! Bootability: a host always has some valid image to start.

use super::{Checker, Findings};
use crate::image::select;
use crate::world::{Happening, Record, World};

/// See the module's page.
#[derive(Debug, Default)]
pub struct Boots;

impl Checker for Boots {
    fn name(&self) -> &'static str {
        "boots"
    }

    fn see(&mut self, world: &World, record: &Record, findings: &mut Findings) {
        if record.what == Happening::Bricked {
            findings.add(format!("node {} has nothing to boot", world.id(record.seat)));
        }
    }

    fn end(&mut self, world: &World, findings: &mut Findings) {
        for seat in world.seats() {
            if world.chip(seat).is_some_and(|(chip, layout)| select(chip, layout).is_none()) {
                findings.add(format!("node {} could not boot if it had to", world.id(seat)));
            }
        }
    }
}
