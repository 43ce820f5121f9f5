//! What the gateway knows of those outside the mesh: whether its broker has let it in, what it passes on there (texts of
//! nodes that are no packages), how the writing to InfluxDB fares, and how many listeners of its streams were too slow.

use std::sync::Arc;

use jiff::Timestamp;
use meshward_core::node::Event;
use meshward_core::wire::NodeId;
use tokio::sync::mpsc;

use super::Gateway;

/// Texts that may wait for whoever hears them; what is more is dropped.
const TEXTS_MAX: usize = 256;

/// How the writing to InfluxDB fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Batches that wait.
    pub batches: u64,
    /// Bytes in them, packed.
    pub bytes: u64,
    /// Lines that had no room, or that the server will never take, since the start.
    pub dropped: u64,
    /// When the server has taken a batch last.
    pub at: Option<Timestamp>,
    /// Why it took none last, if it did not.
    pub failure: Option<String>,
}

/// Says how the writing fares, at once.
pub type Writing = Arc<dyn Fn() -> Written + Send + Sync>;

/// See the module's page.
#[derive(Default)]
pub(super) struct Outside {
    broker: Option<bool>,
    writing: Option<Writing>,
    texts: Option<mpsc::Sender<(NodeId, Vec<u8>)>>,
    texts_dropped: u64,
    slow: [u64; 2],
}

/// What became of a listener that read too slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slow {
    /// It lost its place, and began again.
    Reset,
    /// It did not read at all, and was let go.
    CutOff,
}

impl Slow {
    /// Its name, as metrics have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::CutOff => "cut_off",
        }
    }
}

impl std::fmt::Debug for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outside").field("broker", &self.broker).finish_non_exhaustive()
    }
}

impl Gateway {
    /// How the writing to InfluxDB fares; `None` where there is none.
    pub fn written(&self) -> Option<Written> {
        self.outside.writing.as_ref().map(|writing| writing())
    }

    /// There is something that writes to InfluxDB, and this is how it fares.
    pub fn set_writing(&mut self, writing: Writing) {
        self.outside.writing = Some(writing);
    }

    /// Whether the broker has let us in; `None` where there is to be none.
    pub fn broker(&self) -> Option<bool> {
        self.outside.broker
    }

    /// Says so.
    pub fn set_broker(&mut self, connected: Option<bool>) {
        self.outside.broker = connected;
    }

    /// From here on the texts of nodes come here; whoever heard them before hears nothing more.
    pub fn hear_texts(&mut self) -> mpsc::Receiver<(NodeId, Vec<u8>)> {
        let (sender, receiver) = mpsc::channel(TEXTS_MAX);
        self.outside.texts = Some(sender);
        receiver
    }

    /// Texts for which there was no room.
    pub fn texts_dropped(&self) -> u64 {
        self.outside.texts_dropped
    }

    /// Counts a listener that read too slowly.
    pub fn note_slow_listener(&mut self, slow: Slow) {
        let [reset, cut_off] = &mut self.outside.slow;
        *(if slow == Slow::Reset { reset } else { cut_off }) += 1;
    }

    /// How many there were.
    pub fn slow_listeners(&self) -> [(Slow, u64); 2] {
        let [reset, cut_off] = self.outside.slow;
        [(Slow::Reset, reset), (Slow::CutOff, cut_off)]
    }

    /// Passes on what is a text.
    pub(super) fn pass_on(&mut self, event: &Event) {
        let (Event::Message { from, text, .. }, Some(texts)) = (event, &self.outside.texts) else { return };
        if texts.try_send((*from, text.clone())).is_err() {
            self.outside.texts_dropped += 1;
        }
    }
}
