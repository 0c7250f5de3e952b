//! The content of a table page of a checkpoint through its decoder.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nilas_engine::format::fuzz_table(bytes));
