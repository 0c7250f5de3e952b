"""PyIceberg as users whose policies name one table, by its id, and nothing of S3: with keys of their own, whose rights on the
table's files follow from those on the table, and with credentials that the catalog hands out.

The policies here are those of docs/access.md, "A reader of one table" and "A writer of one table".
"""
import io
import json
import os

import nilas
from oidc import code_of
from steps import Steps, eq, raises

os.environ["AWS_EC2_METADATA_DISABLED"] = "true"

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import ForbiddenError
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField, StringType

from people import Person, allow, deny, root as root_s3, store

# The least that PyIceberg needs: found by leaving out one after the other, as `least` does.
SETTINGS = ["s3tables:GetConfig"]
READ = ["s3tables:GetTable", "s3tables:GetTableData"]
WRITE = [*READ, "s3tables:UpdateTable", "s3tables:PutTableData"]

SCHEMA = Schema(
    NestedField(1, "id", LongType(), required=False),
    NestedField(2, "name", StringType(), required=False),
)
DENIED = "AccessDenied"
namespace = nilas.unique("tu").replace("-", "_")
warehouse = None
catalog = None
reader = writer = None
uuids = {}


def rows(first, count):
    return pa.table({"id": pa.array(range(first, first + count), pa.int64()), "name": [f"n{i}" for i in range(first, first + count)]})


def catalog_of(keys, delegation):
    """`delegation`: `vended-credentials`, or `none` for the keys of the user on S3 as well."""
    own = delegation == "none"
    return load_catalog(nilas.unique("catalog"), **{
        "uri": nilas.CATALOG_URI,
        "warehouse": warehouse,
        "rest.sigv4-enabled": "true",
        "rest.signing-name": "s3tables",
        "rest.signing-region": nilas.REGION,
        "client.access-key-id": keys["aws_access_key_id"],
        "client.secret-access-key": keys["aws_secret_access_key"],
        "client.region": nilas.S3_REGION,
        "header.X-Iceberg-Access-Delegation": delegation,
        **({"client.session-token": keys["aws_session_token"]} if "aws_session_token" in keys else {}),
        **({"s3.endpoint": nilas.ENDPOINT} if own else {}),
    })


def table_arn(name):
    return f"arn:aws:s3tables:::bucket/{warehouse}/table/{uuids[name]}"


def on_table(actions, name="mine"):
    return [allow(SETTINGS, f"arn:aws:s3tables:::bucket/{warehouse}"), allow(actions, table_arn(name))]


def prepare():
    global warehouse, catalog, reader, writer
    warehouse = nilas.warehouse("table-user")
    catalog = catalog_of(store.root, "none")
    catalog.create_namespace(namespace)
    for name in ("mine", "other"):
        table = catalog.create_table((namespace, name), SCHEMA)
        table.append(rows(0, 100))
        uuids[name] = str(table.metadata.table_uuid)
    reader, writer = Person("reader", *on_table(READ)), Person("writer", *on_table(WRITE))


def keys_below(name):
    return keys_of((namespace, name))


def keys_of(table):
    """Every key of a table's files, as root lists them."""
    location = catalog.load_table(table).location()
    bucket, prefix = location.removeprefix("s3://").split("/", 1)
    pages = root_s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix + "/")
    keys = [one["Key"] for page in pages for one in page.get("Contents", [])]
    assert len(keys) >= 4, keys
    return bucket, prefix, keys


def refuse(run, want=DENIED):
    eq(code_of(run), want)


def forbidden(run):
    """Refused by the catalog, or by S3 under PyIceberg's reading and writing."""
    error = raises((ForbiddenError, OSError), run)
    assert isinstance(error, ForbiddenError) or "ACCESS_DENIED" in str(error) or "AccessDenied" in str(error), error


def reads(delegation):
    mine = catalog_of(reader.keys, delegation).load_table((namespace, "mine"))
    eq(mine.scan().to_arrow().num_rows, 100)
    eq(mine.scan(row_filter="id >= 90").to_arrow().num_rows, 10)
    eq(mine.inspect.files().num_rows, 1)
    forbidden(lambda: mine.append(rows(100, 1)))
    eq(catalog.load_table((namespace, "mine")).scan().to_arrow().num_rows, 100)


