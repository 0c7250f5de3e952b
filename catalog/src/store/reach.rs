//! What a table's metadata reaches: the files that a root names, that a manifest list names, that a manifest names. Pure.
//!
//! `purge` calls it with bytes that it read, on the control pool. Nothing is guessed: a file is reached when its location
//! stands in one of these, whatever lies beside it. I1. Any bytes are possible, and none of them panics.

use bytes::Bytes;
use serde_json::Value;

use crate::limits::PURGE_FILES_MAX;
use crate::manifest::{self, AvroError};
use crate::spec::TableMetadata;
use crate::store::location::{OwnPlaces, file_of};
use crate::store::metadata_file;

/// What a metadata file names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Root {
    /// `gc.enabled`: data and delete files may be deleted. Without it others may have taken them over.
    pub(crate) deletes_data: bool,
    pub(crate) snapshots: Vec<SnapshotFiles>,
    /// Statistics, partition statistics and the metadata files before this one.
    pub(crate) files: Files,
}

/// Where the manifests of a snapshot are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SnapshotFiles {
    /// In this manifest list.
    List(String),
    /// In the snapshot itself, as version 1 may have it.
    Manifests(Vec<String>),
}

/// One manifest of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) location: String,
    /// Of its location: to know it again.
    pub(crate) digest: [u8; 16],
    pub(crate) encrypted: bool,
}

/// Files, taken apart by whether they are the table's own.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Files {
    /// Keys in the table's locations.
    pub(crate) own: Vec<Bytes>,
    /// Where the others are, or are said to be.
    pub(crate) others: Vec<String>,
}

/// Some of the files of a manifest.
#[derive(Debug)]
pub(crate) struct ManifestFiles {
    pub(crate) files: Files,
    /// Entries of the manifest up to the last of them.
    pub(crate) entries: u64,
    /// Whether there are more behind them.
    pub(crate) has_more: bool,
    /// Why the rest could not be read.
    pub(crate) unreadable: Option<String>,
}

impl Files {
    /// Takes locations apart, each file once.
    pub(crate) fn of<'a>(locations: impl IntoIterator<Item = &'a str>, own: &OwnPlaces) -> Files {
        let mut files = Files::default();
        for location in locations {
            files.add(location, own);
        }
        files.finish()
    }

    fn add(&mut self, location: &str, own: &OwnPlaces) {
        match own.key(location) {
            Some(key) => self.own.push(Bytes::copy_from_slice(key.as_bytes())),
            None => self.others.push(location.to_owned()),
        }
    }

    fn finish(mut self) -> Files {
        self.own.sort_unstable();
        self.own.dedup();
        self.others.sort_unstable();
        self.others.dedup();
        self
    }
}

/// Reads a metadata file.
pub(crate) fn root(location: &str, body: &[u8], own: &OwnPlaces) -> Result<Root, String> {
    let metadata = metadata_file::decode(location, body)?;
    let mut files: Vec<String> = Vec::new();
    for list in ["statistics", "partition-statistics"] {
        let entries = metadata.to_json().get(list).and_then(Value::as_array).into_iter().flatten();
        let paths = entries.filter_map(|entry| entry.get("statistics-path")?.as_str());
        files.extend(paths.map(str::to_owned));
    }
    files.extend(metadata.metadata_log().into_iter().map(|(_, file)| file));
    // A log that names the newest file too must not let it go before the others.
    files.retain(|file| file_of(file) != file_of(location));
    let files = Files::of(files.iter().map(String::as_str), own);
    Ok(Root { deletes_data: deletes_data(&metadata), snapshots: snapshots(&metadata), files })
}

/// As the Java reference reads it: whatever is not `true` in any case is false.
fn deletes_data(metadata: &TableMetadata) -> bool {
    metadata.property("gc.enabled").is_none_or(|value| value.eq_ignore_ascii_case("true"))
}

fn snapshots(metadata: &TableMetadata) -> Vec<SnapshotFiles> {
    let snapshots = metadata.to_json().get("snapshots").and_then(Value::as_array);
    let of = |snapshot: &Value| match snapshot.get("manifest-list").and_then(Value::as_str) {
        Some(list) => SnapshotFiles::List(list.to_owned()),
        None => {
            let manifests = snapshot.get("manifests").and_then(Value::as_array).into_iter().flatten();
            let manifests = manifests.filter_map(Value::as_str).map(str::to_owned);
            SnapshotFiles::Manifests(manifests.collect())
        }
    };
    snapshots.into_iter().flatten().map(of).collect()
}

/// Reads a manifest list.
pub(crate) fn manifests(body: &[u8]) -> Result<Vec<Manifest>, String> {
    let listed = manifest::read_list(body).map_err(|error| error.to_string())?;
    Ok(listed.into_iter().map(|file| manifest_at(file.path, file.encrypted)).collect())
}

/// A manifest that is named at `location`.
pub(crate) fn manifest_at(location: String, encrypted: bool) -> Manifest {
    let digest = metadata_file::digest(&[location.as_bytes()]);
    Manifest { location, digest, encrypted }
}

