//! What must hold for any bytes: the body of a fuzz target, shared with the test that replays its corpus. It
//! panics when it does not hold; nothing else calls it.

use super::super::envelope::read;
use super::super::json::{Value, fields};
use super::{Answer, Sent};
use alloc::vec::Vec;

/// What can be read survives being written and read again, and is no longer than it was, however odd it is.
pub fn status(frame: &[u8]) {
    let Ok(message) = read(frame) else { return };
    let Ok(sent) = Sent::decode(&message.bytes) else { return };
    _ = Answer::of(&sent);
    let mut odd = 0_usize;
    sent.package.odd(|_| odd = odd.saturating_add(1));
    assert!(odd <= frame.len(), "more is odd than there is");

    let once = sent.package.encode(sent.from, sent.to);
    let Ok(again) = Sent::decode(&once) else { panic!("what was written cannot be read") };
    assert_eq!((again.from, again.to, again.package.kind()), (sent.from, sent.to, sent.package.kind()));
    let twice = again.package.encode(again.from, again.to);
    assert!(alike(Value::of(&once), Value::of(&twice)), "written twice, it is not the same");
}

/// Whether two values are equal but for the decimals that reals lose whenever they are written.
fn alike(one: Value<'_>, other: Value<'_>) -> bool {
    if one == other {
        return true;
    }
    if one.is_object() && other.is_object() {
        let keys =
            |value: Value<'_>| value.fields().map(|(key, _)| key.name().into_owned()).collect::<Vec<_>>();
        let pairs = fields(one.raw()).zip(fields(other.raw()));
        return keys(one) == keys(other) && pairs.into_iter().all(|((_, one), (_, other))| alike(one, other));
    }
    if one.is_array() && other.is_array() {
        let pairs = one.elements().zip(other.elements());
        return one.elements().count() == other.elements().count()
            && pairs.into_iter().all(|(one, other)| alike(one, other));
    }
    let (Some(one), Some(other)) = (one.number(), other.number()) else { return false };
    let (one, other) = (one.to_f64(), other.to_f64());
    let difference = if one > other { one - other } else { other - one };
    let size = if one < 0.0 { -one } else { one };
    difference <= size * 1e-5 + 1e-5
}
