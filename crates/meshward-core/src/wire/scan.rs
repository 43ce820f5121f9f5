//! Walks over compact JSON without building anything: the strict subset that everybody reads the same.
//!
//! Refuses, by `None`: whitespace between tokens, single quotes, unquoted keys, escapes that JSON does not
//! know, numbers that JSON does not know or that ArduinoJson would cut (over 63 characters), a NUL, and
//! whatever the [`Rules`] exclude. Nothing is decoded. Every function takes the text at a token and gives
//! back the text after it.

use super::number::MAX_DIGITS;
use super::{MAX_DEPTH, MAX_STRING_BYTES};

/// What is taken beyond the grammar.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    /// The most bytes between two quotes, as they stand.
    pub(super) max_string: usize,
    /// The most objects and arrays inside each other.
    pub(super) max_depth: usize,
    /// Whether a key may contain escapes.
    pub(super) escaped_keys: bool,
}

impl Rules {
    /// For a field of a frame that is to be forwarded unread.
    pub(super) const CANONICAL: Self =
        Self { max_string: MAX_STRING_BYTES, max_depth: MAX_DEPTH - 1, escaped_keys: false };
    /// For text that was canonical or that we wrote ourselves.
    pub(super) const TRUSTED: Self =
        Self { max_string: usize::MAX, max_depth: MAX_DEPTH, escaped_keys: true };
}

/// A string as it stands between its quotes.
#[derive(Clone, Copy)]
pub(super) struct Quoted<'a> {
    pub(super) body: &'a [u8],
    pub(super) escaped: bool,
}

/// The text after the value that `text` begins with.
#[inline]
pub(super) fn value(text: &[u8], rules: Rules) -> Option<&[u8]> {
    match text.first()? {
        b'{' | b'[' => container(text, rules),
        _ => scalar(text, rules),
    }
}

/// The text after the object or array that `text` begins with.
#[inline(never)]
fn container(text: &[u8], rules: Rules) -> Option<&[u8]> {
    let mut nest = Nest::new();
    let mut rest = text;
    loop {
        rest = match rest.first()? {
            opening @ (b'{' | b'[') => {
                let object = *opening == b'{';
                nest.enter(object, rules.max_depth)?;
                let inside = rest.get(1..)?;
                match inside.first()? {
                    b'}' if object => inside,
                    b']' if !object => inside,
                    _ if object => {
                        rest = key(inside, rules)?.1;
                        continue;
                    }
                    _ => {
                        rest = inside;
                        continue;
                    }
                }
            }
            _ => scalar(rest, rules)?,
        };
        loop {
            let Some(object) = nest.innermost() else { return Some(rest) };
            let after = rest.get(1..)?;
            match rest.first()? {
                b',' if object => rest = key(after, rules)?.1,
                b',' => rest = after,
                b'}' if object => {
                    nest.leave();
                    rest = after;
                    continue;
                }
                b']' if !object => {
                    nest.leave();
                    rest = after;
                    continue;
                }
                _ => return None,
            }
            break;
        }
    }
}

/// The key that `text` begins with, and the text after its colon.
#[inline(always)]
pub(super) fn key(text: &[u8], rules: Rules) -> Option<(Quoted<'_>, &[u8])> {
    let (key, rest) = string(text, rules.max_string)?;
    if key.escaped && !rules.escaped_keys {
        return None;
    }
    Some((key, rest.strip_prefix(b":")?))
}

/// The string that `text` begins with, of up to `max` bytes as it stands, and the text after it.
#[inline(always)]
pub(super) fn string(text: &[u8], max: usize) -> Option<(Quoted<'_>, &[u8])> {
    let text = text.strip_prefix(b"\"")?;
    let mut at = special(text)?;
    let escaped = text.get(at) == Some(&b'\\');
    if escaped {
        at = end_of_escaped(text, at)?;
    }
    let (body, rest) = text.split_at_checked(at)?;
    if body.len() > max {
        return None;
    }
    Some((Quoted { body, escaped }, rest.strip_prefix(b"\"")?))
}

/// Where the closing quote is, in text whose first escape is at `at`.
#[inline(never)]
fn end_of_escaped(text: &[u8], mut at: usize) -> Option<usize> {
    while text.get(at)? == &b'\\' {
        at = at.checked_add(escape(text.get(at..)?)?)?;
        at = at.checked_add(special(text.get(at..)?)?)?;
    }
    Some(at)
}

/// Where the first quote, backslash or NUL is. Most keys and many values are shorter than eight bytes, and
/// most others than it takes to start `memchr`, so the first words are looked at as numbers.
#[inline(always)]
fn special(text: &[u8]) -> Option<usize> {
    if let Some(word) = text.first_chunk::<8>()
        && let Some(at) = special_in(*word)
    {
        return Some(at);
    }
    special_further(text)
}

/// As [`special`], for text that seems to be longer.
fn special_further(text: &[u8]) -> Option<usize> {
    const WORDS: usize = 5;
    let (words, _) = text.as_chunks::<8>();
    let mut at: usize = 0;
    for word in words.iter().take(WORDS) {
        if let Some(within) = special_in(*word) {
            return at.checked_add(within);
        }
        at = at.checked_add(8)?;
    }
    memchr::memchr3(b'"', b'\\', 0, text.get(at..)?)?.checked_add(at)
}

