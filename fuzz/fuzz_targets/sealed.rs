//! A sealed payload opens to what was sealed, and nothing else opens.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| meshward_core::codec::fuzzing::sealed(input));
