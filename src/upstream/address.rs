//! Which addresses a stranger's word may send us to.
//!
//! An operator writes `base_url` and mirrors, so those may be anywhere. A *redirect* is a stranger's word, and so is a
//! *list of mirrors*: one that points at the machine itself, at a cloud's metadata service or into a private network is how
//! a cache is turned into a spy. [`is_public`] is the rule; [`PublicOnly`] applies it where names become addresses, so that a name which answers
//! with a public address once and a private one later gains nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Whether `address` is one of the public internet (RFC 6890 and its registries).
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || (a == 100 && (64..128).contains(&b)) // shared address space, RFC 6598
        || (a == 192 && b == 0 && c == 0) // IETF protocol assignments
        || (a == 198 && (b == 18 || b == 19)) // benchmarking, RFC 2544
        || a >= 240;
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(v4) = address.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    let segments = address.segments();
    let [a, b, ..] = segments;
    let embedded_v4 = |high: u16, low: u16| {
        let ([p, q], [r, s]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(p, q, r, s)
    };
    match (a, b) {
        // NAT64, RFC 6052; what RFC 8215 sets aside beside it is for local use.
        (0x0064, 0xff9b) => segments[2..6] == [0; 4] && is_public_v4(embedded_v4(segments[6], segments[7])),
        (0x2002, _) => is_public_v4(embedded_v4(segments[1], segments[2])), // 6to4, RFC 3056
        (0x2001, 0x0db8) | (0x3fff, 0..=0x0fff) => false,                   // documentation, RFC 9637
        (0x2001, 0..=0x01ff) => false,                                      // IETF protocol assignments
        _ => a & 0xe000 == 0x2000,                                          // global unicast is 2000::/3
    }
}

/// A resolver that knows public addresses only.
#[derive(Debug, Clone, Copy)]
pub(super) struct PublicOnly;

/// A name that has no public address.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0} has no public address, and neither a redirect nor a list of mirrors may lead to a private one \
     (allow_private_redirects permits it)"
)]
pub(super) struct NotPublic(pub(super) String);

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let public: Vec<SocketAddr> = addresses.into_iter().filter(|a| is_public(a.ip())).collect();
            if public.is_empty() {
                return Err(NotPublic(host).into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_public() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.2.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1:a9fe:a9:fe00:808:808",
            "3fff::1",
            "2002:7f00:1::",
            "2001:db8::1",
        ] {
            assert!(!is_public(private.parse().expect(private)), "{private}");
        }
        for public in ["1.1.1.1", "151.101.2.132", "172.32.0.1", "100.128.0.1", "2a04:4e42::644", "64:ff9b::101:101"] {
            assert!(is_public(public.parse().expect(public)), "{public}");
        }
    }
}
