"""The integration checks of the Rust crate object_store, on which DataFusion, delta-rs, polars and iceberg-rust rest.

`object_store/` is a small program over them, a workspace of its own. cargo builds it (a minute or two, once) under the target
directory. Each check is a step.
"""
import os
import subprocess
import sys

import cargo_client
import nilas

BUCKET = nilas.unique("object-store")
RUN_SECONDS_MAX = 300

manifest = os.path.join(cargo_client.HERE, "object_store", "Cargo.toml")
cargo_client.cargo("build", "--quiet", "--locked", "--manifest-path", manifest, place="object_store")
nilas.s3().create_bucket(Bucket=BUCKET)
environment = {
    **os.environ,
    "AWS_ENDPOINT": nilas.ENDPOINT,
    "AWS_ACCESS_KEY_ID": nilas.ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": nilas.SECRET_KEY,
    "AWS_REGION": nilas.S3_REGION,
    "AWS_BUCKET": BUCKET,
}
run = [cargo_client.program("object_store", "debug", "nilas-object-store")]
sys.exit(subprocess.run(run, env=environment, timeout=RUN_SECONDS_MAX).returncode)
