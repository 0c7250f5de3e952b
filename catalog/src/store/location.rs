//! Where a table's files lie: checks on locations that clients choose, and the set of those in use.
//!
//! I1. Every table's location is a key prefix in the warehouse's own bucket, never the bucket itself.
//! I2. No table's location, nor one that it had before, is, lies in or holds one of another table or of a purge at work:
//! what lies under it was written by that table, or by somebody who says so.
//! I3. A location that a client chooses is one in which the table lies already, or the one that the catalog would choose, staged
//! by this client or empty, or the
//! client may read, write and delete what lies there: rights on a table give nothing of what others left behind.

use std::collections::BTreeMap;
use std::ops::Bound;

use nilas_engine::LocalBucket;
use serde_json::Value;

use crate::limits::{LOCATION_KEY_BYTES_MAX, OverLimit, TABLE_LOCATIONS_MAX, at_most};
use crate::model::Pointer;
use crate::store::failure::CatalogError;
use crate::store::names::{Ident, NamespaceName};
use crate::store::state::Warehouse;

/// The property of a table that says where its metadata files go.
pub(crate) const METADATA_PATH: &str = "write.metadata.path";

/// The properties of a table that say where files go, if elsewhere than to its location.
pub(crate) const PATHS: [&str; 4] =
    [METADATA_PATH, "write.data.path", "write.object-storage.path", "write.folder-storage.path"];

/// A location that a request chooses for a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) ident: Ident,
    /// The UUID that the table is given; `None` when the request says none.
    pub(crate) uuid: Option<String>,
    /// A key prefix, no slash at its end.
    pub(crate) key: String,
}

impl Chosen {
    /// Whether the table lies there already, or the place is new and its own for `by`, who chooses it: see I3.
    pub(crate) fn is_own(&self, by: &str, warehouse: &Warehouse, bucket: &LocalBucket) -> bool {
        let own = warehouse.find(&self.ident).map(|table| &*table.pointer);
        if own.is_some_and(|own| own.location_keys().any(|own| lies_in(&self.key, own))) {
            return true;
        }
        let uuid = own.map(|own| own.uuid.as_str()).or(self.uuid.as_deref());
        let Some(uuid) = uuid else { return false };
        let by_default = default_location(warehouse, &self.ident.namespace, uuid);
        // Who was given the place may have put data and manifests there already. For anybody else it has to be empty.
        let is_new = || bucket.object_keys(format!("{}/", self.key).as_bytes(), 1).is_empty();
        table_key(&by_default, &warehouse.name).is_ok_and(|key| key == self.key)
            && (warehouse.staged.is_of(&self.key, by) || is_new())
    }
}

/// Where a table of a namespace lies whose creator does not say: in its `location`, when a table can lie there, else in the warehouse.
pub(crate) fn default_location(warehouse: &Warehouse, namespace: &NamespaceName, uuid: &str) -> String {
    let properties = warehouse.namespace(namespace).ok().map(|namespace| &namespace.properties);
    let location = properties.and_then(|properties| properties.get("location")).and_then(Value::as_str);
    let within = location.map(|location| format!("{}/{uuid}", location.trim_end_matches('/')));
    let is_usable =
        |location: &String| table_key(location, &warehouse.name).is_ok_and(|key| !key.contains("//"));
    within.filter(is_usable).unwrap_or_else(|| format!("s3://{}/{uuid}", warehouse.name))
}

/// Whether a key, or key prefix, is `prefix` or lies in it.
pub(crate) fn lies_in(key: &str, prefix: &str) -> bool {
    key.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The key prefix (no slash at either end) that `location` names in bucket `warehouse`.
pub(crate) fn table_key(location: &str, warehouse: &str) -> Result<String, CatalogError> {
    let key = object_key(location, warehouse)?;
    let key = key.trim_end_matches('/');
    if key.is_empty() {
        return Err(refused(location, "it is the warehouse itself"));
    }
    at_most("LOCATION_KEY_BYTES_MAX", LOCATION_KEY_BYTES_MAX, key.len())?;
    Ok(key.to_owned())
}

/// The object key that `location` names in bucket `warehouse`.
pub(crate) fn object_key<'a>(location: &'a str, warehouse: &str) -> Result<&'a str, CatalogError> {
    let rest = without_scheme(location).ok_or_else(|| refused(location, "it is not an s3:// location"))?;
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket != warehouse {
        return Err(refused(location, "it is in another bucket"));
    }
    if key.split('/').any(|part| part == "." || part == "..") {
        return Err(refused(location, "it has a relative part"));
    }
    if key.starts_with('/') || key.chars().any(char::is_control) {
        return Err(refused(location, "it has an empty first part or a control character"));
    }
    Ok(key)
}

/// The earlier locations of a table that goes from `before` to `location_key`: it keeps all that it had.
pub(crate) fn earlier(before: Option<&Pointer>, location_key: &str) -> Result<Vec<String>, OverLimit> {
    let Some(before) = before else { return Ok(Vec::new()) };
    let had = before.location_keys().filter(|key| *key != location_key);
    let earlier: Vec<String> = had.map(str::to_owned).collect();
    at_most("TABLE_LOCATIONS_MAX", TABLE_LOCATIONS_MAX, earlier.len() + 1)?;
    Ok(earlier)
}

