//! Node syncs (types 5 and 6): a node tells its neighbour who is reached through it.
//!
//! Refuses other types and trees above the caller's limit. Only the neighbour itself sends these; the link
//! drives both directions.

use super::envelope::Envelope;
use super::error::DecodeError;
use super::id::NodeId;
use super::kind;
use super::tree::Tree;
use super::write::Object;
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
        let mut object = Object::with_capacity(self.tree.len().saturating_mul(24).saturating_add(64));
        self.tree.write_fields(&mut object);
        let kind = if self.reply { kind::NODE_SYNC_REPLY } else { kind::NODE_SYNC_REQUEST };
        object
            .integer("type", i64::from(kind))
            .integer("dest", i64::from(self.dest.0))
            .integer("from", i64::from(self.from.0));
        object.finish()
    }
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
