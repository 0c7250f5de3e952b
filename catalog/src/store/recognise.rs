//! Commits that come again: an answer was lost, and the client, or something on its way, sends the same request once more.
//!
//! `commit` asks [`landed`] before it looks at requirements, and lets [`of_version`] add to the values of each new version what
//! its request is known by. A repetition is answered with success; a conflict would be a lie, and clients delete the files of
//! a commit that failed.
//! I1. A commit is recognised by what two writers never both send: the ids and contents of the snapshots it adds, or, of
//! one that creates its table, the UUID it assigns. What has neither is judged by its requirements alone.
//! I2. What is kept is written by the commit's own record, and nobody hears of it before that is durable.
//! I3. Digests live as long as their snapshot and their table, and [`TOMBSTONE_LIFETIME_MS`] beyond. [`Standing`] is
//! changed by values only ([`Standing::follow`]), so it is what a restart would find.
//! I4. Digests lie under a short form of the table's UUID. Of two tables of one UUID (a copy that was registered) each knows
//! only its own commits, because a digest covers the table's name.
//! I5. That name is the one addressed. A table that was renamed since is found by the UUID that the request names.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;

use crate::commit::{self, Requirement, SentChange, Update};
use crate::limits::{DIGESTS_REMOVED_PER_CHANGE_MAX, RECOGNISED_SNAPSHOTS_MAX, TOMBSTONE_LIFETIME_MS};
use crate::model::{SnapshotDigest, TableDigest};
use crate::spec::TableMetadata;
use crate::store::commit::TableChange;
use crate::store::failure::CatalogError;
use crate::store::values;

/// A value to set, or to remove.
type ValueChange = (Bytes, Option<Bytes>);

/// Reads a value of the warehouse.
pub(crate) type ReadValue<'a> = &'a dyn Fn(&[u8]) -> Option<Bytes>;

/// The short form of a table's UUID. `None` for a table that has none yet: it keeps no digests.
pub(crate) fn table_digest(uuid: &str) -> Option<TableDigest> {
    let known = !uuid.is_empty();
    known.then(|| TableDigest(commit::sent::short(uuid.to_ascii_lowercase().as_bytes())))
}

/// The digest of a whole request. `None` when it is not to be recognised: it has nothing to be known by, or too much.
pub(crate) fn request_digest(changes: &[TableChange]) -> Option<u128> {
    let snapshots: usize =
        changes.iter().filter_map(|change| change.sent.as_ref()).map(|sent| sent.snapshots.len()).sum();
    let known = 0 < snapshots || changes.iter().any(|change| change.assigned_uuid().is_some());
    if !known || RECOGNISED_SNAPSHOTS_MAX < snapshots {
        return None;
    }
    let sent: Option<Vec<&SentChange>> = changes.iter().map(|change| change.sent.as_ref()).collect();
    Some(commit::sent::whole_request(sent?.into_iter()))
}

/// Whether a commit of one table has anything by which it could be recognised.
pub(crate) fn can_be_recognised(requirements: &[Requirement], updates: &[Update]) -> bool {
    let adds = |update: &Update| matches!(update, Update::AddSnapshot(_));
    updates.iter().any(adds) || assigned_uuid(requirements, updates).is_some()
}

/// The UUID that a commit assigns to the table which it creates.
fn assigned_uuid<'a>(requirements: &[Requirement], updates: &'a [Update]) -> Option<&'a str> {
    let creates = requirements.iter().any(Requirement::is_assert_create);
    let mut assigned = updates.iter().filter_map(|update| match update {
        Update::AssignUuid(uuid) => Some(uuid.as_str()),
        _ => None,
    });
    assigned.next_back().filter(|_| creates)
}

impl TableChange {
    /// The UUID that it assigns to the table which it creates.
    pub(crate) fn assigned_uuid(&self) -> Option<&str> {
        assigned_uuid(&self.requirements, &self.updates)
    }

    /// The UUID of the table that it is meant for, if it says so.
    fn named_uuid(&self) -> Option<&str> {
        let mut asserted = self.requirements.iter().filter_map(|requirement| match requirement {
            Requirement::AssertTableUuid(uuid) => Some(uuid.as_str()),
            _ => None,
        });
        self.assigned_uuid().or_else(|| asserted.next())
    }
}

/// How a change of a request stands to what is kept of the table it names.
#[derive(Debug, PartialEq, Eq)]
enum Match {
    /// It has landed, and with it all of its request.
    Request,
    /// Its snapshots have landed, with another request.
    Snapshots,
    /// It has not landed, or has nothing that it could be known by.
    No,
}

