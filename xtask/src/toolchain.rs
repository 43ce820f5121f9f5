//! What the toolchain must have before the stages run, and how to get what is missing.
//!
//! `rust-toolchain.toml` pins the compiler; this asks for the target and the components on top, through
//! rustup, and says so. Without rustup it names what is missing and stops.

use std::path::Path;

use crate::command::{Failure, Line};

/// The oldest compiler that builds the workspace.
const RUSTC_MIN: (u32, u32) = (1, 95);

/// The instruction set of the ESP32-C3: the core must build for it.
pub(crate) const DEVICE_TARGET: &str = "riscv32imc-unknown-none-elf";

/// Checks compiler, device target and components, and installs the latter two where they are missing.
pub(crate) fn ready() -> Result<(), Failure> {
    compiler()?;
    device_target()?;
    components()
}

fn compiler() -> Result<(), Failure> {
    let text = Line::new("rustc", &["--version"]).output()?;
    let (major, minor) = RUSTC_MIN;
    match version(&text) {
        Some(found) if found >= RUSTC_MIN => {
            println!("{}", text.trim());
            Ok(())
        }
        _ => {
            Err(Failure::Missing(format!("rustc {major}.{minor} or newer is needed, found: {}", text.trim())))
        }
    }
}

/// Major and minor version out of `rustc 1.95.0 (59807616e 2026-04-14)`.
fn version(text: &str) -> Option<(u32, u32)> {
    let number = text.split_whitespace().nth(1)?;
    let mut parts = number.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn device_target() -> Result<(), Failure> {
    let sysroot = Line::new("rustc", &["--print", "sysroot"]).output()?;
    if Path::new(sysroot.trim()).join("lib/rustlib").join(DEVICE_TARGET).is_dir() {
        println!("target {DEVICE_TARGET}: installed");
        return Ok(());
    }
    install(&format!("target {DEVICE_TARGET}"), &Line::new("rustup", &["target", "add", DEVICE_TARGET]))
}

/// Checks that rustfmt and clippy are there, and installs what is missing.
pub(crate) fn components() -> Result<(), Failure> {
    for (component, verb) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        if let Ok(text) = Line::cargo(&[verb, "--version"]).output() {
            println!("{}", text.trim());
        } else {
            install(component, &Line::new("rustup", &["component", "add", component]))?;
        }
    }
    Ok(())
}

fn install(what: &str, line: &Line) -> Result<(), Failure> {
    println!("{what}: missing, so: {line}");
    match line.run() {
        Ok(_) => Ok(()),
        Err(Failure::Start { .. }) => {
            Err(Failure::Missing(format!("{what} is missing and there is no rustup to install it")))
        }
        Err(other) => Err(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_tells_its_version() {
        let rows = [
            ("rustc 1.95.0 (59807616e 2026-04-14)", Some((1, 95))),
            ("rustc 1.100.0-nightly (0123456789 2026-12-01)", Some((1, 100))),
            ("rustc 2.0.0", Some((2, 0))),
            ("rustc", None),
            ("rustc one.two", None),
        ];
        for (text, expected) in rows {
            assert_eq!(version(text), expected, "{text}");
        }
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(version("rustc 1.100.0").unwrap() >= RUSTC_MIN);
        assert!(version("rustc 1.94.9").unwrap() < RUSTC_MIN);
    }

    #[test]
    fn what_cannot_be_installed_is_named() {
        let failure = install("a thing", &Line::new("no-such-program-anywhere", &[])).unwrap_err();
        assert_eq!(failure.to_string(), "a thing is missing and there is no rustup to install it");
    }
}
