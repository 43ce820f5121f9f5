//! A strict reader of line protocol, of what its reference says and no more. It knows nothing of the writer.

use std::collections::BTreeMap;

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Int(i64),
    Float(f64),
    Bool(bool),
    Text(String),
}

/// A line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) measurement: String,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) fields: BTreeMap<String, Value>,
    pub(super) at: i64,
}

/// A name up to one of `ends`, which is not taken; a backslash escapes only what must be.
fn name(text: &mut &str, escapes: &str, ends: &str) -> Result<String, String> {
    let mut found = String::new();
    let mut letters = text.char_indices();
    let end = loop {
        match letters.next() {
            None => break text.len(),
            Some((at, c)) if ends.contains(c) => break at,
            Some((_, '\\')) => match letters.next() {
                Some((_, c)) if escapes.contains(c) => found.push(c),
                other => return Err(format!("{other:?} after a backslash, where servers disagree")),
            },
            Some((_, c)) if c.is_control() => return Err(format!("{c:?} in a name")),
            Some((_, c)) => found.push(c),
        }
    };
    *text = &text[end..];
    if found.is_empty() { Err("an empty name or tag".to_owned()) } else { Ok(found) }
}

fn expect(text: &mut &str, c: char) -> Result<(), String> {
    let rest = text.strip_prefix(c).ok_or_else(|| format!("no {c:?} before {text:?}"))?;
    *text = rest;
    Ok(())
}

fn value(text: &mut &str) -> Result<Value, String> {
    if let Some(inner) = text.strip_prefix('"') {
        let mut found = String::new();
        let mut letters = inner.char_indices();
        loop {
            match letters.next() {
                None => return Err("a string does not end".to_owned()),
                Some((at, '"')) => {
                    *text = &inner[at + 1..];
                    return Ok(Value::Text(found));
                }
                Some((_, '\\')) => match letters.next() {
                    Some((_, c @ ('"' | '\\'))) => found.push(c),
                    other => return Err(format!("{other:?} after a backslash in a string")),
                },
                Some((_, '\n')) => return Err("a line ends in a string".to_owned()),
                Some((_, c)) => found.push(c),
            }
        }
    }
    let end = text.find([',', ' ']).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    *text = rest;
    match word {
        "true" => return Ok(Value::Bool(true)),
        "false" => return Ok(Value::Bool(false)),
        _ => {}
    }
    if let Some(whole) = word.strip_suffix('i') {
        return whole.parse().map(Value::Int).map_err(|error| format!("{word}: {error}"));
    }
    if !word.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c)) {
        return Err(format!("{word:?} is no number"));
    }
    word.parse().map(Value::Float).map_err(|error| format!("{word}: {error}"))
}

/// Reads one line, without its end.
pub(super) fn line(text: &str) -> Result<Line, String> {
    let mut rest = text;
    if rest.starts_with('#') {
        return Err("a comment".to_owned());
    }
    let measurement = name(&mut rest, ", ", ", ")?;
    let (mut tags, mut before) = (BTreeMap::new(), String::new());
    while rest.starts_with(',') {
        expect(&mut rest, ',')?;
        let key = name(&mut rest, ",= ", ",= ")?;
        expect(&mut rest, '=')?;
        let value = name(&mut rest, ",= ", ",= ")?;
        if key <= before {
            return Err(format!("tag {key} after {before}: not sorted, or twice"));
        }
        before.clone_from(&key);
        tags.insert(key, value);
    }
    expect(&mut rest, ' ')?;
    let mut fields = BTreeMap::new();
    loop {
        let key = name(&mut rest, ",= ", ",= ")?;
        expect(&mut rest, '=')?;
        let value = value(&mut rest)?;
        if fields.insert(key.clone(), value).is_some() {
            return Err(format!("field {key} twice"));
        }
        if !rest.starts_with(',') {
            break;
        }
        expect(&mut rest, ',')?;
    }
    expect(&mut rest, ' ')?;
    let at = rest.parse().map_err(|error| format!("time {rest:?}: {error}"))?;
    Ok(Line { measurement, tags, fields, at })
}

#[test]
fn the_reader_refuses_what_is_wrong() {
    assert!(line(r#"m,a=1,b=x\ y v=7i,w=-0.5e3,x=t\ x 1"#).is_err());
    let good = line(r#"m\,\ x,a=1,b=x\ y v=7i,w=-5e3,x="say \"a\\b\", =",y=true 12"#).unwrap();
    assert_eq!((good.measurement.as_str(), good.tags["b"].as_str(), good.at), ("m, x", "x y", 12));
    assert_eq!(good.fields["x"], Value::Text(r#"say "a\b", ="#.to_owned()));
    for bad in [
        "",
        "m",
        "m v=1",
        "m v=1i",
        "m 1",
        "m,a v=1i 1",
        "m,a= v=1i 1",
        "m,a=1,a=2 v=1i 1",
        "m,b=1,a=2 v=1i 1",
        "m v=one 1",
        "m v=1u 1",
        "m v=NaN 1",
        "m v=\"x 1",
        "m v=1i,v=2i 1",
        "m v=1i 1.5",
        "m v=1i 1 ",
        " m v=1i 1",
        "#m v=1i 1",
        r"m,a=\ v=1i 1",
        r"m,a=x\y v=1i 1",
    ] {
        assert!(line(bad).is_err(), "{bad}");
    }
}
