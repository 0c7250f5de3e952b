"""Walks over all that AWS has for S3, by botocore's own model: each header and query parameter of each operation that is
served has a row in docs/s3.md, and is on the wire what its row says: honoured, refused, or without effect. Operations
that are not served are refused, and change nothing.

The expectations stand here by name: `PROBES` for what is honoured. A name without one fails its step.
"""
import base64
import hashlib
import http.client
import json
import os
import re
import urllib.parse

import botocore.session
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from nilas import ACCESS_KEY, HOST, S3_REGION, SECRET_KEY, unique
from steps import Steps

PAGE = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "s3.md")
OLD = "Sat, 01 Jan 2000 00:00:00 GMT"
NO_TAG = '"00000000000000000000000000000000"'
OWNERSHIP = b"<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>"
TAGGING = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
LIFECYCLE = b"<LifecycleConfiguration><Rule><Filter/><Status>Disabled</Status><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>"
CORS = b"<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>"
ENCRYPTION = b"<ServerSideEncryptionConfiguration><Rule><BlockedEncryptionTypes><EncryptionType>NONE</EncryptionType></BlockedEncryptionTypes></Rule></ServerSideEncryptionConfiguration>"
BLOCK = b"<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>"
VERSIONING = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
LOCK = b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"
RETENTION = b"<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2090-01-01T00:00:00Z</RetainUntilDate></Retention>"
HOLD = b"<LegalHold><Status>OFF</Status></LegalHold>"
# What the page has beside AWS's model: S3 takes these, and MinIO's clients send the last ones.
BESIDE_THE_MODEL = {
    ("Content-MD5", "DeleteObjects"),
    ("Content-MD5", "PutBucketOwnershipControls"),
    ("Content-MD5", "PutBucketAccelerateConfiguration"),
    ("Content-MD5", "PutBucketNotificationConfiguration"),
    ("x-amz-sdk-checksum-algorithm", "PutBucketNotificationConfiguration"),
    *((f"x-amz-meta-{name}", "PutObject") for name in ("snowball-auto-extract", "minio-snowball-prefix", "minio-snowball-ignore-dirs", "minio-snowball-ignore-errors")),
    *(("x-minio-extract", name) for name in ("PutObject", "GetObject", "HeadObject", "ListObjectsV2", "ListObjects")),
}

model = botocore.session.Session().get_service_model("s3")
steps = Steps("parameters")
bucket = unique("walk")
locked = unique("walk-locked")


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read().decode("utf-8", "replace")
        found = re.search("<Code>([^<]*)</Code>", self.body)
        self.code = found.group(1) if found else ""

    def __str__(self):
        return f"{self.status} {self.code} {self.body[:300]}"


class Ask:
    """A request that can be changed before it is sent."""

    def __init__(self, method, path, query=None, headers=None, body=b""):
        self.method, self.path, self.body = method, path, body
        self.query, self.headers = dict(query or {}), dict(headers or {})

    def put(self, name, value):
        """Adds a header, or with a `?` before its name a query parameter."""
        if name.startswith("?"):
            self.query[name[1:]] = value
        else:
            self.headers[name] = value
        return self

    def send(self, with_length=True):
        quote = lambda text: urllib.parse.quote(text, safe="-_.~")
        target = urllib.parse.quote(self.path, safe="/-_.~")
        if self.query:
            target += "?" + "&".join(f"{quote(name)}={quote(value)}" for name, value in self.query.items())
        request = AWSRequest(method=self.method, url=f"http://{HOST}{target}", data=self.body, headers=self.headers)
        S3SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", S3_REGION).add_auth(request)
        connection = http.client.HTTPConnection(HOST, timeout=60)
        connection.putrequest(self.method, target, skip_accept_encoding=True)
        for name, value in request.headers.items():
            connection.putheader(name, value)
        if with_length:
            connection.putheader("Content-Length", str(len(self.body)))
        connection.endheaders(self.body or None)
        answer = Answer(connection.getresponse())
        connection.close()
        return answer


def want(answer, status, code="", what=""):
    assert answer.status == status and (not code or answer.code in (code, "")), f"{what}: {answer}, want {status} {code}"
    return answer


