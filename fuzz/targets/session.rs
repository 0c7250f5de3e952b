//! Arbitrary bytes as the claims of a session and as a token.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nilas_http::identity::session::fuzz_session(bytes));
