//! Which requests are ordinary: those that ask for the whole, fresh enough, and say nothing that an answer depends on.
//!
//! Both short ways ([`super::fast`], [`super::direct`]) answer only these. On the bare connection a message must be of the common
//! form, too, which is hyper's business elsewhere.

/// Headers on which the answer to a GET depends (RFC 9110 sections 13 and 14, RFC 9111 section 5.2).
const DECIDING: [&str; 9] = [
    "range",
    "pragma",
    "if-range",
    "if-match",
    "if-none-match",
    "cache-control",
    "authorization",
    "if-modified-since",
    "if-unmodified-since",
];

/// Headers that change how a message or a connection goes on (RFC 9112). `connection` itself is ordinary if it says that it stays.
const FRAMING: [&str; 5] = ["expect", "upgrade", "connection", "content-length", "transfer-encoding"];

/// Whether an answer depends on a header of this name, which is in small letters.
pub(super) fn decides(name: &str) -> bool {
    DECIDING.contains(&name)
}

/// Whether a header as it stands on the wire leaves its request ordinary and its connection as it is.
pub(super) fn is_ordinary(name: &str, value: &[u8]) -> bool {
    let is = |known: &&str| name.len() == known.len() && name.eq_ignore_ascii_case(known);
    !DECIDING.iter().chain(&FRAMING).any(is)
        || (name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case(b"keep-alive"))
}
