//! A leaf as a tree of an index, which is then asked for everything.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nilas_engine::meta::index::fuzz_index(bytes));
