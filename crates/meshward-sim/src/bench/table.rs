//! Rows of the benchmark, and the table that they make.

use std::fmt::Write as _;

use serde::Serialize;

use super::{Case, Run};

/// One row: the mean over the seeds of a case.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Nodes to be updated.
    pub n: usize,
    /// How they hang together.
    pub topology: String,
    /// Mean distance from the sender, in links.
    pub mean_depth: f64,
    /// Bytes of the image.
    pub image: usize,
    /// Who sends, and how.
    pub scheme: &'static str,
    /// Forwarded frames that die at a relay, in per cent.
    pub loss: u32,
    /// Whether the mesh's own syncs take channel time.
    pub sync: bool,
    /// Seeds.
    pub seeds: usize,
    /// From the start to the boot of the last node, over the seeds that updated all; `None` without any.
    pub seconds_mean: Option<f64>,
    /// Standard deviation of that.
    pub seconds_sd: Option<f64>,
    /// From the start until the last node had the image in its slot, with signed updates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transfer_mean: Option<f64>,
    /// The share of the time in which the channel was busy.
    pub channel_busy: f64,
    /// Bytes on links.
    pub link_bytes: u64,
    /// Those that are not Data.
    pub control_bytes: u64,
    /// `seconds_mean` over K · a · N.
    pub bound_ratio: Option<f64>,
    /// The time in which the channel was busy, over K · a · N.
    pub channel_ratio: Option<f64>,
    /// Nodes that run the image in the end, over all seeds.
    pub completed: usize,
    /// Nodes that should.
    pub of: usize,
}

/// The row of a case.
pub fn row(case: &Case, runs: &[Run]) -> Row {
    let mean = |of: &dyn Fn(&Run) -> f64| runs.iter().map(of).sum::<f64>() / runs.len().max(1) as f64;
    let times: Vec<f64> = runs.iter().filter_map(|run| run.seconds).collect();
    let mean_time = times.iter().sum::<f64>() / times.len().max(1) as f64;
    let square = times.iter().map(|time| (time - mean_time).powi(2)).sum::<f64>();
    let transfers: Vec<f64> = runs.iter().filter_map(|run| run.transfer_seconds).collect();
    let transfer = transfers.iter().sum::<f64>() / transfers.len().max(1) as f64;
    let first = runs.first();
    let some = |value: f64| (!times.is_empty()).then(|| rounded(value));
    let busy = |run: &Run| run.seconds.map_or(0.0, |seconds| seconds * run.channel_busy / run.bound_seconds);
    let busy = runs.iter().map(busy).sum::<f64>() / times.len().max(1) as f64;
    Row {
        n: case.n,
        topology: case.topology.name(),
        mean_depth: rounded(mean(&|run| run.mean_depth)),
        image: first.map_or(case.image, |run| run.image),
        scheme: case.scheme.name(),
        loss: case.loss,
        sync: !case.channel.free_sync,
        seeds: runs.len(),
        seconds_mean: some(mean_time),
        seconds_sd: some((square / (times.len().max(2) - 1) as f64).sqrt()),
        transfer_mean: (!transfers.is_empty()).then(|| rounded(transfer)),
        channel_busy: rounded(mean(&|run| run.channel_busy)),
        link_bytes: mean(&|run| run.link_bytes as f64) as u64,
        control_bytes: mean(&|run| run.control_bytes as f64) as u64,
        bound_ratio: some(mean_time / first.map_or(f64::INFINITY, |run| run.bound_seconds)),
        channel_ratio: some(busy),
        completed: runs.iter().map(|run| run.completed).sum(),
        of: case.n * runs.len(),
    }
}

/// Two decimals: more would be noise, and a difference in a snapshot.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// The table for people.
pub fn markdown(rows: &[Row]) -> String {
    let mut out = String::from(
        "| N | topology (mean depth) | image | loss | syncs | scheme | time | transfer | channel busy | MB on links | control | × bound | channel × bound | completed |\n\
         | ---: | --- | ---: | ---: | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for row in rows {
        let Row { n, topology, mean_depth, image, loss, sync, scheme, .. } = row;
        let Row { channel_busy, completed, of, .. } = row;
        let time = match (row.seconds_mean, row.seconds_sd) {
            (Some(mean), Some(sd)) => format!("{mean:.1} ± {sd:.1} s"),
            _ => "–".to_owned(),
        };
        let transfer = row.transfer_mean.map_or_else(|| "–".to_owned(), |mean| format!("{mean:.1} s"));
        let ratio = row.bound_ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
        let channel = row.channel_ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
        let megabytes = row.link_bytes as f64 / 1e6;
        let control = 100.0 * row.control_bytes as f64 / row.link_bytes.max(1) as f64;
        // Writing to a string cannot fail.
        let _always_ok = writeln!(
            out,
            "| {n} | {topology} ({mean_depth:.1}) | {} KB | {loss} % | {} | {scheme} | {time} | {transfer} | {:.0} % | {megabytes:.2} | {control:.1} % | {ratio} | {channel} | {completed} of {of} |",
            image / 1024,
            if *sync { "count" } else { "free" },
            100.0 * channel_busy,
        );
    }
    out
}
