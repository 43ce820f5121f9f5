//! Where a request comes from: whom the socket names, or whom a proxy names that the operator has declared.
//!
//! What anybody else says in `X-Forwarded-For` is not believed.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use axum::http::HeaderMap;
use thiserror::Error;

/// An address, or all addresses that begin alike: `192.0.2.7`, `10.0.0.0/8`, `fd00::/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// A text that names no network.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is no address and no network: take one as 192.0.2.7, 10.0.0.0/8 or fd00::/8")]
pub struct NetworkError(String);

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = || NetworkError(text.to_owned());
        let (address, bits) = text.split_once('/').map_or((text, None), |(start, bits)| (start, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| wrong()))?;
        if bits > most { Err(wrong()) } else { Ok(Self { address, bits }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = if self.address.is_ipv4() { 32 } else { 128 };
        if self.bits == most {
            write!(f, "{}", self.address)
        } else {
            write!(f, "{}/{}", self.address, self.bits)
        }
    }
}

impl Network {
    /// Whether an address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let alike = |a: u128, b: u128, width: u8| {
            let rest = u32::from(width - self.bits);
            a.checked_shr(rest).unwrap_or(0) == b.checked_shr(rest).unwrap_or(0)
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => alike(own.to_bits().into(), other.to_bits().into(), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => alike(own.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

/// Who asks, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Where they are.
    pub address: IpAddr,
    /// Whether nobody in between can listen: TLS here, or at the proxy.
    pub secure: bool,
    /// Whether a declared proxy has passed it on.
    pub proxied: bool,
}

impl Caller {
    /// Reads it from the socket and, if that is a declared proxy's, from its headers.
    pub fn of(peer: SocketAddr, tls: bool, headers: &HeaderMap, proxies: &[Network]) -> Self {
        let is_proxy = |address: IpAddr| proxies.iter().any(|network| network.contains(address));
        let peer = peer.ip().to_canonical();
        if !is_proxy(peer) {
            return Self { address: peer, secure: tls, proxied: false };
        }
        // Each proxy adds whom it saw at the end: the last that is no proxy is the caller, all before is hearsay.
        let lines = headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok());
        let named: Vec<&str> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
        let named = named.iter().rev().map_while(|text| text.parse::<IpAddr>().ok());
        let address = named.map(|address| address.to_canonical()).find(|address| !is_proxy(*address));
        let proto = headers.get_all("x-forwarded-proto").iter().next_back();
        let secure = proto.is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
        Self { address: address.unwrap_or(peer), secure: tls || secure, proxied: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_what_begins_alike() {
        for (network, address, inside) in [
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("192.0.2.7", "::ffff:192.0.2.7", true),
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::/0", "2001:db8::1", true),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), inside, "{network} {address}");
        }
        for text in ["", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "mesh.example", "fd00::/129"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_declared_proxies_are_believed() {
        let proxies = ["10.0.0.0/8".parse().unwrap()];
        for (peer, tls, forwarded, proto, address, secure) in [
            ("203.0.113.5:1", false, "192.0.2.1", "https", "203.0.113.5", false),
            ("203.0.113.5:1", true, "192.0.2.1", "http", "203.0.113.5", true),
            ("10.0.0.1:1", false, "192.0.2.1", "https", "192.0.2.1", true),
            ("10.0.0.1:1", false, "192.0.2.1", "http", "192.0.2.1", false),
            ("10.0.0.1:1", false, "198.51.100.9, 192.0.2.1, 10.0.0.2", "https", "192.0.2.1", true),
            ("10.0.0.1:1", false, "192.0.2.1, nonsense", "https", "10.0.0.1", true),
            ("10.0.0.1:1", false, "", "", "10.0.0.1", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", forwarded.parse().unwrap());
            headers.insert("x-forwarded-proto", proto.parse().unwrap());
            let caller = Caller::of(peer.parse().unwrap(), tls, &headers, &proxies);
            let proxied = peer.starts_with("10.");
            let expected = Caller { address: address.parse().unwrap(), secure, proxied };
            assert_eq!(caller, expected, "{peer} {forwarded}");
        }
    }
}
