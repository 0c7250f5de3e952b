"""ClickHouse (as a library, chdb): the `s3` table function for reads, writes, globs and partitions, and MergeTree tables on an S3 disk.
"""
import os
import shutil

import chdb.session

import nilas
from steps import Steps, eq, raises

ROWS = 300_000
PARTITION = "set/day={_partition_id}.parquet"

bucket = nilas.unique("chdb")
client = nilas.s3()
place = os.path.join(nilas.SCRATCH, bucket)
os.makedirs(place)
session = None


def ask(text, form="TabSeparatedRaw"):
    return str(session.query(text, form)).strip()


def file(key, form="Parquet", structure=None, secret=nilas.SECRET_KEY):
    more = f", '{structure}'" if structure else ""
    return f"s3('{nilas.ENDPOINT}/{bucket}/{key}', '{nilas.ACCESS_KEY}', '{secret}', '{form}'{more})"


def make_bucket():
    global session
    client.create_bucket(Bucket=bucket)
    session = chdb.session.Session(os.path.join(place, "session"))
    eq(ask("SELECT 1"), "1")


def keys(prefix):
    return [entry["Key"] for entry in client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])]


def parquet():
    ask(f"INSERT INTO FUNCTION {file('one.parquet')} SELECT number AS id, number % 4 AS day, concat(toString(number), ' ü') AS name FROM numbers({ROWS})")
    eq(ask(f"SELECT count(), sum(id), uniq(day) FROM {file('one.parquet')}"), f"{ROWS}\t{ROWS * (ROWS - 1) // 2}\t4")
    eq(ask(f"SELECT name FROM {file('one.parquet')} WHERE id = {ROWS - 1}"), f"{ROWS - 1} ü")
    raises(Exception, lambda: ask(f"INSERT INTO FUNCTION {file('one.parquet')} SELECT 1 AS id"))
    ask(f"INSERT INTO FUNCTION {file('one.parquet')} SELECT 1 AS id SETTINGS s3_truncate_on_insert = 1")
    eq(ask(f"SELECT count() FROM {file('one.parquet')}"), "1")


def parts():
    """Random text, which no compression makes small: an upload by parts, read by ranges."""
    ask(f"INSERT INTO FUNCTION {file('large.csv', 'CSV')} SELECT number AS id, randomPrintableASCII(500) AS text FROM numbers(80000) "
        "SETTINGS s3_min_upload_part_size = 5242880, s3_max_single_part_upload_size = 5242880")
    head = client.head_object(Bucket=bucket, Key="large.csv")
    assert "-" in head["ETag"] and head["ContentLength"] > 30_000_000, head
    eq(ask(f"SELECT count(), sum(id), min(length(text)), max(length(text)) FROM {file('large.csv', 'CSV', 'id UInt64, text String')}"), f"80000\t{80000 * 79999 // 2}\t500\t500")
    eq(client.list_multipart_uploads(Bucket=bucket).get("Uploads"), None, "uploads left")


def partitions():
    ask(f"INSERT INTO FUNCTION {file(PARTITION)} PARTITION BY day SELECT number AS id, number % 5 AS day FROM numbers(10000)")
    eq(keys("set/"), [f"set/day={day}.parquet" for day in range(5)])
    eq(ask(f"SELECT count(), uniq(_path) FROM {file('set/*.parquet')}"), "10000\t5")
    eq(ask(f"SELECT count() FROM {file('set/day={1,3}.parquet')}"), "4000")
    eq(ask(f"SELECT count() FROM {file('set/day={0..2}.parquet')}"), "6000")
    eq(ask(f"SELECT sum(_size) FROM (SELECT DISTINCT _path, _size FROM {file('set/*.parquet')})"),
       str(sum(entry["Size"] for entry in client.list_objects_v2(Bucket=bucket, Prefix="set/")["Contents"])))


def formats():
    for form in ("JSONEachRow", "CSVWithNames", "ORC", "Arrow", "Native"):
        ask(f"INSERT INTO FUNCTION {file(f'formats/{form}', form)} SELECT number AS id FROM numbers(1000)")
        eq(ask(f"SELECT sum(id) FROM {file(f'formats/{form}', form, 'id UInt64')}"), "499500", form)
    ask(f"INSERT INTO FUNCTION {file('formats/one.csv.gz', 'CSV')} SELECT number AS id FROM numbers(1000)")
    eq(client.get_object(Bucket=bucket, Key="formats/one.csv.gz")["Body"].read(2), b"\x1f\x8b")
    eq(ask(f"SELECT sum(id) FROM {file('formats/one.csv.gz', 'CSV', 'id UInt64')}"), "499500")


def on_a_disk():
    """A table whose parts are objects: writes, a mutation, merges, and a drop that takes all of them away."""
    disk = f"disk(type = s3_plain_rewritable, endpoint = '{nilas.ENDPOINT}/{bucket}/disk/', access_key_id = '{nilas.ACCESS_KEY}', secret_access_key = '{nilas.SECRET_KEY}')"
    ask("CREATE DATABASE IF NOT EXISTS nilas")
    ask(f"CREATE TABLE nilas.kept (id UInt64, name String) ENGINE = MergeTree ORDER BY id SETTINGS disk = {disk}")
    for number in range(3):
        ask(f"INSERT INTO nilas.kept SELECT number + {number * 1000}, 'x' FROM numbers(1000)")
    eq(ask("SELECT count(), sum(id) FROM nilas.kept"), f"3000\t{3000 * 2999 // 2}")
    assert len(keys("disk/")) > 3, keys("disk/")
    ask("OPTIMIZE TABLE nilas.kept FINAL")
    eq(ask("SELECT count(), uniq(_part) FROM nilas.kept"), "3000\t1")
    ask("DROP TABLE nilas.kept SYNC")
    left = [key for key in keys("disk/") if key.endswith((".bin", ".mrk", ".cmrk2"))]
    eq(left, [], "parts left after the drop")


def refusals():
    error = raises(Exception, lambda: ask(f"SELECT * FROM {file('none.parquet')} SETTINGS s3_retry_attempts = 0"))
    assert "404" in str(error) or "does not exist" in str(error) or "CANNOT_EXTRACT_TABLE_STRUCTURE" in str(error), error
    error = raises(Exception, lambda: ask(f"SELECT * FROM {file('one.parquet', secret='wrong')} SETTINGS s3_retry_attempts = 0"))
    assert "signature" in str(error) or "403" in str(error), error


def remove():
    session.close()
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": entry["Key"]} for entry in page.get("Contents", [])]})
    client.delete_bucket(Bucket=bucket)
    shutil.rmtree(place, ignore_errors=True)


steps = Steps("chdb")
if not steps("make-bucket", make_bucket):
    steps.close()
steps.run([
    ("parquet", parquet),
    ("parts", parts),
    ("partitions", partitions),
    ("formats", formats),
    ("disk", on_a_disk),
    ("refusals", refusals),
    ("remove", remove),
])
