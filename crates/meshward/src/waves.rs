//! `meshward ota …` for roll-outs in waves: what a plan comes to, waves and gates as they go, what people decide.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use meshward_fleet::rollout::RolloutPlan;
use meshward_gateway::rest::model::{
    GateFinding, Progress, Rollout, RolloutPreview, RolloutState, Wave, WaveNode,
};

use crate::client::{Client, GatewayArgs};
use crate::deploy::family_text;
use crate::forecast::duration;
use crate::list::table;

/// Between two looks at a roll-out under way.
const LOOK: Duration = Duration::from_millis(500);
/// Waves in a live table, which is no higher than a terminal: the one before, the one under way, the one to come.
const WAVES_LIVE: usize = 3;
/// Gates in a live table: those that say most.
const GATES_LIVE: usize = 3;
/// Gates that are told of a wave in the end.
const GATES_SHOWN: usize = 8;

/// Options of `meshward ota show`.
#[derive(clap::Args)]
pub(crate) struct ShowArgs {
    /// The roll-out's number.
    id: u64,
    /// Go on showing it until it is over, or somebody has to decide.
    #[arg(long, short)]
    follow: bool,
    /// Print the roll-out as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// Options of `meshward ota report`.
#[derive(clap::Args)]
pub(crate) struct ReportArgs {
    /// The roll-out's number.
    id: u64,
    /// Print it as JSON instead of Markdown.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// Reads a plan: JSON where the file's name ends so, else TOML.
pub(crate) fn plan(path: &Path) -> anyhow::Result<RolloutPlan> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read the plan {shown}"))?;
    let is_json = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
    let plan = if is_json { RolloutPlan::from_json(&text) } else { RolloutPlan::from_toml(&text) };
    let plan = plan.with_context(|| format!("the plan {shown} cannot be read"))?;
    let told = |mistakes: Vec<meshward_fleet::rollout::Mistake>| {
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("the plan {shown} makes no sense:\n  {}", lines.join("\n  "))
    };
    meshward_fleet::rollout::check(&plan).map_err(told)?;
    Ok(plan)
}

/// What a plan comes to, for people.
pub(crate) fn print_preview(preview: &RolloutPreview) {
    let mut rows = table(&["wave", "node", "kind", "why"]);
    for wave in &preview.waves {
        for node in &wave.nodes {
            rows.add_row([wave.name.as_str(), &node.id.to_string(), family_text(node.family), &node.why]);
        }
    }
    println!("{rows}");
    let mut rows = table(&["wave", "nodes", "batches", "takes", "over after"]);
    for wave in &preview.waves {
        let (takes, after) = (duration(wave.seconds), duration(wave.ends_after_seconds));
        rows.add_row([
            wave.name.clone(),
            wave.nodes.len().to_string(),
            wave.batches.to_string(),
            takes,
            after,
        ]);
    }
    println!("{rows}");
    for node in &preview.left_out {
        println!("left out: node {} {}", node.id, node.why);
    }
    for note in &preview.notes {
        println!("note: {note}");
    }
    println!(
        "{} bytes and {} of channel time to bring it to everybody, about {} until the last wave is over; windows and \
         approvals are not in it",
        preview.bytes,
        duration(preview.channel_seconds),
        duration(preview.eta_seconds),
    );
}

/// Whether a roll-out in waves came to what was wanted: every wave has been, and nobody has failed.
pub(crate) fn is_good(progress: &Progress) -> bool {
    let trouble = ["failed", "fault", "kept"].iter().any(|outcome| progress.counts.contains_key(*outcome));
    progress.phase == "finished" && !trouble
}

/// Whether somebody has to decide before anything more happens.
fn is_waiting(rollout: &Rollout) -> bool {
    rollout.progress.as_ref().is_some_and(|progress| progress.phase == "approval" && !progress.paused)
}

/// Follows a roll-out until it is over, or somebody has to decide; `look` is shown it each time.
pub(crate) async fn follow(
    client: &Client,
    started: Rollout,
    show: bool,
    mut look: impl FnMut(&Rollout),
) -> anyhow::Result<Rollout> {
    let mut screen = show.then(Screen::new);
    let mut rollout = started;
    loop {
        if let Some(screen) = &mut screen {
            screen.show(&rollout);
        }
        look(&rollout);
        if rollout.state == RolloutState::Finished || is_waiting(&rollout) {
            return Ok(rollout);
        }
        tokio::time::sleep(LOOK).await;
        rollout = client.rollout(rollout.id).await?;
    }
}

/// Says how it ended, or what it waits for; whether all is well.
pub(crate) fn close(rollout: &Rollout, json: bool) -> anyhow::Result<bool> {
    let progress = rollout.progress.as_ref().context("the gateway tells of no waves")?;
    if json {
        println!("{}", serde_json::to_string_pretty(rollout)?);
    } else {
        println!("{}", page(rollout));
        if is_waiting(rollout) {
            let id = rollout.id;
            println!(
                "`meshward ota approve {id}` lets it go on, `abort {id}` ends it, `rollback {id}` takes it back"
            );
        }
    }
    Ok(is_good(progress))
}

pub(crate) async fn show(args: ShowArgs) -> anyhow::Result<bool> {
    let client = Client::new(&args.gateway)?;
    let mut rollout = client.rollout(args.id).await?;
    if args.follow {
        rollout = follow(&client, rollout, !args.json, |_| {}).await?;
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rollout)?);
    } else {
        println!("{}", page(&rollout));
    }
    Ok(true)
}

