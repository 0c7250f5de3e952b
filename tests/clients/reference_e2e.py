"""Generated creates and commits, sent to this catalog and to Iceberg's own Java REST server: the same status, the same type
of error, the same table metadata.

Requests come from a seed: schemas of all types with defaults, specs, orders, schema evolution, snapshots with refs, tags
and expiry, upgrades of the format version, odd spellings, and requests with one value broken. A table lives until a
request is answered differently or has been changed enough; then the next is made. What is accepted is parsed by PyIceberg;
a share of it, and all that was answered differently, is also loaded by the reference from the file that this catalog
wrote. Each difference that is meant is a row of `MEANT`, with its reason, and is counted.

Environment: COUNT, requests (200); SEED, a number (1), or `any` for one that is drawn and printed; KEEP_GOING=1 shows all
differences.
"""
import copy
import http.client
import json
import os
import random
import re
import time
import urllib.parse

from pyiceberg.table.metadata import TableMetadataUtil

import nilas
from reference import Reference
from steps import Steps

COUNT = int(os.environ.get("COUNT", "200"))
SEED = os.environ.get("SEED", "1")
SEED = random.SystemRandom().randrange(1 << 32) if SEED == "any" else int(SEED)
COMMITS_OF_A_TABLE_MAX = 12
SHOWN_MAX = 1000 if os.environ.get("KEEP_GOING") else 10
BROKEN_SHARE = 0.25
REGISTERED_SHARE = 0.1
OURS_SECONDS_MAX = 60
# The reference tries for minutes to read metadata that it wrote and cannot parse.
REFERENCE_SECONDS_MAX = 20
NAMESPACE = "compared"

SIMPLE = ["boolean", "int", "long", "float", "double", "decimal(9,2)", "date", "time", "timestamp", "timestamptz", "string", "uuid", "fixed[4]", "binary"]
NEW = ["timestamp_ns", "timestamptz_ns", "unknown", "variant", "geometry", "geography", "geometry(srid:4326)", "geography(srid:4326, karney)"]
ODD = ["STRING", "Long", "decimal( 9 , 2 )", "decimal(9, 2)", "fixed[ 4 ]", "FIXED[4]", "decimal(39,2)", "decimal(9,10)", "fixed[-1]", "fixed[0]",
       "Geometry(srid:3857)", "geography(,karney)", "geography(srid:4326,KARNEY)", "geography(srid:4326, flat)", "timestamp_tz", "", "null", "integer"]
TRANSFORMS = ["identity", "bucket[16]", "truncate[4]", "year", "month", "day", "hour", "void"]
ODD_TRANSFORMS = ["BUCKET[4]", "bucket[0]", "bucket[-1]", "bucket[99999999999]", "bucket[ 4 ]", "truncate[0]", "truncate[99999999999]", "Truncate[3]",
                  "Identity", "YEAR", "years", "zorder", "bucket", "", "bucket[4]x"]
# Values of each type in the single-value JSON of the specification, and values that are none.
VALUES = {
    "boolean": ([True, False], ["true", 0]),
    "int": ([0, -1, 2147483647], [2147483648, 1.5, "1", 1.0]),
    "long": ([0, 9223372036854775807], [9223372036854775808, "1", 1.5]),
    "float": ([1.5, -0.25, 3], ["1.5", 1e300]),
    "double": ([1.5, 1e300, 7, 1e10], ["NaN", "1.5"]),
    "decimal(9,2)": (["1.25", "-0.01", "1234567.00"], ["1.2345", "1", 1.25, "123456789.00", "x", "1E+2"]),
    "date": (["2020-02-29", "1969-12-31"], ["2020-02-30", "20200101", 18000, "2020-1-1"]),
    "time": (["10:20:30", "10:20:30.123456", "10:20"], ["25:00:00", "10:20:30.1234567", "x"]),
    "timestamp": (["2020-01-01T10:20:30", "2020-01-01T10:20:30.123456"], ["2020-01-01T10:20:30Z", "2020-01-01 10:20:30", "2020-01-01T10:20:30+00:00"]),
    "timestamptz": (["2020-01-01T10:20:30+00:00", "2020-01-01T10:20:30.123456+00:00"], ["2020-01-01T10:20:30", "2020-01-01T10:20:30+01:00", "2020-01-01T10:20:30Z"]),
    "timestamp_ns": (["2020-01-01T10:20:30.123456789"], ["2020-01-01T10:20:30Z", 1]),
    "timestamptz_ns": (["2020-01-01T10:20:30.123456789+00:00"], ["2020-01-01T10:20:30.123456789", "2020-01-01T10:20:30.1+02:00"]),
    "string": (["", "a", "ä"], [1, True]),
    "uuid": (["f79c3e09-677c-4bbd-a479-3f349cb785e7"], ["abc", "f79c3e09677c4bbda4793f349cb785e7", "F79C3E09-677C-4BBD-A479-3F349CB785E7"]),
    "fixed[4]": (["00010203", "ABCD0123"], ["ABCD", "0001020304", "zzzzzzzz", 1]),
    "binary": (["", "00ff"], ["0", "zz", 5]),
    "unknown": ([], [1, "x"]),
    "variant": ([], [1, "x", {}]),
    "geometry": ([], ["POINT (1 1)"]),
    "geography": ([], ["POINT (1 1)"]),
}


# ---- Two servers ----

