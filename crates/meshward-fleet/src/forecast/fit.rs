//! Whether a node can take an image, and a payload of it: what it will say itself, said before the first byte.

use core::fmt;

use meshward_core::flash::SECTOR;
use meshward_core::ota::exchange::{About, ImageId};
use meshward_core::ota::trust::{Descriptor, Manifest};

/// The shortest text that a node may have cut: it tells 32 bytes, and cuts between characters.
const CUT: usize = 29;

/// Why a node is left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unfit {
    /// It runs the image.
    Current,
    /// It is not in the mesh.
    Absent,
    /// It is a Meshward node, and nobody has signed the image.
    Unsigned,
    /// The plan sends what stock nodes take, and it is a Meshward node.
    StockOnly,
    /// The plan sends patches, and there is nothing to make one of.
    NoBase,
    /// The image is for other hardware than this.
    Hardware(String),
    /// The image is for another role than this.
    Role(String),
    /// The image speaks another protocol.
    Protocol {
        /// The lowest and highest version that the image speaks.
        image: (u16, u16),
        /// Those of the node.
        node: (u16, u16),
    },
    /// The image is not newer.
    Sequence {
        /// The image's.
        offered: u64,
        /// That of the running one.
        running: u64,
    },
    /// An operator's policy.
    SwitchedOff,
    /// The image does not fit.
    TooLarge {
        /// Its length in bytes.
        size: u32,
        /// What the slot holds.
        slot: u32,
    },
    /// No payload fits beside the image.
    Staging {
        /// The length of the last one that was tried, in bytes.
        size: u32,
        /// Room for it.
        room: u32,
    },
    /// No payload has so few chunks.
    Chunks {
        /// Those of the last one that was tried.
        chunks: u32,
        /// What the node keeps account of.
        most: u32,
    },
}

impl Unfit {
    /// Whether the node has no business with the image, rather than a problem with it.
    pub const fn is_harmless(&self) -> bool {
        matches!(self, Self::Current | Self::Hardware(_) | Self::Role(_))
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("runs this image already"),
            Self::Absent => f.write_str("is not in the mesh"),
            Self::Unsigned => f.write_str("takes signed images only, and this one has no manifest"),
            Self::StockOnly => f.write_str("takes signed updates only, and this scheme sends stock ones"),
            Self::NoBase => f.write_str("runs an image that is not at hand, so there is no patch for it"),
            Self::Hardware(hardware) => write!(f, "is other hardware: {hardware}"),
            Self::Role(role) => write!(f, "has another role: {role}"),
            Self::Protocol { image: (low, high), node: (from, to) } => {
                write!(f, "speaks protocol {from} to {to}, and the image {low} to {high}")
            }
            Self::Sequence { offered, running } => {
                write!(f, "runs sequence {running}, and the image has {offered}, which is not above it")
            }
            Self::SwitchedOff => f.write_str("takes no updates, by an operator's policy"),
            Self::TooLarge { size, slot } => {
                write!(f, "has slots of {slot} bytes, and the image has {size}")
            }
            Self::Staging { size, room } => {
                write!(f, "has room for {room} bytes beside the image, and the payload has {size}")
            }
            Self::Chunks { chunks, most } => {
                write!(f, "keeps account of {most} chunks, and the payload has {chunks}")
            }
        }
    }
}

/// Whether a node told this name; it cuts long ones.
fn told(cut: &str, whole: &str) -> bool {
    cut == whole || (cut.len() >= CUT && whole.starts_with(cut))
}

/// Whether a node may take the image at all.
pub(super) fn image(about: &About, manifest: &Manifest) -> Result<(), Unfit> {
    let (low, high) = manifest.protocol;
    let (from, to) = about.protocol;
    if about.running == Some(ImageId::from(manifest.sha256)) {
        Err(Unfit::Current)
    } else if !told(&about.hardware, &manifest.hardware) {
        Err(Unfit::Hardware(about.hardware.clone()))
    } else if !told(&about.role, &manifest.role) {
        Err(Unfit::Role(about.role.clone()))
    } else if !about.updates {
        Err(Unfit::SwitchedOff)
    } else if manifest.size > about.slot {
        Err(Unfit::TooLarge { size: manifest.size, slot: about.slot })
    } else if high < from || low > to {
        Err(Unfit::Protocol { image: manifest.protocol, node: about.protocol })
    } else if manifest.sequence <= about.sequence {
        Err(Unfit::Sequence { offered: manifest.sequence, running: about.sequence })
    } else {
        Ok(())
    }
}

/// Bytes of payload that a node has room for beside an image of `size` bytes.
fn room(about: &About, size: u32) -> u32 {
    let beside = |image: u32| about.slot.saturating_sub(image.next_multiple_of(SECTOR));
    // Less than that is what its books have sums for.
    let books = if about.staging < beside(about.size) { about.staging } else { u32::MAX };
    beside(size).min(books)
}

/// Whether the payload would lie where the image belongs.
pub(super) fn is_in_place(about: &About, descriptor: &Descriptor) -> bool {
    let packed = descriptor.sizes.packed;
    descriptor.is_image() && packed.next_multiple_of(SECTOR) > room(about, packed)
}

/// Whether a node can take a payload of an image of `size` bytes that it may take.
pub(super) fn payload(about: &About, descriptor: &Descriptor, size: u32) -> Result<(), Unfit> {
    let (packed, chunks) = (descriptor.sizes.packed, descriptor.chunks());
    let room = room(about, size);
    if descriptor.base.is_some() && descriptor.base.map(ImageId::from) != about.running {
        Err(Unfit::NoBase)
    } else if chunks > about.chunks {
        Err(Unfit::Chunks { chunks, most: about.chunks })
    } else if packed.next_multiple_of(SECTOR) > room && !descriptor.is_image() {
        Err(Unfit::Staging { size: packed, room })
    } else {
        Ok(())
    }
}
