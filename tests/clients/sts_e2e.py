"""STS by boto3 and the AWS CLI: sessions of root, of users and of sessions, what narrows them and what ends them.

Rights are tried out on S3, on the catalog and on IAM; presigned URLs are signed with keys of sessions.
"""
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import nilas
from oidc import Store, code_of, keys_of
from steps import Steps, eq

store = Store(nilas.HOST, nilas.ACCESS_KEY, nilas.SECRET_KEY)
bucket, other = nilas.unique("sts"), nilas.unique("sts-other")
user = nilas.unique("sts-user")
users = {}


def allow(*actions, resource="*"):
    return json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": list(actions), "Resource": resource}]})


def prepare():
    root = store.client("s3")
    for name in (bucket, other):
        root.create_bucket(Bucket=name)
        root.put_object(Bucket=name, Key="k", Body=b"body")
    store.client("iam").create_policy(PolicyName=f"{user}-reads", PolicyDocument=allow("s3:GetObject"))
    users["keys"] = new_user(user, allow("s3:*", "sts:AssumeRole"))


def new_user(name, policy):
    """A user with one inline policy and one key; answers the keys."""
    iam = store.client("iam")
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="rights", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}


def role(name="worker"):
    return f"arn:aws:iam::{store.account()}:role/{name}"


def assume(keys=None, **more):
    return store.client("sts", keys).assume_role(**{"RoleArn": role(), "RoleSessionName": "job-1", **more})


def s3_of(answer):
    return store.client("s3", keys_of(answer))


