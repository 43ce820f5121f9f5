//! Application text, to one node (type 9) or to all (type 8).
//!
//! Refuses other types only. Text is any bytes; whatever is not a string in `msg` arrives as the JSON text
//! of it, and nothing at all as the word `null`, as C++ applications get it.

use super::envelope::Envelope;
use super::error::DecodeError;
use super::id::NodeId;
use super::json::{Value, fields};
use super::kind;
use super::write::Object;
use alloc::borrow::Cow;
use alloc::vec::Vec;

/// A message of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User<'a> {
    /// Type 8, to all, rather than type 9.
    pub broadcast: bool,
    /// The receiver; nobody in a broadcast.
    pub dest: NodeId,
    /// The sender.
    pub from: NodeId,
    /// The text, at most [`MAX_STRING_BYTES`](super::MAX_STRING_BYTES) for C++ nodes to take it.
    pub msg: Cow<'a, [u8]>,
}

impl<'a> User<'a> {
    /// Decodes a canonical or normalised frame of type 8 or 9.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for another type.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let envelope = Envelope::of_fields(bytes);
        let broadcast = match envelope.kind {
            kind::BROADCAST => true,
            kind::SINGLE => false,
            _ => return Err(DecodeError::new("type", "8 or 9")),
        };
        let msg = fields(bytes).filter(|(key, _)| key.is("msg")).last();
        let msg = msg.map_or(Value::NULL, |(_, value)| value).text();
        Ok(Self { broadcast, dest: envelope.dest, from: envelope.from, msg })
    }

    /// The frame, without its NUL, in the field order of C++ nodes. The text is always a string, its NUL
    /// bytes written `\u0000`.
    pub fn encode(&self) -> Vec<u8> {
        let mut object = Object::with_capacity(self.msg.len().saturating_add(80));
        object
            .integer("type", i64::from(if self.broadcast { kind::BROADCAST } else { kind::SINGLE }))
            .integer("dest", i64::from(self.dest.0))
            .integer("from", i64::from(self.from.0))
            .text("msg", &self.msg);
        object.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_written_in_the_order_of_cpp() {
        let user = User { broadcast: true, dest: NodeId::NONE, from: NodeId(2), msg: b"a\0\"\xff".into() };
        let text = b"{\"type\":8,\"dest\":0,\"from\":2,\"msg\":\"a\\u0000\\\"\xff\"}";
        assert_eq!(user.encode(), text);
        assert_eq!(User::decode(text).unwrap(), user);
    }

    #[test]
    fn what_is_no_string_arrives_as_json() {
        for (msg, want) in
            [("{\"a\":1.0}", "{\"a\":1}"), ("null", "null"), ("-5", "-5"), ("1,\"msg\":2", "2")]
        {
            let text = alloc::format!("{{\"type\":9,\"msg\":{msg}}}");
            assert_eq!(&*User::decode(text.as_bytes()).unwrap().msg, want.as_bytes());
        }
        assert_eq!(&*User::decode(b"{\"type\":9}").unwrap().msg, b"null");
        assert_eq!(User::decode(b"{}").unwrap_err().field, "type");
    }
}
