//! The one binary: gateway, node, demonstration, and clients of the gateway's REST interface.
//!
//! Each command is a module with its options and a `run`; [`exit`] says how one ends.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a console program")]

mod act;
mod alerts;
mod broker;
mod capture;
mod channels;
mod client;
mod config;
mod demo;
mod deploy;
mod doctor;
mod door;
mod exit;
mod export;
mod firmware;
mod follow;
mod forecast;
mod gateway;
mod journal;
mod keeping;
mod list;
mod logs;
mod machine;
mod manual;
mod node;
mod people;
mod profile;
mod progress;
mod rules;
mod setup;
mod shutdown;
mod sim;
mod status;
mod storage;
mod top;
mod waves;
mod what;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use config::LogFormat;
use exit::Exit;
use journal::Journal;

/// Firmware updates and monitoring for painlessMesh networks.
#[derive(Parser)]
#[command(name = "meshward", version, about, after_help = Exit::help())]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Join a mesh as a node and serve the REST interface.
    Gateway(gateway::Args),
    /// Write a configuration, and a unit for systemd.
    Setup(setup::Args),
    /// Look at everything that a gateway needs, and say what is wrong and what to do.
    Doctor(doctor::Args),
    /// Look at the configuration of the gateway.
    #[command(subcommand)]
    Config(config::Command),
    /// Gateways that you go back to, each by a name.
    #[command(subcommand)]
    Profile(profile::Command),
    /// Run one real node on this machine, its flash in a file.
    Node(node::Args),
    /// Run a virtual mesh over TCP on this machine and update all of it. What its nodes tell of heap, signal and
    /// temperature is made up by the demonstration.
    Demo(demo::Args),
    /// List the nodes that the mesh has shown.
    Nodes(list::NodesArgs),
    /// Show the mesh as a tree.
    Topology(list::TopologyArgs),
    /// Say how the mesh is; or ask these nodes how they fare.
    Status(status::Args),
    /// Show the mesh as a table that is drawn again and again, the worst nodes first.
    Top(top::Args),
    /// List alerts; know of them, end them, write on them.
    Alerts(alerts::Args),
    /// The rules that raise alerts.
    #[command(subcommand)]
    Rules(rules::Command),
    /// People who may ask the gateway.
    #[command(subcommand)]
    Users(people::Users),
    /// Tokens of programs that may ask the gateway.
    #[command(subcommand)]
    Tokens(people::Tokens),
    /// By what people are told of alerts: list channels, add, try and remove them, see what became of messages.
    Channels(channels::Args),
    /// Print what has happened: nodes, tree, alerts, and the nodes' own remote log.
    Logs(logs::Args),
    /// Download what the gateway knows, as lines of JSON or a table.
    Export(export::Args),
    /// Tell a node to do something, and wait for what it says.
    #[command(name = "command")]
    Tell(act::CommandArgs),
    /// Give a node a name, or take it away.
    Name(act::NameArgs),
    /// Firmware updates over the air.
    #[command(subcommand)]
    Ota(Ota),
    /// Files that --capture has written.
    #[command(subcommand)]
    Capture(capture::Command),
    /// Keys, manifests, images and patches as files; images at the gateway.
    #[command(subcommand)]
    Firmware(firmware::Command),
    /// Copies of a gateway's database, and whether its audit is whole.
    #[command(subcommand)]
    Store(storage::Command),
    /// Virtual meshes in virtual time: swarms of faults, replays, figures.
    #[command(subcommand)]
    Sim(sim::Command),
    /// Print a script that makes a shell complete these commands.
    Completions(manual::CompletionsArgs),
    /// Write manual pages.
    Man(manual::ManArgs),
}

