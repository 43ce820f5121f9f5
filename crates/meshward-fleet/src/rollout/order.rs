//! Who of a wave restarts at the same time.
//!
//! Away are those who restart and all who hang behind them. A batch takes nodes until one more would take more of
//! the mesh away than the plan allows: stock nodes first, because they wait for nothing but their last part; then
//! those behind whom the fewest hang, the deepest first. One that takes away more than that all by itself goes
//! alone. The next batch goes when the last one is back.

use std::collections::BTreeSet;

use meshward_core::wire::NodeId;

use super::choose::Shape;

/// How many may be away at once, of a mesh of this shape.
pub fn most_away(shape: &Shape, percent: u32) -> usize {
    // The gateway is no node of a wave.
    ((shape.len().saturating_sub(1)) * percent as usize / 100).max(1)
}

/// Who is away when these restart.
pub fn away(batch: &[NodeId], shape: &Shape) -> BTreeSet<NodeId> {
    batch.iter().flat_map(|id| shape.below(*id).chain([*id])).collect()
}

/// The batches of a wave, in order. `is_stock` tells who takes firmware as the C++ library does.
pub fn batches(
    wave: &[NodeId],
    shape: &Shape,
    percent: u32,
    is_stock: impl Fn(NodeId) -> bool,
) -> Vec<Vec<NodeId>> {
    let most = most_away(shape, percent);
    let mut order: Vec<NodeId> = wave.to_vec();
    order
        .sort_by_key(|id| (!is_stock(*id), shape.below_count(*id), std::cmp::Reverse(shape.depth(*id)), *id));
    let mut batches: Vec<Vec<NodeId>> = Vec::new();
    let mut gone: BTreeSet<NodeId> = BTreeSet::new();
    for id in order {
        let with: BTreeSet<NodeId> = gone.iter().copied().chain(away(&[id], shape)).collect();
        match batches.last_mut().filter(|_| with.len() <= most) {
            Some(batch) => {
                batch.push(id);
                gone = with;
            }
            None => {
                gone = away(&[id], shape);
                batches.push(vec![id]);
            }
        }
    }
    batches
}
