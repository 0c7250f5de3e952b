"""What is set for buckets and objects, by boto3, by the AWS CLI and as a browser asks: tags, and rules for other origins.

Codes and texts are S3's, word for word.
"""
import http.client
import json
import os
import subprocess
import sys
import urllib.parse

import nilas
from nilas import HOST, refused
from people import Person, allow, arn, deny, store
from steps import Steps, eq

client = nilas.s3()
bucket = nilas.unique("settings")

ENV = dict(
    os.environ,
    AWS_ACCESS_KEY_ID=nilas.ACCESS_KEY,
    AWS_SECRET_ACCESS_KEY=nilas.SECRET_KEY,
    AWS_DEFAULT_REGION=nilas.S3_REGION,
    AWS_ENDPOINT_URL=nilas.ENDPOINT,
    AWS_MAX_ATTEMPTS="1",
    AWS_CONFIG_FILE="/dev/null",
    AWS_SHARED_CREDENTIALS_FILE="/dev/null",
)


def aws(*arguments, fails=False):
    """Runs `aws s3api`; answers its JSON, or of a command that is to fail its message."""
    program = os.path.join(os.path.dirname(sys.executable), "aws")
    done = subprocess.run([program, "s3api", *arguments], env=ENV, capture_output=True, text=True, timeout=120)
    assert (done.returncode != 0) == fails, f"aws {arguments}: {done.returncode} {done.stdout} {done.stderr}"
    if fails:
        return done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


def says(run, code, message, status=400):
    """`run` is refused with a code, a text and a status."""
    error = refused(run, code).response
    eq(error["Error"]["Message"], message, "message")
    eq(error["ResponseMetadata"]["HTTPStatusCode"], status, "status")
    return error["Error"]


def pairs(tags):
    return [(tag["Key"], tag["Value"]) for tag in tags]


def tag_set(*tags):
    return {"TagSet": [{"Key": key, "Value": value} for key, value in tags]}


# ---- tags of a bucket


def bucket_tags_from_the_start():
    tagged = nilas.unique("tagged")
    tags = tag_set(("team", "data"))["TagSet"]
    make = lambda by, *tags: by.create_bucket(Bucket=tagged, CreateBucketConfiguration={"Tags": list(tags)})
    maker = Person("maker", allow("s3:*"), deny("s3:PutBucketTagging"))
    try:
        refused(lambda: make(maker.client(), *tags), "AccessDenied")
        refused(lambda: client.head_bucket(Bucket=tagged), "404")
    finally:
        maker.go()
    says(lambda: make(client, *tags, *tags), "InvalidTag", "Cannot provide multiple Tags with the same key")
    make(client, *tags)
    eq(client.get_bucket_tagging(Bucket=tagged)["TagSet"], tags, "tags")
    make(client)
    eq(client.get_bucket_tagging(Bucket=tagged)["TagSet"], tags, "tags of a bucket that was there")
    client.delete_bucket(Bucket=tagged)