def md5(body):
    return {"Content-MD5": base64.b64encode(hashlib.md5(body).digest()).decode()}


def put(key, body=b"0123456789"):
    want(Ask("PUT", f"/{bucket}/{key}", body=body).send(), 200, what=f"put {key}")


def open_upload(key="up"):
    answer = want(Ask("POST", f"/{bucket}/{key}", {"uploads": ""}).send(), 200, what="open an upload")
    return re.search("<UploadId>([^<]*)</UploadId>", answer.body).group(1)


def part_of(upload, key="up"):
    ask = Ask("PUT", f"/{bucket}/{key}", {"uploadId": upload, "partNumber": "1"}, body=b"0123456789")
    return want(ask.send(), 200, what="upload a part").headers["etag"]


def uri(operation):
    """Path and sub-resource of an operation, as the model has them."""
    return operation.http["method"], operation.http["requestUri"]


def request(name):
    """A request that its operation accepts, with all that it needs in place."""
    method, template = uri(model.operation_model(name))
    path, _, subresource = template.partition("?")
    path = path.replace("{Bucket}", bucket).replace("{Key+}", "k")
    query = dict(urllib.parse.parse_qsl(subresource, keep_blank_values=True))
    ask = Ask(method, path, query)
    there = f"/{bucket}/there"
    source = {"x-amz-copy-source": f"/{bucket}/k"}
    if name in ("PutObject", "CopyObject"):
        put("there")
        ask.path = there
        ask.body = b"0123456789" if name == "PutObject" else b""
        ask.headers = source if name == "CopyObject" else {}
    elif name == "RenameObject":
        # To itself: it stays.
        ask.headers = {"x-amz-rename-source": f"/{bucket}/k"}
    elif name in ("UploadPart", "UploadPartCopy"):
        ask.path, ask.query = f"/{bucket}/up", {"uploadId": open_upload(), "partNumber": "1"}
        ask.body = b"0123456789" if name == "UploadPart" else b""
        ask.headers = source if name == "UploadPartCopy" else {}
    elif name == "CompleteMultipartUpload":
        put("there")
        upload = open_upload("there")
        tag = part_of(upload, "there").replace('"', "&quot;")
        body = f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{tag}</ETag></Part></CompleteMultipartUpload>"
        ask.path, ask.query, ask.body = there, {"uploadId": upload}, body.encode()
    elif name in ("AbortMultipartUpload", "ListParts"):
        upload = open_upload()
        part_of(upload)
        ask.path, ask.query = f"/{bucket}/up", {"uploadId": upload}
    elif name == "CreateMultipartUpload":
        ask.path = f"/{bucket}/made"
    elif name == "DeleteObject":
        put("gone")
        ask.path = f"/{bucket}/gone"
    elif name == "DeleteObjects":
        put("gone")
        ask.body = b"<Delete><Object><Key>gone</Key></Object></Delete>"
        ask.headers = md5(ask.body)
    elif name == "GetObjectAttributes":
        ask.headers = {"x-amz-object-attributes": "ETag"}
    elif name in ("PutBucketVersioning", "PutObjectLockConfiguration"):
        ask.path = f"/{locked}"
        ask.body = VERSIONING if name == "PutBucketVersioning" else LOCK
    elif name in ("GetObjectRetention", "GetObjectLegalHold", "PutObjectRetention", "PutObjectLegalHold"):
        ask.path = f"/{locked}/k"
        ask.body = {"PutObjectRetention": RETENTION, "PutObjectLegalHold": HOLD}.get(name, b"")
    elif name == "PutBucketOwnershipControls":
        ask.body = OWNERSHIP
    elif name == "PutBucketNotificationConfiguration":
        ask.body = b"<NotificationConfiguration/>"
    elif name == "PutBucketLogging":
        ask.body = b"<BucketLoggingStatus/>"
    elif name == "PutBucketRequestPayment":
        ask.body = b"<RequestPaymentConfiguration><Payer>BucketOwner</Payer></RequestPaymentConfiguration>"
    elif name == "PutBucketAccelerateConfiguration":
        ask.body = b"<AccelerateConfiguration><Status>Suspended</Status></AccelerateConfiguration>"
    elif name in ("PutBucketTagging", "PutObjectTagging"):
        ask.body = TAGGING
    elif name == "PutBucketCors":
        ask.body = CORS
    elif name == "PutBucketLifecycleConfiguration":
        ask.body = LIFECYCLE
    elif name == "PutBucketEncryption":
        ask.body = ENCRYPTION
    elif name in ("PutBucketAcl", "PutObjectAcl"):
        # The one that is there.
        ask.body = want(Ask("GET", path, {"acl": ""}).send(), 200, what="the ACL").body.encode()
    elif name == "PutPublicAccessBlock":
        ask.body = BLOCK
    elif name == "PutBucketPolicy":
        statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/nothing"}
        ask.body = json.dumps({"Version": "2012-10-17", "Statement": [statement]}).encode()
    elif name == "ListObjectsV2":
        ask.query = {"list-type": "2"}
    elif name == "ListBuckets":
        ask.query = {"prefix": bucket}
    elif name in ("CreateBucket", "DeleteBucket"):
        ask.path = "/" + unique("walk-other")
        if name == "DeleteBucket":
            want(Ask("PUT", ask.path).send(), 200, what="create a bucket")
    return ask


