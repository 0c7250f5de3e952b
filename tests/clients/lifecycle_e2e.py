"""Lifecycle rules by boto3 on a server of the suite's own, where a day of the rules lasts a second: what expires really goes,
what is locked or lies in a table's location stays, a restart goes on.
"""
import datetime
import json
import os
import subprocess
import time
import urllib.request

import boto3
from botocore.config import Config

import nilas
from nilas import content, refused
from oidc import Store
from own_server import OwnServer
from steps import Steps, eq

DAY_SECONDS = 1
WAIT_SECONDS_MAX = 60
# Long enough for several passes: what is to stay has had its chance to go.
STAYS_SECONDS = 4 * DAY_SECONDS

place = os.path.join(nilas.SCRATCH, nilas.unique("lifecycle"))
os.makedirs(place)
server = OwnServer(place, nilas.ACCESS_KEY, nilas.SECRET_KEY, ["--cores", "2", "--lifecycle-day", f"{DAY_SECONDS}s"])
server.start()
nilas.CATALOG_URI = f"http://{server.address}/_iceberg"
client = boto3.client(
    "s3", endpoint_url=f"http://{server.address}", region_name="us-east-1",
    aws_access_key_id=nilas.ACCESS_KEY, aws_secret_access_key=nilas.SECRET_KEY,
    config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}))
store = Store(server.address, nilas.ACCESS_KEY, nilas.SECRET_KEY)
steps = Steps("lifecycle")


def made(word, versions=None, **arguments):
    name = nilas.unique(word)
    client.create_bucket(Bucket=name, **arguments)
    if versions:
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": versions})
    return name


def rule(name="rule", status="Enabled", **elements):
    elements.setdefault("Filter", {})
    return {"ID": name, "Status": status, **elements}


def set_rules(bucket, *rules):
    return client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": list(rules)})


def put(bucket, key, body=b"body", **arguments):
    return client.put_object(Bucket=bucket, Key=key, Body=body, **arguments)


def keys(bucket):
    return [entry["Key"] for entry in client.list_objects_v2(Bucket=bucket).get("Contents", [])]


def versions(bucket):
    """Keys of versions, a `!` before those of delete markers."""
    answer = client.list_object_versions(Bucket=bucket)
    return sorted([v["Key"] for v in answer.get("Versions", [])] + ["!" + m["Key"] for m in answer.get("DeleteMarkers", [])])


def becomes(look, want):
    end = time.monotonic() + WAIT_SECONDS_MAX
    while time.monotonic() < end:
        got = look()
        if got == want:
            return
        time.sleep(0.2)
    raise AssertionError(f"got {got} after {WAIT_SECONDS_MAX} s, want {want}")


def stays(look, want):
    end = time.monotonic() + STAYS_SECONDS
    while time.monotonic() < end:
        eq(look(), want)
        time.sleep(0.5)


