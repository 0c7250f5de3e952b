//! A request's head through all that reads one before its sender is known, and through an object's own headers.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nilas_http::head_fuzz::fuzz_head(bytes));
