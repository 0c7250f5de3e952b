"""Hadoop's contract for file systems, held against S3A on the server: `s3a/Contract.java`, with the jars of `s3a/pom.xml`."""
import os
import subprocess
import sys

import maven
import nilas

SUITE_SECONDS_MAX = 500

client, bucket = nilas.s3(), nilas.unique("s3a-contract")
client.create_bucket(Bucket=bucket)
place = os.path.join(maven.HERE, "s3a")
jars = maven.class_path(os.path.join(place, "pom.xml"), "class-path-s3a")
command = ["java", "-Xmx1g", "-cp", jars, os.path.join(place, "Contract.java")]
environment = {**os.environ, "ENDPOINT": nilas.ENDPOINT, "SCRATCH": nilas.SCRATCH, "BUCKET": bucket}
status = subprocess.run(command, env=environment, stderr=subprocess.DEVNULL if not os.environ.get("TRACE") else None, timeout=SUITE_SECONDS_MAX).returncode
for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
    for entry in page.get("Contents", []):
        client.delete_object(Bucket=bucket, Key=entry["Key"])
client.delete_bucket(Bucket=bucket)
sys.exit(status)
