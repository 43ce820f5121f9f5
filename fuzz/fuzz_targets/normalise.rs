//! What has been normalised is taken again and keeps its keys.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| meshward_core::wire::fuzzing::normalise(input));
