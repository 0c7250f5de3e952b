"""What the catalog accepts, its clients can load: generated creates and commits, right ones and wrong ones mixed.

The metadata of every accepted request is parsed by PyIceberg and by the Java reference (rck/Loader.java); every refused one
must be refused as a mistake of the request. Requests differ in what public reports and the reference's own parsers show to
matter: spelling, default values, nulls, ranges, names, specs beside schemas, sequence numbers and row ids, clocks.
Environment: SEED (printed, the same seed gives the same requests), ROUNDS tables.
"""
import json
import os
import random
import subprocess
import time
import warnings

import maven
import nilas
from steps import Steps

from pyiceberg.table.metadata import TableMetadataUtil

warnings.simplefilter("ignore")

SEED = int(os.environ.get("SEED") or time.time())
ROUNDS = int(os.environ.get("ROUNDS", "120"))
COMMITS = 5
# Requests that must be accepted, of a hundred: else the generator shows nothing.
ACCEPTED_PERCENT_MIN = 30

# What PyIceberg 0.12 does not implement though the specification has it; each with the words it fails with.
PYICEBERG_LACKS = {
    "Type not recognized: variant": "the type",
    "Unsupported field type: 'variant'": "the type",
    "Could not parse geometry(": "coordinate systems without quotes, as the specification and the reference write them",
    "Could not parse geography(": "the same",
    "type timestamp_ns not supported": "default values of the type",
    "type timestamptz_ns not supported": "default values of the type",
}

rng = random.Random(SEED)
warehouse = nilas.warehouse("metadata")
namespace = "ns"
documents = []
counts = {"accepted": 0, "refused": 0}

TIME = "10:11:12"
# Per type: values it takes, and such as are near misses.
VALUES = {
    "boolean": ([True, False], [1, "true"]),
    "int": ([0, -5, 2**31 - 1], [2**31, 1.5, "1"]),
    "long": ([0, 2**63 - 1, -(2**63)], [2**63, 1.0, "1"]),
    "float": ([1, 1.5, -0.0, 1e38], [1e39, "NaN", "1.5"]),
    "double": ([1, 1e300, 12345678901234567890, 0.1], ["Infinity", True]),
    "decimal(9,2)": (["1.25", "-0.25", "1234567.89", "125E-2", "+1.00", ".50"], ["1.2345", "1", "12345678.90", 1.25, ""]),
    "decimal(38,0)": (["9" * 38, "0", "-7"], ["9" * 39, "1.0"]),
    "date": (["2020-02-29", "0001-01-01", "9999-12-31"], ["2020-02-30", "20200229", "+10000-01-01", "0000-01-01", 5]),
    "time": ([TIME, TIME + ".5", "10:11", "23:59:59.999999"], ["24:00:00", TIME + ".", TIME + ".1234567", "10"]),
    "timestamp": (["2020-01-01T" + TIME, "2020-01-01T10:11", "2020-01-01T10:11:12.5"], ["2020-01-01T10:11:12Z", "2020-01-01 10:11:12", "2020-01-01"]),
    "timestamptz": (
        ["2020-01-01T10:11:12+00:00", "2020-01-01T10:11:12.25Z", "2020-01-01T10:11:12-00:00"],
        ["2020-01-01T10:11:12", "2020-01-01T10:11:12+01:00", "2020-01-01T10:11:12+00:00[UTC]"],
    ),
    "timestamp_ns": (["2020-01-01T10:11:12.123456789"], ["3000-01-01T00:00:00", "2020-01-01T10:11:12.1234567890"]),
    "timestamptz_ns": (["2020-01-01T10:11:12.123456789+00:00"], ["2020-01-01T10:11:12.123456789"]),
    "string": (["", "ä\u0000\U0001f600"], [5, ["x"]]),
    "uuid": (["f79c3e09-677c-4bbd-a479-3f349cb785e7", "F79C3E09-677C-4BBD-A479-3F349CB785E7"], ["abc", "f79c3e09677c4bbda4793f349cb785e7"]),
    "fixed[4]": (["000102ff", "000102FF"], ["ABCD", "0001020g"]),
    "binary": (["", "00fF"], ["0", "zz"]),
    "unknown": ([], ["x"]),
    "variant": ([], ["x"]),
    "geometry": ([], ["POINT(1 1)"]),
    "geography(srid:4326, karney)": ([], ["POINT(1 1)"]),
}
BAD_TYPES = ["decimal(39,2)", "decimal(0,0)", "fixed[4294967295]", "geometry(a,b)", "geography(,karney)", "geography(a,b)", "integer", "timestamp_s"]
TRANSFORMS = ["identity", "bucket[4]", "truncate[3]", "year", "month", "day", "hour", "void", "zorder[2]"]
BAD_TRANSFORMS = ["bucket[0]", "bucket[-1]", "bucket[ 4 ]", "truncate[99999999999]", "bucket[2147483648]", "zorder[99999999999]", "truncate", ""]
MISTAKES_PER_REQUEST = 0.25


