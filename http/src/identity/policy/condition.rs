//! Conditions: what a statement asks of the request before it speaks.
//!
//! `document` compiles each line of a Condition into a [`Condition`], `set` asks whether it holds. Source: IAM User Guide,
//! "IAM JSON policy elements: Condition operators" and "Set operators for multivalued context keys".
//! I1. A key that the request does not have fits nothing: a negated operator holds, the others do not; `…IfExists` and
//! `ForAllValues` hold, `ForAnyValue` does not. A key of several values, without a set operator, holds never. I2. A value that is not of the operator's kind fits nothing either. I3. A
//! variable without a value makes the value that it stands in fit nothing, and a negated condition not hold.

use std::cmp::Ordering;
use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::key::{ConditionKey, Context, Value};
use super::moment;
use super::pattern::{Reading, Template};

/// One line of a Condition: an operator, a key and its values.
#[derive(Debug)]
pub(super) struct Condition {
    key: ConditionKey,
    over: Over,
    if_exists: bool,
    is_negated: bool,
    test: Test,
}

/// What of a key's values the operator is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    /// The one that there is.
    One,
    All,
    Any,
}

/// What a value is compared with; one of several is enough.
#[derive(Debug)]
enum Test {
    /// Whether the key is absent.
    Null(Box<[bool]>),
    Text {
        ignores_case: bool,
        values: Box<[Template]>,
    },
    Number(Comparison, Box<[Decimal]>),
    /// Milliseconds since 1970.
    Moment(Comparison, Box<[i64]>),
    Truth(Box<[bool]>),
    Bytes(Box<[Box<[u8]>]>),
    Address(Box<[Network]>),
    Arn(Box<[ArnPattern]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// An operator as it is written, taken apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operator {
    over: Over,
    if_exists: bool,
    is_negated: bool,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Null,
    Text { ignores_case: bool, wildcards: bool },
    Number(Comparison),
    Moment(Comparison),
    Truth,
    Bytes,
    Address,
    Arn,
}

impl Operator {
    /// Finds the operator of a name. Names are compared without regard to case.
    pub(super) fn parse(name: &str) -> Option<Operator> {
        let (over, base) = match name.split_once(':') {
            None => (Over::One, name),
            Some((set, base)) if set.eq_ignore_ascii_case("ForAllValues") => (Over::All, base),
            Some((set, base)) if set.eq_ignore_ascii_case("ForAnyValue") => (Over::Any, base),
            Some(_) => return None,
        };
        let base = base.to_ascii_lowercase();
        let (base, if_exists) = match base.strip_suffix("ifexists") {
            Some(base) => (base, true),
            None => (base.as_str(), false),
        };
        use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
        let text = |ignores_case, wildcards| Kind::Text { ignores_case, wildcards };
        let (kind, is_negated) = match base {
            "stringequals" => (text(false, false), false),
            "stringnotequals" => (text(false, false), true),
            "stringequalsignorecase" => (text(true, false), false),
            "stringnotequalsignorecase" => (text(true, false), true),
            "stringlike" => (text(false, true), false),
            "stringnotlike" => (text(false, true), true),
            "numericequals" => (Kind::Number(Equal), false),
            "numericnotequals" => (Kind::Number(Equal), true),
            "numericlessthan" => (Kind::Number(Less), false),
            "numericlessthanequals" => (Kind::Number(LessOrEqual), false),
            "numericgreaterthan" => (Kind::Number(Greater), false),
            "numericgreaterthanequals" => (Kind::Number(GreaterOrEqual), false),
            "dateequals" => (Kind::Moment(Equal), false),
            "datenotequals" => (Kind::Moment(Equal), true),
            "datelessthan" => (Kind::Moment(Less), false),
            "datelessthanequals" => (Kind::Moment(LessOrEqual), false),
            "dategreaterthan" => (Kind::Moment(Greater), false),
            "dategreaterthanequals" => (Kind::Moment(GreaterOrEqual), false),
            "bool" => (Kind::Truth, false),
            "binaryequals" => (Kind::Bytes, false),
            "ipaddress" => (Kind::Address, false),
            "notipaddress" => (Kind::Address, true),
            "arnequals" | "arnlike" => (Kind::Arn, false),
            "arnnotequals" | "arnnotlike" => (Kind::Arn, true),
            // Whether a key exists is not a question about its values.
            "null" if !if_exists && over == Over::One => (Kind::Null, false),
            _ => return None,
        };
        Some(Operator { over, if_exists, is_negated, kind })
    }
}

impl Condition {
    /// Compiles one line. The error names the value that is wrong by its place and says why.
    pub(super) fn compile(
        operator: Operator,
        key: ConditionKey,
        values: &[&str],
        has_variables: bool,
    ) -> Result<Condition, (usize, String)> {
        let test = match operator.kind {
            Kind::Null => Test::Null(each(values, truth)?),
            Kind::Text { ignores_case, wildcards } => {
                let reading = Reading { wildcards, variables: has_variables };
                Test::Text { ignores_case, values: each(values, |value| Template::parse(value, reading))? }
            }
            Kind::Number(comparison) => Test::Number(comparison, each(values, number)?),
            Kind::Moment(comparison) => Test::Moment(comparison, each(values, date)?),
            Kind::Truth => Test::Truth(each(values, truth)?),
            Kind::Bytes => Test::Bytes(each(values, bytes)?),
            Kind::Address => Test::Address(each(values, network)?),
            Kind::Arn => Test::Arn(each(values, |value| ArnPattern::parse(value, has_variables))?),
        };
        let Operator { over, if_exists, is_negated, .. } = operator;
        Ok(Condition { key, over, if_exists, is_negated, test })
    }

