"""rclone against the S3 API: copies, syncs, checks by hash, times kept as metadata, uploads in parts, links, versions, a file server.

Run with its profile for MinIO and with that for servers it does not know, which lists by the first version of the call.
"""
import os
import shutil
import time
import urllib.request

import nilas
from nilas import KIB, MIB, content, md5_hex
from programs import Program, need
from steps import Steps, eq

HOUR = 3600

bucket = nilas.unique("rclone")
client = nilas.s3()
place = os.path.join(nilas.SCRATCH, bucket)
os.makedirs(place)


def remote(name, **settings):
    return {f"RCLONE_CONFIG_{name}_{key.upper()}": value for key, value in settings.items()}


common = {"type": "s3", "access_key_id": nilas.ACCESS_KEY, "secret_access_key": nilas.SECRET_KEY, "endpoint": nilas.ENDPOINT,
          "region": nilas.S3_REGION, "chunk_size": "5Mi", "upload_cutoff": "8Mi", "copy_cutoff": "12Mi"}
rclone = Program(need("rclone", "rclone"), {
    "HOME": place,
    "RCLONE_CONFIG": os.path.join(place, "none.conf"),
    **remote("MINIO", provider="Minio", **common),
    **remote("OTHER", provider="Other", **common),
    **remote("VERSIONS", provider="Minio", versions="true", **common),
}, ["--retries=1", "--low-level-retries=1", "--log-level=NOTICE"])


def path(name=""):
    return os.path.join(place, name)


def write(name, body, seconds=HOUR):
    os.makedirs(os.path.dirname(path(name)), exist_ok=True)
    with open(path(name), "wb") as file:
        file.write(body)
    when = time.time() - seconds
    os.utime(path(name), (when, when))
    return path(name)


def read(name):
    with open(path(name), "rb") as file:
        return file.read()


def keys(prefix=""):
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def make_bucket():
    rclone("mkdir", f"minio:{bucket}")
    assert bucket in [line.split()[-1] for line in rclone("lsd", "minio:").splitlines()]


TREE = {f"tree/{folder}/file {number}.txt": f"{folder} {number}".encode() * 100 for folder in ("a", "b/c", "ü", "日本") for number in range(5)}
TREE |= {"tree/plus+and %41 &.bin": b"odd", "tree/empty": b"", "tree/big.bin": content(17 * MIB + 5, seed=210)}


def copy(profile):
    def run():
        if not os.path.exists(path("tree")):
            for name, body in TREE.items():
                write(name, body)
        rclone("copy", path("tree"), f"{profile}:{bucket}/{profile}/tree")
        eq(sorted(keys(f"{profile}/tree/")), sorted(f"{profile}/{name}" for name in TREE))
        for name, body in TREE.items():
            got = client.get_object(Bucket=bucket, Key=f"{profile}/{name}")
            assert got["Body"].read() == body, f"{name}: other bytes stored"
            assert "mtime" in got["Metadata"], f"{name}: no time kept"
        # The sums and times of both sides are as one: nothing is left to do, and that is seen without reading.
        rclone("check", path("tree"), f"{profile}:{bucket}/{profile}/tree")
        rclone("check", "--download", path("tree"), f"{profile}:{bucket}/{profile}/tree")
        before = client.head_object(Bucket=bucket, Key=f"{profile}/tree/a/file 0.txt")["LastModified"]
        rclone("sync", path("tree"), f"{profile}:{bucket}/{profile}/tree")
        eq(client.head_object(Bucket=bucket, Key=f"{profile}/tree/a/file 0.txt")["LastModified"], before, "copied again")
        rclone("copy", f"{profile}:{bucket}/{profile}/tree", path(f"{profile}-back"))
        for name, body in TREE.items():
            assert read(name.replace("tree", f"{profile}-back", 1)) == body, f"{name}: other bytes came back"
        kept, sent = os.stat(path(f"{profile}-back/a/file 0.txt")), os.stat(path("tree/a/file 0.txt"))
        assert abs(kept.st_mtime - sent.st_mtime) < 0.001, "another time came back"

    return run


def sync():
    write("tree/a/file 0.txt", b"changed", 0)
    os.remove(path("tree/ü/file 1.txt"))
    rclone("sync", path("tree"), f"minio:{bucket}/minio/tree")
    eq(sorted(keys("minio/tree/")), sorted(f"minio/{name}" for name in set(TREE) - {"tree/ü/file 1.txt"}))
    eq(client.get_object(Bucket=bucket, Key="minio/tree/a/file 0.txt")["Body"].read(), b"changed")
    # Only the time differs: it is changed by a copy of the object onto itself.
    write("tree/a/file 2.txt", TREE["tree/a/file 2.txt"], 10 * HOUR)
    before = client.head_object(Bucket=bucket, Key="minio/tree/a/file 2.txt")
    rclone("sync", path("tree"), f"minio:{bucket}/minio/tree")
    after = client.head_object(Bucket=bucket, Key="minio/tree/a/file 2.txt")
    eq(after["ETag"], before["ETag"])
    assert after["Metadata"]["mtime"] != before["Metadata"]["mtime"], "the time was not changed"


def sums():
    lines = dict(reversed(line.split(maxsplit=1)) for line in rclone("md5sum", f"minio:{bucket}/minio/tree").splitlines())
    for name in ("a/file 1.txt", "b/c/file 1.txt", "big.bin"):
        eq(lines[name], md5_hex(TREE[f"tree/{name}"]), f"MD5 of {name}")
    size = rclone("size", "--json", f"minio:{bucket}/minio/tree")
    assert f'"count":{len(TREE) - 1}' in size.replace(" ", ""), size


