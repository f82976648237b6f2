//! A tar stream, read as it is pushed in, as far as apk files need it (FORMATS 1.2, 1.5).
//!
//! It promises names, types and contents in order, for a stream that may be cut between any two bytes of its arrival. It
//! keeps one header in memory and never a content. What apk itself refuses is refused: an entry whose type is NUL, a
//! header without `ustar`. What apk takes is taken: no end-of-archive blocks, or anything after them.

use crate::Invalid;

const BLOCK: usize = 512;

/// What comes out, in order: an entry, its content in pieces, its end.
pub(super) enum Event<'t> {
    /// A new entry.
    Entry(&'t Entry<'t>),
    /// Some of its content.
    Content(&'t [u8]),
    /// Its content is complete.
    End,
}

/// The head of an entry.
pub(super) struct Entry<'t> {
    /// The name field. Prefixes and long-name extensions are not put together: no name that matters here needs them.
    pub name: &'t [u8],
    /// Whether it is a plain file: extension headers (pax, GNU) have contents too.
    pub is_file: bool,
    /// The type field.
    pub kind: u8,
    /// When the content was made, in Unix seconds; 0 when the field cannot be read.
    pub time: u64,
}

/// The reader.
pub(super) struct Tar {
    what: &'static str,
    header: [u8; BLOCK],
    /// How much of `header` is there.
    filled: usize,
    /// Content bytes still to come.
    content: u64,
    /// Padding bytes still to come after the content.
    padding: u64,
    /// Blocks of zeros seen; the second ends the archive.
    zeros: u8,
}

impl Tar {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, header: [0; BLOCK], filled: 0, content: 0, padding: 0, zeros: 0 }
    }

    /// Whether everything taken so far is whole entries: only here may the stream be cut.
    pub(super) fn is_between(&self) -> bool {
        self.filled == 0 && self.content == 0 && self.padding == 0
    }

    /// Takes the next bytes and hands out what they complete.
    pub(super) fn push<E: From<Invalid>>(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() && self.zeros < 2 {
            if self.content > 0 {
                let (now, rest) = split_at_most(bytes, self.content);
                self.content -= now.len() as u64;
                each(Event::Content(now))?;
                if self.content == 0 {
                    each(Event::End)?;
                }
                bytes = rest;
            } else if self.padding > 0 {
                let (now, rest) = split_at_most(bytes, self.padding);
                self.padding -= now.len() as u64;
                bytes = rest;
            } else {
                let (now, rest) = split_at_most(bytes, (BLOCK - self.filled) as u64);
                if let Some(space) = self.header.get_mut(self.filled..self.filled + now.len()) {
                    space.copy_from_slice(now);
                }
                self.filled += now.len();
                bytes = rest;
                if self.filled == BLOCK {
                    self.filled = 0;
                    self.entry(&mut each)?;
                }
            }
        }
        Ok(())
    }

    fn entry<E: From<Invalid>>(&mut self, each: &mut impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        const NAME: std::ops::Range<usize> = 0..100;
        const SIZE: std::ops::Range<usize> = 124..136;
        const TIME: std::ops::Range<usize> = 136..148;
        const TYPE: usize = 156;
        const MAGIC: std::ops::Range<usize> = 257..262;
        if self.header[0] == 0 {
            self.zeros += 1;
            return Ok(());
        }
        let kind = self.header[TYPE];
        if &self.header[MAGIC] != b"ustar" {
            return Err(Invalid::malformed(self.what, "a tar header without the magic 'ustar'").into());
        }
        if kind == 0 {
            return Err(Invalid::malformed(self.what, "a tar entry of type NUL, which apk refuses").into());
        }
        self.content = octal(&self.header[SIZE])
            .ok_or_else(|| Invalid::malformed(self.what, "a tar entry whose size is not an octal number"))?;
        self.padding = self.content.wrapping_neg() % BLOCK as u64;
        let name = self.header[NAME].split(|&byte| byte == 0).next().unwrap_or_default();
        let time = octal(&self.header[TIME]).unwrap_or(0);
        each(Event::Entry(&Entry { name, is_file: matches!(kind, b'0' | b'7'), kind, time }))?;
        if self.content == 0 {
            each(Event::End)?;
        }
        Ok(())
    }
}

fn split_at_most(bytes: &[u8], most: u64) -> (&[u8], &[u8]) {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    bytes.split_at_checked(most).unwrap_or((bytes, &[]))
}

/// A number field: octal digits, blanks before, a blank or NUL after.
fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    let digits = text.trim_matches([' ', '\0']);
    if digits.is_empty() { Some(0) } else { u64::from_str_radix(digits, 8).ok() }
}
