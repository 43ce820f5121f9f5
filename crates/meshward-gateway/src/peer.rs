//! Whom to dial: `HOST:PORT`, `HOST` (port 5555), or `auto`, the default gateway of this machine, which on a
//! Wi-Fi station in a mesh is the node whose access point it is connected to.

use std::net::Ipv4Addr;
use std::str::FromStr;

use thiserror::Error;

/// The port on which painlessMesh nodes listen.
pub const MESH_PORT: u16 = 5555;

/// Why a peer cannot be named.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PeerError {
    /// The text is no address.
    #[error("`{0}` is not a peer: write HOST:PORT, HOST (port 5555) or auto")]
    Malformed(String),
    /// `auto` without a default route.
    #[error(
        "`auto` finds no peer: this machine has no IPv4 default route; join a node's access point, or name \
         the peer as HOST:PORT"
    )]
    NoDefaultRoute,
}

/// A peer as the operator wrote it, ready to be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer(String);

impl Peer {
    /// Its `host:port`.
    pub fn address(&self) -> &str {
        &self.0
    }
}

impl FromStr for Peer {
    type Err = PeerError;

    fn from_str(text: &str) -> Result<Self, PeerError> {
        if text == "auto" {
            let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
            let gateway = default_gateway(&routes).ok_or(PeerError::NoDefaultRoute)?;
            return Ok(Self(format!("{gateway}:{MESH_PORT}")));
        }
        let malformed = || PeerError::Malformed(text.to_owned());
        if text.is_empty() || text.contains(char::is_whitespace) {
            return Err(malformed());
        }
        if let Some(inner) = text.strip_prefix('[') {
            // An IPv6 address in brackets, with or without a port.
            return match inner.split_once(']').ok_or_else(malformed)? {
                (host, "") if !host.is_empty() => Ok(Self(format!("[{host}]:{MESH_PORT}"))),
                (_, port) => {
                    valid_port(port.strip_prefix(':')).map(|()| Self(text.to_owned())).ok_or_else(malformed)
                }
            };
        }
        match text.split_once(':') {
            None => Ok(Self(format!("{text}:{MESH_PORT}"))),
            Some((host, port)) if !host.is_empty() => {
                valid_port(Some(port)).map(|()| Self(text.to_owned())).ok_or_else(malformed)
            }
            Some(_) => Err(malformed()),
        }
    }
}

fn valid_port(text: Option<&str>) -> Option<()> {
    text?.parse::<u16>().ok().filter(|port| *port > 0).map(|_| ())
}

/// The gateway of the default route in the text of `/proc/net/route` (addresses are hexadecimal in the
/// machine's byte order).
fn default_gateway(routes: &str) -> Option<Ipv4Addr> {
    routes.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (destination, gateway) = (fields.next()?, fields.next()?);
        let gateway = u32::from_str_radix(gateway, 16).ok()?;
        (destination == "00000000" && gateway != 0).then(|| Ipv4Addr::from(gateway.to_ne_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_parsed() {
        for (text, address) in [
            ("10.23.45.1", "10.23.45.1:5555"),
            ("node.local:6000", "node.local:6000"),
            ("[fe80::1]", "[fe80::1]:5555"),
            ("[fe80::1]:7", "[fe80::1]:7"),
        ] {
            assert_eq!(text.parse::<Peer>().unwrap().address(), address);
        }
        for text in ["", "a b", ":5555", "host:", "host:0", "host:70000", "host:x", "[]", "[::1", "a:1:2"] {
            assert_eq!(text.parse::<Peer>(), Err(PeerError::Malformed(text.into())), "{text}");
        }
    }

    #[test]
    fn the_default_gateway_is_found() {
        let routes = "Iface\tDestination\tGateway\tFlags\n\
                      wlan0\t0001A8C0\t00000000\t0001\n\
                      wlan0\t00000000\t012D170A\t0003\n";
        if cfg!(target_endian = "little") {
            assert_eq!(default_gateway(routes), Some(Ipv4Addr::new(10, 23, 45, 1)));
        }
        assert_eq!(default_gateway("Iface\tDestination\tGateway\n"), None);
        assert_eq!(default_gateway(""), None);
    }
}
