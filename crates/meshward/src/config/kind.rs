//! What a key may hold: how it is read, what would be right, and how it is written.
//!
//! A kind names its unit and range once; the reference and the messages of mistakes both say that.

use std::fmt::{self, Display};
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::str::FromStr;

use meshward_gateway::peer::{Peer, PeerError};
use tracing_subscriber::EnvFilter;

use super::raw::{Raw, Value};

/// A value that a key cannot hold.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wrong {
    /// Which part of it, if not all.
    pub(crate) span: Option<Range<usize>>,
    /// What stands there.
    pub(crate) found: String,
    /// What would be right.
    pub(crate) right: String,
}

impl Wrong {
    pub(super) fn new(raw: &Raw, right: impl Into<String>) -> Self {
        let found = match &raw.value {
            Value::Text(text) => format!("`{text}`"),
            Value::Whole(whole) => whole.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Switch(switch) => switch.to_string(),
            Value::List(_) => "a list".to_owned(),
            Value::Table(_) => "a table".to_owned(),
            Value::Other => "something else".to_owned(),
        };
        Self { span: None, found, right: right.into() }
    }
}

/// See the module's page.
pub(crate) trait Kind {
    /// What is read.
    type Value;

    /// What may be written, with unit and range.
    fn what(&self) -> String;

    /// Reads it.
    fn read(&self, raw: &Raw) -> Result<Self::Value, Wrong>;

    /// As it stands in a file; `None` for what is left out.
    fn show(&self, value: &Self::Value) -> Option<String>;

    /// One that may stand in a file, for keys without a default.
    fn example(&self) -> String {
        String::new()
    }

    /// From a variable's words, which have no quotation marks.
    fn words(&self, words: &str) -> Raw {
        Raw::text(words)
    }
}

pub(super) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// One line of words.
pub(crate) struct Text {
    /// Longest, in bytes.
    pub(crate) max: usize,
    /// One that may stand there.
    pub(crate) like: &'static str,
}

impl Kind for Text {
    type Value = String;

    fn what(&self) -> String {
        format!("text of 1 to {} bytes in one line", self.max)
    }

    fn read(&self, raw: &Raw) -> Result<String, Wrong> {
        match &raw.value {
            Value::Text(text)
                if (1..=self.max).contains(&text.len()) && !text.chars().any(char::is_control) =>
            {
                Ok(text.clone())
            }
            _ => Err(Wrong::new(raw, format!("write {}", self.what()))),
        }
    }

    fn show(&self, value: &String) -> Option<String> {
        Some(quoted(value))
    }

    fn example(&self) -> String {
        quoted(self.like)
    }
}

/// What is written as text and read as something that has a form of its own.
pub(crate) struct Parsed<T> {
    what: &'static str,
    example: &'static str,
    read: fn(&str) -> Result<T, String>,
}

impl<T: FromStr> Parsed<T> {
    /// For what says itself whether it is right.
    pub(crate) fn new(what: &'static str, example: &'static str) -> Self {
        Self { what, example, read: |text| text.parse().map_err(|_wrong| String::new()) }
    }
}

impl<T> Parsed<T> {
    /// For what says why it is wrong.
    pub(crate) const fn by(
        what: &'static str,
        example: &'static str,
        read: fn(&str) -> Result<T, String>,
    ) -> Self {
        Self { what, example, read }
    }
}

impl<T: Display> Kind for Parsed<T> {
    type Value = T;

    fn what(&self) -> String {
        format!("{}, as `\"{}\"`", self.what, self.example)
    }

    fn read(&self, raw: &Raw) -> Result<T, Wrong> {
        let right = || format!("write {}, as \"{}\"", self.what, self.example);
        let Value::Text(text) = &raw.value else { return Err(Wrong::new(raw, right())) };
        (self.read)(text).map_err(|why| Wrong::new(raw, if why.is_empty() { right() } else { why }))
    }

    fn show(&self, value: &T) -> Option<String> {
        Some(quoted(&value.to_string()))
    }

    fn example(&self) -> String {
        quoted(self.example)
    }
}

/// A node to be dialled, as the operator wrote it: `auto` is looked up when it is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PeerName(String);

impl PeerName {
    /// Whom that means now.
    pub(crate) fn resolve(&self) -> Result<Peer, PeerError> {
        self.0.parse()
    }
}

impl FromStr for PeerName {
    type Err = PeerError;

    fn from_str(text: &str) -> Result<Self, PeerError> {
        if text != "auto" {
            text.parse::<Peer>()?;
        }
        Ok(Self(text.to_owned()))
    }
}