def no_other(person, delegation):
    """By the catalog: no other table, and nothing of the namespace."""
    own = catalog_of(person.keys, delegation)
    for run in (
        lambda: own.load_table((namespace, "other")),
        lambda: own.list_tables(namespace),
        lambda: own.list_namespaces(),
        lambda: own.load_namespace_properties(namespace),
        lambda: own.create_table((namespace, "new"), SCHEMA),
        lambda: own.create_namespace(namespace + "_2"),
        lambda: own.drop_table((namespace, "other")),
        lambda: own.purge_table((namespace, "other")),
        lambda: own.drop_table((namespace, "mine")),
        lambda: own.rename_table((namespace, "mine"), (namespace, "renamed")),
        lambda: own.rename_table((namespace, "other"), (namespace, "renamed")),
    ):
        raises(ForbiddenError, run)


def files(person):
    """By S3 with the user's own keys: those of the table, and no others."""
    client = person.client()
    bucket, prefix, keys = keys_below("mine")
    for key in keys:
        client.get_object(Bucket=bucket, Key=key)["Body"].read()
        refuse(lambda: client.delete_object(Bucket=bucket, Key=key))
    _, others_prefix, others = keys_below("other")
    for key in others:
        refuse(lambda: client.get_object(Bucket=bucket, Key=key))
        refuse(lambda: client.head_object(Bucket=bucket, Key=key), "403")
        refuse(lambda: client.put_object(Bucket=bucket, Key=key, Body=b""))
        refuse(lambda: client.copy_object(Bucket=bucket, Key=f"{prefix}/data/stolen", CopySource={"Bucket": bucket, "Key": key}))
        # A way up and down again is a key like any other, and not the other table's.
        odd = f"{prefix}/../{key.split('/', 1)[1]}"
        assert code_of(lambda: client.get_object(Bucket=bucket, Key=odd)) in (DENIED, "NoSuchKey", "InvalidURI"), odd
    refuse(lambda: client.list_objects_v2(Bucket=bucket))
    refuse(lambda: client.list_objects_v2(Bucket=bucket, Prefix=others_prefix + "/"))
    refuse(lambda: client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": others[0]}]})["Errors"] and client.delete_object(Bucket=bucket, Key=others[0]))
    eq(keys_below("other")[2], others)


def writes(delegation, first):
    mine = catalog_of(writer.keys, delegation).load_table((namespace, "mine"))
    before = mine.scan().to_arrow().num_rows
    mine.append(rows(first, 50))
    mine.delete(f"id >= {first} and id < {first + 10}")
    with mine.update_schema() as update:
        update.add_column(f"more_{first}", StringType())
    mine.overwrite(rows(first + 20, 5).append_column(f"more_{first}", pa.array(["x"] * 5)), overwrite_filter=f"id >= {first + 20} and id < {first + 50}")
    again = catalog.load_table((namespace, "mine")).scan().to_arrow()
    eq(again.num_rows, before + 15)
    eq(sorted(again["id"].to_pylist())[-1], first + 24)


def vended_is_narrow():
    """What the catalog hands out reaches the files of the table, and writes only for who may."""
    for person, may_write in ((reader, False), (writer, True)):
        loaded = catalog_of(person.keys, "vended-credentials").load_table((namespace, "mine"))
        given = loaded.io.properties
        keys = {"aws_access_key_id": given["s3.access-key-id"], "aws_secret_access_key": given["s3.secret-access-key"], "aws_session_token": given["s3.session-token"]}
        assert keys["aws_access_key_id"] != person.keys["aws_access_key_id"], "the user's own key"
        client = store.client("s3", keys)
        bucket, prefix, own = keys_below("mine")
        for key in own:
            client.head_object(Bucket=bucket, Key=key)
        for key in keys_below("other")[2]:
            refuse(lambda: client.get_object(Bucket=bucket, Key=key))
        # Engines ask whether a file is there before they write it.
        eq(code_of(lambda: client.head_object(Bucket=bucket, Key=f"{prefix}/metadata/gone")), "404")
        eq(code_of(lambda: person.client().head_object(Bucket=bucket, Key=f"{prefix}/metadata/gone")), "404" if may_write else "403")
        put = lambda: client.put_object(Bucket=bucket, Key=f"{prefix}/data/by-vended", Body=b"x")
        put() if may_write else refuse(put)
        refuse(lambda: client.put_object(Bucket=bucket, Key=f"{prefix}-2/data/x", Body=b"x"))
        refuse(lambda: client.list_objects_v2(Bucket=bucket))
        refuse(lambda: store.client("sts", keys).assume_role(RoleArn=store.role(), RoleSessionName="one-session"))
        refuse(lambda: store.client("iam", keys).list_users())
    root_s3.delete_object(Bucket=bucket, Key=f"{prefix}/data/by-vended")


def renamed():
    """The right is the table's, not the name's; who comes to have the name has no share in it."""
    catalog.rename_table((namespace, "mine"), (namespace, "moved"))
    catalog.rename_table((namespace, "other"), (namespace, "mine"))
    try:
        for delegation in ("none", "vended-credentials"):
            own = catalog_of(reader.keys, delegation)
            assert own.load_table((namespace, "moved")).scan().to_arrow().num_rows >= 100
            raises(ForbiddenError, lambda: own.load_table((namespace, "mine")))
            catalog_of(writer.keys, delegation).load_table((namespace, "moved")).append(rows(5000, 1))
    finally:
        catalog.rename_table((namespace, "mine"), (namespace, "other"))
        catalog.rename_table((namespace, "moved"), (namespace, "mine"))


def ended():
    """Rights that are taken are gone for keys of the user and for what was handed out before."""
    loaded = catalog_of(reader.keys, "vended-credentials").load_table((namespace, "mine"))
    own = catalog_of(reader.keys, "none").load_table((namespace, "mine"))
    reader.may(*on_table(["s3tables:GetTable"]))
    forbidden(lambda: loaded.scan().to_arrow())
    forbidden(lambda: own.scan().to_arrow())
    forbidden(lambda: catalog_of(reader.keys, "vended-credentials").load_table((namespace, "mine")).scan().to_arrow())
    reader.may(*on_table(READ))
    assert loaded.scan().to_arrow().num_rows >= 100


def session():
    """A session of the user that is for one table of the two which the user may read."""
    reader.may(*on_table(READ), *on_table(READ, "other"), allow("sts:AssumeRole"))
    keys = reader.session(*on_table(READ, "other"))
    own = catalog_of(keys, "vended-credentials")
    eq(own.load_table((namespace, "other")).scan().to_arrow().num_rows, 100)
    raises(ForbiddenError, lambda: own.load_table((namespace, "mine")))
    reader.may(*on_table(READ))
    raises(ForbiddenError, lambda: own.load_table((namespace, "other")))


def least():
    """Each right of the lists is needed."""
    def road(actions, writing):
        writer.may(*([allow(SETTINGS, f"arn:aws:s3tables:::bucket/{warehouse}")] if "settings" in actions else []),
                   allow([one for one in actions if one != "settings"], table_arn("mine")))
        table = catalog_of(writer.keys, "none").load_table((namespace, "mine"))
        table.scan().to_arrow()
        if writing:
            table.append(rows(9000, 1))

    for actions, writing in ((["settings", *READ], False), (["settings", *WRITE], True)):
        road(actions, writing)
        for left_out in actions:
            forbidden(lambda: road([one for one in actions if one != left_out], writing))
    writer.may(*on_table(WRITE))


def one_namespace():
    """The policy of "A writer of one namespace": makes, writes, renames and drops tables there, and no others; their files alike."""
    sales, hr = namespace + "_sales", namespace + "_hr"
    for name in (sales, hr):
        catalog.create_namespace(name)
    catalog.create_table((hr, "people"), SCHEMA).append(rows(0, 10))
    here = f"arn:aws:s3tables:::bucket/{warehouse}"
    sam = Person(
        "sam",
        allow(["s3tables:GetConfig", "s3tables:GetTableBucket", "s3tables:ListNamespaces", "s3tables:GetNamespace", "s3tables:ListTables"], here),
        allow(["s3tables:*Table", "s3tables:*TableData", "s3tables:*TableMetadataLocation"], [here, f"{here}/table/*"],
              Condition={"StringEquals": {"s3tables:namespace": sales}}))
    own = catalog_of(sam.keys, "vended-credentials")
    own.create_table((sales, "orders"), SCHEMA).append(rows(0, 10))
    eq(own.load_table((sales, "orders")).scan().to_arrow().num_rows, 10)
    own.rename_table((sales, "orders"), (sales, "orders_2"))
    own.load_table((sales, "orders_2")).append(rows(10, 10))
    assert (hr,) in own.list_namespaces()
    raises(ForbiddenError, lambda: own.load_table((hr, "people")))
    raises(ForbiddenError, lambda: own.create_table((hr, "orders"), SCHEMA))
    raises(ForbiddenError, lambda: own.rename_table((sales, "orders_2"), (hr, "orders")))
    raises(ForbiddenError, lambda: own.create_namespace(namespace + "_more"))
    eq(own.load_table((sales, "orders_2")).scan().to_arrow().num_rows, 20)
    # With the user's own keys, which say no name: the catalog knows whose file a key is, and how that table is called now.
    undelegated = catalog_of(sam.keys, "none")
    mine = undelegated.load_table((sales, "orders_2"))
    eq(mine.scan().to_arrow().num_rows, 20)
    mine.append(rows(20, 10))
    eq(catalog.load_table((sales, "orders_2")).scan().to_arrow().num_rows, 30)
    undelegated.create_table((sales, "made"), SCHEMA).append(rows(0, 5))
    undelegated.purge_table((sales, "made"))
    client = sam.client()
    bucket, prefix, keys = keys_of((sales, "orders_2"))
    _, _, of_hr = keys_of((hr, "people"))
    for key in keys:
        client.head_object(Bucket=bucket, Key=key)
    eq(len(client.list_objects_v2(Bucket=bucket, Prefix=prefix + "/")["Contents"]), len(keys))
    client.put_object(Bucket=bucket, Key=f"{prefix}/data/x", Body=b"x")
    eq([one["Key"] for one in client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": f"{prefix}/data/x"}]})["Deleted"]], [f"{prefix}/data/x"])
    for key in of_hr:
        refuse(lambda: client.get_object(Bucket=bucket, Key=key))
        refuse(lambda: client.put_object(Bucket=bucket, Key=key, Body=b""))
        refuse(lambda: client.copy_object(Bucket=bucket, Key=f"{prefix}/data/stolen", CopySource={"Bucket": bucket, "Key": key}))
        errors = client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}, {"Key": f"{prefix}/data/none"}]})
        eq(([one["Code"] for one in errors["Errors"]], len(errors["Deleted"])), ([DENIED], 1))
    refuse(lambda: client.put_object(Bucket=bucket, Key="elsewhere/x", Body=b""))
    # Moved away, it is out of reach.
    catalog.rename_table((sales, "orders_2"), (hr, "orders"))
    raises(ForbiddenError, lambda: own.load_table((hr, "orders")))
    refuse(lambda: client.get_object(Bucket=bucket, Key=keys[0]))
    catalog.rename_table((hr, "orders"), (sales, "orders"))
    client.get_object(Bucket=bucket, Key=keys[0])
    # Dropped and not purged, its files are no table's, and nobody's by name.
    metadata = catalog.load_table((sales, "orders")).metadata_location
    catalog.drop_table((sales, "orders"))
    refuse(lambda: client.get_object(Bucket=bucket, Key=keys[0]))
    catalog.register_table((sales, "orders"), metadata)
    client.get_object(Bucket=bucket, Key=keys[0])
    own.purge_table((sales, "orders"))
    catalog.purge_table((hr, "people"))
    for name in (sales, hr):
        catalog.drop_namespace(name)
    sam.go()


