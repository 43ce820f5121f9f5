//! Compiles the gateway again when the dashboard has been built again. It builds nothing itself: that is for
//! `cargo xtask web`, and without it the gateway serves a page that says so.

fn main() {
    // A folder that is not there yet is looked for each time, so the first build of it is seen as well.
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../../dashboard/dist");
}