def send(name, ask):
    """Sends a request, and takes away what it has left behind."""
    answer = ask.send()
    if name == "CreateBucket" and answer.status == 200:
        want(Ask("DELETE", ask.path).send(), 204, what="delete the bucket")
    if name == "DeleteBucketOwnershipControls":
        want(request("PutBucketOwnershipControls").send(), 200, what="set ownership")
    if name == "PutBucketPolicy" and answer.status == 204:
        want(request("DeleteBucketPolicy").send(), 204, what="delete the policy")
    if name == "PutPublicAccessBlock" and answer.status == 200:
        want(request("DeletePublicAccessBlock").send(), 204, what="delete the block")
    return answer


# ---- the two lists


def tables():
    """Of docs/s3.md: the operations that are served, and (name, operation) → standing."""
    with open(PAGE, encoding="utf-8") as page:
        sections = {part.split("\n", 1)[0]: part for part in page.read().split("\n## ")}
    rows = lambda title: [
        [cell.strip() for cell in line.strip("|").split("|")] for line in sections[title].split("\n") if line.startswith("|")
    ][2:]
    # The model has no forms.
    served = {name for cells in rows("Operations") if cells[1] != "no" for name in cells[0].split(", ")} - {"PostObject"}
    standings = {}
    for names, operations, standing, _ in rows("Headers and parameters"):
        for name in names.split(" "):
            for operation in operations.split(", "):
                standings[name.strip("`"), operation] = standing.strip("`")
    return served, standings


def of_model(operation):
    """Headers and parameters that AWS has for an operation; its sub-resource is not one of them."""
    shape = operation.input_shape
    for member in (shape.members.values() if shape else ()):
        place = member.serialization.get("location")
        if place == "header":
            yield member.serialization["name"]
        elif place == "headers":
            yield member.serialization["name"] + "*"
        elif place == "querystring":
            yield "?" + member.serialization["name"]


def row_for(name, operation):
    """The row that a name of the model falls under."""
    for (pattern, listed), standing in standings.items():
        fits = name.startswith(pattern[:-1]) if pattern.endswith("*") else name.lower() == pattern.lower()
        if fits and listed in (operation, "all"):
            return pattern, standing
    return None, None


served, standings = tables()
walked = [
    (name, operation, *row_for(name, operation))
    for operation in model.operation_names
    if operation in served
    for name in of_model(model.operation_model(operation))
]


def the_page_has_all_of_aws():
    missing = [f"{operation}: {name}" for name, operation, pattern, _ in walked if pattern is None]
    assert not missing, f"not in docs/s3.md: {missing}"
    assert served <= set(model.operation_names), f"AWS has no {served - set(model.operation_names)}"
    assert 300 < len(walked), f"only {len(walked)} headers and parameters in the model"


