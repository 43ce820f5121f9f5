//! Who a frame is for: the four fields that routing needs, and whether the frame may be forwarded as is.
//!
//! [`peek`] is what every frame of a link goes through and is made for speed. It refuses (`None`) whatever
//! a C++ node behind us might read in another way than we do; such a frame takes the slow way of
//! [`normalise`](super::normalise). [`read`] does one or the other. Nothing of the content is decoded.
//!
//! # Canonical frames
//!
//! A frame is canonical when it is one object of compact JSON and nothing else, and
//!
//! - its keys, at any depth, have no escapes; none of `type`, `dest`, `from`, `routing` comes twice;
//! - these four, where present, are plain integers without leading zeros: `type` and `routing` of 32 bits
//!   signed, `dest` and `from` of 32 bits unsigned;
//! - other numbers are numbers of JSON of at most 63 characters;
//! - no string is longer than 65,535 bytes as it stands, and nothing is nested deeper than 255 levels.
//!
//! So a C++ node would rewrite some of these frames (`\u0041`, `1.0`, a second `msg`), but everybody reads
//! them the same before and after: a number by one arithmetic, of two equal keys the last. Forwarding them
//! as they are even keeps the decimals that C++ nodes shave off.

use super::id::NodeId;
use super::json::{Value, fields};
use super::kind;
use super::normal::{Refusal, normalise};
use super::scan::{self, Rules};
use alloc::borrow::Cow;

/// How a frame travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// To the neighbour it is sent to, who handles it.
    Neighbour,
    /// To the node in `dest`; nodes on the way forward it unread.
    Single,
    /// To every node; each forwards it to its other neighbours, then handles it.
    Broadcast,
    /// Nothing says how: handled by whoever receives it, and not forwarded.
    Local,
}

/// What routing needs to know of a frame, as a C++ node reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The field `type`, see [`kind`]; 0 when there is none.
    pub kind: i32,
    /// The field `dest`; nobody when it is missing or not an integer of 32 bits.
    pub dest: NodeId,
    /// The field `from`; nobody when it is missing or no number. Whoever sent the frame may have put
    /// anything there.
    pub from: NodeId,
    /// The field `routing` where it is an integer, else what goes with the type.
    pub routing: Routing,
}

impl Envelope {
    /// The envelope of the four fields, where `routing` is absent unless it is an integer.
    pub(super) fn of(kind: i32, dest: u32, from: u32, routing: Option<i32>) -> Self {
        let routing = match routing {
            Some(0) => Routing::Neighbour,
            Some(1) => Routing::Single,
            Some(2) => Routing::Broadcast,
            Some(_) => Routing::Local,
            None => match kind {
                kind::SINGLE | kind::TIME_DELAY => Routing::Single,
                kind::BROADCAST => Routing::Broadcast,
                kind::TIME_SYNC | kind::NODE_SYNC_REQUEST | kind::NODE_SYNC_REPLY => Routing::Neighbour,
                _ => Routing::Local,
            },
        };
        Self { kind, dest: NodeId(dest), from: NodeId(from), routing }
    }

    /// The envelope of a canonical frame, or what a normalised one shows to the next node: there a real may
    /// have become an integer.
    pub(super) fn of_fields(frame: &[u8]) -> Self {
        let (mut kind, mut dest, mut from, mut routing) = (0, 0, 0, None);
        for (key, value) in fields(frame) {
            match &*key.name() {
                b"type" => kind = value.as_i32(),
                b"dest" => dest = if value.is_u32() { value.as_u32() } else { 0 },
                b"from" => from = value.as_u32(),
                b"routing" => routing = value.is_i32().then(|| value.as_i32()),
                _ => {}
            }
        }
        Self::of(kind, dest, from, routing)
    }
}

/// The envelope of a canonical frame; `None` when the frame is not canonical (see the module), whatever
/// else it is.
pub fn peek(frame: &[u8]) -> Option<Envelope> {
    let mut rest = frame.strip_prefix(b"{")?;
    let mut head = Head::default();
    if rest == b"}" {
        return Some(head.envelope());
    }
    loop {
        let (key, value) = scan::key(rest, Rules::CANONICAL)?;
        rest = scan::value(value, Rules::CANONICAL)?;
        head.note(key.body, value, rest)?;
        match rest.split_first()? {
            (b',', more) => rest = more,
            (b'}', []) => return Some(head.envelope()),
            _ => return None,
        }
    }
}

/// The four fields, as far as they have been seen.
#[derive(Default)]
struct Head {
    kind: Option<i32>,
    dest: Option<u32>,
    from: Option<u32>,
    routing: Option<i32>,
}

impl Head {
    /// Takes the field `key` if it is one of the four, with the value from `value` to `rest`; `None` when
    /// it is the second of its name or no plain integer.
    fn note(&mut self, key: &[u8], value: &[u8], rest: &[u8]) -> Option<()> {
        let text = || value.get(..value.len().checked_sub(rest.len())?);
        match key {
            b"type" if self.kind.is_none() => self.kind = Some(plain_i32(text()?)?),
            b"dest" if self.dest.is_none() => self.dest = Some(plain_u32(text()?)?),
            b"from" if self.from.is_none() => self.from = Some(plain_u32(text()?)?),
            b"routing" if self.routing.is_none() => self.routing = Some(plain_i32(text()?)?),
            b"type" | b"dest" | b"from" | b"routing" => return None,
            _ => {}
        }
        Some(())
    }

