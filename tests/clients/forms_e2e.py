"""boto3's presigned forms, and its virtual-hosted addresses, against a server that has two domains.

Names under the domains lead to the loopback address: what a client puts into `Host` is what a name server would have led there.
"""
import base64
import hashlib
import html
import http.client
import json
import socket
import tempfile
import urllib.parse

import boto3
from botocore.config import Config

import nilas
from nilas import KIB, MIB, content, refused
from own_server import OwnServer
from steps import Steps, eq

DOMAINS = ("s3.nilas.test", "nilas.test")
RESOLVE = socket.getaddrinfo


def resolve(host, *more, **named):
    name = (host.decode() if isinstance(host, bytes) else host or "").rstrip(".").lower()
    return RESOLVE("127.0.0.1" if name.endswith("nilas.test") else host, *more, **named)


socket.getaddrinfo = resolve

place = tempfile.mkdtemp(prefix="forms-", dir=nilas.SCRATCH)
server = OwnServer(place, nilas.ACCESS_KEY, nilas.SECRET_KEY, options=[word for domain in DOMAINS for word in ("--domain", domain)])
server.start()
port = server.address.rsplit(":", 1)[1]


def client(style, version="s3v4", domain=DOMAINS[0], access_key=nilas.ACCESS_KEY, secret_key=nilas.SECRET_KEY, token=None):
    config = {"s3": {"addressing_style": style}, "retries": {"total_max_attempts": 1}}
    if version:
        config["signature_version"] = version
    return boto3.client(
        "s3",
        endpoint_url=f"http://{domain}:{port}",
        region_name="us-east-1",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        aws_session_token=token,
        config=Config(**config),
    )


path = client("path")
virtual = client("virtual")
bucket = "forms"


def multipart(fields, file, filename="upload.txt", after=()):
    boundary = "a-boundary-of-the-suite"
    out = b""
    for name, value in fields:
        out += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
    if file is not None:
        out += f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\nContent-Type: image/png\r\n\r\n'.encode()
        out += file + b"\r\n"
    for name, value in after:
        out += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
    return out + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def send(url, body, content_type, **headers):
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    connection.request("POST", parts.path or "/", body, {"Content-Type": content_type, **headers})
    answer = connection.getresponse()
    got = answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
    connection.close()
    return got


def post(form, file, fields=(), **more):
    body, content_type = multipart([*form["fields"].items(), *fields], file, **more)
    return send(form["url"], body, content_type)


def form(key="k", who=path, **more):
    return who.generate_presigned_post(bucket, key, ExpiresIn=300, **more)


def body_of(key):
    return path.get_object(Bucket=bucket, Key=key)["Body"].read()


def denied(answer, text, status=403, code="AccessDenied"):
    # A text may have its quotes escaped, or not.
    told = html.unescape(answer[1].decode())
    eq((answer[0], code in told, text in answer[1].decode() or text in told), (status, True, True), told)


def create():
    path.create_bucket(Bucket=bucket)


def sizes():
    for size in (0, 1, 128 * KIB - 1, 128 * KIB, 128 * KIB + 1, MIB, MIB + 1, 17 * MIB + 7):
        file, key = content(size, seed=size), f"sizes/{size}"
        for after in ((), (("submit", "Upload"),)):
            status, text, headers = post(form(key), file, after=after)
            eq((status, text), (204, b""), f"{size} bytes")
            eq(headers["etag"], f'"{hashlib.md5(file).hexdigest()}"')
            assert body_of(key) == file, f"{size} bytes came back as others"
            eq(path.head_object(Bucket=bucket, Key=key)["ContentLength"], size)