def locations():
    """A table that was made in a place of its own: whose files are there the catalog knows, the keys do not say it."""
    place = f"s3://{warehouse}/custom/{nilas.unique('place')}"
    table = catalog.create_table((namespace, "placed"), SCHEMA, location=place)
    table.append(rows(0, 10))
    uuids["placed"] = str(table.metadata.table_uuid)
    bucket, prefix, keys = keys_of((namespace, "placed"))
    reader.may(*on_table(READ, "placed"))
    client = reader.client()
    for key in keys:
        client.get_object(Bucket=bucket, Key=key)
        refuse(lambda: client.put_object(Bucket=bucket, Key=key, Body=b""))
    eq(catalog_of(reader.keys, "none").load_table((namespace, "placed")).scan().to_arrow().num_rows, 10)
    refuse(lambda: client.get_object(Bucket=bucket, Key=f"{prefix}-2/x"))
    refuse(lambda: client.get_object(Bucket=bucket, Key=keys_below("other")[2][0]))
    # What is denied for the table is denied for its files, whatever S3's own actions allow, and for no others.
    everything = allow(["s3:*", "s3tables:*"], "*")
    for denied in (
        deny("s3tables:GetTableData", table_arn("placed")),
        deny("s3tables:GetTableData", "*", Condition={"StringEquals": {"s3tables:tableName": "placed"}}),
    ):
        reader.may(everything, denied)
        for key in keys:
            refuse(lambda: client.get_object(Bucket=bucket, Key=key))
            refuse(lambda: client.head_object(Bucket=bucket, Key=key), "403")
            refuse(lambda: client.copy_object(Bucket=bucket, Key="custom/copy", CopySource={"Bucket": bucket, "Key": key}))
        raises(ForbiddenError, lambda: catalog_of(reader.keys, "none").register_table((namespace, "again"), f"s3://{bucket}/{[key for key in keys if key.endswith('.metadata.json')][0]}"))
        client.put_object(Bucket=bucket, Key="custom/own", Body=b"")
        client.get_object(Bucket=bucket, Key="custom/own")
        client.get_object(Bucket=bucket, Key=keys_below("other")[2][0])
    # Listings within it are its writers': those of every kind.
    reader.may(everything, deny("s3tables:*TableData", table_arn("placed")))
    for call in (client.list_objects, client.list_objects_v2, client.list_object_versions, client.list_multipart_uploads):
        refuse(lambda: call(Bucket=bucket, Prefix=prefix + "/"))
        call(Bucket=bucket, Prefix="custom/")
    client.delete_object(Bucket=bucket, Key="custom/own")
    reader.may(*on_table(READ))
    catalog.purge_table((namespace, "placed"))


