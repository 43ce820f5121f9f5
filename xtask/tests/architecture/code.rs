//! Rust source as text: comments and literals blanked out, functions measured, paths listed.
//!
//! No parser, only enough of a lexer to be sure what is code. It refuses nothing: on source that does not
//! compile it returns something harmless.

/// A function and how many lines it takes, from its `fn` to its closing brace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// The line of the `fn`, counted from 1.
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

/// A path such as `crate::wire::Frame`, and the line where it begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NamedPath {
    pub(crate) path: String,
    pub(crate) line: usize,
}

/// The source with comments, strings and characters replaced by spaces; lines stay where they are.
pub(crate) fn code_only(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while let Some(&first) = chars.get(at) {
        let length = blank_length(&chars, at);
        if length == 0 {
            out.push(first);
            at += 1;
        } else {
            let end = chars.len().min(at + length);
            out.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// How many characters from `at` on are one comment or literal; 0 when code starts there.
fn blank_length(chars: &[char], at: usize) -> usize {
    let rest = &chars[at..];
    match rest {
        ['/', '/', ..] => rest.iter().position(|&c| c == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => block_comment_length(rest),
        ['"', ..] => quoted_length(rest, '"'),
        ['\'', ..] => character_length(rest),
        ['r', ..] if at == 0 || !raw_prefix_is_inside_word(chars, at) => raw_string_length(rest),
        _ => 0,
    }
}

/// Whether the `r` at `at` ends an ordinary word; `br` and `cr` begin raw strings too.
fn raw_prefix_is_inside_word(chars: &[char], at: usize) -> bool {
    let prefix = usize::from(matches!(chars[at - 1], 'b' | 'c'));
    at > prefix && is_word(chars[at - 1 - prefix])
}

fn block_comment_length(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    loop {
        match &rest[at.min(rest.len())..] {
            [] => return rest.len(),
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] if depth == 1 => return at + 2,
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
}

fn quoted_length(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A character literal's length; 0 for a lifetime or label.
fn character_length(rest: &[char]) -> usize {
    match rest {
        [_, '\\', ..] => quoted_length(rest, '\''),
        [_, _, '\'', ..] => 3,
        _ => 0,
    }
}

/// A raw string's length from its `r`; 0 for an identifier.
fn raw_string_length(rest: &[char]) -> usize {
    let hashes = rest[1..].iter().take_while(|&&c| c == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return 0;
    }
    let body = 2 + hashes;
    let closes = |at: &usize| rest[*at] == '"' && rest[at + 1..].iter().take(hashes).all(|&c| c == '#');
    let last = rest.len().saturating_sub(hashes);
    (body..last).find(closes).map_or(rest.len(), |at| at + 1 + hashes)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Every function with a body, nested ones too. `code` comes from [`code_only`].
pub(crate) fn functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, token) in words(code) {
        if token != "fn" {
            continue;
        }
        let after = &code[at + 2..];
        let signature = after.trim_start();
        let name: String = signature.chars().take_while(|&c| is_word(c) || "$#".contains(c)).collect();
        if !name.is_empty()
            && let Some(end) = body_end(signature)
        {
            let whole = &code[at..code.len() - signature.len() + end];
            found.push(Function { name, line: line_of(code, at), lines: line_of(whole, whole.len()) });
        }
    }
    found
}

/// Where the body of the function ends whose text this is; nothing when it has no body.
fn body_end(signature: &str) -> Option<usize> {
    let (mut brackets, mut braces) = (0_i32, 0_i32);
    for (at, c) in signature.char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            ';' if brackets == 0 && braces == 0 => return None,
            '{' => braces += 1,
            '}' if braces <= 1 && brackets == 0 => return (braces == 1).then_some(at + 1),
            '}' => braces -= 1,
            _ => {}
        }
    }
    None
}

/// All words of the code with their places.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.split(|c| !is_word(c))
        .filter(|word| !word.is_empty())
        .map(|word| (word.as_ptr() as usize - code.as_ptr() as usize, word))
}

/// The line of the place `at`, counted from 1.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    1 + text[..at].matches('\n').count()
}

/// All paths of two or more segments, and what `use` brings in, with groups spelt out:
/// `use a::{b, c::d}` gives `a::b` and `a::c::d`. `code` comes from [`code_only`].
pub(crate) fn paths(code: &str) -> Vec<NamedPath> {
    let mut found = Vec::new();
    let mut skip_to = 0;
    for (at, _) in words(code) {
        if at < skip_to || code[..at].trim_end().ends_with(">::") {
            continue;
        }
        let length = expand(&code[at..], "", line_of(code, at), &mut found);
        skip_to = at + length;
    }
    found
}

/// Reads one path (a tree, if braces follow) from the start of `code`; how much of it was read.
fn expand(code: &str, prefix: &str, line: usize, found: &mut Vec<NamedPath>) -> usize {
    let mut path = prefix.to_owned();
    let mut at = 0;
    loop {
        let blank = code[at..].len() - code[at..].trim_start().len();
        let rest = &code[at + blank..];
        if rest.starts_with('{') && path.ends_with("::") {
            return at + blank + expand_group(rest, &path, line + line_of(code, at + blank) - 1, found);
        }
        let word = rest.len() - rest.trim_start_matches(is_word).len();
        let length = if word == 0 && rest.starts_with('*') { 1 } else { word };
        path.push_str(&rest[..length]);
        at += blank + length;
        let tail = code[at..].trim_start();
        if length == 0 || !tail.starts_with("::") {
            break;
        }
        at = code.len() - tail.len() + 2;
        path.push_str("::");
    }
    if path.contains("::") {
        found.push(NamedPath { path: path.trim_end_matches(':').to_owned(), line });
    }
    at
}

/// Reads `{a, b::c}` after `prefix`; how much was read.
fn expand_group(code: &str, prefix: &str, line: usize, found: &mut Vec<NamedPath>) -> usize {
    let mut at = 1;
    while at < code.len() {
        let rest = &code[at..];
        let skipped = rest.len() - rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',').len();
        at += skipped;
        if code[at..].starts_with('}') || at == code.len() {
            return code.len().min(at + 1);
        }
        let start = at;
        at += expand(&code[at..], prefix, line + line_of(code, start) - 1, found);
        // Past what a path has no use for, such as `as name`.
        at += code[at..].find([',', '}']).unwrap_or(code.len() - at);
        if at == start {
            return at;
        }
    }
    at
}