class Server:
    def __init__(self, name, uri, prefix, token, seconds):
        self.name, self.prefix, self.token = name, prefix, token
        parts = urllib.parse.urlsplit(uri)
        self.path = parts.path
        self.connection = http.client.HTTPConnection(parts.netloc, timeout=seconds)

    def call(self, method, path, body=None):
        """Answers (status, parsed body)."""
        text = None if body is None else json.dumps(body)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        try:
            self.connection.request(method, f"{self.path}/v1{self.prefix}{path}", text, headers)
            answer = self.connection.getresponse()
            said = answer.read()
        except TimeoutError:
            self.connection.close()
            return 0, "no answer in time"
        try:
            return answer.status, json.loads(said) if said else None
        except ValueError:
            return answer.status, said.decode("utf-8", "replace")


def token():
    """A bearer token for the root key."""
    form = {"grant_type": "client_credentials", "client_id": nilas.ACCESS_KEY, "client_secret": nilas.SECRET_KEY}
    connection = http.client.HTTPConnection(nilas.HOST, timeout=60)
    path = urllib.parse.urlsplit(nilas.CATALOG_URI).path
    connection.request("POST", f"{path}/v1/oauth/tokens", urllib.parse.urlencode(form), {"Content-Type": "application/x-www-form-urlencoded"})
    return json.loads(connection.getresponse().read())["access_token"]


# ---- Requests ----

