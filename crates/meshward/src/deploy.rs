//! `meshward ota …`: brings an image to nodes and watches it arrive.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use meshward_gateway::rest::model::{
    Activation, NewRollout, Rollout, RolloutNode, RolloutNodeState, RolloutState, Scheme,
};

use crate::client::{Client, GatewayArgs};
use crate::list::table;
use crate::progress::Progress;

/// Between two looks at a roll-out under way.
const LOOK: Duration = Duration::from_millis(200);

/// How an image travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SchemeArg {
    /// The best that the nodes understand.
    Auto,
    /// Every part goes out once for all nodes.
    Turbo,
    /// Every node asks for every part, as with the C++ library's sender.
    Unicast,
}

impl From<SchemeArg> for Scheme {
    fn from(scheme: SchemeArg) -> Self {
        match scheme {
            SchemeArg::Auto => Self::Auto,
            SchemeArg::Turbo => Self::Turbo,
            SchemeArg::Unicast => Self::Unicast,
        }
    }
}

/// How a scheme is called in reports.
pub(crate) const fn scheme_name(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Auto => "auto",
        Scheme::Turbo => "turbo",
        Scheme::Unicast => "unicast",
    }
}

/// Options of `meshward ota deploy`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The image: a .bin file.
    image: PathBuf,
    /// The role of the nodes that it is for.
    #[arg(long)]
    role: String,
    /// The nodes' hardware; ESP32 covers every chip of that family.
    #[arg(long, default_value = "ESP32", value_parser = ["ESP32", "ESP8266"])]
    hardware: String,
    /// Only this node; may be given several times.
    #[arg(long = "node", value_name = "ID")]
    nodes: Vec<u32>,
    /// Send the image even though it does not look like one that the nodes can run.
    #[arg(long)]
    force_image: bool,
    /// Say that this image takes updates itself (`initOTAReceive`); needed once per image, for a node that runs
    /// one which does not can never be updated over the air again.
    #[arg(long)]
    confirm_receiver: bool,
    /// How the parts travel.
    #[arg(long, value_enum, default_value_t = SchemeArg::Auto)]
    scheme: SchemeArg,
    /// Bytes that a node's slot holds; Arduino's default partitions have 1310720.
    #[arg(long, default_value_t = 0x1E_0000, value_name = "BYTES")]
    slot_size: u32,
    /// Bytes in a part, 256 to 1400.
    #[arg(long, default_value_t = 1024)]
    part_size: u32,
    /// Nodes that receive at the same time, 1 to 64.
    #[arg(long, default_value_t = 12)]
    concurrency: u32,
    /// How much of the time the broadcast pass may fill the radio channel, in per cent: less is slower, and leaves
    /// more to the nodes' own messages.
    #[arg(long, default_value_t = 100, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    airtime: u8,
    /// Bring everything but the last part, so that no node restarts before `meshward ota activate`; returns when all
    /// have it.
    #[arg(long)]
    hold: bool,
    /// Print the roll-out as JSON instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// Options of `meshward ota activate`.
