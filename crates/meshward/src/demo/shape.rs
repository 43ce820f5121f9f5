//! The shapes of virtual meshes.

use clap::ValueEnum;
use meshward_core::rng::Rng;

/// Most children of a node in a random tree, as an ESP8266 has them.
pub(super) const FAN_OUT: usize = 4;

/// How the nodes hang together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Topology {
    /// All on the first one.
    Star,
    /// One behind the other.
    Chain,
    /// Two children each.
    Binary,
    /// Grown at random, at most four children each.
    Random,
}

impl Topology {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Star => "star",
            Self::Chain => "chain",
            Self::Binary => "binary",
            Self::Random => "random",
        }
    }

    /// The parent of every node; always one before it. The first has none.
    pub(crate) fn parents(self, nodes: usize, seed: u64) -> Vec<Option<usize>> {
        let mut rng = Rng::new(seed);
        let mut children = vec![0; nodes];
        (0..nodes)
            .map(|index| {
                let parent = match self {
                    _ if index == 0 => return None,
                    Self::Star => 0,
                    Self::Chain => index - 1,
                    Self::Binary => (index - 1) / 2,
                    Self::Random => loop {
                        let candidate = rng.below(index as u64) as usize;
                        if children.get(candidate).is_some_and(|count| *count < FAN_OUT) {
                            break candidate;
                        }
                    },
                };
                if let Some(count) = children.get_mut(parent) {
                    *count += 1;
                }
                Some(parent)
            })
            .collect()
    }
}

impl Topology {
    /// Nodes on the longest way down.
    pub(crate) fn depth(self, nodes: usize, seed: u64) -> usize {
        let mut depths: Vec<usize> = Vec::with_capacity(nodes);
        for parent in self.parents(nodes, seed) {
            let above = parent.and_then(|parent| depths.get(parent)).copied().unwrap_or(0);
            depths.push(above + 1);
        }
        depths.into_iter().max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depths_are_counted() {
        assert_eq!(Topology::Chain.depth(7, 0), 7);
        assert_eq!(Topology::Star.depth(7, 0), 2);
        assert_eq!(Topology::Binary.depth(7, 0), 3);
        assert_eq!(Topology::Random.depth(1, 0), 1);
    }

    #[test]
    fn every_shape_is_a_tree() {
        for topology in [Topology::Star, Topology::Chain, Topology::Binary, Topology::Random] {
            for seed in 0..20 {
                let parents = topology.parents(50, seed);
                assert_eq!(parents[0], None);
                assert!((1..50).all(|index| parents[index].is_some_and(|parent| parent < index)));
            }
        }
        let random = Topology::Random.parents(200, 3);
        let fan_out = |node| random.iter().filter(|parent| **parent == Some(node)).count();
        assert!((0..200).all(|node| fan_out(node) <= FAN_OUT));
        assert_eq!(Topology::Random.parents(200, 3), random);
        assert_ne!(Topology::Random.parents(200, 4), random);
    }
}
