//! Names of namespaces, tables and warehouses: parsed once, at the edge; valid everywhere behind it.
//!
//! A namespace is kept as its levels joined by [`SEPARATOR`]. No level holds a control character, so a child sorts
//! directly behind its parent and before every sibling of the parent: listings are range scans that skip by seek.

use std::fmt;

use crate::bucket_name::{is_reserved_for_catalog, is_well_formed};
use crate::limits::{NAMESPACE_BYTES_MAX, NAMESPACE_LEVELS_MAX, OverLimit, TABLE_NAME_BYTES_MAX, at_most};

/// What joins the levels of a namespace, on the wire and in values.
pub(crate) const SEPARATOR: char = '\u{1f}';

/// Why a name is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NameError {
    /// Not a name; the text says what and which.
    Invalid(String),
    /// More levels, or longer, than names may be.
    TooLong(OverLimit),
}

impl From<OverLimit> for NameError {
    fn from(over: OverLimit) -> NameError {
        NameError::TooLong(over)
    }
}

/// A namespace with at least one level.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NamespaceName(String);

impl NamespaceName {
    /// Parses levels joined by [`SEPARATOR`].
    pub(crate) fn parse(joined: &str) -> Result<NamespaceName, NameError> {
        NamespaceName::from_levels(joined.split(SEPARATOR))
    }

    /// Puts a namespace together from its levels, outermost first.
    pub(crate) fn from_levels<'a>(
        levels: impl IntoIterator<Item = &'a str>,
    ) -> Result<NamespaceName, NameError> {
        let mut joined = String::new();
        let mut count = 0_usize;
        for level in levels {
            check_part("namespace", level)?;
            if count > 0 {
                joined.push(SEPARATOR);
            }
            joined.push_str(level);
            count += 1;
        }
        if count == 0 {
            return Err(NameError::Invalid("Invalid namespace: empty".to_owned()));
        }
        at_most("NAMESPACE_LEVELS_MAX", NAMESPACE_LEVELS_MAX, count)?;
        at_most("NAMESPACE_BYTES_MAX", NAMESPACE_BYTES_MAX, joined.len())?;
        Ok(NamespaceName(joined))
    }

    /// The joined form.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split(SEPARATOR)
    }

    pub(crate) fn parent(&self) -> Option<NamespaceName> {
        self.0.rfind(SEPARATOR).map(|at| NamespaceName(self.0[..at].to_owned()))
    }
}

impl fmt::Display for NamespaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, level) in self.levels().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            f.write_str(level)?;
        }
        Ok(())
    }
}

/// A table's (or view's) namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ident {
    pub(crate) namespace: NamespaceName,
    pub(crate) name: String,
}

impl Ident {
    pub(crate) fn new(namespace: NamespaceName, name: &str) -> Result<Ident, NameError> {
        check_part("table name", name)?;
        at_most("TABLE_NAME_BYTES_MAX", TABLE_NAME_BYTES_MAX, name.len())?;
        Ok(Ident { namespace, name: name.to_owned() })
    }

    /// Namespace and name as one text, that of no other table.
    pub(crate) fn joined(&self) -> String {
        format!("{}\0{}", self.namespace.as_str(), self.name)
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace, self.name)
    }
}

/// What a path names within a warehouse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    Nothing,
    Namespace(NamespaceName),
    /// A table, or a view.
    Ident(Ident),
}

/// The name in any spelling clients use for a warehouse: `name`, `s3://name/`, `arn:…:bucket/name`.
pub(crate) fn warehouse_name(spelled: &str) -> &str {
    let name = spelled.strip_prefix("s3://").unwrap_or(spelled);
    let name = if name.starts_with("arn:") {
        name.rsplit_once(":bucket/").map_or(name, |(_, tail)| tail)
    } else {
        name
    };
    name.trim_end_matches('/')
}

/// Whether a warehouse may be called so: the rules for S3 bucket names, without the words of our own paths.
pub(crate) fn check_warehouse_name(name: &str) -> Result<(), NameError> {
    if !is_well_formed(name) {
        return Err(NameError::Invalid(format!("Invalid warehouse name: {name}")));
    }
    if is_reserved_for_catalog(name) {
        return Err(NameError::Invalid(format!("Invalid warehouse name: {name} is reserved")));
    }
    Ok(())
}

fn check_part(what: &str, part: &str) -> Result<(), NameError> {
    if part.is_empty() || part == "." || part == ".." || part.chars().any(char::is_control) {
        return Err(NameError::Invalid(format!("Invalid {what}: {part:?}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces() {
        let check = |joined: &str, want: Option<&str>| {
            let got = NamespaceName::parse(joined).ok().map(|name| name.to_string());
            assert_eq!(got.as_deref(), want, "{joined:?}");
        };
        check("a", Some("a"));
        check("a\u{1f}b c", Some("a.b c"));
        check("a.b", Some("a.b"));
        check("ü/%", Some("ü/%"));
        check("", None);
        check("\u{1f}a", None);
        check("a\u{1f}", None);
        check("a\u{1f}..", None);
        check("a\n", None);
        check(&["a"; 17].join("\u{1f}"), None);
        check(&"a".repeat(513), None);
    }

    #[test]
    fn parents() {
        let name = NamespaceName::parse("a\u{1f}b\u{1f}c").expect("valid");
        let parent = name.parent().expect("three levels");
        assert_eq!(parent.as_str(), "a\u{1f}b");
        assert_eq!(parent.parent().and_then(|p| p.parent()), None);
    }

    #[test]
    fn warehouses() {
        let check = |spelled: &str, want: &str| assert_eq!(warehouse_name(spelled), want);
        check("w", "w");
        check("s3://w", "w");
        check("s3://w/", "w");
        check("arn:aws:s3tables:us-east-1:123456789012:bucket/w", "w");

        let valid = |name: &str, want: bool| assert_eq!(check_warehouse_name(name).is_ok(), want, "{name}");
        valid("lake", true);
        valid("a.b-1", true);
        valid("ab", false);
        valid("Lake", false);
        valid("-lake", false);
        valid("lake-", false);
        valid("a..b", false);
        valid("192.168.0.1", false);
        valid("lake-.a", false);
        valid("lake.-a", false);
        valid("lake--x-s3", false);
        valid("config", false);
        valid(&"a".repeat(63), true);
        valid(&"a".repeat(64), false);
    }
}