def the_page_has_nothing_else():
    known = {(pattern, operation) for _, operation, pattern, _ in walked}
    known |= {(pattern, "all") for _, _, pattern, _ in walked if (pattern, "all") in standings}
    stale = set(standings) - known - BESIDE_THE_MODEL
    assert not stale, f"AWS has no {stale}"


# ---- what is refused


def what_is_refused_is_refused():
    for operation in {operation for _, operation, _, standing in walked if standing not in ("honoured", "no effect")}:
        answer = send(operation, request(operation))
        assert answer.status < 400, f"{operation} alone: {answer}"
    tried = 0
    for name, operation, _, standing in walked:
        if standing in ("honoured", "no effect"):
            continue
        status = 501 if standing == "NotImplemented" else 400
        answer = send(operation, request(operation).put(name, "x"))
        want(answer, status, standing, f"{operation} with {name}")
        tried += 1
    assert 30 < tried, f"only {tried} were tried"


def what_has_no_effect_has_none():
    values = {
        "x-amz-request-payer": "requester",
        "x-amz-mfa": "20899872 301749",
        "x-amz-bucket-object-lock-token": "x",
        "x-amz-confirm-remove-self-bucket-access": "true",
        "x-amz-skip-destination-validation": "true",
    }
    for name, operation, _, standing in walked:
        if standing == "no effect":
            plain = send(operation, request(operation))
            answer = send(operation, request(operation).put(name, values[name]))
            assert plain.status < 300, f"{operation} alone: {plain}"
            assert answer.status == plain.status, f"{operation} with {name}: {answer}, without: {plain}"
            changing = ("date", "last-modified", "x-amz-request-id", "x-amz-id-2", "location", "x-amz-bucket-arn")
            heads = [{n: v for n, v in a.headers.items() if n not in changing} for a in (plain, answer)]
            assert heads[0].keys() == heads[1].keys(), f"{operation} with {name}: {heads}"


# ---- what is honoured


def refused_value(value, status, code, **more):
    """A value that is not taken is an error, so the name was looked at."""

    def probe(name, operation):
        ask = request(operation).put(name, value)
        for other, text in more.items():
            ask.put("?" + other.replace("_", "-"), text)
        want(send(operation, ask), status, code, f"{operation} with {name}: {value}")

    return probe


def by_operation(**probes):
    def probe(name, operation):
        probes.get(operation, probes.get("other"))(name, operation)

    return probe


def kept(value):
    """What is sent with a new object comes back with it."""

    def probe(name, operation):
        ask = request(operation).put(name, value)
        if operation == "CopyObject":
            ask.put("x-amz-metadata-directive", "REPLACE")
        answer = want(ask.send(), 200, what=f"{operation} with {name}")
        path = ask.path
        if operation == "CreateMultipartUpload":
            upload = re.search("<UploadId>([^<]*)</UploadId>", answer.body).group(1)
            key = path.rsplit("/", 1)[1]
            tag = part_of(upload, key).replace('"', "&quot;")
            body = f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{tag}</ETag></Part></CompleteMultipartUpload>"
            want(Ask("POST", path, {"uploadId": upload}, body=body.encode()).send(), 200, what="complete")
        got = Ask("HEAD", path).send().headers.get(name.lower())
        assert got == value, f"{operation} with {name}: {value!r} came back as {got!r}"

    return probe


def too_much_metadata(name, operation):
    ask = request(operation).put(name[:-1] + "a", "v" * 3000)
    want(ask.send(), 400, "MetadataTooLarge", f"{operation} with {name}")


def bad_tags(name, operation):
    ask = request(operation).put(name, "a*=b").put("x-amz-tagging-directive", "REPLACE")
    want(ask.send(), 400, "InvalidTag", f"{operation} with {name}")


def length(name, operation):
    ask = request(operation)
    want(ask.send(), 200, what=operation)
    ask.body = b""
    want(ask.send(with_length=False), 411, "MissingContentLength", f"{operation} without {name}")


def shows(value, found, lost):
    """A listing with the parameter shows one thing and not another."""

    def probe(name, operation):
        open_upload("d/up")
        put("d/x")
        answer = want(request(operation).put(name, value).send(), 200, what=f"{operation} with {name}")
        has = lambda tags: any(f"<{tag}>" in answer.body for tag in tags)
        assert not found or has(found), f"{operation} with {name}: no {found} in {answer}"
        assert not has(lost), f"{operation} with {name}: {lost} in {answer}"

    return probe


