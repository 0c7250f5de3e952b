//! Replays the committed fuzz corpus through the same functions the fuzzer drives, with every prefix and many single-byte
//! changes of each input. What the fuzzer once found stays found, without a fuzzer.

use std::fs;
use std::path::Path;

/// A target's name and its entry function.
type Target = (&'static str, fn(&[u8]));

const TARGETS: &[Target] = &[
    ("auth", nilas_http::auth::fuzz_auth),
    ("oidc", nilas_http::identity::oidc::fuzz_oidc),
    ("session", nilas_http::identity::session::fuzz_session),
    ("chunked", nilas_http::body::fuzz_chunked),
    ("route", nilas_http::route::fuzz_route),
    ("head", nilas_http::head_fuzz::fuzz_head),
    ("range", nilas_http::s3::fuzz::fuzz_range),
    ("query", nilas_http::query::fuzz_query),
    ("post_form", nilas_http::s3::fuzz::fuzz_post_form),
    ("xml", nilas_http::s3::fuzz::fuzz_xml),
    ("cors", nilas_http::s3::fuzz::fuzz_cors),
    ("tar", nilas_http::s3::fuzz::fuzz_tar),
    ("lifecycle", nilas_http::s3::fuzz::fuzz_lifecycle),
    ("attributes", nilas_http::s3::fuzz::fuzz_attributes),
    ("policy", nilas_http::identity::policy::fuzz_policy),
    ("metadata", nilas_catalog::spec::fuzz_metadata),
    ("commit", nilas_catalog::commit::fuzz_commit),
    ("manifest", nilas_catalog::manifest::fuzz_manifest),
    ("record", nilas_engine::format::fuzz_record),
    ("superblock", nilas_engine::format::fuzz_superblock),
    ("zone", nilas_engine::format::fuzz_zone),
    ("block", nilas_engine::format::fuzz_block),
    ("anchor", nilas_engine::format::fuzz_anchor),
    ("table", nilas_engine::format::fuzz_table),
    ("cell", nilas_engine::format::fuzz_cell),
    ("leaf", nilas_engine::meta::index::fuzz_leaf),
    ("index", nilas_engine::meta::index::fuzz_index),
];
const CHANGES_PER_INPUT: u64 = 300;
/// Longer inputs are cut at evenly spread places only, so that the test stays quick.
const PREFIXES_PER_INPUT: usize = 300;

#[test]
fn corpus_and_its_neighbours() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for &(target, run) in TARGETS {
        let folder = corpus.join(target);
        let mut inputs: Vec<_> = fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.expect("a readable folder").path())
            .collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "no corpus for {target}");
        for path in inputs {
            let input = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            // A panic inside names this input in the captured output.
            println!("{}", path.display());
            run(&input);
            for end in (0..input.len()).step_by(input.len() / PREFIXES_PER_INPUT + 1) {
                run(&input[..end]);
            }
            change_bytes(&input, run);
        }
    }
}

fn change_bytes(input: &[u8], run: fn(&[u8])) {
    if input.is_empty() {
        return;
    }
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut changed = input.to_vec();
    for _ in 0..CHANGES_PER_INPUT {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = usize::try_from((state >> 16) % input.len() as u64).expect("less than a length");
        let [byte, ..] = state.to_be_bytes();
        changed[at] = byte;
        run(&changed);
        changed[at] = input[at];
    }
}
