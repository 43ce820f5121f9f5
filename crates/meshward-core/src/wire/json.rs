//! Pull access to a frame that was canonical or has been normalised: fields, elements, values.
//!
//! Conversions are those of ArduinoJson, so that a field reads here as it does on a C++ node. Nothing is
//! recursive; on text that is no compact JSON the iterators end early and conversions give their zero.
//! Equal keys are not joined: whoever reads fields in a loop and lets the last one win reads as a C++ node
//! does.

use super::normal::normalise_value;
use super::number::Number;
use super::scan::{self, Quoted, Rules};
use super::text;
use alloc::borrow::Cow;
use alloc::vec::Vec;

/// The fields of an object, in order.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    /// At the next key, or empty.
    rest: &'a [u8],
}

/// The fields of `object`, which begins with its brace; none when it is no object.
pub fn fields(object: &[u8]) -> Fields<'_> {
    Fields { rest: object.strip_prefix(b"{").unwrap_or_default() }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (Key<'a>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = core::mem::take(&mut self.rest);
        let (key, text) = scan::key(rest, Rules::TRUSTED)?;
        let (value, rest) = Value::split(text)?;
        self.rest = rest.strip_prefix(b",").unwrap_or_default();
        Some((Key(key), value))
    }
}

/// The elements of an array, in order.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    /// At the next element, or empty.
    rest: &'a [u8],
}

/// The elements of `array`, which begins with its bracket; none when it is no array.
pub fn elements(array: &[u8]) -> Elements<'_> {
    Elements { rest: array.strip_prefix(b"[").unwrap_or_default() }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (value, rest) = Value::split(core::mem::take(&mut self.rest))?;
        self.rest = rest.strip_prefix(b",").unwrap_or_default();
        Some(value)
    }
}

/// The key of a field.
#[derive(Clone, Copy)]
pub struct Key<'a>(Quoted<'a>);

impl<'a> From<Quoted<'a>> for Key<'a> {
    fn from(text: Quoted<'a>) -> Self {
        Self(text)
    }
}

impl<'a> Key<'a> {
    /// Whether the key is `name`, its escapes decoded.
    pub fn is(&self, name: &str) -> bool {
        if self.0.escaped { &*self.name() == name.as_bytes() } else { self.0.body == name.as_bytes() }
    }

    /// The key, its escapes decoded.
    pub fn name(&self) -> Cow<'a, [u8]> {
        decoded(self.0).unwrap_or(Cow::Borrowed(self.0.body))
    }
}

impl core::fmt::Debug for Key<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "\"{}\"", self.0.body.escape_ascii())
    }
}

/// The JSON text of one value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Value<'a>(&'a [u8]);

impl core::fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl<'a> Value<'a> {
    /// What a missing field reads as.
    pub const NULL: Self = Self(b"null");

    /// The value whose complete text is `text`.
    pub(super) const fn of(text: &'a [u8]) -> Self {
        Self(text)
    }

    /// The value that `text` begins with, and the text after it.
    pub(super) fn split(text: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let rest = scan::value(text, Rules::TRUSTED)?;
        Some((Self(text.get(..text.len().checked_sub(rest.len())?)?), rest))
    }

    /// ArduinoJson's `as<uint32_t>()`: numbers cut to integers, numbers in strings too, true as 1; 0 for
    /// anything else and for what does not fit.
    pub fn as_u32(&self) -> u32 {
        match self.0.first() {
            Some(b't') => 1,
            Some(b'"') => self.spelt_number().map_or(0, Number::to_u32),
            _ => self.number().map_or(0, Number::to_u32),
        }
    }

    /// ArduinoJson's `is<uint32_t>()`: an integer, not in a string, from 0 to 2^32-1.
    pub fn is_u32(&self) -> bool {
        self.number().is_some_and(Number::is_u32)
    }

    /// ArduinoJson's `as<int>()`, see [`as_u32`](Self::as_u32).
    pub fn as_i32(&self) -> i32 {
        match self.0.first() {
            Some(b't') => 1,
            Some(b'"') => self.spelt_number().map_or(0, Number::to_i32),
            _ => self.number().map_or(0, Number::to_i32),
        }
    }

    /// ArduinoJson's `is<int>()`: an integer, not in a string, from -2^31 to 2^31-1.
    pub fn is_i32(&self) -> bool {
        self.number().is_some_and(Number::is_i32)
    }

    /// ArduinoJson's `as<bool>()`: false, null and zero are false, anything else is true.
    pub fn as_bool(&self) -> bool {
        match self.0.first() {
            Some(b't' | b'"' | b'{' | b'[') => true,
            _ => self.number().is_some_and(Number::is_nonzero),
        }
    }

    /// Whether the value is `true` or `false`.
    pub fn is_bool(&self) -> bool {
        matches!(self.0.first(), Some(b't' | b'f'))
    }

