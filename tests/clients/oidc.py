"""What the suites of web identities share: clients of STS and S3 with the keys of a session, bearer calls of the catalog."""
import hashlib
import json
import urllib.error
import urllib.parse
import urllib.request

import boto3
from botocore import UNSIGNED
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

ROLE = "analyst"


class Store:
    """One server, by its address and root key."""

    def __init__(self, address, access_key, secret_key):
        self.url = f"http://{address}"
        self.root = {"aws_access_key_id": access_key, "aws_secret_access_key": secret_key}

    def client(self, service, keys=None, unsigned=False):
        settings = {"retries": {"total_max_attempts": 1}, "s3": {"addressing_style": "path"}}
        if unsigned:
            settings["signature_version"] = UNSIGNED
        elif service == "s3":
            settings["signature_version"] = "s3v4"
        keys = {} if unsigned else keys or self.root
        return boto3.client(service, endpoint_url=self.url, region_name="us-east-1", config=Config(**settings), **keys)

    def account(self):
        return self.client("sts").get_caller_identity()["Account"]

    def role(self):
        return f"arn:aws:iam::{self.account()}:role/{ROLE}"

    def assume_web(self, token, **more):
        return self.client("sts", unsigned=True).assume_role_with_web_identity(
            **{"RoleArn": self.role(), "RoleSessionName": "one-session", "WebIdentityToken": token, **more})

    def session(self, token, **more):
        """Keys of a session, as boto3 takes them."""
        return keys_of(self.assume_web(token, **more))

    def bearer(self, token, path="/v1/config", method="GET"):
        """One call of the catalog with a bearer token; answers (status, parsed body)."""
        request = urllib.request.Request(
            f"{self.url}/_iceberg{path}", headers={"Authorization": f"Bearer {token}"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    def page(self, method, path, body=None):
        """One call of the server's own pages, signed by root; answers (status, parsed body)."""
        data = b"" if body is None else json.dumps(body).encode()
        request = AWSRequest(method=method, url=self.url + path, data=data, headers={
            "Content-Type": "application/json", "X-Amz-Content-SHA256": hashlib.sha256(data).hexdigest()})
        keys = Credentials(self.root["aws_access_key_id"], self.root["aws_secret_access_key"])
        S3SigV4Auth(keys, "s3", "us-east-1").add_auth(request)
        prepared = urllib.request.Request(request.url, data=data, headers=dict(request.headers.items()), method=method)
        try:
            with urllib.request.urlopen(prepared, timeout=60) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def exchange(self, form):
        data = urllib.parse.urlencode(form).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(f"{self.url}/_iceberg/v1/oauth/tokens", data=data), timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


def keys_of(answer):
    keys = answer["Credentials"]
    return {
        "aws_access_key_id": keys["AccessKeyId"], "aws_secret_access_key": keys["SecretAccessKey"],
        "aws_session_token": keys["SessionToken"]}


def code_of(run):
    """The error code that `run` is refused with."""
    try:
        run()
    except ClientError as error:
        return error.response["Error"]["Code"]
    raise AssertionError("not refused")