def who_am_i():
    account = store.account()
    eq(store.client("sts").get_caller_identity()["Arn"], f"arn:aws:iam::{account}:root")
    mine = store.client("sts", users["keys"]).get_caller_identity()
    eq((mine["Arn"], mine["Account"]), (f"arn:aws:iam::{account}:user/{user}", account))
    assert mine["UserId"].startswith("AIDA"), mine
    keys = new_user(f"{user}-denied", json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Action": "*", "Resource": "*"}]}))
    eq(store.client("sts", keys).get_caller_identity()["Arn"], f"arn:aws:iam::{account}:user/{user}-denied")


def a_session_of_a_user():
    answer = assume(users["keys"])
    account = store.account()
    eq(answer["AssumedRoleUser"]["Arn"], f"arn:aws:sts::{account}:assumed-role/worker/job-1")
    keys = answer["Credentials"]
    assert keys["AccessKeyId"].startswith("NILT") and len(keys["AccessKeyId"]) == 20, keys["AccessKeyId"]
    assert 3590 < keys["Expiration"].timestamp() - time.time() <= 3601
    s3 = s3_of(answer)
    eq(s3.get_object(Bucket=bucket, Key="k")["Body"].read(), b"body")
    s3.put_object(Bucket=bucket, Key="of-a-session", Body=b"x")
    s3.delete_object(Bucket=bucket, Key="of-a-session")
    eq(code_of(lambda: store.client("iam", keys_of(answer)).list_users()), "AccessDenied")
    eq(store.client("sts", keys_of(answer)).get_caller_identity()["Arn"], answer["AssumedRoleUser"]["Arn"])


def a_session_is_narrower():
    narrow = allow("s3:GetObject", "iam:*", resource=[f"arn:aws:s3:::{bucket}/*", "arn:aws:iam:::*"])
    for more in ({"Policy": narrow}, {"PolicyArns": [{"arn": f"arn:aws:iam::{store.account()}:policy/{user}-reads"}]}):
        answer = assume(users["keys"], DurationSeconds=900, **more)
        assert 0 < answer["PackedPolicySize"] < 100, answer
        s3 = s3_of(answer)
        s3.get_object(Bucket=bucket, Key="k")
        eq(code_of(lambda: s3.put_object(Bucket=bucket, Key="n", Body=b"")), "AccessDenied")
        # What the policy allows and the user may not stays refused.
        eq(code_of(lambda: store.client("iam", keys_of(answer)).list_users()), "AccessDenied")
    eq(code_of(lambda: s3_of(assume(users["keys"], Policy=narrow)).get_object(Bucket=other, Key="k")), "AccessDenied")
    root = s3_of(assume(Policy=narrow))
    root.get_object(Bucket=bucket, Key="k")
    eq(code_of(lambda: root.get_object(Bucket=other, Key="k")), "AccessDenied")


def a_session_of_a_session():
    """It keeps what narrows the first, lives an hour at most, and not longer than the first."""
    first = assume(users["keys"], Policy=allow("s3:GetObject", "s3:PutObject", "sts:AssumeRole"), DurationSeconds=1200)
    second = assume(keys_of(first), Policy=allow("s3:*"), DurationSeconds=3600)
    eq(second["Credentials"]["Expiration"], first["Credentials"]["Expiration"])
    s3 = s3_of(second)
    s3.get_object(Bucket=bucket, Key="k")
    s3.put_object(Bucket=bucket, Key="chained", Body=b"")
    eq(code_of(lambda: s3.delete_object(Bucket=bucket, Key="chained")), "AccessDenied")
    # The second's own policy has no sts:AssumeRole.
    eq(code_of(lambda: assume(keys_of(second))), "AccessDenied")
    eq(code_of(lambda: assume(keys_of(first), DurationSeconds=3601)), "ValidationError")
    eq(code_of(lambda: store.client("sts", keys_of(first)).get_session_token()), "AccessDenied")


def get_session_token():
    answer = store.client("sts", users["keys"]).get_session_token(DurationSeconds=900)
    s3_of(answer).get_object(Bucket=bucket, Key="k")
    eq(store.client("sts", keys_of(answer)).get_caller_identity()["Arn"], f"arn:aws:iam::{store.account()}:user/{user}")
    root = store.client("sts").get_session_token()["Credentials"]["Expiration"].timestamp() - time.time()
    assert 3590 < root <= 3601, root


def what_is_refused():
    check = lambda want, keys=None, **more: eq(code_of(lambda: assume(keys or users["keys"], **more)), want, f"{want} {more}")
    check("ValidationError", RoleArn="arn:aws:iam::000000000000:role/worker")
    check("ValidationError", RoleArn="arn:aws:iam::worker-of-nobody")
    check("ValidationError", DurationSeconds=43201)
    check("ValidationError", RoleSessionName="a b")
    check("MalformedPolicyDocument", Policy="{")
    check("MalformedPolicyDocument", Policy=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}]}))
    check("ValidationError", Policy=allow("s3:GetObject", resource="arn:aws:s3:::" + "x" * 2048))
    check("ValidationError", PolicyArns=[{"arn": f"arn:aws:iam::{store.account()}:policy/not-here"}])
    tags = [{"Key": f"k{nth}", "Value": "v" * 200} for nth in range(50)]
    check("PackedPolicyTooLarge", keys=store.root, Tags=tags)
    # Tags and a source identity need permissions of their own.
    check("AccessDenied", Tags=[{"Key": "team", "Value": "a"}])
    check("AccessDenied", SourceIdentity="alice")
    keys = new_user(f"{user}-none", allow("s3:GetObject"))
    check("AccessDenied", keys=keys)
    wrong = {**users["keys"], "aws_secret_access_key": "x" * 40}
    eq(code_of(lambda: store.client("sts", wrong).get_caller_identity()), "SignatureDoesNotMatch")
    unknown = {"aws_access_key_id": "NILASNOBODYNOBODYNOB", "aws_secret_access_key": "x" * 40}
    eq(code_of(lambda: store.client("sts", unknown).get_caller_identity()), "InvalidClientTokenId")
    eq(code_of(lambda: store.client("sts").decode_authorization_message(EncodedMessage="x")), "InvalidAction")
    eq(code_of(lambda: store.client("sts", users["keys"]).get_access_key_info(AccessKeyId=users["keys"]["aws_access_key_id"])), "AccessDenied")
    eq(store.client("sts").get_access_key_info(AccessKeyId=users["keys"]["aws_access_key_id"])["Account"], store.account())


