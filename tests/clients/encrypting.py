"""A server with a master key, which is the suite's own: for suites of clients that ask for encrypted objects among the rest.

Import it before `nilas`: it names the endpoint. `close` ends the suite after a last step that stops the server.
"""
import base64
import os
import shutil
import tempfile

PLACE = tempfile.mkdtemp(prefix="encrypting-", dir=os.environ.get("SCRATCH"))
ACCESS_KEY = os.environ.setdefault("ACCESS_KEY", "nilas-encrypting")
SECRET_KEY = os.environ.setdefault("SECRET_KEY", "nilas-encrypting-secret-0123456789")

from own_server import OwnServer

# minio-go's tests keep 6 GiB at a time.
DRIVE_SIZE = "10GiB"

master_keys = os.path.join(PLACE, "master.keys")
with open(master_keys, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
    file.write(f"suite:{base64.b64encode(os.urandom(32)).decode()}\n")
server = OwnServer(PLACE, ACCESS_KEY, SECRET_KEY, ["--master-key-file", master_keys], DRIVE_SIZE)
server.start()
os.environ["ENDPOINT"] = f"http://{server.address}"


def stop():
    server.stop()
    shutil.rmtree(PLACE)


def close(steps):
    steps("stop", stop)
    steps.close()
