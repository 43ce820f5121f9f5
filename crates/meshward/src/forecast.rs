//! `meshward ota forecast`: what a roll-out would take, per group of nodes.

use std::path::PathBuf;

use meshward_gateway::rest::model::{Family, Forecast, Group};

use crate::client::{Client, GatewayArgs};
use crate::list::table;
use crate::waves;
use crate::what::{What, scheme_name};

/// Options of `meshward ota forecast`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    what: What,
    /// Show what this plan comes to (TOML, or JSON where the name ends in .json): who would be in which wave and why,
    /// who is left out, who has no way back, and how long each wave takes.
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Print the forecast as JSON instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    gateway: GatewayArgs,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<bool> {
    let client = Client::new(&args.gateway)?;
    let plan = args.plan.as_deref().map(waves::plan).transpose()?;
    let (_, mut new) = args.what.prepare(&client).await?;
    if plan.is_some() {
        new.plan = plan;
        let preview = client.preview(&new).await?;
        if args.json {
            println!("{}", serde_json::to_string_pretty(&preview)?);
        } else {
            waves::print_preview(&preview);
        }
        return Ok(true);
    }
    let forecast = client.forecast(&new).await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&forecast)?);
    } else {
        print(&forecast);
    }
    Ok(true)
}

fn print(forecast: &Forecast) {
    let mut rows = table(&["nodes", "what they are", "sent as", "bytes", "chunks", "channel", "ETA"]);
    let mut passes = Vec::new();
    for group in &forecast.groups {
        let shared = group.pass.is_some_and(|pass| passes.contains(&pass));
        passes.extend(group.pass);
        let sent = |text: String| if group.scheme.is_some() { text } else { "–".to_owned() };
        rows.add_row([
            group.nodes.len().to_string(),
            what(group),
            group.scheme.map_or_else(|| "nothing".to_owned(), |scheme| scheme_name(scheme).to_owned()),
            sent(group.bytes.to_string()),
            sent(group.chunks.to_string()),
            sent(if shared { "the same".to_owned() } else { duration(group.channel_seconds) }),
            sent(duration(group.eta_seconds)),
        ]);
    }
    println!("{rows}");
    for group in forecast.groups.iter().filter(|group| group.scheme.is_none()) {
        let reason = group.reason.as_deref().unwrap_or("gets nothing");
        for node in &group.nodes {
            println!("node {node} {reason}");
        }
    }
    println!(
        "{} of channel time in all, about {} until all run the image: transfer, installation and restart, without \
         losses and the trial that follows",
        duration(forecast.channel_seconds),
        duration(forecast.eta_seconds),
    );
}

fn what(group: &Group) -> String {
    let Family::Meshward = group.family else { return "stock".to_owned() };
    let running = group.running.as_ref().map_or_else(
        || "an unknown image".to_owned(),
        |running| running.name.clone().unwrap_or_else(|| format!("image {}", running.id)),
    );
    let (hardware, role) = (group.hardware.as_deref().unwrap_or("?"), group.role.as_deref().unwrap_or("?"));
    format!("Meshward {hardware} {role}, running {running}")
}

/// A time for people.
pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 10.0 {
        format!("{seconds:.1} s")
    } else if seconds < 100.0 {
        format!("{seconds:.0} s")
    } else if seconds < 6_000.0 {
        format!("{:.0} min", seconds / 60.0)
    } else {
        format!("{:.1} h", seconds / 3_600.0)
    }
}

/// A forecast in one line: what goes to how many nodes, and how long that takes.
pub(crate) fn sentence(forecast: &Forecast) -> String {
    let mut ways: Vec<(&str, usize)> = Vec::new();
    for group in &forecast.groups {
        let way = group.scheme.map_or("nothing", scheme_name);
        match ways.iter_mut().find(|(known, _)| *known == way) {
            Some((_, count)) => *count += group.nodes.len(),
            None => ways.push((way, group.nodes.len())),
        }
    }
    let ways: Vec<String> = ways.iter().map(|(way, count)| format!("{count} by {way}")).collect();
    format!(
        "{}; by the model of one channel {} of it, and about {} in all",
        ways.join(", "),
        duration(forecast.channel_seconds),
        duration(forecast.eta_seconds)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let times = [(0.04, "0.0 s"), (9.0, "9.0 s"), (42.4, "42 s"), (130.0, "2 min"), (9_000.0, "2.5 h")];
        times.iter().for_each(|(seconds, text)| assert_eq!(duration(*seconds), *text));
    }
}
