//! `meshward status`: the mesh in one look, or what nodes say when they are asked.

use meshward_gateway::rest::model::{NewQuery, QueryAnswer, Status};

use crate::client::{Client, GatewayArgs};
use crate::follow::{Follow, age, dash};
use crate::list::table;

/// Options of `meshward status`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Nodes that are asked, by id or name; `all` for every node in the tree. Without any, nobody is asked.
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,
    /// What a node told no longer ago than this many seconds is good enough; 0 asks everybody.
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS")]
    max_age: f64,
    /// Who has not answered after so many seconds has timed out.
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS")]
    timeout: f64,
    /// Only this metric; may be given several times.
    #[arg(long = "metric", value_name = "NAME")]
    metrics: Vec<String>,
    /// Print JSON: the state of the mesh, or outcomes and a line per node.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    follow: Follow,
    #[command(flatten)]
    gateway: GatewayArgs,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<bool> {
    let client = Client::new(&args.gateway)?;
    if args.nodes.is_empty() {
        let look = async || {
            let status = client.status().await?;
            Ok((if args.json { args.follow.json(&status)? } else { summary(&status) }, true))
        };
        return args.follow.show(args.json, look).await;
    }
    let mut ids = Vec::new();
    for node in args.nodes.iter().filter(|node| *node != "all") {
        ids.push(client.find(node).await?);
    }
    let query = NewQuery {
        nodes: (!args.nodes.iter().any(|node| node == "all")).then_some(ids),
        metrics: args.metrics.clone(),
        max_age_seconds: args.max_age,
        timeout_seconds: args.timeout,
    };
    let look = async || {
        let answer = client.query(&query).await?;
        let known = answer.nodes.iter().all(|line| line.outcome.is_known());
        Ok((if args.json { args.follow.json(&answer)? } else { answers(&answer) }, known))
    };
    args.follow.show(args.json, look).await
}

/// The mesh in a few lines.
fn summary(status: &Status) -> String {
    let states: Vec<String> =
        status.states.iter().map(|(state, count)| format!("{count} {}", state.name())).collect();
    let states = if states.is_empty() { "none seen yet".to_owned() } else { states.join(", ") };
    let learning = if status.learning { " (the gateway is still learning what is so)" } else { "" };
    let points = status.score.points.map_or_else(dash, |points| points.to_string());
    let overhead = &status.overhead;
    let bound = if overhead.period_bound { ", bound by the budget" } else { "" };
    let mut lines = vec![
        format!("nodes     {states}{learning}"),
        format!("score     {points} ({}, {})", status.score.level, status.score.trend),
    ];
    for lost in &status.score.deductions {
        let worst = lost.node.map_or_else(String::new, |node| format!(" at node {node}"));
        lines.push(format!(
            "          −{} {}{worst}: {}; {}",
            lost.points, lost.rule, lost.evidence, lost.advice
        ));
    }
    lines.push(format!(
        "overhead  {:.2} % of the channel, of {} % allowed; reports every {:.0} s{bound}",
        overhead.share_percent, overhead.budget_percent, overhead.period_seconds
    ));
    for incident in &status.incidents {
        lines.push(format!(
            "incident  {}: {} lost since {}, cause node {}",
            incident.id,
            incident.missing.len(),
            incident.opened_at.strftime("%F %T"),
            incident.cause
        ));
    }
    for alert in &status.alerts {
        let quiet = alert.suppressed_by.as_ref().map_or_else(String::new, |by| format!(" (quiet: {by})"));
        lines.push(format!(
            "alert     {} {} of {}, {} ago: {}{quiet}",
            alert.severity,
            alert.rule,
            alert.subject,
            age(alert.since),
            alert.evidence
        ));
    }
    let dropped: Vec<String> = status
        .dropped
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(what, count)| format!("{count} {what}"))
        .collect();
    if !dropped.is_empty() {
        lines.push(format!("dropped   {}", dropped.join(", ")));
    }
    lines.join("\n")
}

/// A line per node.
fn answers(answer: &QueryAnswer) -> String {
    let mut rows = table(&["node", "name", "outcome", "after", "what it tells"]);
    for line in &answer.nodes {
        let told: Vec<String> = line
            .metrics
            .iter()
            .map(|metric| format!("{} {} {}", metric.name, metric.value, metric.unit).trim_end().to_owned())
            .collect();
        let after = line.took_seconds.map(|took| format!("{took:.2} s"));
        let after = after.or_else(|| line.age_seconds.map(|age| format!("{age:.0} s old")));
        rows.add_row([
            line.id.to_string(),
            line.name.clone().unwrap_or_else(dash),
            line.outcome.name().to_owned(),
            after.unwrap_or_else(dash),
            told.join("\n"),
        ]);
    }
    let counts: Vec<String> =
        answer.outcomes.iter().map(|(outcome, count)| format!("{count} {}", outcome.name())).collect();
    format!("{rows}\n{}", counts.join(", "))
}
