//! An LZMA stream never makes more than was said, however it is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| meshward_core::codec::fuzzing::lzma(input));
