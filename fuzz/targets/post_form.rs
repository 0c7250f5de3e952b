//! A form with a file, and the policy of one.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nilas_http::s3::fuzz::fuzz_post_form(bytes));