def part_of_the_bytes(name, operation):
    answer = want(request(operation).put(name, "bytes=2-4").send(), 206, what=f"{operation} with {name}")
    assert answer.headers["content-range"] == "bytes 2-4/10", answer.headers


def overridden(name, operation):
    header = name[len("?response-"):]
    answer = want(request(operation).put(name, "a b").send(), 200, what=f"{operation} with {name}")
    assert answer.headers.get(header) == "a b", f"{operation} with {name}: {answer.headers}"
    refused_value("a\u2019b", 400, "InvalidArgument")(name, operation)


def not_modified_since(name, operation):
    modified = Ask("HEAD", f"/{bucket}/k").send().headers["last-modified"]
    status = 304 if name == "If-Modified-Since" and operation != "RenameObject" else 412
    refused_value(modified, status, "PreconditionFailed")(name, operation)


ARGUMENT = lambda value, **more: refused_value(value, 400, "InvalidArgument", **more)
FAILED = lambda value: refused_value(value, 412, "PreconditionFailed")
READ = lambda value: refused_value(value, 304, "")
CHECKSUM = refused_value("x", 400, "InvalidRequest")
ENTRIES = ("Contents", "Version", "Upload", "Bucket><Name", "CommonPrefixes")
EMPTY = lambda value: shows(value, (), ENTRIES)