def server_side():
    rclone("copy", f"minio:{bucket}/minio/tree", f"minio:{bucket}/copied")
    body = TREE["tree/big.bin"]
    got = client.get_object(Bucket=bucket, Key="copied/big.bin")
    assert got["Body"].read() == body, "the copy has other bytes"
    assert "-" in got["ETag"], "above the bound a copy is made of parts"
    rclone("moveto", f"minio:{bucket}/copied/a", f"minio:{bucket}/moved/ä")
    eq((keys("copied/a/"), len(keys("moved/ä/"))), ([], 5))
    rclone("check", f"minio:{bucket}/minio/tree/a", f"minio:{bucket}/moved/ä")


def stream():
    body = content(12 * MIB + 1, seed=211)
    rclone.bytes("rcat", f"minio:{bucket}/stream/large", stdin=body)
    rclone.bytes("rcat", f"minio:{bucket}/stream/small", stdin=body[: 10 * KIB])
    assert client.get_object(Bucket=bucket, Key="stream/large")["Body"].read() == body, "other bytes stored"
    eq(rclone.bytes("cat", f"minio:{bucket}/stream/small"), body[: 10 * KIB])
    eq(rclone.bytes("cat", "--offset", "5242870", "--count", "20", f"minio:{bucket}/stream/large"), body[5242870:5242890])


def headers():
    rclone("copyto", "--header-upload", "Cache-Control: max-age=7", "--header-upload", "Content-Language: de", "--header-upload", "Content-Type: text/x", "--s3-storage-class", "STANDARD",
           path("tree/a/file 1.txt"), f"minio:{bucket}/headers")
    head = client.head_object(Bucket=bucket, Key="headers")
    eq((head["CacheControl"], head["ContentLanguage"], head["ContentType"]), ("max-age=7", "de", "text/x"))
    rclone("copyto", "--metadata", "--metadata-set", "who=rclone", path("tree/a/file 1.txt"), f"minio:{bucket}/meta")
    eq(client.head_object(Bucket=bucket, Key="meta")["Metadata"]["who"], "rclone")
    rclone("copyto", "--header-upload", "x-amz-meta-who: 日本", path("tree/a/file 1.txt"), f"minio:{bucket}/meta ü")
    eq(client.head_object(Bucket=bucket, Key="meta ü")["ResponseMetadata"]["HTTPHeaders"]["x-amz-meta-who"].startswith("=?UTF-8?"), True, "as S3 says it")


def link():
    address = rclone("link", "--expire", "60s", f"minio:{bucket}/stream/small").strip()
    with urllib.request.urlopen(address, timeout=30) as answer:
        eq(md5_hex(answer.read()), md5_hex(content(12 * MIB + 1, seed=211)[: 10 * KIB]))


def uploads():
    upload = client.create_multipart_upload(Bucket=bucket, Key="open")["UploadId"]
    assert upload in rclone("backend", "list-multipart-uploads", f"minio:{bucket}"), "the open upload is not listed"
    rclone("backend", "cleanup", "-o", "max-age=1ns", f"minio:{bucket}")
    eq(client.list_multipart_uploads(Bucket=bucket).get("Uploads"), None)


def versions():
    rclone("backend", "versioning", f"minio:{bucket}", "Enabled")
    eq(client.get_bucket_versioning(Bucket=bucket)["Status"], "Enabled")
    for body in (b"first", b"second"):
        rclone.bytes("rcat", f"minio:{bucket}/versions/one.txt", stdin=body)
        time.sleep(1.1)  # older versions are named after their times, in seconds
    listed = rclone("lsf", f"versions:{bucket}/versions").split()
    eq(len(listed), 2, "versions listed")
    # By its directory: this version of rclone looks for an older version that is named alone under another name.
    eq(sorted(rclone.bytes("cat", f"versions:{bucket}/versions", "--include", name) for name in listed), [b"first", b"second"])
    rclone("deletefile", f"minio:{bucket}/versions/one.txt")
    eq(rclone("lsf", f"minio:{bucket}/versions").strip(), "")
    eq(len(rclone("lsf", f"versions:{bucket}/versions").split()), 2, "versions behind the delete marker")
    rclone("backend", "versioning", f"minio:{bucket}", "Suspended")
    rclone("backend", "cleanup-hidden", f"minio:{bucket}")
    left = client.list_object_versions(Bucket=bucket, Prefix="versions/")
    eq((left.get("Versions"), left.get("DeleteMarkers")), (None, None), "after cleanup-hidden")


def remove():
    rclone("rmdir", f"minio:{bucket}", fails="BucketNotEmpty")
    rclone("delete", f"minio:{bucket}/minio/tree/a")
    eq(keys("minio/tree/a/"), [])
    rclone("purge", f"minio:{bucket}")
    assert bucket not in rclone("lsd", "minio:")
    rclone("lsf", f"minio:{bucket}", fails="not found")
    shutil.rmtree(place)


steps = Steps("rclone")
if not steps("make-bucket", make_bucket):
    steps.close()
steps.run([
    ("copy-minio", copy("minio")),
    ("copy-other", copy("other")),
    ("sync", sync),
    ("sums", sums),
    ("server-side", server_side),
    ("stream", stream),
    ("headers", headers),
    ("link", link),
    ("uploads", uploads),
    ("versions", versions),
    ("remove", remove),
])
