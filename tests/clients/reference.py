"""Iceberg's Java REST server as a partner of comparisons: `with Reference(warehouse) as partner: … partner.uri …`.

It keeps names in memory and metadata files in the given warehouse of the server under test; it asks for no key. By hand,
`python reference.py` makes a warehouse, prints the URI and serves until Ctrl-C.
"""
import os
import select
import subprocess
import sys

import maven
import nilas

READY_SECONDS_MAX = 120
STOP_SECONDS_MAX = 30


class Reference:
    def __init__(self, warehouse):
        self.warehouse = warehouse
        self.uri = None
        self.process = None

    def __enter__(self):
        command = ["java", "-Xmx512m", "-Daws.region=us-east-1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]
        command += ["-cp", maven.class_path(), os.path.join(maven.HERE, "rck", "Fixture.java")]
        said = open(os.path.join(nilas.SCRATCH, "reference.log"), "w")
        place = {"ENDPOINT": nilas.ENDPOINT, "ACCESS_KEY": nilas.ACCESS_KEY, "SECRET_KEY": nilas.SECRET_KEY, "WAREHOUSE": self.warehouse}
        self.process = subprocess.Popen(command, env={**os.environ, **place}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said)
        said.close()
        ready, _, _ = select.select([self.process.stdout], [], [], READY_SECONDS_MAX)
        line = self.process.stdout.readline().decode().split() if ready else []
        if line[:1] != ["ready"]:
            self.process.kill()
            raise AssertionError(f"the reference server did not start: {maven.read(os.path.join(nilas.SCRATCH, 'reference.log'))[-2000:]}")
        self.uri = f"http://127.0.0.1:{line[1]}"
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


if __name__ == "__main__":
    with Reference(nilas.warehouse("reference")) as partner:
        print(partner.uri, partner.warehouse, flush=True)
        try:
            partner.process.wait()
        except KeyboardInterrupt:
            sys.exit(0)
