//! Whatever its neighbours send a node that tells about itself, it neither breaks nor floods them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| meshward_core::fuzzing::telemetry(input));
