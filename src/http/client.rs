//! Who asks, as far as it can be told: the connection, and the address with the user agent.
//!
//! Used to keep a client with the generation of an index it was given; its address also to count wrong tokens, and for nothing
//! that needs to be sure. The address is that of the connection, unless that is a trusted proxy's
//! (`ARTIFACTAPI_TRUSTED_PROXIES`): then it is the last one in `X-Forwarded-For` that is not a trusted proxy's.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, header};
use ipnet::IpNet;
use sha2::{Digest as _, Sha256};

use crate::engine::pins::ClientId;

/// Hops of `X-Forwarded-For` that are looked at.
const HOPS: usize = 32;

/// A connection of this process. Ports are used again soon, and whoever has one then is somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ConnectionNumber(u64);

impl ConnectionNumber {
    /// The number of the next connection.
    pub(super) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// The client of a request that came over this connection.
pub(super) fn client_id(
    headers: &HeaderMap,
    connection: Option<ConnectionNumber>,
    peer: SocketAddr,
    trusted_proxies: &[IpNet],
) -> ClientId {
    static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let agent = headers.get(header::USER_AGENT).map(|agent| agent.as_bytes());
    let address = address(headers, peer.ip(), trusted_proxies);
    // Behind a proxy, one connection carries many clients.
    let connection = if address == peer.ip().to_canonical() {
        HASHER.hash_one((0, connection, peer))
    } else {
        HASHER.hash_one((2, address, agent))
    };
    ClientId { connection, agent: agent_of(address, agent.unwrap_or_default()) }
}

/// The same on every replica, so that a client is known to all of them.
fn agent_of(address: IpAddr, agent: &[u8]) -> u64 {
    let address = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    let mut hash = Sha256::new();
    hash.update(address.octets());
    hash.update(agent);
    let digest = hash.finalize();
    u64::from_be_bytes(std::array::from_fn(|at| digest[at]))
}

/// The address that the client has, by the word of those we trust.
pub(super) fn address(headers: &HeaderMap, peer: IpAddr, trusted_proxies: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted_proxies.iter().any(|network| network.contains(&address));
    let mut address = peer.to_canonical();
    if !is_trusted(address) {
        return address;
    }
    let lines = headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok());
    let hops: Vec<&str> = lines.flat_map(|line| line.split(',')).collect();
    for hop in hops.iter().rev().take(HOPS) {
        let Ok(before) = hop.trim().parse::<IpAddr>() else { break };
        address = before.to_canonical();
        if !is_trusted(address) {
            break;
        }
    }
    address
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(peer: &str, forwarded: &[&'static str], agent: &'static str) -> ClientId {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_static(line));
        }
        headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
        client_id(
            &headers,
            Some(ConnectionNumber(7)),
            peer.parse().expect("an address"),
            &["10.0.0.0/8".parse().expect("a network")],
        )
    }

    #[test]
    fn clients_are_told_apart() {
        let one = of("1.2.3.4:1000", &[], "libdnf");
        assert_eq!(one, of("1.2.3.4:1000", &["9.9.9.9"], "libdnf"), "anybody can send the header");
        let another_connection = of("1.2.3.4:1001", &[], "libdnf");
        assert_ne!(one.connection, another_connection.connection);
        assert_eq!(one.agent, another_connection.agent);
        assert_ne!(one.agent, of("1.2.3.4:1000", &[], "apk").agent);
        assert_ne!(one.agent, of("1.2.3.5:1000", &[], "libdnf").agent);
    }

    #[test]
    fn a_port_that_is_used_again_is_another_client() {
        let peer = "1.2.3.4:1000".parse().expect("an address");
        let over = |number| client_id(&HeaderMap::new(), Some(ConnectionNumber(number)), peer, &[]);
        assert_ne!(over(1).connection, over(2).connection);
        assert_eq!(over(1), over(1));
        assert_ne!(ConnectionNumber::next(), ConnectionNumber::next());
    }

    #[test]
    fn behind_a_proxy_the_address_is_the_clients() {
        let one = of("10.0.0.1:1000", &["7.7.7.7, 1.2.3.4", "10.0.0.2"], "libdnf");
        assert_eq!(one.agent, of("1.2.3.4:5", &[], "libdnf").agent);
        assert_eq!(one, of("10.0.0.9:2000", &["1.2.3.4"], "libdnf"), "whichever connection the proxy uses");
        assert_ne!(one.connection, of("10.0.0.1:1000", &["1.2.3.5"], "libdnf").connection);
    }
}
