//! A method and a raw target through routing.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nilas_http::route::fuzz_route(bytes));
