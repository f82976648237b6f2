//! The `Host` of a request (RFC 9112 section 3.2).
//!
//! HTTP/1.1 wants exactly one, and that it could be one: whoever disagrees with us about which of two counts, or where a name ends,
//! is a proxy in front of us that keeps one tenant's answer for another. HTTP/1.0 knew none, and apk's oldest relatives still speak
//! it. We go by no name of ours, so what it says matters to nobody beyond that.

use axum::http::{HeaderMap, Version, header};

use super::error::Problem;

/// Whether a value could be a host, with or without a port. Empty is what a request without an authority has.
pub(super) fn is_plain(value: &[u8]) -> bool {
    let is_of_a_host = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte);
    value.iter().all(is_of_a_host)
}

/// # Errors
/// 400 for a request without the one `Host` that it must have, and for one that has several or none that could be one.
pub(super) fn check(version: Version, headers: &HeaderMap) -> Result<(), Problem> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version < Version::HTTP_11 => Ok(()),
        (None, _) => Err(Problem::bad_request("A request in HTTP/1.1 has a Host header; this one has none.")),
        (Some(_), Some(_)) => Err(Problem::bad_request("A request has one Host header; this one has several.")),
        (Some(host), None) if is_plain(host.as_bytes()) => Ok(()),
        (Some(_), None) => {
            Err(Problem::bad_request("The Host header is not the name of a host, with or without a port."))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_that_could_be_one() {
        let with = |hosts: &[&str]| {
            let values = hosts.iter().map(|host| (header::HOST, host.parse().expect("a value")));
            let mut headers = HeaderMap::new();
            for (name, value) in values {
                headers.append(name, value);
            }
            headers
        };
        for host in ["example.org", "example.org:8000", "127.0.0.1", "[::1]:80", "a_b-c", ""] {
            assert!(check(Version::HTTP_11, &with(&[host])).is_ok(), "{host}");
        }
        for hosts in [&[][..], &["a", "b"], &["a", "a"], &["a b"], &["a/b"], &["a@b"], &["a\"b"]] {
            assert!(check(Version::HTTP_11, &with(hosts)).is_err(), "{hosts:?}");
        }
        assert!(check(Version::HTTP_10, &with(&[])).is_ok());
        assert!(check(Version::HTTP_10, &with(&["a", "b"])).is_err());
    }
}
