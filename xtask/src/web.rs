//! `cargo xtask web`: builds the dashboard, which the gateway carries when it is compiled after that.
//!
//! Node.js and npm do it, by the packages that `dashboard/package-lock.json` names and nothing else. What is up to date
//! is left alone, so that cargo has nothing to compile again either. Without Node.js everything else works: the gateway
//! then serves a page that says how to build the dashboard.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};

use crate::command::{Failure, Line, root};
use crate::no_arguments;

/// The oldest Node.js that Vite runs on.
const NODE_MIN: (u32, u32) = (20, 19);
/// What a build depends on, in `dashboard/`, beside `src` and `public`.
const SOURCES: [&str; 6] = [
    "index.html",
    "package.json",
    "package-lock.json",
    "vite.config.ts",
    "svelte.config.js",
    "tsconfig.json",
];
/// Where it is written down what was built, in a folder that nobody commits and that goes with the packages.
const STAMP: &str = "node_modules/.meshward-built";
/// The lock file whose packages are there.
const INSTALLED: &str = "node_modules/.meshward-installed";

/// Builds it.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    no_arguments("web", arguments)?;
    build()
}

/// Builds it if it can be built; says what is missing if not, and that everything else works.
pub(crate) fn build_if_possible() {
    println!(
        "xtask: the dashboard needs packages of npm, which are fetched the first time, and nothing else of the net"
    );
    if let Err(failure) = build() {
        println!("xtask: no dashboard: {failure}");
        println!("xtask: going on without it; the gateway serves a page that says how to build it");
    }
}

/// Fetches packages and builds, where anything has changed.
pub(crate) fn build() -> Result<(), Failure> {
    node()?;
    packages()?;
    let folder = folder();
    let now = fingerprint(&folder).map_err(unreadable)?;
    if folder.join("dist/index.html").is_file() && kept(&folder.join(STAMP)) == Some(now.clone()) {
        println!("dashboard: up to date");
        return Ok(());
    }
    shown(npm(&["run", "build"])).run()?;
    // The build writes types out of the description, which are no source.
    std::fs::write(folder.join(STAMP), now).map_err(unreadable)
}

/// The packages of the lock file, fetched if they are others than those that are there.
pub(crate) fn packages() -> Result<(), Failure> {
    let folder = folder();
    let locked = std::fs::read_to_string(folder.join("package-lock.json")).map_err(unreadable)?;
    if kept(&folder.join(INSTALLED)).as_deref() == Some(locked.as_str()) {
        println!("packages: up to date");
        return Ok(());
    }
    shown(npm(&["ci", "--no-audit", "--no-fund"])).run()?;
    std::fs::write(folder.join(INSTALLED), locked).map_err(unreadable)
}

/// `npm` in the dashboard's folder.
pub(crate) fn npm(arguments: &[&str]) -> Line {
    Line::new("npm", &[&["--prefix", "dashboard"], arguments].concat())
}

/// Checks that Node.js and npm are there.
fn node() -> Result<(), Failure> {
    let (major, minor) = NODE_MIN;
    let how = format!(
        "the dashboard is built by Node.js {major}.{minor} or newer with npm (https://nodejs.org, or `nvm install {major}`)"
    );
    let missing = |what: String| Failure::Missing(format!("{what}; {how}"));
    let found =
        Line::new("node", &["--version"]).output().map_err(|_| missing("there is no `node`".to_owned()))?;
    let found = found.trim();
    if version(found).is_none_or(|version| version < NODE_MIN) {
        return Err(missing(format!("`node` is {found}")));
    }
    let npm =
        Line::new("npm", &["--version"]).output().map_err(|_| missing("there is no `npm`".to_owned()))?;
    println!("node {found}, npm {}", npm.trim());
    Ok(())
}

/// Major and minor version out of `v20.19.4`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.strip_prefix('v')?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn folder() -> PathBuf {
    root().join("dashboard")
}

fn shown(line: Line) -> Line {
    println!("xtask: $ {line}");
    line
}

fn kept(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn unreadable(source: io::Error) -> Failure {
    Failure::Missing(format!("the dashboard's files cannot be used: {source}"))
}

/// A number that is another one when a source is.
fn fingerprint(folder: &Path) -> io::Result<String> {
    let mut files: Vec<PathBuf> = SOURCES.iter().map(|name| folder.join(name)).collect();
    files.push(folder.join("../docs/openapi.json"));
    for part in ["src", "public"] {
        collect(&folder.join(part), &mut files)?;
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.strip_prefix(folder).unwrap_or(&file).hash(&mut hasher);
        std::fs::read(&file)?.hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

/// All files of a folder but those that are generated.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push(entry.path());
        } else if entry.file_name() != "generated" {
            collect(&entry.path(), files)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_tells_its_version() {
        for (text, expected) in [
            ("v20.19.4", Some((20, 19))),
            ("v18.20.4", Some((18, 20))),
            ("v24.0.0-nightly", Some((24, 0))),
            ("20.19.4", None),
            ("vx.1", None),
            ("", None),
        ] {
            assert_eq!(version(text), expected, "{text}");
        }
        assert!(version("v20.2.0").unwrap() < NODE_MIN && version("v22.0.0").unwrap() > NODE_MIN);
    }

    #[test]
    fn another_source_is_another_fingerprint() {
        let folder = std::env::temp_dir().join(format!("meshward-web-{}", std::process::id()));
        let dashboard = folder.join("dashboard");
        for part in ["src/generated", "public"] {
            std::fs::create_dir_all(dashboard.join(part)).unwrap();
        }
        std::fs::create_dir_all(folder.join("docs")).unwrap();
        for file in SOURCES.iter().copied().chain(["src/a.ts", "../docs/openapi.json"]) {
            std::fs::write(dashboard.join(file), "x").unwrap();
        }
        let first = fingerprint(&dashboard).unwrap();
        for (file, text, same) in [
            ("src/generated/api.d.ts", "y", true),
            ("src/a.ts", "x", true),
            ("src/a.ts", "y", false),
            ("src/a.ts", "x", true),
            ("src/b.ts", "", false),
            ("../docs/openapi.json", "y", false),
        ] {
            std::fs::write(dashboard.join(file), text).unwrap();
            assert_eq!(fingerprint(&dashboard).unwrap() == first, same, "{file} {text}");
            if file == "src/b.ts" {
                std::fs::remove_file(dashboard.join(file)).unwrap();
            }
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