def added_files():
    """Files that a table takes over where they are: reached with keys of the user's own, never with what was handed out for the table."""
    table = catalog.create_table((namespace, "landed"), SCHEMA)
    uuids["landed"] = str(table.metadata.table_uuid)
    parquet = io.BytesIO()
    pq.write_table(rows(0, 7), parquet)
    root_s3.put_object(Bucket=warehouse, Key="landing/a.parquet", Body=parquet.getvalue())
    landing = f"arn:aws:s3:::{warehouse}/landing/*"
    file = f"s3://{warehouse}/landing/a.parquet"
    writer.may(*on_table(WRITE, "landed"))
    for delegation in ("none", "vended-credentials"):
        forbidden(lambda: catalog_of(writer.keys, delegation).load_table((namespace, "landed")).add_files([file]))
    writer.may(*on_table(WRITE, "landed"), allow("s3:GetObject", landing))
    forbidden(lambda: catalog_of(writer.keys, "vended-credentials").load_table((namespace, "landed")).add_files([file]))
    own = catalog_of(writer.keys, "none").load_table((namespace, "landed"))
    own.add_files([file])
    eq(own.scan().to_arrow().num_rows, 7)
    forbidden(lambda: catalog_of(writer.keys, "vended-credentials").load_table((namespace, "landed")).scan().to_arrow())
    writer.may(*on_table(WRITE))
    catalog.drop_table((namespace, "landed"))
    root_s3.delete_object(Bucket=warehouse, Key="landing/a.parquet")


