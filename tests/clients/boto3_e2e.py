"""boto3 against the S3 API: sizes at every edge, multipart, copies, ranges, conditions, checksums, listings, refusals.

Every body that comes back is compared byte for byte, and every ETag with the MD5 it stands for. The suite also runs with older
lines of boto3; a step that needs a parameter which such a line does not know is shown and left out.
Environment: LISTED_KEYS, keys of the bucket that is listed; more than 1,400.
"""
import base64
import concurrent.futures
import datetime
import hashlib
import http.client as http_client
import io
import math
import os
import random
import time
import urllib.error
import urllib.parse
import urllib.request

import boto3
from awscrt import checksums as crt
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.handlers import validate_bucket_name

import chunked
import nilas
from nilas import KIB, MIB, SIZES, content, md5_hex, refused
from steps import Steps, eq

LISTED_KEYS = int(os.environ.get("LISTED_KEYS", "5000"))
BIG_BYTES = 200 * MIB
PART_BYTES = 8 * MIB
STALL_SECONDS = 10  # what waits this long waits for an answer that does not come

# Steps that need a parameter of an operation which older lines of boto3 do not have.
NEEDS = {
    "conditional-put": ("PutObject", "IfNoneMatch"),
    "conditional-put-race": ("PutObject", "IfNoneMatch"),
    "checksum-CRC64NVME": ("PutObject", "ChecksumCRC64NVME"),
    **{f"checksum-{name}": ("PutObject", f"Checksum{name}") for name in ("SHA512", "MD5", "XXHASH64", "XXHASH3", "XXHASH128")},
    "multipart-checksums": ("CreateMultipartUpload", "ChecksumType"),
    "multipart-again": ("CompleteMultipartUpload", "IfNoneMatch"),
    "multipart-lists": ("CompleteMultipartUpload", "MpuObjectSize"),
    "multipart-conditional": ("CompleteMultipartUpload", "IfNoneMatch"),
}

client = nilas.s3()
bucket = nilas.unique("boto3")
listed = nilas.unique("boto3-list")
unused = nilas.unique("boto3-none")

ALGORITHMS = {
    "CRC32": lambda body: crt.crc32(body).to_bytes(4, "big"),
    "CRC32C": lambda body: crt.crc32c(body).to_bytes(4, "big"),
    "CRC64NVME": lambda body: crt.crc64nvme(body).to_bytes(8, "big"),
    "SHA1": lambda body: hashlib.sha1(body).digest(),
    "SHA256": lambda body: hashlib.sha256(body).digest(),
    "SHA512": lambda body: hashlib.sha512(body).digest(),
    "MD5": lambda body: hashlib.md5(body).digest(),
    "XXHASH64": lambda body: crt.XXHash.compute_xxhash64(body),
    "XXHASH3": lambda body: crt.XXHash.compute_xxhash3_64(body),
    "XXHASH128": lambda body: crt.XXHash.compute_xxhash3_128(body),
}


def checksum(algorithm, body):
    return base64.b64encode(ALGORITHMS[algorithm](body)).decode()


def asked(algorithm, body):
    """Arguments of an upload with that checksum: MD5, which boto3 knows and does not compute, is given."""
    given = {"ChecksumMD5": checksum(algorithm, body)} if algorithm == "MD5" else {}
    return {"ChecksumAlgorithm": algorithm, **given}


def knows(operation, parameter):
    return parameter in client.meta.service_model.operation_model(operation).input_shape.members


def put(key, body, **arguments):
    return client.put_object(Bucket=bucket, Key=key, Body=body, **arguments)


def get(key, **arguments):
    return client.get_object(Bucket=bucket, Key=key, **arguments)


def body_of(key, **arguments):
    return get(key, **arguments)["Body"].read()


def absent(key):
    error = refused(lambda: client.head_object(Bucket=bucket, Key=key), "404")
    eq(error.response["ResponseMetadata"]["HTTPStatusCode"], 404, "status of a missing key")


def status_of(error):
    return error.response["ResponseMetadata"]["HTTPStatusCode"]


# ---- buckets ----------------------------------------------------------------------------------------------------------


def create_buckets():
    client.create_bucket(Bucket=bucket)
    client.create_bucket(Bucket=listed)


def buckets():
    client.head_bucket(Bucket=bucket)
    names = [entry["Name"] for entry in client.list_buckets()["Buckets"]]
    assert bucket in names and names == sorted(names), names
    location = client.get_bucket_location(Bucket=bucket)
    assert "LocationConstraint" in location, location
    refused(lambda: client.head_bucket(Bucket=nilas.unique("none")), "404")
    refused(lambda: client.delete_bucket(Bucket=nilas.unique("none")), "NoSuchBucket")
    refused(lambda: client.put_object(Bucket=nilas.unique("none"), Key="k", Body=b""), "NoSuchBucket")
    refused(lambda: client.get_object(Bucket=nilas.unique("none"), Key="k"), "NoSuchBucket")
    refused(lambda: client.list_objects_v2(Bucket=nilas.unique("none")), "NoSuchBucket")


def bucket_again():
    try:
        client.create_bucket(Bucket=bucket)  # us-east-1 answers an owner with 200
    except ClientError as error:
        eq(error.response["Error"]["Code"], "BucketAlreadyOwnedByYou")
        eq(status_of(error), 409)
    client.head_bucket(Bucket=bucket)


def bucket_names():
    free = nilas.s3()
    free.meta.events.unregister("before-parameter-build.s3", validate_bucket_name)
    before = {entry["Name"] for entry in client.list_buckets()["Buckets"]}
    for name in ("ab", "a" * 64, "Upper-case", "under_score", "192.168.0.1", "-lead", "trail-", "two..dots"):
        refused(lambda name=name: free.create_bucket(Bucket=name), "InvalidBucketName")
    eq({entry["Name"] for entry in client.list_buckets()["Buckets"]} - before, set(), "buckets made by refused calls")
    for name in (nilas.unique("with.dots"), nilas.unique("0digit")):
        client.create_bucket(Bucket=name)
        client.delete_bucket(Bucket=name)


def bucket_delete():
    name = nilas.unique("full")
    client.create_bucket(Bucket=name)
    client.put_object(Bucket=name, Key="k", Body=b"v")
    eq(status_of(refused(lambda: client.delete_bucket(Bucket=name), "BucketNotEmpty")), 409)
    client.delete_object(Bucket=name, Key="k")
    client.delete_bucket(Bucket=name)
    refused(lambda: client.head_bucket(Bucket=name), "404")
    assert name not in [entry["Name"] for entry in client.list_buckets()["Buckets"]]


