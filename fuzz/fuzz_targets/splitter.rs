//! Frames come out of a stream the same however it is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| meshward_core::wire::fuzzing::splitter(input));
