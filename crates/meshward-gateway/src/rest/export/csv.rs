//! Rows as a table that people open in a spreadsheet (RFC 4180).
//!
//! What a node or a person called something may begin as a formula does; a spreadsheet would reckon it out, and with it
//! send away what else is in the table. Such a text gets an apostrophe in front, which spreadsheets do not show.

use serde_json::Value;

/// What begins a formula, or is skipped in front of one.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// The names of the columns.
pub(super) fn head(out: &mut String, columns: &[String]) {
    out.push_str(&columns.join(","));
    out.push_str("\r\n");
}

/// A row.
pub(super) fn line(out: &mut String, columns: &[String], row: &Value) {
    for (at, column) in columns.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        match row.get(column) {
            None | Some(Value::Null) => {}
            Some(Value::String(words)) => text(out, words),
            // Numbers and words of JSON are no formulas, whatever they begin with.
            Some(plain @ (Value::Bool(_) | Value::Number(_))) => out.push_str(&plain.to_string()),
            Some(Value::Array(items)) => text(out, &items.iter().map(word).collect::<Vec<_>>().join("; ")),
            Some(object @ Value::Object(_)) => text(out, &object.to_string()),
        }
    }
    out.push_str("\r\n");
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn text(out: &mut String, words: &str) {
    let formula = words.starts_with(FORMULA);
    if !formula && !words.contains(['"', ',', '\n', '\r', ';']) {
        return out.push_str(words);
    }
    out.push('"');
    if formula {
        out.push('\'');
    }
    out.push_str(&words.replace('"', "\"\""));
    out.push('"');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_quoted_where_they_must_be_and_no_formula_is_left() {
        for (value, cell) in [
            (json!("roof"), "roof"),
            (json!("a, b"), "\"a, b\""),
            (json!("say \"x\""), "\"say \"\"x\"\"\""),
            (json!("two\nlines"), "\"two\nlines\""),
            (json!("=1+1"), "\"'=1+1\""),
            (json!("+49 30"), "\"'+49 30\""),
            (json!("-cmd|' /C calc'!A0"), "\"'-cmd|' /C calc'!A0\""),
            (json!("@SUM(A1)"), "\"'@SUM(A1)\""),
            (json!("\t=1"), "\"'\t=1\""),
            (json!("\r=1"), "\"'\r=1\""),
            (json!("a=1"), "a=1"),
            (json!(-61.5), "-61.5"),
            (json!(true), "true"),
            (json!(null), ""),
            (json!(["=a", "b"]), "\"'=a; b\""),
            (json!({"a": 1}), "\"{\"\"a\"\":1}\""),
        ] {
            let mut out = String::new();
            line(&mut out, &["x".to_owned()], &json!({ "x": value }));
            assert_eq!(out, format!("{cell}\r\n"), "{value}");
        }
    }

    #[test]
    fn a_row_has_a_cell_for_each_column() {
        let columns = ["a", "b", "c"].map(str::to_owned);
        let mut out = String::new();
        head(&mut out, &columns);
        line(&mut out, &columns, &json!({ "c": 3, "a": "x", "d": 4 }));
        assert_eq!(out, "a,b,c\r\nx,,3\r\n");
    }
}
