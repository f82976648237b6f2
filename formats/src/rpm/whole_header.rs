//! One rpm header, held whole: what a package says of itself (FORMATS 3.10).
//!
//! Describing a package takes dozens of its tags, some with an entry for each of its files, so here the header is held as it
//! is on the wire and looked at in place. Nothing is set aside for a count that the bytes do not back: memory grows with
//! what has come, up to [`Limits::header_bytes`]. Every look at a tag checks where its data begins and ends, and that its
//! type is one the caller can read; what does not fit is an error, never a panic and never a guess.
//!
//! Two things that readers could take differently are refused: a tag that is there twice, and a tag outside the region
//! that signatures cover. librpm refuses the second, too.

use std::io::Read;

use super::header::{BINARY, ENTRY, Entry, I18N_STRING, INT8, INT16, INT32, INT64, Intro, STRING, STRING_ARRAY};
use crate::{Invalid, Limits};

/// librpm's own bound on the entries of a header.
const MOST_ENTRIES: u64 = 0xffff;
/// The entry whose data ends the part of a main header that its signatures cover, and how long that data is.
const REGION: u32 = 63;
const REGION_LENGTH: u32 = 16;

/// A header.
pub(super) struct WholeHeader {
    what: &'static str,
    intro: Intro,
    /// Sorted by tag.
    entries: Vec<Entry>,
    data: Vec<u8>,
}

impl WholeHeader {
    /// Reads one header, and not a byte more.
    pub(super) fn read(what: &'static str, from: &mut dyn Read, limits: &Limits) -> Result<Self, Invalid> {
        let mut piece = [0; ENTRY];
        fill(what, from, &mut piece)?;
        let intro = Intro::read(what, &piece, limits.header_bytes)?;
        if intro.entries > MOST_ENTRIES {
            return Err(Invalid::malformed(what, format!("it has more than {MOST_ENTRIES} entries")));
        }
        let mut entries = Vec::new();
        for _ in 0..intro.entries {
            fill(what, from, &mut piece)?;
            entries.push(Entry::read(what, &piece, intro.data)?);
        }
        let mut data = Vec::new();
        from.take(intro.data).read_to_end(&mut data).map_err(Invalid::Read)?;
        if data.len() as u64 != intro.data {
            return Err(Invalid::Truncated { what });
        }
        entries.sort_by_key(|entry| entry.tag);
        let twice = entries.iter().zip(entries.iter().skip(1)).find(|(one, next)| one.tag == next.tag);
        if let Some((entry, _)) = twice {
            return Err(Invalid::malformed(what, format!("tag {} is in it twice", entry.tag)));
        }
        Ok(Self { what, intro, entries, data })
    }

    /// Its counts.
    pub(super) fn intro(&self) -> Intro {
        self.intro
    }

    /// Whether there is a region that says which entries are covered by signatures: packages of rpm 3 have none.
    pub(super) fn has_region(&self) -> bool {
        self.find(REGION).is_some()
    }

    /// Checks that the region, if there is one, is all of the header.
    pub(super) fn check_region(&self) -> Result<(), Invalid> {
        let Some(entry) = self.find(REGION) else { return Ok(()) };
        let reach = (self.intro.entries * ENTRY as u64).wrapping_neg();
        let trailer = self.bytes(entry, REGION_LENGTH as usize)?;
        let (said, length) = (trailer.get(8..12), trailer.get(12..16));
        // The trailer is an entry whose offset leads back, by the length of all entries.
        let covers_all = said == reach.to_be_bytes().get(4..)
            && length == Some(&REGION_LENGTH.to_be_bytes()[..])
            && entry.offset + u64::from(REGION_LENGTH) == self.intro.data;
        if entry.kind == BINARY && entry.count == REGION_LENGTH && covers_all {
            Ok(())
        } else {
            Err(Invalid::malformed(self.what, "it has entries outside the region that signatures cover"))
        }
    }