class Table:
    """What the generator knows of a table: the last metadata it was answered."""

    def __init__(self, name, metadata):
        self.name = name
        self.metadata = metadata
        self.snapshots = 0

    def columns(self):
        current = self.metadata["current-schema-id"]
        return next(s for s in self.metadata["schemas"] if s["schema-id"] == current)["fields"]


def chance(of):
    return rng.random() < of


def odd(text):
    """The same word in another spelling, now and then."""
    choice = rng.randrange(6)
    if choice == 0:
        return text.upper() if "srid" not in text else text
    if choice == 1:
        return text.replace("[", "[ ").replace("(", "( ").replace(",", " , ") if "srid" not in text else text
    return text


def default_keys(ty, wrong):
    good, bad = VALUES[ty]
    keys = {}
    for key in ("initial-default", "write-default"):
        if wrong and chance(0.5):
            keys[key] = rng.choice(bad)
        elif good and chance(0.3):
            keys[key] = rng.choice(good)
        elif chance(0.1):
            keys[key] = None
    return keys


def a_type(ids, depth, wrong, version):
    if depth < 2 and chance(0.2):
        kind = rng.randrange(3)
        if kind == 0:
            return {"type": "struct", "fields": [field(ids, depth + 1, wrong, version) for _ in range(rng.randrange(3))]}
        required = chance(0.5)
        if kind == 1:
            return {"type": "list", "element-id": next(ids), "element": a_type(ids, depth + 1, wrong, version), "element-required": required}
        key, value = next(ids), next(ids)
        return {"type": "map", "key-id": key, "key": "string", "value-id": value, "value": a_type(ids, depth + 1, wrong, version), "value-required": required}
    if wrong and chance(0.2):
        return rng.choice(BAD_TYPES)
    older = [ty for ty in VALUES if version >= 3 or not ty.startswith(("timestamp_ns", "timestamptz_ns", "unknown", "variant", "geo"))]
    return odd(rng.choice(older))


def field(ids, depth, wrong, version):
    ident = next(ids)
    ty = a_type(ids, depth, wrong, version)
    name = rng.choice(["", "Ä", "a.b", "x"]) + f"c{ident}" if not (wrong and chance(0.1)) else "c1"
    made = {"id": ident, "name": name, "required": chance(0.4), "type": ty, **({"doc": None} if chance(0.1) else {})}
    plain = ty.lower().replace(" ", "") if isinstance(ty, str) else ""
    known = next((t for t in VALUES if t.replace(" ", "").lower() == plain), None)
    if known in ("unknown",) and not wrong:
        made["required"] = False
    if known and version >= 3:
        made.update(default_keys(known, wrong and chance(0.5)))
    elif not known and wrong and chance(0.3):
        made["write-default"] = rng.choice([{}, []])
    return made


def schema(first, wrong, version, keep=()):
    ids = iter(range(first, first + 1000))
    fields = [*keep, *(field(ids, 0, wrong, version) for _ in range(rng.randrange(1, 5)))]
    made = {"type": "struct", "schema-id": rng.randrange(3), "fields": fields}
    if chance(0.2):
        made["identifier-field-ids"] = rng.choice([None, [], [f["id"] for f in fields if f["required"] and f["type"] in ("int", "long", "string")]])
    return made


def sources(columns):
    return [c["id"] for c in columns if isinstance(c["type"], str)] or [1]


def transform(wrong):
    return rng.choice(BAD_TRANSFORMS) if wrong and chance(0.5) else rng.choice([str.lower, str.upper, str.title])(rng.choice(TRANSFORMS))


def spec(columns, wrong):
    fields = []
    for at in range(rng.randrange(3)):
        source = rng.choice(sources(columns))
        one = {"name": rng.choice([f"p{source}_{rng.randrange(50)}", f"c{source}"]), "transform": transform(wrong)}
        one["source-ids" if chance(0.1) else "source-id"] = source
        if "source-ids" in one:
            one["source-ids"] = [source, source] if wrong and chance(0.5) else [source]
        if wrong and chance(0.2):
            one["field-id"] = 1000
        fields.append(one)
    return {"spec-id": rng.randrange(3), "fields": fields}


