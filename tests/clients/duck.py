"""DuckDB with its extensions, for the suites that use it.

The extensions come from Python packages, so nothing is fetched at run time.
"""
import importlib.util
import os

import duckdb

import nilas

EXTENSIONS = ("avro", "httpfs", "aws", "iceberg")


def connect():
    """A connection that knows the S3 key of the server under test."""
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    connection.execute(f"set extension_directory = '{os.path.join(nilas.SCRATCH, 'duckdb-extensions')}'")
    for name in EXTENSIONS:
        package = os.path.dirname(importlib.util.find_spec(f"duckdb_extension_{name}").origin)
        found = [os.path.join(folder, file) for folder, _, files in os.walk(package) for file in files if file == f"{name}.duckdb_extension"]
        connection.execute(f"install '{found[0]}'")
        connection.execute(f"load {name}")
    connection.execute(
        f"create secret s3_key (type s3, key_id '{nilas.ACCESS_KEY}', secret '{nilas.SECRET_KEY}', endpoint '{nilas.HOST}', "
        f"url_style 'path', use_ssl false, region '{nilas.REGION}')"
    )
    return connection


def attach(connection, warehouse, name="ice"):
    """The warehouse as database `name`, its catalog calls signed with SigV4."""
    connection.execute(
        f"attach '{warehouse}' as {name} (type iceberg, endpoint '{nilas.CATALOG_URI}', authorization_type 'sigv4', "
        f"sigv4_service 's3tables', sigv4_region '{nilas.REGION}', secret 's3_key')"
    )