def preparation_calls():
    """What load generators ask before they start."""
    assert client.get_bucket_versioning(Bucket=bucket).get("Status") is None
    refused(lambda: client.get_object_lock_configuration(Bucket=bucket), "ObjectLockConfigurationNotFoundError")


# ---- objects ----------------------------------------------------------------------------------------------------------


def size_step(name, size):
    def run():
        key, body = f"sizes/{name}", content(size)
        tag = put(key, body)["ETag"]
        eq(tag, f'"{md5_hex(body)}"', "ETag of the upload")
        head = client.head_object(Bucket=bucket, Key=key)
        eq((head["ContentLength"], head["ETag"]), (size, tag), "head")
        got = get(key)
        eq((got["ContentLength"], got["ETag"], got["AcceptRanges"]), (size, tag, "bytes"), "get")
        assert got["Body"].read() == body, "other bytes came back"
        age = (datetime.datetime.now(datetime.timezone.utc) - got["LastModified"]).total_seconds()
        assert -5 < age < 120, f"modified {age} s ago"

    return run


def empty_files():
    """File-like bodies of no bytes, then one with some, on one connection: before each the client waits for `100 Continue`.
    It takes an answer that comes in its place for that of the next request, and then waits for one that never comes."""
    one = nilas.s3(connections=1, read_timeout=STALL_SECONDS)

    def full():
        eq(one.put_object(Bucket=bucket, Key="full", Body=io.BytesIO(b"full"))["ETag"], f'"{md5_hex(b"full")}"')
        eq(one.get_object(Bucket=bucket, Key="full")["Body"].read(), b"full")

    for number in range(3):
        eq(one.put_object(Bucket=bucket, Key=f"empty-{number}", Body=io.BytesIO(b""))["ETag"], f'"{md5_hex(b"")}"')
    full()
    for _ in range(2):
        refused(lambda: one.put_object(Bucket=unused, Key="k", Body=io.BytesIO(b"")), "NoSuchBucket")
    full()
    upload = one.create_multipart_upload(Bucket=bucket, Key="empty-part")["UploadId"]
    part = {"Bucket": bucket, "Key": "empty-part", "UploadId": upload, "PartNumber": 1}
    tags = [one.upload_part(**part, Body=io.BytesIO(b""))["ETag"] for _ in range(3)]
    full()
    refused(lambda: one.upload_part(**{**part, "UploadId": "none"}, Body=io.BytesIO(b"")), "NoSuchUpload")
    full()
    parts = [{"PartNumber": 1, "ETag": tags[-1]}]
    one.complete_multipart_upload(Bucket=bucket, Key="empty-part", UploadId=upload, MultipartUpload={"Parts": parts})
    for key in ("empty-0", "empty-2", "empty-part"):
        eq(one.get_object(Bucket=bucket, Key=key)["Body"].read(), b"")


def overwrite_delete():
    for size in (10, 300 * KIB, 5, 2 * MIB, 0):
        put("over", content(size, seed=size))
        eq(body_of("over"), content(size, seed=size), "body after overwrite")
    eq(client.delete_object(Bucket=bucket, Key="over")["ResponseMetadata"]["HTTPStatusCode"], 204)
    absent("over")
    eq(status_of(refused(lambda: get("over"), "NoSuchKey")), 404)
    eq(client.delete_object(Bucket=bucket, Key="over")["ResponseMetadata"]["HTTPStatusCode"], 204)


def odd_keys():
    for key in ("a b", "a+b", "a%20b", "a&b<c>\"d'", "ünï/cödé/日本", "//double//slash", "trailing/", "q?x=y#z", ".", "..", "a/../b", "~-_.!*'()", "😀"):
        if key in (".", ".."):
            continue  # HTTP clients resolve these before they send
        body = key.encode()
        put(key, body)
        eq(body_of(key), body, f"body of {key!r}")
        eq([entry["Key"] for entry in client.list_objects_v2(Bucket=bucket, Prefix=key)["Contents"]][0], key, "listed key")
        client.delete_object(Bucket=bucket, Key=key)
        absent(key)


def key_length():
    key = "k" * 1024
    put(key, b"long")
    eq(body_of(key), b"long")
    client.delete_object(Bucket=bucket, Key=key)
    eq(status_of(refused(lambda: put("k" * 1025, b"x"), "KeyTooLongError")), 400)
    refused(lambda: put("ü" * 513, b"x"), "KeyTooLongError")


def metadata():
    sent = {
        "ContentType": "text/x-test; charset=utf-8",
        "CacheControl": "max-age=60",
        "ContentDisposition": 'attachment; filename="a b.txt"',
        "ContentEncoding": "gzip",
        "ContentLanguage": "de",
        "Metadata": {"one": "1", "mixed-case": "Value With  Spaces", "empty": ""},
    }
    put("meta", b"x", Expires=datetime.datetime(2030, 1, 1), **sent)
    for answer in (client.head_object(Bucket=bucket, Key="meta"), get("meta")):
        for name, value in sent.items():
            eq(answer[name], value, name)
        eq(answer["ResponseMetadata"]["HTTPHeaders"]["expires"], "Tue, 01 Jan 2030 00:00:00 GMT")
    put("plain", b"x")
    eq(client.head_object(Bucket=bucket, Key="plain")["ContentType"], "binary/octet-stream")
    overridden = get("meta", ResponseContentType="text/plain", ResponseContentDisposition="inline")
    eq((overridden["ContentType"], overridden["ContentDisposition"]), ("text/plain", "inline"))
    refused(lambda: put("meta-large", b"x", Metadata={"big": "v" * 3000}), "MetadataTooLarge")
    absent("meta-large")


