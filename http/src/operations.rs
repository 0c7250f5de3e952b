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

    use nilas_catalog::access::ResourceKind;

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

    /// How a policy names what operations of a kind are judged on.
    fn named(kind: ResourceKind) -> Option<&'static str> {
        Some(match kind {
            ResourceKind::Public | ResourceKind::Identity => return None,
            ResourceKind::Service => "*",
            ResourceKind::Bucket => "arn:aws:s3:::BUCKET",
            ResourceKind::Object => "arn:aws:s3:::BUCKET/KEY",
            ResourceKind::Warehouse | ResourceKind::Namespace => "arn:aws:s3tables:::bucket/WAREHOUSE",
            ResourceKind::Table => "arn:aws:s3tables:::bucket/WAREHOUSE/table/ID",
        })
    }

    /// The rows of the page: each action, with what it is judged on and all operations that ask for it.
    fn rows() -> Vec<String> {
        let mut asked: Vec<(&str, &str, Vec<&str>)> = Vec::new();
        let of_interest = [Api::S3, Api::Iceberg, Api::Admin];
        for api in of_interest {
            for facts in AnyOperation::all().filter_map(AnyOperation::facts).filter(|facts| facts.api == api)
            {
                let Some(named) = named(facts.resource) else { continue };
                match asked.iter_mut().find(|(action, on, _)| *action == facts.action && *on == named) {
                    Some((_, _, operations)) => operations.push(facts.name),
                    None => asked.push((facts.action, named, vec![facts.name])),
                }
            }
        }
        let row = |(action, on, operations): &(&str, &str, Vec<&str>)| {
            let data = crate::identity::policy::data_action(action);
            let data = data.map(|data| format!("`{data}`")).unwrap_or_default();
            format!("| `{action}` | `{on}` | {data} | {} |", operations.join(", "))
        };
        asked.iter().map(row).collect()
    }

    #[test]
    fn the_page_says_what_each_operation_is_judged_by() {
        let page = include_str!("../../docs/access.md");
        let section = page.split("## Operations").nth(1).and_then(|rest| rest.split("\n## ").next());
        let table = section.expect("the section").lines().filter(|line| line.starts_with('|')).skip(2);
        let (written, rows) = (table.collect::<Vec<_>>(), rows());
        assert!(written == rows, "docs/access.md, \"Operations\", wants these rows:\n{}", rows.join("\n"));
    }
}
