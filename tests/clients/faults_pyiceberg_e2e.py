"""PyIceberg behind the fault proxy: a stream of commits, each of which must succeed, with rows exact and no file lost.

Tables have `commit.retry.num-retries` 0 where one writer is alone: then a refusal that should not be makes the client
delete the files it wrote. PyIceberg sends no commit twice by itself, so of a lost answer it learns from the table.
"""
import faults  # first: it names the endpoint
import logging
import threading

import pyarrow as pa
import requests

import duck
import nilas
from fault_proxy import AT_ONCE, LATE_COPY, PASS, SLOW, TWICE
from faults import COMMITS, STREAM, dice, proxy
from pyiceberg.exceptions import CommitStateUnknownException
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField, StringType
from steps import Steps, eq

logging.getLogger("pyiceberg").setLevel(logging.ERROR)  # retries are wanted here

WRITERS = 4
RACING = [PASS, TWICE, AT_ONCE, LATE_COPY, SLOW]
SCHEMA = Schema(NestedField(1, "id", LongType(), required=False), NestedField(2, "name", StringType(), required=False))

warehouse = nilas.warehouse("faults-pyiceberg")
catalog = faults.catalog(warehouse)
namespace = nilas.unique("py").replace("-", "_")
held = {}  # what each table has to hold: name → {id: row name}


def rows(wanted):
    return pa.table({"id": pa.array(wanted.keys(), pa.int64()), "name": pa.array(wanted.values(), pa.string())})


def held_by(name):
    found = catalog.load_table((namespace, name)).scan().to_arrow()
    return sorted(zip(found["id"].to_pylist(), found["name"].to_pylist()))


def commit(name, run, becomes):
    """One commit. An answer that was lost is no failure, but then the table must show the commit."""
    try:
        run()
    except (requests.exceptions.ConnectionError, CommitStateUnknownException):
        eq(held_by(name), sorted(becomes.items()), f"{name} after a lost answer")
    held[name] = becomes


def create(name, **properties):
    """A create by commit: the table comes to be with its first rows, or not at all."""
    def run():
        with catalog.create_table_transaction((namespace, name), SCHEMA, properties=properties) as transaction:
            transaction.append(rows(first))

    first = {number: "first" for number in range(3)}
    commit(name, run, first)


def change(name, number):
    """One commit of the stream, of a kind that the seed draws."""
    table = catalog.load_table((namespace, name))
    have = dict(held[name])
    kind = dice.choice(["append", "append", "append", "fast-append", "delete", "overwrite", "properties", "branch", "expire"])
    new = {number: kind, number + 1: kind}
    some = dice.choice(sorted(have))
    if kind == "append":
        commit(name, lambda: table.append(rows(new)), {**have, **new})
    elif kind == "fast-append":
        def run():
            with table.transaction() as transaction, transaction.update_snapshot().fast_append() as append:
                for file in data_files(table, rows(new)):
                    append.append_data_file(file)

        commit(name, run, {**have, **new})
    elif kind == "delete":
        del have[some]
        commit(name, lambda: table.delete(f"id = {some}"), have)
    elif kind == "overwrite":
        del have[some]
        commit(name, lambda: table.overwrite(rows(new), overwrite_filter=f"id = {some}"), {**have, **new})
    elif kind == "properties":
        def run():
            with table.transaction() as transaction:
                transaction.set_properties({f"p{number}": "v"})
                transaction.append(rows(new))

        commit(name, run, {**have, **new})
    elif kind == "expire":
        # A copy that comes after its snapshot has expired is still that commit.
        kept = {reference.snapshot_id for reference in table.refs().values()}
        old = [snapshot.snapshot_id for snapshot in table.snapshots() if snapshot.snapshot_id not in kept]
        table.maintenance.expire_snapshots().by_ids(old).commit()
        commit(name, lambda: catalog.load_table((namespace, name)).append(rows(new)), {**have, **new})
    elif kind == "branch":
        # A branch of its own, so that main keeps its rows.
        head = table.current_snapshot().snapshot_id
        table.manage_snapshots().create_branch(head, f"b{number}").commit()
        commit(name, lambda: catalog.load_table((namespace, name)).append(rows(new), branch=f"b{number}"), have)


def data_files(table, data):
    from pyiceberg.io.pyarrow import _dataframe_to_data_files

    return _dataframe_to_data_files(table_metadata=table.metadata, df=data, io=table.io)


def stream():
    catalog.create_namespace(namespace)
    create("alone", **{"commit.retry.num-retries": "0"})
    proxy.plan(STREAM)
    for number in range(COMMITS):
        change("alone", 1000 + 2 * number)
    faults.faults_met(STREAM)


def creates():
    proxy.plan(STREAM)
    for number in range(max(COMMITS // 4, 8)):
        create(f"created{number}")
    # A small number of draws need not meet every kind.
    faults.faults_met([])


def racing():
    """Writers against each other: conflicts are real here, and the client retries them."""
    create("raced", **{"commit.retry.num-retries": "50", "commit.retry.min-wait-ms": "10", "commit.retry.max-wait-ms": "200"})
    proxy.faults.clear()
    proxy.plan(RACING)
    errors = []

    def writer(first):
        try:
            for turn in range(max(COMMITS // 4, 3)):
                catalog.load_table((namespace, "raced")).append(rows({first + turn: "raced"}))
                done.append(first + turn)
        except Exception as error:  # reported by the main thread
            errors.append(f"{type(error).__name__}: {error}"[:300])

    done = []
    threads = [threading.Thread(target=writer, args=(10_000 * (number + 1),)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors[0]
    held["raced"].update({number: "raced" for number in done})
    faults.faults_met([], conflicts=True)


def exact():
    proxy.plan([])
    for name, wanted in held.items():
        eq(held_by(name), sorted(wanted.items()), name)


def nothing_lost():
    files = faults.nothing_needed_is_gone([catalog.load_table((namespace, name)) for name in held])
    print(f"     {len(held)} tables, {files} files", flush=True)


def read_by_duckdb():
    connection = duck.connect()
    duck.attach(connection, warehouse)
    for name, wanted in held.items():
        got = connection.execute(f"select id, name from ice.{namespace}.{name} order by id").fetchall()
        eq(got, sorted(wanted.items()), name)


Steps("faults-pyiceberg").run([
    ("stream", stream),
    ("creates-by-commit", creates),
    ("racing-writers", racing),
    ("rows-exact", exact),
    ("no-needed-file-gone", nothing_lost),
    ("read-by-duckdb", read_by_duckdb),
    ("server-stops", faults.stops),
])
