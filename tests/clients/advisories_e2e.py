"""The classes of holes that were published for servers of this kind, each tried on this one: a step names its class in plain
words and shows that nothing was answered, stored or granted.

Two users take part: `mallory`, who has a bucket of her own and may make keys for herself, and whoever she tries to become.
The steps about web identities use a server with an issuer of the suite's own. What other suites show in full is tried
here in short: presigned URLs (`s3_raw/credentials.rs`), framing (`s3_raw/connections.rs`), tokens of issuers (`oidc`).
"""
import base64
import hashlib
import hmac
import http.client
import json
import os
import socket
import threading
import urllib.parse

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import nilas
from issuer import Issuer, Key, text
from oidc import Store, code_of, keys_of
from own_server import OwnServer
from people import Person, allow, arn, deny, fetch, iam, policy, presigner, remove_bucket, root, session_of, store
from steps import Steps, eq

DENIED = "AccessDenied"
SECRET = b"what mallory is after"
AUDIENCE = "nilas-tests"
# No one takes the key, so it may be made fast.
FOREIGN_KEY_BITS = 1024
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
victim, own = nilas.unique("adv-victim"), nilas.unique("adv-own")
account = store.account()
mallory = alice = None


def mallorys():
    return [
        allow("s3:*", [arn(own), arn(own, "*")]),
        allow(["iam:CreateAccessKey", "iam:ListAccessKeys", "iam:DeleteAccessKey", "iam:GetUser"], f"arn:aws:iam::{account}:user/${{aws:username}}"),
        allow("sts:AssumeRole", f"arn:aws:iam::{account}:role/hers"),
    ]


def prepare():
    global mallory, alice
    for name in (victim, own):
        root.create_bucket(Bucket=name)
        root.put_object(Bucket=name, Key="k", Body=SECRET if name == victim else b"own")
    mallory, alice = Person("mallory", *mallorys()), Person("alice", allow("*"))


