"""minio-py: every method of its `Minio` class that the server serves, by what it answers and what boto3 then sees.

MinIO's own functional tests of this client are not in its package: these steps make the same calls. The server is the suite's own,
because it needs a master key.
"""
import datetime
import hashlib
import io
import json
import os
import shutil
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import urllib3
from minio import Minio
from minio.commonconfig import COPY, ENABLED, GOVERNANCE, REPLACE, ComposeSource, CopySource, Filter, SnowballObject, Tags
from minio.datatypes import PostPolicy
from minio.deleteobjects import DeleteObject
from minio.error import S3Error
from minio.lifecycleconfig import Expiration, LifecycleConfig, NoncurrentVersionExpiration
from minio.lifecycleconfig import Rule as LifecycleRule
from minio.objectlockconfig import DAYS, ObjectLockConfig
from minio.retention import Retention
from minio.select import CSVInputSerialization, CSVOutputSerialization, SelectRequest
from minio.sse import SseCustomerKey, SseS3
from minio.sseconfig import Rule as EncryptionRule
from minio.sseconfig import SSEConfig
from minio.versioningconfig import SUSPENDED, VersioningConfig

import encrypting
import nilas
from nilas import KIB, MIB, content, md5_hex
from steps import Steps, eq
from tls_relay import Relay

bucket = nilas.unique("minio-py")
versioned = nilas.unique("minio-py-versions")
locked = nilas.unique("minio-py-locks")
boto = nilas.s3()
client = Minio(nilas.HOST, nilas.ACCESS_KEY, nilas.SECRET_KEY, secure=False, region=nilas.S3_REGION)
place = os.path.join(nilas.SCRATCH, bucket)
os.makedirs(place)
HOUR = datetime.timedelta(hours=1)


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def refused(code, run):
    """Runs `run`, which must be refused with `code`."""
    try:
        run()
    except S3Error as error:
        eq(error.code, code)
        return error
    raise AssertionError(f"not refused, want {code}")


def put(key, body, **more):
    return client.put_object(bucket, key, io.BytesIO(body), len(body), **more)


def get(key, of=bucket, **more):
    answer = client.get_object(of, key, **more)
    try:
        return answer.read()
    finally:
        answer.close()
        answer.release_conn()


def names(of=bucket, **more):
    return [one.object_name for one in client.list_objects(of, **more)]


def buckets():
    client.make_bucket(bucket)
    client.make_bucket(versioned, location=nilas.S3_REGION)
    client.make_bucket(locked, object_lock=True)
    assert client.bucket_exists(bucket) and not client.bucket_exists(nilas.unique("none"))
    found = {one.name: one.creation_date for one in client.list_buckets()}
    assert abs(now() - found[bucket]) < HOUR, found[bucket]
    # A client that was given no region asks for the bucket's.
    other = Minio(nilas.HOST, nilas.ACCESS_KEY, nilas.SECRET_KEY, secure=False)
    refused("BucketAlreadyOwnedByYou", lambda: other.make_bucket(bucket, location="eu-west-1"))
    eq(list(other.list_objects(bucket)), [])


def put_get():
    for size in (0, 1, 64 * KIB, 128 * KIB + 1, MIB + 1, 11 * MIB):
        body = content(size, seed=240)
        result = put(f"sizes/{size}", body, part_size=5 * MIB)
        got = client.stat_object(bucket, f"sizes/{size}")
        eq((got.size, got.etag), (size, result.etag))
        if size < 5 * MIB:
            eq(result.etag, md5_hex(body))
        else:
            eq(result.etag.split("-")[1], "3", "parts")
        assert get(f"sizes/{size}") == body, f"{size} bytes: other bytes came back"
    eq(get(f"sizes/{MIB + 1}", offset=MIB - 5, length=6), content(MIB + 1, seed=240)[MIB - 5:], "a range")
    eq(get(f"sizes/{64 * KIB}", offset=64 * KIB - 3), content(64 * KIB, seed=240)[-3:], "from an offset")
    refused("NoSuchKey", lambda: get("none"))
    refused("NoSuchKey", lambda: client.stat_object(bucket, "none"))
    refused("NoSuchBucket", lambda: get("none", of=nilas.unique("none")))
    refused("InvalidRange", lambda: get("sizes/1", offset=5, length=2))