/// The places whose files are one table's: nobody else's may lie there.
#[derive(Debug, Default)]
pub(crate) struct OwnPlaces {
    warehouse: String,
    /// Of the table's locations, no slash at their end.
    prefixes: Vec<String>,
}

impl OwnPlaces {
    pub(crate) fn new(warehouse: &str, prefixes: Vec<String>) -> OwnPlaces {
        OwnPlaces { warehouse: warehouse.to_owned(), prefixes }
    }

    /// The key of the file at `location`, when it is one of these. One whose key is the prefix itself is not.
    pub(crate) fn key<'a>(&self, location: &'a str) -> Option<&'a str> {
        let (bucket, key) = file_of(location)?;
        let holds =
            |prefix: &String| key.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with('/'));
        (bucket == self.warehouse && self.prefixes.iter().any(holds)).then_some(key)
    }
}

/// The bucket and key of a file, as they are written in metadata: nothing is decoded. `None` when it is no object of S3.
pub(crate) fn file_of(location: &str) -> Option<(&str, &str)> {
    let (bucket, key) = without_scheme(location)?.split_once('/')?;
    (!bucket.is_empty() && !key.is_empty()).then_some((bucket, key))
}

fn without_scheme(location: &str) -> Option<&str> {
    ["s3://", "s3a://", "s3n://"].iter().find_map(|scheme| location.strip_prefix(scheme))
}

fn refused(location: &str, why: &'static str) -> CatalogError {
    CatalogError::Location { location: location.to_owned(), why }
}

/// What has a key prefix to itself, by the name of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LocationUser {
    Table(Ident),
    /// The table is dropped, and its files are on their way out.
    Purge(String),
}

/// The key prefixes in use, each with what uses it.
#[derive(Debug, Default)]
pub(crate) struct Locations {
    /// Prefix with one slash at its end → user.
    used: BTreeMap<String, LocationUser>,
}

impl Locations {
    /// Refuses `key` when it is, lies in, or holds a prefix in use, other than those of the table whose pointer is `own`.
    pub(crate) fn check_free(
        &self,
        key: &str,
        own: Option<&Pointer>,
        location: &str,
    ) -> Result<(), CatalogError> {
        let wanted = slashed(key);
        let is_own = |used: &str| {
            own.is_some_and(|own| own.location_keys().any(|key| used.strip_suffix('/') == Some(key)))
        };
        let within = self
            .used
            .range::<str, _>((Bound::Included(wanted.as_str()), Bound::Unbounded))
            .take_while(|(used, _)| used.starts_with(&wanted));
        let around = wanted.match_indices('/').filter_map(|(at, _)| self.used.get_key_value(&wanted[..=at]));
        match within.chain(around).find(|(used, _)| !is_own(used)) {
            Some((_, LocationUser::Table(by))) => {
                Err(CatalogError::LocationTaken { location: location.to_owned(), by: by.to_string() })
            }
            Some((_, LocationUser::Purge(by))) => {
                Err(CatalogError::LocationPurging { location: location.to_owned(), by: by.clone() })
            }
            None => Ok(()),
        }
    }

    /// The table that has `key` in its locations.
    pub(crate) fn table_of(&self, key: &str) -> Option<&Ident> {
        let mut end = key.len();
        loop {
            let before = (Bound::Unbounded, Bound::Included(&key[..end]));
            let (used, user) = self.used.range::<str, _>(before).next_back()?;
            if key.starts_with(used.as_str()) {
                return match user {
                    LocationUser::Table(ident) => Some(ident),
                    LocationUser::Purge(_) => None,
                };
            }
            // One that holds the key is a beginning of both, for it is before `used`, and all between begin with it.
            let same = used.bytes().zip(key.bytes()).take_while(|(a, b)| a == b).count();
            end = key.as_bytes()[..same].iter().rposition(|byte| *byte == b'/')? + 1;
        }
    }

    pub(crate) fn take(&mut self, key: &str, by: LocationUser) {
        self.used.insert(slashed(key), by);
    }

    pub(crate) fn release(&mut self, key: &str) {
        self.used.remove(&slashed(key));
    }
}

