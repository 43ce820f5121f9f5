//! Node sync (types 5 and 6): how the tree is learned, kept and told on.
//!
//! Every request is answered at once with our tree less the asker's branch. A change on one link is told to
//! all others. Bursts are coalesced: while a request on a link is unanswered, or was sent less than
//! [`timers::SYNC_SPACING`] or twice its round trip ago, further changes wait and go as one, so that a long
//! chain settles without a storm of copies and a crowded channel is not crowded further.

use alloc::vec::Vec;

use super::link::{CloseReason, Link, LinkId, LinkRole};
use super::outbox::{Class, Priority};
use super::{Mesh, MeshConfig, MeshEvent, timers};
use crate::time::Instant;
use crate::wire::{Branch, DecodeError, NodeId, NodeSync, PlainSync, Tree, TreeNode};

impl Mesh {
    /// The whole tree with this node at its top.
    pub fn tree(&self) -> Tree {
        let own = self.own_node();
        let mut tree = Tree::leaf(own.id).flagged(own.root, own.time_authority);
        self.links.values().filter_map(Link::tree).for_each(|branch| tree.graft(branch));
        tree
    }

    fn own_node(&self) -> TreeNode {
        let MeshConfig { id, root, time_authority, .. } = self.config;
        TreeNode { id, descendants: 0, root, time_authority }
    }

    pub(super) fn send_sync_request(&mut self, now: Instant, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.sync.next = now + timers::NODE_SYNC;
        link.sync.last = Some(now);
        link.sync.deadline = Some(now + timers::NODE_TIMEOUT);
        link.sync.stale = false;
        self.send_sync(now, id, false);
    }

    /// Writes our tree, without the branch behind `id`, to that link.
    fn send_sync(&mut self, now: Instant, id: LinkId, reply: bool) {
        // Lent, because what is written is read from the other links; in order of connection, as ever.
        let Some(link) = self.links.get_mut(&id).filter(|link| link.closing.is_none()) else { return };
        let mut outbox = core::mem::take(&mut link.outbox);
        let dest = link.peer().unwrap_or(NodeId::NONE);
        let priority = if reply { Priority::High } else { Priority::Normal };
        let top = self.own_node();
        let others = self.links.iter().filter(|(other, _)| **other != id);
        let branches = others.filter_map(|(_, link)| link.branch.as_ref());
        let pushed = outbox.push_written(priority, Class::Protocol, |out| {
            NodeSync::write_own(out, reply, dest, &top, branches);
        });
        if let Some(link) = self.links.get_mut(&id) {
            link.outbox = outbox;
        }
        if !self.count_pushed(pushed, Class::Protocol) {
            self.close(now, id, CloseReason::QueueOverflow);
        }
    }

    /// Takes a node sync from the neighbour, if `frame` is one in the form in which everybody writes them.
    /// False, and nothing has happened, for any other frame.
    pub(super) fn handle_plain_sync(&mut self, now: Instant, id: LinkId, frame: &[u8]) -> bool {
        let known = self.links.get(&id).and_then(|link| link.branch.as_ref());
        let Some(sync) = PlainSync::read(frame, self.config.limits.nodes, known) else { return false };
        self.take_sync(now, id, sync.reply, sync.tree, Some(sync.text));
        true
    }

    /// A type 5 or 6 from the neighbour.
    pub(super) fn handle_node_sync(&mut self, now: Instant, id: LinkId, bytes: &[u8]) {
        match NodeSync::decode(bytes, self.config.limits.nodes) {
            Ok(sync) => self.take_sync(now, id, sync.reply, Some(sync.tree), None),
            Err(DecodeError::TOO_MANY_NODES) => self.close(now, id, CloseReason::TreeTooLarge),
            Err(_) => self.counters.packages_malformed += 1,
        }
    }

    /// The neighbour has this tree; the same as before when `None`. Its text, if that is as everybody writes it.
    fn take_sync(&mut self, now: Instant, id: LinkId, reply: bool, tree: Option<Tree>, text: Option<&[u8]>) {
        let Some(link) = self.links.get(&id) else { return };
        let Some(said) = tree.as_ref().or(link.tree()) else { return };
        if let Some(reason) = self.refuse(id, said) {
            return self.close(now, id, reason);
        }
        let first = link.branch.is_none();
        match tree.and_then(|tree| changed(link.tree(), tree, text, reply)) {
            Some((tree, text)) => self.adopt_tree(now, id, tree, text),
            None => self.sync_unchanged(now, id),
        }
        if first {
            self.establish(now, id);
        }
        if reply {
            self.sync_answered(now, id);
        } else {
            self.send_sync(now, id, true);
        }
    }

