//! The form of a query request, taken apart: `Action=CreateUser&Version=2010-05-08&Tags.member.1.Key=team&…`.
//!
//! Pure. Lists are numbered from 1, as AWS's clients send them; a number that is missing ends the list.

use std::fmt::Write as _;

use nilas_catalog::uri::{decode_query, raw_pairs};

use crate::limits::QUERY_FORM_FIELDS_MAX;
use crate::query::error::QueryError;

/// A decoded form, in the order sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Form {
    pairs: Vec<(String, String)>,
}

impl Form {
    /// Decodes a body. A name given twice, a broken escape and too many fields are refused.
    pub(crate) fn parse(body: &[u8]) -> Result<Form, QueryError> {
        let text = std::str::from_utf8(body).map_err(|_| QueryError::MalformedForm)?;
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in raw_pairs(text.trim_ascii()) {
            let name = decode_query(name).ok_or(QueryError::MalformedForm)?;
            let value = decode_query(value).ok_or(QueryError::MalformedForm)?;
            if QUERY_FORM_FIELDS_MAX <= pairs.len() {
                return Err(QueryError::MalformedForm);
            }
            pairs.push((name, value));
        }
        pairs.sort_by(|(left, _), (right, _)| left.cmp(right));
        if pairs.windows(2).any(|two| two[0].0 == two[1].0) {
            return Err(QueryError::MalformedForm);
        }
        Ok(Form { pairs })
    }

    /// The value of a field.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let at = self.pairs.binary_search_by(|(held, _)| held.as_str().cmp(name)).ok()?;
        self.pairs.get(at).map(|(_, value)| value.as_str())
    }

    /// The value of a field that must be there.
    pub(crate) fn need(&self, name: &'static str) -> Result<&str, QueryError> {
        self.get(name).ok_or(QueryError::Missing { name })
    }

    /// The values of `name.member.1`, `name.member.2` and so on.
    pub(crate) fn list<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        (1_usize..).map_while(move |nth| self.get(&format!("{name}.member.{nth}")))
    }

    /// The same of structures: values of `name.member.1.field`, for each of `fields`, while there is one of them.
    pub(crate) fn structures<const N: usize>(
        &self,
        name: &str,
        fields: [&str; N],
    ) -> impl Iterator<Item = [Option<&str>; N]> {
        let mut path = String::new();
        (1_usize..).map_while(move |nth| {
            let found = fields.map(|field| {
                path.clear();
                write!(path, "{name}.member.{nth}.{field}").ok()?;
                self.get(&path)
            });
            found.iter().any(Option::is_some).then_some(found)
        })
    }

    /// Whether a field, or one within it, is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        let within =
            |held: &str| held.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.pairs.iter().any(|(held, _)| within(held))
    }

    /// A field that is `true` or `false`.
    pub(crate) fn flag(&self, name: &'static str) -> Result<bool, QueryError> {
        match self.get(name) {
            None => Ok(false),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(_) => Err(QueryError::Invalid { name, why: "must be true or false".to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let form =
            Form::parse(b"Action=A&L.member.1=x+y&L.member.2=%2F&L.member.4=no&T.member.1.Key=k&B=TRUE")
                .expect("a form");
        assert_eq!(form.get("Action"), Some("A"));
        assert_eq!(form.list("L").collect::<Vec<_>>(), ["x y", "/"]);
        assert_eq!(form.structures("T", ["Key", "Value"]).collect::<Vec<_>>(), [[Some("k"), None]]);
        assert!(form.has("T") && form.has("L.member") && !form.has("Act") && !form.has("Actions"));
        assert_eq!(form.flag("B"), Ok(true));
        assert_eq!(form.need("C"), Err(QueryError::Missing { name: "C" }));
        for broken in ["a=%zz", "a=1&a=2", "a=%ff"] {
            assert_eq!(Form::parse(broken.as_bytes()).map(drop), Err(QueryError::MalformedForm), "{broken}");
        }
        let many: String = (0..=QUERY_FORM_FIELDS_MAX).map(|nth| format!("f{nth}=&")).collect();
        assert_eq!(Form::parse(many.as_bytes()).map(drop), Err(QueryError::MalformedForm));
    }
}