def form(keys, **fields):
    """A signed form as it is, whatever boto3 makes of such fields; answers the error's code, or nothing."""
    body = urllib.parse.urlencode({"Action": "AssumeRole", "Version": "2011-06-15", "RoleArn": role(), "RoleSessionName": "form", **fields})
    request = AWSRequest(method="POST", url=f"{store.url}/", data=body, headers={"Content-Type": "application/x-www-form-urlencoded"})
    SigV4Auth(Credentials(keys["aws_access_key_id"], keys["aws_secret_access_key"]), "sts", "us-east-1").add_auth(request)
    try:
        urllib.request.urlopen(urllib.request.Request(request.url, data=body.encode(), headers=dict(request.headers.items())), timeout=30).close()
    except urllib.error.HTTPError as error:
        return re.search(r"<Code>(.*?)</Code>", error.read().decode()).group(1)
    return None


def nothing_goes_unread():
    """What was to narrow a session never leaves it as wide as its maker."""
    reads = "arn:aws:iam::aws:policy/readonly"
    eq(form(users["keys"]), None)
    eq(form(users["keys"], **{"PolicyArns.member.1.arn": reads, "ExternalId": "x"}), None)
    for name in (
        "PolicyArns.member.2.arn", "PolicyArns.1.arn", "PolicyArns.member.1", "PolicyArns.member.1.Arn", "PolicyArns.member.01.arn",
        "PolicyArns.member.0.arn", "PolicyArns", "PolicyArn.member.1.arn", "policyArns.member.1.arn", "policy", "Policy.1", "Policies",
        "Tags.member.2.Key", "Tags.1.Key", "TransitiveTagKeys.member.2", "Scope",
    ):
        eq(form(users["keys"], **{name: reads}), "ValidationError", name)
    eq(form(users["keys"], Policy=""), "ValidationError")
    eq(form(users["keys"], PolicyArns=""), "ValidationError")
    eq(form(users["keys"], **{"PolicyArns.member.1.arn": reads, "PolicyArns.member.3.arn": reads}), "ValidationError")
    # Who may not is not shown what is wrong.
    eq(form(new_user(f"{user}-unread", allow("s3:GetObject")), Policy=""), "AccessDenied")


def a_session_has_one_id():
    """The same in the answer, for GetCallerIdentity and for policies; and another user's is another."""
    answer = assume(users["keys"])
    one = answer["AssumedRoleUser"]["AssumedRoleId"]
    assert one.startswith("AROA") and one.endswith(":job-1"), one
    eq(store.client("sts", keys_of(answer)).get_caller_identity()["UserId"], one)
    root = store.client("s3")
    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*",
                 "Condition": {"StringEquals": {"aws:userid": one}}}
    root.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    try:
        eq(code_of(lambda: s3_of(answer).get_object(Bucket=bucket, Key="k")), "AccessDenied")
        s3_of(assume(users["keys"], RoleSessionName="job-2")).get_object(Bucket=bucket, Key="k")
        others = new_user(f"{user}-other", allow("s3:*", "sts:AssumeRole"))
        answer = assume(others)
        assert answer["AssumedRoleUser"]["AssumedRoleId"] != one
        s3_of(answer).get_object(Bucket=bucket, Key="k")
    finally:
        root.delete_bucket_policy(Bucket=bucket)


def tags_are_seen_by_policies():
    keys = new_user(f"{user}-tagged", json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"], "Resource": "*"},
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*",
         "Condition": {"StringEquals": {"aws:PrincipalTag/team": "blue"}}}]}))
    tagged = assume(keys, Tags=[{"Key": "team", "Value": "blue"}], SourceIdentity="alice")
    eq(tagged["SourceIdentity"], "alice")
    s3_of(tagged).get_object(Bucket=bucket, Key="k")
    plain = assume(keys, Tags=[{"Key": "team", "Value": "red"}])
    eq(code_of(lambda: s3_of(plain).get_object(Bucket=bucket, Key="k")), "AccessDenied")
    # A later session keeps them and changes neither.
    s3_of(assume(keys_of(tagged))).get_object(Bucket=bucket, Key="k")
    eq(code_of(lambda: assume(keys_of(plain), Tags=[{"Key": "team", "Value": "blue"}])), "ValidationError")
    eq(code_of(lambda: assume(keys_of(tagged), SourceIdentity="bob")), "AccessDenied")