def raw(method, target, headers=None, body=b""):
    """A request as it is written; answers (status, body)."""
    connection = http.client.HTTPConnection(nilas.HOST, timeout=60)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            connection.putheader(name, value)
        connection.endheaders()
        connection.send(body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class AsWritten(S3SigV4Auth):
    """The path is signed as it is written, whatever stands in it."""

    def _normalize_url_path(self, path):
        return path


def signed(keys, method, target, headers=None, body=b"", after=None):
    """A request of S3 signed as it is written; `after` are headers that somebody adds without signing them."""
    credentials = Credentials(keys["aws_access_key_id"], keys["aws_secret_access_key"], keys.get("aws_session_token"))
    request = AWSRequest(method=method, url=nilas.ENDPOINT + target, data=body, headers={
        "X-Amz-Content-SHA256": hashlib.sha256(body).hexdigest(), **(headers or {})})
    AsWritten(credentials, "s3", nilas.S3_REGION).add_auth(request)
    return raw(method, target, {**dict(request.headers.items()), **(after or {})}, body)


def refused(answer, what=""):
    """Refused, and nothing of what was asked for said."""
    status, body = answer
    assert 400 <= status < 500, f"{what}: {status} {body[:300]}"
    assert SECRET not in body, what


def unchanged():
    eq(root.get_object(Bucket=victim, Key="k")["Body"].read(), SECRET)
    eq([one["Key"] for one in root.list_objects_v2(Bucket=victim)["Contents"]], ["k"])


def refuse(run, want=DENIED):
    eq(code_of(run), want)


# ---- who is believed ----------------------------------------------------------------------------


def unsigned_trailers():
    """A body that is not signed lets nobody through whose request is not signed either."""
    body = b"4\r\nevil\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"
    key = nilas.ACCESS_KEY
    day = "20260101"
    made_up = f"AWS4-HMAC-SHA256 Credential={key}/{day}/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={'0' * 64}"
    streaming = {"X-Amz-Content-SHA256": UNSIGNED_TRAILER, "X-Amz-Decoded-Content-Length": "4", "Content-Encoding": "aws-chunked",
                 "X-Amz-Trailer": "x-amz-checksum-crc32", "X-Amz-Date": f"{day}T000000Z"}
    now = AWSRequest(method="PUT", url=nilas.ENDPOINT)
    SigV4Auth(Credentials(key, "x"), "s3", nilas.S3_REGION).add_auth(now)
    today = made_up.replace(day, now.headers["X-Amz-Date"][:8])
    fresh = {**streaming, "X-Amz-Date": now.headers["X-Amz-Date"]}
    credential = urllib.parse.quote(f"{key}/{day}/us-east-1/s3/aws4_request", safe="")
    upload = root.create_multipart_upload(Bucket=victim, Key="m")["UploadId"]
    for target in (f"/{victim}/k", f"/{victim}/new", f"/{victim}/m?partNumber=1&uploadId={upload}"):
        joined = f"{target}{'&' if '?' in target else '?'}"
        for extra in ({}, {"X-Amz-Meta-Snowball-Auto-Extract": "true"}):
            for what, at, headers in [
                ("no credentials", target, streaming),
                ("a signature that is made up", target, {**streaming, "Authorization": made_up}),
                ("one of today", target, {**fresh, "Authorization": today}),
                ("an empty signature", target, {**fresh, "Authorization": today[: -64]}),
                ("no signature", target, {**fresh, "Authorization": today.rsplit(", ", 1)[0]}),
                ("a key in the query alone", f"{joined}X-Amz-Credential={credential}", fresh),
                ("a query without a signature", f"{joined}X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Date={fresh['X-Amz-Date']}&X-Amz-Expires=60&X-Amz-SignedHeaders=host", fresh),
                ("one that is made up in the query", f"{joined}X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Date={fresh['X-Amz-Date']}&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature={'0' * 64}", fresh),
                ("version 2 without a signature", f"{joined}AWSAccessKeyId={key}&Expires=9999999999", fresh),
            ]:
                refused(raw("PUT", at, {**headers, **extra}, body), f"{what}: {target}")
    assert "Parts" not in root.list_parts(Bucket=victim, Key="m", UploadId=upload)
    root.abort_multipart_upload(Bucket=victim, Key="m", UploadId=upload)
    unchanged()


def credentials_in_the_query():
    """Tokens and keys count where they are proven, and nowhere else."""
    session = mallory.session(RoleArn=f"arn:aws:iam::{account}:role/hers")
    token = urllib.parse.quote(session["aws_session_token"], safe="")
    for query in (
        f"X-Amz-Security-Token={token}", f"X-Amz-Credential={session['aws_access_key_id']}&X-Amz-Security-Token={token}",
        f"AWSAccessKeyId={session['aws_access_key_id']}&x-amz-security-token={token}", f"access_token={token}", f"token={token}",
        f"AWSAccessKeyId={nilas.ACCESS_KEY}", f"accessKey={nilas.ACCESS_KEY}",
    ):
        refused(raw("GET", f"/{own}/k?{query}"), query[:30])
        refused(raw("GET", f"/_iceberg/v1/config?{query}"), query[:30])
        refused(raw("GET", f"/_nilas/whoami?{query}"), query[:30])
    # Session tokens travel in URLs, so they are no bearer tokens; and neither are an access key or a secret.
    for bearer in (session["aws_session_token"], nilas.ACCESS_KEY, nilas.SECRET_KEY, "", "null"):
        refused(raw("GET", "/_iceberg/v1/config", {"Authorization": f"Bearer {bearer}"}), bearer[:5])
        refused(raw("GET", f"/{own}/k", {"Authorization": f"Bearer {bearer}"}), bearer[:5])
    # A key of a session is nothing without its token, and the token of another session is not its own.
    bare = {name: value for name, value in session.items() if name != "aws_session_token"}
    other = session_of(alice.keys)
    for keys in (bare, {**session, "aws_session_token": other["aws_session_token"]}, {**mallory.keys, "aws_session_token": other["aws_session_token"]}):
        refused(signed(keys, "GET", f"/{victim}/k"))
        refused(signed(keys, "GET", f"/{own}/k"))


def well_known_keys():
    for key, secret in (("minioadmin", "minioadmin"), ("rustfsadmin", "rustfsadmin"), ("admin", "admin"), ("any", "any"), ("", ""), ("anonymous", ""), (account, "")):
        keys = {"aws_access_key_id": key or "-", "aws_secret_access_key": secret or "-"}
        refused(signed(keys, "GET", f"/{victim}/k"), key)
        refused(raw("GET", "/_iceberg/v1/config", {"Authorization": "Basic " + base64.b64encode(f"{key}:{secret}".encode()).decode()}), key)
    # An empty secret, and the access key in its place, are not a user's.
    for secret in ("", mallory.keys["aws_access_key_id"]):
        refused(signed({**mallory.keys, "aws_secret_access_key": secret}, "GET", f"/{own}/k"))


def added_after_signing():
    """What was not signed does not count, in headers and in presigned URLs of both versions."""
    copy = {"x-amz-copy-source": f"/{own}/k"}
    for added in (copy, {"x-amz-meta-a": "1"}, {"x-amz-acl": "public-read"}, {"x-amz-tagging": "a=b"}, {"x-amz-security-token": "x"}, {"x-amz-storage-class": "GLACIER"}):
        refused(signed(alice.keys, "PUT", f"/{own}/added", body=b"x", after=added), str(added))
    for version in ("default", "s3v4"):
        sign = presigner(alice.keys, version)
        put = sign.generate_presigned_url("put_object", Params={"Bucket": own, "Key": "added"})
        get = sign.generate_presigned_url("get_object", Params={"Bucket": own, "Key": "k"})
        for added in (copy, {"x-amz-meta-a": "1"}, {"x-amz-acl": "public-read"}):
            refused(fetch(put, "PUT", b"x", added), f"{version} {added}")
        for query in ("acl", "tagging", "uploads", "response-content-type=text%2Fhtml", "versionId=null", "policy"):
            refused(fetch(f"{get}&{query}"), f"{version} {query}")
        refused(fetch(get, "PUT", b"x"), version)
        refused(fetch(get, "DELETE"), version)
        refused(fetch(get.replace(f"/{own}/k", f"/{victim}/k")), version)
        refused(fetch(get.replace(f"/{own}/k", f"/{own}/k/../../{victim}/k")), version)
        refused(fetch(get.replace(f"/{own}/k", f"/{own}//k")), version)
    refuse(lambda: root.head_object(Bucket=own, Key="added"), "404")


def forwarded_headers():
    """Who says of itself where it comes from, and how, is not believed."""
    bucket_policy = policy(
        deny("s3:GetObject", arn(own, "*"), Principal="*", Condition={"NotIpAddress": {"aws:SourceIp": "192.0.2.0/24"}}))
    root.put_bucket_policy(Bucket=own, Policy=bucket_policy)
    headers = {"X-Forwarded-For": "192.0.2.1", "X-Real-IP": "192.0.2.1", "Forwarded": "for=192.0.2.1", "True-Client-IP": "192.0.2.1", "CF-Connecting-IP": "192.0.2.1"}
    refused(signed(mallory.keys, "GET", f"/{own}/k", headers=headers))
    root.put_bucket_policy(Bucket=own, Policy=policy(deny("s3:GetObject", arn(own, "*"), Principal="*", Condition={"Bool": {"aws:SecureTransport": "false"}})))
    refused(signed(mallory.keys, "GET", f"/{own}/k", headers={"X-Forwarded-Proto": "https", "Forwarded": "proto=https"}))
    root.delete_bucket_policy(Bucket=own)
    eq(signed(mallory.keys, "GET", f"/{own}/k", headers=headers), (200, b"own"))


def algorithms_of_tokens():
    """JWTs: none, a public key as secret, keys and places of keys that the token brings along; nothing is fetched for them."""
    asked = []
    listener = socket.create_server(("127.0.0.1", 0))

    def listen():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            asked.append(1)
            connection.close()

    threading.Thread(target=listen, daemon=True).start()
    elsewhere = f"http://127.0.0.1:{listener.getsockname()[1]}"
    issuer = Issuer(AUDIENCE)
    place = os.path.join(nilas.SCRATCH, nilas.unique("adv"))
    os.makedirs(place)
    server = OwnServer(place, nilas.ACCESS_KEY, nilas.SECRET_KEY, ["--cores", "1", "--oidc-issuer", issuer.url, "--oidc-audience", AUDIENCE])
    server.start()
    try:
        with_issuer = Store(server.address, nilas.ACCESS_KEY, nilas.SECRET_KEY)
        good = issuer.token()
        assert with_issuer.bearer(good)[0] != 401, "a good token"
        with_issuer.assume_web(good)
        key = issuer.keys[0]
        head, body, signature = good.split(".")

        def unsigned(alg, signature=""):
            return f"{text(json.dumps({'alg': alg, 'typ': 'JWT', 'kid': key.kid}).encode())}.{body}.{signature}"

        def symmetric(secret):
            signed = f"{text(json.dumps({'alg': 'HS256', 'typ': 'JWT', 'kid': key.kid}).encode())}.{body}"
            return f"{signed}.{text(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"

        stolen = Key("stolen", FOREIGN_KEY_BITS)
        tokens = {
            "none": unsigned("none"), "None": unsigned("None"), "NONE with a signature": unsigned("NONE", signature), "no algorithm": unsigned(""),
            "no signature": f"{head}.{body}.", "two parts": f"{head}.{body}",
            "public key as secret": symmetric(key.public.save_pkcs1()), "its DER": symmetric(key.public.save_pkcs1("DER")),
            "its modulus": symmetric(json.dumps(key.jwk()["n"]).encode()), "an empty secret": symmetric(b""),
            "a key of its own": issuer.token(stolen, header={"jwk": stolen.jwk(), "kid": stolen.kid}),
            "another's key by its name": issuer.token(stolen, header={"kid": key.kid}),
            "a key elsewhere": issuer.token(stolen, header={"jku": f"{elsewhere}/keys", "kid": "x"}),
            "a certificate elsewhere": issuer.token(stolen, header={"x5u": f"{elsewhere}/cert", "kid": f"{elsewhere}/keys"}),
            "a kid that is a path": issuer.token(stolen, header={"kid": "../../../../dev/null"}),
            "another issuer": issuer.token(stolen, iss=elsewhere), "another issuer, this key": issuer.token(iss=elsewhere),
            "an issuer with more": issuer.token(iss=issuer.url + "/"), "no issuer": issuer.token(iss=None),
            "what must be understood": issuer.token(header={"crit": ["exp"], "b64": False}),
            "for somebody else": issuer.token(aud="other"), "for nobody": issuer.token(aud=None), "for ever": issuer.token(exp=None),
        }
        for what, token in tokens.items():
            code = code_of(lambda: with_issuer.assume_web(token))
            assert code in ("InvalidIdentityToken", "ExpiredToken", "AccessDenied", "ValidationError"), f"{what}: {code}"
            status, answer = with_issuer.bearer(token)
            eq(status, 401, what)
        eq(asked, [], "fetched from where a token says")
        # Where an issuer is, is said at the server's start, and by nobody later.
        refuse(lambda: with_issuer.client("iam").create_open_id_connect_provider(Url=elsewhere, ThumbprintList=["a" * 40]), "InvalidAction")
        role_names(with_issuer, issuer)
    finally:
        server.kill()
        listener.close()


def role_names(with_issuer, issuer):
    """Confused deputy: the name of a role, which anybody with a token may choose, is no right."""
    s3 = with_issuer.client("s3")
    bucket = nilas.unique("adv-roles")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=SECRET)
    with_issuer.client("iam").create_policy(PolicyName="nothing-much", PolicyDocument=policy(allow("s3:GetObject", arn("elsewhere", "*"))))
    here = with_issuer.account()
    for name in ("root", "admin", "user/alice"):
        role = f"arn:aws:iam::{here}:role/{name}"
        session = with_issuer.session(issuer.token(policy=["nothing-much"]), RoleArn=role)
        refuse(lambda: with_issuer.client("s3", session).get_object(Bucket=bucket, Key="k"))
        refuse(lambda: with_issuer.client("iam", session).list_users())
    # Subjects of tokens are no users of this store, whatever they are called.
    with_issuer.client("iam").create_user(UserName="alice")
    with_issuer.client("iam").put_user_policy(UserName="alice", PolicyName="all", PolicyDocument=policy(allow("*")))
    for subject in ("alice", "root", f"arn:aws:iam::{here}:user/alice", "../alice"):
        session = with_issuer.session(issuer.token(sub=subject, policy=["nothing-much"]))
        refuse(lambda: with_issuer.client("s3", session).get_object(Bucket=bucket, Key="k"))
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(allow("s3:GetObject", arn(bucket, "*"), Principal={"AWS": f"arn:aws:iam::{here}:user/alice"})))
    for more in ({"RoleArn": f"arn:aws:iam::{here}:role/alice"}, {"RoleSessionName": "alice"}):
        session = with_issuer.session(issuer.token(sub="alice", policy=["nothing-much"]), **more)
        refuse(lambda: with_issuer.client("s3", session).get_object(Bucket=bucket, Key="k"))
    # A bucket's policy that trusts a role trusts whom the policies let assume it, and no token that only names it.
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(allow("s3:GetObject", arn(bucket, "*"), Principal={"AWS": f"arn:aws:iam::{here}:role/trusted"})))
    session = with_issuer.session(issuer.token(policy=["nothing-much"]), RoleArn=f"arn:aws:iam::{here}:role/trusted")
    refuse(lambda: with_issuer.client("s3", session).get_object(Bucket=bucket, Key="k"))