def bucket_tags():
    get = lambda: client.get_bucket_tagging(Bucket=bucket)
    put = lambda *tags: client.put_bucket_tagging(Bucket=bucket, Tagging=tag_set(*tags))
    missing = says(get, "NoSuchTagSet", "The TagSet does not exist", 404)
    eq(missing["BucketName"], bucket, "bucket")
    eq(put(("team", "data"), ("Größe", "a b/+-=._:@"))["ResponseMetadata"]["HTTPStatusCode"], 204, "put")
    eq(sorted(pairs(get()["TagSet"])), [("Größe", "a b/+-=._:@"), ("team", "data")], "tags")
    many = [(f"{nth}" + "k" * 126, "v" * 256) for nth in range(10, 60)]
    says(lambda: put(*many, ("one", "more")), "BadRequest", "Bucket tag count cannot be greater than 50")
    bad_key = "The TagKey you have provided is invalid"
    says(lambda: put(("k" * 129, "")), "InvalidTag", bad_key)
    says(lambda: put(("a\tb", "")), "InvalidTag", bad_key)
    says(lambda: put(("a", "v" * 257)), "InvalidTag", "The TagValue you have provided is invalid")
    twice = says(lambda: put(("a", "1"), ("a", "2")), "InvalidTag", "Cannot provide multiple Tags with the same key")
    eq(twice["TagKey"], "a", "key")
    says(lambda: put(("aws:x", "")), "InvalidTag", "System tags cannot be added/updated by requester")
    eq(len(get()["TagSet"]), 2, "nothing was changed")
    put(*many)
    eq(sorted(pairs(get()["TagSet"])), sorted(many), "the most tags")
    put()
    refused(get, "NoSuchTagSet")
    put(("a", ""))
    eq(client.delete_bucket_tagging(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"], 204, "delete")
    eq(client.delete_bucket_tagging(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"], 204, "delete again")
    refused(get, "NoSuchTagSet")
    refused(lambda: client.get_bucket_tagging(Bucket=nilas.unique("none")), "NoSuchBucket")


def bucket_tags_by_cli():
    named = ["--bucket", bucket]
    aws("put-bucket-tagging", *named, "--tagging", "TagSet=[{Key=team,Value=data},{Key=cost,Value=7}]")
    eq(sorted(pairs(aws("get-bucket-tagging", *named)["TagSet"])), [("cost", "7"), ("team", "data")], "tags")
    aws("delete-bucket-tagging", *named)
    assert "(NoSuchTagSet)" in aws("get-bucket-tagging", *named, fails=True)


# ---- other origins

NOT_ALLOWED = (
    "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / "
    "Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec."
)


def browse(method, path, origin=None, wants=None, headers=None, url=None):
    """A request as a browser sends it; answers status, headers that are about origins, and body."""
    head = {"Origin": origin, "Access-Control-Request-Method": wants, "Access-Control-Request-Headers": headers}
    connection = http.client.HTTPConnection(HOST, timeout=60)
    connection.request(method, url or path, headers={name: value for name, value in head.items() if value is not None})
    answer = connection.getresponse()
    body = answer.read().decode("utf-8", "replace")
    connection.close()
    told = {}
    for name, value in answer.getheaders():
        name = name.lower()
        assert name not in told, f"{name} twice"
        if name.startswith("access-control-") or name == "vary":
            told[name.removeprefix("access-control-")] = value
    return answer.status, told, body


def element(body, name):
    assert f"<{name}>" in body, f"no {name} in {body}"
    return body.split(f"<{name}>", 1)[1].split("<", 1)[0]


def denied(path, message, method, resource, **asked):
    status, told, body = browse("OPTIONS", path, **asked)
    got = (status, told, element(body, "Code"), element(body, "Message"), element(body, "Method"), element(body, "ResourceType"))
    eq(got, (403, {}, "AccessForbidden", message, method, resource), "preflight")


VARY = {"vary": "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"}


def preflights():
    path = f"/{bucket}/some/key"
    a = "https://localhost:4200"
    status, told, body = browse("OPTIONS", path)
    eq((status, told, element(body, "Code"), element(body, "Message")),
       (400, {}, "BadRequest", "Insufficient information. Origin request header needed."), "no origin")
    denied(path, "CORSResponse: CORS is not enabled for this bucket.", "PUT", "BUCKET", origin=a, wants="PUT")
    denied(path, "CORSResponse: CORS is not enabled for this bucket.", "OPTIONS", "BUCKET", origin=a)
    denied(f"/{nilas.unique('none')}/k", "CORSResponse: Bucket not found", "OPTIONS", "BUCKET", origin=a)
    rules = [
        {"AllowedOrigins": [a], "AllowedMethods": ["GET", "PUT"], "MaxAgeSeconds": 3000, "AllowedHeaders": ["*"]},
        {"ID": "second", "AllowedOrigins": ["http://*.origin.com"], "AllowedMethods": ["GET"],
         "AllowedHeaders": ["x-amz-expected-bucket-owner", "x-AMZ-server-SIDE-encryption"]},
        {"AllowedOrigins": ["*"], "AllowedMethods": ["HEAD"], "ExposeHeaders": ["x-amz-id-2", "ETag"]},
    ]
    client.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": rules})
    eq(client.get_bucket_cors(Bucket=bucket)["CORSRules"], rules, "rules")
    first = {"allow-credentials": "true", "allow-methods": "GET, PUT", "allow-origin": a, "max-age": "3000", **VARY}
    eq(browse("OPTIONS", path, a, "PUT"), (200, first, ""), "preflight")
    eq(browse("OPTIONS", f"/{bucket}", a, "GET"), (200, first, ""), "preflight of a bucket")
    eq(browse("OPTIONS", path, a, "PUT", "X-Amz-Date,content-type"),
       (200, {**first, "allow-headers": "x-amz-date, content-type"}, ""), "headers")
    second = {"allow-credentials": "true", "allow-methods": "GET", "allow-origin": "http://test.origin.com", **VARY}
    eq(browse("OPTIONS", path, "http://test.origin.com", "GET"), (200, second, ""), "one wildcard")
    eq(browse("OPTIONS", path, "http://test.origin.com", "GET", "x-AMZ-expected-BUCKET-owner,x-amz-server-side-encryption"),
       (200, {**second, "allow-headers": "x-amz-expected-bucket-owner, x-amz-server-side-encryption"}, ""), "names without case")
    any_origin = {"allow-methods": "HEAD", "allow-origin": "*", "expose-headers": "x-amz-id-2, ETag", **VARY}
    eq(browse("OPTIONS", path, "null", "HEAD"), (200, any_origin, ""), "any origin")
    denied(path, NOT_ALLOWED, "PUT", "OBJECT", origin="http://localhost:4200", wants="PUT")
    denied(f"/{bucket}", NOT_ALLOWED, "GET", "BUCKET", origin="http://test.origin.com/", wants="GET")
    denied(path, NOT_ALLOWED, "GET", "OBJECT", origin="http://test.origin.com", wants="GET", headers="x-amz-request-payer")
    denied(path, NOT_ALLOWED, "HEAD", "OBJECT", origin="http://test.origin.com", wants="HEAD", headers="x-a")
    status, told, body = browse("OPTIONS", path, a, "PATCH")
    eq((status, element(body, "Code"), element(body, "Message")),
       (400, "BadRequest", "Invalid Access-Control-Request-Method: PATCH"), "method")
    # The URL that a page was given for its upload is asked for first, without a signature being looked at.
    url = client.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k"})
    line = url.split(HOST, 1)[1]
    eq(browse("OPTIONS", line, a, "PUT")[0], 200, "preflight of a presigned URL")


def browser_requests():
    """What comes after a preflight: answers say who may read them, refusals too."""
    a = "https://app.example"
    rules = [{"AllowedOrigins": [a], "AllowedMethods": ["GET", "PUT"], "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 5}]
    client.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": rules})
    told = {"allow-credentials": "true", "allow-methods": "GET, PUT", "allow-origin": a, "expose-headers": "ETag", "max-age": "5", **VARY}
    client.put_object(Bucket=bucket, Key="open/k", Body=b"x")
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/open/*"}
    client.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    try:
        eq(browse("GET", f"/{bucket}/open/k", a), (200, told, "x"), "anonymous")
        eq(browse("GET", f"/{bucket}/open/k"), (200, {}, "x"), "no origin")
        eq(browse("GET", f"/{bucket}/open/k", "https://other.example"), (200, {}, "x"), "another origin")
        eq(browse("GET", f"/{bucket}/open/k", a, "DELETE"), (200, {}, "x"), "the method that is asked for counts")
        status, got, body = browse("GET", f"/{bucket}/closed", a)
        eq((status, got, element(body, "Code")), (403, told, "AccessDenied"), "refused")
        status, got, body = browse("GET", f"/{bucket}/open/none", a)
        assert status in (403, 404) and got == told, (status, got)
        eq(browse("DELETE", f"/{bucket}/open/k", a)[:2], (403, {}), "a method that no rule has")
        url = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "open/k"})
        line = url.split(HOST, 1)[1]
        eq(browse("GET", line, a), (200, told, "x"), "presigned")
        parsed = urllib.parse.urlsplit(line)
        broken = parsed.path + "?" + parsed.query[:-3] + "abc"
        status, got, body = browse("GET", broken, a)
        eq((status, got, element(body, "Code")), (403, told, "SignatureDoesNotMatch"), "a bad signature")
    finally:
        client.delete_bucket_policy(Bucket=bucket)


def rules_that_are_none():
    put = lambda *rules: client.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": list(rules)})
    rule = lambda **more: {"AllowedOrigins": ["*"], "AllowedMethods": ["GET"], **more}
    eq(client.delete_bucket_cors(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"], 204, "delete")
    missing = says(lambda: client.get_bucket_cors(Bucket=bucket), "NoSuchCORSConfiguration", "The CORS configuration does not exist", 404)
    eq(missing["BucketName"], bucket, "bucket")
    malformed = "The XML you provided was not well-formed or did not validate against our published schema"
    says(lambda: put(), "MalformedXML", malformed)
    says(lambda: put(rule(AllowedOrigins=[])), "MalformedXML", malformed)
    says(lambda: put(rule(AllowedMethods=["GET", "OPTIONS"])), "InvalidRequest",
         "Found unsupported HTTP method in CORS config. Unsupported method is OPTIONS")
    says(lambda: put(rule(AllowedOrigins=["*example*.com"])), "InvalidRequest",
         'AllowedOrigin "*example*.com" can not have more than one wildcard.')
    says(lambda: put(rule(AllowedHeaders=["x-*-*"])), "InvalidRequest",
         'AllowedHeader "x-*-*" can not have more than one wildcard.')
    says(lambda: put(rule(ExposeHeaders=["*"])), "InvalidRequest",
         'ExposeHeader "*" contains wildcard. We currently do not support wildcard for ExposeHeader.')
    refused(lambda: put(*[rule()] * 101), "InvalidRequest")
    refused(lambda: client.get_bucket_cors(Bucket=bucket), "NoSuchCORSConfiguration")
    put(*[rule(ID=f"rule {nth}") for nth in range(100)])
    eq(len(client.get_bucket_cors(Bucket=bucket)["CORSRules"]), 100, "rules")
    put(rule(AllowedOrigins=[""]))
    client.delete_bucket_cors(Bucket=bucket)


def cors_by_cli():
    named = ["--bucket", bucket]
    rules = {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["https://a.example"], "MaxAgeSeconds": 60}]}
    aws("put-bucket-cors", *named, "--cors-configuration", json.dumps(rules))
    eq(aws("get-bucket-cors", *named), rules, "rules")
    aws("delete-bucket-cors", *named)
    assert "(NoSuchCORSConfiguration)" in aws("get-bucket-cors", *named, fails=True)


# ---- tags of objects

TOO_MANY = "Object tags cannot be greater than 10"


def tags_of(key, by=client):
    return pairs(by.get_object_tagging(Bucket=bucket, Key=key)["TagSet"])


def tags_with_objects():
    put = lambda key, tagging: client.put_object(Bucket=bucket, Key=key, Body=b"x", Tagging=tagging)
    put("tagged", "foo=bar&bar")
    eq(tags_of("tagged"), [("bar", ""), ("foo", "bar")], "in the order of keys")
    for answer in (client.head_object(Bucket=bucket, Key="tagged"), client.get_object(Bucket=bucket, Key="tagged")):
        eq(answer["ResponseMetadata"]["HTTPHeaders"]["x-amz-tagging-count"], "2", "count")
    client.put_object(Bucket=bucket, Key="plain", Body=b"x")
    eq(tags_of("plain"), [], "no tags")
    assert "x-amz-tagging-count" not in client.head_object(Bucket=bucket, Key="plain")["ResponseMetadata"]["HTTPHeaders"]
    put("tagged", urllib.parse.urlencode({"a b": "c+d/é", "x": "=:"}))
    eq(tags_of("tagged"), [("a b", "c+d/é"), ("x", "=:")], "other tags, with blanks")
    ten = {f"{nth}" + "k" * 127: "v" * 256 for nth in range(10)}
    put("most", urllib.parse.urlencode(ten))
    eq(tags_of("most"), sorted(ten.items()), "the most tags")
    says(lambda: put("none", urllib.parse.urlencode({**ten, "one": "more"})), "BadRequest", TOO_MANY)
    says(lambda: put("none", "a" * 129 + "=b"), "InvalidTag", "The TagKey you have provided is invalid")
    says(lambda: put("none", "a=" + "b" * 257), "InvalidTag", "The TagValue you have provided is invalid")
    says(lambda: put("none", "a%2A=b"), "InvalidTag", "The TagKey you have provided is invalid")
    says(lambda: put("none", "aws:a=b"), "InvalidTag", "Your TagKey cannot be prefixed with aws:")
    twice = "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates."
    says(lambda: put("none", "a=1&a=2"), "InvalidArgument", twice)
    refused(lambda: client.head_object(Bucket=bucket, Key="none"), "404")
    client.put_object(Bucket=bucket, Key="tagged", Body=b"x")
    eq(tags_of("tagged"), [], "an overwritten object")
    url = client.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "signed", "Tagging": "team=web"})
    connection = http.client.HTTPConnection(HOST, timeout=60)
    connection.request("PUT", url.split(HOST, 1)[1], body=b"x", headers={"x-amz-tagging": "team=web"})
    eq(connection.getresponse().status, 200, "presigned")
    eq(tags_of("signed"), [("team", "web")], "tags with a presigned URL")


def tags_of_uploads():
    upload = client.create_multipart_upload(Bucket=bucket, Key="parts", Tagging="a=1&b=2")["UploadId"]
    named = {"Bucket": bucket, "Key": "parts", "UploadId": upload}
    tag = client.upload_part(**named, PartNumber=1, Body=b"x")["ETag"]
    client.complete_multipart_upload(**named, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]})
    eq(tags_of("parts"), [("a", "1"), ("b", "2")], "tags")
    says(lambda: client.create_multipart_upload(Bucket=bucket, Key="parts", Tagging="a*=1"), "InvalidTag",
         "The TagKey you have provided is invalid")


def tags_of_copies():
    client.put_object(Bucket=bucket, Key="from", Body=b"x", Tagging="a=1&b=2")
    copy = lambda key, **more: client.copy_object(Bucket=bucket, Key=key, CopySource={"Bucket": bucket, "Key": "from"}, **more)
    copy("to")
    eq(tags_of("to"), [("a", "1"), ("b", "2")], "as the source's")
    copy("to", Tagging="c=3")
    eq(tags_of("to"), [("a", "1"), ("b", "2")], "a header without its directive")
    copy("to", TaggingDirective="REPLACE", Tagging="c=3")
    eq(tags_of("to"), [("c", "3")], "replaced")
    copy("to", TaggingDirective="REPLACE")
    eq(tags_of("to"), [], "replaced by none")
    copy("to", TaggingDirective="COPY", MetadataDirective="REPLACE", Metadata={"m": "1"})
    eq(tags_of("to"), [("a", "1"), ("b", "2")], "directives are apart")
    refused(lambda: copy("to", TaggingDirective="MERGE"), "InvalidArgument")


def tags_of_what_is_there():
    client.put_object(Bucket=bucket, Key="late", Body=b"x" * 200_000, Metadata={"m": "1"}, ContentType="a/b")
    before = client.head_object(Bucket=bucket, Key="late")
    put = lambda *tags, key="late", by=client: by.put_object_tagging(Bucket=bucket, Key=key, Tagging=tag_set(*tags))
    eq(put(("b", "2"), ("a", ""))["ResponseMetadata"]["HTTPStatusCode"], 200, "put")
    eq(tags_of("late"), [("a", ""), ("b", "2")], "tags")
    after = client.head_object(Bucket=bucket, Key="late")
    for name in ("ETag", "LastModified", "ContentLength", "ContentType", "Metadata"):
        eq(after[name], before[name], name)
    eq(client.get_object(Bucket=bucket, Key="late")["Body"].read(), b"x" * 200_000, "bytes")
    put(("c", "3"))
    eq(tags_of("late"), [("c", "3")], "other tags")
    says(lambda: put(*[(f"k{nth}", "") for nth in range(11)]), "BadRequest", TOO_MANY)
    says(lambda: put(("a", "1"), ("a", "2")), "InvalidTag", "Cannot provide multiple Tags with the same key")
    says(lambda: put(("aws:a", "1")), "InvalidTag", "Your TagKey cannot be prefixed with aws:")
    refused(lambda: put(("a", "1"), key="none"), "NoSuchKey")
    eq(tags_of("late"), [("c", "3")], "nothing was changed")
    put()
    eq(tags_of("late"), [], "an empty set")
    put(("d", "4"))
    eq(client.delete_object_tagging(Bucket=bucket, Key="late")["ResponseMetadata"]["HTTPStatusCode"], 204, "delete")
    eq(tags_of("late"), [], "deleted")
    client.delete_object_tagging(Bucket=bucket, Key="late")
    refused(lambda: client.delete_object_tagging(Bucket=bucket, Key="none"), "NoSuchKey")
    named = ["--bucket", bucket, "--key", "late"]
    aws("put-object-tagging", *named, "--tagging", "TagSet=[{Key=team,Value=data}]")
    eq(pairs(aws("get-object-tagging", *named)["TagSet"]), [("team", "data")], "by the command line")

    everything = arn(bucket, "*")
    only = {"StringEquals": {"s3:RequestObjectTag/team": "web"}}
    existing = {"StringEquals": {"s3:ExistingObjectTag/team": "data"}}
    tagger = Person("tagger", allow("s3:PutObjectTagging", everything, Condition=only))
    try:
        by = tagger.client()
        refused(lambda: put(("team", "data"), by=by), "AccessDenied")
        put(("team", "web"), by=by)
        tagger.may(allow(["s3:PutObjectTagging", "s3:DeleteObjectTagging"], everything, Condition=existing))
        refused(lambda: put(("team", "data"), by=by), "AccessDenied")
        refused(lambda: by.delete_object_tagging(Bucket=bucket, Key="late"), "AccessDenied")
        put(("team", "data"))
        put(("team", "data"), ("more", ""), by=by)
        by.delete_object_tagging(Bucket=bucket, Key="late")
        eq(tags_of("late"), [], "tags")
    finally:
        tagger.go()


def tags_of_versions():
    versioned = nilas.unique("settings-versions")
    client.create_bucket(Bucket=versioned)
    client.put_bucket_versioning(Bucket=versioned, VersioningConfiguration={"Status": "Enabled"})
    named = {"Bucket": versioned, "Key": "k"}
    first = client.put_object(**named, Body=b"1", Tagging="a=1")["VersionId"]
    second = client.put_object(**named, Body=b"2")["VersionId"]
    of = lambda version: pairs(client.get_object_tagging(**named, VersionId=version)["TagSet"])
    eq((of(first), of(second)), ([("a", "1")], []), "tags")
    answer = client.put_object_tagging(**named, VersionId=first, Tagging=tag_set(("b", "2")))
    eq(answer["VersionId"], first, "version")
    eq(client.put_object_tagging(**named, Tagging=tag_set(("c", "3")))["VersionId"], second, "the current one")
    eq((of(first), of(second)), ([("b", "2")], [("c", "3")]), "tags")
    client.delete_object_tagging(**named, VersionId=second)
    eq((of(first), of(second)), ([("b", "2")], []), "deleted")
    marker = client.delete_object(**named)["VersionId"]
    refused(lambda: client.get_object_tagging(**named), "NoSuchKey", "MethodNotAllowed")
    refused(lambda: client.put_object_tagging(**named, VersionId=marker, Tagging=tag_set(("x", ""))), "MethodNotAllowed")
    for version in (first, second, marker):
        client.delete_object(**named, VersionId=version)
    client.delete_bucket(Bucket=versioned)


def tags_and_rights():
    """Tags in conditions, and what has to be allowed besides putting, copying and reading."""
    everything = arn(bucket, "*")
    existing = lambda value: {"StringEquals": {"s3:ExistingObjectTag/team": value}}
    client.put_object(Bucket=bucket, Key="data", Body=b"x", Tagging="team=data")
    client.put_object(Bucket=bucket, Key="web", Body=b"x", Tagging="team=web")
    client.put_object(Bucket=bucket, Key="bare", Body=b"x")
    get = lambda by, key: by.get_object(Bucket=bucket, Key=key)["Body"].read()
    reader = Person("tags", allow("s3:GetObject", everything, Condition=existing("data")), allow("s3:PutObject", arn(bucket, "own/*")))
    try:
        by = reader.client()
        eq(get(by, "data"), b"x", "the tag that is asked for")
        for other in ("web", "bare", "absent"):
            refused(lambda: get(by, other), "AccessDenied")
        by.copy_object(Bucket=bucket, Key="own/plain", CopySource={"Bucket": bucket, "Key": "data"}, TaggingDirective="REPLACE")
        refused(lambda: by.copy_object(Bucket=bucket, Key="own/k", CopySource={"Bucket": bucket, "Key": "web"}), "AccessDenied")
        # The source's tags are read and given away.
        refused(lambda: by.copy_object(Bucket=bucket, Key="own/k", CopySource={"Bucket": bucket, "Key": "data"}), "AccessDenied")
        refused(lambda: by.put_object(Bucket=bucket, Key="own/k", Body=b"x", Tagging="a=b"), "AccessDenied")
        refused(lambda: by.create_multipart_upload(Bucket=bucket, Key="own/k", Tagging="a=b"), "AccessDenied")
        by.put_object(Bucket=bucket, Key="own/k", Body=b"x")
        head = by.head_object(Bucket=bucket, Key="data")["ResponseMetadata"]["HTTPHeaders"]
        assert "x-amz-tagging-count" not in head, "counted for one who may not read tags"
        refused(lambda: tags_of("data", by), "AccessDenied")

        reader.may(allow("s3:*", everything), deny("s3:GetObject", everything, Condition=existing("data")))
        refused(lambda: get(by, "data"), "AccessDenied")
        eq((get(by, "web"), get(by, "bare")), (b"x", b"x"), "not denied")
        refused(lambda: get(by, "absent"), "NoSuchKey", "AccessDenied")

        only = {"StringEquals": {"s3:RequestObjectTag/team": "data"}, "ForAllValues:StringEquals": {"s3:RequestObjectTagKeys": ["team", "cost"]}}
        reader.may(allow(["s3:PutObject", "s3:PutObjectTagging"], everything, Condition=only))
        put = lambda tagging: by.put_object(Bucket=bucket, Key="own/k", Body=b"x", Tagging=tagging)
        put("team=data&cost=7")
        eq(tags_of("own/k"), [("cost", "7"), ("team", "data")], "tags")
        for other in ("team=web", "cost=7", "team=data&more="):
            refused(lambda: put(other), "AccessDenied")
    finally:
        reader.go()


# ---- configurations that are what they are


def what_is_so_anyway():
    """What tools set that manage buckets, and read again."""
    client.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    got = client.get_bucket_notification_configuration(Bucket=bucket)
    eq([name for name in got if name != "ResponseMetadata"], [], "notification")
    queue = {"QueueArn": "arn:aws:sqs:::q", "Events": ["s3:ObjectCreated:*"]}
    refused(lambda: client.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [queue]}), "NotImplemented")
    client.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
    to = {"TargetBucket": bucket, "TargetPrefix": "log/"}
    refused(lambda: client.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={"LoggingEnabled": to}), "NotImplemented")
    client.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "BucketOwner"})
    refused(lambda: client.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "Requester"}), "NotImplemented")
    client.put_bucket_accelerate_configuration(Bucket=bucket, AccelerateConfiguration={"Status": "Suspended"})
    refused(lambda: client.put_bucket_accelerate_configuration(Bucket=bucket, AccelerateConfiguration={"Status": "Enabled"}), "NotImplemented")
    client.delete_bucket_website(Bucket=bucket)
    client.delete_bucket_replication(Bucket=bucket)
    website = {"IndexDocument": {"Suffix": "index.html"}}
    refused(lambda: client.put_bucket_website(Bucket=bucket, WebsiteConfiguration=website), "NotImplemented")
    refused(lambda: client.put_bucket_logging(Bucket=nilas.unique("none"), BucketLoggingStatus={}), "NoSuchBucket")
    eq(client.get_bucket_logging(Bucket=bucket).get("LoggingEnabled"), None, "logging")
    eq(client.get_bucket_request_payment(Bucket=bucket)["Payer"], "BucketOwner", "payer")
    eq(client.get_bucket_accelerate_configuration(Bucket=bucket).get("Status"), None, "acceleration")
    says(lambda: client.get_bucket_website(Bucket=bucket), "NoSuchWebsiteConfiguration",
         "The specified bucket does not have a website configuration", 404)
    says(lambda: client.get_bucket_replication(Bucket=bucket), "ReplicationConfigurationNotFoundError",
         "The replication configuration was not found", 404)


def owners_of_objects():
    owned = nilas.unique("owned")
    client.create_bucket(Bucket=owned)
    rule = lambda name: {"Rules": [{"ObjectOwnership": name}]}
    chosen = lambda: client.get_bucket_ownership_controls(Bucket=owned)["OwnershipControls"]
    eq(chosen(), rule("BucketOwnerEnforced"), "of a new bucket")
    client.put_object(Bucket=owned, Key="k", Body=b"k")
    no_acls = lambda run: says(run, "AccessControlListNotSupported", "The bucket does not allow ACLs")
    for read, put, named in [
        (client.get_bucket_acl, client.put_bucket_acl, {"Bucket": owned}),
        (client.get_object_acl, client.put_object_acl, {"Bucket": owned, "Key": "k"}),
    ]:
        acl = read(**named)
        eq([grant["Permission"] for grant in acl["Grants"]], ["FULL_CONTROL"], "grants")
        same = {"Owner": acl["Owner"], "Grants": acl["Grants"]}
        put(**named, ACL="private")
        put(**named, AccessControlPolicy=same)
        everybody = {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/global/AllUsers"}
        more = {**same, "Grants": same["Grants"] + [{"Grantee": everybody, "Permission": "READ"}]}
        no_acls(lambda: put(**named, ACL="public-read"))
        no_acls(lambda: put(**named, AccessControlPolicy=more))
        no_acls(lambda: put(**named, GrantRead="uri=" + everybody["URI"]))
        says(lambda: put(**named), "MissingSecurityHeader", "Your request was missing a required header")
    client.put_object_acl(Bucket=owned, Key="k", ACL="bucket-owner-full-control")
    refused(lambda: client.put_object_acl(Bucket=owned, Key="none", ACL="private"), "NoSuchKey")
    client.put_bucket_ownership_controls(Bucket=owned, OwnershipControls=rule("BucketOwnerPreferred"))
    eq(chosen(), rule("BucketOwnerPreferred"), "chosen")
    refused(lambda: client.put_object_acl(Bucket=owned, Key="k", ACL="public-read"), "NotImplemented")
    client.delete_object(Bucket=owned, Key="k")
    client.delete_bucket_ownership_controls(Bucket=owned)
    says(chosen, "OwnershipControlsNotFoundError", "The bucket ownership controls were not found", 404)
    block = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": False}
    blocked = lambda: client.get_public_access_block(Bucket=owned)["PublicAccessBlockConfiguration"]
    says(blocked, "NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found", 404)
    client.put_public_access_block(Bucket=owned, PublicAccessBlockConfiguration=block)
    eq(blocked(), block, "block")
    client.delete_public_access_block(Bucket=owned)
    refused(blocked, "NoSuchPublicAccessBlockConfiguration")
    client.delete_bucket(Bucket=owned)


# ---- quotas


def quotas():
    held = nilas.unique("quota")
    client.create_bucket(Bucket=held)
    set_to = lambda quota: store.page("POST", "/_nilas/quotas", {"bucket": held, "quota": quota})
    put = lambda key, size: client.put_object(Bucket=held, Key=key, Body=b"x" * size)
    over = lambda run: says(run, "QuotaExceeded", "The quota of the bucket would be exceeded.", 403)
    MIB = nilas.MIB
    eq(set_to(8 * MIB)[0], 200, "set")
    put("small", 1000)
    over(lambda: put("large", 8 * MIB))
    put("large", 7 * MIB)
    put("large", 7 * MIB)
    over(lambda: client.copy_object(Bucket=held, Key="copy", CopySource={"Bucket": held, "Key": "large"}))
    over(lambda: client.copy_object(Bucket=held, Key="copy", CopySource={"Bucket": held, "Key": "large"}))
    upload = client.create_multipart_upload(Bucket=held, Key="parts")["UploadId"]
    part = {"Bucket": held, "Key": "parts", "UploadId": upload}
    over(lambda: client.upload_part(**part, PartNumber=1, Body=b"x" * 2 * MIB))
    tag = client.upload_part(**part, PartNumber=1, Body=b"x" * 1000)["ETag"]
    status, page = store.page("GET", f"/_nilas/quotas?bucket={held}")
    eq((status, page["buckets"]), (200, [{"bucket": held, "quota": 8 * MIB, "bytes": 7 * MIB + 2000, "versions": 2}]), "held")
    set_to(1)
    client.complete_multipart_upload(**part, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]})
    over(lambda: put("one", 1))
    client.delete_object(Bucket=held, Key="large")
    over(lambda: put("one", 1))
    eq(set_to("none")[0], 200, "none")
    put("one", 1)
    eq([set_to(bad)[0] for bad in ("much", None, -1)], [400, 400, 400], "no number")
    for key in ("small", "parts", "one"):
        client.delete_object(Bucket=held, Key=key)
    client.delete_bucket(Bucket=held)
    nobody = Person("quota", allow("s3:*"))
    try:
        refused(lambda: nobody.client().get_bucket_tagging(Bucket=bucket), "NoSuchTagSet")
    finally:
        nobody.go()


client.create_bucket(Bucket=bucket)
Steps("settings").run([
    ("bucket-tags", bucket_tags),
    ("bucket-tags-from-the-start", bucket_tags_from_the_start),
    ("bucket-tags-cli", bucket_tags_by_cli),
    ("cors-preflights", preflights),
    ("cors-requests", browser_requests),
    ("cors-rules", rules_that_are_none),
    ("cors-cli", cors_by_cli),
    ("object-tags", tags_with_objects),
    ("object-tags-parts", tags_of_uploads),
    ("object-tags-copies", tags_of_copies),
    ("object-tags-rights", tags_and_rights),
    ("object-tagging", tags_of_what_is_there),
    ("object-tagging-versions", tags_of_versions),
    ("what-is-so-anyway", what_is_so_anyway),
    ("owners-of-objects", owners_of_objects),
    ("quotas", quotas),
])
