//! What the setting `lock` of a bucket says: object lock is on, and with which retention every new object begins.
//! See FORMAT.md, "Bucket settings".
//!
//! The owner of a bucket asks for it when a write takes its place, whoever writes. Pure.

use crate::calendar::{Civil, DAY_MS, days_of_date};
use crate::lock::{Retention, RetentionMode};

/// Object lock of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LockRule {
    /// What a new object without a retention of its own begins with.
    pub default: Option<DefaultRetention>,
}

/// A retention by how long it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultRetention {
    /// How strictly.
    pub mode: RetentionMode,
    /// How long, from the write on.
    pub period: Period,
}

/// How long a retention lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// So many days of 24 hours.
    Days(u32),
    /// To the same day and time of a later year; 29 February ends on 1 March.
    Years(u32),
}

impl DefaultRetention {
    /// The retention of what is written then. It ends with a whole second, as it is shown, and never before its time.
    pub fn from(self, written_ms: u64) -> Retention {
        let until_ms = match self.period {
            Period::Days(days) => written_ms.saturating_add(u64::from(days) * DAY_MS),
            Period::Years(years) => {
                let Civil { year, month, day, .. } = Civil::of_ms(written_ms);
                let year = year + u64::from(years);
                let date = days_of_date(year, month, day).or_else(|| days_of_date(year, 3, 1));
                date.map_or(u64::MAX, |days| days * DAY_MS + written_ms % DAY_MS)
            }
        };
        let until_ms = until_ms.checked_next_multiple_of(1_000).unwrap_or(u64::MAX);
        Retention { mode: self.mode, until_ms }
    }
}

impl RetentionMode {
    /// S3's name.
    pub fn name(self) -> &'static str {
        match self {
            RetentionMode::Governance => "GOVERNANCE",
            RetentionMode::Compliance => "COMPLIANCE",
        }
    }

    /// The mode of that name.
    pub fn parse(name: &str) -> Option<RetentionMode> {
        [RetentionMode::Governance, RetentionMode::Compliance].into_iter().find(|mode| mode.name() == name)
    }
}

impl LockRule {
    /// What a value of the setting says; `None` for what a newer version wrote.
    pub fn parse(value: &[u8]) -> Option<LockRule> {
        if value.is_empty() {
            return Some(LockRule::default());
        }
        let mut words = std::str::from_utf8(value).ok()?.split(' ');
        let (mode, count, unit) = (words.next()?, words.next()?, words.next()?);
        if words.next().is_some() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let count = count.parse().ok()?;
        let period = match unit {
            "days" => Period::Days(count),
            "years" => Period::Years(count),
            _ => return None,
        };
        Some(LockRule { default: Some(DefaultRetention { mode: RetentionMode::parse(mode)?, period }) })
    }

    /// The value that says so.
    pub fn value(&self) -> String {
        match self.default {
            None => String::new(),
            Some(DefaultRetention { mode, period: Period::Days(days) }) => {
                format!("{} {days} days", mode.name())
            }
            Some(DefaultRetention { mode, period: Period::Years(years) }) => {
                format!("{} {years} years", mode.name())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let rule = |mode, period| LockRule { default: Some(DefaultRetention { mode, period }) };
        for (rule, value) in [
            (LockRule::default(), ""),
            (rule(RetentionMode::Governance, Period::Days(30)), "GOVERNANCE 30 days"),
            (rule(RetentionMode::Compliance, Period::Years(2)), "COMPLIANCE 2 years"),
        ] {
            assert_eq!((rule.value().as_str(), LockRule::parse(value.as_bytes())), (value, Some(rule)));
        }
        for newer in
            ["GOVERNANCE", "GOVERNANCE 1", "GOVERNANCE +1 days", "X 1 days", "GOVERNANCE 1 days x", "\u{e9}"]
        {
            assert_eq!(LockRule::parse(newer.as_bytes()), None, "{newer}");
        }
    }

    #[test]
    fn ends() {
        let check = |written, period, until: Option<(u64, u64, u64)>| {
            let (year, month, day) = written;
            let written_ms = days_of_date(year, month, day).expect("a date") * DAY_MS + 5;
            let until_ms = until.map_or(u64::MAX, |(year, month, day)| {
                days_of_date(year, month, day).expect("a date") * DAY_MS + 1_000
            });
            let mode = RetentionMode::Compliance;
            assert_eq!(DefaultRetention { mode, period }.from(written_ms), Retention { mode, until_ms });
        };
        check((2026, 1, 31), Period::Days(1), Some((2026, 2, 1)));
        check((2026, 11, 30), Period::Years(1), Some((2027, 11, 30)));
        check((2024, 2, 29), Period::Years(1), Some((2025, 3, 1)));
        check((2024, 2, 29), Period::Years(4), Some((2028, 2, 29)));
        check((2026, 1, 1), Period::Years(9_000), None);
    }
}
