//! Manifest lists: which manifests make up a snapshot (`manifest_file` of the table specification, versions 1 to 3).

use super::error::{AvroError, Got};
use super::plan::{Kind, Row, Wanted};

/// What the files of a manifest are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ManifestContent {
    Data,
    Deletes,
}

/// One manifest of a snapshot. Absent is what the writer left out or wrote as null, except where a default is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ManifestFile {
    pub(crate) path: String,
    /// Bytes of the manifest.
    pub(crate) length: i64,
    pub(crate) partition_spec_id: i32,
    /// Version 1 has data only.
    pub(crate) content: ManifestContent,
    /// 0 in version 1.
    pub(crate) sequence_number: i64,
    /// 0 in version 1.
    pub(crate) min_sequence_number: i64,
    pub(crate) added_snapshot_id: Option<i64>,
    pub(crate) added_files_count: Option<i64>,
    pub(crate) existing_files_count: Option<i64>,
    pub(crate) deleted_files_count: Option<i64>,
    pub(crate) added_rows_count: Option<i64>,
    pub(crate) existing_rows_count: Option<i64>,
    pub(crate) deleted_rows_count: Option<i64>,
    /// Version 3, data only: the row id that the first row of its first file without one gets.
    pub(crate) first_row_id: Option<i64>,
    /// Its bytes are encrypted, and cannot be read without the key.
    pub(crate) encrypted: bool,
}

const PATH: usize = 0;
const LENGTH: usize = 1;
const SPEC_ID: usize = 2;
const CONTENT: usize = 3;
const SEQUENCE_NUMBER: usize = 4;
const MIN_SEQUENCE_NUMBER: usize = 5;
const ADDED_SNAPSHOT_ID: usize = 6;
const ADDED_FILES: usize = 7;
const EXISTING_FILES: usize = 8;
const DELETED_FILES: usize = 9;
const ADDED_ROWS: usize = 10;
const EXISTING_ROWS: usize = 11;
const DELETED_ROWS: usize = 12;
const FIRST_ROW_ID: usize = 13;
const KEY_METADATA: usize = 14;

pub(super) const WANTED: &[Wanted] = &[
    Wanted { id: 500, required: true, of: Kind::Text(PATH) },
    Wanted { id: 501, required: true, of: Kind::Number(LENGTH) },
    Wanted { id: 502, required: true, of: Kind::Number(SPEC_ID) },
    Wanted { id: 517, required: false, of: Kind::Number(CONTENT) },
    Wanted { id: 515, required: false, of: Kind::Number(SEQUENCE_NUMBER) },
    Wanted { id: 516, required: false, of: Kind::Number(MIN_SEQUENCE_NUMBER) },
    Wanted { id: 503, required: false, of: Kind::Number(ADDED_SNAPSHOT_ID) },
    Wanted { id: 504, required: false, of: Kind::Number(ADDED_FILES) },
    Wanted { id: 505, required: false, of: Kind::Number(EXISTING_FILES) },
    Wanted { id: 506, required: false, of: Kind::Number(DELETED_FILES) },
    Wanted { id: 512, required: false, of: Kind::Number(ADDED_ROWS) },
    Wanted { id: 513, required: false, of: Kind::Number(EXISTING_ROWS) },
    Wanted { id: 514, required: false, of: Kind::Number(DELETED_ROWS) },
    Wanted { id: 520, required: false, of: Kind::Number(FIRST_ROW_ID) },
    Wanted { id: 519, required: false, of: Kind::Bytes(KEY_METADATA) },
];

impl ManifestFile {
    /// Makes an entry of a row of [`WANTED`] that begins at `at`.
    pub(super) fn new(row: &Row<'_>, at: usize) -> Result<ManifestFile, AvroError> {
        let absent = |id: i32| AvroError::new(at, Got::Nothing, "a value").in_field(id);
        let refused = |id: i32, got, expected| AvroError::new(at, Got::Number(got), expected).in_field(id);
        let spec_id = row.number(SPEC_ID).ok_or_else(|| absent(502))?;
        Ok(ManifestFile {
            path: row.text(PATH).ok_or_else(|| absent(500))?.to_owned(),
            length: row.number(LENGTH).ok_or_else(|| absent(501))?,
            partition_spec_id: i32::try_from(spec_id)
                .map_err(|_| refused(502, spec_id, "a number of 32 bits"))?,
            content: match row.number(CONTENT) {
                None | Some(0) => ManifestContent::Data,
                Some(1) => ManifestContent::Deletes,
                Some(other) => return Err(refused(517, other, "0 for data or 1 for deletes")),
            },
            sequence_number: row.number(SEQUENCE_NUMBER).unwrap_or(0),
            min_sequence_number: row.number(MIN_SEQUENCE_NUMBER).unwrap_or(0),
            added_snapshot_id: row.number(ADDED_SNAPSHOT_ID),
            added_files_count: row.number(ADDED_FILES),
            existing_files_count: row.number(EXISTING_FILES),
            deleted_files_count: row.number(DELETED_FILES),
            added_rows_count: row.number(ADDED_ROWS),
            existing_rows_count: row.number(EXISTING_ROWS),
            deleted_rows_count: row.number(DELETED_ROWS),
            first_row_id: row.number(FIRST_ROW_ID),
            encrypted: row.bytes(KEY_METADATA).is_some(),
        })
    }
}
