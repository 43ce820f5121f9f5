//! Whatever its neighbours send a node that takes signed updates, it neither breaks nor passes on what is wrong.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| meshward_core::fuzzing::exchange(input));
