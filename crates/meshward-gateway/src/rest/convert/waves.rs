//! Roll-outs in waves, as they are told.

use std::collections::BTreeMap;

use meshward_core::time::Instant;
use meshward_core::wire::NodeId;
use meshward_fleet::deployment;
use meshward_fleet::forecast;
use meshward_fleet::rollout::{
    self, Finding, Mistake, NodeReport, RolloutPlan, Verdict, WaveProgress, wave_name,
};

use super::super::model::{
    Family, GateFinding, PreviewNode, PreviewWave, ProblemPart, Progress, RolloutPreview, Wave, WaveNode,
};
use super::seconds;
use crate::service::{Gateway, Previewed};

const fn family(family: deployment::Family) -> Family {
    match family {
        deployment::Family::Meshward => Family::Meshward,
        deployment::Family::Stock => Family::Stock,
    }
}

fn finding(found: &Finding) -> GateFinding {
    let verdict = match found.verdict {
        Verdict::Holds => "holds",
        Verdict::Undecided => "undecided",
        Verdict::Broken => "broken",
    };
    GateFinding {
        gate: found.gate.clone(),
        verdict: verdict.to_owned(),
        words: found.words.clone(),
        chance: found.chance,
        limit: found.limit,
        worse: found.worse,
        wave: found.wave,
        others: found.others,
    }
}

fn node(report: &NodeReport) -> WaveNode {
    let told = report.family.as_deref().and_then(deployment::Family::named);
    WaveNode {
        id: report.node,
        family: told.map(family),
        wave: report.wave,
        why: report.why.clone(),
        outcome: report.outcome.clone(),
        reason: report.reason.clone(),
        tries: report.tries,
    }
}

/// Where waves are.
pub(super) fn progress(gateway: &Gateway, progress: &rollout::Progress) -> Progress {
    let at = |at: Instant| super::timestamp(gateway.civil(at));
    let wave = |(place, wave): (usize, &WaveProgress)| Wave {
        wave: place,
        name: wave_name(place),
        state: wave.stage.name().to_owned(),
        began_at: wave.began.map(at),
        nodes: wave.nodes.iter().map(node).collect(),
        batches: wave.batches.clone(),
        findings: wave.findings.iter().map(finding).collect(),
    };
    let all = progress.waves.iter().flat_map(|wave| &wave.nodes).chain(&progress.others);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    all.for_each(|node| *counts.entry(node.outcome.clone()).or_default() += 1);
    Progress {
        phase: progress.phase.name().to_owned(),
        paused: progress.paused,
        why: progress.why.clone(),
        wave: progress.wave,
        since: at(progress.since),
        until: progress.until.map(at),
        eta_seconds: progress.left.map(seconds),
        verbs: progress.verbs.iter().map(|verb| verb.name().to_owned()).collect(),
        counts,
        waves: progress.waves.iter().enumerate().map(wave).collect(),
        others: progress.others.iter().map(node).collect(),
    }
}

/// What a plan comes to.
pub(in super::super) fn preview(
    gateway: &Gateway,
    plan: RolloutPlan,
    previewed: &Previewed,
    reckoned: &forecast::Forecast,
) -> RolloutPreview {
    let Previewed { preview, families, unfit } = previewed;
    let line = |id: u32, why: &str| PreviewNode {
        id,
        family: families.get(&NodeId(id)).copied().map(family),
        why: why.to_owned(),
    };
    let staging = (seconds(reckoned.eta) - seconds(reckoned.restart())).max(0.0);
    let mut after = staging;
    let waves = preview.waves.iter().zip(&preview.batches).zip(&preview.seconds).enumerate();
    let waves = waves.map(|(place, ((nodes, batches), takes))| {
        let takes = *takes as f64;
        after += takes;
        PreviewWave {
            wave: place,
            name: wave_name(place),
            nodes: nodes.iter().map(|(id, why)| line(*id, why)).collect(),
            batches: *batches,
            seconds: takes,
            ends_after_seconds: after,
        }
    });
    let waves: Vec<PreviewWave> = waves.collect();
    let unfit = unfit.iter().map(|(id, why)| line(id.0, why));
    RolloutPreview {
        left_out: preview.left_out.iter().map(|(id, why)| line(*id, why)).chain(unfit).collect(),
        no_way_back: preview.no_way_back.clone(),
        notes: preview.notes.clone(),
        bytes: sent(reckoned),
        channel_seconds: seconds(reckoned.channel),
        staging_seconds: staging,
        eta_seconds: waves.last().map_or(staging, |wave| wave.ends_after_seconds),
        forecast: super::forecast(gateway, reckoned),
        waves,
        plan,
    }
}

/// What is sent in all: a pass once, whoever takes it; a stock node alone each time.
fn sent(reckoned: &forecast::Forecast) -> u64 {
    let mut passes: BTreeMap<Option<usize>, u64> = BTreeMap::new();
    let mut alone = 0;
    for group in &reckoned.groups {
        let bytes = u64::from(group.bytes);
        match group.service {
            forecast::Service::Pass(at) => drop(passes.insert(Some(at), bytes)),
            forecast::Service::Turbo => drop(passes.insert(None, bytes)),
            forecast::Service::Unicast => alone += bytes * group.nodes.len() as u64,
            forecast::Service::None(_) => {}
        }
    }
    passes.values().sum::<u64>() + alone
}

/// A mistake of a plan as a part of a problem: `waves[1].select` is at `/plan/waves/1/select`.
pub(in super::super) fn mistake(mistake: &Mistake) -> ProblemPart {
    let path = mistake.field.replace('[', ".").replace(']', "");
    let path = path.split('.').map(|level| level.replace('~', "~0").replace('/', "~1"));
    let pointer = path.fold("/plan".to_owned(), |pointer, level| pointer + "/" + &level);
    let detail = format!("it is {}, and should be {}", mistake.value, mistake.wanted);
    ProblemPart { pointer: Some(pointer), parameter: None, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_point_into_the_body() {
        for (field, pointer) in [
            ("select", "/plan/select"),
            ("waves[1].select.nodes", "/plan/waves/1/select/nodes"),
            ("gates[0].nodes_least", "/plan/gates/0/nodes_least"),
        ] {
            let wrong = Mistake { field: field.to_owned(), value: "1".to_owned(), wanted: "2".to_owned() };
            let part = mistake(&wrong);
            assert_eq!(part.pointer.as_deref(), Some(pointer));
            assert_eq!(part.detail, "it is 1, and should be 2");
        }
    }
}
