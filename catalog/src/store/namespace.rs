//! Namespaces: create, list, load, exists, drop, change of properties.
//!
//! I1. Every namespace has its parents: those that are missing are made with it, in the same record, and are implied until
//! somebody sets a property of theirs. They are like any other, but show no properties.

use bytes::Bytes;
use nilas_engine::Transaction;
use serde_json::{Map, Value, json};

use crate::limits::{NAMESPACE_PROPERTIES_BYTES_MAX, NAMESPACES_MAX, at_most};
use crate::model::Recorded;
use crate::store::failure::CatalogError;
use crate::store::idempotency::IdempotencyKey;
use crate::store::names::NamespaceName;
use crate::store::state::{Namespace, Page, PageQuery, Warehouse};
use crate::store::{Outcome, Store, values};

/// What a change of properties comes to.
#[derive(Debug, PartialEq)]
struct PropertiesChange {
    next: Map<String, Value>,
    updated: Vec<String>,
    removed: Vec<String>,
    missing: Vec<String>,
}

impl Store {
    pub(crate) async fn create_namespace(
        &self,
        name: &NamespaceName,
        properties: Map<String, Value>,
        key: Option<IdempotencyKey>,
    ) -> Result<Outcome, CatalogError> {
        self.mutate(None, key, async |claim| {
            let mut warehouse = self.warehouse.borrow_mut();
            let implied = plan_create(&warehouse, name, &properties)?;
            let mut made = Namespace { properties, ..Namespace::default() };
            let body = description(&self.name, name, &made);
            let mut values: Vec<_> = implied
                .iter()
                .map(|parent| (values::namespace_key(parent), Some(values::implied_namespace_value())))
                .collect();
            values.push((values::namespace_key(name), Some(values::namespace_value(&made.properties))));
            let transaction = Transaction { values, ..Transaction::default() };
            let sequence = self.append(&mut warehouse, transaction, claim, Recorded::Json(body.clone()))?;
            made.sequence = sequence;
            for parent in implied {
                let parent_made = Namespace { is_implied: true, sequence, ..Namespace::default() };
                warehouse.namespaces.insert(parent.as_str().to_owned(), parent_made);
            }
            warehouse.namespaces.insert(name.as_str().to_owned(), made);
            Ok(Outcome::Json(Bytes::from(body)))
        })
        .await
    }

    pub(crate) async fn list_namespaces(
        &self,
        parent: Option<NamespaceName>,
        page: PageQuery,
    ) -> Result<Page, CatalogError> {
        self.read(|warehouse| {
            if let Some(parent) = &parent {
                warehouse.namespace(parent)?;
            }
            Ok((warehouse.children(parent.as_ref(), &page), warehouse.newest))
        })
        .await
    }

    pub(crate) async fn load_namespace(&self, name: &NamespaceName) -> Result<Outcome, CatalogError> {
        self.read(|warehouse| {
            let namespace = warehouse.namespace(name)?;
            let body = description(&self.name, name, namespace);
            Ok((Outcome::Json(Bytes::from(body)), namespace.sequence))
        })
        .await
    }

    pub(crate) async fn drop_namespace(
        &self,
        name: &NamespaceName,
        key: Option<IdempotencyKey>,
    ) -> Result<Outcome, CatalogError> {
        self.mutate(None, key, async |claim| {
            let mut warehouse = self.warehouse.borrow_mut();
            plan_drop(&warehouse, name)?;
            let values = vec![(values::namespace_key(name), None)];
            let transaction = Transaction { values, ..Transaction::default() };
            self.append(&mut warehouse, transaction, claim, Recorded::Empty)?;
            warehouse.namespaces.remove(name.as_str());
            Ok(Outcome::Empty)
        })
        .await
    }

    pub(crate) async fn update_namespace(
        &self,
        name: &NamespaceName,
        removals: &[String],
        updates: &Map<String, Value>,
        key: Option<IdempotencyKey>,
    ) -> Result<Outcome, CatalogError> {
        self.mutate(None, key, async |claim| {
            let mut warehouse = self.warehouse.borrow_mut();
            let change = plan_update(&warehouse.namespace(name)?.properties, removals, updates)?;
            let body = json!({
                "updated": change.updated,
                "removed": change.removed,
                "missing": change.missing,
            })
            .to_string();
            let values = vec![(values::namespace_key(name), Some(values::namespace_value(&change.next)))];
            let transaction = Transaction { values, ..Transaction::default() };
            let sequence = self.append(&mut warehouse, transaction, claim, Recorded::Json(body.clone()))?;
            if let Some(namespace) = warehouse.namespaces.get_mut(name.as_str()) {
                namespace.properties = change.next;
                namespace.is_implied = false;
                namespace.sequence = sequence;
            }
            Ok(Outcome::Json(Bytes::from(body)))
        })
        .await
    }
}

/// The parents that are missing and are made with the namespace, outermost last.
fn plan_create(
    warehouse: &Warehouse,
    name: &NamespaceName,
    properties: &Map<String, Value>,
) -> Result<Vec<NamespaceName>, CatalogError> {
    if warehouse.namespaces.contains_key(name.as_str()) {
        return Err(CatalogError::NamespaceExists(name.clone()));
    }
    let parents = std::iter::successors(name.parent(), NamespaceName::parent);
    let implied: Vec<_> = parents.take_while(|parent| warehouse.namespace(parent).is_err()).collect();
    at_most("NAMESPACES_MAX", NAMESPACES_MAX, warehouse.namespaces.len() + 1 + implied.len())?;
    check_size(properties)?;
    Ok(implied)
}

