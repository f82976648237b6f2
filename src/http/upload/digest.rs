//! What a client says of the bytes it sends: `X-Checksum-Sha256` (hexadecimal) and `Content-Digest` (RFC 9530).
//!
//! What is said must be true; what is said in words that are not known here is passed over, as RFC 9530 wants it.

use artifactapi_formats::{Algorithm, Digest, Sha256};
use axum::http::{HeaderMap, HeaderName};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::error::Problem;
use crate::spool::Spooled;

const CHECKSUM: HeaderName = HeaderName::from_static("x-checksum-sha256");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// The digests that a body must have.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Expected(Vec<Sha256>);

/// Reads what the headers say.
///
/// # Errors
/// 400 for a digest that is none.
pub(super) fn expected(headers: &HeaderMap) -> Result<Expected, Problem> {
    let mut digests = Vec::new();
    for checksum in headers.get_all(&CHECKSUM) {
        let hex = checksum.to_str().unwrap_or_default().trim().to_ascii_lowercase();
        let digest = Digest::from_hex(Algorithm::Sha256, &hex).ok();
        let bytes = digest.and_then(|digest| <[u8; 32]>::try_from(digest.bytes()).ok());
        digests.push(bytes.ok_or_else(|| malformed("X-Checksum-Sha256", "64 hexadecimal digits"))?);
    }
    for field in headers.get_all(&CONTENT_DIGEST) {
        for member in field.to_str().unwrap_or_default().split(',') {
            let Some((algorithm, value)) = member.trim().split_once('=') else {
                return Err(malformed("Content-Digest", "sha-256=:base64:"));
            };
            if algorithm.eq_ignore_ascii_case("sha-256") {
                let base64 = value.strip_prefix(':').and_then(|value| value.strip_suffix(':'));
                let bytes = base64.and_then(|base64| STANDARD.decode(base64).ok());
                let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
                digests.push(bytes.ok_or_else(|| malformed("Content-Digest", "sha-256=:base64:"))?);
            }
        }
    }
    Ok(Expected(digests.into_iter().map(Sha256::from_bytes).collect()))
}

fn malformed(header: &str, form: &str) -> Problem {
    Problem::bad_request(format!("{header} cannot be read; write it as {form}, or leave it out."))
}

impl Expected {
    /// Whether nothing is said.
    pub(super) fn is_nothing(&self) -> bool {
        self.0.is_empty()
    }

    /// Compares what came with what was said.
    ///
    /// # Errors
    /// 422 naming both digests.
    pub(super) fn compare(&self, spooled: &Spooled) -> Result<(), Problem> {
        match self.0.iter().find(|said| **said != spooled.sha256) {
            None => Ok(()),
            Some(said) => Err(Problem::unprocessable(format!(
                "The body has the SHA-256 {}, and its header says {}; it was damaged on the way, or the header is of another \
                 file. Nothing was kept.",
                spooled.sha256.hex(),
                said.hex()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).expect("a value"))).collect()
    }

    #[test]
    fn digests_are_read() {
        let sum = Sha256::of(b"x");
        let base64 = format!("unixsum=:MA==:, sha-256=:{}:", STANDARD.encode(sum.as_bytes()));
        let table = [
            (vec![], vec![]),
            (vec![(CHECKSUM, sum.hex().to_uppercase())], vec![sum]),
            (vec![(CONTENT_DIGEST, base64.clone())], vec![sum]),
            (vec![(CONTENT_DIGEST, "sha-512=:AA==:".to_owned())], vec![]),
            (vec![(CHECKSUM, sum.hex()), (CONTENT_DIGEST, base64)], vec![sum, sum]),
        ];
        for (said, digests) in table {
            let said: Vec<_> = said.iter().map(|(name, value)| (name.clone(), value.as_str())).collect();
            assert_eq!(expected(&headers(&said)).ok(), Some(Expected(digests)), "{said:?}");
        }
        for (name, value) in [
            (CHECKSUM, "abc"),
            (CONTENT_DIGEST, "sha-256=abc"),
            (CONTENT_DIGEST, "sha-256=:AA==:"),
            (CONTENT_DIGEST, "x"),
        ] {
            assert!(expected(&headers(&[(name, value)])).is_err(), "{value}");
        }
    }
}