def ranges():
    size = 3 * MIB + 17
    body = content(size, seed=7)
    put("ranges", body)
    edges = [0, 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 128 * KIB, MIB - 1, MIB, MIB + 1, size - 1]
    cases = [(f"bytes={low}-{high}", low, high + 1) for low in edges for high in edges if low <= high]
    cases += [("bytes=-1", size - 1, size), ("bytes=-65537", size - 65537, size), (f"bytes=-{size + 5}", 0, size)]
    cases += [("bytes=0-", 0, size), (f"bytes={size - 1}-", size - 1, size), (f"bytes=10-{size * 2}", 10, size)]
    chance = random.Random(1)
    for _ in range(40):
        low = chance.randrange(size)
        cases.append((f"bytes={low}-{low + chance.randrange(200 * KIB)}", low, None))
    for text, low, end in cases:
        end = min(size, int(text.split("-")[1]) + 1) if end is None else end
        got = get("ranges", Range=text)
        eq(got["ResponseMetadata"]["HTTPStatusCode"], 206, text)
        eq((got["ContentRange"], got["ContentLength"]), (f"bytes {low}-{end - 1}/{size}", end - low), text)
        assert got["Body"].read() == body[low:end], f"{text}: other bytes"
    for text in ("bytes=5-2", "lines=1-2", "bytes=a-b"):
        got = get("ranges", Range=text)
        eq((got["ResponseMetadata"]["HTTPStatusCode"], len(got["Body"].read())), (200, size), text)
    for text in (f"bytes={size}-", f"bytes={size + 10}-{size + 20}", "bytes=-0"):
        eq(status_of(refused(lambda text=text: get("ranges", Range=text), "InvalidRange")), 416, text)
    put("empty", b"")
    refused(lambda: get("empty", Range="bytes=0-0"), "InvalidRange")
    head = client.head_object(Bucket=bucket, Key="ranges", Range="bytes=0-9")
    eq((head["ResponseMetadata"]["HTTPStatusCode"], head["ContentLength"]), (206, 10), "head of a range")


def ranges_large():
    body = content(SIZES["64MiB"])
    chance = random.Random(2)
    for _ in range(20):
        low = chance.randrange(len(body))
        high = min(len(body) - 1, low + chance.randrange(4 * MIB))
        assert body_of("sizes/64MiB", Range=f"bytes={low}-{high}") == body[low:high + 1], f"bytes={low}-{high}: other bytes"


def conditional_get():
    tag = put("cond", b"v1")["ETag"]
    modified = client.head_object(Bucket=bucket, Key="cond")["LastModified"]
    earlier, later = modified - datetime.timedelta(hours=1), modified + datetime.timedelta(seconds=1)
    for read in (lambda **a: get("cond", **a), lambda **a: client.head_object(Bucket=bucket, Key="cond", **a)):
        read(IfMatch=tag)
        read(IfMatch="*")
        eq(status_of(refused(lambda: read(IfMatch='"0123"'), "PreconditionFailed", "412")), 412)
        eq(status_of(refused(lambda: read(IfNoneMatch=tag), "304", "NotModified")), 304)
        read(IfNoneMatch='"0123"')
        read(IfModifiedSince=earlier)
        eq(status_of(refused(lambda: read(IfModifiedSince=later - datetime.timedelta(seconds=1)), "304", "NotModified")), 304)
        read(IfUnmodifiedSince=later)
        eq(status_of(refused(lambda: read(IfUnmodifiedSince=earlier), "PreconditionFailed", "412")), 412)
        read(IfMatch=tag, IfUnmodifiedSince=earlier)  # If-Match wins over the date
        eq(status_of(refused(lambda: read(IfNoneMatch=tag, IfModifiedSince=earlier), "304", "NotModified")), 304)
    eq(body_of("cond", IfMatch=tag, Range="bytes=0-0"), b"v")


def conditional_put():
    key = nilas.unique("once")
    tag = put(key, b"first", IfNoneMatch="*")["ETag"]
    eq(status_of(refused(lambda: put(key, b"second", IfNoneMatch="*"), "PreconditionFailed")), 412)
    eq(body_of(key), b"first")
    refused(lambda: put(key, b"third", IfMatch='"0123456789abcdef0123456789abcdef"'), "PreconditionFailed")
    eq(body_of(key), b"first")
    put(key, b"fourth", IfMatch=tag)
    eq(body_of(key), b"fourth")
    eq(status_of(refused(lambda: put(nilas.unique("never"), b"x", IfMatch=tag), "NoSuchKey")), 404)
    large = nilas.unique("once-large")
    put(large, content(MIB), IfNoneMatch="*")
    refused(lambda: put(large, content(MIB, seed=1), IfNoneMatch="*"), "PreconditionFailed")
    eq(body_of(large), content(MIB))


def conditional_race():
    for turn, size in enumerate((100, 300 * KIB)):
        key = nilas.unique("race")

        def attempt(number):
            try:
                put(key, content(size, seed=number), IfNoneMatch="*")
                return number
            except ClientError as error:
                code = error.response["Error"]["Code"]
                assert code in ("PreconditionFailed", "ConditionalRequestConflict"), code
                return None

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            winners = [number for number in pool.map(attempt, range(8)) if number is not None]
        eq(len(winners), 1, f"winners of race {turn}")
        eq(body_of(key), content(size, seed=winners[0]), "body of the winner")


# ---- checksums --------------------------------------------------------------------------------------------------------


