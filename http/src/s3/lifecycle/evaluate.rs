//! What the rules of a lifecycle say of versions and uploads at a moment. Pure: time and the length of a day are arguments.
//!
//! The runner and the preview judge by [`Clock`] and [`KeyWalk`], answers to requests say by it when an object goes. I1. Rules
//! that overlap are asked each for itself: what one of them removes goes, and of several moments the first counts. I2. What is
//! not known fits no filter: tags that cannot be read, and tags and sizes of delete markers. I3. Days count to the midnight
//! (UTC) that follows them.
//! Source: Amazon S3 User Guide, "Lifecycle rules: based on the object's age", "Elements to describe lifecycle actions".

use std::cell::OnceCell;

use bytes::Bytes;
use nilas_engine::{ObjectInfo, ObjectVersion};

use super::rules::{Expiration, Rule};
use crate::s3::attributes::{self, Attributes};
use crate::tag_set::TagSet;

/// How time is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Milliseconds of a day.
    pub day_ms: u64,
}

impl Clock {
    /// The midnight that follows `days` days after a moment.
    pub fn after(self, from_ms: u64, days: u32) -> u64 {
        let passed = from_ms.saturating_add(u64::from(days).saturating_mul(self.day_ms));
        (passed / self.day_ms).saturating_add(1).saturating_mul(self.day_ms)
    }

    /// The day of a moment, counted from 1970.
    pub fn day_of(self, ms: u64) -> u64 {
        ms / self.day_ms
    }
}

/// An object as filters see it.
struct Seen<'a> {
    size: u64,
    attributes: &'a Bytes,
    tags: OnceCell<Option<TagSet>>,
}

impl<'a> Seen<'a> {
    fn of(info: &'a ObjectInfo) -> Seen<'a> {
        // What an encrypted object is to its readers.
        let size = attributes::plain_bytes(&info.attributes).unwrap_or(info.size);
        Seen { size, attributes: &info.attributes, tags: OnceCell::new() }
    }

    fn has_tags(&self, rule: &Rule<'_>) -> bool {
        if rule.tags.is_empty() {
            return true;
        }
        let read = || Attributes::decode(self.attributes).ok().map(|attributes| attributes.tags);
        let Some(tags) = self.tags.get_or_init(read) else { return false };
        rule.tags.iter().all(|(key, value)| tags.get(key) == Some(value))
    }
}

/// Whether a rule is about an object (`None`: a delete marker) of that key.
fn is_about(rule: &Rule<'_>, key: &[u8], object: Option<&Seen<'_>>) -> bool {
    if !key.starts_with(rule.prefix.as_bytes()) {
        return false;
    }
    match object {
        None => rule.tags.is_empty() && rule.larger.is_none() && rule.smaller.is_none(),
        Some(object) => {
            rule.larger.is_none_or(|size| size < object.size)
                && rule.smaller.is_none_or(|size| object.size < size)
                && object.has_tags(rule)
        }
    }
}

/// When the current object of a key expires, and the id of the rule that says so; `rules` are those in force.
pub fn current_due<'r>(
    rules: impl Iterator<Item = Rule<'r>>,
    clock: Clock,
    key: &[u8],
    info: &ObjectInfo,
) -> Option<(u64, &'r str)> {
    let seen = Seen::of(info);
    let due = |rule: Rule<'r>| {
        let due_ms = match rule.expiration? {
            Expiration::Days(days) => clock.after(info.modified_ms, days),
            Expiration::Date(ms) => ms,
        };
        is_about(&rule, key, Some(&seen)).then_some((due_ms, rule.id))
    };
    rules.filter_map(due).min_by_key(|(due_ms, _)| *due_ms)
}

/// When an upload is ended, and the id of the rule that says so; `rules` are those in force.
pub fn upload_due<'r>(
    rules: impl Iterator<Item = Rule<'r>>,
    clock: Clock,
    key: &[u8],
    created_ms: u64,
) -> Option<(u64, &'r str)> {
    let due = |rule: Rule<'r>| {
        let days = rule.abort_days.filter(|_| key.starts_with(rule.prefix.as_bytes()))?;
        Some((clock.after(created_ms, days), rule.id))
    };
    rules.filter_map(due).min_by_key(|(due_ms, _)| *due_ms)
}

