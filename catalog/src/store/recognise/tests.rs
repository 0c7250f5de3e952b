//! Tests of `store::recognise`: requests against what is kept of earlier ones, without a store.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::*;
use crate::commit::{Context, NewTable};
use crate::store::names::{Ident, NamespaceName};

const UUID: &str = "00000000-0000-4000-8000-000000000001";

fn context() -> Context<'static> {
    Context { now_ms: 9_000, previous_metadata_location: Some("s3://lake/t/0"), new_uuid: UUID }
}

fn change_of(name: &str, requirements: Value, updates: Value) -> TableChange {
    let ident = Ident::new(NamespaceName::parse("a").expect("valid"), name).expect("valid");
    let sent = SentChange::of(&ident.joined(), &requirements, &updates);
    TableChange {
        ident,
        requirements: commit::parse_requirements(&requirements).expect("valid"),
        updates: commit::parse_updates(&updates).expect("valid"),
        sent,
    }
}

fn change(requirements: Value, updates: Value) -> TableChange {
    change_of("t", requirements, updates)
}

fn add(id: i64, parent: Option<i64>, sequence: i64) -> Value {
    json!({"action": "add-snapshot", "snapshot": {"snapshot-id": id, "parent-snapshot-id": parent,
        "sequence-number": sequence, "timestamp-ms": 2_000 + sequence, "schema-id": 0,
        "manifest-list": format!("s3://lake/t/metadata/snap-{id}.avro"), "summary": {"operation": "append"}}})
}

fn point(name: &str, id: i64) -> Value {
    json!({"action": "set-snapshot-ref", "ref-name": name, "type": "branch", "snapshot-id": id})
}

fn was(id: Option<i64>) -> Value {
    json!([{"type": "assert-table-uuid", "uuid": UUID},
        {"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": id}])
}

/// An append of one snapshot to `main`.
fn append(id: i64, parent: Option<i64>, sequence: i64) -> TableChange {
    change(was(parent), json!([add(id, parent, sequence), point("main", id)]))
}

/// Tables and what is kept of the commits that made them.
#[derive(Default)]
struct Kept {
    tables: HashMap<String, TableMetadata>,
    values: HashMap<Bytes, Bytes>,
    standing: Standing,
    now_ms: u64,
}

impl Kept {
    fn with_table() -> Kept {
        let schema =
            json!({"type": "struct", "fields": [{"id": 1, "name": "x", "required": false, "type": "long"}]});
        let table = commit::create(NewTable {
            name: "t",
            uuid: UUID.to_owned(),
            location: "s3://lake/t".to_owned(),
            schema: &schema,
            partition_spec: None,
            write_order: None,
            properties: &serde_json::Map::new(),
            now_ms: 1_000,
        });
        let tables = HashMap::from([("t".to_owned(), table.expect("a good table"))]);
        Kept { tables, ..Kept::default() }
    }

    fn apply_values(&mut self, changes: Vec<ValueChange>) {
        for (key, value) in changes {
            if Standing::concerns(&key) {
                self.standing.follow(&key, value.as_deref());
            }
            match value {
                Some(value) => self.values.insert(key, value),
                None => self.values.remove(&key),
            };
        }
    }

    fn landed(&self, changes: &[TableChange]) -> bool {
        self.landed_of(changes).is_some()
    }

    /// The UUID of the table by which `changes` are known.
    fn landed_of(&self, changes: &[TableChange]) -> Option<String> {
        let request = request_digest(changes)?;
        let bases: Vec<_> = changes.iter().map(|change| self.tables.get(&change.ident.name)).collect();
        let read = |key: &[u8]| self.values.get(key).cloned();
        landed(changes, &bases, request, &read, &context()).expect("no damage").map(str::to_owned)
    }

    fn rename(&mut self, from: &str, to: &str) {
        let table = self.tables.remove(from).expect("there");
        self.tables.insert(to.to_owned(), table);
    }

    fn commit(&mut self, changes: &[TableChange]) {
        let request = request_digest(changes);
        for change in changes {
            let base = self.tables.get(&change.ident.name);
            commit::check(&change.requirements, base).expect("requirements hold");
            let next = commit::apply(base, &change.updates, &context()).expect("valid").expect("a change");
            let values = of_version(change, &next, request, usize::MAX, self.now_ms);
            self.tables.insert(change.ident.name.clone(), next);
            self.apply_values(values);
        }
    }
}

