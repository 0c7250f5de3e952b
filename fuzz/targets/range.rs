//! A size and a `Range` header, of a read and of a copy.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nilas_http::s3::fuzz::fuzz_range(bytes));