mod tests {
    use super::*;

    fn check_blank(source: &str, expected: &str) {
        assert_eq!(code_only(source), expected, "{source}");
    }

    #[test]
    fn comments_and_literals_are_blanked() {
        check_blank("a // b\nc", "a     \nc");
        check_blank("a /* b /* c */ d */ e", "a                   e");
        check_blank(r#"f("x\"{", '{', '\'', b'}')"#, "f(      ,    ,     , b   )");
        check_blank("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)");
        check_blank(r####"r#"a"{"# r"{" br##"{"##;"####, "              b        ;");
        check_blank("r#fn bar\" }", "r#fn bar   ");
        check_blank("\"two\nlines\" x", "    \n       x");
        check_blank("/* open", "       ");
        check_blank("r\"open", "      ");
    }

    fn check_functions(source: &str, expected: &[(&str, usize, usize)]) {
        let found = functions(&code_only(source));
        let found: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.line, f.lines)).collect();
        assert_eq!(found, expected, "{source}");
    }

    #[test]
    fn functions_are_measured_to_their_closing_brace() {
        check_functions("fn one() {}", &[("one", 1, 1)]);
        check_functions("\nfn two(a: [u8; 2])\n-> [u8; 3]\n{\n  \"}\"; '}' /* } */\n}\n", &[("two", 2, 5)]);
        check_functions("trait T { fn none(&self); fn some(&self) {\n} }", &[("some", 1, 2)]);
        check_functions("fn a() {\n fn b() {\n }\n}", &[("a", 1, 4), ("b", 2, 2)]);
        check_functions("type F = fn(u8) -> u8; let fnord = 1;", &[]);
        check_functions("fn cut(", &[]);
    }

    fn check_paths(source: &str, expected: &[(&str, usize)]) {
        let found = paths(&code_only(source));
        let found: Vec<_> = found.iter().map(|p| (p.path.as_str(), p.line)).collect();
        assert_eq!(found, expected, "{source}");
    }

    #[test]
    fn paths_are_spelt_out() {
        check_paths(
            "let x = crate::wire::peek(crate::time::Instant::ORIGIN);",
            &[("crate::wire::peek", 1), ("crate::time::Instant::ORIGIN", 1)],
        );
        check_paths(
            "use crate::{\n  wire::{Frame, peek as p},\n  time,\n};\nuse a::*;",
            &[("crate::wire::Frame", 2), ("crate::wire::peek", 2), ("crate::time", 3), ("a::*", 5)],
        );
        check_paths(
            "use std\n  ::time::{self, Instant};",
            &[("std::time::self", 2), ("std::time::Instant", 2)],
        );
        check_paths("a::<b>(); ::c::d; plain", &[("a", 1), ("c::d", 1)]);
        check_paths("use a::{", &[]);
    }
}