/// Goes through the versions of keys, newest first.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyWalk {
    /// When the version above was made: since then what follows is noncurrent.
    since_ms: u64,
    /// Noncurrent objects above; delete markers do not count.
    newer: u32,
}

impl KeyWalk {
    /// Whether `rules`, those in force, say that a version goes at a moment. To be asked for each version of a key.
    pub fn goes(
        &mut self,
        rules: &[Rule<'_>],
        clock: Clock,
        now_ms: u64,
        version: &ObjectVersion,
        has_older: bool,
    ) -> bool {
        let ObjectVersion { key, info, is_latest, is_marker } = version;
        let (since_ms, newer) = (self.since_ms, self.newer);
        self.since_ms = info.modified_ms;
        match (*is_latest, *is_marker) {
            (true, _) => self.newer = 0,
            (false, false) => self.newer = newer.saturating_add(1),
            (false, true) => {}
        }
        match (*is_latest, *is_marker) {
            (true, false) => {
                let due = current_due(rules.iter().copied(), clock, key, info);
                due.is_some_and(|(due_ms, _)| due_ms <= now_ms)
            }
            (true, true) => {
                let is_old = |rule: &Rule<'_>| match rule.expiration {
                    Some(Expiration::Days(days)) => clock.after(info.modified_ms, days) <= now_ms,
                    _ => false,
                };
                let removes =
                    |rule: &Rule<'_>| (rule.removes_markers() || is_old(rule)) && is_about(rule, key, None);
                !has_older && rules.iter().any(removes)
            }
            (false, is_marker) => {
                let seen = (!is_marker).then(|| Seen::of(info));
                rules.iter().any(|rule| {
                    let Some((days, keeps)) = rule.noncurrent else { return false };
                    u32::from(keeps) <= newer
                        && clock.after(since_ms, days) <= now_ms
                        && is_about(rule, key, seen.as_ref())
                })
            }
        }
    }
}

/// The shortest prefixes that hold all keys which some rules are about, in byte order: none begins another.
pub fn prefixes<'r>(rules: impl Iterator<Item = Rule<'r>>) -> Vec<&'r str> {
    let mut all: Vec<&str> = rules.map(|rule| rule.prefix).collect();
    all.sort_unstable();
    all.dedup_by(|next, kept| next.starts_with(*kept));
    all
}

#[cfg(test)]
mod tests {
    use nilas_engine::{ETag, Lock, Sequence};

    use super::super::rules::{Rules, TransitionSizes, encode};
    use super::*;
    use crate::s3::request_xml::parse_lifecycle;

    const DAY: u64 = 86_400_000;
    const CLOCK: Clock = Clock { day_ms: DAY };

    fn kept(rules: &str) -> Bytes {
        let document = format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>");
        let mut made = 0;
        let id = || {
            made += 1;
            format!("made-{made}")
        };
        encode(&parse_lifecycle(document.as_bytes()).expect("a document"), TransitionSizes::All128K, id)
            .expect("rules")
    }

    fn rule(inner: &str) -> String {
        format!("<Rule><Status>Enabled</Status>{inner}</Rule>")
    }

    /// An object that was made at noon of a day.
    fn object(key: &str, day: u64, size: u64, tags: &str) -> ObjectVersion {
        let modified_ms = day * DAY + DAY / 2;
        let tags = crate::tag_set::from_header(tags).expect("tags");
        let info = ObjectInfo {
            sequence: Sequence(1),
            is_null: false,
            size,
            modified_ms,
            etag: ETag::default(),
            attributes: Attributes { tags, ..Attributes::default() }.encode(),
            lock: Lock::NONE,
        };
        ObjectVersion { key: Bytes::copy_from_slice(key.as_bytes()), info, is_latest: true, is_marker: false }
    }

    #[test]
    fn days_end_at_the_midnight_that_follows() {
        let hours = |hours: u64| hours * 3_600_000;
        assert_eq!(CLOCK.after(hours(10), 3), 4 * DAY);
        assert_eq!(CLOCK.after(0, 1), 2 * DAY);
        assert_eq!(CLOCK.after(DAY - 1, 1), 2 * DAY);
        assert_eq!(CLOCK.after(u64::MAX, u32::MAX), u64::MAX);
        assert_eq!(Clock { day_ms: 1_000 }.after(2_500, 2), 5_000);
    }

