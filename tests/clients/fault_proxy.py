"""A proxy on loopback between a client and the server that repeats, loses, delays and reorders commits, by a seeded plan.

Every byte passes as it came, Host included, so signatures stay valid. Only requests that the server has to recognise when
they come again have faults: POST of a table or a transaction whose body adds a snapshot to each table it changes, or
creates it. Messages are read whole, then handed on over a connection of their own.
Kept for the suite: each fault with the statuses it got (`faults`), each key that a client deleted (`deleted`).
"""
import asyncio
import json
import random
import re
import threading
import urllib.parse
from dataclasses import dataclass, field

HEAD_BYTES_MAX = 1 << 20
SLOW_SECONDS_MAX = 0.4
LATE_COMMITS_MAX = 4
CONNECT_SECONDS_MAX = 60
RESENDS_MAX = 5

COMMIT = re.compile(r"^[^?]*/v1/[^?]*(/tables/[^/?]+|/transactions/commit)$")

# What can happen to a commit. After "killed" the server was killed with SIGKILL and has started again.
PASS = "pass"
TWICE = "twice"                # the first answer is lost between, the request comes again, the client gets the second answer
AT_ONCE = "at-once"            # two copies race each other, the client gets the answer that came last
LATE_COPY = "late-copy"        # answered; a copy arrives after later commits
SLOW = "slow"                  # held back, so that later commits overtake it
LOST = "lost"                  # it landed, and the connection ends without an answer
LOST_503 = "lost-503"          # it landed, and the client gets a 503 from between
KILLED = "killed"              # it landed or not, the server was killed, the request comes again
KILLED_LOST = "killed-lost"    # it landed, the server was killed, the connection ended without an answer


@dataclass
class Fault:
    number: int
    kind: str
    path: str
    statuses: list = field(default_factory=list)
    copies: list = field(default_factory=list)


class Message:
    """One request or answer: its first line, its headers, and all bytes as they came."""

    def __init__(self, head):
        self.head = head
        first, *rest = head.decode("latin1").split("\r\n")
        self.first = first
        self.headers = {}
        for line in rest:
            name, colon, value = line.partition(":")
            if colon:
                self.headers[name.strip().lower()] = value.strip()
        self.framed = b""
        self.body = b""

    @property
    def status(self):
        return int(self.first.split(" ")[1])

    @property
    def method(self):
        return self.first.split(" ")[0]

    @property
    def target(self):
        return self.first.split(" ")[1]

    @property
    def bytes(self):
        return self.head + self.framed

    @property
    def last(self):
        return self.headers.get("connection", "").lower() == "close"


