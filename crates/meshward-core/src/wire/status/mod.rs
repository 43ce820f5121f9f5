//! Packages in which C++ nodes tell how they are: the library's plug-ins 13 and 14, and Alteriom's types.
//!
//! A package is one [`Field`] after the other, in a table (`record!`) that reads and writes it. Reading is lenient:
//! what is not known is passed over, what is missing stays missing, and what is wrong is kept as it came, for
//! [`Package::odd`] to show; nothing makes a package of a known type unreadable. Lists and texts have the
//! limits that C++ has, or one of ours. Writing gives the bytes that C++ gives, field for field.
//!
//! They come as packages, and as text in messages of types 8 and 9, which is how the library itself sends 610
//! to 613: [`Sent::decode`] takes both. What they mean is for the fleet to say. Refuses other types, and a
//! package that nobody sent.
//!
//! A node that is told to say how it is:
//!
//! ```
//! use meshward_core::wire::status::{Code, Package, Sent, Status};
//! use meshward_core::wire::{NodeId, To};
//!
//! let frame = br#"{"from":1,"dest":7,"routing":1,"type":400,"cmd":200,"target":7,"params":"{}","cid":5}"#;
//! let sent = Sent::decode(frame)?;
//! let Package::Command(command) = sent.package else { panic!("it is a command") };
//! assert_eq!(command.code(), Some(Code::GetStatus));
//!
//! let status = Status { uptime_s: 3600.into(), firmware: "1.4.2".into(), ..Status::default() };
//! let answer = Package::from(status.answering(command.id.get().unwrap_or(0), "ok"));
//! assert_eq!(
//!     answer.encode(NodeId(7), To::One(sent.from)),
//!     br#"{"from":7,"dest":1,"routing":1,"type":202,"uptime":3600,"fw":"1.4.2","respTo":5,"respMsg":"ok"}"#
//! );
//! # Ok::<(), meshward_core::wire::DecodeError>(())
//! ```

mod command;
mod field;
#[doc(hidden)]
pub mod fuzzing;
mod mesh;
mod node;
#[cfg(test)]
mod tests;

pub use command::{Answer, Code, Command, PARAMS_BYTES_MAX};
pub use field::{Field, List, Odd, Oddity, RAW_BYTES_MAX, Raw, TEXT_BYTES_MAX, Text, decimal};
pub use mesh::{
    ALERTS_MAX, Alert, Alerts, BridgeStatus, Bridged, CONNECTIONS_MAX, Connection, Coordination, Election,
    GatewayAck, GatewayData, GatewayHeartbeat, ListedNode, NODES_MAX, NodeList, NtpTime, PAYLOAD_BYTES_MAX,
    PEERS_MAX, Takeover, Topology,
};
pub use node::{
    Calibration, Display, EnhancedStatus, HealthCheck, Inventory, LOG_LINES_MAX, LogLine, Metrics, MqttRetry,
    Organization, Performance, Power, RemoteLog, Sensor, Sensors, Status,
};

use super::envelope::{Envelope, Routing, read};
use super::error::DecodeError;
use super::id::NodeId;
use super::json::{Value, fields};
use super::kind;
use super::parcel::To;
use super::user::User;
use super::write::Object;
use alloc::boxed::Box;
use alloc::vec::Vec;
use field::{Wire, record};

