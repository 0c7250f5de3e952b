"""boto3 on buckets with versions and object lock: waiters, paginators, resources, rights on versions, warehouses.

What the raw tests pin by header is done here as programs do it; every body is compared.
"""
import contextlib
import datetime

import boto3

import nilas
from nilas import content, md5_hex, refused
from people import Person
from steps import Steps, eq

client = nilas.s3()
steps = Steps("versions")
LOCKED = "Access Denied because object protected by object lock."


@contextlib.contextmanager
def user(statements):
    """A client of somebody who may do that."""
    person = Person("versions", *statements)
    try:
        yield person.client()
    finally:
        person.go()


def made(word, **arguments):
    name = nilas.unique(word)
    client.create_bucket(Bucket=name, **arguments)
    return name


def versioned(word):
    name = made(word)
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


def put(bucket, key, body, **arguments):
    return client.put_object(Bucket=bucket, Key=key, Body=body, **arguments)["VersionId"]


def body_of(bucket, key, **arguments):
    return client.get_object(Bucket=bucket, Key=key, **arguments)["Body"].read()


def all_versions(bucket, **arguments):
    pages = client.get_paginator("list_object_versions").paginate(Bucket=bucket, **arguments)
    versions, markers = [], []
    for page in pages:
        versions += page.get("Versions", [])
        markers += page.get("DeleteMarkers", [])
    return versions, markers


def states():
    bucket = made("states")
    assert "Status" not in client.get_bucket_versioning(Bucket=bucket)
    for status in ("Enabled", "Suspended", "Enabled"):
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
        eq(client.get_bucket_versioning(Bucket=bucket)["Status"], status)
    mfa = {"Status": "Enabled", "MFADelete": "Enabled"}
    refused(lambda: client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=mfa), "NotImplemented")


def many_versions():
    bucket = versioned("many")
    bodies = {}
    for nth in range(60):
        for key in ("a/x", "a/y", "b"):
            body = content(100 + nth, seed=nth)
            bodies[key, put(bucket, key, body)] = body
    versions, markers = all_versions(bucket, PaginationConfig={"PageSize": 7})
    eq((len(versions), len(markers)), (180, 0))
    eq([v["Key"] for v in versions], sorted(v["Key"] for v in versions), "order of keys")
    eq([v["Key"] for v in versions if v["IsLatest"]], ["a/x", "a/y", "b"])
    for version in versions[::13]:
        body = body_of(bucket, version["Key"], VersionId=version["VersionId"])
        eq(body, bodies[version["Key"], version["VersionId"]])
        eq(version["ETag"], f'"{md5_hex(body)}"')
    rolled = client.list_object_versions(Bucket=bucket, Delimiter="/")
    eq([p["Prefix"] for p in rolled["CommonPrefixes"]], ["a/"])
    eq(len(rolled["Versions"]), 60)
    eq(len(all_versions(bucket, Prefix="a/y")[0]), 60)
    # As tools clean up: the resource deletes all versions, 1,000 at a time.
    resource = boto3.resource(
        "s3", endpoint_url=nilas.ENDPOINT, region_name=nilas.S3_REGION,
        aws_access_key_id=nilas.ACCESS_KEY, aws_secret_access_key=nilas.SECRET_KEY,
    )
    refused(lambda: client.delete_bucket(Bucket=bucket), "BucketNotEmpty")
    resource.Bucket(bucket).object_versions.delete()
    client.delete_bucket(Bucket=bucket)


def conditions_are_about_the_newest_version():
    bucket = versioned("newest")
    first = client.put_object(Bucket=bucket, Key="k", Body=b"one")
    put(bucket, "k", b"two")
    again = lambda **more: client.put_object(Bucket=bucket, Key="k", Body=b"three", **more)
    refused(lambda: again(IfMatch=first["ETag"]), "PreconditionFailed")
    refused(lambda: again(IfNoneMatch="*"), "PreconditionFailed")
    client.delete_object(Bucket=bucket, Key="k")
    again(IfNoneMatch="*")
    eq(len(all_versions(bucket)[0]), 3)


