//! `cargo xtask bench`: builds the one binary and becomes `meshward sim bench`.
//!
//! The figures come from the simulator, so they are the same on every machine; only the time it takes to
//! compute them differs. Arguments belong to `meshward sim bench`.

use crate::command::Failure;
use crate::demo::build_and_become;

/// Builds, says how long that took, and hands over.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    build_and_become(&["sim", "bench"], arguments)
}