def unknown_length():
    body = content(12 * MIB + 1, seed=241)
    result = client.put_object(bucket, "stream", io.BytesIO(body), -1, part_size=5 * MIB)
    eq(result.etag.split("-")[1], "3", "parts")
    assert get("stream") == body, "other bytes came back"


def files():
    body = content(300 * KIB, seed=242)
    path = os.path.join(place, "file ü.csv")
    with open(path, "wb") as file:
        file.write(body)
    client.fput_object(bucket, "files/ü +&%.csv", path, content_type="text/csv", metadata={"who": "minio"})
    back = os.path.join(place, "back")
    client.fget_object(bucket, "files/ü +&%.csv", back)
    with open(back, "rb") as file:
        assert file.read() == body, "other bytes came back"
    got = client.stat_object(bucket, "files/ü +&%.csv")
    eq((got.content_type, got.metadata["x-amz-meta-who"]), ("text/csv", "minio"))


def metadata():
    put("meta", b"x", content_type="text/plain; charset=utf-8", tags=tags_of(kind="a b", place="ü"), metadata={
        "x-amz-meta-one": "1", "Two": "b  c", "Cache-Control": "max-age=9", "Content-Language": "de", "Content-Disposition": 'attachment; filename="x"'})
    got = client.stat_object(bucket, "meta")
    for name, want in (("x-amz-meta-one", "1"), ("x-amz-meta-two", "b  c"), ("Cache-Control", "max-age=9"), ("Content-Language", "de"),
                       ("Content-Disposition", 'attachment; filename="x"'), ("x-amz-tagging-count", "2")):
        eq(got.metadata.get(name), want, name)
    eq(dict(client.get_object_tags(bucket, "meta")), {"kind": "a b", "place": "ü"})


def tags_of(**pairs):
    tags = Tags.new_object_tags()
    tags.update(pairs)
    return tags


def tagging():
    put("tagged", b"x")
    eq(client.get_object_tags(bucket, "tagged"), None)
    client.set_object_tags(bucket, "tagged", tags_of(a="1", b="ü+/"))
    eq(dict(client.get_object_tags(bucket, "tagged")), {"a": "1", "b": "ü+/"})
    client.delete_object_tags(bucket, "tagged")
    eq(client.get_object_tags(bucket, "tagged"), None)
    eq(client.get_bucket_tags(bucket), None)
    tags = Tags.new_bucket_tags()
    tags.update({"team": "data"})
    client.set_bucket_tags(bucket, tags)
    eq(dict(client.get_bucket_tags(bucket)), {"team": "data"})
    client.delete_bucket_tags(bucket)
    eq(client.get_bucket_tags(bucket), None)


def copies():
    body = content(100 * KIB, seed=243)
    put("from ü", body, metadata={"who": "first"}, tags=tags_of(a="1"))
    etag = client.stat_object(bucket, "from ü").etag
    copied = client.copy_object(bucket, "to", CopySource(bucket, "from ü"))
    eq((copied.etag, get("to") == body), (etag, True))
    eq((client.stat_object(bucket, "to").metadata["x-amz-meta-who"], dict(client.get_object_tags(bucket, "to"))), ("first", {"a": "1"}))
    client.copy_object(bucket, "to", CopySource(bucket, "from ü"), metadata={"who": "second"}, metadata_directive=REPLACE, tags=tags_of(b="2"), tagging_directive=REPLACE)
    eq((client.stat_object(bucket, "to").metadata["x-amz-meta-who"], dict(client.get_object_tags(bucket, "to"))), ("second", {"b": "2"}))
    client.copy_object(bucket, "to", CopySource(bucket, "from ü", match_etag=etag), metadata_directive=COPY)
    eq(client.stat_object(bucket, "to").metadata["x-amz-meta-who"], "first")
    for condition in ({"match_etag": "0" * 32}, {"not_match_etag": etag}, {"unmodified_since": now() - HOUR}, {"modified_since": now()}):
        code = refused("PreconditionFailed", lambda condition=condition: client.copy_object(bucket, "to", CopySource(bucket, "from ü", **condition))).code
        eq(code, "PreconditionFailed", str(condition))
    # A range makes the client copy by parts.
    client.copy_object(bucket, "piece", CopySource(bucket, "from ü", offset=10, length=1000))
    eq(get("piece"), body[10:1010])


