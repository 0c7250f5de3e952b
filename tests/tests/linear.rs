//! Twenty seconds of clients on few keys, with kills: there is an order of all requests that explains their answers.

use std::time::Duration;

use nilas_tests::linear::{LinearOptions, run};

#[test]
fn there_is_an_order_that_explains_all_answers() {
    match run(&LinearOptions::new(Duration::from_secs(20), 20_260_101)) {
        Ok(counts) => {
            println!("{counts}");
            assert!(5 <= counts.kills && 500 < counts.requests && 0 < counts.unanswered, "{counts}");
            assert!(0 < counts.refused && counts.keys <= counts.wrong, "{counts}");
        }
        Err(complaint) => panic!("{complaint}"),
    }
}
