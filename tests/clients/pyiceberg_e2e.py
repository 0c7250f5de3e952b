"""PyIceberg against the catalog, with the settings that Iceberg clients of such stores are documented to use.

The whole road runs with SigV4 and keys from the AWS environment; a short road runs once more with the keys as `client.*`
settings, and once with OAuth2 client credentials.
"""
import datetime
import io
import os
import threading
import time

import nilas
from steps import Steps, eq, raises

os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
os.environ["AWS_ACCESS_KEY_ID"] = nilas.ACCESS_KEY
os.environ["AWS_SECRET_ACCESS_KEY"] = nilas.SECRET_KEY

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NamespaceNotEmptyError,
    NoSuchNamespaceError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.expressions import And, EqualTo, GreaterThanOrEqual, LessThan
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import BucketTransform, DayTransform, IdentityTransform
from pyiceberg.types import DoubleType, LongType, NestedField, StringType, TimestampType

ROWS = 1_000_000
DAYS = 4
START = datetime.datetime(2026, 1, 1)

namespace = nilas.unique("py").replace("-", "_")
EVENTS = (namespace, "events")
SCHEMA = Schema(
    NestedField(1, "id", LongType(), required=False),
    NestedField(2, "name", StringType(), required=False),
    NestedField(3, "ts", TimestampType(), required=False),
)
SPEC = PartitionSpec(PartitionField(3, 1000, DayTransform(), "ts_day"), PartitionField(1, 1001, BucketTransform(4), "id_bucket"))
catalog = None
warehouse = None


def settings(**more):
    return {
        "uri": nilas.CATALOG_URI,
        "warehouse": warehouse,
        "s3.access-key-id": nilas.ACCESS_KEY,
        "s3.secret-access-key": nilas.SECRET_KEY,
        "s3.endpoint": nilas.ENDPOINT,
        **more,
    }


SIGV4 = {"rest.sigv4-enabled": "true", "rest.signing-name": "s3tables", "rest.signing-region": nilas.REGION}


def rows(first, count):
    """`count` rows with ids from `first`; the day follows from the id, the name repeats every 100."""
    ids = pa.array(range(first, first + count), pa.int64())
    day = pa.array([i % DAYS for i in range(first, first + count)], pa.int64())
    micros = pc.multiply(day, pa.scalar(86_400_000_000, pa.int64()))
    base = int((START - datetime.datetime(1970, 1, 1)).total_seconds()) * 1_000_000
    ts = pc.add(micros, pa.scalar(base, pa.int64())).cast(pa.timestamp("us"))
    return pa.table({"id": ids, "name": [f"n{i % 100}" for i in range(first, first + count)], "ts": ts})


def events():
    return catalog.load_table(EVENTS)


def count(table, **scan):
    return table.scan(**scan).to_arrow().num_rows


def load():
    global catalog, warehouse
    warehouse = nilas.warehouse("pyiceberg")
    catalog = load_catalog("nilas", **settings(**SIGV4))


def namespaces():
    catalog.create_namespace(namespace, {"k": "v"})
    raises(NamespaceAlreadyExistsError, lambda: catalog.create_namespace(namespace))
    assert (namespace,) in catalog.list_namespaces()
    eq(catalog.load_namespace_properties(namespace)["k"], "v")
    catalog.update_namespace_properties(namespace, removals={"k"}, updates={"x": "y"})
    properties = catalog.load_namespace_properties(namespace)
    eq((properties.get("x"), "k" in properties), ("y", False))
    raises(NoSuchNamespaceError, lambda: catalog.load_namespace_properties("no_such_namespace"))


def nested_namespace():
    sub = (namespace, "sub")
    catalog.create_namespace(sub)
    assert sub in catalog.list_namespaces((namespace,))
    catalog.create_table((*sub, "t"), SCHEMA)
    eq(catalog.list_tables(sub), [(*sub, "t")])
    catalog.drop_table((*sub, "t"))
    catalog.drop_namespace(sub)


def create():
    table = catalog.create_table(EVENTS, SCHEMA, partition_spec=SPEC, properties={"format-version": "2"})
    eq(table.format_version, 2)
    raises(TableAlreadyExistsError, lambda: catalog.create_table(EVENTS, SCHEMA))
    assert catalog.table_exists(EVENTS)
    assert not catalog.table_exists((namespace, "nope"))
    raises(NoSuchTableError, lambda: catalog.load_table((namespace, "nope")))


def append():
    events().append(rows(0, ROWS))
    eq(count(events()), ROWS)


