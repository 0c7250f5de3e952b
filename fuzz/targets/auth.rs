//! A request head through signature parsing and checking.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nilas_http::auth::fuzz_auth(bytes));
