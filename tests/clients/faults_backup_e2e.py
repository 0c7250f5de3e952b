"""restic and rclone while their server is killed and comes back: they repeat what was not answered, and nothing that was answered
is missing afterwards.

The server is the suite's own. It is killed with SIGKILL at times drawn from a seed, while data are on their way.
Environment: NILAS_BIN, the program; FAULT_SEED, another seed; KILLS, how often it is killed in each step.
"""
import os
import random
import shutil
import time
from concurrent.futures import ThreadPoolExecutor, wait

import boto3
from botocore.config import Config

import nilas
from nilas import KIB, MIB, content
from own_server import OwnServer
from programs import Program, need
from steps import Steps, eq

KILLS = int(os.environ.get("KILLS", "4"))
SECONDS_BETWEEN = (0.3, 1.5)
SECONDS_DOWN = 0.3

seed = int(os.environ.get("FAULT_SEED", "0")) or random.randrange(1, 1 << 32)
draw = random.Random(seed)
place = os.path.join(nilas.SCRATCH, nilas.unique("faults-backup"))
os.makedirs(place)
server = OwnServer(place, nilas.ACCESS_KEY, nilas.SECRET_KEY)
endpoint = f"http://{server.address}"
client = boto3.client("s3", endpoint_url=endpoint, region_name=nilas.S3_REGION, aws_access_key_id=nilas.ACCESS_KEY, aws_secret_access_key=nilas.SECRET_KEY,
                      config=Config(s3={"addressing_style": "path"},
                                    # The newer modes give up early once many requests have failed, whoever sent them.
                                    retries={"total_max_attempts": 20, "mode": "legacy"}))
common = {"HOME": place, "AWS_ACCESS_KEY_ID": nilas.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": nilas.SECRET_KEY, "AWS_DEFAULT_REGION": nilas.S3_REGION}
restic = Program(need("restic", "restic"), {**common, "RESTIC_REPOSITORY": f"s3:{endpoint}/restic", "RESTIC_PASSWORD": "a password of the suite"}, ["--no-cache"])
rclone = Program(need("rclone", "rclone"), {**common, "RCLONE_CONFIG": os.path.join(place, "none.conf"), **{f"RCLONE_CONFIG_NILAS_{name}": value for name, value in {
    "TYPE": "s3", "PROVIDER": "Minio", "ENV_AUTH": "true", "ENDPOINT": endpoint, "REGION": nilas.S3_REGION, "CHUNK_SIZE": "5Mi", "UPLOAD_CUTOFF": "6Mi"}.items()}},
    ["--retries=10", "--retries-sleep=200ms", "--low-level-retries=20", "--bwlimit=40M"])
FILES = {**{f"many/{number:03}": content(20 * KIB, seed=number) for number in range(300)}, **{f"large/{number}": content(25 * MIB, seed=500 + number) for number in range(3)}}


def among_kills(work):
    """Runs `work` on a thread of its own; meanwhile kills the server and starts it again, `KILLS` times."""
    # The server dies with the thread that has started it: that is this one.
    with ThreadPoolExecutor(1) as pool:
        running, kills = pool.submit(work), 0
        while kills < KILLS and not wait([running], draw.uniform(*SECONDS_BETWEEN)).done:
            server.kill()
            kills += 1
            time.sleep(SECONDS_DOWN)
            server.start()
        running.result()
    assert kills > 0, f"seed {seed}: it was over before the server was killed once"


def start():
    print(f"seed {seed}", flush=True)
    server.start()
    restic("init")
    for name, body in FILES.items():
        os.makedirs(os.path.dirname(os.path.join(place, "work", name)), exist_ok=True)
        with open(os.path.join(place, "work", name), "wb") as file:
            file.write(body)


def same(top):
    for name, body in FILES.items():
        with open(os.path.join(top, name), "rb") as file:
            assert file.read() == body, f"seed {seed}: {name}: other bytes"


def backup():
    among_kills(lambda: restic("--limit-upload", str(15 * KIB), "backup", os.path.join(place, "work")))
    said = restic("check", "--read-data")
    assert "no errors were found" in said, f"seed {seed}: {said}"
    restic("restore", "latest", "--target", os.path.join(place, "back"))
    same(os.path.join(place, "back", os.path.join(place, "work").lstrip("/")))


def prune():
    """What is left after a prune is what the last snapshot needs."""
    os.remove(os.path.join(place, "work", "large", "0"))
    FILES.pop("large/0")
    restic("backup", os.path.join(place, "work"))

    def work():
        restic("--limit-download", str(20 * KIB), "forget", "--keep-last", "1", "--prune", "--max-unused", "0")
        restic("--limit-download", str(20 * KIB), "check", "--read-data")

    among_kills(work)
    assert "no errors were found" in restic("check", "--read-data"), f"seed {seed}"


def copy():
    client.create_bucket(Bucket="rclone")
    among_kills(lambda: rclone("copy", os.path.join(place, "work"), "nilas:rclone/tree"))
    rclone("check", "--download", os.path.join(place, "work"), "nilas:rclone/tree")
    found = [entry["Key"] for page in client.get_paginator("list_objects_v2").paginate(Bucket="rclone") for entry in page["Contents"]]
    eq(found, sorted(f"tree/{name}" for name in FILES), f"seed {seed}: keys")


def acknowledged():
    """Every put that was answered is there with its bytes, every delete that was answered has deleted."""
    client.create_bucket(Bucket="puts")
    there, gone = {}, set()

    def work(worker):
        for number in range(150):
            key, body = f"{worker}/{number % 40}", content(draw_size(worker, number), seed=worker * 1000 + number)
            client.put_object(Bucket="puts", Key=key, Body=body)
            there[key] = body
            gone.discard(key)
            if number % 7 == 3:
                client.delete_object(Bucket="puts", Key=key)
                there.pop(key)
                gone.add(key)

    def all_of_them():
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(work, range(6)))

    among_kills(all_of_them)
    eq(len(there) + len(gone), 6 * 40, f"seed {seed}: keys whose writes were answered")
    found = {entry["Key"] for page in client.get_paginator("list_objects_v2").paginate(Bucket="puts") for entry in page.get("Contents", [])}
    eq(found, set(there), f"seed {seed}: keys")
    for key, body in there.items():
        assert client.get_object(Bucket="puts", Key=key)["Body"].read() == body, f"seed {seed}: {key}: other bytes"


def draw_size(worker, number):
    return (0, 1, 3 * KIB, 100 * KIB, 128 * KIB + 1, 700 * KIB)[(worker + number) % 6]


def stop():
    server.stop()
    shutil.rmtree(place)


steps = Steps("faults-backup")
if not steps("start", start):
    steps.close()
steps.run([
    ("restic-backup", backup),
    ("restic-prune", prune),
    ("rclone-copy", copy),
    ("acknowledged", acknowledged),
    ("stop", stop),
])
