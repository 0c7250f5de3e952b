"""Writes manifests and manifest lists as PyIceberg does, for `fuzz/corpus/manifest`: format versions 1 and 2, in the codecs that it
installs.

`python manifest_files.py FOLDER`. Those that Java writes come from `rck/Manifests.java`.
"""
import os
import sys

from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat, ManifestEntry, ManifestEntryStatus, write_manifest, write_manifest_list
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import BucketTransform, IdentityTransform
from pyiceberg.typedef import Record
from pyiceberg.types import LongType, NestedField, StringType

SCHEMA = Schema(NestedField(1, "id", LongType(), required=True), NestedField(2, "who", StringType()))
SPEC = PartitionSpec(PartitionField(2, 1000, BucketTransform(16), "who_bucket"), PartitionField(2, 1001, IdentityTransform(), "who"), spec_id=3)
SNAPSHOT = 4_177_820_387_414_649_981

io = PyArrowFileIO()
os.chdir(sys.argv[1])


def data_file(number):
    columns = {1: 1000, 2: 1000}
    return DataFile.from_args(
        content=DataFileContent.DATA, file_path=f"s3://lake/n/p/data/{number}-ä.parquet", file_format=FileFormat.PARQUET,
        partition=Record(number % 16, f"name {number}"), record_count=1000 * number, file_size_in_bytes=5000 + number, column_sizes=columns,
        value_counts=columns, null_value_counts=columns, lower_bounds={1: b"\1" * 8}, upper_bounds={1: b"\2" * 8}, split_offsets=[4], sort_order_id=0)


for version in (1, 2):
    for codec in ("null", "deflate", "zstandard"):
        name = f"pyiceberg-v{version}-{codec}"
        with write_manifest(version, SPEC, SCHEMA, io.new_output(name), SNAPSHOT, codec) as manifest:
            for number, status in enumerate(ManifestEntryStatus, 1):
                numbers = {} if status == ManifestEntryStatus.ADDED or version == 1 else {"sequence_number": number, "file_sequence_number": number}
                manifest.add_entry(ManifestEntry.from_args(
                    status=status, snapshot_id=SNAPSHOT, data_file=data_file(number), **numbers))
        listed = manifest.to_manifest_file()
        with write_manifest_list(version, io.new_output(f"{name}-list"), SNAPSHOT, None, 7, codec) as manifests:
            manifests.add_manifests([listed, listed])