impl Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A level of the log, or what `RUST_LOG` takes.
pub(crate) fn log_level(text: &str) -> Result<String, String> {
    let known = ["off", "error", "warn", "info", "debug", "trace"];
    // A word that is no level would be taken for the name of a module.
    let level = known.contains(&text) || text.contains('=');
    if level && EnvFilter::try_new(text).is_ok() { Ok(text.to_owned()) } else { Err(String::new()) }
}

/// A number with a unit.
pub(crate) struct Number {
    pub(crate) range: RangeInclusive<f64>,
    pub(crate) unit: &'static str,
}

impl Kind for Number {
    type Value = f64;

    fn what(&self) -> String {
        format!("{} to {} {}", self.range.start(), self.range.end(), self.unit)
    }

    fn read(&self, raw: &Raw) -> Result<f64, Wrong> {
        let number = match raw.value {
            Value::Whole(whole) => Some(whole as f64),
            Value::Number(number) => Some(number),
            _ => None,
        };
        let number = number.filter(|number| self.range.contains(number));
        number.ok_or_else(|| Wrong::new(raw, format!("take {}", self.what())))
    }

    fn show(&self, value: &f64) -> Option<String> {
        Some(value.to_string())
    }

    fn words(&self, words: &str) -> Raw {
        Raw::parse(words)
    }
}

/// A whole number with a unit, maybe a multiple of another.
pub(crate) struct Whole {
    pub(crate) range: RangeInclusive<u32>,
    pub(crate) multiple: u32,
    pub(crate) unit: &'static str,
}

impl Kind for Whole {
    type Value = u32;

    fn what(&self) -> String {
        let multiple =
            if self.multiple > 1 { format!(", a multiple of {}", self.multiple) } else { String::new() };
        let range = format!("{} to {} {}", self.range.start(), self.range.end(), self.unit);
        format!("{}{multiple}", range.trim_end())
    }

    fn read(&self, raw: &Raw) -> Result<u32, Wrong> {
        let whole = if let Value::Whole(whole) = raw.value { u32::try_from(whole).ok() } else { None };
        let whole = whole.filter(|whole| self.range.contains(whole) && whole.is_multiple_of(self.multiple));
        whole.ok_or_else(|| Wrong::new(raw, format!("take {}", self.what())))
    }

    fn show(&self, value: &u32) -> Option<String> {
        Some(value.to_string())
    }

    fn example(&self) -> String {
        self.range.start().to_string()
    }

    fn words(&self, words: &str) -> Raw {
        Raw::parse(words)
    }
}

/// A span of time in whole seconds: a number of them, or text with a unit.
pub(crate) struct Span {
    pub(crate) seconds: RangeInclusive<u64>,
}

impl Span {
    /// Seconds with a unit behind them, or without.
    fn parse(text: &str) -> Option<u64> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at_checked(digits)?;
        let factor = match unit.trim_start() {
            "" | "s" => 1,
            "min" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(factor)
    }

    /// In the largest unit that says it in a whole number.
    pub(crate) fn text(seconds: u64) -> String {
        let units = [(86_400, "d"), (3_600, "h"), (60, "min")];
        let whole = |(unit, _): &&(u64, &str)| seconds >= *unit && seconds.is_multiple_of(*unit);
        let found = units.iter().find(whole);
        found.map_or_else(|| format!("{seconds} s"), |(unit, name)| format!("{} {name}", seconds / unit))
    }
}

impl Kind for Span {
    type Value = u64;

    fn what(&self) -> String {
        let (least, most) = (Self::text(*self.seconds.start()), Self::text(*self.seconds.end()));
        format!("{least} to {most}: seconds, or text with s, min, h or d, as `\"90 s\"`")
    }

    fn read(&self, raw: &Raw) -> Result<u64, Wrong> {
        let seconds = match &raw.value {
            Value::Whole(seconds) => u64::try_from(*seconds).ok(),
            Value::Text(text) => Self::parse(text.trim()),
            _ => None,
        };
        let right = || {
            let (least, most) = (Self::text(*self.seconds.start()), Self::text(*self.seconds.end()));
            format!("take {least} to {most}, as seconds or as \"90 s\"")
        };
        seconds.filter(|seconds| self.seconds.contains(seconds)).ok_or_else(|| Wrong::new(raw, right()))
    }

    fn show(&self, value: &u64) -> Option<String> {
        Some(quoted(&Self::text(*value)))
    }
}

