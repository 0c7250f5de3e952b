"""restic: a repository in a bucket, by minio-go: backups, restores, checks that read every pack, forget and prune, locks.
"""
import json
import os
import shutil

import nilas
from nilas import KIB, MIB, content
from programs import Program, need
from steps import Steps, eq

bucket = nilas.unique("restic")
client = nilas.s3()
place = os.path.join(nilas.SCRATCH, bucket)
os.makedirs(os.path.join(place, "work"))
restic = Program(need("restic", "restic"), {
    "HOME": place,
    "AWS_ACCESS_KEY_ID": nilas.ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": nilas.SECRET_KEY,
    "AWS_DEFAULT_REGION": nilas.S3_REGION,
    "RESTIC_REPOSITORY": f"s3:{nilas.ENDPOINT}/{bucket}/backups",
    "RESTIC_PASSWORD": "a password of the suite",
}, ["--cleanup-cache"])
FILES = {"small": b"small", "empty": b"", "ä/ö.txt": b"text" * 1000, "large": content(40 * MIB, seed=220), **{f"many/{number}": content(10 * KIB, seed=number) for number in range(100)}}


def write(name, body):
    full = os.path.join(place, "work", name)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "wb") as file:
        file.write(body)


def snapshots():
    return json.loads(restic("snapshots", "--json")) or []


def restored(snapshot, files):
    target = os.path.join(place, "back")
    shutil.rmtree(target, ignore_errors=True)
    restic("restore", snapshot, "--target", target)
    top = os.path.join(target, os.path.join(place, "work").lstrip("/"))
    found = {os.path.relpath(os.path.join(folder, name), top) for folder, _, names in os.walk(top) for name in names}
    eq(found, set(files), "files restored")
    for name, body in files.items():
        with open(os.path.join(top, name), "rb") as file:
            assert file.read() == body, f"{name}: other bytes"


def init():
    # The bucket is made with the repository.
    restic("init")
    client.head_object(Bucket=bucket, Key="backups/config")
    restic("init", fails="already")


def backup():
    for name, body in FILES.items():
        write(name, body)
    restic("backup", os.path.join(place, "work"))
    eq(len(snapshots()), 1)
    restored(snapshots()[0]["id"], FILES)


def second():
    write("small", b"another")
    os.remove(os.path.join(place, "work", "many", "7"))
    before = stored()
    restic("backup", os.path.join(place, "work"))
    assert stored() - before < MIB, "what did not change was stored again"
    eq(len(snapshots()), 2)
    restored("latest", {**{name: body for name, body in FILES.items() if name != "many/7"}, "small": b"another"})
    changes = restic("diff", *(one["id"] for one in sorted(snapshots(), key=lambda one: one["time"])))
    assert "many/7" in changes and "small" in changes, changes


def stored():
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return sum(entry["Size"] for page in pages for entry in page.get("Contents", []))


def check():
    said = restic("check", "--read-data")
    assert "no errors were found" in said, said


def forget():
    write("large", content(30 * MIB, seed=221))
    restic("backup", os.path.join(place, "work"))
    before = stored()
    restic("forget", "--keep-last", "1", "--prune")
    eq(len(snapshots()), 1)
    assert stored() < before - 30 * MIB, f"pruned from {before} to {stored()} bytes only"
    check()
    eq([entry["Key"] for entry in client.list_objects_v2(Bucket=bucket, Prefix="backups/locks/").get("Contents", [])], [], "locks left")


def damage():
    """Bytes that are missing are seen, and said."""
    packs = client.list_objects_v2(Bucket=bucket, Prefix="backups/data/")["Contents"]
    client.delete_object(Bucket=bucket, Key=max(packs, key=lambda entry: entry["Size"])["Key"])
    restic("check", fails="does not exist")


def remove():
    keys = [entry["Key"] for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket) for entry in page["Contents"]]
    for at in range(0, len(keys), 1000):
        client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys[at: at + 1000]]})
    client.delete_bucket(Bucket=bucket)
    shutil.rmtree(place)


steps = Steps("restic")
if not steps("init", init):
    steps.close()
steps.run([
    ("backup-restore", backup),
    ("second-backup", second),
    ("check-read-data", check),
    ("forget-prune", forget),
    ("damage-is-seen", damage),
    ("remove", remove),
])