# ---- who becomes more ---------------------------------------------------------------------------


def out_of_a_session():
    """A session or key of narrower policy makes no key, session or policy that is wider."""
    narrow = [allow("s3:GetObject", arn(own, "*"))]
    narrowed = {
        "session": mallory.session(*narrow, RoleArn=f"arn:aws:iam::{account}:role/hers"),
        "session that only denies": mallory.session(deny("s3:DeleteObject"), RoleArn=f"arn:aws:iam::{account}:role/hers"),
        "key": mallory.narrow_key(*narrow),
        "key that only denies": mallory.narrow_key(deny("s3:DeleteObject")),
        "session of root": session_of(store.root, Policy=policy(*narrow)),
    }
    before = iam.list_access_keys(UserName=mallory.name)["AccessKeyMetadata"]
    for what, keys in narrowed.items():
        hers, sts = store.client("iam", keys), store.client("sts", keys)
        for run in (
            lambda: hers.create_access_key(), lambda: hers.create_access_key(UserName=mallory.name), lambda: hers.list_access_keys(UserName=mallory.name),
            lambda: hers.put_user_policy(UserName=mallory.name, PolicyName="p", PolicyDocument=policy(allow("*"))),
            lambda: hers.attach_user_policy(UserName=mallory.name, PolicyArn="arn:aws:iam::aws:policy/admin"),
            lambda: sts.assume_role(RoleArn=f"arn:aws:iam::{account}:role/hers", RoleSessionName="wider"),
        ):
            code = code_of(run)
            assert code in (DENIED, "ValidationError"), f"{what}: {code}"
        # Who holds a key may have a session of it, which is as narrow.
        try:
            same = keys_of(sts.get_session_token())
            assert what.startswith("key"), what
            refuse(lambda: store.client("iam", same).create_access_key())
            refused(signed(same, "PUT", f"/{own}/by-narrow", body=b"x"), what)
        except sts.exceptions.ClientError as error:
            eq(error.response["Error"]["Code"], DENIED, what)
        for path, body in (("/_nilas/keys", {"user": mallory.name}), (f"/_nilas/users/{mallory.name}", {"enabled": True})):
            refused(signed(keys, "POST", path, {"Content-Type": "application/json"}, json.dumps(body).encode()), what)
        refused(signed(keys, "PUT", f"/{own}/by-narrow", body=b"x"), what)
    eq(iam.list_access_keys(UserName=mallory.name)["AccessKeyMetadata"], before)
    # A token of the catalog is as narrow as the key that it is made with.
    key = narrowed["key"]
    form = {"grant_type": "client_credentials", "client_id": key["aws_access_key_id"], "client_secret": key["aws_secret_access_key"], "scope": "PRINCIPAL_ROLE:ALL"}
    status, answer = store.exchange(form)
    eq(status, 200)
    eq(store.bearer(answer["access_token"], "/v1/warehouses")[0], 403)
    mallory.drop_key(narrowed["key"])
    mallory.drop_key(narrowed["key that only denies"])