/// As [`special`], in eight bytes.
#[inline(always)]
fn special_in(word: [u8; 8]) -> Option<usize> {
    let word = u64::from_le_bytes(word);
    let found = zeros(word) | zeros(word ^ repeated(b'"')) | zeros(word ^ repeated(b'\\'));
    if found == 0 { None } else { Some((found.trailing_zeros() / 8) as usize) }
}

/// `byte` in all places of a word.
const fn repeated(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// The top bit of every byte that is zero. Bytes above the lowest zero may be marked wrongly.
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(repeated(0x01)) & !word & repeated(0x80)
}

/// The length of the escape that `text` begins with.
fn escape(text: &[u8]) -> Option<usize> {
    match text.get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' if text.get(2..6)?.iter().all(u8::is_ascii_hexdigit) => Some(6),
        _ => None,
    }
}

/// The text after the string, number or word that `text` begins with.
#[inline]
fn scalar(text: &[u8], rules: Rules) -> Option<&[u8]> {
    match text.first()? {
        b'"' => Some(string(text, rules.max_string)?.1),
        b't' => text.strip_prefix(b"true"),
        b'f' => text.strip_prefix(b"false"),
        b'n' => text.strip_prefix(b"null"),
        _ => number(text),
    }
}

/// The text after the number that `text` begins with.
#[inline]
fn number(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text.strip_prefix(b"-").unwrap_or(text);
    rest = match rest.strip_prefix(b"0") {
        Some(rest) => rest,
        None => digits(rest)?,
    };
    if let Some(decimals) = rest.strip_prefix(b".") {
        rest = digits(decimals)?;
    }
    if let Some((b'e' | b'E', exponent)) = rest.split_first() {
        rest = digits(match exponent.split_first() {
            Some((b'+' | b'-', unsigned)) => unsigned,
            _ => exponent,
        })?;
    }
    (text.len().checked_sub(rest.len())? <= MAX_DIGITS).then_some(rest)
}

/// The text after one digit or more.
#[inline]
fn digits(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    if end == 0 { None } else { text.get(end..) }
}

/// Which of the open brackets are braces: one bit a level.
struct Nest {
    objects: [u64; MAX_DEPTH.div_ceil(64)],
    depth: usize,
}

impl Nest {
    const fn new() -> Self {
        Self { objects: [0; MAX_DEPTH.div_ceil(64)], depth: 0 }
    }

    /// Goes into an object or array, unless it is `max` levels deep already.
    fn enter(&mut self, object: bool, max: usize) -> Option<()> {
        if self.depth >= max {
            return None;
        }
        let word = self.objects.get_mut(self.depth / 64)?;
        let bit = 1 << (self.depth % 64);
        if object {
            *word |= bit
        } else {
            *word &= !bit
        }
        self.depth = self.depth.checked_add(1)?;
        Some(())
    }

    fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// Whether the innermost open bracket is a brace; `None` when none is open.
    fn innermost(&self) -> Option<bool> {
        let level = self.depth.checked_sub(1)?;
        Some(self.objects.get(level / 64)? >> (level % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn whole(text: &str) -> bool {
        value(text.as_bytes(), Rules::CANONICAL).is_some_and(<[u8]>::is_empty)
    }

    #[test]
    fn compact_json_is_walked_over() {
        for text in [
            "{}",
            "[]",
            "0",
            "-1",
            "1.5e-7",
            "\"\"",
            "\"a\\u00e9\\\"\"",
            "true",
            "false",
            "null",
            "[[],{}]",
            "{\"a\":[1,{\"b\":\"x\"},\"y\"],\"c\":{\"d\":null}}",
            "\"\u{1}\n\"",
            "\"a longer text than sixteen\"",
        ] {
            assert!(whole(text), "{text}");
        }
    }

    #[test]
    fn anything_else_is_not() {
        for text in [
            "",
            " 1",
            "{ }",
            "[1 ]",
            "[1,]",
            "{,}",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "'a'",
            "01",
            "+1",
            ".5",
            "1.",
            "1e",
            "-",
            "tru",
            "nul",
            "\"a",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\'\"",
            "\"\0\"",
            "[}",
            "{]",
            "[1}",
            "{\"\\n\":1}",
            "1234567890123456789012345678901234567890123456789012345678901234",
        ] {
            assert!(!whole(text), "{text}");
        }
    }

    #[test]
    fn depth_and_string_length_are_limited() {
        let nested = |depth: usize| [b"[".repeat(depth), b"]".repeat(depth)].concat();
        assert!(value(&nested(254), Rules::CANONICAL).is_some());
        assert!(value(&nested(255), Rules::CANONICAL).is_none());
        assert!(value(&nested(255), Rules::TRUSTED).is_some());
        let long =
            |len: usize| [&b"\""[..], &Vec::from_iter(core::iter::repeat_n(b'x', len)), b"\""].concat();
        assert!(value(&long(65_535), Rules::CANONICAL).is_some());
        assert!(value(&long(65_536), Rules::CANONICAL).is_none());
    }
}
