//! The texts of a package, as an index may hold them.
//!
//! Headers hold bytes; most are UTF-8, those of old packages are often Latin-1. createrepo_c takes whatever is not UTF-8 for
//! Latin-1 and leaves out the bytes between 0x80 and 0xbf, which in such texts are mostly Windows' own quotes; so does this,
//! for a client should see one package in one way wherever it is published. The one difference: what createrepo_c would pass
//! on as UTF-8 although it is none (a surrogate, an overlong form) is Latin-1 here, because no client could read such an
//! index. Characters that XML has no way to write are refused where they are written ([`super::xml`]).

use std::borrow::Cow;

/// The text that `bytes` stand for.
pub(super) fn of(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => {
            Cow::Owned(bytes.iter().filter(|byte| !matches!(byte, 0x80..=0xbf)).map(|&b| char::from(b)).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_utf8_is_latin1() {
        assert_eq!(of("grün \u{1f600}".as_bytes()), "grün \u{1f600}");
        assert_eq!(of(b"gr\xfcn"), "grün");
        assert_eq!(of(b"a\xe4\x85\xb9\xffb"), "aäÿb");
        assert_eq!(of(b"a\xed\xa0\x80b"), "aíb", "a surrogate");
    }
}
