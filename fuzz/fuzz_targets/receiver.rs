//! Whatever is done to a receiver of updates, nothing that nobody signed is started.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| meshward_core::ota::receiver::fuzzing::operations(input));