/// The UUID of the table by which this very request is known to have landed before; `None` when it is not. `bases` are the
/// tables of `changes` as they are.
///
/// A request with the same digest has landed with all its parts, whatever became of them since: rolled back, expired, renamed,
/// dropped. One that adds the same snapshots to one table and differs in the rest has when all of the rest holds already.
pub(crate) fn landed<'a>(
    changes: &'a [TableChange],
    bases: &[Option<&'a TableMetadata>],
    request: u128,
    read: ReadValue<'_>,
    context: &commit::Context<'_>,
) -> Result<Option<&'a str>, CatalogError> {
    for (change, base) in changes.iter().zip(bases) {
        let Some(uuid) = change.named_uuid().or(base.map(TableMetadata::uuid)) else { continue };
        let is_landed = match (match_change(change, uuid, request, read)?, changes, base) {
            (Match::Request, ..) => true,
            (Match::Snapshots, [_], Some(base)) => holds(change, base, context),
            (Match::Snapshots | Match::No, ..) => false,
        };
        if is_landed {
            return Ok(Some(uuid));
        }
    }
    Ok(None)
}

/// Compares `change` with what is kept of the table with this UUID, under whichever name that is now.
fn match_change(
    change: &TableChange,
    uuid: &str,
    request: u128,
    read: ReadValue<'_>,
) -> Result<Match, CatalogError> {
    let (Some(sent), Some(table)) = (&change.sent, table_digest(uuid)) else { return Ok(Match::No) };
    if change.assigned_uuid().is_some() {
        let created = read(&values::creation_key(table));
        let created = created.map(|value| values::creation(&value)).transpose()?;
        return Ok(if created == Some(request) { Match::Request } else { Match::No });
    }
    for snapshot in &sent.snapshots {
        let Some(value) = read(&values::snapshot_key(table, snapshot.id)) else { return Ok(Match::No) };
        let kept = values::snapshot_digest(&value)?;
        if kept.sent != snapshot.sent || kept.list != snapshot.list {
            return Ok(Match::No);
        }
        if kept.request == shortened(request) {
            return Ok(Match::Request);
        }
    }
    Ok(if sent.snapshots.is_empty() { Match::No } else { Match::Snapshots })
}

/// Whether a commit whose snapshots have landed leaves nothing to be done: its refs point at what it says, or at something that
/// came of it, and its other updates change nothing.
fn holds(change: &TableChange, base: &TableMetadata, context: &commit::Context<'_>) -> bool {
    let of_this_table = change.requirements.iter().all(|requirement| match requirement {
        Requirement::AssertCreate => false,
        Requirement::AssertTableUuid(uuid) => uuid.eq_ignore_ascii_case(base.uuid()),
        _ => true,
    });
    let mut rest = Vec::new();
    for update in &change.updates {
        match update {
            Update::AddSnapshot(_) => {}
            Update::SetSnapshotRef(name, reference) if !base.ref_has_reached(name, reference) => {
                return false;
            }
            Update::SetSnapshotRef(..) => {}
            other => rest.push(other.clone()),
        }
    }
    of_this_table && matches!(commit::apply(Some(base), &rest, context), Ok(None))
}

/// What a request is kept by beside a digest of 128 bits of each snapshot.
fn shortened(request: u128) -> u64 {
    u64::try_from(request & u128::from(u64::MAX)).unwrap_or(0)
}

/// The values that go with the version `next` which `change` makes: what it is known by, and tombstones of what it expires, at
/// most `tombstones_max`. `request` is [`request_digest`].
pub(crate) fn of_version(
    change: &TableChange,
    next: &TableMetadata,
    request: Option<u128>,
    tombstones_max: usize,
    now_ms: u64,
) -> Vec<ValueChange> {
    let mut changes = Vec::new();
    let Some(table) = table_digest(next.uuid()) else { return changes };
    let sent = change.sent.as_ref();
    if let (Some(request), Some(sent)) = (request, sent) {
        if change.assigned_uuid().is_some() {
            changes.push((values::creation_key(table), Some(values::creation_value(request))));
        }
        for snapshot in &sent.snapshots {
            let kept =
                SnapshotDigest { sent: snapshot.sent, list: snapshot.list, request: shortened(request) };
            let key = values::snapshot_key(table, snapshot.id);
            changes.push((key, Some(values::snapshot_value(&kept))));
        }
    }
    let expired = expired(&change.updates, next);
    let expired = expired.get(..tombstones_max.min(expired.len())).unwrap_or_default();
    for ids in expired.chunks(DIGESTS_REMOVED_PER_CHANGE_MAX) {
        let Some(first) = ids.first() else { continue };
        changes.push((values::expired_key(now_ms, table, *first), Some(values::expired_value(ids))));
    }
    changes
}

