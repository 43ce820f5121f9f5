//! What people call nodes: names, tags and notes, with their limits.
//!
//! A name need not be unique. Where two nodes have one, what is shown adds their ids.

use std::collections::BTreeSet;

use meshward_core::wire::NodeId;

use super::Registry;

/// Why a label is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// Nobody knows the node.
    #[error("there is no node {0}")]
    Unknown(NodeId),
    /// It is longer than it may be.
    #[error("the {what} has {bytes} bytes; at most {max} are kept")]
    TooLong {
        /// Which label.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The most.
        max: usize,
    },
    /// It has no letters, or some that cannot be shown.
    #[error("a {0} is one line of text, and not empty")]
    Unprintable(&'static str),
    /// There are as many tags as a node may have.
    #[error("a node has at most {max} tags", max = Registry::TAGS_MAX)]
    TooManyTags,
}

/// The beginning of `text`, of at most `max` bytes and whole characters.
pub(crate) fn cut(mut text: String, max: usize) -> String {
    let end = (0..=max.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.truncate(end);
    text
}

pub(crate) fn one_line<'a>(what: &'static str, text: &'a str, max: usize) -> Result<&'a str, LabelError> {
    let text = text.trim();
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(LabelError::Unprintable(what));
    }
    if text.len() > max {
        return Err(LabelError::TooLong { what, bytes: text.len(), max });
    }
    Ok(text)
}

impl Registry {
    /// Most bytes of a name, and of each text in an [`Identity`](super::Identity).
    pub const NAME_BYTES_MAX: usize = 64;
    /// Most tags of a node.
    pub const TAGS_MAX: usize = 16;
    /// Most bytes of a tag.
    pub const TAG_BYTES_MAX: usize = 32;
    /// Most bytes of notes.
    pub const NOTES_BYTES_MAX: usize = 2_048;

    /// Whether a node could have this name.
    ///
    /// # Errors
    /// [`LabelError`] of one that cannot be shown or is too long.
    pub fn check_name(name: &str) -> Result<(), LabelError> {
        one_line("name", name, Self::NAME_BYTES_MAX).map(drop)
    }

    /// Whether a node could have this tag.
    ///
    /// # Errors
    /// [`LabelError`] of one that cannot be shown or is too long.
    pub fn check_tag(tag: &str) -> Result<(), LabelError> {
        one_line("tag", tag, Self::TAG_BYTES_MAX).map(drop)
    }

    /// People call a node so. White space around it is cut off.
    ///
    /// # Errors
    /// [`LabelError`], and the name stays.
    pub fn set_name(&mut self, id: NodeId, name: &str) -> Result<(), LabelError> {
        let name = one_line("name", name, Self::NAME_BYTES_MAX)?.to_owned();
        self.get(id).ok_or(LabelError::Unknown(id))?;
        self.rename(id, Some(name));
        if let Some(record) = self.nodes.get_mut(&id) {
            record.named_by_people = true;
        }
        self.changed.insert(id);
        Ok(())
    }

    /// People have no name for a node any more. It may call itself something again.
    pub fn clear_name(&mut self, id: NodeId) {
        self.rename(id, None);
        if let Some(record) = self.nodes.get_mut(&id) {
            record.named_by_people = false;
            self.changed.insert(id);
        }
    }

    /// A node calls itself so; that counts where people call it nothing. Returns whether it did. Too long a name is
    /// cut, and one that cannot be shown is not taken.
    pub fn name_itself(&mut self, id: NodeId, name: &str) -> bool {
        let name = cut(name.trim().to_owned(), Self::NAME_BYTES_MAX);
        let taken = self.get(id).is_some_and(|record| !record.named_by_people)
            && one_line("name", &name, Self::NAME_BYTES_MAX).is_ok();
        if taken {
            self.rename(id, Some(name));
        }
        taken
    }

    pub(super) fn rename(&mut self, id: NodeId, name: Option<String>) {
        let Some(record) = self.nodes.get_mut(&id) else { return };
        let old = std::mem::replace(&mut record.name, name.clone());
        if old != name {
            self.changed.insert(id);
        }
        if let Some(old) = old
            && let Some(bearers) = self.names.get_mut(&old)
        {
            bearers.remove(&id);
            if bearers.is_empty() {
                self.names.remove(&old);
            }
        }
        if let Some(name) = name {
            self.names.entry(name).or_default().insert(id);
        }
    }

