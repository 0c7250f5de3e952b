"""Debian's Docker registry with its layers in a bucket: images pushed and pulled by the registry's own HTTP calls.

The registry's driver uploads in parts that it copies and joins anew for every piece that is pushed, and moves finished
layers by CopyObject or UploadPartCopy.
"""
import hashlib
import http.client
import json
import os
import shutil
import subprocess
import time
import urllib.parse

import nilas
from nilas import MIB, content
from own_server import die_with_parent, free_port
from programs import need
from steps import Steps, eq

READY_SECONDS_MAX = 30
LAYER_BYTES = 33 * MIB + 5
PIECE_BYTES = 9 * MIB
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"

bucket = nilas.unique("registry")
client = nilas.s3()
place = os.path.join(nilas.SCRATCH, bucket)
os.makedirs(place)
port = free_port()
process = None


def configuration(redirect):
    return f"""version: 0.1
log: {{level: warn}}
http: {{addr: "127.0.0.1:{port}", secret: a-secret-of-the-suite}}
storage:
  s3:
    region: {nilas.S3_REGION}
    regionendpoint: {nilas.ENDPOINT}
    bucket: {bucket}
    accesskey: {nilas.ACCESS_KEY}
    secretkey: {nilas.SECRET_KEY}
    secure: false
    rootdirectory: /images
    chunksize: {5 * MIB}
    multipartcopythresholdsize: {16 * MIB}
    multipartcopychunksize: {8 * MIB}
  delete: {{enabled: true}}
  redirect: {{disable: {"false" if redirect else "true"}}}
  maintenance: {{uploadpurging: {{enabled: false}}}}
"""


def start(redirect=False):
    global process
    with open(os.path.join(place, "config.yml"), "w") as file:
        file.write(configuration(redirect))
    with open(os.path.join(place, "registry.log"), "a") as log:
        process = subprocess.Popen([need("docker-registry", "docker-registry"), "serve", file.name], stdout=log, stderr=log, preexec_fn=die_with_parent,
                                   env={"PATH": os.environ["PATH"], "HOME": place, "OTEL_TRACES_EXPORTER": "none"})
    end = time.monotonic() + READY_SECONDS_MAX
    while time.monotonic() < end and process.poll() is None:
        try:
            if call("GET", "/v2/")[0] == 200:
                return
        except OSError:
            time.sleep(0.05)
    with open(os.path.join(place, "registry.log")) as log:
        raise AssertionError(f"the registry is not ready: {log.read()[-1000:]}")


def stop():
    process.terminate()
    process.wait(READY_SECONDS_MAX)


def call(method, path, body=None, to=None, **headers):
    """One request; answers (status, headers, body)."""
    connection = http.client.HTTPConnection(to or f"127.0.0.1:{port}", timeout=120)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    got = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    connection.close()
    return got


def passes(status, method, path, body=None, **headers):
    got = call(method, path, body, **headers)
    eq(got[0], status, f"{method} {path}: {got[2][:300]!r}: status")
    return got


def digest(body):
    return "sha256:" + hashlib.sha256(body).hexdigest()


def place_of(headers):
    """The path of the next request of an upload."""
    parsed = urllib.parse.urlsplit(headers["location"])
    return parsed.path + ("?" + parsed.query if parsed.query else "")


def joined(path, name, value):
    return f"{path}{'&' if '?' in path else '?'}{name}={urllib.parse.quote(value, safe='')}"


def push_whole(name, body):
    _, headers, _ = passes(202, "POST", f"/v2/{name}/blobs/uploads/")
    passes(201, "PUT", joined(place_of(headers), "digest", digest(body)), body, Content_Type="application/octet-stream")


def push_pieces(name, body, piece=PIECE_BYTES):
    _, headers, _ = passes(202, "POST", f"/v2/{name}/blobs/uploads/")
    for at in range(0, len(body), piece):
        part = body[at: at + piece]
        _, headers, _ = passes(202, "PATCH", place_of(headers), part, Content_Type="application/octet-stream", Content_Range=f"{at}-{at + len(part) - 1}")
        eq(headers["range"], f"0-{at + len(part) - 1}", "bytes taken")
    passes(201, "PUT", joined(place_of(headers), "digest", digest(body)))


LAYERS = {"small": content(10_000, seed=230), "large": content(LAYER_BYTES, seed=231), "one": b"1"}
SETTINGS = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}}).encode()
IMAGE = json.dumps({
    "schemaVersion": 2, "mediaType": MANIFEST,
    "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(SETTINGS), "digest": digest(SETTINGS)},
    "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": len(body), "digest": digest(body)} for body in LAYERS.values()],
}).encode()