def denied_by_name():
    """What is denied by the name of a table or its namespace is denied for its files, and for no others."""
    here = f"arn:aws:s3tables:::bucket/{warehouse}"
    everything = allow("s3tables:*", [here, f"{here}/table/*"])
    bucket, prefix, keys = keys_below("other")
    for statements in (
        [everything, deny("s3tables:*", "*", Condition={"StringEquals": {"s3tables:namespace": namespace}})],
        [everything, deny("s3tables:*TableData", "*", Condition={"StringLike": {"s3tables:tableName": "oth*"}})],
        [allow("s3tables:*", [here, f"{here}/table/*"], Condition={"StringNotEquals": {"s3tables:namespace": namespace}})],
    ):
        dan = Person("dan", *statements)
        client = dan.client()
        for key in keys:
            refuse(lambda: client.get_object(Bucket=bucket, Key=key))
        refuse(lambda: client.put_object(Bucket=bucket, Key=f"{prefix}/data/x", Body=b""))
        dan.go()
    # One that denies another name leaves this table as it is.
    dan = Person("dan", everything, deny("s3tables:*", "*", Condition={"StringEquals": {"s3tables:tableName": "mine"}}))
    for delegation in ("vended-credentials", "none"):
        own = catalog_of(dan.keys, delegation)
        eq(own.load_table((namespace, "other")).scan().to_arrow().num_rows, 100)
        raises(ForbiddenError, lambda: own.load_table((namespace, "mine")))
    client = dan.client()
    client.get_object(Bucket=bucket, Key=keys[0])
    refuse(lambda: client.get_object(Bucket=bucket, Key=keys_below("mine")[2][0]))
    # By the name that it has now, with what was handed out before as well.
    loaded = catalog_of(dan.keys, "vended-credentials").load_table((namespace, "other"))
    catalog.rename_table((namespace, "mine"), (namespace, "aside"))
    catalog.rename_table((namespace, "other"), (namespace, "mine"))
    try:
        refuse(lambda: client.get_object(Bucket=bucket, Key=keys[0]))
        forbidden(lambda: loaded.scan().to_arrow())
        client.get_object(Bucket=bucket, Key=keys_of((namespace, "aside"))[2][0])
    finally:
        catalog.rename_table((namespace, "mine"), (namespace, "other"))
        catalog.rename_table((namespace, "aside"), (namespace, "mine"))
    client.get_object(Bucket=bucket, Key=keys[0])
    dan.go()


