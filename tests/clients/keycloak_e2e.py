"""A real Keycloak: a realm, a client and users with a policy claim by its admin REST, tokens by password, and what they are
good for: AssumeRoleWithWebIdentity by boto3, S3 within and beyond the policies, the catalog by PyIceberg, a rotated key, a
token that has expired, one for another client.

By hand: Keycloak's first start takes a minute. Needs `java` (17 or newer) and `mvn` on PATH.
"""
import json
import os
import time

import nilas
from keycloak import Keycloak
from oidc import Store, code_of, keys_of
from own_server import OwnServer
from steps import Steps, eq, raises

os.environ["AWS_EC2_METADATA_DISABLED"] = "true"

import pyarrow as pa
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import ForbiddenError

REALM, CLIENT = "nilas", "nilas"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
# Between two fetches of an issuer's keys (OIDC_REFETCH_MS_MIN), and the clock skew (OIDC_SKEW_S).
REFETCH_SECONDS, SKEW_SECONDS = 10, 60

place = os.path.join(nilas.SCRATCH, nilas.unique("keycloak"))
os.makedirs(place)
keycloak = Keycloak(place)
server = OwnServer(place, nilas.ACCESS_KEY, nilas.SECRET_KEY, [
    "--cores", "2", "--oidc-issuer", f"{keycloak.url}/realms/{REALM}", "--oidc-audience", CLIENT])
store = Store(server.address, nilas.ACCESS_KEY, nilas.SECRET_KEY)
bucket, other, warehouse = nilas.unique("kc"), nilas.unique("kc-other"), nilas.unique("kc-wh")
early = {}


def prepare():
    keycloak.start()
    keycloak.make_realm(REALM)
    keycloak.make_client(REALM, CLIENT)
    keycloak.make_client(REALM, "another")
    keycloak.make_user(REALM, "alice", ["kc-reader", "not-here"])
    keycloak.make_user(REALM, "bob", ["admin"])
    keycloak.make_user(REALM, "carol", [])
    server.start()
    root = store.client("s3")
    for name in (bucket, other):
        root.create_bucket(Bucket=name)
        root.put_object(Bucket=name, Key="k", Body=b"body")
    document = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}]}
    store.client("iam").create_policy(PolicyName="kc-reader", PolicyDocument=json.dumps(document))
    early["token"] = keycloak.token(REALM, CLIENT, "alice", "id_token")
    early["session"] = store.session(early["token"])


def sessions_of_both_kinds_of_tokens():
    for kind in ("access_token", "id_token"):
        answer = store.assume_web(keycloak.token(REALM, CLIENT, "alice", kind))
        eq(answer["Audience"], CLIENT)
        eq(answer["Provider"], f"{keycloak.url}/realms/{REALM}")
        s3 = store.client("s3", keys_of(answer))
        eq(s3.get_object(Bucket=bucket, Key="k")["Body"].read(), b"body")
        eq(code_of(lambda: s3.get_object(Bucket=other, Key="k")), "AccessDenied")
        eq(code_of(lambda: s3.put_object(Bucket=bucket, Key="n", Body=b"")), "AccessDenied")
        eq(code_of(lambda: s3.list_buckets()), "AccessDenied")


def refused():
    eq(code_of(lambda: store.assume_web(keycloak.token(REALM, "another", "alice"))), "InvalidIdentityToken")
    eq(code_of(lambda: store.assume_web(keycloak.token(REALM, CLIENT, "carol"))), "IDPRejectedClaim")
    eq(code_of(lambda: store.assume_web(keycloak.admin_token)), "InvalidIdentityToken")


def pyiceberg_by_bearer():
    status, answer = nilas_call("POST", "/v1/warehouses", {"name": warehouse})
    eq(status, 200, answer)
    settings = {
        "uri": f"{store.url}/_iceberg", "warehouse": warehouse, "s3.endpoint": store.url,
        "s3.access-key-id": nilas.ACCESS_KEY, "s3.secret-access-key": nilas.SECRET_KEY}
    catalog = load_catalog("kc", **settings, token=keycloak.token(REALM, CLIENT, "bob"))
    catalog.create_namespace("sales")
    rows = pa.table({"id": [1, 2, 3]})
    table = catalog.create_table("sales.orders", schema=rows.schema)
    table.append(rows)
    eq(catalog.load_table("sales.orders").scan().to_arrow().num_rows, 3)
    mere = load_catalog("kc-mere", **settings, token=keycloak.token(REALM, CLIENT, "bob"))
    eq(mere.list_namespaces(), [("sales",)])
    raises(ForbiddenError, lambda: load_catalog("kc-alice", **settings, token=keycloak.token(REALM, CLIENT, "alice")).list_namespaces())


def nilas_call(method, path, body):
    before, nilas.CATALOG_URI = nilas.CATALOG_URI, f"{store.url}/_iceberg"
    try:
        return nilas.catalog_call(method, path, body)
    finally:
        nilas.CATALOG_URI = before


def exchange():
    status, answer = store.exchange({
        "grant_type": EXCHANGE, "subject_token": keycloak.token(REALM, CLIENT, "bob"),
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token"})
    eq(status, 200, answer)
    eq(store.bearer(answer["access_token"], "/v1/warehouses")[0], 200)


def a_rotated_key():
    """A key that is not known is asked for, some seconds after the last time."""
    keycloak.rotate_keys(REALM)
    time.sleep(REFETCH_SECONDS + 0.5)
    store.assume_web(keycloak.token(REALM, CLIENT, "alice"))
    store.assume_web(early["token"])
    store.client("s3", early["session"]).get_object(Bucket=bucket, Key="k")


def an_expired_token():
    keycloak.admin("PUT", f"/realms/{REALM}", {"accessTokenLifespan": 2})
    for client in keycloak.admin("GET", f"/realms/{REALM}/clients?clientId={CLIENT}"):
        client["attributes"]["access.token.lifespan"] = "2"
        keycloak.admin("PUT", f"/realms/{REALM}/clients/{client['id']}", client)
    token = keycloak.token(REALM, CLIENT, "bob")
    eq(store.bearer(token, "/v1/warehouses")[0], 200)
    time.sleep(SKEW_SECONDS + 3)
    eq(code_of(lambda: store.assume_web(token)), "ExpiredTokenException")
    status, answer = store.bearer(token, "/v1/warehouses")
    eq((status, answer["error"]["type"]), (419, "AuthenticationTimeoutException"))


def a_keycloak_that_is_gone():
    """Sessions go on; keys that are known serve."""
    keycloak.stop()
    store.client("s3", early["session"]).get_object(Bucket=bucket, Key="k")
    store.assume_web(early["token"])


def close():
    server.stop()


steps = Steps("keycloak")
steps.run([
    ("prepare", prepare),
    ("sessions-of-both-kinds-of-tokens", sessions_of_both_kinds_of_tokens),
    ("refused", refused),
    ("pyiceberg-by-bearer", pyiceberg_by_bearer),
    ("exchange", exchange),
    ("a-rotated-key", a_rotated_key),
    ("an-expired-token", an_expired_token),
    ("a-keycloak-that-is-gone", a_keycloak_that_is_gone),
    ("close", close),
])
