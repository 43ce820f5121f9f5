//! Numbers as ArduinoJson 7 reads, stores and writes them, to the last bit.
//!
//! Integers are exact to 64 bits. A real becomes a 32-bit float when its digits fit into 23 bits, else a
//! 64-bit one, by multiplication with powers of ten, each step rounded: the result is often not the
//! nearest float, and differs from what Rust would parse. It is written with 6 decimals as a float and 9
//! as a double, so a number may change at every node that rewrites it. All of this is arithmetic to be
//! reproduced, not improved: the envelope of a package may hang on it.
//!
//! Refuses nothing that ArduinoJson takes: `+1`, `.5`, `1.`, `1e` and leading zeros are numbers.

use super::write::{write_i64, write_u64};
use alloc::vec::Vec;

/// How many characters of a number ArduinoJson looks at; what follows is the next token.
pub(super) const MAX_DIGITS: usize = 63;

/// 10^(2^n), for n from 0.
const TENS: [f64; 9] = [1e1, 1e2, 1e4, 1e8, 1e16, 1e32, 1e64, 1e128, 1e256];
/// 10^-(2^n), for n from 0.
const TENTHS: [f64; 9] = [1e-1, 1e-2, 1e-4, 1e-8, 1e-16, 1e-32, 1e-64, 1e-128, 1e-256];
/// As [`TENS`], as far as a float goes.
const TENS_F32: [f32; 6] = [1e1, 1e2, 1e4, 1e8, 1e16, 1e32];
/// As [`TENTHS`], as far as a float goes.
const TENTHS_F32: [f32; 6] = [1e-1, 1e-2, 1e-4, 1e-8, 1e-16, 1e-32];

/// The most digits' worth of mantissa kept for a real: 52 bits.
const MANTISSA_MAX: u64 = (1 << 52) - 1;
/// The most that still makes a float.
const FLOAT_MANTISSA_MAX: u64 = (1 << 23) - 1;
/// Decimal exponents of a float reach to here, both ways.
const FLOAT_EXPONENT_MAX: i32 = 38;
/// Decimal exponents of a double reach to here.
const EXPONENT_MAX: i32 = 308;

/// The largest floats that ArduinoJson turns into the integer types; anything above becomes 0.
const F32_MAX_FOR_I32: f32 = 2_147_483_520.0;
const F32_MAX_FOR_U32: f32 = 4_294_967_040.0;

/// A number as ArduinoJson keeps it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Unsigned(u64),
    Signed(i64),
    Float(f32),
    Double(f64),
}