    /// The keys that it asks for, those of variables in its values too.
    pub(super) fn keys(&self) -> impl Iterator<Item = &ConditionKey> {
        let in_values: Vec<&ConditionKey> = match &self.test {
            Test::Text { values, .. } => values.iter().flat_map(Template::keys).collect(),
            Test::Arn(values) => {
                values.iter().flat_map(|value| value.0.iter()).flat_map(Template::keys).collect()
            }
            _ => Vec::new(),
        };
        std::iter::once(&self.key).chain(in_values)
    }

    /// Whether the request is as it says; `unknown` when that depends on a value which is unknown.
    pub(super) fn holds(&self, context: &dyn Context, unknown: bool) -> bool {
        let value = context.value(&self.key);
        let values: &[_] = match &value {
            Value::Unknown => return unknown,
            Value::Absent => &[],
            Value::One(value) => std::slice::from_ref(value),
            Value::Many(values) => values,
        };
        if let Test::Null(wanted) = &self.test {
            return wanted.contains(&values.is_empty());
        }
        let mut values = values.iter();
        match self.over {
            Over::All => values.all(|value| self.one_holds(value, context, unknown)),
            Over::Any => values.any(|value| self.one_holds(value, context, unknown)),
            Over::One if values.len() == 0 => {
                let has_values = || self.has_values(context) || (unknown && self.has_unknown(context));
                self.if_exists || (self.is_negated && has_values())
            }
            // A key of several values needs a set operator.
            Over::One => {
                matches!(value, Value::One(_)) && values.all(|value| self.one_holds(value, context, unknown))
            }
        }
    }

    fn one_holds(&self, value: &str, context: &dyn Context, unknown: bool) -> bool {
        if self.has_unknown(context) {
            return unknown;
        }
        match self.test.fits(value, context) {
            Fit::Yes => !self.is_negated,
            Fit::No => self.is_negated,
            Fit::Unknown => false,
        }
    }

    /// Whether it is not known what a variable in its values stands for.
    fn has_unknown(&self, context: &dyn Context) -> bool {
        let is_unknown = |template: &Template| template.has_unknown(context);
        match &self.test {
            Test::Text { values, .. } => values.iter().any(is_unknown),
            Test::Arn(values) => values.iter().any(|value| value.0.iter().any(is_unknown)),
            _ => false,
        }
    }