    /// Whether the value is an object.
    pub fn is_object(&self) -> bool {
        self.0.first() == Some(&b'{')
    }

    /// Whether the value is an array.
    pub fn is_array(&self) -> bool {
        self.0.first() == Some(&b'[')
    }

    /// The text of a string, its escapes decoded, of any bytes; `None` when the value is no string.
    pub fn as_str(&self) -> Option<Cow<'a, [u8]>> {
        decoded(scan::string(self.0, usize::MAX)?.0)
    }

    /// ArduinoJson's `as<std::string>()`: the text of a string; the JSON text of anything else, as it would
    /// write it, `null` for null.
    pub fn text(&self) -> Cow<'a, [u8]> {
        if let Some(text) = self.as_str() {
            return text;
        }
        match normalise_value(self.0) {
            Ok(normal) if normal != self.0 => Cow::Owned(normal),
            _ => Cow::Borrowed(self.0),
        }
    }

    /// The JSON text as it stands.
    pub fn raw(&self) -> &'a [u8] {
        self.0
    }

    /// The fields of an object; none when the value is no object.
    pub fn fields(&self) -> Fields<'a> {
        fields(self.0)
    }

    /// The elements of an array; none when the value is no array.
    pub fn elements(&self) -> Elements<'a> {
        elements(self.0)
    }

    /// The number that the value is.
    pub(super) fn number(&self) -> Option<Number> {
        Some(Number::parse(self.0)?.stored())
    }

    /// The number that a string spells, up to its first NUL.
    fn spelt_number(&self) -> Option<Number> {
        let text = self.as_str()?;
        Number::parse(text.split(|byte| *byte == 0).next()?)
    }
}

/// The text of a string as it stands, its escapes decoded.
fn decoded(string: Quoted<'_>) -> Option<Cow<'_, [u8]>> {
    if !string.escaped {
        return Some(Cow::Borrowed(string.body));
    }
    let mut out = Vec::with_capacity(string.body.len());
    let closed = [string.body, b"\""].concat();
    text::quoted(&closed, b'"', |piece| out.extend_from_slice(piece)).ok()?;
    Some(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value<'_> {
        Value::split(text.as_bytes()).unwrap().0
    }

    #[test]
    fn conversions_are_those_of_arduinojson() {
        for (text, as_u32, is_u32, as_i32, is_i32, as_bool) in [
            ("9", 9, true, 9, true, true),
            ("-1", 0, false, -1, true, true),
            ("0", 0, true, 0, true, false),
            ("4294967295", u32::MAX, true, 0, false, true),
            ("9.9", 9, false, 9, false, true),
            ("\"9\"", 9, false, 9, false, true),
            ("\"-9.5\"", 0, false, -9, false, true),
            ("\"9\\u00001\"", 9, false, 9, false, true),
            ("\" 9\"", 0, false, 0, false, true),
            ("true", 1, false, 1, false, true),
            ("false", 0, false, 0, false, false),
            ("null", 0, false, 0, false, false),
            ("[1]", 0, false, 0, false, true),
            ("{}", 0, false, 0, false, true),
        ] {
            let value = value(text);
            assert_eq!((value.as_u32(), value.is_u32()), (as_u32, is_u32), "{text}");
            assert_eq!((value.as_i32(), value.is_i32()), (as_i32, is_i32), "{text}");
            assert_eq!(value.as_bool(), as_bool, "{text}");
        }
    }

    #[test]
    fn text_is_what_an_application_gets() {
        for (json, want) in [
            ("\"a\\u0041\\n\"", "aA\n"),
            ("null", "null"),
            ("1.0", "1"),
            ("{\"a\":[1.50,\"\\u0041\"]}", "{\"a\":[1.5,\"A\"]}"),
        ] {
            assert_eq!(value(json).text(), want.as_bytes(), "{json}");
        }
        assert_eq!(&*Value::NULL.text(), b"null");
    }

    #[test]
    fn iterators_end_at_garbage() {
        let keys = |text: &str| fields(text.as_bytes()).count();
        assert_eq!(
            [keys("{}"), keys("{\"a\":1,\"b\":[2]}"), keys("{\"a\":1,b:2}"), keys("[]"), keys("{\"a\"")],
            [0, 2, 1, 0, 0]
        );
        let count = |text: &str| elements(text.as_bytes()).count();
        assert_eq!([count("[]"), count("[1,[2],\"3\"]"), count("[1,]"), count("{}")], [0, 3, 1, 0]);
    }

    #[test]
    fn keys_compare_decoded() {
        let (key, _) = fields(b"{\"n\\u006fde\":1}").next().unwrap();
        assert!(key.is("node") && !key.is("n\\u006fde"));
    }
}
