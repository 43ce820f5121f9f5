//! Types 10, 11 and 12 as the C++ classes `Announce`, `DataRequest` and `Data` read and write them.
//!
//! Refuses nothing, like `jsonObj["md5"].as<TSTRING>()`: what is missing reads as `null`, 0 or false, what is
//! no base64 decodes to something. Driven by the receiver and the sender; writing is the core's, whose field
//! order is that of the library.

use std::borrow::Cow;

use meshward_core::wire::{Announce, Data, DataRequest, NodeId, Offer, Value, fields};

/// A package for the mesh, as `PackageHandler::sendPackage` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    /// For whom; everybody when `None`.
    pub(super) dest: Option<NodeId>,
    /// The JSON text.
    pub(super) frame: Vec<u8>,
}

/// The fields of any of the three, as C++ reads them.
#[derive(Clone, Debug)]
pub(super) struct Package<'a> {
    pub(super) from: NodeId,
    pub(super) dest: NodeId,
    pub(super) offer: Offer<'a>,
    /// `partNo`.
    pub(super) part: u32,
    data: Value<'a>,
}

impl<'a> Package<'a> {
    /// Reads a frame.
    pub(super) fn read(frame: &'a [u8]) -> Self {
        let null = Value::NULL;
        let (mut md5, mut hardware, mut role, mut data) = (null, null, null, null);
        let (mut from, mut dest, mut part, mut parts) = (0, 0, 0, 0);
        let (mut forced, mut broadcasted, mut compressed) = (false, false, false);
        let flag = |value: Value<'_>| value.is_bool() && value.as_bool();
        for (key, value) in fields(frame) {
            match &*key.name() {
                b"from" => from = value.as_u32(),
                b"dest" => dest = value.as_u32(),
                b"md5" => md5 = value,
                b"hardware" => hardware = value,
                b"role" => role = value,
                b"forced" => forced = flag(value),
                b"broadcasted" => broadcasted = flag(value),
                b"compressed" => compressed = flag(value),
                b"noPart" => parts = value.as_u32(),
                b"partNo" => part = value.as_u32(),
                b"data" => data = value,
                _ => {}
            }
        }
        let (md5, hardware, role) = (md5.text(), hardware.text(), role.text());
        let offer = Offer { md5, hardware, role, forced, parts, broadcasted, compressed };
        Self { from: NodeId(from), dest: NodeId(dest), offer, part, data }
    }

    /// `data`, decoded.
    pub(super) fn data(&self) -> Vec<u8> {
        decode_base64(&self.data.text())
    }
}

/// `offerOTA`'s announce.
pub(super) fn announce(from: NodeId, offer: &Offer<'static>) -> Outgoing {
    Outgoing { dest: None, frame: Announce { from, to: None, offer: offer.clone() }.encode() }
}

/// `DataRequest::replyTo(const Announce&, from, partNo)`.
pub(super) fn request_for_announce(announce: &Package<'_>, from: NodeId, part: u32) -> Outgoing {
    request(from, announce.from, announce.offer.clone(), part)
}

/// `DataRequest::replyTo(const Data&, partNo)`: its `from` is whoever the Data was for. In unicast that is
/// this node; in broadcast mode it is the root.
pub(super) fn request_for_data(data: &Package<'_>, part: u32, broadcasted: bool) -> Outgoing {
    request(data.dest, data.from, Offer { broadcasted, ..data.offer.clone() }, part)
}

fn request(from: NodeId, dest: NodeId, offer: Offer<'_>, part: u32) -> Outgoing {
    Outgoing { dest: Some(dest), frame: DataRequest { from, dest, offer, part }.encode() }
}

/// `Data::replyTo(const DataRequest&, data, partNo)`.
pub(super) fn answer(request: &Package<'_>, data: &[u8]) -> Outgoing {
    let broadcast = request.offer.broadcasted;
    let data = Data {
        from: request.dest,
        dest: request.from,
        routing_broadcast: broadcast,
        offer: request.offer.clone(),
        part: request.part,
        data: Cow::Borrowed(data),
    };
    Outgoing { dest: (!broadcast).then_some(request.from), frame: data.encode() }
}

/// `base64::decode`: reads both alphabets, takes every other character for an `A`, and needs no padding.
pub(super) fn decode_base64(text: &[u8]) -> Vec<u8> {
    let len = text.len();
    let from_end = |back: usize| len.checked_sub(back).and_then(|at| text.get(at)).copied();
    if len == 0 {
        return Vec::new();
    }
    let pad1 = !len.is_multiple_of(4) || from_end(1) == Some(b'=');
    let pad2 = pad1 && (len % 4 > 2 || from_end(2) != Some(b'='));
    let last = (len - usize::from(pad1)) / 4 * 4;
    let mut out = Vec::with_capacity(last / 4 * 3 + 2);
    let (fours, _) = text.get(..last).unwrap_or_default().as_chunks::<4>();
    for [a, b, c, d] in fours {
        let n = sextet(*a) << 18 | sextet(*b) << 12 | sextet(*c) << 6 | sextet(*d);
        let [_, bytes @ ..] = n.to_be_bytes();
        out.extend_from_slice(&bytes);
    }
    let sextet = |at: usize| text.get(at).map_or(0, |byte| sextet(*byte));
    if pad1 {
        let n = sextet(last) << 18 | sextet(last + 1) << 12;
        out.push((n >> 16) as u8);
        if pad2 {
            out.push(((n | sextet(last + 2) << 6) >> 8) as u8);
        }
    }
    out
}

/// What each character stands for: a table, since every part is read by every node.
static SEXTETS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            upper @ b'A'..=b'Z' => upper - b'A',
            lower @ b'a'..=b'z' => lower - b'a' + 26,
            digit @ b'0'..=b'9' => digit - b'0' + 52,
            b'+' | b',' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => 0,
        };
        byte += 1;
    }
    table
};

fn sextet(byte: u8) -> u32 {
    u32::from(SEXTETS[usize::from(byte)])
}