    /// Whether every variable in its values has one.
    fn has_values(&self, context: &dyn Context) -> bool {
        match &self.test {
            Test::Text { values, .. } => values.iter().all(|template| template.has_values(context)),
            Test::Arn(values) => {
                values.iter().flat_map(|value| value.0.iter()).all(|part| part.has_values(context))
            }
            _ => true,
        }
    }

    /// Whether it holds only for requests from a few fixed places or senders, in the sense of a public bucket policy.
    pub(super) fn narrows(&self, is_narrowing: impl Fn(&ConditionKey) -> bool) -> bool {
        if self.is_negated || self.if_exists || self.over == Over::All {
            return false;
        }
        match &self.test {
            Test::Text { values, .. } => {
                // Who shows nothing has an id as well.
                let is_somebody =
                    |id: &str| self.key != ConditionKey::UserId || !id.eq_ignore_ascii_case("anonymous");
                is_narrowing(&self.key) && values.iter().all(|value| value.fixed().is_some_and(is_somebody))
            }
            Test::Arn(values) => {
                is_narrowing(&self.key)
                    && values.iter().all(|value| value.0.iter().all(|part| part.fixed().is_some()))
            }
            Test::Address(networks) => {
                self.key == ConditionKey::SourceIp && networks.iter().all(Network::is_narrow)
            }
            _ => false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    Yes,
    No,
    /// It does not fit, and one of those that it did not fit has a variable without a value.
    Unknown,
}

impl Test {
    fn fits(&self, value: &str, context: &dyn Context) -> Fit {
        let plain = |fits: bool| if fits { Fit::Yes } else { Fit::No };
        match self {
            Test::Null(_) => Fit::No,
            Test::Text { ignores_case: false, values } => {
                first_fit(values.iter().map(|template| template.fits(value, context)))
            }
            Test::Text { ignores_case: true, values } => {
                first_fit(values.iter().map(|template| template.equals_ignoring_case(value, context)))
            }
            Test::Arn(patterns) => first_fit(patterns.iter().map(|pattern| pattern.fits(value, context))),
            Test::Number(comparison, numbers) => plain(
                Decimal::parse(value)
                    .is_some_and(|value| numbers.iter().any(|number| comparison.holds(value.cmp(number)))),
            ),
            Test::Moment(comparison, moments) => plain(
                moment::parse(value)
                    .is_some_and(|value| moments.iter().any(|moment| comparison.holds(value.cmp(moment)))),
            ),
            Test::Truth(wanted) => plain(truth(value).is_ok_and(|value| wanted.contains(&value))),
            Test::Bytes(wanted) => plain(bytes(value).is_ok_and(|value| wanted.contains(&value))),
            Test::Address(networks) => plain(
                value.parse().is_ok_and(|address| networks.iter().any(|network| network.contains(address))),
            ),
        }
    }
}

fn first_fit(fits: impl Iterator<Item = Option<bool>>) -> Fit {
    let mut fit = Fit::No;
    for one in fits {
        match one {
            Some(true) => return Fit::Yes,
            Some(false) => {}
            None => fit = Fit::Unknown,
        }
    }
    fit
}

impl Comparison {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Comparison::Equal => order.is_eq(),
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// Reads every value of a list.
fn each<T>(values: &[&str], read: impl Fn(&str) -> Result<T, String>) -> Result<Box<[T]>, (usize, String)> {
    values.iter().enumerate().map(|(nth, value)| read(value).map_err(|why| (nth, why))).collect()
}

fn truth(text: &str) -> Result<bool, String> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Ok(true),
        _ if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

fn number(text: &str) -> Result<Decimal, String> {
    Decimal::parse(text).ok_or_else(|| format!("{text:?} is not a number"))
}

fn date(text: &str) -> Result<i64, String> {
    moment::parse(text)
        .ok_or_else(|| format!("{text:?} is neither a date as 2026-01-31T00:00:00Z nor seconds since 1970"))
}

fn bytes(text: &str) -> Result<Box<[u8]>, String> {
    let bytes = BASE64_STANDARD.decode(text).map_err(|_| format!("{text:?} is not base64"))?;
    Ok(bytes.into())
}

/// A number in digits, compared exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Decimal {
    is_negative: bool,
    /// Without zeros in front.
    whole: Box<str>,
    /// Without zeros at its end.
    fraction: Box<str>,
}

impl Decimal {
    fn parse(text: &str) -> Option<Decimal> {
        let (is_negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, fraction) = match digits.split_once('.') {
            Some((_, "")) => return None,
            Some(both) => both,
            None => (digits, ""),
        };
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
            return None;
        }
        let whole = whole.trim_start_matches('0');
        let fraction = fraction.trim_end_matches('0');
        let is_zero = whole.is_empty() && fraction.is_empty();
        Some(Decimal { is_negative: is_negative && !is_zero, whole: whole.into(), fraction: fraction.into() })
    }

    fn cmp(&self, other: &Decimal) -> Ordering {
        let size = |one: &Decimal, other: &Decimal| {
            let by_len = one.whole.len().cmp(&other.whole.len());
            by_len.then_with(|| one.whole.cmp(&other.whole)).then_with(|| one.fraction.cmp(&other.fraction))
        };
        match (self.is_negative, other.is_negative) {
            (false, false) => size(self, other),
            (true, true) => size(other, self),
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
        }
    }
}

/// Addresses with the same first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u32,
}

fn network(text: &str) -> Result<Network, String> {
    let refuse =
        || format!("{text:?} is neither an address nor a network as 203.0.113.0/24 or 2001:db8::/32");
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| refuse())?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        None => width,
        Some(bits)
            if !bits.is_empty() && bits.len() < 4 && bits.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            bits.parse().map_err(|_| refuse())?
        }
        Some(_) => return Err(refuse()),
    };
    if bits > width {
        return Err(refuse());
    }
    Ok(Network { address, bits })
}

