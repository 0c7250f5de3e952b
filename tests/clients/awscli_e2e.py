"""The AWS command line against the S3 API: what people type, each command a process of its own.

Environment: AWS_PROGRAM, the words of another `aws` than the one of this Python's environment.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

import nilas
from nilas import KIB, MIB, SIZES, content, md5_hex
from steps import Steps, eq

COMMAND_SECONDS_MAX = 300
STALL_SECONDS = 45  # the command's own read timeout is 60

program = os.environ.get("AWS_PROGRAM", os.path.join(os.path.dirname(sys.executable), "aws")).split()
bucket = nilas.unique("awscli")
place = tempfile.mkdtemp(prefix="awscli-", dir=nilas.SCRATCH)
environment = {
    **os.environ,
    "AWS_ACCESS_KEY_ID": nilas.ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": nilas.SECRET_KEY,
    "AWS_DEFAULT_REGION": nilas.S3_REGION,
    "AWS_ENDPOINT_URL": nilas.ENDPOINT,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.path.join(place, "config"),
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_MAX_ATTEMPTS": "1",
    "AWS_PAGER": "",
}
with open(environment["AWS_CONFIG_FILE"], "w") as config:
    config.write("[default]\ns3 =\n  addressing_style = path\n  signature_version = s3v4\n  multipart_threshold = 8MB\n  multipart_chunksize = 8MB\n")


def aws(*words, fails=None):
    """Runs one command; answers its output. `fails`: the command must fail and say this."""
    done = subprocess.run([*program, *words], env=environment, capture_output=True, text=True, timeout=COMMAND_SECONDS_MAX)
    said = f"aws {' '.join(words)}: exit {done.returncode}: {done.stderr.strip() or done.stdout.strip()}"
    if fails is None:
        assert done.returncode == 0, said
    else:
        assert done.returncode != 0 and fails in done.stderr, said
    return done.stdout


def line():
    """The version as numbers."""
    return tuple(int(number) for number in aws("--version").split()[0].split("/")[1].split("."))


def api(*words, **more):
    out = aws("s3api", *words, **more)
    return json.loads(out) if out.strip() else {}


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


def keys(prefix=""):
    """Keys as `ls --recursive` shows them."""
    return [line.split(None, 3)[3] for line in aws("s3", "ls", "--recursive", f"s3://{bucket}/{prefix}").splitlines()]


def make_bucket():
    aws("s3", "mb", f"s3://{bucket}")
    assert bucket in aws("s3", "ls")


def size_step(name, size):
    def run():
        body = content(size, seed=50)
        aws("s3", "cp", "--quiet", write(f"up-{name}", body), f"s3://{bucket}/sizes/{name}")
        aws("s3", "cp", "--quiet", f"s3://{bucket}/sizes/{name}", path(f"down-{name}"))
        assert read(f"down-{name}") == body, "other bytes came back"
        os.remove(path(f"up-{name}"))
        os.remove(path(f"down-{name}"))

    return run


def multipart():
    size = 200 * MIB
    body = content(size, seed=51)
    aws("s3", "cp", "--quiet", write("big", body), f"s3://{bucket}/big")
    head = api("head-object", "--bucket", bucket, "--key", "big")
    eq((head["ContentLength"], head["ETag"].strip('"').split("-")[1]), (size, str(size // (8 * MIB))))
    aws("s3", "cp", "--quiet", f"s3://{bucket}/big", path("big-back"))
    assert read("big-back") == body, "other bytes came back"
    aws("s3", "cp", "--quiet", f"s3://{bucket}/big", f"s3://{bucket}/big-copy")
    eq(api("head-object", "--bucket", bucket, "--key", "big-copy")["ContentLength"], size)
    middle = 9 * 8 * MIB
    api("get-object", "--bucket", bucket, "--key", "big-copy", "--range", f"bytes={middle - 3}-{middle + 2}", path("piece"))
    eq(read("piece"), body[middle - 3: middle + 3])
    aws("s3", "rm", "--quiet", f"s3://{bucket}/big-copy")
    for name in ("big", "big-back"):
        os.remove(path(name))


def stream():
    body = content(300 * KIB, seed=52)
    more = {"env": environment, "capture_output": True, "check": True, "timeout": COMMAND_SECONDS_MAX}
    subprocess.run([*program, "s3", "cp", "-", f"s3://{bucket}/stdin"], input=body, **more)
    done = subprocess.run([*program, "s3", "cp", f"s3://{bucket}/stdin", "-"], **more)
    assert done.stdout == body, "other bytes came back"


TREE = {f"tree/{folder}/file {number}.txt": f"{folder} {number}".encode() * 100 for folder in ("a", "b/c", "ü") for number in range(5)}


def sync():
    for name, body in TREE.items():
        hour_ago = time.time() - 3600  # `sync` compares times, and a listing has whole seconds
        os.utime(write(name, body), (hour_ago, hour_ago))
    aws("s3", "sync", "--quiet", path("tree"), f"s3://{bucket}/tree")
    eq(sorted(keys("tree/")), sorted(TREE))
    eq(aws("s3", "sync", "--dryrun", path("tree"), f"s3://{bucket}/tree").strip(), "", "a second sync has nothing to do")
    write("tree/a/new.txt", b"new")
    os.remove(path("tree/a/file 0.txt"))
    aws("s3", "sync", "--quiet", "--delete", path("tree"), f"s3://{bucket}/tree")
    want = sorted((set(TREE) | {"tree/a/new.txt"}) - {"tree/a/file 0.txt"})
    eq(sorted(keys("tree/")), want)
    aws("s3", "sync", "--quiet", f"s3://{bucket}/tree", path("back"))
    for name in want:
        eq(read(name.replace("tree/", "back/", 1)), read(name), name)


def sync_empty():
    """Empty files among others, with the command's own number of connections: none of them may hold the others up."""
    names = {f"hollow/{number:02}{kind}": body for number in range(20) for kind, body in ((".empty", b""), (".txt", b"text"), ("/.keep", b""))}
    for name, body in names.items():
        write(name, body)
    started = time.monotonic()
    aws("s3", "sync", "--quiet", path("hollow"), f"s3://{bucket}/hollow")
    eq(sorted(keys("hollow/")), sorted(names))
    aws("s3", "sync", "--quiet", f"s3://{bucket}/hollow", path("hollow-back"))
    for name, body in names.items():
        eq(read(name.replace("hollow/", "hollow-back/", 1)), body, name)
    assert time.monotonic() - started < STALL_SECONDS, "the command waited for an answer"


