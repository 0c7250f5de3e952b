//! A cell of the index through its decoder.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nilas_engine::format::fuzz_cell(bytes));
