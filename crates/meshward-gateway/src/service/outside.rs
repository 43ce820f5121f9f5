//! What the gateway knows of its broker, and what it passes on there: texts of nodes that are no packages.

use meshward_core::node::Event;
use meshward_core::wire::NodeId;
use tokio::sync::mpsc;

use super::Gateway;

/// Texts that may wait for whoever hears them; what is more is dropped.
const TEXTS_MAX: usize = 256;

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Outside {
    broker: Option<bool>,
    texts: Option<mpsc::Sender<(NodeId, Vec<u8>)>>,
    texts_dropped: u64,
}

impl Gateway {
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

    /// Passes on what is a text.
    pub(super) fn pass_on(&mut self, event: &Event) {
        let (Event::Message { from, text, .. }, Some(texts)) = (event, &self.outside.texts) else { return };
        if texts.try_send((*from, text.clone())).is_err() {
            self.outside.texts_dropped += 1;
        }
    }
}
