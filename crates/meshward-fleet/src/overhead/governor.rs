//! How often nodes report, and whether a probe or a query may go now.
//!
//! Reports come by themselves and cannot be refused, so their period is chosen that they leave a part of the budget for
//! questions; where questions need more than that, or reports came oftener than they should, it grows before the budget
//! breaks. Nodes are told whole seconds: some [one less](Governor::told) than others, so that rounding wastes nothing.
//! What the gateway sends itself has to ask: it may go while the questions of ten minutes stay within what the reports
//! leave. A period that people wish is kept where the budget allows; where it does not, the budget wins, and
//! [`Period::bound`] says so.

use std::ops::RangeInclusive;

use meshward_core::rng::Rng;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

use super::meter::{Class, Frame, Meter, SLICE, Shares, WINDOW};
use super::reports::Reports;
use crate::forecast::Channel;

/// So much of the budget is for questions, and the rest for reports.
const QUESTIONS_OF_BUDGET: f64 = 0.05;
/// What the probe for a report that got lost takes, in reports: the way there and the one back, again where that gets
/// lost too; and nothing where a node is heard through another one.
const PROBE_OF_REPORT: f64 = 2.2;
/// However much there is to ask, questions get no more of it.
const QUESTIONS_AT_MOST: f64 = 0.3;
/// More than this of the budget is too near to all of it.
const NEARLY_ALL: f64 = 0.98;
/// Reports take this much more than planned when many are keyframes.
const UNEVEN: f64 = 1.03;
/// Ten minutes may hold so much of a round of reports more than they do on average: nodes have no turns, and the fewer
/// rounds there are, the more it is.
const ROUND_MORE: f64 = 0.4;
/// So much of the budget whoever sets it keeps back for that already.
const KEPT_BACK: f64 = 0.02;
/// What was measured in less says nothing of how much comes.
const SETTLED: Duration = Duration::from_secs(300);
/// What we send may take so much of a few seconds, so that a full budget is not spent at once.
const BURST_PERCENT: f64 = 10.0;
/// Questions that can wait take no more than so much of what reports leave, so that something is left for those that
/// cannot.
const WHENEVER: f64 = 0.92;
const SOON: f64 = 0.96;
/// Another period is worth telling the nodes when it differs by more than this.
const CHANGE_MIN: f64 = 0.1;
/// A longer one when it is longer by more than this: less is within what is kept for questions.
const LONGER_MIN: f64 = 1.05;
/// A shorter one when it would have done for so long.
const PATIENCE: Duration = WINDOW;
/// Whether a question can wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// It can.
    Whenever,
    /// A node has not answered before, which is mostly chance.
    Soon,
    /// Somebody waits for the answer, or a node is most likely lost.
    Urgent,
}

impl Urgency {
    /// That of a probe after so many unanswered ones.
    pub const fn after(unanswered: u32) -> Self {
        match unanswered {
            0 => Self::Whenever,
            1..=2 => Self::Soon,
            _ => Self::Urgent,
        }
    }

    const fn part(self) -> f64 {
        match self {
            Self::Whenever => WHENEVER,
            Self::Soon => SOON,
            Self::Urgent => 1.0,
        }
    }
}

/// How often nodes report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Each so long.
    pub value: Duration,
    /// Whether that is longer than wished, for the sake of the budget.
    pub bound: bool,
}

/// See the module's page.
#[derive(Clone, Debug)]
pub struct Governor {
    /// In percent of the channel.
    budget: f64,
    wished: Duration,
    period: Period,
    /// The same to the microsecond: what is wanted of all nodes together.
    exact: Duration,
    /// What is left for questions, as a part of the budget; and what that is at the least.
    questions: f64,
    questions_least: f64,
    /// What is kept back of the budget because reports come unevenly, in percent of the channel.
    uneven: f64,
    /// What reports take at the present period, in percent of the channel; and what that was until the nodes may be
    /// believed to have taken up a longer one.
    planned: f64,
    planned_at: Instant,
    /// When it became more.
    raised_at: Instant,
    /// How many times the reckoned period, because more came than was reckoned.
    stretch: f64,
    /// Since when a shorter period would do.
    shorter_since: Option<Instant>,
    /// Whether a period was chosen at all.
    begun: bool,
    refused: u64,
    refused_before: u64,
}

