//! This machine: its clock, the files and folders that a gateway uses, and the room that is left for them.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use meshward_core::ota::trust::KeyKind;

use super::Check;
use crate::config::{Config, Http};
use crate::firmware::sign;

/// A clock before this second is wrong: the program is younger. 2026-01-01.
const BUILT_AFTER: u64 = 1_767_225_600;
/// A clock after this second is wrong, too. 2100-01-01.
const BUILT_BEFORE: u64 = 4_102_444_800;
/// There when systemd's own client has synchronised the clock.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";
/// Less room than this, in kilobytes, is too little: an image has up to 16 MB.
const FREE_KB_FAIL: u64 = 20 * 1_024;
/// Less than this is little.
const FREE_KB_WARN: u64 = 200 * 1_024;

/// The clock of this machine, which dates everything and tells nodes the time in orders.
pub(super) fn clock() -> Vec<Check> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    vec![year(seconds), synchronised()]
}

fn year(seconds: u64) -> Check {
    let now = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    let now = now.map_or_else(|| "no date".to_owned(), |now| now.strftime("%F %T UTC").to_string());
    if (BUILT_AFTER..BUILT_BEFORE).contains(&seconds) {
        Check::ok("clock", now)
    } else {
        Check::fail(
            "clock",
            format!("it is not {now}"),
            "set the clock: `timedatectl set-time`, or a battery for it",
        )
    }
}

fn synchronised() -> Check {
    if Path::new(SYNCHRONISED).exists() {
        return Check::ok("time server", "the clock is synchronised");
    }
    let asked =
        Command::new("timedatectl").args(["show", "--property", "NTPSynchronized", "--value"]).output();
    let answer = asked.ok().filter(|output| output.status.success());
    let advice = "switch it on: `timedatectl set-ntp true`; alerts and orders carry this machine's time";
    match answer.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).as_deref() {
        Some("yes") => Check::ok("time server", "the clock is synchronised"),
        Some("no") => Check::warn("time server", "the clock is not synchronised", advice),
        _ => Check::warn("time server", "nobody says whether the clock is synchronised", advice),
    }
}

/// The files that the configuration names, and where they are to be.
pub(super) fn files(config: &Config) -> Vec<Check> {
    let mut checks = vec![operator_key(config.ota.operator_key.as_deref())];
    let written = config.ota.operator_key.iter().chain(&config.mesh.capture);
    let parent = |file: &PathBuf| match file.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let folders: BTreeSet<PathBuf> = written.map(parent).collect();
    checks.extend(certificate(&config.http));
    checks.extend(folders.iter().map(|folder| writable(folder)));
    checks.extend(folders.iter().filter(|folder| folder.is_dir()).filter_map(|folder| room(folder)));
    checks
}

/// Whether TLS has what it needs, or is not needed.
fn certificate(http: &Http) -> Option<Check> {
    const CHECK: &str = "TLS";
    let (Some(certificate), Some(key)) = (&http.certificate, &http.certificate_key) else {
        if http.certificate.is_some() || http.certificate_key.is_some() {
            let advice = "set both http.certificate and http.certificate_key";
            return Some(Check::fail(CHECK, "of certificate and key one is missing", advice));
        }
        let open = !http.listen.ip().is_loopback() && http.proxies.is_empty();
        let found = format!("{} can be reached from other machines, and there is no TLS", http.listen);
        let advice = "set http.certificate and http.certificate_key, or name the proxy that does TLS";
        return open.then(|| match http.allow_insecure {
            true => Check::warn(CHECK, found, advice),
            false => Check::fail(CHECK, found, advice),
        });
    };
    for file in [certificate, key] {
        if let Err(error) = std::fs::File::open(file) {
            let found = format!("{} cannot be read: {error}", file.display());
            return Some(Check::fail(CHECK, found, "let the gateway's user read it"));
        }
    }
    let mode = std::fs::metadata(key).map_or(0, |metadata| metadata.permissions().mode() & 0o777);
    if mode & 0o007 != 0 {
        let shown = key.display();
        let found = format!("everybody can read {shown} (mode {mode:04o})");
        return Some(Check::fail(CHECK, found, format!("chmod o= {shown}")));
    }
    Some(Check::ok(CHECK, certificate.display().to_string()))
}

