//! An order and a key store have one encoding, and are not believed unsigned.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| meshward_core::ota::trust::fuzzing::order(input));
