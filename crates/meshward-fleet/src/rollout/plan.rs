//! A plan for a roll-out, as people write it: TOML or JSON.
//!
//! Every field has a default, so that the empty plan is a careful one. Reading refuses fields that nobody knows and
//! values of the wrong kind, with the path of the field; what makes no sense together is for
//! [`check`](super::check) to say. Nodes are plain numbers here, times are seconds.

use serde::{Deserialize, Serialize};

use super::measure::Measure;

/// Most bytes of a plan's text.
pub const PLAN_BYTES_MAX: usize = 64 * 1024;
/// Most waves after the canary.
pub const WAVES_MAX: usize = 20;
/// Most gates.
pub const GATES_MAX: usize = 20;
/// Most nodes, tags or versions that one selector names.
pub const SELECTOR_MAX: usize = 1_000;
/// Most windows of a week.
pub const WINDOWS_MAX: usize = 20;

/// Why a text is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// It is longer than any plan.
    #[error("the plan has {bytes} bytes; at most {PLAN_BYTES_MAX} are read")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It is no TOML, or a field is not what it should be.
    #[error("plan: {field}")]
    Toml {
        /// The field's path; `.` is the whole text.
        field: String,
        /// What is wrong with it.
        source: Box<toml::de::Error>,
    },
    /// It is no JSON, or a field is not what it should be.
    #[error("plan: {field}")]
    Json {
        /// The field's path; `.` is the whole text.
        field: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Who is meant. Each list narrows the choice; an empty one does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selector {
    /// One of these roles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// One of these boards.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hardware: Vec<String>,
    /// Runs one of these versions now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<String>,
    /// Has all of these tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Is one of these nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<u32>,
    /// Is none of these nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<u32>,
}

impl Selector {
    /// Whether it names nothing, and so means everybody.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How many nodes: `5`, `"10 %"` of all nodes of the plan, or `"rest"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Size {
    /// So many.
    Count(u32),
    /// So many of a hundred of the plan's nodes, rounded up.
    Percent(u32),
    /// Who is left.
    Rest,
}

impl Size {
    /// How many that is, of `all` nodes of the plan, of which `left` are in no wave yet.
    pub fn of(self, all: usize, left: usize) -> usize {
        match self {
            Self::Count(count) => (count as usize).min(left),
            Self::Percent(percent) => (all * percent as usize).div_ceil(100).min(left),
            Self::Rest => left,
        }
    }
}

/// A [`Size`] as it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u32),
    Text(String),
}

impl From<Size> for Written {
    fn from(size: Size) -> Self {
        match size {
            Size::Count(count) => Self::Number(count),
            Size::Percent(percent) => Self::Text(format!("{percent} %")),
            Size::Rest => Self::Text("rest".to_owned()),
        }
    }
}

impl TryFrom<Written> for Size {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Number(count) => Ok(Self::Count(count)),
            Written::Text(text) if text.trim() == "rest" => Ok(Self::Rest),
            Written::Text(text) => {
                let percent = text.trim().strip_suffix('%').and_then(|number| number.trim().parse().ok());
                percent.filter(|percent| *percent <= 100).map(Self::Percent).ok_or_else(|| {
                    format!("{text:?} is no size: a number of nodes, \"10 %\" or \"rest\" would be")
                })
            }
        }
    }
}

/// The first nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Canary {
    /// How many; chosen as `choose` says.
    pub size: Size,
    /// These, and no others, when it names any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<u32>,
    /// How long they are watched; the plan's soak when it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soak_s: Option<u32>,
}

impl Default for Canary {
    fn default() -> Self {
        Self { size: Size::Count(3), nodes: Vec::new(), soak_s: None }
    }
}

/// Nodes that start the image together, as far as [`Restart`] lets them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wave {
    /// How many.
    pub size: Size,
    /// Only of these; of all when it names nothing.
    #[serde(default, skip_serializing_if = "Selector::is_empty")]
    pub select: Selector,
    /// How long they are watched; the plan's soak when it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak_s: Option<u32>,
}