impl Number {
    /// The number that the whole of `text` spells, `None` when it does not spell one.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let (negative, text) = match text.split_first() {
            Some((b'-', rest)) => (true, rest),
            Some((b'+', rest)) => (false, rest),
            _ => (false, text),
        };
        if !matches!(text.first(), Some(b'0'..=b'9' | b'.')) {
            return None;
        }
        let (mantissa, rest) = leading_digits(text);
        if rest.is_empty() {
            if !negative {
                return Some(Self::Unsigned(mantissa));
            }
            if mantissa <= 1 << 63 {
                return Some(Self::Signed(mantissa.wrapping_neg().cast_signed()));
            }
        }
        real(negative, mantissa, rest)
    }

    /// What is kept of the number inside a document: a double that a float can hold becomes one.
    pub(super) fn stored(self) -> Self {
        match self {
            Self::Double(value) if f64::from(value as f32) == value => Self::Float(value as f32),
            other => other,
        }
    }

    /// ArduinoJson's `as<uint32_t>()`: 0 for whatever does not fit.
    pub(super) fn to_u32(self) -> u32 {
        match self {
            Self::Unsigned(value) => u32::try_from(value).unwrap_or(0),
            Self::Signed(value) => u32::try_from(value).unwrap_or(0),
            Self::Float(value) if (0.0..=F32_MAX_FOR_U32).contains(&value) => value as u32,
            Self::Double(value) if (0.0..=f64::from(u32::MAX)).contains(&value) => value as u32,
            _ => 0,
        }
    }

    /// ArduinoJson's `as<int>()`: 0 for whatever does not fit.
    pub(super) fn to_i32(self) -> i32 {
        match self {
            Self::Unsigned(value) => i32::try_from(value).unwrap_or(0),
            Self::Signed(value) => i32::try_from(value).unwrap_or(0),
            Self::Float(value) if (i32::MIN as f32..=F32_MAX_FOR_I32).contains(&value) => value as i32,
            Self::Double(value) if (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&value) => {
                value as i32
            }
            _ => 0,
        }
    }

    /// ArduinoJson's `is<uint32_t>()`: an integer, written as one, that fits.
    pub(super) fn is_u32(self) -> bool {
        match self {
            Self::Unsigned(value) => u32::try_from(value).is_ok(),
            Self::Signed(value) => u32::try_from(value).is_ok(),
            _ => false,
        }
    }

    /// ArduinoJson's `is<int>()`: an integer, written as one, that fits.
    pub(super) fn is_i32(self) -> bool {
        match self {
            Self::Unsigned(value) => i32::try_from(value).is_ok(),
            Self::Signed(value) => i32::try_from(value).is_ok(),
            _ => false,
        }
    }

    /// The integer that it is when its decimals are cut off; `None` beyond 64 bits.
    pub(super) fn to_i64(self) -> Option<i64> {
        let real = match self {
            Self::Unsigned(value) => return i64::try_from(value).ok(),
            Self::Signed(value) => return Some(value),
            Self::Float(value) => f64::from(value),
            Self::Double(value) => value,
        };
        // The bounds are powers of two, which a double hits; NaN is in no range.
        (-9.223_372_036_854_776e18..9.223_372_036_854_776e18).contains(&real).then_some(real as i64)
    }

    /// The nearest double.
    pub(super) fn to_f64(self) -> f64 {
        match self {
            Self::Unsigned(value) => value as f64,
            Self::Signed(value) => value as f64,
            Self::Float(value) => f64::from(value),
            Self::Double(value) => value,
        }
    }

    /// Whether the number is not zero.
    pub(super) fn is_nonzero(self) -> bool {
        match self {
            Self::Unsigned(value) => value != 0,
            Self::Signed(value) => value != 0,
            Self::Float(value) => value != 0.0,
            Self::Double(value) => value != 0.0,
        }
    }

    /// Appends the number as ArduinoJson writes it; an infinity is written `null`.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Unsigned(value) => write_u64(out, value),
            Self::Signed(value) => write_i64(out, value),
            Self::Float(value) => write_real(out, f64::from(value), 6),
            Self::Double(value) => write_real(out, value, 9),
        }
    }
}

/// The value of the digit that `text` begins with.
fn digit(text: &[u8]) -> Option<u64> {
    match text.first() {
        Some(byte @ b'0'..=b'9') => Some(u64::from(byte.wrapping_sub(b'0'))),
        _ => None,
    }
}

/// `text` without its first byte.
fn tail(text: &[u8]) -> &[u8] {
    text.get(1..).unwrap_or_default()
}

/// The digits at the front as an integer, and the rest of the text. Stops when the next digit does not
/// fit into 64 bits; then, as in ArduinoJson, the number may already be multiplied by ten for a digit that
/// is still to be read, and the value is ten times too large.
fn leading_digits(mut text: &[u8]) -> (u64, &[u8]) {
    let mut mantissa: u64 = 0;
    while let Some(next) = digit(text) {
        let Some(shifted) = mantissa.checked_mul(10) else { break };
        mantissa = shifted;
        let Some(sum) = mantissa.checked_add(next) else { break };
        mantissa = sum;
        text = tail(text);
    }
    (mantissa, text)
}