#[test]
fn a_repetition_is_recognised_whatever_came_after_it() {
    let mut kept = Kept::with_table();
    let first = append(1, None, 1);
    assert!(!kept.landed(std::slice::from_ref(&first)));
    kept.commit(std::slice::from_ref(&first));
    assert!(kept.landed(&[append(1, None, 1)]), "at once");
    kept.commit(&[append(2, Some(1), 2)]);
    assert!(kept.landed(&[append(1, None, 1)]), "after another commit");
    kept.commit(&[change(json!([]), json!([point("main", 1)]))]);
    assert!(kept.landed(&[append(2, Some(1), 2)]), "rolled back");
    kept.commit(&[change(json!([]), json!([{"action": "remove-snapshots", "snapshot-ids": [2]}]))]);
    assert!(kept.landed(&[append(2, Some(1), 2)]), "expired");
}

#[test]
fn what_is_not_the_same_is_not_recognised() {
    let mut kept = Kept::with_table();
    kept.commit(&[append(1, None, 1)]);
    let check = |what: &str, change: TableChange| assert!(!kept.landed(&[change]), "{what}");
    check("another snapshot", append(2, None, 1));
    check("other content", change(was(None), json!([add(1, None, 7), point("main", 1)])));
    check("another table", change_of("u", was(None), json!([add(1, None, 1), point("main", 1)])));
    let other_list = |mut update: Value| {
        update["snapshot"]["manifest-list"] = json!("s3://lake/t/metadata/other.avro");
        update
    };
    check("another list", change(was(None), json!([other_list(add(1, None, 1)), point("main", 1)])));
    let set = json!([{"action": "set-properties", "updates": {"k": "v"}}]);
    check("no snapshot", change(json!([]), set));
    check(
        "one known, one not",
        change(was(None), json!([add(1, None, 1), add(2, Some(1), 2), point("main", 2)])),
    );
    check("nothing", change(json!([]), json!([])));
}

#[test]
fn the_same_snapshot_with_another_rest() {
    let mut kept = Kept::with_table();
    kept.commit(&[append(1, None, 1)]);
    kept.commit(&[append(2, Some(1), 2)]);
    let check = |what: &str, requirements: Value, rest: &[Value], want: bool| {
        let updates: Vec<Value> = [add(1, None, 1)].into_iter().chain(rest.iter().cloned()).collect();
        assert_eq!(kept.landed(&[change(requirements, json!(updates))]), want, "{what}");
    };
    check("less is required", json!([]), &[point("main", 1)], true);
    check("no ref", json!([]), &[], true);
    check("a ref that is not there", json!([]), &[point("b", 1)], false);
    check(
        "a property that is not there",
        json!([]),
        &[point("main", 1), json!({"action": "set-properties", "updates": {"k": "v"}})],
        false,
    );
    check(
        "a property that is gone",
        json!([]),
        &[point("main", 1), json!({"action": "remove-properties", "removals": ["k"]})],
        true,
    );
    check(
        "a snapshot that is gone",
        json!([]),
        &[json!({"action": "remove-snapshots", "snapshot-ids": [77]})],
        true,
    );
    check(
        "a snapshot that is there",
        json!([]),
        &[json!({"action": "remove-snapshots", "snapshot-ids": [2]})],
        false,
    );
    check(
        "another table's",
        json!([{"type": "assert-table-uuid", "uuid": "00000000-0000-4000-8000-000000000002"}]),
        &[],
        false,
    );
    check("a creation", json!([{"type": "assert-create"}]), &[], false);
    let tag = json!({"action": "set-snapshot-ref", "ref-name": "main", "type": "tag", "snapshot-id": 1});
    assert!(commit::parse_updates(&json!([tag])).is_err(), "main is no tag");
    kept.commit(&[change(json!([]), json!([{"action": "remove-snapshot-ref", "ref-name": "main"}]))]);
    assert!(!kept.landed(&[change(json!([]), json!([add(1, None, 1), point("main", 1)]))]), "main is gone");
    assert!(kept.landed(&[append(1, None, 1)]), "the very request landed all the same");
}

