//! A recording as it stands in `testdata/wire`: lines of what a proxy between real nodes saw.
//!
//! One file holds one conversation, but for 23, where each note without a time begins another. Lines say
//! which TCP connection they belong to; where they don't (22, 23), the two names do. What the files leave
//! out is put back here: the middle of very long messages, and the connections of 23.

use base64::Engine as _;
use serde_json::Value;

/// Stands at the end of a message that was cut for the file.
const CUT: &[u8] = b"...(cut)";

/// One conversation.
#[derive(Debug, Default)]
pub(super) struct Recording {
    /// What happened, in the order in which the proxy saw it.
    pub(super) lines: Vec<Line>,
    /// The TCP connections.
    pub(super) links: Vec<Ends>,
}

/// Who is at the two ends of a TCP connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) name: String,
    pub(super) dialler: String,
    pub(super) listener: String,
}

/// One thing that happened.
#[derive(Debug)]
pub(super) struct Line {
    /// Microseconds since the beginning.
    pub(super) at: u64,
    pub(super) what: What,
}

/// What happened; `link` is an index into [`Recording::links`].
#[derive(Debug)]
pub(super) enum What {
    Open { link: usize },
    Closed { link: usize, by: String },
    Message { link: usize, from: String, bytes: Vec<u8>, withheld: bool },
    Frozen { node: String },
    Note(String),
}

impl Ends {
    /// The node at the other end than `node`.
    pub(super) fn peer_of(&self, node: &str) -> &str {
        if self.dialler == node { &self.listener } else { &self.dialler }
    }

    fn are(&self, a: &str, b: &str) -> bool {
        (self.dialler == a && self.listener == b) || (self.dialler == b && self.listener == a)
    }
}

/// The objects of one of the files.
pub(super) fn objects(file: &str) -> Vec<Value> {
    let path = format!("{}/../../testdata/wire/{file}.ndjson", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("the recording is in the repository");
    text.lines().map(|line| serde_json::from_str(line).expect("a recording is JSON")).collect()
}

/// Reads a file into its conversations.
pub(super) fn conversations(file: &str) -> Vec<Recording> {
    let mut all = vec![Recording::default()];
    for object in objects(file) {
        let starts_anew = object["note"].is_string() && object["t_ms"].is_null();
        let last = all.last_mut().expect("there is always one");
        if starts_anew && !last.lines.is_empty() {
            all.push(Recording::default());
        } else if !starts_anew {
            last.read(&object);
        }
    }
    all
}

impl Recording {
    fn read(&mut self, object: &Value) {
        let at = micros(object);
        let what = if let Some(note) = object["note"].as_str() {
            What::Note(note.to_owned())
        } else if let Some(event) = object["event"].as_str() {
            match event {
                "tcp_open" => self.open(object),
                "tcp_closed" => {
                    let by = text(object, "by");
                    let link = self.link(object, &by, &text(object, "peer"));
                    What::Closed { link, by }
                }
                words => match words.split_once(" process frozen") {
                    Some((node, _)) => What::Frozen { node: node.to_owned() },
                    None => What::Note(words.to_owned()),
                },
            }
        } else {
            let from = text(object, "from");
            let link = self.link(object, &from, &text(object, "to"));
            let withheld = object["withheld_by_proxy"] == true;
            What::Message { link, from, bytes: bytes(object), withheld }
        };
        self.lines.push(Line { at, what });
    }

    fn open(&mut self, object: &Value) -> What {
        let (dialler, listener) = (text(object, "dialler"), text(object, "listener"));
        let name = object["conn"].as_str().map_or_else(|| format!("{dialler}-{listener}#1"), str::to_owned);
        self.links.push(Ends { name, dialler, listener });
        What::Open { link: self.links.len() - 1 }
    }

    /// The connection that an object names, or the last one between `a` and `b`. A message between two
    /// that never connected (23) opens one, dialled by its sender.
    fn link(&mut self, object: &Value, a: &str, b: &str) -> usize {
        let named = |ends: &Ends| object["conn"].as_str().map_or(ends.are(a, b), |name| ends.name == name);
        if let Some(found) = self.links.iter().rposition(named) {
            return found;
        }
        let name = format!("{a}-{b}#1");
        self.links.push(Ends { name, dialler: a.to_owned(), listener: b.to_owned() });
        let link = self.links.len() - 1;
        self.lines.push(Line { at: 0, what: What::Open { link } });
        link
    }
}

fn text(object: &Value, key: &str) -> String {
    object[key].as_str().unwrap_or_else(|| panic!("{key} is missing in {object}")).to_owned()
}

fn micros(object: &Value) -> u64 {
    (object["t_ms"].as_f64().expect("a line has a time") * 1_000.0).round() as u64
}

/// A message as it was on the wire, without its NUL.
fn bytes(object: &Value) -> Vec<u8> {
    let mut bytes = match object["raw"].as_str() {
        Some(raw) => raw.as_bytes().to_vec(),
        None => base64::engine::general_purpose::STANDARD
            .decode(text(object, "raw_b64"))
            .expect("raw_b64 is base64"),
    };
    let len = object["len"].as_u64().map_or(bytes.len(), |len| len as usize);
    if bytes.ends_with(CUT) {
        bytes.truncate(bytes.len() - CUT.len());
        let filler = *bytes.last().expect("a cut message keeps its beginning");
        bytes.resize(len - 2, filler);
        bytes.extend_from_slice(b"\"}");
    }
    assert_eq!(bytes.len(), len, "the file's length of {object}");
    bytes
}

#[test]
fn cut_messages_are_whole_again() {
    let recording = &conversations("22_probes_forwarding_and_odd_input")[0];
    let sizes = recording.lines.iter().filter_map(|line| match &line.what {
        What::Message { bytes, .. } if bytes.len() > 2_000 => Some(bytes.len()),
        _ => None,
    });
    assert_eq!(sizes.collect::<Vec<_>>(), [8_053, 8_053, 60_053, 60_053, 65_588, 65_588, 65_589, 70_053]);
}

#[test]
fn file_23_holds_four_conversations() {
    let messages = |recording: &Recording| recording.lines.len() - recording.links.len();
    let counts: Vec<usize> = conversations("23_probe_time_reply_t1_equals_t2").iter().map(messages).collect();
    assert_eq!(counts.len(), 4, "{counts:?}");
    assert_eq!(counts[2..], [7, 7]);
}
