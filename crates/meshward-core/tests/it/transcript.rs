//! Reads the recorded transcripts and vectors of `testdata`: one JSON object a line.

use base64::Engine;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The file or directory `name` of the test data.
pub(crate) fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name)
}

/// The lines of `file`, which is below `testdata`.
pub(crate) fn lines(file: &str) -> Vec<Value> {
    let path = testdata(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The bytes in the field `name`, which is text, or in `name_b64`.
pub(crate) fn bytes(line: &Value, name: &str) -> Option<Vec<u8>> {
    if let Some(text) = line[name].as_str() {
        return Some(text.as_bytes().to_vec());
    }
    let text = line[format!("{name}_b64")].as_str()?;
    Some(base64::engine::general_purpose::STANDARD.decode(text).unwrap())
}

/// The message on a line of a transcript: who sent it, and its bytes. The size probes, which the recording
/// cuts, are filled up again.
pub(crate) fn message(line: &Value) -> Option<(String, Vec<u8>)> {
    let mut raw = bytes(line, "raw")?;
    let len = usize::try_from(line["len"].as_u64()?).unwrap();
    if let Some(begin) = raw.strip_suffix(b"...(cut)") {
        raw = begin.to_vec();
        raw.resize(len - 2, b'x');
        raw.extend_from_slice(b"\"}");
    }
    assert_eq!(raw.len(), len, "the recorded length");
    Some((line["from"].as_str()?.to_owned(), raw))
}

/// All transcripts, by the name of the file.
pub(crate) fn transcripts() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(testdata("wire"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".ndjson") && !name.contains("app_received"))
        .collect();
    names.sort();
    names
}