def compose():
    pieces = [content(5 * MIB, seed=244), content(5 * MIB + 3, seed=245), b"the end"]
    for number, piece in enumerate(pieces):
        put(f"compose/{number}", piece)
    sources = [ComposeSource(bucket, f"compose/{number}") for number in range(3)]
    result = client.compose_object(bucket, "composed", sources, metadata={"made": "of 3"})
    eq(result.etag.split("-")[1], "3", "parts")
    got = client.stat_object(bucket, "composed")
    eq((got.size, got.metadata["x-amz-meta-made"]), (sum(map(len, pieces)), "of 3"))
    assert get("composed") == b"".join(pieces), "other bytes"
    half = [ComposeSource(bucket, "compose/0", offset=0, length=5 * MIB), ComposeSource(bucket, "compose/1", offset=100, length=200)]
    client.compose_object(bucket, "composed", half)
    assert get("composed") == pieces[0] + pieces[1][100:300], "other bytes of ranges"


def appending():
    put("log", b"first;")
    client.append_object(bucket, "log", io.BytesIO(b"second;"), 7)
    client.append_object(bucket, "log", io.BytesIO(b"third;"), 6)
    eq(get("log"), b"first;second;third;")
    refused("InvalidWriteOffset", lambda: client.put_object(bucket, "log", io.BytesIO(b"x"), 1, write_offset=3))
    eq(get("log"), b"first;second;third;")


def listings():
    wanted = [f"list/{folder}/{number:02}" for folder in ("a", "b ü", "c+") for number in range(12)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: put(key, key.encode()), wanted))
    eq(names(prefix="list/", recursive=True), sorted(wanted, key=str.encode))
    eq(names(prefix="list/", recursive=True, use_api_v1=True), sorted(wanted, key=str.encode))
    eq(names(prefix="list/", recursive=True, use_url_encoding_type=False), sorted(wanted, key=str.encode))
    eq(names(prefix="list/"), ["list/a/", "list/b ü/", "list/c+/"])
    eq(names(prefix="list/", use_api_v1=True), ["list/a/", "list/b ü/", "list/c+/"])
    eq(names(prefix="list/a/", start_after="list/a/05"), [f"list/a/{number:02}" for number in range(6, 12)])
    first = next(iter(client.list_objects(bucket, prefix="list/a/", fetch_owner=True)))
    eq((first.size, first.etag, first.is_dir), (9, md5_hex(b"list/a/00"), False))
    assert first.owner_id and abs(now() - first.last_modified) < HOUR, first
    assert next(iter(client.list_objects(bucket, prefix="list/"))).is_dir


def removing():
    keys = [f"remove/{number}" for number in range(1100)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: put(key, b""), keys))
    eq(list(client.remove_objects(bucket, (DeleteObject(key) for key in keys))), [], "errors")
    eq(names(prefix="remove/", recursive=True), [])
    put("gone", b"x")
    client.remove_object(bucket, "gone")
    client.remove_object(bucket, "gone")
    refused("NoSuchKey", lambda: client.stat_object(bucket, "gone"))


def versions():
    eq(client.get_bucket_versioning(versioned).status, None)
    client.set_bucket_versioning(versioned, VersioningConfig(ENABLED))
    eq(client.get_bucket_versioning(versioned).status, ENABLED)
    ids = [client.put_object(versioned, "one", io.BytesIO(body), len(body)).version_id for body in (b"first", b"second")]
    eq(len(set(ids)), 2, "ids")
    eq([get("one", of=versioned, version_id=one) for one in ids], [b"first", b"second"])
    eq(client.stat_object(versioned, "one", version_id=ids[0]).version_id, ids[0])
    client.remove_object(versioned, "one")
    refused("NoSuchKey", lambda: get("one", of=versioned))
    # The client names the versions first.
    listed = sorted(client.list_objects(versioned, include_version=True), key=lambda one: not one.is_delete_marker)
    eq([(one.is_delete_marker, one.is_latest, one.version_id in ids) for one in listed], [(True, "true", False), (False, "false", True), (False, "false", True)])
    client.remove_object(versioned, "one", version_id=listed[0].version_id)
    eq(get("one", of=versioned), b"second")
    client.copy_object(versioned, "one", CopySource(versioned, "one", version_id=ids[0]))
    eq(get("one", of=versioned), b"first")
    client.set_object_tags(versioned, "one", tags_of(old="yes"), version_id=ids[1])
    eq(dict(client.get_object_tags(versioned, "one", version_id=ids[1])), {"old": "yes"})
    eq(client.get_object_tags(versioned, "one"), None)
    client.set_bucket_versioning(versioned, VersioningConfig(SUSPENDED))
    eq(client.put_object(versioned, "one", io.BytesIO(b"null"), 4).version_id, "null")
    left = [DeleteObject(one.object_name, one.version_id) for one in client.list_objects(versioned, include_version=True)]
    eq(len(left), 4, "versions")
    eq(list(client.remove_objects(versioned, left)), [], "errors")
    eq(list(client.list_objects(versioned, include_version=True)), [])


