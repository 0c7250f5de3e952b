//! Every operation of every API under one number, for what counts requests by kind.
//!
//! The rows themselves are in the tables of each API: `pages`, `s3::operations`, `query::operations`, and the catalog's.

use nilas_catalog::access::{Api, Effect, OperationFacts};

use crate::auth::Service;
use crate::identity::model::UsedFor;
use crate::pages::Page;
use crate::query;
use crate::s3::operations::Operation;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnyOperation {
    Page(Page),
    /// `None`: nothing that the catalog serves.
    Iceberg(Option<nilas_catalog::Operation>),
    /// `None`: nothing that the query API serves.
    Query(Option<query::Operation>),
    /// `None`: nothing that is served.
    S3(Option<Operation>),
}

const PAGES: usize = Page::ALL.len();
const ICEBERG: usize = nilas_catalog::Operation::ALL.len() + 1;
const QUERY: usize = query::Operation::ALL.len() + 1;

impl AnyOperation {
    /// All of them, each at its index.
    pub(crate) fn all() -> impl Iterator<Item = AnyOperation> {
        let pages = Page::ALL.into_iter().map(AnyOperation::Page);
        let iceberg = nilas_catalog::Operation::ALL.iter().map(|operation| Some(*operation));
        let query = query::Operation::ALL.iter().map(|operation| Some(*operation));
        let s3 = Operation::ALL.iter().map(|operation| Some(*operation));
        pages
            .chain(std::iter::once(None).chain(iceberg).map(AnyOperation::Iceberg))
            .chain(std::iter::once(None).chain(query).map(AnyOperation::Query))
            .chain(std::iter::once(None).chain(s3).map(AnyOperation::S3))
    }

    /// Its number: its place in [`AnyOperation::all`].
    pub(crate) fn index(self) -> usize {
        match self {
            AnyOperation::Page(page) => page as usize,
            AnyOperation::Iceberg(operation) => {
                PAGES + operation.map_or(0, |operation| 1 + operation as usize)
            }
            AnyOperation::Query(operation) => {
                PAGES + ICEBERG + operation.map_or(0, |operation| 1 + operation as usize)
            }
            AnyOperation::S3(operation) => {
                PAGES + ICEBERG + QUERY + operation.map_or(0, |operation| 1 + operation as usize)
            }
        }
    }

    pub(crate) fn api(self) -> Api {
        match self {
            AnyOperation::Page(_) => Api::Admin,
            AnyOperation::Iceberg(_) => Api::Iceberg,
            AnyOperation::Query(_) => Api::Iam,
            AnyOperation::S3(_) => Api::S3,
        }
    }

    /// What the key of its sender is used for.
    pub(crate) fn used_for(self) -> UsedFor {
        match self {
            AnyOperation::Page(_) | AnyOperation::S3(_) => UsedFor::S3,
            AnyOperation::Iceberg(_) => UsedFor::Tables,
            AnyOperation::Query(Some(operation)) if operation.service() == Service::Sts => UsedFor::Sts,
            AnyOperation::Query(_) => UsedFor::Iam,
        }
    }

    /// Its name in metrics.
    pub(crate) fn name(self) -> &'static str {
        self.facts().map_or("Unknown", |facts| facts.name)
    }

    /// Whether its answer may tell of a change that is done.
    pub(crate) fn changes(self) -> bool {
        self.facts().is_some_and(|facts| facts.effect == Effect::Changes)
    }

    /// Its row, if it is served.
    pub(crate) fn facts(self) -> Option<&'static OperationFacts> {
        match self {
            AnyOperation::Page(page) => Some(&page.row().facts),
            AnyOperation::Iceberg(operation) => operation.map(nilas_catalog::Operation::facts),
            AnyOperation::Query(operation) => operation.map(query::Operation::facts),
            AnyOperation::S3(operation) => operation.map(Operation::facts),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_has_its_own_number_and_name() {
        let mut names = HashSet::new();
        for (nth, operation) in AnyOperation::all().enumerate() {
            assert_eq!(operation.index(), nth, "{operation:?}");
            assert!(names.insert((operation.api(), operation.name())), "{operation:?}");
            assert!(operation.facts().is_none_or(|facts| facts.api == operation.api()), "{operation:?}");
        }
    }
}
