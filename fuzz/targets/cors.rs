//! A setting of rules, a document of them, and a browser's request, through the rules for other origins.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nilas_http::s3::fuzz::fuzz_cors(bytes));
