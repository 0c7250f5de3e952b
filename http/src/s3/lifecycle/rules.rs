//! The rules of a bucket's lifecycle: what S3 takes of them, how they are kept, and how they are shown again. Pure.
//!
//! `request_xml` reads documents, [`encode`] holds them against S3's rules and makes the value of the bucket's setting
//! [`SettingKind::LIFECYCLE`]; [`Rules`] reads it without a copy. I1. [`Rules::new`] takes any bytes without panic, and what it
//! cannot read was written by a newer version: then nothing expires, and it is not written over. I2. A rule comes back as it
//! was sent, but for an id that it did not have.
//!
//! Layout, integers little-endian: `version u8 = 1` · `sizes u8` (1: varies by storage class), then for each rule
//! `flags u16` · id · prefix · `count u8` of tags, key and value of each · what the flags say there is, in their order:
//! `larger than u64` · `smaller than u64` · `days u32` · `date u64` · `noncurrent days u32` · `newer u8` · `abort days u32`.
//! A text is `len u16` · bytes.
//! Source: Amazon S3 API Reference, PutBucketLifecycleConfiguration; User Guide, "Lifecycle configuration elements".

use bytes::{BufMut, Bytes, BytesMut};
use nilas_engine::calendar::DAY_MS;
use nilas_engine::limits::SETTING_BYTES_MAX;
use nilas_engine::{BucketSettings, EngineError, SettingKind};

use crate::identity::policy::parse_moment;
use crate::limits::{
    KEY_BYTES_MAX, LIFECYCLE_ID_CHARS_MAX, LIFECYCLE_NEWER_MAX, LIFECYCLE_RULES_MAX, LIFECYCLE_SIZE_MAX,
    OBJECT_TAGS_MAX, TAG_KEY_CHARS_MAX, TAG_VALUE_CHARS_MAX,
};
use crate::render::error::S3Error;
use crate::render::time::iso_8601;
use crate::render::xml::Xml;

const VERSION: u8 = 1;

const DISABLED: u16 = 1;
/// The prefix stands in the rule itself and not in a filter.
const OLD_PREFIX: u16 = 1 << 1;
/// The filter has a prefix, empty or not.
const FILTER_PREFIX: u16 = 1 << 2;
/// What the filter asks for stands in an `And`.
const AND: u16 = 1 << 3;
const LARGER: u16 = 1 << 4;
const SMALLER: u16 = 1 << 5;
const DAYS: u16 = 1 << 6;
const DATE: u16 = 1 << 7;
const MARKER: u16 = 1 << 8;
const NONCURRENT: u16 = 1 << 9;
const NEWER: u16 = 1 << 10;
const ABORT: u16 = 1 << 11;
const KNOWN: u16 = (1 << 12) - 1;

/// `Filter`, as sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterDocument {
    /// Whether it stands in an `And`.
    pub and: bool,
    /// `Prefix`.
    pub prefix: Option<String>,
    /// `Tag`.
    pub tags: Vec<(String, String)>,
    /// `ObjectSizeGreaterThan`.
    pub larger: Option<i64>,
    /// `ObjectSizeLessThan`.
    pub smaller: Option<i64>,
}

/// `Expiration`, as sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpirationDocument {
    /// `Days`.
    pub days: Option<i64>,
    /// `Date`.
    pub date: Option<String>,
    /// `ExpiredObjectDeleteMarker`.
    pub marker: Option<bool>,
}

/// `Rule`, as sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleDocument {
    /// `ID`.
    pub id: Option<String>,
    /// `Status`.
    pub status: Option<String>,
    /// `Prefix` of the rule itself.
    pub prefix: Option<String>,
    /// `Filter`.
    pub filter: Option<FilterDocument>,
    /// `Expiration`.
    pub expiration: Option<ExpirationDocument>,
    /// `NoncurrentVersionExpiration`: its days, and how many newer versions stay.
    pub noncurrent: Option<(Option<i64>, Option<i64>)>,
    /// `AbortIncompleteMultipartUpload`: its days.
    pub abort: Option<Option<i64>>,
    /// `Transition` or `NoncurrentVersionTransition`: which of them there is.
    pub transition: Option<&'static str>,
}

/// What S3 calls the smallest objects that a transition takes. There are none, so it is kept and told only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransitionSizes {
    /// 128 KiB whatever the storage class.
    #[default]
    All128K,
    /// As the storage class says.
    Varies,
}

