//! The form of a query request, taken apart: `Action=CreateUser&Version=2010-05-08&Tags.member.1.Key=team&…`.
//!
//! Pure. Lists are numbered from 1, as AWS's clients send them; a number that is missing ends the list. Where it matters that
//! nothing a client says goes unread, [`Form::only`] refuses what would.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use nilas_catalog::uri::{decode_query, raw_pairs};

use crate::limits::QUERY_FORM_FIELDS_MAX;
use crate::query::error::QueryError;

/// A field that an operation reads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Field {
    /// One value.
    One(&'static str),
    /// `name.member.N`.
    List(&'static str),
    /// `name.member.N.field`, for each of the fields.
    Structures(&'static str, &'static [&'static str]),
}

impl Field {
    fn name(self) -> &'static str {
        match self {
            Field::One(name) | Field::List(name) | Field::Structures(name, _) => name,
        }
    }

    /// Whether `rest` of a name that begins with this field's is one that is read: as one value, or as the member of this number.
    fn takes(self, rest: &str) -> Option<Option<usize>> {
        let member = || rest.strip_prefix(".member.");
        match self {
            Field::One(_) => rest.is_empty().then_some(None),
            // As AWS's clients send a list without members.
            Field::List(_) | Field::Structures(..) if rest.is_empty() => Some(None),
            Field::List(_) => canonical(member()?).map(Some),
            Field::Structures(_, fields) => {
                let (nth, field) = member()?.split_once('.')?;
                fields.contains(&field).then(|| canonical(nth).map(Some))?
            }
        }
    }
}

/// A number from 1 as clients write it: the one spelling under which it is looked for.
fn canonical(text: &str) -> Option<usize> {
    let number: usize = text.parse().ok()?;
    (number != 0 && number.to_string() == text).then_some(number)
}

/// A decoded form, sorted by name.
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

    /// Refuses a field that is none of these, and a member of a list that is not read because one before it is missing.
    pub(crate) fn only(&self, fields: &[Field]) -> Result<(), QueryError> {
        let unread = |name: String| QueryError::Unread { name };
        let mut members = BTreeSet::new();
        for (name, _) in &self.pairs {
            let taken = fields.iter().find_map(|field| {
                let rest = name.strip_prefix(field.name())?;
                field.takes(rest).map(|nth| (field.name(), nth))
            });
            match taken {
                Some((list, Some(nth))) => drop(members.insert((list, nth))),
                Some((_, None)) => {}
                None => return Err(unread(name.clone())),
            }
        }
        match members.iter().find(|(list, nth)| 1 < *nth && !members.contains(&(*list, nth - 1))) {
            Some((list, nth)) => Err(unread(format!("{list}.member.{nth}"))),
            None => Ok(()),
        }
    }

    /// The same for one list, whatever else the form has.
    pub(crate) fn whole(&self, field: Field) -> Result<(), QueryError> {
        let within = |held: &str| {
            held.strip_prefix(field.name()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let pairs = self.pairs.iter().filter(|(held, _)| within(held)).cloned().collect();
        Form { pairs }.only(&[field])
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

    #[test]
    fn nothing_goes_unread() {
        const FIELDS: &[Field] = &[Field::One("A"), Field::List("L"), Field::Structures("S", &["k", "v"])];
        let check = |body: &str, want: Result<(), &str>| {
            let form = Form::parse(body.as_bytes()).expect("a form");
            let want = want.map_err(|name| QueryError::Unread { name: name.to_owned() });
            assert_eq!(form.only(FIELDS), want, "{body}");
        };
        check("", Ok(()));
        check("A=&L=&S=", Ok(()));
        check("A=1&L.member.1=a&L.member.2=b&S.member.1.k=x&S.member.1.v=y&S.member.2.v=z", Ok(()));
        let ten: String = (1..=10).map(|nth| format!("L.member.{nth}=&")).collect();
        check(&ten, Ok(()));
        for (body, unread) in [
            ("B=1", "B"),
            ("a=1", "a"),
            ("A.member.1=1", "A.member.1"),
            ("L.1=a", "L.1"),
            ("L.member=a", "L.member"),
            ("L.member.0=a", "L.member.0"),
            ("L.member.01=a", "L.member.01"),
            ("L.member.%2B1=a", "L.member.+1"),
            ("L.member.2=a", "L.member.2"),
            ("L.member.1=a&L.member.3=b", "L.member.3"),
            ("L.member.1.k=a", "L.member.1.k"),
            ("L.member.99999999999999999999=a", "L.member.99999999999999999999"),
            ("S.member.1=a", "S.member.1"),
            ("S.member.1.K=a", "S.member.1.K"),
            ("S.member.1.k.k=a", "S.member.1.k.k"),
            ("S.1.k=a", "S.1.k"),
            ("S.member.2.k=a", "S.member.2"),
            ("Sx=1", "Sx"),
        ] {
            check(body, Err(unread));
        }
        let form = Form::parse(b"B=1&Lx=1&L.member.2=a").expect("a form");
        assert_eq!(form.whole(Field::List("L")), Err(QueryError::Unread { name: "L.member.2".to_owned() }));
        assert_eq!(form.whole(Field::Structures("S", &["k"])), Ok(()));
    }
}