def checksum_step(algorithm):
    def run():
        field = f"Checksum{algorithm}"
        for size in (0, 1, 4 * KIB, 128 * KIB + 1, MIB + 1):
            body = content(size, seed=3)
            want = checksum(algorithm, body)
            key = f"checksums/{algorithm}-{size}"
            eq(put(key, body, **asked(algorithm, body))[field], want, f"{field} of the upload, {size} bytes")
            head = client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
            eq((head[field], head.get("ChecksumType", "FULL_OBJECT")), (want, "FULL_OBJECT"), f"{field} of head")
            got = get(key, ChecksumMode="ENABLED")
            eq(got[field], want, f"{field} of get")
            assert got["Body"].read() == body
            assert field not in client.head_object(Bucket=bucket, Key=key), "checksum without asking for it"
        put(f"checksums/{algorithm}-given", b"abc", **{field: checksum(algorithm, b"abc")})
        wrong = checksum(algorithm, b"abd")
        for size in (3, 200 * KIB):
            key = nilas.unique("bad")
            error = refused(lambda: put(key, b"abc" * (size // 3), **{field: wrong}), "BadDigest")
            eq(status_of(error), 400)
            absent(key)
        refused(lambda: put("bad", b"abc", **{field: "no base64"}), "InvalidRequest", "InvalidDigest")

    return run


def content_md5():
    body = content(200 * KIB, seed=4)
    good = base64.b64encode(hashlib.md5(body).digest()).decode()
    put("md5", body, ContentMD5=good)
    eq(body_of("md5"), body)
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    eq(status_of(refused(lambda: put("md5", b"changed", ContentMD5=wrong), "BadDigest")), 400)
    refused(lambda: put("md5", b"changed", ContentMD5="short"), "InvalidDigest")
    eq(body_of("md5"), body, "body after refused uploads")


def chunk_encodings():
    for encoding in (chunked.SIGNED, chunked.SIGNED_TRAILER, chunked.UNSIGNED_TRAILER):
        for size in (0, 1, 64 * KIB, 128 * KIB + 1, MIB + 1):
            key, body = f"chunked/{encoding}-{size}", content(size, seed=5)
            status, code, headers = chunked.put(bucket, key, body, encoding)
            eq((status, code), (200, ""), f"{encoding}, {size} bytes")
            got = get(key, ChecksumMode="ENABLED")
            assert got["Body"].read() == body, f"{encoding}, {size} bytes: other bytes stored"
            eq(got["ETag"], f'"{md5_hex(body)}"')
            assert "aws-chunked" not in got.get("ContentEncoding", ""), "framing kept as content encoding"
            if encoding != chunked.SIGNED:
                eq(got["ChecksumCRC32"], checksum("CRC32", body))


def chunk_framing_refused():
    cases = [
        (chunked.SIGNED, "chunk-signature", {"SignatureDoesNotMatch"}),
        (chunked.SIGNED_TRAILER, "chunk-signature", {"SignatureDoesNotMatch"}),
        (chunked.SIGNED_TRAILER, "trailer-signature", {"SignatureDoesNotMatch"}),
        (chunked.SIGNED_TRAILER, "checksum", {"BadDigest"}),
        (chunked.UNSIGNED_TRAILER, "checksum", {"BadDigest"}),
        (chunked.UNSIGNED_TRAILER, "no-trailer", {"InvalidRequest", "MalformedTrailerError", "IncompleteBody"}),
        (chunked.UNSIGNED_TRAILER, "size-line", {"InvalidRequest", "IncompleteBody", "InvalidChunkSizeError"}),
        (chunked.SIGNED, "size-line", {"InvalidRequest", "IncompleteBody", "InvalidChunkSizeError"}),
        (chunked.UNSIGNED_TRAILER, "length", {"IncompleteBody", "InvalidRequest"}),
        (chunked.UNSIGNED_TRAILER, "no-final-chunk", {"IncompleteBody", "InvalidRequest"}),
        (chunked.SIGNED, "cut", {"IncompleteBody", "RequestTimeout", "connection closed"}),
    ]
    put("framed", b"before")
    for encoding, breaks, codes in cases:
        status, code, _ = chunked.put(bucket, "framed", content(200 * KIB), encoding, breaks)
        assert code in codes, f"{encoding} with wrong {breaks}: {status} {code!r}, want one of {sorted(codes)}"
        assert status in (0, 400, 403), f"{encoding} with wrong {breaks}: status {status}"
        eq(body_of("framed"), b"before", f"body after {breaks}")


# ---- multipart --------------------------------------------------------------------------------------------------------


def transfer_200_mib():
    body = content(BIG_BYTES, seed=6)
    config = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=4)
    client.upload_fileobj(io.BytesIO(body), bucket, "big", Config=config)
    head = client.head_object(Bucket=bucket, Key="big")
    parts = [body[at: at + PART_BYTES] for at in range(0, len(body), PART_BYTES)]
    eq((head["ContentLength"], head["ETag"]), (BIG_BYTES, multipart_tag(parts)))
    back = io.BytesIO()
    client.download_fileobj(bucket, "big", back, Config=config)
    assert back.getbuffer() == body, "other bytes came back"
    middle = 17 * PART_BYTES
    assert body_of("big", Range=f"bytes={middle - 5}-{middle + 4}") == body[middle - 5: middle + 5], "range over two parts"


def multipart_tag(parts):
    digests = b"".join(hashlib.md5(part).digest() for part in parts)
    return f'"{md5_hex(digests)}-{len(parts)}"'


def upload_parts(key, parts, algorithm=None, **create):
    upload = client.create_multipart_upload(Bucket=bucket, Key=key, **create)["UploadId"]
    done = []
    for number, part in reversed(list(enumerate(parts, 1))):
        arguments = asked(algorithm, part) if algorithm else {}
        answer = client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=part, **arguments)
        eq(answer["ETag"], f'"{md5_hex(part)}"', f"ETag of part {number}")
        entry = {"PartNumber": number, "ETag": answer["ETag"]}
        if algorithm:
            eq(answer[f"Checksum{algorithm}"], checksum(algorithm, part), f"checksum of part {number}")
            entry[f"Checksum{algorithm}"] = answer[f"Checksum{algorithm}"]
        done.insert(0, entry)
    return upload, done


def complete(key, upload, parts, **arguments):
    return client.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}, **arguments)


THREE_PARTS = [5 * MIB, 6 * MIB + 1, MIB + 3]


def multipart_by_hand():
    parts = [content(size, seed=10 + number) for number, size in enumerate(THREE_PARTS)]
    upload, done = upload_parts("hand", parts, Metadata={"k": "v"}, ContentType="text/plain")
    answer = client.list_parts(Bucket=bucket, Key="hand", UploadId=upload)
    eq([(p["PartNumber"], p["Size"], p["ETag"]) for p in answer["Parts"]],
       [(n, len(p), f'"{md5_hex(p)}"') for n, p in enumerate(parts, 1)], "list of parts")
    page = client.list_parts(Bucket=bucket, Key="hand", UploadId=upload, MaxParts=1, PartNumberMarker=1)
    eq(([p["PartNumber"] for p in page["Parts"]], page["IsTruncated"]), ([2], True), "page of parts")
    assert upload in [u["UploadId"] for u in client.list_multipart_uploads(Bucket=bucket)["Uploads"]]
    absent("hand")
    again = client.upload_part(Bucket=bucket, Key="hand", UploadId=upload, PartNumber=2, Body=parts[1])
    eq(again["ETag"], done[1]["ETag"])
    eq(complete("hand", upload, done)["ETag"], multipart_tag(parts))
    got = get("hand")
    assert got["Body"].read() == b"".join(parts), "other bytes came back"
    eq((got["ETag"], got["Metadata"], got["ContentType"]), (multipart_tag(parts), {"k": "v"}, "text/plain"))
    assert upload not in [u["UploadId"] for u in client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]
    second = get("hand", PartNumber=2)
    eq((second["PartsCount"], second["ContentLength"]), (3, len(parts[1])), "part 2")
    assert second["Body"].read() == parts[1], "other bytes in part 2"


