"""Maven for the suites that drive Java: the class paths of rck/pom.xml and java/pom.xml, single jars from Maven Central.

What is made lies under the target directory (environment TARGET, as `cargo x clients` sets it); downloads are kept where
Maven keeps them. Needs `java` (17 or newer) and `mvn` on PATH (Debian: apt-get install openjdk-17-jdk-headless maven).
"""
import os
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
POM = os.path.join(HERE, "rck", "pom.xml")
TARGET = os.environ.get("TARGET") or os.path.join(os.path.dirname(os.path.dirname(HERE)), "target")
PLACE = os.path.join(TARGET, "java")
GOALS = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
SECONDS_MAX = 900


def run(*words, seconds=SECONDS_MAX):
    """One run of Maven; answers (exit status, what it said)."""
    done = subprocess.run(["mvn", "-B", "-q", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds)
    return done.returncode, done.stdout


def passes(*words):
    status, said = run(*words)
    assert status == 0, f"mvn {' '.join(words)}: exit {status}: {said[-2000:]}"


def class_path(pom=POM, name="class-path"):
    """Every jar of a pom. Found anew when the pom changes: a copy of it beside the answer is the key."""
    os.makedirs(PLACE, exist_ok=True)
    answer, made_from = os.path.join(PLACE, name), os.path.join(PLACE, f"{name}.pom")
    text = read(pom)
    if read(made_from) != text:
        passes("-f", pom, f"-Dbuild.place={PLACE}", f"{GOALS}:build-classpath", f"-Dmdep.outputFile={answer}")
        with open(made_from, "w") as file:
            file.write(text)
    return read(answer)


def jar(coordinates):
    """The path of one artifact, `group:name:version`, without what it depends on."""
    _, name, version = coordinates.split(":")
    path = os.path.join(PLACE, "jars", f"{name}-{version}.jar")
    if not os.path.exists(path):
        passes(f"{GOALS}:copy", f"-Dartifact={coordinates}", f"-DoutputDirectory={os.path.dirname(path)}")
    return path


def read(path):
    try:
        with open(path) as file:
            return file.read()
    except FileNotFoundError:
        return ""
