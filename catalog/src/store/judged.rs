//! What the sender of a request was judged on, brought along to the owner: the rights were asked for on another core, and a
//! name may have passed to another table since.
//!
//! `rest` makes one for each request and [`Store::read`](super::Store), `append` and `mutate` hold it against the warehouse in
//! the breath in which they answer or change. I1. It is empty where rights do not depend on ids, and costs nothing then.

use crate::store::failure::CatalogError;
use crate::store::names::Ident;
use crate::store::state::Warehouse;

/// A table by its name and its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedTable {
    pub(crate) ident: Ident,
    /// Its UUID, in lower case.
    pub(crate) id: String,
}

/// See the head of this file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Judged {
    /// The tables that the request names, each with the id under which it was judged; `None`: there was no such table. Empty
    /// when ids do not matter.
    tables: Vec<(Ident, Option<String>)>,
    /// A table that the request does not name, and that the sender has the same rights on: see [`CatalogError::Concerns`].
    also: Option<NamedTable>,
}

impl Judged {
    pub(crate) fn of(tables: Vec<(Ident, Option<String>)>) -> Judged {
        Judged { tables, also: None }
    }

    /// The same, and a table besides.
    pub(crate) fn with(self, also: Option<NamedTable>) -> Judged {
        Judged { also, ..self }
    }

    /// The id under which a table of the request was judged.
    pub(crate) fn id(&self, ident: &Ident) -> Option<&str> {
        self.tables.iter().find(|(judged, _)| judged == ident)?.1.as_deref()
    }

    /// Whether ids matter.
    pub(crate) fn has_ids(&self) -> bool {
        !self.tables.is_empty()
    }

    /// [`CatalogError::Moved`] when a name stands for another table than the one that was judged.
    pub(crate) fn check(&self, warehouse: &Warehouse) -> Result<(), CatalogError> {
        let holds = |(ident, id): &(Ident, Option<String>)| {
            let now = warehouse.find(ident).map(|table| table.pointer.uuid.as_str());
            match (now, id) {
                (Some(now), Some(id)) => now.eq_ignore_ascii_case(id),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            }
        };
        if self.tables.iter().all(holds) { Ok(()) } else { Err(CatalogError::Moved) }
    }

    /// [`CatalogError::Concerns`] for a table that the request does not name and in which the answer lies, unless the sender's
    /// rights on it are known.
    pub(crate) fn check_also(&self, ident: &Ident, uuid: &str) -> Result<(), CatalogError> {
        let table = NamedTable { ident: ident.clone(), id: uuid.to_ascii_lowercase() };
        match self.also.as_ref() == Some(&table) {
            true => Ok(()),
            false => Err(CatalogError::Concerns(table)),
        }
    }
}