def keys_for_others():
    """Who may make keys for herself makes none for others, and changes no rights."""
    hers = mallory.client("iam")
    key = hers.create_access_key()["AccessKey"]
    eq(key["UserName"], mallory.name)
    mallory.drop_key({"aws_access_key_id": key["AccessKeyId"]})
    for name in (alice.name, alice.name.upper(), "root", f"/{alice.name}", f"{mallory.name}/../{alice.name}", "*", f"team/{alice.name}"):
        assert code_of(lambda: hers.create_access_key(UserName=name)) in (DENIED, "ValidationError"), name
        refused(signed(mallory.keys, "POST", "/_nilas/keys", {"Content-Type": "application/json"}, json.dumps({"user": name}).encode()), name)
    eq(len(iam.list_access_keys(UserName=alice.name)["AccessKeyMetadata"]), 1)
    body = json.dumps({"user": mallory.name, "owner": alice.name, "policy": {}}).encode()
    refused(signed(mallory.keys, "POST", "/_nilas/keys", {"Content-Type": "application/json"}, body), "a field more")
    for run in (
        lambda: hers.put_user_policy(UserName=mallory.name, PolicyName="rights", PolicyDocument=policy(allow("*"))),
        lambda: hers.attach_user_policy(UserName=mallory.name, PolicyArn="arn:aws:iam::aws:policy/admin"),
        lambda: hers.create_policy(PolicyName=nilas.unique("adv"), PolicyDocument=policy(allow("*"))),
        lambda: hers.create_group(GroupName=nilas.unique("adv")),
        lambda: hers.update_user(UserName=mallory.name, NewUserName=nilas.unique("adv")),
        lambda: hers.create_user(UserName=nilas.unique("adv")),
        lambda: hers.delete_user(UserName=alice.name),
        lambda: hers.update_access_key(UserName=alice.name, AccessKeyId=alice.keys["aws_access_key_id"], Status="Inactive"),
        lambda: hers.delete_access_key(UserName=mallory.name, AccessKeyId=nilas.ACCESS_KEY),
        lambda: hers.get_account_authorization_details(),
    ):
        assert code_of(run) in (DENIED, "NoSuchEntity"), run
    # Her own name with the key of another in its place.
    assert code_of(lambda: hers.delete_access_key(UserName=mallory.name, AccessKeyId=alice.keys["aws_access_key_id"])) in (DENIED, "NoSuchEntity")
    alice.client().head_object(Bucket=victim, Key="k")
    refused(signed(mallory.keys, "POST", "/_nilas/owners", {"Content-Type": "application/json"}, json.dumps({"bucket": victim, "user": mallory.name}).encode()))