class Maker:
    """Requests from a seed. `table` is the metadata as the last success left it."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.calm = True

    def chance(self, share):
        return self.random.random() < share

    def odd(self, share):
        """Whether to do what is rarely right; never in the calm half of all requests."""
        return not self.calm and self.chance(share)

    def type(self, version, ids, depth=2):
        r = self.random.random()
        if depth and r < 0.06:
            return {"type": "list", "element-id": next(ids), "element": self.type(version, ids, depth - 1), "element-required": self.chance(0.5)}
        if depth and r < 0.12:
            return {"type": "map", "key-id": next(ids), "key": self.type(version, ids, 0), "value-id": next(ids), "value": self.type(version, ids, depth - 1),
                    "value-required": self.chance(0.5)}
        if depth and r < 0.2:
            return {"type": "struct", "fields": [self.field(version, ids, depth - 1) for _ in range(self.random.randint(1, 3))]}
        if r < 0.23 and self.odd(0.7):
            return self.random.choice(ODD)
        if r < (0.4 if version == 3 else 0.24):
            return self.random.choice(NEW)
        return self.random.choice(SIMPLE)

    def field(self, version, ids, depth=2):
        number = next(ids)
        of = self.type(version, ids, depth)
        field = {"id": number, "name": f"c{number}", "required": self.chance(0.2), "type": of}
        if isinstance(of, str) and (self.chance(0.3) if version == 3 else self.odd(0.01)) and of.split("(srid")[0] in VALUES:
            good, bad = VALUES[of.split("(srid")[0]]
            for name in ("initial-default", "write-default"):
                if self.chance(0.7):
                    values = bad if self.odd(0.3) else good or [None]
                    field[name] = self.random.choice(values)
        if self.chance(0.1):
            field["doc"] = "words"
        if self.odd(0.03):
            field["name"] = self.random.choice(["c1", "C1", "", "a.b", "ä b"])
        return field

    def schema(self, version):
        ids = iter(range(1, 10_000))
        schema = {"type": "struct", "fields": [self.field(version, ids) for _ in range(self.random.randint(1, 6))]}
        required = [field["id"] for field in schema["fields"] if field["required"] and field["type"] in ("int", "long", "string", "date", "uuid")]
        if self.chance(0.15) and required or self.odd(0.15):
            schema["identifier-field-ids"] = required[:2] if required and not self.odd(0.3) else [self.random.randint(1, 4)]
        if self.chance(0.5):
            schema["schema-id"] = self.random.choice([0, 0, 1, 7])
        return schema

    def columns(self, schema):
        """Ids and types of what a spec may name; now and then one that is not there."""
        found = [(field.get("id"), field.get("type")) for field in schema.get("fields", []) if isinstance(field, dict)]
        found = [one for one in found if isinstance(one[1], str) or self.odd(0.1)]
        return found if found and not self.odd(0.05) else [(999, "int")]

    def transform(self, of):
        if self.odd(0.1):
            return self.random.choice(ODD_TRANSFORMS)
        if self.odd(0.2):
            return self.random.choice(TRANSFORMS)
        if of in ("date",):
            return self.random.choice(["year", "month", "day", "identity", "bucket[16]"])
        if isinstance(of, str) and of.startswith("timestamp"):
            return self.random.choice(["year", "month", "day", "hour"])
        if of in ("int", "long", "string", "decimal(9,2)"):
            return self.random.choice(["bucket[16]", "truncate[4]", "identity"])
        return "identity"

    def spec(self, schema, first=1000):
        fields, numbered = [], self.chance(0.5)
        for at in range(self.random.randint(0, 3)):
            source, of = self.random.choice(self.columns(schema))
            field = {"source-id": source, "transform": self.transform(of), "name": f"p{at}"}
            if numbered:
                field["field-id"] = first + at
            if self.odd(0.1):
                field["name"] = self.random.choice(["c1", "p0", "", f"c{source}"])
            if source == 999 and self.calm:
                continue
            fields.append(field)
        spec = {"fields": fields, "spec-id": 0}
        if self.chance(0.3):
            spec["spec-id"] = self.random.choice([0, 0, 1, 5])
        return spec

    def order(self, schema):
        fields = []
        for _ in range(self.random.randint(0, 2)):
            source, of = self.random.choice(self.columns(schema))
            direction = self.random.choice(["asc", "desc"] if self.calm else ["asc", "desc", "DESC", "Asc", "up", ""])
            nulls = self.random.choice(["nulls-first", "nulls-last"] if self.calm else ["nulls-first", "nulls-last", "NULLS-LAST", "last"])
            fields.append({"source-id": source, "transform": self.transform(of), "direction": direction, "null-order": nulls})
            if source == 999 and self.calm:
                fields.pop()
        number = self.random.choice([0, 1, 3]) if not self.calm else 1 if fields else 0
        return {"order-id": number, "fields": fields}

    def properties(self):
        kinds = [("owner", "me"), ("comment", ""), ("write.metadata.previous-versions-max", "3"), ("write.format.default", "orc"), ("commit.retry.num-retries", "x"),
                 ("write.metadata.compression-codec", "gzip"), ("history.expire.min-snapshots-to-keep", "2"), ("gc.enabled", "false"), ("uuid", "x"), ("current-schema", "y")]
        return dict(self.random.sample(kinds, self.random.randint(0, 2)))

    def create(self, name):
        self.calm = self.chance(0.6)
        version = self.random.choice([1, 2, 2, 3, 3, 3])
        schema = self.schema(version)
        properties = self.properties()
        if version != 2 or self.chance(0.5):
            properties["format-version"] = str(version)
        if self.odd(0.05):
            properties["format-version"] = self.random.choice(["4", "0", "x", " 2", "02", ""])
        body = {"name": name, "schema": schema, "properties": properties}
        if self.chance(0.5):
            body["partition-spec"] = self.spec(schema)
        if self.chance(0.4):
            body["write-order"] = self.order(schema)
        if self.chance(0.1):
            body["stage-create"] = self.chance(0.7)
        return self.broken(body) if self.odd(BROKEN_SHARE) else body

    # -- Commits

    def commit(self, table):
        self.calm = self.chance(0.6)
        count = self.random.choice([1, 1, 1, 2, 2, 3, 5])
        state = copy.deepcopy(table)
        updates = []
        for _ in range(count):
            made = self.random.choice(self.UPDATES + ([] if self.calm else [Maker.strange] * 3))(self, state)
            updates += made if isinstance(made, list) else [made]
        body = {"requirements": [self.requirement(table) for _ in range(self.random.choice([0, 0, 1, 2]))], "updates": updates}
        return self.broken(body) if self.odd(BROKEN_SHARE) else body

    def requirement(self, table):
        right = not self.odd(0.15)
        kinds = {
            "assert-table-uuid": ("uuid", table["table-uuid"] if right else "9c12d441-03fe-4693-9a96-a0705ddf69c1"),
            "assert-last-assigned-field-id": ("last-assigned-field-id", table["last-column-id"] + (0 if right else 1)),
            "assert-current-schema-id": ("current-schema-id", table["current-schema-id"] + (0 if right else 1)),
            "assert-last-assigned-partition-id": ("last-assigned-partition-id", table["last-partition-id"] + (0 if right else 1)),
            "assert-default-spec-id": ("default-spec-id", table["default-spec-id"] + (0 if right else 1)),
            "assert-default-sort-order-id": ("default-sort-order-id", table["default-sort-order-id"] + (0 if right else 1)),
        }
        if self.chance(0.3):
            ref = self.random.choice(list(table.get("refs", {})) + ["main", "other"])
            known = table.get("refs", {}).get(ref, {}).get("snapshot-id")
            return {"type": "assert-ref-snapshot-id", "ref": ref, "snapshot-id": known if right else 17}
        if self.odd(0.05):
            return {"type": self.random.choice(["assert-create", "assert-nothing"])}
        kind = self.random.choice(list(kinds))
        return {"type": kind, kinds[kind][0]: kinds[kind][1]}

    def current(self, table):
        found = [schema for schema in table["schemas"] if schema.get("schema-id") == table["current-schema-id"]]
        return copy.deepcopy(found[0] if found else table["schemas"][0])

    def set_properties(self, table):
        return {"action": "set-properties", "updates": self.properties()}

    def remove_properties(self, table):
        return {"action": "remove-properties", "removals": self.random.sample(["owner", "comment", "none"], self.random.randint(0, 2))}

    def add_schema(self, table):
        schema = self.current(table)
        fields = schema["fields"]
        version = table["format-version"]
        last = table["last-column-id"]
        for _ in range(self.random.choice([0, 1, 1, 1, 2])):
            kind = self.random.choice(["add", "add", "drop", "rename", "promote", "move"] + ([] if self.calm else ["change", "require", "default"]))
            if kind == "add":
                fields.append(self.field(version, iter(range(last + 1, last + 10_000))))
                table["last-column-id"] = last = last + 10
            elif kind == "drop" and fields:
                fields.pop(self.random.randrange(len(fields)))
            elif kind == "move":
                self.random.shuffle(fields)
            elif fields:
                field = self.random.choice(fields)
                if kind == "rename":
                    field["name"] = f"r{field['id']}" if self.calm else self.random.choice([f"r{field['id']}", "c1", "p0"])
                elif kind == "promote":
                    wider = {"int": "long", "float": "double", "decimal(9, 2)": "decimal(12, 2)", "date": "timestamp"}
                    field["type"] = wider.get(field["type"], field["type"]) if isinstance(field["type"], str) else field["type"]
                elif kind == "change":
                    field["type"] = self.random.choice(SIMPLE + ODD)
                elif kind == "require":
                    field["required"] = not field["required"]
                elif kind == "default" and isinstance(field["type"], str) and field["type"].replace(" ", "") in VALUES:
                    good, bad = VALUES[field["type"].replace(" ", "")]
                    field[self.random.choice(["initial-default", "write-default"])] = self.random.choice(good * 2 + bad)
        schema["schema-id"] = self.random.choice([schema.get("schema-id", 0), 0, 99])
        if self.odd(0.2):
            schema["identifier-field-ids"] = [self.random.choice(fields)["id"]] if fields else [1]
        update = {"action": "add-schema", "schema": schema}
        if self.chance(0.4):
            update["last-column-id"] = self.random.choice([last, table["last-column-id"], 1, last + 5])
        if self.chance(0.7):
            return [update, {"action": "set-current-schema", "schema-id": -1}]
        return update

    def set_current_schema(self, table):
        return {"action": "set-current-schema", "schema-id": self.random.choice([0, table["current-schema-id"]] if self.calm else [-1, 0, 1, table["current-schema-id"], 77])}

    def add_spec(self, table):
        update = {"action": "add-spec", "spec": self.spec(self.current(table), self.random.choice([1000, table["last-partition-id"] + 1]))}
        if self.chance(0.7):
            return [update, {"action": "set-default-spec", "spec-id": -1}]
        return update

    def set_default_spec(self, table):
        return {"action": "set-default-spec", "spec-id": self.random.choice([0, table["default-spec-id"]] if self.calm else [-1, 0, 1, table["default-spec-id"], 77])}

    def add_order(self, table):
        update = {"action": "add-sort-order", "sort-order": self.order(self.current(table))}
        if self.chance(0.7):
            return [update, {"action": "set-default-sort-order", "sort-order-id": -1}]
        return update

    def set_default_order(self, table):
        return {"action": "set-default-sort-order", "sort-order-id": table["default-sort-order-id"] if self.calm else self.random.choice([-1, 0, 1, 77])}

    def snapshots(self, table):
        return [snapshot["snapshot-id"] for snapshot in table.get("snapshots", [])]

    def add_snapshot(self, table):
        number = self.random.randrange(1, 1 << 53)
        last = table.get("last-sequence-number", 0)
        known = self.snapshots(table)
        now = int(time.time() * 1000)
        snapshot = {"snapshot-id": number, "timestamp-ms": now + (0 if self.calm else self.random.choice([0, 0, -5_000, 30_000, 3_600_000, -3_600_000])),
                    "manifest-list": f"{table['location']}/metadata/snap-{number}.avro", "summary": {"operation": self.random.choice(["append", "overwrite", "delete", "replace", "append"])}}
        if table["format-version"] > 1 or self.chance(0.3):
            snapshot["sequence-number"] = last + 1 if self.calm else self.random.choice([last + 1] * 4 + [last, 0, last + 5, -1])
        main = table.get("refs", {}).get("main", {}).get("snapshot-id")
        if main is not None and self.chance(0.9):
            snapshot["parent-snapshot-id"] = main if self.calm else self.random.choice([main] * 6 + known + [5])
        if self.chance(0.7):
            snapshot["schema-id"] = 42 if self.odd(0.1) else table["current-schema-id"]
        if table["format-version"] > 2 or self.odd(0.05):
            snapshot["first-row-id"] = (table.get("next-row-id") or 0) + (0 if self.calm else self.random.choice([0, 0, 0, 1, -1]))
            snapshot["added-rows"] = self.random.choice([0, 10] if self.calm else [0, 10, 10, -1])
            if self.odd(0.05):
                del snapshot[self.random.choice(["first-row-id", "added-rows"])]
        if self.odd(0.1):
            snapshot["summary"] = self.random.choice([{}, {"added-files": "1"}, {"operation": "other"}, None])
        if self.odd(0.05):
            snapshot["snapshot-id"] = self.random.choice(known + [-1, 0])
        table["last-sequence-number"] = snapshot.get("sequence-number", last)
        table["next-row-id"] = snapshot.get("first-row-id", 0) + max(snapshot.get("added-rows", 0), 0)
        table.setdefault("snapshots", []).append(snapshot)
        updates = [{"action": "add-snapshot", "snapshot": snapshot}]
        if self.chance(0.85):
            ref = self.random.choice(["main"] * 6 + ["dev", "tag1"])
            updates.append({"action": "set-snapshot-ref", "ref-name": ref, "type": "tag" if ref == "tag1" else "branch", "snapshot-id": snapshot["snapshot-id"]})
            table.setdefault("refs", {})[ref] = {"snapshot-id": snapshot["snapshot-id"]}
        return updates

    def set_ref(self, table):
        known = self.snapshots(table)
        name = self.random.choice(["main", "dev", "tag1", "tag2"] if self.calm else ["main", "dev", "tag1", "tag2", ""])
        kind = ("tag" if name.startswith("tag") else "branch") if self.calm else self.random.choice(["branch", "tag", "TAG", "twig"])
        ref = {"action": "set-snapshot-ref", "ref-name": name, "type": kind, "snapshot-id": self.random.choice(known if known and self.calm else known * 3 + [123])}
        for name in ("min-snapshots-to-keep", "max-snapshot-age-ms", "max-ref-age-ms"):
            if self.odd(0.15) or kind == "branch" and self.chance(0.1):
                ref[name] = self.random.choice([1, 100] if self.calm else [1, 100, 0, -1])
        return ref if known or not self.calm else []

    def remove_ref(self, table):
        return {"action": "remove-snapshot-ref", "ref-name": self.random.choice(["dev", "tag1", "none", "main"])}

    def remove_snapshots(self, table):
        known = self.snapshots(table)
        return {"action": "remove-snapshots", "snapshot-ids": self.random.sample(known, min(len(known), self.random.randint(0, 2))) + ([99] if self.chance(0.1) else [])}

    def upgrade(self, table):
        now = table["format-version"]
        version = self.random.choice([now, min(now + 1, 3), 3] if self.calm else [now + 1, 2, 3, 4, 1, 0])
        update = {"action": "upgrade-format-version", "format-version": version}
        if table["format-version"] < version < 4:
            table["format-version"] = version
        return update

    def statistics(self, table):
        snapshot = self.random.choice(self.snapshots(table) + [3])
        file = {"snapshot-id": snapshot, "statistics-path": f"{table['location']}/metadata/s.stats", "file-size-in-bytes": 10, "file-footer-size-in-bytes": 5, "blob-metadata": [
            {"type": "apache-datasketches-theta-v1", "snapshot-id": snapshot, "sequence-number": 1, "fields": [1], "properties": {"ndv": "1"}}][: self.random.randint(0, 1)]}
        return self.random.choice([{"action": "set-statistics", "snapshot-id": snapshot, "statistics": file}, {"action": "set-statistics", "statistics": file},
                                   {"action": "remove-statistics", "snapshot-id": snapshot}])

    def partition_statistics(self, table):
        snapshot = self.random.choice(self.snapshots(table) + [3])
        file = {"snapshot-id": snapshot, "statistics-path": f"{table['location']}/metadata/p.parquet", "file-size-in-bytes": 10}
        return self.random.choice([{"action": "set-partition-statistics", "partition-statistics": file}, {"action": "remove-partition-statistics", "snapshot-id": snapshot}])

    def remove_specs(self, table):
        current = [table["default-spec-id"]] if self.calm else []
        return {"action": "remove-partition-specs", "spec-ids": self.random.sample([one for one in (0, 1, 2, 9) if one not in current], self.random.randint(0, 2))}

    def remove_schemas(self, table):
        current = [table["current-schema-id"]] if self.calm else []
        return {"action": "remove-schemas", "schema-ids": self.random.sample([one for one in (0, 1, 2, 9) if one not in current], self.random.randint(0, 2))}

    def strange(self, table):
        return self.random.choice([{"action": "nothing"}, {}, {"action": None}, {"action": "assign-uuid", "uuid": table["table-uuid"]}, {"action": "assign-uuid"},
                                   {"action": "set-location", "location": table["location"] + "/"}, {"action": "SET-PROPERTIES", "updates": {}},
                                   {"action": "set-properties", "updated": {"a": "b"}}, {"action": "remove-properties", "removed": ["a"]}])

    def key(self, table):
        return self.random.choice([{"action": "add-encryption-key", "encryption-key": {"key-id": "k", "encrypted-key-metadata": "AAECAw=="}},
                                   {"action": "add-encryption-key", "encryption-key": {"key-id": "k2", "encrypted-key-metadata": "AAEC", "encrypted-by-id": "k", "properties": {"a": "b"}}},
                                   {"action": "remove-encryption-key", "key-id": "k"}])

    UPDATES = ([set_properties, remove_properties, set_current_schema, set_default_spec, set_default_order, remove_ref, remove_snapshots, upgrade, statistics,
                partition_statistics, remove_specs, remove_schemas, key, set_ref] + [add_schema, add_spec, add_order] * 3 + [add_snapshot] * 6)

    # -- One value broken

    def broken(self, body):
        """A copy with one value of it replaced, taken away, or doubled."""
        body = copy.deepcopy(body)
        places = []

        def walk(value):
            for key in (value if isinstance(value, dict) else range(len(value))):
                places.append((value, key))
                if isinstance(value[key], (dict, list)):
                    walk(value[key])

        walk(body)
        holder, key = self.random.choice(places)
        kind = self.random.randrange(6)
        old = holder[key]
        if kind == 0:
            del holder[key]
        elif kind == 1:
            holder[key] = None
        elif kind == 2 and isinstance(holder, list):
            holder.append(copy.deepcopy(old))
        elif kind == 2 or kind == 3:
            holder[key] = self.random.choice([-1, 0, 1 << 31, 1 << 63, 1.5, 1.0, "1", True, [], {}, "", [1], {"a": 1}])
        elif isinstance(old, bool):
            holder[key] = str(old).lower()
        elif isinstance(old, int):
            holder[key] = self.random.choice([str(old), old + 0.0, old + 1, -old])
        elif isinstance(old, str):
            holder[key] = self.random.choice([old.upper(), old + " ", old + "x", [old]])
        else:
            holder[key] = None
        return body


# ---- Comparing ----

def plain(metadata):
    """Metadata without what each server chooses for itself."""
    text = json.dumps(metadata).replace(json.dumps(metadata["location"])[1:-1], "LOCATION")
    metadata = json.loads(text)
    metadata["table-uuid"] = "UUID"
    metadata["last-updated-ms"] = 0
    metadata["metadata-log"] = len(metadata.get("metadata-log", []))
    # Order without a meaning: the reference groups them by snapshot.
    for files in ("statistics", "partition-statistics"):
        metadata.get(files, []).sort(key=lambda file: file["snapshot-id"])
    given = {snapshot["snapshot-id"]: snapshot["timestamp-ms"] for snapshot in metadata.get("snapshots", [])}
    for entry in metadata.get("snapshot-log", []):
        if entry["timestamp-ms"] != given.get(entry["snapshot-id"]):
            entry["timestamp-ms"] = 0
    return metadata


def differences(ours, theirs, path=""):
    """Paths at which two JSON values differ, with both values."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        found = []
        for key in sorted(set(ours) | set(theirs)):
            found += differences(ours.get(key, ABSENT), theirs.get(key, ABSENT), f"{path}.{key}" if path else key)
        return found
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return [found for at, pair in enumerate(zip(ours, theirs)) for found in differences(*pair, f"{path}[{at}]")]
    return [] if same(ours, theirs) else [(path, ours, theirs)]


