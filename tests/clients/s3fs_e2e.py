"""s3fs (fsspec over aiobotocore): files as a data-frame user opens them, directories, copies, versions, tags, async calls."""
import asyncio
import os
import shutil
import time

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import s3fs

import nilas
from nilas import KIB, MIB, content, md5_hex
from steps import Steps, eq, raises

bucket = nilas.unique("s3fs")
versioned = nilas.unique("s3fs-versions")
client = nilas.s3()
place = os.path.join(nilas.SCRATCH, bucket)
os.makedirs(place)
OPTIONS = {"key": nilas.ACCESS_KEY, "secret": nilas.SECRET_KEY, "endpoint_url": nilas.ENDPOINT, "client_kwargs": {"region_name": nilas.S3_REGION},
           "config_kwargs": {"s3": {"addressing_style": "path"}, "retries": {"total_max_attempts": 1}}, "skip_instance_cache": True}
files = s3fs.S3FileSystem(**OPTIONS)
kept = []  # open until the suite ends: one that is collected while another loop runs closes its session there


def make_bucket():
    files.mkdir(bucket)
    assert files.exists(bucket) and bucket in files.ls("")
    raises(FileNotFoundError, lambda: files.ls(nilas.unique("none")))


def put_get():
    for size in (0, 1, 128 * KIB + 1, 6 * MIB, 60 * MIB + 1):
        body = content(size, seed=250)
        # 5 MiB parts beyond the block size; the last one is what is left.
        with files.open(f"{bucket}/sizes/{size}", "wb", block_size=5 * MIB) as out:
            out.write(body)
        info = files.info(f"{bucket}/sizes/{size}", refresh=True)
        eq((info["size"], info["type"]), (size, "file"))
        if size < 5 * MIB:
            eq(info["ETag"], f'"{md5_hex(body)}"')
        assert files.cat_file(f"{bucket}/sizes/{size}") == body, f"{size} bytes: other bytes came back"
        with files.open(f"{bucket}/sizes/{size}", "rb", block_size=MIB) as back:
            assert back.read() == body, f"{size} bytes: other bytes by blocks"
    eq(files.cat_file(f"{bucket}/sizes/{6 * MIB}", start=-10, end=None), content(6 * MIB, seed=250)[-10:], "the end")
    eq(files.cat_file(f"{bucket}/sizes/{6 * MIB}", start=5, end=9), content(6 * MIB, seed=250)[5:9], "a range")
    eq(files.cat_ranges([f"{bucket}/sizes/{6 * MIB}"] * 3, [0, MIB, 5 * MIB], [3, MIB + 3, 5 * MIB + 3]), [content(6 * MIB, seed=250)[at: at + 3] for at in (0, MIB, 5 * MIB)])
    raises(FileNotFoundError, lambda: files.cat_file(f"{bucket}/none"))


def changed_while_open():
    """Reads carry the ETag: an object that was replaced meanwhile is not read as a mixture."""
    files.pipe_file(f"{bucket}/changing", content(3 * MIB, seed=251))
    with files.open(f"{bucket}/changing", "rb", block_size=MIB, cache_type="none") as back:
        eq(back.read(10), content(3 * MIB, seed=251)[:10])
        client.put_object(Bucket=bucket, Key="changing", Body=content(3 * MIB, seed=252))
        error = raises(OSError, lambda: back.read(10))
    assert "no longer exists" in str(error), error


def appending():
    files.pipe_file(f"{bucket}/append", b"first;")
    with files.open(f"{bucket}/append", "ab") as out:
        out.write(b"second;")
    eq(files.cat_file(f"{bucket}/append"), b"first;second;")
    body = content(6 * MIB, seed=253)
    files.pipe_file(f"{bucket}/append-large", body)
    # Above the least size of a part the client begins with a copy of what is there.
    with files.open(f"{bucket}/append-large", "ab") as out:
        out.write(b"more")
    assert files.cat_file(f"{bucket}/append-large") == body + b"more", "other bytes"


