//! Makes a block of values (FORMATS 2.3): what [`super::value`] reads.
//!
//! Values are appended, and what is there already is not written again: an index names the same libraries, licences and
//! people over and over, and readers take any number of values that lie in one place. Equal values in the same order make an
//! equal block, on every machine. A block is held whole, within the limit that its [`Writer`] is made with.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher as _};

use super::value::{BLOB_8, BLOB_16, BLOB_32, LONG, OBJECT, OFFSET, SMALL, Value, WORD};
use crate::Invalid;

/// Compatibility, version and something reserved, all 0; then the root.
const HEAD: usize = 8;
/// A number or a slot.
const ALIGN: usize = 4;

/// A block that is being made.
pub(in crate::alpine) struct Writer {
    what: &'static str,
    bytes: Vec<u8>,
    /// By a digest of what is there, where. Nothing depends on it but the length of the block.
    known: HashMap<u64, usize>,
    limit: &'static str,
    most: u64,
}

impl Writer {
    /// An empty block of at most `most` bytes, as the field `limit` of [`crate::Limits`] says.
    pub(in crate::alpine) fn new(what: &'static str, limit: &'static str, most: u64) -> Self {
        Self { what, bytes: vec![0; HEAD], known: HashMap::new(), limit, most }
    }

    /// A text or a digest; nothing for an empty one.
    pub(super) fn blob(&mut self, blob: &[u8]) -> Result<Value, Invalid> {
        let length = blob.len();
        let (kind, prefix) = match (u8::try_from(length), u16::try_from(length), u32::try_from(length)) {
            (Ok(0), _, _) => return Ok(Value::NULL),
            (Ok(length), _, _) => (BLOB_8, length.to_le_bytes().to_vec()),
            (_, Ok(length), _) => (BLOB_16, length.to_le_bytes().to_vec()),
            (_, _, Ok(length)) => (BLOB_32, length.to_le_bytes().to_vec()),
            _ => return Err(self.full()),
        };
        let align = prefix.len();
        self.put(kind, &[prefix, blob.to_vec()].concat(), align)
    }

    /// A number, also 0.
    pub(super) fn number(&mut self, number: u64) -> Result<Value, Invalid> {
        match u32::try_from(number) {
            Ok(small) if small <= OFFSET => Ok(Value::new(SMALL, small)),
            Ok(word) => self.put(WORD, &word.to_le_bytes(), ALIGN),
            Err(_) => self.put(LONG, &number.to_le_bytes(), 2 * ALIGN),
        }
    }

    /// An object, or an array, which real indexes write as one too. Nothing for one in which nothing is.
    pub(super) fn table(&mut self, slots: &[Value]) -> Result<Value, Invalid> {
        let Some(last) = slots.iter().rposition(|slot| *slot != Value::NULL) else {
            return Ok(Value::NULL);
        };
        self.root(slots.get(..=last).unwrap_or_default())
    }

    /// An object that is there whatever is in it.
    pub(super) fn root(&mut self, slots: &[Value]) -> Result<Value, Invalid> {
        let count = u32::try_from(slots.len() + 1).map_err(|_| self.full())?;
        let words = std::iter::once(count).chain(slots.iter().map(|slot| slot.word()));
        let table: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
        self.put(OBJECT, &table, ALIGN)
    }

    /// The block.
    pub(in crate::alpine) fn finish(mut self, root: Value) -> Vec<u8> {
        let slot = self.bytes.iter_mut().skip(HEAD - ALIGN);
        slot.zip(root.word().to_le_bytes()).for_each(|(to, from)| *to = from);
        self.bytes
    }

    /// Where these bytes are from now on; they begin at a multiple of `align`.
    fn put(&mut self, kind: u32, bytes: &[u8], align: usize) -> Result<Value, Invalid> {
        // Always the same keys, so that nothing of a block is left to chance. Whoever makes two values with one digest makes
        // blocks longer and nothing else.
        let mut hasher = DefaultHasher::new();
        hasher.write_usize(align);
        hasher.write(bytes);
        let key = hasher.finish();
        let known = self.known.get(&key).copied();
        let there = known.filter(|at| self.bytes.get(*at..*at + bytes.len()) == Some(bytes));
        let at = match there {
            Some(at) => at,
            None => {
                let at = self.bytes.len().next_multiple_of(align);
                if (at + bytes.len()) as u64 > self.most.min(OFFSET.into()) {
                    return Err(self.full());
                }
                self.bytes.resize(at, 0);
                self.bytes.extend_from_slice(bytes);
                self.known.insert(key, at);
                at
            }
        };
        u32::try_from(at).map(|at| Value::new(kind, at)).map_err(|_| self.full())
    }

    fn full(&self) -> Invalid {
        Invalid::OverLimit { what: self.what, limit: self.limit, value: self.most }
    }
}

#[cfg(test)]
mod tests {
    use super::super::value::Block;
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::new("block", "adb_bytes", 1 << 20);
        let long = vec![b'x'; 70_000];
        let blobs: [&[u8]; 5] = [b"a", &[1; 255], &[2; 256], &long, b"a"];
        let numbers = [0, 1, 0x0fff_ffff, 0x1000_0000, u64::from(u32::MAX), 1 << 32, u64::MAX];
        let mut slots: Vec<Value> = blobs.iter().map(|blob| writer.blob(blob).expect("room")).collect();
        slots.push(Value::NULL);
        slots.extend(numbers.map(|number| writer.number(number).expect("room")));
        slots.push(writer.blob(b"").expect("nothing"));
        assert!(slots[0] == slots[4], "what is there is not written again");
        let root = writer.table(&slots).expect("room");
        let values = writer.finish(root);
        let (block, root) = Block::open(&values).expect("a block");
        assert_eq!(root.iter().count(), 13, "what is absent at the end is left out");
        for (slot, blob) in (1..).zip(blobs) {
            assert_eq!(block.blob(root.slot(slot)), Ok(blob));
        }
        assert!(root.slot(6).says_nothing() && !root.slot(7).says_nothing());
        for (slot, number) in (7..).zip(numbers) {
            assert_eq!(block.number(root.slot(slot)), Ok(number));
        }
    }

    #[test]
    fn a_block_is_no_longer_than_it_may_be() {
        let mut writer = Writer::new("block", "adb_bytes", 20);
        assert!(writer.blob(&[1; 11]).is_ok());
        assert!(writer.blob(&[1; 11]).is_ok(), "it is there");
        assert!(matches!(writer.number(1 << 40), Err(Invalid::OverLimit { limit: "adb_bytes", value: 20, .. })));
        assert!(writer.table(&[Value::NULL]).is_ok_and(|value| value == Value::NULL));
    }
}
