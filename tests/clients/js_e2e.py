"""The AWS SDK for JavaScript against the S3 API: `js/s3.mjs`, with the packages of `js/package-lock.json`."""
import os
import subprocess
import sys

import npm

SUITE_SECONDS_MAX = 300

quiet = {**os.environ, "NODE_NO_WARNINGS": "1"}  # of what later versions of the packages will want
sys.exit(subprocess.run(["node", npm.script("s3.mjs")], env=quiet, timeout=SUITE_SECONDS_MAX).returncode)