fn create(uuid: Option<&str>) -> TableChange {
    let mut updates = vec![
        json!({"action": "upgrade-format-version", "format-version": 2}),
        json!({"action": "add-schema", "schema": {"type": "struct", "schema-id": 0,
            "fields": [{"id": 1, "name": "x", "required": false, "type": "long"}]}}),
        json!({"action": "set-current-schema", "schema-id": -1}),
        json!({"action": "add-spec", "spec": {"spec-id": 0, "fields": []}}),
        json!({"action": "set-default-spec", "spec-id": -1}),
        json!({"action": "add-sort-order", "sort-order": {"order-id": 0, "fields": []}}),
        json!({"action": "set-default-sort-order", "sort-order-id": -1}),
        json!({"action": "set-location", "location": "s3://lake/new"}),
    ];
    updates.extend(uuid.map(|uuid| json!({"action": "assign-uuid", "uuid": uuid})));
    change_of("new", json!([{"type": "assert-create"}]), json!(updates))
}

#[test]
fn a_creation_is_known_by_its_uuid() {
    let mut kept = Kept::default();
    let other = "00000000-0000-4000-8000-00000000000a";
    assert!(!kept.landed(&[create(Some(UUID))]));
    kept.commit(&[create(Some(UUID))]);
    assert!(kept.landed(&[create(Some(UUID))]));
    assert!(!kept.landed(&[create(Some(other))]));
    // Without a UUID two writers may send the same bytes.
    assert!(!kept.landed(&[create(None)]));
    let mut kept = Kept::default();
    kept.commit(&[create(None)]);
    assert!(!kept.landed(&[create(None)]));
}

#[test]
fn a_transaction_is_known_as_a_whole() {
    let mut kept = Kept::with_table();
    kept.commit(&[create(Some("00000000-0000-4000-8000-00000000000a"))]);
    let on_new = |id: i64, at: &str| change_of("new", json!([]), json!([add(id, None, 1), point(at, id)]));
    let set = |value: &str| {
        change_of("new", json!([]), json!([{"action": "set-properties", "updates": {"k": value}}]))
    };
    kept.commit(&[append(1, None, 1), on_new(5, "main")]);
    assert!(kept.landed(&[append(1, None, 1), on_new(5, "main")]));
    assert!(!kept.landed(&[on_new(5, "main"), append(1, None, 1)]), "another order");
    assert!(!kept.landed(&[append(1, None, 1), on_new(6, "main")]), "half of it");
    assert!(!kept.landed(&[append(1, None, 1), set("1")]), "half of it, and a property");
    assert!(kept.landed(&[append(1, None, 1)]), "alone it holds");
    kept.commit(&[append(2, Some(1), 2), set("1")]);
    kept.commit(&[set("2")]);
    assert!(kept.landed(&[append(2, Some(1), 2), set("1")]), "with a property that was changed since");
    assert!(!kept.landed(&[append(2, Some(1), 2), set("3")]));
    assert!(!kept.landed(&[set("1"), set("2")]), "nothing to be known by");
    assert!(!kept.landed(&[]));
}

#[test]
fn one_part_proves_a_transaction() {
    const OTHER: &str = "00000000-0000-4000-8000-00000000000a";
    let on_new = |id: i64| change_of("new", json!([]), json!([add(id, None, 1), point("main", id)]));
    let both = || [append(1, None, 1), on_new(5)];
    let committed = || {
        let mut kept = Kept::with_table();
        kept.commit(&[create(Some(OTHER))]);
        kept.commit(&both());
        kept
    };
    let mut kept = committed();
    kept.rename("new", "elsewhere");
    assert!(kept.landed(&both()), "renamed");
    let mut kept = committed();
    kept.tables.remove("new");
    assert!(kept.landed(&both()), "dropped");
    assert!(!kept.landed(&[append(1, None, 1), on_new(6)]), "another transaction");
    let mut kept = committed();
    kept.tables.remove("t");
    let table = table_digest(UUID).expect("a uuid");
    kept.values.retain(|key, _| !key.starts_with(&values::creation_key(table)));
    assert!(kept.landed(&both()), "the first dropped, its digests gone");
    kept.tables.remove("new");
    assert!(!kept.landed(&both()), "nothing is left to know it by");
}