def names_of_principals():
    """A bucket's policy means whom it names: no one whose name begins alike, of another account, or who borrows the name."""
    anna = Person(mallory.name, allow("sts:AssumeRole", f"arn:aws:iam::{account}:role/hers"))
    try:
        read = lambda keys: store.client("s3", keys).get_object(Bucket=victim, Key="k")
        put = lambda principal: root.put_bucket_policy(Bucket=victim, Policy=policy(allow("s3:GetObject", arn(victim, "*"), Principal=principal)))
        put({"AWS": mallory.arn})
        eq(read(mallory.keys)["Body"].read(), SECRET)
        refuse(lambda: read(anna.keys))
        borrowed = session_of(anna.keys, RoleArn=f"arn:aws:iam::{account}:role/hers", RoleSessionName=mallory.name)
        refuse(lambda: read(borrowed))
        other = str((int(account) + 1) % 10**12).zfill(12)
        for principal in (f"arn:aws:iam::{other}:user/{mallory.name}", f"arn:aws:iam::{other}:root", other):
            try:
                put({"AWS": principal})
            except root.exceptions.ClientError as error:
                eq(error.response["Error"]["Code"], "MalformedPolicy")
                root.delete_bucket_policy(Bucket=victim)
            refuse(lambda: read(mallory.keys))
        for principal in ({"AWS": f"{mallory.arn}*"}, {"AWS": f"arn:aws:iam::{account}:user/*"}, {"AWS": ""}, "alice", {"Everybody": "*"}):
            refuse(lambda: put(principal), "MalformedPolicy")
        for principal in ({"Service": "*"}, {"Federated": "*"}, {"Service": "s3.amazonaws.com"}):
            try:
                put(principal)
            except root.exceptions.ClientError as error:
                eq(error.response["Error"]["Code"], "MalformedPolicy")
            refused(fetch(f"{victim}/k"), str(principal))
            refuse(lambda: read(mallory.keys))
        # A name that is free again: its next bearer has none of the last one's keys, sessions or buckets.
        gone = Person("gone", allow("s3:*"))
        bucket = nilas.unique("adv-gone")
        gone.client().create_bucket(Bucket=bucket)
        keys = keys_of(store.client("sts", gone.keys).get_session_token())
        gone.go()
        again = iam.create_user(UserName=gone.name)["User"]
        new = iam.create_access_key(UserName=gone.name)["AccessKey"]
        new = {"aws_access_key_id": new["AccessKeyId"], "aws_secret_access_key": new["SecretAccessKey"]}
        assert again["Arn"] == gone.arn
        refuse(lambda: store.client("s3", new).list_objects_v2(Bucket=bucket))
        refuse(lambda: store.client("s3", keys).list_buckets(), "InvalidToken")
        gone.go()
        remove_bucket(bucket)
    finally:
        root.delete_bucket_policy(Bucket=victim)
        anna.go()


# ---- ways around --------------------------------------------------------------------------------


def paths():
    """No path leads out of the bucket that it begins with, however it is written, and none to a file of the machine."""
    for path in (
        f"/{own}/../{victim}/k", f"/{own}/%2e%2e/{victim}/k", f"/{own}/..%2f{victim}%2fk", f"/{own}/%2e%2e%2f{victim}%2fk", f"/{own}/..\\{victim}\\k",
        f"/{own}/./../{victim}/k", f"/{own}%2f..%2f{victim}/k", f"/{own}/%252e%252e/{victim}/k", f"/../{victim}/k", f"//{victim}/k", f"/{own}//../../{victim}/k",
        f"/{own}/..%00/{victim}/k", f"/{own}/;/../{victim}/k", f"/{own}/..;/{victim}/k", f"/.{victim}/k", f"/{victim}%2fk", f"/{own}/../../../../../../etc/passwd",
        f"/{own}/..%2f..%2f..%2f..%2f..%2fetc%2fpasswd", "/..%2f..%2fetc%2fpasswd", f"/{own}/%c0%ae%c0%ae/{victim}/k", f"/{own}/../.nilas/identity",
    ):
        status, body = signed(mallory.keys, "GET", path)
        # A key with dots in it is a key like any other.
        assert 400 <= status < 500 or body == b"evil", f"{path}: {status} {body[:200]}"
        assert SECRET not in body and b"root:" not in body, path
        status, body = signed(mallory.keys, "PUT", path, body=b"evil")
        assert status < 500, f"{path}: {status}"
        refused(raw("GET", path), path)
    unchanged()
    for one in root.list_objects_v2(Bucket=own).get("Contents", []):
        assert one["Key"] == "k" or root.get_object(Bucket=own, Key=one["Key"])["Body"].read() == b"evil"
        if one["Key"] != "k":
            root.delete_object(Bucket=own, Key=one["Key"])
    for name in ("..", "../etc", "a/../b", "_nilas", ".", "_iceberg"):
        refused(signed(alice.keys, "PUT", f"/{urllib.parse.quote(name, safe='')}"), name)