def multipart_checksums():
    parts = [content(size, seed=20 + number) for number, size in enumerate(THREE_PARTS)]
    whole = b"".join(parts)
    kinds = [(name, "COMPOSITE") for name in ALGORITHMS if name != "CRC64NVME" and knows("PutObject", f"Checksum{name}")]
    kinds += [(name, "FULL_OBJECT") for name in ("CRC32", "CRC32C", "CRC64NVME")]
    for algorithm, kind in kinds:
        key, field = f"mpu-{algorithm}-{kind}", f"Checksum{algorithm}"
        upload, done = upload_parts(key, parts, algorithm, ChecksumAlgorithm=algorithm, ChecksumType=kind)
        if kind == "COMPOSITE":
            digest = ALGORITHMS[algorithm](b"".join(ALGORITHMS[algorithm](part) for part in parts))
            want, more = base64.b64encode(digest).decode() + "-3", {}
        else:
            want = checksum(algorithm, whole)
            wrong = {field: checksum(algorithm, b"other"), "ChecksumType": kind}
            refused(lambda: complete(key, upload, done, **wrong), "BadDigest", "InvalidRequest")
            absent(key)
            more = {field: want, "ChecksumType": kind}
        eq(complete(key, upload, done, **more)[field], want, f"{algorithm} {kind} of complete")
        head = client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        eq((head[field], head["ChecksumType"]), (want, kind), f"{algorithm} {kind} of head")
    upload, done = upload_parts("mpu-wrong", parts[:1], "CRC32", ChecksumAlgorithm="CRC32")
    wrong = checksum("CRC32", b"other")
    refused(lambda: client.upload_part(Bucket=bucket, Key="mpu-wrong", UploadId=upload, PartNumber=2, Body=b"x", ChecksumCRC32=wrong), "BadDigest")
    refused(lambda: complete("mpu-wrong", upload, [{**done[0], "ChecksumCRC32": wrong}]), "InvalidPart", "BadDigest")
    client.abort_multipart_upload(Bucket=bucket, Key="mpu-wrong", UploadId=upload)


def multipart_refused():
    small = [content(MIB), content(MIB, seed=1)]
    upload, done = upload_parts("refused", small)
    refused(lambda: complete("refused", upload, done), "EntityTooSmall")
    refused(lambda: complete("refused", upload, [{"PartNumber": 1, "ETag": '"0123456789abcdef0123456789abcdef"'}]), "InvalidPart")
    refused(lambda: complete("refused", upload, [{"PartNumber": 7, "ETag": done[0]["ETag"]}]), "InvalidPart")
    for number in (0, 10001):
        refused(lambda: client.upload_part(Bucket=bucket, Key="refused", UploadId=upload, PartNumber=number, Body=b"x"), "InvalidArgument")
    absent("refused")
    complete("refused", upload, done[:1])
    eq(body_of("refused"), small[0])
    large = [content(5 * MIB), content(5 * MIB, seed=1)]
    upload, done = upload_parts("order", large)
    refused(lambda: complete("order", upload, [done[1], done[0]]), "InvalidPartOrder")
    refused(lambda: complete("order", upload, []), "MalformedXML", "InvalidRequest")
    client.abort_multipart_upload(Bucket=bucket, Key="order", UploadId=upload)
    upload, _ = upload_parts("aborted", small)
    client.abort_multipart_upload(Bucket=bucket, Key="aborted", UploadId=upload)
    absent("aborted")
    for call in (
        lambda: client.upload_part(Bucket=bucket, Key="aborted", UploadId=upload, PartNumber=1, Body=b"x"),
        lambda: client.list_parts(Bucket=bucket, Key="aborted", UploadId=upload),
        lambda: complete("aborted", upload, done),
        lambda: client.abort_multipart_upload(Bucket=bucket, Key="aborted", UploadId=upload),
    ):
        eq(status_of(refused(call, "NoSuchUpload")), 404)


def multipart_again():
    parts = [content(5 * MIB, seed=40), b"tail"]
    upload, done = upload_parts("again", parts, "CRC32", ChecksumAlgorithm="CRC32")
    first = complete("again", upload, done, IfNoneMatch="*")
    for _ in range(2):
        answer = complete("again", upload, done, IfNoneMatch="*")
        eq([answer[name] for name in ("ETag", "ChecksumCRC32", "ChecksumType", "Location")],
           [first[name] for name in ("ETag", "ChecksumCRC32", "ChecksumType", "Location")], "answer to the same completion")
    refused(lambda: complete("again", upload, done[:1]), "NoSuchUpload")
    put("again", b"newer")
    complete("again", upload, done, IfNoneMatch="*")
    eq(body_of("again"), b"newer")
    assert first["Location"].startswith("http") and first["Location"].endswith(f"/{bucket}/again"), first["Location"]


def multipart_lists():
    parts = [content(5 * MIB, seed=41), b"tail"]
    upload, done = upload_parts("lists", parts, "SHA256", ChecksumAlgorithm="SHA256")
    bare = [{name: part[name] for name in ("PartNumber", "ETag")} for part in done]
    other = {**bare[1], "ChecksumCRC32": checksum("CRC32", parts[1])}
    wrong = {**done[1], "ChecksumSHA256": checksum("SHA256", b"other")}
    refused(lambda: complete("lists", upload, bare), "InvalidRequest")
    refused(lambda: complete("lists", upload, [done[0], other]), "BadDigest")
    refused(lambda: complete("lists", upload, [done[0], wrong]), "InvalidPart")
    refused(lambda: complete("lists", upload, [done[0], {**done[1], "ChecksumCRC32": other["ChecksumCRC32"]}]), "InvalidArgument")
    digest = base64.b64encode(hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()).decode()
    refused(lambda: complete("lists", upload, done, ChecksumSHA256=f"{digest}-3"), "BadDigest")
    refused(lambda: complete("lists", upload, done, ChecksumType="FULL_OBJECT"), "InvalidRequest")
    refused(lambda: complete("lists", upload, done, MpuObjectSize=1), "InvalidRequest")
    absent("lists")
    eq(complete("lists", upload, done, ChecksumSHA256=f"{digest}-2")["ChecksumSHA256"], f"{digest}-2")
    told = client.get_object_attributes(Bucket=bucket, Key="lists", ObjectAttributes=["Checksum", "ObjectParts"])
    eq(told["Checksum"], {"ChecksumSHA256": digest, "ChecksumType": "COMPOSITE"})
    eq([part["ChecksumSHA256"] for part in told["ObjectParts"]["Parts"]], [checksum("SHA256", part) for part in parts])
    for number, part in enumerate(parts, 1):
        head = client.head_object(Bucket=bucket, Key="lists", PartNumber=number, ChecksumMode="ENABLED")
        eq((head["ChecksumSHA256"], head["ChecksumType"]), (checksum("SHA256", part), "COMPOSITE"), f"part {number}")
        assert get("lists", PartNumber=number, ChecksumMode="ENABLED")["Body"].read() == part, "other bytes came back"


