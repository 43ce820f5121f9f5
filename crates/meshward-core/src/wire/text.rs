//! Decodes what stands between quotes as ArduinoJson does.
//!
//! Besides JSON it takes `\'`, raw control characters and any bytes; `\u` takes a few characters that are
//! no hexadecimal digits. A high surrogate is kept until a low one comes, even over other text, and a low
//! one without a high one is joined with zero. So every reading of a string, ours and that of a forwarder,
//! goes through here.

use super::normal::Refusal;

/// Reads from after the opening `quote` to the closing one, hands the decoded text to `sink` in pieces,
/// and returns the text after the closing quote.
pub(super) fn quoted(mut text: &[u8], quote: u8, mut sink: impl FnMut(&[u8])) -> Result<&[u8], Refusal> {
    let mut high: u16 = 0;
    loop {
        let at = memchr::memchr2(quote, b'\\', text).ok_or(Refusal::Incomplete)?;
        let (plain, rest) = text.split_at_checked(at).ok_or(Refusal::Incomplete)?;
        sink(plain);
        let (first, rest) = rest.split_first().ok_or(Refusal::Incomplete)?;
        if *first == quote {
            return Ok(rest);
        }
        let (escape, rest) = rest.split_first().ok_or(Refusal::Incomplete)?;
        if *escape == b'u' {
            let unit = code_unit(rest)?;
            text = rest.get(4..).ok_or(Refusal::Incomplete)?;
            append(unit, &mut high, &mut sink);
        } else {
            sink(&[simple(*escape).ok_or(Refusal::NotJson)?]);
            text = rest;
        }
    }
}

/// What the character after a backslash stands for.
const fn simple(escape: u8) -> Option<u8> {
    match escape {
        b'/' | b'\'' | b'"' | b'\\' => Some(escape),
        b'b' => Some(0x08),
        b'f' => Some(0x0c),
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        b't' => Some(b'\t'),
        _ => None,
    }
}

/// The four digits after `\u`. The first that is wrong, or missing, decides what the text is refused for.
fn code_unit(text: &[u8]) -> Result<u16, Refusal> {
    let mut unit: u16 = 0;
    for index in 0..4 {
        let digit = hex(*text.get(index).ok_or(Refusal::Incomplete)?).ok_or(Refusal::NotJson)?;
        unit = unit << 4 | u16::from(digit);
    }
    Ok(unit)
}

/// A hexadecimal digit as ArduinoJson decodes it, without a check that it is one: `:` to `?` are 10 to 15
/// and a backtick is 9.
const fn hex(byte: u8) -> Option<u8> {
    let value = match byte {
        0x80.. => return None,
        b'A'.. => (byte & !0x20).wrapping_sub(b'A').wrapping_add(10),
        _ => byte.wrapping_sub(b'0'),
    };
    if value < 16 { Some(value) } else { None }
}

/// Hands the character that `unit` completes to `sink`, as UTF-8; a high surrogate completes none.
fn append(unit: u16, high: &mut u16, sink: &mut impl FnMut(&[u8])) {
    let code = u32::from(unit);
    let code = match unit {
        0xD800..=0xDBFF => {
            *high = unit & 0x3FF;
            return;
        }
        0xDC00..=0xDFFF => (u32::from(*high) << 10 | code & 0x3FF).wrapping_add(0x1_0000),
        _ => code,
    };
    if let Some(character) = char::from_u32(code) {
        sink(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn decoded(text: &[u8]) -> Result<Vec<u8>, Refusal> {
        let mut out = Vec::new();
        quoted(text, b'"', |piece| out.extend_from_slice(piece))?;
        Ok(out)
    }

    #[test]
    fn escapes_are_decoded() {
        assert_eq!(
            decoded(b"a\\/\\'\\\"\\\\\\b\\f\\n\\r\\t\\u0000\\u0041\"").unwrap(),
            b"a/'\"\\\x08\x0c\n\r\t\0A"
        );
        assert_eq!(decoded(b"\\u00e9\\u4E2d\\ud83d\\ude00\"").unwrap(), "é中😀".as_bytes());
        assert_eq!(decoded(b"\\u00:?\\u000`\"").unwrap(), "\u{af}\t".as_bytes());
    }

    #[test]
    fn surrogates_pair_up_over_other_text() {
        assert_eq!(decoded(b"\\ud83d-\\ude00\\ude01\"").unwrap(), "-😀😁".as_bytes());
        assert_eq!(decoded(b"\\ude00\\ud83d\"").unwrap(), "\u{10200}".as_bytes());
    }

    #[test]
    fn bad_escapes_are_refused() {
        assert_eq!(decoded(b"\\x\""), Err(Refusal::NotJson));
        assert_eq!(decoded(b"\\u12g4\""), Err(Refusal::NotJson));
        for text in [&b"abc"[..], b"\\", b"\\u12", b"\\u12\\"] {
            assert!(decoded(text).is_err());
        }
    }
}
