//! A journal's head is one that was written or none, and marks only lose bits.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| meshward_core::ota::journal::fuzz(input));
