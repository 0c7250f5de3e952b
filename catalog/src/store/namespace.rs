//! Namespaces: create, list, load, exists, drop, change of properties.

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
        self.mutate(key, async |claim| {
            let mut warehouse = self.warehouse.borrow_mut();
            plan_create(&warehouse, name, &properties)?;
            let body = description(&self.name, name, &properties);
            let values = vec![(values::namespace_key(name), Some(values::namespace_value(&properties)))];
            let transaction = Transaction { values, ..Transaction::default() };
            let sequence = self.append(&mut warehouse, transaction, claim, Recorded::Json(body.clone()))?;
            let namespace = Namespace { properties, sequence, ..Namespace::default() };
            warehouse.namespaces.insert(name.as_str().to_owned(), namespace);
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
            let body = description(&self.name, name, &namespace.properties);
            Ok((Outcome::Json(Bytes::from(body)), namespace.sequence))
        })
        .await
    }

    pub(crate) async fn drop_namespace(
        &self,
        name: &NamespaceName,
        key: Option<IdempotencyKey>,
    ) -> Result<Outcome, CatalogError> {
        self.mutate(key, async |claim| {
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
        self.mutate(key, async |claim| {
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
                namespace.sequence = sequence;
            }
            Ok(Outcome::Json(Bytes::from(body)))
        })
        .await
    }
}

fn plan_create(
    warehouse: &Warehouse,
    name: &NamespaceName,
    properties: &Map<String, Value>,
) -> Result<(), CatalogError> {
    if warehouse.namespaces.contains_key(name.as_str()) {
        return Err(CatalogError::NamespaceExists(name.clone()));
    }
    if let Some(parent) = name.parent() {
        warehouse.namespace(&parent)?;
    }
    at_most("NAMESPACES_MAX", NAMESPACES_MAX, warehouse.namespaces.len() + 1)?;
    check_size(properties)
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

/// A namespace as clients see it: with a location, which Trino asks for, even when none was set.
fn description(warehouse: &str, name: &NamespaceName, properties: &Map<String, Value>) -> String {
    let mut shown = properties.clone();
    if !shown.contains_key("location") {
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
        assert!(plan("b").is_ok());
        assert!(plan("a.c").is_ok());
        assert!(matches!(plan("a"), Err(CatalogError::NamespaceExists(_))));
        assert!(matches!(plan("b.c"), Err(CatalogError::NoSuchNamespace(parent)) if parent == name("b")));
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
        let text = description("lake", &name("a.b"), &map(&[("owner", "me")]));
        assert_eq!(text, r#"{"namespace":["a","b"],"properties":{"owner":"me","location":"s3://lake/a/b"}}"#);
        let text = description("lake", &name("a"), &map(&[("location", "s3://lake/x")]));
        assert_eq!(text, r#"{"namespace":["a"],"properties":{"location":"s3://lake/x"}}"#);
    }
}
