//! Programs that tests start and that are not Rust: installed where that is possible, else the one command is named.

use std::path::Path;

use crate::command::{Failure, Line};

/// A program, and where Debian and its kin have it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    /// What it is called.
    program: &'static str,
    /// Debian's package.
    package: &'static str,
    /// What asks whether it is there.
    there: fn() -> bool,
}

/// The emulator that measures the core's memory.
pub(crate) const EMULATOR: Need = Need {
    program: "qemu-system-riscv32",
    package: "qemu-system-misc",
    there: || Line::new("qemu-system-riscv32", &["--version"]).output().is_ok(),
};
/// The database server that the store's tests start for themselves.
pub(crate) const DATABASE: Need =
    Need { program: "PostgreSQL's server", package: "postgresql", there: has_database };

/// The browser that the dashboard is tested in.
pub(crate) const BROWSER: Need = Need {
    program: "chromium",
    package: "chromium",
    there: || Line::new("chromium", &["--version"]).output().is_ok(),
};
/// The broker that the bridge's tests start for themselves.
pub(crate) const BROKER: Need = Need { program: "mosquitto", package: "mosquitto", there: has_broker };
/// What speaks to it in those tests.
pub(crate) const BROKER_CLIENTS: Need =
    Need { program: "mosquitto_pub", package: "mosquitto-clients", there: has_broker_clients };
/// The server of time series that the writer's tests and the dashboard's queries are tried with. Version 2 has a program
/// of the same name.
pub(crate) const SERIES: Need = Need {
    program: "influxd of version 1",
    package: "influxdb",
    there: || Line::new("influxd", &["version"]).output().is_ok_and(|said| said.contains(" v1.")),
};

/// All of them.
pub(crate) const ALL: [Need; 6] = [EMULATOR, DATABASE, BROWSER, BROKER, BROKER_CLIENTS, SERIES];

/// Installs what is missing, if we may.
pub(crate) fn ready(needs: &[Need]) -> Result<(), Failure> {
    let (there, missing): (Vec<Need>, Vec<Need>) = needs.iter().partition(|need| (need.there)());
    there.iter().for_each(|need| println!("{}: installed", need.program));
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<String> = missing.iter().map(|need| need.package.to_owned()).collect();
    let install = Line::new("apt-get", &["install", "-y", "--no-install-recommends"]).with(&packages);
    let root = Line::new("id", &["-u"]).output().is_ok_and(|id| id.trim() == "0");
    if !root || Line::new("apt-get", &["--version"]).output().is_err() {
        return Err(Failure::Missing(named(&missing, &install)));
    }
    println!("{}, so: {install}", names(&missing));
    // Without fresh lists a package may not be found; with old ones it may be all the same.
    drop(Line::new("apt-get", &["update"]).run());
    install.run()?;
    let still: Vec<Need> = missing.into_iter().filter(|need| !(need.there)()).collect();
    if still.is_empty() { Ok(()) } else { Err(Failure::Missing(named(&still, &install))) }
}

fn names(missing: &[Need]) -> String {
    let names: Vec<&str> = missing.iter().map(|need| need.program).collect();
    format!("missing: {}", names.join(", "))
}

fn named(missing: &[Need], install: &Line) -> String {
    format!("{}; on Debian and its kin: sudo {install}", names(missing))
}

/// Both, in the search path.
fn has_broker_clients() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = |name: &str| std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    found("mosquitto_pub") && found("mosquitto_sub")
}

/// In the search path, or where Debian has what only daemons need.
fn has_broker() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([Path::new("/usr/sbin").to_path_buf()]);
    folders.map(|folder| folder.join("mosquitto")).any(|file| file.is_file())
}

/// In the search path, or where Debian has it for each version.
fn has_database() -> bool {
    let whole = |folder: &Path| ["initdb", "postgres"].iter().all(|name| folder.join(name).is_file());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let linked = |folder: &Path| folder.join("initdb").canonicalize().ok()?.parent().map(whole);
    let versions = std::fs::read_dir("/usr/lib/postgresql");
    let mut versions = versions.into_iter().flatten().flatten();
    std::env::split_paths(&path).any(|folder| linked(&folder).unwrap_or(false))
        || versions.any(|version| whole(&version.path().join("bin")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_one_command() {
        let install = Line::new("apt-get", &["install", "-y"]).with(&["a".to_owned(), "b".to_owned()]);
        assert_eq!(
            named(&ALL, &install),
            "missing: qemu-system-riscv32, PostgreSQL's server, chromium, mosquitto, mosquitto_pub, influxd of version 1; on Debian and its kin: sudo apt-get install -y a b"
        );
    }
}
