//! A leaf of the index through the check that it passes when it comes from a drive.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nilas_engine::meta::index::fuzz_leaf(bytes));