def metric(name):
    with urllib.request.urlopen(f"http://{server.address}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def cli(*words):
    command = [os.environ["NILAS_BIN"], *words, "--endpoint", f"http://{server.address}", "--json"]
    done = subprocess.run(command, env={**os.environ, **server.keys}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{words}: {done.stdout} {done.stderr}"
    return json.loads(done.stdout)


def rules_are_set_and_read():
    bucket = made("rules")
    error = refused(lambda: client.get_bucket_lifecycle_configuration(Bucket=bucket), "NoSuchLifecycleConfiguration")
    eq(error.response["Error"]["Message"], "The lifecycle configuration does not exist")
    eq(error.response["ResponseMetadata"]["HTTPStatusCode"], 404)
    rules = [
        rule("a", Expiration={"Days": 30}, Filter={"And": {"Prefix": "logs/", "Tags": [{"Key": "k", "Value": "v"}], "ObjectSizeGreaterThan": 5}}),
        rule("b", "Disabled", Expiration={"Date": datetime.datetime(2040, 1, 2, tzinfo=datetime.timezone.utc)}, Filter={"Prefix": ""}),
        rule("c", NoncurrentVersionExpiration={"NoncurrentDays": 3, "NewerNoncurrentVersions": 2}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 7}),
        {"ID": "d", "Status": "Enabled", "Prefix": "old/", "Expiration": {"ExpiredObjectDeleteMarker": True}},
    ]
    answer = set_rules(bucket, *rules)
    eq(answer["TransitionDefaultMinimumObjectSize"], "all_storage_classes_128K")
    answer = client.get_bucket_lifecycle_configuration(Bucket=bucket)
    eq(answer["Rules"], rules)
    eq(answer["TransitionDefaultMinimumObjectSize"], "all_storage_classes_128K")
    client.put_bucket_lifecycle_configuration(
        Bucket=bucket, TransitionDefaultMinimumObjectSize="varies_by_storage_class",
        LifecycleConfiguration={"Rules": [{"Status": "Enabled", "Filter": {}, "Expiration": {"Days": 1}}]})
    answer = client.get_bucket_lifecycle_configuration(Bucket=bucket)
    eq(answer["TransitionDefaultMinimumObjectSize"], "varies_by_storage_class")
    assert answer["Rules"][0]["ID"], answer

    def says(code, message, *rules):
        error = refused(lambda: set_rules(bucket, *rules), code)
        eq(error.response["Error"]["Message"], message)
        eq(error.response["ResponseMetadata"]["HTTPStatusCode"], 501 if code == "NotImplemented" else 400)

    malformed = "The XML you provided was not well-formed or did not validate against our published schema"
    says("InvalidArgument", "'Days' for Expiration action must be a positive integer", rule(Expiration={"Days": 0}))
    says("InvalidArgument", "Rule ID must be unique. Found same ID for more than one rule", rule(Expiration={"Days": 1}), rule(Expiration={"Days": 2}))
    says("InvalidArgument", "ID length should not exceed allowed limit of 255", rule("x" * 256, Expiration={"Days": 1}))
    says("InvalidArgument", "'Date' must be at midnight GMT", rule(Expiration={"Date": datetime.datetime(2040, 1, 2, 1)}))
    says("InvalidRequest", "At least one action needs to be specified in a rule", rule())
    says("MalformedXML", malformed, rule(status="enabled", Expiration={"Days": 1}))
    says("MalformedXML", malformed, {"Status": "Enabled", "Expiration": {"Days": 1}})
    says("NotImplemented", "A parameter you provided implies functionality that is not implemented", rule(Transitions=[{"Days": 1, "StorageClass": "GLACIER"}]))
    eq(client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"], answer["Rules"], "what is refused changes nothing")
    eq(client.delete_bucket_lifecycle(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"], 204)
    eq(client.delete_bucket_lifecycle(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"], 204)
    refused(lambda: client.get_bucket_lifecycle_configuration(Bucket=bucket), "NoSuchLifecycleConfiguration")
    set_rules(bucket, rule(Expiration={"Days": 1}))
    client.delete_bucket(Bucket=bucket)


def objects_expire():
    bucket = made("expire")
    before = metric('nilas_lifecycle_removed_total{kind="current"}')
    for key in ("logs/a", "logs/b", "other"):
        put(bucket, key, content(200_000))
    put(bucket, "logs/tagged", Tagging="keep=yes")
    put(bucket, "small", b"x")
    put(bucket, "large", b"x" * 100)
    set_rules(bucket, rule(Filter={"Prefix": "logs/"}, Expiration={"Days": 1}))
    becomes(lambda: keys(bucket), ["large", "other", "small"])
    assert before + 3 <= metric('nilas_lifecycle_removed_total{kind="current"}')
    put(bucket, "logs/tagged", Tagging="keep=yes")
    put(bucket, "logs/plain")
    tagged = {"And": {"Prefix": "logs/", "Tags": [{"Key": "keep", "Value": "no"}]}}
    sized = {"And": {"ObjectSizeGreaterThan": 50, "ObjectSizeLessThan": 150}}
    set_rules(bucket, rule("tags", Filter=tagged, Expiration={"Days": 1}), rule("sizes", Filter=sized, Expiration={"Days": 1}))
    becomes(lambda: keys(bucket), ["logs/plain", "logs/tagged", "other", "small"])
    client.put_object_tagging(Bucket=bucket, Key="logs/tagged", Tagging={"TagSet": [{"Key": "keep", "Value": "no"}]})
    becomes(lambda: keys(bucket), ["logs/plain", "other", "small"])
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    future = datetime.datetime(2045, 1, 1, tzinfo=datetime.timezone.utc)
    set_rules(bucket, rule("past", Filter={"Prefix": "small"}, Expiration={"Date": past}), rule("future", Expiration={"Date": future}))
    becomes(lambda: keys(bucket), ["logs/plain", "other"])
    set_rules(bucket, rule("off", "Disabled", Expiration={"Days": 1}), rule("late", Expiration={"Days": 5_000}))
    stays(lambda: keys(bucket), ["logs/plain", "other"])
    client.delete_bucket_lifecycle(Bucket=bucket)
    eq(client.get_object(Bucket=bucket, Key="other")["Body"].read(), content(200_000))


def answers_say_when():
    bucket = made("headers", versions="Enabled")
    name = "a rule/é"
    set_rules(
        bucket, rule(name, Filter={"Prefix": "p/"}, Expiration={"Days": 5_000}),
        rule("upload", Filter={"Prefix": "p/"}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 4_000}))
    answer = put(bucket, "p/a")
    got = answer["Expiration"]
    assert got.startswith('expiry-date="') and got.endswith(' GMT", rule-id="a%20rule%2F%C3%A9"'), got
    due = datetime.datetime.strptime(got.split('"')[1], "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=datetime.timezone.utc)
    away = (due - datetime.datetime.now(datetime.timezone.utc)).total_seconds()
    assert 5_000 * DAY_SECONDS - 10 < away <= 5_001 * DAY_SECONDS + 10, away
    eq(client.head_object(Bucket=bucket, Key="p/a")["Expiration"], got)
    eq(client.get_object(Bucket=bucket, Key="p/a")["Expiration"], got)
    assert "Expiration" not in client.head_object(Bucket=bucket, Key="p/a", VersionId=answer["VersionId"])
    assert "Expiration" not in put(bucket, "q")
    assert "Expiration" in client.copy_object(Bucket=bucket, Key="p/copy", CopySource={"Bucket": bucket, "Key": "q"})
    upload = client.create_multipart_upload(Bucket=bucket, Key="p/up")
    eq(upload["AbortRuleId"], "upload")
    part = client.upload_part(Bucket=bucket, Key="p/up", UploadId=upload["UploadId"], PartNumber=1, Body=b"x")
    listed = client.list_parts(Bucket=bucket, Key="p/up", UploadId=upload["UploadId"])
    eq((listed["AbortDate"], listed["AbortRuleId"]), (upload["AbortDate"], "upload"))
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    done = client.complete_multipart_upload(Bucket=bucket, Key="p/up", UploadId=upload["UploadId"], MultipartUpload=parts)
    assert "rule-id" in done["Expiration"], done
    other = client.create_multipart_upload(Bucket=bucket, Key="other")
    assert "AbortDate" not in other, other


def versions_expire():
    bucket = made("versions", versions="Enabled")
    for nth in range(6):
        put(bucket, "many", b"%d" % nth)
    put(bucket, "one")
    set_rules(bucket, rule(NoncurrentVersionExpiration={"NoncurrentDays": 1, "NewerNoncurrentVersions": 2}))
    becomes(lambda: versions(bucket), ["many"] * 3 + ["one"])
    answer = client.list_object_versions(Bucket=bucket, Prefix="many")["Versions"]
    bodies = [client.get_object(Bucket=bucket, Key="many", VersionId=v["VersionId"])["Body"].read() for v in answer]
    eq(bodies, [b"5", b"4", b"3"], "the newest stay")
    set_rules(bucket, rule(NoncurrentVersionExpiration={"NoncurrentDays": 1}))
    becomes(lambda: versions(bucket), ["many", "one"])
    # Current versions get a marker; it goes with the last version below it.
    set_rules(bucket, rule(Filter={"Prefix": "many"}, Expiration={"Days": 1}))
    becomes(lambda: versions(bucket), ["!many", "many", "one"])
    set_rules(
        bucket, rule("noncurrent", NoncurrentVersionExpiration={"NoncurrentDays": 1}),
        rule("markers", Expiration={"ExpiredObjectDeleteMarker": True}))
    becomes(lambda: versions(bucket), ["one"])
    suspended = made("suspended", versions="Enabled")
    put(suspended, "k", b"first")
    client.put_bucket_versioning(Bucket=suspended, VersioningConfiguration={"Status": "Suspended"})
    put(suspended, "k", b"null")
    set_rules(suspended, rule(Expiration={"Days": 1}))
    becomes(lambda: versions(suspended), ["!k", "k"])
    markers = client.list_object_versions(Bucket=suspended)["DeleteMarkers"]
    eq([marker["VersionId"] for marker in markers], ["null"])


def uploads_are_ended():
    bucket = made("uploads")
    for key in ("a/1", "a/2", "b"):
        upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"part")
    look = lambda: [entry["Key"] for entry in client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]
    set_rules(bucket, rule(Filter={"Prefix": "a/"}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1}))
    becomes(look, ["b"])
    set_rules(bucket, rule(Filter={"Prefix": "b"}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 5_000}))
    stays(look, ["b"])


def what_is_locked_stays():
    bucket = made("locked", ObjectLockEnabledForBucket=True)
    # Whole seconds are sent.
    until = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=8)).replace(microsecond=0)
    retained = put(bucket, "k", b"retained", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=until)["VersionId"]
    held = put(bucket, "k", b"held", ObjectLockLegalHoldStatus="ON")["VersionId"]
    put(bucket, "k", b"free")
    put(bucket, "k", b"newest")
    set_rules(bucket, rule(Expiration={"Days": 1}, NoncurrentVersionExpiration={"NoncurrentDays": 1}))
    becomes(lambda: len(versions(bucket)), 3)
    listed = client.list_object_versions(Bucket=bucket)
    if datetime.datetime.now(datetime.timezone.utc) < until:
        eq({v["VersionId"] for v in listed["Versions"]}, {retained, held})
    eq(client.get_object(Bucket=bucket, Key="k", VersionId=held)["Body"].read(), b"held")
    assert 0 < metric("nilas_lifecycle_locked_total")
    # When the retention has ended it goes; the hold stays for as long as it is set.
    becomes(lambda: versions(bucket), ["!k", "k"])
    assert until <= datetime.datetime.now(datetime.timezone.utc), "not before its time"
    stays(lambda: versions(bucket), ["!k", "k"])
    client.put_object_legal_hold(Bucket=bucket, Key="k", VersionId=held, LegalHold={"Status": "OFF"})
    becomes(lambda: versions(bucket), [])


def files_of_tables_stay():
    name = nilas.unique("lake")
    status, answer = nilas.catalog_call("POST", "/v1/warehouses", {"name": name})
    assert status in (200, 201), answer
    call = lambda method, path, body=None: nilas.catalog_call(method, f"/v1/{name}{path}", body)
    eq(call("POST", "/namespaces", {"namespace": ["n"]})[0], 200)
    schema = {"type": "struct", "fields": [{"id": 1, "name": "id", "type": "long", "required": False}]}
    status, table = call("POST", "/namespaces/n/tables", {"name": "t", "schema": schema})
    eq(status, 200, str(table))
    location = table["metadata"]["location"].split(f"s3://{name}/", 1)[1].rstrip("/")
    put(name, f"{location}/data/file.parquet")
    put(name, f"{location}-beside/file")
    put(name, "loose")
    upload = client.create_multipart_upload(Bucket=name, Key=f"{location}/data/large")["UploadId"]
    set_rules(name, rule(Expiration={"Days": 1}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1}))
    files = lambda: [key for key in keys(name) if not key.startswith(location + "/")]
    becomes(files, [])
    stays(lambda: f"{location}/data/file.parquet" in keys(name), True)
    client.list_parts(Bucket=name, Key=f"{location}/data/large", UploadId=upload)
    eq(call("GET", "/namespaces/n/tables/t")[0], 200)
    assert 0 < metric("nilas_lifecycle_in_tables_total")
    # Without the table they are files like others.
    eq(call("DELETE", "/namespaces/n/tables/t")[0], 204)
    becomes(lambda: keys(name), [])


