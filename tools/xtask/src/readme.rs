//! Runs what README.md tells a reader to type: every `sh` block that follows a line `<!-- ci -->`.
//! `ci` calls it. Blocks run one after the other, in the repository, each in a shell of its own.

use crate::shell::{Failure, program, root};
use std::fs;
use std::time::Duration;

const MARK: &str = "<!-- ci -->";
const BLOCK_MAX: Duration = Duration::from_secs(600);

pub fn run() -> Result<(), Failure> {
    let text = fs::read_to_string(root().join("README.md"))
        .map_err(|error| Failure(format!("README.md: {error}")))?;
    let blocks = blocks(&text)?;
    if blocks.is_empty() {
        return Err(Failure(format!("README.md has no block marked {MARK}")));
    }
    for block in blocks {
        println!("{}", block.trim_end());
        program("bash").args(["-euo", "pipefail", "-c", &block]).passes_within(BLOCK_MAX)?;
    }
    Ok(())
}

/// The marked blocks, without `$ ` prompts.
fn blocks(text: &str) -> Result<Vec<String>, Failure> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() != MARK {
            continue;
        }
        let fence = lines.find(|line| !line.trim().is_empty());
        if fence.map(str::trim) != Some("```sh") {
            return Err(Failure(format!("README.md: {MARK} is not followed by a ```sh block")));
        }
        let mut block = String::new();
        loop {
            match lines.next() {
                Some(line) if line.trim() == "```" => break,
                Some(line) => {
                    block.push_str(line.strip_prefix("$ ").unwrap_or(line));
                    block.push('\n');
                }
                None => return Err(Failure("README.md: a ```sh block has no end".to_owned())),
            }
        }
        blocks.push(block);
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_blocks() {
        let found = |text: &str| blocks(text).map_err(|failure| failure.0);
        assert_eq!(found("# T\n```sh\nno\n```\n"), Ok(vec![]));
        assert_eq!(
            found("<!-- ci -->\n```sh\n$ a\nb\n```\n<!-- ci -->\n\n```sh\nc\n```\n"),
            Ok(vec!["a\nb\n".to_owned(), "c\n".to_owned()])
        );
        assert!(found("<!-- ci -->\ntext\n").is_err());
        assert!(found("<!-- ci -->\n```sh\nopen\n").is_err());
    }
}