def exclusive():
    files.pipe_file(f"{bucket}/once", b"first", mode="create")
    raises(FileExistsError, lambda: files.pipe_file(f"{bucket}/once", b"second", mode="create"))
    eq(files.cat_file(f"{bucket}/once"), b"first")


TREE = {f"{folder}/{number} ü+%.txt": f"{folder} {number}".encode() for folder in ("a", "b/c", "日本") for number in range(4)}


def trees():
    for name, body in TREE.items():
        os.makedirs(os.path.dirname(os.path.join(place, "tree", name)), exist_ok=True)
        with open(os.path.join(place, "tree", name), "wb") as file:
            file.write(body)
    files.put(os.path.join(place, "tree") + "/", f"{bucket}/tree/", recursive=True)
    eq(sorted(files.find(f"{bucket}/tree")), sorted(f"{bucket}/tree/{name}" for name in TREE))
    eq(sorted(files.ls(f"{bucket}/tree", detail=False, refresh=True)), sorted(f"{bucket}/tree/{name}" for name in ("a", "b", "日本")))
    eq([sorted(names) for _, names, _ in files.walk(f"{bucket}/tree", maxdepth=1)], [["a", "b", "日本"]])
    eq(len(files.glob(f"{bucket}/tree/**/*.txt")), len(TREE))
    eq(sorted(files.glob(f"{bucket}/tree/a/[01]*")), [f"{bucket}/tree/a/{number} ü+%.txt" for number in (0, 1)])
    eq(files.du(f"{bucket}/tree"), sum(map(len, TREE.values())))
    assert files.isdir(f"{bucket}/tree/b") and files.isfile(f"{bucket}/tree/a/0 ü+%.txt") and not files.exists(f"{bucket}/tree/none")
    files.get(f"{bucket}/tree/", os.path.join(place, "back") + "/", recursive=True)
    for name, body in TREE.items():
        with open(os.path.join(place, "back", name), "rb") as file:
            eq(file.read(), body, name)


def copy_move():
    files.copy(f"{bucket}/tree/", f"{bucket}/copied/", recursive=True)
    eq(len(files.find(f"{bucket}/copied", refresh=True)), len(TREE))
    # A recursive move asks for an object of the directory's own name too, and ends where there is none.
    for name in files.find(f"{bucket}/copied/a"):
        files.mv(name, name.replace("/copied/a/", "/moved/"))
    eq((len(files.find(f"{bucket}/copied/a", refresh=True)), len(files.find(f"{bucket}/moved", refresh=True))), (0, 4))
    body = content(60 * MIB + 1, seed=250)
    files.copy(f"{bucket}/sizes/{len(body)}", f"{bucket}/copied large")
    assert files.cat_file(f"{bucket}/copied large") == body, "other bytes"
    # Copied by parts, as above 5 GB.
    asyncio_run(files._copy_managed(f"{bucket}/sizes/{len(body)}", f"{bucket}/copied by parts", size=len(body), block=8 * MIB))
    assert files.cat_file(f"{bucket}/copied by parts") == body, "other bytes"
    files.merge(f"{bucket}/merged", [f"{bucket}/sizes/{6 * MIB}", f"{bucket}/sizes/{128 * KIB + 1}"])
    assert files.cat_file(f"{bucket}/merged") == content(6 * MIB, seed=250) + content(128 * KIB + 1, seed=250), "other bytes merged"


def asyncio_run(call):
    return fsspec.asyn.sync(files.loop, lambda: call)