impl Governor {
    /// What status may take of the channel where nobody says otherwise, in percent.
    pub const BUDGET_PERCENT: f64 = 2.0;
    /// What it may be set to, in percent.
    pub const BUDGETS: RangeInclusive<f64> = 0.1..=50.0;
    /// How often nodes may be told to report, in seconds.
    pub const PERIODS: RangeInclusive<u64> = 10..=3_600;
    /// No node reports oftener.
    pub const PERIOD_MIN: Duration = Duration::from_secs(*Self::PERIODS.start());
    /// However little there is to spend, nodes report so often.
    pub const PERIOD_MAX: Duration = Duration::from_secs(*Self::PERIODS.end());

    /// `budget` in percent of the channel, within [`BUDGETS`](Self::BUDGETS). Nodes report each `wished` at the oftenest,
    /// 10 s at least.
    pub fn new(budget: f64, wished: Duration) -> Self {
        let (budget, wished) = Self::bounded(budget, wished);
        Self {
            budget,
            wished,
            period: Period { value: Duration::from_secs(60).max(wished), bound: false },
            exact: Duration::from_secs(60).max(wished),
            questions: QUESTIONS_OF_BUDGET,
            questions_least: QUESTIONS_OF_BUDGET,
            uneven: 0.0,
            planned: budget * (1.0 - QUESTIONS_OF_BUDGET),
            planned_at: Instant::ORIGIN,
            raised_at: Instant::ORIGIN,
            stretch: 1.0,
            shorter_since: None,
            begun: false,
            refused: 0,
            refused_before: 0,
        }
    }

    /// Another budget and another wish; the period follows when it is reckoned the next time, and the nodes are told
    /// it then in any case.
    pub fn set(&mut self, budget: f64, wished: Duration) {
        (self.budget, self.wished) = Self::bounded(budget, wished);
        self.begun = false;
    }

    fn bounded(budget: f64, wished: Duration) -> (f64, Duration) {
        let budget = if budget.is_finite() {
            budget.clamp(*Self::BUDGETS.start(), *Self::BUDGETS.end())
        } else {
            Self::BUDGET_PERCENT
        };
        let wished = Duration::from_secs(wished.as_micros().div_ceil(1_000_000));
        (budget, wished.clamp(Self::PERIOD_MIN, Self::PERIOD_MAX))
    }

    /// The budget in percent of the channel.
    pub const fn budget(&self) -> f64 {
        self.budget
    }

    /// How often nodes report now.
    pub const fn period(&self) -> Period {
        self.period
    }

    /// How often this node is to report, in whole seconds: the [period](Self::period), or a second less for so many nodes
    /// that all together send what the budget has room for.
    pub fn told(&self, node: NodeId) -> Duration {
        let long = self.period.value;
        let short = Duration::from_micros(long.as_micros().saturating_sub(1_000_000));
        let sooner = short.as_secs_f64() * (long.as_secs_f64() / self.exact.as_secs_f64() - 1.0);
        let drawn = Rng::new(u64::from(node.0)).below(1_000) as f64 / 1_000.0;
        if drawn < sooner { short } else { long }
    }

    /// Reckons the period anew: after a change of the tree, and each minute. Returns it when the nodes are to be told.
    /// `reports` are those of all that may be about to report; what does report is [planned](Self::plan) by itself.
    pub fn reckon(
        &mut self,
        now: Instant,
        channel: &Channel,
        meter: &Meter,
        reports: &Reports,
    ) -> Option<Period> {
        self.adapt(&meter.shares(now), reports.percent(channel, WINDOW));
        let minute = Duration::from_secs(60);
        self.uneven = (reports.percent(channel, WINDOW) * ROUND_MORE - self.budget * KEPT_BACK).max(0.0);
        let for_reports = self.evenly() * (1.0 - self.questions);
        let shortest = reports.percent(channel, minute) * 60.0 / for_reports * self.stretch;
        let shortest = Duration::from_micros((shortest * 1e6).ceil() as u64);
        let exact = self.wished.max(shortest).min(Self::PERIOD_MAX);
        let (old, new) = (self.exact.as_secs_f64(), exact.as_secs_f64());
        // Longer at once where the budget needs it, what is within the reserve apart; shorter only when it is worth a
        // message to everybody, and when it is not for the while of a branch that is gone.
        let shorter = (old - new) / old >= CHANGE_MIN;
        self.shorter_since = self.shorter_since.filter(|_| shorter).or(shorter.then_some(now));
        let lasts = self.shorter_since.is_some_and(|since| now.since(since) >= PATIENCE);
        let told = !self.begun || new > old * LONGER_MIN || lasts;
        if told {
            let value = Duration::from_secs(exact.as_micros().div_ceil(1_000_000));
            self.period = Period { value, bound: shortest > self.wished };
            self.exact = exact;
            (self.shorter_since, self.begun) = (None, true);
        }
        told.then_some(self.period)
    }