def multi_delete():
    bucket = versioned("multi")
    old, new = put(bucket, "k", b"old"), put(bucket, "k", b"new")
    wanted = [{"Key": "k"}, {"Key": "k", "VersionId": old}, {"Key": "k", "VersionId": "nonsense"}]
    answer = client.delete_objects(Bucket=bucket, Delete={"Objects": wanted})
    marker = next(done for done in answer["Deleted"] if done.get("DeleteMarker"))
    assert marker["DeleteMarkerVersionId"] and "VersionId" not in marker, marker
    eq([(e["Code"], e["VersionId"]) for e in answer["Errors"]], [("NoSuchVersion", "nonsense")])
    versions, markers = all_versions(bucket)
    eq([v["VersionId"] for v in versions], [new])
    eq([m["VersionId"] for m in markers], [marker["DeleteMarkerVersionId"]])
    gone = client.delete_object(Bucket=bucket, Key="k", VersionId=markers[0]["VersionId"])
    eq((gone["DeleteMarker"], gone["VersionId"]), (True, markers[0]["VersionId"]))
    eq(body_of(bucket, "k"), b"new")


def rights_on_versions():
    bucket = versioned("rights")
    old = put(bucket, "k", b"old")
    put(bucket, "k", b"new")
    allow = lambda *actions, **more: {
        "Effect": "Allow", "Action": list(actions), "Resource": f"arn:aws:s3:::{bucket}/*", **more
    }
    with user([allow("s3:GetObject", "s3:DeleteObject")]) as plain:
        eq(plain.get_object(Bucket=bucket, Key="k")["Body"].read(), b"new")
        refused(lambda: plain.get_object(Bucket=bucket, Key="k", VersionId=old), "AccessDenied")
        refused(lambda: plain.delete_object(Bucket=bucket, Key="k", VersionId=old), "AccessDenied")
        source = {"Bucket": bucket, "Key": "k", "VersionId": old}
        refused(lambda: plain.copy_object(Bucket=bucket, Key="c", CopySource=source), "AccessDenied")
        named = {"Objects": [{"Key": "k", "VersionId": old}]}
        answer = plain.delete_objects(Bucket=bucket, Delete=named)
        eq([e["Code"] for e in answer["Errors"]], ["AccessDenied"])
    one = {"StringEquals": {"s3:VersionId": old}}
    with user([allow("s3:GetObjectVersion", "s3:DeleteObjectVersion", Condition=one)]) as narrow:
        eq(narrow.get_object(Bucket=bucket, Key="k", VersionId=old)["Body"].read(), b"old")
        refused(lambda: narrow.get_object(Bucket=bucket, Key="k"), "AccessDenied")
        new = client.head_object(Bucket=bucket, Key="k")["VersionId"]
        wanted = {"Objects": [{"Key": "k", "VersionId": old}, {"Key": "k", "VersionId": new}]}
        answer = narrow.delete_objects(Bucket=bucket, Delete=wanted)
        eq([d["VersionId"] for d in answer["Deleted"]], [old])
        eq([e["Code"] for e in answer["Errors"]], ["AccessDenied"])
    eq(body_of(bucket, "k"), b"new")


def in_days(days):
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)