/// The real number that begins with `mantissa` and goes on with `text`.
fn real(negative: bool, mut mantissa: u64, mut text: &[u8]) -> Option<Number> {
    // 16 bits that wrap, as in ArduinoJson; more than 63 characters occur only inside strings.
    let mut offset: i16 = 0;
    while mantissa > MANTISSA_MAX {
        mantissa /= 10;
        offset = offset.wrapping_add(1);
    }
    while digit(text).is_some() {
        offset = offset.wrapping_add(1);
        text = tail(text);
    }
    if let Some(mut decimals) = text.strip_prefix(b".") {
        while let Some(next) = digit(decimals) {
            if mantissa < MANTISSA_MAX / 10 {
                mantissa = mantissa.wrapping_mul(10).wrapping_add(next);
                offset = offset.wrapping_sub(1);
            }
            decimals = tail(decimals);
        }
        text = decimals;
    }
    let (exponent, text) = match exponent(text, offset) {
        Exponent::Value(exponent, text) => (exponent, text),
        Exponent::Tiny => return Some(Number::Float(if negative { -0.0 } else { 0.0 })),
        Exponent::Huge => return Some(Number::Double(if negative { -f64::INFINITY } else { f64::INFINITY })),
    };
    if !text.is_empty() {
        return None;
    }
    if exponent.abs() > FLOAT_EXPONENT_MAX || mantissa > FLOAT_MANTISSA_MAX {
        let value = scale_f64(mantissa as f64, exponent);
        Some(Number::Double(if negative { -value } else { value }))
    } else {
        let value = scale_f32(mantissa as f32, exponent);
        Some(Number::Float(if negative { -value } else { value }))
    }
}

/// What follows the digits of a real.
enum Exponent<'a> {
    /// The power of ten, the decimals counted in, and the text after it.
    Value(i32, &'a [u8]),
    /// Too far below to go on reading: zero.
    Tiny,
    /// Too far above to go on reading: infinity.
    Huge,
}

/// Reads `e-7` or nothing, and adds `offset`. Reading ends as soon as the exponent is out of range, even
/// when the text is no number further on.
fn exponent(text: &[u8], offset: i16) -> Exponent<'_> {
    let mut exponent: i32 = 0;
    let Some((b'e' | b'E', mut text)) = text.split_first() else {
        return Exponent::Value(i32::from(offset), text);
    };
    let below = match text.split_first() {
        Some((sign @ (b'-' | b'+'), rest)) => {
            text = rest;
            *sign == b'-'
        }
        _ => false,
    };
    while let Some(next) = digit(text) {
        exponent = exponent.wrapping_mul(10).wrapping_add(next as i32);
        if exponent.wrapping_add(i32::from(offset)) > EXPONENT_MAX {
            return if below { Exponent::Tiny } else { Exponent::Huge };
        }
        text = tail(text);
    }
    let exponent = if below { exponent.wrapping_neg() } else { exponent };
    Exponent::Value(exponent.wrapping_add(i32::from(offset)), text)
}

/// `value` × 10^`exponent`, one rounded product for each bit of the exponent, lowest first. Exponents past
/// the table, which only strings of hundreds of digits can spell, read memory at random in ArduinoJson;
/// here the bits past the table are ignored.
fn scale_f64(mut value: f64, exponent: i32) -> f64 {
    let powers = if exponent > 0 { &TENS } else { &TENTHS };
    for (index, power) in powers.iter().enumerate() {
        if exponent.unsigned_abs() >> index & 1 == 1 {
            value *= power;
        }
    }
    value
}

/// As [`scale_f64`], each product rounded to a float.
fn scale_f32(mut value: f32, exponent: i32) -> f32 {
    let powers = if exponent > 0 { &TENS_F32 } else { &TENTHS_F32 };
    for (index, power) in powers.iter().enumerate() {
        if exponent.unsigned_abs() >> index & 1 == 1 {
            value *= power;
        }
    }
    value
}

/// Brings `value` to between 1 and 10 when it is at least 10^7 or at most 10^-5, and says by which power
/// of ten.
fn to_scientific(mut value: f64) -> (f64, i32) {
    let mut exponent: i32 = 0;
    let steps = TENS.iter().zip(&TENTHS).enumerate().rev();
    if value >= 1e7 {
        for (index, (tens, tenths)) in steps {
            if value >= *tens {
                value *= tenths;
                exponent = exponent.wrapping_add(1 << index);
            }
        }
    } else if value > 0.0 && value <= 1e-5 {
        for (index, (tens, tenths)) in steps {
            if value < tenths * 10.0 {
                value *= tens;
                exponent = exponent.wrapping_sub(1 << index);
            }
        }
    }
    (value, exponent)
}

