//! The binary that users run: `nilas serve`, `nilas drive`.
//!
//! Parses the command line and turns errors into one line and an exit code: 0 stopped as asked, 1 failed, 2 wrong usage;
//! of `drive` 0 clean, 1 damage, 2 could not be read.

mod serve;
mod drive;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    Serve(serve::Arguments),
    /// Looks at the drives of a store that is not served; writes nothing.
    #[command(subcommand)]
    Drive(drive::Command),
}

fn main() -> ExitCode {
    match CommandLine::parse().command {
        Command::Serve(arguments) => match serve::run(arguments) {
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
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::CommandLine;

    #[test]
    fn the_command_line_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn every_option_of_serve_has_its_group() {
        let command = CommandLine::command();
        let serve = command.find_subcommand("serve").expect("it is there");
        for argument in serve.get_arguments() {
            assert!(argument.get_help_heading().is_some(), "--{}", argument.get_id());
        }
    }
}
