//! What operators ask for, and what it comes to.

use std::num::NonZeroU16;
use std::sync::Arc;

use meshward_core::ota::{StartError, Tempo};
use meshward_core::wire::NodeId;
use meshward_fleet::deployment::{Plan, SignedManifest};
use meshward_fleet::firmware::{ImageError, ImageInfo, inspect};
use meshward_fleet::forecast::Scheme;
use meshward_fleet::payload::Options;
use meshward_fleet::rollout::{Mistake, RolloutPlan};
use thiserror::Error;

use super::share::NAMED_MAX;
use super::{FORECASTS_MAX, Gateway, ROLLOUTS_AT_ONCE};

/// An uploaded image.
#[derive(Clone, Debug)]
pub struct Firmware {
    /// What the file was called.
    pub name: String,
    /// What it says of itself.
    pub info: ImageInfo,
    /// Its bytes.
    pub image: Arc<[u8]>,
    /// What its author says of it.
    pub manifest: Option<SignedManifest>,
}

/// What an operator wants brought to whom.
#[derive(Clone, Debug)]
pub struct RolloutRequest {
    /// SHA-256 of an uploaded image.
    pub firmware: [u8; 32],
    /// The receivers' role; that of the manifest if there is none.
    pub role: Option<String>,
    /// The receivers' hardware.
    pub hardware: String,
    /// What is sent.
    pub scheme: Scheme,
    /// Whom; `None` for every node in the mesh.
    pub nodes: Option<Vec<NodeId>>,
    /// Send an image even though it is none that the receivers can run.
    pub force_image: bool,
    /// The operator says that the image takes updates itself; needed once per image.
    pub confirm_receiver: bool,
    /// Bytes that a receiver's slot holds.
    pub slot_size: u32,
    /// Bytes in a part.
    pub part_size: u32,
    /// Nodes that receive at the same time.
    pub concurrency: usize,
    /// Nodes restart only when they are activated.
    pub hold: bool,
    /// How much of the time the update may fill the radio channel, in per cent.
    pub airtime: u8,
    /// In which waves nodes start it; all at once, or as they are activated, without.
    pub plan: Option<RolloutPlan>,
}

/// What a gateway's keeper allows, whatever a request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Whether anything may be sent; forecasts always may be asked for.
    pub rollouts: bool,
    /// Whether payloads may be packed.
    pub compression: bool,
    /// How hard the encoder tries, 1 to 9.
    pub compression_level: u8,
    /// Bytes in a part or chunk, 256 to 1400 and a multiple of 4; a request may ask for less.
    pub chunk_size_max: u16,
    /// How much of the time an update may fill the radio channel, 1 to 100 per cent; a request may ask for less.
    pub airtime_max: u8,
    /// So many chunks a second go to all; `None` goes by what the mesh takes.
    pub fixed_rate: Option<NonZeroU16>,
    /// Whether payloads may go to all at once.
    pub broadcast: bool,
}

impl Default for Allowed {
    /// Everything, as [`Options`] has it.
    fn default() -> Self {
        let Options { level, chunk_size, .. } = Options::default();
        Self {
            rollouts: true,
            compression: true,
            compression_level: level,
            chunk_size_max: chunk_size,
            airtime_max: 100,
            fixed_rate: None,
            broadcast: true,
        }
    }
}

impl Allowed {
    /// What is sent, if that may be.
    fn scheme(&self, wanted: Scheme) -> Result<Scheme, RolloutError> {
        match wanted {
            Scheme::Turbo if !self.broadcast => Err(RolloutError::Broadcast),
            _ if self.compression => Ok(wanted),
            Scheme::Auto => Ok(Scheme::Full),
            Scheme::Heatshrink | Scheme::Lzma | Scheme::Delta => Err(RolloutError::Packed),
            Scheme::Full | Scheme::Turbo | Scheme::Unicast => Ok(wanted),
        }
    }

    /// How fast what goes to all does.
    fn tempo(&self, airtime: u8) -> Tempo {
        let chunks_per_second = self.fixed_rate.filter(|_| self.broadcast);
        Tempo { airtime: airtime.min(self.airtime_max), chunks_per_second }
    }

    fn packing(&self) -> Options {
        let (level, chunk_size) = (self.compression_level, self.chunk_size_max);
        Options { level, chunk_size, ..Options::default() }
    }
}

