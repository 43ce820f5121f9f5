//! What operators ask for, and what it comes to.

use std::sync::Arc;

use meshward_core::ota::StartError;
use meshward_core::wire::NodeId;
use meshward_fleet::deployment::{Plan, SignedManifest};
use meshward_fleet::firmware::{ImageError, ImageInfo, inspect};
use meshward_fleet::forecast::Scheme;
use meshward_fleet::payload::Options;
use thiserror::Error;

use super::{FORECASTS_MAX, Gateway};

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
}

/// Why a roll-out was not started.
#[derive(Debug, Error)]
pub enum RolloutError {
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
    /// The plan makes no sense now.
    #[error("the roll-out cannot start: {0}")]
    Start(StartError),
}

impl Gateway {
    /// What a request comes to.
    pub(super) fn plan(&self, request: &RolloutRequest) -> Result<(Firmware, Plan), RolloutError> {
        let firmware = self.find_image(&request.firmware).cloned().ok_or(RolloutError::UnknownFirmware)?;
        if !request.force_image {
            inspect(&firmware.image, &request.hardware, request.slot_size)?;
        }
        let manifest = firmware.manifest.clone().filter(|_| !request.scheme.is_stock());
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
            last_counter: self.last_counter,
            targets: request.nodes.clone(),
            scheme: request.scheme,
            packing: Options::default(),
            role,
            hardware: request.hardware.clone(),
            part_size: request.part_size,
            concurrency: request.concurrency.max(1),
            hold: request.hold,
            airtime: request.airtime,
            confirmed: request.confirm_receiver || self.confirmed.contains(&request.firmware),
            forecast_only: false,
        };
        Ok((firmware, plan))
    }
}
