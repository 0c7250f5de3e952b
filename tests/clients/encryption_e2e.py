"""boto3 on encrypted objects: the store's key, customers' keys and named keys, by themselves, as defaults and copied into each
other; and starts with the right, another, a new and no master key, with kills between them.

Every body is compared. The server is the suite's own, because it needs master keys.
"""
import base64
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import urllib.request

import boto3
from botocore.config import Config

import nilas
from nilas import KIB, MIB, content, md5_hex, refused
from own_server import OwnServer
from steps import Steps, eq

steps = Steps("encryption")
place = tempfile.mkdtemp(prefix="encryption-", dir=nilas.SCRATCH)
PROGRAM = os.environ["NILAS_BIN"]
FRAME = 64 * KIB - 24
SIZES = [0, 1, 4 * KIB, FRAME - 1, FRAME, FRAME + 1, 128 * KIB - 48, 128 * KIB, 3 * FRAME, MIB + 1, 9 * MIB + 7]
PART = 5 * MIB
CUSTOMER = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"c" * 32}
OTHER = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"d" * 32}
SOURCE = {"CopySourceSSECustomerAlgorithm": "AES256", "CopySourceSSECustomerKey": b"c" * 32}
MODES = {
    "plain": ({}, {}),
    "s3": ({"ServerSideEncryption": "AES256"}, {}),
    "kms": ({"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "orders"}, {}),
    "customer": (CUSTOMER, CUSTOMER),
}


def command(*words, env=None):
    return subprocess.run([PROGRAM, *words], env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=60)


def master_key(name):
    done = command("kms", "master-key", name)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


KEYS = {name: master_key(name) for name in ("one", "two")}
KEYS["other one"] = master_key("one")
file = os.path.join(place, "master.keys")


def give(*names):
    with open(file, "w") as keys:
        keys.write("# the first one seals\n" + "".join(KEYS[name] + "\n" for name in names))
    os.chmod(file, 0o600)


give("one")
server = OwnServer(place, nilas.ACCESS_KEY, nilas.SECRET_KEY, options=["--master-key-file", file])
server.start()


def connect():
    return boto3.client(
        "s3",
        endpoint_url=f"http://{server.address}",
        region_name="us-east-1",
        aws_access_key_id=nilas.ACCESS_KEY,
        aws_secret_access_key=nilas.SECRET_KEY,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


client = connect()
BUCKET = "encrypted"
client.create_bucket(Bucket=BUCKET)


def kms(*words):
    keys = {"NILAS_ACCESS_KEY": nilas.ACCESS_KEY, "NILAS_SECRET_KEY": nilas.SECRET_KEY}
    return command("kms", "key", *words, "--json", "--endpoint", f"http://{server.address}", env=keys)


def put(key, body, mode, **more):
    return client.put_object(Bucket=BUCKET, Key=key, Body=body, **MODES[mode][0], **more)


def get(key, mode="plain", bucket=BUCKET, **more):
    return client.get_object(Bucket=bucket, Key=key, **MODES[mode][1], **more)


def is_shown(answer, mode, what):
    want = {"plain": (None, None, None), "s3": ("AES256", None, None), "customer": (None, None, "AES256")}.get(mode)
    got = (answer.get("ServerSideEncryption"), answer.get("SSEKMSKeyId"), answer.get("SSECustomerAlgorithm"))
    if mode == "kms":
        assert got[1] and got[1].startswith("arn:aws:kms:us-east-1:") and got[1].endswith(":key/orders"), f"{what}: {got}"
        got, want = (got[0], got[2]), ("aws:kms", None)
    eq(got, want, what)
    if mode == "customer":
        eq(answer.get("SSECustomerKeyMD5"), base64.b64encode(hashlib.md5(b"c" * 32).digest()).decode(), what)


def keys_are_made():
    done = kms("create", "orders")
    assert done.returncode == 0, done.stderr + done.stdout
    assert kms("create", "orders").returncode != 0, "made twice"
    assert kms("create", "a/b").returncode != 0
    listed = [json.loads(line) for line in kms("list").stdout.splitlines()]
    assert [(key["key"], key["versions"], key["master_key"]) for key in listed if key["key"] == "orders"] == [("orders", 1, "one")], listed


def every_size_in_every_mode():
    for mode in MODES:
        for size in SIZES:
            body, key = content(size, seed=size), f"{mode}/{size}"
            made = put(key, body, mode)
            is_shown(made, mode, f"put {key}")
            for answer in (get(key, mode), client.head_object(Bucket=BUCKET, Key=key, **MODES[mode][1])):
                is_shown(answer, mode, f"read {key}")
                eq((answer["ContentLength"], answer["ETag"]), (size, made["ETag"]), key)
            got = get(key, mode)["Body"].read()
            assert got == body, f"{key}: other bytes"
            is_md5 = made["ETag"] == f'"{md5_hex(body)}"'
            eq(is_md5, mode in ("plain", "s3"), f"{key}: the tag is the MD5")
        listed = client.list_objects_v2(Bucket=BUCKET, Prefix=f"{mode}/")["Contents"]
        eq(sorted(entry["Size"] for entry in listed), SIZES, f"{mode}: sizes listed")
        versions = client.list_object_versions(Bucket=BUCKET, Prefix=f"{mode}/")["Versions"]
        eq(sorted(entry["Size"] for entry in versions), SIZES, f"{mode}: sizes of versions")


def ranges():
    size = SIZES[-1]
    body = content(size, seed=size)
    edges = [0, 1, FRAME - 1, FRAME, FRAME + 1, 16 * FRAME, MIB, size - 1]
    for mode in MODES:
        for start in edges:
            for end in [start, start + 1, start + FRAME, start + 2 * MIB, size + 5]:
                if start <= end:
                    got = get(f"{mode}/{size}", mode, Range=f"bytes={start}-{end}")
                    eq(got["ContentRange"], f"bytes {start}-{min(end, size - 1)}/{size}", mode)
                    assert got["Body"].read() == body[start : end + 1], f"{mode} {start}-{end}"
        assert get(f"{mode}/{size}", mode, Range="bytes=-70000")["Body"].read() == body[-70000:]
        refused(lambda: get(f"{mode}/{size}", mode, Range=f"bytes={size}-"), "InvalidRange")
    # A second and third time from the cache.
    for _ in range(3):
        assert get(f"s3/{size}", "s3")["Body"].read() == body


def parts():
    bodies = [content(PART, 1), content(PART + 70_001, 2), content(12_345, 3)]
    whole = b"".join(bodies)
    for mode in MODES:
        for algorithm in (None, "CRC32", "SHA256"):
            key = f"parts/{mode}/{algorithm}"
            more = {"ChecksumAlgorithm": algorithm} if algorithm else {}
            created = client.create_multipart_upload(Bucket=BUCKET, Key=key, **MODES[mode][0], **more)
            upload, done = created["UploadId"], []
            for number, body in enumerate(bodies, 1):
                sent = client.upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=number, Body=body, **MODES[mode][1], **more)
                is_shown(sent, mode, "part")
                part = {"PartNumber": number, "ETag": sent["ETag"]}
                if algorithm:
                    part[f"Checksum{algorithm}"] = sent[f"Checksum{algorithm}"]
                done.append(part)
            listed = client.list_parts(Bucket=BUCKET, Key=key, UploadId=upload)["Parts"]
            eq([part["Size"] for part in listed], [len(body) for body in bodies], f"{key}: sizes of parts")
            completed = client.complete_multipart_upload(
                Bucket=BUCKET, Key=key, UploadId=upload, MultipartUpload={"Parts": done}, MpuObjectSize=len(whole))
            if mode != "customer":
                is_shown(completed, mode, "complete")
            assert completed["ETag"].endswith('-3"'), completed["ETag"]
            got = get(key, mode)
            eq(got["ContentLength"], len(whole), key)
            assert got["Body"].read() == whole, f"{key}: other bytes"
            for number, body in enumerate(bodies, 1):
                part = get(key, mode, PartNumber=number)
                assert part["Body"].read() == body and part["PartsCount"] == 3, f"{key} part {number}"
            at = len(bodies[0]) - 10
            assert get(key, mode, Range=f"bytes={at}-{at + 100_000}")["Body"].read() == whole[at : at + 100_001]
            about = client.get_object_attributes(
                Bucket=BUCKET, Key=key, ObjectAttributes=["ObjectSize", "ETag", "Checksum", "ObjectParts"], **raw(MODES[mode][1]))
            eq(about["ObjectSize"], len(whole), f"{key}: attributes")
            if algorithm == "SHA256":
                eq([part["Size"] for part in about["ObjectParts"]["Parts"]], [len(body) for body in bodies], key)
    plain, sealed = (client.head_object(Bucket=BUCKET, Key=f"parts/{mode}/None", ChecksumMode="ENABLED") for mode in ("plain", "s3"))
    eq(sealed["ChecksumCRC64NVME"], plain["ChecksumCRC64NVME"], "a checksum is that of the bytes")
    eq(sealed["ETag"], plain["ETag"], "so is a tag under the store's key")


def raw(customer):
    """boto3 makes no MD5 for this operation, and sends the key as it is."""
    if not customer:
        return {}
    key = customer["SSECustomerKey"]
    encode = lambda some: base64.b64encode(some).decode()
    return {**customer, "SSECustomerKey": encode(key), "SSECustomerKeyMD5": encode(hashlib.md5(key).digest())}


def copies():
    body = content(3 * FRAME + 5, seed=77)
    for source in MODES:
        put(f"from/{source}", body, source)
        for target in MODES:
            key = f"to/{source}/{target}"
            more = SOURCE if source == "customer" else {}
            made = client.copy_object(Bucket=BUCKET, Key=key, CopySource=f"{BUCKET}/from/{source}", **MODES[target][0], **more)
            is_shown(made, target, key)
            got = get(key, target)
            is_shown(got, target, key)
            assert got["Body"].read() == body, f"{key}: other bytes"
            eq(made["CopyObjectResult"]["ETag"] == f'"{md5_hex(body)}"', target in ("plain", "s3"), f"{key}: MD5")
            upload = client.create_multipart_upload(Bucket=BUCKET, Key=key, **MODES[target][0])["UploadId"]
            part = client.upload_part_copy(
                Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=1, CopySource=f"{BUCKET}/from/{source}",
                CopySourceRange=f"bytes=7-{2 * FRAME}", **MODES[target][1], **more)
            is_shown(part, target, key)
            done = {"Parts": [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]}
            client.complete_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload, MultipartUpload=done)
            assert get(key, target)["Body"].read() == body[7 : 2 * FRAME + 1], f"{key}: other part"
    # Onto itself: another encryption is a change.
    client.copy_object(Bucket=BUCKET, Key="from/plain", CopySource=f"{BUCKET}/from/plain", ServerSideEncryption="AES256")
    is_shown(get("from/plain"), "s3", "copied onto itself")
    again = {**SOURCE, "CopySourceSSECustomerKey": OTHER["SSECustomerKey"]}
    client.copy_object(Bucket=BUCKET, Key="from/customer", CopySource=f"{BUCKET}/from/customer", **SOURCE, **OTHER)
    assert client.get_object(Bucket=BUCKET, Key="from/customer", **OTHER)["Body"].read() == body, "under another key"
    client.copy_object(Bucket=BUCKET, Key="from/customer", CopySource=f"{BUCKET}/from/customer", **again)
    assert get("from/customer")["Body"].read() == body, "plain again"
    refused(lambda: client.copy_object(Bucket=BUCKET, Key="from/customer", CopySource=f"{BUCKET}/from/customer"), "InvalidRequest")


def customers():
    put("c", b"secret", "customer")
    says = lambda error: error.response["Error"]["Message"]
    error = refused(lambda: get("c"), "InvalidRequest")
    eq(says(error), "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.")
    eq(refused(lambda: client.head_object(Bucket=BUCKET, Key="c"), "400").response["ResponseMetadata"]["HTTPStatusCode"], 400)
    error = refused(lambda: client.get_object(Bucket=BUCKET, Key="c", **OTHER), "AccessDenied")
    eq(says(error), "Requests specifying Server Side Encryption with Customer provided keys must provide the correct secret key.")
    eq(error.response["ResponseMetadata"]["HTTPStatusCode"], 403)
    put("p", b"open", "plain")
    put("s", b"open", "s3")
    for key in ("p", "s"):
        error = refused(lambda key=key: client.get_object(Bucket=BUCKET, Key=key, **CUSTOMER), "InvalidRequest")
        eq(says(error), "The encryption parameters are not applicable to this object.")
    error = refused(lambda: client.copy_object(Bucket=BUCKET, Key="x", CopySource=f"{BUCKET}/c"), "InvalidRequest")
    error = refused(lambda: put("x", b"", "customer", ServerSideEncryption="AES256"), "InvalidArgument")
    eq(says(error), "Server Side Encryption with Customer provided key is incompatible with the encryption method specified")
    short = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"short"}
    error = refused(lambda: client.put_object(Bucket=BUCKET, Key="x", Body=b"", **short), "InvalidArgument")
    eq(says(error), "The secret key was invalid for the specified algorithm.")
    upload = client.create_multipart_upload(Bucket=BUCKET, Key="u", **CUSTOMER)["UploadId"]
    part = lambda **more: client.upload_part(Bucket=BUCKET, Key="u", UploadId=upload, PartNumber=1, Body=b"1", **more)
    eq(says(refused(part, "InvalidRequest")), "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters.")
    eq(says(refused(lambda: part(**OTHER), "InvalidRequest")), "The provided encryption parameters did not match the ones used originally.")
    part(**CUSTOMER)
    client.abort_multipart_upload(Bucket=BUCKET, Key="u", UploadId=upload)
    client.delete_object(Bucket=BUCKET, Key="c")
    url = client.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": "signed", "ServerSideEncryption": "AES256"})
    request = urllib.request.Request(url, data=b"signed", method="PUT", headers={"x-amz-server-side-encryption": "AES256"})
    with urllib.request.urlopen(request) as answer:
        eq(answer.headers["x-amz-server-side-encryption"], "AES256")
    is_shown(get("signed"), "s3", "a presigned URL")


