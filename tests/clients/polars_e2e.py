"""polars (Rust's object_store): scans and writes of Parquet, CSV, JSON lines and IPC, partitions, globs, by its own reader."""
import polars as pl

import nilas
from steps import Steps, eq, raises

ROWS = 400_000
SUNK_TIMES = 6  # 90 MB

bucket = nilas.unique("polars")
client = nilas.s3()
OPTIONS = {"aws_access_key_id": nilas.ACCESS_KEY, "aws_secret_access_key": nilas.SECRET_KEY, "aws_endpoint_url": nilas.ENDPOINT, "aws_region": nilas.S3_REGION,
           "aws_allow_http": "true", "max_retries": 0}


def url(key):
    return f"s3://{bucket}/{key}"


def frame(rows=ROWS, first=0):
    ids = pl.int_range(first, first + rows, eager=True)
    return pl.DataFrame({"id": ids, "day": (ids % 4).cast(pl.String), "value": ids * 0.5, "name": ids.cast(pl.String) + " ü"})


def keys(prefix):
    return [entry["Key"] for entry in client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])]


def make_bucket():
    client.create_bucket(Bucket=bucket)


def parquet():
    sent = frame()
    sent.write_parquet(url("one.parquet"), storage_options=OPTIONS, row_group_size=50_000)
    assert pl.read_parquet(url("one.parquet"), storage_options=OPTIONS).equals(sent), "another table came back"
    scan = pl.scan_parquet(url("one.parquet"), storage_options=OPTIONS)
    eq(scan.filter(pl.col("id") >= ROWS - 10).select("name").collect()["name"].to_list(), [f"{number} ü" for number in range(ROWS - 10, ROWS)])
    eq(scan.select(pl.col("value").sum()).collect().item(), ROWS * (ROWS - 1) / 4)
    eq(scan.select(pl.len()).collect().item(), ROWS, "rows by the footer")


def sink():
    """Streamed: an upload by parts of a table that is never whole in memory."""
    scan = pl.scan_parquet(url("one.parquet"), storage_options=OPTIONS).with_columns(twice=pl.col("value") * 2)
    pl.concat([scan] * SUNK_TIMES).sink_parquet(
        url("sunk ü/twice.parquet"), storage_options=OPTIONS, compression="uncompressed")
    head = client.head_object(Bucket=bucket, Key="sunk ü/twice.parquet")
    assert "-" in head["ETag"], f"{head['ContentLength']} bytes are not of parts"
    eq(pl.scan_parquet(url("sunk ü/twice.parquet"), storage_options=OPTIONS).select(pl.col("twice").sum()).collect().item(), SUNK_TIMES * ROWS * (ROWS - 1) / 2)
    eq(client.list_multipart_uploads(Bucket=bucket).get("Uploads"), None, "uploads left")


def partitions():
    frame(40_000).write_parquet(url("set/"), partition_by="day", storage_options=OPTIONS)
    eq(sorted({key.split("/")[1] for key in keys("set/")}), [f"day={number}" for number in range(4)])
    scan = pl.scan_parquet(url("set/"), storage_options=OPTIONS, hive_partitioning=True)
    eq(scan.filter(pl.col("day").cast(pl.String) == "2").select(pl.len()).collect().item(), 10_000)
    eq(scan.select(pl.col("id").sum()).collect().item(), 40_000 * 39_999 // 2)


def globs():
    for number in range(5):
        frame(1000, first=number * 1000).write_parquet(url(f"glob/part-{number}.parquet"), storage_options=OPTIONS)
    eq(pl.scan_parquet(url("glob/part-*.parquet"), storage_options=OPTIONS).select(pl.col("id").n_unique()).collect().item(), 5000)
    eq(pl.scan_parquet(url("glob/part-[13].parquet"), storage_options=OPTIONS).select(pl.len()).collect().item(), 2000)
    named = pl.scan_parquet(url("glob/*.parquet"), storage_options=OPTIONS, include_file_paths="path").select("path").unique().collect()
    eq(sorted(named["path"].to_list()), [url(f"glob/part-{number}.parquet") for number in range(5)])


def other_formats():
    sent = frame(20_000)
    sent.write_csv(url("one.csv"), storage_options=OPTIONS)
    assert pl.read_csv(url("one.csv"), storage_options=OPTIONS, schema_overrides={"day": pl.String}).equals(sent), "another CSV came back"
    sent.lazy().sink_ndjson(url("one.ndjson"), storage_options=OPTIONS)
    assert pl.scan_ndjson(url("one.ndjson"), storage_options=OPTIONS).collect().equals(sent), "other JSON lines came back"
    sent.lazy().sink_ipc(url("one.arrow"), storage_options=OPTIONS)
    assert pl.scan_ipc(url("one.arrow"), storage_options=OPTIONS).collect().equals(sent), "another IPC file came back"


def refusals():
    raises((OSError, pl.exceptions.ComputeError), lambda: pl.read_parquet(url("none.parquet"), storage_options=OPTIONS))
    wrong = {**OPTIONS, "aws_secret_access_key": "wrong" + nilas.SECRET_KEY}
    error = raises((OSError, pl.exceptions.ComputeError), lambda: pl.read_parquet(url("one.parquet"), storage_options=wrong))
    assert "SignatureDoesNotMatch" in str(error) or "403" in str(error) or "permission" in str(error).lower(), error


def remove():
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": entry["Key"]} for entry in page.get("Contents", [])]})
    client.delete_bucket(Bucket=bucket)


steps = Steps("polars")
if not steps("make-bucket", make_bucket):
    steps.close()
steps.run([
    ("parquet", parquet),
    ("sink", sink),
    ("partitions", partitions),
    ("globs", globs),
    ("other-formats", other_formats),
    ("refusals", refusals),
    ("remove", remove),
])
