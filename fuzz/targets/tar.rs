//! A tar archive in pieces of any size.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nilas_http::s3::fuzz::fuzz_tar(bytes));
