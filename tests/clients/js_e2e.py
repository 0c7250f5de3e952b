"""The AWS SDK for JavaScript against the S3 API: `js/s3.mjs`, with the packages of `js/package-lock.json`.

They are installed under the target directory, anew when the lock changes. Needs Node 20 or newer and npm (Debian: apt-get
install nodejs npm).
"""
import os
import shutil
import subprocess
import sys

import maven

HERE = os.path.join(maven.HERE, "js")
PLACE = os.path.join(maven.TARGET, "js")
LOCK = "package-lock.json"
INSTALL_SECONDS_MAX = 300
SUITE_SECONDS_MAX = 300


def install():
    """A copy of the lock is written last: it is the sign that all is there."""
    lock = maven.read(os.path.join(HERE, LOCK))
    stamp = os.path.join(PLACE, "installed.lock")
    assert lock, f"no {LOCK}"
    if maven.read(stamp) == lock:
        return
    os.makedirs(PLACE, exist_ok=True)
    for name in ("package.json", LOCK):
        shutil.copy(os.path.join(HERE, name), PLACE)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    subprocess.run(command, cwd=PLACE, check=True, timeout=INSTALL_SECONDS_MAX)
    with open(stamp, "w") as file:
        file.write(lock)


install()
# Node looks for packages beside the script.
shutil.copy(os.path.join(HERE, "s3.mjs"), PLACE)
quiet = {**os.environ, "NODE_NO_WARNINGS": "1"}  # of what later versions of the packages will want
sys.exit(subprocess.run(["node", os.path.join(PLACE, "s3.mjs")], env=quiet, timeout=SUITE_SECONDS_MAX).returncode)
