//! The three packages of a firmware update: offered (type 10), asked for (11), sent (12).
//!
//! All three carry the same description of the firmware. Refuses packages of another type, without the
//! three texts that name the firmware, or with data that is not base64. Nothing is believed here: whether
//! a firmware is wanted is decided elsewhere.

use super::envelope::{Envelope, Routing};
use super::error::DecodeError;
use super::id::NodeId;
use super::json::{Value, fields};
use super::kind;
use super::write::Object;
use alloc::borrow::Cow;
use alloc::vec::Vec;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Standard base64: padding written, and on reading neither asked for nor minded.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The same without padding on writing: for what only our own nodes read.
pub(super) const BASE64_BARE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Which firmware a package is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer<'a> {
    /// The MD5 of the whole image, in 32 hexadecimal digits. It names the image and is not trusted.
    pub md5: Cow<'a, [u8]>,
    /// What it runs on: `ESP32` or `ESP8266`.
    pub hardware: Cow<'a, [u8]>,
    /// The role of the nodes it is for.
    pub role: Cow<'a, [u8]>,
    /// To be taken even by nodes that have it.
    pub forced: bool,
    /// Number of parts, `noPart` on the wire.
    pub parts: u32,
    /// The mesh's root asks for the parts, and they are sent to all.
    pub broadcasted: bool,
    /// The image is packed. C++ nodes copy the flag along and never unpack.
    pub compressed: bool,
}

impl Offer<'_> {
    /// The same offer, independent of the frame it was read from.
    pub fn into_owned(self) -> Offer<'static> {
        Offer {
            md5: self.md5.into_owned().into(),
            hardware: self.hardware.into_owned().into(),
            role: self.role.into_owned().into(),
            ..self
        }
    }
}

/// A firmware is offered: to all, or to one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announce<'a> {
    /// Whom to ask for the parts.
    pub from: NodeId,
    /// The one node it is offered to (routing 1, `dest` as the last field); to all (routing 2) when absent.
    pub to: Option<NodeId>,
    /// The firmware.
    pub offer: Offer<'a>,
}

/// A node asks for one part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataRequest<'a> {
    /// Who asks, and gets the part.
    pub from: NodeId,
    /// Who offered the firmware.
    pub dest: NodeId,
    /// The firmware.
    pub offer: Offer<'a>,
    /// The part asked for, from 0; `partNo` on the wire.
    pub part: u32,
}

/// One part of a firmware.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data<'a> {
    /// Who sends it.
    pub from: NodeId,
    /// Who asked for it.
    pub dest: NodeId,
    /// It is sent to all (routing 2) rather than to `dest` (routing 1).
    pub routing_broadcast: bool,
    /// The firmware.
    pub offer: Offer<'a>,
    /// Which part it is, from 0; `partNo` on the wire.
    pub part: u32,
    /// The bytes of the part, decoded; at most 49,149 for C++ nodes to take the text of them.
    pub data: Cow<'a, [u8]>,
}

impl<'a> Announce<'a> {
    /// Decodes a canonical or normalised frame of type 10.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for another type, or when `md5`, `hardware` or `role` is no string.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let package = Package::decode(bytes, kind::OTA_ANNOUNCE, "10")?;
        let envelope = package.envelope;
        let to = (envelope.routing == Routing::Single).then_some(envelope.dest);
        Ok(Self { from: envelope.from, to, offer: package.offer()? })
    }

    /// The frame, without its NUL, in the field order of C++ nodes.
    pub fn encode(&self) -> Vec<u8> {
        let mut object = Object::with_capacity(256);
        head(&mut object, self.from, self.to.is_none(), kind::OTA_ANNOUNCE, &self.offer);
        if let Some(dest) = self.to {
            object.integer("dest", i64::from(dest.0));
        }
        object.finish()
    }
}

impl<'a> DataRequest<'a> {
    /// Decodes a canonical or normalised frame of type 11.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for another type, or when `md5`, `hardware` or `role` is no string.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let package = Package::decode(bytes, kind::OTA_REQUEST, "11")?;
        let Envelope { from, dest, .. } = package.envelope;
        Ok(Self { from, dest, offer: package.offer()?, part: package.part })
    }

    /// The frame, without its NUL, in the field order of C++ nodes.
    pub fn encode(&self) -> Vec<u8> {
        let mut object = Object::with_capacity(256);
        head(&mut object, self.from, false, kind::OTA_REQUEST, &self.offer);
        object.integer("dest", i64::from(self.dest.0)).integer("partNo", i64::from(self.part));
        object.finish()
    }
}

impl<'a> Data<'a> {
    /// Decodes a canonical or normalised frame of type 12.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for another type, when `md5`, `hardware` or `role` is no string, or when `data` is
    /// not the standard base64 of anything.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let package = Package::decode(bytes, kind::OTA_DATA, "12")?;
        let Envelope { from, dest, routing, .. } = package.envelope;
        let text = package.data.as_str().ok_or(DecodeError::new("data", "a string"))?;
        let data = BASE64.decode(&*text).map_err(|_| DecodeError::new("data", "base64"))?;
        Ok(Self {
            from,
            dest,
            routing_broadcast: routing == Routing::Broadcast,
            offer: package.offer()?,
            part: package.part,
            data: Cow::Owned(data),
        })
    }

    /// The frame, without its NUL, in the field order of C++ nodes.
    pub fn encode(&self) -> Vec<u8> {
        let text = BASE64.encode(&self.data);
        let mut object = Object::with_capacity(text.len().saturating_add(288));
        head(&mut object, self.from, self.routing_broadcast, kind::OTA_DATA, &self.offer);
        object
            .integer("dest", i64::from(self.dest.0))
            .integer("partNo", i64::from(self.part))
            .text("data", text.as_bytes());
        object.finish()
    }
}

