"""Uploads in aws-chunked framing, made by hand: the three encodings SDKs use, and broken variants no SDK will send.

`put` signs the request head with botocore, frames the body itself and answers (status, S3 error code, headers).
"""
import base64
import hashlib
import hmac
import http.client
import re
import zlib

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import nilas

SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
CHUNK_BYTES = 64 * nilas.KIB
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


class HeadSigner(S3SigV4Auth):
    """Signs the head with the name of an encoding where the hash of the body would stand."""

    def __init__(self, encoding):
        super().__init__(Credentials(nilas.ACCESS_KEY, nilas.SECRET_KEY), "s3", nilas.S3_REGION)
        self.encoding = encoding

    def payload(self, request):
        return self.encoding


def hmac_sha256(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def crc32_base64(body):
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


def put(bucket, key, body, encoding, breaks=None, chunk_bytes=CHUNK_BYTES):
    """Uploads `body`; `breaks` names what is made wrong: chunk-signature, trailer-signature, checksum, length, size-line,
    cut, no-final-chunk, no-trailer."""
    trailer = encoding != SIGNED
    headers = {
        "Content-Encoding": "aws-chunked",
        "X-Amz-Decoded-Content-Length": str(len(body) + (1 if breaks == "length" else 0)),
    }
    if trailer:
        headers["X-Amz-Trailer"] = "x-amz-checksum-crc32"
    request = AWSRequest(method="PUT", url=f"{nilas.ENDPOINT}/{bucket}/{key}", headers=headers)
    HeadSigner(encoding).add_auth(request)

    authorization = request.headers["Authorization"]
    signature = re.search("Signature=([0-9a-f]{64})", authorization).group(1)
    scope = re.search("Credential=[^/]+/([^,]+)", authorization).group(1)
    amz_date = request.headers["X-Amz-Date"]
    signing_key = ("AWS4" + nilas.SECRET_KEY).encode()
    for part in scope.split("/"):
        signing_key = hmac_sha256(signing_key, part)

    def chain(kind, *hashes):
        nonlocal signature
        text = "\n".join([kind, amz_date, scope, signature, *hashes])
        signature = hmac_sha256(signing_key, text).hex()
        return signature

    pieces = [body[at: at + chunk_bytes] for at in range(0, len(body), chunk_bytes)] + [b""]
    framed = bytearray()
    for number, piece in enumerate(pieces):
        if breaks == "no-final-chunk" and not piece:
            break
        line = "zz" if breaks == "size-line" and number == 1 else f"{len(piece):x}"
        if encoding != UNSIGNED_TRAILER:
            good = chain("AWS4-HMAC-SHA256-PAYLOAD", EMPTY_SHA256, hashlib.sha256(piece).hexdigest())
            sent = "0" * 64 if breaks == "chunk-signature" and number == 0 else good
            line += f";chunk-signature={sent}"
        framed += line.encode() + b"\r\n" + piece
        if piece or not trailer:
            framed += b"\r\n"
    if trailer and breaks not in ("no-final-chunk", "no-trailer"):
        value = crc32_base64(body + b"?" if breaks == "checksum" else body)
        framed += f"x-amz-checksum-crc32:{value}\r\n".encode()
        if encoding == SIGNED_TRAILER:
            digest = hashlib.sha256(f"x-amz-checksum-crc32:{value}\n".encode()).hexdigest()
            good = chain("AWS4-HMAC-SHA256-TRAILER", digest)
            framed += f"x-amz-trailer-signature:{'0' * 64 if breaks == 'trailer-signature' else good}\r\n".encode()
    if trailer:
        framed += b"\r\n"
    sent = framed[: len(framed) // 2] if breaks == "cut" else framed

    connection = http.client.HTTPConnection(nilas.HOST, timeout=30)
    try:
        connection.putrequest("PUT", f"/{bucket}/{key}", skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", nilas.HOST)
        for name, value in request.headers.items():
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(framed)))
        try:
            connection.endheaders()
            connection.send(bytes(sent))
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused early; the answer may still be readable
        if breaks == "cut":
            connection.sock.shutdown(1)
        try:
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except (http.client.HTTPException, ConnectionError):
            return 0, "connection closed", {}
        code = re.search("<Code>([^<]*)</Code>", text)
        return answer.status, code.group(1) if code else "", dict(answer.getheaders())
    finally:
        connection.close()
