"""Every condition key that docs/access.md lists is there in the requests that it is said to be of.

For each key a user may do everything where the key is there, and then everything but where it is there: the same request has to
be allowed and refused. A key of the page that neither has a request here nor is named as one whose feature the server has not
fails the suite.
"""
import os
import re

from botocore.exceptions import ClientError

import nilas
from oidc import Store, keys_of
from people import Person, allow, deny, iam, remove_bucket, root, store
from steps import Steps, eq

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "access.md")
# Of the keys that end in `/…`.
TAG = "team"

bucket = nilas.unique("conditions")
warehouse = nilas.warehouse("conditions-wh")
namespace, table = "conditions", "t"
person = Person("conditions")
tagged = nilas.unique("conditions-tagged")
managed = nilas.unique("conditions-policy")
role = store.role()


def was_allowed(run):
    """Whether a request was let in, whatever became of it then."""
    try:
        status = run()
    except ClientError as error:
        return error.response["Error"]["Code"] not in ("AccessDenied", "403")
    return status != 403


def s3(run, keys=None, **headers):
    """A request of S3 with headers that boto3 knows no parameter for."""
    client = store.client("s3", keys or person.keys)

    def add(request, **_):
        for name, value in headers.items():
            request.headers[name.replace("_", "-")] = value

    client.meta.events.register("before-sign.s3", add)
    run(client)


def put(**headers):
    return lambda: s3(lambda client: client.put_object(Bucket=bucket, Key="written", Body=b"x"), **headers)


def of_s3(run):
    return lambda: s3(run)


def of_iam(run):
    return lambda: run(store.client("iam", person.keys)) and None


def assume(**more):
    return lambda: store.client("sts", person.keys).assume_role(**{"RoleArn": role, "RoleSessionName": "one-session", **more}) and None


def of_session(**more):
    """A request of a session that the user made; to be made it needs the rights that the user has then."""
    keys = keys_of(store.client("sts", person.keys).assume_role(RoleArn=role, RoleSessionName="one-session", **more))
    return lambda: s3(lambda client: client.list_buckets(), keys)


def of_catalog(method, path, body=None):
    keys = person.keys
    return lambda: nilas.catalog_call(method, path, body, keys["aws_access_key_id"], keys["aws_secret_access_key"])[0]


def of_page(method, path, body=None):
    keys = person.keys
    own = Store(nilas.HOST, keys["aws_access_key_id"], keys["aws_secret_access_key"])
    return lambda: own.page(method, path, body)[0]


TAGS = [{"Key": TAG, "Value": "blue"}]
LIST = of_s3(lambda client: client.list_buckets())
# One request of each API.
EVERY = [
    LIST,
    of_iam(lambda client: client.get_account_summary()),
    assume(),
    of_catalog("GET", f"/v1/config?warehouse={warehouse}"),
    of_page("GET", "/_nilas/owners"),
]
LISTING = [of_s3(lambda client: client.list_objects_v2(Bucket=bucket, Prefix="p", Delimiter="/", MaxKeys=3))]
COPY = [of_s3(lambda client: client.copy_object(Bucket=bucket, Key="copied", CopySource=f"{bucket}/tagged", MetadataDirective="COPY"))]
SETS_TAGS = [
    of_iam(lambda client: client.create_user(UserName=nilas.unique("conditions-new"), Tags=TAGS)),
    of_iam(lambda client: client.tag_user(UserName=tagged, Tags=TAGS)),
    of_iam(lambda client: client.create_policy(PolicyName=nilas.unique("conditions-new"), PolicyDocument=DOCUMENT, Tags=TAGS)),
    of_iam(lambda client: client.tag_policy(PolicyArn=managed_arn(), Tags=TAGS)),
    assume(Tags=TAGS),
]
DOCUMENT = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}'
OF_TAGGED = [
    of_iam(lambda client: client.get_user(UserName=tagged)),
    of_iam(lambda client: client.create_access_key(UserName=tagged)),
    of_iam(lambda client: client.put_user_policy(UserName=tagged, PolicyName="p", PolicyDocument=DOCUMENT)),
    of_iam(lambda client: client.get_policy(PolicyArn=managed_arn())),
    of_page("POST", "/_nilas/keys", {"user": tagged}),
    of_page("POST", f"/_nilas/users/{tagged}", {"enabled": True}),
]
OF_ROLE = [assume(DurationSeconds=900, SourceIdentity="alice", ExternalId="id-1", Tags=TAGS, TransitiveTagKeys=[TAG])]
READ = lambda **more: [of_s3(lambda client: client.get_object(Bucket=bucket, Key="tagged", **more))]