def attributes():
    path = f"{bucket}/attributes"
    with files.open(path, "wb", ContentType="text/x", Metadata={"who": "s3fs"}) as out:
        out.write(b"x")
    eq((files.metadata(path, refresh=True), files.info(path)["ContentType"]), ({"who": "s3fs"}, "text/x"))
    files.setxattr(path, who="another", copy_kwargs={"ContentType": "text/y"})
    eq((files.getxattr(path, "who"), client.head_object(Bucket=bucket, Key="attributes")["Metadata"]), ("another", {"who": "another"}))
    files.put_tags(path, {"kind": "ü"})
    files.put_tags(path, {"more": "1"}, mode="m")
    eq(files.get_tags(path), {"kind": "ü", "more": "1"})
    files.touch(f"{bucket}/touched")
    eq(files.size(f"{bucket}/touched"), 0)
    assert abs(files.modified(path).timestamp() - time.time()) < 600
    with fsspec.open(files.url(path, expires=60), "rb") as back:
        eq(back.read(), b"x", "by its presigned URL")


def versions():
    client.create_bucket(Bucket=versioned)
    aware = s3fs.S3FileSystem(version_aware=True, **OPTIONS)
    kept.append(aware)
    aware.make_bucket_versioned(versioned)
    eq(aware.is_bucket_versioned(versioned), True)
    path = f"{versioned}/one"
    for body in (b"first", b"second"):
        with aware.open(path, "wb") as out:
            out.write(body)
    ids = [one["VersionId"] for one in aware.object_version_info(path)]
    eq([aware.cat_file(path, version_id=one) for one in ids], [b"second", b"first"])
    with aware.open(path, "rb", version_id=ids[1]) as back:
        eq(back.read(), b"first")
    with aware.open(path, "rb") as back:
        client.put_object(Bucket=versioned, Key="one", Body=b"third")
        eq(back.read(), b"second", "the version that was opened")
    aware.rm(path)
    raises(FileNotFoundError, lambda: aware.info(path, refresh=True))
    for kind in ("Versions", "DeleteMarkers"):
        for one in client.list_object_versions(Bucket=versioned).get(kind, []):
            client.delete_object(Bucket=versioned, Key=one["Key"], VersionId=one["VersionId"])
    aware.rmdir(versioned)


def parquet():
    table = pa.table({"id": list(range(100_000)), "day": [number % 3 for number in range(100_000)]})
    pq.write_table(table, f"{bucket}/one.parquet", filesystem=files)
    eq(pq.read_table(f"{bucket}/one.parquet", filesystem=files).equals(table), True, "same table")
    pq.write_to_dataset(table, f"{bucket}/set", partition_cols=["day"], filesystem=files)
    eq(pq.read_table(f"{bucket}/set", filesystem=files, filters=[("day", "=", 1)]).num_rows, 33_333)


def async_calls():
    async def run():
        one = s3fs.S3FileSystem(asynchronous=True, **OPTIONS)
        kept.append((one, await one.set_session()))
        await asyncio.gather(*(one._pipe_file(f"{bucket}/async/{number}", b"%d" % number) for number in range(50)))
        return await asyncio.gather(*(one._cat_file(f"{bucket}/async/{number}") for number in range(50)))

    eq(asyncio.run(run()), [b"%d" % number for number in range(50)])


def remove():
    files.rm([f"{bucket}/async/{number}" for number in range(50)])
    eq(files.find(f"{bucket}/async", refresh=True), [])
    client.put_object(Bucket=bucket, Key="left", Body=b"x")
    raises(OSError, lambda: files.rmdir(bucket))
    files.rm(bucket, recursive=True)
    nilas.refused(lambda: client.head_bucket(Bucket=bucket), "404")
    shutil.rmtree(place)


steps = Steps("s3fs")
if not steps("make-bucket", make_bucket):
    steps.close()
steps.run([
    ("put-get", put_get),
    ("changed-while-open", changed_while_open),
    ("append", appending),
    ("exclusive", exclusive),
    ("trees", trees),
    ("copy-move", copy_move),
    ("attributes", attributes),
    ("versions", versions),
    ("parquet", parquet),
    ("async", async_calls),
    ("remove", remove),
])