    #[test]
    fn current_objects() {
        let check = |rules: &str, version: &ObjectVersion, want: Option<(u64, &str)>| {
            let value = kept(rules);
            let rules = Rules::new(&value).expect("own bytes");
            let due = current_due(rules.enabled(), CLOCK, &version.key, &version.info);
            assert_eq!(due.map(|(ms, id)| (ms / DAY, id)), want, "{version:?}");
            let enabled: Vec<Rule<'_>> = rules.enabled().collect();
            for day in 0..50 {
                let goes = KeyWalk::default().goes(&enabled, CLOCK, day * DAY, version, false);
                assert_eq!(goes, want.is_some_and(|(due, _)| due <= day), "day {day}");
            }
        };
        let days = |filter: &str, days: u32| {
            rule(&format!("<Filter>{filter}</Filter><Expiration><Days>{days}</Days></Expiration>"))
        };
        let plain = object("logs/a", 10, 100, "");
        check(&days("", 1), &plain, Some((12, "made-1")));
        check(&days("<Prefix>logs/</Prefix>", 1), &plain, Some((12, "made-1")));
        check(&days("<Prefix>log/</Prefix>", 1), &plain, None);
        // The first moment of all counts.
        check(&format!("{}{}{}", days("", 9), days("", 2), days("", 5)), &plain, Some((13, "made-2")));
        check(&days("<ObjectSizeGreaterThan>99</ObjectSizeGreaterThan>", 1), &plain, Some((12, "made-1")));
        check(&days("<ObjectSizeGreaterThan>100</ObjectSizeGreaterThan>", 1), &plain, None);
        check(&days("<ObjectSizeLessThan>101</ObjectSizeLessThan>", 1), &plain, Some((12, "made-1")));
        check(&days("<ObjectSizeLessThan>100</ObjectSizeLessThan>", 1), &plain, None);
        let tagged = object("logs/a", 10, 100, "a=1&b=2");
        let tag = |key: &str, value: &str| format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>");
        check(&days(&tag("a", "1"), 1), &tagged, Some((12, "made-1")));
        check(&days(&tag("a", "2"), 1), &tagged, None);
        check(&days(&tag("a", "1"), 1), &plain, None);
        let both = format!("<And><Prefix>logs</Prefix>{}{}</And>", tag("b", "2"), tag("a", "1"));
        check(&days(&both, 1), &tagged, Some((12, "made-1")));
        let more = format!("<And>{}{}</And>", tag("b", "2"), tag("c", "1"));
        check(&days(&more, 1), &tagged, None);
        // Tags that cannot be read fit nothing.
        let mut damaged = tagged.clone();
        damaged.info.attributes = Bytes::from_static(&[9, 9]);
        check(&days(&tag("a", "1"), 1), &damaged, None);
        check(&days("", 1), &damaged, Some((12, "made-1")));
        let date = "<Filter/><Expiration><Date>1970-01-21</Date></Expiration>";
        check(&rule(date), &plain, Some((20, "made-1")));
        let off = days("", 1).replace("Enabled", "Disabled");
        check(&off, &plain, None);
        check(
            &rule(
                "<Filter/><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>",
            ),
            &plain,
            None,
        );
    }

    /// Which of the versions of one key go, `M` for a marker; each made on the day of its number, newest first.
    fn going(rules: &str, now_day: u64, versions: &[(u64, bool)]) -> String {
        let value = kept(rules);
        let enabled: Vec<Rule<'_>> = Rules::new(&value).expect("own bytes").enabled().collect();
        let mut walk = KeyWalk::default();
        let told = versions.iter().enumerate().map(|(nth, (day, is_marker))| {
            let mut version = object("k", *day, 5, "");
            (version.is_latest, version.is_marker) = (nth == 0, *is_marker);
            let has_older = nth + 1 < versions.len();
            match walk.goes(&enabled, CLOCK, now_day * DAY, &version, has_older) {
                true => 'x',
                false => '.',
            }
        });
        told.collect()
    }

