//! Node syncs in the one form in which C++ nodes and ours write them, and of those only what is new.
//!
//! Nearly all that a mesh says while nothing happens are node syncs, long ones, and nearly all of them say what the
//! last one said; while something happens, they differ from the last one in a branch or two. [`PlainSync::read`]
//! therefore takes apart only what [`NodeSync::encode`](super::NodeSync::encode) writes, passes over how the text
//! begins and ends as the last one did, and reads what is between. It refuses, by `None`, every other text, which
//! says nothing about that: [`read`](super::read) and [`NodeSync::decode`](super::NodeSync::decode) decide, and what
//! is taken here is canonical and reads the same to them.

use super::branch::Branch;
use super::id::NodeId;
use super::tree::{Tree, TreeNode};
use super::{MAX_DEPTH, kind};
use alloc::vec::Vec;

/// The deepest tree that is read here: every node is an object, and all but the top one are in an array.
const DEPTH_MAX: usize = MAX_DEPTH.div_ceil(2);
/// What every node begins with.
const BEGIN: &[u8] = b"{\"nodeId\":";
/// Bytes that a node takes, as a rule: its id has ten digits, or nine.
const NODE_BYTES: usize = 21;
/// Bytes that the fields behind the tree take at most.
const END_MAX: usize = 46;

/// A node sync, compared with what is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainSync<'a> {
    /// Type 6, the answer, rather than type 5, which asks for one.
    pub reply: bool,
    /// The neighbour; nobody in the first sync of a dialler.
    pub dest: NodeId,
    /// The sender.
    pub from: NodeId,
    /// Its tree; `None` when that is the known one, to the last flag.
    pub tree: Option<Tree>,
    /// The text of its tree, for [`Branch::of_plain`].
    pub text: &'a [u8],
}

impl<'a> PlainSync<'a> {
    /// Reads a frame with at most `max_nodes` nodes in its tree. `known` is compared with; nothing is
    /// allocated while there is no difference.
    pub fn read(frame: &'a [u8], max_nodes: usize, known: Option<&Branch>) -> Option<Self> {
        if !frame.starts_with(BEGIN) {
            return None;
        }
        let ends = frame.len().saturating_sub(END_MAX);
        let from_type = frame.get(ends..)?.windows(8).position(|field| field == b",\"type\":")?;
        let (text, end) = frame.split_at_checked(ends.saturating_add(from_type))?;
        let (reply, dest, from) = self::end(end)?;
        let (known_text, known) =
            known.map_or((&[][..], &[][..]), |known| (known.open_text(), known.tree().nodes()));
        let tree =
            if text == known_text { None } else { Some(read_tree(text, max_nodes, known_text, known)?) };
        Some(PlainSync { reply, dest, from, tree, text })
    }
}

/// The fields behind the tree: whether it is an answer, for whom, from whom.
fn end(text: &[u8]) -> Option<(bool, NodeId, NodeId)> {
    let (kind, rest) = number(text.strip_prefix(b",\"type\":")?)?;
    let (dest, rest) = number(rest.strip_prefix(b",\"dest\":")?)?;
    let (from, rest) = number(rest.strip_prefix(b",\"from\":")?)?;
    let reply = match i32::try_from(kind).ok()? {
        kind::NODE_SYNC_REQUEST => false,
        kind::NODE_SYNC_REPLY => true,
        _ => return None,
    };
    (*rest == *b"}").then_some((reply, NodeId(dest), NodeId(from)))
}

/// The tree of a text, in which nothing follows the top's last field. `known` are the nodes of `known_text`.
fn read_tree(text: &[u8], max_nodes: usize, known_text: &[u8], known: &[TreeNode]) -> Option<Tree> {
    let start = same_start(text, known_text);
    let (mut rest, known_rest) = (text.get(start..)?, known_text.get(start..)?);
    let same_end = same_end(rest, known_rest);
    let before = nodes_before(start, known_text, known.len())?;
    let from = nodes_before(known_text.len().checked_sub(same_end)?, known_text, known.len())?;
    // It has changed a little, as a rule.
    let more = text.len().saturating_sub(known_text.len()).div_ceil(NODE_BYTES);
    let mut nodes = Vec::with_capacity(known.len().saturating_add(more).min(max_nodes));
    nodes.extend_from_slice(known.get(..before)?);
    let mut open = Open { indexes: [0; DEPTH_MAX], depth: 0 };
    open.enter_above(before, known)?;
    // Into a node, then out of it and of those above it, until the rest is known, or there are no more above.
    while rest.len() > same_end {
        if nodes.len() >= max_nodes {
            return None;
        }
        let (node, after) = self::node(rest)?;
        open.enter(nodes.len())?;
        nodes.push(node);
        rest = match after.strip_prefix(b",\"subs\":[") {
            Some(below) => below,
            None => match up(after, &mut open, &mut nodes)? {
                Some(next) => next,
                None => return Some(Tree::of_nodes(nodes)),
            },
        };
    }
    open.leave_as(from, known, &mut nodes)?;
    nodes.extend_from_slice(known.get(from..)?);
    (nodes.len() <= max_nodes).then(|| Tree::of_nodes(nodes))
}