    fn envelope(&self) -> Envelope {
        Envelope::of(self.kind.unwrap_or(0), self.dest.unwrap_or(0), self.from.unwrap_or(0), self.routing)
    }
}

/// An integer that is all digits; the scanner has seen to leading zeros.
fn plain_u32(text: &[u8]) -> Option<u32> {
    let mut number: u32 = 0;
    for byte in text {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number = number.checked_mul(10)?.checked_add(u32::from(digit))?;
    }
    Some(number)
}

/// An integer that is a sign, perhaps, and digits, and not `-0`.
fn plain_i32(text: &[u8]) -> Option<i32> {
    match text.strip_prefix(b"-") {
        Some(digits) => 0_i32.checked_sub_unsigned(plain_u32(digits)?).filter(|number| *number != 0),
        None => i32::try_from(plain_u32(text)?).ok(),
    }
}

/// A frame that has been read: what routing needs, and the bytes to forward or decode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What routing needs.
    pub envelope: Envelope,
    /// The frame as it came when it was canonical, else as ArduinoJson would write it. Whoever decodes the
    /// latter reads what the next node would: its reals are rounded, `9.0` is an integer.
    pub bytes: Cow<'a, [u8]>,
}

impl Message<'_> {
    /// The value of the field `name`, of the last when there are several.
    pub fn field(&self, name: &str) -> Option<Value<'_>> {
        fields(&self.bytes).filter(|(key, _)| key.is(name)).last().map(|(_, value)| value)
    }
}

/// Reads a frame: as it is when it is canonical, normalised otherwise.
///
/// # Errors
///
/// [`Refusal`] when ArduinoJson would not take the frame, or takes it as something else than an object.
/// The link stays open: C++ nodes drop such a frame and read on.
pub fn read(frame: &[u8]) -> Result<Message<'_>, Refusal> {
    if let Some(envelope) = peek(frame) {
        return Ok(Message { envelope, bytes: Cow::Borrowed(frame) });
    }
    let normal = normalise(frame)?;
    Ok(Message { envelope: normal.envelope, bytes: Cow::Owned(normal.bytes) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(kind: i32, dest: u32, from: u32, routing: Routing) -> Option<Envelope> {
        Some(Envelope { kind, dest: NodeId(dest), from: NodeId(from), routing })
    }

    #[test]
    fn canonical_frames_are_peeked() {
        use Routing::{Broadcast, Local, Neighbour, Single};
        for (frame, want) in [
            ("{}", envelope(0, 0, 0, Local)),
            ("{\"type\":9,\"dest\":4294967295,\"from\":1,\"msg\":\"x\"}", envelope(9, u32::MAX, 1, Single)),
            ("{\"msg\":{\"type\":4,\"dest\":[{}]},\"type\":3}", envelope(3, 0, 0, Single)),
            ("{\"type\":8,\"routing\":1,\"dest\":7}", envelope(8, 7, 0, Single)),
            ("{\"type\":5}", envelope(5, 0, 0, Neighbour)),
            ("{\"routing\":2,\"type\":-77}", envelope(-77, 0, 0, Broadcast)),
            ("{\"routing\":-1,\"type\":9}", envelope(9, 0, 0, Local)),
            ("{\"type\":9,\"msg\":\"\\u0041\\n\",\"t\":1.50,\"msg\":2}", envelope(9, 0, 0, Single)),
        ] {
            assert_eq!(peek(frame.as_bytes()), want, "{frame}");
        }
    }

    #[test]
    fn frames_that_could_be_read_in_two_ways_are_not() {
        for frame in [
            "",
            "{",
            "[]",
            "{} ",
            " {}",
            "{}x",
            "{}\0",
            "{\"type\":5,\"type\":6}",
            "{\"\\u0074ype\":6}",
            "{\"type\":05}",
            "{\"type\":5.0}",
            "{\"type\":\"5\"}",
            "{\"type\":-0}",
            "{\"type\":2147483648}",
            "{\"dest\":-1}",
            "{\"dest\":4294967296}",
            "{\"from\":null}",
            "{\"routing\":1e0}",
            "{'type':9}",
            "{type:9}",
            "{\"a\":{\"b\\n\":1}}",
        ] {
            assert_eq!(peek(frame.as_bytes()), None, "{frame}");
        }
    }

    #[test]
    fn canonical_frames_are_borrowed_and_others_rewritten() {
        let canonical = b"{\"type\":9,\"msg\":1.0}";
        assert!(matches!(read(canonical).unwrap().bytes, Cow::Borrowed(_)));
        let read = read(b"{type:'9'}").unwrap();
        assert_eq!((read.envelope.kind, &*read.bytes), (9, &b"{\"type\":\"9\"}"[..]));
        assert_eq!(read.field("type").unwrap().as_u32(), 9);
        assert_eq!(read.field("msg").map(|value| value.as_u32()), None);
    }
}
