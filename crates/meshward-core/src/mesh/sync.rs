//! Node sync (types 5 and 6): how the tree is learned, kept and told on.
//!
//! Every request is answered at once with our tree less the asker's branch. A change on one link is told to
//! all others. Bursts are coalesced: while a request on a link is unanswered, or was sent less than
//! [`timers::SYNC_SPACING`] or twice its round trip ago, further changes wait and go as one, so that a long
//! chain settles without a storm of copies and a crowded channel is not crowded further.

use alloc::vec::Vec;

use super::link::{CloseReason, LinkId, LinkRole};
use super::outbox::{Class, Priority};
use super::{Mesh, MeshEvent, timers};
use crate::time::Instant;
use crate::wire::{DecodeError, NodeId, NodeSync, Tree};

impl Mesh {
    /// Our tree, without the branch behind `except`.
    pub(super) fn tree_without(&self, except: Option<LinkId>) -> Tree {
        let mut tree = Tree::leaf(self.config.id).flagged(self.config.root, self.config.time_authority);
        for (id, link) in &self.links {
            if let Some(branch) = link.tree.as_ref().filter(|_| Some(*id) != except) {
                tree.graft(branch);
            }
        }
        tree
    }

    pub(super) fn send_sync_request(&mut self, now: Instant, id: LinkId) {
        let tree = self.tree_without(Some(id));
        let Some(link) = self.links.get_mut(&id) else { return };
        link.sync.next = now + timers::NODE_SYNC;
        link.sync.last = Some(now);
        link.sync.deadline = Some(now + timers::NODE_TIMEOUT);
        link.sync.stale = false;
        self.send_sync(now, id, false, tree);
    }

    fn send_sync(&mut self, now: Instant, id: LinkId, reply: bool, tree: Tree) {
        let dest = self.links.get(&id).and_then(|link| link.peer()).unwrap_or(NodeId::NONE);
        let sync = NodeSync { reply, dest, from: self.config.id, tree };
        let priority = if reply { Priority::High } else { Priority::Normal };
        self.queue_own(now, id, &sync.encode(), priority);
    }

    /// A type 5 or 6 from the neighbour.
    pub(super) fn handle_node_sync(&mut self, now: Instant, id: LinkId, bytes: &[u8]) {
        let mut sync = match NodeSync::decode(bytes, self.config.limits.nodes) {
            Ok(sync) => sync,
            Err(DecodeError::TOO_MANY_NODES) => return self.close(now, id, CloseReason::TreeTooLarge),
            Err(_) => {
                self.counters.packages_malformed += 1;
                return;
            }
        };
        if let Some(reason) = self.refuse(id, &sync.tree) {
            return self.close(now, id, reason);
        }
        let Some(link) = self.links.get_mut(&id) else { return };
        if let (true, Some(old)) = (sync.reply, &link.tree) {
            // C++ nodes leave their own time authority out of replies, so there its absence says nothing.
            let top = sync.tree.top();
            let (root, authority) = (top.root, top.time_authority || old.top().time_authority);
            sync.tree = sync.tree.flagged(root, authority);
        }
        let first = link.tree.is_none();
        if link.tree.as_ref() == Some(&sync.tree) {
            // What the neighbour must still be told is not put off.
            if !link.sync.stale {
                link.sync.next = now + timers::NODE_SYNC;
            }
        } else {
            self.adopt_tree(now, id, sync.tree);
        }
        if first {
            self.establish(now, id);
        }
        if sync.reply {
            self.sync_answered(now, id);
        } else {
            let tree = self.tree_without(Some(id));
            self.send_sync(now, id, true, tree);
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
        } else if first && self.routes.link_to(top).is_some() {
            Some(CloseReason::AlreadyConnected)
        } else if (first || newest) && tree.contains(self.config.id) {
            // Both ends of a ring see it; the youngest link goes, and redials find an open end.
            Some(CloseReason::Ring)
        } else {
            None
        }
    }

    fn adopt_tree(&mut self, now: Instant, id: LinkId, tree: Tree) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let old = link.tree.replace(tree);
        self.routes.replace(id, old.as_ref(), link.tree.as_ref());
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
                self.links.get_mut(&id).filter(|link| link.tree.is_some() || link.sync.last.is_some())
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
        self.links.iter().filter(|(_, link)| link.tree.is_some()).map(|(id, _)| *id)
    }

    /// Queues one of the protocol's own messages; a link that does not even take those is closed.
    pub(super) fn queue_own(&mut self, now: Instant, id: LinkId, frame: &[u8], priority: Priority) {
        if !self.queue(id, frame, priority, Class::Protocol) {
            self.close(now, id, CloseReason::QueueOverflow);
        }
    }
}