/// Reads the files of a manifest behind its first `done` entries, at most [`PURGE_FILES_MAX`], whatever their status is.
pub(crate) fn manifest_files(body: &[u8], done: u64, own: &OwnPlaces) -> ManifestFiles {
    let mut files = Files::default();
    let (mut seen, mut taken, mut has_more) = (0_u64, 0_usize, false);
    let read = manifest::read_manifest(body, &mut |entry| {
        if seen < done {
            seen += 1;
            return Ok(());
        }
        if taken == PURGE_FILES_MAX {
            has_more = true;
            return Err(AvroError::enough());
        }
        seen += 1;
        taken += 1;
        files.add(entry.file_path, own);
        Ok(())
    });
    let unreadable = read.err().filter(|_| !has_more).map(|error| error.to_string());
    ManifestFiles { files: files.finish(), entries: seen, has_more, unreadable }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn own() -> OwnPlaces {
        OwnPlaces::new("lake", vec!["t".to_owned()])
    }

    fn metadata(change: impl FnOnce(&mut Value)) -> Vec<u8> {
        let mut metadata = json!({
            "format-version": 2, "table-uuid": "00000000-0000-4000-8000-000000000001", "location": "s3://lake/t",
            "last-sequence-number": 2, "last-updated-ms": 5, "last-column-id": 1, "current-schema-id": 0,
            "schemas": [{"type": "struct", "schema-id": 0,
                "fields": [{"id": 1, "name": "x", "required": false, "type": "long"}]}],
            "default-spec-id": 0, "partition-specs": [{"spec-id": 0, "fields": []}], "last-partition-id": 999,
            "default-sort-order-id": 0, "sort-orders": [{"order-id": 0, "fields": []}], "properties": {},
            "snapshots": [], "snapshot-log": [], "metadata-log": [], "refs": {},
        });
        change(&mut metadata);
        metadata.to_string().into_bytes()
    }

    #[test]
    fn a_root_names_its_files() {
        let body = metadata(|metadata| {
            metadata["snapshots"] = json!([
                {"snapshot-id": 1, "sequence-number": 1, "timestamp-ms": 3, "manifest-list": "s3://lake/t/l1",
                    "summary": {"operation": "append"}},
                {"snapshot-id": 2, "sequence-number": 2, "timestamp-ms": 4, "manifest-list": "s3://else/l2",
                    "summary": {"operation": "append"}},
            ]);
            metadata["metadata-log"] = json!([{"timestamp-ms": 3, "metadata-file": "s3://lake/t/metadata/0"},
                {"timestamp-ms": 4, "metadata-file": "s3://lake/t/metadata/1"}]);
            metadata["statistics"] = json!([{"snapshot-id": 1, "statistics-path": "s3://lake/t/s.puffin",
                "file-size-in-bytes": 1, "file-footer-size-in-bytes": 1, "blob-metadata": []}]);
            metadata["partition-statistics"] = json!([{"snapshot-id": 1, "statistics-path": "s3://lake/t/p.parquet", "file-size-in-bytes": 1}]);
        });
        let root = root("s3://lake/t/metadata/1", &body, &own()).expect("good");
        let list = |location: &str| SnapshotFiles::List(location.to_owned());
        assert_eq!(root.snapshots, [list("s3://lake/t/l1"), list("s3://else/l2")]);
        assert_eq!(root.files.own, ["t/metadata/0", "t/p.parquet", "t/s.puffin"].map(Bytes::from));
        assert!(root.deletes_data);
    }

    #[test]
    fn garbage_collection() {
        let check = |value: Option<&str>, want: bool| {
            let body = metadata(|metadata| {
                if let Some(value) = value {
                    metadata["properties"]["gc.enabled"] = json!(value);
                }
            });
            assert_eq!(root("l", &body, &own()).expect("good").deletes_data, want, "{value:?}");
        };
        check(None, true);
        check(Some("true"), true);
        check(Some("TRUE"), true);
        check(Some("false"), false);
        check(Some("no"), false);
        check(Some(""), false);
    }

    #[test]
    fn manifests_of_version_1_stand_in_the_snapshot() {
        let body = metadata(|metadata| {
            metadata["format-version"] = json!(1);
            metadata["schema"] = metadata["schemas"][0].clone();
            metadata["partition-spec"] = json!([]);
            metadata["snapshots"] =
                json!([{"snapshot-id": 1, "timestamp-ms": 3, "manifests": ["s3://lake/m1", "s3://lake/m2"]}]);
        });
        let root = root("l", &body, &own()).expect("good");
        let want = SnapshotFiles::Manifests(vec!["s3://lake/m1".to_owned(), "s3://lake/m2".to_owned()]);
        assert_eq!(root.snapshots, [want]);
    }

    #[test]
    fn nonsense_is_an_error() {
        assert!(root("l", b"", &own()).is_err());
        assert!(root("l", b"{}", &own()).is_err());
        assert!(manifests(b"").is_err());
        let files = manifest_files(b"Obj\x01", 0, &own());
        assert!(files.unreadable.is_some() && !files.has_more && files.files == Files::default());
    }

    #[test]
    fn files_by_whose_they_are() {
        let locations = [
            "s3://lake/t/b",
            "s3a://lake/t/a",
            "s3n://lake/t/b",
            "s3://else/t/k",
            "file:/x",
            "s3://lake/u/k",
            "file:/x",
        ];
        let files = Files::of(locations, &own());
        assert_eq!(files.own, [Bytes::from("t/a"), Bytes::from("t/b")]);
        assert_eq!(files.others, ["file:/x", "s3://else/t/k", "s3://lake/u/k"]);
    }
}