def same(ours, theirs):
    return ours == theirs and isinstance(ours, bool) == isinstance(theirs, bool)


ABSENT = "(absent)"


def error(answer):
    status, body = answer
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        return body["error"].get("type"), str(body["error"].get("message"))
    return None, str(body)


class Difference:
    """One request that was answered differently. `where` is `status`, `type`, `pyiceberg`, or a path in the metadata."""

    def __init__(self, where, ours, theirs, request):
        self.where, self.ours, self.theirs, self.request = where, ours, theirs, request

    def __str__(self):
        return f"{self.where}: ours {self.ours!s:.300} | reference {self.theirs!s:.300} | {json.dumps(self.request)[:1500]}"


REFUSALS = {"ValidationException", "IllegalArgumentException", "BadRequestException"}


def status(ours, theirs):
    """A rule for two statuses with what they say, by the beginnings or patterns of both."""
    return lambda d: d.where == "status" and re.match(ours, d.ours, re.DOTALL) and re.match(theirs, d.theirs, re.DOTALL)


def kinds(d):
    return d.where == "type" and {d.ours.split(":")[0], d.theirs.split(":")[0]} <= REFUSALS


def without_repeats(log):
    """The snapshots of a log in their order, each once in a row."""
    ids = [entry["snapshot-id"] for entry in log]
    return [one for at, one in enumerate(ids) if at == 0 or ids[at - 1] != one]