    /// That share of reports gets lost, and asks for probes; the period follows when it is reckoned the next time.
    pub fn expect_lost(&mut self, share: f64) {
        let probes = PROBE_OF_REPORT * share.max(0.0);
        self.questions_least = (probes / (1.0 + probes)).clamp(QUESTIONS_OF_BUDGET, QUESTIONS_AT_MOST);
    }

    /// So much will be reported at the present period.
    pub fn plan(&mut self, now: Instant, channel: &Channel, reports: &Reports) {
        let planned = reports.percent(channel, self.exact);
        if planned > self.planned {
            self.raised_at = now;
        }
        let lag = self.period.value.saturating_mul(2);
        if planned >= self.planned || now.since(self.planned_at) >= lag {
            (self.planned, self.planned_at) = (planned, now);
        }
    }

    /// Whether reports alone are too much for the budget, as they are to come or as they came: what makes nodes report
    /// less must not wait for room then.
    pub fn is_overrun(&self, now: Instant, meter: &Meter) -> bool {
        self.planned > self.evenly() || meter.shares(now).percent(Class::Reports) > self.budget
    }

    /// What may be taken on average, in percent of the channel, for the budget to hold in every ten minutes.
    fn evenly(&self) -> f64 {
        (self.budget - self.uneven).max(self.budget / 2.0)
    }

    /// Learns from what was measured and refused since the last time.
    ///
    /// A window may hold a round of reports, which takes `round` percent, more than it does on average.
    fn adapt(&mut self, shares: &Shares, round: f64) {
        let asked = shares.percent(Class::Questions);
        let planned_for = self.budget * self.questions;
        if self.refused > self.refused_before && asked > planned_for * 0.5 {
            self.questions = (self.questions * 1.25).min(QUESTIONS_AT_MOST);
        } else if asked < planned_for * 0.4 {
            self.questions *= 0.95;
        }
        self.questions = self.questions.max(self.questions_least);
        self.refused_before = self.refused;
        // Reports that were not reckoned with: the period grows before the budget breaks, and shrinks slowly.
        let most = (self.budget * NEARLY_ALL).max((self.planned + round) * UNEVEN);
        if shares.span() < SETTLED {
            // The first keyframes, in a time that is too short to say anything.
        } else if shares.percent(Class::Reports) > most {
            self.stretch = (self.stretch * 1.25).min(16.0);
        } else if shares.percent(Class::Reports) < self.budget * 0.8 {
            self.stretch = (self.stretch * 0.95).max(1.0);
        }
    }

    /// Whether what we want to send may go now, with the answers that it will cause. It is to be recorded in the meter
    /// by whoever sends it, and the answers when they come.
    ///
    /// Every ten minutes from ten minutes ago until ten minutes from now must stay within the budget, when reports come
    /// as planned. Of reports at least those that were planned count: one that got lost has taken air too.
    pub fn allow(
        &mut self,
        now: Instant,
        channel: &Channel,
        meter: &Meter,
        frames: &[Frame],
        urgency: Urgency,
    ) -> bool {
        let nanos = frames.iter().fold(0_u64, |sum, frame| sum.saturating_add(frame.nanos(channel)));
        let of = |span: Duration, percent: f64| (span.as_micros() as f64 * 10.0 * percent.max(0.0)) as u64;
        let planned = of(SLICE, self.planned);
        let limit = of(WINDOW, self.planned + (self.evenly() - self.planned).max(0.0) * urgency.part());
        let slices = WINDOW.as_micros() / SLICE.as_micros();
        // Before that, fewer were planned.
        let held = now.since(self.raised_at).as_micros() / SLICE.as_micros();
        let within = |back: u64| {
            let reports = meter.nanos_back(now, Class::Reports, back + 1);
            let reports = reports.max(planned.saturating_mul(back.min(held)));
            let questions = meter.nanos_back(now, Class::Questions, back + 1);
            let to_come = planned.saturating_mul(slices - back);
            reports.saturating_add(questions).saturating_add(to_come).saturating_add(nanos) <= limit
        };
        let burst = meter.nanos_back(now, Class::Questions, 1).saturating_add(nanos);
        let allowed = burst <= of(SLICE, BURST_PERCENT) && (0..=slices).all(within);
        // What can wait goes later, at no harm.
        if !allowed && urgency == Urgency::Urgent {
            self.refused = self.refused.saturating_add(1);
        }
        allowed
    }