/// Appends `value` with at most `places` digits after the first, rounded in ArduinoJson's way.
fn write_real(out: &mut Vec<u8>, value: f64, mut places: u32) {
    if !value.is_finite() {
        return out.extend_from_slice(b"null");
    }
    if value < 0.0 {
        out.push(b'-');
    }
    let (value, mut exponent) = to_scientific(if value < 0.0 { -value } else { value });
    let mut integral = value as u32;
    let mut unit = 10_u32.saturating_pow(places);
    let mut left = integral;
    while left >= 10 {
        left /= 10;
        unit /= 10;
        places = places.saturating_sub(1);
    }
    let scaled = (value - f64::from(integral)) * f64::from(unit);
    let mut decimal = scaled as u32;
    decimal = decimal.wrapping_add(((scaled - f64::from(decimal)) * 2.0) as u32);
    if decimal >= unit {
        decimal = 0;
        integral = integral.wrapping_add(1);
        if exponent != 0 && integral >= 10 {
            exponent = exponent.wrapping_add(1);
            integral = 1;
        }
    }
    while decimal.is_multiple_of(10) && places > 0 {
        decimal /= 10;
        places = places.saturating_sub(1);
    }
    write_u64(out, u64::from(integral));
    if places > 0 {
        write_decimals(out, decimal, places);
    }
    if exponent != 0 {
        out.push(b'e');
        write_i64(out, i64::from(exponent));
    }
}

/// Appends a point and `value` as exactly `width` digits.
fn write_decimals(out: &mut Vec<u8>, value: u32, width: u32) {
    out.push(b'.');
    for place in (0..width).rev() {
        let digit = value.checked_div(10_u32.saturating_pow(place)).unwrap_or(0) % 10;
        out.push(b'0'.wrapping_add(digit as u8));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    fn rewritten(text: &str) -> Option<String> {
        let mut out = Vec::new();
        Number::parse(text.as_bytes())?.stored().write(&mut out);
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn numbers_are_rewritten_as_recorded() {
        for (text, want) in [
            ("1.0", "1"),
            ("1e3", "1000"),
            ("-0.0", "0"),
            ("3.141592653589793", "3.141592654"),
            ("1e40", "1e40"),
            ("18446744073709551615", "18446744073709551615"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("0.000012345", "0.000012"),
            ("9999999.5", "9999999.5"),
            ("10000000.5", "1.00000005e7"),
            ("1e400", "null"),
            ("1e-400", "0"),
            ("+1", "1"),
            (".5", "0.5"),
            ("1.", "1"),
            ("1e", "1"),
            ("007", "7"),
        ] {
            assert_eq!(rewritten(text).as_deref(), Some(want), "{text}");
        }
        for text in ["", "-", "--1", "1-2", "e5", "1e5.", "0x10"] {
            assert_eq!(rewritten(text), None, "{text}");
        }
    }

    #[test]
    fn the_digit_that_overflows_makes_the_number_ten_times_too_large() {
        assert_eq!(rewritten("18446744073709551616").as_deref(), Some("1.844674e20"));
    }

    #[test]
    fn conversions_give_zero_out_of_range() {
        let as_u32 = |text: &str| Number::parse(text.as_bytes()).unwrap().to_u32();
        let as_i32 = |text: &str| Number::parse(text.as_bytes()).unwrap().to_i32();
        assert_eq!((as_u32("4294967295"), as_u32("4294967296"), as_u32("-1")), (u32::MAX, 0, 0));
        assert_eq!((as_u32("9.7"), as_u32("-0.5"), as_u32("1e10")), (9, 0, 0));
        assert_eq!((as_i32("-2147483648"), as_i32("2147483648"), as_i32("-9.9")), (i32::MIN, 0, -9));
    }
}
