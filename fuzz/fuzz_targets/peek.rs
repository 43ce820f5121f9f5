//! A canonical frame is taken by the slow way too, and has the same envelope there.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| meshward_core::wire::fuzzing::peek(input));