impl Wave {
    /// So many of all.
    pub fn of(size: Size) -> Self {
        Self { size, select: Selector::default(), soak_s: None }
    }
}

/// What must hold before the next wave. `gate` says how each is judged.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Gate {
    /// So many of the wave have to run the image in the end.
    Success {
        /// Of a hundred.
        percent_least: f64,
        /// So many must have failed before it is broken: one loose plug proves nothing.
        #[serde(default = "two")]
        failures_least: u32,
    },
    /// Nodes that went back by themselves because of the image: a failed self-test, a crash, a trial without a mesh.
    Faults {
        /// As many are still right; no statistics.
        #[serde(default)]
        most: u32,
    },
    /// More nodes of the wave are gone or have failed than of those not yet updated.
    Failures {},
    /// More nodes of the wave have restarted unasked than of those not yet updated.
    Restarts {},
    /// A value has become worse.
    Value {
        /// Which.
        measure: Measure,
        /// By so much it may become worse: of a hundred of what it was, for `rssi_dbm` in dB.
        worse_most: f64,
        /// So many nodes of the wave have to tell it, or the gate does not decide.
        #[serde(default = "two")]
        nodes_least: u32,
        /// So many values each, before the update and since.
        #[serde(default = "eight")]
        samples_least: u32,
    },
}

const fn two() -> u32 {
    2
}

const fn eight() -> u32 {
    8
}

impl Gate {
    /// Its name in interfaces.
    pub fn name(&self) -> String {
        match self {
            Self::Success { .. } => "success".to_owned(),
            Self::Faults { .. } => "faults".to_owned(),
            Self::Failures {} => "failures".to_owned(),
            Self::Restarts {} => "restarts".to_owned(),
            Self::Value { measure, .. } => measure.name().to_owned(),
        }
    }

    /// Whether chance has a part in it.
    pub const fn is_statistical(&self) -> bool {
        matches!(self, Self::Failures {} | Self::Restarts {} | Self::Value { .. })
    }
}

/// How long nodes are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Soak {
    /// From when all of a wave run the image, or were given up.
    pub soak_s: u32,
    /// How often gates look in that time. Each look spends a part of what chance is allowed.
    pub looks: u32,
    /// So long nothing happens before the canary: from then are the values that those after an update are held
    /// against, when the transfer has left the channel.
    pub baseline_s: u32,
    /// So much longer a gate that cannot decide is waited for, before somebody is asked.
    pub patience_s: u32,
}

impl Default for Soak {
    fn default() -> Self {
        Self { soak_s: 1_800, looks: 6, baseline_s: 600, patience_s: 1_800 }
    }
}

/// Who says that the next wave may begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Promotion {
    /// The gates alone.
    #[default]
    Automatic,
    /// Somebody, after the canary; then the gates alone.
    AfterCanary,
    /// Somebody, after each wave.
    Manual,
}

/// How many may be away at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Restart {
    /// So many of a hundred nodes of the mesh, those that restart and those that hang behind them.
    pub away_percent_most: u32,
    /// Who is away longer counts as failed, and no more restart meanwhile.
    pub away_s_most: u32,
}

impl Default for Restart {
    fn default() -> Self {
        Self { away_percent_most: 25, away_s_most: 300 }
    }
}

/// When waves may begin, in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// `mon` to `sun`; every day when it names none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<Day>,
    /// From then on: `HH:MM`.
    pub from: Clock,
    /// Until then; at or before `from` it is on the next day.
    pub until: Clock,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// A time of the day: minutes since midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Clock(pub u16);

impl From<Clock> for String {
    fn from(clock: Clock) -> Self {
        format!("{:02}:{:02}", clock.0 / 60, clock.0 % 60)
    }
}

