//! How a command ends, for scripts and service managers: the one list of exit codes. `sim` has its own.

use std::process::ExitCode;

use crate::client::ClientError;
use crate::config::ConfigError;
use crate::profile::ProfileError;

/// See the module's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    NotDone,
    /// Said by clap.
    Usage,
    Unreachable,
    Configuration,
    Forbidden,
}

impl Exit {
    /// All of them, as `meshward --help` lists them.
    pub(crate) const ALL: [Self; 6] =
        [Self::Done, Self::NotDone, Self::Usage, Self::Unreachable, Self::Configuration, Self::Forbidden];

    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::NotDone => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Configuration => 4,
            Self::Forbidden => 5,
        }
    }

    /// In one line.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NotDone => "not done, for a reason that is printed",
            Self::Usage => "the command line cannot be read",
            Self::Unreachable => "the gateway cannot be reached",
            Self::Configuration => "the configuration, or the file of profiles, cannot be used",
            Self::Forbidden => "the gateway does not let you: no token, or one that may not",
        }
    }

    /// Of a command that could not do what it was asked for.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        let profile = || error.downcast_ref::<ProfileError>().is_some();
        if error.downcast_ref::<ConfigError>().is_some() || profile() {
            Self::Configuration
        } else if error.downcast_ref::<ClientError>().is_some_and(ClientError::is_unreachable) {
            Self::Unreachable
        } else if error.downcast_ref::<ClientError>().is_some_and(ClientError::is_forbidden) {
            Self::Forbidden
        } else {
            Self::NotDone
        }
    }

    /// The list, a line each.
    pub(crate) fn help() -> String {
        let line = |exit: &Self| format!("  {}  {}", exit.code(), exit.meaning());
        let lines: Vec<String> = Self::ALL.iter().map(line).collect();
        format!("Exit codes:\n{}", lines.join("\n"))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_of_the_documentation() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operating.md");
        let page = std::fs::read_to_string(page).unwrap();
        let rows: Vec<&str> = page
            .split("## Exit codes")
            .nth(1)
            .unwrap()
            .lines()
            .skip_while(|line| !line.starts_with("| ---"))
            .skip(1)
            .take_while(|line| line.starts_with('|'))
            .collect();
        assert_eq!(rows.len(), Exit::ALL.len());
        for (exit, row) in Exit::ALL.into_iter().zip(rows) {
            assert!(row.starts_with(&format!("| {} | {}", exit.code(), exit.meaning())), "{row}");
        }
    }
}