fn slashed(key: &str) -> String {
    format!("{}/", key.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::names::NamespaceName;

    #[test]
    fn keys() {
        let check = |location: &str, want: Option<&str>| {
            assert_eq!(table_key(location, "lake").ok().as_deref(), want, "{location}");
        };
        check("s3://lake/a", Some("a"));
        check("s3://lake/a/b/", Some("a/b"));
        check("s3a://lake/a b/ü", Some("a b/ü"));
        check("s3://lake", None);
        check("s3://lake/", None);
        check("s3://other/a", None);
        check("s3://lake2/a", None);
        check("s3://lake/a/../b", None);
        check("s3://lake//a", None);
        check("file:/tmp/a", None);
        check("lake/a", None);
        check("", None);
        check(&format!("s3://lake/{}", "a".repeat(901)), None);
    }

    #[test]
    fn prefixes() {
        let check =
            |key: &str, prefix: &str, want: bool| assert_eq!(lies_in(key, prefix), want, "{key} {prefix}");
        check("a/b", "a/b", true);
        check("a/b/c", "a/b", true);
        check("a/bc", "a/b", false);
        check("a", "a/b", false);
        check("", "a", false);
    }

    #[test]
    fn files() {
        let check =
            |location: &str, want: Option<(&str, &str)>| assert_eq!(file_of(location), want, "{location}");
        check("s3://lake/a", Some(("lake", "a")));
        check("s3a://lake/a b/ü?x#y", Some(("lake", "a b/ü?x#y")));
        check("s3n://lake//a/../b", Some(("lake", "/a/../b")));
        check("s3://lake/a%20b", Some(("lake", "a%20b")));
        check("s3://lake/", None);
        check("s3://lake", None);
        check("s3:///a", None);
        check("S3://lake/a", None);
        check("gs://lake/a", None);
        check("/lake/a", None);
        check("", None);
    }

    fn ident(name: &str) -> Ident {
        Ident::new(NamespaceName::parse("ns").expect("valid"), name).expect("valid")
    }

    #[test]
    fn tables_of_keys() {
        let mut locations = Locations::default();
        let used = ["a/b", "a/b/c", "a/d", "m", "x/y", "ü/ö"];
        for key in used {
            locations.take(key, LocationUser::Table(ident(&key.replace('/', "-"))));
        }
        locations.take("p/q", LocationUser::Purge("ns.p".to_owned()));
        let check = |key: &str, want: Option<&str>| {
            let got = locations.table_of(key).map(|ident| ident.name.as_str());
            // The long way: every prefix that ends with a slash.
            let mut long = key.match_indices('/').filter_map(|(at, _)| {
                used.iter().find(|used| **used == &key[..at]).map(|used| used.replace('/', "-"))
            });
            assert_eq!(got, want, "{key}");
            assert_eq!(got.map(str::to_owned), long.next_back(), "{key}");
        };
        check("a/b/x", Some("a-b"));
        check("a/b/", Some("a-b"));
        check("a/b/c/x", Some("a-b-c"));
        check("a/b/cc/x", Some("a-b"));
        check("a/b/d/x/y/z", Some("a-b"));
        check("a/d/a/b/x", Some("a-d"));
        check("m/\u{10ffff}", Some("m"));
        check("m/n", Some("m"));
        check("x/y/ü", Some("x-y"));
        check("ü/ö/x", Some("ü-ö"));
        check("ü/öa/x", None);
        check("a/b", None);
        check("a/bb/x", None);
        check("a/c/x", None);
        check("a/", None);
        check("mm/x", None);
        check("/a/b/x", None);
        check("zz", None);
        check("", None);
        assert_eq!(locations.table_of("p/q/x"), None);
    }

    #[test]
    fn own_places() {
        let own = OwnPlaces::new("lake", vec!["a/b".to_owned(), "x".to_owned()]);
        let check = |location: &str, want: Option<&str>| assert_eq!(own.key(location), want, "{location}");
        check("s3://lake/a/b/k", Some("a/b/k"));
        check("s3a://lake/x//k", Some("x//k"));
        check("s3://lake/a/b", None);
        check("s3://lake/a/bc/k", None);
        check("s3://lake/a/k", None);
        check("s3://else/x/k", None);
        check("file:/lake/x/k", None);
        check("x/k", None);
        assert_eq!(OwnPlaces::default().key("s3://lake/x"), None);
    }

    #[test]
    fn overlap() {
        let mut locations = Locations::default();
        for key in ["a/b", "x/y"] {
            locations.take(key, LocationUser::Table(ident("t")));
        }
        let check = |key: &str, own: Option<&str>, want: bool| {
            let own = own.map(|key| Pointer {
                uuid: String::new(),
                metadata_location: String::new(),
                location_key: "x/y".to_owned(),
                earlier: vec![key.to_owned()],
            });
            assert_eq!(locations.check_free(key, own.as_ref(), key).is_ok(), want, "{key}");
        };
        check("x/y/z", None, false);
        check("x/y/z", Some("a/b"), true);
        check("a/b", None, false);
        check("a", None, false);
        check("a/b/c/d", None, false);
        check("a/bc", None, true);
        check("a/b-c", None, true);
        check("a/c", None, true);
        check("b", None, true);
        check("a/b", Some("a/b"), true);
        check("a/b/c", Some("a/b"), true);
        check("a", Some("a/b"), true);
        let refused = |locations: &Locations| locations.check_free("a/b/c", None, "l").expect_err("taken");
        assert!(matches!(refused(&locations), CatalogError::LocationTaken { .. }));
        locations.take("a/b", LocationUser::Purge("ns.t".to_owned()));
        assert!(matches!(refused(&locations), CatalogError::LocationPurging { .. }));
        locations.release("a/b");
        assert!(locations.check_free("a/b/c", None, "l").is_ok());
    }
}
