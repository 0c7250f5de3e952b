//! Fifty kills of the release binary under load; nothing acknowledged may be missing or torn.

use nilas_tests::crash::{CrashOptions, run};

#[test]
fn fifty_kills_lose_nothing() {
    match run(&CrashOptions::new(50, 20_260_101)) {
        Ok(counts) => {
            println!("{counts}");
            assert!(50 <= counts.kills && 0 < counts.acknowledged && 0 < counts.commits, "{counts}");
        }
        Err(complaints) => panic!("{complaints}"),
    }
}