REQUESTS = {
    "aws:CurrentTime": EVERY,
    "aws:EpochTime": EVERY,
    "aws:SecureTransport": EVERY,
    "aws:SourceIp": EVERY,
    "aws:UserAgent": EVERY,
    "aws:Referer": [lambda: s3(lambda client: client.list_buckets(), Referer="https://here")],
    "aws:RequestedRegion": EVERY,
    "aws:userid": EVERY,
    "aws:username": EVERY,
    "aws:PrincipalType": EVERY,
    "aws:PrincipalArn": EVERY,
    "aws:PrincipalAccount": EVERY,
    f"aws:PrincipalTag/{TAG}": EVERY,
    "aws:ResourceAccount": EVERY,
    f"aws:RequestTag/{TAG}": SETS_TAGS,
    f"aws:RequestTag/{TAG.upper()}": SETS_TAGS,
    "aws:TagKeys": [
        *SETS_TAGS,
        of_iam(lambda client: client.untag_user(UserName=tagged, TagKeys=["none"])),
        of_iam(lambda client: client.untag_policy(PolicyArn=managed_arn(), TagKeys=["none"])),
    ],
    f"aws:ResourceTag/{TAG}": OF_TAGGED,
    f"iam:ResourceTag/{TAG}": OF_TAGGED,
    "iam:PolicyARN": [
        of_iam(lambda client: client.attach_user_policy(UserName=tagged, PolicyArn=managed_arn())),
        of_iam(lambda client: client.detach_user_policy(UserName=tagged, PolicyArn=managed_arn())),
    ],
    "sts:RoleSessionName": [*OF_ROLE, assume()],
    "sts:DurationSeconds": [*OF_ROLE, assume()],
    "sts:SourceIdentity": OF_ROLE,
    "sts:ExternalId": OF_ROLE,
    "sts:TransitiveTagKeys": OF_ROLE,
    "s3:prefix": LISTING,
    "s3:delimiter": LISTING,
    "s3:max-keys": LISTING,
    "s3:x-amz-acl": [put(x_amz_acl="bucket-owner-full-control")],
    **{f"s3:x-amz-grant-{what}": [put(**{f"x_amz_grant_{what}": "id=1"})] for what in ("read", "write", "read-acp", "write-acp", "full-control")},
    "s3:x-amz-copy-source": COPY,
    "s3:x-amz-metadata-directive": COPY,
    "s3:x-amz-server-side-encryption": [put(x_amz_server_side_encryption="AES256")],
    "s3:x-amz-server-side-encryption-aws-kms-key-id": [put(x_amz_server_side_encryption_aws_kms_key_id="k")],
    "s3:x-amz-server-side-encryption-customer-algorithm": [put(x_amz_server_side_encryption_customer_algorithm="AES256")],
    "s3:x-amz-storage-class": [put(x_amz_storage_class="STANDARD")],
    "s3:x-amz-website-redirect-location": [put(x_amz_website_redirect_location="/")],
    "s3:x-amz-content-sha256": [LIST, put()],
    "s3:x-amz-object-ownership": [of_s3(lambda client: client.create_bucket(Bucket=bucket, ObjectOwnership="BucketOwnerEnforced"))],
    "s3:if-match": [put(If_Match='"none"')],
    "s3:if-none-match": [put(If_None_Match="*")],
    f"s3:RequestObjectTag/{TAG}": [put(x_amz_tagging=f"{TAG}=blue")],
    "s3:RequestObjectTagKeys": [put(x_amz_tagging=f"{TAG}=blue")],
    f"s3:ExistingObjectTag/{TAG}": READ(),
    "s3:versionid": READ(VersionId="null"),
    "s3:object-lock-mode": [put(x_amz_object_lock_mode="GOVERNANCE")],
    "s3:object-lock-retain-until-date": [put(x_amz_object_lock_retain_until_date="2030-01-01T00:00:00Z")],
    "s3:object-lock-legal-hold": [put(x_amz_object_lock_legal_hold="ON")],
    "s3:signatureversion": [LIST],
    "s3:authType": [LIST],
    "s3:signatureAge": [LIST],
    "s3:ResourceAccount": [LIST],
    "s3tables:namespace": [of_catalog("GET", f"/v1/{warehouse}/namespaces/{namespace}/tables/{table}")],
    "s3tables:tableName": [of_catalog("GET", f"/v1/{warehouse}/namespaces/{namespace}/tables/{table}")],
    "s3tables:registerLocation": [
        of_catalog("POST", f"/v1/{warehouse}/namespaces/{namespace}/register", {"name": "r", "metadata-location": f"s3://{warehouse}/none.json"})],
}