PROBES = {
    "x-amz-tagging": bad_tags,
    "Cache-Control": kept("max-age=7"),
    "Content-Disposition": kept('attachment; filename="a"'),
    "Content-Encoding": kept("gzip"),
    "Content-Language": kept("de"),
    "Content-Type": kept("text/x-walk"),
    "Expires": kept("Fri, 01 Jan 2100 00:00:00 GMT"),
    "x-amz-meta-*": too_much_metadata,
    "x-amz-storage-class": refused_value("ICE", 400, "InvalidStorageClass"),
    "Content-Length": length,
    "Content-MD5": refused_value("AAAAAAAAAAAAAAAAAAAAAA==", 400, "BadDigest"),
    "x-amz-sdk-checksum-algorithm": refused_value("XOR", 400, "InvalidRequest"),
    "x-amz-checksum-crc32": CHECKSUM,
    "x-amz-checksum-crc32c": CHECKSUM,
    "x-amz-checksum-crc64nvme": CHECKSUM,
    "x-amz-checksum-sha1": CHECKSUM,
    "x-amz-checksum-sha256": CHECKSUM,
    "x-amz-checksum-sha512": CHECKSUM,
    "x-amz-checksum-md5": CHECKSUM,
    "x-amz-checksum-xxhash64": CHECKSUM,
    "x-amz-checksum-xxhash3": CHECKSUM,
    "x-amz-checksum-xxhash128": CHECKSUM,
    "x-amz-server-side-encryption": ARGUMENT("x"),
    "x-amz-server-side-encryption-aws-kms-key-id": ARGUMENT("x"),
    "x-amz-server-side-encryption-context": ARGUMENT("x"),
    "x-amz-server-side-encryption-bucket-key-enabled": ARGUMENT("x"),
    "x-amz-server-side-encryption-customer-algorithm": refused_value("x", 400, "InvalidEncryptionAlgorithmError"),
    "x-amz-server-side-encryption-customer-key": ARGUMENT("x"),
    "x-amz-server-side-encryption-customer-key-MD5": ARGUMENT("x"),
    "x-amz-copy-source-server-side-encryption-customer-algorithm": refused_value("x", 400, "InvalidEncryptionAlgorithmError"),
    "x-amz-copy-source-server-side-encryption-customer-key": ARGUMENT("x"),
    "x-amz-copy-source-server-side-encryption-customer-key-MD5": ARGUMENT("x"),
    "x-amz-write-offset-bytes": refused_value("1", 400, "InvalidWriteOffset"),
    "x-amz-transition-default-minimum-object-size": refused_value("some", 400, "InvalidArgument"),
    "x-amz-checksum-algorithm": refused_value("XOR", 400, "InvalidRequest"),
    "x-amz-checksum-type": refused_value("SOME", 400, "InvalidRequest"),
    "x-amz-mp-object-size": refused_value("11", 400, "InvalidRequest"),
    "x-amz-checksum-mode": refused_value("x", 400, "InvalidRequest"),
    "Range": part_of_the_bytes,
    "If-Match": FAILED(NO_TAG),
    "If-None-Match": by_operation(GetObject=READ("*"), HeadObject=READ("*"), other=FAILED("*")),
    "If-Modified-Since": not_modified_since,
    "If-Unmodified-Since": FAILED(OLD),
    "x-amz-if-match-size": FAILED("11"),
    "x-amz-if-match-last-modified-time": FAILED(OLD),
    "x-amz-if-match-initiated-time": FAILED(OLD),
    "x-amz-meta-snowball-auto-extract": ARGUMENT("maybe"),
    "x-amz-meta-minio-snowball-prefix": kept("p"),
    "x-amz-meta-minio-snowball-ignore-dirs": kept("true"),
    "x-amz-meta-minio-snowball-ignore-errors": kept("true"),
    "x-amz-rename-source": ARGUMENT("/elsewhere/k"),
    "x-amz-rename-source-if-match": FAILED(NO_TAG),
    "x-amz-rename-source-if-none-match": FAILED("*"),
    "x-amz-rename-source-if-modified-since": not_modified_since,
    "x-amz-rename-source-if-unmodified-since": FAILED(OLD),
    "x-amz-client-token": ARGUMENT("a b"),
    "x-amz-copy-source": ARGUMENT("no-key"),
    "x-amz-copy-source-if-match": FAILED(NO_TAG),
    "x-amz-copy-source-if-none-match": FAILED("*"),
    "x-amz-copy-source-if-modified-since": not_modified_since,
    "x-amz-copy-source-if-unmodified-since": FAILED(OLD),
    "x-amz-copy-source-range": ARGUMENT("bytes=0-"),
    "x-amz-source-expected-bucket-owner": refused_value("000000000000", 403, "AccessDenied"),
    "x-amz-expected-bucket-owner": refused_value("000000000000", 403, "AccessDenied"),
    "x-amz-metadata-directive": ARGUMENT("x"),
    "x-amz-tagging-directive": ARGUMENT("x"),
    "x-amz-object-annotation-directive": ARGUMENT("x"),
    "x-amz-object-attributes": ARGUMENT("x"),
    "x-amz-max-parts": ARGUMENT("x"),
    "x-amz-part-number-marker": ARGUMENT("x"),
    "x-amz-optional-object-attributes": ARGUMENT("x"),
    "x-amz-acl": by_operation(
        CreateBucket=refused_value("public-read", 400, "InvalidBucketAclWithObjectOwnership"),
        other=refused_value("public-read", 400, "AccessControlListNotSupported"),
    ),
    "x-amz-object-ownership": ARGUMENT("x"),
    "x-amz-bucket-object-lock-enabled": ARGUMENT("x"),
    "x-amz-object-lock-mode": ARGUMENT("x"),
    "x-amz-object-lock-retain-until-date": ARGUMENT("x"),
    "x-amz-object-lock-legal-hold": ARGUMENT("x"),
    "x-amz-bypass-governance-retention": ARGUMENT("x"),
    "x-amz-bucket-namespace": refused_value("account-regional", 501, "NotImplemented"),
    "?prefix": EMPTY("no-such-prefix"),
    "?delimiter": shows("/", ("CommonPrefixes",), ()),
    "?encoding-type": ARGUMENT(""),
    "?max-keys": shows("0", (), ENTRIES),
    "?start-after": EMPTY("z"),
    "?fetch-owner": shows("true", ("Owner",), ()),
    "?continuation-token": ARGUMENT(""),
    "?marker": EMPTY("z"),
    "?key-marker": EMPTY("z"),
    "?version-id-marker": ARGUMENT("null"),
    "?upload-id-marker": ARGUMENT("x", key_marker="a"),
    "?max-uploads": shows("0", (), ENTRIES),
    "?part-number-marker": ARGUMENT("x"),
    "?max-parts": ARGUMENT("x"),
    "?max-buckets": ARGUMENT("0"),
    "?bucket-region": ARGUMENT("xx-nowhere-1"),
    "?versionId": ARGUMENT("x"),
    "?partNumber": ARGUMENT("0"),
    "?uploadId": refused_value("0" * 32, 404, "NoSuchUpload"),
    "?response-cache-control": overridden,
    "?response-content-disposition": overridden,
    "?response-content-encoding": overridden,
    "?response-content-language": overridden,
    "?response-content-type": overridden,
    "?response-expires": overridden,
}


