//! `meshward config`: looks at the configuration, and starts nothing.

use std::path::PathBuf;

use serde::Serialize;

use super::{Loaded, Origin, load, reference};

/// Commands for the configuration.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Say what is wrong in the configuration, if anything is.
    Check(Which),
    /// Print what holds, and where each value comes from.
    Show {
        #[command(flatten)]
        which: Which,
        /// Print JSON: an array of keys.
        #[arg(long)]
        json: bool,
    },
    /// Print the reference of all keys, in Markdown.
    Reference,
}

/// Which configuration.
#[derive(clap::Args)]
pub(crate) struct Which {
    /// The file; without this the usual one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// A key, its value as it would be written, and where that is from.
#[derive(Serialize)]
struct Line {
    key: String,
    value: Option<String>,
    origin: String,
}

pub(crate) fn run(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::Check(which) => check(&load(which.config.as_deref())?),
        Command::Show { which, json } => show(&load(which.config.as_deref())?, json)?,
        Command::Reference => print!("{}", reference::markdown()),
    }
    Ok(true)
}

fn name(loaded: &Loaded) -> String {
    loaded.path.as_ref().map_or_else(|| "no file".to_owned(), |path| path.display().to_string())
}

fn check(loaded: &Loaded) {
    let set = loaded.origins.values().filter(|origin| **origin != Origin::Default).count();
    println!("{}: nothing is wrong; {set} of {} keys are set", name(loaded), loaded.origins.len());
    if !loaded.config.mesh.has_a_way() {
        println!("it names no way into a mesh: set mesh.peers or mesh.listen, or give --peer or --listen");
    }
}

fn origin(origin: Option<&Origin>) -> String {
    match origin {
        Some(Origin::File(line)) => format!("line {line}"),
        Some(Origin::Environment(variable)) => variable.clone(),
        Some(Origin::Default) | None => "default".to_owned(),
    }
}

fn show(loaded: &Loaded, json: bool) -> anyhow::Result<()> {
    let from = |key: &str| origin(loaded.origins.get(key));
    let shown = loaded.config.shown().into_iter();
    let lines: Vec<Line> = shown.map(|(key, value)| Line { origin: from(&key), key, value }).collect();
    if json {
        println!("{}", serde_json::to_string_pretty(&lines)?);
        return Ok(());
    }
    println!("# {}", name(loaded));
    let mut open = "";
    for Line { key, value, origin } in &lines {
        let (section, key) = key.split_once('.').unwrap_or((key, ""));
        if section != open {
            println!("\n[{section}]");
            open = section;
        }
        match value {
            Some(value) => println!("{:<40} # {origin}", format!("{key} = {value}")),
            None => println!("# {key} is not set"),
        }
    }
    Ok(())
}