def locks():
    bucket = made("locks", ObjectLockEnabledForBucket=True)
    eq(client.get_bucket_versioning(Bucket=bucket)["Status"], "Enabled")
    eq(client.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"], {"ObjectLockEnabled": "Enabled"})
    until = in_days(1)
    version = put(bucket, "k", b"kept", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until)
    retention = client.get_object_retention(Bucket=bucket, Key="k", VersionId=version)["Retention"]
    eq(retention["Mode"], "GOVERNANCE")
    assert abs((retention["RetainUntilDate"] - until).total_seconds()) <= 1, retention
    # What is shown can be sent again.
    client.put_object_retention(Bucket=bucket, Key="k", VersionId=version, Retention=retention)
    error = refused(lambda: client.delete_object(Bucket=bucket, Key="k", VersionId=version), "AccessDenied")
    eq(error.response["Error"]["Message"], LOCKED)
    copied = client.copy_object(
        Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "k"}, ObjectLockLegalHoldStatus="ON"
    )
    head = client.head_object(Bucket=bucket, Key="copy")
    eq((head["ObjectLockLegalHoldStatus"], head.get("ObjectLockMode"), head["VersionId"]), ("ON", None, copied["VersionId"]))
    upload = client.create_multipart_upload(
        Bucket=bucket, Key="whole", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=until
    )["UploadId"]
    part = client.upload_part(Bucket=bucket, Key="whole", UploadId=upload, PartNumber=1, Body=b"part")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    whole = client.complete_multipart_upload(Bucket=bucket, Key="whole", UploadId=upload, MultipartUpload=parts)
    eq(client.head_object(Bucket=bucket, Key="whole", VersionId=whole["VersionId"])["ObjectLockMode"], "COMPLIANCE")
    holds = lambda **which: client.get_object_legal_hold(Bucket=bucket, **which)["LegalHold"]["Status"]
    client.put_object_legal_hold(Bucket=bucket, Key="copy", LegalHold={"Status": "OFF"})
    eq((holds(Key="copy"), client.head_object(Bucket=bucket, Key="copy")["ObjectLockLegalHoldStatus"]), ("OFF", "OFF"))
    client.put_object_legal_hold(Bucket=bucket, Key="copy", LegalHold={"Status": "ON"})
    eq(holds(Key="copy"), "ON")
    client.put_object_legal_hold(Bucket=bucket, Key="copy", LegalHold={"Status": "OFF"})
    # Who never had one has none to show, but for who was said to have none.
    put(bucket, "never", b"x")
    unset = refused(lambda: holds(Key="never"), "NoSuchObjectLockConfiguration")
    eq(unset.response["Error"]["Message"], "The specified object does not have a ObjectLock configuration")
    put(bucket, "off", b"x", ObjectLockLegalHoldStatus="OFF")
    eq((holds(Key="off"), client.head_object(Bucket=bucket, Key="off")["ObjectLockLegalHoldStatus"]), ("OFF", "OFF"))
    says_of_locks(bucket, until)
    client.delete_object(Bucket=bucket, Key="copy", VersionId=copied["VersionId"])
    client.delete_object(Bucket=bucket, Key="k", VersionId=version, BypassGovernanceRetention=True)
    bypassing = lambda: client.delete_object(
        Bucket=bucket, Key="whole", VersionId=whole["VersionId"], BypassGovernanceRetention=True
    )
    refused(bypassing, "AccessDenied")


def says_of_locks(bucket, until):
    """Each refusal in S3's code and words."""

    def says(run, code, text):
        error = refused(run, code)
        eq(error.response["Error"]["Message"], text)

    plain = made("lock-texts")
    client.put_object(Bucket=plain, Key="k", Body=b"x")
    missing = "Bucket is missing Object Lock Configuration"
    retain = lambda where, key, **retention: client.put_object_retention(Bucket=where, Key=key, Retention=retention)
    governed = dict(Mode="GOVERNANCE", RetainUntilDate=until)
    says(lambda: retain(plain, "k", **governed), "InvalidRequest", missing)
    says(lambda: client.get_object_retention(Bucket=plain, Key="k"), "InvalidRequest", missing)
    says(lambda: client.put_object_legal_hold(Bucket=plain, Key="k", LegalHold={"Status": "ON"}), "InvalidRequest", missing)
    says(lambda: client.get_object_legal_hold(Bucket=plain, Key="k"), "InvalidRequest", missing)
    says(lambda: put(plain, "k", b"x", ObjectLockLegalHoldStatus="ON"), "InvalidRequest", missing)
    says(
        lambda: client.get_object_lock_configuration(Bucket=plain),
        "ObjectLockConfigurationNotFoundError",
        "Object Lock configuration does not exist for this bucket",
    )
    rule = lambda **retention: client.put_object_lock_configuration(
        Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": retention}}
    )
    positive = "Default retention period must be a positive integer value."
    says(lambda: rule(Mode="GOVERNANCE", Days=0), "InvalidArgument", positive)
    says(lambda: rule(Mode="GOVERNANCE", Years=-1), "InvalidArgument", positive)
    malformed = "The XML you provided was not well-formed or did not validate against our published schema"
    says(lambda: rule(Mode="GOVERNANCE", Days=1, Years=1), "MalformedXML", malformed)
    says(lambda: rule(Mode="governance", Days=1), "MalformedXML", malformed)
    says(lambda: retain(bucket, "never", Mode="GOVERNANCE", RetainUntilDate=in_days(-1)), "InvalidArgument", "The retain until date must be in the future!")
    says(lambda: retain(bucket, "never", Mode="governance", RetainUntilDate=until), "MalformedXML", malformed)
    says(lambda: client.put_object_legal_hold(Bucket=bucket, Key="never", LegalHold={"Status": "on"}), "MalformedXML", malformed)
    says(lambda: put(bucket, "n", b"x", ObjectLockMode="governance", ObjectLockRetainUntilDate=until), "InvalidArgument", "Unknown wormMode directive.")
    both = "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied"
    says(lambda: put(bucket, "n", b"x", ObjectLockMode="GOVERNANCE"), "InvalidArgument", both)
    # Shortened or loosened by nobody without the right and the wish.
    put(bucket, "held", b"x", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=until)
    says(lambda: retain(bucket, "held", Mode="COMPLIANCE", RetainUntilDate=in_days(0.5)), "AccessDenied", LOCKED)
    says(lambda: retain(bucket, "held", **governed), "AccessDenied", LOCKED)
    retain(bucket, "held", Mode="COMPLIANCE", RetainUntilDate=in_days(1.5))