impl TryFrom<String> for Clock {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parts = text.split_once(':').and_then(|(hour, minute)| {
            let two = |part: &str| -> Option<u16> {
                let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
                digits.then(|| part.parse().ok()).flatten()
            };
            Some((two(hour)?, two(minute)?))
        });
        match parts {
            Some((hour, minute)) if hour < 24 && minute < 60 => Ok(Self(hour * 60 + minute)),
            _ => Err(format!("{text:?} is no time of the day: \"03:30\" would be")),
        }
    }
}

/// Who must have power left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Power {
    /// The least charge of a battery, in per cent. Who tells none is on mains.
    pub battery_percent_least: Option<u32>,
    /// The least voltage of the supply, in mV.
    pub supply_mv_least: Option<u32>,
}

/// What is done about nodes that did not start the image, through no fault of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// How often each is tried, the first time included.
    pub attempts: u32,
    /// Between two tries.
    pub pause_s: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 2, pause_s: 60 }
    }
}

/// What a broken gate does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Nodes that can go back do, in reverse order, and the image is put into quarantine.
    #[default]
    Rollback,
    /// Nothing more happens until somebody decides.
    Pause,
    /// It ends; nodes keep what they run.
    Halt,
}

/// See the module's page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RolloutPlan {
    /// What people call it.
    pub name: String,
    /// Who is to have the image.
    pub select: Selector,
    /// Who starts it first.
    pub canary: Canary,
    /// Who then.
    pub waves: Vec<Wave>,
    /// What must hold after each.
    pub gates: Vec<Gate>,
    /// How improbable it is to be, in all of a roll-out, that gates stop a healthy image by chance: 0.99 is one in
    /// a hundred.
    pub confidence: f64,
    /// How long nodes are watched.
    pub soak: Soak,
    /// Who lets the next wave begin.
    pub promotion: Promotion,
    /// So long somebody's decision is waited for; then it is halted.
    pub approval_s: u32,
    /// How many may be away at once.
    pub restart: Restart,
    /// When waves may begin; any time when there are none.
    pub windows: Vec<Window>,
    /// Who must have power left.
    pub power: Power,
    /// Nodes that did not start it.
    pub retry: Retry,
    /// What a broken gate does.
    pub on_failure: OnFailure,
}

impl Default for RolloutPlan {
    /// Three canaries, then a tenth, a half, and the rest; half an hour each.
    fn default() -> Self {
        let value = |measure, worse_most| Gate::Value {
            measure,
            worse_most,
            nodes_least: two(),
            samples_least: eight(),
        };
        Self {
            name: "default".to_owned(),
            select: Selector::default(),
            canary: Canary::default(),
            waves: [Size::Percent(10), Size::Percent(40), Size::Rest].map(Wave::of).to_vec(),
            gates: vec![
                Gate::Faults { most: 0 },
                Gate::Success { percent_least: 90.0, failures_least: two() },
                Gate::Failures {},
                Gate::Restarts {},
                value(Measure::FreeHeap, 7.0),
                value(Measure::RoundTrip, 12.0),
                value(Measure::Rssi, 6.0),
                value(Measure::MessagesSent, 100.0),
            ],
            confidence: 0.99,
            soak: Soak::default(),
            promotion: Promotion::Automatic,
            approval_s: 7 * 86_400,
            restart: Restart::default(),
            windows: Vec::new(),
            power: Power::default(),
            retry: Retry::default(),
            on_failure: OnFailure::Rollback,
        }
    }
}

