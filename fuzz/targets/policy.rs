//! A policy and a question through the policy language.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nilas_http::identity::policy::fuzz_policy(bytes));
