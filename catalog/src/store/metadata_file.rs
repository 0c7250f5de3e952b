//! Metadata files and the bodies made of them: names, compression, digests. Pure.
//!
//! Names follow Iceberg's convention `<metadata path>/<version>-<uuid>[.gz].metadata.json`, the first version is 0.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use md5::{Digest, Md5};
use nilas_engine::ETag;

use crate::limits::{METADATA_BYTES_MAX, METADATA_DELETES_MAX, OBJECT_KEY_BYTES_MAX, at_most};
use crate::spec::TableMetadata;
use crate::store::failure::CatalogError;
use crate::store::location;

/// A metadata file about to be written.
pub(crate) struct MetadataFile {
    pub(crate) location: String,
    pub(crate) key: Bytes,
    pub(crate) body: Bytes,
    pub(crate) etag: ETag,
    /// `metadata.render()`, before compression.
    pub(crate) rendered: Bytes,
}

impl MetadataFile {
    /// Lays out the next metadata file of a table. `unique` makes its name.
    pub(crate) fn new(
        metadata: &TableMetadata,
        previous: Option<&str>,
        unique: &str,
        warehouse: &str,
    ) -> Result<MetadataFile, CatalogError> {
        let folder = match metadata.property(location::METADATA_PATH) {
            Some(path) => path.trim_end_matches('/').to_owned(),
            None => format!("{}/metadata", metadata.location().trim_end_matches('/')),
        };
        let gzipped = match metadata.property("write.metadata.compression-codec") {
            Some(codec) if codec.eq_ignore_ascii_case("gzip") => true,
            Some(codec) if !codec.eq_ignore_ascii_case("none") => {
                return Err(CatalogError::IllegalArgument(format!(
                    "Invalid metadata compression codec: {codec}"
                )));
            }
            Some(_) | None => false,
        };
        let version = previous.map_or(0, |previous| version_of(previous).map_or(0, |version| version + 1));
        let suffix = if gzipped { ".gz.metadata.json" } else { ".metadata.json" };
        let location = format!("{folder}/{version:05}-{unique}{suffix}");
        let key = location::object_key(&location, warehouse)?;
        at_most("OBJECT_KEY_BYTES_MAX", OBJECT_KEY_BYTES_MAX, key.len())?;
        let key = Bytes::copy_from_slice(key.as_bytes());
        let rendered = Bytes::from(metadata.render());
        at_most("METADATA_BYTES_MAX", METADATA_BYTES_MAX, rendered.len())?;
        let body = if gzipped { Bytes::from(gzip(&rendered)) } else { rendered.clone() };
        let etag = ETag { md5: digest(&[&body]), parts: 0 };
        Ok(MetadataFile { location, key, body, etag, rendered })
    }
}

/// Reads a metadata file. `body` comes from outside: any bytes are possible.
pub(crate) fn decode(location: &str, body: &[u8]) -> Result<TableMetadata, String> {
    let parsed = if body.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        let bound = u64::try_from(METADATA_BYTES_MAX).unwrap_or(u64::MAX);
        GzDecoder::new(body)
            .take(bound.saturating_add(1))
            .read_to_end(&mut plain)
            .map_err(|e| format!("{location} is not gzip: {e}"))?;
        if METADATA_BYTES_MAX < plain.len() {
            return Err(format!("{location} is larger than {METADATA_BYTES_MAX} bytes"));
        }
        TableMetadata::parse(&plain)
    } else {
        TableMetadata::parse(body)
    };
    parsed.map_err(|invalid| invalid.message)
}

/// Object keys of the files that left the metadata log with this commit, when the table wants them deleted. A log may name
/// anything: only what lies in a place that `is_own` says is the table's goes.
pub(crate) fn expired(
    base: &TableMetadata,
    next: &TableMetadata,
    warehouse: &str,
    is_own: impl Fn(&str) -> bool,
) -> Vec<Bytes> {
    let wanted = next
        .property("write.metadata.delete-after-commit.enabled")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if !wanted {
        return Vec::new();
    }
    let kept: std::collections::HashSet<String> =
        next.metadata_log().into_iter().map(|(_, file)| file).collect();
    base.metadata_log()
        .into_iter()
        .filter(|(_, file)| !kept.contains(file))
        .filter_map(|(_, file)| {
            let key = location::object_key(&file, warehouse).ok().filter(|key| is_own(key))?;
            Some(Bytes::copy_from_slice(key.as_bytes()))
        })
        .take(METADATA_DELETES_MAX)
        .collect()
}

