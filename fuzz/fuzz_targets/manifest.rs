//! A manifest has one encoding, and is not believed unsigned.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| meshward_core::ota::trust::fuzzing::manifest(input));
