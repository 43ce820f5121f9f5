//! The shapes of virtual meshes: who is whose parent. Node 0 is at the top and has none.

use meshward_core::rng::Rng;

/// How nodes hang together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// All on the first one.
    Star,
    /// One behind the other.
    Chain,
    /// Grown at random: each node picks a parent with room, and has at most this many children.
    Random(u8),
}

impl Topology {
    /// The name that [`Topology::parse`] reads.
    pub fn name(self) -> String {
        match self {
            Self::Star => "star".to_owned(),
            Self::Chain => "chain".to_owned(),
            Self::Random(fan_out) => format!("random-{fan_out}"),
        }
    }

    /// Reads `star`, `chain` or `random-N`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "star" => Some(Self::Star),
            "chain" => Some(Self::Chain),
            _ => text.strip_prefix("random-")?.parse().ok().filter(|n| *n > 0).map(Self::Random),
        }
    }

    /// The parent of each of `nodes` nodes; always one before it.
    pub fn parents(self, nodes: usize, rng: &mut Rng) -> Vec<Option<usize>> {
        let mut children = vec![0_u8; nodes];
        let mut parents = Vec::with_capacity(nodes);
        for index in 0..nodes {
            let parent = match self {
                _ if index == 0 => None,
                Self::Star => Some(0),
                Self::Chain => Some(index - 1),
                Self::Random(fan_out) => Some(loop {
                    let candidate = rng.below(index as u64) as usize;
                    if children[candidate] < fan_out {
                        children[candidate] += 1;
                        break candidate;
                    }
                }),
            };
            parents.push(parent);
        }
        parents
    }
}

/// How many links each node is from node 0.
pub fn depths(parents: &[Option<usize>]) -> Vec<u32> {
    let mut depths: Vec<u32> = Vec::with_capacity(parents.len());
    for parent in parents {
        depths.push(parent.map_or(0, |parent| depths[parent] + 1));
    }
    depths
}

/// The mean of [`depths`] over all but node 0.
pub fn mean_depth(parents: &[Option<usize>]) -> f64 {
    let below = parents.len().saturating_sub(1).max(1);
    f64::from(depths(parents).iter().sum::<u32>()) / below as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_a_tree() {
        for topology in [Topology::Star, Topology::Chain, Topology::Random(1), Topology::Random(4)] {
            assert_eq!(Topology::parse(&topology.name()), Some(topology));
            for seed in 0..20 {
                let parents = topology.parents(50, &mut Rng::new(seed));
                assert_eq!(parents[0], None);
                assert!((1..50).all(|index| parents[index].is_some_and(|parent| parent < index)));
            }
        }
        let parents = Topology::Random(4).parents(200, &mut Rng::new(3));
        let fan_out = |node| parents.iter().filter(|parent| **parent == Some(node)).count();
        assert!((0..200).all(|node| fan_out(node) <= 4));
    }

    #[test]
    fn random_growth_is_about_as_deep_as_the_benchmarks_say() {
        let deep = |seed| mean_depth(&Topology::Random(4).parents(101, &mut Rng::new(seed)));
        let mean = (0..200).map(deep).sum::<f64>() / 200.0;
        assert!((4.3..4.9).contains(&mean), "{mean}");
        assert_eq!(mean_depth(&Topology::Chain.parents(4, &mut Rng::new(0))), 2.0);
        assert_eq!(mean_depth(&Topology::Star.parents(9, &mut Rng::new(0))), 1.0);
    }
}