def honoured(pattern):
    """One name, at each operation that has it: first the request alone, which is served, then the name."""

    def run():
        for name, operation, found, _ in walked:
            if found == pattern:
                answer = send(operation, request(operation))
                served_so = answer.status < 300 or operation in SAYS_NOT_CONFIGURED and answer.status == 404
                assert served_so, f"{operation} alone: {answer}"
                PROBES[pattern](name, operation)
        for name, operation in BESIDE_THE_MODEL:
            if name == pattern:
                PROBES[pattern](name, operation)

    return run


# ---- what is not served


def other_operations():
    """All of AWS's operations that are not served, but for second names of those that are."""
    ours = {uri(model.operation_model(name)) for name in served}
    return [name for name in model.operation_names if name not in served and uri(model.operation_model(name)) not in ours]


def what_is_not_served_is_refused():
    names = other_operations()
    assert 30 < len(names), f"only {names}"
    for name in names:
        operation = model.operation_model(name)
        method, template = uri(operation)
        path, _, subresource = template.partition("?")
        path = path.replace("{Bucket}", bucket).replace("{Key+}", "k")
        pairs = urllib.parse.parse_qsl(subresource, keep_blank_values=True)
        parameters = {parameter[1:]: "x" for parameter in of_model(operation) if parameter.startswith("?")}
        for value in ("", "1"):
            for more in ({}, parameters):
                query = {key: text or value for key, text in pairs} | more
                ask = Ask(method, path, query, body=b"<x/>" if method in ("PUT", "POST") else b"")
                answer = ask.send()
                assert answer.status >= 400, f"{name} {query}: {answer}"
                # That one is a POST to a bucket of its name, and no form.
                codes = ("NotImplemented", "MethodNotAllowed", *(("PreconditionFailed",) if name == "WriteGetObjectResponse" else ()))
                assert answer.code in codes, f"{name} {query}: {answer}"
    kept_object = Ask("GET", f"/{bucket}/k").send()
    assert kept_object.body == "0123456789", kept_object
    want(Ask("HEAD", f"/{bucket}").send(), 200)


# Operations that answer 404 where nothing was configured, which is all they do.
SAYS_NOT_CONFIGURED = {
    "GetBucketCors",
    "GetBucketEncryption",
    "GetBucketLifecycleConfiguration",
    "GetBucketPolicy",
    "GetBucketPolicyStatus",
    "GetBucketReplication",
    "GetBucketTagging",
    "GetBucketWebsite",
    "GetObjectLockConfiguration",
    "GetPublicAccessBlock",
}

want(Ask("PUT", f"/{bucket}").send(), 200, what="create the bucket")
put("k")
with_lock = {"x-amz-bucket-object-lock-enabled": "true"}
want(Ask("PUT", f"/{locked}", headers=with_lock).send(), 200, what="create the bucket with object lock")
want(Ask("PUT", f"/{locked}/k", body=b"0123456789").send(), 200, what="put into it")
want(request("PutObjectRetention").send(), 200, what="retain it")
steps("the page has all that AWS has", the_page_has_all_of_aws)
steps("the page has nothing else", the_page_has_nothing_else)
steps("what is refused is refused", what_is_refused_is_refused)
steps("what has no effect has none", what_has_no_effect_has_none)
for pattern in dict.fromkeys(name for (name, _), standing in standings.items() if standing == "honoured"):
    steps(f"{pattern} is honoured", honoured(pattern))
steps("operations that are not served are refused", what_is_not_served_is_refused)
steps.close()
