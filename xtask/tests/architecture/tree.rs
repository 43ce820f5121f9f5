//! What the rules look at: the repository's files, and cargo's metadata about its packages.
//!
//! Files are what lies in the tree, tracked or not, without build output and other people's packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Directories that hold nothing of ours.
const SKIPPED: [&str; 6] = [".git", "target", "node_modules", "dist", "artifacts", ".svelte-kit"];

/// A text file of the repository.
pub(crate) struct File {
    /// Path from the repository's root, with forward slashes.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// The repository's root directory, from what cargo tells the tests that it runs.
pub(crate) fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    Path::new(&here).parent().expect("a package within the repository").to_path_buf()
}

/// All text files (UTF-8 without NUL), in the order of their paths.
pub(crate) fn files() -> Vec<File> {
    let root = root();
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.iter().any(|file| file.path == "xtask/Cargo.toml"), "the walk found nothing of ours");
    found
}

fn walk(root: &Path, directory: &Path, found: &mut Vec<File>) {
    for entry in fs::read_dir(directory).expect("a readable directory").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            if !SKIPPED.iter().any(|skipped| name == *skipped) {
                walk(root, &path, found);
            }
        } else if kind.is_file()
            && let Some(text) = text_of(&path)
        {
            let relative = path.strip_prefix(root).unwrap_or(&path);
            found.push(File { path: relative.to_string_lossy().replace('\\', "/"), text });
        }
    }
}

/// The file's text, or nothing for a binary file or one that went away meanwhile.
fn text_of(path: &Path) -> Option<String> {
    String::from_utf8(fs::read(path).ok()?).ok().filter(|text| !text.contains('\0'))
}

/// `cargo metadata` over all features and platforms.
pub(crate) fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--all-features"])
        .current_dir(root())
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
}

/// The members of the array `value[key]`; none when there is no such array.
pub(crate) fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

/// The string `value[key]`; empty when there is none.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Fails with every violation on a line of its own.
pub(crate) fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}
