//! Stored object attributes through their decoder.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nilas_http::s3::fuzz::fuzz_attributes(bytes));
