//! What an update takes of the channel and of boards: models, whose constants can be replaced.

use meshward_core::flash::SECTOR;
use meshward_core::ota::Scheme;
use meshward_core::ota::exchange::{Chunk, Tag};
use meshward_core::ota::trust::Descriptor;
use meshward_core::time::Duration;
use meshward_core::wire::{Data, DataRequest, NodeId, Offer, Parcel, To, Tree, kind};

/// Bytes of a page of flash.
const PAGE: u32 = 256;

/// One radio channel that all links share: a message of L bytes, its NUL included, holds it for
/// `frame_nanos` + L · `byte_nanos` on each hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel {
    /// What a message takes without its bytes, in nanoseconds.
    pub frame_nanos: u64,
    /// What each byte takes, in nanoseconds.
    pub byte_nanos: u64,
}

impl Default for Channel {
    /// 2.09 ms and 7.64 µs a byte: fitted to a published measurement of ESP8266 nodes, as in `docs/benchmarks.md`.
    fn default() -> Self {
        Self { frame_nanos: 2_090_000, byte_nanos: 7_640 }
    }
}

impl Channel {
    /// What one hop of a message of `len` bytes takes, in nanoseconds.
    pub const fn nanos(&self, len: usize) -> u64 {
        self.frame_nanos.saturating_add(self.byte_nanos.saturating_mul(len as u64))
    }
}

/// What boards take for what they do: common figures of 4 MB modules, and no measurement of anybody's boards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Board {
    /// Erasing a sector of 4 096 bytes.
    pub erase: Duration,
    /// Programming a page of 256 bytes.
    pub program: Duration,
    /// From the order, or the last part, until the node is back in the mesh.
    pub restart: Duration,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            erase: Duration::from_millis(45),
            program: Duration::from_micros(700),
            // The C++ library waits 2 s after the last part; booting and joining take about as long.
            restart: Duration::from_secs(4),
        }
    }
}

impl Board {
    /// Making room for a payload, and writing the image that it becomes; that is not needed where the payload is the
    /// image, and lies in its place.
    pub fn install(&self, payload: u32, image: u32, in_place: bool) -> Duration {
        let sectors = |len: u32| u64::from(len.div_ceil(SECTOR));
        let room = self.erase.saturating_mul(sectors(payload));
        let sector = self.erase + self.program.saturating_mul(u64::from(SECTOR / PAGE));
        if in_place { room } else { room + sector.saturating_mul(sectors(image)) }
    }
}

/// Bytes of a message with its NUL, as a link carries it.
fn on_link(frame: &[u8]) -> usize {
    frame.len() + 1
}

/// Bytes of the message that brings a chunk of `len` bytes to everybody.
pub fn chunk_message(from: NodeId, len: usize) -> usize {
    let bytes = vec![0; len];
    let body = Chunk { tag: Tag(1), index: 0, bytes: &bytes }.encode();
    on_link(&Parcel { kind: kind::CHUNK, from, to: To::All, body }.encode())
}

/// What the chunks of a payload take on one link, in nanoseconds.
pub(super) fn chunks(channel: &Channel, from: NodeId, descriptor: &Descriptor) -> u64 {
    let size = u32::from(descriptor.chunk_size).max(1);
    let part = |len: u32| {
        let whole = u64::from(len / size) * channel.nanos(chunk_message(from, size as usize));
        let rest = len % size;
        whole + if rest > 0 { channel.nanos(chunk_message(from, rest as usize)) } else { 0 }
    };
    part(descriptor.table_len()) + part(descriptor.sizes.packed)
}

/// An image for stock nodes.
#[derive(Clone, Copy, Debug)]
pub(super) struct StockImage<'a> {
    pub(super) from: NodeId,
    pub(super) size: usize,
    pub(super) part_size: u32,
    pub(super) role: &'a str,
    pub(super) hardware: &'a str,
}

impl StockImage<'_> {
    pub(super) fn parts(&self) -> u32 {
        u32::try_from(self.size.div_ceil(self.part_size.max(1) as usize)).unwrap_or(u32::MAX)
    }

    fn offer(&self) -> Offer<'_> {
        Offer {
            md5: [b'0'; 32].to_vec().into(),
            hardware: self.hardware.as_bytes().into(),
            role: self.role.as_bytes().into(),
            forced: false,
            parts: self.parts(),
            broadcasted: false,
            compressed: false,
        }
    }

    /// Bytes of the message that brings a whole part.
    pub(super) fn part_message(&self) -> usize {
        let data = vec![0; (self.part_size as usize).min(self.size)];
        let part = self.parts().saturating_sub(1);
        let (from, dest, offer) = (self.from, self.from, self.offer());
        on_link(&Data { from, dest, routing_broadcast: true, offer, part, data: data.into() }.encode())
    }

    fn request_message(&self) -> usize {
        let (from, dest, offer) = (self.from, self.from, self.offer());
        on_link(&DataRequest { from, dest, offer, part: self.parts() }.encode())
    }

    /// What the parts take, in nanoseconds: each over each link once, or for each node over the hops to it, with a
    /// request for each that goes the same way back.
    pub(super) fn nanos(&self, channel: &Channel, scheme: Scheme, tree: &Tree, nodes: &[NodeId]) -> u64 {
        let part = channel.nanos(self.part_message());
        let (crossings, each) = match scheme {
            Scheme::Turbo => (tree.len().saturating_sub(1) as u64, part),
            Scheme::Unicast => {
                let meant = tree.depths().filter(|(id, _, _)| nodes.contains(id));
                let hops = meant.map(|(_, depth, _)| u64::from(depth)).sum();
                (hops, part + channel.nanos(self.request_message()))
            }
        };
        u64::from(self.parts()).saturating_mul(crossings).saturating_mul(each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_long_as_they_are_encoded() {
        assert_eq!(chunk_message(NodeId(u32::MAX), 1_024), 1_425, "to all, without a destination");
        let image =
            StockImage { from: NodeId(1), size: 528_944, part_size: 1_024, role: "demo", hardware: "ESP32" };
        assert_eq!(image.parts(), 517);
        assert!((1_530..1_600).contains(&image.part_message()), "{}", image.part_message());
        assert_eq!(Channel::default().nanos(1_558), 13_993_120);
    }

    #[test]
    fn installing_erases_and_writes() {
        let board = Board::default();
        let whole = board.install(SECTOR, 2 * SECTOR, false);
        assert_eq!(whole, Duration::from_micros(45_000 + 2 * (45_000 + 16 * 700)));
        assert_eq!(board.install(2 * SECTOR, 2 * SECTOR, true), Duration::from_millis(90));
    }
}