    #[test]
    fn noncurrent_versions_and_markers() {
        let check = |rules: &str, day: u64, versions: &[(u64, bool)], want: &str| {
            assert_eq!(going(rules, day, versions), want, "{rules} on day {day}: {versions:?}");
        };
        let noncurrent = |days: u32, newer: &str, filter: &str| {
            rule(&format!(
                "<Filter>{filter}</Filter><NoncurrentVersionExpiration><NoncurrentDays>{days}</NoncurrentDays>{newer}</NoncurrentVersionExpiration>"
            ))
        };
        let objects = [(20, false), (15, false), (10, false), (1, false)];
        // What counts is since when a version is noncurrent, not its age.
        check(&noncurrent(2, "", ""), 10, &objects, "....");
        check(&noncurrent(2, "", ""), 12, &objects, "....");
        check(&noncurrent(2, "", ""), 13, &objects, "...x");
        check(&noncurrent(2, "", ""), 18, &objects, "..xx");
        check(&noncurrent(2, "", ""), 23, &objects, ".xxx");
        let newer = |count: u32| format!("<NewerNoncurrentVersions>{count}</NewerNoncurrentVersions>");
        check(&noncurrent(2, &newer(1), ""), 23, &objects, "..xx");
        check(&noncurrent(2, &newer(2), ""), 23, &objects, "...x");
        check(&noncurrent(2, &newer(3), ""), 23, &objects, "....");
        check(
            &format!("{}{}", noncurrent(2, &newer(3), ""), noncurrent(2, &newer(2), "")),
            23,
            &objects,
            "...x",
        );
        // Markers among them go as well, and are not counted among what is kept.
        let deleted = [(20, true), (15, false), (12, true), (10, false), (1, false)];
        check(&noncurrent(2, "", ""), 23, &deleted, ".xxxx");
        check(&noncurrent(2, &newer(1), ""), 23, &deleted, "..xxx");
        check(&noncurrent(2, &newer(2), ""), 23, &deleted, "....x");
        check(&noncurrent(2, "", "<ObjectSizeLessThan>9</ObjectSizeLessThan>"), 23, &deleted, ".x.xx");
        let markers = rule(
            "<Filter/><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>",
        );
        check(&markers, 21, &deleted, ".....");
        check(&markers, 21, &[(20, true)], "x");
        check(&markers, 21, &[(20, false)], ".");
        check(&markers, 21, &[(20, true), (19, true)], "..");
        let days = rule("<Filter/><Expiration><Days>3</Days></Expiration>");
        check(&days, 23, &[(20, true)], ".");
        check(&days, 24, &[(20, true)], "x");
        check(&days, 24, &[(20, true), (1, false)], "..");
        check(&days, 24, &[(20, false), (1, false)], "x.");
        let date = rule("<Filter/><Expiration><Date>1970-01-02</Date></Expiration>");
        check(&date, 24, &[(20, true)], ".");
    }

    #[test]
    fn uploads() {
        let value = kept(&format!(
            "{}{}",
            rule(
                "<Filter><Prefix>a</Prefix></Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>5</DaysAfterInitiation></AbortIncompleteMultipartUpload>"
            ),
            rule(
                "<Prefix>ab</Prefix><AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation></AbortIncompleteMultipartUpload>"
            ),
        ));
        let check = |key: &str, want: Option<(u64, &str)>| {
            let rules = Rules::new(&value).expect("own bytes");
            let due = upload_due(rules.enabled(), CLOCK, key.as_bytes(), 10 * DAY + 1);
            assert_eq!(due.map(|(ms, id)| (ms / DAY, id)), want, "{key}");
        };
        check("a", Some((16, "made-1")));
        check("abc", Some((13, "made-2")));
        check("b", None);
    }

    #[test]
    fn prefixes_that_hold_others() {
        let check = |all: &[&str], want: &[&str]| {
            let rules: String = (all.iter())
                .map(|prefix| {
                    rule(&format!("<Prefix>{prefix}</Prefix><Expiration><Days>1</Days></Expiration>"))
                })
                .collect();
            let value = kept(&rules);
            assert_eq!(prefixes(Rules::new(&value).expect("own bytes").enabled()), want);
        };
        check(&["b", "a", "ab", "b"], &["a", "b"]);
        check(&["b", "", "a"], &[""]);
        check(&["a/", "a-", "a/b", "a0"], &["a-", "a/", "a0"]);
    }
}
