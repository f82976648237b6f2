//! Checks that any format can use: a whole file against a digest, the first bytes against what they must begin with.
//!
//! They promise an answer as early as one is possible, so that a wrong file is given up after its first kilobyte and not
//! after its last gigabyte. None keeps more than a few bytes, but for [`Parsed`], which is for files that are small by a
//! named limit.

use std::io::Read;

use crate::{Algorithm, Checker, Digest, Hasher, Invalid, Limits, ReadSeek, Sha256};

/// The length of a file against the length an index gives.
#[derive(Debug, Clone)]
pub(crate) struct Length {
    what: &'static str,
    expected: Option<u64>,
    seen: u64,
}

impl Length {
    pub(crate) fn new(what: &'static str, expected: Option<u64>) -> Self {
        Self { what, expected, seen: 0 }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
        self.seen = self.seen.saturating_add(bytes.len() as u64);
        match self.expected {
            Some(expected) if self.seen > expected => Err(Invalid::Mismatch {
                what: self.what,
                expected: format!("{expected} bytes"),
                found: format!("{} bytes or more", self.seen),
            }),
            _ => Ok(()),
        }
    }

    pub(crate) fn finish(&self) -> Result<(), Invalid> {
        match self.expected {
            Some(expected) if self.seen < expected => Err(Invalid::Truncated { what: self.what }),
            _ => Ok(()),
        }
    }
}

/// Compares what was computed with what was said.
pub(crate) fn same(what: &'static str, expected: &Digest, found: &Digest) -> Result<(), Invalid> {
    if expected == found {
        Ok(())
    } else {
        Err(Invalid::Mismatch { what, expected: expected.to_string(), found: found.to_string() })
    }
}

/// A whole file against its digest, and its length when that is known too.
pub(crate) struct WholeFile {
    what: &'static str,
    length: Length,
    /// Each digest the file must have, from the index, from its own name; and what makes it, unless that is told in the end.
    digests: Vec<(Digest, Option<Hasher>)>,
}

impl WholeFile {
    pub(crate) fn new(what: &'static str, size: Option<u64>, digests: impl IntoIterator<Item = Digest>) -> Self {
        let mut all: Vec<(Digest, Option<Hasher>)> = Vec::new();
        for digest in digests {
            if !all.iter().any(|(known, _)| *known == digest) {
                let hasher = (digest.algorithm() != Algorithm::Sha256).then(|| digest.algorithm().hasher());
                all.push((digest, hasher));
            }
        }
        Self { what, length: Length::new(what, size), digests: all }
    }

    fn verdict(self, sha256: &Sha256) -> Result<(), Invalid> {
        self.length.finish()?;
        self.digests.into_iter().try_for_each(|(digest, hasher)| {
            same(self.what, &digest, &hasher.map_or_else(|| (*sha256).into(), Hasher::finish))
        })
    }
}

impl Checker for WholeFile {
    fn update(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
        self.length.update(bytes)?;
        for hasher in self.digests.iter_mut().filter_map(|(_, hasher)| hasher.as_mut()) {
            hasher.update(bytes);
        }
        Ok(())
    }

    fn finish(self: Box<Self>, _whole: &mut dyn ReadSeek, sha256: &Sha256) -> Result<(), Invalid> {
        self.verdict(sha256)
    }
}

/// A small file that is parsed whole once it is there.
pub(crate) struct Parsed {
    what: &'static str,
    length: u64,
    limits: Limits,
    digest: Option<WholeFile>,
    parse: Parse,
}

/// Reads a whole file and forgets what it says.
type Parse = Box<dyn Fn(&[u8], &Limits) -> Result<(), Invalid> + Send>;

impl Parsed {
    /// `digest` is checked first, when there is one.
    pub(crate) fn new(
        what: &'static str,
        digest: Option<WholeFile>,
        limits: &Limits,
        parse: impl Fn(&[u8], &Limits) -> Result<(), Invalid> + Send + 'static,
    ) -> Self {
        Self { what, length: 0, limits: limits.clone(), digest, parse: Box::new(parse) }
    }
}

impl Checker for Parsed {
    fn update(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
        self.length = self.length.saturating_add(bytes.len() as u64);
        if self.length > self.limits.entry_bytes {
            let value = self.limits.entry_bytes;
            return Err(Invalid::OverLimit { what: self.what, limit: "entry_bytes", value });
        }
        self.digest.as_mut().map_or(Ok(()), |digest| digest.update(bytes))
    }

    fn finish(self: Box<Self>, whole: &mut dyn ReadSeek, sha256: &Sha256) -> Result<(), Invalid> {
        self.digest.map_or(Ok(()), |digest| digest.verdict(sha256))?;
        let mut bytes = Vec::new();
        whole.rewind().and_then(|()| whole.take(self.length).read_to_end(&mut bytes)).map_err(Invalid::Read)?;
        (self.parse)(&bytes, &self.limits)
    }
}

/// A file that is known only by how it must begin.
pub(crate) struct Opening {
    what: &'static str,
    head: Vec<u8>,
    decided: bool,
    judge: Judge,
}