/// How every [`body`] ends.
pub(crate) const EMPTY_CONFIG: &[u8] = b",\"config\":{}}";

/// A `LoadTableResult` around rendered metadata.
pub(crate) fn body(metadata_location: Option<&str>, rendered: &[u8]) -> Bytes {
    let location = serde_json::Value::from(metadata_location).to_string();
    let mut body = Vec::with_capacity(rendered.len() + location.len() + 64);
    body.extend_from_slice(b"{\"metadata-location\":");
    body.extend_from_slice(location.as_bytes());
    body.extend_from_slice(b",\"metadata\":");
    body.extend_from_slice(rendered);
    body.extend_from_slice(EMPTY_CONFIG);
    Bytes::from(body)
}

/// The entity tag of a table's answer: differs per version, form and encoding, is the same after a restart.
pub(crate) fn table_etag(metadata_location: &str, refs_only: bool, gzip: bool) -> String {
    let form: &[u8] = match (refs_only, gzip) {
        (false, false) => b"all",
        (true, false) => b"refs",
        (false, true) => b"all gzip",
        (true, true) => b"refs gzip",
    };
    let md5 = digest(&[metadata_location.as_bytes(), b"\0", form]);
    format!("\"{}\"", ETag { md5, parts: 0 })
}

/// Compresses for speed: these bytes are read once or twice.
pub(crate) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    encoder.write_all(plain).expect("writing to memory does not fail");
    encoder.finish().expect("writing to memory does not fail")
}

/// MD5 of `parts`, one behind the other.
pub(crate) fn digest(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Md5::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// The version in a metadata file's name, if it follows the convention.
fn version_of(location: &str) -> Option<u32> {
    let name = location.rsplit('/').next()?;
    let (version, _) = name.split_once('-')?;
    version.parse::<u32>().ok().filter(|version| *version < u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let check = |location: &str, want: Option<u32>| assert_eq!(version_of(location), want, "{location}");
        check("s3://lake/t/metadata/00000-ab-cd.metadata.json", Some(0));
        check("s3://lake/t/metadata/00041-ab-cd.gz.metadata.json", Some(41));
        check("123456-x.metadata.json", Some(123_456));
        check("s3://lake/t/metadata/v3.metadata.json", None);
        check("s3://lake/t/metadata/x-1.metadata.json", None);
        check("4294967295-x.metadata.json", None);
        check("", None);
    }

    #[test]
    fn bodies() {
        assert_eq!(
            body(Some("s3://a/\"b"), b"{}"),
            &br#"{"metadata-location":"s3://a/\"b","metadata":{},"config":{}}"#[..]
        );
        assert_eq!(body(None, b"{}"), &br#"{"metadata-location":null,"metadata":{},"config":{}}"#[..]);
    }

    #[test]
    fn tags_differ_per_form_and_version() {
        let forms = [(false, false), (true, false), (false, true), (true, true)];
        let tags = ["a", "b"].map(|at| forms.map(|(refs_only, gzip)| table_etag(at, refs_only, gzip)));
        let distinct: std::collections::BTreeSet<&String> = tags.iter().flatten().collect();
        assert_eq!(distinct.len(), 8);
        assert!(distinct.iter().all(|tag| tag.len() == 34));
    }

    #[test]
    fn nonsense_is_an_error() {
        assert!(decode("x", b"").is_err());
        assert!(decode("x", b"{").is_err());
        assert!(decode("x", &[0x1f, 0x8b, 1, 2, 3]).is_err());
        assert!(decode("x", &gzip(b"[]")).is_err());
    }
}
