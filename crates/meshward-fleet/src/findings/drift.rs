//! Nodes that call their firmware by the same version and run another image than most.
//!
//! A pure function over what the registry knows, since a node's drift depends on what all others run. Nodes that
//! tell no version or no image cannot drift; where no image has more nodes than every other, nobody can say which
//! is meant, and all but the lowest by number are reported against that one.

use std::collections::BTreeMap;

use meshward_core::wire::NodeId;

use super::Evidence;
use crate::registry::Identity;

/// Those that drift, each with its evidence, by node.
pub fn find<'a>(nodes: impl Iterator<Item = (NodeId, &'a Identity)>) -> Vec<(NodeId, Evidence)> {
    let mut versions: BTreeMap<(&str, &str), BTreeMap<u32, Vec<NodeId>>> = BTreeMap::new();
    for (node, identity) in nodes {
        if let (Some(version), Some(image)) = (identity.version.as_deref(), identity.image) {
            // The same version of two programs is no drift; nor is it of two kinds of board.
            let program = identity.role.as_deref().or(identity.hardware.as_deref()).unwrap_or_default();
            versions.entry((program, version)).or_default().entry(image).or_default().push(node);
        }
    }
    let mut found = Vec::new();
    for images in versions.values().filter(|images| images.len() > 1) {
        let most = images.iter().max_by_key(|(image, nodes)| (nodes.len(), std::cmp::Reverse(**image)));
        let Some((most_run, running)) = most else { continue };
        let nodes = u32::try_from(running.len()).unwrap_or(u32::MAX);
        let others = images.iter().filter(|(image, _)| *image != most_run);
        found.extend(others.flat_map(|(image, drifting)| {
            let evidence = Evidence::OtherImage { runs: *image, most_run: *most_run, nodes };
            drifting.iter().map(move |node| (*node, evidence))
        }));
    }
    found.sort_by_key(|(node, _)| *node);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes 1, 2, … with role, version and image; who drifts.
    fn check(nodes: &[(&str, &str, u32)], expected: &[u32]) {
        let identities: Vec<Identity> = nodes
            .iter()
            .map(|(role, version, image)| Identity {
                role: Some((*role).to_owned()),
                version: (!version.is_empty()).then(|| (*version).to_owned()),
                image: Some(*image),
                ..Identity::default()
            })
            .collect();
        let found = find((1..).map(NodeId).zip(&identities));
        assert_eq!(found.iter().map(|(node, _)| node.0).collect::<Vec<_>>(), expected, "{nodes:?}");
    }

    #[test]
    fn same_version_other_image() {
        check(&[("a", "1.0", 7), ("a", "1.0", 7), ("a", "1.0", 7)], &[]);
        check(&[("a", "1.0", 7), ("a", "1.0", 8), ("a", "1.0", 7)], &[2]);
        check(&[("a", "1.0", 7), ("a", "1.1", 8)], &[]);
        check(&[("a", "1.0", 7), ("b", "1.0", 8)], &[]);
        check(&[("a", "", 7), ("a", "", 8)], &[]);
        check(&[("a", "1.0", 9), ("a", "1.0", 8)], &[1]);
    }
}
