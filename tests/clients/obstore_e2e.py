"""obstore (Rust's object_store): puts with every mode and attribute, ranges, uploads by parts, listings, copies, signed URLs."""
import asyncio
import datetime
import urllib.request

import obstore
from obstore.exceptions import AlreadyExistsError, NotFoundError, PreconditionError, PermissionDeniedError
from obstore.store import S3Store

import nilas
from nilas import KIB, MIB, content, md5_hex
from steps import Steps, eq, raises

bucket = nilas.unique("obstore")
client = nilas.s3()


def open_store(secret_key=nilas.SECRET_KEY, **more):
    return S3Store(bucket, endpoint=nilas.ENDPOINT, region=nilas.S3_REGION, access_key_id=nilas.ACCESS_KEY, secret_access_key=secret_key,
                   client_options={"allow_http": True}, retry_config={"max_retries": 0}, **more)


store = open_store()


def make_bucket():
    client.create_bucket(Bucket=bucket)


def put_get():
    for size in (0, 1, 128 * KIB + 1, 5 * MIB, 17 * MIB + 3):
        body = content(size, seed=260)
        put = obstore.put(store, f"sizes/{size}", body)
        head = obstore.head(store, f"sizes/{size}")
        eq((head["size"], head["e_tag"], put["version"]), (size, put["e_tag"], None))
        assert bytes(obstore.get(store, f"sizes/{size}").bytes()) == body, f"{size} bytes: other bytes came back"
    # Beyond its bound the client uploads by parts.
    eq(head["e_tag"].strip('"').split("-")[1], "4", "parts")
    raises((FileNotFoundError, NotFoundError), lambda: obstore.get(store, "none"))


def no_parts():
    body = content(6 * MIB, seed=261)
    eq(obstore.put(store, "whole", body, use_multipart=False)["e_tag"], f'"{md5_hex(body)}"')
    # Pieces of an iterator, of whatever size.
    obstore.put(store, "pieces", (body[at: at + 700_001] for at in range(0, len(body), 700_001)))
    assert bytes(obstore.get(store, "pieces").bytes()) == body, "other bytes"


def ranges():
    body = content(6 * MIB, seed=261)
    eq(bytes(obstore.get_range(store, "whole", start=10, end=20)), body[10:20])
    eq(bytes(obstore.get_range(store, "whole", start=MIB - 3, length=6)), body[MIB - 3: MIB + 3])
    many = obstore.get_ranges(store, "whole", starts=[0, 5 * MIB, 100], ends=[5, 5 * MIB + 5, 105])
    eq([bytes(one) for one in many], [body[:5], body[5 * MIB: 5 * MIB + 5], body[100:105]])
    eq(bytes(obstore.get(store, "whole", options={"range": {"suffix": 7}}).bytes()), body[-7:], "the end")
    eq(bytes(obstore.get(store, "whole", options={"range": {"offset": 6 * MIB - 9}}).bytes()), body[-9:], "from an offset")
    eq(b"".join(bytes(piece) for piece in obstore.get(store, "whole").stream(min_chunk_size=MIB)) == body, True, "as a stream")
    back = obstore.open_reader(store, "whole", buffer_size=MIB)
    back.seek(2 * MIB - 5)
    eq(bytes(back.read(10)), body[2 * MIB - 5: 2 * MIB + 5])


def conditions():
    first = etag_of(obstore.put(store, "once", b"first", mode="create"))
    raises(AlreadyExistsError, lambda: obstore.put(store, "once", b"second", mode="create"))
    second = etag_of(obstore.put(store, "once", b"second", mode=first))
    raises(PreconditionError, lambda: obstore.put(store, "once", b"third", mode=first))
    eq(bytes(obstore.get(store, "once", options={"if_match": second["e_tag"]}).bytes()), b"second")
    raises(PreconditionError, lambda: obstore.get(store, "once", options={"if_match": first["e_tag"]}))
    raises(obstore.exceptions.NotModifiedError, lambda: obstore.get(store, "once", options={"if_none_match": second["e_tag"]}))
    now = datetime.datetime.now(datetime.timezone.utc)
    raises(PreconditionError, lambda: obstore.get(store, "once", options={"if_unmodified_since": now - datetime.timedelta(days=1)}))


def etag_of(put):
    """An answer as the mode of a put that wants the object as it was; a version, which is none, may not be given."""
    return {"e_tag": put["e_tag"]}


def racing():
    """Of many writers that make the same key, one has made it."""
    async def run():
        tries = (obstore.put_async(store, "raced", b"%d" % number, mode="create") for number in range(16))
        return await asyncio.gather(*tries, return_exceptions=True)

    answers = asyncio.run(run())
    won = [number for number, answer in enumerate(answers) if not isinstance(answer, Exception)]
    eq(len(won), 1, "winners")
    assert all(isinstance(answer, AlreadyExistsError) for number, answer in enumerate(answers) if number not in won), answers
    eq(bytes(obstore.get(store, "raced").bytes()), b"%d" % won[0])


