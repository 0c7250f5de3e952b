"""Users of the server under test, made for one suite: policies, keys, clients of boto3, and what anybody without a key gets."""
import http.client
import json

import boto3
from botocore.config import Config

import nilas
from oidc import Store, keys_of

store = Store(nilas.HOST, nilas.ACCESS_KEY, nilas.SECRET_KEY)
root = store.client("s3")
iam = store.client("iam")
RIGHTS = "rights"


def statement(effect, actions, resources="*", **more):
    return {"Effect": effect, "Action": actions, "Resource": resources, **more}


def allow(actions, resources="*", **more):
    return statement("Allow", actions, resources, **more)


def deny(actions, resources="*", **more):
    return statement("Deny", actions, resources, **more)


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def arn(bucket, key=None):
    return f"arn:aws:s3:::{bucket}" if key is None else f"arn:aws:s3:::{bucket}/{key}"


class Person:
    """A user with one inline policy and one key."""

    def __init__(self, word, *statements):
        self.name = nilas.unique(word)
        self.arn = iam.create_user(UserName=self.name)["User"]["Arn"]
        if statements:
            self.may(*statements)
        self.keys = self.new_key()

    def may(self, *statements):
        iam.put_user_policy(UserName=self.name, PolicyName=RIGHTS, PolicyDocument=policy(*statements))

    def new_key(self):
        key = iam.create_access_key(UserName=self.name)["AccessKey"]
        return {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}

    def narrow_key(self, *statements):
        """A key with a policy of its own."""
        status, key = store.page("POST", "/_nilas/keys", {"user": self.name, "policy": json.loads(policy(*statements))})
        assert status in (200, 201), f"{status} {key}"
        return {"aws_access_key_id": key["access_key"], "aws_secret_access_key": key["secret_key"]}

    def drop_key(self, keys):
        iam.delete_access_key(UserName=self.name, AccessKeyId=keys["aws_access_key_id"])

    def client(self, service="s3"):
        return store.client(service, self.keys)

    def session(self, *statements, **more):
        """Keys of a session, narrowed by the statements when there are any."""
        if statements:
            more["Policy"] = policy(*statements)
        return session_of(self.keys, **more)

    def go(self):
        """Deletes the user with all that it has."""
        for key in iam.list_access_keys(UserName=self.name)["AccessKeyMetadata"]:
            iam.delete_access_key(UserName=self.name, AccessKeyId=key["AccessKeyId"])
        for name in iam.list_user_policies(UserName=self.name)["PolicyNames"]:
            iam.delete_user_policy(UserName=self.name, PolicyName=name)
        for one in iam.list_attached_user_policies(UserName=self.name)["AttachedPolicies"]:
            iam.detach_user_policy(UserName=self.name, PolicyArn=one["PolicyArn"])
        iam.delete_user(UserName=self.name)


def session_of(keys, **more):
    answer = store.client("sts", keys).assume_role(**{"RoleArn": store.role(), "RoleSessionName": "one-session", **more})
    return keys_of(answer)


def presigner(keys, version):
    """`default`: as boto3 signs addresses when nobody chooses, which is version 2 for an endpoint of one's own."""
    settings = {"s3": {"addressing_style": "path"}, "retries": {"total_max_attempts": 1}}
    if version != "default":
        settings["signature_version"] = version
    return boto3.client("s3", endpoint_url=nilas.ENDPOINT, region_name=nilas.S3_REGION, config=Config(**settings), **keys)


def fetch(url, method="GET", body=None, headers=None):
    """One request with no header but these, without credentials; answers (status, body)."""
    path = url.split(nilas.ENDPOINT, 1)[1] if url.startswith(nilas.ENDPOINT) else f"/{url}"
    connection = http.client.HTTPConnection(nilas.HOST, timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def remove_bucket(name):
    """A bucket with all its objects, by root."""
    try:
        root.delete_bucket_policy(Bucket=name)
    except root.exceptions.ClientError:
        pass
    for page in root.get_paginator("list_objects_v2").paginate(Bucket=name):
        for one in page.get("Contents", []):
            root.delete_object(Bucket=name, Key=one["Key"])
    root.delete_bucket(Bucket=name)
