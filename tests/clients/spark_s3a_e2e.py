"""Spark on Hadoop's S3A with keys of sessions: handed over (TemporaryAWSCredentialsProvider), and made by S3A itself at this
server's STS (AssumedRoleCredentialProvider), both narrower than their user.

S3A speaks to an STS by TLS alone: a relay in front of the server takes it, with a certificate that the JVM of this suite
trusts. hadoop-aws is of Spark's own Hadoop. Needs Java 17 or newer, and openssl.
"""
import logging
import os
import socket
import ssl
import subprocess
import threading

import maven
import nilas
from people import Person, allow, arn, iam, policy, remove_bucket, root, store
from steps import Steps, eq

HADOOP = "3.4.1"
# What that names, all in one: 540 MB.
SDK = "2.24.6"
JARS = (f"org.apache.hadoop:hadoop-aws:{HADOOP}", f"software.amazon.awssdk:bundle:{SDK}")
PROVIDERS = "org.apache.hadoop.fs.s3a"
PIECE_BYTES = 64 * nilas.KIB
ROWS = 1_000

place = os.path.join(nilas.SCRATCH, nilas.unique("s3a"))
os.makedirs(place)
names = {word: nilas.unique(f"s3a-{word}") for word in ("handed", "assumed", "other")}
spark = spark_user = None