impl RolloutPlan {
    /// Reads TOML.
    ///
    /// # Errors
    /// [`PlanError`], with the field's path.
    pub fn from_toml(text: &str) -> Result<Self, PlanError> {
        let whole = |source| PlanError::Toml { field: ".".to_owned(), source: Box::new(source) };
        let reader = toml::Deserializer::parse(short(text)?).map_err(whole)?;
        serde_path_to_error::deserialize(reader).map_err(|error| PlanError::Toml {
            field: error.path().to_string(),
            source: Box::new(error.into_inner()),
        })
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// [`PlanError`], with the field's path.
    pub fn from_json(text: &str) -> Result<Self, PlanError> {
        let mut reader = serde_json::Deserializer::from_str(short(text)?);
        serde_path_to_error::deserialize(&mut reader)
            .map_err(|error| PlanError::Json { field: error.path().to_string(), source: error.into_inner() })
    }

    /// How long the wave in this place is watched, in seconds; 0 is the canary.
    pub fn soak_s(&self, wave: usize) -> u32 {
        let own = match wave.checked_sub(1) {
            None => self.canary.soak_s,
            Some(wave) => self.waves.get(wave).and_then(|wave| wave.soak_s),
        };
        own.unwrap_or(self.soak.soak_s)
    }
}

fn short(text: &str) -> Result<&str, PlanError> {
    if text.len() <= PLAN_BYTES_MAX { Ok(text) } else { Err(PlanError::TooLong { bytes: text.len() }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error;

    #[test]
    fn the_empty_plan_is_the_default_and_every_plan_survives_both_forms() {
        assert_eq!(RolloutPlan::from_toml("").unwrap(), RolloutPlan::default());
        assert_eq!(RolloutPlan::from_json("{}").unwrap(), RolloutPlan::default());
        let plan = RolloutPlan {
            windows: vec![Window { days: vec![Day::Sat], from: Clock(150), until: Clock(330) }],
            canary: Canary { nodes: vec![7], soak_s: Some(60), ..Canary::default() },
            ..RolloutPlan::default()
        };
        let json = serde_json::to_string(&plan).unwrap();
        assert!(json.contains("\"from\":\"02:30\"") && json.contains("\"10 %\""), "{json}");
        assert_eq!(RolloutPlan::from_json(&json).unwrap(), plan);
        assert_eq!(RolloutPlan::from_toml(&toml::to_string(&plan).unwrap()).unwrap(), plan);
        assert_eq!((plan.soak_s(0), plan.soak_s(1)), (60, 1_800));
    }

    #[test]
    fn a_mistake_names_its_field() {
        let check = |text: &str, field: &str, words: &str| {
            let error = RolloutPlan::from_toml(text).unwrap_err();
            assert_eq!(error.to_string(), format!("plan: {field}"), "{text}");
            let source = error.source().unwrap().to_string();
            assert!(source.contains(words), "{text}: {source}");
        };
        check("waves = [{ size = \"lots\" }]", "waves[0].size", "\"lots\" is no size");
        check("waves = [{ size = \"101 %\" }]", "waves[0].size", "is no size");
        check("[soak]\nlooks = -1", "soak.looks", "invalid value");
        check("colour = 1", "colour", "unknown field");
        check("[[windows]]\nfrom = \"3\"\nuntil = \"04:00\"", "windows[0].from", "no time of the day");
        check("= 1", ".", "");
        let error = RolloutPlan::from_json("{\"soak\": {\"soak_s\": \"x\"}}").unwrap_err();
        assert_eq!(error.to_string(), "plan: soak.soak_s");
        let long = RolloutPlan::from_toml(&" ".repeat(PLAN_BYTES_MAX + 1)).unwrap_err();
        assert!(long.to_string().contains("65537 bytes"));
    }

    #[test]
    fn sizes_are_of_all_and_never_more_than_are_left() {
        for (size, all, left, expected) in [
            (Size::Count(5), 100, 100, 5),
            (Size::Count(5), 100, 3, 3),
            (Size::Percent(10), 100, 97, 10),
            (Size::Percent(10), 11, 11, 2),
            (Size::Percent(50), 100, 40, 40),
            (Size::Rest, 100, 40, 40),
        ] {
            assert_eq!(size.of(all, left), expected, "{size:?}");
        }
    }
}
