//! `Mesh::offerOTA` and `addSendPackageCallback`, with the application of the library's `otaSender` example:
//! announces for an hour, and an answer to every request.
//!
//! It refuses nothing but a part that does not exist: which image, role or chip a request is about, and who
//! asks, it does not look at. It knows nothing of progress. Driven by the node with requests and time.

use std::collections::VecDeque;
use std::sync::Arc;

use meshward_core::time::{Duration, Instant};
use meshward_core::wire::{NodeId, Offer};

use super::StockOffer;
use super::package::{Outgoing, Package, announce, answer};

/// Between two announces.
const ANNOUNCE: Duration = Duration::from_secs(60);
/// Announces in all.
const ANNOUNCES: u8 = 60;

/// The task of one `offerOTA`, and the callback of one `initOTASend`.
#[derive(Debug)]
struct Offering {
    image: Arc<[u8]>,
    part_size: usize,
    announce: Outgoing,
    next: Instant,
    left: u8,
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Sender {
    id: NodeId,
    offerings: Vec<Offering>,
    pub(super) outgoing: VecDeque<Outgoing>,
}

impl Sender {
    pub(super) fn new(id: NodeId) -> Self {
        Self { id, offerings: Vec::new(), outgoing: VecDeque::new() }
    }

    /// Starts to offer an image by the name `md5`.
    pub(super) fn offer(&mut self, now: Instant, offer: StockOffer, md5: &[u8]) {
        let part_size = offer.part_size.max(1);
        let parts = offer.image.len().div_ceil(part_size);
        let described = Offer {
            md5: md5.to_vec().into(),
            hardware: offer.hardware.into(),
            role: offer.role.into(),
            forced: offer.forced,
            parts: u32::try_from(parts).unwrap_or(u32::MAX),
            broadcasted: offer.broadcasted,
            compressed: offer.compressed,
        };
        self.offerings.push(Offering {
            image: offer.image,
            part_size,
            announce: announce(self.id, &described),
            next: now,
            left: ANNOUNCES,
        });
    }

    /// A type 11. A node that offers two images has two callbacks, and both answer: the library's example
    /// offers one.
    pub(super) fn handle_request(&mut self, frame: &[u8]) {
        if self.offerings.is_empty() {
            return;
        }
        let request = Package::read(frame);
        for offering in &self.offerings {
            let start = (request.part as usize).saturating_mul(offering.part_size);
            let Some(rest) = offering.image.get(start..).filter(|rest| !rest.is_empty()) else { continue };
            let part = rest.get(..offering.part_size).unwrap_or(rest);
            self.outgoing.push_back(answer(&request, part));
        }
    }

    /// One pass of the scheduler over the announce tasks; whether any of them did something.
    pub(super) fn pass(&mut self, now: Instant) -> bool {
        let mut active = false;
        for offering in self.offerings.iter_mut().filter(|one| one.left > 0 && one.next <= now) {
            offering.left -= 1;
            offering.next = offering.next + ANNOUNCE;
            active = true;
            self.outgoing.push_back(offering.announce.clone());
        }
        active
    }

    /// When [`Sender::pass`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.offerings.iter().filter(|one| one.left > 0).map(|one| one.next).min()
    }
}
