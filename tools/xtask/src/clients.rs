//! The client suites of `tests/clients`, each a section, all against one server.
//! `ci` and the `clients` command hand over names; none means those that CI runs. The server is started and stopped here;
//! suites that kill theirs start their own. `NILAS_BIN` names another program than the release build's.

use crate::ci::Report;
use crate::server::{ACCESS_KEY, SECRET_KEY, Server};
use crate::shell::{Failure, cargo, program, server_binary, target};
use crate::venv::{self, Environment};
use std::path::PathBuf;
use std::time::Duration;

/// One suite: a script, and what it runs in.
struct Suite {
    name: &'static str,
    script: &'static str,
    environment: &'static Environment,
    /// Suites that are not are for the hand: minutes long, or large to download.
    in_ci: bool,
}

pub const NEWEST: Environment = Environment { name: "venv", locks: &["requirements.lock"] };
const BOTO3_1_28: Environment =
    Environment { name: "venv-boto3-1.28", locks: &["requirements-boto3-1.28.lock"] };
const BOTO3_1_40: Environment =
    Environment { name: "venv-boto3-1.40", locks: &["requirements-boto3-1.40.lock"] };
const SPARK: Environment =
    Environment { name: "venv-spark", locks: &["requirements.lock", "requirements-spark.lock"] };
const S3: Environment = Environment { name: "venv-s3", locks: &["requirements-s3.lock"] };
const CHDB: Environment = Environment { name: "venv-chdb", locks: &["requirements-chdb.lock"] };

/// Cheapest first.
const SUITES: &[Suite] = &[
    suite("parameters", "parameters_e2e.py", &NEWEST, true),
    suite("settings", "settings_e2e.py", &NEWEST, true),
    suite("boto3", "boto3_e2e.py", &NEWEST, true),
    suite("boto3-1.28", "boto3_e2e.py", &BOTO3_1_28, true),
    suite("boto3-1.40", "boto3_e2e.py", &BOTO3_1_40, true),
    suite("versions", "versions_e2e.py", &NEWEST, true),
    suite("forms", "forms_e2e.py", &NEWEST, true),
    suite("lifecycle", "lifecycle_e2e.py", &NEWEST, true),
    suite("encryption", "encryption_e2e.py", &NEWEST, true),
    suite("awscli", "awscli_e2e.py", &NEWEST, true),
    suite("iam", "iam_e2e.py", &NEWEST, true),
    suite("js", "js_e2e.py", &NEWEST, true),
    suite("polars", "polars_e2e.py", &S3, true),
    suite("obstore", "obstore_e2e.py", &S3, true),
    suite("minio-py", "minio_py_e2e.py", &S3, true),
    suite("registry", "registry_e2e.py", &NEWEST, true),
    suite("s3fs", "s3fs_e2e.py", &S3, true),
    suite("restic", "restic_e2e.py", &NEWEST, true),
    suite("rclone", "rclone_e2e.py", &NEWEST, true),
    suite("s3cmd", "s3cmd_e2e.py", &S3, true),
    suite("browser", "browser_e2e.py", &NEWEST, false),
    suite("aws-go", "aws_go_e2e.py", &NEWEST, true),
    suite("java", "java_e2e.py", &NEWEST, true),
    suite("policy", "policy_e2e.py", &NEWEST, true),
    suite("pyarrow", "pyarrow_e2e.py", &NEWEST, true),
    suite("duckdb", "duckdb_e2e.py", &NEWEST, true),
    suite("pyiceberg", "pyiceberg_e2e.py", &NEWEST, true),
    suite("metadata", "metadata_e2e.py", &NEWEST, true),
    suite("faults-duckdb", "faults_duckdb_e2e.py", &NEWEST, true),
    suite("faults-pyiceberg", "faults_pyiceberg_e2e.py", &NEWEST, true),
    suite(REFERENCE, "reference_e2e.py", &NEWEST, true),
    suite("rck", "rck_e2e.py", &NEWEST, true),
    suite("sts", "sts_e2e.py", &NEWEST, true),
    suite("conditions", "conditions_e2e.py", &NEWEST, true),
    suite("rights", "rights_e2e.py", &NEWEST, true),
    suite("advisories", "advisories_e2e.py", &NEWEST, true),
    suite("table-user", "table_user_e2e.py", &NEWEST, true),
    suite("oidc", "oidc_e2e.py", &NEWEST, true),
    suite("awscli-2", "awscli2_e2e.py", &NEWEST, false),
    suite("faults-backup", "faults_backup_e2e.py", &NEWEST, false),
    suite("s3a-contract", "s3a_contract_e2e.py", &NEWEST, false),
    suite("minio-go", "minio_go_e2e.py", &NEWEST, false),
    suite("chdb", "chdb_e2e.py", &CHDB, false),
    suite("keycloak", "keycloak_e2e.py", &NEWEST, false),
    suite("object-store", "object_store_e2e.py", &NEWEST, false),
    suite("s3s", "s3s_e2e.py", &NEWEST, false),
    suite("spark", "spark_e2e.py", &SPARK, false),
    suite("faults-spark", "faults_spark_e2e.py", &SPARK, false),
    suite("spark-s3a", "spark_s3a_e2e.py", &SPARK, false),
];

