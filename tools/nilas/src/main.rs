//! The binary that users run: `nilas serve`, `nilas drive`, and the commands that ask a running server.
//!
//! Parses the command line and turns errors into lines and an exit code. Of `serve`: 0 stopped as asked, 1 failed, 2 wrong
//! usage; of `drive`: 0 clean, 1 damage, 2 could not be read; of what asks a server: those of `output`.

mod serve;
mod drive;
mod limits;
mod output;
mod xml;
mod client;
mod user;
mod group;
mod key;
mod policy;
mod sts;
mod bucket;
mod kms;
mod provision;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::client::{CREDENTIALS, Client, Connection};
use crate::output::{EXIT_CODES, Failure, Output};

/// An object store with Apache Iceberg tables built in: S3 and the Iceberg REST catalog on one port.
#[derive(Parser)]
#[command(name = "nilas", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves S3 and the catalog; formats a store in the data directory at first start.
    Serve(Box<serve::Arguments>),
    /// Looks at the drives of a store that is not served; writes nothing.
    #[command(subcommand)]
    Drive(drive::Command),
    User(user::Arguments),
    Group(group::Arguments),
    Key(key::Arguments),
    Policy(policy::Arguments),
    Sts(sts::Arguments),
    Bucket(bucket::Arguments),
    Kms(kms::Arguments),
    Provision(provision::Arguments),
}

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let parsed = command()
        .try_get_matches_from(&words)
        .and_then(|arguments| Ok((CommandLine::from_arg_matches(&arguments)?, asked_for(&arguments))));
    let (parsed, what) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return wrong_usage(&error, &words),
    };
    let what = what.as_str();
    match parsed.command {
        Command::Serve(arguments) => match serve::run(*arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("nilas: {error}");
                ExitCode::FAILURE
            }
        },
        Command::Drive(command) => match drive::run(command) {
            Ok(code) => ExitCode::from(code),
            Err(error) => {
                eprintln!("nilas: {error}");
                ExitCode::from(2)
            }
        },
        Command::User(a) => ask(&a.connection, what, |client| user::run(client, &a.command)),
        Command::Group(a) => ask(&a.connection, what, |client| group::run(client, &a.command)),
        // One of its commands asks no server.
        Command::Key(a) => output::end(key::run(&a).map_err(|failure| failure.of(what)), a.connection.json),
        Command::Policy(a) => ask(&a.connection, what, |client| policy::run(client, &a.command)),
        Command::Sts(a) => ask(&a.connection, what, |client| sts::run(client, &a.command)),
        Command::Bucket(a) => ask(&a.connection, what, |client| bucket::run(client, &a.command)),
        // One of its commands asks no server.
        Command::Kms(a) => output::end(kms::run(&a).map_err(|failure| failure.of(what)), a.connection.json),
        Command::Provision(a) => ask(&a.connection, what, |client| provision::run(client, &a.command)),
    }
}

/// Carries out a command that asks a server.
fn ask(
    connection: &Connection,
    what: &str,
    run: impl FnOnce(&Client) -> Result<Output, Failure>,
) -> ExitCode {
    let came = Client::new(connection).and_then(|client| run(&client));
    output::end(came.map_err(|failure| failure.of(what)), connection.json)
}

/// The words of a command, without what it is given.
fn asked_for(arguments: &clap::ArgMatches) -> String {
    let mut words = Vec::new();
    let mut within = arguments;
    while let Some((name, inner)) = within.subcommand() {
        words.push(name);
        within = inner;
    }
    words.join(" ")
}

/// Says what is wrong with a command line: as a document where that is asked for of a command that has one.
fn wrong_usage(error: &clap::Error, words: &[OsString]) -> ExitCode {
    let words: Vec<&str> = words.iter().skip(1).filter_map(|word| word.to_str()).collect();
    let what: Vec<&str> = words.iter().copied().take_while(|word| !word.starts_with('-')).take(2).collect();
    let is_client = what.first().is_some_and(|name| CLIENT_COMMANDS.contains(name));
    if !error.use_stderr() || !is_client || !words.contains(&"--json") {
        error.exit();
    }
    let text = error.render().to_string();
    // What is wrong, and of what, stands before the first empty line.
    let lines: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let why = lines.join(" ");
    let is_known = error.kind() != clap::error::ErrorKind::InvalidSubcommand;
    let help = if is_known { what.join(" ") } else { what[..1].join(" ") };
    let failure = Failure::usage(why.trim_start_matches("error: "));
    let failure = failure.of(&what.join(" ")).next(format!("nilas {help} --help"));
    output::end(Err(failure), true)
}

/// Commands that ask a running server.
const CLIENT_COMMANDS: [&str; 8] = ["user", "group", "key", "policy", "sts", "bucket", "kms", "provision"];

/// The command line, with the same words about keys and exit codes below the help of everything that asks a server.
fn command() -> clap::Command {
    let after = format!("{CREDENTIALS}\n\n{EXIT_CODES}");
    CLIENT_COMMANDS.iter().fold(CommandLine::command(), |command, name| {
        command.mut_subcommand(name, |group| {
            let group =
                group.after_help(after.clone()).subcommand_required(true).arg_required_else_help(true);
            group.mut_subcommands(|leaf| leaf.after_help(after.clone()))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_option_of_serve_has_its_group() {
        let command = command();
        let serve = command.find_subcommand("serve").expect("it is there");
        for argument in serve.get_arguments() {
            assert!(argument.get_help_heading().is_some(), "--{}", argument.get_id());
        }
    }
}