def listing():
    lines = aws("s3", "ls", f"s3://{bucket}/tree/").splitlines()
    eq([line.split()[-1] for line in lines], ["a/", "b/", "ü/"])
    summary = aws("s3", "ls", "--recursive", "--summarize", f"s3://{bucket}/tree/")
    assert "Total Objects: 15" in summary, summary


def move():
    body = content(200 * KIB, seed=53)
    aws("s3", "mv", "--quiet", write("moved", body), f"s3://{bucket}/moved")
    assert not os.path.exists(path("moved"))
    aws("s3", "mv", "--quiet", f"s3://{bucket}/moved", f"s3://{bucket}/moved again")
    aws("s3api", "head-object", "--bucket", bucket, "--key", "moved", fails="404")
    aws("s3", "mv", "--quiet", f"s3://{bucket}/moved again", path("moved"))
    assert read("moved") == body
    aws("s3api", "head-object", "--bucket", bucket, "--key", "moved again", fails="404")


def api_calls():
    body = content(100 * KIB, seed=54)
    write("one", body)
    put = api("put-object", "--bucket", bucket, "--key", "one", "--body", path("one"), "--metadata", "k=v", "--content-type", "text/x")
    eq(put["ETag"], f'"{md5_hex(body)}"')
    head = api("head-object", "--bucket", bucket, "--key", "one")
    eq((head["ContentLength"], head["Metadata"], head["ContentType"]), (len(body), {"k": "v"}, "text/x"))
    got = api("get-object", "--bucket", bucket, "--key", "one", "--range", "bytes=65530-65550", path("piece"))
    eq((got["ContentRange"], read("piece")), (f"bytes 65530-65550/{len(body)}", body[65530:65551]))
    condition = ["--if-none-match", "*"] if not (2,) <= line() < (2, 17) else []
    if condition:
        aws("s3api", "put-object", "--bucket", bucket, "--key", "one", "--body", path("one"), *condition, fails="PreconditionFailed")
    api("put-object", "--bucket", bucket, "--key", "two", "--body", path("one"), *condition)
    aws("s3api", "get-object", "--bucket", bucket, "--key", "none", path("piece"), fails="NoSuchKey")
    first = api("list-objects-v2", "--bucket", bucket, "--prefix", "tree/", "--max-items", "4")
    eq(len(first["Contents"]), 4)
    rest = api("list-objects-v2", "--bucket", bucket, "--prefix", "tree/", "--starting-token", first["NextToken"])
    eq(len(first["Contents"]) + len(rest["Contents"]), 15, "both pages")
    api("delete-object", "--bucket", bucket, "--key", "one")
    aws("s3api", "head-object", "--bucket", bucket, "--key", "one", fails="404")


def presign():
    url = aws("s3", "presign", f"s3://{bucket}/two", "--expires-in", "60").strip()
    with urllib.request.urlopen(url, timeout=30) as answer:
        eq(md5_hex(answer.read()), md5_hex(content(100 * KIB, seed=54)))


def presign_by_default():
    """Without `signature_version` the URL is of version 2, but for the second line of the command."""
    with open(path("default-config"), "w") as config:
        config.write("[default]\ns3 =\n  addressing_style = path\n")
    kept = environment["AWS_CONFIG_FILE"]
    environment["AWS_CONFIG_FILE"] = path("default-config")
    try:
        url = aws("s3", "presign", f"s3://{bucket}/two", "--expires-in", "60").strip()
    finally:
        environment["AWS_CONFIG_FILE"] = kept
    sign, other = ("AWSAccessKeyId=", "X-Amz-") if line() < (2,) else ("X-Amz-Signature=", "AWSAccessKeyId=")
    assert sign in url and other not in url, url
    with urllib.request.urlopen(url, timeout=30) as answer:
        eq(md5_hex(answer.read()), md5_hex(content(100 * KIB, seed=54)))


def remove():
    aws("s3", "rb", f"s3://{bucket}", fails="BucketNotEmpty")
    aws("s3", "rm", "--quiet", "--recursive", f"s3://{bucket}")
    eq(api("list-objects-v2", "--bucket", bucket).get("Contents"), None)
    aws("s3", "rb", f"s3://{bucket}")
    aws("s3api", "head-bucket", "--bucket", bucket, fails="404")
    shutil.rmtree(place)


steps = Steps("awscli")
if not steps("make-bucket", make_bucket):
    steps.close()
steps.run(
    [(f"cp-{name}", size_step(name, size)) for name, size in SIZES.items()]
    + [
        ("cp-200MiB", multipart),
        ("cp-stream", stream),
        ("sync", sync),
        ("sync-empty-files", sync_empty),
        ("ls", listing),
        ("mv", move),
        ("s3api", api_calls),
        ("presign", presign),
        ("presign-by-default", presign_by_default),
        ("rm-rb", remove),
    ]
)
