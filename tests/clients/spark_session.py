"""A Spark session with one catalog, `ice`, on a warehouse of the server under test: settings as Iceberg documents them for a
REST catalog with SigV4. What the suites share of SQL.

Jars come from Maven Central by `maven.py`; needs Java 17 or newer.
"""
import logging
import os

import maven
import nilas

SPARK = "4.0"
ICEBERG = os.environ.get("ICEBERG", "1.10.1")
JARS = (f"org.apache.iceberg:iceberg-spark-runtime-{SPARK}_2.13:{ICEBERG}", f"org.apache.iceberg:iceberg-aws-bundle:{ICEBERG}")


def start(warehouse, **more):
    """`more`: further settings of the catalog, `io_impl` for `io-impl`."""
    from pyspark.sql import SparkSession

    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    place = os.path.join(nilas.SCRATCH, "spark")
    settings = {
        "catalog-impl": "org.apache.iceberg.rest.RESTCatalog",
        "uri": nilas.CATALOG_URI,
        "warehouse": warehouse,
        "rest.sigv4-enabled": "true",
        "rest.signing-name": "s3tables",
        "rest.signing-region": nilas.REGION,
        "rest.access-key-id": nilas.ACCESS_KEY,
        "rest.secret-access-key": nilas.SECRET_KEY,
        # Files of other schemes are Hadoop's: the procedures that take over files read them from a local folder.
        "io-impl": "org.apache.iceberg.io.ResolvingFileIO",
        "s3.endpoint": nilas.ENDPOINT,
        "s3.access-key-id": nilas.ACCESS_KEY,
        "s3.secret-access-key": nilas.SECRET_KEY,
        "s3.path-style-access": "true",
        "client.region": nilas.S3_REGION,
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    builder = SparkSession.builder.master("local[2]").appName("nilas")
    builder = builder.config("spark.sql.catalog.ice", "org.apache.iceberg.spark.SparkCatalog")
    for name, value in settings.items():
        builder = builder.config(f"spark.sql.catalog.ice.{name}", value)
    builder = builder.config("spark.sql.extensions", "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions")
    builder = builder.config("spark.jars", ",".join(maven.jar(one) for one in JARS))
    builder = builder.config("spark.sql.warehouse.dir", os.path.join(place, "warehouse"))
    builder = builder.config("spark.local.dir", os.path.join(place, "local")).config("spark.ui.showConsoleProgress", "false")
    builder = builder.config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
    builder = builder.config("spark.driver.memory", "2g").config("spark.ui.enabled", "false")
    builder = builder.config("spark.sql.shuffle.partitions", "2").config("spark.sql.session.timeZone", "UTC")
    session = builder.getOrCreate()
    # What fails comes back as an exception.
    session.sparkContext.setLogLevel("OFF")
    logging.getLogger("SQLQueryContextLogger").disabled = True
    return session


class Sql:
    """Short words for statements: `sql(text)` all rows, `one(text)` the first value, `count(table)`."""

    def __init__(self, session):
        self.session = session

    def __call__(self, text):
        return self.session.sql(text).collect()

    def one(self, text):
        return self(text)[0][0]

    def count(self, table):
        return self.one(f"select count(*) from {table}")

    def call(self, procedure, **arguments):
        """A procedure of the catalog, its arguments as SQL text."""
        return self(f"call ice.system.{procedure}({', '.join(f'{name} => {value}' for name, value in arguments.items())})")

    def iceberg(self, table):
        """The Java table object."""
        return self.session._jvm.org.apache.iceberg.spark.Spark3Util.loadIcebergTable(self.session._jsparkSession, table)
