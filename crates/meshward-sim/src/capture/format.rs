//! One JSON object a line, as `testdata/README.md` describes it.
//!
//! Reading takes what the recordings hold, also lines that this module would not write; it refuses what is
//! no JSON or lacks what its kind needs, and names the line.

use core::fmt;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use meshward_core::mesh::{Limits, MeshConfig};
use meshward_core::time::Instant;
use meshward_core::wire::NodeId;
use serde_json::{Value, json};

use super::{Line, What};

/// Why a capture could not be read.
#[derive(Debug, PartialEq, Eq)]
pub struct FormatError {
    /// The line's number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

impl core::error::Error for FormatError {}

/// Writes lines, each with its end of line.
pub fn to_ndjson(lines: &[Line]) -> String {
    let mut out = String::new();
    for line in lines {
        // Milliseconds with all their microseconds: reading gives the same time again.
        let micros = line.at.as_micros();
        let time = format!("{{\"t_ms\": {}.{:03}, ", micros / 1_000, micros % 1_000);
        let rest = match &line.what {
            What::Open { dialler, listener, conn } => format!(
                "\"event\": \"tcp_open\", \"dialler\": {}, \"listener\": {}, \"conn\": {}}}",
                json!(dialler),
                json!(listener),
                json!(conn)
            ),
            What::Closed { by, peer, conn } => format!(
                "\"event\": \"tcp_closed\", \"by\": {}, \"peer\": {}, \"conn\": {}}}",
                json!(by),
                json!(peer),
                json!(conn)
            ),
            What::Message { from, to, conn, bytes, withheld } => {
                let text = match std::str::from_utf8(bytes) {
                    Ok(text) => format!("\"raw\": {}", json!(text)),
                    Err(_) => format!("\"raw_b64\": {}", json!(STANDARD.encode(bytes))),
                };
                let flag = if *withheld { ", \"withheld_by_proxy\": true" } else { "" };
                format!(
                    "\"from\": {}, \"to\": {}, {text}, \"len\": {}, \"conn\": {}{flag}}}",
                    json!(from),
                    json!(to),
                    bytes.len(),
                    json!(conn)
                )
            }
            What::Boot { node, config } => {
                format!(
                    "\"event\": \"boot\", \"node\": {}, \"config\": {}}}",
                    json!(node),
                    config_to_json(config)
                )
            }
            What::Timers { node } => format!("\"event\": \"timers\", \"node\": {}}}", json!(node)),
            What::Flash { node } => format!("\"event\": \"flash\", \"node\": {}}}", json!(node)),
            What::Note(words) => format!("\"event\": {}}}", json!(words)),
        };
        // Writing to a string cannot fail.
        let _always_ok = writeln!(out, "{time}{rest}");
    }
    out
}

/// Reads lines.
///
/// # Errors
/// [`FormatError`] at the first line that cannot be understood.
pub fn from_ndjson(text: &str) -> Result<Vec<Line>, FormatError> {
    let read = |(index, line): (usize, &str)| {
        parse(line).map_err(|problem| FormatError { line: index + 1, problem })
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(read).collect()
}

fn parse(line: &str) -> Result<Line, String> {
    let object: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    // Notes of the recordings may have no time.
    let at = Instant::from_micros((object["t_ms"].as_f64().unwrap_or(0.0) * 1_000.0).round() as u64);
    let text = |key: &str| {
        object[key].as_str().map(str::to_owned).ok_or_else(|| format!("the field {key} is missing"))
    };
    let conn = |a: &str, b: &str| object["conn"].as_str().map_or_else(|| format!("{a}-{b}#1"), str::to_owned);
    let what = if let Some(note) = object["note"].as_str() {
        What::Note(note.to_owned())
    } else if let Some(event) = object["event"].as_str() {
        match event {
            "tcp_open" => {
                let (dialler, listener) = (text("dialler")?, text("listener")?);
                What::Open { conn: conn(&dialler, &listener), dialler, listener }
            }
            "tcp_closed" => {
                let (by, peer) = (text("by")?, text("peer")?);
                What::Closed { conn: conn(&by, &peer), by, peer }
            }
            "boot" => {
                let config = config_from_json(&object["config"]);
                What::Boot { node: text("node")?, config: Box::new(config.ok_or("config is not complete")?) }
            }
            "timers" => What::Timers { node: text("node")? },
            "flash" => What::Flash { node: text("node")? },
            words => What::Note(words.to_owned()),
        }
    } else {
        let (from, to) = (text("from")?, text("to")?);
        let bytes = match object["raw"].as_str() {
            Some(raw) => raw.as_bytes().to_vec(),
            None => STANDARD.decode(text("raw_b64")?).map_err(|error| format!("raw_b64: {error}"))?,
        };
        let withheld = object["withheld_by_proxy"] == true;
        What::Message { conn: conn(&from, &to), from, to, bytes, withheld }
    };
    Ok(Line { at, what })
}

fn config_to_json(config: &MeshConfig) -> Value {
    let Limits { frame, nodes, links, queue, message, events } = config.limits;
    json!({
        "id": config.id.0,
        "root": config.root,
        "time_authority": config.time_authority,
        "clock_offset": config.clock_offset,
        "seed": config.seed,
        "limits": {
            "frame": frame,
            "nodes": nodes,
            "links": links,
            "queue": queue,
            "message": message,
            "events": events,
        },
    })
}

fn config_from_json(config: &Value) -> Option<MeshConfig> {
    let word = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
    let limit = |key: &str| config["limits"][key].as_u64().and_then(|number| usize::try_from(number).ok());
    Some(MeshConfig {
        id: NodeId(word(&config["id"])?),
        root: config["root"].as_bool()?,
        time_authority: config["time_authority"].as_bool()?,
        clock_offset: word(&config["clock_offset"])?,
        seed: config["seed"].as_u64()?,
        limits: Limits {
            frame: limit("frame")?,
            nodes: limit("nodes")?,
            links: limit("links")?,
            queue: limit("queue")?,
            message: limit("message")?,
            events: limit("events")?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let (a, b, conn) = ("A".to_owned(), "B".to_owned(), "A-B#2".to_owned());
        let message = |bytes: &[u8], withheld| What::Message {
            from: a.clone(),
            to: b.clone(),
            conn: conn.clone(),
            bytes: bytes.to_vec(),
            withheld,
        };
        let whats = [
            What::Open { dialler: a.clone(), listener: b.clone(), conn: conn.clone() },
            message(b"{\"type\":9,\"msg\":\"\xC3\xA9\\n\"}", false),
            message(b"\xFF\x01", true),
            What::Note("a \"word\"".to_owned()),
            What::Boot { node: a.clone(), config: Box::new(MeshConfig::gateway(NodeId(u32::MAX), u64::MAX)) },
            What::Timers { node: a.clone() },
            What::Flash { node: b.clone() },
            What::Closed { by: a.clone(), peer: b.clone(), conn: conn.clone() },
        ];
        let at = |index: usize| Instant::from_micros(index as u64 * 1_000_007);
        let lines: Vec<Line> =
            whats.into_iter().enumerate().map(|(index, what)| Line { at: at(index), what }).collect();
        assert_eq!(from_ndjson(&to_ndjson(&lines)), Ok(lines));
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, line, problem) in [
            ("{\"event\":\"x\"}\n\nnonsense", 3, "expected"),
            ("{\"t_ms\":1,\"from\":\"A\"}", 1, "the field to is missing"),
            ("{\"from\":\"A\",\"to\":\"B\",\"raw_b64\":\"?\"}", 1, "raw_b64"),
            ("{\"event\":\"boot\",\"node\":\"A\",\"config\":{\"id\":1}}", 1, "config is not complete"),
        ] {
            let error = from_ndjson(text).unwrap_err();
            assert!(error.line == line && error.problem.contains(problem), "{error}");
        }
    }
}
