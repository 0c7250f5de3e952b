"""The AWS SDK for Java v2 against the S3 API: runs `java/S3.java` with the jars of `java/pom.xml`, once as it is, with signed chunks,
and once through TLS, with which it does not sign them.
"""
import os
import subprocess
import sys

import maven
import nilas
from tls_relay import Relay

SUITE_SECONDS_MAX = 300
PASSWORD = "changeit"

here, place = os.path.join(maven.HERE, "java"), os.path.join(nilas.SCRATCH, nilas.unique("java"))
os.makedirs(place)
jars = maven.class_path(os.path.join(here, "pom.xml"), "class-path-sdk")
relay, trusted = Relay(place), os.path.join(place, "trusted.p12")
subprocess.run(["keytool", "-importcert", "-noprompt", "-alias", "relay", "-file", relay.certificate, "-keystore", trusted,
                "-storetype", "PKCS12", "-storepass", PASSWORD], check=True, capture_output=True)
command = ["java", "-Xmx512m", f"-Djavax.net.ssl.trustStore={trusted}", f"-Djavax.net.ssl.trustStorePassword={PASSWORD}",
           "-Dorg.slf4j.simpleLogger.defaultLogLevel=off", "-cp", jars, os.path.join(here, "S3.java")]
failed = 0
for endpoint in (nilas.ENDPOINT, f"https://{relay.address}"):
    print(f"     {endpoint}", flush=True)
    environment = {**os.environ, "ENDPOINT": endpoint, "SCRATCH": place}
    quiet = None if os.environ.get("TRACE") else subprocess.DEVNULL
    failed += subprocess.run(command, env=environment, stderr=quiet, timeout=SUITE_SECONDS_MAX).returncode != 0
sys.exit(failed)
