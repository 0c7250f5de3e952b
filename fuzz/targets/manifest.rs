//! Any bytes as a manifest and as a manifest list.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nilas_catalog::manifest::fuzz_manifest(bytes));
