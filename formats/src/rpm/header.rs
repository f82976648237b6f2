//! One rpm header, read as it is pushed in: an index of entries, then their data (FORMATS 3.10).
//!
//! A header may hold megabytes of file names, of which a check wants a digest or two. [`HeaderReader`] keeps the entries
//! it was asked for and, when the data passes, the bytes they point at; memory is a few hundred bytes whatever the
//! header's own counts claim. The counts are bounded by [`Limits::header_bytes`] before they are believed.

use crate::{Invalid, Limits};

const MAGIC: [u8; 4] = [0x8e, 0xad, 0xe8, 0x01];
const INTRO: usize = 16;
const ENTRY: usize = 16;

/// An entry to keep: its tag, its type on the wire, and how much of its data at most.
pub(super) type Wanted = (u32, u32, usize);

/// The types of entries, as on the wire.
pub(super) const INT32: u32 = 4;
pub(super) const INT64: u32 = 5;
pub(super) const STRING: u32 = 6;
pub(super) const BINARY: u32 = 7;
pub(super) const STRING_ARRAY: u32 = 8;
const LAST_TYPE: u32 = 9;

/// A kept entry.
struct Kept {
    tag: u32,
    offset: u64,
    most: usize,
    bytes: Vec<u8>,
}

/// The reader of one header.
pub(super) struct HeaderReader {
    what: &'static str,
    wanted: &'static [Wanted],
    header_bytes: u64,
    /// The intro or entry being read, and how much of it is there.
    piece: [u8; ENTRY],
    filled: usize,
    state: State,
    entries: u64,
    data: u64,
    /// How much of the data has passed.
    passed: u64,
    kept: Vec<Kept>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Intro,
    /// This many entries are still to come.
    Entries(u64),
    Data,
    Complete,
}

impl HeaderReader {
    pub(super) fn new(what: &'static str, wanted: &'static [Wanted], limits: &Limits) -> Self {
        Self {
            what,
            wanted,
            header_bytes: limits.header_bytes,
            piece: [0; ENTRY],
            filled: 0,
            state: State::Intro,
            entries: 0,
            data: 0,
            passed: 0,
            kept: Vec::new(),
        }
    }

    /// Takes as much of `bytes` as belongs to the header, and returns the rest.
    pub(super) fn push<'b>(&mut self, mut bytes: &'b [u8]) -> Result<&'b [u8], Invalid> {
        loop {
            if self.state == State::Data && self.passed == self.data {
                self.state = State::Complete;
            }
            if self.state == State::Complete || bytes.is_empty() {
                return Ok(bytes);
            }
            if self.state == State::Data {
                let left = usize::try_from(self.data - self.passed).unwrap_or(usize::MAX);
                let (now, rest) = bytes.split_at_checked(left).unwrap_or((bytes, &[]));
                self.keep(now);
                self.passed += now.len() as u64;
                bytes = rest;
                continue;
            }
            let missing = self.piece.get_mut(self.filled..).unwrap_or_default();
            let (now, rest) = bytes.split_at_checked(missing.len()).unwrap_or((bytes, &[]));
            if let Some(space) = missing.get_mut(..now.len()) {
                space.copy_from_slice(now);
            }
            self.filled += now.len();
            bytes = rest;
            if self.filled == ENTRY {
                self.filled = 0;
                self.state = self.next_state()?;
            }
        }
    }

    /// A piece of 16 bytes is complete.
    fn next_state(&mut self) -> Result<State, Invalid> {
        let left = match self.state {
            State::Intro => self.intro()?,
            State::Entries(left) => {
                self.entry()?;
                left - 1
            }
            state => return Ok(state),
        };
        Ok(if left == 0 { State::Data } else { State::Entries(left) })
    }

    fn intro(&mut self) -> Result<u64, Invalid> {
        let [m0, m1, m2, m3, _, _, _, _, n @ .., d0, d1, d2, d3] = self.piece;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(Invalid::malformed(self.what, "it does not begin with the magic of a header"));
        }
        (self.entries, self.data) = (u64::from(u32::from_be_bytes(n)), u64::from(u32::from_be_bytes([d0, d1, d2, d3])));
        if self.length() > self.header_bytes {
            return Err(Invalid::OverLimit { what: self.what, limit: "header_bytes", value: self.header_bytes });
        }
        if self.entries == 0 {
            return Err(Invalid::malformed(self.what, "it is empty"));
        }
        Ok(self.entries)
    }

    fn entry(&mut self) -> Result<(), Invalid> {
        let word = |at: usize| {
            let bytes = self.piece.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u32::from_be_bytes)
        };
        let (tag, kind, offset) = (word(0), word(4), u64::from(word(8)));
        if kind > LAST_TYPE || offset > self.data {
            return Err(Invalid::malformed(self.what, format!("the entry of tag {tag} points outside it")));
        }
        let wanted = self.wanted.iter().find(|(wanted, as_type, _)| (*wanted, *as_type) == (tag, kind));
        if let (Some((_, _, most)), false) = (wanted, self.kept.iter().any(|kept| kept.tag == tag)) {
            self.kept.push(Kept { tag, offset, most: *most, bytes: Vec::new() });
        }
        Ok(())
    }

    /// Copies what kept entries point at out of the piece of data that passes now.
    fn keep(&mut self, now: &[u8]) {
        for kept in &mut self.kept {
            let from = kept.offset + kept.bytes.len() as u64;
            let end = kept.offset + kept.most as u64;
            let (Some(from), Some(end)) = (from.checked_sub(self.passed), end.checked_sub(self.passed)) else {
                continue;
            };
            let clip = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(now.len());
            kept.bytes.extend_from_slice(now.get(clip(from)..clip(end)).unwrap_or_default());
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// The whole header, known once its intro is.
    fn length(&self) -> u64 {
        INTRO as u64 + self.entries * ENTRY as u64 + self.data
    }

    /// How many bytes of padding follow a signature header: the next one begins at a multiple of 8.
    pub(super) fn padding(&self) -> u64 {
        self.length().wrapping_neg() % 8
    }

    fn bytes(&self, tag: u32) -> Option<&[u8]> {
        self.kept.iter().find(|kept| kept.tag == tag).map(|kept| kept.bytes.as_slice())
    }

    /// A text, or the first of an array of them.
    pub(super) fn text(&self, tag: u32) -> Option<&str> {
        std::str::from_utf8(self.bytes(tag)?.split(|&byte| byte == 0).next()?).ok()
    }

    /// A number of 4 or 8 bytes.
    pub(super) fn number(&self, tag: u32) -> Option<u64> {
        match *self.bytes(tag)? {
            [a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d]).into()),
            [a, b, c, d, e, f, g, h] => Some(u64::from_be_bytes([a, b, c, d, e, f, g, h])),
            _ => None,
        }
    }

    /// Plain bytes.
    pub(super) fn binary(&self, tag: u32) -> Option<&[u8]> {
        self.bytes(tag)
    }
}
