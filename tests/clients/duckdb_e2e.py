"""DuckDB against both halves: Parquet over S3 with httpfs, and the catalog with its iceberg extension.

The catalog is attached twice, with SigV4 and with OAuth2 client credentials.
"""
import duckdb

import duck
import nilas
from steps import Steps, eq, raises

ROWS = 100_000

namespace = nilas.unique("duck").replace("-", "_")
bucket = nilas.unique("duckdb")
connection = None
warehouse = None
EVENTS = f"ice.{namespace}.events"


def sql(text):
    return connection.execute(text).fetchall()


def extensions():
    global connection
    connection = duck.connect()


def parquet():
    nilas.s3().create_bucket(Bucket=bucket)
    sql(f"copy (select i as id, 'n' || (i % 100) as name from range({ROWS}) r(i)) to 's3://{bucket}/one.parquet' (format parquet)")
    eq(sql(f"select count(*), sum(id), count(distinct name) from read_parquet('s3://{bucket}/one.parquet')"), [(ROWS, ROWS * (ROWS - 1) // 2, 100)])
    eq(sql(f"select name from 's3://{bucket}/one.parquet' where id = 77"), [("n77",)])


def parquet_partitioned():
    sql(f"copy (select i as id, i % 4 as part from range({ROWS}) r(i)) to 's3://{bucket}/set' (format parquet, partition_by (part))")
    read = f"read_parquet('s3://{bucket}/set/*/*.parquet', hive_partitioning = true)"
    eq(sql(f"select count(*) from {read}"), [(ROWS,)])
    eq(sql(f"select count(*), min(id) from {read} where part = 3"), [(ROWS // 4, 3)])
    eq(len(sql(f"select file from glob('s3://{bucket}/set/**')")) >= 4, True, "four files at least")


def csv():
    sql(f"copy (select i as id, repeat('x', 200) as pad from range(60000) r(i)) to 's3://{bucket}/wide.csv' (header)")
    eq(sql(f"select count(*), sum(id), max(length(pad)) from 's3://{bucket}/wide.csv'"), [(60000, 60000 * 59999 // 2, 200)])


def attach():
    global warehouse
    warehouse = nilas.warehouse("duckdb")
    duck.attach(connection, warehouse)


def create():
    sql(f"create schema ice.{namespace}")
    sql(f"create table {EVENTS} (id bigint, name varchar, ts timestamp)")
    raises(duckdb.Error, lambda: sql(f"create table {EVENTS} (id bigint)"))


def insert_select():
    sql(f"insert into {EVENTS} select i, 'n' || (i % 100), timestamp '2026-01-01' + to_days((i % 4)::int) from range({ROWS}) r(i)")
    eq(sql(f"select count(*), count(distinct name) from {EVENTS}"), [(ROWS, 100)])
    eq(sql(f"select count(*) from {EVENTS} where id = 77"), [(1,)])
    eq(sql(f"select count(*) from {EVENTS} where ts < timestamp '2026-01-02'"), [(ROWS // 4,)])


def update_delete():
    sql(f"update {EVENTS} set name = 'u' where id < 10")
    sql(f"delete from {EVENTS} where id >= 10 and id < 20")
    eq(sql(f"select count(*), count(*) filter (name = 'u') from {EVENTS}"), [(ROWS - 10, 10)])


def merge():
    sql(
        f"merge into {EVENTS} t using (select range + 15 as id from range(10)) s on t.id = s.id "
        "when matched then update set name = 'm' when not matched then insert (id, name) values (s.id, 'm')"
    )
    eq(sql(f"select count(*), count(*) filter (name = 'm') from {EVENTS}"), [(ROWS - 5, 10)])


def transaction():
    sql(f"create table ice.{namespace}.a as select 1 as x")
    sql(f"create table ice.{namespace}.b as select 2 as x")
    sql("begin")
    sql(f"insert into ice.{namespace}.a values (10)")
    sql(f"insert into ice.{namespace}.b values (20)")
    sql("commit")
    both = f"select (select sum(x) from ice.{namespace}.a), (select sum(x) from ice.{namespace}.b)"
    eq(sql(both), [(11, 22)])
    sql("begin")
    sql(f"insert into ice.{namespace}.a values (100)")
    sql(f"insert into ice.{namespace}.b values (100)")
    sql("rollback")
    eq(sql(both), [(11, 22)])


def alter():
    sql(f"alter table {EVENTS} add column note varchar")
    sql(f"alter table {EVENTS} rename column note to remark")
    eq(sql(f"select count(remark), count(*) from {EVENTS}"), [(0, ROWS - 5)])


def time_travel():
    snapshots = sql(f"select snapshot_id from iceberg_snapshots({EVENTS}) order by sequence_number")
    assert len(snapshots) >= 4, snapshots
    eq(sql(f"select count(*) from {EVENTS} at (version => {snapshots[0][0]})"), [(ROWS,)])


def oauth2():
    sql(
        f"create secret oauth (type iceberg, client_id '{nilas.ACCESS_KEY}', client_secret '{nilas.SECRET_KEY}', "
        f"oauth2_server_uri '{nilas.CATALOG_URI}/v1/oauth/tokens')"
    )
    sql(f"attach '{warehouse}' as ice2 (type iceberg, endpoint '{nilas.CATALOG_URI}', secret 'oauth', access_delegation_mode 'none')")
    eq(sql(f"select count(*) from ice2.{namespace}.events"), [(ROWS - 5,)])
    sql(f"create table ice2.{namespace}.c as select i as x from range(1000) r(i)")
    sql(f"insert into ice2.{namespace}.c values (1000)")
    eq(sql(f"select count(*), max(x) from ice2.{namespace}.c"), [(1001, 1000)])
    sql(f"drop table ice2.{namespace}.c")
    sql("detach ice2")


def wrong_key():
    sql(f"create secret bad (type s3, key_id '{nilas.ACCESS_KEY}', secret 'wrong', endpoint '{nilas.HOST}', url_style 'path', use_ssl false, region 'local', scope 's3://nowhere')")
    raises(duckdb.Error, lambda: sql(
        f"attach '{warehouse}' as bad (type iceberg, endpoint '{nilas.CATALOG_URI}', authorization_type 'sigv4', "
        f"sigv4_service 's3tables', sigv4_region '{nilas.REGION}', secret 'bad')"))


def drop():
    for name in ("a", "b", "events"):
        sql(f"drop table ice.{namespace}.{name}")
    sql(f"drop schema ice.{namespace}")
    eq(sql(f"select count(*) from duckdb_tables() where database_name = 'ice' and schema_name = '{namespace}'"), [(0,)])


steps = Steps("duckdb")
if not steps("extensions", extensions):
    steps.close()
steps.run([
    ("parquet", parquet),
    ("parquet-partitioned", parquet_partitioned),
    ("csv", csv),
    ("attach-sigv4", attach),
    ("create", create),
    ("insert-select", insert_select),
    ("update-delete", update_delete),
    ("merge", merge),
    ("multi-table-transaction", transaction),
    ("alter", alter),
    ("time-travel", time_travel),
    ("attach-oauth2", oauth2),
    ("wrong-key-refused", wrong_key),
    ("drop", drop),
])