impl TransitionSizes {
    /// Parses the header's value.
    pub fn parse(text: &str) -> Option<TransitionSizes> {
        [TransitionSizes::All128K, TransitionSizes::Varies].into_iter().find(|sizes| sizes.name() == text)
    }

    /// As the header says it.
    pub fn name(self) -> &'static str {
        match self {
            TransitionSizes::All128K => "all_storage_classes_128K",
            TransitionSizes::Varies => "varies_by_storage_class",
        }
    }
}

fn argument(
    message: impl Into<std::borrow::Cow<'static, str>>,
    name: &'static str,
    value: String,
) -> S3Error {
    S3Error::InvalidArgument { message: message.into(), name, value }
}

/// Days of an action: positive, as many as 31 bits hold.
fn positive(days: i64, element: &'static str, action: &str) -> Result<u32, S3Error> {
    match u32::try_from(days).ok().filter(|days| 0 < *days && i32::try_from(*days).is_ok()) {
        Some(days) => Ok(days),
        None => {
            let message = format!("'{element}' for {action} action must be a positive integer");
            Err(argument(message, element, days.to_string()))
        }
    }
}

/// Days since 1970 of a date at midnight.
fn midnight(text: &str) -> Result<u64, S3Error> {
    // Seconds since 1970 are no date here.
    let ms = parse_moment(text).filter(|_| text.contains('-')).ok_or(S3Error::MalformedXml)?;
    let ms = u64::try_from(ms).map_err(|_| S3Error::MalformedXml)?;
    match ms.is_multiple_of(DAY_MS) {
        true => Ok(ms),
        false => Err(argument("'Date' must be at midnight GMT", "Date", text.to_owned())),
    }
}

fn size_of(asked: i64, element: &str, min: u64) -> Result<u64, S3Error> {
    let size = u64::try_from(asked).ok().filter(|size| (min..=LIFECYCLE_SIZE_MAX).contains(size));
    size.ok_or_else(|| {
        S3Error::invalid_request(format!("'{element}' should be between {min} and {LIFECYCLE_SIZE_MAX}."))
    })
}

impl RuleDocument {
    /// Holds the rule against what S3 takes and adds it to the value.
    fn put(&self, id: &str, out: &mut BytesMut) -> Result<(), S3Error> {
        let mut flags = match self.status.as_deref() {
            Some("Enabled") => 0,
            Some("Disabled") => DISABLED,
            _ => return Err(S3Error::MalformedXml),
        };
        if let Some(transition) = self.transition {
            return Err(S3Error::NotImplementedParameter { parameter: transition.to_owned() });
        }
        let empty = FilterDocument::default();
        let (filter, prefix) = match (&self.filter, &self.prefix) {
            (Some(filter), None) => (filter, filter.prefix.as_ref()),
            (None, Some(prefix)) => (&empty, Some(prefix)),
            _ => return Err(S3Error::MalformedXml),
        };
        flags |= if self.prefix.is_some() { OLD_PREFIX } else { 0 };
        flags |= if filter.prefix.is_some() { FILTER_PREFIX } else { 0 };
        flags |= if filter.and { AND } else { 0 };
        let prefix = prefix.map_or("", String::as_str);
        if KEY_BYTES_MAX < prefix.len() {
            return Err(S3Error::invalid_request(format!(
                "The maximum size of a prefix is {KEY_BYTES_MAX}."
            )));
        }
        check_tags(&filter.tags)?;
        let larger = filter.larger.map(|size| size_of(size, "ObjectSizeGreaterThan", 0)).transpose()?;
        let smaller = filter.smaller.map(|size| size_of(size, "ObjectSizeLessThan", 1)).transpose()?;
        if larger.zip(smaller).is_some_and(|(larger, smaller)| smaller <= larger) {
            return Err(S3Error::invalid_request(
                "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.",
            ));
        }
        flags |= if larger.is_some() { LARGER } else { 0 } | if smaller.is_some() { SMALLER } else { 0 };

        let mut numbers = BytesMut::with_capacity(32);
        larger.into_iter().chain(smaller).for_each(|size| numbers.put_u64_le(size));
        if let Some(expiration) = &self.expiration {
            flags |= self.put_expiration(expiration, &mut numbers)?;
        }
        if let Some((days, newer)) = self.noncurrent {
            let days = days.ok_or(S3Error::MalformedXml)?;
            flags |= NONCURRENT;
            numbers.put_u32_le(positive(days, "NoncurrentDays", "NoncurrentVersionExpiration")?);
            if let Some(newer) = newer {
                let count =
                    u8::try_from(newer).ok().filter(|count| (1..=LIFECYCLE_NEWER_MAX).contains(count));
                let message = format!(
                    "'NewerNoncurrentVersions' for NoncurrentVersionExpiration action must be a positive integer \
                     up to {LIFECYCLE_NEWER_MAX}"
                );
                let refused = || argument(message, "NewerNoncurrentVersions", newer.to_string());
                numbers.put_u8(count.ok_or_else(refused)?);
                flags |= NEWER;
            }
        }
        if let Some(days) = self.abort {
            self.check_unfiltered("AbortIncompleteMultipartUpload")?;
            let days = days.ok_or(S3Error::MalformedXml)?;
            numbers.put_u32_le(positive(days, "DaysAfterInitiation", "AbortIncompleteMultipartUpload")?);
            flags |= ABORT;
        }
        if flags & (DAYS | DATE | MARKER | NONCURRENT | ABORT) == 0
            && self.expiration.as_ref().is_none_or(|expiration| expiration.marker.is_none())
        {
            return Err(S3Error::invalid_request("At least one action needs to be specified in a rule"));
        }
        out.put_u16_le(flags);
        put_text(out, id);
        put_text(out, prefix);
        out.put_u8(u8::try_from(filter.tags.len()).expect("there are ten at most"));
        filter.tags.iter().flat_map(|(key, value)| [key, value]).for_each(|text| put_text(out, text));
        out.put_slice(&numbers);
        Ok(())
    }

