"""The AWS SDK for Java v2 against the S3 API: runs `java/S3.java` with the jars of `java/pom.xml`."""
import os
import subprocess
import sys

import maven
import nilas

SUITE_SECONDS_MAX = 300

place = os.path.join(maven.HERE, "java")
jars = maven.class_path(os.path.join(place, "pom.xml"), "class-path-sdk")
command = ["java", "-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=off", "-cp", jars, os.path.join(place, "S3.java")]
environment = {**os.environ, "ENDPOINT": nilas.ENDPOINT, "SCRATCH": nilas.SCRATCH}
sys.exit(subprocess.run(command, env=environment, stderr=subprocess.DEVNULL if not os.environ.get("TRACE") else None, timeout=SUITE_SECONDS_MAX).returncode)
