//! Node syncs (types 5 and 6): a node tells its neighbour who is reached through it.
//!
//! Refuses other types and trees above the caller's limit. Only the neighbour itself sends these; the link
//! drives both directions.

use super::branch::Branch;
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
        let mut out = Vec::with_capacity(self.tree.len().saturating_mul(24).saturating_add(64));
        self.tree.write(&mut out);
        // The tree's object goes on with what the sync says besides.
        out.pop();
        write_end(&mut out, self.reply, self.dest, self.from);
        out
    }

    /// Appends, to save copies, what [`NodeSync::encode`] makes of a node's own sync: of `top`, which sends
    /// it, over these branches.
    pub fn write_own<'a>(
        out: &mut Vec<u8>,
        reply: bool,
        dest: NodeId,
        top: &TreeNode,
        branches: impl Iterator<Item = &'a Branch> + Clone,
    ) {
        let branches = branches.map(Branch::text);
        let bytes = branches.clone().map(|text| text.len().saturating_add(1));
        out.reserve_exact(bytes.fold(OWN_MAX, usize::saturating_add));
        tree::write_node(out, top);
        let mut before: &[u8] = b",\"subs\":[";
        for text in branches {
            out.extend_from_slice(before);
            out.extend_from_slice(text);
            before = b",";
        }
        if before == b"," {
            out.push(b']');
        }
        write_end(out, reply, dest, top.id);
    }
}

/// Bytes that a sync takes besides its branches, its NUL included, as a rule.
const OWN_MAX: usize = 80;

/// Appends what follows the tree.
fn write_end(out: &mut Vec<u8>, reply: bool, dest: NodeId, from: NodeId) {
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
