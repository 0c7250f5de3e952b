"""Spark with Iceberg 1.10.1 behind the fault proxy: a stream of commits, each of which must succeed, with rows exact and no
file lost.

This client sends no commit again by itself. When its connection ends without an answer, or a 503 comes, it reports an unknown
outcome and deletes nothing; then the table must show the commit.
"""
import faults  # first: it names the endpoint
import threading

import duck
import nilas
import spark_session
from fault_proxy import AT_ONCE, LATE_COPY, LOST_503, PASS, SLOW, TWICE
from faults import COMMITS, STREAM, dice, proxy
from steps import Steps, eq

KINDS = [*STREAM, LOST_503]
RACING = [PASS, TWICE, AT_ONCE, LATE_COPY, SLOW]
WRITERS = 3
# What Spark says when it cannot know whether a commit landed.
UNKNOWN = ("NoHttpResponseException", "CommitStateUnknownException", "failed to respond", "Connection reset")

warehouse = nilas.warehouse("faults-spark")
namespace = nilas.unique("spark").replace("-", "_")
NS = f"ice.{namespace}"
held = {}  # what each table has to hold: name → {id: row name}
sql = None


def start():
    global sql
    sql = spark_session.Sql(spark_session.start(warehouse))
    sql(f"create namespace {NS}")


def held_by(name):
    return sorted(tuple(row) for row in sql(f"select id, name from {NS}.{name}"))


def commit(name, text, becomes):
    try:
        sql(text)
    except Exception as error:
        if not any(word in str(error) for word in UNKNOWN):
            raise
        sql(f"refresh table {NS}.{name}")
        eq(held_by(name), sorted(becomes.items()), f"{name} after a lost answer")
    held[name] = becomes


def values(rows):
    return ", ".join(f"({number}L, '{word}')" for number, word in rows.items())


def create(name, version, mode):
    """One create by commit, with its first rows."""
    first = {number: "first" for number in range(4)}
    commit(name, f"""create table {NS}.{name} using iceberg tblproperties ('format-version' = '{version}', 'write.delete.mode' = '{mode}',
        'write.update.mode' = '{mode}', 'write.merge.mode' = '{mode}') as select * from values {values(first)} as t(id, name)""", first)


def change(name, number):
    """One commit of a kind that the seed draws."""
    have = dict(held[name])
    kind = dice.choice(["insert", "insert", "insert", "insert", "delete", "update", "merge", "overwrite", "replace"])
    new = {number: kind, number + 1: kind}
    some = dice.choice(sorted(have))
    if kind == "insert":
        commit(name, f"insert into {NS}.{name} values {values(new)}", {**have, **new})
    elif kind == "delete" and len(have) > 1:
        del have[some]
        commit(name, f"delete from {NS}.{name} where id = {some}", have)
    elif kind == "update":
        commit(name, f"update {NS}.{name} set name = 'u{number}' where id = {some}", {**have, some: f"u{number}"})
    elif kind == "merge":
        commit(name, f"""merge into {NS}.{name} t using (select * from values {values({some: 'merged', **new})} as s(id, name)) s on t.id = s.id
            when matched then update set t.name = s.name when not matched then insert *""", {**have, some: "merged", **new})
    elif kind == "overwrite":
        commit(name, f"insert overwrite {NS}.{name} values {values(new)}", new)
    elif kind == "replace":
        version = sql.iceberg(f"{NS}.{name}").operations().current().formatVersion()
        commit(name, f"""create or replace table {NS}.{name} using iceberg tblproperties ('format-version' = '{version}')
            as select * from values {values(new)} as t(id, name)""", new)


def stream(name, version, mode):
    def run():
        proxy.plan([])
        create(name, version, mode)
        proxy.plan(KINDS)
        for number in range(COMMITS):
            change(name, 1000 + 2 * number)
        faults.faults_met(KINDS)

    return run


def creates():
    proxy.plan(KINDS)
    for number in range(max(COMMITS // 6, 6)):
        create(f"created{number}", 2, "copy-on-write")
    faults.faults_met([])  # too few to meet every kind


def racing():
    """Writers against each other: conflicts are real here, and the client retries them."""
    proxy.plan([])
    sql(f"create table {NS}.raced (id bigint, name string) using iceberg tblproperties ('commit.retry.num-retries' = '50')")
    proxy.plan(RACING)
    errors = []

    def writer(first):
        try:
            for turn in range(max(COMMITS // 6, 3)):
                sql(f"insert into {NS}.raced values ({first + turn}, 'raced')")
        except Exception as error:  # reported by the main thread
            errors.append(str(error)[:300])

    firsts = [10_000 * (number + 1) for number in range(WRITERS)]
    threads = [threading.Thread(target=writer, args=(first,)) for first in firsts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors[0]
    held["raced"] = {first + turn: "raced" for first in firsts for turn in range(max(COMMITS // 6, 3))}
    faults.faults_met([], conflicts=True)


def exact():
    proxy.plan([])
    for name, wanted in held.items():
        eq(held_by(name), sorted(wanted.items()), name)


def nothing_lost():
    catalog = faults.catalog(warehouse)
    files = faults.nothing_needed_is_gone([catalog.load_table((namespace, name)) for name in held])
    print(f"     {len(held)} tables, {files} files", flush=True)


def read_by_duckdb():
    connection = duck.connect()
    duck.attach(connection, warehouse)
    for name, wanted in held.items():
        got = connection.execute(f"select id, name from ice.{namespace}.{name} order by id").fetchall()
        eq(got, sorted(wanted.items()), name)


def read_by_pyiceberg():
    catalog = faults.catalog(warehouse)
    for name, wanted in held.items():
        if name == "v3":
            continue  # this client reads no deletion vectors
        found = catalog.load_table((namespace, name)).scan().to_arrow()
        eq(sorted(zip(found["id"].to_pylist(), found["name"].to_pylist())), sorted(wanted.items()), name)


steps = Steps("faults-spark")
if not steps("start", start):
    steps.close()
steps.run([
    ("stream-copy-on-write", stream("copied", 2, "copy-on-write")),
    ("stream-merge-on-read", stream("merged", 2, "merge-on-read")),
    ("stream-v3", stream("v3", 3, "merge-on-read")),
    ("creates-by-commit", creates),
    ("racing-writers", racing),
    ("rows-exact", exact),
    ("no-needed-file-gone", nothing_lost),
    ("read-by-duckdb", read_by_duckdb),
    ("read-by-pyiceberg", read_by_pyiceberg),
    ("server-stops", faults.stops),
])