pub(crate) async fn report(args: ReportArgs) -> anyhow::Result<bool> {
    let client = Client::new(&args.gateway)?;
    if args.json {
        let report: serde_json::Value = client.get(&format!("rollouts/{}/report", args.id)).await?;
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", client.report(args.id).await?);
    }
    Ok(true)
}

/// What is said of a roll-out in waves where it stands on a terminal: a table that is drawn again in its place; else
/// lines of what is new.
struct Screen {
    terminal: bool,
    /// Lines of the table that is there.
    drawn: usize,
    said: Vec<String>,
}

impl Screen {
    fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), drawn: 0, said: Vec::new() }
    }

    fn show(&mut self, rollout: &Rollout) {
        if !self.terminal {
            for line in news(rollout) {
                if !self.said.contains(&line) {
                    eprintln!("{line}");
                    self.said.push(line);
                }
            }
            return;
        }
        let text = live(rollout);
        eprintln!("{}", again(&text, self.drawn));
        self.drawn = text.lines().count();
    }
}

/// A text in the place of one that had so many lines. Lines that are longer than the terminal is wide are cut, not
/// wrapped: a wrapped one would be two, and the next text begin too far below.
fn again(text: &str, drawn: usize) -> String {
    let up = if drawn > 0 { format!("\x1b[{drawn}A") } else { String::new() };
    let lines: Vec<String> = text.lines().map(|line| format!("{line}\x1b[K")).collect();
    format!("{up}\x1b[?7l{}\x1b[J\x1b[?7h", lines.join("\n"))
}

/// What may be new, a line each: the same line for the same thing.
pub(crate) fn news(rollout: &Rollout) -> Vec<String> {
    let Some(progress) = &rollout.progress else { return Vec::new() };
    let mut lines = Vec::new();
    for wave in progress.waves.iter().filter(|wave| wave.began_at.is_some()) {
        let ids: Vec<String> = wave.nodes.iter().map(|node| node.id.to_string()).collect();
        lines.push(format!("{}: {} start the image", wave.name, ids.join(", ")));
        let ended = |node: &&WaveNode| !matches!(&*node.outcome, "waiting" | "starting" | "trial");
        for node in wave.nodes.iter().filter(ended) {
            let reason = node.reason.as_deref().map(|reason| format!(", it {reason}")).unwrap_or_default();
            lines.push(format!("node {}: {}{reason}", node.id, words(&node.outcome)));
        }
        for broken in wave.findings.iter().filter(|found| found.verdict == "broken") {
            lines.push(format!("{}: gate {} is broken: {}", wave.name, broken.gate, broken.words));
        }
    }
    lines.extend(rollout.waits_for.map(turn));
    let why = if progress.why.is_empty() { String::new() } else { format!(": {}", progress.why) };
    lines.push(format!("{}{why}", words(&progress.phase)));
    lines
}

/// What a roll-out waits for that has to wait for its turn.
fn turn(other: u64) -> String {
    format!("it sends when roll-out {other} has sent what it has to")
}

fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// The head of a roll-out in waves.
fn head(rollout: &Rollout, progress: &Progress) -> String {
    let paused = if progress.paused { ", paused" } else { "" };
    let left =
        progress.eta_seconds.map(|left| format!(", about {} left", duration(left))).unwrap_or_default();
    let until = progress.until.map(seconds_until).filter(|left| *left > 0.0);
    let until = until.map(|left| format!(" (ends in {})", duration(left))).unwrap_or_default();
    let counts: Vec<String> =
        progress.counts.iter().map(|(outcome, count)| format!("{count} {}", words(outcome))).collect();
    let counts = if counts.is_empty() { String::new() } else { format!("; {}", counts.join(", ")) };
    let mut text = format!(
        "roll-out {}, {}: {}{until}{paused}{left}{counts}",
        rollout.id,
        rollout.firmware.name,
        words(&progress.phase),
    );
    let why = (!progress.why.is_empty()).then(|| progress.why.clone());
    for line in why.into_iter().chain(rollout.waits_for.map(turn)) {
        // Writing into a string does not fail.
        let _written = write!(text, "\n{line}");
    }
    text
}