def copy_sources():
    """What is copied has to be readable, in every spelling and for each part."""
    client = mallory.client()
    upload = client.create_multipart_upload(Bucket=own, Key="m")["UploadId"]
    eq(signed(mallory.keys, "PUT", f"/{own}/copy", headers={"x-amz-copy-source": f"/{own}/k"})[0], 200)
    client.delete_object(Bucket=own, Key="copy")
    for source in (
        f"{victim}/k", f"/{victim}/k", f"%2F{victim}%2Fk", f"{victim}%2Fk", f"/{own}/../{victim}/k", f"{own}/%2e%2e/{victim}/k", f"/{victim}/k?versionId=null",
        f"arn:aws:s3:::{victim}/k", f"//{victim}/k", f" /{victim}/k", "", "/", f"/{victim}", f"{own}/k,{victim}/k",
    ):
        # `after` would not be signed: the header is part of what she signs.
        for target in (f"/{own}/stolen", f"/{own}/m?partNumber=1&uploadId={upload}"):
            refused(signed(mallory.keys, "PUT", target, headers={"x-amz-copy-source": source}), source)
    refuse(lambda: root.head_object(Bucket=own, Key="stolen"), "404")
    assert "Parts" not in root.list_parts(Bucket=own, Key="m", UploadId=upload)
    client.abort_multipart_upload(Bucket=own, Key="m", UploadId=upload)


def many_deletes():
    """Each key of a multi-delete is judged, however it is written, and a Deny holds for those that it names alone."""
    for key in ("kept", "free", "dir/kept"):
        root.put_object(Bucket=own, Key=key, Body=b"x")
    root.put_bucket_policy(Bucket=own, Policy=policy(deny("s3:DeleteObject*", [arn(own, "kept"), arn(own, "dir/*")], Principal="*")))
    for quiet in (False, True):
        answer = mallory.client().delete_objects(Bucket=own, Delete={"Quiet": quiet, "Objects": [
            {"Key": "kept"}, {"Key": "free"}, {"Key": "dir/kept"}, {"Key": "kept", "VersionId": "null"}, {"Key": "./kept"}, {"Key": "dir/../kept"}]})
        denied = sorted(one["Key"] for one in answer["Errors"] if one["Code"] == DENIED)
        eq(denied, ["dir/../kept", "dir/kept", "kept", "kept"])
    eq([one["Key"] for one in root.list_objects_v2(Bucket=own)["Contents"]], ["dir/kept", "k", "kept"])
    refuse(lambda: mallory.client().delete_object(Bucket=own, Key="kept"))
    root.delete_bucket_policy(Bucket=own)
    answer = mallory.client().delete_objects(Bucket=own, Delete={"Objects": [{"Key": "kept"}, {"Key": "dir/kept"}]})
    eq(len(answer["Deleted"]), 2)
    answer = mallory.client().delete_objects(Bucket=victim, Delete={"Objects": [{"Key": "k"}]})
    eq(answer["Errors"][0]["Code"], DENIED)
    unchanged()


def documents():
    """XML that names entities or files is no XML here."""
    for body in (
        b'<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&x;</Key></Object></Delete>',
        b'<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><Delete><Object><Key>&b;</Key></Object></Delete>',
        b"<Delete>" * 10_000, b"<Delete><Object><Key>k</Key></Object>", b"\xff\xfe<\x00",
    ):
        digest = base64.b64encode(hashlib.md5(body).digest()).decode()
        status, answer = signed(mallory.keys, "POST", f"/{own}?delete", {"Content-MD5": digest}, body)
        assert status == 400 and b"root:" not in answer and b"aaaaaaaaaaaaaaaaaaaa" not in answer, f"{status} {answer[:200]}"
    root.head_object(Bucket=own, Key="k")


def forms():
    """An upload form needs a policy that its signer signed; without one nothing is stored."""
    def form(**fields):
        mark = "----form"
        parts = "".join(f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items())
        body = f'{parts}--{mark}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nevil\r\n--{mark}--\r\n'.encode()
        return {"Content-Type": f"multipart/form-data; boundary={mark}"}, body

    document = base64.b64encode(json.dumps({"expiration": "2099-01-01T00:00:00Z", "conditions": [{"bucket": own}, ["starts-with", "$key", ""]]}).encode()).decode()
    v2 = base64.b64encode(hmac.new(mallory.keys["aws_secret_access_key"].encode(), document.encode(), hashlib.sha1).digest()).decode()
    for what, fields in {
        "nothing": {"key": "k"}, "no signature": {"key": "k", "policy": document, "AWSAccessKeyId": nilas.ACCESS_KEY},
        "made up": {"key": "k", "policy": document, "AWSAccessKeyId": nilas.ACCESS_KEY, "signature": "AAAA"},
        "for another bucket": {"key": "k", "bucket": own, "policy": document, "AWSAccessKeyId": mallory.keys["aws_access_key_id"], "signature": v2},
        "version 4, made up": {"key": "k", "policy": document, "x-amz-algorithm": "AWS4-HMAC-SHA256", "x-amz-credential": f"{nilas.ACCESS_KEY}/20260101/us-east-1/s3/aws4_request", "x-amz-date": "20260101T000000Z", "x-amz-signature": "0" * 64},
    }.items():
        headers, body = form(**fields)
        refused(raw("POST", f"/{victim}", headers, body), what)
        refused(raw("POST", f"/{victim}/k", headers, body), what)
    unchanged()


