"""TLS in front of the server for clients that want it: bytes as they are, both ways, `Host` included.

The certificate is made on the spot, for 127.0.0.1 and localhost, and signs itself. Needs openssl.
"""
import asyncio
import os
import ssl
import subprocess
import threading

import nilas

PIECE_BYTES = 256 * nilas.KIB


class Relay:
    """Listens until the suite ends; `address` is host and port, `certificate` a file that clients may trust."""

    def __init__(self, place):
        key, self.certificate = os.path.join(place, "key.pem"), os.path.join(place, "certificate.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", self.certificate, "-days", "2",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"], check=True, capture_output=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate, key)
        self.address, ready = None, threading.Event()
        # One thread: a TLS connection is not for two at once.
        threading.Thread(target=lambda: asyncio.run(self.listen(ready)), daemon=True).start()
        assert ready.wait(30), "the relay does not listen"

    async def listen(self, ready):
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=self.context, limit=PIECE_BYTES)
        self.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()
        await server.serve_forever()

    async def serve(self, client_reader, client_writer):
        host, port = nilas.HOST.rsplit(":", 1)
        try:
            server_reader, server_writer = await asyncio.open_connection(host, int(port), limit=PIECE_BYTES)
        except OSError:
            client_writer.close()
            return
        pumps = [asyncio.create_task(pump(client_reader, server_writer)), asyncio.create_task(pump(server_reader, client_writer))]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for task in pumps:
            task.cancel()
        for writer in (client_writer, server_writer):
            writer.close()


async def pump(reader, writer):
    try:
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
    except OSError:
        pass
