//! What answers tell: entities in AWS's elements, pages of lists.
//!
//! The handlers write with it. A marker is the name behind which a page ended, in base64url, so that it survives what is
//! made and deleted between two pages.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::identity::model::{Attachable, CannedPolicy, Group, Model, PolicyRef, PolicyVersion, Tags, User};
use crate::limits::{QUERY_PAGE_DEFAULT, QUERY_PAGE_MAX};
use crate::query::error::QueryError;
use crate::query::form::Form;
use crate::render::time::iso_8601_seconds;
use crate::render::xml::Xml;

/// Which part of a list is asked for.
#[derive(Debug)]
pub(super) struct Page {
    after: Option<String>,
    max: usize,
}

/// A part of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<T> {
    pub(super) items: Vec<T>,
    next: Option<String>,
}

impl Page {
    pub(super) fn parse(form: &Form) -> Result<Page, QueryError> {
        let max = match form.get("MaxItems") {
            None => QUERY_PAGE_DEFAULT,
            Some(text) => {
                text.parse().ok().filter(|max| (1..=QUERY_PAGE_MAX).contains(max)).ok_or_else(|| {
                    QueryError::Invalid { name: "MaxItems", why: format!("must be 1 to {QUERY_PAGE_MAX}") }
                })?
            }
        };
        let marker = |text: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
            String::from_utf8(bytes).ok()
        };
        let invalid = || QueryError::Invalid { name: "Marker", why: "must be that of an answer".to_owned() };
        let after = form.get("Marker").map(|text| marker(text).ok_or_else(invalid)).transpose()?;
        Ok(Page { after, max })
    }

    /// Takes the part of a list that is in the order of its keys.
    pub(super) fn take<T>(&self, items: impl IntoIterator<Item = (String, T)>) -> Part<T> {
        let after = self.after.as_deref();
        let mut rest = items.into_iter().filter(|(key, _)| after.is_none_or(|after| after < key.as_str()));
        let mut taken = Vec::new();
        let mut last = None;
        for (key, item) in rest.by_ref().take(self.max) {
            taken.push(item);
            last = Some(key);
        }
        let next = rest.next().and(last).map(|key| URL_SAFE_NO_PAD.encode(key));
        Part { items: taken, next }
    }

    /// The same of a list in any order.
    pub(super) fn sort_and_take<T>(&self, items: impl IntoIterator<Item = (String, T)>) -> Part<T> {
        let mut items: Vec<_> = items.into_iter().collect();
        items.sort_by(|(left, _), (right, _)| left.cmp(right));
        self.take(items)
    }
}

impl<T> Part<T> {
    /// `<list><member>…</member></list>`, and whether there is more.
    pub(super) fn write(&self, xml: &mut Xml, list: &str, member: impl Fn(&mut Xml, &T)) {
        members(xml, list, &self.items, member);
        self.write_end(xml);
    }

    pub(super) fn write_end(&self, xml: &mut Xml) {
        xml.boolean("IsTruncated", self.next.is_some());
        if let Some(next) = &self.next {
            xml.text("Marker", next);
        }
    }
}

/// `<list><member>…</member></list>`.
pub(super) fn members<T>(
    xml: &mut Xml,
    list: &str,
    items: impl IntoIterator<Item = T>,
    member: impl Fn(&mut Xml, T),
) {
    xml.open(list);
    for item in items {
        xml.open("member");
        member(xml, item);
        xml.close("member");
    }
    xml.close(list);
}

/// A time.
pub(super) fn time(xml: &mut Xml, tag: &str, ms: u64) {
    xml.text(tag, &iso_8601_seconds(ms));
}

/// Tags, as a list.
pub(super) fn tags(xml: &mut Xml, tags: &Tags) {
    members(xml, "Tags", tags, |xml, (key, value)| tag(xml, key, value));
}

pub(super) fn tag(xml: &mut Xml, key: &str, value: &str) {
    xml.text("Key", key);
    xml.text("Value", value);
}

/// A user's elements.
pub(super) fn user(xml: &mut Xml, model: &Model, user: &User) {
    xml.text("Path", &user.path);
    xml.text("UserName", &user.name);
    xml.text("UserId", &user.id);
    xml.text("Arn", &model.user_arn(user));
    time(xml, "CreateDate", user.created_ms);
}

/// A group's elements.
pub(super) fn group(xml: &mut Xml, model: &Model, group: &Group) {
    xml.text("Path", &group.path);
    xml.text("GroupName", &group.name);
    xml.text("GroupId", &group.id);
    xml.text("Arn", &model.group_arn(group));
    time(xml, "CreateDate", group.created_ms);
}

