//! What one field of a status package can be: not there, a value, a number that cannot be, or something else.
//!
//! Refuses nothing. What is not what it should be stays as the text that came, so that an operator can see it;
//! what is too long is cut, and says by how much. Numbers are read as ArduinoJson does, but for this: what does
//! not fit is kept, where a C++ node has 0.

use super::super::json::Value;
use super::super::number::Number;
use super::super::write::{write_i64, write_string};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Bytes kept of a text that has no limit of its own.
pub const TEXT_BYTES_MAX: usize = 256;
/// Bytes kept of the JSON text of what is not what it should be. A number has at most 63.
pub const RAW_BYTES_MAX: usize = 64;

/// One field as it came.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Field<T> {
    /// The package does not have it.
    #[default]
    Missing,
    /// It is what it should be.
    Value(T),
    /// It is a number, but not one that fits: this one.
    Outside(Raw),
    /// It is of another type: this is its JSON text. A C++ node writes `null` for what is not a number.
    Wrong(Raw),
}

/// The JSON text of what is not what it should be.
pub type Raw = Box<Text<RAW_BYTES_MAX>>;

impl<T> Field<T> {
    /// The value, if it is one.
    pub const fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            _ => None,
        }
    }

    /// The value, if it is one.
    pub fn into_value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            _ => None,
        }
    }

    /// Whether the package does not have it.
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }
}

impl<T: Copy> Field<T> {
    /// The value, if it is one.
    pub fn get(&self) -> Option<T> {
        self.value().copied()
    }
}

impl<T: Copy + Into<f64>> Field<T> {
    /// The number, also one that does not fit.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Value(value) => Some((*value).into()),
            Self::Outside(raw) => Some(Number::parse(raw.as_bytes())?.to_f64()),
            Self::Missing | Self::Wrong(_) => None,
        }
    }
}

impl<T> From<T> for Field<T> {
    fn from(value: T) -> Self {
        Self::Value(value)
    }
}

impl<const MAX: usize> From<&str> for Field<Text<MAX>> {
    fn from(text: &str) -> Self {
        Self::Value(Text::new(text.as_bytes()))
    }
}

/// Something that is not as it should be, and where.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Odd<'a> {
    /// The name of the field on the wire; of an inner object's field just that name.
    pub field: &'static str,
    /// What is odd about it.
    pub why: Oddity<'a>,
}

/// See [`Odd`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Oddity<'a> {
    /// A number that does not fit its field.
    Outside(&'a Raw),
    /// Another type than it should be.
    Wrong(&'a Raw),
    /// Too long: so many bytes or elements were left out.
    Cut(u32),
}

/// What can be the value of a field.
pub(super) trait Wire: Sized {
    /// Reads `value`, which is there: never [`Field::Missing`].
    fn read(value: Value<'_>) -> Field<Self>;

    /// Appends the JSON text.
    fn write(&self, out: &mut Vec<u8>);

    /// Shows what is odd inside the value of the field `name`.
    fn look(&self, _name: &'static str, _see: &mut dyn FnMut(Odd<'_>)) {}
}

impl<T> Field<T> {
    pub(super) fn read(value: Value<'_>) -> Self
    where
        T: Wire,
    {
        T::read(value)
    }

    /// Adds the field to an object, unless it is missing, or odd and cut: that would be no JSON.
    pub(super) fn write(&self, name: &str, object: &mut super::Object)
    where
        T: Wire,
    {
        match self {
            Self::Value(value) => _ = object.raw(name, |out| value.write(out)),
            Self::Outside(raw) | Self::Wrong(raw) if raw.left_out() == 0 => {
                _ = object.raw(name, |out| out.extend_from_slice(raw.as_bytes()));
            }
            _ => {}
        }
    }

    pub(super) fn look(&self, field: &'static str, see: &mut dyn FnMut(Odd<'_>))
    where
        T: Wire,
    {
        match self {
            Self::Missing => {}
            Self::Value(value) => value.look(field, see),
            Self::Outside(raw) => see(Odd { field, why: Oddity::Outside(raw) }),
            Self::Wrong(raw) => see(Odd { field, why: Oddity::Wrong(raw) }),
        }
    }
}

/// The text of a value that is not what it should be.
pub(super) fn raw(value: Value<'_>) -> Raw {
    Box::new(Text::new(value.raw()))
}

macro_rules! integers {
    ($($integer:ty)*) => {$(
        impl Wire for $integer {
            fn read(value: Value<'_>) -> Field<Self> {
                let Some(number) = value.number() else { return Field::Wrong(raw(value)) };
                let fits = number.to_i64().and_then(|number| Self::try_from(number).ok());
                fits.map_or_else(|| Field::Outside(raw(value)), Field::Value)
            }

            fn write(&self, out: &mut Vec<u8>) {
                write_i64(out, i64::from(*self));
            }
        }
    )*};
}
integers!(u8 u16 u32 i8 i32);

impl Wire for f64 {
    fn read(value: Value<'_>) -> Field<Self> {
        match value.number().map(Number::to_f64) {
            Some(number) if number.is_finite() => Field::Value(number),
            Some(_) => Field::Outside(raw(value)),
            None => Field::Wrong(raw(value)),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        Number::Double(*self).stored().write(out);
    }
}

/// A real in decimal, as a C++ node writes it: `41.2` for the float that came for 41.2.
pub fn decimal(real: f64) -> String {
    let mut out = Vec::new();
    real.write(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

impl Wire for bool {
    fn read(value: Value<'_>) -> Field<Self> {
        if value.is_bool() { Field::Value(value.as_bool()) } else { Field::Wrong(raw(value)) }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if *self { b"true" } else { b"false" });
    }
}

/// Text of any bytes, at most `MAX` of them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Text<const MAX: usize = TEXT_BYTES_MAX> {
    bytes: Vec<u8>,
    left_out: u32,
}

impl<const MAX: usize> Text<MAX> {
    /// The text, or as many whole characters of it as there is room for.
    pub fn new(text: &[u8]) -> Self {
        let mut end = text.len().min(MAX);
        // At most three bytes continue a character of UTF-8.
        for _ in 0..3 {
            let within = text.get(end).is_some_and(|byte| byte & 0xC0 == 0x80);
            end = end.saturating_sub(usize::from(within));
        }
        let left_out = u32::try_from(text.len().saturating_sub(end)).unwrap_or(u32::MAX);
        Self { bytes: text.get(..end).unwrap_or_default().to_vec(), left_out }
    }

    /// What is kept of it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What is kept of it; bytes that are no UTF-8 are replaced.
    pub fn to_str(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }

    /// How many bytes there was no room for.
    pub const fn left_out(&self) -> u32 {
        self.left_out
    }
}

impl<const MAX: usize> fmt::Debug for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.bytes.escape_ascii())
    }
}

