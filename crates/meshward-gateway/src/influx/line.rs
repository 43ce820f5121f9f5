//! One line of line protocol: measurement, tags, typed fields, and a time in nanoseconds.
//!
//! What the protocol cannot say without doubt is not written: an empty tag, a number that is none, a line without
//! fields. A backslash outside of a string escapes what comes after it in one server and not in another, so there it
//! becomes a slash; control characters become blanks. Everything else is written so that every server reads the same.

use std::fmt::Write as _;

/// The value of a field. A field keeps the type that it had first, so a name has one type.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    /// A whole number, written with `i`.
    Int(i64),
    /// A number; one that is not finite is not written.
    Float(f64),
    /// Yes or no.
    Bool(bool),
    /// Text of at most [`TEXT_MAX`] bytes; what is longer is cut.
    Text(String),
}

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Of [`Field::Int`].
    Int,
    /// Of [`Field::Float`].
    Float,
    /// Of [`Field::Bool`].
    Bool,
    /// Of [`Field::Text`].
    Text,
}

/// Longest text of a field, in bytes: InfluxDB's limit is 64 KB.
pub const TEXT_MAX: usize = 4_096;
/// Longest tag, in bytes.
pub const TAG_MAX: usize = 256;

/// Escapes `special` by a backslash, and cuts.
fn escaped(text: &str, special: &str, bytes_max: usize) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if safe.len() + c.len_utf8() > bytes_max {
            break;
        }
        match c {
            '\\' => safe.push('/'),
            c if c.is_control() => safe.push_str(if special.contains(' ') { "\\ " } else { " " }),
            c if special.contains(c) => {
                safe.push('\\');
                safe.push(c);
            }
            c => safe.push(c),
        }
    }
    safe
}

fn field(out: &mut String, value: &Field) -> bool {
    // Writing into a text does not fail.
    let _done = match value {
        Field::Int(value) => write!(out, "{value}i"),
        Field::Float(value) if !value.is_finite() => return false,
        // The shortest form that is read back as the same number.
        Field::Float(value) => write!(out, "{value:?}"),
        Field::Bool(value) => write!(out, "{value}"),
        Field::Text(text) => {
            out.push('"');
            for c in text.chars() {
                if out.len() > TEXT_MAX * 2 {
                    break;
                }
                match c {
                    '"' | '\\' => {
                        out.push('\\');
                        out.push(c);
                    }
                    c if c.is_control() => out.push(' '),
                    c => out.push(c),
                }
            }
            out.push('"');
            Ok(())
        }
    };
    true
}

/// A line without its end; `None` when there is nothing to be said.
///
/// Tags are sorted by their names, which saves the server's work. A name that comes twice is written once, with the
/// first value.
pub fn line(
    measurement: &str,
    tags: &[(&str, &str)],
    fields: &[(&str, Field)],
    at_ns: i64,
) -> Option<String> {
    const NAMES: &str = ",= ";
    // A line that begins with # is a comment.
    let mut out = escaped(measurement.trim_start_matches('#'), ", ", TAG_MAX);
    if out.is_empty() {
        return None;
    }
    let mut sorted: Vec<&(&str, &str)> =
        tags.iter().filter(|(name, value)| !name.is_empty() && !value.is_empty()).collect();
    sorted.sort_by_key(|(name, _)| *name);
    sorted.dedup_by_key(|(name, _)| *name);
    for (name, value) in sorted {
        out.push(',');
        out.push_str(&escaped(name, NAMES, TAG_MAX));
        out.push('=');
        out.push_str(&escaped(value, NAMES, TAG_MAX));
    }
    let (mut separator, mut seen) = (' ', Vec::new());
    for (name, value) in fields {
        let mut text = String::new();
        if name.is_empty() || seen.contains(name) || !field(&mut text, value) {
            continue;
        }
        seen.push(name);
        out.push(separator);
        out.push_str(&escaped(name, NAMES, TAG_MAX));
        out.push('=');
        out.push_str(&text);
        separator = ',';
    }
    if separator == ' ' {
        return None;
    }
    // Writing into a text does not fail.
    let _done = write!(out, " {at_ns}");
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_as_the_protocol_says() {
        let int = |value| vec![("v", Field::Int(value))];
        let text = |text: &str| vec![("v", Field::Text(text.to_owned()))];
        for (measurement, tags, fields, expected) in [
            ("mesh", vec![], int(7), Some("mesh v=7i 1")),
            ("me sh,=", vec![], int(-7), Some(r"me\ sh\,= v=-7i 1")),
            ("#mesh", vec![], int(0), Some("mesh v=0i 1")),
            ("mesh", vec![("b", "x y"), ("a", "1,2=3")], int(7), Some(r"mesh,a=1\,2\=3,b=x\ y v=7i 1")),
            ("mesh", vec![("a", ""), ("b", "\\"), ("c", "a\nb")], int(7), Some(r"mesh,b=/,c=a\ b v=7i 1")),
            ("mesh", vec![("a", "1"), ("a", "2")], int(7), Some("mesh,a=1 v=7i 1")),
            (
                "mesh",
                vec![],
                vec![("v", Field::Float(0.5)), ("w", Field::Bool(true))],
                Some("mesh v=0.5,w=true 1"),
            ),
            ("mesh", vec![], vec![("v", Field::Float(f64::NAN)), ("w", Field::Int(1))], Some("mesh w=1i 1")),
            ("mesh", vec![], vec![("v", Field::Float(3.0))], Some("mesh v=3.0 1")),
            ("mesh", vec![], text(r#"say "a\b","#), Some(r#"mesh v="say \"a\\b\"," 1"#)),
            ("mesh", vec![], text("two\nlines"), Some("mesh v=\"two lines\" 1")),
            ("mesh", vec![], vec![("v", Field::Float(f64::INFINITY))], None),
            ("mesh", vec![], vec![], None),
            ("", vec![], int(7), None),
        ] {
            assert_eq!(line(measurement, &tags, &fields, 1).as_deref(), expected);
        }
    }

    #[test]
    fn texts_are_cut() {
        let long = "ä".repeat(TEXT_MAX * 3);
        let written = line("m", &[("t", &long)], &[("v", Field::Text(long.clone()))], 1).unwrap();
        assert!(written.len() < TEXT_MAX * 2 + TAG_MAX + 40, "{}", written.len());
    }
}
