"""The policy language against a simulator of IAM that others keep: `policy/compare.mjs`, with the package of
`policy/package-lock.json`, asks both the same questions about policies made at random.

It is installed under the target directory, anew when the lock changes, and run as it is, in a process of its own. Needs
Node 20 or newer and npm (Debian: apt-get install nodejs npm). Environment: COUNT, questions (4000); SEED, a number (1), or
`any` for one that is drawn and printed.
"""
import os
import shutil
import subprocess
import sys

import maven

HERE = os.path.join(maven.HERE, "policy")
PLACE = os.path.join(maven.TARGET, "policy")
LOCK = "package-lock.json"
INSTALL_SECONDS_MAX = 300
BUILD_SECONDS_MAX = 600
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


def decider():
    """The program that answers for us, as the tests of the workspace build it. Environment: NILAS_DECIDE names another."""
    if "NILAS_DECIDE" in os.environ:
        return os.environ["NILAS_DECIDE"]
    command = ["cargo", "build", "--quiet", "-p", "nilas-tests", "--bin", "nilas-decide"]
    subprocess.run(command, cwd=os.path.dirname(os.path.dirname(maven.HERE)), check=True, timeout=BUILD_SECONDS_MAX)
    return os.path.join(maven.TARGET, "debug", "nilas-decide")


install()
# Node looks for packages beside the script.
shutil.copy(os.path.join(HERE, "compare.mjs"), PLACE)
environment = {**os.environ, "NILAS_DECIDE": decider(), "NODE_NO_WARNINGS": "1"}
sys.exit(subprocess.run(["node", os.path.join(PLACE, "compare.mjs")], env=environment, timeout=SUITE_SECONDS_MAX).returncode)
