//! An aws-chunked body through the decoder, cut at any byte.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nilas_http::body::fuzz_chunked(bytes));