/// How many of all nodes of a text begin before this place.
fn nodes_before(place: usize, text: &[u8], all: usize) -> Option<usize> {
    // Nothing else begins with this brace. The shorter part is looked through.
    let nodes_in = |text: &[u8]| memchr::memchr_iter(b'{', text).count();
    let (before, behind) = text.split_at_checked(place)?;
    if before.len() < behind.len() { Some(nodes_in(before)) } else { all.checked_sub(nodes_in(behind)) }
}

/// Where the last node begins that stands, at least with its brace, at the beginning of both texts.
fn same_start(text: &[u8], known: &[u8]) -> usize {
    let ((blocks, _), (known_blocks, _)) = (text.as_chunks::<BLOCK>(), known.as_chunks());
    let blocks = blocks.iter().zip(known_blocks).take_while(|(a, b)| a == b).count().saturating_mul(BLOCK);
    let (rest, known_rest) = (text.get(blocks..), known.get(blocks..));
    let bytes = rest.into_iter().flatten().zip(known_rest.into_iter().flatten());
    let same = blocks.saturating_add(bytes.take_while(|(a, b)| a == b).count());
    text.get(..same).and_then(|same| memchr::memrchr(b'{', same)).unwrap_or(0)
}

/// How many bytes at the end are the same.
fn same_end(text: &[u8], known: &[u8]) -> usize {
    let ((_, blocks), (_, known_blocks)) = (text.as_rchunks::<BLOCK>(), known.as_rchunks());
    let pairs = blocks.iter().rev().zip(known_blocks.iter().rev());
    let blocks = pairs.take_while(|(a, b)| a == b).count().saturating_mul(BLOCK);
    let left = |text: &[u8]| text.len().saturating_sub(blocks);
    let (rest, known_rest) = (text.get(..left(text)), known.get(..left(known)));
    let bytes = rest.into_iter().flatten().rev().zip(known_rest.into_iter().flatten().rev());
    blocks.saturating_add(bytes.take_while(|(a, b)| a == b).count())
}

/// Texts are compared by so many bytes at once.
const BLOCK: usize = 32;

/// Goes up from a node that has nothing more below it. The beginning of the next one; `None` if it was the last.
fn up<'a>(mut rest: &'a [u8], open: &mut Open, nodes: &mut [TreeNode]) -> Option<Option<&'a [u8]>> {
    loop {
        let index = open.leave()?;
        let below = nodes.len().checked_sub(index)?.checked_sub(1)?;
        nodes.get_mut(index)?.descendants = u32::try_from(below).ok()?;
        rest = match rest {
            [] if open.depth == 0 => return Some(None),
            [b'}', b',', rest @ ..] if open.depth > 0 => return Some(Some(rest)),
            [b'}', b']', rest @ ..] if open.depth > 0 => rest,
            _ => return None,
        };
    }
}

/// The id and the flags of the node that `text` begins with, and the text after them.
#[inline(always)]
fn node(text: &[u8]) -> Option<(TreeNode, &[u8])> {
    let (id, mut rest) = match ten_digit_id(text) {
        Some(read) => read,
        None => number(text.strip_prefix(BEGIN)?)?,
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

    /// Enters the nodes of a list that those from `index` on are below.
    fn enter_above(&mut self, index: usize, nodes: &[TreeNode]) -> Option<()> {
        above(index, nodes).try_for_each(|(above, _)| self.enter(above))
    }

    /// Leaves the nodes of `nodes` that are open as those of `known` are left that are open at `from`.
    fn leave_as(&mut self, from: usize, known: &[TreeNode], nodes: &mut [TreeNode]) -> Option<()> {
        let mut opened = 0_usize;
        for (above, node) in above(from, known) {
            let index = *self.indexes.get(..self.depth)?.get(opened)? as usize;
            // Of those below it, as many come yet as there.
            let come = above.checked_add(node.descendants as usize)?.checked_add(1)?.checked_sub(from)?;
            let below = nodes.len().checked_sub(index)?.checked_sub(1)?.checked_add(come)?;
            nodes.get_mut(index)?.descendants = u32::try_from(below).ok()?;
            opened = opened.saturating_add(1);
        }
        (opened == self.depth).then_some(())
    }
}

/// The nodes of a preorder list that the one at `index` is below, the top first, with their places.
fn above(index: usize, nodes: &[TreeNode]) -> impl Iterator<Item = (usize, &TreeNode)> {
    let mut at = 0_usize;
    core::iter::from_fn(move || {
        while at < index {
            let (here, node) = (at, nodes.get(at)?);
            let behind = here.checked_add(node.descendants as usize)?.checked_add(1)?;
            if behind > index {
                at = here.saturating_add(1);
                return Some((here, node));
            }
            at = behind;
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Message, NodeSync, read};
    use super::*;

    #[test]
    fn other_spellings_are_left_to_others() {
        let long = |digits: &str| alloc::format!("{{\"nodeId\":{digits},\"type\":5,\"dest\":0,\"from\":1}}");
        for digits in ["0", "7", "10", "1234567", "12345678", "123456789", "4294967295"] {
            let tree = PlainSync::read(long(digits).as_bytes(), 9, None).and_then(|sync| sync.tree);
            assert_eq!(tree.unwrap().top().id.0, digits.parse().unwrap());
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
