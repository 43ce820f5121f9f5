//! A patch never reads or writes outside, however it is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| meshward_core::codec::fuzzing::patch(input));
