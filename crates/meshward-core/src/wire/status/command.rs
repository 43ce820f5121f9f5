//! Commands (type 400, in older sketches 201): what a node is told to do, and how it says that it did.
//!
//! A node answers with a [`Status`] whose `respTo` is the command's `cid`; some sketches send a command 255 with
//! the same `cid` instead. Nothing here checks who may command whom: a mesh of C++ nodes has no such thing.

use super::field::{Field, Text, record};
use super::{Package, Sent, Status};

/// Bytes kept of a command's parameters. A command whose parameters were cut is not to be obeyed.
pub const PARAMS_BYTES_MAX: usize = 1024;

record! {
    /// Type 400: do something.
    Command {
        /// What, see [`Code`].
        number: u8 = "cmd",
        /// The node, or 0 for all; some sketches mean a device at the node.
        target: u32 = "target",
        /// How, as the text of a JSON object.
        params: Text<PARAMS_BYTES_MAX> = "params",
        /// Its number, for the answer.
        id: u32 = "cid",
        /// 400.
        message_type: u16 = "message_type",
    }
}

impl Command {
    /// A command for `target`, or `None` where the code does not fit its field.
    pub fn new(code: Code, target: u32, params: &str, id: u32) -> Option<Self> {
        Some(Self {
            number: u8::try_from(code.number()).ok()?.into(),
            target: target.into(),
            params: params.into(),
            id: id.into(),
            message_type: 400.into(),
        })
    }

    /// What is to be done; also one that a C++ node would read as 0, because it does not fit.
    pub fn code(&self) -> Option<Code> {
        let number = self.number.number()?;
        (0.0..=f64::from(u16::MAX)).contains(&number).then(|| Code::of(number as u16))
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident = $number:literal $name:literal,)*) => {
        /// What a node can be told to do. Sketches are free in what they do on which number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $($(#[$doc])* $code,)*
            /// A number that has no name.
            Other(u16),
        }

        impl Code {
            /// All that have a name.
            pub const ALL: &'static [Self] = &[$(Self::$code),*];

            /// Its number, in `cmd`.
            pub const fn number(self) -> u16 {
                match self {
                    $(Self::$code => $number,)*
                    Self::Other(number) => number,
                }
            }

            /// Its name, in words.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$code => $name,)*
                    Self::Other(_) => "something else",
                }
            }

            /// The code of a number.
            pub const fn of(number: u16) -> Self {
                match number {
                    $($number => Self::$code,)*
                    // The documents had 201, until a search for the old type of commands hit it.
                    400 => Self::GetMetrics,
                    other => Self::Other(other),
                }
            }
        }
    };
}

codes! {
    /// Restart.
    Reset = 1 "restart",
    /// Deep sleep for `duration_ms`.
    Sleep = 2 "sleep",
    /// Stay awake.
    Wake = 3 "wake up",
    /// `state`, `brightness`.
    Led = 10 "set the LED",
    /// `channel`, `state`.
    Relay = 11 "switch a relay",
    /// `pin`, `duty`.
    Pwm = 12 "set a PWM output",
    /// `sensor_id`, `enabled`.
    SensorEnable = 20 "switch a sensor",
    /// `sensor_id`.
    SensorCalibrate = 21 "calibrate a sensor",
    /// Tell the settings.
    GetConfig = 100 "tell the settings",
    /// Change settings.
    SetConfig = 101 "change settings",
    /// Forget settings.
    ResetConfig = 102 "forget the settings",
    /// Write settings to flash.
    SaveConfig = 103 "save the settings",
    /// `rate_ms`.
    SetSampleRate = 110 "measure at another rate",
    /// `name`.
    SetName = 111 "take a name",
    /// Answer with a status.
    GetStatus = 200 "tell the status",
    /// Answer with metrics.
    GetMetrics = 201 "tell the metrics",
    /// Answer with everything.
    GetDiagnostics = 202 "tell everything",
    /// Send status each `interval_ms`.
    StartMonitoring = 210 "send status regularly",
    /// And no more.
    StopMonitoring = 211 "stop sending status",
    /// Not a command: the one with this `cid` was done.
    Acknowledge = 255 "done",
    /// Answer with the topology. Does not fit into `cmd`.
    GetTopology = 300 "tell the topology",
}

/// What a node says to a command.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The command's number.
    pub id: u32,
    /// In words; empty when there are none.
    pub text: Text,
    /// The status byte that came with it.
    pub status: Option<u8>,
}

impl Answer {
    /// The answer that is in a package, if there is one.
    pub fn of(sent: &Sent) -> Option<Self> {
        match &sent.package {
            Package::Status(status) => {
                let id = status.response_to.get().filter(|id| *id > 0)?;
                let text = status.response.value().cloned().unwrap_or_default();
                Some(Self { id, text, status: status.status.get() })
            }
            Package::Command(command) if command.code() == Some(Code::Acknowledge) => {
                Some(Self { id: command.id.get()?, text: Text::default(), status: None })
            }
            _ => None,
        }
    }
}

impl Status {
    /// This status, as the answer to the command `id`.
    #[must_use]
    pub fn answering(mut self, id: u32, text: &str) -> Self {
        (self.response_to, self.response) =
            if id == 0 { (Field::Missing, Field::Missing) } else { (id.into(), text.into()) };
        self
    }
}