#[test]
fn a_renamed_table_is_known_by_its_uuid() {
    let mut kept = Kept::with_table();
    kept.commit(&[append(1, None, 1)]);
    kept.commit(&[create(Some("00000000-0000-4000-8000-00000000000a"))]);
    kept.rename("t", "u");
    assert_eq!(kept.landed_of(&[append(1, None, 1)]).as_deref(), Some(UUID));
    // Whatever has the old name now.
    kept.rename("new", "t");
    assert_eq!(kept.landed_of(&[append(1, None, 1)]).as_deref(), Some(UUID));
    let created = kept.landed_of(&[create(Some("00000000-0000-4000-8000-00000000000a"))]);
    assert_eq!(created.as_deref(), Some("00000000-0000-4000-8000-00000000000a"));
    // Of another rest, or one that names no table, nothing is known.
    let (unnamed, updates) = (json!([]), json!([add(1, None, 1), point("main", 1)]));
    assert!(!kept.landed(&[change(unnamed, updates)]));
    let named = json!([{"type": "assert-table-uuid", "uuid": UUID}]);
    assert!(!kept.landed(&[change(named, json!([add(1, None, 1)]))]));
    // Sent to the new name it is another commit.
    let moved = change_of("u", was(None), json!([add(1, None, 1), point("main", 1)]));
    assert!(!kept.landed(&[moved]));
}

#[test]
fn digests_go_a_day_after_their_snapshots() {
    let mut kept = Kept::with_table();
    kept.now_ms = 1_000;
    kept.commit(&[append(1, None, 1)]);
    kept.commit(&[append(2, Some(1), 2)]);
    let remove = json!([{"action": "remove-snapshots", "snapshot-ids": [1, 99]}, {"action": "remove-snapshots", "snapshot-ids": [1]}]);
    kept.commit(&[change(json!([]), remove)]);
    assert_eq!(kept.standing.due(1_000 + TOMBSTONE_LIFETIME_MS - 1), None);
    let Some(Due::Expired(key)) = kept.standing.due(1_000 + TOMBSTONE_LIFETIME_MS) else {
        panic!("nothing is due")
    };
    let value = kept.values.get(&key).cloned().expect("there");
    assert_eq!(values::expired_ids(&value).ok(), Some(vec![1, 99]));
    assert!(kept.landed(&[append(1, None, 1)]));
    kept.apply_values(plan_forget_expired(&key, &value));
    assert!(!kept.landed(&[append(1, None, 1)]));
    assert!(kept.landed(&[append(2, Some(1), 2)]));
    assert_eq!((kept.standing.due(u64::MAX), kept.values.len()), (None, 1));
}

#[test]
fn a_snapshot_added_and_removed_at_once_leaves_nothing_behind() {
    let mut kept = Kept::with_table();
    let both = json!([add(1, None, 1), point("main", 1), add(2, Some(1), 2),
        {"action": "remove-snapshots", "snapshot-ids": [2]}]);
    kept.commit(&[change(json!([]), both.clone())]);
    assert!(kept.landed(&[change(json!([]), both)]));
    let Some(Due::Expired(key)) = kept.standing.due(u64::MAX) else { panic!("nothing is due") };
    let value = kept.values.get(&key).cloned().expect("there");
    assert_eq!(values::expired_ids(&value).ok(), Some(vec![2]));
}

#[test]
fn expired_snapshots_are_named_in_pieces_and_up_to_a_bound() {
    let kept = Kept::with_table();
    let base = kept.tables.get("t").expect("there");
    let ids: Vec<i64> = (0..1_234).collect();
    let many = change(json!([]), json!([{"action": "remove-snapshots", "snapshot-ids": ids}]));
    let check = |max: usize, want: &[usize]| {
        let values = of_version(&many, base, None, max, 5);
        let named = values.iter().map(|(_, value)| {
            values::expired_ids(value.as_deref().unwrap_or_default()).expect("valid").len()
        });
        assert_eq!(named.collect::<Vec<_>>(), want);
    };
    check(usize::MAX, &[500, 500, 234]);
    check(501, &[500, 1]);
    check(0, &[]);
}

