//! Runs what documents tell a reader to type: every `sh` block that follows a line `<!-- ci -->`.
//! `ci` calls it. Blocks of a page run one after the other, each in a shell of its own: those of README.md in the
//! repository, those of docs/access.md in a scratch directory beside a server of their own, whose root key and address are
//! in the environment and whose program, and the AWS CLI, are on PATH.

use crate::server::{ACCESS_KEY, SECRET_KEY, Server};
use crate::shell::{Failure, Program, program, root, server_binary};
use crate::{clients, venv};
use std::fs;
use std::path::Path;
use std::time::Duration;

const MARK: &str = "<!-- ci -->";
const BLOCK_MAX: Duration = Duration::from_secs(600);

pub fn run() -> Result<(), Failure> {
    run_page("README.md", |shell| shell)
}

/// The page whose examples ask a running server.
pub fn access() -> Result<(), Failure> {
    let tools = venv::python(&clients::NEWEST)?;
    let server = Server::start("access")?;
    let scratch = server.scratch()?;
    let folders = [server_binary(), tools].map(|program| program.parent().map(Path::to_path_buf));
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(folders.into_iter().flatten().chain(std::env::split_paths(&inherited)))
        .map_err(|error| Failure(format!("PATH: {error}")))?;
    let endpoint = server.endpoint();
    run_page("docs/access.md", |shell| {
        shell
            .directory(&scratch)
            .env("PATH", &path)
            .env("HOME", &scratch)
            .env("NILAS_ENDPOINT", &endpoint)
            .env("NILAS_ACCESS_KEY", ACCESS_KEY)
            .env("NILAS_SECRET_KEY", SECRET_KEY)
            .env("AWS_ENDPOINT_URL", &endpoint)
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_PAGER", "")
    })?;
    server.stop()
}

/// Runs the blocks of a page, each in a shell that `prepared` makes ready.
fn run_page(page: &str, prepared: impl Fn(Program) -> Program) -> Result<(), Failure> {
    let text = fs::read_to_string(root().join(page)).map_err(|error| Failure(format!("{page}: {error}")))?;
    let blocks = blocks(&text).map_err(|failure| Failure(format!("{page}: {failure}")))?;
    if blocks.is_empty() {
        return Err(Failure(format!("{page} has no block marked {MARK}")));
    }
    for block in blocks {
        println!("{}", block.trim_end());
        prepared(program("bash")).args(["-euo", "pipefail", "-c", &block]).passes_within(BLOCK_MAX)?;
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
            return Err(Failure(format!("{MARK} is not followed by a ```sh block")));
        }
        let mut block = String::new();
        loop {
            match lines.next() {
                Some(line) if line.trim() == "```" => break,
                Some(line) => {
                    block.push_str(line.strip_prefix("$ ").unwrap_or(line));
                    block.push('\n');
                }
                None => return Err(Failure("a ```sh block has no end".to_owned())),
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
