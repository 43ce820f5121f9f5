//! What an update does to everything else: how long an application's messages take before and during it, and how
//! much relays hold.
//!
//! A [`Case`] is a row, [`run_one`] one seed of it, [`row`] all seeds together. Once a second one of the receivers
//! sends a reading to the sender of the update, as sensors do.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use meshward_core::rng::Rng;
use meshward_core::time::{Duration, Instant};
use serde::Serialize;

use super::model::WHOLE_IMAGE;
use super::{Scheme, ready, update};
use crate::script::Step;
use crate::topology::Topology;
use crate::world::{Channel, Happening, Medium, Record, Seat, World};

/// How long the idle mesh is watched before the update.
const IDLE: Duration = Duration::from_secs(900);
/// Between two messages.
const EVERY: Duration = Duration::from_secs(1);
/// Bytes of a message's text.
const TEXT: usize = 64;
/// Lines of their own have the constants of the one channel, each for itself.
const LINES: Medium = Medium::Independent { latency: Duration::from_micros(2_090), byte_nanos: 7_640 };

/// One row: an update, and how frames travel meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// The update.
    pub update: super::Case,
    /// Each link has a line of its own instead of the one channel.
    pub lines: bool,
}

/// The rows of `docs/benchmarks.md`: 100 nodes, a whole image.
pub fn standard() -> Vec<Case> {
    let case = |lines, free_sync, loss, scheme, airtime| {
        let (n, topology, image) = (100, Topology::Random(4), WHOLE_IMAGE);
        let channel = Channel { free_sync, ..Channel::default() };
        Case { update: super::Case { n, topology, image, scheme, loss, channel, airtime }, lines }
    };
    let mut cases = Vec::new();
    for (lines, free_sync) in [(true, false), (false, true), (false, false)] {
        for loss in [0, 1] {
            cases.push(case(lines, free_sync, loss, Scheme::MeshwardTurbo, 100));
        }
        cases.push(case(lines, free_sync, 0, Scheme::StockUnicast, 100));
    }
    [25, 4].iter().for_each(|airtime| cases.push(case(false, true, 0, Scheme::MeshwardTurbo, *airtime)));
    cases
}

/// One seed of a case.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// What messages took before the update.
    idle: Vec<Duration>,
    /// What those took that were sent during it.
    during: Vec<Duration>,
    /// Messages sent and not arrived: lost at relays, or with a restarting node.
    lost: usize,
    /// The most that any relay held at once, over all its links.
    relay_bytes: usize,
    /// The same of firmware alone: what the pacing answers for.
    relay_firmware_bytes: usize,
    /// Time of the update, if all nodes got it.
    seconds: Option<f64>,
    /// Nodes that run the image in the end.
    completed: usize,
}

/// An application that sends readings, and a stop-watch.
struct Readings {
    rng: Rng,
    next: Instant,
    count: u64,
    on_their_way: BTreeMap<Vec<u8>, Instant>,
    took: Vec<(Instant, Duration)>,
}

impl Readings {
    fn tick(&mut self, world: &mut World, records: &[Record]) {
        for record in records {
            match &record.what {
                Happening::Sent { text, result: Ok(()), .. } => {
                    self.on_their_way.insert(text.clone(), record.at);
                }
                Happening::Message { text, .. } if record.seat == Seat(0) => {
                    let sent = self.on_their_way.remove(text);
                    self.took.extend(sent.map(|sent| (sent, record.at.since(sent))));
                }
                _ => {}
            }
        }
        while self.next <= world.now() + EVERY {
            let receivers = world.seats().count() as u64 - 1;
            let from = Seat(1 + self.rng.below(receivers) as usize);
            let mut text = format!("reading {}", self.count).into_bytes();
            text.resize(TEXT, b' ');
            world.plan(self.next, Step::Send(from, Some(Seat(0)), text));
            (self.count, self.next) = (self.count + 1, self.next + EVERY);
        }
    }
}

/// Runs one seed of a case.
pub fn run_one(case: &Case, seed: u64) -> Run {
    let mut ground = ready(&case.update, seed);
    let world = &mut ground.world;
    if case.lines {
        world.set_medium(LINES);
    }
    let mut readings = Readings {
        rng: Rng::new(seed ^ 0x5EED),
        next: world.now(),
        count: 0,
        on_their_way: BTreeMap::new(),
        took: Vec::new(),
    };
    let quiet = world.now() + IDLE;
    while world.now() < quiet {
        let records: Vec<Record> = world.records().collect();
        readings.tick(world, &records);
        world.run_for(Duration::from_millis(100));
    }
    let start = world.now();
    world.watch_relays();
    let outcome = update(&case.update, &mut ground, &mut |world, records| readings.tick(world, records));
    let world = &ground.world;
    let end = outcome.seconds.map_or(start, |_| world.now());
    let between = |from: Instant, to: Instant| {
        readings.took.iter().filter(|(sent, _)| *sent >= from && *sent < to).map(|(_, took)| *took).collect()
    };
    let held: Vec<(usize, usize)> = world.seats().skip(1).map(|seat| world.held(seat)).collect();
    Run {
        idle: between(Instant::ORIGIN, start),
        during: between(start, end),
        lost: readings.on_their_way.len(),
        relay_bytes: held.iter().map(|(all, _)| *all).max().unwrap_or(0),
        relay_firmware_bytes: held.iter().map(|(_, firmware)| *firmware).max().unwrap_or(0),
        seconds: outcome.seconds,
        completed: outcome.completed,
    }
}

