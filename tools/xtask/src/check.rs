//! `cargo x check`: what can be known without running the product.

use crate::ci::Report;
use crate::shell::cargo;
use crate::{deps, tidy};

pub fn sections(report: &mut Report) {
    report.section("fmt", || cargo(["fmt", "--all", "--check"]).passes());
    report.section("clippy", || {
        cargo(["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]).passes()
    });
    report.section("tidy", tidy::run);
    report.section("deps", deps::run);
}
