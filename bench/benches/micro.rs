//! The pure pieces that every request goes through, timed one by one: `cargo bench -p nilas-bench`.
fn main() {}
