//! The tree of nodes that node syncs carry, as one flat list in preorder.
//!
//! A node knows how many nodes hang below it, so a branch is a slice and nothing is recursive, however
//! long the chain. Refuses trees with more nodes than the caller allows. Whether a tree makes sense in a
//! mesh (an id twice, an id of 0) is for the routing code to judge; C++ nodes take such trees.

use super::error::DecodeError;
use super::id::NodeId;
use super::json::Value;
use super::scan::{self, Rules};
use super::{Key, MAX_DEPTH};
use alloc::vec;
use alloc::vec::Vec;

/// One node of a [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeNode {
    /// Its id; 0 when it was sent without one.
    pub id: NodeId,
    /// How many nodes are below it: the ones that come right after it in the list.
    pub descendants: u32,
    /// It says of itself that it is the root of the mesh.
    pub root: bool,
    /// It says of itself that it knows civil time.
    pub time_authority: bool,
}

/// A node and all nodes that are reached through it, in preorder. Never empty.
///
/// Equality includes the order of branches, as with C++ nodes, to whom a tree with its branches swapped is
/// a changed one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    nodes: Vec<TreeNode>,
}

impl Tree {
    /// The tree of a node that is alone.
    pub fn leaf(id: NodeId) -> Self {
        Self { nodes: vec![TreeNode { id, descendants: 0, root: false, time_authority: false }] }
    }

    /// The tree of these nodes in preorder, at least one, whose `descendants` are right.
    pub(super) fn of_nodes(nodes: Vec<TreeNode>) -> Self {
        Self { nodes }
    }

    /// The same tree, its top node with these flags.
    #[must_use]
    pub fn flagged(mut self, root: bool, time_authority: bool) -> Self {
        if let Some(top) = self.nodes.first_mut() {
            top.root = root;
            top.time_authority = time_authority;
        }
        self
    }

    /// All nodes in preorder, the top first.
    pub fn nodes(&self) -> &[TreeNode] {
        &self.nodes
    }

    /// The node that all others are below.
    pub fn top(&self) -> &TreeNode {
        const NOBODY: TreeNode =
            TreeNode { id: NodeId::NONE, descendants: 0, root: false, time_authority: false };
        self.nodes.first().unwrap_or(&NOBODY)
    }

    /// How many nodes there are, the top included: at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a tree is never empty")]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether a node has this id. Looks at every node.
    pub fn contains(&self, id: NodeId) -> bool {
        self.nodes.iter().any(|node| node.id == id)
    }

    /// All ids in preorder.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.nodes.iter().map(|node| node.id)
    }

    /// Adds `sub` as the last branch of the top node.
    pub fn graft(&mut self, sub: &Self) {
        self.nodes.extend_from_slice(&sub.nodes);
        let below = u32::try_from(self.nodes.len().saturating_sub(1)).unwrap_or(u32::MAX);
        if let Some(top) = self.nodes.first_mut() {
            top.descendants = below;
        }
    }

    /// Every node in preorder with its depth (0 for the top) and the node above it.
    pub fn depths(&self) -> Depths<'_> {
        Depths { nodes: &self.nodes, at: 0, above: Vec::new() }
    }

    /// Whether any node says that it is the root of the mesh.
    pub fn is_rooted(&self) -> bool {
        self.nodes.iter().any(|node| node.root)
    }

    /// Appends the tree as C++ nodes write it: the top's object, `nodeId` first, then `root`, `hasTimeAuthority` and
    /// `subs` where there is something to say.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        write_branches(out, &self.nodes);
    }

    /// Reads the tree whose top is the object that `frame` is; fields that are not of the tree are passed
    /// over.
    pub(super) fn decode(frame: &[u8], max_nodes: usize) -> Result<Self, DecodeError> {
        let mut reader = Reader { nodes: Vec::new(), open: Vec::new(), max_nodes };
        reader.run(frame)?;
        Ok(Self { nodes: reader.nodes })
    }
}