impl<const MAX: usize> Wire for Text<MAX> {
    fn read(value: Value<'_>) -> Field<Self> {
        match value.as_str() {
            Some(text) => Field::Value(Self::new(&text)),
            None => Field::Wrong(raw(value)),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_string(out, &self.bytes);
    }

    fn look(&self, field: &'static str, see: &mut dyn FnMut(Odd<'_>)) {
        if self.left_out > 0 {
            see(Odd { field, why: Oddity::Cut(self.left_out) });
        }
    }
}

/// An array, at most `MAX` elements of it.
#[derive(Clone, Debug, PartialEq)]
pub struct List<T, const MAX: usize> {
    items: Vec<T>,
    left_out: u32,
}

impl<T, const MAX: usize> List<T, MAX> {
    /// The first `MAX` of these.
    pub fn new(items: impl IntoIterator<Item = T>) -> Self {
        let mut items = items.into_iter();
        let kept = items.by_ref().take(MAX).collect();
        Self { items: kept, left_out: u32::try_from(items.count()).unwrap_or(u32::MAX) }
    }

    /// The elements that are kept.
    pub fn items(&self) -> &[T] {
        &self.items
    }

    /// How many there was no room for, or were not what they should be.
    pub const fn left_out(&self) -> u32 {
        self.left_out
    }
}

impl<T: Wire, const MAX: usize> Wire for List<T, MAX> {
    fn read(value: Value<'_>) -> Field<Self> {
        if !value.is_array() {
            return Field::Wrong(raw(value));
        }
        let (mut items, mut left_out) = (Vec::new(), 0_u32);
        for element in value.elements() {
            match T::read(element) {
                Field::Value(item) if items.len() < MAX => items.push(item),
                _ => left_out = left_out.saturating_add(1),
            }
        }
        Field::Value(Self { items, left_out })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut before = b'[';
        for item in &self.items {
            out.push(before);
            item.write(out);
            before = b',';
        }
        if self.items.is_empty() {
            out.push(b'[');
        }
        out.push(b']');
    }

    fn look(&self, field: &'static str, see: &mut dyn FnMut(Odd<'_>)) {
        if self.left_out > 0 {
            see(Odd { field, why: Oddity::Cut(self.left_out) });
        }
        self.items.iter().for_each(|item| item.look(field, see));
    }
}

/// An object with known fields, and the order in which C++ nodes write them: a row is the name in Rust, the
/// type, the name on the wire, and perhaps the name that it had in older versions, which still counts where the
/// new one is missing. Whatever else is in the object is passed over.
macro_rules! record {
    (
        $(#[$about:meta])*
        $record:ident { $($(#[$doc:meta])* $field:ident: $type:ty = $name:literal $(or $old:literal)?,)* }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $record { $($(#[$doc])* pub $field: $crate::wire::status::Field<$type>,)* }

        impl $record {
            /// Adds the fields to an object, in their order.
            pub(super) fn fields(&self, object: &mut $crate::wire::Object) {
                $(self.$field.write($name, object);)*
            }
        }

        impl $crate::wire::status::field::Wire for $record {
            fn read(value: $crate::wire::Value<'_>) -> $crate::wire::status::Field<Self> {
                use $crate::wire::status::Field;
                if !value.is_object() {
                    return Field::Wrong($crate::wire::status::field::raw(value));
                }
                let mut record = Self::default();
                for (key, value) in value.fields() {
                    match core::str::from_utf8(&key.name()) {
                        $(Ok($name) => record.$field = Field::read(value),)*
                        $($(Ok($old) if record.$field.is_missing() => record.$field = Field::read(value),)?)*
                        _ => {}
                    }
                }
                Field::Value(record)
            }

            fn write(&self, out: &mut alloc::vec::Vec<u8>) {
                let mut object = $crate::wire::Object::new();
                self.fields(&mut object);
                out.extend_from_slice(&object.finish());
            }

            fn look(&self, _: &'static str, see: &mut dyn FnMut($crate::wire::status::Odd<'_>)) {
                $(self.$field.look($name, see);)*
            }
        }
    };
}
pub(super) use record;
