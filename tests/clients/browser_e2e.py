"""A page in a real browser (Chromium without a window) that uses a bucket of another origin: presigned uploads and downloads, forms,
preflights, what scripts may read of an answer, and what they must not get; by `fetch` and by the AWS SDK for JavaScript.

The suite serves the page, `browser.html`, from an address of its own; the page runs the steps it is given and posts what it
saw back. What it stored is looked at with boto3.
"""
import json
import os
import queue
import shutil
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import maven
import nilas
import npm
from nilas import KIB, MIB, content, md5_hex
from own_server import die_with_parent
from programs import need
from steps import Steps, eq

ANSWER_SECONDS_MAX = 60
START_SECONDS_MAX = 90

bucket = nilas.unique("browser")
client = nilas.s3()
place = os.path.join(nilas.SCRATCH, bucket)
os.makedirs(place)
asked, answers = queue.Queue(), queue.Queue()
sdk = npm.bundle("page.mjs")


class Page(BaseHTTPRequestHandler):
    """The page, the next thing for it to do, what it saw, and the target of redirects."""
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/next":
            self.say("application/json", json.dumps(asked.get()).encode())
        elif self.path.startswith("/landed"):
            self.say("text/html", b"<script>parent.postMessage(location.href, '*')</script>")
        elif self.path == "/sdk.js":
            self.say("text/javascript; charset=utf-8", sdk)
        elif self.path == "/":
            self.say("text/html; charset=utf-8", maven.read(os.path.join(maven.HERE, "browser.html")).encode())
        else:
            self.send_error(404)

    def do_POST(self):
        answers.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.say("text/plain", b"")

    def say(self, kind, body):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
origin = f"http://127.0.0.1:{server.server_port}"
browser = None


def start():
    global browser
    client.create_bucket(Bucket=bucket)
    command = [need("chromium", "chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--no-proxy-server",
               "--disable-background-networking", "--disable-component-update", f"--user-data-dir={place}/profile", f"{origin}/"]
    with open(os.path.join(place, "log"), "w") as log:
        browser = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, "HOME": place}, preexec_fn=die_with_parent)
    agent = do("agent", seconds=START_SECONDS_MAX)["agent"]
    assert "Chrom" in agent, agent


def do(what, seconds=ANSWER_SECONDS_MAX, **more):
    """Has the page do one thing; answers what it saw."""
    asked.put({"what": what, **more})
    try:
        return answers.get(timeout=seconds)
    except queue.Empty:
        raise AssertionError(f"the page does not answer: {maven.read(os.path.join(place, 'log'))[-500:]}") from None


def fetch(url, **more):
    """`fetch` of the page: status, headers that a script may read, the body's text; or `error`."""
    return do("fetch", url=url, **more)


def signed(operation, key, method=None, **more):
    return client.generate_presigned_url(operation, Params={"Bucket": bucket, "Key": key, **more}, ExpiresIn=300, HttpMethod=method)


def rules(*all_of_them):
    client.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": list(all_of_them)})


OWN = {"AllowedOrigins": [origin], "AllowedMethods": ["GET", "PUT", "HEAD", "DELETE", "POST"], "AllowedHeaders": ["*"], "ExposeHeaders": ["ETag", "x-amz-version-id"], "MaxAgeSeconds": 1}


def no_rules():
    """Without rules nothing of an answer reaches the page, and what needs a preflight is not sent at all."""
    client.put_object(Bucket=bucket, Key="closed", Body=b"closed")
    assert "error" in fetch(signed("get_object", "closed")), "the page could read"
    assert "error" in fetch(signed("put_object", "refused"), method="PUT", body="x"), "the page could write"
    nilas.refused(lambda: client.head_object(Bucket=bucket, Key="refused"), "404")


def other_origin():
    rules({**OWN, "AllowedOrigins": ["https://elsewhere.example"]})
    assert "error" in fetch(signed("get_object", "closed")), "the page could read"
    assert "error" in fetch(signed("put_object", "refused"), method="PUT", body="x"), "the page could write"