impl Network {
    /// An address of version 4 that is written as one of version 6 is that of version 4.
    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let differing = ours.to_bits() ^ theirs.to_bits();
                differing.checked_shr(32 - self.bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let differing = ours.to_bits() ^ theirs.to_bits();
                differing.checked_shr(128 - self.bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(ours), IpAddr::V4(_)) => match ours.to_ipv4_mapped() {
                Some(ours) => {
                    let mapped = Network { address: ours.into(), bits: self.bits.saturating_sub(96) };
                    self.bits >= 96 && mapped.contains(address)
                }
                None => false,
            },
            (IpAddr::V4(_), IpAddr::V6(_)) => false,
        }
    }

    /// Whether it is not so wide that S3 takes a policy open to it for public.
    fn is_narrow(&self) -> bool {
        self.bits >= if self.address.is_ipv4() { 8 } else { 32 }
    }
}

/// A pattern of ARNs: each of the six parts by itself.
#[derive(Debug)]
struct ArnPattern(Box<[Template]>);

impl ArnPattern {
    fn parse(text: &str, has_variables: bool) -> Result<ArnPattern, String> {
        let reading = Reading { wildcards: true, variables: has_variables };
        if text == "*" {
            return Ok(ArnPattern(vec![Template::parse(text, reading)?].into()));
        }
        let parts = split_arn(text, has_variables);
        if parts.len() != 6 {
            return Err(format!("{text:?} is neither * nor an ARN of six parts"));
        }
        let parts: Result<Box<[Template]>, String> =
            parts.into_iter().map(|part| Template::parse(part, reading)).collect();
        parts.map(ArnPattern)
    }

    fn fits(&self, arn: &str, context: &dyn Context) -> Option<bool> {
        if let [everything] = &*self.0 {
            return everything.fits(arn, context);
        }
        let mut parts = arn.splitn(6, ':');
        let mut all = true;
        for pattern in &self.0 {
            let fits = pattern.fits(parts.next().unwrap_or_default(), context)?;
            all = all && fits;
        }
        Some(all && arn.bytes().filter(|byte| *byte == b':').count() >= 5)
    }
}

