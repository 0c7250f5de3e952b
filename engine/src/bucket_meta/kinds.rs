//! Kinds of settings of a bucket: a number on the drive, a name for people, and whether it binds whoever changes the
//! bucket. See FORMAT.md, "Bucket settings".
//!
//! Each kind belongs to the feature it is named after, which alone knows what its value means. I1. A number never
//! changes its meaning. I2. Kinds below 128 are *binding*: a program that does not honour one changes nothing in a
//! bucket that has it, because a lock, a quota or an encryption rule that is ignored is broken.

use std::fmt;

/// What a setting is about: a number on the drive, a name for people.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SettingKind(u8);

/// The first kind that is not binding.
const ADVISORY_FROM: u8 = 128;

macro_rules! kinds {
    ($($(#[doc = $text:literal])* $constant:ident = $number:literal $name:literal $use:ident,)*) => {
        impl SettingKind {
            $($(#[doc = $text])* pub const $constant: SettingKind = SettingKind($number);)*

            /// All kinds that this program knows by name, by number.
            pub const ALL: &'static [SettingKind] = &[$(SettingKind::$constant,)*];

            /// The kind's name, for those of [`SettingKind::ALL`].
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some($name),)*
                    _ => None,
                }
            }

            /// Whether this program does what a setting of the kind says.
            pub fn is_honoured(self) -> bool {
                match self.0 {
                    $($number => kinds!(@ $use),)*
                    _ => false,
                }
            }
        }
    };
    (@ honoured) => { true };
    (@ reserved) => { false };
}

kinds! {
    /// S3's rule for whose the objects are.
    OWNERSHIP = 1 "ownership" honoured,
    /// Whether versions are kept.
    VERSIONING = 2 "versioning" honoured,
    /// Who may do what: the policy document as it was sent.
    POLICY = 3 "policy" honoured,
    /// How objects are encrypted.
    ENCRYPTION = 4 "encryption" honoured,
    /// Object lock and default retention.
    LOCK = 5 "lock" honoured,
    /// How much it may hold.
    QUOTA = 6 "quota" honoured,
    /// The mark of the table catalog: the bucket is a warehouse.
    CATALOG = 7 "catalog" honoured,
    /// Whose the bucket is: the id of a user. Without it root's.
    OWNER = 8 "owner" honoured,
    /// Which grants to everybody are void.
    PUBLIC_ACCESS = 9 "public access block" honoured,
    /// Tags of the bucket.
    TAGS = 128 "tags" honoured,
    /// Which web pages may read it.
    CORS = 129 "CORS" honoured,
    /// What expires, and when.
    LIFECYCLE = 130 "lifecycle" honoured,
    /// Who is notified of changes.
    NOTIFICATIONS = 131 "notifications" reserved,
}

impl SettingKind {
    /// The kind of a number, known or not.
    pub const fn of(number: u8) -> SettingKind {
        SettingKind(number)
    }

    /// The number on the drive.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Whether a program that does not honour the setting may change nothing in the bucket.
    pub const fn is_binding(self) -> bool {
        self.0 < ADVISORY_FROM
    }
}

impl fmt::Display for SettingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "number {}, of a newer version", self.0),
        }
    }
}

impl fmt::Debug for SettingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_and_named_once() {
        assert!(SettingKind::ALL.is_sorted_by(|a, b| a < b));
        let names: std::collections::BTreeSet<_> = SettingKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), SettingKind::ALL.len());
    }
}
