//! What is wrong in a configuration, said so that it can be put right: where it stands, what stands there, what would
//! be right, and the line itself with a mark below it.

use std::fmt;
use std::ops::Range;

/// Mistakes that are shown at once; more are counted.
const SHOWN_MAX: usize = 20;
/// Characters of a line that are shown.
const LINE_MAX: usize = 160;

/// One mistake. Its text is for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake(String);

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Mistake {
    /// At a place in a file.
    pub(crate) fn in_file(name: &str, text: &str, span: Range<usize>, what: &str) -> Self {
        let place = Place::of(text, span);
        let number = place.line.to_string();
        let margin = " ".repeat(number.len());
        Self(format!(
            "{name}:{number}:{}: {what}\n {margin} |\n {number} | {}\n {margin} | {}{}",
            place.column,
            place.shown,
            " ".repeat(place.before),
            "^".repeat(place.marked),
        ))
    }

    /// In a variable of the environment.
    pub(crate) fn in_variable(name: &str, what: &str) -> Self {
        Self(format!("environment variable {name}: {what}"))
    }
}

/// A span as people count.
struct Place {
    /// From 1.
    line: usize,
    /// From 1, in characters.
    column: usize,
    shown: String,
    /// What is marked in the line that is shown.
    before: usize,
    marked: usize,
}

impl Place {
    fn of(text: &str, span: Range<usize>) -> Self {
        // A span may end where the text does, or in the middle of what was broken.
        let floor =
            |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let (before, rest) = text.split_at(floor(span.start));
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        let head = before.get(start..).unwrap_or_default();
        let tail = rest.lines().next().unwrap_or_default();
        let marked = text.get(floor(span.start)..floor(span.end.max(span.start))).unwrap_or_default();
        let marked = marked.lines().next().unwrap_or_default().chars().count();
        let shown = head.chars().chain(tail.chars()).map(|c| if c.is_control() { ' ' } else { c });
        let column = head.chars().count() + 1;
        // Of a long line the part around the mistake.
        let skipped = column.saturating_sub(LINE_MAX / 2).min(column - 1);
        let skipped = if column + marked > LINE_MAX { skipped } else { 0 };
        let before = column - 1 - skipped;
        Self {
            line: line_of(text, start),
            column,
            shown: shown.skip(skipped).take(LINE_MAX).collect::<String>().trim_end().to_owned(),
            before,
            marked: marked.clamp(1, LINE_MAX.saturating_sub(before).max(1)),
        }
    }
}

/// The line of a place in a text, counted from 1.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// All of them.
pub(crate) fn list(mistakes: &[Mistake]) -> String {
    let mut text = match mistakes {
        [one] => return format!("the configuration cannot be used\n{one}"),
        all => format!("the configuration cannot be used: {} mistakes", all.len()),
    };
    for mistake in mistakes.iter().take(SHOWN_MAX) {
        text.push_str(&format!("\n{mistake}"));
    }
    if let Some(more) = mistakes.len().checked_sub(SHOWN_MAX).filter(|more| *more > 0) {
        text.push_str(&format!("\nand {more} more"));
    }
    text
}