/// Splits at the first five colons that do not stand in a variable.
fn split_arn(text: &str, has_variables: bool) -> Vec<&str> {
    let (mut parts, mut from, mut is_inside) = (Vec::new(), 0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' if has_variables && text[..at].ends_with('$') => is_inside = true,
            b'}' => is_inside = false,
            b':' if !is_inside && parts.len() < 5 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_exactly() {
        let check = |a: &str, b: &str, want: Ordering| {
            let number = |text| Decimal::parse(text).expect(text);
            assert_eq!(number(a).cmp(&number(b)), want, "{a} {b}");
            assert_eq!(number(b).cmp(&number(a)), want.reverse(), "{b} {a}");
        };
        check("1", "1.0", Ordering::Equal);
        check("007", "+7", Ordering::Equal);
        check("-0", "0.00", Ordering::Equal);
        check("9007199254740993", "9007199254740992", Ordering::Greater);
        check("10", "9", Ordering::Greater);
        check("-10", "-9", Ordering::Less);
        check("-1", "1", Ordering::Less);
        check("1.05", "1.5", Ordering::Less);
        check("0.1", "0", Ordering::Greater);
        for bad in ["", "-", "+", ".", "1.", ".5", "1e3", "0x1", "1 ", "--1", "1.2.3", "\u{661}"] {
            assert_eq!(Decimal::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn networks() {
        let check = |text: &str, address: &str, want: bool| {
            let got = network(text).expect(text).contains(address.parse().expect("an address"));
            assert_eq!(got, want, "{text} {address}");
        };
        check("203.0.113.0/24", "203.0.113.255", true);
        check("203.0.113.0/24", "203.0.114.0", false);
        check("203.0.113.7/24", "203.0.113.1", true);
        check("203.0.113.7", "203.0.113.7", true);
        check("203.0.113.7", "203.0.113.8", false);
        check("0.0.0.0/0", "255.255.255.255", true);
        check("0.0.0.0/0", "::1", false);
        check("::/0", "2001:db8::1", true);
        check("::/0", "10.0.0.1", false);
        check("2001:DB8::/32", "2001:db8:ffff::1", true);
        check("2001:db8::/32", "2001:db9::1", false);
        check("10.0.0.0/8", "::ffff:10.1.2.3", true);
        check("::ffff:10.0.0.0/104", "10.1.2.3", true);
        check("::ffff:10.0.0.0/104", "11.1.2.3", false);
        check("2001:db8::1", "2001:db8::1", true);
        for bad in [
            "",
            "10.0.0",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "::/129",
            "*",
            "010.0.0.1",
            "10.*.0.0",
        ] {
            assert!(network(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn operators_that_are_none() {
        for bad in [
            "",
            "Equals",
            "StringEqual",
            "StringNotLikeIfExist",
            "NullIfExists",
            "ForAllValues:Null",
            "ForAnyValue:Null",
            "ForSomeValues:StringLike",
            "ForAllValues:",
            "IfExists",
            "StringEqualsIfExistsIfExists",
            ":StringLike",
            "ForAllValues:ForAnyValue:StringLike",
            "StringLikeIgnoreCase",
            "NotBool",
            "NumericNotLessThan",
        ] {
            assert!(Operator::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn arns_are_split_outside_of_variables() {
        let check = |text: &str, want: &[&str]| assert_eq!(split_arn(text, true), want, "{text}");
        check("arn:aws:iam::1:user/a:b", &["arn", "aws", "iam", "", "1", "user/a:b"]);
        check(
            "arn:aws:iam::${aws:PrincipalAccount}:x",
            &["arn", "aws", "iam", "", "${aws:PrincipalAccount}", "x"],
        );
        check("arn", &["arn"]);
        check("", &[""]);
    }
}