fn plan_drop(warehouse: &Warehouse, name: &NamespaceName) -> Result<(), CatalogError> {
    let namespace = warehouse.namespace(name)?;
    if !namespace.tables.is_empty() || warehouse.has_children(name) {
        return Err(CatalogError::NamespaceNotEmpty(name.clone()));
    }
    Ok(())
}

fn plan_update(
    properties: &Map<String, Value>,
    removals: &[String],
    updates: &Map<String, Value>,
) -> Result<PropertiesChange, CatalogError> {
    if let Some(both) = removals.iter().find(|name| updates.contains_key(*name)) {
        return Err(CatalogError::Unprocessable(format!("Cannot remove and update the same key: {both}")));
    }
    let mut next = properties.clone();
    let (mut removed, mut missing) = (Vec::new(), Vec::new());
    for name in removals {
        // `shift_remove` keeps the order of what stays.
        let gone = next.shift_remove(name).is_some();
        let list = if gone { &mut removed } else { &mut missing };
        if !list.contains(name) {
            list.push(name.clone());
        }
    }
    // A name given twice was removed the first time.
    missing.retain(|name| !removed.contains(name));
    for (name, value) in updates {
        next.insert(name.clone(), value.clone());
    }
    check_size(&next)?;
    let updated = updates.keys().cloned().collect();
    Ok(PropertiesChange { next, updated, removed, missing })
}

fn check_size(properties: &Map<String, Value>) -> Result<(), CatalogError> {
    let bytes = properties.iter().map(|(name, value)| name.len() + value.as_str().map_or(0, str::len)).sum();
    Ok(at_most("NAMESPACE_PROPERTIES_BYTES_MAX", NAMESPACE_PROPERTIES_BYTES_MAX, bytes)?)
}

/// A namespace as clients see it: with a location, which Trino asks for, even when none was set. One that is only implied
/// shows no properties.
fn description(warehouse: &str, name: &NamespaceName, namespace: &Namespace) -> String {
    let mut shown = namespace.properties.clone();
    if !shown.contains_key("location") && !namespace.is_implied {
        let path = name.levels().collect::<Vec<_>>().join("/");
        shown.insert("location".to_owned(), format!("s3://{warehouse}/{path}").into());
    }
    let levels: Vec<&str> = name.levels().collect();
    json!({"namespace": levels, "properties": shown}).to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nilas_engine::Sequence;

    use super::*;

    fn name(dotted: &str) -> NamespaceName {
        NamespaceName::from_levels(dotted.split('.')).expect("valid")
    }

    fn warehouse() -> Warehouse {
        let mut warehouse = Warehouse::new(Arc::from("lake"), Sequence(1));
        for dotted in ["a", "a.b"] {
            warehouse.namespaces.insert(name(dotted).as_str().to_owned(), Namespace::default());
        }
        warehouse
    }

    fn map(pairs: &[(&str, &str)]) -> Map<String, Value> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect()
    }

    #[test]
    fn creation() {
        let warehouse = warehouse();
        let plan = |dotted: &str| plan_create(&warehouse, &name(dotted), &Map::new());
        assert_eq!(plan("b").ok(), Some(vec![]));
        assert_eq!(plan("a.c").ok(), Some(vec![]));
        assert_eq!(plan("a.b.c.d.e").ok(), Some(vec![name("a.b.c.d"), name("a.b.c")]));
        assert_eq!(plan("b.c.d").ok(), Some(vec![name("b.c"), name("b")]));
        assert!(matches!(plan("a"), Err(CatalogError::NamespaceExists(_))));
        let large = map(&[("k", &"v".repeat(NAMESPACE_PROPERTIES_BYTES_MAX))]);
        assert!(matches!(plan_create(&warehouse, &name("b"), &large), Err(CatalogError::TooLarge { .. })));
    }

    #[test]
    fn dropping() {
        let warehouse = warehouse();
        assert!(matches!(plan_drop(&warehouse, &name("a")), Err(CatalogError::NamespaceNotEmpty(_))));
        assert!(plan_drop(&warehouse, &name("a.b")).is_ok());
        assert!(matches!(plan_drop(&warehouse, &name("x")), Err(CatalogError::NoSuchNamespace(_))));
    }

    #[test]
    fn properties() {
        let old = map(&[("x", "1"), ("y", "2")]);
        let removals = ["x".to_owned(), "z".to_owned(), "x".to_owned()];
        let change = plan_update(&old, &removals, &map(&[("y", "3"), ("w", "4")])).expect("allowed");
        assert_eq!(change.next, map(&[("y", "3"), ("w", "4")]));
        assert_eq!(change.updated, ["y", "w"]);
        assert_eq!(change.removed, ["x"]);
        assert_eq!(change.missing, ["z"]);
        let both = plan_update(&old, &["y".to_owned()], &map(&[("y", "3")]));
        assert!(matches!(both, Err(CatalogError::Unprocessable(_))));
    }

    #[test]
    fn descriptions() {
        let with =
            |properties: &[(&str, &str)]| Namespace { properties: map(properties), ..Namespace::default() };
        let text = description("lake", &name("a.b"), &with(&[("owner", "me")]));
        assert_eq!(text, r#"{"namespace":["a","b"],"properties":{"owner":"me","location":"s3://lake/a/b"}}"#);
        let text = description("lake", &name("a"), &with(&[("location", "s3://lake/x")]));
        assert_eq!(text, r#"{"namespace":["a"],"properties":{"location":"s3://lake/x"}}"#);
        let text = description("lake", &name("a"), &Namespace { is_implied: true, ..Namespace::default() });
        assert_eq!(text, r#"{"namespace":["a"],"properties":{}}"#);
    }
}