    fn put_expiration(&self, asked: &ExpirationDocument, numbers: &mut BytesMut) -> Result<u16, S3Error> {
        match (asked.days, &asked.date, asked.marker) {
            (Some(days), None, None) => {
                numbers.put_u32_le(positive(days, "Days", "Expiration")?);
                Ok(DAYS)
            }
            (None, Some(date), None) => {
                numbers.put_u64_le(midnight(date)?);
                Ok(DATE)
            }
            (None, None, Some(marker)) => {
                self.check_unfiltered("ExpiredObjectDeleteMarker")?;
                Ok(if marker { MARKER } else { 0 })
            }
            _ => Err(S3Error::MalformedXml),
        }
    }

    /// Refuses tags and sizes beside an action on what has none.
    fn check_unfiltered(&self, action: &str) -> Result<(), S3Error> {
        let Some(filter) = &self.filter else { return Ok(()) };
        if !filter.tags.is_empty() {
            return Err(S3Error::invalid_request(format!("{action} cannot be specified with Tags.")));
        }
        match filter.larger.or(filter.smaller) {
            Some(_) => {
                Err(S3Error::invalid_request(format!("{action} cannot be specified with Object Size.")))
            }
            None => Ok(()),
        }
    }
}

fn check_tags(tags: &[(String, String)]) -> Result<(), S3Error> {
    if OBJECT_TAGS_MAX < tags.len() {
        return Err(S3Error::MalformedXml);
    }
    for (nth, (key, value)) in tags.iter().enumerate() {
        if !(1..=TAG_KEY_CHARS_MAX).contains(&key.chars().count()) {
            let message = "The TagKey you have provided is invalid";
            return Err(S3Error::InvalidTag { message, field: "TagKey", value: key.clone() });
        }
        if TAG_VALUE_CHARS_MAX < value.chars().count() {
            let message = "The TagValue you have provided is invalid";
            return Err(S3Error::InvalidTag { message, field: "TagValue", value: value.clone() });
        }
        if tags.iter().take(nth).any(|(other, _)| other == key) {
            return Err(S3Error::invalid_request("Duplicate Tag Keys are not allowed."));
        }
    }
    Ok(())
}

