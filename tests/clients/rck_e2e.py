"""The catalog tests of Iceberg's REST compatibility kit (Java), each test case a step.

Maven runs them (rck/pom.xml) against a warehouse of their own, signed with SigV4. A test that the kit skips by itself, for
an ability that the server does not claim, is shown with the kit's reason and counted as neither.
Environment: KIT, the version of Iceberg.
"""
import glob
import os
import re
import shutil
import xml.etree.ElementTree as xml

import maven
import nilas
from steps import Steps

KIT = os.environ.get("KIT", "1.10.1")
# Test cases left out, each with why. View tests are another class, which is not run: the server has no views.
LEFT_OUT = {
    "testLoadTableWithMissingMetadataFile": "renames a metadata file on a local disk",
}
CLASS = "NilasCatalogTests"

warehouse = nilas.warehouse("rck")
place = os.path.join(maven.PLACE, "rck")
reports = os.path.join(place, "surefire-reports")


def settings():
    return {
        "uri": nilas.CATALOG_URI,
        "warehouse": warehouse,
        "rest.sigv4-enabled": "true",
        "rest.signing-name": "s3tables",
        "rest.signing-region": nilas.REGION,
        "rest.access-key-id": nilas.ACCESS_KEY,
        "rest.secret-access-key": nilas.SECRET_KEY,
        "io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        "s3.endpoint": nilas.ENDPOINT,
        "s3.access-key-id": nilas.ACCESS_KEY,
        "s3.secret-access-key": nilas.SECRET_KEY,
        "s3.path-style-access": "true",
        "client.region": nilas.REGION,
        # What the kit asks about the server: it is elsewhere, wants its namespaces made, keeps the location that a
        # table asks for, applies a commit whose requirements hold to what others made meanwhile, takes dots in names.
        "rck.local": "false",
        "rck.requires-namespace-create": "true",
        "rck.overrides-requested-location": "false",
        "rck.supports-serverside-retry": "true",
        "rck.supports-names-with-dot": "true",
        "nilas.table-locations": f"s3://{warehouse}/asked-for",
    }


def run_kit():
    shutil.rmtree(reports, ignore_errors=True)
    os.makedirs(place, exist_ok=True)
    path = os.path.join(place, "kit.properties")
    with open(path, "w") as file:
        file.writelines(f"{key}={value}\n" for key, value in settings().items())
    wanted = ",".join([CLASS] + [f"!{CLASS}#{name}*" for name in LEFT_OUT])
    words = ["-f", maven.POM, f"-Diceberg.version={KIT}", f"-Dbuild.place={place}", f"-Dkit.settings={path}"]
    # The kit takes every CATALOG_* variable for a setting of its own.
    os.environ.pop("CATALOG_URI", None)
    _, said = maven.run(*words, f"-Dtest={wanted}", "test")
    assert glob.glob(os.path.join(reports, "TEST-*.xml")), f"no test ran: {said[-3000:]}"


def verdict(case):
    """The step of one test case: fails as the test did."""
    def run():
        for fault in [*case.findall("failure"), *case.findall("error")]:
            raise AssertionError(fault.get("message") or (fault.text or "failed").strip())

    return run


def reason(skipped):
    said = " ".join((skipped.get("message") or skipped.text or "no reason given").split())
    named = re.search(r"\[([^]]+)\]", said)
    return named.group(1) if named else said[:120]


steps = Steps("rck")
if not steps("kit-runs", run_kit):
    steps.close()
for report in sorted(glob.glob(os.path.join(reports, "TEST-*.xml"))):
    for case in xml.parse(report).getroot().iter("testcase"):
        skipped = case.find("skipped")
        if skipped is None:
            steps(case.get("name"), verdict(case))
        else:
            print(f"SKIP {case.get('name')} | {reason(skipped)}", flush=True)
for name, reason in LEFT_OUT.items():
    print(f"SKIP {name} | {reason}", flush=True)
steps.close()
