//! The envelope of Meshward's own packages (types 210 to 215 and 220 to 223): for whom, and a body in base64.
//!
//! They are JSON, so that stock relays route them, and their content is one field, because base64 costs less
//! than JSON around binary things. Refuses other types, and bodies that are not base64. What bodies mean is
//! said in `telemetry` and in `ota/exchange`.

use super::envelope::{Envelope, Routing};
use super::error::DecodeError;
use super::firmware::{BASE64, BASE64_BARE};
use super::id::NodeId;
use super::json::{Value, fields};
use super::kind;
use super::write::Object;
use alloc::vec::Vec;
use base64::Engine;

/// Whom a parcel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// The neighbour at the other end of a link; it goes no further.
    Neighbour,
    /// One node, anywhere.
    One(NodeId),
    /// Every node.
    All,
}

/// A package of the types 210 to 215 and 220 to 223.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// Its type.
    pub kind: i32,
    /// Who sent it.
    pub from: NodeId,
    /// Whom it is for.
    pub to: To,
    /// What is in it.
    pub body: Vec<u8>,
}

impl Parcel {
    /// Whether a type is one of these.
    pub const fn is_kind(kind: i32) -> bool {
        Self::is_update(kind) || Self::is_telemetry(kind)
    }

    /// Whether a type is of updates, 220 to 223.
    pub const fn is_update(kind: i32) -> bool {
        matches!(kind, kind::OFFER | kind::WANT | kind::CHUNK | kind::ORDER)
    }

    /// Whether a type is of the status service or telemetry, 210 to 215.
    pub const fn is_telemetry(kind: i32) -> bool {
        kind::STATUS_QUERY <= kind && kind <= kind::TELEMETRY_ACK
    }

    /// Decodes a canonical or normalised frame of these types.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for another type, without a sender, or when `b` is not base64.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let Envelope { kind, dest, from, routing } = Envelope::of_fields(bytes);
        if !Self::is_kind(kind) {
            return Err(DecodeError::new("type", "210 to 215 or 220 to 223"));
        }
        if from == NodeId::NONE {
            return Err(DecodeError::new("from", "a node's id"));
        }
        let body =
            fields(bytes).filter(|(key, _)| key.is("b")).last().map_or(Value::NULL, |(_, value)| value);
        let text = body.as_str().ok_or(DecodeError::new("b", "a string"))?;
        let body = BASE64.decode(&*text).map_err(|_| DecodeError::new("b", "base64"))?;
        let to = match routing {
            Routing::Single => To::One(dest),
            Routing::Broadcast => To::All,
            Routing::Neighbour | Routing::Local => To::Neighbour,
        };
        Ok(Self { kind, from, to, body })
    }

    /// The frame, without its NUL.
    pub fn encode(&self) -> Vec<u8> {
        let text = BASE64_BARE.encode(&self.body);
        let mut object = Object::with_capacity(text.len().saturating_add(80));
        object.integer("type", i64::from(self.kind)).integer("from", i64::from(self.from.0));
        match self.to {
            To::Neighbour => object.integer("routing", 0),
            To::One(dest) => object.integer("dest", i64::from(dest.0)).integer("routing", 1),
            To::All => object.integer("routing", 2),
        };
        object.text("b", text.as_bytes());
        object.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parcels_survive_the_wire() {
        let texts = [
            (To::Neighbour, "{\"type\":222,\"from\":7,\"routing\":0,\"b\":\"AP8\"}"),
            (To::One(NodeId(9)), "{\"type\":222,\"from\":7,\"dest\":9,\"routing\":1,\"b\":\"AP8\"}"),
            (To::All, "{\"type\":222,\"from\":7,\"routing\":2,\"b\":\"AP8\"}"),
        ];
        for (to, text) in texts {
            let parcel = Parcel { kind: kind::CHUNK, from: NodeId(7), to, body: Vec::from([0, 0xFF]) };
            assert_eq!(parcel.encode(), text.as_bytes());
            assert_eq!(Parcel::decode(text.as_bytes()).unwrap(), parcel);
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        let field = |text: &str| Parcel::decode(text.as_bytes()).unwrap_err().field;
        assert_eq!(field("{\"type\":12,\"from\":1,\"b\":\"\"}"), "type");
        assert_eq!(field("{\"type\":222,\"b\":\"\"}"), "from");
        assert_eq!(field("{\"type\":222,\"from\":1}"), "b");
        assert_eq!(field("{\"type\":222,\"from\":1,\"b\":\"A*\"}"), "b");
    }

    #[test]
    fn a_chunk_of_a_kilobyte_stays_below_the_design() {
        let to = To::One(NodeId(u32::MAX));
        let parcel =
            Parcel { kind: kind::CHUNK, from: NodeId(u32::MAX), to, body: alloc::vec![0; 1_024 + 7] };
        assert_eq!(parcel.encode().len() + 1, 1_443);
    }
}
