"""A Keycloak that a suite starts: its distribution from Maven Central, kept under the target directory, and its admin REST.

Needs `java` (17 or newer) and `mvn` on PATH. It listens on loopback, keeps everything in memory and dies with the suite.
"""
import json
import os
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile

import maven
from own_server import die_with_parent, free_port

VERSION = "26.4.7"
ADMIN = ("admin", "admin-of-the-suite")
READY_SECONDS_MAX = 240
CLIENT = "nilas"


class Keycloak:
    def __init__(self, scratch):
        self.home = distribution()
        self.log = os.path.join(scratch, "keycloak.log")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None
        self.admin_token = None

    def start(self):
        environment = {**os.environ, "KC_BOOTSTRAP_ADMIN_USERNAME": ADMIN[0], "KC_BOOTSTRAP_ADMIN_PASSWORD": ADMIN[1]}
        command = [
            os.path.join(self.home, "bin", "kc.sh"), "start-dev", "--http-host=127.0.0.1", f"--http-port={self.port}",
            "--db=dev-mem", "--cache=local",
        ]
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent)
        end = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < end and self.process.poll() is None:
            try:
                self.sign_in()
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.5)
        raise AssertionError(f"Keycloak is not ready: {maven.read(self.log)[-2000:]}")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def sign_in(self):
        """The admin's token lives for a minute."""
        answer = self.form("/realms/master/protocol/openid-connect/token", {
            "grant_type": "password", "client_id": "admin-cli", "username": ADMIN[0], "password": ADMIN[1]})
        self.admin_token = answer["access_token"]

    def form(self, path, fields):
        data = urllib.parse.urlencode(fields).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data=data), timeout=60) as answer:
            return json.load(answer)

    def admin(self, method, path, body=None):
        self.sign_in()
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.admin_token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/admin{path}", data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read()[:500]}") from error
        return json.loads(text) if text else None

    def make_realm(self, realm):
        self.admin("POST", "/realms", {"realm": realm, "enabled": True, "accessTokenLifespan": 600})
        profile = self.admin("GET", f"/realms/{realm}/users/profile")
        profile["unmanagedAttributePolicy"] = "ENABLED"
        self.admin("PUT", f"/realms/{realm}/users/profile", profile)

    def make_client(self, realm, client, life_s=600):
        """A client whose tokens are for itself and carry the user's policies."""
        policy = {
            "user.attribute": "policy", "claim.name": "policy", "jsonType.label": "String", "multivalued": "true",
            "id.token.claim": "true", "access.token.claim": "true"}
        audience = {"included.client.audience": client, "id.token.claim": "false", "access.token.claim": "true"}
        mapper = lambda name, kind, config: {
            "name": name, "protocol": "openid-connect", "protocolMapper": kind, "config": config}
        self.admin("POST", f"/realms/{realm}/clients", {
            "clientId": client, "publicClient": True, "directAccessGrantsEnabled": True, "standardFlowEnabled": False,
            "attributes": {"access.token.lifespan": str(life_s)},
            "protocolMappers": [
                mapper("policy", "oidc-usermodel-attribute-mapper", policy),
                mapper("audience", "oidc-audience-mapper", audience),
            ]})

    def make_user(self, realm, name, policies):
        self.admin("POST", f"/realms/{realm}/users", {
            "username": name, "enabled": True, "email": f"{name}@example.com", "emailVerified": True, "firstName": name,
            "lastName": "Test", "attributes": {"policy": policies},
            "credentials": [{"type": "password", "value": f"{name}-password", "temporary": False}]})

    def token(self, realm, client, name, kind="access_token"):
        return self.form(f"/realms/{realm}/protocol/openid-connect/token", {
            "grant_type": "password", "client_id": client, "username": name, "password": f"{name}-password",
            "scope": "openid"})[kind]

    def rotate_keys(self, realm):
        """A new key for all tokens from now on; the old one stays published."""
        parent = self.admin("GET", f"/realms/{realm}")["id"]
        self.admin("POST", f"/realms/{realm}/components", {
            "name": "newer", "providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider",
            "parentId": parent,
            "config": {"priority": ["500"], "enabled": ["true"], "active": ["true"], "keySize": ["2048"], "algorithm": ["RS256"]}})


def distribution():
    """Where Keycloak is unpacked; fetched once."""
    place = os.path.join(maven.PLACE, "keycloak")
    home = os.path.join(place, f"keycloak-{VERSION}")
    if os.path.exists(os.path.join(home, "unpacked")):
        return home
    archive = os.path.join(place, f"keycloak-quarkus-dist-{VERSION}.zip")
    if not os.path.exists(archive):
        maven.passes(
            f"{maven.GOALS}:copy", f"-Dartifact=org.keycloak:keycloak-quarkus-dist:{VERSION}:zip", f"-DoutputDirectory={place}")
    with zipfile.ZipFile(archive) as zipped:
        zipped.extractall(place)
    os.chmod(os.path.join(home, "bin", "kc.sh"), 0o755)
    with open(os.path.join(home, "unpacked"), "w"):
        pass
    return home