/// A policy's elements, but for its description and tags.
pub(super) fn policy(xml: &mut Xml, model: &Model, policy: Attachable<'_>, attachments: usize) {
    xml.text("PolicyName", policy.name());
    match policy {
        Attachable::Canned(canned) => {
            xml.text("PolicyId", &canned.id());
            xml.text("Arn", &policy.arn(model));
            xml.text("Path", "/");
            xml.text("DefaultVersionId", "v1");
        }
        Attachable::Managed(managed) => {
            xml.text("PolicyId", &managed.id);
            xml.text("Arn", &policy.arn(model));
            xml.text("Path", &managed.path);
            xml.text("DefaultVersionId", &version_id(managed.default_version));
        }
    }
    xml.number("AttachmentCount", u64::try_from(attachments).unwrap_or(u64::MAX));
    xml.number("PermissionsBoundaryUsageCount", 0);
    xml.boolean("IsAttachable", true);
    let (created_ms, updated_ms) = times(policy);
    time(xml, "CreateDate", created_ms);
    time(xml, "UpdateDate", updated_ms);
}

/// A canned policy is as old as time itself.
fn times(policy: Attachable<'_>) -> (u64, u64) {
    match policy {
        Attachable::Canned(_) => (0, 0),
        Attachable::Managed(managed) => (managed.created_ms, managed.updated_ms),
    }
}

/// A version's elements.
pub(super) fn version(xml: &mut Xml, number: u64, is_default: bool, created_ms: u64, document: Option<&str>) {
    if let Some(document) = document {
        encoded(xml, "Document", document);
    }
    xml.text("VersionId", &version_id(number));
    xml.boolean("IsDefaultVersion", is_default);
    time(xml, "CreateDate", created_ms);
}

/// The versions of a policy, newest first: number, whether it is in force, time, document.
pub(super) fn versions<'a>(policy: Attachable<'a>) -> Vec<(u64, bool, u64, &'a str)> {
    match policy {
        Attachable::Canned(CannedPolicy { policy, .. }) => vec![(1, true, 0, policy.text())],
        Attachable::Managed(managed) => {
            let version = |(number, version): (&u64, &'a PolicyVersion)| {
                let is_default = *number == managed.default_version;
                (*number, is_default, version.created_ms, version.policy.text())
            };
            managed.versions.iter().rev().map(version).collect()
        }
    }
}

/// `v12`.
pub(super) fn version_id(number: u64) -> String {
    format!("v{number}")
}

/// The number of `v12`.
pub(super) fn parse_version(text: &str) -> Result<u64, QueryError> {
    let digits = text.strip_prefix('v').filter(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
    digits
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| QueryError::Invalid { name: "VersionId", why: "must be v and a number".to_owned() })
}

/// A document, percent-encoded as RFC 3986 has it.
pub(super) fn encoded(xml: &mut Xml, tag: &str, document: &str) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut text = String::with_capacity(document.len() * 2);
    for byte in document.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                text.push(char::from(byte))
            }
            other => {
                text.push('%');
                text.push(char::from(DIGITS[usize::from(other >> 4)]));
                text.push(char::from(DIGITS[usize::from(other & 15)]));
            }
        }
    }
    xml.text(tag, &text);
}

/// Attached policies: name and ARN of each.
pub(super) fn attached<'a>(
    model: &'a Model,
    policies: &'a [PolicyRef],
) -> impl Iterator<Item = (&'a str, String)> {
    policies
        .iter()
        .filter_map(|policy| model.attached(policy))
        .map(|policy| (policy.name(), policy.arn(model)))
}

/// An attached policy's elements.
pub(super) fn attachment(xml: &mut Xml, name: &str, arn: &str) {
    xml.text("PolicyName", name);
    xml.text("PolicyArn", arn);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages() {
        let list = ["a", "b", "c"].map(|name| (name.to_owned(), name));
        let take = |form: &str| {
            let page = Page::parse(&Form::parse(form.as_bytes()).expect("a form")).expect("a page");
            let part = page.take(list.clone());
            (part.items.join(""), part.next)
        };
        assert_eq!(take(""), ("abc".to_owned(), None));
        let (first, marker) = take("MaxItems=2");
        assert_eq!(first, "ab");
        let marker = marker.expect("more");
        assert_eq!(take(&format!("MaxItems=2&Marker={marker}")), ("c".to_owned(), None));
        assert_eq!(take("MaxItems=3"), ("abc".to_owned(), None));
        for wrong in ["MaxItems=0", "MaxItems=1001", "MaxItems=x", "Marker=%25", "Marker=_w"] {
            let form = Form::parse(wrong.as_bytes()).expect("a form");
            assert_eq!(
                Page::parse(&form).map_err(|error| error.code().0).map(drop),
                Err("ValidationError"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn documents_are_encoded() {
        let text = Xml::fragment(|xml| encoded(xml, "D", "{\"a\": é}~"));
        assert_eq!(text, "<D>%7B%22a%22%3A%20%C3%A9%7D~</D>");
    }
}