/// Ids that `updates` remove and `next` does not have, each once.
fn expired(updates: &[Update], next: &TableMetadata) -> Vec<i64> {
    let mut removed = updates.iter().filter_map(|update| match update {
        Update::RemoveSnapshots(ids) => Some(ids),
        _ => None,
    });
    let Some(first) = removed.next() else { return Vec::new() };
    let mut seen: HashSet<i64> = next.snapshot_ids().collect();
    first.iter().chain(removed.flatten()).copied().filter(|id| seen.insert(*id)).collect()
}

/// The value that makes the digests of a table go, because the table does now.
pub(crate) fn dropped(table: TableDigest, now_ms: u64) -> ValueChange {
    (values::dropped_key(table), Some(values::dropped_value(now_ms)))
}

/// Removes the digests that the value of `key` names, and that value.
pub(crate) fn plan_forget_expired(key: &Bytes, value: &[u8]) -> Vec<ValueChange> {
    let table = values::expired_table(key);
    // A value that cannot be read was refused when the warehouse was loaded; should it be seen here, it goes alone.
    let ids = values::expired_ids(value).unwrap_or_default();
    let digests = ids.iter().filter_map(|id| Some((values::snapshot_key(table?, *id), None)));
    digests.chain([(key.clone(), None)]).collect()
}

/// Removes digests of a table that is gone: `keys` are all that are left, or [`DIGESTS_REMOVED_PER_CHANGE_MAX`].
pub(crate) fn plan_forget_dropped(table: TableDigest, keys: Vec<Bytes>) -> Vec<ValueChange> {
    let last = keys.len() < DIGESTS_REMOVED_PER_CHANGE_MAX;
    let done = last.then(|| (values::dropped_key(table), None));
    keys.into_iter().map(|key| (key, None)).chain(done).collect()
}

/// Which digests of a warehouse wait to be removed.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// Values that name expired snapshots: since when, in milliseconds since 1970, and their keys.
    expired: BTreeSet<(u64, Bytes)>,
    /// Tables that are gone and whose digests are not yet: since when, in milliseconds since 1970.
    dropped: BTreeMap<TableDigest, u64>,
    /// The same, the oldest first.
    dropped_by_age: BTreeSet<(u64, TableDigest)>,
}

/// What is to be removed next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// The snapshots that the value of this key names.
    Expired(Bytes),
    /// All of a table that is gone.
    Dropped(TableDigest),
}

impl Standing {
    /// Takes part in a change of values: this is the only way in which it changes.
    pub(crate) fn follow(&mut self, key: &Bytes, value: Option<&[u8]>) {
        if let Some(at_ms) = values::expired_at(key) {
            let entry = (at_ms, key.clone());
            let _known =
                if value.is_some() { self.expired.insert(entry) } else { self.expired.remove(&entry) };
        } else if let Some(table) = values::dropped_table(key) {
            // A value that cannot be read was refused when the warehouse was loaded.
            let at_ms = value.map(|value| values::dropped_at(value).unwrap_or(0));
            if let Some(before_ms) = self.dropped.remove(&table) {
                self.dropped_by_age.remove(&(before_ms, table));
            }
            if let Some(at_ms) = at_ms {
                self.dropped.insert(table, at_ms);
                self.dropped_by_age.insert((at_ms, table));
            }
        }
    }

    /// Whether a change of the value of `key` is one for [`Standing::follow`].
    pub(crate) fn concerns(key: &[u8]) -> bool {
        values::expired_at(key).is_some() || values::dropped_table(key).is_some()
    }

    /// The value that lets digests stay: a table with this UUID is there again.
    pub(crate) fn plan_return(&self, uuid: &str) -> Option<ValueChange> {
        let table = table_digest(uuid)?;
        self.dropped.contains_key(&table).then(|| (values::dropped_key(table), None))
    }

    pub(crate) fn due(&self, now_ms: u64) -> Option<Due> {
        let is_due = |at_ms: u64| at_ms.saturating_add(TOMBSTONE_LIFETIME_MS) <= now_ms;
        if let Some((_, table)) = self.dropped_by_age.first().filter(|(at_ms, _)| is_due(*at_ms)) {
            return Some(Due::Dropped(*table));
        }
        let (_, oldest) = self.expired.first().filter(|(at_ms, _)| is_due(*at_ms))?;
        Some(Due::Expired(oldest.clone()))
    }
}

#[cfg(test)]
mod tests;
