//! Clock packages: synchronisation between neighbours (type 4) and delay to any node (type 3).
//!
//! One exchange is asked for (0), begun (1) and answered (2); the stamps are node times, 32 bits of
//! microseconds that wrap. Refuses other package types only: a missing stamp reads as 0, as in C++.

use super::envelope::Envelope;
use super::error::DecodeError;
use super::id::NodeId;
use super::json::{Value, fields};
use super::kind;
use super::plain::number;
use super::write::{Object, write_i64};
use crate::time::MeshTime;
use alloc::vec::Vec;

/// The step of an exchange, and the times known by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// `msg.type` -1; C++ nodes ignore it.
    Error,
    /// `msg.type` 0: "begin an exchange with me", from the side that does not adopt.
    Ask,
    /// `msg.type` 1: the exchange is begun.
    Request {
        /// When it was sent, by the sender's clock.
        t0: MeshTime,
    },
    /// `msg.type` 2: the answer.
    Reply {
        /// When the request was sent, by the asker's clock, copied from it.
        t0: MeshTime,
        /// When the request arrived, by the answerer's clock.
        t1: MeshTime,
        /// When the answer was sent, by the answerer's clock.
        t2: MeshTime,
    },
    /// Any other `msg.type`; its times are not kept.
    Unknown(i32),
}

/// A clock package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Type 3, the delay to any node, rather than type 4, synchronisation with a neighbour.
    pub delay: bool,
    /// The receiver.
    pub dest: NodeId,
    /// The sender.
    pub from: NodeId,
    /// The content.
    pub stamp: Stamp,
}

impl Clock {
    /// Decodes a canonical or normalised frame of type 3 or 4. What is missing in `msg` reads as 0.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for another type.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::of_plain(bytes).map_or_else(|| Self::of_fields(bytes), Ok)
    }

    /// As [`Clock::decode`], for the one form in which C++ nodes and ours write; `None` for any other.
    pub fn of_plain(bytes: &[u8]) -> Option<Self> {
        let (delay, rest) = match bytes.strip_prefix(b"{\"type\":")? {
            [b'3', rest @ ..] => (true, rest),
            [b'4', rest @ ..] => (false, rest),
            _ => return None,
        };
        let (dest, rest) = field(rest, b",\"dest\":")?;
        let (from, rest) = field(rest, b",\"from\":")?;
        let (kind, rest) = field(rest, b",\"msg\":{\"type\":")?;
        let time = |rest, name| field(rest, name).map(|(time, rest)| (MeshTime(time), rest));
        let (stamp, rest) = match kind {
            0 => (Stamp::Ask, rest),
            1 => {
                let (t0, rest) = time(rest, b",\"t0\":")?;
                (Stamp::Request { t0 }, rest)
            }
            2 => {
                let (t0, rest) = time(rest, b",\"t0\":")?;
                let (t1, rest) = time(rest, b",\"t1\":")?;
                let (t2, rest) = time(rest, b",\"t2\":")?;
                (Stamp::Reply { t0, t1, t2 }, rest)
            }
            _ => return None,
        };
        (*rest == *b"}}").then_some(Self { delay, dest: NodeId(dest), from: NodeId(from), stamp })
    }

    pub(super) fn of_fields(bytes: &[u8]) -> Result<Self, DecodeError> {
        let envelope = Envelope::of_fields(bytes);
        let delay = match envelope.kind {
            kind::TIME_DELAY => true,
            kind::TIME_SYNC => false,
            _ => return Err(DecodeError::new("type", "3 or 4")),
        };
        let msg = fields(bytes).filter(|(key, _)| key.is("msg")).last();
        let stamp = Stamp::decode(msg.map_or(Value::NULL, |(_, value)| value));
        Ok(Self { delay, dest: envelope.dest, from: envelope.from, stamp })
    }

    /// The frame, without its NUL, in the field order of C++ nodes.
    pub fn encode(&self) -> Vec<u8> {
        let mut object = Object::with_capacity(160);
        object
            .integer("type", i64::from(if self.delay { kind::TIME_DELAY } else { kind::TIME_SYNC }))
            .integer("dest", i64::from(self.dest.0))
            .integer("from", i64::from(self.from.0))
            .raw("msg", |out| self.stamp.write(out));
        object.finish()
    }
}

/// The number in the field whose name and punctuation `text` begins with, and the text after it.
fn field<'a>(text: &'a [u8], name: &[u8]) -> Option<(u32, &'a [u8])> {
    number(text.strip_prefix(name)?)
}

impl Stamp {
    fn decode(msg: Value<'_>) -> Self {
        let (mut kind, mut t0, mut t1, mut t2) = (0, 0, 0, 0);
        let time = |value: Value<'_>| if value.is_u32() { value.as_u32() } else { 0 };
        for (key, value) in msg.fields() {
            match &*key.name() {
                b"type" => kind = value.as_i32(),
                b"t0" => t0 = time(value),
                b"t1" => t1 = time(value),
                b"t2" => t2 = time(value),
                _ => {}
            }
        }
        match kind {
            -1 => Self::Error,
            0 => Self::Ask,
            1 => Self::Request { t0: MeshTime(t0) },
            2 => Self::Reply { t0: MeshTime(t0), t1: MeshTime(t1), t2: MeshTime(t2) },
            other => Self::Unknown(other),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let (kind, times) = match *self {
            Self::Error => (-1, [None; 3]),
            Self::Ask => (0, [None; 3]),
            Self::Request { t0 } => (1, [Some(t0), None, None]),
            Self::Reply { t0, t1, t2 } => (2, [t0, t1, t2].map(Some)),
            Self::Unknown(kind) => (kind, [None; 3]),
        };
        out.extend_from_slice(b"{\"type\":");
        write_i64(out, i64::from(kind));
        for (name, time) in
            [b",\"t0\":", b",\"t1\":", b",\"t2\":"].into_iter().zip(times.into_iter().flatten())
        {
            out.extend_from_slice(name);
            write_i64(out, i64::from(time.0));
        }
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_written_in_the_order_of_cpp() {
        let (t0, t1, t2) = (MeshTime(u32::MAX), MeshTime(1), MeshTime(2));
        for (stamp, msg) in [
            (Stamp::Error, "{\"type\":-1}"),
            (Stamp::Ask, "{\"type\":0}"),
            (Stamp::Request { t0 }, "{\"type\":1,\"t0\":4294967295}"),
            (Stamp::Reply { t0, t1, t2 }, "{\"type\":2,\"t0\":4294967295,\"t1\":1,\"t2\":2}"),
            (Stamp::Unknown(7), "{\"type\":7}"),
        ] {
            let clock = Clock { delay: false, dest: NodeId(5), from: NodeId(6), stamp };
            let text = alloc::format!("{{\"type\":4,\"dest\":5,\"from\":6,\"msg\":{msg}}}");
            assert_eq!(clock.encode(), text.as_bytes());
            assert_eq!(Clock::decode(text.as_bytes()).unwrap(), clock);
        }
    }

    #[test]
    fn what_is_missing_reads_as_zero() {
        let stamp = |text: &str| Clock::decode(text.as_bytes()).unwrap().stamp;
        assert_eq!(stamp("{\"type\":3}"), Stamp::Ask);
        assert_eq!(stamp("{\"type\":3,\"msg\":\"x\"}"), Stamp::Ask);
        assert_eq!(
            stamp("{\"type\":3,\"msg\":{\"type\":1,\"t0\":\"5\"}}"),
            Stamp::Request { t0: MeshTime(0) }
        );
        assert_eq!(Clock::decode(b"{\"type\":5}").unwrap_err().field, "type");
    }
}
