//! Whose protocol a node speaks and what it can, told by what it sends.
//!
//! Only what was seen counts. A package that a node sends shows that it can send it; that it sends none shows nothing.

use meshward_core::wire::kind;

/// Whose protocol a node speaks. The order is that of belief: a Meshward node can send what an Alteriom node sends,
/// and both what a stock node sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// It has sent nothing that tells.
    #[default]
    Unknown,
    /// The C++ library and no more.
    Stock,
    /// The C++ library with Alteriom's packages.
    Alteriom,
    /// Ours.
    Meshward,
}

impl Family {
    /// Its name in interfaces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Stock => "stock",
            Self::Alteriom => "alteriom",
            Self::Meshward => "meshward",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Unknown, Self::Stock, Self::Alteriom, Self::Meshward]
            .into_iter()
            .find(|one| one.name() == name)
    }

    /// What a package of this type shows at least of its sender.
    pub const fn shown_by(kind: i32) -> Self {
        match kind {
            210..=215 | 220..=223 => Self::Meshward,
            200..=204 | 400 | 600..=605 | 610..=614 | 620..=622 => Self::Alteriom,
            // The core protocol itself is everybody's; these are the library's own packages above it.
            10..=14 => Self::Stock,
            _ => Self::Unknown,
        }
    }
}

/// Something that a node has shown that it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capability {
    /// Sends Alteriom's status packages.
    StatusPackages,
    /// Answers the status service and sends telemetry (types 210 to 215).
    Telemetry,
    /// Packs the reports of nodes below it into its own.
    Aggregation,
    /// Takes firmware by the stock protocol.
    StockUpdates,
    /// Takes signed firmware.
    SignedUpdates,
    /// Has a way to the internet (type 610).
    Bridge,
    /// Sleeps, and says so.
    Sleep,
}

impl Capability {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::StatusPackages,
        Self::Telemetry,
        Self::Aggregation,
        Self::StockUpdates,
        Self::SignedUpdates,
        Self::Bridge,
        Self::Sleep,
    ];

    /// Its name in interfaces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StatusPackages => "status_packages",
            Self::Telemetry => "telemetry",
            Self::Aggregation => "aggregation",
            Self::StockUpdates => "stock_updates",
            Self::SignedUpdates => "signed_updates",
            Self::Bridge => "bridge",
            Self::Sleep => "sleep",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// What a package of this type shows that its sender can.
    pub const fn shown_by(kind: i32) -> Option<Self> {
        match kind {
            200 | 202 | 204 | 600..=605 => Some(Self::StatusPackages),
            211..=213 => Some(Self::Telemetry),
            610 => Some(Self::Bridge),
            kind::OTA_REQUEST => Some(Self::StockUpdates),
            kind::WANT => Some(Self::SignedUpdates),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for capability in Capability::ALL {
            assert_eq!(Capability::named(capability.name()), Some(capability));
        }
        for family in [Family::Unknown, Family::Stock, Family::Alteriom, Family::Meshward] {
            assert_eq!(Family::named(family.name()), Some(family));
        }
        assert_eq!((Capability::named("flight"), Family::named("")), (None, None));
    }

    #[test]
    fn packages_show_whose_they_are() {
        for (kind, family, capability) in [
            (3, Family::Unknown, None),
            (8, Family::Unknown, None),
            (11, Family::Stock, Some(Capability::StockUpdates)),
            (12, Family::Stock, None),
            (202, Family::Alteriom, Some(Capability::StatusPackages)),
            (610, Family::Alteriom, Some(Capability::Bridge)),
            (213, Family::Meshward, Some(Capability::Telemetry)),
            (214, Family::Meshward, None),
            (777, Family::Unknown, None),
        ] {
            assert_eq!((Family::shown_by(kind), Capability::shown_by(kind)), (family, capability), "{kind}");
        }
        assert!(Family::Meshward > Family::Alteriom && Family::Alteriom > Family::Stock);
    }
}
