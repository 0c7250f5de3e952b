"""What every suite knows of the server under test: where it is, its root key, a warehouse of its own, test bytes.

Environment: ENDPOINT (http://host:port), ACCESS_KEY, SECRET_KEY; and, with defaults, CATALOG_URI (ENDPOINT/_iceberg),
REGION (the signing region of catalog calls, `local`), WAREHOUSE (when unset the suite makes one), SCRATCH (a directory
for temporary files).
"""
import hashlib
import json
import os
import re
import tempfile
import time
import urllib.error
import urllib.request
import uuid

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

KIB = 1024
MIB = 1024 * KIB
PURGE_SECONDS_MAX = 60

ENDPOINT = os.environ["ENDPOINT"].rstrip("/")
HOST = ENDPOINT.split("://", 1)[1]
ACCESS_KEY = os.environ["ACCESS_KEY"]
SECRET_KEY = os.environ["SECRET_KEY"]
CATALOG_URI = os.environ.get("CATALOG_URI", ENDPOINT + "/_iceberg").rstrip("/")
REGION = os.environ.get("REGION", "local")
S3_REGION = "us-east-1"
SCRATCH = os.environ.get("SCRATCH") or tempfile.mkdtemp(prefix="nilas-clients-")

# Sizes around every edge the store has: empty, one byte, one sector, the largest object kept in the log, one drive unit.
SIZES = {
    "0B": 0,
    "1B": 1,
    "4KiB": 4 * KIB,
    "128KiB-1": 128 * KIB - 1,
    "128KiB": 128 * KIB,
    "128KiB+1": 128 * KIB + 1,
    "1MiB-1": MIB - 1,
    "1MiB": MIB,
    "1MiB+1": MIB + 1,
    "64MiB": 64 * MIB,
}


def unique(word):
    return f"{word}-{uuid.uuid4().hex[:10]}"


def content(size, seed=0):
    """Bytes that repeat nowhere at a 1 MiB stride and differ between seeds: a misplaced piece cannot go unseen."""
    block = hashlib.shake_128(f"nilas {seed}".encode()).digest(MIB)
    pieces = []
    for at in range(0, size, MIB):
        mark = hashlib.sha256(f"{seed} {at}".encode()).digest()
        pieces.append((mark + block[len(mark):])[: size - at])
    return b"".join(pieces)


def md5_hex(body):
    return hashlib.md5(body).hexdigest()


def s3(access_key=ACCESS_KEY, secret_key=SECRET_KEY, **config):
    """A boto3 client that never retries, so that every answer of the server is seen."""
    return boto3.client(
        "s3",
        endpoint_url=ENDPOINT,
        region_name=S3_REGION,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1},
            max_pool_connections=32,
            read_timeout=120,
            **config,
        ),
    )


def refused(run, *codes):
    """Runs `run`, which must be refused with one of the S3 error `codes`; answers the error."""
    try:
        run()
    except ClientError as error:
        got = error.response["Error"]["Code"]
        assert got in codes, f"refused with {got} ({error.response['Error'].get('Message')}), want {' or '.join(codes)}"
        return error
    raise AssertionError(f"not refused, want {' or '.join(codes)}")


def catalog_call(method, path, body=None, access_key=ACCESS_KEY, secret_key=SECRET_KEY):
    """One signed catalog call; answers (status, parsed body)."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} if data is not None else {}
    request = AWSRequest(method=method, url=CATALOG_URI + path, data=data, headers=headers)
    SigV4Auth(Credentials(access_key, secret_key), "s3tables", REGION).add_auth(request)
    prepared = urllib.request.Request(request.url, data=data, headers=dict(request.headers.items()), method=method)
    try:
        with urllib.request.urlopen(prepared, timeout=60) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    try:
        return status, json.loads(text) if text else None
    except ValueError:
        return status, text


def purges_done():
    """Waits until the server is through with every purge that it took on."""
    end = time.monotonic() + PURGE_SECONDS_MAX
    while time.monotonic() < end:
        with urllib.request.urlopen(ENDPOINT + "/metrics", timeout=30) as answer:
            text = answer.read().decode()
        if sum(float(value) for value in re.findall(r"^nilas_purges_open\S* (\S+)$", text, re.MULTILINE)) == 0:
            return
        time.sleep(0.05)
    raise AssertionError(f"purges are at work after {PURGE_SECONDS_MAX} s")


def warehouse(word):
    """The name of a warehouse for one suite: the one the caller named, else a new one."""
    named = os.environ.get("WAREHOUSE")
    if named:
        return named
    name = unique(word)
    status, answer = catalog_call("POST", "/v1/warehouses", {"name": name})
    assert status in (200, 201), f"create warehouse {name}: {status} {answer}"
    return name
