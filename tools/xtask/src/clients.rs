//! The client suites of `tests/clients`, each a section, all against one server of the release build.
//! `ci` and the `clients` command hand over names; none means all. The server is started and stopped here.

use crate::ci::Report;
use crate::server::{ACCESS_KEY, SECRET_KEY, Server};
use crate::shell::{Failure, cargo, program};
use crate::venv;
use std::time::Duration;

/// Cheapest first. A suite NAME is `NAME_e2e.py` in that folder.
const SUITES: [&str; 6] = ["parameters", "boto3", "awscli", "pyarrow", "duckdb", "pyiceberg"];
const SUITE_MAX: Duration = Duration::from_secs(600);

pub fn sections(report: &mut Report, names: &[String]) {
    if let Some(unknown) = names.iter().find(|name| !SUITES.contains(&name.as_str())) {
        let known = SUITES.join(", ");
        report.section(unknown, || Err(Failure(format!("no such client suite; there are {known}"))));
        return;
    }
    let mut python = None;
    let mut server = None;
    let ready = report.section("clients-setup", || {
        cargo(["build", "--release", "--quiet", "-p", "nilas"]).passes()?;
        python = Some(venv::python()?);
        server = Some(Server::start("clients")?);
        Ok(())
    });
    let (Some(python), Some(server), true) = (python, server, ready) else { return };
    for name in SUITES.iter().filter(|name| names.is_empty() || names.iter().any(|wanted| wanted == *name)) {
        report.section(name, || {
            program(&python)
                .args([format!("tests/clients/{name}_e2e.py")])
                .env("ENDPOINT", server.endpoint())
                .env("ACCESS_KEY", ACCESS_KEY)
                .env("SECRET_KEY", SECRET_KEY)
                .env("SCRATCH", server.scratch()?)
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .passes_within(SUITE_MAX)
        });
    }
    report.section("server-stop", || server.stop());
}
