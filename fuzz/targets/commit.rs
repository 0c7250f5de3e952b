//! A commit request through requirements and updates.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nilas_catalog::commit::fuzz_commit(bytes));