    /// How often something urgent was not allowed.
    pub const fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::super::meter::Crossings;
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    /// `nodes` nodes whose mean depth is a half of `depth2`.
    fn mesh(nodes: u32, depth2: u32) -> Reports {
        let hops = nodes * depth2 / 2;
        Reports { nodes, crossings: hops, hop_bytes: u64::from(hops) * 80 }
    }

    #[test]
    fn the_shortest_period_is_that_of_the_table() {
        let channel = Channel::default();
        for (nodes, depth2, budget, seconds) in [
            (10, 4, 1.0, 5.4),
            (25, 5, 1.0, 17.0),
            (50, 6, 1.0, 41.0),
            (100, 8, 1.0, 108.0),
            (10, 4, 2.0, 2.7),
            (25, 5, 2.0, 8.4),
            (50, 6, 2.0, 20.0),
            (100, 8, 2.0, 54.0),
            (200, 10, 2.0, 135.0),
        ] {
            let shortest = mesh(nodes, depth2).percent(&channel, Duration::from_secs(60)) * 60.0 / budget;
            assert!((shortest - seconds).abs() < 0.03 * seconds, "{nodes} {budget}: {shortest}");
        }
    }

    #[test]
    fn the_period_is_as_wished_until_the_budget_wins() {
        let channel = Channel::default();
        for (nodes, depth2, wished, seconds, bound) in [
            (10, 4, 10, 10, false),
            (25, 5, 10, 10, false),
            (25, 5, 15, 15, false),
            (50, 6, 10, 22, true),
            (50, 6, 30, 30, false),
            (100, 8, 30, 58, true),
            (200, 10, 60, 153, true),
        ] {
            let mut governor = Governor::new(2.0, Duration::from_secs(wished));
            let reports = mesh(nodes, depth2);
            governor.reckon(at(0), &channel, &Meter::default(), &reports);
            let Period { value, bound: is_bound } = governor.period();
            assert_eq!((value, is_bound), (Duration::from_secs(seconds), bound), "{nodes}");
            assert!(reports.percent(&channel, value) <= 2.0 * (1.0 - QUESTIONS_OF_BUDGET));
        }
    }

    #[test]
    fn what_gets_lost_leaves_room_for_its_probes() {
        let channel = Channel::default();
        let mut period = |lost: f64| {
            let mut governor = Governor::new(2.0, Duration::from_secs(10));
            governor.expect_lost(lost);
            governor.reckon(at(0), &channel, &Meter::default(), &mesh(50, 6));
            governor.period().value.as_millis() / 1_000
        };
        // 0.405 s a round: of 2 % less 5, 18 and 30 of a hundred.
        assert_eq!([0.0, 0.1, 0.5, f64::NAN].map(&mut period), [22, 25, 29, 22]);
    }

    #[test]
    fn another_wish_is_taken_up_at_once() {
        let channel = Channel::default();
        let mut governor = Governor::new(2.0, Duration::from_secs(30));
        let mut reckon = |seconds, budget, wished| {
            if seconds > 0 {
                governor.set(budget, Duration::from_secs(wished));
            }
            let told = governor.reckon(at(seconds), &channel, &Meter::default(), &mesh(10, 4));
            told.map(|period| (period.value.as_millis(), period.bound))
        };
        assert_eq!(reckon(0, 2.0, 30), Some((30_000, false)));
        assert_eq!(reckon(10, 2.0, 20), Some((20_000, false)), "shorter without patience");
        assert_eq!(reckon(20, 2.0, 3), Some((10_000, false)), "no oftener than nodes may");
        let bound = reckon(30, 0.1, 10).unwrap();
        assert!(bound.0 > 50_000 && bound.1, "{bound:?}");
    }