def bucket_with_uploads():
    name = f"{bucket}-uploads"
    client.create_bucket(Bucket=name)
    upload = client.create_multipart_upload(Bucket=name, Key="k")["UploadId"]
    client.upload_part(Bucket=name, Key="k", UploadId=upload, PartNumber=1, Body=content(MIB))
    client.delete_bucket(Bucket=name)
    refused(lambda: client.list_parts(Bucket=name, Key="k", UploadId=upload), "NoSuchBucket")


def multipart_conditional():
    put("mpu-cond", b"first")
    parts = [content(5 * MIB), b"tail"]
    upload, done = upload_parts("mpu-cond", parts)
    refused(lambda: complete("mpu-cond", upload, done, IfNoneMatch="*"), "PreconditionFailed")
    eq(body_of("mpu-cond"), b"first")
    complete("mpu-cond", upload, done)
    eq(body_of("mpu-cond"), b"".join(parts))


# ---- copies -----------------------------------------------------------------------------------------------------------


def copies():
    for size in (0, 4 * KIB, 128 * KIB + 1, 5 * MIB):
        body = content(size, seed=30)
        put("from", body, Metadata={"a": "1"}, ContentType="text/plain")
        source = {"Bucket": bucket, "Key": "from"}
        answer = client.copy_object(Bucket=bucket, Key="to", CopySource=source)
        eq(answer["CopyObjectResult"]["ETag"], f'"{md5_hex(body)}"')
        got = get("to")
        assert got["Body"].read() == body, f"copy of {size} bytes"
        eq((got["Metadata"], got["ContentType"]), ({"a": "1"}, "text/plain"))
        client.copy_object(Bucket=listed, Key="to", CopySource=source, MetadataDirective="REPLACE", Metadata={"b": "2"}, ContentType="text/html")
        other = client.get_object(Bucket=listed, Key="to")
        eq((other["Metadata"], other["ContentType"]), ({"b": "2"}, "text/html"))
        assert other["Body"].read() == body
        client.delete_object(Bucket=bucket, Key="from")
        assert body_of("to") == body, "the copy went with its source"
    put("self", b"self", Metadata={"a": "1"})
    here = {"Bucket": bucket, "Key": "self"}
    refused(lambda: client.copy_object(Bucket=bucket, Key="self", CopySource=here), "InvalidRequest")
    client.copy_object(Bucket=bucket, Key="self", CopySource=here, MetadataDirective="REPLACE", Metadata={"a": "2"})
    eq(get("self")["Metadata"], {"a": "2"})
    eq(body_of("self"), b"self")
    refused(lambda: client.copy_object(Bucket=bucket, Key="to", CopySource={"Bucket": bucket, "Key": "missing"}), "NoSuchKey")
    tag = client.head_object(Bucket=bucket, Key="self")["ETag"]
    client.copy_object(Bucket=bucket, Key="to", CopySource=here, CopySourceIfMatch=tag)
    refused(lambda: client.copy_object(Bucket=bucket, Key="to", CopySource=here, CopySourceIfMatch='"0"'), "PreconditionFailed")
    put("odd source+%ü", b"odd")
    client.copy_object(Bucket=bucket, Key="to", CopySource={"Bucket": bucket, "Key": "odd source+%ü"})
    eq(body_of("to"), b"odd")
    client.delete_object(Bucket=listed, Key="to")


def part_copies():
    body = content(12 * MIB + 5, seed=31)
    put("part-from", body)
    source = {"Bucket": bucket, "Key": "part-from"}
    upload = client.create_multipart_upload(Bucket=bucket, Key="part-to")["UploadId"]
    cuts = [(0, 5 * MIB), (5 * MIB, 11 * MIB + 1), (11 * MIB + 1, len(body))]
    done = []
    for number, (low, end) in enumerate(cuts, 1):
        answer = client.upload_part_copy(
            Bucket=bucket, Key="part-to", UploadId=upload, PartNumber=number, CopySource=source, CopySourceRange=f"bytes={low}-{end - 1}")
        tag = answer["CopyPartResult"]["ETag"]
        eq(tag, f'"{md5_hex(body[low:end])}"')
        done.append({"PartNumber": number, "ETag": tag})
    out = f"bytes=0-{len(body)}"
    refused(lambda: client.upload_part_copy(Bucket=bucket, Key="part-to", UploadId=upload, PartNumber=4, CopySource=source, CopySourceRange=out),
            "InvalidArgument", "InvalidRange", "InvalidRequest")
    complete("part-to", upload, done)
    assert body_of("part-to") == body, "other bytes came back"


# ---- listings ---------------------------------------------------------------------------------------------------------


def listed_keys():
    return [f"dir{number % 10}/sub {number % 7}/key-{number:05}" for number in range(LISTED_KEYS)]


def fill_listing():
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: client.put_object(Bucket=listed, Key=key, Body=key.encode()), listed_keys()))


def pages(**arguments):
    keys, prefixes, count = [], [], 0
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=listed, **arguments):
        count += 1
        keys += [entry["Key"] for entry in page.get("Contents", [])]
        prefixes += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
        eq(page["KeyCount"], len(page.get("Contents", [])) + len(page.get("CommonPrefixes", [])), "KeyCount")
    return keys, prefixes, count


def list_pages():
    want = sorted(listed_keys(), key=str.encode)
    eq(pages()[0], want, "all keys")
    keys, _, count = pages(PaginationConfig={"PageSize": 700})
    eq(keys, want, "all keys in pages of 700")
    eq(count, math.ceil(LISTED_KEYS / 700))
    first = client.list_objects_v2(Bucket=listed, MaxKeys=2)
    entry = first["Contents"][0]
    eq((entry["Size"], entry["ETag"]), (len(entry["Key"]), f'"{md5_hex(entry["Key"].encode())}"'))
    eq((first["KeyCount"], first["IsTruncated"], first["MaxKeys"]), (2, True, 2))
    eq(client.list_objects_v2(Bucket=listed, MaxKeys=0).get("Contents"), None)
    eq(len(client.list_objects_v2(Bucket=listed, MaxKeys=5000)["Contents"]), 1000, "keys of the largest page")
    owner = client.list_objects_v2(Bucket=listed, MaxKeys=1, FetchOwner=True)["Contents"][0]
    assert owner.get("Owner", {}).get("ID"), owner
    refused(lambda: client.list_objects_v2(Bucket=listed, ContinuationToken="nonsense"), "InvalidArgument")