def filtered_scan():
    table = events()
    eq(count(table, row_filter="id = 77"), 1)
    eq(count(table, row_filter="ts < '2026-01-02T00:00:00'"), ROWS // DAYS)
    some = table.scan(row_filter=And(GreaterThanOrEqual("id", 1000), LessThan("id", 2000)), selected_fields=("id",)).to_arrow()
    eq(some.num_rows, 1000)
    eq(pc.sum(some["id"]).as_py(), sum(range(1000, 2000)))
    eq(pc.sum(table.scan(selected_fields=("id",)).to_arrow()["id"]).as_py(), sum(range(ROWS)))


def delete():
    events().delete("id < 100")
    eq(count(events(), row_filter="id < 200"), 100)
    events().delete(EqualTo("name", "n99"))
    eq(count(events(), row_filter="name = 'n99'"), 0)


def overwrite():
    events().overwrite(rows(5000, 10), overwrite_filter="id >= 5000 and id < 5010")
    eq(count(events(), row_filter="id >= 5000 and id < 5010"), 10)
    # Whole-table overwrite on a table of its own, so that later steps keep their rows.
    other = catalog.create_table((namespace, "whole"), SCHEMA)
    other.append(rows(0, 1000))
    other.overwrite(rows(10, 5))
    eq(sorted(catalog.load_table((namespace, "whole")).scan().to_arrow()["id"].to_pylist()), [10, 11, 12, 13, 14])
    catalog.drop_table((namespace, "whole"))


def upsert():
    name = (namespace, "upsert")
    table = catalog.create_table(name, SCHEMA)
    table.append(rows(0, 1000))
    changed = rows(990, 20).set_column(1, "name", pa.array(["changed"] * 20))
    result = table.upsert(changed, join_cols=["id"])
    eq((result.rows_updated, result.rows_inserted), (10, 10))
    eq(count(catalog.load_table(name)), 1010)
    eq(count(catalog.load_table(name), row_filter="name = 'changed'"), 20)
    catalog.drop_table(name)


def evolve_schema():
    table = events()
    with table.update_schema() as update:
        update.add_column("note", StringType())
        update.add_column("price", DoubleType())
        update.rename_column("name", "label")
    with table.update_schema() as update:
        update.delete_column("price")
    with table.transaction() as transaction:
        transaction.set_properties({"a": "b"})
        transaction.append(rows(2 * ROWS, 5).rename_columns(["id", "label", "ts"]))
    table = events()
    eq(table.properties.get("a"), "b")
    eq(table.schema().column_names, ["id", "label", "ts", "note"])
    eq(count(table, row_filter="label = 'n5' and id < 1000"), 9)
    eq(table.scan(row_filter=f"id = {2 * ROWS}").to_arrow()["note"].to_pylist(), [None])
    eq(len(table.schemas()), 3)


def evolve_partitions():
    table = events()
    with table.update_spec() as update:
        update.remove_field("id_bucket")
        update.add_field("label", IdentityTransform(), "label_id")
    eq([field.name for field in events().spec().fields], ["ts_day", "label_id"])
    table = events()
    table.append(rows(3 * ROWS, 5).rename_columns(["id", "label", "ts"]))
    table = events()
    eq(count(table, row_filter=f"id >= {3 * ROWS}"), 5)
    eq(count(table, row_filter="id = 777"), 1)
    eq(len(table.specs()), 2)


def time_travel():
    table = events()
    snapshots = table.snapshots()
    assert len(snapshots) >= 5, snapshots
    first = snapshots[0].snapshot_id
    eq(count(table, snapshot_id=first), ROWS)
    eq(table.snapshot_as_of_timestamp(snapshots[0].timestamp_ms).snapshot_id, first)
    history = [entry.snapshot_id for entry in table.history()]
    eq(history[0], first)
    eq(history[-1], table.current_snapshot().snapshot_id)
    table.manage_snapshots().create_tag(first, "v1").create_branch(first, "br").commit()
    table = events()
    eq(set(table.refs()), {"main", "v1", "br"})
    eq(count(table, snapshot_id=table.snapshot_by_name("v1").snapshot_id), ROWS)
    table.append(rows(9 * ROWS, 3).rename_columns(["id", "label", "ts"]), branch="br")
    eq(count(events(), snapshot_id=events().snapshot_by_name("br").snapshot_id, row_filter=f"id >= {9 * ROWS}"), 3)
    eq(count(events(), row_filter=f"id >= {9 * ROWS}"), 0)
    events().manage_snapshots().remove_tag("v1").remove_branch("br").commit()
    eq(set(events().refs()), {"main"})


def inspect():
    table = events()
    assert table.inspect.files().num_rows > 0
    eq(table.inspect.snapshots().num_rows, len(table.snapshots()))
    assert table.inspect.manifests().num_rows > 0
    assert table.inspect.history().num_rows > 0
    assert table.inspect.partitions().num_rows > 0
    assert table.inspect.metadata_log_entries().num_rows > 1


def expire():
    table = events()
    before = count(table)
    keep = table.current_snapshot().snapshot_id
    old = [snapshot.snapshot_id for snapshot in table.snapshots() if snapshot.snapshot_id != keep]
    table.maintenance.expire_snapshots().by_ids(old).commit()
    eq([snapshot.snapshot_id for snapshot in events().snapshots()], [keep])
    eq(count(events()), before)


def conflict_refused():
    name = (namespace, "conflict_off")
    catalog.create_table(name, SCHEMA, properties={"commit.retry.num-retries": "0"})
    winner, loser = catalog.load_table(name), catalog.load_table(name)
    winner.append(rows(0, 10))
    error = raises(CommitFailedException, lambda: loser.append(rows(10, 10)))
    assert "Requirement failed" in str(error), str(error)
    table = catalog.load_table(name)
    eq((count(table), len(table.snapshots())), (10, 1))
    catalog.drop_table(name)


def conflict_retried():
    name = (namespace, "conflict_on")
    catalog.create_table(name, SCHEMA, properties={"commit.retry.num-retries": "4", "commit.retry.min-wait-ms": "10"})
    first, second = catalog.load_table(name), catalog.load_table(name)
    first.append(rows(0, 10))
    second.append(rows(10, 10))
    table = catalog.load_table(name)
    eq((count(table), len(table.snapshots())), (20, 2))
    catalog.drop_table(name)


def concurrent_appends():
    name = (namespace, "concurrent")
    catalog.create_table(name, SCHEMA, properties={"commit.retry.num-retries": "30", "commit.retry.min-wait-ms": "20"})
    errors = []

    def writer(number):
        try:
            for turn in range(4):
                catalog.load_table(name).append(rows(number * 100 + turn, 1))
        except Exception as error:  # reported by the main thread
            errors.append(f"{type(error).__name__}: {error}"[:300])

    threads = [threading.Thread(target=writer, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors[0]
    got = sorted(catalog.load_table(name).scan().to_arrow()["id"].to_pylist())
    eq(got, [number * 100 + turn for number in range(4) for turn in range(4)])
    catalog.drop_table(name)


def staged_create():
    name = (namespace, "staged")
    with catalog.create_table_transaction(name, SCHEMA) as transaction:
        with transaction.update_schema() as update:
            update.add_column("z", LongType())
        transaction.set_properties(p="q")
        assert not catalog.table_exists(name)
    table = catalog.load_table(name)
    eq(table.properties["p"], "q")
    eq(table.schema().column_names, ["id", "name", "ts", "z"])
    catalog.drop_table(name)


def rename_register():
    before = count(events())
    other = (namespace, "events2")
    catalog.rename_table(EVENTS, other)
    raises(NoSuchTableError, events)
    table = catalog.load_table(other)
    eq(count(table), before)
    catalog.drop_table(other)
    raises(NoSuchTableError, lambda: catalog.load_table(other))
    catalog.register_table((namespace, "events3"), table.metadata_location)
    eq(count(catalog.load_table((namespace, "events3"))), before)


def odd_names():
    for word in ("dot.name", "with space", "slash/name", "ünïcode", "UPPER", "plus+sign", "per%20cent"):
        catalog.create_table((namespace, word), SCHEMA)
        assert (namespace, word) in catalog.list_tables(namespace), word
        catalog.load_table((namespace, word))
        catalog.drop_table((namespace, word))


def format_versions():
    for version in (1, 3):
        name = (namespace, f"v{version}")
        table = catalog.create_table(name, SCHEMA, properties={"format-version": str(version)})
        eq(table.format_version, version)
        eq(count(catalog.load_table(name)), 0)  # this client reads v3 and cannot write it
        catalog.drop_table(name)


def views():
    # A server without views answers UnsupportedOperation through the endpoint list; both are truthful.
    try:
        eq(catalog.list_views(namespace), [])
        assert not catalog.view_exists((namespace, "nope"))
    except NotImplementedError:
        pass


def drop():
    catalog.create_table_if_not_exists((namespace, "last"), SCHEMA)
    raises(NamespaceNotEmptyError, lambda: catalog.drop_namespace(namespace))
    for identifier in catalog.list_tables(namespace):
        catalog.purge_table(identifier)
    catalog.drop_namespace(namespace)
    assert (namespace,) not in catalog.list_namespaces()


def keys_under(location):
    bucket, prefix = location.removeprefix("s3://").split("/", 1)
    pages = nilas.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix + "/")
    return [entry["Key"].removeprefix(prefix + "/") for page in pages for entry in page.get("Contents", [])]


def purged_to(location, want):
    """Waits until exactly `want` is left under a location; files go behind the answer to the drop."""
    until = time.monotonic() + 60
    while (keys := keys_under(location)) != want and time.monotonic() < until:
        time.sleep(0.05)
    eq(keys, want)


def filled(name, **properties):
    """A table with several snapshots, manifests and metadata files."""
    table = catalog.create_table((namespace, name), SCHEMA, partition_spec=SPEC, properties=properties)
    for first in (0, 1000, 2000):
        table.append(rows(first, 1000))
    table.delete(LessThan("id", 500))
    with table.update_schema() as update:
        update.add_column("more", StringType())
    return table


def purge():
    catalog.create_namespace_if_not_exists(namespace)
    table = filled("purged")
    location = table.location()
    bucket, prefix = location.removeprefix("s3://").split("/", 1)
    parquet = io.BytesIO()
    pq.write_table(rows(0, 100), parquet)
    for name in ("data/adopted.parquet", "data/foreign.parquet"):
        nilas.s3().put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=parquet.getvalue())
    # With the keys of its own: those of a table are good for that table's location alone.
    undelegated = load_catalog("nilas-own-keys", **settings(**SIGV4, **{"header.X-Iceberg-Access-Delegation": "none"}))
    adopter = undelegated.create_table((namespace, "adopter"), SCHEMA)
    adopter.add_files([f"{location}/data/adopted.parquet"])
    before = keys_under(location)
    assert len([key for key in before if key.endswith(".parquet")]) > 10, before
    assert len([key for key in before if key.endswith(".avro")]) > 6, before
    catalog.purge_table((namespace, "purged"))
    raises(NoSuchTableError, lambda: catalog.load_table((namespace, "purged")))
    purged_to(location, ["data/adopted.parquet", "data/foreign.parquet"])
    eq(count(undelegated.load_table((namespace, "adopter"))), 100)

    kept = filled("kept", **{"gc.enabled": "false"})
    data = [key for key in keys_under(kept.location()) if key.endswith(".parquet")]
    catalog.purge_table((namespace, "kept"))
    purged_to(kept.location(), data)
    catalog.drop_table((namespace, "adopter"))
    catalog.drop_namespace(namespace)


def short_road(other):
    name = nilas.unique("short").replace("-", "_")
    other.create_namespace(name)
    table = other.create_table((name, "t"), SCHEMA)
    table.append(rows(0, 1000))
    eq(count(other.load_table((name, "t")), row_filter="id < 10"), 10)
    other.drop_table((name, "t"))
    other.drop_namespace(name)


def client_settings():
    hidden = {key: os.environ.pop(key) for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    try:
        keys = {"client.access-key-id": nilas.ACCESS_KEY, "client.secret-access-key": nilas.SECRET_KEY, "client.region": nilas.REGION}
        short_road(load_catalog("nilas-client", **settings(**SIGV4, **keys)))
    finally:
        os.environ.update(hidden)


def oauth2():
    token = {"credential": f"{nilas.ACCESS_KEY}:{nilas.SECRET_KEY}", "oauth2-server-uri": nilas.CATALOG_URI + "/v1/oauth/tokens"}
    short_road(load_catalog("nilas-oauth", **settings(**token)))


def wrong_keys():
    keys = {"client.access-key-id": nilas.ACCESS_KEY, "client.secret-access-key": "wrong" + nilas.SECRET_KEY}
    raises(Exception, lambda: load_catalog("nilas-wrong", **settings(**SIGV4, **keys)).list_namespaces())
    token = {"credential": f"{nilas.ACCESS_KEY}:wrong", "oauth2-server-uri": nilas.CATALOG_URI + "/v1/oauth/tokens"}
    raises(Exception, lambda: load_catalog("nilas-wrong-oauth", **settings(**token)).list_namespaces())


steps = Steps("pyiceberg")
if not steps("load-catalog", load):
    steps.close()
steps.run([
    ("namespaces", namespaces),
    ("nested-namespace", nested_namespace),
    ("create", create),
    ("append-1m", append),
    ("filtered-scan", filtered_scan),
    ("delete", delete),
    ("overwrite", overwrite),
    ("upsert", upsert),
    ("evolve-schema", evolve_schema),
    ("evolve-partitions", evolve_partitions),
    ("time-travel-refs", time_travel),
    ("inspect", inspect),
    ("expire", expire),
    ("conflict-without-retry", conflict_refused),
    ("conflict-with-retry", conflict_retried),
    ("concurrent-appends", concurrent_appends),
    ("staged-create", staged_create),
    ("rename-register", rename_register),
    ("odd-names", odd_names),
    ("format-v1-v3", format_versions),
    ("views", views),
    ("drop", drop),
    ("purge", purge),
    ("keys-as-client-settings", client_settings),
    ("oauth2", oauth2),
    ("wrong-keys-refused", wrong_keys),
])