# Those of one of the rights that a request needs, where the others are asked for without them.
OF_ONE_RIGHT = {"s3tables:registerLocation"}

# What the server has not, and so no request has.
WITHOUT = {
    "aws:MultiFactorAuthPresent": "there are no devices",
    "aws:FederatedProvider": "the server under test has no issuer; the suite of web identities has one",
    "aws:TokenIssueTime": "of sessions, below",
    "aws:SourceIdentity": "of sessions, below",
    "s3:LocationConstraint": "judged by the tests of buckets",
    "s3:TlsVersion": "connections are not encrypted",
    "s3:object-lock-remaining-retention-days": "judged by the tests of locks",
    "s3tables:viewName": "there are no views",
    "s3tables:KMSKeyArn": "nothing is encrypted with keys of others",
    "s3tables:SSEAlgorithm": "nothing is encrypted with keys of others",
    "s3tables:WarehouseTag/": "warehouses have no tags",
    "s3tables:TableTag/": "tables have no tags",
}


def managed_arn():
    return f"arn:aws:iam::{store.account()}:policy/{managed}"


def prepare():
    root.create_bucket(Bucket=bucket)
    root.put_object(Bucket=bucket, Key="tagged", Body=b"x", Tagging=f"{TAG}=blue")
    iam.create_user(UserName=tagged, Tags=TAGS)
    iam.create_policy(PolicyName=managed, PolicyDocument=DOCUMENT, Tags=TAGS)
    iam.tag_user(UserName=person.name, Tags=TAGS)
    for path, body in (
        ("", {"namespace": [namespace]}),
        (f"/{namespace}/tables", {"name": table, "schema": {"type": "struct", "fields": []}}),
    ):
        status, answer = nilas.catalog_call("POST", f"/v1/{warehouse}/namespaces{path}", body)
        eq(status, 200, str(answer))


def the_page_has_no_other():
    rows = re.search(r"\n\| keys \| of \|\n\|---\|---\|\n((?:\|.*\n)+)", open(PAGE).read()).group(1)
    names = "".join(row.split(" | ")[0] for row in rows.replace("…", "").splitlines())
    listed = set(re.findall(r"`((?:aws|s3|s3tables|sts|iam):[^`]*)`", names))
    asked = {key[: -len(TAG)] if key.lower().endswith("/" + TAG) else key for key in REQUESTS}
    eq(sorted(listed - set(WITHOUT) - asked), [], "keys without a request")
    eq(sorted(asked - listed), [], "requests without a key on the page")
    assert 60 <= len(listed), len(listed)


def there_and_not_there(requests):
    """Each has to be allowed where the key is there, and refused where that is denied."""

    def run():
        for key, nth, request in requests():
            there = {"Condition": {"Null": {key: "false"}}}
            person.may(allow("*", **({} if key in OF_ONE_RIGHT else there)))
            assert was_allowed(request), f"{key}, request {nth}: not there"
            person.may(allow("*"), deny("*", **there))
            assert not was_allowed(request), f"{key}, request {nth}: denied in vain"

    return run


def of_prefix(*prefixes):
    def requests():
        for key, asked in REQUESTS.items():
            if key.split(":")[0] in prefixes:
                yield from ((key, nth, request) for nth, request in enumerate(asked))

    return there_and_not_there(requests)


def of_sessions():
    for key, more in (("aws:TokenIssueTime", {}), ("aws:SourceIdentity", {"SourceIdentity": "alice"}), ("aws:userid", {})):
        person.may(allow("*"))
        request = of_session(**more)
        there_and_not_there(lambda: [(key, 0, request)])()


