//! Where a page of `GET /artifacts/{remote}` ended, as an opaque word.
//!
//! It holds the last (path, query) looked at, which is all the catalog needs to go on, so a list can be walked for as long
//! as it takes without the server remembering anything. It is opaque so that it may hold more one day; it promises
//! nothing, and a forged one merely starts somewhere else.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// The longest word taken, in bytes: a path and a query at their longest, encoded.
pub(super) const LONGEST: usize = 16 << 10;

/// The word for a place.
#[must_use]
pub(super) fn encode(path: &str, query: &str) -> String {
    // A path holds no NUL.
    BASE64_URL_SAFE_NO_PAD.encode([path.as_bytes(), b"\0", query.as_bytes()].concat())
}

/// The place of a word; `None` for a word that is none of ours.
#[must_use]
pub(super) fn decode(word: &str) -> Option<(String, String)> {
    if word.len() > LONGEST {
        return None;
    }
    let place = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(word).ok()?).ok()?;
    let (path, query) = place.split_once('\0')?;
    // PostgreSQL takes no NUL in a text.
    (!query.contains('\0')).then(|| (path.to_owned(), query.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for (path, query) in [("a/b+c~1.rpm", ""), ("a", "x=1&y=ü"), ("", "")] {
            assert_eq!(decode(&encode(path, query)), Some((path.to_owned(), query.to_owned())));
        }
    }

    #[test]
    fn not_ours() {
        let two_nuls = BASE64_URL_SAFE_NO_PAD.encode("a\0b\0c");
        for word in ["", "!", "YQ", "_w", &two_nuls, &"A".repeat(LONGEST + 4)] {
            assert_eq!(decode(word), None, "{word}");
        }
    }
}
