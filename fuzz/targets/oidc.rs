//! Arbitrary bytes as a token of an OpenID Connect issuer, as its claims and as its key set.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nilas_http::identity::oidc::fuzz_oidc(bytes));
