//! A form of the query API through its operation, on a small model.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nilas_http::query::fuzz_query(bytes));