def call_as(person, method, path, body=None):
    keys = person.keys
    return nilas.catalog_call(method, f"/v1/{warehouse}/namespaces/{namespace}/{path}", body, keys["aws_access_key_id"], keys["aws_secret_access_key"])


def names_others_files():
    """Who may write to one table names files of others in its metadata. Root, who may delete them, purges the table: they stay."""
    victims = nilas.unique("victims")
    root_s3.create_bucket(Bucket=victims)
    root_s3.put_object(Bucket=victims, Key="k", Body=b"somebody's")
    bucket, prefix, keys = keys_below("other")
    trap = catalog.create_table((namespace, "trap"), SCHEMA)
    trap.append(rows(0, 10))
    uuids["trap"] = str(trap.metadata.table_uuid)
    sam = Person("sam", *on_table(["s3tables:GetTable", "s3tables:UpdateTable"], "trap"))
    snapshot = trap.current_snapshot().snapshot_id
    for place in (f"s3://{victims}/k", *(f"s3://{bucket}/{key}" for key in keys)):
        of_file = {"snapshot-id": snapshot, "statistics-path": place, "file-size-in-bytes": 1, "file-footer-size-in-bytes": 1, "blob-metadata": []}
        update = {"action": "set-statistics", "snapshot-id": snapshot, "statistics": of_file}
        status, answer = call_as(sam, "POST", "tables/trap", {"requirements": [], "updates": [update]})
        eq(status, 200, answer)
        catalog.purge_table((namespace, "trap"))
        nilas.purges_done()
        trap = catalog.create_table((namespace, "trap"), SCHEMA)
        trap.append(rows(0, 10))
        uuids["trap"], snapshot = str(trap.metadata.table_uuid), trap.current_snapshot().snapshot_id
        sam.may(*on_table(["s3tables:GetTable", "s3tables:UpdateTable"], "trap"))
    eq(root_s3.get_object(Bucket=victims, Key="k")["Body"].read(), b"somebody's")
    eq(keys_below("other")[2], keys)
    eq(catalog.load_table((namespace, "other")).scan().to_arrow().num_rows, 100)
    catalog.purge_table((namespace, "trap"))
    sam.go()