def rights_on_locks():
    bucket = made("lock-rights", ObjectLockEnabledForBucket=True)
    governed = dict(ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=in_days(1))
    version = put(bucket, "k", b"kept", **governed)
    allow = lambda *actions, **more: {
        "Effect": "Allow", "Action": list(actions), "Resource": f"arn:aws:s3:::{bucket}/*", **more
    }
    with user([allow("s3:PutObject", "s3:DeleteObjectVersion", "s3:GetObject")]) as writer:
        assert "ObjectLockMode" not in writer.head_object(Bucket=bucket, Key="k"), "who may not know is not told"
        refused(lambda: writer.put_object(Bucket=bucket, Key="k", Body=b"x", **governed), "AccessDenied")
        bypass = dict(Bucket=bucket, Key="k", VersionId=version, BypassGovernanceRetention=True)
        refused(lambda: writer.delete_object(**bypass), "AccessDenied")
    short = {"NumericLessThanEquals": {"s3:object-lock-remaining-retention-days": "10"}}
    with user([allow("s3:PutObjectRetention", Condition=short)]) as keeper:
        retain = lambda days: keeper.put_object_retention(
            Bucket=bucket, Key="k", Retention={"Mode": "GOVERNANCE", "RetainUntilDate": in_days(days)}
        )
        retain(5)
        refused(lambda: retain(20), "AccessDenied")
    with user([allow("s3:DeleteObjectVersion", "s3:BypassGovernanceRetention")]) as cleaner:
        cleaner.delete_object(Bucket=bucket, Key="k", VersionId=version, BypassGovernanceRetention=True)


def a_warehouse_with_versions_and_locks():
    name = nilas.unique("versioned-lake")
    status, answer = nilas.catalog_call("POST", "/v1/warehouses", {"name": name})
    assert status in (200, 201), answer
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}
    configuration = {"ObjectLockEnabled": "Enabled", "Rule": rule}
    client.put_object_lock_configuration(Bucket=name, ObjectLockConfiguration=configuration)
    call = lambda method, path, body=None: nilas.catalog_call(method, f"/v1/{name}{path}", body)
    eq(call("POST", "/namespaces", {"namespace": ["n"]})[0], 200)
    schema = {"type": "struct", "fields": [{"id": 1, "name": "id", "type": "long", "required": False}]}
    properties = {"write.metadata.previous-versions-max": "1", "write.metadata.delete-after-commit.enabled": "true"}
    status, table = call("POST", "/namespaces/n/tables", {"name": "t", "schema": schema, "properties": properties})
    eq(status, 200, str(table))
    for nth in range(4):
        update = {"action": "set-properties", "updates": {"nth": str(nth)}}
        status, answer = call("POST", "/namespaces/n/tables/t", {"requirements": [], "updates": [update]})
        eq(status, 200, str(answer))
    versions, markers = all_versions(name)
    eq(len(versions), 5, "metadata files")
    assert all(version["VersionId"] != "null" for version in versions), versions
    assert 0 < len(markers) and all(marker["IsLatest"] for marker in markers), "expired files have markers"
    for version in versions:
        head = client.head_object(Bucket=name, Key=version["Key"], VersionId=version["VersionId"])
        eq(head["ObjectLockMode"], "COMPLIANCE")
    eq(call("DELETE", "/namespaces/n/tables/t?purgeRequested=true")[0], 204)
    nilas.purges_done()
    kept, markers = all_versions(name)
    eq(sorted(v["VersionId"] for v in kept), sorted(v["VersionId"] for v in versions), "a purge removes no version")
    eq(len(markers), 5, "each file has a marker")
    eq(client.list_objects_v2(Bucket=name)["KeyCount"], 0)