def what_ends_a_session():
    name = f"{user}-ending"
    keys = new_user(name, allow("s3:*", "sts:*"))
    iam = store.client("iam")
    key = {"UserName": name, "AccessKeyId": keys["aws_access_key_id"]}
    session = s3_of(assume(keys))
    session.get_object(Bucket=bucket, Key="k")
    iam.update_access_key(**key, Status="Inactive")
    eq(code_of(lambda: session.get_object(Bucket=bucket, Key="k")), "InvalidToken", "key inactive")
    iam.update_access_key(**key, Status="Active")
    session.get_object(Bucket=bucket, Key="k")
    # Rights are looked up live.
    iam.put_user_policy(UserName=name, PolicyName="rights", PolicyDocument=allow("sts:*"))
    eq(code_of(lambda: session.get_object(Bucket=bucket, Key="k")), "AccessDenied", "policy changed")
    iam.put_user_policy(UserName=name, PolicyName="rights", PolicyDocument=allow("s3:*"))
    session.get_object(Bucket=bucket, Key="k")
    iam.delete_access_key(**key)
    eq(code_of(lambda: session.get_object(Bucket=bucket, Key="k")), "InvalidToken", "key deleted")
    iam.delete_user_policy(UserName=name, PolicyName="rights")
    iam.delete_user(UserName=name)
    eq(code_of(lambda: session.get_object(Bucket=bucket, Key="k")), "InvalidToken", "user deleted")


def presigned_by_a_session():
    narrow = allow("s3:GetObject", resource=f"arn:aws:s3:::{bucket}/*")
    s3 = s3_of(assume(users["keys"], Policy=narrow))
    get = lambda where: urllib.request.urlopen(s3.generate_presigned_url("get_object", Params={"Bucket": where, "Key": "k"}), timeout=30)
    with get(bucket) as answer:
        eq(answer.read(), b"body")
    try:
        get(other)
        raise AssertionError("not refused")
    except urllib.error.HTTPError as error:
        eq(error.code, 403)
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    changed = url.replace("X-Amz-Security-Token=AV", "X-Amz-Security-Token=BV")
    changed = changed if changed != url else url.replace("X-Amz-Security-Token=", "X-Amz-Security-Token=B")
    try:
        urllib.request.urlopen(changed, timeout=30)
        raise AssertionError("not refused")
    except urllib.error.HTTPError as error:
        eq(error.code, 400)
        assert b"InvalidToken" in error.read()


def aws_cli():
    program = os.path.join(os.path.dirname(sys.executable), "aws")
    place = {**os.environ, "AWS_CONFIG_FILE": os.devnull, "AWS_EC2_METADATA_DISABLED": "true", "AWS_DEFAULT_REGION": "us-east-1"}

    def run(keys, *words):
        names = {name.upper(): value for name, value in keys.items()}
        done = subprocess.run(
            [program, "--endpoint-url", store.url, "--output", "json", *words], env={**place, **names}, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    eq(run(users["keys"], "sts", "get-caller-identity")["Account"], store.account())
    made = run(users["keys"], "sts", "assume-role", "--role-arn", role(), "--role-session-name", "cli")
    eq(run(keys_of(made), "sts", "get-caller-identity")["Arn"], f"arn:aws:sts::{store.account()}:assumed-role/worker/cli")
    listed = run(keys_of(made), "s3api", "list-objects-v2", "--bucket", bucket)
    assert any(found["Key"] == "k" for found in listed["Contents"]), listed
    run(users["keys"], "sts", "get-session-token")


steps = Steps("sts")
steps.run([
    ("prepare", prepare),
    ("who-am-i", who_am_i),
    ("a-session-of-a-user", a_session_of_a_user),
    ("a-session-is-narrower", a_session_is_narrower),
    ("a-session-of-a-session", a_session_of_a_session),
    ("get-session-token", get_session_token),
    ("what-is-refused", what_is_refused),
    ("nothing-goes-unread", nothing_goes_unread),
    ("a-session-has-one-id", a_session_has_one_id),
    ("tags-are-seen-by-policies", tags_are_seen_by_policies),
    ("what-ends-a-session", what_ends_a_session),
    ("presigned-by-a-session", presigned_by_a_session),
    ("aws-cli", aws_cli),
])
