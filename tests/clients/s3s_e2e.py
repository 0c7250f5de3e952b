"""The test programme `s3s-e2e` of crates.io: 17 cases with the AWS SDK for Rust, STS among them.

cargo installs a pinned version under the target directory (some minutes, once). All of its cases must pass.
"""
import json
import os
import subprocess
import sys

import cargo_client
import nilas

VERSION = "0.14.1"
RUN_SECONDS_MAX = 300

root = os.path.join(cargo_client.TARGET, "clients", f"s3s-e2e-{VERSION}")
program = os.path.join(root, "bin", "s3s-e2e")
if not os.path.exists(program):
    cargo_client.cargo("install", "s3s-e2e", "--version", VERSION, "--locked", "--root", root, "--debug", place="s3s")
report = os.path.join(os.environ.get("SCRATCH", root), "s3s-e2e.json")
environment = {
    **os.environ,
    "AWS_ENDPOINT_URL": nilas.ENDPOINT,
    "AWS_ACCESS_KEY_ID": nilas.ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": nilas.SECRET_KEY,
    "AWS_REGION": nilas.S3_REGION,
    "AWS_DEFAULT_REGION": nilas.S3_REGION,
}
ran = subprocess.run([program, "--json", report], env=environment, timeout=RUN_SECONDS_MAX)
assert os.path.exists(report), "no report"
with open(report) as file:
    told = json.load(file)
print(json.dumps(told)[:2000])
sys.exit(ran.returncode)