def list_prefixes():
    want = sorted(listed_keys(), key=str.encode)
    eq(pages(Delimiter="/"), ([], [f"dir{n}/" for n in range(10)], 1))
    eq(pages(Delimiter="/", Prefix="dir3/")[1], [f"dir3/sub {n}/" for n in range(7)])
    under = [key for key in want if key.startswith("dir3/sub 2/")]
    eq(pages(Delimiter="/", Prefix="dir3/sub 2/")[:2], (under, []))
    eq(pages(Prefix="dir3/")[0], [key for key in want if key.startswith("dir3/")])
    eq(pages(Prefix="nothing")[:2], ([], []))
    eq(pages(Delimiter="key-0000")[1][:1], ["dir0/sub 0/key-0000"], "longer delimiter")
    eq(pages(Delimiter="/", PaginationConfig={"PageSize": 3})[1], [f"dir{n}/" for n in range(10)], "prefixes over pages")


def list_start_after():
    want = sorted(listed_keys(), key=str.encode)
    for at in (0, 1, 999, 1000, LISTED_KEYS // 2, LISTED_KEYS - 2):
        eq(pages(StartAfter=want[at])[0], want[at + 1:], f"after key {at}")
    eq(pages(StartAfter=want[-1])[0], [])
    eq(pages(StartAfter="dir5/")[0], [key for key in want if key > "dir5/"])
    eq(pages(StartAfter="dir3/zzz", Delimiter="/")[1], [f"dir{n}/" for n in range(4, 10)])


def list_encoding():
    odd = ["enc/a b", "enc/a+b", "enc/a%b", "enc/ü&<>", "enc/\x01\x1f", "enc/line\nbreak", "enc/\t"]
    for key in odd:
        client.put_object(Bucket=listed, Key=key, Body=b"")
    eq(pages(Prefix="enc/")[0], sorted(odd, key=str.encode))
    eq(pages(Prefix="enc/", PaginationConfig={"PageSize": 1})[0], sorted(odd, key=str.encode))
    client.delete_objects(Bucket=listed, Delete={"Objects": [{"Key": key} for key in odd if ord(min(key)) >= 32]})
    for key in odd:
        client.delete_object(Bucket=listed, Key=key)
    eq(pages(Prefix="enc/")[0], [])


def list_old_forms():
    want = sorted(listed_keys(), key=str.encode)
    keys = []
    for page in client.get_paginator("list_objects").paginate(Bucket=listed, PaginationConfig={"PageSize": 900}):
        keys += [entry["Key"] for entry in page.get("Contents", [])]
    eq(keys, want, "keys by the first list call")
    versions = client.list_object_versions(Bucket=listed, Prefix="dir3/", MaxKeys=5)["Versions"]
    eq([(v["Key"], v["VersionId"], v["IsLatest"]) for v in versions], [(k, "null", True) for k in want if k.startswith("dir3/")][:5])


def multi_delete():
    want = listed_keys()
    answer = client.delete_objects(Bucket=listed, Delete={"Objects": [{"Key": key} for key in want[:10]] + [{"Key": "missing"}]})
    eq(sorted(entry["Key"] for entry in answer["Deleted"]), sorted(want[:10] + ["missing"]))
    eq(answer.get("Errors"), None)
    quiet = client.delete_objects(Bucket=listed, Delete={"Objects": [{"Key": want[10]}], "Quiet": True})
    eq((quiet.get("Deleted"), quiet.get("Errors")), (None, None))
    too_many = [{"Key": f"k{number}"} for number in range(1001)]
    refused(lambda: client.delete_objects(Bucket=listed, Delete={"Objects": too_many}), "MalformedXML")
    for at in range(0, LISTED_KEYS, 1000):
        client.delete_objects(Bucket=listed, Delete={"Objects": [{"Key": key} for key in want[at: at + 1000]], "Quiet": True})
    eq(pages()[0], [])


# ---- who may ----------------------------------------------------------------------------------------------------------


def http(method, url, body=None, headers=None):
    # (urllib would name a form's content type for a body of its own accord)
    sent = {**({"Content-Type": "application/octet-stream"} if body is not None else {}), **(headers or {})}
    request = urllib.request.Request(url, data=body, headers=sent, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read(), {name.lower(): value for name, value in answer.headers.items()}
    except urllib.error.HTTPError as error:
        return error.code, error.read(), {name.lower(): value for name, value in error.headers.items()}


def presigned():
    body = content(200 * KIB, seed=40)
    key = "pre signed+ü"
    url = client.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=60)
    eq(http("PUT", url, body)[0], 200, "presigned PUT")
    eq(body_of(key), body)
    url = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key, "ResponseContentType": "text/plain"}, ExpiresIn=60)
    status, got, headers = http("GET", url)
    eq((status, got == body, headers["content-type"]), (200, True, "text/plain"), "presigned GET")
    eq(http("GET", url, headers={"Range": "bytes=5-9"})[:2], (206, body[5:10]), "presigned GET of a range")
    status, text, _ = http("GET", url.replace("text%2Fplain", "text%2Fhtml"))
    eq((status, b"SignatureDoesNotMatch" in text), (403, True), "tampered query")
    status, text, _ = http("DELETE", url)
    eq((status, b"SignatureDoesNotMatch" in text), (403, True), "other method")
    eq(body_of(key), body)
    late = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=1)
    time.sleep(2.5)
    status, text, _ = http("GET", late)
    eq((status, b"AccessDenied" in text), (403, True), "expired")


def bare(method, url, body=None, headers=None):
    """Like `http`, but with no header that was not asked for."""
    connection = http_client.HTTPConnection(nilas.HOST, timeout=60)
    connection.request(method, url.removeprefix(nilas.ENDPOINT), body=body, headers=headers or {})
    answer = connection.getresponse()
    got = answer.status, answer.read(), {name.lower(): value for name, value in answer.headers.items()}
    connection.close()
    return got


def configured(config):
    """A client of our server with another configuration."""
    return boto3.client(
        "s3",
        endpoint_url=nilas.ENDPOINT,
        region_name=nilas.S3_REGION,
        aws_access_key_id=nilas.ACCESS_KEY,
        aws_secret_access_key=nilas.SECRET_KEY,
        config=config,
    )


