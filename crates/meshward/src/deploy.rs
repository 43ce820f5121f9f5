//! `meshward ota …`: brings an image to nodes and watches it arrive.

use std::path::PathBuf;
use std::time::Duration;

use meshward_fleet::rollout::RolloutPlan;
use meshward_gateway::rest::model::{
    Activation, Family, Rollout, RolloutNode, RolloutNodeState, RolloutState, Transfers,
};

use crate::client::{Client, GatewayArgs};
use crate::forecast::duration;
use crate::list::table;
use crate::progress::Progress;
use crate::waves;
use crate::what::{What, scheme_name};

/// Between two looks at a roll-out under way.
const LOOK: Duration = Duration::from_millis(200);

/// Options of `meshward ota deploy`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    what: What,
    /// Bring everything, to stock nodes all but the last part, so that no node starts the image before `meshward ota
    /// activate`; returns when all have it.
    #[arg(long, conflicts_with = "plan")]
    hold: bool,
    /// Let nodes start it in waves, by this plan (TOML, or JSON where the name ends in .json; an empty file is the
    /// default plan): see docs/rollouts.md. Ends when all waves have been, it went back, or somebody has to decide.
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
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

/// Options of `meshward ota pause`, `resume`, `abort`, `approve` and `rollback`.
#[derive(clap::Args)]
pub(crate) struct ControlArgs {
    /// The roll-out's number.
    id: u64,
    /// Print the roll-out as JSON instead of a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    gateway: GatewayArgs,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<bool> {
    if let Some(path) = &args.plan {
        return in_waves(&args, waves::plan(path)?).await;
    }
    once(&Client::new(&args.gateway)?, &args.what, args.hold, args.json).await
}

/// Starts a roll-out in waves and follows it until it is over, or somebody has to decide. Whether all is well.
async fn in_waves(args: &Args, plan: RolloutPlan) -> anyhow::Result<bool> {
    let client = Client::new(&args.gateway)?;
    let (firmware, mut new) = args.what.prepare(&client).await?;
    new.plan = Some(plan);
    let started = client.start(&new).await?;
    if !args.json {
        eprintln!(
            "roll-out {}: {} ({} bytes) in waves; Ctrl-C leaves it running, `meshward ota show {}` shows it",
            started.id,
            args.what.name(),
            firmware.size,
            started.id,
        );
    }
    let rollout = waves::follow(&client, started, !args.json, |_| {}).await?;
    waves::close(&rollout, args.json)
}

/// Starts a roll-out and follows it to its end. Whether no node failed.
pub(crate) async fn once(client: &Client, what: &What, hold: bool, json: bool) -> anyhow::Result<bool> {
    let (firmware, mut new) = what.prepare(client).await?;
    new.hold = hold;
    let started = client.start(&new).await?;
    if !json {
        eprintln!(
            "roll-out {}: {} ({} bytes) to {} nodes; Ctrl-C leaves it running, `meshward ota abort {}` ends it",
            started.id,
            what.name(),
            firmware.size,
            started.nodes.len(),
            started.id,
        );
    }
    let waits = |node: &RolloutNode| hold && node.state == RolloutNodeState::Ready;
    let done = |rollout: &Rollout| rollout.nodes.iter().all(|node| node.state.is_final() || waits(node));
    let rollout = watch(client, started, !json, done, |_| {}).await?;
    report(&rollout, json)?;
    if !json && rollout.count(RolloutNodeState::Ready) > 0 {
        println!("`meshward ota activate {} [--node ID]` lets them restart into it", rollout.id);
    }
    Ok(rollout.count(RolloutNodeState::Failed) == 0)
}

pub(crate) async fn activate(args: ActivateArgs) -> anyhow::Result<bool> {
    let client = Client::new(&args.gateway)?;
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
        RolloutNodeState::Installing => "installing",
        RolloutNodeState::Ready => "ready",
        RolloutNodeState::Finishing => "finishing",
        RolloutNodeState::Restarting => "restarting",
        RolloutNodeState::Verifying => "verifying",
        RolloutNodeState::Updated => "updated",
        RolloutNodeState::Declined => "declined",
        RolloutNodeState::Failed => "failed",
    }
}

/// How a node takes updates, in the words of a report.
pub(crate) fn family_text(family: Option<Family>) -> &'static str {
    match family {
        Some(Family::Meshward) => "Meshward",
        Some(Family::Stock) => "stock",
        None => "–",
    }
}

fn print_report(rollout: &Rollout) {
    let mut rows = table(&["node", "kind", "sent as", "outcome", "remark"]);
    for node in &rollout.nodes {
        let stock = node.family == Some(Family::Stock);
        let remark = match (node.state, &node.reason) {
            (_, Some(reason)) => reason.as_str(),
            (RolloutNodeState::Declined, None) => {
                "did not ask for it: other role or hardware, or it runs this image already"
            }
            (RolloutNodeState::Ready, None) if rollout.hold && stock => "has everything but the last part",
            (RolloutNodeState::Ready, None) if rollout.hold => "has it installed",
            _ => "",
        };
        rows.add_row([
            node.id.to_string(),
            family_text(node.family).to_owned(),
            node.scheme.map_or("–", scheme_name).to_owned(),
            state_text(node.state).to_owned(),
            remark.to_owned(),
        ]);
    }
    println!("{rows}");
    println!("{}", summary(rollout));
    if let Some(times) = times(&rollout.transfers) {
        println!("{times}");
    }
}

/// What the transfers took, in words.
fn times(transfers: &Transfers) -> Option<String> {
    let meshward =
        transfers.meshward_seconds.map(|took| format!("Meshward nodes had it after {}", duration(took)));
    let stock = transfers.stock_seconds.map(|took| format!("stock nodes after {}", duration(took)));
    let both: Vec<String> = meshward.into_iter().chain(stock).collect();
    (!both.is_empty()).then(|| both.join(", "))
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
    let rollouts = Client::new(&args.gateway)?.rollouts().await?;
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
        // Of one in waves that says more.
        let state = rollout.progress.as_ref().map_or(state, |progress| &progress.phase);
        let turn = rollout.waits_for.map(|other| format!(", after {other}")).unwrap_or_default();
        rows.add_row([
            rollout.id.to_string(),
            rollout.firmware.name.clone(),
            rollout.role.clone(),
            format!("{state}{turn}"),
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
    let rollout = Client::new(&args.gateway)?.control(args.id, verb).await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rollout)?);
    } else if rollout.progress.is_some() {
        println!("{}", waves::page(&rollout));
    } else {
        println!("{}", summary(&rollout));
    }
    Ok(true)
}
