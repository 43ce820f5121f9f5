//! Node syncs in the one form in which C++ nodes and ours write them, read in one pass.
//!
//! Nearly all that an idle mesh says are node syncs, long ones, and nearly all of them say what the last one
//! said. [`PlainSync::read`] therefore takes apart only what [`NodeSync::encode`](super::NodeSync::encode)
//! writes, and compares as it goes with the tree that is known already. It refuses, by `None`, every other
//! text, which says nothing about that: [`read`](super::read) and [`NodeSync::decode`](super::NodeSync::decode)
//! decide, and what is taken here is canonical and reads the same to them.

use super::id::NodeId;
use super::tree::{Tree, TreeNode};
use super::{MAX_DEPTH, kind};
use alloc::vec::Vec;

/// The deepest tree that is read here: every node is an object, and all but the top one are in an array.
const DEPTH_MAX: usize = MAX_DEPTH.div_ceil(2);

/// A node sync, compared with a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainSync {
    /// Type 6, the answer, rather than type 5, which asks for one.
    pub reply: bool,
    /// The neighbour; nobody in the first sync of a dialler.
    pub dest: NodeId,
    /// The sender.
    pub from: NodeId,
    /// Its tree; `None` when that is the known one, to the last flag.
    pub tree: Option<Tree>,
}

impl PlainSync {
    /// Reads a frame with at most `max_nodes` nodes in its tree. `known` is compared with; nothing is
    /// allocated while there is no difference.
    pub fn read(frame: &[u8], max_nodes: usize, known: Option<&Tree>) -> Option<Self> {
        let mut nodes = Nodes { known: known.map_or(&[], Tree::nodes), count: 0, own: None };
        let mut open = Open { indexes: [0; DEPTH_MAX], depth: 0 };
        let mut rest = frame;
        // Into a node, then out of it and of those above it, until there is a next one or no more above.
        loop {
            if nodes.count >= max_nodes {
                return None;
            }
            let (node, after) = self::node(rest)?;
            open.enter(nodes.count)?;
            nodes.add(node);
            rest = match after.strip_prefix(b",\"subs\":[") {
                Some(below) => below,
                None => match up(after, &mut open, &mut nodes)? {
                    Up::Next(rest) => rest,
                    Up::Top(rest) => return end(rest, nodes),
                },
            };
        }
    }
}