def previews_and_progress():
    bucket = made("preview", versions="Enabled")
    for nth in range(30):
        put(bucket, f"k{nth:02}", b"12345")
    put(bucket, "k00", b"12345")
    client.create_multipart_upload(Bucket=bucket, Key="up")
    time.sleep(2 * DAY_SECONDS + 1)
    rules = os.path.join(place, "rules.xml")
    with open(rules, "w") as out:
        out.write(
            "<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter/><Expiration><Days>1</Days></Expiration><NoncurrentVersionExpiration>"
            "<NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration><AbortIncompleteMultipartUpload><DaysAfterInitiation>1"
            "</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule></LifecycleConfiguration>")
    seen = cli("bucket", "lifecycle", "preview", bucket, "--rules", rules)
    eq((seen["marked"], seen["noncurrent"], seen["uploads"], seen["bytes"], seen["looked"]), (30, 1, 1, 5, 32), str(seen))
    eq(len(seen["keys"]), 20)
    eq(len(versions(bucket)), 31, "nothing is removed")
    set_rules(bucket, rule(Filter={"Prefix": "k0"}, Expiration={"Days": 5_000}))
    seen = cli("bucket", "lifecycle", "preview", bucket)
    eq((seen["marked"], seen["looked"]), (0, 11), str(seen))


    status, page = store.page("GET", f"/_nilas/lifecycle?bucket={bucket}")
    eq(status, 200, str(page))
    [entry] = page["buckets"]
    eq((entry["bucket"], entry["rules"], entry["versions"], entry["last_error"]), (bucket, 1, 31, None), str(entry))
    ended = lambda: 0 < store.page("GET", f"/_nilas/lifecycle?bucket={bucket}")[1]["buckets"][0]["ended_ms"]
    becomes(ended, True)
    status, page = store.page("GET", "/_nilas/lifecycle")
    assert bucket in [entry["bucket"] for entry in page["buckets"]] and page["is_truncated"] is False, page
    now = time.time()
    assert now - 30 < metric("nilas_lifecycle_last_pass_end_seconds") <= now + 1
    assert 0 < metric("nilas_lifecycle_passes_total") and metric("nilas_lifecycle_errors_total") == 0
    nobody = nilas.unique("nobody")
    status, answer = store.page("POST", "/_nilas/lifecycle/preview", {"bucket": nobody})
    eq(status, 404, str(answer))
    status, answer = store.page("POST", "/_nilas/lifecycle/preview", {"bucket": made("plain")})
    eq(status, 404, str(answer))


def a_restart_goes_on():
    bucket = made("restart")
    for nth in range(250):
        put(bucket, f"k{nth:03}", b"x")
    put(bucket, "stays", b"y")
    set_rules(bucket, rule(Filter={"Prefix": "k"}, Expiration={"Days": 1}))
    for _ in range(2):
        server.kill()
        server.start()
        time.sleep(0.3)
    becomes(lambda: keys(bucket), ["stays"])
    put(bucket, "k-again", b"x")
    becomes(lambda: keys(bucket), ["stays"])
    client.delete_object(Bucket=bucket, Key="stays")
    client.delete_bucket(Bucket=bucket)


steps.run([
    ("rules are set, read and refused", rules_are_set_and_read),
    ("objects expire by prefix, tags, sizes and dates", objects_expire),
    ("answers say when", answers_say_when),
    ("versions and delete markers expire", versions_expire),
    ("uploads are ended", uploads_are_ended),
    ("what is locked stays", what_is_locked_stays),
    ("files of tables stay", files_of_tables_stay),
    ("previews and progress", previews_and_progress),
    ("a restart goes on", a_restart_goes_on),
    ("the server ends", server.stop),
])