def attributes():
    given = {"Content-Type": "text/x", "Cache-Control": "max-age=3", "Content-Language": "de", "Content-Disposition": "inline", "who": "obstore"}
    obstore.put(store, "attributes ü", b"x", attributes=given, tags={"kind": "a b"})
    eq(dict(obstore.get(store, "attributes ü").attributes), given)
    eq(client.get_object_tagging(Bucket=bucket, Key="attributes ü")["TagSet"], [{"Key": "kind", "Value": "a b"}])
    body = content(11 * MIB, seed=262)
    obstore.put(store, "attributes large", body, attributes={"Content-Type": "text/y", "who": "parts"})
    head = client.head_object(Bucket=bucket, Key="attributes large")
    eq((head["ContentType"], head["Metadata"]), ("text/y", {"who": "parts"}))


def checksums():
    summed = open_store(checksum_algorithm="SHA256")
    obstore.put(summed, "summed", b"x" * 1000)
    head = client.head_object(Bucket=bucket, Key="summed", ChecksumMode="ENABLED")
    assert head.get("ChecksumSHA256"), "no checksum kept"
    body = content(11 * MIB, seed=263)
    obstore.put(summed, "summed large", body)
    eq(obstore.get(summed, "summed large").bytes().to_bytes() == body, True, "the same bytes")


def listings():
    wanted = [f"list/{folder}/{number:04}" for folder in ("a", "b ü", "c+%") for number in range(400)]

    async def fill():
        gate = asyncio.Semaphore(32)

        async def one(key):
            async with gate:
                await obstore.put_async(store, key, b"x")

        await asyncio.gather(*map(one, wanted))

    asyncio.run(fill())
    found = [meta["path"] for batch in obstore.list(store, prefix="list", chunk_size=100) for meta in batch]
    eq(found, sorted(wanted, key=str.encode))
    later = [meta["path"] for batch in obstore.list(store, prefix="list/a", offset="list/a/0390") for meta in batch]
    eq(later, [f"list/a/{number:04}" for number in range(391, 400)])
    top = obstore.list_with_delimiter(store, prefix="list")
    eq((list(top["common_prefixes"]), list(top["objects"])), (["list/a", "list/b ü", "list/c+%"], []))
    eq(len(obstore.list(store, prefix="list", return_arrow=False).collect()), len(wanted))
    obstore.delete(store, wanted)
    eq(obstore.list(store, prefix="list").collect(), [])


def copies():
    obstore.copy(store, "attributes ü", "copied ü/+")
    eq(bytes(obstore.get(store, "copied ü/+").bytes()), b"x")
    raises(AlreadyExistsError, lambda: obstore.copy(open_store(copy_if_not_exists="multipart"), "whole", "copied ü/+", overwrite=False))
    obstore.copy(open_store(copy_if_not_exists="multipart"), "whole", "copied once", overwrite=False)
    assert bytes(obstore.get(store, "copied once").bytes()) == content(6 * MIB, seed=261), "other bytes"
    obstore.rename(store, "copied once", "renamed")
    raises((FileNotFoundError, NotFoundError), lambda: obstore.head(store, "copied once"))
    eq(obstore.head(store, "renamed")["size"], 6 * MIB)


def signed():
    hour = datetime.timedelta(hours=1)
    body = content(10 * KIB, seed=264)
    request = urllib.request.Request(obstore.sign(store, "PUT", "signed ü", hour), data=body, method="PUT")
    with urllib.request.urlopen(request, timeout=30) as answer:
        eq(answer.status, 200)
    with urllib.request.urlopen(obstore.sign(store, "GET", "signed ü", hour), timeout=30) as answer:
        assert answer.read() == body, "other bytes"


def virtual_hosted():
    """The same bucket by the address that names it in the host."""
    host, port = nilas.HOST.rsplit(":", 1)
    other = S3Store(bucket, endpoint=f"http://{host}:{port}/{bucket}", region=nilas.S3_REGION, access_key_id=nilas.ACCESS_KEY, secret_access_key=nilas.SECRET_KEY,
                    virtual_hosted_style_request=True, client_options={"allow_http": True})
    eq(bytes(obstore.get(other, "once").bytes()), b"second")


def wrong_key():
    wrong = open_store(secret_key="wrong" + nilas.SECRET_KEY)
    raises(PermissionDeniedError, lambda: obstore.get(wrong, "once"))


def remove():
    found = [meta["path"] for meta in obstore.list(store).collect()]
    obstore.delete(store, found)
    client.delete_bucket(Bucket=bucket)


steps = Steps("obstore")
if not steps("make-bucket", make_bucket):
    steps.close()
steps.run([
    ("put-get", put_get),
    ("no-parts", no_parts),
    ("ranges", ranges),
    ("conditions", conditions),
    ("racing", racing),
    ("attributes", attributes),
    ("checksums", checksums),
    ("listings", listings),
    ("copies", copies),
    ("signed", signed),
    ("endpoint-with-bucket", virtual_hosted),
    ("wrong-key", wrong_key),
    ("remove", remove),
])