/// The comparison with the Java reference, which has a command of its own for its long form.
const REFERENCE: &str = "reference";

const SUITE_MAX: Duration = Duration::from_secs(600);
/// The long form of a suite that has one.
const LONG_MAX: Duration = Duration::from_secs(2 * 3600);
/// Keys that the older lines of boto3 list: enough for three pages of each size. The newest lists more.
const LISTED_KEYS_SHORT: &str = "1500";
/// Commits of each stream of the fault suites in their long form.
const FAULT_COMMITS_LONG: &str = "200";

const fn suite(
    name: &'static str,
    script: &'static str,
    environment: &'static Environment,
    in_ci: bool,
) -> Suite {
    Suite { name, script, environment, in_ci }
}

/// `long`: the fault suites as before a release, where CI has a small form.
pub fn sections(report: &mut Report, names: &[String], long: bool) {
    let settings = if long { vec![("FAULT_COMMITS", FAULT_COMMITS_LONG.to_owned())] } else { Vec::new() };
    run_all(report, names, &settings, if long { LONG_MAX } else { SUITE_MAX });
}

/// The comparison with the Java reference: `count` requests from `seed`, which is drawn and printed when absent.
pub fn reference(report: &mut Report, count: u64, seed: Option<u64>) {
    let seed = seed.map_or_else(|| "any".to_owned(), |seed| seed.to_string());
    let settings = [("COUNT", count.to_string()), ("SEED", seed)];
    run_all(report, &[REFERENCE.to_owned()], &settings, LONG_MAX);
}

/// Runs the named suites with `settings` in their environment, each for at most `max`.
fn run_all(report: &mut Report, names: &[String], settings: &[(&str, String)], max: Duration) {
    if let Some(unknown) = names.iter().find(|name| !SUITES.iter().any(|suite| suite.name == *name)) {
        let known = SUITES.iter().map(|suite| suite.name).collect::<Vec<_>>().join(", ");
        report.section(unknown, || Err(Failure(format!("no such client suite; there are {known}"))));
        return;
    }
    let wanted = |suite: &&Suite| {
        if names.is_empty() { suite.in_ci } else { names.iter().any(|name| name == suite.name) }
    };
    let suites: Vec<&Suite> = SUITES.iter().filter(wanted).collect();
    let mut pythons = Vec::new();
    let mut server = None;
    let ready = report.section("clients-setup", || {
        if std::env::var_os("NILAS_BIN").is_none() {
            cargo(["build", "--release", "--quiet", "-p", "nilas"]).passes()?;
        }
        pythons = suites.iter().map(|suite| venv::python(suite.environment)).collect::<Result<_, _>>()?;
        server = Some(Server::start("clients")?);
        Ok(())
    });
    let (Some(server), true) = (server, ready) else { return };
    for (suite, python) in suites.iter().zip(&pythons) {
        report.section(suite.name, || run(suite, python, &server, settings, max));
    }
    report.section("server-stop", || server.stop());
}

fn run(
    suite: &Suite,
    python: &PathBuf,
    server: &Server,
    settings: &[(&str, String)],
    max: Duration,
) -> Result<(), Failure> {
    let mut script = program(python)
        .args([format!("tests/clients/{}", suite.script)])
        .env("ENDPOINT", server.endpoint())
        .env("ACCESS_KEY", ACCESS_KEY)
        .env("SECRET_KEY", SECRET_KEY)
        .env("SCRATCH", server.scratch()?)
        .env("TARGET", target())
        .env("NILAS_BIN", server_binary())
        .env("PYTHONDONTWRITEBYTECODE", "1");
    if suite.environment.name != NEWEST.name {
        script = script.env("LISTED_KEYS", LISTED_KEYS_SHORT);
    }
    for (name, value) in settings {
        script = script.env(name, value);
    }
    script.passes_within(max)
}