def named():
    bad = lambda **more: refused(lambda: client.put_object(Bucket=BUCKET, Key="x", Body=b"", **more), "KMS.NotFoundException", "InvalidArgument", "NotImplemented")
    error = bad(ServerSideEncryption="aws:kms", SSEKMSKeyId="nobody")
    assert error.response["Error"]["Message"].endswith(":key/nobody' does not exist"), error
    eq(bad(ServerSideEncryption="aws:kms", SSEKMSKeyId="a/b").response["Error"]["Message"], "Invalid keyId 'a/b'")
    eq(bad(ServerSideEncryption="AES256", SSEKMSKeyId="orders").response["Error"]["Code"], "InvalidArgument")
    eq(bad(ServerSideEncryption="aws:kms:dsse").response["Error"]["Code"], "NotImplemented")
    eq(bad(ServerSideEncryption="aws:kms", SSEKMSEncryptionContext="e30x").response["Error"]["Code"], "InvalidArgument")
    made = client.put_object(Bucket=BUCKET, Key="d", Body=b"default", ServerSideEncryption="aws:kms")
    assert made["SSEKMSKeyId"].endswith(":key/default"), made
    arn = get("d")["SSEKMSKeyId"].replace("default", "orders")
    context = base64.b64encode(b'{"b": "1", "a": "2"}').decode()
    made = client.put_object(
        Bucket=BUCKET, Key="e", Body=b"by arn", ServerSideEncryption="aws:kms", SSEKMSKeyId=arn, SSEKMSEncryptionContext=context, BucketKeyEnabled=True)
    eq((made["SSEKMSKeyId"], made["BucketKeyEnabled"]), (arn, True))
    eq(json.loads(base64.b64decode(made["SSEKMSEncryptionContext"])), {"a": "2", "b": "1"})
    got = get("e")
    eq((got["Body"].read(), got["SSEKMSKeyId"], got["BucketKeyEnabled"]), (b"by arn", arn, True))
    assert kms("rotate", "orders").returncode == 0 and kms("rotate", "sse-s3").returncode == 0
    assert kms("rotate", "nobody").returncode != 0
    put("f", b"newer", "kms")
    for key, body in (("e", b"by arn"), ("f", b"newer")):
        eq(get(key)["Body"].read(), body, "after a rotation")


