//! Reads a frame as ArduinoJson 7 reads it and writes it again as it writes, in one pass.
//!
//! Taken besides JSON: single quotes, keys without quotes, whatever follows the object, raw control
//! characters, numbers like `+1` and `.5`. Not taken: comments, `NaN`, `Infinity`, strings over 65,535
//! bytes, more than 255 levels. Of equal keys the last value stays, at the place of the first.
//!
//! Driven by [`read`](super::read) for frames that are not canonical. Time and memory are proportional to
//! the frame (a sort of the keys, and one more copy per level that has equal keys): the text grows at most
//! about threefold. Nothing is recursive.

use super::envelope::Envelope;
use super::json::Value;
use super::number::{MAX_DIGITS, Number};
use super::write::write_escaped;
use super::{MAX_DEPTH, MAX_STRING_BYTES, text};
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

/// A frame as ArduinoJson writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Normal {
    /// The text: compact, keys unique, an object.
    pub bytes: Vec<u8>,
    /// What routing needs.
    pub envelope: Envelope,
}

/// Why a frame is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is something in it that can't be read.
    NotJson,
    /// It ends too early.
    Incomplete,
    /// More than 255 objects and arrays inside each other.
    TooDeep,
    /// A string is longer than 65,535 bytes.
    TooLong,
    /// It can be read, but is no object.
    NotAnObject,
    /// There is nothing in it.
    Empty,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotJson => "not JSON, not even of the kind that ArduinoJson reads",
            Self::Incomplete => "the JSON ends too early",
            Self::TooDeep => "objects and arrays are nested deeper than 255 levels",
            Self::TooLong => "a string is longer than 65535 bytes",
            Self::NotAnObject => "a JSON value, but not an object",
            Self::Empty => "nothing but white space",
        })
    }
}

impl core::error::Error for Refusal {}

/// Reads `frame` as ArduinoJson does and writes it again. The result is canonical but for long strings and
/// for keys with escapes; its keys are unique.
///
/// # Errors
///
/// [`Refusal`] when ArduinoJson would not take the frame, or takes it as something else than an object.
pub fn normalise(frame: &[u8]) -> Result<Normal, Refusal> {
    let mut writer = Rewriter::new(frame);
    writer.run()?;
    if writer.out.first() != Some(&b'{') {
        return Err(Refusal::NotAnObject);
    }
    Ok(Normal { envelope: writer.head.envelope(), bytes: writer.out })
}

/// As [`normalise`], for a value of any type.
pub(super) fn normalise_value(text: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut writer = Rewriter::new(text);
    writer.run()?;
    Ok(writer.out)
}

/// A field already written to an object that is still open, by its places in the output.
#[derive(Clone)]
struct Member {
    /// The key with its quotes.
    key: Range<usize>,
    /// Where the key ends for comparisons: ArduinoJson looks a key up by its text before the first NUL,
    /// among keys of full length.
    lookup_end: usize,
    value: Range<usize>,
}

impl Member {
    /// Whether later keys can find this one.
    fn is_findable(&self) -> bool {
        self.lookup_end == self.key.end.saturating_sub(1)
    }
}

/// An object or array that is not closed yet.
struct Open {
    object: bool,
    /// Where in the output its bracket is.
    start: usize,
    /// Its first entry in `members`.
    first_member: usize,
}

/// The four fields of the envelope, read from what was in the frame: written again, `9.0` is an integer.
#[derive(Default)]
struct Head {
    kind: Option<i32>,
    dest: Option<u32>,
    from: Option<u32>,
    routing: Option<Option<i32>>,
}

impl Head {
    /// Takes the field `key` if it is one of the four. A key that is not `findable` can only replace.
    fn note(&mut self, key: &[u8], findable: bool, value: &Reading<'_>) {
        match key {
            b"type" if findable || self.kind.is_some() => self.kind = Some(value.as_i32()),
            b"dest" if findable || self.dest.is_some() => self.dest = Some(value.u32().unwrap_or(0)),
            b"from" if findable || self.from.is_some() => self.from = Some(value.as_u32()),
            b"routing" if findable || self.routing.is_some() => self.routing = Some(value.i32()),
            _ => {}
        }
    }

    fn envelope(&self) -> Envelope {
        Envelope::of(
            self.kind.unwrap_or(0),
            self.dest.unwrap_or(0),
            self.from.unwrap_or(0),
            self.routing.flatten(),
        )
    }
}

/// A value as it was in the frame.
struct Reading<'a> {
    /// The number, when it is one.
    number: Option<Number>,
    /// The value as written again.
    value: Value<'a>,
}