def upload():
    rules(OWN)
    body = content(3 * MIB + 1, seed=270)
    url = signed("put_object", "uploads/ü +&.bin", ContentType="text/x-page", Metadata={"who": "page"})
    got = do("upload", url=url, size=len(body), seed=list(body[:64]), headers={"content-type": "text/x-page", "x-amz-meta-who": "page"})
    eq(got.get("status"), 200, str(got))
    head = client.get_object(Bucket=bucket, Key="uploads/ü +&.bin")
    eq((head["ContentType"], head["Metadata"]), ("text/x-page", {"who": "page"}))
    assert head["Body"].read() == (body[:64] * (len(body) // 64 + 1))[: len(body)], "other bytes stored"
    eq(got["headers"]["etag"], head["ETag"], "exposed")
    assert got["progress"] > 0, "no progress was shown"
    # A header that was signed cannot be left out, nor changed.
    eq(do("upload", url=url, size=10, seed=[1], headers={"content-type": "text/other", "x-amz-meta-who": "page"})["status"], 403)


def download():
    client.put_object(Bucket=bucket, Key="down", Body=b"0123456789", ContentType="text/plain", Metadata={"hidden": "x"})
    got = fetch(signed("get_object", "down"))
    eq((got["status"], got["text"]), (200, "0123456789"))
    eq((got["headers"].get("etag"), got["headers"].get("x-amz-meta-hidden")), (f'"{md5_hex(b"0123456789")}"', None), "headers shown")
    got = fetch(signed("get_object", "down"), headers={"range": "bytes=2-4"})
    eq((got["status"], got["text"]), (206, "234"))
    got = fetch(signed("get_object", "down", ResponseContentType="text/odd", ResponseContentDisposition="attachment"))
    eq((got["status"], got["headers"]["content-type"]), (200, "text/odd"))
    # A refusal can be read as well.
    got = fetch(signed("get_object", "none"))
    eq((got["status"], "<Code>NoSuchKey</Code>" in got["text"]), (404, True))
    eq(fetch(signed("head_object", "down"), method="HEAD")["status"], 200)
    eq(fetch(signed("delete_object", "down"), method="DELETE")["status"], 204)


def methods():
    """Only the methods of the rule."""
    rules({**OWN, "AllowedMethods": ["GET"]})
    client.put_object(Bucket=bucket, Key="kept", Body=b"kept")
    eq(fetch(signed("get_object", "kept"))["text"], "kept")
    assert "error" in fetch(signed("delete_object", "kept"), method="DELETE"), "the page could delete"
    assert "error" in fetch(signed("put_object", "kept"), method="PUT", body="other"), "the page could write"
    rules({**OWN, "AllowedHeaders": ["range"]})
    eq(fetch(signed("get_object", "kept"), headers={"range": "bytes=0-1"})["text"], "ke")
    assert "error" in fetch(signed("get_object", "kept"), headers={"x-other": "1"}), "the page could send another header"
    eq(client.get_object(Bucket=bucket, Key="kept")["Body"].read(), b"kept")


def public():
    """An image and a script of a page need no rules, only the right to read; drawn to a canvas an image needs a rule."""
    client.delete_bucket_cors(Bucket=bucket)
    picture = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360f8cfc0000003010100c9fe92ef0000000049454e44ae426082")
    client.put_object(Bucket=bucket, Key="open/dot.png", Body=picture, ContentType="image/png")
    client.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/open/*"}]}))
    url = f"{nilas.ENDPOINT}/{bucket}/open/dot.png"
    eq(do("image", url=url), {"width": 1, "readable": False})
    assert "error" in do("image", url=url + "?x=1", cross=True), "an image without a rule for it"
    rules({**OWN, "AllowedOrigins": ["*"], "AllowedMethods": ["GET"]})
    eq(do("image", url=url + "?x=2", cross=True), {"width": 1, "readable": True})


def parts():
    """As libraries for uploads do it: each part by a URL of its own, the ETags read from the answers."""
    rules(OWN)
    upload_id = client.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    size = 5 * MIB
    done = []
    for number, length in ((1, size), (2, size), (3, 100)):
        url = signed("upload_part", "parts", UploadId=upload_id, PartNumber=number)
        got = do("upload", url=url, size=length, seed=[number], headers={})
        eq(got.get("status"), 200, str(got))
        done.append({"PartNumber": number, "ETag": got["headers"]["etag"]})
    client.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload_id, MultipartUpload={"Parts": done})
    assert client.get_object(Bucket=bucket, Key="parts")["Body"].read() == b"\1" * size + b"\2" * size + b"\3" * 100, "other bytes"


def form():
    """A real form that the page submits: redirected to a page that is told where the object is; and as data of a script."""
    target = f"{origin}/landed"
    post = client.generate_presigned_post(bucket, "forms/${filename}", Fields={"success_action_redirect": target, "Content-Type": "text/plain"}, Conditions=[
        ["starts-with", "$key", "forms/"], {"success_action_redirect": target}, {"Content-Type": "text/plain"}, ["content-length-range", 1, 100 * KIB]])
    landed = do("form", url=post["url"], fields=post["fields"], name="ü mit blank.txt", text="by a form")["landed"]
    assert landed.startswith(target + "?bucket=" + bucket) and "key=forms%2F" in landed and "etag=%22" in landed.lower(), landed
    eq(client.get_object(Bucket=bucket, Key="forms/ü mit blank.txt")["Body"].read(), b"by a form")
    post = client.generate_presigned_post(bucket, "forms/${filename}", Fields={"success_action_status": "201"}, Conditions=[
        ["starts-with", "$key", "forms/"], {"success_action_status": "201"}, ["content-length-range", 1, 10]])
    got = do("form-data", url=post["url"], fields=post["fields"], name="two.txt", text="0123456789")
    eq((got["status"], f"<ETag>&quot;{md5_hex(b'0123456789')}&quot;</ETag>" in got["text"]), (201, True), got["text"])
    got = do("form-data", url=post["url"], fields=post["fields"], name="three.txt", text="0123456789A")
    eq((got["status"], "EntityTooLarge" in got["text"]), (400, True), got["text"])


def expired():
    """The page can read why."""
    url = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "kept"}, ExpiresIn=1)
    time.sleep(2.5)
    got = fetch(url)
    eq((got["status"], "Request has expired" in got["text"]), (403, True), got["text"])


def many():
    """As many uploads at once as a page will make."""
    urls = [signed("put_object", f"many/{number}") for number in range(40)]
    eq(do("many", urls=urls)["statuses"], [200] * 40)
    eq(client.list_objects_v2(Bucket=bucket, Prefix="many/")["KeyCount"], 40)


def by_the_sdk():
    """Signed in the page, as with keys of a session: every call has a preflight for its headers."""
    rules({**OWN, "ExposeHeaders": ["ETag", "x-amz-request-id", "x-amz-checksum-crc32"]})
    saw = do("sdk", endpoint=nilas.ENDPOINT, accessKeyId=nilas.ACCESS_KEY, secretAccessKey=nilas.SECRET_KEY, bucket=bucket)
    assert "error" not in saw, saw
    eq((saw["etag"], saw["text"], saw["type"]), (f'"{md5_hex(b"by the SDK")}"', "by the SDK", "text/x"))
    eq((saw["parts"][-3:], saw["same"], saw["progress"] > 0), ('-3"', True, True))
    eq((saw["keys"], saw["deleted"], saw["signed"], saw["refused"]), (["sdk/copy", "sdk/parts", "sdk/ü +.txt"], 3, 200, "NoSuchKey"))
    eq(client.get_object(Bucket=bucket, Key="sdk/signed")["Body"].read(), b"by a URL")


def remove():
    browser.terminate()
    browser.wait(30)
    client.delete_bucket_policy(Bucket=bucket)
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": entry["Key"]} for entry in page.get("Contents", [])]})
    client.delete_bucket(Bucket=bucket)
    shutil.rmtree(place, ignore_errors=True)


steps = Steps("browser")
if not steps("start", start):
    steps.close()
steps.run([
    ("no-rules", no_rules),
    ("other-origin", other_origin),
    ("presigned-upload", upload),
    ("presigned-download", download),
    ("methods-headers", methods),
    ("images", public),
    ("parts", parts),
    ("forms", form),
    ("expired", expired),
    ("many", many),
    ("sdk", by_the_sdk),
    ("remove", remove),
])
