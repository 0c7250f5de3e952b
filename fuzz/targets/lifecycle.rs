//! A setting of rules, and a document of them, through the rules of a lifecycle.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nilas_http::s3::fuzz::fuzz_lifecycle(bytes));
