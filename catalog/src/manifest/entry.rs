//! Manifests: the files that a snapshot reads and those it removed (`manifest_entry` and `data_file` of the table
//! specification, versions 1 to 3). Partition values, bounds and counts per column are stepped over.

use super::error::{AvroError, Got};
use super::plan::{Kind, Row, Wanted};

/// What the snapshot that wrote the manifest did with the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It was there before.
    Existing,
    Added,
    /// It is no longer part of the table.
    Deleted,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileContent {
    Data,
    /// Position deletes, deletion vectors among them.
    PositionDeletes,
    EqualityDeletes,
}

/// One file of a manifest, as it is written there: what an entry inherits is for the caller to fill in.
///
/// - An absent `snapshot_id` is the manifest's `added_snapshot_id`.
/// - An absent `sequence_number` or `file_sequence_number` is the manifest's `sequence_number`, for added files only. In
///   manifests of version 1 all are absent, and the manifest's number is 0.
/// - An absent `first_row_id` of an existing or added data file follows from the manifest's `first_row_id` and the
///   records of such files before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ManifestEntry<'a> {
    pub(crate) status: Status,
    pub(crate) snapshot_id: Option<i64>,
    pub(crate) sequence_number: Option<i64>,
    pub(crate) file_sequence_number: Option<i64>,
    /// Version 1 has data only.
    pub(crate) content: FileContent,
    pub(crate) file_path: &'a str,
    /// As the writer spells it: `PARQUET`, `parquet`.
    pub(crate) file_format: &'a str,
    pub(crate) record_count: i64,
    /// Bytes of the file.
    pub(crate) file_size: i64,
    /// The one data file that these deletes are for, where they are for one only.
    pub(crate) referenced_data_file: Option<&'a str>,
    /// Where in the file the deletion vector begins.
    pub(crate) content_offset: Option<i64>,
    /// Bytes of the deletion vector.
    pub(crate) content_size: Option<i64>,
    pub(crate) first_row_id: Option<i64>,
    /// The file's bytes are encrypted.
    pub(crate) encrypted: bool,
}

const STATUS: usize = 0;
const SNAPSHOT_ID: usize = 1;
const SEQUENCE_NUMBER: usize = 2;
const FILE_SEQUENCE_NUMBER: usize = 3;
const CONTENT: usize = 4;
const FILE_PATH: usize = 5;
const FILE_FORMAT: usize = 6;
const RECORD_COUNT: usize = 7;
const FILE_SIZE: usize = 8;
const REFERENCED_DATA_FILE: usize = 9;
const CONTENT_OFFSET: usize = 10;
const CONTENT_SIZE: usize = 11;
const FIRST_ROW_ID: usize = 12;
const KEY_METADATA: usize = 13;

pub(super) const WANTED: &[Wanted] = &[
    Wanted { id: 0, required: true, of: Kind::Number(STATUS) },
    Wanted { id: 1, required: false, of: Kind::Number(SNAPSHOT_ID) },
    Wanted { id: 3, required: false, of: Kind::Number(SEQUENCE_NUMBER) },
    Wanted { id: 4, required: false, of: Kind::Number(FILE_SEQUENCE_NUMBER) },
    Wanted { id: 2, required: true, of: Kind::Record(DATA_FILE) },
];

const DATA_FILE: &[Wanted] = &[
    Wanted { id: 134, required: false, of: Kind::Number(CONTENT) },
    Wanted { id: 100, required: true, of: Kind::Text(FILE_PATH) },
    Wanted { id: 101, required: true, of: Kind::Text(FILE_FORMAT) },
    Wanted { id: 103, required: true, of: Kind::Number(RECORD_COUNT) },
    Wanted { id: 104, required: true, of: Kind::Number(FILE_SIZE) },
    Wanted { id: 143, required: false, of: Kind::Text(REFERENCED_DATA_FILE) },
    Wanted { id: 144, required: false, of: Kind::Number(CONTENT_OFFSET) },
    Wanted { id: 145, required: false, of: Kind::Number(CONTENT_SIZE) },
    Wanted { id: 142, required: false, of: Kind::Number(FIRST_ROW_ID) },
    Wanted { id: 131, required: false, of: Kind::Bytes(KEY_METADATA) },
];

impl<'a> ManifestEntry<'a> {
    /// Makes an entry of a row of [`WANTED`] that begins at `at`.
    pub(super) fn new(row: &Row<'a>, at: usize) -> Result<ManifestEntry<'a>, AvroError> {
        let absent = |id: i32| AvroError::new(at, Got::Nothing, "a value").in_field(id);
        let refused = |id: i32, got, expected| AvroError::new(at, Got::Number(got), expected).in_field(id);
        Ok(ManifestEntry {
            status: match row.number(STATUS).ok_or_else(|| absent(0))? {
                0 => Status::Existing,
                1 => Status::Added,
                2 => Status::Deleted,
                other => return Err(refused(0, other, "a status from 0 to 2")),
            },
            snapshot_id: row.number(SNAPSHOT_ID),
            sequence_number: row.number(SEQUENCE_NUMBER),
            file_sequence_number: row.number(FILE_SEQUENCE_NUMBER),
            content: match row.number(CONTENT) {
                None | Some(0) => FileContent::Data,
                Some(1) => FileContent::PositionDeletes,
                Some(2) => FileContent::EqualityDeletes,
                Some(other) => return Err(refused(134, other, "a content from 0 to 2")),
            },
            file_path: row.text(FILE_PATH).ok_or_else(|| absent(100))?,
            file_format: row.text(FILE_FORMAT).ok_or_else(|| absent(101))?,
            record_count: row.number(RECORD_COUNT).ok_or_else(|| absent(103))?,
            file_size: row.number(FILE_SIZE).ok_or_else(|| absent(104))?,
            referenced_data_file: row.text(REFERENCED_DATA_FILE),
            content_offset: row.number(CONTENT_OFFSET),
            content_size: row.number(CONTENT_SIZE),
            first_row_id: row.number(FIRST_ROW_ID),
            encrypted: row.bytes(KEY_METADATA).is_some(),
        })
    }
}
