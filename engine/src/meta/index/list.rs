//! Listings of current objects, by range scan.

use bytes::Bytes;

use super::{BucketIndex, cell_of, info_of};
use crate::mutant::{Mutant, seeded};
use crate::object::{ListPage, ListQuery};

impl BucketIndex {
    /// Keys that have an object and start with `prefix`, at most `max`.
    pub(crate) fn keys(&self, prefix: &[u8], max: usize) -> Vec<Bytes> {
        let mut keys: Vec<Bytes> = Vec::new();
        if max == 0 {
            return keys;
        }
        self.objects.scan(prefix, |cell| {
            if !cell.key.starts_with(prefix) {
                return false;
            }
            let is_older = keys.last().is_some_and(|last| cell.key.compare(last).is_eq());
            let is_marker = || cell_of(cell.payload).is_marker;
            if !is_older && !is_marker() {
                keys.push(cell.key.to_vec().into());
            }
            keys.len() < max
        });
        keys
    }

    /// One page of keys and common prefixes, by range scan; a common prefix is passed by one seek.
    ///
    /// Source: Amazon S3 API, ListObjectsV2.
    pub(crate) fn list(&self, query: &ListQuery) -> ListPage {
        let mut page = ListPage::default();
        let (prefix, after, delimiter) = (&query.prefix, &query.after, &query.delimiter);
        let start: &[u8] = if after.as_ref() < prefix.as_ref() { prefix } else { after };
        let mut at = self.objects.seek(start);
        let mut last: Option<Bytes> = None;
        // The key whose newer version was passed last: its older ones are not listed.
        let mut seen: Option<Bytes> = (!after.is_empty()).then(|| after.clone());
        while let Some(found) = self.objects.at(at) {
            if !found.key.starts_with(prefix) {
                break;
            }
            at = self.objects.next(at);
            if seen.as_ref().is_some_and(|seen| found.key.compare(seen).is_eq()) {
                continue;
            }
            let cell = cell_of(found.payload);
            if cell.is_marker {
                if seeded(Mutant::MarkerListed) {
                    continue;
                }
                seen = Some(found.key.to_vec().into());
                continue;
            }
            let key: Bytes = found.key.to_vec().into();
            let rest = &key[prefix.len()..];
            let cut = if delimiter.is_empty() { None } else { find(rest, delimiter) };
            let common = cut.map(|at| key.slice(..prefix.len() + at + delimiter.len()));
            let passed = common.as_ref().is_some_and(|common| !after.is_empty() && common <= after);
            if !passed {
                if query.max <= page.objects.len() + page.prefixes.len() {
                    last = last.map(|last| if seeded(Mutant::ListSkips) { key.clone() } else { last });
                    page.next_after = last.or_else(|| (!after.is_empty()).then(|| after.clone()));
                    return page;
                }
                last = Some(common.as_ref().unwrap_or(&key).clone());
                match &common {
                    Some(common) => page.prefixes.push(common.clone()),
                    None => page.objects.push((key.clone(), info_of(&found, &cell))),
                }
            }
            match common {
                Some(common) => {
                    let Some(next) = successor(&common) else { break };
                    at = self.objects.seek(&next);
                    if seeded(Mutant::SeekTooFar) {
                        at = self.objects.next(at);
                    }
                }
                None => seen = Some(key),
            }
        }
        page
    }
}

pub(super) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    match needle {
        [byte] => haystack.iter().position(|b| b == byte),
        _ => haystack.windows(needle.len()).position(|window| window == needle),
    }
}

/// The smallest byte string greater than every string that starts with `prefix`; `None` when there is none.
pub(super) fn successor(prefix: &[u8]) -> Option<Bytes> {
    let at = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut next = prefix[..=at].to_vec();
    next[at] += 1;
    Some(next.into())
}

#[cfg(test)]
mod tests {
    use super::super::tests::index;
    use super::*;
    use crate::units::BucketId;

    fn check(keys: &[&'static str], query: [&'static str; 3], max: usize, want: &[&str], more: Option<&str>) {
        let index = index(keys);
        let [prefix, delimiter, after] = query.map(Bytes::from_static_str);
        let page = index.buckets[&BucketId(1)].list(&ListQuery { prefix, delimiter, after, max });
        let mut got: Vec<String> =
            page.objects.iter().map(|(key, _)| key).chain(&page.prefixes).map(text).collect();
        got.sort();
        assert_eq!(got, want, "{query:?} of {keys:?}");
        assert_eq!(page.next_after.as_ref().map(text).as_deref(), more, "{query:?}");
    }

    trait FromStaticStr {
        fn from_static_str(text: &'static str) -> Bytes;
    }
    impl FromStaticStr for Bytes {
        fn from_static_str(text: &'static str) -> Bytes {
            Bytes::from_static(text.as_bytes())
        }
    }

    fn text(bytes: &Bytes) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    #[test]
    fn pages() {
        let keys = ["a", "a/1", "a/2", "b", "b/1/x", "c"];
        check(&keys, ["", "", ""], 10, &["a", "a/1", "a/2", "b", "b/1/x", "c"], None);
        check(&keys, ["", "", ""], 2, &["a", "a/1"], Some("a/1"));
        check(&keys, ["", "", "a/1"], 2, &["a/2", "b"], Some("b"));
        check(&keys, ["", "/", ""], 10, &["a", "a/", "b", "b/", "c"], None);
        check(&keys, ["", "/", ""], 2, &["a", "a/"], Some("a/"));
        check(&keys, ["", "/", "a/"], 2, &["b", "b/"], Some("b/"));
        check(&keys, ["", "/", "a/1"], 9, &["b", "b/", "c"], None);
        check(&keys, ["a/", "/", ""], 9, &["a/1", "a/2"], None);
        check(&keys, ["b", "/1", ""], 9, &["b", "b/1"], None);
        check(&keys, ["x", "", ""], 9, &[], None);
        check(&keys, ["a/", "", "a"], 9, &["a/1", "a/2"], None);
        check(&keys, ["", "", ""], 0, &[], None);
        check(&keys, ["", "", "c"], 9, &[], None);
        check(&keys, ["", "", ""], 6, &["a", "a/1", "a/2", "b", "b/1/x", "c"], None);
    }

    #[test]
    fn successors() {
        assert_eq!(successor(b"a/"), Some(Bytes::from_static(b"a0")));
        assert_eq!(successor(b"a\xff\xff"), Some(Bytes::from_static(b"b")));
        assert_eq!(successor(b"\xff"), None);
    }
}