class Relay:
    """TLS on one side, the server on the other, bytes as they are."""

    def __init__(self):
        key, self.certificate = os.path.join(place, "key.pem"), os.path.join(place, "certificate.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", self.certificate, "-days", "2",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"], check=True, capture_output=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate, key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        """One request at a time: a TLS connection is not for two threads at once."""
        host, port = nilas.HOST.rsplit(":", 1)
        try:
            with self.context.wrap_socket(connection, server_side=True) as client, socket.create_connection((host, int(port))) as server:
                while request := client.recv(PIECE_BYTES):
                    while b"\r\n\r\n" not in request or len(request.split(b"\r\n\r\n", 1)[1]) < length_of(request):
                        request += client.recv(PIECE_BYTES)
                    server.sendall(request)
                    answer = server.recv(PIECE_BYTES)
                    while b"\r\n\r\n" not in answer or len(answer.split(b"\r\n\r\n", 1)[1]) < length_of(answer):
                        answer += server.recv(PIECE_BYTES)
                    client.sendall(answer)
        except OSError:
            pass

    def trusted(self):
        """A key store for the JVM with the certificate in it; answers its path and password."""
        path, password = os.path.join(place, "trusted.p12"), "changeit"
        subprocess.run(["keytool", "-importcert", "-noprompt", "-alias", "relay", "-file", self.certificate, "-keystore", path,
                        "-storetype", "PKCS12", "-storepass", password], check=True, capture_output=True)
        return path, password


def length_of(message):
    for line in message.split(b"\r\n\r\n", 1)[0].split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


def narrow(word):
    """All of one bucket, of the three that the user may use."""
    return [allow("s3:*", [arn(names[word]), arn(names[word], "*")])]


def prepare():
    global spark, spark_user
    for name in names.values():
        root.create_bucket(Bucket=name)
    spark_user = Person("spark", *(one for word in names for one in narrow(word)), allow("sts:AssumeRole"))
    session = spark_user.session(*narrow("handed"))
    relay = Relay()
    path, password = relay.trusted()
    from pyspark.sql import SparkSession

    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    builder = SparkSession.builder.master("local[2]").appName("nilas-s3a").config("spark.jars", ",".join(maven.jar(one) for one in JARS))
    settings = {
        "endpoint": nilas.ENDPOINT,
        "endpoint.region": nilas.S3_REGION,
        "path.style.access": "true",
        "connection.ssl.enabled": "false",
        "attempts.maximum": "1",
        "retry.limit": "1",
    }
    # One bucket each: S3A knows settings of single buckets.
    for word, own in {
        "handed": handed(session),
        "assumed": {
            "aws.credentials.provider": f"{PROVIDERS}.auth.AssumedRoleCredentialProvider",
            "assumed.role.credentials.provider": f"{PROVIDERS}.SimpleAWSCredentialsProvider",
            "assumed.role.arn": store.role(),
            "assumed.role.session.name": "s3a",
            "assumed.role.session.duration": "15m",
            "assumed.role.policy": policy(*narrow("assumed")),
            "assumed.role.sts.endpoint": relay.address,
            "assumed.role.sts.endpoint.region": nilas.S3_REGION,
            "access.key": spark_user.keys["aws_access_key_id"],
            "secret.key": spark_user.keys["aws_secret_access_key"],
        },
        "other": handed(session),
    }.items():
        for name, value in {**settings, **own}.items():
            builder = builder.config(f"spark.hadoop.fs.s3a.bucket.{names[word]}.{name}", value)
            # The assumed-role provider reads some of its settings without the bucket's name.
            if word == "assumed":
                builder = builder.config(f"spark.hadoop.fs.s3a.{name}", value)
    builder = builder.config("spark.driver.extraJavaOptions", f"-Djavax.net.ssl.trustStore={path} -Djavax.net.ssl.trustStorePassword={password}")
    builder = builder.config("spark.sql.warehouse.dir", os.path.join(place, "warehouse")).config("spark.local.dir", os.path.join(place, "local"))
    builder = builder.config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
    builder = builder.config("spark.driver.memory", "1g").config("spark.ui.enabled", "false").config("spark.ui.showConsoleProgress", "false")
    builder = builder.config("spark.sql.shuffle.partitions", "2")
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    logging.getLogger("SQLQueryContextLogger").disabled = True


def handed(session):
    return {
        "aws.credentials.provider": f"{PROVIDERS}.TemporaryAWSCredentialsProvider",
        "access.key": session["aws_access_key_id"],
        "secret.key": session["aws_secret_access_key"],
        "session.token": session["aws_session_token"],
    }


def at(word, name):
    return f"s3a://{names[word]}/{name}"


def road(word):
    spark.range(ROWS).selectExpr("id", "id % 3 as part").write.mode("overwrite").partitionBy("part").parquet(at(word, "t"))
    spark.range(ROWS, ROWS + 10).selectExpr("id", "id % 3 as part").write.mode("append").partitionBy("part").parquet(at(word, "t"))
    eq(spark.read.parquet(at(word, "t")).count(), ROWS + 10)
    eq(spark.read.parquet(at(word, "t")).where("part = 2 and id < 100").count(), 33)
    spark.range(5).write.mode("overwrite").parquet(at(word, "t"))
    eq(spark.read.parquet(at(word, "t")).count(), 5)
    keys = [one["Key"] for one in root.list_objects_v2(Bucket=names[word])["Contents"]]
    assert "t/_SUCCESS" in keys and not [key for key in keys if "part=" in key], keys


def forbidden(run):
    try:
        run()
    except Exception as error:  # what the JVM raises comes in many classes
        said = str(error)
        assert "AccessDenied" in said or "Access Denied" in said or "403" in said, said[:600]
        return
    raise AssertionError("not refused")


def narrower():
    """The user may use the third bucket, and the session may not."""
    spark_user.client().put_object(Bucket=names["other"], Key="t/k", Body=b"x")
    forbidden(lambda: spark.read.text(at("other", "t")).count())
    forbidden(lambda: spark.range(5).write.parquet(at("other", "u")))
    eq([one["Key"] for one in root.list_objects_v2(Bucket=names["other"])["Contents"]], ["t/k"])


def ended():
    """Sessions end with the key that they were made with, under Spark's hands."""
    iam.update_access_key(UserName=spark_user.name, AccessKeyId=spark_user.keys["aws_access_key_id"], Status="Inactive")
    for word in ("handed", "assumed"):
        try:
            spark.read.parquet(at(word, "t")).count()
        except Exception as error:
            assert "InvalidToken" in str(error) or "400" in str(error) or "403" in str(error), str(error)[:600]
            continue
        raise AssertionError(f"{word}: not refused")
    iam.update_access_key(UserName=spark_user.name, AccessKeyId=spark_user.keys["aws_access_key_id"], Status="Active")
    eq(spark.read.parquet(at("handed", "t")).count(), 5)


def leave():
    spark_user.go()
    for name in names.values():
        remove_bucket(name)


Steps("spark-s3a").run([
    ("prepare", prepare),
    ("session-keys-handed-over", lambda: road("handed")),
    ("session-made-by-s3a", lambda: road("assumed")),
    ("narrower-than-its-user", narrower),
    ("ended", ended),
    ("leave", leave),
])