def overwritten():
    """Registered over, a table is changed as by a commit, and needs the right to that; no table gets another's UUID."""
    here = f"arn:aws:s3tables:::bucket/{warehouse}"
    bucket, prefix, keys = keys_below("other")
    before = catalog.load_table((namespace, "other"))
    file = before.metadata_location.removeprefix(f"s3://{bucket}/")
    forged = json.loads(root_s3.get_object(Bucket=bucket, Key=file)["Body"].read())
    files = f"imports-{namespace}"
    dan = Person("dan", allow("s3tables:*", [here, f"{here}/table/*"]), allow(["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], f"arn:aws:s3:::{bucket}/{files}/*"),
                 deny(["s3tables:UpdateTable", "s3tables:DeleteTable", "s3tables:PutTableData"], table_arn("other")))
    register = {"name": "other", "metadata-location": f"s3://{bucket}/{files}/1.metadata.json", "overwrite": True}
    dan.client().put_object(Bucket=bucket, Key=f"{files}/1.metadata.json", Body=json.dumps({**forged, "properties": {"k": "forged"}}).encode())
    status, answer = call_as(dan, "POST", "register", register)
    eq(status, 403, answer)
    assert uuids["other"] not in json.dumps(answer) and f"{namespace}.other" in json.dumps(answer), answer
    dan.client().put_object(Bucket=bucket, Key=f"{files}/1.metadata.json", Body=json.dumps({**forged, "location": f"s3://{bucket}/{files}/t"}).encode())
    status, answer = call_as(dan, "POST", "register", {**register, "name": "copy"})
    eq(status, 400, answer)
    eq(catalog.load_table((namespace, "other")).metadata_location, before.metadata_location)
    # Whether there is a table is not told, nor which id it has.
    for name in ("other", "absent"):
        status, answer = call_as(reader, "GET", f"tables/{name}")
        eq(status, 403)
        eq(answer["error"]["message"], f"not authorized to perform s3tables:GetTable on {here}/table/{namespace}.{name}")
    dan.go()


def dropped():
    """Who may delete the table may drop and purge it; its files go, the other's stay."""
    writer.may(*on_table([*WRITE, "s3tables:DeleteTable"]))
    own = catalog_of(writer.keys, "none")
    raises(ForbiddenError, lambda: own.purge_table((namespace, "other")))
    own.purge_table((namespace, "mine"))
    eq(catalog.table_exists((namespace, "mine")), False)
    eq(catalog.load_table((namespace, "other")).scan().to_arrow().num_rows, 100)


def leave():
    catalog.purge_table((namespace, "other"))
    catalog.drop_namespace(namespace)
    reader.go()
    writer.go()


Steps("table-user").run([
    ("prepare", prepare),
    ("reads-with-own-keys", lambda: reads("none")),
    ("reads-with-vended-keys", lambda: reads("vended-credentials")),
    ("reader-no-other", lambda: [no_other(reader, one) for one in ("none", "vended-credentials")]),
    ("reader-files", lambda: files(reader)),
    ("writes-with-own-keys", lambda: writes("none", 1000)),
    ("writes-with-vended-keys", lambda: writes("vended-credentials", 2000)),
    ("writer-no-other", lambda: [no_other(writer, one) for one in ("none", "vended-credentials")]),
    ("writer-files", lambda: files(writer)),
    ("vended-is-narrow", vended_is_narrow),
    ("renamed", renamed),
    ("ended", ended),
    ("session", session),
    ("least", least),
    ("one-namespace", one_namespace),
    ("locations", locations),
    ("added-files", added_files),
    ("denied-by-name", denied_by_name),
    ("names-others-files", names_others_files),
    ("overwritten", overwritten),
    ("dropped", dropped),
    ("leave", leave),
])
