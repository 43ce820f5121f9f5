//! The emulated machine: its console, its way out, its heap, its stack. All unsafe code of the harness.
//!
//! Unsafe because each of these is: a memory-mapped register, the allocator's own interface, and memory below
//! the stack pointer, which is painted and looked at again. Nothing of this runs on a node.
#![allow(
    unsafe_code,
    reason = "device registers, the allocator's interface, and a look below the stack pointer"
)]

use core::alloc::{GlobalAlloc, Layout};
use core::fmt;
use core::hint::black_box;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The data register of the ns16550.
const UART: *mut u8 = 0x1000_0000 as *mut u8;
/// sifive_test: a write ends the emulator.
const FINISHER: *mut u32 = 0x10_0000 as *mut u32;
const PASS: u32 = 0x5555;
const FAIL: u32 = 0x3333;

/// What is printed goes to the emulator's console.
pub(crate) struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // SAFETY: the machine has this register, and a byte written to it is sent.
            unsafe { ptr::write_volatile(UART, byte) };
        }
        Ok(())
    }
}

/// Ends the emulator; its exit code is 0 or 1.
pub(crate) fn exit(passed: bool) -> ! {
    let code = if passed { PASS } else { 1 << 16 | FAIL };
    loop {
        // SAFETY: the machine has this register; the write does not come back.
        unsafe { ptr::write_volatile(FINISHER, code) };
    }
}

/// Sizes of blocks: powers of two.
const CLASSES: usize = 28;

/// Heap in use and its peak, both in bytes, of what runs while the account is open.
struct Heap {
    next: AtomicUsize,
    /// For each class the first block that was given back; each has the next one's address in it.
    free: [AtomicUsize; CLASSES],
    open: AtomicUsize,
    used: AtomicUsize,
    peak: AtomicUsize,
}

#[global_allocator]
static HEAP: Heap = Heap {
    next: AtomicUsize::new(0),
    free: [const { AtomicUsize::new(0) }; CLASSES],
    open: AtomicUsize::new(0),
    used: AtomicUsize::new(0),
    peak: AtomicUsize::new(0),
};

/// What an allocation takes from a node's heap: the allocators in use on ESP32s give whole 8 bytes.
const fn taken(size: usize) -> usize {
    size.next_multiple_of(8)
}

impl Heap {
    fn class(layout: Layout) -> usize {
        layout.size().max(layout.align()).max(16).next_power_of_two().trailing_zeros() as usize
    }

    fn cut(&self, class: usize) -> usize {
        if self.next.load(Relaxed) == 0 {
            self.next.store(riscv_rt::heap_start() as usize, Relaxed);
        }
        let block = self.next.load(Relaxed).next_multiple_of(1 << class);
        self.next.store(block + (1 << class), Relaxed);
        block
    }
}

// SAFETY: a block is cut from fresh memory, aligned to its size, or taken from the list of those given back, so
// none overlaps another. There is one hart and no interrupt, so a load and a store need not be one.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let class = Self::class(layout);
        let block = match self.free[class].load(Relaxed) {
            0 => self.cut(class),
            block => {
                // SAFETY: a free block has the address of the next one in it.
                self.free[class].store(unsafe { ptr::read(block as *const usize) }, Relaxed);
                block
            }
        };
        if self.open.load(Relaxed) == 1 {
            let used = self.used.load(Relaxed).wrapping_add(taken(layout.size()));
            self.used.store(used, Relaxed);
            self.peak.store(self.peak.load(Relaxed).max(used), Relaxed);
        }
        block as *mut u8
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let class = Self::class(layout);
        // SAFETY: the block is at least 16 bytes, aligned, and nobody's any more.
        unsafe { ptr::write(block.cast::<usize>(), self.free[class].load(Relaxed)) };
        self.free[class].store(block as usize, Relaxed);
        if self.open.load(Relaxed) == 1 {
            self.used.store(self.used.load(Relaxed).wrapping_sub(taken(layout.size())), Relaxed);
        }
    }
}

/// Begins to count from nothing.
pub(crate) fn new_account() {
    HEAP.used.store(0, Relaxed);
    HEAP.peak.store(0, Relaxed);
}

/// Runs `work` on the account.
pub(crate) fn on_account<T>(work: impl FnOnce() -> T) -> T {
    HEAP.open.store(1, Relaxed);
    let result = work();
    HEAP.open.store(0, Relaxed);
    result
}

/// The most heap that the account had, in bytes.
pub(crate) fn heap_peak() -> usize {
    HEAP.peak.load(Relaxed)
}

/// Painted below the stack pointer.
const PAINTED: usize = 64 * 1024;
/// Left alone just below it, where the painting itself stands.
const OWN: usize = 512;
const PAINT: u8 = 0xA5;

/// Runs `work` and tells how deep its stack went, in bytes.
#[inline(never)]
pub(crate) fn stack_of<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let marker = black_box(0_u8);
    let top = ptr::from_ref(&marker) as usize;
    paint(top);
    let result = work();
    (depth(top), result)
}

#[inline(never)]
fn paint(top: usize) {
    for address in top - PAINTED..top - OWN {
        // SAFETY: nothing lives so far below the stack pointer, and the stack is larger than what is painted.
        unsafe { ptr::write_volatile(address as *mut u8, PAINT) };
    }
}

#[inline(never)]
fn depth(top: usize) -> usize {
    // SAFETY: as above; the bytes are read as they are.
    let untouched = |address: &usize| unsafe { ptr::read_volatile(*address as *const u8) == PAINT };
    let clean = (top - PAINTED..top - OWN).take_while(untouched).count();
    PAINTED - clean
}