/// Holds rules against what S3 takes, and gives the setting's value. `new_id` makes an id for a rule without one.
pub fn encode(
    rules: &[RuleDocument],
    sizes: TransitionSizes,
    mut new_id: impl FnMut() -> String,
) -> Result<Bytes, S3Error> {
    if rules.is_empty() {
        return Err(S3Error::MalformedXml);
    }
    if LIFECYCLE_RULES_MAX < rules.len() {
        return Err(S3Error::invalid_request(format!(
            "The number of lifecycle rules must not exceed the allowed limit of {LIFECYCLE_RULES_MAX} rules."
        )));
    }
    let mut out = BytesMut::with_capacity(256);
    out.put_u8(VERSION);
    out.put_u8(u8::from(sizes == TransitionSizes::Varies));
    let mut ids = std::collections::BTreeSet::new();
    for rule in rules {
        let id = match rule.id.as_ref().filter(|id| !id.is_empty()) {
            Some(id) if LIFECYCLE_ID_CHARS_MAX < id.chars().count() => {
                let message =
                    format!("ID length should not exceed allowed limit of {LIFECYCLE_ID_CHARS_MAX}");
                return Err(argument(message, "ID", id.clone()));
            }
            Some(id) => id.clone(),
            None => new_id(),
        };
        rule.put(&id, &mut out)?;
        if let Some(id) = ids.replace(id) {
            let message = "Rule ID must be unique. Found same ID for more than one rule";
            return Err(argument(message, "ID", id));
        }
    }
    match out.len() <= SETTING_BYTES_MAX {
        true => Ok(out.freeze()),
        false => Err(S3Error::invalid_request(format!(
            "over SETTING_BYTES_MAX: all rules, their ids and prefixes take at most {SETTING_BYTES_MAX} bytes"
        ))),
    }
}

fn put_text(out: &mut BytesMut, text: &str) {
    out.put_u16_le(u16::try_from(text.len()).expect("ids, prefixes and tags are held against their limits"));
    out.put_slice(text.as_bytes());
}

/// Keys and values one behind the other, known to be whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tags<'a> {
    count: u8,
    bytes: &'a [u8],
}

impl<'a> Tags<'a> {
    /// Keys and values, in the order sent.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut rest = self.bytes;
        (0..self.count).map_while(move |_| Some((take_text(&mut rest)?, take_text(&mut rest)?)))
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.count == 0
    }
}

/// When a rule has current versions expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiration {
    /// So many days after they were written.
    Days(u32),
    /// From then on, in milliseconds since 1970.
    Date(u64),
}

/// One kept rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule<'a> {
    flags: u16,
    /// Its id.
    pub id: &'a str,
    /// How keys begin.
    pub prefix: &'a str,
    /// Tags that an object must have.
    pub tags: Tags<'a>,
    /// Objects must be larger.
    pub larger: Option<u64>,
    /// Objects must be smaller.
    pub smaller: Option<u64>,
    /// What becomes of current versions.
    pub expiration: Option<Expiration>,
    /// Days after which noncurrent versions go, and how many newer ones of them stay.
    pub noncurrent: Option<(u32, u8)>,
    /// Days after which open uploads are ended.
    pub abort_days: Option<u32>,
}

impl<'a> Rule<'a> {
    /// Whether it is in force.
    pub fn is_enabled(&self) -> bool {
        self.flags & DISABLED == 0
    }

    /// Whether delete markers go at once that are the only version of their key.
    pub fn removes_markers(&self) -> bool {
        self.flags & MARKER != 0
    }

