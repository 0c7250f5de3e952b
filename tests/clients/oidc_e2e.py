"""Web identities with an issuer of the suite's own: AssumeRoleWithWebIdentity by boto3, S3 within and beyond the policies of
the claim, bearer tokens and exchange on the catalog; keys that rotate, clocks that differ, an issuer that is slow, down or wrong.

The suite starts servers of its own, since an issuer is an option of the server.
"""
import json
import os
import time
import urllib.request

import boto3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
import nilas
from issuer import Issuer, Key, text
from oidc import Store, code_of, keys_of
from own_server import OwnServer
from steps import Steps, eq

AUDIENCE = "nilas-tests"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
# Between two fetches of an issuer's keys (OIDC_REFETCH_MS_MIN).
REFETCH_SECONDS = 10

place = os.path.join(nilas.SCRATCH, nilas.unique("oidc"))
os.makedirs(place)
audit_log = os.path.join(place, "audit.jsonl")
issuer = Issuer(AUDIENCE)
server = OwnServer(
    place, nilas.ACCESS_KEY, nilas.SECRET_KEY, ["--cores", "2", "--audit-log", audit_log, "--oidc-issuer", issuer.url, "--oidc-audience", AUDIENCE])
server.start()
store = Store(server.address, nilas.ACCESS_KEY, nilas.SECRET_KEY)
bucket, other = nilas.unique("web"), nilas.unique("web-other")
only_bucket = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": f"arn:aws:s3:::{bucket}/*"}]})


def prepare():
    root = store.client("s3")
    for name in (bucket, other):
        root.create_bucket(Bucket=name)
        root.put_object(Bucket=name, Key="k", Body=b"body")
    store.client("iam").create_policy(PolicyName="only-bucket", PolicyDocument=only_bucket)


def a_session_and_its_rights():
    answer = store.assume_web(issuer.token(policy=["only-bucket"]))
    eq(answer["SubjectFromWebIdentityToken"], "alice")
    eq(answer["Audience"], AUDIENCE)
    eq(answer["Provider"], issuer.url)
    account = store.account()
    eq(answer["AssumedRoleUser"]["Arn"], f"arn:aws:sts::{account}:assumed-role/analyst/one-session")
    assert answer["AssumedRoleUser"]["AssumedRoleId"].endswith(":one-session"), answer
    left = answer["Credentials"]["Expiration"].timestamp() - time.time()
    assert 3500 < left <= 3601, left
    s3 = store.client("s3", keys_of(answer))
    eq(s3.get_object(Bucket=bucket, Key="k")["Body"].read(), b"body")
    s3.put_object(Bucket=bucket, Key="of-the-session", Body=b"x")
    eq(code_of(lambda: s3.get_object(Bucket=other, Key="k")), "AccessDenied")
    eq(code_of(lambda: s3.delete_object(Bucket=bucket, Key="k")), "AccessDenied")
    eq(code_of(lambda: s3.create_bucket(Bucket=nilas.unique("never"))), "AccessDenied")
    who = store.client("sts", keys_of(answer)).get_caller_identity()
    eq(who["Arn"], f"arn:aws:sts::{account}:assumed-role/analyst/one-session")


def claims_in_both_forms():
    for claim in (["only-bucket", "no-such-policy"], "only-bucket", " no-such-policy , only-bucket"):
        s3 = store.client("s3", store.session(issuer.token(policy=claim)))
        eq(s3.get_object(Bucket=bucket, Key="k")["Body"].read(), b"body", claim)
        eq(code_of(lambda: s3.get_object(Bucket=other, Key="k")), "AccessDenied", claim)


def missing_policies_are_written_down():
    """A policy of the claim that does not exist is in the audit log: of a session, of a bearer token, and of what is refused for it."""
    lines = lambda word: [line for line in map(json.loads, open(audit_log)) if word in line.get("remark", "")]

    def wait(word):
        end = time.monotonic() + 10
        while not lines(word):
            assert time.monotonic() < end, f"no line of {word}"
            time.sleep(0.05)
        found, = lines(word)
        return found

    store.session(issuer.token(policy=["only-bucket", "gone-1", "gone-2"]))
    line = wait("gone-1")
    eq((line["operation"], line["outcome"]), ("AssumeRoleWithWebIdentity", "done"))
    eq(line["remark"], "policies of the token that do not exist: gone-1, gone-2")
    eq(code_of(lambda: store.assume_web(issuer.token(policy=["gone-3"]))), "IDPRejectedClaim")
    eq(wait("gone-3")["status"], 403)
    token = issuer.token(policy=["only-bucket", "gone-4"])
    assert store.bearer(token)[0] < 500
    eq(wait("gone-4")["api"], "iceberg")
    long = ["only-bucket", *(f"gone-5-{nth}-{'x' * 120}" for nth in range(9))]
    store.session(issuer.token(policy=long))
    assert len(wait("gone-5")["remark"].encode()) <= 2048


def a_session_is_narrowed():
    narrow = json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]})
    answer = store.assume_web(issuer.token(policy=["only-bucket"]), Policy=narrow, DurationSeconds=900)
    assert 0 < answer["PackedPolicySize"] <= 100, answer
    left = answer["Credentials"]["Expiration"].timestamp() - time.time()
    assert 850 < left <= 901, left
    s3 = store.client("s3", keys_of(answer))
    s3.get_object(Bucket=bucket, Key="k")
    eq(code_of(lambda: s3.get_object(Bucket=other, Key="k")), "AccessDenied")
    eq(code_of(lambda: s3.put_object(Bucket=bucket, Key="n", Body=b"")), "AccessDenied")


def rights_are_looked_up_live():
    iam = store.client("iam")
    arn = iam.create_policy(PolicyName="short-lived", PolicyDocument=only_bucket)["Policy"]["Arn"]
    s3 = store.client("s3", store.session(issuer.token(policy=["short-lived"])))
    s3.get_object(Bucket=bucket, Key="k")
    iam.delete_policy(PolicyArn=arn)
    eq(code_of(lambda: s3.get_object(Bucket=bucket, Key="k")), "AccessDenied")


def what_is_refused():
    now = int(time.time())
    check = lambda token, want, **more: eq(code_of(lambda: store.assume_web(token, **more)), want, want)
    check(issuer.token(aud="another"), "InvalidIdentityToken")
    check(issuer.token(aud="account", azp=AUDIENCE), "InvalidIdentityToken")
    check(issuer.token(iss="https://id.example.com"), "InvalidIdentityToken")
    check(issuer.token(exp=now - 61), "ExpiredTokenException")
    check(issuer.token(nbf=now + 90), "InvalidIdentityToken")
    check(issuer.token(sub=None), "InvalidIdentityToken")
    check(issuer.token(policy=None), "IDPRejectedClaim")
    check(issuer.token(policy=["no-such-policy"]), "IDPRejectedClaim")
    check(issuer.token(key=Key(issuer.keys[-1].kid)), "InvalidIdentityToken")
    check(issuer.token(header={"alg": "none"}), "InvalidIdentityToken")
    check(issuer.token(header={"alg": "HS256"}), "InvalidIdentityToken")
    check(issuer.token(header={"crit": ["exp"]}), "InvalidIdentityToken")
    check("not.a.token", "InvalidIdentityToken")
    check("x" * 17_000, "InvalidIdentityToken")
    good = issuer.token(policy=["only-bucket"])
    check(good[:-8] + "AAAAAAAA", "InvalidIdentityToken")
    check(good, "ValidationError", DurationSeconds=43201)
    check(good, "ValidationError", RoleArn="arn:aws:iam::000000000000:role/x")
    check(good, "MalformedPolicyDocument", Policy="{")
    # Within the skew of clocks. Making a key above may have taken a while.
    now = int(time.time())
    store.assume_web(issuer.token(policy=["only-bucket"], exp=now - 50))
    store.assume_web(issuer.token(policy=["only-bucket"], iat=now + 50, nbf=now + 50))


def a_changed_session_token():
    keys = store.session(issuer.token(policy=["only-bucket"]))
    token = keys["aws_session_token"]
    another = store.session(issuer.token(policy=["only-bucket"]))["aws_session_token"]
    for changed in (token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB"), token[:100], another, "x"):
        s3 = store.client("s3", {**keys, "aws_session_token": changed})
        eq(code_of(lambda: s3.get_object(Bucket=bucket, Key="k")), "InvalidToken", changed[:20])
    s3 = store.client("s3", {name: value for name, value in keys.items() if name != "aws_session_token"})
    eq(code_of(lambda: s3.get_object(Bucket=bucket, Key="k")), "InvalidAccessKeyId")


def client_grants():
    """As MinIO has it: boto3 does not know the operation."""
    import re
    import urllib.parse
    import urllib.request
    form = {"Action": "AssumeRoleWithClientGrants", "Version": "2011-06-15", "Token": issuer.token(policy=["only-bucket"])}
    data = urllib.parse.urlencode(form).encode()
    with urllib.request.urlopen(urllib.request.Request(store.url + "/", data=data), timeout=60) as answer:
        xml = answer.read().decode()
    part = lambda name: re.search(f"<{name}>([^<]+)</{name}>", xml).group(1)
    eq(part("SubjectFromToken"), "alice")
    keys = {
        "aws_access_key_id": part("AccessKeyId"), "aws_secret_access_key": part("SecretAccessKey"),
        "aws_session_token": part("SessionToken")}
    eq(store.client("s3", keys).get_object(Bucket=bucket, Key="k")["Body"].read(), b"body")


def bearer_on_the_catalog():
    status, answer = store.bearer(issuer.token(policy=["admin"]), "/v1/warehouses")
    eq(status, 200, answer)
    status, answer = store.bearer(issuer.token(policy=["only-bucket"]), "/v1/warehouses")
    eq((status, answer["error"]["type"]), (403, "ForbiddenException"))
    status, answer = store.bearer(issuer.token(policy=["admin"], exp=int(time.time()) - 70), "/v1/warehouses")
    eq((status, answer["error"]["type"]), (419, "AuthenticationTimeoutException"))
    for token in (issuer.token(aud="another"), issuer.token(policy=["no-such-policy"]), "a.b.c", "abc"):
        status, answer = store.bearer(token, "/v1/warehouses")
        eq((status, answer["error"]["type"]), (401, "NotAuthorizedException"), token[:20])
    # A session token travels in the clear: it is no bearer token.
    status, _ = store.bearer(store.session(issuer.token(policy=["admin"]))["aws_session_token"], "/v1/warehouses")
    eq(status, 401)


def exchange_on_the_catalog():
    token = issuer.token(policy=["admin"], exp=int(time.time()) + 300)
    form = {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": ID_TOKEN}
    status, answer = store.exchange(form)
    eq(status, 200, answer)
    assert 240 < answer["expires_in"] <= 300, answer
    eq(store.bearer(answer["access_token"], "/v1/warehouses")[0], 200)
    status, again = store.exchange({**form, "subject_token": answer["access_token"], "subject_token_type": ACCESS_TOKEN})
    eq(status, 200, again)
    assert again["expires_in"] <= 300, again
    eq(store.bearer(again["access_token"], "/v1/warehouses")[0], 200)
    status, answer = store.exchange({**form, "subject_token": issuer.token(aud="another")})
    eq((status, answer["error"]), (400, "invalid_grant"))


def keys_rotate():
    time.sleep(REFETCH_SECONDS + 0.5)
    issuer.rotate()
    store.assume_web(issuer.token(policy=["only-bucket"]))
    store.assume_web(issuer.token(key=issuer.keys[0], policy=["only-bucket"]))
    # Unknown keys are asked for so often and no more.
    asked = issuer.asked
    for nth in range(20):
        key = Key.__new__(Key)
        key.kid, key.public, key.private = f"unknown-{nth}", issuer.keys[0].public, issuer.keys[0].private
        eq(code_of(lambda: store.assume_web(issuer.token(key=key))), "InvalidIdentityToken")
    eq(issuer.asked, asked, "documents that were asked for")


def an_issuer_that_fails():
    """What is known serves; what is not is refused in time, and the rest of the server does not wait. Other ways of failing are
    tried beside the code, without the wait between two fetches."""
    for fault in ("slow", "huge"):
        time.sleep(REFETCH_SECONDS + 0.5)
        issuer.fault = fault
        try:
            strange = Key.__new__(Key)
            strange.kid, strange.public, strange.private = f"k-{fault}", issuer.keys[0].public, issuer.keys[0].private
            began = time.monotonic()
            eq(code_of(lambda: store.assume_web(issuer.token(key=strange))), "InvalidIdentityToken", fault)
            assert time.monotonic() - began < 12, fault
            store.assume_web(issuer.token(policy=["only-bucket"]))
            store.client("s3").get_object(Bucket=bucket, Key="k")
        finally:
            issuer.fault = None


def an_issuer_that_was_never_there():
    place = os.path.join(nilas.SCRATCH, nilas.unique("oidc-down"))
    os.makedirs(place)
    issuer.fault = "down"
    alone = OwnServer(
        place, nilas.ACCESS_KEY, nilas.SECRET_KEY, ["--cores", "1", "--oidc-issuer", issuer.url, "--oidc-audience", AUDIENCE])
    alone.start()
    try:
        there = Store(alone.address, nilas.ACCESS_KEY, nilas.SECRET_KEY)
        eq(code_of(lambda: there.assume_web(issuer.token())), "IDPCommunicationError")
        status, answer = there.bearer(issuer.token(), "/v1/warehouses")
        eq((status, answer["error"]["type"]), (503, "SlowDownException"))
        there.client("s3").list_buckets()
    finally:
        issuer.fault = None
        alone.stop()


def without_the_issuer():
    """Sessions of an issuer that the server knows no more are void, and its tokens too."""
    keys = store.session(issuer.token(policy=["only-bucket"]))
    exchanged = store.exchange({"grant_type": EXCHANGE, "subject_token": issuer.token(policy=["admin"]), "subject_token_type": ID_TOKEN})
    server.stop()
    options, server.options = server.options, ["--cores", "2"]
    server.start()
    eq(code_of(lambda: store.client("s3", keys).get_object(Bucket=bucket, Key="k")), "InvalidToken")
    eq(code_of(lambda: store.assume_web(issuer.token(policy=["only-bucket"]))), "InvalidIdentityToken")
    eq(store.bearer(exchanged[1]["access_token"], "/v1/warehouses")[0], 401)
    eq(store.bearer(issuer.token(policy=["admin"]), "/v1/warehouses")[0], 401)
    server.stop()
    server.options = options
    server.start()
    store.client("s3", keys).get_object(Bucket=bucket, Key="k")


def sessions_are_revoked():
    """All of them at once; new ones are made as before."""
    keys = store.session(issuer.token(policy=["only-bucket"]))
    form = {"grant_type": EXCHANGE, "subject_token": issuer.token(policy=["admin"]), "subject_token_type": ID_TOKEN}
    exchanged = store.exchange(form)[1]["access_token"]
    eq(store.bearer(exchanged, "/v1/warehouses")[0], 200)
    eq(store.page("POST", "/_nilas/users/web:identities", {"revoke_sessions": True})[0], 200)
    eq(code_of(lambda: store.client("s3", keys).get_object(Bucket=bucket, Key="k")), "InvalidToken")
    eq(store.bearer(exchanged, "/v1/warehouses")[0], 401)
    store.client("s3", store.session(issuer.token(policy=["only-bucket"]))).get_object(Bucket=bucket, Key="k")
    eq(store.bearer(store.exchange(form)[1]["access_token"], "/v1/warehouses")[0], 200)


def who_a_web_identity_is():
    """Its policies and its subject in `whoami`; in the audit log what leads from a session's key to the subject."""
    answer = store.assume_web(issuer.token(sub="carol", policy=["only-bucket", "gone"]))
    keys = keys_of(answer)
    with urllib.request.urlopen(signed(keys, "/_nilas/whoami"), timeout=30) as page:
        mine = json.load(page)
    eq((mine["policies"], mine["session"]["issuer"], mine["session"]["subject"]), (["only-bucket"], issuer.url, "carol"))
    eq(mine["user_id"], answer["AssumedRoleUser"]["AssumedRoleId"])
    eq(code_of(lambda: store.client("s3", keys).get_object(Bucket=other, Key="k")), "AccessDenied")
    end = time.monotonic() + 10
    while time.monotonic() < end:
        lines = [json.loads(line) for line in open(audit_log)]
        made = [line for line in lines if line.get("issued", {}).get("access_key") == keys["aws_access_key_id"]]
        used = [line for line in lines if line["principal"].get("access_key") == keys["aws_access_key_id"]]
        if made and used:
            break
        time.sleep(0.05)
    eq((made[0]["operation"], made[0]["outcome"]), ("AssumeRoleWithWebIdentity", "done"))
    eq((made[0]["issued"]["issuer"], made[0]["issued"]["subject"], made[0]["issued"]["session"]), (issuer.url, "carol", "one-session"))
    eq((used[0]["principal"]["kind"], used[0]["principal"]["issuer"], used[0]["principal"]["subject"]), ("web", issuer.url, "carol"))
    text = open(audit_log).read()
    for secret in (keys["aws_secret_access_key"], keys["aws_session_token"]):
        assert secret not in text, "a secret in the audit log"
    form = {"grant_type": EXCHANGE, "subject_token": issuer.token(sub="dave", policy=["admin"]), "subject_token_type": ID_TOKEN}
    token = store.exchange(form)[1]["access_token"]
    time.sleep(1)
    lines = [json.loads(line) for line in open(audit_log)]
    assert any(line.get("issued", {}).get("subject") == "dave" and line["issued"]["kind"] == "bearer" for line in lines), lines[-3:]
    assert token not in open(audit_log).read(), "a token in the audit log"


def signed(keys, path):
    request = AWSRequest(method="GET", url=store.url + path)
    S3SigV4Auth(Credentials(keys["aws_access_key_id"], keys["aws_secret_access_key"], keys["aws_session_token"]), "s3", "us-east-1").add_auth(request)
    return urllib.request.Request(request.url, headers=dict(request.headers.items()))


def close():
    server.stop()


steps = Steps("oidc")
steps.run([
    ("prepare", prepare),
    ("a-session-and-its-rights", a_session_and_its_rights),
    ("claims-in-both-forms", claims_in_both_forms),
    ("missing-policies-are-written-down", missing_policies_are_written_down),
    ("a-session-is-narrowed", a_session_is_narrowed),
    ("rights-are-looked-up-live", rights_are_looked_up_live),
    ("what-is-refused", what_is_refused),
    ("a-changed-session-token", a_changed_session_token),
    ("client-grants", client_grants),
    ("bearer-on-the-catalog", bearer_on_the_catalog),
    ("exchange-on-the-catalog", exchange_on_the_catalog),
    ("keys-rotate", keys_rotate),
    ("an-issuer-that-fails", an_issuer_that_fails),
    ("an-issuer-that-was-never-there", an_issuer_that_was_never_there),
    ("without-the-issuer", without_the_issuer),
    ("sessions-are-revoked", sessions_are_revoked),
    ("who-a-web-identity-is", who_a_web_identity_is),
    ("close", close),
])