impl Reading<'_> {
    fn as_u32(&self) -> u32 {
        self.number.map_or_else(|| self.value.as_u32(), Number::to_u32)
    }

    fn as_i32(&self) -> i32 {
        self.number.map_or_else(|| self.value.as_i32(), Number::to_i32)
    }

    /// The value when it is an integer of 32 bits without a sign.
    fn u32(&self) -> Option<u32> {
        self.number.filter(|number| number.is_u32()).map(Number::to_u32)
    }

    /// The value when it is an integer of 32 bits with a sign.
    fn i32(&self) -> Option<i32> {
        self.number.filter(|number| number.is_i32()).map(Number::to_i32)
    }
}

/// The state of one pass.
struct Rewriter<'a> {
    rest: &'a [u8],
    out: Vec<u8>,
    members: Vec<Member>,
    open: Vec<Open>,
    /// Whether there was anything but white space.
    begun: bool,
    /// The value just read, when it was a number: not all of it may be in the output.
    number: Option<Number>,
    head: Head,
}

impl<'a> Rewriter<'a> {
    fn new(text: &'a [u8]) -> Self {
        let end = memchr::memchr(0, text).unwrap_or(text.len());
        let rest = text.get(..end).unwrap_or_default();
        Self {
            rest,
            out: Vec::with_capacity(rest.len()),
            members: Vec::new(),
            open: Vec::new(),
            begun: false,
            number: None,
            head: Head::default(),
        }
    }

    /// Reads one value with all that is in it.
    fn run(&mut self) -> Result<(), Refusal> {
        loop {
            if self.value()? {
                continue;
            }
            loop {
                let Some(&Open { object, .. }) = self.open.last() else { return Ok(()) };
                if object {
                    self.end_member();
                }
                self.spaces()?;
                if self.eat(if object { b'}' } else { b']' }) {
                    self.close();
                    continue;
                }
                if !self.eat(b',') {
                    return Err(Refusal::NotJson);
                }
                self.out.push(b',');
                if object {
                    self.spaces()?;
                    self.key()?;
                }
                break;
            }
        }
    }

    /// Reads a value up to its end, or into an object or array to its first value; true for the latter.
    fn value(&mut self) -> Result<bool, Refusal> {
        self.spaces()?;
        self.number = None;
        match self.current() {
            Some(bracket @ (b'{' | b'[')) => return self.enter(bracket),
            Some(quote @ (b'"' | b'\'')) => {
                self.skip();
                self.string(quote)?;
            }
            Some(b't') => self.word(b"true")?,
            Some(b'f') => self.word(b"false")?,
            Some(b'n') => self.word(b"null")?,
            _ => self.number()?,
        }
        Ok(false)
    }

