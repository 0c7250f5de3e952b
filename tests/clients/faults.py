"""What the fault suites share: a server of their own behind the fault proxy, and the checks after a stream of commits.

Import it before `nilas`: it names the endpoint. Environment: FAULT_COMMITS (commits of a stream; 200 before a release),
FAULT_SEED (of the plan and of what is written).
"""
import os
import random
import shutil
import tempfile

PLACE = tempfile.mkdtemp(prefix="faults-", dir=os.environ.get("SCRATCH"))
ACCESS_KEY = os.environ.setdefault("ACCESS_KEY", "nilas-faults")
SECRET_KEY = os.environ.setdefault("SECRET_KEY", "nilas-faults-secret-0123456789")

from fault_proxy import AT_ONCE, KILLED, KILLED_LOST, LATE_COPY, LOST, PASS, SLOW, TWICE, FaultProxy
from own_server import OwnServer

COMMITS = int(os.environ.get("FAULT_COMMITS", "24"))
SEED = int(os.environ.get("FAULT_SEED", "1"))

# What every client has to come through. A kill and a start take longer than a commit, so they are rare.
STREAM = [PASS, TWICE, TWICE, AT_ONCE, AT_ONCE, LATE_COPY, LATE_COPY, LOST, LOST, KILLED, KILLED_LOST]

server = OwnServer(PLACE, ACCESS_KEY, SECRET_KEY)
server.start()


def restart():
    server.kill()
    server.start()


proxy = FaultProxy(server.address, seed=SEED, restart=restart)
dice = random.Random(SEED)
os.environ["ENDPOINT"] = f"http://{proxy.address}"
os.environ["SCRATCH"] = PLACE
os.environ.pop("CATALOG_URI", None)

import nilas
from steps import eq


def faults_met(kinds, conflicts=False):
    """Every kind of the plan was met, and no copy of a commit had another outcome than the commit: success, unless
    `conflicts` says that writers of the stream raced each other."""
    proxy.settle()
    faults, proxy.faults = proxy.faults, []
    counts = {kind: sum(fault.kind == kind for fault in faults) for kind in sorted(set(kinds))}
    print(f"     {counts}, server killed {server.starts - 1} times, {len(proxy.deleted)} deletes of clients", flush=True)
    missing = [kind for kind, count in counts.items() if count == 0]
    outcomes = [(fault, {status in (200, 204) for status in fault.statuses + fault.copies}) for fault in faults]
    wrong = [fault for fault, seen in outcomes if len(seen) != 1 or (False in seen and not conflicts)]
    assert not wrong, f"{len(wrong)} of {len(faults)} commits, first {wrong[0]}"
    assert not missing, f"never met: {missing} in {len(faults)} commits"


def catalog(warehouse):
    """PyIceberg on the warehouse: one of the clients, and the reader of what the others wrote."""
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    from pyiceberg.catalog import load_catalog

    return load_catalog("nilas", **{
        "uri": nilas.CATALOG_URI,
        "warehouse": warehouse,
        "rest.sigv4-enabled": "true",
        "rest.signing-name": "s3tables",
        "rest.signing-region": nilas.REGION,
        "client.access-key-id": nilas.ACCESS_KEY,
        "client.secret-access-key": nilas.SECRET_KEY,
        "client.region": nilas.REGION,
        "s3.endpoint": nilas.ENDPOINT,
    })


def nothing_needed_is_gone(tables):
    """Every file of every retained snapshot is there, and no client asked for one to be deleted."""
    needed = set()
    for table in tables:
        needed |= files_of(table)
    deleted = needed & set(proxy.deleted)
    assert not deleted, f"{len(deleted)} files that a snapshot needs were deleted, e.g. {sorted(deleted)[0]}"
    s3 = nilas.s3()
    stored = set()
    for bucket in {path.split("/", 1)[0] for path in needed}:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            stored |= {f"{bucket}/{entry['Key']}" for entry in page.get("Contents", [])}
    eq(sorted(needed - stored)[:3], [], "files missing")
    return len(needed)


def files_of(table):
    """Every file that the retained snapshots of a PyIceberg table reach, as bucket/key."""
    paths = {table.metadata_location, *(entry.metadata_file for entry in table.metadata.metadata_log)}
    for snapshot in table.snapshots():
        paths.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path in paths:
                continue  # read for another snapshot
            paths.add(manifest.manifest_path)
            paths |= {entry.data_file.file_path for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)}
    return {path.split("://", 1)[1] for path in paths}


def stops():
    assert not proxy.errors, f"the proxy failed: {proxy.errors[:3]}"
    server.stop()
    shutil.rmtree(PLACE)
