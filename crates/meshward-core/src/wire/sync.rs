//! Node syncs (types 5 and 6): a node tells its neighbour who is reached through it.
//!
//! Refuses other types and trees above the caller's limit. Only the neighbour itself sends these; the link
//! drives both directions.

use super::envelope::Envelope;
use super::error::DecodeError;
use super::id::NodeId;
use super::kind;
use super::tree::{self, Tree, TreeNode};
use super::write::write_u64;
use alloc::vec::Vec;

/// A node sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSync {
    /// Type 6, the answer, rather than type 5, which asks for one.
    pub reply: bool,
    /// The neighbour; nobody in the first sync of a dialler, who does not know yet whom it reached.
    pub dest: NodeId,
    /// The sender; C++ nodes send the id of the tree's top here.
    pub from: NodeId,
    /// The sender and the nodes behind it, without the branch of the receiver.
    pub tree: Tree,
}

impl NodeSync {
    /// Decodes a canonical or normalised frame of type 5 or 6 with at most `max_nodes` nodes in its tree.
    /// A node without `nodeId` takes its `from`, as in C++.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for another type or too many nodes.
    pub fn decode(bytes: &[u8], max_nodes: usize) -> Result<Self, DecodeError> {
        let envelope = Envelope::of_fields(bytes);
        let reply = match envelope.kind {
            kind::NODE_SYNC_REQUEST => false,
            kind::NODE_SYNC_REPLY => true,
            _ => return Err(DecodeError::new("type", "5 or 6")),
        };
        let tree = Tree::decode(bytes, max_nodes)?;
        Ok(Self { reply, dest: envelope.dest, from: envelope.from, tree })
    }

    /// The frame, without its NUL, in the field order of C++ nodes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(room(self.tree.len()));
        let below = self.tree.nodes().get(1..).unwrap_or_default();
        let Self { reply, dest, .. } = *self;
        write(&mut out, reply, dest, self.from, self.tree.top(), core::iter::once(below));
        out
    }

    /// Appends, to save copies, what [`NodeSync::encode`] makes of a node's own sync: of `top`, which sends
    /// it, over these branches.
    pub fn write_own<'a>(
        out: &mut Vec<u8>,
        reply: bool,
        dest: NodeId,
        top: &TreeNode,
        branches: impl Iterator<Item = &'a Tree> + Clone,
    ) {
        let nodes = branches.clone().map(Tree::len).fold(1, usize::saturating_add);
        out.reserve(room(nodes));
        write(out, reply, dest, top.id, top, branches.map(Tree::nodes));
    }
}

/// Bytes that a sync of so many nodes takes, more or less.
fn room(nodes: usize) -> usize {
    nodes.saturating_mul(24).saturating_add(64)
}

fn write<'a>(
    out: &mut Vec<u8>,
    reply: bool,
    dest: NodeId,
    from: NodeId,
    top: &TreeNode,
    branches: impl Iterator<Item = &'a [TreeNode]>,
) {
    tree::write_open(out, top, branches);
    out.extend_from_slice(if reply { b",\"type\":6,\"dest\":" } else { b",\"type\":5,\"dest\":" });
    write_u64(out, u64::from(dest.0));
    out.extend_from_slice(b",\"from\":");
    write_u64(out, u64::from(from.0));
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syncs_are_written_in_the_order_of_cpp() {
        let mut tree = Tree::leaf(NodeId(1)).flagged(true, true);
        tree.graft(&Tree::leaf(NodeId(2)));
        let sync = NodeSync { reply: false, dest: NodeId(3), from: NodeId(1), tree };
        let text =
            b"{\"nodeId\":1,\"root\":true,\"hasTimeAuthority\":true,\"subs\":[{\"nodeId\":2}],\"type\":5,\
                     \"dest\":3,\"from\":1}";
        assert_eq!(sync.encode(), text);
        assert_eq!(NodeSync::decode(text, 2).unwrap(), sync);
        assert_eq!(NodeSync::decode(text, 1).unwrap_err().field, "subs");
        assert_eq!(NodeSync::decode(b"{\"type\":9}", 1).unwrap_err().field, "type");
    }
}
