//! The header of a log block through its decoder.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nilas_engine::format::fuzz_block(bytes));