/// Why a roll-out was not started.
#[derive(Debug, Error)]
pub enum RolloutError {
    /// The gateway's keeper wants none.
    #[error("this gateway starts no roll-outs: its configuration has ota.rollouts = false")]
    SwitchedOff,
    /// The gateway's keeper wants nothing packed.
    #[error(
        "this gateway sends nothing packed: its configuration has ota.compression = false; take scheme auto or full"
    )]
    Packed,
    /// The gateway's keeper wants nothing to go to all.
    #[error(
        "this gateway sends to one node after the other: its configuration has ota.broadcast = false; take scheme auto or \
         unicast"
    )]
    Broadcast,
    /// No such image was uploaded.
    #[error("no firmware with this SHA-256 has been uploaded")]
    UnknownFirmware,
    /// The image is not what the nodes can run.
    #[error("the image was refused (force_image sends it all the same): {0}")]
    Image(#[from] ImageError),
    /// Nobody has said that the image takes updates itself.
    #[error(
        "a node that runs an image without an update receiver (initOTAReceive) can never be updated over the air \
         again, and nobody can see it from outside: say that this image has one, by --confirm-receiver (confirm_receiver \
         over REST), once per image"
    )]
    Unconfirmed,
    /// Without a manifest nobody says whom the image is for.
    #[error("the image has no manifest, so the nodes' role must be given")]
    NoRole,
    /// The manifest is for others.
    #[error("the image's manifest is for {manifest}, and this roll-out is for {request}")]
    OtherNodes {
        /// Hardware and role that the manifest names.
        manifest: String,
        /// Those of the request.
        request: String,
    },
    /// Too many at once.
    #[error("{FORECASTS_MAX} forecasts are being reckoned already: ask again in a moment")]
    Crowded,
    /// The waves make no sense, by themselves or in this mesh.
    #[error("the plan makes no sense: {}", said(.0))]
    Plan(Vec<Mistake>),
    /// Another one is under way for the same nodes.
    #[error(
        "roll-out {id} is under way for the same role and hardware, {role} on {hardware}, and two plans for one node are \
         nobody's plan: wait for its end, or abort it"
    )]
    Busy {
        /// Its number.
        id: u64,
        /// Whom it is for.
        role: String,
        /// And on which board.
        hardware: String,
    },
    /// Another one has some of its nodes.
    #[error("roll-out {id} is under way and has {}: leave them out, wait for its end, or abort it", listed(.nodes))]
    Shared {
        /// Its number.
        id: u64,
        /// Which.
        nodes: Vec<NodeId>,
    },
    /// As many as can be are under way.
    #[error(
        "{ROLLOUTS_AT_ONCE} roll-outs are under way at once, and no more: {}; wait for the end of one, or abort one",
        .0.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
    )]
    Full(Vec<u64>),
    /// It cannot be sent so.
    #[error("the roll-out cannot start: {0}")]
    Start(StartError),
}

/// Nodes in words.
fn listed(nodes: &[NodeId]) -> String {
    let named: Vec<String> = nodes.iter().take(NAMED_MAX).map(NodeId::to_string).collect();
    let more = match nodes.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{} {}{more}", if nodes.len() == 1 { "node" } else { "nodes" }, named.join(", "))
}

fn said(mistakes: &[Mistake]) -> String {
    let first = mistakes.first().map(ToString::to_string).unwrap_or_default();
    match mistakes.len() {
        0 | 1 => first,
        more => format!("{first} (and {} more)", more - 1),
    }
}

impl Gateway {
    /// What a request comes to.
    pub(super) fn plan(&self, request: &RolloutRequest) -> Result<(Firmware, Plan), RolloutError> {
        let firmware = self.find_image(&request.firmware).cloned().ok_or(RolloutError::UnknownFirmware)?;
        if !request.force_image {
            inspect(&firmware.image, &request.hardware, request.slot_size)?;
        }
        let scheme = self.allowed.scheme(request.scheme)?;
        let manifest = firmware.manifest.clone().filter(|_| !scheme.is_stock());
        let named = manifest.as_ref().map(|manifest| manifest.content().role.clone());
        let role = request.role.clone().or(named).ok_or(RolloutError::NoRole)?;
        if let Some(manifest) = manifest.as_ref().map(SignedManifest::content)
            && (manifest.role != role || manifest.hardware != request.hardware)
        {
            return Err(RolloutError::OtherNodes {
                manifest: format!("{} {}", manifest.hardware, manifest.role),
                request: format!("{} {role}", request.hardware),
            });
        }
        let others = self.images.iter().filter(|known| known.info.sha256 != request.firmware);
        let plan = Plan {
            image: Arc::clone(&firmware.image),
            manifest,
            bases: others.map(|known| Arc::clone(&known.image)).collect(),
            operator: Arc::clone(&self.operator),
            counter: self.counter.clone(),
            targets: request.nodes.clone(),
            scheme,
            packing: self.allowed.packing(),
            role,
            hardware: request.hardware.clone(),
            part_size: request.part_size.min(self.allowed.chunk_size_max.into()),
            concurrency: request.concurrency.max(1),
            hold: request.hold || request.plan.is_some(),
            tempo: self.allowed.tempo(request.airtime),
            broadcast: self.allowed.broadcast,
            confirmed: request.confirm_receiver || self.confirmed.contains(&request.firmware),
            forecast_only: false,
            takes_turns: true,
            named: request.names_nodes(),
        };
        Ok((firmware, plan))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_packed_where_nothing_may_be() {
        let free = Allowed::default();
        let bound = Allowed { compression: false, ..free };
        for (wanted, sent) in [
            (Scheme::Auto, Some(Scheme::Full)),
            (Scheme::Full, Some(Scheme::Full)),
            (Scheme::Heatshrink, None),
            (Scheme::Lzma, None),
            (Scheme::Delta, None),
            (Scheme::Turbo, Some(Scheme::Turbo)),
            (Scheme::Unicast, Some(Scheme::Unicast)),
        ] {
            assert_eq!(bound.scheme(wanted).ok(), sent, "{wanted:?}");
            assert_eq!(free.scheme(wanted).ok(), Some(wanted));
        }
    }

    #[test]
    fn nothing_goes_to_all_where_nothing_may() {
        let (rate, free) = (NonZeroU16::new(20), Allowed::default());
        let alone = Allowed { broadcast: false, fixed_rate: rate, ..free };
        assert!(matches!(alone.scheme(Scheme::Turbo), Err(RolloutError::Broadcast)));
        for scheme in Scheme::ALL.into_iter().filter(|scheme| *scheme != Scheme::Turbo) {
            assert_eq!(alone.scheme(scheme).ok(), Some(scheme));
        }
        // A rate is of what goes to all.
        assert_eq!(alone.tempo(40), Tempo::with_airtime(40));
        let bound = Allowed { airtime_max: 30, fixed_rate: rate, ..free };
        assert_eq!(bound.tempo(40), Tempo { airtime: 30, chunks_per_second: rate });
    }
}