def styles():
    """Version 4 and version 2, by the path and by the host, with a session."""
    sts = boto3.client("sts", endpoint_url=f"http://{DOMAINS[0]}:{port}", region_name="us-east-1", aws_access_key_id=nilas.ACCESS_KEY, aws_secret_access_key=nilas.SECRET_KEY)
    account = sts.get_caller_identity()["Account"]
    session = sts.assume_role(RoleArn=f"arn:aws:iam::{account}:role/any", RoleSessionName="forms")["Credentials"]
    keys = {"access_key": session["AccessKeyId"], "secret_key": session["SecretAccessKey"], "token": session["SessionToken"]}
    for nth, who in enumerate((path, virtual, client("path", None), client("virtual", None), client("path", **keys), client("virtual", None, **keys))):
        made = form(f"styles/{nth}", who)
        eq(post(made, b"styles")[0], 204, str(made))
        eq(body_of(f"styles/{nth}"), b"styles")
    made = form("styles/none", client("path", **keys))
    made["fields"]["x-amz-security-token"] += "A"
    eq(post(made, b"x")[0], 400, "a torn token")


def properties():
    file = b"a file"
    tags = {"Content-Type": "text/css", "Cache-Control": "max-age=60", "x-amz-meta-color": "green", "x-amz-storage-class": "STANDARD_IA"}
    made = form("in/${filename}", Fields=tags, Conditions=[{name: value} for name, value in tags.items()])
    # boto3 makes a condition of its own for such a key.
    status, _, headers = post(made, file, filename="C:\\some\\photo ü.css")
    eq((status, headers["location"]), (204, f"http://{DOMAINS[0]}:{port}/{bucket}/in%2Fphoto%20%C3%BC.css"))
    head = path.head_object(Bucket=bucket, Key="in/photo ü.css", ChecksumMode="ENABLED")
    eq((head["ContentType"], head["CacheControl"], head["Metadata"], head["StorageClass"]), ("text/css", "max-age=60", {"color": "green"}, "STANDARD_IA"))
    assert "ChecksumCRC64NVME" in head, head
    sha256 = base64.b64encode(hashlib.sha256(file).digest()).decode()
    fields = {"x-amz-checksum-sha256": sha256}
    status, _, headers = post(form("sum", Fields=fields, Conditions=[fields]), file)
    eq((status, headers["x-amz-checksum-sha256"]), (204, sha256))
    denied(post(form("bad", Fields=fields, Conditions=[fields]), b"another"), "The SHA256 you specified did not match", 400, "BadDigest")
    refused(lambda: path.head_object(Bucket=bucket, Key="bad"), "404")


def answers():
    """PostObject says what was stored as the form asks for it, and leads on."""
    def answer(**fields):
        return post(form("dir/k", Fields=fields, Conditions=[fields] if fields else []), b"abc")

    etag = f'"{hashlib.md5(b"abc").hexdigest()}"'
    for sent, status in (("200", 200), ("204", 204), ("404", 204)):
        eq(answer(success_action_status=sent)[:2], (status, b""))
    status, text, headers = answer(success_action_status="201")
    where = f"http://{DOMAINS[0]}:{port}/{bucket}/dir%2Fk"
    eq((status, headers["location"], headers["content-type"]), (201, where, "application/xml"))
    for part in (f"<PostResponse><Location>{where}</Location><Bucket>{bucket}</Bucket><Key>dir/k</Key><ETag>", hashlib.md5(b"abc").hexdigest()):
        assert part in text.decode(), text
    for redirect, mark in (("http://example.com/done", "?"), ("http://example.com/?a=b", "&")):
        status, text, headers = answer(success_action_redirect=redirect)
        want = f"{redirect}{mark}bucket={bucket}&key=dir%2Fk&etag={urllib.parse.quote(etag)}"
        eq((status, text, headers["location"]), (303, b"", want))
    made = virtual.generate_presigned_post(bucket, "a/b c", Fields={"success_action_status": "201"}, Conditions=[{"success_action_status": "201"}])
    status, text, headers = post(made, b"x")
    eq((status, headers["location"]), (201, f"http://{bucket}.{DOMAINS[0]}:{port}/a%2Fb%20c"))


