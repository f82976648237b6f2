//! The typed values inside an ADB block (FORMATS 2.3).
//!
//! A value is one little-endian word: four bits of type, and either the number itself or an offset into the block. Every
//! offset and length is checked against the block where it is followed, so a hostile block yields an error and never a
//! read outside it. Only what an index needs is read: text, numbers, and tables one level at a time. `writer.rs` makes such blocks.

/// Why a block cannot be read.
pub(super) type Why = &'static str;

/// A block of values.
#[derive(Clone, Copy)]
pub(super) struct Block<'b> {
    bytes: &'b [u8],
}

/// One value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Value(u32);

/// The low bits of a value: a number, or where the value is.
pub(super) const OFFSET: u32 = 0x0fff_ffff;
/// The types of values, as on the wire.
const NULL: u32 = 0;
pub(super) const SMALL: u32 = 1;
pub(super) const WORD: u32 = 2;
pub(super) const LONG: u32 = 3;
pub(super) const BLOB_8: u32 = 8;
pub(super) const BLOB_16: u32 = 9;
pub(super) const BLOB_32: u32 = 10;
const ARRAY: u32 = 13;
pub(super) const OBJECT: u32 = 14;
/// What apk writes in place of a value it could not make, such as a malformed version.
const ERROR: u32 = 15;
const ROOT: usize = 4;

impl<'b> Block<'b> {
    /// The block and its root table.
    pub(super) fn open(bytes: &'b [u8]) -> Result<(Self, Table<'b>), Why> {
        let block = Self { bytes };
        if bytes.first() != Some(&0) {
            return Err("the block needs a newer reader");
        }
        let root = Value(block.word(ROOT)?);
        Ok((block, block.table(root)?))
    }

    fn at(self, offset: usize, length: usize) -> Result<&'b [u8], Why> {
        let end = offset.checked_add(length).ok_or("an offset outside the block")?;
        self.bytes.get(offset..end).ok_or("an offset outside the block")
    }

    fn word(self, offset: usize) -> Result<u32, Why> {
        self.at(offset, 4)?.try_into().map(u32::from_le_bytes).map_err(|_| "an offset outside the block")
    }

    /// A text or a digest; empty for null and for an error.
    pub(super) fn blob(self, value: Value) -> Result<&'b [u8], Why> {
        let (kind, offset) = value.parts();
        let (prefix, length) = match kind {
            NULL | ERROR => return Ok(&[]),
            BLOB_8 => (1, self.at(offset, 1)?),
            BLOB_16 => (2, self.at(offset, 2)?),
            BLOB_32 => (4, self.at(offset, 4)?),
            _ => return Err("a value that is not a text"),
        };
        let length = length.iter().rev().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
        self.at(offset + prefix, length)
    }

    /// A text that must be UTF-8.
    pub(super) fn text(self, value: Value) -> Result<&'b str, Why> {
        std::str::from_utf8(self.blob(value)?).map_err(|_| "a text that is not UTF-8")
    }

    /// A number; 0 for null and for an error.
    pub(super) fn number(self, value: Value) -> Result<u64, Why> {
        let (kind, offset) = value.parts();
        match kind {
            NULL | ERROR => Ok(0),
            SMALL => Ok(offset as u64),
            WORD => self.word(offset).map(u64::from),
            LONG => Ok(u64::from(self.word(offset)?) | u64::from(self.word(offset.saturating_add(4))?) << 32),
            _ => Err("a value that is not a number"),
        }
    }

    /// An array or object; real indexes write one where the other is meant. Empty for null and for
    /// an error.
    pub(super) fn table(self, value: Value) -> Result<Table<'b>, Why> {
        let (kind, offset) = value.parts();
        match kind {
            NULL | ERROR => Ok(Table { slots: &[] }),
            ARRAY | OBJECT => {
                let slots = usize::try_from(self.word(offset)?).map_err(|_| "a table outside the block")?;
                let length = slots.checked_mul(4).ok_or("a table outside the block")?;
                Ok(Table { slots: self.at(offset, length)?.get(4..).ok_or("a table without slots")? })
            }
            _ => Err("a value that is not a table"),
        }
    }
}

impl Value {
    /// Nothing.
    pub(super) const NULL: Self = Self(0);

    /// A value of a type; of `low`, only the bits that a value has room for.
    pub(super) const fn new(kind: u32, low: u32) -> Self {
        Self(kind << 28 | low & OFFSET)
    }

    /// As on the wire.
    pub(super) const fn word(self) -> u32 {
        self.0
    }

    /// Whether it says nothing: an absent one, and one that could not be made.
    pub(super) fn says_nothing(self) -> bool {
        matches!(self.parts(), (NULL, 0) | (ERROR, _))
    }

    fn parts(self) -> (u32, usize) {
        (self.0 >> 28, (self.0 & OFFSET) as usize)
    }
}

/// The slots of an array or object.
#[derive(Clone, Copy)]
pub(super) struct Table<'b> {
    slots: &'b [u8],
}

impl<'b> Table<'b> {
    /// The value in a slot, counted from 1; a slot past the end is null.
    pub(super) fn slot(self, number: usize) -> Value {
        let start = number.wrapping_sub(1).saturating_mul(4);
        let word = self.slots.get(start..start.saturating_add(4)).and_then(|bytes| bytes.try_into().ok());
        Value(word.map_or(0, u32::from_le_bytes))
    }

    /// Every value in order.
    pub(super) fn iter(self) -> impl Iterator<Item = Value> + use<'b> {
        let words = self.slots.chunks_exact(4).filter_map(|bytes| bytes.try_into().ok());
        words.map(|word| Value(u32::from_le_bytes(word)))
    }
}
