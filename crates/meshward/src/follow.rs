//! `-f`: shows something again and again, until Ctrl-C.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::shutdown;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Clears a terminal and begins at its top.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Whether to go on.
#[derive(clap::Args)]
pub(crate) struct Follow {
    /// Show it again every second, until Ctrl-C; with --json as one line each time.
    #[arg(short, long)]
    follow: bool,
}

impl Follow {
    /// Prints what `look` says, once or again and again. Returns what it returned last.
    pub(crate) async fn show(
        &self,
        plain: bool,
        look: impl AsyncFn() -> anyhow::Result<(String, bool)>,
    ) -> anyhow::Result<bool> {
        if !self.follow {
            let (text, done) = look().await?;
            println!("{text}");
            return Ok(done);
        }
        let clear = if !plain && std::io::stdout().is_terminal() { CLEAR } else { "" };
        let stop = shutdown::requested();
        tokio::pin!(stop);
        loop {
            let (text, done) = look().await?;
            if !say(&format!("{clear}{text}")) {
                return Ok(done);
            }
            tokio::select! {
                () = &mut stop => return Ok(done),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// As JSON: for people, or in one line when there will be more.
    pub(crate) fn json(&self, value: &impl Serialize) -> anyhow::Result<String> {
        Ok(if self.follow { serde_json::to_string(value)? } else { serde_json::to_string_pretty(value)? })
    }
}

/// Prints a line at once; false when nobody reads any more, as after `| head`.
pub(crate) fn say(text: &str) -> bool {
    let mut out = std::io::stdout();
    writeln!(out, "{text}").and_then(|()| out.flush()).is_ok()
}

/// For what is not known.
pub(crate) fn dash() -> String {
    "–".to_owned()
}

/// How long ago that is.
pub(crate) fn age(at: Timestamp) -> String {
    span((Timestamp::now().as_millisecond() - at.as_millisecond()).max(0) / 1_000)
}

/// Seconds in the one unit that says most.
fn span(seconds: i64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        for (seconds, text) in [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (172_800, "2 d")]
        {
            assert_eq!(span(seconds), text);
        }
    }
}