#[derive(clap::Args)]
pub(crate) struct ActivateArgs {
    /// The roll-out's number.
    id: u64,
    /// Only this node; may be given several times. All others keep waiting.
    #[arg(long = "node", value_name = "ID")]
    nodes: Vec<u32>,
    /// Print the roll-out as JSON instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// Options of `meshward ota status`.
#[derive(clap::Args)]
pub(crate) struct StatusArgs {
    /// Print JSON: an array of roll-outs.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// Options of `meshward ota pause`, `resume` and `abort`.
#[derive(clap::Args)]
pub(crate) struct ControlArgs {
    /// The roll-out's number.
    id: u64,
    #[command(flatten)]
    gateway: GatewayArgs,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<bool> {
    let path = args.image.display();
    let image = std::fs::read(&args.image).with_context(|| format!("cannot read the image {path}"))?;
    anyhow::ensure!(!image.is_empty(), "the image {path} is empty");
    let name = args.image.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let client = Client::new(&args.gateway);
    let firmware = client.upload(&name, image).await?;
    let new = NewRollout {
        hardware: args.hardware,
        scheme: args.scheme.into(),
        nodes: (!args.nodes.is_empty()).then_some(args.nodes),
        force_image: args.force_image,
        confirm_receiver: args.confirm_receiver,
        slot_size: args.slot_size,
        part_size: args.part_size,
        concurrency: args.concurrency,
        hold: args.hold,
        airtime: args.airtime,
        ..NewRollout::new(firmware.sha256, args.role)
    };
    let started = client.start(&new).await?;
    if !args.json {
        eprintln!(
            "roll-out {}: {} ({} bytes) to {} nodes; Ctrl-C leaves it running, `meshward ota abort {}` ends it",
            started.id,
            name,
            firmware.size,
            started.nodes.len(),
            started.id,
        );
    }
    let waits = |node: &RolloutNode| args.hold && node.state == RolloutNodeState::Ready;
    let done = |rollout: &Rollout| rollout.nodes.iter().all(|node| node.state.is_final() || waits(node));
    let rollout = watch(&client, started, !args.json, done, |_| {}).await?;
    report(&rollout, args.json)?;
    if !args.json && rollout.count(RolloutNodeState::Ready) > 0 {
        println!("`meshward ota activate {} [--node ID]` lets them restart into it", rollout.id);
    }
    Ok(rollout.count(RolloutNodeState::Failed) == 0)
}

pub(crate) async fn activate(args: ActivateArgs) -> anyhow::Result<bool> {
    let client = Client::new(&args.gateway);
    let which = Activation { nodes: (!args.nodes.is_empty()).then(|| args.nodes.clone()) };
    let started = client.activate(args.id, &which).await?;
    let meant = |node: &RolloutNode| args.nodes.is_empty() || args.nodes.contains(&node.id);
    let done = |rollout: &Rollout| rollout.nodes.iter().all(|node| node.state.is_final() || !meant(node));
    let rollout = watch(&client, started, !args.json, done, |_| {}).await?;
    report(&rollout, args.json)?;
    Ok(!rollout.nodes.iter().any(|node| meant(node) && node.state == RolloutNodeState::Failed))
}

fn report(rollout: &Rollout, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(rollout)?);
    } else {
        print_report(rollout);
    }
    Ok(())
}

/// Follows a roll-out to its end, or until it is `done`; `look` is shown it each time.
pub(crate) async fn watch(
    client: &Client,
    started: Rollout,
    show: bool,
    done: impl Fn(&Rollout) -> bool,
    mut look: impl FnMut(&Rollout),
) -> anyhow::Result<Rollout> {
    let mut progress = show.then(|| Progress::new(&started));
    let mut rollout = started;
    while rollout.state != RolloutState::Finished && !done(&rollout) {
        if let Some(progress) = &mut progress {
            progress.show(&rollout);
        }
        tokio::time::sleep(LOOK).await;
        rollout = client.rollout(rollout.id).await?;
        look(&rollout);
    }
    if let Some(mut progress) = progress {
        progress.show(&rollout);
        progress.finish();
    }
    Ok(rollout)
}

/// How a node's state is called, in the words of a report.
pub(crate) fn state_text(state: RolloutNodeState) -> &'static str {
    match state {
        RolloutNodeState::Waiting => "waiting",
        RolloutNodeState::Announced => "announced",
        RolloutNodeState::Listening => "listening",
        RolloutNodeState::Receiving => "receiving",
        RolloutNodeState::Ready => "ready",
        RolloutNodeState::Finishing => "finishing",
        RolloutNodeState::Restarting => "restarting",
        RolloutNodeState::Verifying => "verifying",
        RolloutNodeState::Updated => "updated",
        RolloutNodeState::Declined => "declined",
        RolloutNodeState::Failed => "failed",
    }
}

fn print_report(rollout: &Rollout) {
    let mut rows = table(&["node", "outcome", "remark"]);
    for node in &rollout.nodes {
        let remark = match (node.state, &node.reason) {
            (_, Some(reason)) => reason.as_str(),
            (RolloutNodeState::Declined, None) => {
                "did not ask for it: other role or hardware, or it runs this image already"
            }
            (RolloutNodeState::Ready, None) if rollout.hold => "has everything but the last part",
            _ => "",
        };
        rows.add_row([node.id.to_string(), state_text(node.state).to_owned(), remark.to_owned()]);
    }
    println!("{rows}");
    println!("{}", summary(rollout));
}

fn summary(rollout: &Rollout) -> String {
    let count = |state| rollout.count(state);
    format!(
        "roll-out {}: {} updated, {} declined, {} failed{}",
        rollout.id,
        count(RolloutNodeState::Updated),
        count(RolloutNodeState::Declined),
        count(RolloutNodeState::Failed),
        match count(RolloutNodeState::Ready) {
            0 => String::new(),
            ready => format!(", {ready} ready"),
        },
    )
}

pub(crate) async fn status(args: StatusArgs) -> anyhow::Result<bool> {
    let rollouts = Client::new(&args.gateway).rollouts().await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rollouts)?);
        return Ok(true);
    }
    let mut rows = table(&["roll-out", "image", "role", "state", "updated", "declined", "failed", "of"]);
    for rollout in &rollouts {
        let state = match rollout.state {
            RolloutState::Running => "running",
            RolloutState::Paused => "paused",
            RolloutState::Finished => "finished",
        };
        rows.add_row([
            rollout.id.to_string(),
            rollout.firmware.name.clone(),
            rollout.role.clone(),
            state.to_owned(),
            rollout.count(RolloutNodeState::Updated).to_string(),
            rollout.count(RolloutNodeState::Declined).to_string(),
            rollout.count(RolloutNodeState::Failed).to_string(),
            rollout.nodes.len().to_string(),
        ]);
    }
    println!("{rows}");
    Ok(true)
}

pub(crate) async fn control(args: ControlArgs, verb: &str) -> anyhow::Result<bool> {
    let rollout = Client::new(&args.gateway).control(args.id, verb).await?;
    println!("{}", summary(&rollout));
    Ok(true)
}