def answers_that_carry_lines():
    """What a client may choose of an answer's headers holds no line ends."""
    for value in ("a%0D%0AX-Evil%3A%201", "a%0AX-Evil%3A%201", "a%0D"):
        status, body = signed(mallory.keys, "GET", f"/{own}/k?response-content-disposition={value}")
        assert status in (200, 400), f"{status} {body[:200]}"
        connection = http.client.HTTPConnection(nilas.HOST, timeout=60)
        url = presigner(mallory.keys, "s3v4").generate_presigned_url("get_object", Params={"Bucket": own, "Key": "k", "ResponseContentType": urllib.parse.unquote(value)})
        connection.request("GET", url.split(nilas.ENDPOINT, 1)[1])
        answer = connection.getresponse()
        assert answer.getheader("X-Evil") is None, value
        connection.close()


# ---- what is said of what is there --------------------------------------------------------------


def what_is_there():
    """Who may not ask learns nothing: what is there and what is not are refused alike, and lists are."""
    hers, identities = mallory.client(), mallory.client("iam")
    refuse(lambda: hers.list_buckets())
    alike = lambda one, other: eq([code_of(run) for run in (one, other)], [code_of(one)] * 2)
    for there, absent in (("k", "not-there"),):
        for call in ("get_object", "head_object", "get_object_tagging", "get_object_acl", "delete_object"):
            run = getattr(hers, call)
            alike(lambda: run(Bucket=victim, Key=there), lambda: run(Bucket=victim, Key=absent))
    for call in ("get_user", "list_access_keys", "list_user_policies", "delete_user", "list_groups_for_user"):
        run = getattr(identities, call)
        alike(lambda: run(UserName=alice.name), lambda: run(UserName="nobody-of-that-name"))
    alike(lambda: identities.get_policy(PolicyArn=f"arn:aws:iam::{account}:policy/not-there"), lambda: identities.get_policy(PolicyArn="arn:aws:iam::aws:policy/admin"))
    warehouse = nilas.warehouse("adv")
    eq(nilas.catalog_call("POST", f"/v1/{warehouse}/namespaces", {"namespace": ["there"]})[0], 200)
    keys = (mallory.keys["aws_access_key_id"], mallory.keys["aws_secret_access_key"])
    for path in (f"/v1/{warehouse}/namespaces/%s", f"/v1/{warehouse}/namespaces/%s/tables", f"/v1/{warehouse}/namespaces/%s/tables/t"):
        answers = [nilas.catalog_call("GET", path % name, None, *keys) for name in ("there", "absent")]
        eq([status for status, _ in answers], [403, 403], path)
    nilas.catalog_call("DELETE", f"/v1/{warehouse}/namespaces/there")
    for path in ("/_nilas/audit", "/_nilas/owners", "/_nilas/users", f"/_nilas/who-can?action=s3:GetObject&resource={arn(victim, 'k')}", f"/_nilas/simulate?as={alice.name}&action=s3:GetObject&resource=*"):
        refused(raw("GET", path), path)
        refused(signed(mallory.keys, "GET", path), path)
    # Refusals do not say what a policy says, and no answer has a secret of somebody in it.
    try:
        hers.get_object(Bucket=victim, Key="k")
    except hers.exceptions.ClientError as error:
        assert "Statement" not in json.dumps(error.response, default=str)
    status, body = raw("GET", "/metrics")
    for secret in (nilas.SECRET_KEY, alice.keys["aws_secret_access_key"], alice.keys["aws_access_key_id"]):
        assert secret.encode() not in body