def conditions():
    denied(post(form("k", Conditions=[{"acl": "private"}]), b"x"), 'Invalid according to Policy: Policy Condition failed: ["eq", "$acl", "private"]')
    made = form("k")
    made["fields"]["key"] = "other"
    denied(post(made, b"x"), 'Policy Condition failed: ["eq", "$key", "k"]')
    denied(post(form("k"), b"x", fields=[("x-amz-meta-a", "1")]), "Invalid according to Policy: Extra input fields: x-amz-meta-a")
    eq(post(form("k"), b"x", fields=[("x-ignore-a", "1")])[0], 204, "a field to be ignored")
    starts = [["starts-with", "$Content-Type", "image/"]]
    eq(post(form("k", Conditions=starts), b"x", fields=[("Content-Type", "image/png")])[0], 204)
    denied(post(form("k", Conditions=starts), b"x", fields=[("Content-Type", "text/html")]), '["starts-with", "$Content-Type", "image/"]')
    lengths = [["content-length-range", 5, 10]]
    eq(post(form("k", Conditions=lengths), b"12345")[0], 204)
    denied(post(form("short", Conditions=lengths), b"1234"), "<ProposedSize>4</ProposedSize><MinSizeAllowed>5</MinSizeAllowed>", 400, "EntityTooSmall")
    denied(post(form("long", Conditions=lengths), b"12345678901"), "<ProposedSize>11</ProposedSize><MaxSizeAllowed>10</MaxSizeAllowed>", 400, "EntityTooLarge")
    denied(post(form("large", Conditions=lengths), content(300 * KIB)), "EntityTooLarge", 400, "EntityTooLarge")
    for key in ("short", "long", "large", "other"):
        refused(lambda: path.head_object(Bucket=bucket, Key=key), "404")
    late = path.generate_presigned_post(bucket, "k", ExpiresIn=-10)
    denied(post(late, b"x"), "Invalid according to Policy: Policy expired.")
    for name, shown in (("policy", "policy"), ("x-amz-signature", "X-Amz-Signature"), ("x-amz-date", "X-Amz-Date"), ("key", "key")):
        made = form("k")
        del made["fields"][name]
        denied(post(made, b"x"), f"Bucket POST must contain a field named '{shown}'.", 400, "InvalidArgument")
    made = form("k")
    made["fields"]["x-amz-signature"] = "0" * 64
    denied(post(made, b"x"), "The request signature we calculated does not match", 403, "SignatureDoesNotMatch")
    made = form("k", who=client("path", access_key="NOSUCHKEYNOSUCHKEY00"))
    denied(post(made, b"x"), "InvalidAccessKeyId", 403, "InvalidAccessKeyId")
    policy = base64.b64encode(json.dumps({"conditions": []}).encode()).decode()
    made = form("k")
    made["fields"]["policy"] = policy
    denied(post(made, b"x"), "SignatureDoesNotMatch", 403, "SignatureDoesNotMatch")