    /// Reads the opening `bracket`, and the first key of an object. False when there is nothing inside.
    fn enter(&mut self, bracket: u8) -> Result<bool, Refusal> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Refusal::TooDeep);
        }
        self.skip();
        let object = bracket == b'{';
        self.spaces()?;
        if self.eat(if object { b'}' } else { b']' }) {
            self.out.extend_from_slice(if object { b"{}" } else { b"[]" });
            return Ok(false);
        }
        self.open.push(Open { object, start: self.out.len(), first_member: self.members.len() });
        self.out.push(bracket);
        if object {
            self.key()?;
        }
        Ok(true)
    }

    /// Reads a key and its colon, and begins a member.
    fn key(&mut self) -> Result<(), Refusal> {
        let start = self.out.len();
        let nul = match self.current() {
            Some(quote @ (b'"' | b'\'')) => {
                self.skip();
                self.string(quote)?
            }
            _ => {
                self.bare_key()?;
                None
            }
        };
        let key = start..self.out.len();
        self.spaces()?;
        if !self.eat(b':') {
            return Err(Refusal::NotJson);
        }
        self.out.push(b':');
        let value = self.out.len()..self.out.len();
        let lookup_end = nul.unwrap_or(key.end.saturating_sub(1));
        self.members.push(Member { key, lookup_end, value });
        Ok(())
    }

    /// Ends the member whose value has just been read.
    fn end_member(&mut self) {
        let Some(member) = self.members.last_mut() else { return };
        member.value.end = self.out.len();
        if self.open.len() == 1 {
            let key = self.out.get(member.key.start.saturating_add(1)..member.lookup_end);
            let value = Value::of(self.out.get(member.value.clone()).unwrap_or_default());
            let value = Reading { number: self.number, value };
            self.head.note(key.unwrap_or_default(), member.is_findable(), &value);
        }
    }

    /// Reads a key that has no quotes. The characters from `_` to `z` include the backtick.
    fn bare_key(&mut self) -> Result<(), Refusal> {
        let plain = |byte: &u8| matches!(byte, b'0'..=b'9' | b'A'..=b'Z' | b'_'..=b'z');
        let end = self.rest.iter().position(|byte| !plain(byte)).unwrap_or(self.rest.len());
        let Some((key @ [_, ..], rest)) = self.rest.split_at_checked(end) else {
            return Err(Refusal::NotJson);
        };
        if key.len() > MAX_STRING_BYTES {
            return Err(Refusal::TooLong);
        }
        self.out.push(b'"');
        self.out.extend_from_slice(key);
        self.out.push(b'"');
        self.rest = rest;
        Ok(())
    }

    /// Reads a string from after its opening `quote`; returns where its first NUL was written.
    fn string(&mut self, quote: u8) -> Result<Option<usize>, Refusal> {
        let (mut len, mut nul) = (0_usize, None);
        let out = &mut self.out;
        out.push(b'"');
        self.rest = text::quoted(self.rest, quote, |piece| {
            len = len.saturating_add(piece.len());
            // A NUL is never part of the frame: it comes from an escape, as a piece of its own.
            if piece == [0] && nul.is_none() {
                nul = Some(out.len());
            }
            write_escaped(out, piece);
        })?;
        out.push(b'"');
        if len > MAX_STRING_BYTES { Err(Refusal::TooLong) } else { Ok(nul) }
    }

    /// Reads a number: up to 63 characters that can be in one.
    fn number(&mut self) -> Result<(), Refusal> {
        let part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        let end = self.rest.iter().take(MAX_DIGITS).take_while(|byte| part(byte)).count();
        let (text, rest) = self.rest.split_at_checked(end).ok_or(Refusal::NotJson)?;
        let number = Number::parse(text).ok_or(Refusal::NotJson)?.stored();
        number.write(&mut self.out);
        self.number = Some(number);
        self.rest = rest;
        if self.open.is_empty() && !rest.is_empty() {
            return Err(Refusal::NotJson);
        }
        Ok(())
    }

    /// Reads `word`.
    fn word(&mut self, word: &[u8]) -> Result<(), Refusal> {
        for byte in word {
            match self.current() {
                None => return Err(Refusal::Incomplete),
                Some(current) if current == *byte => self.skip(),
                Some(_) => return Err(Refusal::NotJson),
            }
        }
        self.out.extend_from_slice(word);
        Ok(())
    }

    /// Passes over white space; something must come after it.
    fn spaces(&mut self) -> Result<(), Refusal> {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.current() {
            self.skip();
        }
        match self.current() {
            Some(_) => {
                self.begun = true;
                Ok(())
            }
            None if self.begun => Err(Refusal::Incomplete),
            None => Err(Refusal::Empty),
        }
    }

    fn current(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn skip(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
    }

    fn eat(&mut self, byte: u8) -> bool {
        let there = self.current() == Some(byte);
        if there {
            self.skip();
        }
        there
    }

    /// Closes the innermost object or array, and joins the equal keys of an object.
    fn close(&mut self) {
        let Some(open) = self.open.pop() else { return };
        self.number = None;
        if open.object {
            self.join_equal_keys(&open);
            self.members.truncate(open.first_member);
        }
        self.out.push(if open.object { b'}' } else { b']' });
    }

    /// Rewrites the object that is being closed when it has equal keys.
    fn join_equal_keys(&mut self, open: &Open) {
        let members = self.members.get(open.first_member..).unwrap_or_default();
        let lookup = |member: &Member| self.out.get(member.key.start..member.lookup_end).unwrap_or_default();
        let mut sorted: Vec<(usize, &Member)> = members.iter().enumerate().collect();
        sorted.sort_by(|(_, a), (_, b)| lookup(a).cmp(lookup(b)));
        if sorted.windows(2).all(|pair| matches!(pair, [a, b] if lookup(a.1) != lookup(b.1))) {
            return;
        }
        // For each member, whose value it ends up with: its own, a later one's, or it is gone.
        let mut values: Vec<Option<&Member>> = members.iter().map(Some).collect();
        for equal in sorted.chunk_by(|a, b| lookup(a.1) == lookup(b.1)) {
            let mut equal = equal.iter().skip_while(|(_, member)| !member.is_findable());
            let Some(&(first, _)) = equal.next() else { continue };
            for &(later, member) in equal {
                set(&mut values, first, Some(member));
                set(&mut values, later, None);
            }
        }
        let mut joined = Vec::with_capacity(self.out.len().saturating_sub(open.start));
        for (member, value) in members.iter().zip(values) {
            let Some(value) = value else { continue };
            joined.push(if joined.is_empty() { b'{' } else { b',' });
            joined.extend_from_slice(self.out.get(member.key.clone()).unwrap_or_default());
            joined.push(b':');
            joined.extend_from_slice(self.out.get(value.value.clone()).unwrap_or_default());
        }
        self.out.truncate(open.start);
        self.out.extend_from_slice(&joined);
    }
}

/// Sets an entry that exists.
fn set<T>(values: &mut [T], index: usize, value: T) {
    if let Some(slot) = values.get_mut(index) {
        *slot = value;
    }
}
