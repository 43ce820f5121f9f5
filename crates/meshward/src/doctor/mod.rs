//! `meshward doctor`: looks at everything that a gateway needs, and says of each thing whether it is well and what to do
//! if it is not.
//!
//! It changes nothing: no file, no port, nothing in the mesh. `machine` looks at this machine, `mesh` at the gateway and
//! its neighbours.

mod machine;
mod mesh;

use std::path::PathBuf;

use serde::Serialize;

use crate::client::GatewayArgs;
use crate::config::{self, Loaded};

/// Options of `meshward doctor`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The configuration; without this the usual one, if there is one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON: an array of checks.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    Ok,
    /// It works, and somebody should look.
    Warn,
    /// It does not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Check {
    /// What, in one word or two.
    check: &'static str,
    level: Level,
    /// How it is.
    found: String,
    /// What to do; absent where nothing is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Check {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, found: found.into(), advice: None }
    }

    fn warn(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, level: Level::Warn, found: found.into(), advice: Some(advice.into()) }
    }

    fn fail(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, level: Level::Fail, found: found.into(), advice: Some(advice.into()) }
    }
}

/// Whether nothing fails.
pub(crate) async fn run(args: Args) -> anyhow::Result<bool> {
    let mut checks = Vec::new();
    let loaded = configuration(args.config.as_deref(), &mut checks);
    checks.extend(machine::clock());
    if let Some(loaded) = &loaded {
        let config = &loaded.config;
        checks.extend(machine::files(config));
        checks.extend(mesh::ports(config).await);
        checks.extend(mesh::peers(config).await);
        checks.extend(mesh::broker(config).await);
    }
    checks.extend(mesh::gateway(&args.gateway).await);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&checks)?);
    } else {
        checks.iter().for_each(print);
    }
    Ok(checks.iter().all(|check| check.level != Level::Fail))
}

fn print(check: &Check) {
    let level = match check.level {
        Level::Ok => "ok  ",
        Level::Warn => "warn",
        Level::Fail => "FAIL",
    };
    let found = check.found.replace('\n', "\n      ");
    println!("{level}  {:<14} {found}", check.check);
    if let Some(advice) = &check.advice {
        println!("      {:<14} → {advice}", "");
    }
}

fn configuration(named: Option<&std::path::Path>, checks: &mut Vec<Check>) -> Option<Loaded> {
    const CHECK: &str = "configuration";
    let loaded = match config::load(named) {
        Ok(loaded) => loaded,
        Err(error) => {
            let found = format!("{:#}", anyhow::Error::from(error));
            checks.push(Check::fail(
                CHECK,
                found,
                "put it right; `meshward config reference` explains all keys",
            ));
            return None;
        }
    };
    let found = loaded.path.as_ref().map(|path| path.display().to_string());
    checks.push(match found {
        None => {
            Check::warn(CHECK, "there is no file", "write one by `meshward setup`, or give all by options")
        }
        Some(path) if loaded.config.mesh.has_a_way() => Check::ok(CHECK, path),
        Some(path) => {
            let found = format!("{path} names no way into a mesh");
            Check::fail(CHECK, found, "set mesh.peers or mesh.listen")
        }
    });
    Some(loaded)
}