/// Says whether a file called the first argument may begin like the second.
type Judge = Box<dyn Fn(&'static str, &[u8]) -> Result<(), Invalid> + Send>;

impl Opening {
    /// As much of the start as any judge looks at.
    const HEAD: usize = 1024;

    /// `judge` is shown the first 1,024 bytes, or the whole file if it is shorter.
    pub(crate) fn new(
        what: &'static str,
        judge: impl Fn(&'static str, &[u8]) -> Result<(), Invalid> + Send + 'static,
    ) -> Self {
        Self { what, head: Vec::new(), decided: false, judge: Box::new(judge) }
    }
}

impl Checker for Opening {
    fn update(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
        if self.decided {
            return Ok(());
        }
        let missing = Self::HEAD.saturating_sub(self.head.len());
        self.head.extend_from_slice(bytes.get(..missing).unwrap_or(bytes));
        if self.head.len() == Self::HEAD {
            self.decided = true;
            (self.judge)(self.what, &self.head)?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>, _whole: &mut dyn ReadSeek, _sha256: &Sha256) -> Result<(), Invalid> {
        if self.decided { Ok(()) } else { (self.judge)(self.what, &self.head) }
    }
}

/// Refuses web pages and mirror lists: what a captive portal, an error page or a mirror manager sends in place of a file,
/// with status 200 (FORMATS 3.6). Both are XML or HTML, so the name of the first element tells.
pub(crate) fn is_not_a_page(what: &'static str, head: &[u8]) -> Result<(), Invalid> {
    const PAGES: [&str; 5] = ["html", "!doctype html", "head", "body", "metalink"];
    let first = first_element(head).unwrap_or_default();
    let is_page = PAGES.iter().any(|page| {
        first.split_at_checked(page.len()).is_some_and(|(name, rest)| {
            name.eq_ignore_ascii_case(page.as_bytes()) && !rest.first().is_some_and(u8::is_ascii_alphanumeric)
        })
    });
    if is_page { Err(Invalid::malformed(what, "it is a web page or a mirror list")) } else { Ok(()) }
}

/// What follows the `<` of the first element or DOCTYPE, past declarations and comments.
pub(crate) fn first_element(head: &[u8]) -> Option<&[u8]> {
    const SKIPPED: [(&[u8], &[u8]); 2] = [(b"?", b"?>"), (b"!--", b"-->")];
    let mut rest = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    loop {
        let tag = rest.trim_ascii_start().strip_prefix(b"<")?;
        let Some((_, end)) = SKIPPED.iter().find(|(start, _)| tag.starts_with(start)) else {
            return Some(tag);
        };
        let at = tag.windows(end.len()).position(|window| window == *end)?;
        rest = tag.get(at + end.len()..)?;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::Sha256;

    /// Runs a checker over `bytes`, `piece` at a time.
    fn check(mut checker: Box<dyn Checker>, bytes: &[u8], piece: usize) -> Result<(), Invalid> {
        for piece in bytes.chunks(piece) {
            checker.update(piece)?;
        }
        checker.finish(&mut Cursor::new(bytes), &Sha256::of(bytes))
    }

    #[test]
    fn a_whole_file() {
        let digest = Digest::from(Sha256::of(b"content"));
        let of = |size| Box::new(WholeFile::new("sample", size, [digest.clone(), digest.clone()]));
        assert!(check(of(Some(7)), b"content", 3).is_ok());
        assert!(check(of(None), b"content", 3).is_ok());
        assert!(matches!(check(of(Some(8)), b"content", 3), Err(Invalid::Truncated { .. })));
        assert!(matches!(check(of(Some(7)), b"Content", 3), Err(Invalid::Mismatch { .. })));
        let mut long = of(Some(7));
        assert!(matches!(long.update(b"content and more"), Err(Invalid::Mismatch { .. })), "before the end");
    }

    #[test]
    fn pages_are_told_from_metadata() {
        let table: [(&str, bool); 10] = [
            ("<!DOCTYPE html><html><body>Sign in</body></html>", true),
            ("\n<HTML lang=en>", true),
            ("<?xml version=\"1.0\"?>\n<metalink version=\"3.0\">", true),
            ("<?xml version=\"1.0\"?><!-- x --><html xmlns='x'>", true),
            ("<?xml version=\"1.0\"?><metadata packages=\"1\">", false),
            ("<?xml version=\"1.0\"?><comps><group><id>headers</id>", false),
            ("<?xml version=\"1.0\"?><!-- not <html> --><repomd>", false),
            ("plain text about <html>", false),
            ("", false),
            ("\u{feff}<html>", true),
        ];
        for (text, is_page) in table {
            let checker = || Box::new(Opening::new("sample", is_not_a_page));
            assert_eq!(check(checker(), text.as_bytes(), 5).is_err(), is_page, "{text:?}");
            let padded = format!("{text}{}", " ".repeat(2000));
            assert_eq!(check(checker(), padded.as_bytes(), 300).is_err(), is_page, "{text:?} and more");
        }
    }
}