# What may differ: its name, whether a difference belongs to it, the reason; and whether the two tables are no longer alike then.
MEANT = [
    ("page-500", status("400 ", "500 None: <html>"), "what its parsers refuse, the reference's servlet answers with 500 and a page; here it is 400", True),
    ("unnamed-500", status("400 ", r"500 \w+Exception: "), "exceptions that the reference has no answer for are 500 there; here the request is at fault, 400", True),
    ("unsupported-406", status("400 ", "406 UnsupportedOperationException: "), "406 is for what a server cannot do at all; a transform of the wrong type is a fault of the request, 400", True),
    ("which-refusal", kinds, "what is refused with 400 in both may break two rules, or one that the reference checks in several places", False),
    ("stale-sequence", status("409 CommitFailedException: Validation failed, please retry: Cannot add (a )?snapshot", "400 ValidationException: Cannot (add|set) "),
     "a stale sequence number or row id can be sent again: 409 as in the reference from 1.11 on", True),
    ("stuck", status("", "0 "), "the reference accepted before what it cannot read back, and tries again and again", True),
    ("two-faults", status("400 ", "409 CommitFailedException: Requirement failed"), "a request that is malformed is refused for that, before its requirements are looked at", True),
    ("two-faults-page", status("409 CommitFailedException: Requirement failed", "500 None: <html>"), "the reference builds parts of a request while it parses", True),
    ("last-added", status("200", "400 ValidationException: Cannot set last added (schema|spec|sort order): no"),
     "what an update of the same request found to be there already is the last added too", True),
    ("v1-sequence", status("200", "400 IllegalArgumentException: Sequence number must be 0 in v1"), "version 1 has no sequence numbers: one that is sent is dropped", True),
    ("older-sequence", status("200", "400 ValidationException: Invalid snapshot with sequence number \d+ greater than last"),
     "the table's last sequence number never goes down, so a snapshot without parent and with a low one does no harm", True),
    ("unknown-default", status("400 IllegalArgumentException: Cannot set (current schema|default partition spec|default sort order) to unknown", "200"),
     "a schema, spec or order that is not there is refused where it is named, also when another is set after it", True),
    ("strict-values", status("400 BadRequestException: Invalid field: (stage-create is not a boolean|name is not a string|properties is not an object of strings)", "200"),
     "booleans, names and properties have their JSON type; the reference turns other values into them", True),
    ("null-members", status("200", "500 .*(Cannot create expression literal from null|Cannot parse (summary|string map) from non-object value: .{0,20}null|Cannot parse to a(n integer| long) value: [a-z-]+: null)"),
     "an optional member that is null is one that is absent, and is not kept", True),
    ("whole-numbers", status("200", r"500 .*Cannot parse default as a (float|double) value: -?\d+[ <]"), "a whole number is a float or double as well, and is kept with its point", True),
    ("order-ids", status("200", "500 .*(Unsorted order ID must be 0|Sort order ID 0 is reserved|Cannot parse missing int: (spec|order)-id)"),
     "a create gives out the ids of spec and order itself", True),
    ("padded-version", status("200", "500 NumberFormatException: For input string: \"( .|. | . )\""), "blanks around a format version do no harm", True),
    ("future-snapshot", status("400 IllegalArgumentException: Invalid snapshot timestamp", "200"),
     "a snapshot from the future is refused when it is added; the reference does so when it enters a log, and others cannot commit until then", True),
    ("retry-properties", status("400 ValidationException: Table property commit", "200"), "what makes every later commit of the reference's clients fail is refused", True),
    ("pyiceberg-cannot", status("400 BadRequestException: Invalid (transform|snapshot operation): ", "200"), "PyIceberg cannot load a transform without its width, or another operation than the four", True),
    ("plural-transforms", status("400 ValidationException: Invalid source type [^:]+ for transform: (year|month|day|hour)", "200"), "years is year, as clients of the first version wrote it", True),
    ("older-sequence-kept", lambda d: d.where == "last-sequence-number" and d.ours > d.theirs, "as older-sequence", True),
    ("initial-default", status("400 ValidationException: Cannot change initial default of existing field", "200"), "the specification fixes an initial default when its column is added", True),
    ("promoted-date", status("200", "400 ValidationException: Invalid source type timestamp for transform: (year|month|day)"),
     "a date that becomes a timestamp keeps its year, month and day, and the specification allows it then", True),
    ("precision", status("400 .*Invalid default for [^:]+: cannot parse default as a (time|timestamp|timestamptz)(_ns)? value: \"[^\"]*\\.\\d{7,}", "200"),
     "a default with more digits than its type has is refused; the reference cuts them off", True),
    ("statistics-ids", status("400 BadRequestException: Invalid statistics: snapshot-id -?\\d+ of the update", "200"), "an update that names two snapshots for one file is refused", True),
    ("negative-sequence", status("400 ValidationException: Invalid sequence number: -", "200"), "a sequence number below zero is none", True),
    ("action-case", status("400 BadRequestException: Unrecognized (metadata update action|update requirement type): [A-Z-]+$", "200"), "actions and requirements are spelled as the protocol spells them", True),
    ("version-4", status(r"400 IllegalArgumentException: (Cannot upgrade table to unsupported|Unsupported) format version: v\d+", "200"), "format versions above 3 are not adopted", True),
    ("main-is-a-branch", status("400 BadRequestException: Cannot set main to a tag", "200"), "the specification has main for a branch", True),
    ("unknown-snapshots", status("200", "400 IllegalArgumentException: arraySize cannot be negative"), "the reference fails at the removal of snapshots that are not there; here they are gone", True),
    ("snapshot-minus-one", status("400 BadRequestException: Invalid snapshot id: -1", "200"), "the id means that there is no snapshot", True),
    ("empty-transform", status("400 BadRequestException: Cannot parse empty transform", "200"), "a transform without a name is none", True),
    ("schema-ids", lambda d: re.match(r"schemas\[\d+\]\.schema-id$|current-schema-id$", d.where), "a new schema takes no id that a snapshot names", True),
    ("no-operation", lambda d: re.match(r"snapshots\[\d+\]\.summary\.operation$", d.where) and d.ours == ABSENT and d.theirs == "overwrite",
     "a summary without its operation is kept as sent; readers take it for an overwrite", False),
    ("empty-summary", lambda d: re.match(r"snapshots\[\d+\]\.summary$", d.where) and d.ours == {} and d.theirs == ABSENT, "a summary is kept as sent, an empty one included", False),
    ("created-at", lambda d: d.where == "properties.created-at", "the reference's handler keeps when a table was made as a property", False),
    ("same-snapshot", lambda d: d.where == "snapshot-log" and without_repeats(d.ours) == without_repeats(d.theirs),
     "the log has the changes of main; the reference also writes one when only the retention of main is set", True),
    ("key-properties", lambda d: re.match(r"encryption-keys\[\d+\]\.properties$", d.where) and d.ours == {} and d.theirs == ABSENT,
     "an encryption key is kept as sent, empty properties included", False),
    ("row-id-gap", lambda d: d.where == "next-row-id" and d.ours > d.theirs, "behind a snapshot that leaves a gap the next row id is that after its rows; the reference gives ids twice", True),
    ("key-bits", lambda d: d.where.endswith(".encrypted-key-metadata") and d.ours[:5] == d.theirs[:5], "base64 is kept as sent; the reference clears the bits that stand for nothing", False),
    ("no-change", lambda d: d.where == "metadata-log", "a commit that changes nothing writes no metadata file", False),
    ("partition-ids", lambda d: re.match(r"(partition-specs\[\d+\]\.fields\[\d+\]|partition-spec\[\d+\])\.field-id$|last-partition-id$", d.where),
     "a partition field without an id gets that of its source and transform, or a new one; the reference begins at 1000 and gives an id a second meaning", True),
    ("pyiceberg-types", lambda d: d.where == "pyiceberg" and re.search(r"variant|geometry|geography|(timestamp(tz)?_ns not supported)", d.ours),
     "PyIceberg 0.12 has no variant, wants quotes in geometry and geography, and reads no defaults in nanoseconds", False),
]


