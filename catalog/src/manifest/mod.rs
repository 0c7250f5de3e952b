//! What snapshots are made of: manifest lists and manifests, read from Avro files of any writer. Pure.
//!
//! A purge reads with it. The bytes come from clients: any are possible, none of them panics, and memory is bounded by
//! the named limits. Reading takes too long for a core: call it on the control pool.
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

pub(crate) mod list;
pub(crate) mod entry;
mod plan;
mod schema;
mod container;
mod codec;
mod cursor;
mod error;
#[cfg(test)]
mod tests;

pub(crate) use entry::ManifestEntry;
pub(crate) use error::{AvroError, Got};
pub(crate) use list::ManifestFile;

use crate::limits::MANIFESTS_MAX;
use container::Container;
use plan::{Plan, Row, Wanted};

/// Reads a manifest list.
pub(crate) fn read_list(bytes: &[u8]) -> Result<Vec<ManifestFile>, AvroError> {
    let mut manifests = Vec::new();
    read_rows(bytes, list::WANTED, &mut |row, at| {
        if MANIFESTS_MAX <= manifests.len() {
            return Err(AvroError::new(
                at,
                Got::count(manifests.len() + 1),
                "at most MANIFESTS_MAX manifests",
            ));
        }
        manifests.push(ManifestFile::new(row, at)?);
        Ok(())
    })?;
    Ok(manifests)
}

/// Reads a manifest, entry by entry in the order of the file. An error of `entry` ends it. When the file turns out to be
/// damaged, `entry` has been called for what stands before the damage.
pub(crate) fn read_manifest(
    bytes: &[u8],
    entry: &mut dyn FnMut(ManifestEntry<'_>) -> Result<(), AvroError>,
) -> Result<(), AvroError> {
    read_rows(bytes, entry::WANTED, &mut |row, at| entry(ManifestEntry::new(row, at)?))
}

/// Reads all records of a file; `each` gets the wanted values of one, and where it begins.
fn read_rows(
    bytes: &[u8],
    wanted: &'static [Wanted],
    each: &mut dyn FnMut(&Row<'_>, usize) -> Result<(), AvroError>,
) -> Result<(), AvroError> {
    let (mut container, schema) = Container::open(bytes)?;
    let plan = Plan::new(schema, wanted, 0)?;
    let mut unpacked = Vec::new();
    while let Some(mut block) = container.next(&mut unpacked)? {
        let read = block_rows(&plan, &mut block.cursor, block.records, each);
        read.map_err(|error| block.locate(error))?;
    }
    Ok(())
}

fn block_rows<'a>(
    plan: &Plan,
    cursor: &mut cursor::Cursor<'a>,
    records: usize,
    each: &mut dyn FnMut(&Row<'_>, usize) -> Result<(), AvroError>,
) -> Result<(), AvroError> {
    // Each record takes a byte at least, since something in it is required; so a count that lies ends with the block.
    for _ in 0..records {
        let at = cursor.at();
        let mut row = Row::default();
        plan.read(cursor, &mut row)?;
        each(&row, at)?;
    }
    if cursor.left() == 0 {
        Ok(())
    } else {
        cursor.refuse(Got::Bytes(cursor.left()), "the end of the block behind its last record")
    }
}

/// Entries of a manifest, for measurements of the reader.
pub fn count_entries(bytes: &[u8]) -> Result<usize, String> {
    let mut entries = 0;
    let read = read_manifest(bytes, &mut |_| {
        entries += 1;
        Ok(())
    });
    read.map(|()| entries).map_err(|error| error.to_string())
}

/// All that is read of each record: field ids in ascending order, and their values as text. For comparisons with other
/// readers.
pub fn fuzz_rows(bytes: &[u8], is_list: bool) -> Result<Vec<Vec<(i32, String)>>, String> {
    let wanted = if is_list { list::WANTED } else { entry::WANTED };
    let mut rows = Vec::new();
    let read = read_rows(bytes, wanted, &mut |row, _| {
        let mut values = Vec::new();
        row.values(wanted, &mut values);
        values.sort_unstable();
        rows.push(values);
        Ok(())
    });
    read.map(|()| rows).map_err(|error| error.to_string())
}

/// Any bytes as a manifest and as a manifest list: no panic, and numbers that a list may count with.
pub fn fuzz_manifest(bytes: &[u8]) {
    if let Err(error) = read_manifest(bytes, &mut |_| Ok(())) {
        assert!(error.at <= bytes.len(), "an error lies within the file: {error}");
    }
    match read_list(bytes) {
        Ok(manifests) => assert!(manifests.len() <= MANIFESTS_MAX),
        Err(error) => assert!(error.at <= bytes.len(), "an error lies within the file: {error}"),
    }
}