    #[test]
    fn whole_seconds_waste_nothing() {
        let channel = Channel::default();
        for (nodes, depth2) in [(50, 6), (50, 7), (50, 8), (100, 9)] {
            let mut governor = Governor::new(2.0, Duration::from_secs(10));
            let reports = mesh(nodes, depth2);
            governor.reckon(at(0), &channel, &Meter::default(), &reports);
            let of = |period: Duration| 1.0 / period.as_secs_f64();
            let told: Vec<Duration> = (0..2_000).map(|node| governor.told(NodeId(node))).collect();
            let rate = told.iter().map(|period| of(*period)).sum::<f64>() / told.len() as f64;
            assert!((rate / of(governor.exact) - 1.0).abs() < 0.002, "{nodes} {depth2}: {rate}");
            let long = governor.period().value;
            assert!(told.iter().all(|told| *told == long || *told + Duration::from_secs(1) == long));
        }
        // Where the budget has room all report as wished.
        let mut governor = Governor::new(2.0, Duration::from_secs(30));
        governor.reckon(at(0), &channel, &Meter::default(), &mesh(25, 5));
        assert!((0..100).all(|node| governor.told(NodeId(node)) == Duration::from_secs(30)));
    }

    /// The period in tenths of a second after ten minutes in which so many reports came a second, and so much was asked
    /// as was allowed.
    fn period(reports_a_second: u32, ask: bool) -> u64 {
        let channel = Channel::default();
        let (mut governor, mut meter) = (Governor::new(2.0, Duration::from_secs(10)), Meter::default());
        let report = Frame { kind: 213, bytes: 80, crossings: Crossings::Hops(3) };
        let probe = Frame { kind: 3, bytes: 112, crossings: Crossings::Hops(6) };
        for second in 0..600 {
            (0..reports_a_second).for_each(|_| meter.record(at(second), &channel, &report));
            while ask && governor.allow(at(second), &channel, &meter, &[probe], Urgency::Urgent) {
                meter.record(at(second), &channel, &probe);
            }
            if second % 60 == 59 {
                governor.reckon(at(second), &channel, &meter, &mesh(50, 6));
                governor.plan(at(second), &channel, &mesh(50, 6));
            }
        }
        governor.period().value.as_millis() / 100
    }

    #[test]
    fn questions_and_reports_that_come_too_often_stretch_the_period() {
        assert_eq!(period(2, false), 220);
        let asked = period(0, true);
        assert!((230..=290).contains(&asked), "{asked}: a third of the budget at most is for questions");
        let often = period(3, false);
        assert!(often > 281, "{often}: 2.4 % were measured, again and again");
    }

    /// Whoever asks as often as it can stays within the budget in every ten minutes, with reports as planned.
    #[test]
    fn what_we_send_never_exceeds_the_budget() {
        for (budget, nodes, depth2) in [(2.0, 50, 6), (2.0, 100, 8), (0.5, 25, 5), (2.0, 10, 4)] {
            let channel = Channel::default();
            let (mut governor, mut meter) =
                (Governor::new(budget, Duration::from_secs(10)), Meter::default());
            let probe = Frame { kind: 3, bytes: 112, crossings: Crossings::Hops(8) };
            let reports = mesh(nodes, depth2);
            let mut spent: Vec<(u64, u64)> = Vec::new();
            let mut owed = 0.0;
            for second in 0..4_000 {
                if second % 60 == 0 {
                    governor.reckon(at(second), &channel, &meter, &reports);
                    governor.plan(at(second), &channel, &reports);
                }
                owed += f64::from(reports.crossings) / governor.period().value.as_secs_f64();
                let report = Frame { kind: 213, bytes: 80, crossings: Crossings::Hops(owed as u32) };
                owed -= f64::from(owed as u32);
                meter.record(at(second), &channel, &report);
                spent.push((second, report.nanos(&channel)));
                while governor.allow(at(second), &channel, &meter, &[probe], Urgency::Urgent) {
                    meter.record(at(second), &channel, &probe);
                    spent.push((second, probe.nanos(&channel)));
                }
            }
            let limit = (budget / 100.0 * 600e9) as u64;
            let window = |start: u64| {
                let inside = spent.iter().filter(|(second, _)| (start..start + 600).contains(second));
                inside.map(|(_, nanos)| nanos).sum::<u64>()
            };
            let most = (0..3_400).map(window).max().unwrap();
            assert!(most <= limit && most > limit * 8 / 10, "{budget} {nodes}: {most} of {limit}");
            assert!(governor.refused() > 0);
        }
    }
}
