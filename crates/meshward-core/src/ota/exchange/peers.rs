//! Whom a node talks to about updates: which neighbours are Meshward nodes, and who is asked for what is missing.
//!
//! Asked is the nearest Meshward node on the way to whoever began the roll-out: so what got lost is sent again
//! over one link only. A neighbour that has not said what it holds is a stock node and passed over; one further
//! away is found to be one by its silence. When the beginner is gone, or gives nothing, the neighbours that hold
//! the payload are asked in turn.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::mesh::{LinkId, Mesh};
use crate::ota::Tag;
use crate::time::{Duration, Instant};
use crate::wire::NodeId;

/// Nodes on the way that are known to be silent; the oldest is forgotten.
const SILENT_MAX: usize = 16;
/// A node further away is silent when it has not answered for so long, so often.
const ANSWER: Duration = Duration::from_secs(8);
const QUESTIONS: u8 = 3;

/// A Meshward neighbour.
#[derive(Clone, Copy, Debug)]
pub(super) struct Near {
    pub(super) id: NodeId,
    /// What it holds.
    pub(super) tag: Option<Tag>,
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) id: NodeId,
    /// Whether it is at the other end of a link, over which nothing gets lost.
    pub(super) near: bool,
}

impl Server {
    /// How it is asked, with the source in the tree or without.
    pub(super) const fn manner(&self, source: bool) -> Manner {
        Manner { near: self.near, hurried: !source }
    }
}

/// How somebody is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manner {
    /// Over one link, over which nothing gets lost.
    pub(super) near: bool,
    /// One of several who may have it, and not for long: nothing else is on the channel.
    pub(super) hurried: bool,
}

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Peers {
    near: BTreeMap<LinkId, Near>,
    silent: Vec<NodeId>,
    /// Who began the roll-out; nobody while that is not known.
    source: NodeId,
    /// Who is asked first, once that has been found out.
    upstream: Option<Option<Server>>,
    /// Counts up when the one who is asked gives nothing.
    turn: usize,
    /// A node further away that owes an answer, since when, and to how many questions.
    owing: Option<(NodeId, Instant, u8)>,
}

impl Peers {
    /// Who began the roll-out; nobody while that is not known.
    pub(super) const fn source(&self) -> NodeId {
        self.source
    }

    /// Learns who began the roll-out; whether that is news.
    pub(super) fn set_source(&mut self, source: NodeId) -> bool {
        let news = self.source != source;
        if news {
            (self.source, self.upstream) = (source, None);
        }
        news
    }

    /// A neighbour has said what it holds.
    pub(super) fn hello(&mut self, link: LinkId, near: Near) {
        let before = self.near.insert(link, near);
        if before.is_none_or(|before| before.id != near.id) {
            self.upstream = None;
        }
    }

    pub(super) fn link_down(&mut self, link: LinkId) {
        self.near.remove(&link);
        self.upstream = None;
    }

    /// The tree has changed: who was silent may have been cut off.
    pub(super) fn handle_topology(&mut self) {
        self.silent.clear();
        (self.owing, self.upstream) = (None, None);
    }

    /// The Meshward neighbours.
    pub(super) fn near(&self) -> impl Iterator<Item = (LinkId, Near)> + '_ {
        self.near.iter().map(|(link, near)| (*link, *near))
    }

    /// Whether a node is a Meshward neighbour.
    pub(super) fn is_near(&self, id: NodeId) -> bool {
        self.near.values().any(|near| near.id == id)
    }

    /// Who is told news: a Meshward neighbour on the way to the source, who merges it with other news, or else the
    /// source itself, for who lies between is not known.
    pub(super) fn reporter(&mut self, mesh: &Mesh) -> Option<Server> {
        let source = self.source;
        self.upstream(mesh)
            .map(|server| if server.near { server } else { Server { id: source, near: false } })
    }

    /// Who is asked first: the nearest Meshward node on the way to the source, as far as is known.
    pub(super) fn upstream(&mut self, mesh: &Mesh) -> Option<Server> {
        if let Some(known) = self.upstream {
            return known;
        }
        let found = self.find_upstream(mesh);
        self.upstream = Some(found);
        found
    }

    fn find_upstream(&self, mesh: &Mesh) -> Option<Server> {
        let path = mesh.path_to(self.source);
        let fits = |(index, id): (usize, &NodeId)| {
            let near = index == 0 && (self.is_near(*id) || *id == self.source);
            let far = index > 0 && (!self.silent.contains(id) || *id == self.source);
            (near || far).then_some(Server { id: *id, near })
        };
        path.iter().enumerate().find_map(fits)
    }

    /// Who is asked for chunks now.
    pub(super) fn server(&mut self, mesh: &Mesh, tag: Tag) -> Option<Server> {
        let first = self.upstream(mesh);
        let holds = |near: &&Near| near.tag == Some(tag) && Some(near.id) != first.map(|first| first.id);
        let others = self.near.values().filter(holds).map(|near| Server { id: near.id, near: true });
        let all: Vec<Server> = first.into_iter().chain(others).collect();
        all.get(self.turn.checked_rem(all.len())?).copied()
    }

    /// The one who is asked gives nothing.
    pub(super) fn next_server(&mut self) {
        self.turn = self.turn.wrapping_add(1);
    }

    /// A node further away was asked something that it answers if it is a Meshward node.
    pub(super) fn asked(&mut self, now: Instant, server: Server) {
        if server.near || server.id == self.source {
            return;
        }
        match &mut self.owing {
            Some((id, since, questions)) if *id == server.id => {
                if now.since(*since) >= ANSWER.saturating_mul(u64::from(*questions)) {
                    *questions += 1;
                }
            }
            owing => *owing = Some((server.id, now, 1)),
        }
        if let Some((id, _, questions)) = self.owing
            && questions > QUESTIONS
        {
            if self.silent.len() >= SILENT_MAX {
                self.silent.remove(0);
            }
            self.silent.push(id);
            (self.owing, self.upstream) = (None, None);
        }
    }

    /// A Meshward node has been heard.
    pub(super) fn heard(&mut self, id: NodeId) {
        if self.owing.is_some_and(|(owing, ..)| owing == id) {
            self.owing = None;
        }
        if self.silent.contains(&id) {
            self.silent.retain(|silent| *silent != id);
            self.upstream = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    #[test]
    fn who_never_answers_from_afar_is_silent_until_it_is_heard() {
        let mut peers = Peers::default();
        let far = Server { id: NodeId(7), near: false };
        (0..4).for_each(|round| peers.asked(at(round * 30), far));
        assert!(peers.silent.contains(&NodeId(7)));
        peers.heard(NodeId(7));
        assert!(peers.silent.is_empty());
        (0..2).for_each(|round| peers.asked(at(round), far));
        assert!(peers.silent.is_empty(), "it had no time to answer");
        (0..9).for_each(|round| peers.asked(at(round * 30), Server { id: NodeId(8), near: true }));
        assert!(peers.silent.is_empty(), "neighbours say who they are");
    }
}
