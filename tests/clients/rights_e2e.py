"""Two users of different rights, by boto3, minio-py, and a plain HTTP client without credentials: each does what its policies
allow and nothing else, in requests, presigned URLs of both signature versions, sessions and keys of narrower policy.

Everything made here is deleted here: the server is shared with other suites.
"""
import datetime
import io
import json

import minio
from minio.commonconfig import CopySource
from minio.credentials import AssumeRoleProvider
from minio.deleteobjects import DeleteObject
from minio.error import S3Error

import nilas
from oidc import code_of
from people import Person, allow, arn, deny, fetch, iam, policy, presigner, remove_bucket, root, session_of, store
from steps import Steps, eq, raises

DENIED = "AccessDenied"
shared = nilas.unique("rights-shared")
homes = {}
ann = bob = None


def anns():
    """All of her bucket, and her prefix of the shared one, which she may list below it."""
    return [
        allow("s3:*", [arn(homes["ann"]), arn(homes["ann"], "*")]),
        allow(["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], arn(shared, "${aws:username}/*")),
        allow("s3:ListBucket", arn(shared), Condition={"StringLike": {"s3:prefix": ["${aws:username}/*"]}}),
        allow("sts:AssumeRole"),
    ]


def bobs():
    """Reads his bucket and the shared one's `open/`; makes buckets whose names begin like his."""
    return [
        allow(["s3:GetObject", "s3:ListBucket"], [arn(homes["bob"]), arn(homes["bob"], "*")]),
        allow("s3:GetObject", arn(shared, "open/*")),
        allow(["s3:CreateBucket", "s3:ListAllMyBuckets"], [arn(homes["bob"] + "-own"), "*"]),
        allow("sts:AssumeRole"),
    ]


def prepare():
    global ann, bob
    for name in ("ann", "bob"):
        homes[name] = nilas.unique(f"rights-{name}")
        root.create_bucket(Bucket=homes[name])
        root.put_object(Bucket=homes[name], Key="k", Body=name.encode())
    root.create_bucket(Bucket=shared)
    ann, bob = Person("ann", *anns()), Person("bob", *bobs())
    for key in ("open/k", f"{ann.name}/k", f"{bob.name}/k"):
        root.put_object(Bucket=shared, Key=key, Body=b"shared")


def refuse(run, want=DENIED):
    eq(code_of(run), want)


def own_and_no_other():
    hers, his = ann.client(), bob.client()
    eq(hers.get_object(Bucket=homes["ann"], Key="k")["Body"].read(), b"ann")
    eq(his.get_object(Bucket=homes["bob"], Key="k")["Body"].read(), b"bob")
    hers.put_object(Bucket=homes["ann"], Key="new", Body=b"x")
    hers.delete_object(Bucket=homes["ann"], Key="new")
    for client, bucket in ((hers, homes["bob"]), (his, homes["ann"])):
        refuse(lambda: client.get_object(Bucket=bucket, Key="k"))
        refuse(lambda: client.get_object(Bucket=bucket, Key="not-there"))
        refuse(lambda: client.list_objects_v2(Bucket=bucket))
        refuse(lambda: client.put_object(Bucket=bucket, Key="k", Body=b""))
        refuse(lambda: client.delete_object(Bucket=bucket, Key="k"))
        refuse(lambda: client.delete_bucket(Bucket=bucket))
        refuse(lambda: client.get_bucket_policy(Bucket=bucket))
        refuse(lambda: client.put_bucket_policy(Bucket=bucket, Policy="{}"))
        refuse(lambda: client.head_bucket(Bucket=bucket), "403")
        refuse(lambda: client.create_multipart_upload(Bucket=bucket, Key="k"))
    refuse(lambda: his.put_object(Bucket=homes["bob"], Key="k", Body=b""))
    refuse(lambda: his.delete_object(Bucket=homes["bob"], Key="k"))
    refuse(hers.list_buckets)
    eq(root.get_object(Bucket=homes["ann"], Key="k")["Body"].read(), b"ann")


def prefixes():
    """Who may list below a prefix only has to name it."""
    hers, his = ann.client(), bob.client()
    keys = lambda **more: [one["Key"] for one in hers.list_objects_v2(Bucket=shared, **more).get("Contents", [])]
    eq(keys(Prefix=f"{ann.name}/"), [f"{ann.name}/k"])
    eq(keys(Prefix=f"{ann.name}/", Delimiter="/"), [f"{ann.name}/k"])
    for more in ({}, {"Prefix": ""}, {"Prefix": ann.name}, {"Prefix": f"{bob.name}/"}, {"Prefix": "open/"}, {"Delimiter": "/"}):
        refuse(lambda: hers.list_objects_v2(Bucket=shared, **more))
        refuse(lambda: hers.list_objects(Bucket=shared, **more))
    refuse(lambda: his.list_objects_v2(Bucket=shared, Prefix=f"{bob.name}/"))
    hers.put_object(Bucket=shared, Key=f"{ann.name}/new", Body=b"x")
    refuse(lambda: hers.put_object(Bucket=shared, Key=f"{ann.name}", Body=b"x"))
    refuse(lambda: hers.put_object(Bucket=shared, Key=f"{bob.name}/k", Body=b"x"))
    refuse(lambda: hers.get_object(Bucket=shared, Key="open/k"))
    eq(his.get_object(Bucket=shared, Key="open/k")["Body"].read(), b"shared")
    # Each key of a multi-delete is judged by itself.
    answer = hers.delete_objects(Bucket=shared, Delete={"Objects": [
        {"Key": f"{ann.name}/new"}, {"Key": f"{bob.name}/k"}, {"Key": "open/k"}]})
    eq([one["Key"] for one in answer["Deleted"]], [f"{ann.name}/new"])
    eq(sorted((one["Key"], one["Code"]) for one in answer["Errors"]), sorted([(f"{bob.name}/k", DENIED), ("open/k", DENIED)]))
    root.head_object(Bucket=shared, Key="open/k")
    # A copy needs the right to read what it copies.
    refuse(lambda: hers.copy_object(Bucket=homes["ann"], Key="stolen", CopySource={"Bucket": homes["bob"], "Key": "k"}))
    hers.copy_object(Bucket=homes["ann"], Key="copy", CopySource={"Bucket": shared, "Key": f"{ann.name}/k"})
    hers.delete_object(Bucket=homes["ann"], Key="copy")


def not_there():
    """That an object is not there learns who may list it; others are refused, as for one that they may not read."""
    hers, his = ann.client(), bob.client()

    def asks(client, bucket, key):
        source = {"Bucket": bucket, "Key": key}
        return {
            "get": code_of(lambda: client.get_object(Bucket=bucket, Key=key)),
            "head": code_of(lambda: client.head_object(Bucket=bucket, Key=key)),
            "copy": code_of(lambda: hers.copy_object(Bucket=homes["ann"], Key="copy", CopySource=source)),
        }

    eq(asks(hers, homes["ann"], "gone"), {"get": "NoSuchKey", "head": "404", "copy": "NoSuchKey"})
    eq(code_of(lambda: hers.get_object_attributes(Bucket=homes["ann"], Key="gone", ObjectAttributes=["ETag"])), "NoSuchKey")
    # Who may list below a prefix is answered below it.
    eq(asks(hers, shared, f"{ann.name}/gone"), {"get": "NoSuchKey", "head": "404", "copy": "NoSuchKey"})
    # Bob may read open/ and list nothing of it.
    eq(code_of(lambda: his.get_object(Bucket=shared, Key="open/gone")), DENIED)
    eq(code_of(lambda: his.head_object(Bucket=shared, Key="open/gone")), "403")
    eq(his.get_object(Bucket=shared, Key="open/k")["Body"].read(), b"shared")
    url = presigner(bob.keys, "s3v4").generate_presigned_url("get_object", {"Bucket": shared, "Key": "open/gone"})
    eq(fetch(url)[0], 403)
    eq(code_of(lambda: his.get_object(Bucket=homes["bob"], Key="gone")), "NoSuchKey")
    root.put_bucket_policy(Bucket=shared, Policy=policy(allow("s3:GetObject", arn(shared, "open/*"), Principal="*")))
    eq([fetch(f"{shared}/open/{key}")[0] for key in ("k", "gone")], [200, 403])
    root.delete_bucket_policy(Bucket=shared)
    # A write on a condition says what stands in its way.
    eq(code_of(lambda: hers.put_object(Bucket=shared, Key=f"{ann.name}/gone", Body=b"", IfMatch='"x"')), "NoSuchKey")


def places():
    """The region that a new bucket is asked to be in is a condition key."""
    name = nilas.unique("rights-place")
    carl = Person("carl", allow("s3:*"), deny("s3:CreateBucket", Condition={"StringEquals": {"s3:LocationConstraint": "eu-west-1"}}))
    make = lambda place: carl.client().create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": place})
    refuse(lambda: make("eu-west-1"))
    carl.may(allow("s3:*"), deny("s3:CreateBucket", Condition={"StringNotEquals": {"s3:LocationConstraint": "eu-west-1"}}))
    refuse(lambda: make("eu-central-1"))
    refuse(lambda: carl.client().create_bucket(Bucket=name))
    carl.may(allow("s3:CreateBucket", Condition={"StringEquals": {"s3:LocationConstraint": "eu-west-1"}}))
    refuse(lambda: make("eu-central-1"))
    make("eu-west-1")
    root.delete_bucket(Bucket=name)
    carl.go()


def owners():
    hers, his = ann.client(), bob.client()
    name = f"{homes['bob']}-own"
    his.create_bucket(Bucket=name)
    try:
        ids = [client.list_buckets()["Owner"]["ID"] for client in (root, his)]
        ids.append(hers.get_bucket_acl(Bucket=homes["ann"])["Owner"]["ID"])
        assert ids[0] != ids[1], ids
        eq(ids[2], ids[0], "owner of a bucket that root made")
        # He owns it: no policy of his speaks of anything but making it.
        eq(his.get_bucket_acl(Bucket=name)["Owner"]["ID"], ids[1])
        his.put_object(Bucket=name, Key="k", Body=b"his")
        listed = his.list_objects_v2(Bucket=name, FetchOwner=True)["Contents"]
        eq([one["Owner"]["ID"] for one in listed], [ids[1]])
        # The owner of what somebody else puts into it is the bucket's.
        root.put_object(Bucket=name, Key="roots", Body=b"")
        eq({one["Owner"]["ID"] for one in his.list_objects_v2(Bucket=name, FetchOwner=True)["Contents"]}, {ids[1]})
        assert name in [one["Name"] for one in his.list_buckets()["Buckets"]]
        refuse(lambda: hers.get_object(Bucket=name, Key="k"))
        refuse(lambda: hers.create_bucket(Bucket=nilas.unique("rights-hers")))
        # A Deny in his own policies binds the owner too.
        bob.may(*bobs(), deny("s3:DeleteObject"))
        refuse(lambda: his.delete_object(Bucket=name, Key="k"))
        bob.may(*bobs())
        his.delete_object(Bucket=name, Key="k")
        # He gives others what is his by the bucket's policy.
        his.put_bucket_policy(Bucket=name, Policy=policy(allow("s3:GetObject", arn(name, "*"), Principal={"AWS": ann.arn})))
        eq(hers.get_object(Bucket=name, Key="roots")["Body"].read(), b"")
        refuse(lambda: hers.put_object(Bucket=name, Key="roots", Body=b"x"))
        his.delete_bucket_policy(Bucket=name)
        refuse(lambda: hers.get_object(Bucket=name, Key="roots"))
    finally:
        remove_bucket(name)


def url_of(keys, version, operation, bucket, key, **more):
    return presigner(keys, version).generate_presigned_url(operation, Params={"Bucket": bucket, "Key": key}, ExpiresIn=300, **more)


def dies(url, what):
    status, body = fetch(url)
    assert status in (400, 403), f"{what}: {status}"
    assert body not in (b"ann", b"bob", b"shared"), what


def presigned():
    for version, sign in (("default", "AWSAccessKeyId="), ("s3v4", "X-Amz-Signature=")):
        for person, own, other in ((ann, "ann", "bob"), (bob, "bob", "ann")):
            url = url_of(person.keys, version, "get_object", homes[own], "k")
            assert sign in url, f"{version}: {url}"
            eq(fetch(url), (200, own.encode()), f"{version} {own}")
            eq(fetch(url_of(person.keys, version, "get_object", homes[other], "k"))[0], 403, f"{version} of {other}")
        put = lambda person, bucket: fetch(url_of(person.keys, version, "put_object", bucket, "up"), "PUT", b"up")[0]
        eq((put(ann, homes["ann"]), put(bob, homes["bob"]), put(ann, homes["bob"])), (200, 403, 403), version)
        ann.client().delete_object(Bucket=homes["ann"], Key="up")
        # With a session's token in the address; a narrower session narrows the address.
        session = ann.session(allow("s3:GetObject", arn(homes["ann"], "*")))
        url = url_of(session, version, "get_object", homes["ann"], "k")
        assert "ecurity-" in url and "oken=" in url, url
        eq(fetch(url), (200, b"ann"), f"{version} session")
        eq(fetch(url_of(session, version, "put_object", homes["ann"], "up"), "PUT", b"up")[0], 403, f"{version} narrow session")
        eq(fetch(url_of(session, version, "get_object", shared, f"{ann.name}/k"))[0], 403, f"{version} narrow session elsewhere")
        bare = {name: value for name, value in session.items() if name != "aws_session_token"}
        dies(url_of(bare, version, "get_object", homes["ann"], "k"), f"{version} session's key without its token")
        # What a user loses its addresses lose at once, and get again with it.
        url, forever = (url_of(ann.keys, version, "get_object", homes["ann"], "k") for _ in range(2))
        ann.may(allow("sts:AssumeRole"))
        eq(fetch(url)[0], 403, f"{version} right taken")
        ann.may(*anns())
        eq(fetch(url)[0], 200, f"{version} right given again")
        # A deleted key takes its addresses, and those of its sessions, with it.
        keys = ann.new_key()
        url, of_session = (url_of(one, version, "get_object", homes["ann"], "k") for one in (keys, session_of(keys)))
        eq((fetch(url)[0], fetch(of_session)[0]), (200, 200), version)
        iam.update_access_key(UserName=ann.name, AccessKeyId=keys["aws_access_key_id"], Status="Inactive")
        dies(url, f"{version} inactive key")
        dies(of_session, f"{version} session of an inactive key")
        ann.drop_key(keys)
        dies(url, f"{version} deleted key")
        dies(of_session, f"{version} session of a deleted key")
        eq(fetch(forever)[0], 200, f"{version} the other key stands")


def presigned_conditions():
    """Policies that ask how a request is signed, and how old its signature is."""
    carl = Person("carl")
    get = lambda version: fetch(url_of(carl.keys, version, "get_object", homes["ann"], "k"))[0]
    right = allow("s3:GetObject", arn(homes["ann"], "*"))
    for denied, v2, v4, header in [
        ({"StringNotEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256"}}, 403, 200, True),
        ({"StringEquals": {"s3:authType": "REST-QUERY-STRING"}}, 403, 403, True),
        ({"StringEquals": {"s3:authType": "REST-HEADER"}}, 200, 200, False),
        ({"NumericGreaterThan": {"s3:signatureAge": "600000"}}, 200, 200, True),
    ]:
        carl.may(right, deny("s3:*", Condition=denied))
        eq((get("default"), get("s3v4")), (v2, v4), str(denied))
        read = lambda: carl.client().get_object(Bucket=homes["ann"], Key="k")
        read() if header else refuse(read)
    carl.go()


def anonymous():
    at = f"{shared}/open/k"
    eq(fetch(at)[0], 403)
    eq(fetch(f"{homes['ann']}/k")[0], 403)
    root.put_bucket_policy(Bucket=shared, Policy=policy(allow("s3:GetObject", arn(shared, "open/*"), Principal="*")))
    eq(root.get_bucket_policy_status(Bucket=shared)["PolicyStatus"]["IsPublic"], True)
    eq(fetch(at), (200, b"shared"))
    eq(fetch(at, "HEAD")[0], 200)
    for method, path in [("PUT", at), ("DELETE", at), ("GET", shared), ("GET", f"{shared}/{ann.name}/k"), ("GET", f"{shared}/?policy"), ("GET", f"{at}?tagging")]:
        eq(fetch(path, method, b"x" if method == "PUT" else None)[0], 403, f"{method} {path}")
    # Who may do what is never nobody's to read or to change.
    root.put_bucket_policy(Bucket=shared, Policy=policy(allow("s3:*", [arn(shared), arn(shared, "*")], Principal="*")))
    eq(fetch(f"{shared}/?list-type=2")[0], 200)
    for resource in ("policy", "policyStatus", "publicAccessBlock", "ownershipControls"):
        for method in ("GET", "PUT", "DELETE"):
            if (method, resource) not in (("PUT", "policyStatus"), ("DELETE", "policyStatus")):
                eq(fetch(f"{shared}/?{resource}", method, b"x" if method == "PUT" else None)[0], 403, f"{method} {resource}")
    root.put_bucket_policy(Bucket=shared, Policy=policy(allow("s3:GetObject", arn(shared, "open/*"), Principal="*")))
    # A wrong signature is not taken for no signature.
    for wrong in (f"AWS {nilas.ACCESS_KEY}:AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "Bearer x", "Basic eDp5"):
        assert fetch(at, headers={"Authorization": wrong})[0] in (400, 403), wrong
    assert fetch(f"{at}?AWSAccessKeyId={nilas.ACCESS_KEY}&Expires=9999999999&Signature=AAAA")[0] == 403
    # Everybody includes who may nothing else.
    eq(ann.client().get_object(Bucket=shared, Key="open/k")["Body"].read(), b"shared")
    block = lambda **on: root.put_public_access_block(Bucket=shared, PublicAccessBlockConfiguration={
        "BlockPublicAcls": False, "IgnorePublicAcls": False, "BlockPublicPolicy": False, "RestrictPublicBuckets": False, **on})
    block(RestrictPublicBuckets=True)
    eq(fetch(at)[0], 403)
    eq(bob.client().get_object(Bucket=shared, Key="open/k")["Body"].read(), b"shared")
    root.delete_public_access_block(Bucket=shared)
    eq(fetch(at)[0], 200)
    root.delete_bucket_policy(Bucket=shared)
    eq(fetch(at)[0], 403)
    refuse(lambda: ann.client().get_object(Bucket=shared, Key="open/k"))
    block(BlockPublicPolicy=True)
    refuse(lambda: root.put_bucket_policy(Bucket=shared, Policy=policy(allow("s3:GetObject", arn(shared, "*"), Principal="*"))))
    root.put_bucket_policy(Bucket=shared, Policy=policy(allow("s3:GetObject", arn(shared, "open/*"), Principal={"AWS": ann.arn})))
    eq(root.get_bucket_policy_status(Bucket=shared)["PolicyStatus"]["IsPublic"], False)
    ann.client().get_object(Bucket=shared, Key="open/k")
    root.delete_bucket_policy(Bucket=shared)
    root.delete_public_access_block(Bucket=shared)


def denied_by_bucket():
    """A bucket's Deny binds those whose own policies allow everything, and names nobody else."""
    everything = Person("everything", allow("*"))
    client = everything.client()
    client.get_object(Bucket=shared, Key="open/k")
    put = lambda *statements: root.put_bucket_policy(Bucket=shared, Policy=policy(*statements))
    put(deny("s3:GetObject", arn(shared, "*"), Principal={"AWS": everything.arn}))
    refuse(lambda: client.get_object(Bucket=shared, Key="open/k"))
    refuse(lambda: client.head_object(Bucket=shared, Key="open/k"), "403")
    refuse(lambda: client.copy_object(Bucket=homes["ann"], Key="stolen", CopySource={"Bucket": shared, "Key": "open/k"}))
    for version in ("default", "s3v4"):
        eq(fetch(url_of(everything.keys, version, "get_object", shared, "open/k"))[0], 403, version)
        eq(fetch(url_of(everything.session(), version, "get_object", shared, "open/k"))[0], 403, f"{version} session")
    client.put_object(Bucket=shared, Key="open/other", Body=b"")
    # It names the user and not whoever bears the name.
    other = nilas.unique("renamed")
    iam.update_user(UserName=everything.name, NewUserName=other)
    refuse(lambda: client.get_object(Bucket=shared, Key="open/k"))
    shown = json.loads(root.get_bucket_policy(Bucket=shared)["Policy"])["Statement"][0]["Principal"]["AWS"]
    assert shown.endswith(f"user/{other}"), shown
    heir = iam.create_user(UserName=everything.name)["User"]["UserName"]
    keys = iam.create_access_key(UserName=heir)["AccessKey"]
    iam.put_user_policy(UserName=heir, PolicyName="all", PolicyDocument=policy(allow("*")))
    named = store.client("s3", {"aws_access_key_id": keys["AccessKeyId"], "aws_secret_access_key": keys["SecretAccessKey"]})
    named.get_object(Bucket=shared, Key="open/k")
    iam.delete_access_key(UserName=heir, AccessKeyId=keys["AccessKeyId"])
    iam.delete_user_policy(UserName=heir, PolicyName="all")
    iam.delete_user(UserName=heir)
    iam.update_user(UserName=other, NewUserName=everything.name)
    refuse(lambda: put(deny("s3:GetObject", arn(shared, "*"), Principal={"AWS": everything.arn + "typo"})), "MalformedPolicy")
    bob.client().get_object(Bucket=shared, Key="open/k")
    # Keys of a multi-delete that it denies stay; the others go.
    put(deny("s3:DeleteObject", arn(shared, "open/k"), Principal="*"))
    answer = client.delete_objects(Bucket=shared, Delete={"Objects": [{"Key": "open/k"}, {"Key": "open/other"}], "Quiet": True})
    eq([(one["Key"], one["Code"]) for one in answer["Errors"]], [("open/k", DENIED)])
    root.delete_bucket_policy(Bucket=shared)
    client.get_object(Bucket=shared, Key="open/k")
    everything.go()


def narrow_keys():
    keys = ann.narrow_key(allow("s3:GetObject"))
    client = store.client("s3", keys)
    eq(client.get_object(Bucket=homes["ann"], Key="k")["Body"].read(), b"ann")
    refuse(lambda: client.put_object(Bucket=homes["ann"], Key="n", Body=b""))
    refuse(lambda: client.list_objects_v2(Bucket=homes["ann"]))
    refuse(lambda: client.get_object(Bucket=homes["bob"], Key="k"))
    refuse(lambda: session_of(keys))
    # It follows its owner's rights.
    ann.may(allow("s3:PutObject"))
    refuse(lambda: client.get_object(Bucket=homes["ann"], Key="k"))
    ann.may(*anns())
    client.get_object(Bucket=homes["ann"], Key="k")
    # A session of a narrow key is narrow.
    keys = ann.narrow_key(allow(["s3:GetObject", "sts:AssumeRole"]))
    session = store.client("s3", session_of(keys, Policy=policy(allow("*"))))
    session.get_object(Bucket=homes["ann"], Key="k")
    refuse(lambda: session.put_object(Bucket=homes["ann"], Key="n", Body=b""))
    ann.drop_key(keys)
    refuse(lambda: session.get_object(Bucket=homes["ann"], Key="k"), "InvalidToken")


def sessions():
    client = store.client("s3", ann.session(allow("s3:GetObject", arn(homes["ann"], "*"))))
    client.get_object(Bucket=homes["ann"], Key="k")
    refuse(lambda: client.get_object(Bucket=shared, Key=f"{ann.name}/k"))
    refuse(lambda: client.put_object(Bucket=homes["ann"], Key="k", Body=b""))
    refuse(lambda: client.list_buckets())
    client = store.client("s3", ann.session(allow("*")))
    client.put_object(Bucket=homes["ann"], Key="by-session", Body=b"")
    client.delete_object(Bucket=homes["ann"], Key="by-session")
    refuse(lambda: client.get_object(Bucket=homes["bob"], Key="k"))
    client = store.client("s3", ann.session(allow("*"), deny("s3:GetObject", arn(homes["ann"], "k"))))
    refuse(lambda: client.get_object(Bucket=homes["ann"], Key="k"))


# ---- minio-py -----------------------------------------------------------------------------------


def minio_of(keys):
    return minio.Minio(
        nilas.HOST, keys["aws_access_key_id"], keys["aws_secret_access_key"], keys.get("aws_session_token"),
        secure=False, region=nilas.S3_REGION)


def minio_refuse(run):
    eq(raises(S3Error, run).code, DENIED)


def read(answer):
    try:
        return answer.read()
    finally:
        answer.close()
        answer.release_conn()


def minio_py():
    hers, his = minio_of(ann.keys), minio_of(bob.keys)
    eq((read(hers.get_object(homes["ann"], "k")), read(his.get_object(homes["bob"], "k"))), (b"ann", b"bob"))
    body = nilas.content(11 * nilas.MIB)
    hers.put_object(homes["ann"], "parts", io.BytesIO(body), len(body), part_size=5 * nilas.MIB)
    eq(read(hers.get_object(homes["ann"], "parts")), body)
    for client, bucket in ((hers, homes["bob"]), (his, homes["ann"])):
        minio_refuse(lambda: client.get_object(bucket, "k"))
        minio_refuse(lambda: client.put_object(bucket, "k", io.BytesIO(b"x"), 1))
        minio_refuse(lambda: client.put_object(bucket, "parts", io.BytesIO(body), len(body), part_size=5 * nilas.MIB))
        minio_refuse(lambda: list(client.list_objects(bucket)))
        minio_refuse(lambda: client.bucket_exists(bucket))
        minio_refuse(lambda: client.remove_bucket(bucket))
    eq([one.object_name for one in hers.list_objects(shared, prefix=f"{ann.name}/")], [f"{ann.name}/k"])
    minio_refuse(lambda: list(hers.list_objects(shared)))
    minio_refuse(lambda: hers.copy_object(homes["ann"], "stolen", CopySource(homes["bob"], "k")))
    hers.put_object(shared, f"{ann.name}/gone", io.BytesIO(b"x"), 1)
    errors = list(hers.remove_objects(shared, [DeleteObject(f"{ann.name}/gone"), DeleteObject("open/k")]))
    eq([(one.name, one.code) for one in errors], [("open/k", DENIED)])
    eq(list(hers.remove_objects(homes["ann"], [DeleteObject("parts")])), [])
    minute = datetime.timedelta(minutes=1)
    eq(fetch(hers.presigned_get_object(homes["ann"], "k", expires=minute)), (200, b"ann"))
    eq(fetch(hers.presigned_get_object(homes["bob"], "k", expires=minute))[0], 403)
    eq(fetch(his.presigned_put_object(homes["bob"], "k", expires=minute), "PUT", b"x")[0], 403)
    hers.set_bucket_policy(homes["ann"], policy(allow("s3:GetObject", arn(homes["ann"], "k"), Principal={"AWS": bob.arn})))
    eq(json.loads(hers.get_bucket_policy(homes["ann"]))["Statement"][0]["Principal"], {"AWS": bob.arn})
    eq(read(his.get_object(homes["ann"], "k")), b"ann")
    hers.delete_bucket_policy(homes["ann"])
    minio_refuse(lambda: his.get_object(homes["ann"], "k"))


def minio_sessions():
    """Its own provider asks for a role without a name."""
    narrow = policy(allow("s3:GetObject", arn(homes["ann"], "*")))
    provider = AssumeRoleProvider(
        sts_endpoint=nilas.ENDPOINT, access_key=ann.keys["aws_access_key_id"], secret_key=ann.keys["aws_secret_access_key"],
        policy=narrow, region=nilas.S3_REGION)
    client = minio.Minio(nilas.HOST, credentials=provider, secure=False, region=nilas.S3_REGION)
    eq(read(client.get_object(homes["ann"], "k")), b"ann")
    minio_refuse(lambda: client.put_object(homes["ann"], "k", io.BytesIO(b"x"), 1))
    minio_refuse(lambda: client.get_object(shared, f"{ann.name}/k"))
    eq(fetch(client.presigned_get_object(homes["ann"], "k", expires=datetime.timedelta(minutes=1))), (200, b"ann"))
    client = minio_of(bob.session())
    eq(read(client.get_object(homes["bob"], "k")), b"bob")
    minio_refuse(lambda: client.get_object(homes["ann"], "k"))


def leave():
    for one in (ann, bob):
        keys = one.client()
        one.go()
        refuse(lambda: keys.list_buckets(), "InvalidAccessKeyId")
    for name in (*homes.values(), shared):
        remove_bucket(name)


Steps("rights").run([
    ("prepare", prepare),
    ("own-and-no-other", own_and_no_other),
    ("prefixes", prefixes),
    ("not-there", not_there),
    ("places", places),
    ("owners", owners),
    ("presigned", presigned),
    ("presigned-conditions", presigned_conditions),
    ("anonymous", anonymous),
    ("denied-by-bucket", denied_by_bucket),
    ("narrow-keys", narrow_keys),
    ("sessions", sessions),
    ("minio-py", minio_py),
    ("minio-py-sessions", minio_sessions),
    ("leave", leave),
])
