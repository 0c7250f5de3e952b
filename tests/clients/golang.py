"""Go for the suites that drive it: programs built with the modules of `go/go.mod`, under the target directory.

Downloads are kept where Go keeps them. Needs Go of the version that `go/go.mod` names, or newer, on PATH.
"""
import os
import shutil
import subprocess

import maven

MODULE = os.path.join(maven.HERE, "go")
PLACE = os.path.join(maven.TARGET, "go")
BUILD_SECONDS_MAX = 580


def go(*words):
    """One run of Go in the module; answers what it said."""
    program = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin:/usr/lib/go/bin")
    if program is None:
        raise SystemExit("this suite needs Go on PATH, of the version that tests/clients/go/go.mod names")
    # Whatever the caller's settings: the versions are those of go.mod, and no other Go is fetched.
    environment = {**os.environ, "GOFLAGS": "-mod=readonly -buildvcs=false", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    done = subprocess.run([program, *words], cwd=MODULE, env=environment, capture_output=True, text=True, timeout=BUILD_SECONDS_MAX)
    assert done.returncode == 0, f"go {' '.join(words)}: exit {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout.strip()


def build(name, source="."):
    """The path of the program made of `source`: the module's own, or a file of the package main elsewhere."""
    os.makedirs(PLACE, exist_ok=True)
    path = os.path.join(PLACE, name)
    go("build", "-o", path, source)
    return path
