//! `cargo xtask budget`: the core's memory, measured on the ESP32-C3's instruction set.
//!
//! Builds the program in `budget/`, which is a workspace of its own, and runs it in qemu. It prints a table, and
//! fails when a budget is exceeded. qemu is installed where that is possible, else the command is named.

use crate::command::{Failure, Line};
use crate::{no_arguments, toolchain};

/// The emulator, in Debian's package of the next line.
const EMULATOR: &str = "qemu-system-riscv32";
const PACKAGE: &str = "qemu-system-misc";
/// The processor of an ESP32-C3: integers, multiplication, compressed instructions, and nothing else.
const PROCESSOR: &str = "rv32,h=false,a=false,f=false,d=false,s=false,u=false,v=false";
/// A program that has not ended by then hangs; it takes two seconds.
const SECONDS_MAX: &str = "300";
const MANIFEST: &str = "budget/Cargo.toml";

/// Measures and prints.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    no_arguments("budget", arguments)?;
    check()
}

/// Measures, prints, and fails when a budget is exceeded.
pub(crate) fn check() -> Result<(), Failure> {
    ready()?;
    emulate()?.run().map(drop)
}

/// Measures; the table.
pub(crate) fn table() -> Result<String, Failure> {
    ready()?;
    emulate()?.output()
}

/// Builds the program; the line that runs it.
fn emulate() -> Result<Line, Failure> {
    let build = ["build", "--release", "--manifest-path", MANIFEST, "--target", toolchain::DEVICE_TARGET];
    shown(&Line::cargo(&build)).run()?;
    let program = format!("budget/target/{}/release/meshward-budget", toolchain::DEVICE_TARGET);
    let machine = ["-M", "virt", "-bios", "none", "-nographic", "-cpu", PROCESSOR, "-icount", "shift=0"];
    let line = Line::new("timeout", &[SECONDS_MAX, EMULATOR]);
    let line = line.with(&machine.map(str::to_owned)).with(&["-kernel".to_owned(), program]);
    println!("xtask: $ {line}");
    Ok(line)
}

fn shown(line: &Line) -> Line {
    // Wherever other builds go: the program is looked for beside its manifest.
    let line = line.clone().env("CARGO_TARGET_DIR", "budget/target");
    println!("xtask: $ {line}");
    line
}

/// Installs the emulator if it is missing and we may.
fn ready() -> Result<(), Failure> {
    if Line::new(EMULATOR, &["--version"]).output().is_ok() {
        return Ok(());
    }
    let install = Line::new("apt-get", &["install", "-y", "--no-install-recommends", PACKAGE]);
    let root = Line::new("id", &["-u"]).output().is_ok_and(|id| id.trim() == "0");
    if !root || Line::new("apt-get", &["--version"]).output().is_err() {
        return Err(Failure::Missing(missing(&install)));
    }
    println!("{EMULATOR}: missing, so: {install}");
    // Without fresh lists the package may not be found; with old ones it may be all the same.
    drop(Line::new("apt-get", &["update"]).run());
    install.run().map(drop)
}

fn missing(install: &Line) -> String {
    format!("{EMULATOR} is missing; on Debian and its kin: sudo {install}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_the_command() {
        let line = Line::new("apt-get", &["install", "-y", PACKAGE]);
        assert_eq!(
            missing(&line),
            "qemu-system-riscv32 is missing; on Debian and its kin: sudo apt-get install -y qemu-system-misc"
        );
    }
}