/// Yes or no.
pub(crate) struct Switch;

impl Kind for Switch {
    type Value = bool;

    fn what(&self) -> String {
        "`true` or `false`".to_owned()
    }

    fn read(&self, raw: &Raw) -> Result<bool, Wrong> {
        if let Value::Switch(switch) = raw.value {
            Ok(switch)
        } else {
            Err(Wrong::new(raw, "write true or false"))
        }
    }

    fn show(&self, value: &bool) -> Option<String> {
        Some(value.to_string())
    }

    fn words(&self, words: &str) -> Raw {
        Raw::parse(words)
    }
}

/// One of some words.
pub(crate) struct Choice<T: 'static>(pub(crate) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Kind for Choice<T> {
    type Value = T;

    fn what(&self) -> String {
        let words: Vec<String> = self.0.iter().map(|(word, _)| format!("`\"{word}\"`")).collect();
        words.join(" or ")
    }

    fn read(&self, raw: &Raw) -> Result<T, Wrong> {
        let text = if let Value::Text(text) = &raw.value { text } else { "" };
        let found = self.0.iter().find(|(word, _)| *word == text);
        let right = || format!("write {}", self.what().replace('`', ""));
        found.map(|(_, value)| *value).ok_or_else(|| Wrong::new(raw, right()))
    }

    fn show(&self, value: &T) -> Option<String> {
        self.0.iter().find(|(_, known)| known == value).map(|(word, _)| quoted(word))
    }
}

/// A file, relative to the folder of the configuration's own where it stands in one.
pub(crate) struct File(pub(crate) &'static str);

impl Kind for File {
    type Value = PathBuf;

    fn what(&self) -> String {
        "a file; relative to the folder of this file".to_owned()
    }

    fn read(&self, raw: &Raw) -> Result<PathBuf, Wrong> {
        match &raw.value {
            Value::Text(text) if !text.is_empty() && !text.contains('\0') => {
                Ok(raw.folder.as_ref().map_or_else(|| text.into(), |folder| folder.join(text)))
            }
            _ => Err(Wrong::new(raw, format!("write the path of a file, as \"{}\"", self.0))),
        }
    }

    fn show(&self, value: &PathBuf) -> Option<String> {
        Some(quoted(&value.to_string_lossy()))
    }

    fn example(&self) -> String {
        quoted(self.0)
    }
}

/// What may be left out.
pub(crate) struct Optional<K>(pub(crate) K);

impl<K: Kind> Kind for Optional<K> {
    type Value = Option<K::Value>;

    fn what(&self) -> String {
        self.0.what()
    }

    fn read(&self, raw: &Raw) -> Result<Self::Value, Wrong> {
        self.0.read(raw).map(Some)
    }

    fn show(&self, value: &Self::Value) -> Option<String> {
        value.as_ref().and_then(|value| self.0.show(value))
    }

    fn example(&self) -> String {
        self.0.example()
    }

    fn words(&self, words: &str) -> Raw {
        self.0.words(words)
    }
}

/// Several of a kind.
pub(crate) struct List<K> {
    pub(crate) of: K,
    pub(crate) max: usize,
}

impl<K: Kind> Kind for List<K> {
    type Value = Vec<K::Value>;

    fn what(&self) -> String {
        format!("a list of at most {}: {}", self.max, self.of.what())
    }

    fn read(&self, raw: &Raw) -> Result<Self::Value, Wrong> {
        let Value::List(items) = &raw.value else {
            return Err(Wrong::new(raw, "write a list in square brackets, as [\"…\", \"…\"]"));
        };
        if items.len() > self.max {
            let right = format!("take at most {}", self.max);
            return Err(Wrong { found: format!("a list of {}", items.len()), ..Wrong::new(raw, right) });
        }
        let read = |item: &Raw| {
            self.of
                .read(item)
                .map_err(|wrong| Wrong { span: Some(wrong.span.unwrap_or(item.span.clone())), ..wrong })
        };
        items.iter().map(read).collect()
    }

    fn show(&self, value: &Self::Value) -> Option<String> {
        let items: Vec<String> = value.iter().filter_map(|item| self.of.show(item)).collect();
        Some(format!("[{}]", items.join(", ")))
    }

    /// With commas between the items.
    fn words(&self, words: &str) -> Raw {
        let items = words.split(',').map(str::trim).filter(|item| !item.is_empty());
        Raw { value: Value::List(items.map(|item| self.of.words(item)).collect()), ..Raw::text(words) }
    }
}
