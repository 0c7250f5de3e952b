"""The packages of `js/package-lock.json`, for the suites that drive JavaScript.

They are installed under the target directory, anew when the lock changes. Needs Node 20 or newer and npm (Debian: apt-get
install nodejs npm).
"""
import os
import shutil
import subprocess

import maven

HERE = os.path.join(maven.HERE, "js")
PLACE = os.path.join(maven.TARGET, "js")
LOCK = "package-lock.json"
INSTALL_SECONDS_MAX = 300
BUNDLE_SECONDS_MAX = 60


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


def script(name):
    """The path of a script of `js/` where Node finds the packages: beside them."""
    install()
    return shutil.copy(os.path.join(HERE, name), PLACE)


def bundle(name):
    """The text of a script of `js/` with all that it imports, for a page: what it exports is in the global `sdk`."""
    command = [os.path.join(PLACE, "node_modules", ".bin", "esbuild"), script(name), "--bundle", "--format=iife", "--global-name=sdk", "--log-level=error"]
    return subprocess.run(command, cwd=PLACE, check=True, capture_output=True, timeout=BUNDLE_SECONDS_MAX).stdout
