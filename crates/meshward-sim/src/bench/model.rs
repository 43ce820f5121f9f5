//! What the figures of the benchmark hold for, and which rows are published.

use super::{Case, Scheme};
use crate::topology::Topology;
use crate::world::Channel;

/// Stands above the table.
pub const MODEL: &str = "\
**The model.** All links share one radio channel: a frame of L bytes, its NUL included, occupies it for t(L) = 2.09 ms + 7.64 µs · L, \
links that have something to send take turns, and nothing else is on the air. The constants are fitted to a published measurement of ESP8266 \
nodes; no figure here comes from a radio. *Loss* is the share of forwarded frames that die at a relay; what neighbours exchange (types 4 to 6), \
and what a node sends of its own, is never lost while its link stands. Receivers are a model of the unmodified C++ node that replays its \
recordings; they restart 2 s after their last part and are back 2 s later. Those of *meshward-full*, *-lzma*, *-feature* and *-patch* are nodes of ours that take \
signed updates, from a gateway that asks them first what they are and orders the restart when all are ready; they too are back 2 s after it. *-feature* and *-patch* send a patch of the release \
before. Parts and chunks have 1,024 bytes. The mesh has settled before the update \
begins, and keeps up its own traffic meanwhile. Where *syncs* says *count*, its node and time syncs (types 4 to 6) use the channel like everything \
else; in a large mesh that is the greater part. Where it says *free* they take no time, and do not \
count in any column: this compares schemes at sizes that one channel cannot carry.

*Time* runs from the start until the last node has booted the new image, with signed updates until the gateway sees all of them in its tree again; mean ± standard deviation over the seeds in which all nodes did; \
– where there was none within 8 hours, or no data moved for 15 minutes. *Transfer* is until the last node had the new image in its slot, the gateway's questions included. *MB on links* counts every link that a byte crosses; *control* is the share of it that is not firmware \
data. *× bound* is the time over K · a · N: each of K parts crosses each of N links once, a being t of a whole part or chunk, and the block table's chunks counted in K. *Channel × bound* counts only the time in which the channel was busy. *Completed* counts nodes over all seeds.
";

/// Bytes of the image of most rows: large enough for ratios, small enough for hundreds of runs.
pub(super) const IMAGE: usize = 64 * 1024;
/// A real image.
pub(super) const WHOLE_IMAGE: usize = 528_944;

/// The rows of `docs/benchmarks.md`; with `all`, also those that take hours: more losses, and 200
/// and 500 nodes.
pub fn standard_cases(all: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |n, topology, free_sync, losses: &[u32]| {
        for loss in losses {
            for scheme in Scheme::STOCK {
                let channel = Channel { free_sync, ..Channel::default() };
                cases.push(Case { n, topology, image: IMAGE, scheme, loss: *loss, channel, airtime: 100 });
            }
        }
    };
    add(10, Topology::Random(4), false, &[0, 5]);
    add(25, Topology::Random(4), false, &[0, 1, 5, 10, 20]);
    add(50, Topology::Random(4), false, &[0, 1, 10]);
    for (n, topology) in [(50, Topology::Random(10)), (20, Topology::Chain), (50, Topology::Star)] {
        add(n, topology, false, &[0]);
    }
    add(100, Topology::Random(4), false, &[0]);
    add(100, Topology::Random(4), true, &[0, 5]);
    if all {
        add(10, Topology::Random(4), false, &[1, 10, 20]);
        add(50, Topology::Random(4), false, &[5, 20]);
        add(20, Topology::Chain, false, &[10]);
        add(100, Topology::Random(4), true, &[1, 10, 20]);
        add(200, Topology::Random(4), true, &[0]);
        add(500, Topology::Random(4), true, &[0]);
    }
    for free_sync in [true, false] {
        for loss in [0, 1] {
            for scheme in [Scheme::StockUnicast, Scheme::MeshwardTurbo] {
                let channel = Channel { free_sync, ..Channel::default() };
                let topology = Topology::Random(4);
                cases.push(Case {
                    n: 100,
                    topology,
                    image: WHOLE_IMAGE,
                    scheme,
                    loss,
                    channel,
                    airtime: 100,
                });
            }
        }
    }
    cases.extend(signed_cases(all));
    cases
}

/// Signed updates of real images, and the stock sender beside them; with `all`, with more losses.
fn signed_cases(all: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    let losses: &[u32] = if all { &[0, 1, 5, 10, 20] } else { &[0, 1, 10] };
    let schemes =
        [Scheme::MeshwardFull, Scheme::MeshwardLzma, Scheme::MeshwardFeature, Scheme::MeshwardPatch];
    for free_sync in [true, false] {
        for loss in losses.iter().filter(|loss| free_sync || **loss <= 1) {
            for scheme in schemes {
                let channel = Channel { free_sync, ..Channel::default() };
                let (n, topology, loss) = (100, Topology::Random(4), *loss);
                cases.push(Case { n, topology, image: WHOLE_IMAGE, scheme, loss, channel, airtime: 100 });
            }
        }
    }
    cases
}