/// One row, over all seeds of a case.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Nodes to be updated.
    pub n: usize,
    /// How they hang together.
    pub topology: String,
    /// Bytes of the image.
    pub image: usize,
    /// Who sends, and how.
    pub scheme: &'static str,
    /// Forwarded frames that die at a relay, in per cent.
    pub loss: u32,
    /// `lines`, `channel` with the mesh's own syncs, or `channel, syncs free`.
    pub medium: &'static str,
    /// How much of the channel our sender may fill, in per cent.
    pub airtime: u8,
    /// Mean time of the update, over the seeds in which all nodes got it.
    pub seconds_mean: Option<f64>,
    /// Seeds.
    pub seeds: usize,
    /// What half of the messages took at most before the update, in milliseconds.
    pub idle_p50_ms: f64,
    /// The same of 95 %.
    pub idle_p95_ms: f64,
    /// During the update.
    pub during_p50_ms: f64,
    /// During the update.
    pub during_p95_ms: f64,
    /// Messages that did not arrive, of all that were sent.
    pub lost: usize,
    /// All messages that were sent.
    pub sent: usize,
    /// The most that a relay held at once, over all its links and all seeds.
    pub relay_bytes_max: usize,
    /// The same of firmware alone.
    pub relay_firmware_bytes_max: usize,
    /// Nodes that run the image in the end, over all seeds.
    pub completed: usize,
    /// Nodes that should.
    pub of: usize,
}

/// The row of a case.
pub fn row(case: &Case, runs: &[Run]) -> Row {
    let all = |of: &dyn Fn(&Run) -> &Vec<Duration>| {
        let mut all: Vec<f64> =
            runs.iter().flat_map(|run| of(run).iter().map(|took| took.as_micros() as f64 / 1e3)).collect();
        all.sort_by(f64::total_cmp);
        all
    };
    let (idle, during) = (all(&|run| &run.idle), all(&|run| &run.during));
    let update = &case.update;
    let times: Vec<f64> = runs.iter().filter_map(|run| run.seconds).collect();
    let lost = runs.iter().map(|run| run.lost).sum::<usize>();
    Row {
        n: update.n,
        topology: update.topology.name(),
        image: update.image,
        scheme: update.scheme.name(),
        loss: update.loss,
        medium: match (case.lines, update.channel.free_sync) {
            (true, _) => "lines",
            (false, true) => "channel, syncs free",
            (false, false) => "channel",
        },
        airtime: update.airtime,
        seconds_mean: (!times.is_empty()).then(|| (times.iter().sum::<f64>() / times.len() as f64).round()),
        seeds: runs.len(),
        idle_p50_ms: quantile(&idle, 50),
        idle_p95_ms: quantile(&idle, 95),
        during_p50_ms: quantile(&during, 50),
        during_p95_ms: quantile(&during, 95),
        lost,
        sent: idle.len() + during.len() + lost,
        relay_bytes_max: runs.iter().map(|run| run.relay_bytes).max().unwrap_or(0),
        relay_firmware_bytes_max: runs.iter().map(|run| run.relay_firmware_bytes).max().unwrap_or(0),
        completed: runs.iter().map(|run| run.completed).sum(),
        of: update.n * runs.len(),
    }
}

/// A value that so many per cent do not exceed; 0 when there are none.
fn quantile(sorted: &[f64], per_cent: usize) -> f64 {
    let at = (sorted.len() * per_cent).div_ceil(100).saturating_sub(1);
    (sorted.get(at).copied().unwrap_or(0.0) * 10.0).round() / 10.0
}

/// The table for people.
pub fn markdown(rows: &[Row]) -> String {
    let mut out = String::from(
        "| links | scheme | airtime | loss | time | median, idle → update | 95 %, idle → update | × | firmware in a relay, at most | all in a relay, at most | completed |\n\
         | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for row in rows {
        let ours = row.scheme == Scheme::MeshwardTurbo.name();
        let airtime = if ours { format!("{} %", row.airtime) } else { "–".to_owned() };
        let time = row.seconds_mean.map_or_else(|| "–".to_owned(), |mean| format!("{mean:.0} s"));
        // Writing to a string cannot fail.
        let _always_ok = writeln!(
            out,
            "| {} | {} | {} | {} % | {} | {:.0} → {:.0} ms | {:.0} → {:.0} ms | {:.1} | {:.1} KB | {:.1} KB | {} of {} |",
            row.medium,
            row.scheme,
            airtime,
            row.loss,
            time,
            row.idle_p50_ms,
            row.during_p50_ms,
            row.idle_p95_ms,
            row.during_p95_ms,
            row.during_p95_ms / row.idle_p95_ms.max(0.1),
            row.relay_firmware_bytes_max as f64 / 1024.0,
            row.relay_bytes_max as f64 / 1024.0,
            row.completed,
            row.of,
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_there() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!((quantile(&values, 50), quantile(&values, 95)), (50.0, 95.0));
        assert_eq!((quantile(&values[..1], 95), quantile(&[], 95)), (1.0, 0.0));
    }
}