class FaultProxy:
    def __init__(self, upstream, seed=1, restart=None):
        """`restart` kills the server and starts it again; only plans with the killed kinds need it."""
        self.host, port = upstream.rsplit(":", 1)
        self.port = int(port)
        self.restart = restart
        self.random = random.Random(seed)
        self.kinds = []
        self.deck = []
        self.faults = []
        self.deleted = []
        self.errors = []
        self.late = []
        self.lost = {}  # by body: commits whose answer was lost
        self.commits = 0
        self.loop = asyncio.new_event_loop()
        self.address = None
        started = threading.Event()
        threading.Thread(target=self.serve, args=(started,), daemon=True).start()
        started.wait()

    def plan(self, kinds):
        """From now on each commit meets one of `kinds`, dealt as cards are: all of them once before any comes again."""
        self.kinds = list(kinds)
        self.deck = []

    def deal(self):
        if not self.deck:
            self.deck = self.random.sample(self.kinds, len(self.kinds))
        return self.deck.pop()

    def settle(self):
        """Delivers the copies that are still held back."""
        asyncio.run_coroutine_threadsafe(self.deliver_late(all_of_them=True), self.loop).result()

    def serve(self, started):
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(asyncio.start_server(self.client, "127.0.0.1", 0, limit=HEAD_BYTES_MAX))
        self.address = "127.0.0.1:%d" % server.sockets[0].getsockname()[1]
        started.set()
        self.loop.run_forever()

    async def client(self, reader, writer):
        try:
            while True:
                request = await read_request(reader, writer)
                if request is None:
                    break
                self.note_deletes(request)
                answer = await self.answer(request)
                if answer is None:
                    break
                writer.write(answer.bytes)
                await writer.drain()
                if request.last or answer.last:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client went away
        except Exception as error:  # shown by the suite's last step: a broken proxy must not look like a passing client
            self.errors.append(f"{type(error).__name__}: {error}")
        finally:
            writer.close()

    async def answer(self, request):
        """What the client gets; None: its connection ends without an answer."""
        if not self.kinds or not recognisable(request):
            return await self.send(request)
        lost = self.lost.pop(request.body, None)
        if lost:  # the client sends again what it heard nothing of; clients that do so give up after a few tries
            answer = await self.send(request)
            lost.statuses.append(answer.status)
            return answer
        self.commits += 1
        fault = Fault(self.commits, self.deal(), request.target)
        self.faults.append(fault)
        answer = await self.meet(fault, request)
        await self.deliver_late()
        return answer

    async def meet(self, fault, request):
        if fault.kind == SLOW:
            await asyncio.sleep(self.random.uniform(0, SLOW_SECONDS_MAX))
        if fault.kind == AT_ONCE:
            answers = []

            async def one():
                answers.append(await self.send(request))

            await asyncio.gather(one(), one())
            fault.statuses += [answer.status for answer in answers]
            return answers[-1]
        if fault.kind == KILLED and self.random.random() < 0.5:
            # Nobody waits for this one: whether it lands before the kill is chance.
            _, writer = await self.connect()
            writer.write(request.bytes)
            await writer.drain()
            await asyncio.sleep(self.random.uniform(0, 0.01))
            writer.close()
        else:
            answer = await self.send(request)
            fault.statuses.append(answer.status)
            if answer.status >= 400:
                return answer  # refused: there is nothing to repeat or to lose
        if fault.kind in (KILLED, KILLED_LOST):
            self.restart()
        if fault.kind in (TWICE, KILLED):
            answer = await self.send(request)
            fault.statuses.append(answer.status)
        elif fault.kind == LATE_COPY:
            self.late.append((self.commits + self.random.randint(1, LATE_COMMITS_MAX), fault, request))
        elif fault.kind in (LOST, KILLED_LOST):
            self.lost[request.body] = fault
            return None
        elif fault.kind == LOST_503:
            self.lost[request.body] = fault
            return gateway_error(503)
        return answer

    async def deliver_late(self, all_of_them=False):
        due = [entry for entry in self.late if all_of_them or entry[0] <= self.commits]
        self.late = [entry for entry in self.late if entry not in due]
        for _, fault, request in due:
            fault.copies.append((await self.send(request)).status)

    async def send(self, request):
        """One request, one answer. A server that is being started again is waited for, and asked again."""
        for attempt in range(RESENDS_MAX):
            reader, writer = await self.connect()
            try:
                writer.write(request.bytes)
                await writer.drain()
                return await read_answer(reader, request.method)
            except (ConnectionError, asyncio.IncompleteReadError):
                if attempt + 1 == RESENDS_MAX:
                    raise
            finally:
                writer.close()

    async def connect(self):
        end = self.loop.time() + CONNECT_SECONDS_MAX
        while True:
            try:
                return await asyncio.open_connection(self.host, self.port, limit=HEAD_BYTES_MAX)
            except ConnectionError:
                if end < self.loop.time():
                    raise
                await asyncio.sleep(0.02)

    def note_deletes(self, request):
        path, _, query = request.target.partition("?")
        if request.method == "DELETE" and "/_iceberg/" not in path and "uploadId" not in query:
            self.deleted.append(urllib.parse.unquote(path).lstrip("/"))
        elif request.method == "POST" and re.search(r"(^|&)delete(=|&|$)", query):
            bucket = path.strip("/")
            keys = re.findall(r"<Key>(.*?)</Key>", request.body.decode(), re.DOTALL)
            self.deleted += [f"{bucket}/{unescape(key)}" for key in keys]


def recognisable(request):
    """Whether the server has to know this request again: each table it changes gets a snapshot, or is created."""
    path = request.target.partition("?")[0]
    if request.method != "POST" or not COMMIT.match(path):
        return False
    body = json.loads(request.body)
    changes = body.get("table-changes", [body])
    return all(adds_or_creates(change) for change in changes) and bool(changes)


def adds_or_creates(change):
    adds = any(update.get("action") == "add-snapshot" for update in change.get("updates", []))
    creates = any(requirement.get("type") == "assert-create" for requirement in change.get("requirements", []))
    return adds or creates


def gateway_error(status):
    body = b'{"error":{"message":"the answer was lost","type":"ServiceUnavailableException","code":%d}}' % status
    head = f"HTTP/1.1 {status} Lost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    answer = Message(head.encode())
    answer.framed = answer.body = body
    return answer


async def read_request(reader, writer):
    try:
        message = Message(await reader.readuntil(b"\r\n\r\n"))
    except asyncio.IncompleteReadError:
        return None
    if message.headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
    await read_body(reader, message)
    return message


async def read_answer(reader, method):
    message = Message(await reader.readuntil(b"\r\n\r\n"))
    while 100 <= message.status < 200:
        message = Message(await reader.readuntil(b"\r\n\r\n"))
    if method != "HEAD" and message.status not in (204, 304):
        await read_body(reader, message)
    return message


async def read_body(reader, message):
    if "chunked" in message.headers.get("transfer-encoding", "").lower():
        framed, body = [], []
        while True:
            line = await reader.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            framed.append(line)
            if size == 0:
                break
            chunk = await reader.readexactly(size + 2)
            framed.append(chunk)
            body.append(chunk[:-2])
        while framed[-1] != b"\r\n":  # trailers, and the empty line after them
            framed.append(await reader.readuntil(b"\r\n"))
        message.framed, message.body = b"".join(framed), b"".join(body)
    else:
        message.framed = message.body = await reader.readexactly(int(message.headers.get("content-length", "0")))


def unescape(text):
    for entity, sign in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&")):
        text = text.replace(entity, sign)
    return text
