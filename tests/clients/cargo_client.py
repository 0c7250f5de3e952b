"""Clients that cargo builds: where, and how. They are built once; cargo sees whether anything changed."""
import os
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
TARGET = os.path.abspath(os.environ.get("TARGET", os.path.join(HERE, "..", "..", "target")))
BUILD_SECONDS_MAX = 550


def cargo(*arguments, place):
    """Runs cargo with a target directory of the client's own."""
    # What our own workspace asks of its build is none of the client's business.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CARGO_") or name == "CARGO_HOME"}
    environment.pop("RUSTFLAGS", None)
    environment["CARGO_TARGET_DIR"] = os.path.join(TARGET, "clients", place)
    subprocess.run(["cargo", *arguments], cwd=HERE, env=environment, check=True, timeout=BUILD_SECONDS_MAX)


def program(place, profile, name):
    return os.path.join(TARGET, "clients", place, profile, name)
