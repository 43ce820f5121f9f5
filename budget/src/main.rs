//! What a node of `meshward-core` takes of a microcontroller's memory, measured on the ESP32-C3's instruction set.
//!
//! Runs in `qemu-system-riscv32 -M virt` without an operating system: a counting allocator measures heap, paint
//! below the stack pointer measures stack. It prints a table and ends the emulator with 1 if a budget is
//! exceeded. `cargo xtask test` runs it; `cargo xtask bench` puts the table into `docs/benchmarks.md`.
#![no_std]
#![no_main]

extern crate alloc;

mod install;
mod machine;
mod mesh;
mod receive;
mod verify;

use core::fmt::Write as _;
use core::panic::PanicInfo;

use install::IMAGE;
use machine::{Console, exit, heap_peak, new_account, on_account, stack_of};

/// One measured thing.
struct Measured {
    what: &'static str,
    heap: usize,
    stack: usize,
    /// What of it has a budget, and how much.
    counted: usize,
    budget: usize,
    /// Whether it did its work.
    done: bool,
}

impl Measured {
    fn holds(&self) -> bool {
        self.done && self.counted <= self.budget
    }
}

#[riscv_rt::entry]
fn main() -> ! {
    let rows = [
        node(),
        teller(),
        during_update(
            "the same, which forwards chunks of 1 KB to three children meanwhile (heap)",
            mesh::SIBLING,
            24,
        ),
        during_update(
            "the same, which takes them as well: offers, chunks, sums, reports (heap)",
            mesh::WATCHED,
            24 + 4,
        ),
        receive(),
        unpack("install of a patch, LZMA", install::LZMA, false, 10),
        unpack("install of a patch, heatshrink", install::HEATSHRINK, false, 4),
        unpack("install of a sealed patch, LZMA", install::LZMA, true, 10),
        unpack("install of a sealed patch, heatshrink", install::HEATSHRINK, true, 4),
        verify(),
    ];
    let printed = print(&rows).is_ok();
    exit(printed && rows.iter().all(Measured::holds))
}

fn node() -> Measured {
    new_account();
    let known = mesh::watch(None, false);
    let heap = heap_peak();
    Measured {
        what: "one node of a 50-node mesh, four links, no update (heap)",
        heap,
        stack: 0,
        counted: heap,
        budget: 24 * 1024,
        done: known == mesh::NODES,
    }
}

/// The same node, which tells about itself and packs what the twelve nodes behind it tell.
fn teller() -> Measured {
    new_account();
    let known = mesh::watch(None, true);
    let heap = heap_peak();
    Measured {
        what: "the same, which tells about itself and packs what twelve nodes behind it tell (heap)",
        heap,
        stack: 0,
        counted: heap,
        budget: 24 * 1024,
        done: known == mesh::NODES,
    }
}

/// The same node while that or another one gets an update of 64 KB.
fn during_update(what: &'static str, taker: usize, kilobytes: usize) -> Measured {
    let mut world = IMAGE.get(..64 * 1024).and_then(receive::World::new);
    new_account();
    let known = world.as_mut().map(|world| mesh::watch(Some((world, taker)), false));
    let heap = heap_peak();
    Measured {
        what,
        heap,
        stack: 0,
        counted: heap,
        budget: kilobytes * 1024,
        done: known == Some(mesh::NODES),
    }
}

fn receive() -> Measured {
    let mut world = receive::World::new(IMAGE);
    new_account();
    let (stack, done) = stack_of(|| world.as_mut().and_then(receive::receive));
    let heap = heap_peak();
    Measured {
        what: "receiver, beside its node: offer, 528 KB in chunks, a reset, sums, activation (heap)",
        heap,
        stack,
        counted: heap,
        budget: 4 * 1024,
        done: done == Some(true),
    }
}

fn unpack(what: &'static str, payload: install::Payload, sealed: bool, kilobytes: usize) -> Measured {
    let stored = if sealed { payload.sealed() } else { payload.open() };
    new_account();
    let (stack, done) = stack_of(|| on_account(|| install::install(&stored)));
    let heap = heap_peak();
    Measured { what, heap, stack, counted: heap + stack, budget: kilobytes * 1024, done }
}

fn verify() -> Measured {
    let signed = verify::signed();
    new_account();
    let (stack, done) = stack_of(|| {
        on_account(|| signed.as_ref().is_some_and(|(store, bytes)| verify::believed(store, bytes)))
    });
    Measured {
        what: "Ed25519 verification of a manifest (stack)",
        heap: heap_peak(),
        stack,
        counted: stack,
        budget: 9 * 1024,
        done,
    }
}

fn print(rows: &[Measured]) -> core::fmt::Result {
    let mut console = Console;
    writeln!(console, "| what | heap | stack | counted | budget | |")?;
    writeln!(console, "| --- | ---: | ---: | ---: | ---: | --- |")?;
    for row in rows {
        let stack = if row.stack == 0 { None } else { Some(row.stack) };
        write!(console, "| {} | {} | ", row.what, row.heap)?;
        match stack {
            Some(stack) => write!(console, "{stack}")?,
            None => write!(console, "–")?,
        }
        let verdict = if !row.done {
            "did not work"
        } else if row.holds() {
            "holds"
        } else {
            "exceeded"
        };
        writeln!(console, " | {} | {} | {verdict} |", row.counted, row.budget)?;
    }
    Ok(())
}

#[panic_handler]
fn panicked(info: &PanicInfo<'_>) -> ! {
    // There is nobody left to tell that it could not be printed.
    let _ = writeln!(Console, "{info}");
    exit(false)
}