def presigned_by_default():
    """Without `signature_version` boto3 makes URLs of version 2."""
    default = configured(Config(s3={"addressing_style": "path"}))

    def url(operation, seconds=60, **more):
        made = default.generate_presigned_url(operation, Params={"Bucket": bucket, "Key": key, **more}, ExpiresIn=seconds)
        assert "AWSAccessKeyId=" in made and "X-Amz-" not in made, made
        return made

    body = content(200 * KIB, seed=41)
    key = "pre signed+ü/by default"
    put_url = url("put_object")
    eq(bare("PUT", put_url, body)[0], 200, "PUT")
    eq(body_of(key), body)
    eq(bare("GET", url("get_object"))[:2], (200, body), "GET")
    eq(bare("GET", url("get_object"), headers={"Range": "bytes=5-9"})[:2], (206, body[5:10]), "GET of a range")
    status, _, headers = bare("HEAD", url("head_object"))
    eq((status, headers["content-length"]), (200, str(len(body))), "HEAD")
    wanted = {"ResponseContentDisposition": 'attachment; filename="a b+c.txt"', "ResponseContentType": "text/x; charset=utf-8"}
    status, got, headers = bare("GET", url("get_object", **wanted))
    eq((status, got), (200, body), "GET with other headers")
    eq((headers["content-disposition"], headers["content-type"]), tuple(wanted.values()))
    status, text, _ = bare("GET", url("get_object", **wanted).replace("text%2Fx", "text%2Fhtml"))
    eq((status, b"SignatureDoesNotMatch" in text), (403, True), "tampered query")
    status, text, _ = bare("PUT", put_url, body, {"Content-Type": "text/html"})
    eq((status, b"SignatureDoesNotMatch" in text), (403, True), "a type that was not signed")
    typed = url("put_object", ContentType="text/x", Metadata={"one": "1 +", "two": "2"})
    for headers in ({}, {"Content-Type": "text/x"}):
        eq(bare("PUT", typed, b"typed", headers)[0], 200, "PUT with a type and metadata")
        head = client.head_object(Bucket=bucket, Key=key)
        eq((head["ContentType"], head["Metadata"], head["ContentLength"]), ("text/x", {"one": "1 +", "two": "2"}, 5))
    for operation, method in (("delete_object", "DELETE"), ("create_multipart_upload", "POST"), ("get_object_tagging", "GET")):
        status, text, _ = bare(method, url(operation))
        eq((status, b"InvalidRequest" in text), (400, True), operation)
    eq(body_of(key), b"typed")
    late = url("get_object", seconds=1)
    time.sleep(2.5)
    status, text, _ = bare("GET", late)
    eq((status, b"Request has expired" in text), (403, True), "expired")


def keys_refused():
    stranger = nilas.s3(access_key="NOSUCHKEYNOSUCHKEY00")
    eq(status_of(refused(lambda: stranger.list_buckets(), "InvalidAccessKeyId")), 403)
    wrong = nilas.s3(secret_key="wrong" + nilas.SECRET_KEY)
    eq(status_of(refused(lambda: wrong.put_object(Bucket=bucket, Key="no", Body=b"x"), "SignatureDoesNotMatch")), 403)
    absent("no")


def anonymous():
    put("private", b"secret")
    for method, path in (("GET", "/"), ("GET", f"/{bucket}"), ("GET", f"/{bucket}/private"), ("PUT", f"/{bucket}/anon"), ("DELETE", f"/{bucket}/private")):
        status, text, headers = http(method, nilas.ENDPOINT + path, b"x" if method == "PUT" else None)
        eq((status, b"<Code>AccessDenied</Code>" in text), (403, True), f"anonymous {method} {path}")
        assert headers.get("x-amz-request-id"), "no request id"
    eq(http("HEAD", f"{nilas.ENDPOINT}/{bucket}/private")[:2], (403, b""))
    eq(body_of("private"), b"secret")
    absent("anon")


def clean_up():
    for name in (bucket, listed):
        for upload in client.list_multipart_uploads(Bucket=name).get("Uploads", []):
            client.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
            keys = [{"Key": entry["Key"]} for entry in page.get("Contents", [])]
            if keys:
                client.delete_objects(Bucket=name, Delete={"Objects": keys, "Quiet": True})
        client.delete_bucket(Bucket=name)


def known_here(title):
    operation, parameter = NEEDS.get(title, (None, None))
    if operation is None or knows(operation, parameter):
        return True
    print(f"SKIP {title} | boto3 {boto3.__version__} does not know {parameter} of {operation}", flush=True)
    return False


steps = Steps("boto3 " + boto3.__version__)
if not steps("create-buckets", create_buckets):
    steps.close()
table = (
    [
        ("buckets", buckets),
        ("bucket-again", bucket_again),
        ("bucket-names", bucket_names),
        ("bucket-delete", bucket_delete),
        ("preparation-calls", preparation_calls),
    ]
    + [(f"size-{name}", size_step(name, size)) for name, size in SIZES.items()]
    + [
        ("empty-files", empty_files),
        ("overwrite-delete", overwrite_delete),
        ("odd-keys", odd_keys),
        ("key-length", key_length),
        ("metadata", metadata),
        ("ranges", ranges),
        ("ranges-64MiB", ranges_large),
        ("conditional-get", conditional_get),
        ("conditional-put", conditional_put),
        ("conditional-put-race", conditional_race),
    ]
    + [(f"checksum-{algorithm}", checksum_step(algorithm)) for algorithm in ALGORITHMS]
    + [
        ("content-md5", content_md5),
        ("chunk-encodings", chunk_encodings),
        ("chunk-framing-refused", chunk_framing_refused),
        ("multipart-200MiB", transfer_200_mib),
        ("multipart-by-hand", multipart_by_hand),
        ("multipart-checksums", multipart_checksums),
        ("multipart-refused", multipart_refused),
        ("multipart-again", multipart_again),
        ("multipart-lists", multipart_lists),
        ("bucket-with-uploads", bucket_with_uploads),
        ("multipart-conditional", multipart_conditional),
        ("copies", copies),
        ("part-copies", part_copies),
        ("list-fill", fill_listing),
        ("list-pages", list_pages),
        ("list-prefixes", list_prefixes),
        ("list-start-after", list_start_after),
        ("list-encoding", list_encoding),
        ("list-old-forms", list_old_forms),
        ("multi-delete", multi_delete),
        ("presigned", presigned),
        ("presigned-by-default", presigned_by_default),
        ("keys-refused", keys_refused),
        ("anonymous", anonymous),
        ("clean-up", clean_up),
    ]
)
steps.run([(title, run) for title, run in table if known_here(title)])
