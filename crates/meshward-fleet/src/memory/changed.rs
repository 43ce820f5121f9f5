//! What has changed since somebody asked, bounded.

use std::collections::BTreeSet;

/// Most changes of one kind that are listed; beyond it everything counts as changed.
pub const DIRTY_MAX: usize = 20_000;

/// See the module's page.
#[derive(Clone, Debug)]
pub(crate) struct Changed<K> {
    keys: BTreeSet<K>,
    overflown: bool,
}

impl<K> Default for Changed<K> {
    fn default() -> Self {
        Self { keys: BTreeSet::new(), overflown: false }
    }
}

impl<K: Ord + Copy> Changed<K> {
    pub(crate) fn insert(&mut self, key: K) {
        if self.overflown {
            return;
        }
        self.keys.insert(key);
        if self.keys.len() > DIRTY_MAX {
            self.keys.clear();
            self.overflown = true;
        }
    }

    pub(crate) fn pop(&mut self) -> Option<K> {
        self.keys.pop_first()
    }

    pub(crate) fn clear(&mut self) {
        self.keys.clear();
    }

    /// Whether there were too many to be listed; said once.
    pub(crate) fn take_overflow(&mut self) -> bool {
        std::mem::take(&mut self.overflown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_listed_once_and_bounded() {
        let mut changed = Changed::default();
        [3, 1, 3].into_iter().for_each(|key| changed.insert(key));
        assert_eq!((changed.pop(), changed.pop(), changed.pop()), (Some(1), Some(3), None));
        assert!(!changed.take_overflow());
        (0..=DIRTY_MAX).for_each(|key| changed.insert(key));
        changed.insert(7);
        assert_eq!((changed.pop(), changed.take_overflow(), changed.take_overflow()), (None, true, false));
        changed.insert(7);
        assert_eq!(changed.pop(), Some(7));
    }
}
