//! `C:` of a stanza: the identity of a package (FORMATS 1.4).
//!
//! `Q` is base64 and `X` hexadecimal; `1` is SHA-1, `2` SHA-256. Anything else, bare hexadecimal above all, is what apk
//! refuses or reads as MD5: not an identity.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::{Algorithm, Digest};

pub(super) fn parse(value: &[u8]) -> Result<Digest, &'static str> {
    const WHY: &str = "the checksum 'C:' is neither Q1, Q2, X1 nor X2";
    let (prefix, text) = value.split_at_checked(2).ok_or(WHY)?;
    let algorithm = match prefix {
        [_, b'1'] => Algorithm::Sha1,
        [_, b'2'] => Algorithm::Sha256,
        _ => return Err(WHY),
    };
    let digest = match prefix {
        [b'Q', _] => {
            // Room for one more group than any digest: decoding asks for whole groups.
            let mut bytes = [0; 36];
            let length = STANDARD.decode_slice(text, &mut bytes).map_err(|_| WHY)?;
            Digest::from_bytes(algorithm, bytes.get(..length).unwrap_or_default())
        }
        [b'X', _] => Digest::from_hex(algorithm, std::str::from_utf8(text).map_err(|_| WHY)?),
        _ => return Err(WHY),
    };
    digest.map_err(|_| WHY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        let sha1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
        let sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let table = [
            ("Q12jmj7l5rSw0yVb/vlWAYkK/YBwk=".to_owned(), Some(format!("sha1:{sha1}"))),
            (format!("X1{sha1}"), Some(format!("sha1:{sha1}"))),
            ("Q247DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=".to_owned(), Some(format!("sha256:{sha256}"))),
            (format!("X2{sha256}"), Some(format!("sha256:{sha256}"))),
            (sha1.to_owned(), None),
            (format!("X2{sha1}"), None),
            ("Q1".to_owned(), None),
            ("Q12jmj7l5rSw0yVb/vlWAYkK/YBwk".to_owned(), None),
            (format!("Q1{}", "A".repeat(4000)), None),
            ("é".to_owned(), None),
            (String::new(), None),
        ];
        for (value, digest) in table {
            assert_eq!(parse(value.as_bytes()).ok().map(|digest| digest.to_string()), digest, "{value}");
        }
    }
}
