//! One rpm header, read as it is pushed in: an index of entries, then their data (FORMATS 3.10).
//!
//! A header may hold megabytes of file names, of which a check wants a digest or two. [`HeaderReader`] keeps the entries
//! it was asked for and, when the data passes, the bytes they point at; memory is a few hundred bytes whatever the
//! header's own counts claim. The counts are bounded by [`Limits::header_bytes`] before they are believed.

use crate::{Invalid, Limits};

const MAGIC: [u8; 4] = [0x8e, 0xad, 0xe8, 0x01];
/// The length of the intro, and of each entry.
pub(super) const ENTRY: usize = 16;

/// An entry to keep: its tag, its type on the wire, and how much of its data at most.
pub(super) type Wanted = (u32, u32, usize);

/// The types of entries, as on the wire.
pub(super) const INT8: u32 = 2;
pub(super) const INT16: u32 = 3;
pub(super) const INT32: u32 = 4;
pub(super) const INT64: u32 = 5;
pub(super) const STRING: u32 = 6;
pub(super) const BINARY: u32 = 7;
pub(super) const STRING_ARRAY: u32 = 8;
pub(super) const I18N_STRING: u32 = 9;
const LAST_TYPE: u32 = I18N_STRING;

/// How a header begins: how many entries it has, and how much data.
#[derive(Clone, Copy)]
pub(super) struct Intro {
    pub(super) entries: u64,
    pub(super) data: u64,
}

impl Intro {
    /// Reads and bounds the counts, before anything is done for them.
    pub(super) fn read(what: &'static str, piece: &[u8; ENTRY], header_bytes: u64) -> Result<Self, Invalid> {
        let [m0, m1, m2, m3, _, _, _, _, n @ .., d0, d1, d2, d3] = *piece;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(Invalid::malformed(what, "it does not begin with the magic of a header"));
        }
        let (entries, data) = (u32::from_be_bytes(n).into(), u32::from_be_bytes([d0, d1, d2, d3]).into());
        let intro = Self { entries, data };
        if intro.length() > header_bytes {
            return Err(Invalid::OverLimit { what, limit: "header_bytes", value: header_bytes });
        }
        if entries == 0 {
            return Err(Invalid::malformed(what, "it is empty"));
        }
        Ok(intro)
    }

    /// The whole header, from its intro to the end of its data.
    pub(super) fn length(self) -> u64 {
        (1 + self.entries) * ENTRY as u64 + self.data
    }

    /// How many bytes of padding follow a signature header.
    pub(super) fn padding(self) -> u64 {
        self.length().wrapping_neg() % 8
    }
}

/// An entry as it is on the wire.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) tag: u32,
    pub(super) kind: u32,
    /// Where its data begins, within the header's.
    pub(super) offset: u64,
    pub(super) count: u32,
}

impl Entry {
    /// Reads one, which begins within `data` bytes; where it ends is for those to check who look at it.
    pub(super) fn read(what: &'static str, piece: &[u8; ENTRY], data: u64) -> Result<Self, Invalid> {
        let [tag @ .., k0, k1, k2, k3, o0, o1, o2, o3, c0, c1, c2, c3] = *piece;
        let (tag, kind) = (u32::from_be_bytes(tag), u32::from_be_bytes([k0, k1, k2, k3]));
        let offset = u64::from(u32::from_be_bytes([o0, o1, o2, o3]));
        if kind > LAST_TYPE || offset > data {
            return Err(Invalid::malformed(what, format!("the entry of tag {tag} points outside it")));
        }
        Ok(Self { tag, kind, offset, count: u32::from_be_bytes([c0, c1, c2, c3]) })
    }
}

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
        let intro = Intro::read(self.what, &self.piece, self.header_bytes)?;
        (self.entries, self.data) = (intro.entries, intro.data);
        Ok(self.entries)
    }

    fn entry(&mut self) -> Result<(), Invalid> {
        let Entry { tag, kind, offset, .. } = Entry::read(self.what, &self.piece, self.data)?;
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

    /// How many bytes of padding follow a signature header: the next one begins at a multiple of 8.
    pub(super) fn padding(&self) -> u64 {
        Intro { entries: self.entries, data: self.data }.padding()
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