macro_rules! packages {
    ($($package:ident = $kind:ident $base:ident,)*) => {
        /// A package, by its type.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Package {
            $(#[doc = concat!("Type `", stringify!($kind), "`.")] $package(Box<$package>),)*
        }

        impl Package {
            /// The types, in order.
            pub const KINDS: &'static [i32] = &[$(kind::$kind),*];

            /// Its type.
            pub const fn kind(&self) -> i32 {
                match self { $(Self::$package(_) => kind::$kind,)* }
            }

            /// Whether C++ nodes send packages of this type to all rather than to one: their base class. On a
            /// mesh of N nodes one package then crosses N-1 links, whoever wants it.
            pub const fn is_broadcast(&self) -> bool {
                match self { $(Self::$package(_) => Base::$base.is_broadcast(),)* }
            }

            /// Reads an object as the package of a type.
            fn of(kind: i32, object: Value<'_>) -> Option<Self> {
                match kind {
                    $(kind::$kind => Some(Self::$package(Box::new($package::read(object).into_value()?))),)*
                    _ => None,
                }
            }

            fn fields(&self, object: &mut Object) {
                match self { $(Self::$package(package) => package.fields(object),)* }
            }

            /// Shows everything in it that is not as it should be.
            pub fn odd(&self, mut see: impl FnMut(Odd<'_>)) {
                match self { $(Self::$package(package) => package.look("", &mut see),)* }
            }
        }

        $(impl From<$package> for Package {
            fn from(package: $package) -> Self {
                Self::$package(Box::new(package))
            }
        })*
    };
}

packages! {
    Performance = PERFORMANCE Broadcast,
    RemoteLog = REMOTE_LOG Single,
    Sensor = SENSOR Broadcast,
    Status = STATUS Broadcast,
    Metrics = METRICS Broadcast,
    Command = COMMAND Single,
    NodeList = NODE_LIST Broadcast,
    Topology = TOPOLOGY Broadcast,
    Alerts = ALERTS Broadcast,
    Bridged = BRIDGED Broadcast,
    EnhancedStatus = ENHANCED_STATUS Broadcast,
    HealthCheck = HEALTH_CHECK Broadcast,
    BridgeStatus = BRIDGE_STATUS Broadcast,
    Election = BRIDGE_ELECTION Broadcast,
    Takeover = BRIDGE_TAKEOVER Broadcast,
    Coordination = BRIDGE_COORDINATION Broadcast,
    NtpTime = NTP_TIME Broadcast,
    GatewayData = GATEWAY_DATA Single,
    GatewayAck = GATEWAY_ACK Single,
    GatewayHeartbeat = GATEWAY_HEARTBEAT Broadcast,
}

/// The base class of a package in C++.
enum Base {
    Broadcast,
    Single,
}

impl Base {
    const fn is_broadcast(&self) -> bool {
        matches!(self, Self::Broadcast)
    }
}

impl Package {
    /// Whether a type is one of these. 201 is what commands were before 400.
    pub fn is_kind(kind: i32) -> bool {
        kind == kind::COMMAND_OLD || Self::KINDS.contains(&kind)
    }

    /// Reads a canonical or normalised object, whose `type`, or without one `message_type`, says what it is.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for another type.
    pub fn decode(object: &[u8]) -> Result<Self, DecodeError> {
        let kind = match Envelope::of_fields(object).kind {
            0 => fields(object)
                .filter(|(key, _)| key.is("message_type"))
                .last()
                .map_or(0, |(_, value)| value.as_i32()),
            kind::COMMAND_OLD => kind::COMMAND,
            kind => kind,
        };
        Self::of(kind, Value::of(object)).ok_or(DecodeError::new("type", "that of a status package"))
    }

    /// The frame, without its NUL, in the field order of C++ nodes.
    pub fn encode(&self, from: NodeId, to: To) -> Vec<u8> {
        let mut object = Object::with_capacity(512);
        object.integer("from", i64::from(from.0));
        match to {
            To::Neighbour => object.integer("routing", 0),
            To::One(dest) => object.integer("dest", i64::from(dest.0)).integer("routing", 1),
            To::All => object.integer("routing", 2),
        };
        object.integer("type", i64::from(self.kind()));
        self.fields(&mut object);
        object.finish()
    }
}

record! {
    /// What Alteriom's MQTT schema puts around packages, and C++ nodes do not.
    Label {
        /// 1.
        schema_version: u16 = "schema_version",
        /// `ALT-` and a MAC.
        device_id: Text = "device_id",
        /// `sensor`, `gateway`, and others.
        device_type: Text = "device_type",
        /// Version.
        firmware_version: Text = "firmware_version",
        /// There when the package is about the mesh rather than a node.
        mesh_status: Text = "mesh_status",
    }
}

/// A package, and how it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// Who sent the message. What may stand inside a text is not heard.
    pub from: NodeId,
    /// To whom.
    pub to: To,
    /// It came as text in a message of type 8 or 9.
    pub nested: bool,
    /// What a schema has put around it; all missing from C++ nodes.
    pub label: Label,
    /// The package.
    pub package: Package,
}

impl Sent {
    /// Reads a canonical or normalised frame: one of these packages, or a message of type 8 or 9 whose text is
    /// one.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for anything else, and without a sender.
    pub fn decode(frame: &[u8]) -> Result<Self, DecodeError> {
        if let Ok(user) = User::decode(frame) {
            return Self::of_text(&user);
        }
        let Envelope { dest, from, routing, .. } = Envelope::of_fields(frame);
        let to = match routing {
            Routing::Single => To::One(dest),
            Routing::Broadcast => To::All,
            Routing::Neighbour | Routing::Local => To::Neighbour,
        };
        Self::of(frame, from, to, false)
    }

    /// Reads the text of a message.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when it is not one of these packages.
    pub fn of_text(user: &User<'_>) -> Result<Self, DecodeError> {
        let message = read(&user.msg).map_err(|_| DecodeError::new("msg", "a package as JSON"))?;
        let to = if user.broadcast { To::All } else { To::One(user.dest) };
        Self::of(&message.bytes, user.from, to, true)
    }

    fn of(object: &[u8], from: NodeId, to: To, nested: bool) -> Result<Self, DecodeError> {
        if from == NodeId::NONE {
            return Err(DecodeError::new("from", "a node's id"));
        }
        let package = Package::decode(object)?;
        let label = Label::read(Value::of(object)).into_value().unwrap_or_default();
        Ok(Self { from, to, nested, label, package })
    }
}