def everybody():
    """A form without a signature is judged as anybody's request."""
    plain = {"url": f"http://{DOMAINS[0]}:{port}/{bucket}", "fields": {"key": "open/k", "anything": "goes"}}
    denied(post(plain, b"x"), "Access Denied")
    allow = {"Effect": "Allow", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/open/*"}
    path.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [allow]}))
    eq(post(plain, b"open")[0], 204)
    eq(body_of("open/k"), b"open")
    denied(post({**plain, "fields": {"key": "closed/k"}}, b"x"), "Access Denied")
    # A policy may be about forms alone.
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/*", "Condition": {"StringEquals": {"s3:authType": "POST"}}}
    path.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [deny]}))
    denied(post(form("k"), b"x"), "Access Denied")
    path.put_object(Bucket=bucket, Key="k", Body=b"by a header")
    path.delete_bucket_policy(Bucket=bucket)


def malformed():
    url = f"http://{DOMAINS[0]}:{port}/{bucket}"
    body, content_type = multipart(form("k")["fields"].items(), b"x")
    denied(send(url, b"key=k", "application/x-www-form-urlencoded"), "Bucket POST must be of the enclosure-type multipart/form-data", 412, "PreconditionFailed")
    denied(send(url, body, "multipart/form-data"), "not well-formed multipart/form-data", 400, "MalformedPOSTRequest")
    denied(send(url, body[:-20], content_type), "not well-formed multipart/form-data", 400, "MalformedPOSTRequest")
    denied(send(url, multipart(form("k")["fields"].items(), None)[0], content_type), "POST requires exactly one file upload per request.", 400, "InvalidArgument")
    denied(post(form("k"), b"x", fields=[("x-ignore-a", "a" * 20480)]), "were too large", 400, "MaxPostPreDataLengthExceededError")
    for field in ("x-amz-write-offset-bytes", "x-amz-copy-source", "x-amz-rename-source", "If-None-Match"):
        other = form("kept", Fields={field: "*"}, Conditions=[{field: "*"}])
        denied(post(other, b"x"), "A header you provided implies functionality that is not implemented", 501, "NotImplemented")
    refused(lambda: path.head_object(Bucket=bucket, Key="kept"), "404")
    nowhere = path.generate_presigned_post("nowhere", "k")
    denied(post(nowhere, b"x"), "The specified bucket does not exist", 404, "NoSuchBucket")


def hosts():
    """The whole of a bucket's life by its host, in both domains, with dots in its name and with presigned URLs."""
    for domain in DOMAINS:
        for version in ("s3v4", None):
            who = client("virtual", version, domain)
            for name in ("by-host", "with.dots.in-it"):
                who.create_bucket(Bucket=name)
                who.put_object(Bucket=name, Key="healthz", Body=b"not a page")
                eq(who.get_object(Bucket=name, Key="healthz")["Body"].read(), b"not a page")
                eq([entry["Key"] for entry in who.list_objects_v2(Bucket=name)["Contents"]], ["healthz"])
                eq(path.get_object(Bucket=name, Key="healthz")["Body"].read(), b"not a page")
                url = who.generate_presigned_url("get_object", Params={"Bucket": name, "Key": "healthz"})
                assert f"//{name}.{domain}:{port}/healthz?" in url, url
                parts = urllib.parse.urlsplit(url)
                for host in (parts.netloc, parts.netloc.upper()):
                    if version and host != parts.netloc:
                        continue  # version 4 signs the host as it is sent
                    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
                    connection.request("GET", f"{parts.path}?{parts.query}", headers={"Host": host})
                    answer = connection.getresponse()
                    eq((answer.status, answer.read()), (200, b"not a page"), url)
                    connection.close()
                upload = who.create_multipart_upload(Bucket=name, Key="a/b")["UploadId"]
                etag = who.upload_part(Bucket=name, Key="a/b", UploadId=upload, PartNumber=1, Body=b"part")["ETag"]
                done = who.complete_multipart_upload(Bucket=name, Key="a/b", UploadId=upload, MultipartUpload={"Parts": [{"ETag": etag, "PartNumber": 1}]})
                eq(done["Location"], f"http://{name}.{domain}:{port}/a/b")
                who.copy_object(Bucket=name, Key="copy", CopySource={"Bucket": name, "Key": "a/b"})
                who.delete_objects(Bucket=name, Delete={"Objects": [{"Key": key} for key in ("a/b", "copy", "healthz")]})
                who.delete_bucket(Bucket=name)
                refused(lambda: who.list_objects_v2(Bucket=name), "NoSuchBucket")


def bare_domain():
    """The server's own pages and the catalog are at the domain itself."""
    for host, want in ((DOMAINS[0], 200), (DOMAINS[1] + ".", 200), ("elsewhere.test", 200), (f"none.{DOMAINS[0]}", 403)):
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
        connection.request("GET", "/healthz", headers={"Host": host})
        eq(connection.getresponse().status, want, host)
        connection.close()
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
    connection.request("GET", "/_iceberg/v1/config", headers={"Host": DOMAINS[0]})
    eq(connection.getresponse().getheader("content-type"), "application/json", "the catalog's answer")
    connection.close()
    allow = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    path.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [allow]}))
    path.put_object(Bucket=bucket, Key="open", Body=b"everybody")
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
    connection.request("GET", "/open", headers={"Host": f"{bucket.upper()}.{DOMAINS[1]}.:80"})
    answer = connection.getresponse()
    eq((answer.status, answer.read()), (200, b"everybody"), "nobody's read by a host")
    connection.close()


def end():
    server.stop()


Steps("forms").run(
    [
        ("create", create),
        ("sizes", sizes),
        ("styles", styles),
        ("properties", properties),
        ("answers", answers),
        ("conditions", conditions),
        ("everybody", everybody),
        ("malformed", malformed),
        ("hosts", hosts),
        ("bare-domain", bare_domain),
        ("end", end),
    ]
)