def order(columns, wrong):
    fields = [
        {
            "source-id": rng.choice(sources(columns)),
            "transform": transform(wrong),
            "direction": rng.choice(["asc", "desc", "ASC", "Desc"]),
            "null-order": rng.choice(["nulls-first", "nulls-last", "NULLS-LAST"]),
        }
        for _ in range(rng.randrange(3))
    ]
    return {"order-id": 0 if not fields or (wrong and chance(0.3)) else 1, "fields": fields}


def properties(wrong):
    made = {f"p{rng.randrange(5)}": "x"} if chance(0.5) else {}
    if wrong and chance(0.3):
        key = rng.choice(["write.metadata.previous-versions-max", "commit.retry.num-retries", "n" * 50_001])
        made[key] = rng.choice(["99999999999", "x", "-1", "1"])
    return made


def snapshot(table, wrong):
    at = table.metadata
    version = at["format-version"]
    table.snapshots += 1
    made = {
        "snapshot-id": rng.choice([-1, 0]) if wrong and chance(0.1) else rng.randrange(1, 2**62),
        "parent-snapshot-id": at.get("current-snapshot-id") if (at.get("current-snapshot-id") or -1) != -1 else None,
        "sequence-number": at.get("last-sequence-number", 0) + 1,
        "timestamp-ms": int(time.time() * 1000),
        "manifest-list": f"s3://{warehouse}/{table.name}/list-{table.snapshots}.avro",
        "summary": {"operation": rng.choice(["append", "overwrite", "delete", "replace"]), "added-records": "1"},
        "schema-id": at["current-schema-id"],
    }
    if version >= 3 or chance(0.2):
        made["first-row-id"] = at.get("next-row-id", 0) + rng.choice([0, 0, 7])
        made["added-rows"] = rng.randrange(10)
    if wrong:
        key, values = rng.choice(
            [
                ("timestamp-ms", [made["timestamp-ms"] + 61_000 * 5, made["timestamp-ms"] - 61_000 * 5, 0]),
                ("summary", [None, {}, {"operation": "merge"}, {"operation": "APPEND"}, {"operation": None}]),
                ("manifest-list", [None]),
                ("added-rows", [None, -1]),
                ("sequence-number", [None, 0, 2**63 - 1, -1]),
            ]
        )
        made[key] = rng.choice(values)
        if chance(0.1):
            del made["manifest-list"]
            made["manifests"] = []
    return made


def updates(table, wrong):
    at, version, made = table.metadata, table.metadata["format-version"], []
    for _ in range(rng.randrange(1, 4)):
        kind = rng.randrange(9)
        if kind == 0:
            keep = [c for c in table.columns() if chance(0.8)]
            if wrong and keep and chance(0.4):
                keep[0] = {**keep[0], "type": rng.choice(list(VALUES)), "initial-default": None, "write-default": None}
            added = schema(at["last-column-id"] + 1, wrong, version, keep)
            if wrong and chance(0.3):
                names = [f["name"] for s in at["partition-specs"] for f in s["fields"]]
                added["fields"][-1]["name"] = rng.choice(names or ["c1"])
            made += [{"action": "add-schema", "schema": added, "last-column-id": rng.randrange(50)}, {"action": "set-current-schema", "schema-id": -1}]
        elif kind == 1:
            made += [{"action": "add-spec", "spec": spec(table.columns(), wrong)}, {"action": "set-default-spec", "spec-id": -1}]
        elif kind == 2:
            made += [{"action": "add-sort-order", "sort-order": order(table.columns(), wrong)}, {"action": "set-default-sort-order", "sort-order-id": -1}]
        elif kind in (3, 4):
            added = snapshot(table, wrong)
            name, ref = rng.choice([("main", "branch"), ("main", "BRANCH"), ("b", "Branch"), ("t", "tag")])
            retention = {"max-ref-age-ms": rng.choice([None, 5, 0] if wrong else [None, 5])}
            made += [{"action": "add-snapshot", "snapshot": added}, {"action": "set-snapshot-ref", "ref-name": name, "type": ref, "snapshot-id": added["snapshot-id"], **retention}]
        elif kind == 5:
            made.append({"action": "set-properties", "updates": properties(wrong)})
        elif kind == 6 and version < 3:
            made.append({"action": "upgrade-format-version", "format-version": version + 1})
            version += 1
        elif kind == 7:
            blob = {"type": "apache-datasketches-theta-v1", "snapshot-id": 1, "sequence-number": 1, "fields": [1], "properties": rng.choice([None, {}, {"a": "b"}])}
            file = {"snapshot-id": rng.randrange(5), "statistics-path": "s3://p", "file-size-in-bytes": 1, "file-footer-size-in-bytes": 1, "blob-metadata": [blob]}
            made.append({"action": "set-statistics", "statistics": file})
            made.append({"action": "set-partition-statistics", "partition-statistics": {k: file[k] for k in list(file)[:3]}})
        elif kind == 8 and version >= 3:
            text = rng.choice(["aGk=", "aGk", ""] if not wrong else ["a_-k", "a", "aGk=="])
            made.append({"action": "add-encryption-key", "encryption-key": {"key-id": f"k{rng.randrange(3)}", "encrypted-key-metadata": text, "properties": rng.choice([None, {}])}})
    if wrong and chance(0.3):
        rng.shuffle(made)
    return made