    fn find(&self, tag: u32) -> Option<&Entry> {
        let at = self.entries.binary_search_by_key(&tag, |entry| entry.tag).ok()?;
        self.entries.get(at)
    }

    pub(super) fn has(&self, tag: u32) -> bool {
        self.find(tag).is_some()
    }

    /// The first text of a tag: of one in several languages, that of the C locale.
    pub(super) fn text(&self, tag: u32) -> Result<Option<&[u8]>, Invalid> {
        self.texts(tag).map(|mut texts| texts.next())
    }

    /// The texts of a tag, without their NUL; none if there is no such tag.
    pub(super) fn texts(&self, tag: u32) -> Result<Texts<'_>, Invalid> {
        let Some(entry) = self.find(tag) else { return Ok(Texts::default()) };
        if !matches!(entry.kind, STRING | STRING_ARRAY | I18N_STRING) {
            return Err(self.misfit(tag));
        }
        let from = usize::try_from(entry.offset).ok().and_then(|offset| self.data.get(offset..)).unwrap_or_default();
        let texts = Texts { rest: from, left: entry.count };
        // All of them are there if as many NULs are.
        let there = texts.clone().count() as u64;
        if there == u64::from(entry.count) { Ok(texts) } else { Err(self.misfit(tag)) }
    }

    /// The one number of a tag; `None` if there is no such tag or it has several, as librpm has it.
    pub(super) fn number(&self, tag: u32) -> Result<Option<u64>, Invalid> {
        let mut numbers = self.numbers(tag)?;
        let first = numbers.next();
        Ok(first.filter(|_| numbers.next().is_none()))
    }

    /// The numbers of a tag; none if there is no such tag.
    pub(super) fn numbers(&self, tag: u32) -> Result<impl Iterator<Item = u64> + Clone + '_, Invalid> {
        let (bytes, width): (&[u8], usize) = match self.find(tag) {
            None => (&[], 1),
            Some(entry) => {
                let width = match entry.kind {
                    INT8 => 1,
                    INT16 => 2,
                    INT32 => 4,
                    INT64 => 8,
                    _ => return Err(self.misfit(tag)),
                };
                let count = usize::try_from(entry.count).unwrap_or(usize::MAX);
                (self.bytes(entry, count.saturating_mul(width))?, width)
            }
        };
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        Ok(bytes.chunks_exact(width).map(number))
    }

    /// So many bytes of an entry's data.
    fn bytes(&self, entry: &Entry, length: usize) -> Result<&[u8], Invalid> {
        let from = usize::try_from(entry.offset).ok();
        let to = from.and_then(|from| from.checked_add(length));
        let bytes = from.zip(to).and_then(|(from, to)| self.data.get(from..to));
        bytes.ok_or_else(|| self.misfit(entry.tag))
    }

    /// What is said of a tag that cannot be read.
    pub(super) fn misfit(&self, tag: u32) -> Invalid {
        Invalid::malformed(self.what, format!("tag {tag} is of another type, or reaches beyond the end"))
    }
}

fn fill(what: &'static str, from: &mut dyn Read, piece: &mut [u8]) -> Result<(), Invalid> {
    from.read_exact(piece).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Invalid::Truncated { what },
        _ => Invalid::Read(error),
    })
}

/// Texts one after another, each ended by a NUL.
#[derive(Clone, Default)]
pub(super) struct Texts<'h> {
    rest: &'h [u8],
    left: u32,
}

impl Texts<'_> {
    /// How many are still to come.
    pub(super) fn len(&self) -> u64 {
        self.left.into()
    }
}

impl<'h> Iterator for Texts<'h> {
    type Item = &'h [u8];

    fn next(&mut self) -> Option<&'h [u8]> {
        self.left = self.left.checked_sub(1)?;
        let end = self.rest.iter().position(|byte| *byte == 0)?;
        let (text, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.get(1..).unwrap_or_default();
        Some(text)
    }
}
