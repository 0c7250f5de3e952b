"""minio-go by its own functional tests, which are in its module: each of them a step.

They are one program, copied out of the module, less those left out below, and run to the end whatever fails. It says itself
what a server lacks: such a test is shown with its reason and counted as neither. With TLS its payloads are not signed, and there
are more tests, with customers' keys. The server is the suite's own, because it needs a master key.
Environment: TLS=1, by a relay that takes TLS in front of the server.
"""
import json
import os
import re
import subprocess

import encrypting
import golang
import nilas
from steps import Steps
from tls_relay import Relay

MODULE = "github.com/minio/minio-go/v7"
SUITE_SECONDS_MAX = 400
TLS = os.environ.get("TLS") == "1"
# Tests left out, each with why; besides them those that sign with version 2.
LEFT_OUT = {
    "testListMultipartUpload": "wants uploads without owner and class, and those of the marker's own key",
    "testGetObjectAttributesErrorCases": "takes a UUID for a version's id, which S3 calls an invalid argument",
    "testGetObjectACLContext": "sends an ACL that a bucket of S3's defaults does not take",
    "testListUnsorted": "wants users' metadata in a listing, which S3 has not",
    "testCopyObjectWithChecksums": "signs with version 2",
    "testReplaceObjectWithChecksums": "signs with version 2",
}
if TLS:
    LEFT_OUT["testPresignedPostPolicy"] = "wants https in an answer's address, of which the relay says nothing to the server"
CALL = re.compile(r"^\t+(test\w+)\(\)$", re.MULTILINE)
# The tests whose lines have the name of a function that they call.
CALLED = {"testComposeObjectErrorCases": "testComposeObjectErrorCasesWrapper", "testCompose10KSources": "testComposeMultipleSources",
          "testUserMetadataCopying": "testUserMetadataCopyingWrapper"}
# How the groups of `main` begin, and whether they run: those for TLS, those for keys of the server's, and the short form.
GROUPS = (("if tls {", TLS), ("if kms {", True), ("\t} else {", False))

# Tests that say something only when they fail.
SILENT = ("testGetObjectWithRange",)

lines, wanted = [], []


def prepare():
    """The program without what is left out."""
    source = os.path.join(golang.go("list", "-m", "-f", "{{.Dir}}", MODULE), "functional_tests.go")
    with open(source) as file:
        text = file.read()
    before, main = text.split("\nfunc main() {", 1)
    rest, runs = main, True
    for opening, runs_next in (*GROUPS, (None, None)):
        group, _, rest = rest.partition(opening) if opening else (rest, "", "")
        wanted.extend(name for name in CALL.findall(group) if runs and not left_out(name))
        runs = runs_next
    assert len(wanted) > 50, f"{len(wanted)} tests in {source}"
    main = CALL.sub(lambda call: "" if left_out(call[1]) else call[0], main)
    os.makedirs(golang.PLACE, exist_ok=True)
    copy = os.path.join(golang.PLACE, "minio_functional.go")
    with open(copy, "w") as file:
        file.write(f"{before}\nfunc main() {{{main}")
    return golang.build("minio-functional", copy)


def left_out(name):
    return name in LEFT_OUT or name.endswith("V2")


def run():
    place = os.path.join(nilas.SCRATCH, nilas.unique("minio-go"))
    os.makedirs(place)
    settings = {"SERVER_ENDPOINT": Relay(place).address if TLS else nilas.HOST, "ACCESS_KEY": nilas.ACCESS_KEY, "SECRET_KEY": nilas.SECRET_KEY,
                "ENABLE_HTTPS": "1" if TLS else "0", "SKIP_CERT_VALIDATION": "1", "ENABLE_KMS": "1", "MINT_MODE": "full", "RUN_ON_FAIL": "1", "PATH": os.environ["PATH"], "HOME": place, "TMPDIR": place}
    done = subprocess.run([prepare()], env=settings, capture_output=True, text=True, timeout=SUITE_SECONDS_MAX)
    lines.extend(json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-2000:]}"


def verdict(name, found):
    """The step of one test: it has passed something and failed nothing."""
    def judge():
        for line in found:
            assert line["status"] != "FAIL", f"{line.get('function')}: {line.get('message')}: {line.get('error')}"
        assert name in SILENT or any(line["status"] == "PASS" for line in found), "the test said nothing"

    return judge


steps = Steps("minio-go")
if not steps("run", run):
    encrypting.close(steps)
for name in wanted:
    found = [line for line in lines if line.get("name") == f"minio-go: {CALLED.get(name, name)}" and "status" in line]
    lacks = [line for line in found if line["status"] == "NA"]
    if lacks and not any(line["status"] == "FAIL" for line in found):
        print(f"SKIP {name} | {lacks[0].get('alert')}", flush=True)
    else:
        steps(name, verdict(name, found))
for name, reason in LEFT_OUT.items():
    print(f"SKIP {name} | {reason}", flush=True)
encrypting.close(steps)