    fn take(rest: &mut &'a [u8]) -> Option<Rule<'a>> {
        let flags = u16::from_le_bytes(take(rest)?);
        let (id, prefix) = (take_text(rest)?, take_text(rest)?);
        let [count] = take(rest)?;
        let bytes = *rest;
        for _ in 0..u16::from(count) * 2 {
            take_text(rest)?;
        }
        let tags = Tags { count, bytes: bytes.get(..bytes.len() - rest.len())? };
        let has = |flag: u16| flags & flag != 0;
        let mut size =
            |flag| if has(flag) { take(rest).map(u64::from_le_bytes).map(Some) } else { Some(None) };
        let (larger, smaller) = (size(LARGER)?, size(SMALLER)?);
        let expiration = match (has(DAYS), has(DATE)) {
            (true, false) => Some(Expiration::Days(u32::from_le_bytes(take(rest)?))),
            (false, true) => Some(Expiration::Date(u64::from_le_bytes(take(rest)?))),
            (false, false) => None,
            (true, true) => return None,
        };
        let noncurrent = match (has(NONCURRENT), has(NEWER)) {
            (true, newer) => {
                let days = u32::from_le_bytes(take(rest)?);
                Some((days, if newer { u8::from_le_bytes(take(rest)?) } else { 0 }))
            }
            (false, true) => return None,
            (false, false) => None,
        };
        let abort_days = if has(ABORT) { Some(u32::from_le_bytes(take(rest)?)) } else { None };
        (flags & !KNOWN == 0).then_some(Rule {
            flags,
            id,
            prefix,
            tags,
            larger,
            smaller,
            expiration,
            noncurrent,
            abort_days,
        })
    }

    fn show(&self, xml: &mut Xml) {
        let has = |flag: u16| self.flags & flag != 0;
        xml.open("Rule");
        xml.text("ID", self.id);
        if has(OLD_PREFIX) {
            xml.text("Prefix", self.prefix);
        } else {
            xml.open("Filter");
            if has(AND) {
                xml.open("And");
            }
            if has(FILTER_PREFIX) {
                xml.text("Prefix", self.prefix);
            }
            for (key, value) in self.tags.iter() {
                xml.open("Tag");
                xml.text("Key", key);
                xml.text("Value", value);
                xml.close("Tag");
            }
            for (element, size) in
                [("ObjectSizeGreaterThan", self.larger), ("ObjectSizeLessThan", self.smaller)]
            {
                size.into_iter().for_each(|size| xml.number(element, size));
            }
            if has(AND) {
                xml.close("And");
            }
            xml.close("Filter");
        }
        xml.text("Status", if self.is_enabled() { "Enabled" } else { "Disabled" });
        let shows_nothing =
            self.expiration.is_none() && self.noncurrent.is_none() && self.abort_days.is_none();
        if self.expiration.is_some() || has(MARKER) || shows_nothing {
            xml.open("Expiration");
            match self.expiration {
                Some(Expiration::Days(days)) => xml.number("Days", days.into()),
                Some(Expiration::Date(ms)) => xml.text("Date", &iso_8601(ms)),
                None => xml.boolean("ExpiredObjectDeleteMarker", has(MARKER)),
            }
            xml.close("Expiration");
        }
        if let Some((days, newer)) = self.noncurrent {
            xml.open("NoncurrentVersionExpiration");
            xml.number("NoncurrentDays", days.into());
            if has(NEWER) {
                xml.number("NewerNoncurrentVersions", newer.into());
            }
            xml.close("NoncurrentVersionExpiration");
        }
        if let Some(days) = self.abort_days {
            xml.open("AbortIncompleteMultipartUpload");
            xml.number("DaysAfterInitiation", days.into());
            xml.close("AbortIncompleteMultipartUpload");
        }
        xml.close("Rule");
    }
}

/// The rules of a bucket, as they are kept.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// What is told of transitions.
    pub sizes: TransitionSizes,
    bytes: &'a [u8],
}

impl<'a> Rules<'a> {
    /// Reads a value; `None` for what a newer version wrote.
    pub fn new(value: &'a [u8]) -> Option<Rules<'a>> {
        let mut rest = value;
        let [version, sizes] = take(&mut rest)?;
        let sizes = match sizes {
            0 => TransitionSizes::All128K,
            1 => TransitionSizes::Varies,
            _ => return None,
        };
        let rules = Rules { sizes, bytes: rest };
        while version == VERSION && !rest.is_empty() {
            Rule::take(&mut rest)?;
        }
        (version == VERSION).then_some(rules)
    }

    /// The rules of the bucket with these settings; `None` when it has none.
    pub fn of(settings: &'a BucketSettings) -> Result<Option<Rules<'a>>, EngineError> {
        let Some(value) = settings.get(SettingKind::LIFECYCLE) else { return Ok(None) };
        Rules::new(value).map(Some).ok_or(EngineError::UnsupportedSetting { kind: SettingKind::LIFECYCLE })
    }

    /// Rule by rule, in the order sent.
    pub fn iter(self) -> impl Iterator<Item = Rule<'a>> + Clone {
        let mut rest = self.bytes;
        std::iter::from_fn(move || Rule::take(&mut rest))
    }

    /// Those in force.
    pub fn enabled(self) -> impl Iterator<Item = Rule<'a>> + Clone {
        self.iter().filter(Rule::is_enabled)
    }