#[derive(Subcommand)]
enum Ota {
    /// Say what a roll-out would take, per group of nodes, and send nothing of it.
    Forecast(forecast::Args),
    /// Bring an image to every node of a role, or to some of them.
    Deploy(deploy::Args),
    /// List the roll-outs of this gateway.
    Status(deploy::StatusArgs),
    /// Let nodes of a held roll-out restart into the image, and wait for them.
    Activate(deploy::ActivateArgs),
    /// Stop sending until `resume`.
    Pause(deploy::ControlArgs),
    /// Go on after `pause`.
    Resume(deploy::ControlArgs),
    /// End a roll-out where it is.
    Abort(deploy::ControlArgs),
    /// Show a roll-out in waves: who is in which, what gates found, what became of each node.
    Show(waves::ShowArgs),
    /// Let the wave begin that waits for somebody, or go on in spite of what stopped it.
    Approve(deploy::ControlArgs),
    /// Take whoever was updated back to the image before, also after the end.
    Rollback(deploy::ControlArgs),
    /// Print what came of a roll-out in waves, every node by name, as Markdown.
    Report(waves::ReportArgs),
}

impl Command {
    /// What is logged without `RUST_LOG`: long-running programs say more. A gateway says itself what it logs.
    const fn log_level(&self) -> Option<&'static str> {
        match self {
            Self::Gateway(_) => None,
            Self::Node(_) => Some("info"),
            // Its nodes lose their neighbours on purpose.
            Self::Demo(_) => Some("error"),
            _ => Some("warn"),
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(level) = cli.command.log_level() {
        Journal::start(level, LogFormat::Text);
    }
    // The simulator knows neither sockets nor real time, and has exit codes of its own.
    if let Command::Sim(command) = cli.command {
        return sim::run(command);
    }
    // One TLS for clients and service. An error means that there is one already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the runtime: {error}");
            return Exit::NotDone.into();
        }
    };
    let ended = runtime.block_on(run(cli.command));
    // What still waits for a disk or a name server waits for nobody.
    runtime.shutdown_background();
    let exit = match ended {
        Ok(true) => Exit::Done,
        Ok(false) => Exit::NotDone,
        Err(error) => {
            eprintln!("error: {error:#}");
            Exit::of(&error)
        }
    };
    exit.into()
}

/// Whether what was asked for has been done.
async fn run(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::Gateway(args) => gateway::run(args).await,
        Command::Setup(args) => setup::run(args),
        Command::Doctor(args) => doctor::run(args).await,
        Command::Config(command) => config::run(command),
        Command::Profile(command) => profile::run(command),
        Command::Node(args) => node::run(args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Nodes(args) => list::nodes(args).await,
        Command::Topology(args) => list::topology(args).await,
        Command::Status(args) => status::run(args).await,
        Command::Top(args) => top::run(args).await,
        Command::Alerts(args) => alerts::run(args).await,
        Command::Rules(command) => rules::run(command).await,
        Command::Users(command) => people::users(command).await,
        Command::Tokens(command) => people::tokens(command).await,
        Command::Channels(args) => channels::run(args).await,
        Command::Logs(args) => logs::run(args).await,
        Command::Export(args) => export::run(args).await,
        Command::Tell(args) => act::command(args).await,
        Command::Name(args) => act::name(args).await,
        Command::Ota(Ota::Forecast(args)) => forecast::run(args).await,
        Command::Ota(Ota::Deploy(args)) => deploy::run(args).await,
        Command::Ota(Ota::Status(args)) => deploy::status(args).await,
        Command::Ota(Ota::Activate(args)) => deploy::activate(args).await,
        Command::Ota(Ota::Pause(args)) => deploy::control(args, "pause").await,
        Command::Ota(Ota::Resume(args)) => deploy::control(args, "resume").await,
        Command::Ota(Ota::Abort(args)) => deploy::control(args, "abort").await,
        Command::Ota(Ota::Show(args)) => waves::show(args).await,
        Command::Ota(Ota::Approve(args)) => deploy::control(args, "approve").await,
        Command::Ota(Ota::Rollback(args)) => deploy::control(args, "rollback").await,
        Command::Ota(Ota::Report(args)) => waves::report(args).await,
        Command::Capture(command) => capture::run(&command).map(|()| true),
        Command::Store(command) => storage::run(command).await,
        Command::Firmware(command) => firmware::run(command).await,
        Command::Completions(args) => Ok(manual::completions(&args, Cli::command())),
        Command::Man(args) => manual::man(&args, Cli::command()),
        Command::Sim(_) => anyhow::bail!("the simulator runs without a runtime"),
    }
}