fn seconds_until(until: Timestamp) -> f64 {
    (until.as_millisecond() - Timestamp::now().as_millisecond()) as f64 / 1_000.0
}

fn waves(waves: &[Wave]) -> String {
    let mut rows = table(&["wave", "state", "nodes", "updated", "trouble"]);
    for wave in waves {
        let count = |of: &[&str]| wave.nodes.iter().filter(|node| of.contains(&&*node.outcome)).count();
        rows.add_row([
            wave.name.clone(),
            words(&wave.state),
            wave.nodes.len().to_string(),
            count(&["trial", "updated"]).to_string(),
            count(&["fault", "failed", "kept"]).to_string(),
        ]);
    }
    rows.to_string()
}

fn gates(found: &[GateFinding], shown: usize) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2e}"));
    let mut rows = table(&["gate", "verdict", "found", "chance", "limit"]);
    for one in found.iter().take(shown) {
        rows.add_row([
            one.gate.clone(),
            one.verdict.clone(),
            one.words.clone(),
            number(one.chance),
            number(one.limit),
        ]);
    }
    rows.to_string()
}

/// What is drawn while it goes: the waves, and the gates of the one under way.
fn live(rollout: &Rollout) -> String {
    let Some(progress) = &rollout.progress else { return String::new() };
    let mut text = head(rollout, progress);
    if progress.waves.is_empty() {
        let had = rollout.nodes.iter().filter(|node| node.parts > 0 && node.done >= node.parts).count();
        let _written = write!(text, "\n{had} of {} nodes have the image", rollout.nodes.len());
        return text;
    }
    let window = window(progress.wave, progress.waves.len());
    let shown = progress.waves.get(window.clone()).unwrap_or_default();
    let _written = write!(text, "\n{}", waves(shown));
    if shown.len() < progress.waves.len() {
        let (first, last) = (window.start + 1, window.end);
        let _written = write!(text, "\nwaves {first} to {last} of {}", progress.waves.len());
    }
    if let Some(wave) = progress.waves.get(progress.wave).filter(|wave| !wave.findings.is_empty()) {
        let _written = write!(text, "\n{}\n{}", wave.name, gates(&wave.findings, GATES_LIVE));
    }
    text
}

/// The waves of so many that a live table has room for while this one is under way.
fn window(wave: usize, count: usize) -> Range<usize> {
    let first = wave.saturating_sub(1).min(count.saturating_sub(WAVES_LIVE));
    first..count.min(first + WAVES_LIVE)
}

/// Everything that there is to say of one, waves or not.
pub(crate) fn page(rollout: &Rollout) -> String {
    let Some(progress) = &rollout.progress else {
        return format!("roll-out {} has no plan: `meshward ota status` lists it", rollout.id);
    };
    let mut text = format!("{}\n{}", head(rollout, progress), waves(&progress.waves));
    for wave in progress.waves.iter().filter(|wave| !wave.findings.is_empty()) {
        let _written = write!(text, "\n{}\n{}", wave.name, gates(&wave.findings, GATES_SHOWN));
    }
    let mut rows = table(&["node", "kind", "wave", "outcome", "remark"]);
    let all = progress.waves.iter().flat_map(|wave| &wave.nodes).chain(&progress.others);
    for node in all {
        let wave = node.wave.map_or("–", |wave| progress.waves.get(wave).map_or("–", |wave| &wave.name));
        let remark = node.reason.as_deref().unwrap_or(&node.why);
        rows.add_row([&node.id.to_string(), family_text(node.family), wave, &words(&node.outcome), remark]);
    }
    let _written = write!(text, "\n{rows}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_takes_the_place_of_the_one_before_however_wide_it_is() {
        let first = again("one\ntwo", 0);
        assert_eq!(
            first, "\x1b[?7lone\x1b[K\ntwo\x1b[K\x1b[J\x1b[?7h",
            "wrapping is off only while it is drawn"
        );
        assert!(again("three", 2).starts_with("\x1b[2A\x1b[?7lthree\x1b[K"));
    }

    #[test]
    fn a_live_table_shows_the_wave_under_way_and_its_neighbours() {
        let shown: Vec<Range<usize>> = (0..6).map(|wave| window(wave, 6)).collect();
        assert_eq!(shown, [0..3, 0..3, 1..4, 2..5, 3..6, 3..6]);
        assert_eq!([window(0, 2), window(1, 2), window(0, 0)], [0..2, 0..2, 0..0]);
    }
}