/// Appends an object's beginning: the node's own fields.
#[inline(always)]
pub(super) fn write_node(out: &mut Vec<u8>, node: &TreeNode) {
    // In pieces of a fixed length, where they can be: a sync has hundreds of these.
    let digits = ten_digits(node.id.0);
    match digits {
        [b'0', rest @ ..] => {
            out.extend_from_slice(b"{\"nodeId\":");
            let zeros = rest.iter().take_while(|digit| **digit == b'0').count();
            out.extend_from_slice(rest.get(zeros..).filter(|rest| !rest.is_empty()).unwrap_or(b"0"));
        }
        [a, b, c, d, e, f, g, h, i, j] => out.extend_from_slice(&[
            b'{', b'"', b'n', b'o', b'd', b'e', b'I', b'd', b'"', b':', a, b, c, d, e, f, g, h, i, j,
        ]),
    }
    if node.root || node.time_authority {
        write_flags(out, node);
    }
}

#[inline(never)]
fn write_flags(out: &mut Vec<u8>, node: &TreeNode) {
    if node.root {
        out.extend_from_slice(b",\"root\":true");
    }
    if node.time_authority {
        out.extend_from_slice(b",\"hasTimeAuthority\":true");
    }
}

/// All ten digits of `number`, with zeros in front.
#[inline(always)]
fn ten_digits(number: u32) -> [u8; 10] {
    let (two, eight) = (number / 100_000_000, number % 100_000_000);
    // As in reading, backwards and all at once: fours, pairs, digits, each half in a lane of its own. A product and
    // a shift divide, exactly for numbers as small as these.
    let fours = u64::from(eight / 10_000) | u64::from(eight % 10_000) << 32;
    let hundreds = fours.wrapping_mul(10_486) >> 20 & 0x0000_007F_0000_007F;
    let pairs = hundreds | fours.wrapping_sub(hundreds.wrapping_mul(100)) << 16;
    let tens = pairs.wrapping_mul(103) >> 10 & 0x000F_000F_000F_000F;
    let all = tens | pairs.wrapping_sub(tens.wrapping_mul(10)) << 8;
    let [c, d, e, f, g, h, i, j] = (all | 0x3030_3030_3030_3030).to_le_bytes();
    let (a, b) = (b'0'.wrapping_add((two / 10) as u8), b'0'.wrapping_add((two % 10) as u8));
    [a, b, c, d, e, f, g, h, i, j]
}

/// Appends `nodes`, whole branches in preorder, with commas between them.
fn write_branches(out: &mut Vec<u8>, nodes: &[TreeNode]) {
    // Where, in `nodes`, each array that is still open ends.
    let mut ends: Vec<usize> = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let next = index.saturating_add(1);
        write_node(out, node);
        if node.descendants > 0 {
            out.extend_from_slice(b",\"subs\":[");
            ends.push(next.saturating_add(node.descendants as usize));
            continue;
        }
        out.push(b'}');
        while ends.last().is_some_and(|end| *end <= next) {
            ends.pop();
            out.extend_from_slice(b"]}");
        }
        if next < nodes.len() {
            out.push(b',');
        }
    }
}

/// The nodes of a [`Tree`] with their depths, see [`Tree::depths`].
#[derive(Clone, Debug)]
pub struct Depths<'a> {
    nodes: &'a [TreeNode],
    at: usize,
    /// The nodes above the next one: where each branch ends, and the id.
    above: Vec<(usize, NodeId)>,
}

impl Iterator for Depths<'_> {
    type Item = (NodeId, u32, Option<NodeId>);

    fn next(&mut self) -> Option<Self::Item> {
        let node = self.nodes.get(self.at)?;
        while self.above.last().is_some_and(|(end, _)| *end <= self.at) {
            self.above.pop();
        }
        let depth = u32::try_from(self.above.len()).unwrap_or(u32::MAX);
        let parent = self.above.last().map(|(_, id)| *id);
        self.at = self.at.saturating_add(1);
        if node.descendants > 0 {
            self.above.push((self.at.saturating_add(node.descendants as usize), node.id));
        }
        Some((node.id, depth, parent))
    }
}

/// A node whose object is still open.
struct OpenNode {
    /// Its place in the list.
    index: usize,
    /// What stands in `nodeId` when that is an integer of 32 bits.
    id: Option<u32>,
    /// What stands in `from`, and counts when there is no id.
    from: u32,
}

/// What the text is expected to go on with.
enum Step {
    /// A field of the innermost node, or the end of its object.
    Field,
    /// A comma or the end of the innermost node's object.
    AfterField,
    /// An element of the innermost node's `subs`, or the end of the array.
    Element,
    /// A comma or the end of the array.
    AfterElement,
}

