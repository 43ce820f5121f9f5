//! The project's own commands: `cargo xtask <verb>`, one file per verb.
//!
//! Needs the Rust toolchain and one crate, so that it is there before anything else is. It refuses to be
//! clever: each verb says which cargo commands it runs, runs them, and stops at the first that fails.
// A console program: its output is what it is for.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bench;
mod bench_rest;
mod budget;
mod command;
mod demo;
mod help;
mod program;
mod scene;
mod schemathesis;
mod screenshots;
mod system;
mod test;
mod tidy;
mod toolchain;
mod web;

use std::process::ExitCode;

use command::Failure;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Runs the verb that the first argument names with the arguments that follow it.
fn dispatch(arguments: &[String]) -> Result<(), Failure> {
    let Some((verb, rest)) = arguments.split_first() else {
        help::run();
        return Ok(());
    };
    match verb.as_str() {
        "demo" => demo::run(rest),
        "test" => test::run(rest),
        "bench" => bench::run(rest),
        "bench-rest" => bench_rest::run(rest),
        "budget" => budget::run(rest),
        "schemathesis" => schemathesis::run(rest),
        "tidy" => tidy::run(rest),
        "web" => web::run(rest),
        "screenshots" => screenshots::run(rest),
        "help" | "--help" | "-h" => {
            help::run();
            Ok(())
        }
        unknown => Err(Failure::Usage(format!("no verb \"{unknown}\"; `cargo xtask help` lists them"))),
    }
}

/// Refuses arguments, for verbs that take none.
fn no_arguments(verb: &str, arguments: &[String]) -> Result<(), Failure> {
    match arguments.first() {
        None => Ok(()),
        Some(extra) => Err(Failure::Usage(format!("`{verb}` takes no arguments, but got \"{extra}\""))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(arguments: &[&str]) -> String {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        dispatch(&arguments).unwrap_err().to_string()
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(refusal(&["tets"]), "no verb \"tets\"; `cargo xtask help` lists them");
        assert_eq!(refusal(&["test", "--fast"]), "`test` takes no arguments, but got \"--fast\"");
        assert_eq!(refusal(&["tidy", "core"]), "`tidy` takes no arguments, but got \"core\"");
    }
}