def rights_by_detour():
    """Rights on tables are none on what others have: buckets, files under a UUID, what lies below a chosen place."""
    warehouse, plain = nilas.unique("detour"), nilas.unique("plain")
    grabber = Person("detour", allow("s3tables:*"))
    of_namespace = Person("of-namespace", allow("s3tables:*", Condition={"StringEquals": {"s3tables:namespace": "n"}}))
    json_of = {"Content-Type": "application/json"}
    call = lambda keys, method, path, body=None: signed(
        keys, method, f"/_iceberg/v1/{path}", json_of, b"" if body is None else json.dumps(body).encode())
    roots = {"aws_access_key_id": nilas.ACCESS_KEY, "aws_secret_access_key": nilas.SECRET_KEY}
    eq(call(roots, "POST", "warehouses", {"name": warehouse})[0], 200)
    eq(call(roots, "POST", f"{warehouse}/namespaces", {"namespace": ["n"]})[0], 200)
    root.create_bucket(Bucket=plain)
    # Anybody's bucket is no warehouse for the asking, and does not go with one.
    eq(call(grabber.keys, "POST", "warehouses", {"name": plain})[0], 403)
    eq(call(roots, "POST", "warehouses", {"name": plain})[0], 200)
    eq(call(grabber.keys, "DELETE", f"warehouses/{plain}")[0], 403)
    eq(call(grabber.keys, "DELETE", f"warehouses/{plain}?preserve-bucket=true")[0], 204)
    root.head_bucket(Bucket=plain)
    # What its maker made is the maker's.
    hers = nilas.unique("hers")
    eq(call(grabber.keys, "POST", "warehouses", {"name": hers})[0], 200)
    grabber.client().head_bucket(Bucket=hers)
    eq(call(grabber.keys, "DELETE", f"warehouses/{hers}")[0], 204)
    # Others' files under a UUID, with and without a folder before it.
    uuid = "3f2a9c1e-5b7d-4e8f-9a0b-1c2d3e4f5a6b"
    for folder in ("", "backups/"):
        root.put_object(Bucket=warehouse, Key=f"{folder}{uuid}/secret", Body=SECRET)
        place = f"s3://{warehouse}/{folder}{uuid}"
        body = {"requirements": [{"type": "assert-create"}], "updates": [
            {"action": "assign-uuid", "uuid": uuid}, {"action": "upgrade-format-version", "format-version": 2},
            {"action": "add-schema", "schema": {"type": "struct", "schema-id": 0, "fields": [{"id": 1, "name": "x", "required": False, "type": "long"}]}},
            {"action": "set-current-schema", "schema-id": -1}, {"action": "add-spec", "spec": {"spec-id": 0, "fields": []}},
            {"action": "set-default-spec", "spec-id": -1}, {"action": "add-sort-order", "sort-order": {"order-id": 0, "fields": []}},
            {"action": "set-default-sort-order", "sort-order-id": -1}, {"action": "set-location", "location": place}]}
        eq(call(of_namespace.keys, "POST", f"{warehouse}/namespaces/n/tables/grab", body)[0], 403, place)
        refuse(lambda: of_namespace.client().get_object(Bucket=warehouse, Key=f"{folder}{uuid}/secret"))
    # What is denied below a place is denied by choosing it.
    root.put_object(Bucket=warehouse, Key="cc/secret/x", Body=SECRET)
    chooser = Person("chooser", allow(["s3:*", "s3tables:*"]), deny("s3:*", arn(warehouse, "cc/secret/*")))
    table = lambda name, place: {"name": name, "location": f"s3://{warehouse}/{place}", "schema": {"type": "struct", "fields": []}}
    eq(call(chooser.keys, "POST", f"{warehouse}/namespaces/n/tables", table("cc", "cc"))[0], 403)
    eq(call(chooser.keys, "POST", f"{warehouse}/namespaces/n/tables", table("dd", "dd"))[0], 200)
    eq(call(roots, "DELETE", f"{warehouse}/namespaces/n/tables/dd?purgeRequested=true")[0], 204)
    eq(call(roots, "DELETE", f"{warehouse}/namespaces/n")[0], 204)
    for person in (chooser, grabber, of_namespace):
        person.go()
    for name in (plain, warehouse):
        remove_bucket(name)


def said_twice():
    """What narrows is read wherever it stands, or the request is refused."""
    narrow = policy(allow("s3:GetObject", arn(victim, "*")))
    wide = Person("twice", allow("*"))
    form = "Action=AssumeRole&Version=2011-06-15&RoleSessionName=s&RoleArn=" + urllib.parse.quote(store.role())
    request = AWSRequest(method="POST", url=f"{nilas.ENDPOINT}/?Policy={urllib.parse.quote(narrow, safe='')}", data=form.encode(),
                         headers={"Content-Type": "application/x-www-form-urlencoded"})
    SigV4Auth(Credentials(wide.keys["aws_access_key_id"], wide.keys["aws_secret_access_key"]), "sts", nilas.S3_REGION).add_auth(request)
    status, body = raw("POST", f"/?Policy={urllib.parse.quote(narrow, safe='')}", dict(request.headers.items()), form.encode())
    assert status == 400 and b"ValidationError" in body, (status, body)
    for body in (f'{{"user":"{wide.name}","policy":{narrow},"policy":null}}', f'{{"user":"{wide.name}","policy":null}}',
                 f'{{"user":"{wide.name}","expires_s":60,"expires_s":null}}'):
        status, answer = signed({"aws_access_key_id": nilas.ACCESS_KEY, "aws_secret_access_key": nilas.SECRET_KEY},
                                "POST", "/_nilas/keys", {"Content-Type": "application/json"}, body.encode())
        eq(status, 400, body)
    wide.go()


def leave():
    mallory.go()
    alice.go()
    for name in (victim, own):
        remove_bucket(name)


Steps("advisories").run([
    ("prepare", prepare),
    ("unsigned-trailers", unsigned_trailers),
    ("credentials-in-the-query", credentials_in_the_query),
    ("well-known-keys", well_known_keys),
    ("added-after-signing", added_after_signing),
    ("forwarded-headers", forwarded_headers),
    ("algorithms-of-tokens", algorithms_of_tokens),
    ("out-of-a-session", out_of_a_session),
    ("keys-for-others", keys_for_others),
    ("names-of-principals", names_of_principals),
    ("paths", paths),
    ("copy-sources", copy_sources),
    ("many-deletes", many_deletes),
    ("documents", documents),
    ("forms", forms),
    ("answers-that-carry-lines", answers_that_carry_lines),
    ("what-is-there", what_is_there),
    ("rights-by-detour", rights_by_detour),
    ("said-twice", said_twice),
    ("leave", leave),
])