fn operator_key(path: Option<&Path>) -> Check {
    const CHECK: &str = "operator key";
    let Some(path) = path else {
        let advice =
            "set ota.operator_key, if there are Meshward nodes: they take updates of a key that they know";
        return Check::warn(CHECK, "there is none: each start makes another", advice);
    };
    let shown = path.display();
    if path.symlink_metadata().is_err() {
        let advice = format!("give Meshward nodes its public half then, {shown}.pub");
        return Check::warn(CHECK, format!("{shown} is made at the first start"), advice);
    }
    let key = match sign::read_key(path) {
        Ok(key) => key,
        Err(error) => {
            let advice =
                "let the gateway's user read it, or make another: `meshward firmware keygen --kind operator`";
            return Check::fail(CHECK, format!("{error:#}"), advice);
        }
    };
    let (kind, id) = (key.key().kind, key.id());
    if kind != KeyKind::Operator {
        let advice = "make one: `meshward firmware keygen --kind operator`";
        return Check::fail(CHECK, format!("{shown} is a key of kind {kind}"), advice);
    }
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode() & 0o777);
    if mode & 0o077 != 0 {
        let found = format!("others can read {shown} (mode {mode:04o})");
        return Check::fail(
            CHECK,
            found,
            format!("chmod 600 {shown}; if somebody has read it, make another"),
        );
    }
    Check::ok(CHECK, format!("{shown} (key {id})"))
}

/// Whether files can be made there. One is made, without a name where the system can do that.
fn writable(folder: &Path) -> Check {
    const CHECK: &str = "folder";
    let shown = folder.display();
    if !folder.is_dir() {
        let advice = format!("mkdir -p {shown}; as a service systemd makes /var/lib/meshward itself");
        return Check::fail(CHECK, format!("{shown} is not there"), advice);
    }
    // A file that has never a name leaves nothing behind.
    match tempfile::tempfile_in(folder) {
        Ok(_file) => Check::ok(CHECK, format!("{shown} can be written")),
        Err(error) => {
            let advice = "let the gateway's user write there, and look whether the disk is mounted read-only";
            Check::fail(CHECK, format!("{shown} cannot be written: {error}"), advice)
        }
    }
}

/// What is free where a folder is, as far as `df` says.
fn room(folder: &Path) -> Option<Check> {
    let output = Command::new("df").args(["-Pk", "--"]).arg(folder).env("LC_ALL", "C").output().ok()?;
    let free = free_kb(&String::from_utf8_lossy(&output.stdout))?;
    let found = format!("{} MB free at {}", free / 1_024, folder.display());
    let advice = "make room: an image takes up to 16 MB, and a full disk stops what is kept";
    Some(match free {
        ..FREE_KB_FAIL => Check::fail("disk", found, advice),
        FREE_KB_FAIL..FREE_KB_WARN => Check::warn("disk", found, advice),
        _ => Check::ok("disk", found),
    })
}

/// The fourth column of the second line.
fn free_kb(df: &str) -> Option<u64> {
    df.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn years_that_cannot_be_are_seen() {
        for (seconds, level) in [
            (0, Level::Fail),
            (BUILT_AFTER - 1, Level::Fail),
            (BUILT_AFTER, Level::Ok),
            (BUILT_BEFORE, Level::Fail),
            (u64::MAX, Level::Fail),
        ] {
            assert_eq!(year(seconds).level, level, "{seconds}");
        }
    }

    #[test]
    fn what_df_says_is_read() {
        let said = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/sda1 100 40 60 40% /\n";
        assert_eq!(free_kb(said), Some(60));
        assert_eq!(free_kb("df: no such file"), None);
    }
}
