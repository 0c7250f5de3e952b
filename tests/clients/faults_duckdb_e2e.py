"""DuckDB behind the fault proxy: a stream of commits, each of which must succeed, with rows exact and no file lost.

DuckDB's HTTP layer sends a request again when the connection ends without an answer or the answer is a 503, so every
statement has to end well. Creates and transactions over two tables go through the catalog's transaction.
"""
import faults  # first: it names the endpoint

import duck
import nilas
from fault_proxy import LOST_503
from faults import COMMITS, STREAM, dice, proxy
from steps import Steps, eq

KINDS = [*STREAM, LOST_503]

warehouse = nilas.warehouse("faults-duckdb")
namespace = nilas.unique("duck").replace("-", "_")
connection = None
held = {"one": {}, "two": {}}  # what each table has to hold: name → {id: row name}


def sql(text):
    return connection.execute(text).fetchall()


def start():
    global connection
    connection = duck.connect()
    duck.attach(connection, warehouse)
    sql(f"create schema ice.{namespace}")
    for name in held:
        sql(f"create table ice.{namespace}.{name} (id bigint, name varchar)")


def insert(name, *numbers):
    values = ", ".join(f"({number}, 'inserted')" for number in numbers)
    sql(f"insert into ice.{namespace}.{name} values {values}")
    held[name].update({number: "inserted" for number in numbers})


def change(number):
    """One commit of a kind that the seed draws."""
    name = dice.choice(sorted(held))
    rows = held[name]
    kind = dice.choice(["insert", "insert", "insert", "delete", "update", "both", "create-as"])
    if kind == "insert" or not rows:
        insert(name, number, number + 1)
    elif kind == "delete":
        some = dice.choice(sorted(rows))
        sql(f"delete from ice.{namespace}.{name} where id = {some}")
        del rows[some]
    elif kind == "update":
        some = dice.choice(sorted(rows))
        sql(f"update ice.{namespace}.{name} set name = 'updated' where id = {some}")
        rows[some] = "updated"
    elif kind == "both":
        sql("begin")
        insert("one", number)
        insert("two", number)
        sql("commit")
    elif kind == "create-as":
        sql(f"create table ice.{namespace}.made{number} as select 1::bigint as id, 'made' as name")
        held[f"made{number}"] = {1: "made"}


def stream():
    proxy.plan(KINDS)
    for number in range(COMMITS):
        change(1000 + 2 * number)
    faults.faults_met(KINDS)


def exact():
    proxy.plan([])
    for name, wanted in held.items():
        eq(sql(f"select id, name from ice.{namespace}.{name} order by id"), sorted(wanted.items()), name)


def nothing_lost():
    catalog = faults.catalog(warehouse)
    files = faults.nothing_needed_is_gone([catalog.load_table((namespace, name)) for name in held])
    print(f"     {len(held)} tables, {files} files", flush=True)


def read_by_pyiceberg():
    catalog = faults.catalog(warehouse)
    for name, wanted in held.items():
        found = catalog.load_table((namespace, name)).scan().to_arrow()
        eq(sorted(zip(found["id"].to_pylist(), found["name"].to_pylist())), sorted(wanted.items()), name)


steps = Steps("faults-duckdb")
if not steps("start", start):
    steps.close()
steps.run([
    ("stream", stream),
    ("rows-exact", exact),
    ("no-needed-file-gone", nothing_lost),
    ("read-by-pyiceberg", read_by_pyiceberg),
    ("server-stops", faults.stops),
])
