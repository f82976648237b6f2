//! The blocks of a plain ADB file: first one with the values, then signatures, then the files of a package.
//!
//! [`Blocks`] promises the order, that every block is as long as it says, and that the file ends where a block does. What
//! the contents mean is for others.

use crate::Invalid;

/// What a file holds; its second four bytes.
pub(in crate::alpine) type Schema = [u8; 4];

pub(in crate::alpine) const INDEX: Schema = *b"indx";
pub(in crate::alpine) const PACKAGE: Schema = *b"pckg";

const HEADER: usize = 8;
const SHORT: usize = 4;
const LONG: usize = 16;
const ALIGN: u64 = 8;
const ZEROS: &[u8] = &[0; 8];

/// The types of blocks, as on the wire.
pub(super) const VALUES: u32 = 0;
pub(super) const SIGNATURE: u32 = 1;
const DATA: u32 = 2;
const EXTENDED: u32 = 3;

/// What comes out, in order.
pub(in crate::alpine) enum Piece<'b> {
    /// Some of the values.
    Values(&'b [u8]),
    /// Some of a signature.
    Signature(&'b [u8]),
    /// It is complete.
    SignatureEnds,
    /// A block with a file begins.
    FileBegins,
    /// Some of its content.
    File(&'b [u8]),
    /// Its content is complete.
    FileEnds,
}

/// The walk over one file.
pub(in crate::alpine) struct Blocks {
    what: &'static str,
    schema: Schema,
    /// The header being read, of the file or of a block, and how much of it is there.
    head: [u8; LONG],
    filled: usize,
    needed: usize,
    begun: bool,
    /// The type of the block being read, or of the last one; `None` before the first.
    kind: Option<u32>,
    content: u64,
    padding: u64,
}

impl Blocks {
    pub(in crate::alpine) fn new(what: &'static str, schema: Schema) -> Self {
        Self {
            what,
            schema,
            head: [0; LONG],
            filled: 0,
            needed: HEADER,
            begun: false,
            kind: None,
            content: 0,
            padding: 0,
        }
    }

    /// Takes the next bytes and hands out what they hold.
    pub(in crate::alpine) fn push(
        &mut self,
        mut bytes: &[u8],
        each: &mut dyn FnMut(Piece<'_>) -> Result<(), Invalid>,
    ) -> Result<(), Invalid> {
        while let Some(first) = bytes.first() {
            if self.content > 0 {
                let (now, rest) = split_at_most(bytes, self.content);
                self.content -= now.len() as u64;
                match self.kind {
                    Some(VALUES) => each(Piece::Values(now))?,
                    Some(SIGNATURE) => each(Piece::Signature(now))?,
                    Some(DATA) => each(Piece::File(now))?,
                    _ => {}
                }
                match self.kind {
                    Some(SIGNATURE) if self.content == 0 => each(Piece::SignatureEnds)?,
                    Some(DATA) if self.content == 0 => each(Piece::FileEnds)?,
                    _ => {}
                }
                bytes = rest;
            } else if self.padding > 0 {
                let (now, rest) = split_at_most(bytes, self.padding);
                self.padding -= now.len() as u64;
                bytes = rest;
            } else {
                if let Some(space) = self.head.get_mut(self.filled) {
                    *space = *first;
                }
                self.filled += 1;
                bytes = bytes.get(1..).unwrap_or_default();
                if self.filled == self.needed {
                    self.header(each)?;
                }
            }
        }
        Ok(())
    }

    fn header(&mut self, each: &mut dyn FnMut(Piece<'_>) -> Result<(), Invalid>) -> Result<(), Invalid> {
        if !self.begun {
            if self.head[..4] != *b"ADB." || self.head[4..8] != self.schema {
                return Err(Invalid::malformed(self.what, "it is not the kind of ADB file that its name says"));
            }
            self.begun = true;
            (self.filled, self.needed) = (0, SHORT);
            return Ok(());
        }
        let [a, b, c, d, _, _, _, _, size @ ..] = self.head;
        let word = u32::from_le_bytes([a, b, c, d]);
        let (top, low) = (word >> 30, word & 0x3fff_ffff);
        if top == EXTENDED && self.needed == SHORT {
            self.needed = LONG;
            return Ok(());
        }
        let (kind, size) = match top {
            EXTENDED => (low, u64::from_le_bytes(size)),
            kind => (kind, u64::from(low)),
        };
        let follows = match (self.kind, kind) {
            (None, VALUES) | (Some(VALUES | SIGNATURE), SIGNATURE) => true,
            (Some(_), DATA) => self.schema == PACKAGE,
            _ => false,
        };
        if !follows {
            return Err(Invalid::malformed(self.what, format!("a block of type {kind} out of order")));
        }
        self.content = size
            .checked_sub(self.needed as u64)
            .ok_or_else(|| Invalid::malformed(self.what, "a block shorter than its own header"))?;
        self.padding = size.wrapping_neg() % ALIGN;
        self.kind = Some(kind);
        (self.filled, self.needed) = (0, SHORT);
        if kind == DATA {
            each(Piece::FileBegins)?;
            if self.content == 0 {
                each(Piece::FileEnds)?;
            }
        }
        Ok(())
    }

    /// The file is over.
    pub(in crate::alpine) fn finish(&self) -> Result<(), Invalid> {
        let is_whole = self.kind.is_some() && self.filled == 0 && self.content == 0 && self.padding == 0;
        if is_whole { Ok(()) } else { Err(Invalid::Truncated { what: self.what }) }
    }
}

/// What comes before the content of a block that we write.
pub(super) fn header(kind: u32, content: usize) -> Vec<u8> {
    let short = u32::try_from(content + SHORT).ok().filter(|size| size >> 30 == 0);
    match short {
        Some(size) => (kind << 30 | size).to_le_bytes().to_vec(),
        None => {
            let head = [(EXTENDED << 30 | kind).to_le_bytes(), [0; 4]].concat();
            [&head[..], &((content + LONG) as u64).to_le_bytes()].concat()
        }
    }
}

/// What comes after it.
pub(super) fn padding(content: usize) -> &'static [u8] {
    let missing = (header(VALUES, content).len() + content).wrapping_neg() % ZEROS.len();
    ZEROS.get(..missing).unwrap_or_default()
}

fn split_at_most(bytes: &[u8], most: u64) -> (&[u8], &[u8]) {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    bytes.split_at_checked(most).unwrap_or((bytes, &[]))
}

/// Keeps a piece of the values, which point at one another all over their block and so are held whole.
pub(in crate::alpine) fn hold(
    what: &'static str,
    values: &mut Vec<u8>,
    piece: &[u8],
    adb_bytes: u64,
) -> Result<(), Invalid> {
    if (values.len() + piece.len()) as u64 > adb_bytes {
        return Err(Invalid::OverLimit { what, limit: "adb_bytes", value: adb_bytes });
    }
    values.extend_from_slice(piece);
    Ok(())
}