/// Builds the list in one pass over the text.
struct Reader {
    nodes: Vec<TreeNode>,
    open: Vec<OpenNode>,
    max_nodes: usize,
}

const NOT_A_TREE: DecodeError = DecodeError::new("subs", "objects inside arrays inside objects");

impl Reader {
    fn run(&mut self, frame: &[u8]) -> Result<(), DecodeError> {
        let mut rest = frame.strip_prefix(b"{").ok_or(NOT_A_TREE)?;
        self.enter()?;
        let mut step = Step::Field;
        while !self.open.is_empty() {
            (step, rest) = match step {
                Step::Field => match rest.strip_prefix(b"}") {
                    Some(rest) => (self.leave(), rest),
                    None => self.field(rest)?,
                },
                Step::AfterField => match rest.split_first() {
                    Some((b',', rest)) => (Step::Field, rest),
                    Some((b'}', rest)) => (self.leave(), rest),
                    _ => return Err(NOT_A_TREE),
                },
                Step::Element => match rest.split_first() {
                    Some((b']', rest)) => (Step::AfterField, rest),
                    Some((b'{', rest)) => {
                        self.enter()?;
                        (Step::Field, rest)
                    }
                    _ => self.odd_element(rest)?,
                },
                Step::AfterElement => match rest.split_first() {
                    Some((b',', rest)) => (Step::Element, rest),
                    Some((b']', rest)) => (Step::AfterField, rest),
                    _ => return Err(NOT_A_TREE),
                },
            };
        }
        Ok(())
    }

    /// Begins a node.
    fn enter(&mut self) -> Result<(), DecodeError> {
        if self.nodes.len() >= self.max_nodes {
            return Err(DecodeError::TOO_MANY_NODES);
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(NOT_A_TREE);
        }
        self.open.push(OpenNode { index: self.nodes.len(), id: None, from: 0 });
        self.nodes.push(TreeNode { id: NodeId::NONE, descendants: 0, root: false, time_authority: false });
        Ok(())
    }

    /// Ends the innermost node.
    fn leave(&mut self) -> Step {
        if let Some(open) = self.open.pop() {
            let below = self.nodes.len().saturating_sub(open.index).saturating_sub(1);
            if let Some(node) = self.nodes.get_mut(open.index) {
                node.id = NodeId(open.id.unwrap_or(open.from));
                node.descendants = u32::try_from(below).unwrap_or(u32::MAX);
            }
        }
        Step::AfterElement
    }