def locks():
    eq(client.get_object_lock_config(locked).mode, None)
    client.set_object_lock_config(locked, ObjectLockConfig(GOVERNANCE, 1, DAYS))
    got = client.get_object_lock_config(locked)
    eq((got.mode, got.duration), (GOVERNANCE, 1))
    by_default = client.put_object(locked, "default", io.BytesIO(b"x"), 1).version_id
    kept = client.get_object_retention(locked, "default")
    assert kept.mode == GOVERNANCE and datetime.timedelta(hours=23) < kept.retain_until_date - now() < datetime.timedelta(hours=25), kept.retain_until_date
    client.delete_object_lock_config(locked)
    eq(client.get_object_lock_config(locked).mode, None)
    until = (now() + HOUR).replace(microsecond=0)
    version = client.put_object(locked, "one", io.BytesIO(b"x"), 1, retention=Retention(GOVERNANCE, until), legal_hold=True).version_id
    eq(client.get_object_retention(locked, "one").retain_until_date, until)
    assert client.is_object_legal_hold_enabled(locked, "one")
    refused("AccessDenied", lambda: client.remove_object(locked, "one", version_id=version))
    client.disable_object_legal_hold(locked, "one")
    assert not client.is_object_legal_hold_enabled(locked, "one")
    refused("AccessDenied", lambda: client.remove_object(locked, "one", version_id=version))
    eq([(error.code, error.name) for error in client.remove_objects(locked, [DeleteObject("one", version)])], [("AccessDenied", "one")])
    client.set_object_retention(locked, "default", Retention(GOVERNANCE, until + HOUR * 48))
    client.enable_object_legal_hold(locked, "default")
    client.disable_object_legal_hold(locked, "default")
    both = [DeleteObject("one", version), DeleteObject("default", by_default)]
    eq(list(client.remove_objects(locked, both, bypass_governance_mode=True)), [], "errors")


def encryption():
    """With keys of the server's."""
    body = content(6 * MIB, seed=247)
    put("encrypted", body[:1000], sse=SseS3())
    put("encrypted parts", body, sse=SseS3(), part_size=5 * MIB)
    for key, want in (("encrypted", body[:1000]), ("encrypted parts", body)):
        eq(client.stat_object(bucket, key).metadata.get("x-amz-server-side-encryption"), "AES256")
        assert get(key) == want, f"{key}: other bytes"
    eq(get("encrypted parts", offset=5 * MIB - 3, length=6), body[5 * MIB - 3: 5 * MIB + 3])
    client.copy_object(bucket, "encrypted copy", CopySource(bucket, "encrypted parts"), sse=SseS3())
    assert get("encrypted copy") == body, "the copy has other bytes"
    client.compose_object(bucket, "composed encrypted", [ComposeSource(bucket, "encrypted parts"), ComposeSource(bucket, "encrypted")], sse=SseS3())
    assert get("composed encrypted") == body + body[:1000], "other bytes"
    client.set_bucket_encryption(bucket, SSEConfig(EncryptionRule.new_sse_s3_rule()))
    eq(client.get_bucket_encryption(bucket).rule.sse_algorithm, "AES256")
    put("by default", b"x")
    eq(client.stat_object(bucket, "by default").metadata.get("x-amz-server-side-encryption"), "AES256")
    client.delete_bucket_encryption(bucket)