def defaults():
    bucket = "by-default"
    client.create_bucket(Bucket=bucket)
    error = refused(lambda: client.get_bucket_encryption(Bucket=bucket), "ServerSideEncryptionConfigurationNotFoundError")
    eq(error.response["Error"]["Message"], "The server side encryption configuration was not found")
    client.put_object(Bucket=bucket, Key="before", Body=b"before")

    def configure(algorithm, key=None, **more):
        default = {"SSEAlgorithm": algorithm, **({"KMSMasterKeyID": key} if key else {})}
        client.put_bucket_encryption(
            Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": default, **more}]})
        return client.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]

    eq(configure("AES256"), {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False})
    eq(client.put_object(Bucket=bucket, Key="a", Body=b"a" * 200_000)["ServerSideEncryption"], "AES256")
    copied = client.copy_object(Bucket=bucket, Key="b", CopySource=f"{bucket}/before")
    eq(copied["ServerSideEncryption"], "AES256", "a copy takes the default")
    client.put_object(Bucket=bucket, Key="c", Body=b"c", **CUSTOMER)
    rule = configure("aws:kms", "orders", BucketKeyEnabled=True)
    eq(rule, {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "orders"}, "BucketKeyEnabled": True})
    made = client.put_object(Bucket=bucket, Key="d", Body=b"d")
    eq((made["ServerSideEncryption"], made["SSEKMSKeyId"].rsplit("/")[-1], made["BucketKeyEnabled"]), ("aws:kms", "orders", True))
    eq(client.put_object(Bucket=bucket, Key="e", Body=b"e", ServerSideEncryption="AES256")["ServerSideEncryption"], "AES256")
    error = refused(lambda: configure("AES256", "orders"), "InvalidArgument")
    eq(error.response["Error"]["Message"], "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse")
    refused(lambda: configure("AES512"), "MalformedXML")
    configure("AES256", BlockedEncryptionTypes={"EncryptionType": ["SSE-C"]})
    refused(lambda: client.put_object(Bucket=bucket, Key="x", Body=b"", **CUSTOMER), "AccessDenied")
    eq(client.get_object(Bucket=bucket, Key="c", **CUSTOMER)["Body"].read(), b"c", "what is there stays readable")
    client.delete_bucket_encryption(Bucket=bucket)
    client.delete_bucket_encryption(Bucket=bucket)
    refused(lambda: client.get_bucket_encryption(Bucket=bucket), "ServerSideEncryptionConfigurationNotFoundError")
    assert "ServerSideEncryption" not in client.put_object(Bucket=bucket, Key="g", Body=b"g")
    for key, body in (("before", b"before"), ("a", b"a" * 200_000), ("b", b"before"), ("d", b"d"), ("e", b"e"), ("g", b"g")):
        eq(client.get_object(Bucket=bucket, Key=key)["Body"].read(), body, key)