def ask(method, path, body):
    """One request; keeps what was accepted, and answers the metadata or None."""
    status, answer = nilas.catalog_call(method, f"/v1/{warehouse}{path}", body)
    if status == 200:
        counts["accepted"] += 1
        documents.append((json.dumps(body), answer["metadata"]))
        return answer["metadata"]
    counts["refused"] += 1
    assert status in (400, 409), f"{status} {answer} for {json.dumps(body)}"
    return None


def generate():
    status, answer = nilas.catalog_call("POST", f"/v1/{warehouse}/namespaces", {"namespace": [namespace]})
    assert status == 200, f"{status} {answer}"
    for at in range(ROUNDS):
        version = rng.choice([1, 2, 3, 3])
        name = f"t{at}"
        metadata = None
        while metadata is None:
            wrong = chance(MISTAKES_PER_REQUEST)
            columns = schema(1, wrong, version)
            body = {"name": name, "schema": columns, "properties": {"format-version": str(version), **properties(wrong)}}
            if chance(0.5):
                body["partition-spec"] = spec(columns["fields"], wrong)
            if chance(0.5):
                body["write-order"] = order(columns["fields"], wrong)
            metadata = ask("POST", f"/namespaces/{namespace}/tables", body)
        table = Table(name, metadata)
        for _ in range(COMMITS):
            wrong = chance(MISTAKES_PER_REQUEST)
            body = {"requirements": [{"type": "assert-table-uuid", "uuid": metadata["table-uuid"]}], "updates": updates(table, wrong)}
            table.metadata = ask("POST", f"/namespaces/{namespace}/tables/{name}", body) or table.metadata
    total = counts["accepted"] + counts["refused"]
    print(f"seed {SEED}: {counts['accepted']} of {total} requests accepted", flush=True)
    assert total * ACCEPTED_PERCENT_MIN <= counts["accepted"] * 100, "too few requests were accepted to show anything"
    assert counts["refused"], "no request was refused: the generator makes no mistakes any more"


def report(failures):
    for request, why in failures[:5]:
        print(f"  {why[:300]}\n    after {request[:1500]}", flush=True)
    assert not failures, f"{len(failures)} of {len(documents)} documents cannot be loaded (seed {SEED})"


def pyiceberg_loads():
    failures = []
    for request, metadata in documents:
        try:
            table = TableMetadataUtil.parse_obj(json.loads(json.dumps(metadata)))
            table.schema(), table.spec(), table.sort_order(), table.current_snapshot()
        except Exception as error:
            if not any(words in str(error) for words in PYICEBERG_LACKS):
                failures.append((request, f"{type(error).__name__}: {error}"))
    report(failures)


def reference_loads():
    command = ["java", "-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", maven.class_path(), os.path.join(maven.HERE, "rck", "Loader.java")]
    lines = "".join(json.dumps(metadata) + "\n" for _, metadata in documents)
    done = subprocess.run(command, input=lines.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=maven.SECONDS_MAX)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    verdicts = done.stdout.decode().splitlines()
    assert len(verdicts) == len(documents), f"{len(verdicts)} verdicts for {len(documents)} documents"
    report([(request, verdict) for (request, _), verdict in zip(documents, verdicts) if verdict != "ok"])


Steps("metadata").run(
    [
        ("generated creates and commits", generate),
        ("PyIceberg loads what was accepted", pyiceberg_loads),
        ("the Java reference loads what was accepted", reference_loads),
    ]
)
