"""s3cmd: files, trees, uploads in parts, copies, headers and metadata, signed URLs, and the settings of a bucket it can name.

It compares each ETag with the MD5 it has computed and keeps file attributes as metadata of its own.
"""
import os
import shutil
import sys
import urllib.request

import nilas
from nilas import KIB, MIB, content, md5_hex
from programs import Program
from steps import Steps, eq

PART_MIB = 5

bucket = nilas.unique("s3cmd")
other = nilas.unique("s3cmd-other")
client = nilas.s3()
place = os.path.join(nilas.SCRATCH, bucket)
os.makedirs(place)
settings = os.path.join(place, "s3cfg")
with open(settings, "w") as file:
    file.write(f"""[default]
access_key = {nilas.ACCESS_KEY}
secret_key = {nilas.SECRET_KEY}
host_base = {nilas.HOST}
host_bucket = {nilas.HOST}
bucket_location = {nilas.S3_REGION}
use_https = False
signature_v2 = False
multipart_chunk_size_mb = {PART_MIB}
""")
s3cmd = Program(sys.executable, {"HOME": place}, [os.path.join(os.path.dirname(sys.executable), "s3cmd"), "-c", settings, "--no-progress"])


def path(name):
    full = os.path.join(place, name)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    return full


def write(name, body):
    with open(path(name), "wb") as file:
        file.write(body)
    return path(name)


def read(name):
    with open(path(name), "rb") as file:
        return file.read()


def url(key=""):
    return f"s3://{bucket}/{key}"


def stored(key):
    return client.get_object(Bucket=bucket, Key=key)


def keys(prefix=""):
    return [line.split("s3://", 1)[1].split("/", 1)[1] for line in s3cmd("ls", "--recursive", url(prefix)).splitlines()]


def make_bucket():
    s3cmd("mb", f"s3://{bucket}")
    s3cmd("mb", f"s3://{other}")
    assert f"s3://{bucket}" in s3cmd("ls").split()
    s3cmd("mb", "s3://Not_A_Bucket", fails="bucket")


def put_get():
    for size in (0, 1, 128 * KIB + 1, MIB + 1):
        body = content(size, seed=200)
        s3cmd("put", write("up", body), url(f"sizes/{size}"))
        eq(stored(f"sizes/{size}")["ETag"], f'"{md5_hex(body)}"', f"ETag of {size} bytes")
        s3cmd("get", "--force", url(f"sizes/{size}"), path("down"))
        assert read("down") == body, f"{size} bytes: other bytes came back"
    s3cmd("get", "--force", url("none"), path("down"), fails="does not exist")


def names():
    odd = ("names/ä ö/ü+ü.txt", "names/100%/a&b=c?d#e.txt", "names/日本/語.txt", "names/two//slashes")
    for key in odd:
        s3cmd("put", write("name", key.encode()), url(key))
        eq(stored(key)["Body"].read(), key.encode(), key)
        eq(s3cmd.bytes("get", url(key), "-"), key.encode(), key)
    eq(sorted(keys("names/")), sorted(odd), "listed")
    s3cmd("del", *map(url, odd))
    eq(keys("names/"), [], "listed")


def stream():
    body = content(12 * MIB + 3, seed=201)
    s3cmd.bytes("put", "-", url("stdin"), stdin=body)
    got = stored("stdin")
    eq(got["ETag"].strip('"').split("-")[1], "3", "parts")
    assert got["Body"].read() == body, "other bytes stored"
    assert s3cmd.bytes("get", url("stdin"), "-") == body, "other bytes came back"


def parts():
    body = content(17 * MIB, seed=202)
    s3cmd("put", write("big", body), url("big"))
    head = client.head_object(Bucket=bucket, Key="big")
    eq((head["ContentLength"], head["ETag"].strip('"').split("-")[1]), (len(body), "4"))
    s3cmd("get", "--force", url("big"), path("big-back"))
    assert read("big-back") == body, "other bytes came back"
    # The copy of a large object is made part by part.
    s3cmd("cp", url("big"), f"s3://{other}/big-copy")
    assert client.get_object(Bucket=other, Key="big-copy")["Body"].read() == body, "the copy has other bytes"
    with open(path("half"), "wb") as file:
        file.write(read("big-back")[: 6 * MIB])
    s3cmd("get", "--continue", url("big"), path("half"))
    assert read("half") == body, "a download that goes on ends with other bytes"


def uploads():
    upload = client.create_multipart_upload(Bucket=bucket, Key="open")["UploadId"]
    etag = client.upload_part(Bucket=bucket, Key="open", UploadId=upload, PartNumber=1, Body=b"part")["ETag"]
    assert upload in s3cmd("multipart", f"s3://{bucket}"), "the open upload is not listed"
    assert etag.strip('"') in s3cmd("listmp", url("open"), upload), "its part is not listed"
    s3cmd("abortmp", url("open"), upload)
    assert upload not in s3cmd("multipart", f"s3://{bucket}")


