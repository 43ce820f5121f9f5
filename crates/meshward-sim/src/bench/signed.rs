//! The part of signed updates in the benchmark: which release, as what it travels, and the bound of that.

use std::sync::Arc;

use meshward_core::ota::exchange::{Chunk, ExchangeEvent, Tag};
use meshward_core::ota::receiver::Event;
use meshward_core::wire::{NodeId, Parcel, To, kind};

use super::{Case, PART, Scheme};
use crate::image::{Behaviour, Image};
use crate::signed::{Packing, REAL, Release, chunks, image, successor};
use crate::update::UpdateStory;
use crate::world::{Happening, Record, World};

/// One part in so many is changed by a feature release of our own making, and by a patch release: as in real ones.
const FEATURE_PARTS: usize = 12;
const PATCH_PARTS: usize = 50;

impl Scheme {
    /// As what a signed update travels; `None` for what stock nodes take.
    pub(super) fn packing(self) -> Option<Packing> {
        match self {
            Self::MeshwardFull => Some(Packing::Full),
            Self::MeshwardLzma => Some(Packing::Lzma),
            Self::MeshwardFeature | Self::MeshwardPatch => Some(Packing::Delta),
            Self::StockUnicast | Self::StockBroadcast | Self::MeshwardUnicast | Self::MeshwardTurbo => None,
        }
    }
}

/// The release of a case: a real one where the image has the size of a real one, else one of our own making.
pub(super) fn release(case: &Case) -> Release {
    let [first, patch, feature] = REAL;
    let is_real = [patch.len(), feature.len()].contains(&case.image);
    let is_feature = case.scheme == Scheme::MeshwardFeature;
    let (old, new) = match case.scheme {
        Scheme::MeshwardFeature if is_real => (patch.to_vec(), feature.to_vec()),
        Scheme::MeshwardPatch if is_real => (first.to_vec(), patch.to_vec()),
        _ if case.image == patch.len() => (first.to_vec(), patch.to_vec()),
        _ if case.image == feature.len() => (patch.to_vec(), feature.to_vec()),
        _ => {
            let old = image(case.image, 1);
            let mut new = successor(&old, if is_feature { FEATURE_PARTS } else { PATCH_PARTS }, 2);
            new.truncate(case.image);
            (old, new)
        }
    };
    let base = Image::new("old", &old, Behaviour::Healthy);
    Release::new(&base, &Image::new("new", &new, Behaviour::Healthy), 2)
}

/// What the gateway of a case is to bring: everybody else gets it.
pub(super) fn story(case: &Case, world: &World, release: &Release, packing: Packing) -> Arc<UpdateStory> {
    let targets: Vec<NodeId> = world.seats().skip(1).map(|seat| world.id(seat)).collect();
    let story = UpdateStory::new(release.clone(), &[packing], targets);
    Arc::new(UpdateStory { airtime: case.airtime, ..story })
}

/// K · a · N: each of K chunks crosses each of N links once in a broadcast, and nothing else is on the channel.
pub(super) fn bound_seconds(case: &Case, story: &UpdateStory) -> f64 {
    let chunks: usize = story.offerings.iter().map(chunks).sum();
    case.channel.time(chunk_bytes()).saturating_mul((chunks * case.n) as u64).as_secs_f64()
}

/// A whole chunk on the wire, with its NUL.
fn chunk_bytes() -> usize {
    let chunk = Chunk { tag: Tag(u32::MAX), index: 0, bytes: &[0; PART] };
    let from = NodeId(1_000_000_007);
    Parcel { kind: kind::CHUNK, from, to: To::All, body: chunk.encode() }.encode().len() + 1
}

/// How many nodes have come to hold the image in its slot.
pub(super) fn ready(records: &[Record]) -> usize {
    let is_ready = |record: &&Record| {
        matches!(&record.what, Happening::Exchange(ExchangeEvent::Receiver(Event::Ready(_))))
    };
    records.iter().filter(is_ready).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Topology;
    use crate::world::{Channel, is_firmware};

    fn case(scheme: Scheme, image: usize) -> Case {
        let (topology, channel) = (Topology::Star, Channel::default());
        Case { n: 10, topology, image, scheme, loss: 0, channel, airtime: 100 }
    }

    #[test]
    fn a_chunk_is_firmware_and_other_parcels_are_not() {
        let frame = |kind| Parcel { kind, from: NodeId(7), to: To::All, body: vec![1; 20] }.encode();
        let kinds = [kind::OFFER, kind::WANT, kind::CHUNK, kind::ORDER];
        assert_eq!(kinds.map(|kind| is_firmware(&frame(kind))), [false, false, true, false]);
        assert_eq!(chunk_bytes(), 1_425);
    }

    #[test]
    fn real_sizes_are_real_releases() {
        let [first, patch, feature] = REAL.map(<[u8]>::len);
        for (scheme, image, old, new) in [
            (Scheme::MeshwardFull, patch, first, patch),
            (Scheme::MeshwardPatch, patch, first, patch),
            (Scheme::MeshwardPatch, feature, first, patch),
            (Scheme::MeshwardFeature, patch, patch, feature),
            (Scheme::MeshwardLzma, feature, patch, feature),
            (Scheme::MeshwardLzma, 9_000, 9_000, 9_000),
        ] {
            let release = release(&case(scheme, image));
            assert_eq!((release.base.bytes.len(), release.image.bytes.len()), (old, new), "{scheme:?}");
        }
    }
}
