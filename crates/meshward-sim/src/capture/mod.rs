//! What was on the wires, in the format of the recorded conversations in `testdata/wire`.
//!
//! A [`Recorder`] is told by a world who says what to whom, an [`Observer`] by a real shell what its node saw;
//! both keep [`Line`]s. [`to_ndjson`] and [`from_ndjson`] write and read the format of `testdata/README.md`; [`ladder`] makes it
//! readable; [`replay`] gives a fresh node what a node in the capture got, and compares what it says.
//! It knows no files: that is for the command line.

mod format;
mod ladder;
mod observer;
mod replay;

use std::collections::BTreeMap;

use meshward_core::mesh::MeshConfig;
use meshward_core::time::Instant;
use meshward_core::wire::NodeId;

pub use format::{FormatError, from_ndjson, to_ndjson};
pub use ladder::ladder;
pub use observer::{Direction, Observer};
pub use replay::{Difference, Replayed, replay};

/// One line of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Time since the beginning.
    pub at: Instant,
    /// What happened.
    pub what: What,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A connection stands.
    Open {
        /// Who dialled.
        dialler: String,
        /// Who accepted.
        listener: String,
        /// The connection's name.
        conn: String,
    },
    /// One end of a connection has closed.
    Closed {
        /// Whose.
        by: String,
        /// Who was at the other end.
        peer: String,
        /// The connection's name.
        conn: String,
    },
    /// A message.
    Message {
        /// Who sent it on this link.
        from: String,
        /// Who was to get it.
        to: String,
        /// The connection's name.
        conn: String,
        /// Its bytes, without the NUL.
        bytes: Vec<u8>,
        /// It never arrived.
        withheld: bool,
    },
    /// A node was made: what a replay must know of it, its flash apart. From here on [`What::Timers`] and
    /// [`What::Flash`] say when these were handled.
    Boot {
        /// The node's name.
        node: String,
        /// What it was told.
        config: Box<MeshConfig>,
    },
    /// The timers of a node were fired.
    Timers {
        /// The node's name.
        node: String,
    },
    /// The flash commands of a node were executed, until it had none left.
    Flash {
        /// The node's name.
        node: String,
    },
    /// Something else, in words.
    Note(String),
}

/// Keeps what is on the wires.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    lines: Vec<Line>,
    names: BTreeMap<NodeId, String>,
    /// How many connections each pair has had.
    connections: BTreeMap<(NodeId, NodeId), u32>,
}

impl Recorder {
    /// An empty recorder; nodes get names, `A` to `Z` and `N27` on, in order of appearance.
    pub fn new() -> Self {
        Self::default()
    }

    /// The lines so far, in order.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Takes the lines, for a long run that is written piece by piece.
    pub fn take_lines(&mut self) -> Vec<Line> {
        std::mem::take(&mut self.lines)
    }

    /// The name of a node in this capture.
    pub fn name(&mut self, at: Instant, id: NodeId) -> String {
        if let Some(name) = self.names.get(&id) {
            return name.clone();
        }
        let name = match u8::try_from(self.names.len()) {
            Ok(index @ 0..=25) => char::from(b'A' + index).to_string(),
            _ => format!("N{}", self.names.len() + 1),
        };
        self.names.insert(id, name.clone());
        self.note(at, &format!("{name} is node {id}"));
        name
    }

    /// A connection stands; gives it a name. `ends` are dialler and listener.
    pub fn opened(&mut self, at: Instant, ends: [NodeId; 2]) -> String {
        let [dialler, listener] = ends.map(|id| self.name(at, id));
        let count = self.connections.entry((ends[0], ends[1])).or_default();
        *count += 1;
        let conn = format!("{dialler}-{listener}#{count}");
        self.push(at, What::Open { dialler, listener, conn: conn.clone() });
        conn
    }

    /// An end has closed: the first of `ends`.
    pub fn closed(&mut self, at: Instant, ends: [NodeId; 2], conn: &str) {
        let [by, peer] = ends.map(|id| self.name(at, id));
        self.push(at, What::Closed { by, peer, conn: conn.to_owned() });
    }

    /// A message, with or without its NUL; `ends` are sender and receiver on this link.
    pub fn message(&mut self, at: Instant, ends: [NodeId; 2], conn: &str, bytes: &[u8], withheld: bool) {
        let [from, to] = ends.map(|id| self.name(at, id));
        let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes).to_vec();
        self.push(at, What::Message { from, to, conn: conn.to_owned(), bytes, withheld });
    }

    /// Something in words.
    pub fn note(&mut self, at: Instant, words: &str) {
        self.push(at, What::Note(words.to_owned()));
    }

    fn push(&mut self, at: Instant, what: What) {
        self.lines.push(Line { at, what });
    }
}