def customers_keys():
    """The client sends them by TLS alone."""
    relay = Relay(place)
    by_tls = Minio(relay.address, nilas.ACCESS_KEY, nilas.SECRET_KEY, region=nilas.S3_REGION, http_client=urllib3.PoolManager(ca_certs=relay.certificate))
    key, other, body = SseCustomerKey(b"k" * 32), SseCustomerKey(b"o" * 32), content(6 * MIB, seed=248)
    by_tls.put_object(bucket, "customer", io.BytesIO(body), len(body), sse=key, part_size=5 * MIB)
    eq(by_tls.stat_object(bucket, "customer", ssec=key).metadata.get("x-amz-server-side-encryption-customer-algorithm"), "AES256")
    assert by_tls.get_object(bucket, "customer", ssec=key).read() == body, "other bytes came back"
    eq(by_tls.get_object(bucket, "customer", ssec=key, offset=5 * MIB - 3, length=6).read(), body[5 * MIB - 3: 5 * MIB + 3])
    refused("AccessDenied", lambda: by_tls.get_object(bucket, "customer", ssec=other))
    refused("InvalidRequest", lambda: by_tls.get_object(bucket, "customer"))
    by_tls.copy_object(bucket, "customer copy", CopySource(bucket, "customer", ssec=key), sse=other)
    assert by_tls.get_object(bucket, "customer copy", ssec=other).read() == body, "the copy has other bytes"
    by_tls.copy_object(bucket, "customer plain", CopySource(bucket, "customer", ssec=key))
    assert get("customer plain") == body, "the plain copy has other bytes"


def lifecycle():
    eq(client.get_bucket_lifecycle(bucket), None)
    client.set_bucket_lifecycle(bucket, LifecycleConfig([
        LifecycleRule(ENABLED, rule_filter=Filter(prefix="old/"), rule_id="one", expiration=Expiration(days=30)),
        LifecycleRule(ENABLED, rule_filter=Filter(prefix="versions/"), rule_id="two", noncurrent_version_expiration=NoncurrentVersionExpiration(noncurrent_days=7)),
    ]))
    one, two = client.get_bucket_lifecycle(bucket).rules
    eq((one.rule_id, one.rule_filter.prefix, one.expiration.days), ("one", "old/", 30))
    eq((two.rule_id, two.noncurrent_version_expiration.noncurrent_days), ("two", 7))
    put("old/one", b"x")
    expires = client.stat_object(bucket, "old/one").metadata.get("x-amz-expiration", "")
    assert 'rule-id="one"' in expires, f"x-amz-expiration: {expires}"
    client.delete_bucket_lifecycle(bucket)
    eq(client.get_bucket_lifecycle(bucket), None)


def snowball():
    """Many objects in one archive, which the server takes apart."""
    path = os.path.join(place, "of a file")
    with open(path, "wb") as file:
        file.write(b"by name")
    client.upload_snowball_objects(bucket, [
        *(SnowballObject(f"snow/{number} ü", data=io.BytesIO(b"%d" % number), length=len(str(number))) for number in range(50)),
        SnowballObject("snow/by name", filename=path),
    ])
    eq(len(names(prefix="snow/", recursive=True)), 51, "objects")
    eq((get("snow/7 ü"), get("snow/by name")), (b"7", b"by name"))


def presigned():
    body = content(20 * KIB, seed=246)
    key = "presigned ü+/&.txt"
    request = urllib.request.Request(client.presigned_put_object(bucket, key, HOUR), data=body, method="PUT")
    with urllib.request.urlopen(request, timeout=30) as answer:
        eq(answer.headers["ETag"], f'"{md5_hex(body)}"')
    address = client.presigned_get_object(bucket, key, HOUR, response_headers={"response-content-type": "text/odd"})
    with urllib.request.urlopen(address, timeout=30) as answer:
        eq((answer.read() == body, answer.headers["Content-Type"]), (True, "text/odd"))
    request = urllib.request.Request(client.get_presigned_url("DELETE", bucket, key, HOUR), method="DELETE")
    with urllib.request.urlopen(request, timeout=30) as answer:
        eq(answer.status, 204)
    refused("NoSuchKey", lambda: client.stat_object(bucket, key))


def form():
    policy = PostPolicy(bucket, now() + HOUR)
    policy.add_starts_with_condition("key", "forms/")
    policy.add_content_length_range_condition(1, 10 * KIB)
    fields = {**client.presigned_post_policy(policy), "key": "forms/${filename}"}
    eq(post(fields, "ü.txt", b"from a form"), 204)
    eq(get("forms/ü.txt"), b"from a form")
    eq(post(fields, "large", bytes(11 * KIB)), 400)
    eq(post({**fields, "key": "elsewhere"}, "x", b"x"), 403)


