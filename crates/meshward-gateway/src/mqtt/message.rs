//! Messages as a broker takes and brings them, whichever version of the protocol it speaks.

use std::sync::Arc;

/// How surely a message arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Qos {
    /// At most once.
    AtMostOnce,
    /// At least once.
    AtLeastOnce,
}

/// A message for the broker.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    /// Where to.
    pub(crate) topic: String,
    /// What.
    pub(crate) payload: Arc<[u8]>,
    /// How surely.
    pub(crate) qos: Qos,
    /// Whether the broker keeps it for those who come later.
    pub(crate) retain: bool,
    /// By what its reader knows the question (MQTT 5).
    pub(crate) correlation: Option<Vec<u8>>,
    /// Who of this program waits for what becomes of it.
    pub(crate) post: Option<u64>,
}

impl Message {
    /// One that is kept by the broker.
    pub(crate) fn retained(topic: impl Into<String>, payload: impl Into<Vec<u8>>, qos: Qos) -> Self {
        Self { retain: true, ..Self::passing(topic, payload, qos) }
    }

    /// One that is for those who listen now.
    pub(crate) fn passing(topic: impl Into<String>, payload: impl Into<Vec<u8>>, qos: Qos) -> Self {
        let payload: Vec<u8> = payload.into();
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos,
            retain: false,
            correlation: None,
            post: None,
        }
    }
}

/// A message from the broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Incoming {
    /// Where it was sent to.
    pub(crate) topic: String,
    /// What.
    pub(crate) payload: Vec<u8>,
    /// Whether the broker had kept it, or was to keep it.
    pub(crate) retain: bool,
    /// Whether the broker may have brought it before.
    pub(crate) dup: bool,
    /// Where the answer is wanted (MQTT 5).
    pub(crate) response_topic: Option<String>,
    /// By what the asker knows the answer (MQTT 5).
    pub(crate) correlation: Option<Vec<u8>>,
}
