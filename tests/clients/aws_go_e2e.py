"""The AWS SDK for Go v2 against the S3 API: builds `go/aws.go` and runs it, once as it is and once through TLS, with which it sends
bodies otherwise: not signed, in chunks with a checksum behind them.
"""
import os
import subprocess
import sys

import golang
import nilas
from tls_relay import Relay

SUITE_SECONDS_MAX = 300

program = golang.build("aws")
place = os.path.join(nilas.SCRATCH, nilas.unique("aws-go"))
os.makedirs(place)
relay = Relay(place)
failed = 0
for endpoint in (nilas.ENDPOINT, f"https://{relay.address}"):
    print(f"     {endpoint}", flush=True)
    settings = {**os.environ, "ENDPOINT": endpoint, "SSL_CERT_FILE": relay.certificate}
    failed += subprocess.run([program], env=settings, timeout=SUITE_SECONDS_MAX).returncode != 0
sys.exit(failed)