def post(fields, name, body):
    edge = "edge" + hashlib.sha256(body).hexdigest()
    sent = b"".join(f'--{edge}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode() for key, value in fields.items())
    sent += f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode() + body + f"\r\n--{edge}--\r\n".encode()
    request = urllib.request.Request(f"{nilas.ENDPOINT}/{bucket}", data=sent, headers={"Content-Type": f"multipart/form-data; boundary={edge}"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def policies():
    refused("NoSuchBucketPolicy", lambda: client.get_bucket_policy(bucket))
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": ["s3:GetObject"], "Resource": [f"arn:aws:s3:::{bucket}/open/*"]}]}
    client.set_bucket_policy(bucket, json.dumps(policy))
    eq(json.loads(client.get_bucket_policy(bucket))["Statement"][0]["Effect"], "Allow")
    put("open/one", b"for all")
    eq(get_without_keys("open/one"), b"for all")
    client.delete_bucket_policy(bucket)
    refused("NoSuchBucketPolicy", lambda: client.get_bucket_policy(bucket))


def get_without_keys(key):
    answer = Minio(nilas.HOST, secure=False, region=nilas.S3_REGION).get_object(bucket, key)
    try:
        return answer.read()
    finally:
        answer.close()
        answer.release_conn()


def not_served():
    """What the server does not have is refused by name."""
    request = SelectRequest("select * from s3object", CSVInputSerialization(), CSVOutputSerialization())
    refused("NotImplemented", lambda: client.select_object_content(bucket, "meta", request))
    eq(client.get_bucket_replication(bucket), None)
    events = client.get_bucket_notification(bucket)
    eq([*events.queue_config_list, *events.topic_config_list, *events.cloud_func_config_list], [])


def threads():
    """Many threads on one key and on their own: each read is one whole write."""
    bodies = [content(200 * KIB, seed=300 + number) for number in range(4)]
    sums = {md5_hex(body) for body in bodies}
    put("shared", bodies[0])
    wrong = []

    def work(number):
        for _ in range(5):
            put("shared", bodies[number % 4])
            put(f"own/{number}", bodies[number % 4])
            if md5_hex(get("shared")) not in sums or get(f"own/{number}") != bodies[number % 4]:
                wrong.append(number)

    all_of_them = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for one in all_of_them:
        one.start()
    for one in all_of_them:
        one.join()
    eq(wrong, [], "threads that read something else")


def wrong_keys():
    wrong = Minio(nilas.HOST, nilas.ACCESS_KEY, "wrong" + nilas.SECRET_KEY, secure=False, region=nilas.S3_REGION)
    refused("SignatureDoesNotMatch", lambda: list(wrong.list_objects(bucket)))
    nobody = Minio(nilas.HOST, "NOBODYATALL", "secret", secure=False, region=nilas.S3_REGION)
    refused("InvalidAccessKeyId", lambda: list(nobody.list_objects(bucket)))


def remove():
    refused("BucketNotEmpty", lambda: client.remove_bucket(bucket))
    for name in (bucket, versioned, locked):
        left = [DeleteObject(one.object_name, one.version_id) for one in client.list_objects(name, recursive=True, include_version=True)]
        eq(list(client.remove_objects(name, left, bypass_governance_mode=name == locked)), [], "errors")
        client.remove_bucket(name)
        assert not client.bucket_exists(name)
    refused("NoSuchBucket", lambda: client.remove_bucket(bucket))
    shutil.rmtree(place)


steps = Steps("minio-py")
if not steps("buckets", buckets):
    encrypting.close(steps)
for title, function in [
    ("put-get", put_get),
    ("unknown-length", unknown_length),
    ("files", files),
    ("metadata", metadata),
    ("tags", tagging),
    ("copy", copies),
    ("compose", compose),
    ("append", appending),
    ("list", listings),
    ("remove-objects", removing),
    ("versions", versions),
    ("locks", locks),
    ("encryption", encryption),
    ("customers-keys", customers_keys),
    ("lifecycle", lifecycle),
    ("snowball", snowball),
    ("presigned", presigned),
    ("form", form),
    ("policies", policies),
    ("not-served", not_served),
    ("threads", threads),
    ("wrong-keys", wrong_keys),
    ("remove", remove),
]:
    steps(title, function)
encrypting.close(steps)