/// What comes after a node.
enum Up<'a> {
    /// The next one, which this is the beginning of.
    Next(&'a [u8]),
    /// The rest of the frame: it was the last one.
    Top(&'a [u8]),
}

/// Goes up from a node that has nothing more below it.
fn up<'a>(mut rest: &'a [u8], open: &mut Open, nodes: &mut Nodes<'_>) -> Option<Up<'a>> {
    loop {
        nodes.close(open.leave()?);
        if open.depth == 0 {
            return Some(Up::Top(rest));
        }
        rest = match rest {
            [b'}', b',', rest @ ..] => return Some(Up::Next(rest)),
            [b'}', b']', rest @ ..] => rest,
            _ => return None,
        };
    }
}

/// The id and the flags of the node that `text` begins with, and the text after them.
#[inline(always)]
fn node(text: &[u8]) -> Option<(TreeNode, &[u8])> {
    let (id, mut rest) = match ten_digit_id(text) {
        Some(read) => read,
        None => number(text.strip_prefix(b"{\"nodeId\":")?)?,
    };
    let mut node = TreeNode { id: NodeId(id), descendants: 0, root: false, time_authority: false };
    // Few nodes have flags: one look at what tells them apart from all that may come instead.
    if let [b',', b'"', b'r' | b'h', ..] = rest {
        if let Some(after) = rest.strip_prefix(b",\"root\":true") {
            (node.root, rest) = (true, after);
        }
        if let Some(after) = rest.strip_prefix(b",\"hasTimeAuthority\":true") {
            (node.time_authority, rest) = (true, after);
        }
    }
    Some((node, rest))
}

/// The beginning of a node with an id of ten digits, as nine of ten are: all in one look.
#[inline(always)]
fn ten_digit_id(text: &[u8]) -> Option<(u32, &[u8])> {
    let (head, rest) = text.split_first_chunk::<20>()?;
    let (key, digits) = head.split_first_chunk::<10>()?;
    let (eight, two) = digits.split_first_chunk::<8>()?;
    let [tens, ones] = two else { return None };
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    if key != b"{\"nodeId\":" || tens > 9 || ones > 9 || eight.first() == Some(&b'0') {
        return None;
    }
    let high = u64::from(eight_digits(*eight)?);
    let low = u64::from(tens).wrapping_mul(10).wrapping_add(u64::from(ones));
    let id = high.wrapping_mul(100).wrapping_add(low);
    u32::try_from(id).ok().map(|id| (id, rest))
}

/// The fields behind the tree.
fn end(text: &[u8], nodes: Nodes<'_>) -> Option<PlainSync> {
    let (kind, rest) = number(text.strip_prefix(b",\"type\":")?)?;
    let (dest, rest) = number(rest.strip_prefix(b",\"dest\":")?)?;
    let (from, rest) = number(rest.strip_prefix(b",\"from\":")?)?;
    let reply = match i32::try_from(kind).ok()? {
        kind::NODE_SYNC_REQUEST => false,
        kind::NODE_SYNC_REPLY => true,
        _ => return None,
    };
    let tree = nodes.tree();
    (*rest == *b"}").then_some(PlainSync { reply, dest: NodeId(dest), from: NodeId(from), tree })
}

/// The integer of 32 bits that `text` begins with, without sign or leading zeros, and the text after it.
#[inline(always)]
pub(super) fn number(text: &[u8]) -> Option<(u32, &[u8])> {
    let (mut number, mut rest, mut used) = (0_u64, text, 0_usize);
    if let Some((first, after)) = text.split_first_chunk::<8>()
        && let Some(value) = eight_digits(*first)
    {
        (number, rest, used) = (u64::from(value), after, 8);
    }
    // Ten digits fit into 64 bits many times over.
    while let Some((digit @ b'0'..=b'9', after)) = rest.split_first()
        && used < 10
    {
        number = number.wrapping_mul(10).wrapping_add(u64::from(digit.wrapping_sub(b'0')));
        (rest, used) = (after, used.wrapping_add(1));
    }
    let plain = match text.first()? {
        b'0' => used == 1,
        _ => used > 0,
    };
    // An eleventh digit is left to those who come after, who expect none.
    if plain { Some((u32::try_from(number).ok()?, rest)) } else { None }
}

/// The value of eight digits, the first one the highest, all at once.
#[inline(always)]
fn eight_digits(text: [u8; 8]) -> Option<u32> {
    let word = u64::from_le_bytes(text);
    // The high half of a digit's byte is 3, also with 6 added, which takes what is above '9' to 4.
    let high = |word: u64| word & 0xF0F0_F0F0_F0F0_F0F0;
    let three = 0x3030_3030_3030_3030;
    if high(word) != three || high(word.wrapping_add(0x0606_0606_0606_0606)) != three {
        return None;
    }
    // Neighbours are joined: digits to pairs, pairs to fours, fours to eight.
    let digits = word & 0x0F0F_0F0F_0F0F_0F0F;
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8) & 0x00FF_00FF_00FF_00FF;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_FFFF_0000_FFFF;
    let all = fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xFFFF_FFFF;
    u32::try_from(all).ok()
}

/// The places of the nodes that are still open, the top one first.
struct Open {
    indexes: [u32; DEPTH_MAX],
    depth: usize,
}

impl Open {
    #[inline(always)]
    fn enter(&mut self, index: usize) -> Option<()> {
        *self.indexes.get_mut(self.depth)? = u32::try_from(index).ok()?;
        self.depth = self.depth.wrapping_add(1);
        Some(())
    }

    #[inline(always)]
    fn leave(&mut self) -> Option<usize> {
        self.depth = self.depth.checked_sub(1)?;
        self.indexes.get(self.depth).map(|index| *index as usize)
    }
}

/// The nodes so far: those of the known tree, as long as they are the same.
struct Nodes<'a> {
    known: &'a [TreeNode],
    count: usize,
    /// All of them, once there was a difference.
    own: Option<Vec<TreeNode>>,
}

