//! `meshward setup`: asks the few things that nobody else can know, and writes a configuration with comments and a unit
//! for systemd.
//!
//! It starts nothing and installs nothing, and writes over nothing. Scripts answer by options and `--yes`.

mod unit;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use inquire::validator::Validation;
use inquire::{Select, Text};

use crate::config::{self, PeerName};
use crate::firmware::{Readers, write_file};

/// Where the operator's key of a service is: systemd makes the folder, and nobody else reads it.
const SERVICE_KEY: &str = "/var/lib/meshward/operator.key";

/// Options of `meshward setup`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What the mesh is called.
    #[arg(long)]
    name: Option<String>,
    /// A node to dial: HOST:PORT, HOST (port 5555), or auto, this machine's default gateway; several times.
    #[arg(long = "peer", value_name = "PEER")]
    peers: Vec<PeerName>,
    /// Accept nodes on this address.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Where to serve the REST interface.
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<SocketAddr>,
    /// Where the operator's secret key is, or is to be made at the first start.
    #[arg(long, default_value = SERVICE_KEY, value_name = "FILE")]
    operator_key: PathBuf,
    /// The configuration that is written.
    #[arg(short, long, default_value = config::FILE_NAME, value_name = "FILE")]
    output: PathBuf,
    /// The unit that is written; by default meshward.service beside the configuration.
    #[arg(long, value_name = "FILE", conflicts_with = "no_unit")]
    unit: Option<PathBuf>,
    /// Write no unit.
    #[arg(long)]
    no_unit: bool,
    /// Ask nothing: take the options, and the defaults for everything else.
    #[arg(short, long)]
    yes: bool,
}

/// What goes into the configuration.
struct Answers {
    name: String,
    peers: Vec<PeerName>,
    listen: Option<SocketAddr>,
    http: Option<SocketAddr>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<bool> {
    let unit = args.unit.clone().unwrap_or_else(|| args.output.with_file_name("meshward.service"));
    let unit = (!args.no_unit).then_some(unit);
    // Before anything is asked: nobody should answer in vain.
    for path in unit.iter().chain([&args.output]) {
        anyhow::ensure!(
            path.symlink_metadata().is_err(),
            "{} is there already, and setup writes over nothing: move it away, or take another name",
            path.display()
        );
    }
    let answers = if args.yes { given(&args)? } else { ask(&args)? };
    let text = config::reference::file(&settings(&answers, &args.operator_key));
    // What is written must be what is read.
    config::check_text(&args.output, &text)?;
    write_file(&args.output, text.as_bytes(), false, Readers::Everybody)?;
    println!("{}: the configuration", args.output.display());
    if let Some(unit) = &unit {
        let program = std::env::current_exe().context("this program does not know where it is")?;
        let absolute = std::path::absolute(&args.output).context("this folder has no name")?;
        write_file(unit, unit::text(&program, &absolute).as_bytes(), false, Readers::Everybody)?;
        println!("{}: the unit for systemd", unit.display());
    }
    next(&args.output, unit.as_deref());
    Ok(true)
}

/// What the options say.
fn given(args: &Args) -> anyhow::Result<Answers> {
    anyhow::ensure!(
        !args.peers.is_empty() || args.listen.is_some(),
        "setup needs a way into the mesh: --peer HOST:PORT, --peer auto, or --listen 0.0.0.0:5555"
    );
    let name = args.name.clone().unwrap_or_else(|| "mesh".to_owned());
    Ok(Answers { name, peers: args.peers.clone(), listen: args.listen, http: args.http })
}

/// The ways into a mesh, as people choose among them.
const WAYS: [&str; 3] = [
    "this machine's Wi-Fi is connected to the mesh (auto)",
    "a node has an address that this machine can reach",
    "nodes connect to this machine",
];

/// Asks what the options do not say.
fn ask(args: &Args) -> anyhow::Result<Answers> {
    anyhow::ensure!(
        std::io::stdin().is_terminal(),
        "there is nobody to ask, as standard input is no terminal: give the answers by options, with --yes"
    );
    let name = match &args.name {
        Some(name) => name.clone(),
        None => Text::new("What is the mesh called?").with_default("mesh").prompt()?,
    };
    let (mut peers, mut listen) = (args.peers.clone(), args.listen);
    if peers.is_empty() && listen.is_none() {
        let way = Select::new("How does this machine come into the mesh?", WAYS.to_vec()).raw_prompt()?;
        match way.index {
            0 => peers.push("auto".parse()?),
            1 => peers.push(parsed::<PeerName>("Which node? (HOST or HOST:PORT)", None)?),
            _ => listen = Some(parsed("On which address?", Some("0.0.0.0:5555"))?),
        }
    }
    let http = match args.http {
        Some(http) => http,
        None => parsed("Where is the REST interface served?", Some("127.0.0.1:8080"))?,
    };
    Ok(Answers { name, peers, listen, http: Some(http) })
}

/// Asks until the answer can be read.
fn parsed<T: std::str::FromStr>(question: &str, default: Option<&str>) -> anyhow::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let check = |text: &str| {
        Ok(match text.parse::<T>() {
            Ok(_) => Validation::Valid,
            Err(error) => Validation::Invalid(error.to_string().into()),
        })
    };
    let mut prompt = Text::new(question).with_validator(check);
    prompt.default = default;
    Ok(prompt.prompt()?.parse()?)
}

/// The keys that are set, as TOML writes them.
fn settings(answers: &Answers, operator_key: &Path) -> BTreeMap<&'static str, String> {
    let text = |text: &str| toml::Value::from(text).to_string();
    let mut set = BTreeMap::from([
        ("mesh.name", text(&answers.name)),
        ("ota.operator_key", text(&operator_key.to_string_lossy())),
    ]);
    if !answers.peers.is_empty() {
        let peers: Vec<String> = answers.peers.iter().map(|peer| text(&peer.to_string())).collect();
        set.insert("mesh.peers", format!("[{}]", peers.join(", ")));
    }
    if let Some(listen) = answers.listen {
        set.insert("mesh.listen", text(&listen.to_string()));
    }
    if let Some(http) = answers.http {
        set.insert("http.listen", text(&http.to_string()));
    }
    set
}

/// What to do with what was written.
fn next(config: &Path, unit: Option<&Path>) {
    println!(
        "\nTo see whether it works:\n  meshward doctor --config {0}\n  meshward gateway --config {0}",
        config.display()
    );
    if let Some(unit) = unit {
        println!(
            "As a service that starts with the machine:\n  sudo cp {} /etc/systemd/system/meshward.service\n  \
             sudo systemctl daemon-reload\n  sudo systemctl enable --now meshward",
            unit.display()
        );
    }
}
