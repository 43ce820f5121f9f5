//! Status packages survive being written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| meshward_core::wire::status::fuzzing::status(input));