    /// The document that says so.
    pub fn show(self) -> Xml {
        let mut xml = Xml::new("LifecycleConfiguration", 1024);
        self.iter().for_each(|rule| rule.show(&mut xml));
        xml
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*taken)
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let len = usize::from(u16::from_le_bytes(take(rest)?));
    let (text, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::request_xml::parse_lifecycle;

    fn kept(rules: &str) -> Result<Bytes, S3Error> {
        let document = format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>");
        let mut made = 0;
        encode(&parse_lifecycle(document.as_bytes())?, TransitionSizes::All128K, || {
            made += 1;
            format!("made-{made}")
        })
    }

    #[test]
    fn rules_come_back_as_they_were_sent() {
        let check = |rules: &str, want: &str| {
            let value = kept(rules).expect(rules);
            let shown = Rules::new(&value).expect("own bytes").show().finish();
            let shown = String::from_utf8_lossy(&shown).into_owned();
            assert!(shown.ends_with(&format!("\">{want}</LifecycleConfiguration>")), "{shown}");
            for len in 0..value.len() {
                drop(Rules::new(&value[..len]).map(|rules| rules.show().finish()));
            }
        };
        let same = |rule: &str| check(rule, rule);
        same(
            "<Rule><ID>a</ID><Prefix></Prefix><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule>",
        );
        same(
            "<Rule><ID>a</ID><Filter></Filter><Status>Disabled</Status><Expiration><Date>2030-01-02T00:00:00.000Z</Date></Expiration></Rule>",
        );
        same(
            "<Rule><ID>a</ID><Filter><And><Prefix>p/</Prefix><Tag><Key>k</Key><Value>v</Value></Tag><Tag><Key>l</Key>\
             <Value></Value></Tag><ObjectSizeGreaterThan>0</ObjectSizeGreaterThan><ObjectSizeLessThan>9</ObjectSizeLessThan>\
             </And></Filter><Status>Enabled</Status><Expiration><Days>3</Days></Expiration></Rule>",
        );
        same(
            "<Rule><ID>a</ID><Filter><Prefix>p</Prefix></Filter><Status>Enabled</Status><Expiration>\
             <ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration><NoncurrentVersionExpiration>\
             <NoncurrentDays>2</NoncurrentDays><NewerNoncurrentVersions>100</NewerNoncurrentVersions>\
             </NoncurrentVersionExpiration><AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation>\
             </AbortIncompleteMultipartUpload></Rule>",
        );
        check(
            "<Rule><Status>Enabled</Status><Filter><Tag><Value>v</Value><Key>k</Key></Tag></Filter><Expiration><Days>2</Days></Expiration></Rule>\
             <Rule><ID/><Status>Enabled</Status><Filter/><Expiration><Date>2030-01-01</Date></Expiration></Rule>",
            "<Rule><ID>made-1</ID><Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter><Status>Enabled</Status><Expiration><Days>2</Days></Expiration></Rule>\
             <Rule><ID>made-2</ID><Filter></Filter><Status>Enabled</Status><Expiration><Date>2030-01-01T00:00:00.000Z</Date></Expiration></Rule>",
        );
    }

    #[test]
    fn what_s3_refuses() {
        let check = |rules: &str, code: &str, text: &str| {
            let answer = kept(rules).expect_err(rules).answer();
            assert_eq!((answer.code, &*answer.message), (code, text), "{rules}");
        };
        let malformed =
            "The XML you provided was not well-formed or did not validate against our published schema";
        let days = "<Expiration><Days>1</Days></Expiration>";
        let rule = |inner: &str| format!("<Rule><Status>Enabled</Status>{inner}</Rule>");
        for inner in [
            String::new(),
            rule(days),
            rule(&format!("<Prefix/><Filter/>{days}")),
            rule(&format!("<Prefix/><Prefix/>{days}")),
            rule("<Filter/><Expiration/>"),
            rule("<Filter/><Expiration><Days>x</Days></Expiration>"),
            rule("<Filter/><Expiration><Date>20200101</Date></Expiration>"),
            rule("<Filter/><Expiration><Days>1</Days><Date>2030-01-01</Date></Expiration>"),
            rule(
                "<Filter/><Expiration><Days>1</Days><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>",
            ),
            rule(&format!("<Filter><Prefix/><ObjectSizeLessThan>3</ObjectSizeLessThan></Filter>{days}")),
            rule(
                "<Filter/><NoncurrentVersionExpiration><NewerNoncurrentVersions>3</NewerNoncurrentVersions></NoncurrentVersionExpiration>",
            ),
            rule("<Filter/><AbortIncompleteMultipartUpload/>"),
            rule("<Filter/><Other/>"),
            format!("<Rule><Filter/>{days}</Rule>"),
            format!("<Rule><Filter/><Status>enabled</Status>{days}</Rule>"),
        ] {
            check(&inner, "MalformedXML", malformed);
        }
        for zero in ["0", "-1", "2147483648"] {
            let days = |action: &str, element: &str| {
                let inner = format!("<Filter/><{action}><{element}>{zero}</{element}></{action}>");
                let text = format!("'{element}' for {action} action must be a positive integer");
                check(&rule(&inner), "InvalidArgument", &text);
            };
            days("Expiration", "Days");
            days("NoncurrentVersionExpiration", "NoncurrentDays");
            days("AbortIncompleteMultipartUpload", "DaysAfterInitiation");
        }
        check(
            &rule("<Filter/><Expiration><Date>2030-01-01T00:00:01Z</Date></Expiration>"),
            "InvalidArgument",
            "'Date' must be at midnight GMT",
        );
        check(
            &format!("{0}{0}", rule(&format!("<ID>a</ID><Filter/>{days}"))),
            "InvalidArgument",
            "Rule ID must be unique. Found same ID for more than one rule",
        );
        let id = |len| rule(&format!("<ID>{}</ID><Filter/>{days}", "é".repeat(len)));
        assert!(kept(&id(255)).is_ok());
        check(&id(256), "InvalidArgument", "ID length should not exceed allowed limit of 255");
        check(&rule("<Filter/>"), "InvalidRequest", "At least one action needs to be specified in a rule");
        let tag = "<Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter>";
        check(
            &rule(&format!(
                "{tag}<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"
            )),
            "InvalidRequest",
            "ExpiredObjectDeleteMarker cannot be specified with Tags.",
        );
        check(
            &rule(&format!(
                "{tag}<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>"
            )),
            "InvalidRequest",
            "AbortIncompleteMultipartUpload cannot be specified with Tags.",
        );
        let sizes = "<Filter><And><ObjectSizeGreaterThan>5</ObjectSizeGreaterThan><ObjectSizeLessThan>5</ObjectSizeLessThan></And></Filter>";
        check(
            &rule(&format!("{sizes}{days}")),
            "InvalidRequest",
            "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.",
        );
        let twice = "<Filter><And><Tag><Key>k</Key><Value>a</Value></Tag><Tag><Key>k</Key><Value>b</Value></Tag></And></Filter>";
        check(&rule(&format!("{twice}{days}")), "InvalidRequest", "Duplicate Tag Keys are not allowed.");
        check(
            &rule("<Filter/><Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>"),
            "NotImplemented",
            &S3Error::NotImplementedParameter { parameter: "Transition".into() }.answer().message,
        );
        let many = |count: usize| -> String {
            (0..count)
                .map(|nth| {
                    rule(&format!("<ID>rule-{nth}</ID><Filter><Prefix>p{nth}/</Prefix></Filter>{days}"))
                })
                .collect()
        };
        assert!(kept(&many(1_000)).is_ok());
        check(
            &many(1_001),
            "InvalidRequest",
            "The number of lifecycle rules must not exceed the allowed limit of 1000 rules.",
        );
        let long = |count: usize| -> String {
            let prefix = "p".repeat(1_000);
            (0..count).map(|_| rule(&format!("<Filter><Prefix>{prefix}</Prefix></Filter>{days}"))).collect()
        };
        assert!(kept(&long(31)).is_ok());
        let answer = kept(&long(33)).expect_err("too large").answer();
        assert!(answer.message.starts_with("over SETTING_BYTES_MAX"), "{}", answer.message);
    }

    #[test]
    fn what_a_newer_version_wrote_is_not_read() {
        assert!(Rules::new(b"").is_none());
        assert!(Rules::new(&[2, 0]).is_none());
        assert!(Rules::new(&[1, 2]).is_none());
        assert!(Rules::new(&[1, 0, 0, 0x80, 0, 0, 0, 0, 0]).is_none());
        assert!(Rules::new(&[1, 0]).is_some_and(|rules| rules.iter().next().is_none()));
    }
}