#[test]
fn a_table_that_goes_takes_its_digests_along_in_pieces() {
    let mut kept = Kept::with_table();
    let table = table_digest(UUID).expect("a uuid");
    for id in 0..1_200 {
        let digest = SnapshotDigest { sent: 1, list: 2, request: 3 };
        kept.values.insert(values::snapshot_key(table, id), values::snapshot_value(&digest));
    }
    kept.apply_values(vec![dropped(table, 500)]);
    // Dropped again, as a copy of the same UUID: the day begins anew.
    kept.apply_values(vec![dropped(table, 1_000)]);
    assert_eq!(kept.standing.due(1_000 + TOMBSTONE_LIFETIME_MS - 1), None);
    let mut rounds = 0;
    while let Some(due) = kept.standing.due(1_000 + TOMBSTONE_LIFETIME_MS) {
        assert_eq!(due, Due::Dropped(table));
        let keys = kept.values.keys().filter(|key| key.starts_with(&values::creation_key(table)));
        let keys = keys.take(DIGESTS_REMOVED_PER_CHANGE_MAX).cloned().collect();
        kept.apply_values(plan_forget_dropped(table, keys));
        rounds += 1;
    }
    assert_eq!((rounds, kept.values.len()), (3, 0));
    // A table of the same UUID that is there again keeps its own.
    kept.apply_values(vec![dropped(table, 1_000)]);
    let back = kept.standing.plan_return(&UUID.to_ascii_uppercase());
    assert!(back.is_some());
    kept.apply_values(back.into_iter().collect());
    assert_eq!((kept.standing.due(u64::MAX), kept.standing.plan_return(UUID)), (None, None));
    // The value of an earlier program has no time: it is due at once.
    kept.apply_values(vec![(values::dropped_key(table), Some(Bytes::from_static(&[1])))]);
    assert_eq!(kept.standing.due(TOMBSTONE_LIFETIME_MS), Some(Due::Dropped(table)));
}

#[test]
fn too_many_snapshots_are_not_remembered() {
    let snapshots = |count: usize| {
        let updates: Vec<Value> = (0..count).map(|_| add(1, None, 1)).collect();
        request_digest(&[change(json!([]), json!(updates))])
    };
    assert!(snapshots(RECOGNISED_SNAPSHOTS_MAX).is_some());
    assert_eq!(snapshots(RECOGNISED_SNAPSHOTS_MAX + 1), None);
}

/// A million pairs of writers that race for one table, with ids from a range so narrow that many are equal.
#[test]
fn two_writers_never_get_each_others_answer() {
    let kept = Kept::with_table();
    let base = kept.tables.get("t").expect("there");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let (requirements, mut updates) = (was(None), json!([add(1, None, 1), point("main", 1)]));
    let ident = change(json!([]), json!([])).ident;
    let mut same_id = 0_u32;
    let mut draw = || {
        let id = i64::try_from(random() % 4).expect("small");
        updates[0]["snapshot"]["snapshot-id"] = json!(id);
        updates[0]["snapshot"]["manifest-list"] =
            json!(format!("s3://lake/t/metadata/snap-{id}-{:016x}.avro", random()));
        updates[1]["snapshot-id"] = json!(id);
        let sent = SentChange::of("a\0t", &requirements, &updates).expect("lists");
        let ident = ident.clone();
        (id, TableChange { ident, requirements: Vec::new(), updates: Vec::new(), sent: Some(sent) })
    };
    for _ in 0..1_000_000 {
        let ((first_id, first), (second_id, second)) = (draw(), draw());
        let request = request_digest(std::slice::from_ref(&first));
        let values: HashMap<Bytes, Option<Bytes>> =
            of_version(&first, base, request, 0, 0).into_iter().collect();
        let read = |key: &[u8]| values.get(key).cloned().flatten();
        let is_landed = |change: TableChange| {
            let request = request_digest(std::slice::from_ref(&change)).expect("has a snapshot");
            landed(&[change], &[Some(base)], request, &read, &context()).expect("no damage").is_some()
        };
        assert!(!is_landed(second), "one writer was answered with the other's commit");
        assert!(is_landed(first), "a writer was refused its own");
        same_id += u32::from(first_id == second_id);
    }
    assert!(200_000 < same_id, "{same_id} pairs with one id");
}