def sync():
    tree = {f"tree/{folder}/file {number}.txt": f"{folder} {number}".encode() * 50 for folder in ("a", "b/c", "ü") for number in range(4)}
    for name, body in tree.items():
        write(name, body)
    s3cmd("sync", path("tree/"), url("tree/"))
    eq(sorted(keys("tree/")), sorted(tree))
    eq(s3cmd("sync", "--dry-run", path("tree/"), url("tree/")).strip(), "", "a second sync has nothing to do")
    write("tree/a/file 0.txt", b"changed")
    os.remove(path("tree/ü/file 1.txt"))
    s3cmd("sync", "--delete-removed", path("tree/"), url("tree/"))
    eq(sorted(keys("tree/")), sorted(set(tree) - {"tree/ü/file 1.txt"}))
    s3cmd("sync", url("tree/"), path("back/"))
    eq(read("back/a/file 0.txt"), b"changed")
    s3cmd("sync", url("tree/"), f"s3://{other}/tree/")
    eq(client.list_objects_v2(Bucket=other, Prefix="tree/")["KeyCount"], len(tree) - 1, "keys in the other bucket")
    eq([line.split()[-1] for line in s3cmd("ls", url("tree/")).splitlines()], [url(f"tree/{name}/") for name in ("a", "b", "ü")])
    eq(s3cmd("du", url("tree/")).split()[1], str(len(tree) - 1), "objects counted")


def metadata():
    body = content(10 * KIB, seed=203)
    write("meta", body)
    s3cmd("put", "--mime-type", "text/x-odd", "--add-header", "x-amz-meta-who: s3cmd", "--add-header", "Cache-Control: max-age=5", path("meta"), url("meta"))
    head = client.head_object(Bucket=bucket, Key="meta")
    eq((head["Metadata"]["who"], head["CacheControl"]), ("s3cmd", "max-age=5"))
    assert f"md5:{md5_hex(body)}" in head["Metadata"]["s3cmd-attrs"], head["Metadata"]
    # Replaced by a copy onto itself.
    s3cmd("modify", "--add-header", "x-amz-meta-who: another", "--remove-header", "Cache-Control", url("meta"))
    head = client.head_object(Bucket=bucket, Key="meta")
    eq((head["Metadata"]["who"], head.get("CacheControl"), head["ETag"]), ("another", None, f'"{md5_hex(body)}"'))
    info = s3cmd("info", url("meta"))
    assert f"MD5 sum:   {md5_hex(body)}" in info and "x-amz-meta-who: another" in info, info


def copy_move():
    body = content(200 * KIB, seed=204)
    s3cmd("put", write("one", body), url("ä/one"))
    s3cmd("cp", url("ä/one"), f"s3://{other}/ä/two")
    s3cmd("mv", f"s3://{other}/ä/two", url("ä/three"))
    eq(client.list_objects_v2(Bucket=other, Prefix="ä/").get("Contents"), None, "moved away")
    assert stored("ä/three")["Body"].read() == body, "other bytes"


def sign():
    body = content(3 * KIB, seed=205)
    s3cmd("put", write("one", body), url("signed ü"))
    address = s3cmd("signurl", url("signed ü"), "+60").strip()
    with urllib.request.urlopen(address, timeout=30) as answer:
        eq(answer.read(), body)


def settings_of_buckets():
    policy = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::%s/open/*"}]}' % bucket
    s3cmd("setpolicy", write("policy.json", policy.encode()), f"s3://{bucket}")
    s3cmd("put", write("one", b"for all"), url("open/one"))
    with urllib.request.urlopen(f"{nilas.ENDPOINT}/{bucket}/open/one", timeout=30) as answer:
        eq(answer.read(), b"for all")
    info = s3cmd("info", f"s3://{bucket}")
    assert "s3:GetObject" in info and f"Location:  {nilas.S3_REGION}" in info, info
    s3cmd("delpolicy", f"s3://{bucket}")
    rule = b'<CORSConfiguration><CORSRule><AllowedOrigin>https://app.example</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>'
    s3cmd("setcors", write("cors.xml", rule), f"s3://{bucket}")
    eq(client.get_bucket_cors(Bucket=bucket)["CORSRules"][0]["AllowedOrigins"], ["https://app.example"])
    s3cmd("delcors", f"s3://{bucket}")
    s3cmd("setversioning", f"s3://{bucket}", "enable")
    eq(client.get_bucket_versioning(Bucket=bucket)["Status"], "Enabled")
    s3cmd("settagging", f"s3://{bucket}", "team=data&place=north")
    eq(s3cmd("gettagging", f"s3://{bucket}").split(), [f"s3://{bucket}/", "(bucket):", "place:", "north", "team:", "data"])
    s3cmd("deltagging", f"s3://{bucket}")
    s3cmd("settagging", url("open/one"), "kind=ü")
    eq(client.get_object_tagging(Bucket=bucket, Key="open/one")["TagSet"], [{"Key": "kind", "Value": "ü"}])


def remove():
    s3cmd("setversioning", f"s3://{bucket}", "disable")
    s3cmd("rb", f"s3://{bucket}", fails="BucketNotEmpty")
    s3cmd("del", "--recursive", "--force", f"s3://{bucket}")
    eq(keys(), [])
    for version in client.list_object_versions(Bucket=bucket).get("Versions", []) + client.list_object_versions(Bucket=bucket).get("DeleteMarkers", []):
        client.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
    s3cmd("rb", f"s3://{bucket}")
    s3cmd("rb", "--recursive", "--force", f"s3://{other}")
    shutil.rmtree(place)


steps = Steps("s3cmd")
if not steps("make-bucket", make_bucket):
    steps.close()
steps.run([
    ("put-get", put_get),
    ("names", names),
    ("stream", stream),
    ("parts", parts),
    ("uploads", uploads),
    ("sync", sync),
    ("metadata", metadata),
    ("copy-move", copy_move),
    ("signurl", sign),
    ("settings", settings_of_buckets),
    ("remove", remove),
])
