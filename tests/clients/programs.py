"""The programs that suites drive: installed from Debian when they are missing, run to the end, their words kept.

A suite names the program and its package. As root, as in CI, `apt-get` installs it; others are asked to.
"""
import os
import shutil
import subprocess

INSTALL_SECONDS_MAX = 600
COMMAND_SECONDS_MAX = 300


def need(program, package):
    """The path of `program` in the system's own directories, after installing `package` when it is not there."""
    if not found(program):
        if os.geteuid() != 0:
            raise SystemExit(f"{program} is missing: apt-get install {package}")
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for words in (["update"], ["install", "-y", "--no-install-recommends", package]):
            done = subprocess.run(["apt-get", "-q", *words], env=quiet, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=INSTALL_SECONDS_MAX)
        if not found(program):
            raise SystemExit(f"{program} is missing and could not be installed: apt-get install {package}: {done.stderr.strip()[-500:]}")
    return found(program)


def found(program):
    return shutil.which(program, path="/usr/local/bin:/usr/bin:/bin")


class Program:
    """A program with an environment of its own: nothing of the caller's credentials or settings reaches it."""

    def __init__(self, path, environment, options=()):
        self.words = [path, *options]
        self.environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **environment}

    def bytes(self, *words, stdin=None, fails=None):
        """Runs it; answers standard output. `fails`: it must fail and say this."""
        done = subprocess.run([*self.words, *words], env=self.environment, input=stdin, capture_output=True, timeout=COMMAND_SECONDS_MAX)
        said = done.stderr.decode(errors="replace") + done.stdout.decode(errors="replace")
        line = f"{os.path.basename(self.words[0])} {' '.join(words)}: exit {done.returncode}: {said.strip()[-500:]}"
        if fails is None:
            assert done.returncode == 0, line
        else:
            assert done.returncode != 0 and fails in said, line
        return done.stdout

    def __call__(self, *words, **more):
        return self.bytes(*words, **more).decode()
