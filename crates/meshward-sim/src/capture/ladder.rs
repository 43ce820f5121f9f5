//! A capture for people: a line a message, who to whom, what kind, and what matters in it.

use std::fmt::Write as _;

use meshward_core::wire::{Clock, Data, DataRequest, NodeSync, Stamp, User, kind, read};

use super::{Line, What};

/// The most characters of a text that are shown.
const TEXT_MAX: usize = 40;
/// Trees beyond this are cut off anyway: this only counts.
const NODES_MAX: usize = 100_000;

/// Writes lines for people to read.
pub fn ladder(lines: &[Line]) -> String {
    let mut out = String::new();
    for line in lines {
        let seconds = line.at.as_micros() as f64 / 1e6;
        let text = match &line.what {
            What::Open { conn, .. } => format!("   {conn} opens"),
            What::Closed { by, conn, .. } => format!("   {conn} closed by {by}"),
            What::Boot { node, config } => format!("   {node} boots as node {}", config.id),
            // Of use to a replay only.
            What::Timers { .. } | What::Flash { .. } => continue,
            What::Note(words) => format!("   ({words})"),
            What::Message { from, to, bytes, withheld, .. } => {
                let arrow = if *withheld { "─×" } else { "─▶" };
                format!("{from:>4} {arrow} {to:<4} {:>6} B  {}", bytes.len(), describe(bytes))
            }
        };
        // Writing to a string cannot fail.
        let _always_ok = writeln!(out, "{seconds:>12.6} {text}");
    }
    out
}

/// What a message says, in a few words.
fn describe(frame: &[u8]) -> String {
    let Ok(message) = read(frame) else { return "(unreadable)".to_owned() };
    let (envelope, bytes) = (message.envelope, &*message.bytes);
    let way = format!("{} to {}", envelope.from, envelope.dest);
    let number = |name: &str| message.field(name).map_or(0, |value| value.as_u32());
    match envelope.kind {
        kind::TIME_DELAY => format!("3 delay {way}{}", stamp(bytes)),
        kind::TIME_SYNC => format!("4 time{}", stamp(bytes)),
        kind::NODE_SYNC_REQUEST | kind::NODE_SYNC_REPLY => {
            let nodes = NodeSync::decode(bytes, NODES_MAX).map_or(0, |sync| sync.tree.len());
            let name = if envelope.kind == kind::NODE_SYNC_REQUEST { "request" } else { "reply" };
            format!("{} node sync {name}, {nodes} nodes", envelope.kind)
        }
        kind::BROADCAST | kind::SINGLE => {
            let text = User::decode(bytes).map(|user| String::from_utf8_lossy(&user.msg).into_owned());
            let text: String = text.unwrap_or_default().chars().take(TEXT_MAX).collect();
            let to = if envelope.kind == kind::SINGLE { way } else { format!("{} to all", envelope.from) };
            format!("{} message {to}: {text:?}", envelope.kind)
        }
        kind::OTA_ANNOUNCE => format!("10 announce {way}, {} parts", number("noPart")),
        kind::OTA_REQUEST => {
            let part = DataRequest::decode(bytes).map_or(0, |request| request.part);
            format!("11 request {way}, part {part} of {}", number("noPart"))
        }
        kind::OTA_DATA => {
            let (part, len) = Data::decode(bytes).map_or((0, 0), |data| (data.part, data.data.len()));
            format!("12 data {way}, part {part} of {}, {len} bytes", number("noPart"))
        }
        other => format!("{other} {way}"),
    }
}

fn stamp(frame: &[u8]) -> &'static str {
    match Clock::decode(frame).map(|clock| clock.stamp) {
        Ok(Stamp::Ask) => " ask",
        Ok(Stamp::Request { .. }) => " request",
        Ok(Stamp::Reply { .. }) => " reply",
        Ok(Stamp::Error) => " error",
        Ok(Stamp::Unknown(_)) | Err(_) => " ?",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_described() {
        for (frame, want) in [
            (
                "{\"nodeId\":7,\"subs\":[{\"nodeId\":8}],\"type\":5,\"dest\":0,\"from\":7}",
                "5 node sync request, 2 nodes",
            ),
            ("{\"type\":9,\"dest\":2,\"from\":1,\"msg\":\"hi\"}", "9 message 1 to 2: \"hi\""),
            ("{\"type\":8,\"dest\":0,\"from\":1,\"msg\":\"x\"}", "8 message 1 to all: \"x\""),
            ("{\"type\":4,\"dest\":2,\"from\":1,\"msg\":{\"type\":1,\"t0\":5}}", "4 time request"),
            ("{\"from\":1,\"routing\":2,\"type\":604}", "604 1 to 0"),
            ("[1]", "(unreadable)"),
        ] {
            assert_eq!(describe(frame.as_bytes()), want);
        }
    }
}
