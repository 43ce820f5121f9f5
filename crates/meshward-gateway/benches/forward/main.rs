//! What a node costs on this machine: processor time per forwarded message, memory, and how fast meshes of them
//! find together, all over loopback TCP. Prints the section "forward" of `docs/benchmarks.md`; run it by
//! `cargo xtask bench forward`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../../tests/it/peer.rs"]
mod peer;

mod converge;
mod relay;

fn main() {
    // Memory first: later, what others have freed would be used again.
    let memory = converge::memory();
    println!("{}", relay::table());
    println!("{}", converge::table());
    println!("{memory}");
}

/// The median of some figures, and the least and the most.
fn spread(mut figures: Vec<f64>) -> (f64, f64, f64) {
    figures.sort_by(f64::total_cmp);
    (figures[figures.len() / 2], figures[0], figures[figures.len() - 1])
}