def values():
    """What is there is what the request says, or what it comes to where it says nothing."""
    check = lambda want, request, *statements: (person.may(allow("*"), *statements), eq(was_allowed(request), want, str(statements)))
    where = lambda actions, operator, key, value: deny(actions, Condition={operator: {key: value}})
    long = where("sts:AssumeRole", "NumericGreaterThan", "sts:DurationSeconds", "900")
    check(False, assume(DurationSeconds=43200), long)
    check(False, assume(), long)
    check(True, assume(DurationSeconds=900), long)
    named = where("sts:AssumeRole", "StringNotLike", "sts:RoleSessionName", "ok-*")
    check(True, assume(RoleSessionName="ok-1"), named)
    check(False, assume(RoleSessionName="no-1"), named)
    tag = lambda value, key=TAG: [{"Key": key, "Value": value}]
    for action, request in (
        ("sts:TagSession", lambda tags: assume(Tags=tags)),
        ("iam:TagUser", lambda tags: of_iam(lambda client: client.tag_user(UserName=tagged, Tags=tags))),
        ("iam:CreateUser", lambda tags: of_iam(lambda client: client.create_user(UserName=nilas.unique("conditions-new"), Tags=tags))),
        ("iam:CreatePolicy", lambda tags: of_iam(lambda client: client.create_policy(PolicyName=nilas.unique("conditions-new"), PolicyDocument=DOCUMENT, Tags=tags))),
    ):
        no_admin = where(action, "StringEquals", f"aws:RequestTag/{TAG}", "admin")
        check(False, request(tag("admin")), no_admin)
        check(False, request(tag("admin", TAG.capitalize())), no_admin)
        check(True, request(tag("blue")), no_admin)
        only = where(action, "ForAnyValue:StringNotEquals", "aws:TagKeys", [TAG])
        check(True, request(tag("blue")), only)
        check(False, request(tag("blue") + tag("x", "more")), only)
    # Tags of what is made need the right to tag.
    check(False, of_iam(lambda client: client.create_user(UserName=nilas.unique("conditions-new"), Tags=tag("x"))), deny("iam:TagUser"))
    check(False, of_iam(lambda client: client.create_policy(PolicyName=nilas.unique("conditions-new"), PolicyDocument=DOCUMENT, Tags=tag("x"))), deny("iam:TagPolicy"))
    check(True, of_iam(lambda client: client.create_user(UserName=nilas.unique("conditions-new"))), deny("iam:TagUser"))
    iam.tag_user(UserName=tagged, Tags=tag("kept"))
    kept = where("iam:*", "StringEquals", f"aws:ResourceTag/{TAG}", "kept")
    for request in OF_TAGGED[:3] + OF_TAGGED[4:]:
        check(False, request, kept)
    check(False, of_iam(lambda client: client.delete_user(UserName=tagged)), kept)
    check(True, of_iam(lambda client: client.get_user(UserName=person.name)), kept)
    # One tag of a name, whatever the case of its letters.
    iam.tag_user(UserName=tagged, Tags=tag("red", TAG.upper()))
    eq(iam.list_user_tags(UserName=tagged)["Tags"], tag("red", TAG.upper()))
    iam.untag_user(UserName=tagged, TagKeys=[TAG])
    eq(iam.list_user_tags(UserName=tagged)["Tags"], [])


def clean():
    for user in iam.get_paginator("list_users").paginate():
        for one in user["Users"]:
            if one["UserName"].startswith("conditions-new"):
                iam.delete_user(UserName=one["UserName"])
    person.go()
    for key in iam.list_access_keys(UserName=tagged)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=tagged, AccessKeyId=key["AccessKeyId"])
    iam.delete_user_policy(UserName=tagged, PolicyName="p")
    iam.delete_user(UserName=tagged)
    for one in iam.list_policies(Scope="Local")["Policies"]:
        if one["PolicyName"].startswith("conditions-"):
            iam.delete_policy(PolicyArn=one["Arn"])
    remove_bucket(bucket)


steps = Steps("conditions")
steps.run([
    ("prepare", prepare),
    ("the-page-has-no-other", the_page_has_no_other),
    ("global-keys", of_prefix("aws")),
    ("keys-of-iam-and-sts", of_prefix("iam", "sts")),
    ("keys-of-s3", of_prefix("s3")),
    ("keys-of-the-catalog", of_prefix("s3tables")),
    ("keys-of-sessions", of_sessions),
    ("values", values),
    ("clean", clean),
])
