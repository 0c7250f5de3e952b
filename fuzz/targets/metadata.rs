//! Table metadata through the reader, and back.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nilas_catalog::spec::fuzz_metadata(bytes));
