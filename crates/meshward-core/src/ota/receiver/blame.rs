//! Whose fault a bad block is.
//!
//! A block that came over one link alone is charged to that link. When several had a part in it nobody knows;
//! after two such blocks it is taken from one link only, the first that sends any of it, so that the third bad
//! one shows who it is. That link loses its privilege when it is gone, or leaves others waiting too often.

use alloc::vec::Vec;

use crate::mesh::LinkId;

/// Bad blocks that are watched at once; of more, the first is forgotten.
const WATCHED_MAX: usize = 4;
/// Links whose charges are counted; of more, the first is forgotten.
const CHARGED_MAX: usize = 8;
/// Bad blocks after which one link alone may send the next.
const FAILURES: u8 = 2;
/// Chunks of others that are turned down for the one link's sake.
const PATIENCE: u8 = 32;

/// Who has sent a block's chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Source {
    #[default]
    Nobody,
    One(LinkId),
    Several,
}

#[derive(Clone, Copy, Debug, Default)]
struct Watched {
    /// `None` is the block table.
    block: Option<u32>,
    source: Source,
    failures: u8,
    turned_down: u8,
}

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Blame {
    /// The block that came last, of which nothing bad is known.
    latest: Option<Watched>,
    bad: Vec<Watched>,
    charges: Vec<(LinkId, u16)>,
}

impl Watched {
    fn note(&mut self, link: LinkId, fresh: bool) {
        self.source = match self.source {
            _ if fresh => Source::One(link),
            Source::One(other) if other == link => self.source,
            _ => Source::Several,
        };
    }
}

impl Blame {
    /// Whether a chunk of this block may come over this link.
    pub(super) fn admits(&mut self, link: LinkId, block: Option<u32>) -> bool {
        let watched = self.bad.iter_mut().find(|watched| watched.block == block);
        let Some(watched) = watched.filter(|watched| watched.failures >= FAILURES) else { return true };
        match watched.source {
            Source::One(only) if only != link && watched.turned_down < PATIENCE => {
                watched.turned_down += 1;
                false
            }
            _ => true,
        }
    }

    /// A chunk was taken; `fresh` if nothing of its block was there.
    pub(super) fn note(&mut self, link: LinkId, block: Option<u32>, fresh: bool) {
        if let Some(watched) = self.bad.iter_mut().find(|watched| watched.block == block) {
            return watched.note(link, fresh);
        }
        let known = self.latest.filter(|latest| latest.block == block);
        let mut latest = known.unwrap_or(Watched { block, ..Watched::default() });
        latest.note(link, fresh);
        self.latest = Some(latest);
    }

    /// The block is bad: the link that is to blame, if there can be no other.
    pub(super) fn bad(&mut self, block: Option<u32>) -> Option<LinkId> {
        let watched = match self.bad.iter_mut().find(|watched| watched.block == block) {
            Some(watched) => watched,
            None => {
                if self.bad.len() >= WATCHED_MAX {
                    self.bad.remove(0);
                }
                let latest = self.latest.take().filter(|latest| latest.block == block);
                self.bad.push(latest.unwrap_or(Watched { block, ..Watched::default() }));
                self.bad.last_mut()?
            }
        };
        watched.failures = watched.failures.saturating_add(1);
        watched.turned_down = 0;
        match core::mem::take(&mut watched.source) {
            Source::One(link) => {
                self.charge(link);
                Some(link)
            }
            Source::Nobody | Source::Several => None,
        }
    }

    /// The block is right.
    pub(super) fn good(&mut self, block: Option<u32>) {
        self.bad.retain(|watched| watched.block != block);
    }

    /// The link is no more; its charges go with it.
    pub(super) fn gone(&mut self, link: LinkId) {
        for watched in self.bad.iter_mut().chain(&mut self.latest) {
            if watched.source == Source::One(link) {
                watched.source = Source::Several;
            }
        }
        self.charges.retain(|(charged, _)| *charged != link);
    }

    fn charge(&mut self, link: LinkId) {
        match self.charges.iter_mut().find(|(charged, _)| *charged == link) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => {
                if self.charges.len() >= CHARGED_MAX {
                    self.charges.remove(0);
                }
                self.charges.push((link, 1));
            }
        }
    }

    /// Bad blocks that this link alone has brought.
    pub(super) fn charges(&self, link: LinkId) -> u16 {
        self.charges.iter().find(|(charged, _)| *charged == link).map_or(0, |(_, count)| *count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: LinkId = LinkId(1);
    const B: LinkId = LinkId(2);
    const BLOCK: Option<u32> = Some(7);

    #[test]
    fn one_link_alone_is_charged_at_once() {
        let mut blame = Blame::default();
        (0..4).for_each(|chunk| blame.note(A, BLOCK, chunk == 0));
        assert_eq!((blame.bad(BLOCK), blame.charges(A), blame.charges(B)), (Some(A), 1, 0));
        // What was there before a reset may be anybody's.
        blame.note(A, Some(8), false);
        assert_eq!((blame.bad(Some(8)), blame.charges(A)), (None, 1));
    }

    #[test]
    fn of_several_the_third_bad_block_shows_who_it_is() {
        let mut blame = Blame::default();
        for _ in 0..2 {
            assert!(blame.admits(A, BLOCK) && blame.admits(B, BLOCK));
            blame.note(A, BLOCK, true);
            blame.note(B, BLOCK, false);
            assert_eq!(blame.bad(BLOCK), None);
        }
        blame.note(B, BLOCK, true);
        assert!(!blame.admits(A, BLOCK) && blame.admits(B, BLOCK) && blame.admits(A, Some(1)));
        assert_eq!((blame.bad(BLOCK), blame.charges(B), blame.charges(A)), (Some(B), 1, 0));
        blame.note(A, BLOCK, true);
        blame.good(BLOCK);
        assert!(blame.admits(B, BLOCK), "it is right now");
    }

    #[test]
    fn a_link_that_is_gone_or_silent_holds_nothing_up() {
        let locked = || {
            let mut blame = Blame::default();
            (0..2).for_each(|_| assert_eq!(blame.bad(BLOCK), None));
            blame.note(A, BLOCK, true);
            blame
        };
        let mut blame = locked();
        assert_eq!((0..40).position(|_| blame.admits(B, BLOCK)), Some(usize::from(PATIENCE)));
        let mut blame = locked();
        blame.gone(A);
        assert!(blame.admits(B, BLOCK));
        assert_eq!(blame.bad(BLOCK), None, "who is gone is not charged");
    }

    #[test]
    fn nothing_grows_without_bound() {
        let mut blame = Blame::default();
        for number in 0..100 {
            blame.note(LinkId(number), Some(number), true);
            blame.bad(Some(number));
        }
        assert_eq!((blame.bad.len(), blame.charges.len()), (WATCHED_MAX, CHARGED_MAX));
    }
}
