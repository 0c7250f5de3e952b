"""Arrow's own S3 file system (the C++ SDK): Parquet files, partitioned data sets, streams and directories.

This client frames every upload as aws-chunked with a CRC-64/NVME trailer, over plain HTTP too; the last steps look with
boto3 at what was stored.
"""
import base64

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from awscrt import checksums as crt
from pyarrow import fs

import nilas
from nilas import KIB, MIB, content
from steps import Steps, eq, raises

ROWS = 500_000

bucket = nilas.unique("pyarrow")
client = nilas.s3()


def file_system(**more):
    return fs.S3FileSystem(
        access_key=nilas.ACCESS_KEY, secret_key=more.pop("secret_key", nilas.SECRET_KEY), endpoint_override=nilas.HOST,
        scheme="http", region=nilas.S3_REGION, **more)


arrow = file_system(allow_bucket_creation=True, allow_bucket_deletion=True)


def table(rows=ROWS):
    ids = pa.array(range(rows), pa.int64())
    return pa.table({
        "id": ids,
        "day": pa.array([f"2026-01-{number % 4 + 1:02}" for number in range(rows)]),
        "value": pc.multiply(ids.cast(pa.float64()), 0.5),
    })


def make_bucket():
    arrow.create_dir(bucket)
    eq(arrow.get_file_info(bucket).type, fs.FileType.Directory)


def parquet():
    sent = table()
    pq.write_table(sent, f"{bucket}/one.parquet", filesystem=arrow, row_group_size=100_000)
    eq(pq.read_table(f"{bucket}/one.parquet", filesystem=arrow).equals(sent), True, "same table")
    some = pq.read_table(f"{bucket}/one.parquet", filesystem=arrow, columns=["id"], filters=[("id", ">=", ROWS - 10)])
    eq(some["id"].to_pylist(), list(range(ROWS - 10, ROWS)))
    eq(pq.ParquetFile(f"{bucket}/one.parquet", filesystem=arrow).metadata.num_rows, ROWS)


def dataset():
    ds.write_dataset(
        table(), f"{bucket}/set", filesystem=arrow, format="parquet",
        partitioning=ds.partitioning(pa.schema([("day", pa.string())]), flavor="hive"), max_rows_per_file=50_000, max_rows_per_group=50_000)
    read = ds.dataset(f"{bucket}/set", filesystem=arrow, format="parquet", partitioning="hive")
    assert len(read.files) >= 8, read.files
    eq(read.count_rows(), ROWS)
    got = read.to_table(filter=(pc.field("day") == "2026-01-02") & (pc.field("id") < 1000), columns=["id"])
    eq(sorted(got["id"].to_pylist()), [number for number in range(1000) if number % 4 == 1])
    eq(pc.sum(read.to_table(columns=["id"])["id"]).as_py(), ROWS * (ROWS - 1) // 2)


def files():
    infos = arrow.get_file_info(fs.FileSelector(f"{bucket}/set", recursive=True))
    names = [info.path for info in infos if info.type == fs.FileType.File]
    assert len(names) >= 8 and all(name.startswith(f"{bucket}/set/day=2026-01-0") for name in names), names
    eq(len([info for info in infos if info.type == fs.FileType.Directory]), 4)
    top = arrow.get_file_info(fs.FileSelector(bucket))
    eq(sorted(info.base_name for info in top), ["one.parquet", "set"])
    eq(arrow.get_file_info(f"{bucket}/none").type, fs.FileType.NotFound)
    eq(arrow.get_file_info(fs.FileSelector(f"{bucket}/none", allow_not_found=True)), [])
    raises(FileNotFoundError, lambda: arrow.open_input_file(f"{bucket}/none"))


def streams():
    for size in (0, 1, 64 * KIB - 1, 64 * KIB, 128 * KIB + 1, MIB + 1, 25 * MIB + 7):
        body = content(size, seed=60)
        with arrow.open_output_stream(f"{bucket}/streams/{size}") as out:
            for at in range(0, size, 700_001):
                out.write(body[at: at + 700_001])
        with arrow.open_input_stream(f"{bucket}/streams/{size}") as back:
            assert back.read() == body, f"stream of {size} bytes: other bytes"
        with arrow.open_input_file(f"{bucket}/streams/{size}") as file:
            eq(file.size(), size)
            if size > 100:
                eq(file.read_at(50, size - 60), body[size - 60: size - 10], "read at an offset")


def trailers():
    """Stored bytes are free of framing, and the checksum of the trailer is kept."""
    # Only with delayed opening does a small file go out as one PutObject; else every file is a multipart upload.
    single = file_system(allow_delayed_open=True)
    for size in (1, 64 * KIB, 128 * KIB + 1, MIB + 1):
        body = content(size, seed=61)
        with single.open_output_stream(f"{bucket}/single/{size}") as out:
            out.write(body)
        for key, part in ((f"single/{size}", False), (f"streams/{size}", True)):
            body = content(size, seed=60 if part else 61)
            got = client.get_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
            assert got["Body"].read() == body, f"{key}: other bytes stored"
            assert "aws-chunked" not in got.get("ContentEncoding", ""), "framing kept as content encoding"
            want = base64.b64encode(crt.crc64nvme(body).to_bytes(8, "big")).decode()
            # The client names no algorithm when it starts a multipart upload: then the store need not keep one.
            eq(got.get("ChecksumCRC64NVME", want if part else None), want, f"CRC-64/NVME of {key}")
            eq(got["ETag"].endswith('-1"'), part, f"{key} is a multipart object")


def move_delete():
    arrow.copy_file(f"{bucket}/one.parquet", f"{bucket}/copy.parquet")
    arrow.move(f"{bucket}/copy.parquet", f"{bucket}/moved.parquet")
    eq(arrow.get_file_info(f"{bucket}/copy.parquet").type, fs.FileType.NotFound)
    eq(pq.read_metadata(f"{bucket}/moved.parquet", filesystem=arrow).num_rows, ROWS)
    arrow.delete_file(f"{bucket}/moved.parquet")
    arrow.create_dir(f"{bucket}/empty/dir")
    eq(arrow.get_file_info(f"{bucket}/empty/dir").type, fs.FileType.Directory)
    arrow.delete_dir(f"{bucket}/set")
    eq(arrow.get_file_info(fs.FileSelector(f"{bucket}/set", recursive=True, allow_not_found=True)), [])


def remove():
    arrow.delete_dir_contents(bucket)
    arrow.delete_dir(bucket)
    eq(arrow.get_file_info(bucket).type, fs.FileType.NotFound)


def wrong_key():
    other = file_system(secret_key="wrong" + nilas.SECRET_KEY, retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1))
    raises(OSError, lambda: other.open_input_file(f"{bucket}/one.parquet").read())


steps = Steps("pyarrow")
if not steps("make-bucket", make_bucket):
    steps.close()
steps.run([
    ("parquet", parquet),
    ("dataset", dataset),
    ("files", files),
    ("streams", streams),
    ("trailers", trailers),
    ("wrong-key-refused", wrong_key),
    ("move-delete", move_delete),
    ("remove", remove),
])
