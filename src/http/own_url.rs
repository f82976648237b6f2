//! The URL under which a client reached this server: what set-up lines and lists of mirrors must begin with.
//!
//! It comes from the `Host` header, which a client may fill with anything, so only what looks like a host and a port is
//! taken; it is shown to that same client and used for nothing else. Whether TLS was used in front of us is known from
//! `X-Forwarded-Proto`, and believed from trusted proxies only.

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};
use ipnet::IpNet;

/// What is shown when the request does not say under which name it found us.
const PLACEHOLDER: &str = "http://artifactapi.example:8000";

/// The longest host (with port) taken, in bytes: a name of DNS, a colon and five digits.
const HOST_BYTES: usize = 253 + 6;

/// Scheme and host of this server for people to read, without a slash at the end.
#[must_use]
pub(super) fn own_url(headers: &HeaderMap, peer: Option<IpAddr>, trusted_proxies: &[IpNet]) -> String {
    known_url(headers, peer, trusted_proxies).unwrap_or_else(|| PLACEHOLDER.to_owned())
}

/// Scheme and host of this server as the client knows it, without a slash at the end; `None` when it does not say.
#[must_use]
pub(super) fn known_url(headers: &HeaderMap, peer: Option<IpAddr>, trusted_proxies: &[IpNet]) -> Option<String> {
    let host = headers.get(header::HOST)?.to_str().ok().filter(|host| is_host(host))?;
    let trusted = peer.is_some_and(|peer| trusted_proxies.iter().any(|network| network.contains(&peer.to_canonical())));
    let forwarded = headers.get("x-forwarded-proto").and_then(|proto| proto.to_str().ok());
    let scheme = match forwarded {
        Some(proto) if trusted && proto.trim().eq_ignore_ascii_case("https") => "https",
        _ => "http",
    };
    Some(format!("{scheme}://{host}"))
}

fn is_host(host: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    !host.is_empty()
        && host.len() <= HOST_BYTES
        && host.bytes().all(allowed)
        && host.parse::<Authority>().is_ok_and(|authority| !authority.host().is_empty())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn url(host: &str, proto: Option<&str>, peer: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).expect("a value"));
        if let Some(proto) = proto {
            headers.insert("x-forwarded-proto", HeaderValue::from_str(proto).expect("a value"));
        }
        own_url(&headers, peer.parse().ok(), &["10.0.0.0/8".parse().expect("a network")])
    }

    #[test]
    fn the_host_the_client_used() {
        assert_eq!(url("packages.example", None, "1.2.3.4"), "http://packages.example");
        assert_eq!(url("[::1]:8000", None, "::1"), "http://[::1]:8000");
        assert_eq!(url("packages.example", Some("https"), "10.1.1.1"), "https://packages.example");
        assert_eq!(url("packages.example", Some("https"), "::ffff:10.1.1.1"), "https://packages.example");
        assert_eq!(url("packages.example", Some("https"), "1.2.3.4"), "http://packages.example");
        assert_eq!(url("packages.example", Some("javascript"), "10.1.1.1"), "http://packages.example");
    }

    #[test]
    fn nothing_else_is_taken_for_a_host() {
        for bad in ["", "a b", "<script>", "a/b", "user@host", "a\"b", "host:port:1", &"a".repeat(300)] {
            assert_eq!(url(bad, None, "1.2.3.4"), PLACEHOLDER, "{bad}");
        }
        assert_eq!(own_url(&HeaderMap::new(), None, &[]), PLACEHOLDER);
        assert_eq!(known_url(&HeaderMap::new(), None, &[]), None);
    }
}
