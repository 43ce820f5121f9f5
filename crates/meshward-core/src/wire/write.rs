//! Writes JSON as ArduinoJson does: compact, control characters raw, fields in the order of the calls.
//!
//! Refuses nothing: text that is not UTF-8 goes out as it is. Driven by the encoders of the packages.

use alloc::vec::Vec;

/// Appends `text` between quotes, with the escapes that ArduinoJson writes: quote, backslash, `\b`, `\f`,
/// `\n`, `\r`, `\t` and `\u0000`. Every other byte stays as it is.
pub fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    write_escaped(out, text);
    out.push(b'"');
}

/// Appends `text` as it stands inside quotes.
pub(super) fn write_escaped(out: &mut Vec<u8>, mut text: &[u8]) {
    // Without branches in the test: base64 would have every second one mispredicted.
    let perhaps = |byte: &u8| (*byte <= b'\r') | (*byte == b'"') | (*byte == b'\\');
    while let Some(at) = text.iter().position(perhaps) {
        let Some((plain, [byte, rest @ ..])) = text.split_at_checked(at) else { break };
        out.extend_from_slice(plain);
        match escape(*byte) {
            Some(escape) => out.extend_from_slice(escape),
            None => out.push(*byte),
        }
        text = rest;
    }
    out.extend_from_slice(text);
}

/// How `byte` is written when it can't stand for itself.
const fn escape(byte: u8) -> Option<&'static [u8]> {
    match byte {
        b'"' => Some(b"\\\""),
        b'\\' => Some(b"\\\\"),
        0x08 => Some(b"\\b"),
        0x0c => Some(b"\\f"),
        b'\n' => Some(b"\\n"),
        b'\r' => Some(b"\\r"),
        b'\t' => Some(b"\\t"),
        0 => Some(b"\\u0000"),
        _ => None,
    }
}

/// Appends `number` in decimal.
pub fn write_u64(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut used: usize = 0;
    // Two digits a step: ids have nine or ten, and a sync has hundreds of them.
    for pair in digits.rchunks_exact_mut(2) {
        let [tens, ones] = pair else { break };
        let two = (number % 100) as u8;
        *tens = b'0'.wrapping_add(two / 10);
        *ones = b'0'.wrapping_add(two % 10);
        number /= 100;
        if number == 0 {
            used = used.saturating_add(if two < 10 { 1 } else { 2 });
            break;
        }
        used = used.saturating_add(2);
    }
    let start = digits.len().saturating_sub(used);
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}

/// Appends `number` in decimal.
pub fn write_i64(out: &mut Vec<u8>, number: i64) {
    if number < 0 {
        out.push(b'-');
    }
    write_u64(out, number.unsigned_abs());
}

/// A JSON object under construction.
#[derive(Debug)]
pub struct Object {
    out: Vec<u8>,
}

impl Default for Object {
    fn default() -> Self {
        Self::new()
    }
}

impl Object {
    /// An object without fields.
    pub fn new() -> Self {
        Self::with_capacity(128)
    }

    /// An object without fields, with room for `bytes` bytes of text.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut out = Vec::with_capacity(bytes);
        out.push(b'{');
        Self { out }
    }

    /// Adds an integer.
    pub fn integer(&mut self, name: &str, value: i64) -> &mut Self {
        write_i64(self.name(name), value);
        self
    }

    /// Adds a string.
    pub fn text(&mut self, name: &str, value: &[u8]) -> &mut Self {
        write_string(self.name(name), value);
        self
    }

    /// Adds a truth value.
    pub fn flag(&mut self, name: &str, value: bool) -> &mut Self {
        self.name(name).extend_from_slice(if value { b"true" } else { b"false" });
        self
    }

    /// Adds `name` as true when `value` is true, and nothing otherwise.
    pub fn flag_if(&mut self, name: &str, value: bool) -> &mut Self {
        if value { self.flag(name, true) } else { self }
    }

    /// Adds `name` with the complete JSON text that `write` appends.
    pub fn raw(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        write(self.name(name));
        self
    }

    /// The finished text.
    pub fn finish(mut self) -> Vec<u8> {
        self.out.push(b'}');
        self.out
    }

    fn name(&mut self, name: &str) -> &mut Vec<u8> {
        if self.out.len() > 1 {
            self.out.push(b',');
        }
        write_string(&mut self.out, name.as_bytes());
        self.out.push(b':');
        &mut self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_recorded() {
        let mut out = Vec::new();
        write_string(&mut out, b"\"\\/\x08\x0c\n\r\t\0\x01\x1f\x7f\xff\xc3\xa9");
        assert_eq!(out, b"\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\x01\x1f\x7f\xff\xc3\xa9\"");
    }

    #[test]
    fn integers_are_decimal() {
        for number in [0, 9, 10, 1_234_567_890_123_456_789, i64::MIN, i64::MAX] {
            let mut out = Vec::new();
            write_i64(&mut out, number);
            assert_eq!(out, alloc::format!("{number}").into_bytes());
        }
        let mut out = Vec::new();
        write_u64(&mut out, u64::MAX);
        assert_eq!(out, b"18446744073709551615");
    }

    #[test]
    fn objects_keep_the_order_of_the_calls() {
        let mut object = Object::new();
        object.integer("b", -1).text("a", b"x").flag_if("no", false).flag("yes", false);
        assert_eq!(object.finish(), b"{\"b\":-1,\"a\":\"x\",\"yes\":false}");
    }
}