def pushing():
    push_whole("nilas/app", SETTINGS)
    push_whole("nilas/app", LAYERS["small"])
    push_whole("nilas/app", LAYERS["one"])


def pieces():
    push_pieces("nilas/app", LAYERS["large"])
    stored = f"images/docker/registry/v2/blobs/sha256/{digest(LAYERS['large'])[7:9]}/{digest(LAYERS['large'])[7:]}/data"
    assert client.get_object(Bucket=bucket, Key=stored)["Body"].read() == LAYERS["large"], "other bytes stored"
    eq(client.list_multipart_uploads(Bucket=bucket).get("Uploads"), None, "uploads left")


def small_pieces():
    """Pieces below the least size of a part: the driver reads back what it has and joins it anew."""
    body = content(12 * MIB, seed=232)
    push_pieces("nilas/other", body, piece=MIB + MIB // 2)
    eq(passes(200, "GET", f"/v2/nilas/other/blobs/{digest(body)}")[2] == body, True, "the same bytes")


def wrong_digest():
    _, headers, _ = passes(202, "POST", "/v2/nilas/app/blobs/uploads/")
    passes(400, "PUT", joined(place_of(headers), "digest", digest(b"something else")), b"something", Content_Type="application/octet-stream")


def pulling():
    passes(201, "PUT", "/v2/nilas/app/manifests/v1", IMAGE, Content_Type=MANIFEST)
    _, headers, got = passes(200, "GET", "/v2/nilas/app/manifests/v1", Accept=MANIFEST)
    eq((got, headers["docker-content-digest"]), (IMAGE, digest(IMAGE)))
    for name, body in LAYERS.items():
        eq(int(passes(200, "HEAD", f"/v2/nilas/app/blobs/{digest(body)}")[1]["content-length"]), len(body), name)
        assert passes(200, "GET", f"/v2/nilas/app/blobs/{digest(body)}")[2] == body, f"{name}: other bytes"
    large = LAYERS["large"]
    eq(passes(206, "GET", f"/v2/nilas/app/blobs/{digest(large)}", Range="bytes=8388600-8388620")[2], large[8388600:8388621])


def mounting():
    passes(201, "POST", f"/v2/nilas/third/blobs/uploads/?mount={digest(LAYERS['large'])}&from=nilas/app")
    passes(200, "HEAD", f"/v2/nilas/third/blobs/{digest(LAYERS['large'])}")


def listing():
    eq(json.loads(passes(200, "GET", "/v2/nilas/app/tags/list")[2]), {"name": "nilas/app", "tags": ["v1"]})
    catalog = json.loads(passes(200, "GET", "/v2/_catalog")[2])["repositories"]
    eq([name for name in catalog if name == "nilas/app"], ["nilas/app"])


def redirects():
    """By default the registry sends its users to the bucket, with presigned URLs."""
    stop()
    start(redirect=True)
    status, headers, _ = call("GET", f"/v2/nilas/app/blobs/{digest(LAYERS['large'])}")
    eq(status, 307)
    address = urllib.parse.urlsplit(headers["location"])
    status, _, got = call("GET", f"{address.path}?{address.query}", to=address.netloc)
    eq((status, got == LAYERS["large"]), (200, True))


def deleting():
    passes(202, "DELETE", f"/v2/nilas/app/manifests/{digest(IMAGE)}")
    passes(404, "GET", "/v2/nilas/app/manifests/v1", Accept=MANIFEST)
    stop()
    before = count()
    subprocess.run([need("docker-registry", "docker-registry"), "garbage-collect", os.path.join(place, "config.yml")], check=True, capture_output=True, timeout=120)
    assert count() < before, "nothing was collected"


def count():
    return sum(page["KeyCount"] for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket))


def remove():
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": entry["Key"]} for entry in page.get("Contents", [])]})
    client.delete_bucket(Bucket=bucket)
    shutil.rmtree(place)


def begin():
    client.create_bucket(Bucket=bucket)
    start()


steps = Steps("registry")
if not steps("start", begin):
    steps.close()
steps.run([
    ("push", pushing),
    ("push-pieces", pieces),
    ("push-small-pieces", small_pieces),
    ("wrong-digest", wrong_digest),
    ("pull", pulling),
    ("mount", mounting),
    ("list", listing),
    ("redirect", redirects),
    ("delete", deleting),
    ("remove", remove),
])
