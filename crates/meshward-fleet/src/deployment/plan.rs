//! What a deployment is told, and the work that it wants done elsewhere: packing takes seconds.

use std::collections::BTreeMap;
use std::sync::Arc;

use meshward_core::hash::Sha256Sum;
use meshward_core::ota::Tempo;
use meshward_core::ota::exchange::{About, Offering};
use meshward_core::ota::trust::{Manifest, Refusal};
use meshward_core::wire::{NodeId, Tree};
use thiserror::Error;

use super::turns::OrderCounter;

use crate::forecast::{Board, Channel, Fleet, Forecast, Scheme, Terms, forecast};
use crate::payload::{Options, PayloadError};
use crate::signing::{SigningError, SigningKey};

/// Why a manifest is not an image's.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ManifestError {
    /// It cannot be read.
    #[error("the manifest cannot be read: {0}")]
    Unreadable(Refusal),
    /// It is of another image.
    #[error("the manifest is of image {manifest}, and this is {image}")]
    OtherImage {
        /// What it names.
        manifest: Sha256Sum,
        /// What is there.
        image: Sha256Sum,
    },
}

/// An image's manifest as its author signed it. Whether the signature is right is for the nodes to judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedManifest {
    bytes: Vec<u8>,
    content: Manifest,
}

impl SignedManifest {
    /// Reads the manifest of the image with this sum.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn read(bytes: Vec<u8>, image: Sha256Sum) -> Result<Self, ManifestError> {
        let content = Manifest::unverified(&bytes).map_err(ManifestError::Unreadable)?;
        let manifest = content.sha256;
        if manifest == image {
            Ok(Self { bytes, content })
        } else {
            Err(ManifestError::OtherImage { manifest, image })
        }
    }

    /// What it says.
    pub const fn content(&self) -> &Manifest {
        &self.content
    }

    /// What nodes are given.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What is to be brought to whom.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The image.
    pub image: Arc<[u8]>,
    /// Its manifest; without one no Meshward node takes it.
    pub manifest: Option<SignedManifest>,
    /// Images of which patches may be made.
    pub bases: Vec<Arc<[u8]>>,
    /// Signs payloads and orders.
    pub operator: Arc<SigningKey>,
    /// Counts the orders that this key signs here.
    pub counter: OrderCounter,
    /// Whom; `None` is every node in the mesh.
    pub targets: Option<Vec<NodeId>>,
    /// What is sent.
    pub scheme: Scheme,
    /// How payloads are made.
    pub packing: Options,
    /// The role of stock nodes.
    pub role: String,
    /// The hardware of stock nodes.
    pub hardware: String,
    /// Bytes in a part for stock nodes.
    pub part_size: u32,
    /// Stock nodes that receive at the same time.
    pub concurrency: usize,
    /// Nodes start the image only when they are activated.
    pub hold: bool,
    /// How fast what goes to all does.
    pub tempo: Tempo,
    /// Whether payloads and parts go to all at once. If not, each node gets its own.
    pub broadcast: bool,
    /// Somebody has said that the image takes updates by the stock protocol.
    pub confirmed: bool,
    /// Nothing is sent: only the forecast is wanted.
    pub forecast_only: bool,
    /// Others may run beside it: it sends when it is its [turn](super::take_turns).
    pub takes_turns: bool,
    /// Its targets were chosen by somebody, so nobody else may have them; not just everybody who is there.
    pub named: bool,
}

/// Why nothing was packed.
#[derive(Debug, Error)]
pub enum PackError {
    /// The payload.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The descriptor.
    #[error(transparent)]
    Signing(#[from] SigningError),
}

/// What is to be packed, for nodes that were found. [`Job::run`] may take seconds: run it where nobody waits.
#[derive(Debug)]
pub struct Job {
    pub(super) plan: Plan,
    pub(super) tree: Tree,
    pub(super) targets: Vec<NodeId>,
    pub(super) members: BTreeMap<NodeId, About>,
}

/// What became of a job.
#[derive(Debug)]
pub struct Packed {
    pub(super) forecast: Forecast,
    pub(super) offerings: Vec<Offering>,
}

impl Job {
    /// Packs what is worth sending, and signs it.
    ///
    /// # Errors
    /// [`PackError`].
    pub fn run(&self) -> Result<Packed, PackError> {
        let Self { plan, tree, targets, members } = self;
        let terms = Terms {
            scheme: plan.scheme,
            packing: plan.packing,
            role: &plan.role,
            hardware: &plan.hardware,
            part_size: plan.part_size,
            tempo: plan.tempo,
            broadcast: plan.broadcast,
            channel: Channel::default(),
            board: Board::default(),
        };
        let bases: Vec<&[u8]> = plan.bases.iter().map(|base| &base[..]).collect();
        let manifest = plan.manifest.as_ref();
        let fleet = Fleet { tree, targets, members };
        let content = manifest.map(SignedManifest::content);
        let (forecast, payloads) = forecast(&plan.image, content, &bases, &fleet, &terms)?;
        let manifest = manifest.map_or(&[][..], SignedManifest::bytes);
        let mut offerings = Vec::new();
        for (pass, payload) in forecast.passes.iter().zip(payloads) {
            offerings.push(Offering {
                manifest: manifest.to_vec(),
                descriptor: plan.operator.descriptor(&pass.descriptor)?,
                table: payload.table(),
                payload: payload.bytes,
            });
        }
        Ok(Packed { forecast, offerings })
    }
}