    /// A node gets a tag.
    ///
    /// # Errors
    /// [`LabelError`], and the tags stay.
    pub fn add_tag(&mut self, id: NodeId, tag: &str) -> Result<(), LabelError> {
        let tag = one_line("tag", tag, Self::TAG_BYTES_MAX)?;
        let record = self.nodes.get_mut(&id).ok_or(LabelError::Unknown(id))?;
        if record.tags.len() >= Self::TAGS_MAX && !record.tags.contains(tag) {
            return Err(LabelError::TooManyTags);
        }
        record.tags.insert(tag.to_owned());
        self.changed.insert(id);
        Ok(())
    }

    /// A node loses a tag. Returns whether it had it.
    pub fn remove_tag(&mut self, id: NodeId, tag: &str) -> bool {
        let removed = self.nodes.get_mut(&id).is_some_and(|record| record.tags.remove(tag));
        if removed {
            self.changed.insert(id);
        }
        removed
    }

    /// What people write down about a node.
    ///
    /// # Errors
    /// [`LabelError`], and the notes stay.
    pub fn set_notes(&mut self, id: NodeId, notes: &str) -> Result<(), LabelError> {
        let (bytes, max) = (notes.len(), Self::NOTES_BYTES_MAX);
        if bytes > max {
            return Err(LabelError::TooLong { what: "notes", bytes, max });
        }
        let record = self.nodes.get_mut(&id).ok_or(LabelError::Unknown(id))?;
        notes.clone_into(&mut record.notes);
        self.changed.insert(id);
        Ok(())
    }

    /// All nodes with this name, in order of id.
    pub fn named(&self, name: &str) -> impl Iterator<Item = NodeId> {
        self.names.get(name).into_iter().flat_map(BTreeSet::iter).copied()
    }

    /// All nodes with this tag, in order of id.
    pub fn tagged<'a>(&'a self, tag: &'a str) -> impl Iterator<Item = NodeId> + 'a {
        self.iter().filter(move |(_, record)| record.tags.contains(tag)).map(|(id, _)| id)
    }

    /// What a node is shown as: its name, with the id where others have it too, or the id alone.
    pub fn label(&self, id: NodeId) -> String {
        let name = self.get(id).and_then(|record| record.name.as_deref());
        match name {
            Some(name) if self.named(name).nth(1).is_some() => format!("{name} ({id})"),
            Some(name) => name.to_owned(),
            None => id.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meshward_core::time::Instant;

    fn registry(nodes: u32) -> Registry {
        let mut registry = Registry::default();
        (1..=nodes).for_each(|id| registry.joined(Instant::ORIGIN, NodeId(id)));
        registry
    }

    #[test]
    fn a_hundred_nodes_may_have_one_name() {
        let mut registry = registry(101);
        (1..=100).for_each(|id| assert!(registry.name_itself(NodeId(id), "sensor")));
        assert_eq!(registry.named("sensor").count(), 100);
        assert_eq!(registry.label(NodeId(7)), "sensor (7)");
        assert_eq!(registry.label(NodeId(101)), "101");
        (2..=100).for_each(|id| registry.set_name(NodeId(id), &format!("n{id}")).unwrap());
        assert_eq!(registry.label(NodeId(1)), "sensor");
        assert!(!registry.name_itself(NodeId(2), "other"), "people named it");
        registry.clear_name(NodeId(2));
        assert!(registry.name_itself(NodeId(2), "other"));
        assert_eq!(registry.named("other").collect::<Vec<_>>(), [NodeId(2)]);
    }

    #[test]
    fn labels_have_limits() {
        let mut registry = registry(1);
        let (one, nobody) = (NodeId(1), NodeId(9));
        let long = "ä".repeat(40);
        for (name, taken) in
            [(" kitchen ", true), ("", false), ("a\nb", false), (&*long, false), (&*"a".repeat(64), true)]
        {
            assert_eq!(registry.set_name(one, name).is_ok(), taken, "{name}");
        }
        assert_eq!(registry.set_name(nobody, "a"), Err(LabelError::Unknown(nobody)));
        registry.clear_name(one);
        assert!(registry.name_itself(one, &long) && !registry.name_itself(one, "\0"));
        assert_eq!(registry.get(one).unwrap().name.as_ref().unwrap().len(), 64);
        for tag in 0..16 {
            registry.add_tag(one, &format!("t{tag}")).unwrap();
        }
        assert_eq!(registry.add_tag(one, "t16"), Err(LabelError::TooManyTags));
        assert_eq!(registry.add_tag(one, "t3"), Ok(()));
        assert!(registry.remove_tag(one, "t3") && !registry.remove_tag(one, "t3"));
        assert_eq!(registry.tagged("t4").collect::<Vec<_>>(), [one]);
        assert!(registry.set_notes(one, &"n".repeat(2_049)).is_err());
        assert!(registry.set_notes(one, "on the\nroof").is_ok());
    }
}