impl Nodes<'_> {
    #[inline(always)]
    fn add(&mut self, node: TreeNode) {
        let same = |known: &TreeNode| {
            (known.id, known.root, known.time_authority) == (node.id, node.root, node.time_authority)
        };
        if self.own.is_some() || !self.known.get(self.count).is_some_and(same) {
            self.differ().push(node);
        }
        self.count = self.count.wrapping_add(1);
    }

    /// Nothing more comes below the node at `index`.
    #[inline(always)]
    fn close(&mut self, index: usize) {
        let below = u32::try_from(self.count.saturating_sub(index).saturating_sub(1)).unwrap_or(u32::MAX);
        if self.own.is_none() && self.known.get(index).is_some_and(|known| known.descendants == below) {
            return;
        }
        if let Some(node) = self.differ().get_mut(index) {
            node.descendants = below;
        }
    }

    #[inline(always)]
    fn differ(&mut self) -> &mut Vec<TreeNode> {
        let (known, count) = (self.known, self.count);
        self.own.get_or_insert_with(|| copied(known, count))
    }

    fn tree(self) -> Option<Tree> {
        let same = self.own.is_none() && self.count == self.known.len();
        if same {
            return None;
        }
        let nodes = self.own.unwrap_or_else(|| copied(self.known, self.count));
        Some(Tree::of_nodes(nodes))
    }
}

/// The first `count` nodes, with room for about as many as the known tree has: it has changed a little.
#[inline(never)]
fn copied(known: &[TreeNode], count: usize) -> Vec<TreeNode> {
    let mut nodes = Vec::with_capacity(known.len().saturating_add(1));
    nodes.extend_from_slice(known.get(..count).unwrap_or_default());
    nodes
}

#[cfg(test)]
mod tests {
    use super::super::{Message, NodeSync, read};
    use super::*;

    #[test]
    fn other_spellings_are_left_to_others() {
        let long = |digits: &str| alloc::format!("{{\"nodeId\":{digits},\"type\":5,\"dest\":0,\"from\":1}}");
        for digits in ["0", "7", "10", "1234567", "12345678", "123456789", "4294967295"] {
            let sync = PlainSync::read(long(digits).as_bytes(), 9, None).unwrap();
            assert_eq!(sync.tree.unwrap().top().id.0, digits.parse().unwrap());
        }
        for digits in
            ["", "00", "01", "0000000001", "-1", "1.0", "4294967296", "10000000000", "1234567:", "/2345678"]
        {
            assert_eq!(PlainSync::read(long(digits).as_bytes(), 9, None), None, "{digits}");
        }
        for frame in [
            "",
            "{\"nodeId\":1,\"type\":5,\"dest\":0,\"from\":1",
            "{\"nodeId\":1,\"type\":5,\"dest\":0,\"from\":1}}",
            "{\"nodeId\":1,\"type\":5,\"dest\":0,\"from\":1,\"routing\":2}",
            "{\"nodeId\":1,\"type\":9,\"dest\":0,\"from\":1}",
            "{\"nodeId\":1,\"dest\":0,\"from\":1,\"type\":5}",
            "{\"nodeId\":1,\"root\":false,\"type\":5,\"dest\":0,\"from\":1}",
            "{\"nodeId\":1,\"subs\":[],\"type\":5,\"dest\":0,\"from\":1}",
            "{\"nodeId\":1,\"subs\":[{\"nodeId\":2},],\"type\":5,\"dest\":0,\"from\":1}",
            "{\"nodeId\":1,\"subs\":[{\"nodeId\":2]},\"type\":5,\"dest\":0,\"from\":1}",
            "{\"nodeId\":1,\"subs\":[{\"nodeId\":2}],\"subs\":[],\"type\":5,\"dest\":0,\"from\":1}",
        ] {
            assert_eq!(PlainSync::read(frame.as_bytes(), 9, None), None, "{frame}");
        }
    }

    /// A chain of so many nodes, written.
    fn chain(nodes: u32) -> Vec<u8> {
        let mut tree = Tree::leaf(NodeId(nodes));
        for id in (1..nodes).rev() {
            let below = core::mem::replace(&mut tree, Tree::leaf(NodeId(id)));
            tree.graft(&below);
        }
        NodeSync { reply: true, dest: NodeId(0), from: NodeId(1), tree }.encode()
    }

    #[test]
    fn a_chain_is_taken_as_deep_as_a_frame_may_be() {
        let deepest = chain(128);
        let tree = PlainSync::read(&deepest, 200, None).and_then(|sync| sync.tree);
        assert_eq!(tree, NodeSync::decode(&deepest, 200).map(|sync| sync.tree).ok());
        let Message { bytes, .. } = read(&deepest).unwrap();
        assert!(matches!(bytes, alloc::borrow::Cow::Borrowed(_)), "canonical");
        assert_eq!((PlainSync::read(&chain(129), 200, None), read(&chain(129)).is_err()), (None, true));
    }
}