def versions_tags_and_appends():
    bucket = "kept"
    client.create_bucket(Bucket=bucket)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = client.put_object(Bucket=bucket, Key="k", Body=b"first", ServerSideEncryption="AES256")["VersionId"]
    second = client.put_object(Bucket=bucket, Key="k", Body=b"second", **CUSTOMER)["VersionId"]
    client.put_object_tagging(Bucket=bucket, Key="k", VersionId=first, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    got = client.get_object(Bucket=bucket, Key="k", VersionId=first)
    eq((got["Body"].read(), got["TagCount"], got["ServerSideEncryption"]), (b"first", 1, "AES256"))
    eq(client.get_object(Bucket=bucket, Key="k", VersionId=second, **CUSTOMER)["Body"].read(), b"second")
    for mode in MODES:
        body = content(FRAME + 9, 4)
        put(f"append/{mode}", body, mode)
        more = content(FRAME, 5)
        answer = client.put_object(Bucket=BUCKET, Key=f"append/{mode}", Body=more, WriteOffsetBytes=len(body), **MODES[mode][1])
        is_shown(answer, mode, "append")
        eq(answer["Size"], len(body) + len(more))
        if mode != "s3":
            refused(lambda: client.put_object(Bucket=BUCKET, Key=f"append/{mode}", Body=b"", WriteOffsetBytes=len(body) + len(more), ServerSideEncryption="AES256"),
                    "EncryptionTypeMismatch", "InvalidArgument", "InvalidRequest")
        got = get(f"append/{mode}", mode)
        is_shown(got, mode, "append")
        assert got["Body"].read() == body + more, f"append to {mode}"


def warehouses():
    nilas.CATALOG_URI = f"http://{server.address}/_iceberg"
    status, answer = nilas.catalog_call("POST", "/v1/warehouses", {"name": "lake"})
    assert status == 200, answer
    says = lambda error: error.response["Error"]["Message"]
    rule = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    assert "warehouse" in says(refused(lambda: client.put_bucket_encryption(Bucket="lake", ServerSideEncryptionConfiguration=rule), "InvalidRequest"))
    for mode in ("s3", "kms", "customer"):
        refused(lambda: client.put_object(Bucket="lake", Key="k", Body=b"", **MODES[mode][0]), "InvalidRequest")
    refused(lambda: client.head_object(Bucket="lake", Key="k"), "404")
    client.create_bucket(Bucket="no-lake")
    client.put_bucket_encryption(Bucket="no-lake", ServerSideEncryptionConfiguration=rule)
    status, answer = nilas.catalog_call("POST", "/v1/warehouses", {"name": "no-lake", "upgrade-existing": True})
    assert status == 400 and "default encryption" in json.dumps(answer), (status, answer)


def written(drive):
    """The bytes of a sparse file, without its holes."""
    with open(drive, "rb") as file:
        end, at = os.fstat(file.fileno()).st_size, 0
        while at < end:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                return
            hole = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            os.lseek(file.fileno(), at, os.SEEK_SET)
            while at < hole:
                piece = os.read(file.fileno(), min(64 * MIB, hole - at))
                yield piece
                at += len(piece)


def nothing_plain_on_the_drive():
    mark = b"a mark that is nowhere else: " + os.urandom(16).hex().encode()
    for mode in ("s3", "kms", "customer"):
        put(f"mark/{mode}", mark * 3, mode)
        put(f"mark/large/{mode}", (mark * 8000)[: 300 * KIB], mode)
    drive = os.path.join(place, "data", "drive0.nilas")
    find = lambda word: sum(word in piece for piece in written(drive))
    eq(find(mark), 0, "plain bytes on the drive")
    for key in (CUSTOMER["SSECustomerKey"], base64.b64encode(CUSTOMER["SSECustomerKey"])):
        eq(find(key), 0, "a customer's key on the drive")
    put("mark/plain", mark, "plain")
    assert 0 < find(mark), "the mark would have been seen"


def check_all():
    global client
    client = connect()
    for mode in MODES:
        for size in SIZES[:8]:
            assert get(f"{mode}/{size}", mode)["Body"].read() == content(size, seed=size), f"{mode}/{size}"


def fails_to_start(*words):
    try:
        server.start()
    except AssertionError:
        log = server.log_tail()
        for word in words:
            assert word in log, f"{word} is not in {log}"
        return
    raise AssertionError("it started")


def starts():
    server.kill()
    server.start()
    check_all()
    server.kill()
    give("two")
    fails_to_start("under the master key one, which was not given", "--master-key-file")
    give("other one")
    fails_to_start("the master key one is another one")
    with open(file, "w") as keys:
        keys.write("one:AAAA\n")
    fails_to_start("line 1: the key does not have 32 bytes")
    give("one")
    os.chmod(file, 0o644)
    fails_to_start("chmod 600")
    give("one")
    options, server.options = server.options, []
    fails_to_start("under the master key one, which was not given")
    server.options = options
    server.start()
    check_all()
    server.kill()
    # To a new master key: together once, then the new one alone; nothing is written again.
    give("two", "one")
    server.start()
    check_all()
    put("turned", b"turned", "s3")
    server.kill()
    give("two")
    server.start()
    check_all()
    eq(get("turned")["Body"].read(), b"turned")
    server.stop()
    give("one")
    fails_to_start("under the master key two, which was not given")
    give("two")
    server.start()
    check_all()


def without_a_master_key():
    place_of_other = os.path.join(place, "other")
    os.makedirs(place_of_other)
    other = OwnServer(place_of_other, nilas.ACCESS_KEY, nilas.SECRET_KEY)
    other.start()
    global server
    server, kept = other, server
    plain = connect()
    plain.create_bucket(Bucket="plain")
    for arguments in ({"ServerSideEncryption": "AES256"}, {"ServerSideEncryption": "aws:kms"}):
        error = refused(lambda: plain.put_object(Bucket="plain", Key="k", Body=b"", **arguments), "NotImplemented")
        assert "--master-key-file" in error.response["Error"]["Message"], error
    plain.put_object(Bucket="plain", Key="c", Body=b"c", **CUSTOMER)
    eq(plain.get_object(Bucket="plain", Key="c", **CUSTOMER)["Body"].read(), b"c", "a customer's key needs no master key")
    other.kill()
    server = kept
    shutil.rmtree(place_of_other)


steps.run([
    ("keys are made", keys_are_made),
    ("every size in every mode", every_size_in_every_mode),
    ("ranges", ranges),
    ("parts", parts),
    ("copies", copies),
    ("customers' keys", customers),
    ("named keys", named),
    ("defaults of buckets", defaults),
    ("versions, tags and appends", versions_tags_and_appends),
    ("warehouses are not encrypted", warehouses),
    ("nothing plain on the drive", nothing_plain_on_the_drive),
    ("starts with other master keys", starts),
    ("without a master key", without_a_master_key),
])