def renames():
    """An object of a bucket without versions gets another key; who may not do all that it takes is refused."""
    bucket = made("renames")
    body = content(3 * nilas.MIB)
    client.put_object(Bucket=bucket, Key="old/key", Body=body, Tagging="team=data", Metadata={"colour": "red"})
    before = client.head_object(Bucket=bucket, Key="old/key")
    client.rename_object(Bucket=bucket, Key="new/\u00e4 key", RenameSource=f"/{bucket}/old/key")
    after = client.head_object(Bucket=bucket, Key="new/\u00e4 key")
    for name in ("ETag", "LastModified", "Metadata", "ContentLength"):
        eq(after[name], before[name], name)
    eq(body_of(bucket, "new/\u00e4 key") == body, True, "bytes")
    eq(client.get_object_tagging(Bucket=bucket, Key="new/\u00e4 key")["TagSet"], [{"Key": "team", "Value": "data"}])
    eq([found["Key"] for found in client.list_objects_v2(Bucket=bucket)["Contents"]], ["new/\u00e4 key"])
    client.put_object(Bucket=bucket, Key="there", Body=b"x")
    refused(lambda: client.rename_object(Bucket=bucket, Key="there", RenameSource="gone"), "NoSuchKey")
    over = lambda **more: client.rename_object(Bucket=bucket, Key="there", RenameSource="new/%C3%A4%20key", **more)
    refused(lambda: over(DestinationIfNoneMatch="*"), "PreconditionFailed")
    refused(lambda: over(SourceIfMatch='"0123456789abcdef0123456789abcdef"'), "PreconditionFailed")
    allow = lambda *actions: {"Effect": "Allow", "Action": list(actions), "Resource": f"arn:aws:s3:::{bucket}/*"}
    everything = ["s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:GetObjectTagging", "s3:PutObjectTagging"]
    for missing in everything:
        with user([allow(*(action for action in everything if action != missing))]) as somebody:
            rename = lambda: somebody.rename_object(Bucket=bucket, Key="there", RenameSource="new/%C3%A4%20key")
            refused(rename, "AccessDenied")
    with user([allow(*everything)]) as somebody:
        somebody.rename_object(Bucket=bucket, Key="there", RenameSource="new/%C3%A4%20key")
        # Who may not list learns of no key that it is not there.
        refused(lambda: somebody.rename_object(Bucket=bucket, Key="n", RenameSource="gone"), "AccessDenied")
    eq([found["Key"] for found in client.list_objects_v2(Bucket=bucket)["Contents"]], ["there"])
    keeping = versioned("renames-kept")
    put(keeping, "k", b"x")
    refused(lambda: client.rename_object(Bucket=keeping, Key="l", RenameSource="k"), "InvalidBucketState")


steps.run([
    ("renames", renames),
    ("versioning is set and read", states),
    ("many versions by page", many_versions),
    ("conditions are about the newest version", conditions_are_about_the_newest_version),
    ("deletes of many keys and versions", multi_delete),
    ("rights on versions", rights_on_versions),
    ("object lock", locks),
    ("rights on locks", rights_on_locks),
    ("a warehouse with versions and locks", a_warehouse_with_versions_and_locks),
])
