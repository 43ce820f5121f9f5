//! A whole payload ends or is refused, and writes whole pages in order.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| meshward_core::codec::fuzzing::unpack(input));