    /// An element that is no object reads as a node without an id.
    fn odd_element<'a>(&mut self, text: &'a [u8]) -> Result<(Step, &'a [u8]), DecodeError> {
        let (_, rest) = Value::split(text).ok_or(NOT_A_TREE)?;
        self.enter()?;
        Ok((self.leave(), rest))
    }

    /// Reads a field of the innermost node. Where a key comes twice the last one counts.
    fn field<'a>(&mut self, text: &'a [u8]) -> Result<(Step, &'a [u8]), DecodeError> {
        let (key, text) = scan::key(text, Rules::TRUSTED).ok_or(NOT_A_TREE)?;
        let open = self.open.last_mut().ok_or(NOT_A_TREE)?;
        let key = Key::from(key);
        let name = key.name();
        if *name == *b"subs" {
            self.nodes.truncate(open.index.saturating_add(1));
            if let Some(rest) = text.strip_prefix(b"[") {
                return Ok((Step::Element, rest));
            }
        }
        let node = self.nodes.get_mut(open.index).ok_or(NOT_A_TREE)?;
        let (value, rest) = Value::split(text).ok_or(NOT_A_TREE)?;
        match &*name {
            b"nodeId" => open.id = value.is_u32().then(|| value.as_u32()),
            b"from" => open.from = value.as_u32(),
            b"root" => node.root = value.is_bool() && value.as_bool(),
            b"hasTimeAuthority" => node.time_authority = value.is_bool() && value.as_bool(),
            _ => {}
        }
        Ok((Step::AfterField, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str) -> Result<Tree, DecodeError> {
        Tree::decode(text.as_bytes(), 100)
    }

    fn encoded(tree: &Tree) -> alloc::string::String {
        let mut out = Vec::new();
        tree.write(&mut out);
        alloc::string::String::from_utf8(out).unwrap()
    }

    /// 1 over 2 and 4, 2 over 3.
    fn four() -> Tree {
        let mut two = Tree::leaf(NodeId(2));
        two.graft(&Tree::leaf(NodeId(3)).flagged(true, false));
        let mut tree = Tree::leaf(NodeId(1)).flagged(false, true);
        tree.graft(&two);
        tree.graft(&Tree::leaf(NodeId(4)));
        tree
    }

    #[test]
    fn trees_are_written_and_read() {
        let text = "{\"nodeId\":1,\"hasTimeAuthority\":true,\"subs\":[{\"nodeId\":2,\"subs\":[{\"nodeId\":3,\
                    \"root\":true}]},{\"nodeId\":4}]}";
        assert_eq!(encoded(&four()), text);
        assert_eq!(decode(text).unwrap(), four());
        assert_eq!(four().ids().map(|id| id.0).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(four().nodes().iter().map(|node| node.descendants).collect::<Vec<_>>(), [3, 1, 0, 0]);
        assert!(four().is_rooted() && !Tree::leaf(NodeId(1)).is_rooted());
        assert!(four().contains(NodeId(3)) && !four().contains(NodeId(5)));
    }

    #[test]
    fn ids_of_every_length_are_written() {
        let ends =
            (0..10).flat_map(|power| [10_u32.pow(power) - 1, 10_u32.pow(power), 10_u32.pow(power) + 1]);
        let mixed = (0..40_000_u32).map(|index| index.wrapping_mul(2_654_435_761));
        for id in ends.chain(0..10_001).chain(mixed).chain([u32::MAX]) {
            let mut out = Vec::new();
            write_node(&mut out, Tree::leaf(NodeId(id)).top());
            assert_eq!(out, alloc::format!("{{\"nodeId\":{id}").into_bytes());
        }
    }

    #[test]
    fn depths_name_the_node_above() {
        let depths: Vec<_> =
            four().depths().map(|(id, depth, above)| (id.0, depth, above.map(|id| id.0))).collect();
        assert_eq!(depths, [(1, 0, None), (2, 1, Some(1)), (3, 2, Some(2)), (4, 1, Some(1))]);
    }

    #[test]
    fn odd_trees_read_as_in_cpp() {
        for (text, want) in [
            ("{}", "{\"nodeId\":0}"),
            ("{\"from\":7}", "{\"nodeId\":7}"),
            ("{\"from\":7,\"nodeId\":-1}", "{\"nodeId\":7}"),
            ("{\"nodeId\":\"5\",\"from\":\"7\"}", "{\"nodeId\":7}"),
            ("{\"nodeId\":5,\"nodeId\":6}", "{\"nodeId\":6}"),
            ("{\"root\":1,\"hasTimeAuthority\":\"x\"}", "{\"nodeId\":0}"),
            ("{\"subs\":[{\"from\":8}],\"nodeId\":1}", "{\"nodeId\":1,\"subs\":[{\"nodeId\":8}]}"),
            ("{\"subs\":[5,[{}]],\"nodeId\":1}", "{\"nodeId\":1,\"subs\":[{\"nodeId\":0},{\"nodeId\":0}]}"),
            ("{\"subs\":[{\"nodeId\":2}],\"subs\":[]}", "{\"nodeId\":0}"),
            ("{\"subs\":[{\"nodeId\":2}],\"subs\":{}}", "{\"nodeId\":0}"),
            ("{\"s\\u0075bs\":[{\"nodeId\":2}]}", "{\"nodeId\":0,\"subs\":[{\"nodeId\":2}]}"),
        ] {
            assert_eq!(encoded(&decode(text).unwrap()), want, "{text}");
        }
    }

    #[test]
    fn too_many_nodes_and_broken_text_are_refused() {
        assert!(Tree::decode(b"{\"subs\":[{},{}]}", 3).is_ok());
        assert!(Tree::decode(b"{\"subs\":[{},{}]}", 2).is_err());
        assert!(Tree::decode(b"{\"subs\":[1,1]}", 2).is_err());
        for text in ["", "[]", "{", "{\"subs\":[", "{\"subs\":[{}", "{\"subs\":[{}}", "{\"a\":}"] {
            assert!(decode(text).is_err(), "{text}");
        }
    }
}