/// Adds the fields that the three packages begin with.
fn head(object: &mut Object, from: NodeId, broadcast: bool, kind: i32, offer: &Offer<'_>) {
    object
        .integer("from", i64::from(from.0))
        .integer("routing", if broadcast { 2 } else { 1 })
        .integer("type", i64::from(kind))
        .text("md5", &offer.md5)
        .text("hardware", &offer.hardware)
        .text("role", &offer.role)
        .flag_if("forced", offer.forced)
        .integer("noPart", i64::from(offer.parts))
        .flag("broadcasted", offer.broadcasted)
        .flag_if("compressed", offer.compressed);
}

/// The fields of any of the three, as they stand.
struct Package<'a> {
    envelope: Envelope,
    md5: Value<'a>,
    hardware: Value<'a>,
    role: Value<'a>,
    forced: bool,
    parts: u32,
    broadcasted: bool,
    compressed: bool,
    part: u32,
    data: Value<'a>,
}

impl<'a> Package<'a> {
    fn decode(bytes: &'a [u8], kind: i32, expected: &'static str) -> Result<Self, DecodeError> {
        let envelope = Envelope::of_fields(bytes);
        if envelope.kind != kind {
            return Err(DecodeError::new("type", expected));
        }
        let mut package = Self {
            envelope,
            md5: Value::NULL,
            hardware: Value::NULL,
            role: Value::NULL,
            forced: false,
            parts: 0,
            broadcasted: false,
            compressed: false,
            part: 0,
            data: Value::NULL,
        };
        let flag = |value: Value<'_>| value.is_bool() && value.as_bool();
        for (key, value) in fields(bytes) {
            match &*key.name() {
                b"md5" => package.md5 = value,
                b"hardware" => package.hardware = value,
                b"role" => package.role = value,
                b"forced" => package.forced = flag(value),
                b"noPart" => package.parts = value.as_u32(),
                b"broadcasted" => package.broadcasted = flag(value),
                b"compressed" => package.compressed = flag(value),
                b"partNo" => package.part = value.as_u32(),
                b"data" => package.data = value,
                _ => {}
            }
        }
        Ok(package)
    }

    fn offer(&self) -> Result<Offer<'a>, DecodeError> {
        Ok(Offer {
            md5: self.md5.as_str().ok_or(DecodeError::new("md5", "a string"))?,
            hardware: self.hardware.as_str().ok_or(DecodeError::new("hardware", "a string"))?,
            role: self.role.as_str().ok_or(DecodeError::new("role", "a string"))?,
            forced: self.forced,
            parts: self.parts,
            broadcasted: self.broadcasted,
            compressed: self.compressed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer() -> Offer<'static> {
        Offer {
            md5: Cow::Borrowed(b"6b74213310b3814759b444e3e7b2529d"),
            hardware: Cow::Borrowed(b"ESP32"),
            role: Cow::Borrowed(b"sensor"),
            forced: false,
            parts: 5,
            broadcasted: false,
            compressed: false,
        }
    }

    const OFFER: &str = "\"md5\":\"6b74213310b3814759b444e3e7b2529d\",\"hardware\":\"ESP32\",\"role\":\"sensor\",\
                         \"noPart\":5,\"broadcasted\":false";

    #[test]
    fn announces_go_to_all_or_to_one() {
        for (to, routing, end) in [(None, 2, ""), (Some(NodeId(7)), 1, ",\"dest\":7")] {
            let announce = Announce { from: NodeId(1), to, offer: offer() };
            let text = alloc::format!("{{\"from\":1,\"routing\":{routing},\"type\":10,{OFFER}{end}}}");
            assert_eq!(announce.encode(), text.as_bytes());
            assert_eq!(Announce::decode(text.as_bytes()).unwrap(), announce);
        }
    }

    #[test]
    fn requests_and_data_are_written_in_the_order_of_cpp() {
        let request = DataRequest { from: NodeId(1), dest: NodeId(2), offer: offer(), part: 3 };
        let text = alloc::format!("{{\"from\":1,\"routing\":1,\"type\":11,{OFFER},\"dest\":2,\"partNo\":3}}");
        assert_eq!(request.encode(), text.as_bytes());
        assert_eq!(DataRequest::decode(text.as_bytes()).unwrap(), request);
        let data = Data {
            from: NodeId(1),
            dest: NodeId(2),
            routing_broadcast: true,
            offer: offer(),
            part: 3,
            data: Cow::Borrowed(b"\0\xff"),
        };
        let text = alloc::format!(
            "{{\"from\":1,\"routing\":2,\"type\":12,{OFFER},\"dest\":2,\"partNo\":3,\"data\":\"AP8=\"}}"
        );
        assert_eq!(data.encode(), text.as_bytes());
        assert_eq!(Data::decode(text.as_bytes()).unwrap(), data);
    }

    #[test]
    fn packages_that_name_no_firmware_are_refused() {
        let field = |text: &str| Data::decode(text.as_bytes()).unwrap_err().field;
        assert_eq!(field("{\"type\":11}"), "type");
        assert_eq!(field("{\"type\":12}"), "data");
        assert_eq!(field("{\"type\":12,\"data\":\"A*==\"}"), "data");
        assert_eq!(field("{\"type\":12,\"data\":\"\"}"), "md5");
        assert_eq!(field("{\"type\":12,\"data\":\"\",\"md5\":\"\",\"hardware\":5}"), "hardware");
    }
}
