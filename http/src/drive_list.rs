//! Which drives the store of a data directory is on: the file `drives` there, one absolute path a line, in order.
//!
//! Written when a store was opened, so that a later start needs no `--drive`, and so that a start that forgets or
//! mistypes one is refused in place of making a new, empty store. The drives' superblocks stay the truth.

use std::io;
use std::path::{Path, PathBuf};

use crate::root_key::{read_file, write_private};

const NAME: &str = "drives";

/// The drives of the store that this data directory was last used with; `None` when it has none yet.
pub(crate) fn read(data: &Path) -> io::Result<Option<Vec<PathBuf>>> {
    match read_file(&data.join(NAME)) {
        Ok(text) => Ok(Some(parse(&text)).filter(|paths| !paths.is_empty())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Notes the drives of a store that was just opened, durable on return.
pub(crate) fn keep(data: &Path, paths: &[PathBuf]) -> io::Result<()> {
    let text: String = paths.iter().map(|path| format!("{}\n", path.display())).collect();
    if read_file(&data.join(NAME)).is_ok_and(|known| known == text) {
        return Ok(());
    }
    write_private(&data.join(NAME), text.as_bytes())
}

fn parse(text: &str) -> Vec<PathBuf> {
    text.lines().filter(|line| !line.is_empty()).map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        assert_eq!(parse("/a b\n/c\n"), [PathBuf::from("/a b"), PathBuf::from("/c")]);
        assert_eq!(parse("\n"), Vec::<PathBuf>::new());
    }
}
