//! Writes the golden image of this format's version and the list of what is in it, `cargo x golden`.

use std::fs;
use std::process::ExitCode;

use nilas_tests::golden::{describe, make, path, to_text};

fn main() -> ExitCode {
    let medium = make();
    for (what, text) in [("image", to_text(&medium)), ("list", describe(&medium))] {
        let path = path(what);
        if let Err(error) = fs::write(&path, &text) {
            eprintln!("nilas-golden: {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
        println!("{}: {} bytes", path.display(), text.len());
    }
    ExitCode::SUCCESS
}