    fn sync_unchanged(&mut self, now: Instant, id: LinkId) {
        // What the neighbour must still be told is not put off.
        if let Some(link) = self.links.get_mut(&id).filter(|link| !link.sync.stale) {
            link.sync.next = now + timers::NODE_SYNC;
        }
    }

    /// Why a neighbour's tree is not taken, if it is not.
    fn refuse(&self, id: LinkId, tree: &Tree) -> Option<CloseReason> {
        let top = tree.top().id;
        let newest = self.links.keys().next_back() == Some(&id);
        let below = tree.nodes().get(1..).unwrap_or_default();
        let first = match self.links.get(&id)?.peer() {
            Some(peer) if peer != top => return Some(CloseReason::InvalidTree),
            peer => peer.is_none(),
        };
        if top == NodeId::NONE || below.iter().any(|node| node.id == top) {
            Some(CloseReason::InvalidTree)
        } else if top == self.config.id {
            Some(CloseReason::ClaimsOurId)
        } else if first && self.link_to(top).is_some() {
            Some(CloseReason::AlreadyConnected)
        } else if (first || newest) && tree.contains(self.config.id) {
            // Both ends of a ring see it; the youngest link goes, and redials find an open end.
            Some(CloseReason::Ring)
        } else {
            None
        }
    }

    fn adopt_tree(&mut self, now: Instant, id: LinkId, tree: Tree, text: Option<&[u8]>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let known = link.branch.take();
        link.branch = Some(match text {
            Some(text) => Branch::of_plain(tree, text, known),
            None => Branch::new(tree),
        });
        self.tree_changed(now, id);
    }

    /// The first sync on a link: the neighbour has a name now.
    fn establish(&mut self, now: Instant, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let Some(peer) = link.peer() else { return };
        let dialler = link.role == LinkRole::Dialler;
        link.time.next = Some(now + timers::TIME_SYNC_RETRY);
        self.push_event(MeshEvent::LinkUp { link: id, peer });
        if dialler {
            self.start_time_sync(now, id);
        }
    }

    fn sync_answered(&mut self, now: Instant, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if let Some(last) = link.sync.deadline.take().and(link.sync.last) {
            link.round_trip = Some(now.since(last));
        }
        self.tell_if_stale(now, id);
    }

    /// The tree has changed behind `source`: all other neighbours must know.
    pub(super) fn tree_changed(&mut self, now: Instant, source: LinkId) {
        self.revision += 1;
        self.push_event(MeshEvent::TopologyChanged { revision: self.revision });
        let others: Vec<LinkId> = self.links.keys().copied().filter(|id| *id != source).collect();
        for id in others {
            // A neighbour that has not synced yet hears of it too, if our first request is on its way.
            if let Some(link) =
                self.links.get_mut(&id).filter(|link| link.branch.is_some() || link.sync.last.is_some())
            {
                link.sync.stale = true;
            }
            self.tell_if_stale(now, id);
        }
    }

    /// Sends the request that a change wants, unless one is on its way: then its answer brings us back here.
    fn tell_if_stale(&mut self, now: Instant, id: LinkId) {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.sync.stale) else { return };
        if link.sync.deadline.is_some() {
            return;
        }
        // On a crowded channel an answer takes long, and a storm of syncs would make it take longer still,
        // until the time-out closes links and makes more changes: leave the channel alone twice as long.
        let crowded = link.round_trip.unwrap_or_default().saturating_mul(2);
        let spacing = timers::SYNC_SPACING.max(crowded);
        match link.sync.last.map(|last| last + spacing) {
            Some(earliest) if earliest > now => link.sync.next = earliest,
            _ => self.send_sync_request(now, id),
        }
    }

    pub(super) fn synced_links(&self) -> impl Iterator<Item = LinkId> + '_ {
        self.links.iter().filter(|(_, link)| link.branch.is_some()).map(|(id, _)| *id)
    }

    /// Queues one of the protocol's own messages; a link that does not even take those is closed.
    pub(super) fn queue_own(&mut self, now: Instant, id: LinkId, frame: &[u8], priority: Priority) {
        if !self.queue(id, frame, priority, Class::Protocol) {
            self.close(now, id, CloseReason::QueueOverflow);
        }
    }
}

/// What a neighbour's tree has become by `new`, and its text if that is known, unless it is what it was.
fn changed<'a>(
    old: Option<&Tree>,
    mut new: Tree,
    mut text: Option<&'a [u8]>,
    reply: bool,
) -> Option<(Tree, Option<&'a [u8]>)> {
    let authority = |tree: &Tree| tree.top().time_authority;
    if reply && old.is_some_and(authority) && !authority(&new) {
        // C++ nodes leave their own time authority out of replies, so there its absence says nothing.
        let root = new.top().root;
        (new, text) = (new.flagged(root, true), None);
    }
    if old == Some(&new) { None } else { Some((new, text)) }
}
