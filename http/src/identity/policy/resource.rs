//! What a statement says of resources, and what a question names.
//!
//! `document` compiles patterns, `set` indexes them by service and by the text that their last part begins with.
//! I1. An ARN is compared part by part; a wildcard in one part does not reach into the next, and the last part is all that
//! follows the fifth colon. I2. For S3 Tables region and account say nothing: this store has one of each.

use super::actions::Service;
use super::key::{ConditionKey, Context};
use super::pattern::{Reach, Reading, Template, glob};

/// A resource as a question names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'a> {
    pub(super) kind: NamedKind<'a>,
    /// What follows the fifth colon; `*` for a service as a whole.
    pub(super) tail: &'a str,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum NamedKind<'a> {
    /// `*`: what the action is about, with the service that its name begins with, or nothing that is known.
    Whole(Option<Service>),
    /// An ARN of a known service.
    Known { service: Service, account: &'a str },
    /// Any other ARN, or what is none.
    Other(&'a str),
}

impl<'a> Named<'a> {
    /// Takes the name of a resource apart. Whatever is no ARN of a known service is compared as a text.
    pub(super) fn parse(resource: &'a str, action: &str) -> Named<'a> {
        if resource == "*" {
            let service = action.split_once(':').and_then(|(service, _)| {
                Service::of_name(service).or_else(|| Service::of_name(&service.to_ascii_lowercase()))
            });
            return Named { kind: NamedKind::Whole(service), tail: "*" };
        }
        let other = Named { kind: NamedKind::Other(resource), tail: resource };
        let Some(rest) = resource.strip_prefix("arn:aws:") else { return other };
        let mut parts = rest.splitn(4, ':');
        let (Some(service), Some(_), Some(account), Some(tail)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return other;
        };
        match Service::of_name(service) {
            Some(service) => Named { kind: NamedKind::Known { service, account }, tail },
            None => other,
        }
    }
}

/// A pattern of resources.
#[derive(Debug)]
pub(super) struct ResourcePattern {
    scope: Scope,
    /// What follows the fifth colon.
    tail: Template,
}

#[derive(Debug)]
enum Scope {
    /// `*`.
    Everything,
    /// An ARN of a known service. The account is compared where several occur: none for S3 and S3 Tables.
    Known { service: Service, account: Option<Box<str>> },
    /// An ARN of a known service that names nothing of this store: another partition, region or account.
    Nothing,
    /// Any other ARN: its first five parts.
    Other([Box<str>; 5]),
}

impl ResourcePattern {
    /// Reads a pattern. The error says what is wrong with it.
    pub(super) fn parse(text: &str, has_variables: bool, account: &str) -> Result<ResourcePattern, String> {
        let reading = Reading { wildcards: true, variables: has_variables };
        if text == "*" {
            return Ok(ResourcePattern { scope: Scope::Everything, tail: Template::parse(text, reading)? });
        }
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", partition, service, region, owner, tail] = parts[..] else {
            return Err(format!("{text:?} is neither * nor an ARN of six parts"));
        };
        if tail.is_empty() {
            return Err(format!("{text:?} names nothing after the fifth colon"));
        }
        if partition.is_empty() || service.is_empty() {
            return Err(format!("{text:?} lacks a partition or a service"));
        }
        let is_service = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !service.bytes().all(is_service) {
            return Err(format!("{service:?} is not the name of a service, which must be written out"));
        }
        if has_variables && [partition, region, owner].iter().any(|part| part.contains("${")) {
            return Err(format!("{text:?} has a variable before its fifth colon"));
        }
        let tail = Template::parse(tail, reading)?;
        let is_ours =
            |fits_region: bool, fits_account: bool| glob(partition, "aws") && fits_region && fits_account;
        let scope = match Service::of_name(service) {
            None => Scope::Other(["arn", partition, service, region, owner].map(Into::into)),
            Some(Service::S3) if is_ours(glob(region, ""), glob(owner, "") || owner == account) => {
                Scope::Known { service: Service::S3, account: None }
            }
            Some(Service::S3Tables) if is_ours(true, owner.is_empty() || glob(owner, account)) => {
                Scope::Known { service: Service::S3Tables, account: None }
            }
            Some(Service::S3 | Service::S3Tables) => Scope::Nothing,
            Some(service) if is_ours(glob(region, ""), true) => {
                Scope::Known { service, account: Some(owner.into()) }
            }
            Some(_) => Scope::Nothing,
        };
        Ok(ResourcePattern { scope, tail })
    }

    /// The service whose resources it names, and what their last parts begin with; `None` when that does not narrow it.
    pub(super) fn place(&self) -> Option<(Service, &str)> {
        match &self.scope {
            Scope::Known { service, .. } => Some((*service, self.tail.head())),
            Scope::Everything | Scope::Nothing | Scope::Other(_) => None,
        }
    }

    /// Whether it is `*`.
    pub(super) fn is_everything(&self) -> bool {
        matches!(self.scope, Scope::Everything)
    }

    /// The keys of its variables.
    pub(super) fn keys(&self) -> impl Iterator<Item = &ConditionKey> {
        self.tail.keys()
    }

    /// Whether a resource fits; `None` when a variable has no value.
    pub(super) fn fits(&self, named: &Named<'_>, context: &dyn Context) -> Option<bool> {
        let fits = match (&self.scope, named.kind) {
            (Scope::Everything, _) => return Some(true),
            (Scope::Nothing, _) => false,
            // The service as a whole is named by everything in it and by nothing less.
            (Scope::Known { service, .. }, NamedKind::Whole(asked)) => {
                Some(*service) == asked && self.tail.is_everything()
            }
            (Scope::Known { service, account }, NamedKind::Known { service: asked, account: of }) => {
                return match *service == asked && account.as_ref().is_none_or(|account| glob(account, of)) {
                    true => self.tail.fits(named.tail, context),
                    false => Some(false),
                };
            }
            (Scope::Other(pattern), NamedKind::Other(arn)) => {
                let mut parts = arn.splitn(6, ':');
                let fits = pattern.iter().all(|pattern| parts.next().is_some_and(|part| glob(pattern, part)));
                return match (fits, parts.next()) {
                    (true, Some(tail)) => self.tail.fits(tail, context),
                    _ => Some(false),
                };
            }
            (Scope::Known { .. } | Scope::Other(_), _) => false,
        };
        Some(fits)
    }

    /// How much of what begins with the name of a resource fits; `None` when a variable has no value.
    pub(super) fn reach(&self, named: &Named<'_>, context: &dyn Context) -> Option<Reach> {
        match (&self.scope, named.kind) {
            (Scope::Everything, _) => Some(Reach::All),
            (Scope::Known { service, account }, NamedKind::Known { service: asked, account: of }) => {
                match *service == asked && account.as_ref().is_none_or(|account| glob(account, of)) {
                    true => self.tail.reach(named.tail, context),
                    false => Some(Reach::Nothing),
                }
            }
            (Scope::Nothing | Scope::Other(_), NamedKind::Known { .. }) => Some(Reach::Nothing),
            // Nothing lies below what is no ARN of a known service.
            (_, NamedKind::Whole(_) | NamedKind::Other(_)) => Some(Reach::Some),
        }
    }

    /// What it can name of a bucket: the bucket itself, objects in it, and, when it is a warehouse, that and its tables.
    pub(super) fn kinds_in(&self, bucket: &str) -> [bool; 3] {
        let tail = &self.tail;
        match &self.scope {
            Scope::Everything => [true; 3],
            Scope::Known { service: Service::S3, .. } => {
                [tail.may_be(bucket), tail.may_begin_with(&format!("{bucket}/")), false]
            }
            Scope::Known { service: Service::S3Tables, .. } => {
                let warehouse = format!("bucket/{bucket}");
                [false, false, tail.may_be(&warehouse) || tail.may_begin_with(&format!("{warehouse}/"))]
            }
            Scope::Known { .. } | Scope::Nothing | Scope::Other(_) => [false; 3],
        }
    }

    /// Whether the id of a table or view can decide whether it fits. Yes, when in doubt.
    pub(super) fn asks_for_table_ids(&self) -> bool {
        let Scope::Known { service: Service::S3Tables, .. } = self.scope else { return false };
        if self.tail.keys().next().is_some() {
            return true;
        }
        let text = self.tail.to_text();
        let before_any = match text.strip_suffix('*') {
            Some(before) => before,
            // Nothing but a warehouse fits, whose name no id can follow.
            None => return text.contains(['*', '?']) || text.matches('/').count() > 1,
        };
        let mut parts = before_any.split('/');
        let (_, warehouse, kind, id) = (parts.next(), parts.next(), parts.next(), parts.next());
        let is_plain = |part: Option<&str>| part.is_none_or(|part| part == "*" || !part.contains(['*', '?']));
        !(is_plain(warehouse) && is_plain(kind) && id.is_none_or(str::is_empty) && parts.next().is_none())
            || before_any.starts_with(['*', '?'])
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::Value;
    use super::*;

    const ACCOUNT: &str = "111122223333";

    struct Alice;

    impl Context for Alice {
        fn value(&self, key: &ConditionKey) -> Value<'_> {
            match key {
                ConditionKey::Username => Value::One("alice".into()),
                _ => Value::Absent,
            }
        }
    }

    fn pattern(text: &str) -> ResourcePattern {
        ResourcePattern::parse(text, true, ACCOUNT).expect(text)
    }

    #[test]
    fn resources() {
        let check = |text: &str, resource: &str, want: bool| {
            let got = pattern(text).fits(&Named::parse(resource, "s3:GetObject"), &Alice);
            assert_eq!(got, Some(want), "{text} {resource}");
        };
        check("*", "arn:aws:s3:::b", true);
        check("*", "*", true);
        check("*", "arn:aws:ec2:r:1:instance/i", true);
        check("arn:aws:s3:::b", "arn:aws:s3:::b", true);
        check("arn:aws:s3:::b", "arn:aws:s3:::B", false);
        check("arn:aws:s3:::b/*", "arn:aws:s3:::b/k:l/m", true);
        check("arn:aws:s3:::b/*", "arn:aws:s3:::b", false);
        check("arn:aws:s3:::*", "arn:aws:s3:::b/k", true);
        check("arn:aws:s3:::*", "*", true);
        check("arn:aws:s3:::b*", "*", false);
        check("arn:aws:s3:::?", "*", false);
        check("arn:aws:s3tables:::*", "*", false);
        check("arn:*:s3:::b", "arn:aws:s3:::b", true);
        check("arn:aws-cn:s3:::b", "arn:aws:s3:::b", false);
        check("arn:aws:s3:*:*:b", "arn:aws:s3:::b", true);
        check("arn:aws:s3:us-east-1::b", "arn:aws:s3:::b", false);
        check("arn:aws:s3:::home/${aws:username}/*", "arn:aws:s3:::home/alice/x", true);
        check("arn:aws:s3:::home/${aws:username}/*", "arn:aws:s3:::home/bob/x", false);
        check("arn:aws:s3tables:::bucket/W/table/*", "arn:aws:s3tables:::bucket/W/table/1", true);
        check("arn:aws:s3tables:eu-1:111122223333:bucket/W", "arn:aws:s3tables:::bucket/W", true);
        check("arn:aws:s3tables:*:*:bucket/W", "arn:aws:s3tables:us-east-1:111122223333:bucket/W", true);
        check("arn:aws:s3tables:::bucket/W", "arn:aws:s3tables:us-east-1:111122223333:bucket/W", true);
        check("arn:aws:s3tables:::bucket/W", "arn:aws:s3:::bucket/W", false);
        check("arn:aws:s3tables:r:999999999999:bucket/W", "arn:aws:s3tables:::bucket/W", false);
        check("arn:aws:iam::111122223333:user/${aws:username}", "arn:aws:iam::111122223333:user/alice", true);
        check("arn:aws:iam::*:policy/p", "arn:aws:iam::aws:policy/p", true);
        check("arn:aws:iam::111122223333:policy/*", "arn:aws:iam::aws:policy/p", false);
        check("arn:aws:ec2:*:1:instance/*", "arn:aws:ec2:r:1:instance/i", true);
        check("arn:aws:ec2:*:1:instance/*", "arn:aws:ec2:r:2:instance/i", false);
        check("arn:aws:ec2:*:*:*", "arn:aws:ec2:r:1", false);
        assert_eq!(
            pattern("arn:aws:s3:::${aws:userid}").fits(&Named::parse("arn:aws:s3:::b", ""), &Alice),
            None
        );
    }

    #[test]
    fn reaches() {
        let check = |text: &str, want: Reach| {
            let place = Named::parse("arn:aws:s3:::lake/cc/", "s3:GetObject");
            assert_eq!(pattern(text).reach(&place, &Alice), Some(want), "{text}");
        };
        check("*", Reach::All);
        check("arn:aws:s3:::*", Reach::All);
        check("arn:aws:s3:::lake/*", Reach::All);
        check("arn:aws:s3:::lake/cc/*", Reach::All);
        check("arn:aws:s3:::lake/cc/", Reach::Some);
        check("arn:aws:s3:::lake/cc/secret/*", Reach::Some);
        check("arn:aws:s3:::lake/cc/${aws:username}/*", Reach::Some);
        check("arn:aws:s3:::lake", Reach::Nothing);
        check("arn:aws:s3:::lake/cd/*", Reach::Nothing);
        check("arn:aws:s3:::${aws:username}/*", Reach::Nothing);
        check("arn:aws:s3:eu-1::lake/*", Reach::Nothing);
        check("arn:aws:s3tables:::*", Reach::Nothing);
        check("arn:aws:ec2:::lake/*", Reach::Nothing);
    }

    #[test]
    fn malformed() {
        for bad in [
            "",
            "b",
            "**",
            "arn:*",
            "arn:aws:s3:b",
            "arn:aws:s3:::",
            "arn::s3:::b",
            "arn:aws::::b",
            "ARN:aws:s3:::b",
            "arn:aws:s*:::b",
            "arn:aws:S3:::b",
            "arn:aws:iam::${aws:PrincipalAccount}:user/x",
            "arn:aws:s3:::b/${x",
        ] {
            assert!(ResourcePattern::parse(bad, true, ACCOUNT).is_err(), "{bad}");
        }
        assert!(ResourcePattern::parse("arn:aws:s3:::b/${x", false, ACCOUNT).is_ok());
    }

    #[test]
    fn kinds() {
        let check = |text: &str, want: [bool; 3]| assert_eq!(pattern(text).kinds_in("bkt"), want, "{text}");
        check("*", [true, true, true]);
        check("arn:aws:s3:::bkt", [true, false, false]);
        check("arn:aws:s3:::bkt/*", [false, true, false]);
        check("arn:aws:s3:::bkt/k", [false, true, false]);
        check("arn:aws:s3:::bkt*", [true, true, false]);
        check("arn:aws:s3:::*", [true, true, false]);
        check("arn:aws:s3:::b?t/*", [false, true, false]);
        check("arn:aws:s3:::bkt2/*", [false, false, false]);
        check("arn:aws:s3:::bk", [false, false, false]);
        check("arn:aws:s3:::${aws:username}/*", [false, true, false]);
        check("arn:aws:s3:::${aws:username}", [true, true, false]);
        check("arn:aws:s3:::bkt/${aws:username}/*", [false, true, false]);
        check("arn:aws:s3tables:::bucket/bkt", [false, false, true]);
        check("arn:aws:s3:us-east-1::bkt", [false, false, false]);
    }

    #[test]
    fn table_ids() {
        let check = |tail: &str, want: bool| {
            let text = format!("arn:aws:s3tables:::{tail}");
            assert_eq!(pattern(&text).asks_for_table_ids(), want, "{tail}");
        };
        check("*", false);
        check("bucket/*", false);
        check("bucket/W", false);
        check("bucket/W*", false);
        check("bucket/W/*", false);
        check("bucket/W/table/*", false);
        check("bucket/*/table/*", false);
        check("bucket/W/view/*", false);
        check("bucket/W/table/0b*", true);
        check("bucket/W/table/0b", true);
        check("bucket/*/table/0b", true);
        check("bucket/*0b", true);
        check("bucket/W?", true);
        check("bucket/*0b*", true);
        check("*b*", true);
        check("bucket/W/table/${aws:username}", true);
        assert!(!pattern("*").asks_for_table_ids());
        assert!(!pattern("arn:aws:s3:::b/W/table/x").asks_for_table_ids());
    }
}
