//! Reading and changing recorded messages as text.
//!
//! On purpose not with the decoder under test: what is looked for here stands in plain view in every
//! message that a C++ node has written.

/// What a message is, as far as a conversation needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Type 5.
    SyncRequest,
    /// Type 6.
    SyncReply,
    /// Type 4 with `msg.type` 0.
    TimeAsk,
    /// Type 4 with `msg.type` 1.
    TimeRequest,
    /// Type 4 with `msg.type` 2.
    TimeReply,
    /// Type 3 with `msg.type` 1.
    DelayRequest,
    /// Type 3 with `msg.type` 2.
    DelayReply,
    /// Type 8.
    Broadcast,
    /// Type 9.
    Single,
    /// Type 10.
    Announce,
    /// Type 11.
    PartRequest,
    /// Type 12.
    Part,
    /// Anything else.
    Other,
}

impl Kind {
    /// What a message is.
    pub(super) fn of(message: &[u8]) -> Self {
        let step = find(message, "\"msg\":{").and_then(|at| number(&message[at..], "type"));
        match (number(message, "type"), step) {
            (Some(3), Some(1)) => Self::DelayRequest,
            (Some(3), Some(2)) => Self::DelayReply,
            (Some(4), Some(0)) => Self::TimeAsk,
            (Some(4), Some(1)) => Self::TimeRequest,
            (Some(4), Some(2)) => Self::TimeReply,
            (Some(5), _) => Self::SyncRequest,
            (Some(6), _) => Self::SyncReply,
            (Some(8), _) => Self::Broadcast,
            (Some(9), _) => Self::Single,
            (Some(10), _) => Self::Announce,
            (Some(11), _) => Self::PartRequest,
            (Some(12), _) => Self::Part,
            _ => Self::Other,
        }
    }

    /// The times in such a message that its sender's own clock has given.
    pub(super) fn own_stamps(self) -> &'static [&'static str] {
        match self {
            Self::TimeRequest | Self::DelayRequest => &["t0"],
            Self::TimeReply | Self::DelayReply => &["t1", "t2"],
            _ => &[],
        }
    }

    /// Whether an application makes such a message.
    pub(super) fn is_a_verb(self) -> bool {
        matches!(self, Self::DelayRequest | Self::Broadcast | Self::Single | Self::Announce)
    }
}

fn find(message: &[u8], pattern: &str) -> Option<usize> {
    message.windows(pattern.len()).position(|window| window == pattern.as_bytes())
}

/// Where the digits of the first field `key` are.
fn digits(message: &[u8], key: &str) -> Option<std::ops::Range<usize>> {
    let start = find(message, &format!("\"{key}\":"))? + key.len() + 3;
    let len = message[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    (len > 0).then_some(start..start + len)
}

/// The value of the first field `key`, if it is a number of 32 bits.
pub(super) fn number(message: &[u8], key: &str) -> Option<u32> {
    std::str::from_utf8(&message[digits(message, key)?]).ok()?.parse().ok()
}

/// The message with another number in its first field `key`, if it has one.
pub(super) fn with_number(message: &[u8], key: &str, value: u32) -> Vec<u8> {
    let mut changed = message.to_vec();
    if let Some(at) = digits(message, key) {
        changed.splice(at, value.to_string().into_bytes());
    }
    changed
}

/// The message with a 0 for every time that its sender's own clock has given.
pub(super) fn without_stamps(message: &[u8]) -> Vec<u8> {
    let stamps = Kind::of(message).own_stamps().iter();
    stamps.fold(message.to_vec(), |message, key| with_number(&message, key, 0))
}

/// The message for people.
pub(super) fn shown(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message);
    text.chars().take(300).collect()
}

/// The bytes of the string in the field `msg`, as ArduinoJson has escaped it.
pub(super) fn user_text(message: &[u8]) -> Vec<u8> {
    let start = find(message, "\"msg\":\"").expect("a user message has text") + 7;
    let (mut text, mut rest) = (Vec::new(), &message[start..]);
    loop {
        match rest {
            [b'\\', b'u', b'0', b'0', b'0', b'0', after @ ..] => {
                text.push(0);
                rest = after;
            }
            [b'\\', escape, after @ ..] => {
                let at = b"btnfr".iter().position(|short| short == escape);
                text.push(at.map_or(*escape, |at| b"\x08\t\n\x0c\r"[at]));
                rest = after;
            }
            [b'"', ..] | [] => return text,
            [byte, after @ ..] => {
                text.push(*byte);
                rest = after;
            }
        }
    }
}

#[test]
fn times_are_found_and_changed() {
    let reply = br#"{"type":4,"dest":1,"from":2,"msg":{"type":2,"t0":3,"t1":4,"t2":5}}"#;
    assert_eq!(Kind::of(reply), Kind::TimeReply);
    assert_eq!((number(reply, "t0"), number(reply, "t2"), number(reply, "t3")), (Some(3), Some(5), None));
    let masked = br#"{"type":4,"dest":1,"from":2,"msg":{"type":2,"t0":3,"t1":0,"t2":0}}"#;
    assert_eq!(without_stamps(reply), masked);
    assert_eq!(user_text(br#"{"msg":"a\"\\\n\u0000b"}"#), b"a\"\\\n\0b");
}
