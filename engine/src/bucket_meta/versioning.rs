//! What the setting `versioning` of a bucket says. S3's words are its values; see FORMAT.md, "Bucket settings".
//!
//! The owner of a bucket asks for it when a write takes its place, so a change of the setting divides all writes into
//! those before and those behind it.

/// What becomes of the versions of a bucket's objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versioning {
    /// Nobody ever asked for versions: every object is the null version of its key.
    #[default]
    Unset,
    /// Every write makes one more version, every delete a marker.
    Enabled,
    /// Every write and delete makes the null version; other versions stay.
    Suspended,
}

impl Versioning {
    /// What a value of the setting says, or its absence; `None` for what a newer version wrote.
    pub fn parse(value: Option<&[u8]>) -> Option<Versioning> {
        match value {
            None => Some(Versioning::Unset),
            Some(b"Enabled") => Some(Versioning::Enabled),
            Some(b"Suspended") => Some(Versioning::Suspended),
            Some(_) => None,
        }
    }

    /// The value that says so.
    pub fn value(self) -> Option<&'static str> {
        match self {
            Versioning::Unset => None,
            Versioning::Enabled => Some("Enabled"),
            Versioning::Suspended => Some("Suspended"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        for versioning in [Versioning::Unset, Versioning::Enabled, Versioning::Suspended] {
            assert_eq!(Versioning::parse(versioning.value().map(str::as_bytes)), Some(versioning));
        }
        for newer in [&b""[..], b"enabled", b"Enabled "] {
            assert_eq!(Versioning::parse(Some(newer)), None);
        }
    }
}
