"""A server that a suite starts, kills and starts again by itself: same address, same store, killed with SIGKILL.

Environment: NILAS_BIN, the program (`cargo x clients` names the release build's). It dies with the suite.
"""
import ctypes
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

import maven

READY_SECONDS_MAX = 60
STOP_SECONDS_MAX = 60
DRIVE_SIZE = "4GiB"
PR_SET_PDEATHSIG = 1


class OwnServer:
    def __init__(self, place, access_key, secret_key, options=(), drive_size=DRIVE_SIZE):
        self.place = place
        self.drive_size = drive_size
        self.options = list(options)
        self.address = f"127.0.0.1:{free_port()}"
        self.keys = {"NILAS_ACCESS_KEY": access_key, "NILAS_SECRET_KEY": secret_key}
        self.process = None
        self.starts = 0

    def start(self):
        program = os.environ.get("NILAS_BIN") or os.path.join(maven.TARGET, "release", "nilas")
        command = [program, "serve", "--data", os.path.join(self.place, "data"), "--drive-size", self.drive_size, "--address", self.address, *self.options]
        with open(os.path.join(self.place, "server.log"), "a") as log:
            self.process = subprocess.Popen(command, env={**os.environ, **self.keys}, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent)
        self.starts += 1
        end = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                if urllib.request.urlopen(f"http://{self.address}/readyz", timeout=5).status == 200:
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.02)
        raise AssertionError(f"the server is not ready: {self.log_tail()}")

    def kill(self):
        """No warning, no flush: what was answered has to be there afterwards."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """Asks it to end; it must, cleanly and in time."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(STOP_SECONDS_MAX)
        assert status == 0, f"the server ended with {status}: {self.log_tail()}"

    def log_tail(self):
        return " / ".join(maven.read(os.path.join(self.place, "server.log")).splitlines()[-10:])


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
