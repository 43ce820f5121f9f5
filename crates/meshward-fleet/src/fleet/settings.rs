//! What a mesh's keeper may set of a [`Fleet`](super::Fleet), and what of it makes no sense.

use meshward_core::time::Duration;
use thiserror::Error;

use crate::alert::{self, RuleError};
use crate::anomaly;
use crate::forecast::Channel;
use crate::health::Table;
use crate::liveness;
use crate::overhead::Governor;
use crate::setting::{BadSetting, want};

/// What a mesh's keeper may set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The mesh's name, which goes into the fingerprints of its alerts.
    pub mesh: String,
    /// Whether nodes that can are told to report by themselves.
    pub telemetry: bool,
    /// Whether relays pack the reports of nodes behind them with their own.
    pub aggregate: bool,
    /// What status may take of the channel, in percent.
    pub budget_percent: f64,
    /// How often nodes report at the oftenest; the budget may make it less.
    pub period: Duration,
    /// What a message takes of the channel, until probes have shown it.
    pub channel: Channel,
    /// How nodes are found to be gone.
    pub liveness: liveness::Config,
    /// How values are found to be not as they should.
    pub anomaly: anomaly::Settings,
    /// How nodes are scored.
    pub health: Table,
    /// What alerts there are.
    pub rules: Vec<alert::Rule>,
    /// How long no alert is raised after the start.
    pub quiet: Duration,
    /// Whether somebody takes samples, to keep them for longer than this machine does.
    pub history: bool,
}

impl Default for Settings {
    /// 2 % of the channel, a report each 30 s, the default tables.
    fn default() -> Self {
        Self {
            mesh: "mesh".to_owned(),
            telemetry: true,
            aggregate: true,
            budget_percent: Governor::BUDGET_PERCENT,
            period: Duration::from_secs(30),
            channel: Channel::default(),
            liveness: liveness::Config::default(),
            anomaly: anomaly::Settings::default(),
            health: Table::default(),
            rules: alert::default_rules(),
            quiet: alert::Config::new("").learning,
            history: false,
        }
    }
}

/// Why a fleet cannot begin.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// A rule of alerts makes no sense.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// A setting makes no sense.
    #[error(transparent)]
    Setting(#[from] BadSetting),
}

impl Settings {
    /// Whether these make sense; rules are looked at by whoever goes by them.
    ///
    /// # Errors
    /// The first that does not.
    pub fn check(&self) -> Result<(), BadSetting> {
        let (least, most) = Governor::BUDGETS.into_inner();
        let percent = self.budget_percent;
        let right = format!("{least} to {most} percent of the channel");
        want(Governor::BUDGETS.contains(&percent), "budget_percent", percent, right)?;
        let (least, most) = (Governor::PERIOD_MIN, Governor::PERIOD_MAX);
        let seconds = |span: Duration| span.as_secs_f64();
        let good = (least..=most).contains(&self.period);
        let right = format!("{} to {} s", seconds(least), seconds(most));
        want(good, "period", format!("{} s", seconds(self.period)), right)?;
        let takes = self.channel.nanos(0) > 0;
        want(takes, "channel.frame_nanos", self.channel.frame_nanos, "above 0: every message takes time")?;
        self.liveness.check().map_err(|bad| bad.within("liveness"))?;
        self.anomaly.check().map_err(|bad| bad.within("anomaly"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The default with a change: what is said of it.
    fn check(change: impl FnOnce(&mut Settings), expected: &str) {
        let mut settings = Settings::default();
        change(&mut settings);
        let error = crate::Fleet::new(
            meshward_core::time::Instant::ORIGIN,
            meshward_core::wire::NodeId(1),
            1,
            settings,
        );
        assert_eq!(error.err().map(|error| error.to_string()).as_deref(), Some(expected));
    }

    #[test]
    fn a_fleet_does_not_begin_with_nonsense() {
        let zero = Duration::ZERO;
        for percent in [0.0, 51.0, f64::NAN] {
            let expected =
                format!("budget_percent is {percent}: it should be 0.1 to 50 percent of the channel");
            check(|all| all.budget_percent = percent, &expected);
        }
        check(|all| all.period = Duration::from_secs(9), "period is 9 s: it should be 10 to 3600 s");
        let channel = Channel { frame_nanos: 0, byte_nanos: 0 };
        let expected = "channel.frame_nanos is 0: it should be above 0: every message takes time";
        check(|all| all.channel = channel, expected);
        let expected = "liveness.answer is 0 s: it should be 0.5 to 86400 s";
        check(|all| all.liveness.answer = zero, expected);
        let expected = "liveness.sweep is 60 s: it should be 120 to 86400 s";
        check(|all| all.liveness.sweep = Duration::from_secs(60), expected);
        check(|all| all.liveness.probes_min = 0, "liveness.probes_min is 0: it should be 1 to 200");
        let expected = "liveness.days_per_mistake is 0: it should be 1 or more";
        check(|all| all.liveness.days_per_mistake = 0, expected);
        let expected = "anomaly.loops.window is 0 s: it should be above 0 and at most 31622400 s";
        check(|all| all.anomaly.loops.window = zero, expected);
        let twice = alert::default_rules()[0].clone();
        check(|all| all.rules.push(twice.clone()), &RuleError::Name(twice.name.clone()).to_string());
    }
}
