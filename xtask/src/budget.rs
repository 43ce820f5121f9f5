//! `cargo xtask budget`: the core's memory, measured on the ESP32-C3's instruction set.
//!
//! Builds the program in `budget/`, which is a workspace of its own, and runs it in qemu. It prints a table, and
//! fails when a budget is exceeded. qemu is installed where that is possible, else the command is named.

use crate::command::{Failure, Line};
use crate::{no_arguments, system, toolchain};

const EMULATOR: &str = "qemu-system-riscv32";
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
    system::ready(&[system::EMULATOR])?;
    emulate()?.run().map(drop)
}

/// Measures; the table.
pub(crate) fn table() -> Result<String, Failure> {
    system::ready(&[system::EMULATOR])?;
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