def compare(ours, theirs, request):
    if ours[0] != theirs[0]:
        said = [f"{answer[0]} {': '.join(map(str, error(answer))) if answer[0] >= 300 else ''}" for answer in (ours, theirs)]
        return [Difference("status", *said, request)]
    if ours[0] >= 300:
        types = [f"{kind}: {text}" for kind, text in (error(ours), error(theirs))]
        return [] if error(ours)[0] == error(theirs)[0] else [Difference("type", *types, request)]
    if ours[0] == 204:
        return []
    found = differences(plain(ours[1]["metadata"]), plain(theirs[1]["metadata"]))
    return [Difference(path, mine, other, request) for path, mine, other in found]


def loads(answer, request):
    try:
        TableMetadataUtil.parse_obj(answer[1]["metadata"])
    except Exception as cause:  # whatever the client raises, it cannot load the table
        return [Difference("pyiceberg", f"{type(cause).__name__}: {cause}", "", request)]
    return []


class Run:
    def __init__(self, ours, theirs):
        self.ours, self.theirs = ours, theirs
        self.maker = Maker(SEED)
        self.sent = self.accepted = 0
        self.meant = {}
        self.found = []

    def send(self, method, path, body, adapt=lambda server, body: body):
        """One request to both; what they answered, while the two tables are still alike."""
        self.sent += 1
        path = urllib.parse.quote(path, safe="/")
        answers = [server.call(method, path, adapt(server, body)) for server in (self.ours, self.theirs)]
        found = compare(*answers, body)
        if answers[0][0] == 200:
            self.accepted += 1
            found = found + loads(answers[0], body)
            if found or self.maker.chance(REGISTERED_SHARE):
                found = found + self.registers(answers[0], body)
        alike = True
        for difference in found:
            row = next((row for row in MEANT if row[1](difference)), None)
            if row is None:
                self.found.append(difference)
            else:
                self.meant[row[0]] = self.meant.get(row[0], 0) + 1
            alike = alike and row is not None and not row[3]
        return answers if alike else None

    def registers(self, answer, request):
        """Whether the reference can load the metadata file that ours wrote."""
        location = answer[1].get("metadata-location")
        if location is None:
            return []
        name = f"registered{self.sent}"
        path = f"/namespaces/{NAMESPACE}"
        status, said = self.theirs.call("POST", f"{path}/register", {"name": name, "metadata-location": location})
        if status != 200:
            return [Difference("registers", f"200 {json.dumps(answer[1]['metadata'])[:600]}", f"{status} {said}", request)]
        self.theirs.call("DELETE", f"{path}/tables/{name}")
        return []

    def table(self, name):
        path = f"/namespaces/{NAMESPACE}/tables"
        answers = self.send("POST", path, self.maker.create(name))
        if not answers or answers[0][0] != 200 or answers[0][1].get("metadata-location") is None:
            return
        states = {server.name: answer[1]["metadata"] for server, answer in zip((self.ours, self.theirs), answers)}
        for _ in range(self.maker.random.randint(1, COMMITS_OF_A_TABLE_MAX)):
            if self.sent >= COUNT or len(self.found) >= SHOWN_MAX:
                break
            mine = states[self.ours.name]

            def adapt(server, body):
                text = json.dumps(body)
                for key in ("location", "table-uuid"):
                    text = text.replace(json.dumps(mine[key])[1:-1], json.dumps(states[server.name][key])[1:-1])
                return json.loads(text)

            answers = self.send("POST", f"{path}/{name}", self.maker.commit(mine), adapt)
            if answers is None:
                break
            if answers[0][0] == 200:
                states = {server.name: answer[1]["metadata"] for server, answer in zip((self.ours, self.theirs), answers)}
        for server in (self.ours, self.theirs):
            server.call("DELETE", f"{path}/{name}")

    def all(self):
        for server in (self.ours, self.theirs):
            status, answer = server.call("POST", "/namespaces", {"namespace": [NAMESPACE]})
            assert status == 200, f"{server.name}: {status} {answer}"
        number = 0
        while self.sent < COUNT and len(self.found) < SHOWN_MAX:
            number += 1
            self.table(f"t{number}")
        print(f"reference: seed {SEED}, {self.sent} requests, {self.accepted} accepted", flush=True)
        for name, _, reason, _ in MEANT:
            print(f"MEANT {self.meant.get(name, 0)} {name} | {reason}", flush=True)
        for difference in self.found:
            print(f"DIFFERENT {difference}", flush=True)
        assert not self.found, f"{len(self.found)} differences, seed {SEED}"
        assert self.accepted * 4 > self.sent, f"{self.accepted} of {self.sent} requests were accepted: they test little"


def main():
    steps = Steps("reference")

    def agree():
        warehouse = nilas.warehouse("reference")
        status, answer = nilas.catalog_call("GET", f"/v1/config?warehouse={warehouse}")
        assert status == 200, answer
        prefix = answer.get("overrides", {}).get("prefix", answer.get("defaults", {}).get("prefix", warehouse))
        with Reference(warehouse) as partner:
            ours = Server("nilas", nilas.CATALOG_URI, f"/{prefix}", token(), OURS_SECONDS_MAX)
            theirs = Server("reference", partner.uri, "", "nobody asks", REFERENCE_SECONDS_MAX)
            Run(ours, theirs).all()

    steps("agrees-with-the-reference", agree)
    steps.close()


if __name__ == "__main__":
    main()
