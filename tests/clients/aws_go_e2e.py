"""The AWS SDK for Go v2 against the S3 API: builds and runs `go/aws.go`."""
import subprocess
import sys

import golang

SUITE_SECONDS_MAX = 300

sys.exit(subprocess.run([golang.build("aws")], timeout=SUITE_SECONDS_MAX).returncode)
