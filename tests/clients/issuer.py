"""An OpenID Connect issuer of a suite's own: RSA keys that rotate, tokens of every kind, answers as bad as one likes.

`rsa` (a dependency of the AWS CLI) makes keys and signatures.
"""
import base64
import http.server
import json
import threading
import time

import rsa

KEY_BITS = 2048


def text(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value):
    return text(value.to_bytes((value.bit_length() + 7) // 8, "big"))


class Key:
    def __init__(self, kid, bits=KEY_BITS):
        self.kid = kid
        self.public, self.private = rsa.newkeys(bits)

    def jwk(self):
        return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid, "n": number(self.public.n), "e": number(self.public.e)}

    def sign(self, message):
        return rsa.sign(message, self.private, "SHA-256")


class Issuer:
    """Serves `keys`; `fault` is one of: down, slow, huge, other-issuer, redirect, not-json."""

    def __init__(self, audience):
        self.audience = audience
        self.keys = [Key("first")]
        self.fault = None
        self.asked = 0
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.answer(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, request):
        self.asked += 1
        fault = self.fault
        if fault == "slow":
            time.sleep(8)
        if fault == "redirect" and request.path == "/keys":
            return send(request, 302, b"", location=f"{self.url}/elsewhere")
        if fault == "down":
            return send(request, 503, b"{}")
        if fault == "not-json":
            return send(request, 200, b"<html>")
        if request.path == "/.well-known/openid-configuration":
            named = "https://id.example.com" if fault == "other-issuer" else self.url
            return send(request, 200, json.dumps({"issuer": named, "jwks_uri": f"{self.url}/keys"}).encode())
        if request.path in ("/keys", "/elsewhere"):
            padding = " " * (1 << 20 if fault == "huge" else 0)
            return send(request, 200, (padding + json.dumps({"keys": [key.jwk() for key in self.keys]})).encode())
        return send(request, 404, b"{}")

    def claims(self, **changes):
        now = int(time.time())
        claims = {
            "iss": self.url, "sub": "alice", "aud": self.audience, "iat": now, "exp": now + 600, "policy": ["readonly"], **changes}
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, key=None, header=None, **changes):
        key = key or self.keys[-1]
        head = {"alg": "RS256", "typ": "JWT", "kid": key.kid, **(header or {})}
        signed = f"{text(json.dumps(head).encode())}.{text(json.dumps(self.claims(**changes)).encode())}"
        return f"{signed}.{text(key.sign(signed.encode()))}"

    def rotate(self, keep=True):
        """A new key signs from now on."""
        new = Key(f"key-{len(self.keys)}-{time.monotonic_ns()}")
        self.keys = [*self.keys, new] if keep else [new]


def send(request, status, body, location=None):
    request.send_response(status)
    request.send_header("Content-Length", str(len(body)))
    if location:
        request.send_header("Location", location)
    request.end_headers()
    try:
        request.wfile.write(body)
    except OSError:
        pass
