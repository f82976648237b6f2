//! gzip files that are put together from pieces, each compressed for itself.
//!
//! An index that we write is mostly the index that we wrote before, so only pieces that changed are compressed again. gzip
//! members in a row would be one stream by their standard (RFC 1952, 2.2), but apk takes an index of exactly one member
//! (FORMATS 1.2). So a piece is a member of a particular make: its deflate blocks end on a byte boundary with none of them
//! marked as the last, and an empty last block follows. As it stands it is a gzip file like any other. Without its first and
//! its last ten bytes it is a stretch that fits into any other member, and [`OneMember`] says what goes around such
//! stretches: it promises one member that opens to the pieces one after another, with the right checksum.

mod streamed;

use std::io::Write as _;
use std::ops::Range;

pub use self::streamed::GzipPiece;
use crate::Invalid;

const WHAT: &str = "gzip piece";
/// What a member begins with: magic, deflate, no flags; then no time, nothing about effort or system.
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// The part of the head that decides how a member is read.
const MAGIC: [u8; 4] = [0x1f, 0x8b, 8, 0];
/// A last block with nothing in it.
const LAST: [u8; 2] = [3, 0];
/// The last block, then checksum and length.
const TAIL: usize = 10;

/// Compresses a piece. `effort` is gzip's, 1 to 9; 0, which would not compress, ends in another kind of block and counts as 1.
///
/// # Errors
/// [`Invalid`] when the piece is 4 GiB or longer: gzip would not know its length.
pub fn gzip_piece(open: &[u8], effort: u32) -> Result<Vec<u8>, Invalid> {
    if u32::try_from(open.len()).is_err() {
        return Err(Invalid::malformed(WHAT, "it is 4 GiB or longer"));
    }
    let mut piece = GzipPiece::new(Vec::new(), effort);
    piece.write_all(open).and_then(|()| piece.finish()).map_err(Invalid::Read)
}

/// One gzip member, put together from pieces: [`OneMember::head`], then what [`OneMember::add`] gives for each piece, then
/// [`OneMember::tail`].
#[derive(Debug, Clone, Default)]
pub struct OneMember {
    checksum: u32,
    open_size: u64,
}

impl OneMember {
    /// A member without pieces.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What comes before all pieces.
    #[must_use]
    pub const fn head() -> [u8; 10] {
        HEAD
    }

    /// Takes the next piece, as [`gzip_piece`] made it; the bytes to write for it.
    ///
    /// # Errors
    /// [`Invalid`] when it is none.
    pub fn add<'p>(&mut self, piece: &'p [u8]) -> Result<&'p [u8], Invalid> {
        let no_piece = || Invalid::malformed(WHAT, "it was not compressed to be joined");
        let (blocks, tail) = piece
            .strip_prefix(&MAGIC)
            .and_then(|rest| rest.get(HEAD.len() - MAGIC.len()..))
            .and_then(|rest| rest.split_last_chunk::<TAIL>())
            .ok_or_else(no_piece)?;
        let [last @ .., c0, c1, c2, c3, l0, l1, l2, l3] = *tail;
        if last != LAST {
            return Err(no_piece());
        }
        let length = u32::from_le_bytes([l0, l1, l2, l3]).into();
        self.add_known((length, u32::from_le_bytes([c0, c1, c2, c3])), piece.len() as u64)?;
        Ok(blocks)
    }

    /// Takes the next piece without seeing it, by the length and the checksum of its text and its own length; which of its bytes to
    /// write for it. Whoever calls knows that it is one.
    ///
    /// # Errors
    /// [`Invalid`] when no piece is so short.
    pub fn add_known(&mut self, (open_size, checksum): (u64, u32), size: u64) -> Result<Range<u64>, Invalid> {
        let blocks = HEAD.len() as u64..size.saturating_sub(TAIL as u64);
        if blocks.is_empty() {
            return Err(Invalid::malformed(WHAT, "it is too short"));
        }
        self.checksum = joined(self.checksum, checksum, open_size);
        self.open_size += open_size;
        Ok(blocks)
    }

    /// What comes after all pieces.
    #[must_use]
    pub fn tail(&self) -> [u8; 10] {
        let [c0, c1, c2, c3] = self.checksum.to_le_bytes();
        // Of the length, gzip keeps the lower half only.
        let [l0, l1, l2, l3, ..] = self.open_size.to_le_bytes();
        let [e0, e1] = LAST;
        [e0, e1, c0, c1, c2, c3, l0, l1, l2, l3]
    }

    /// How long the pieces are together, opened.
    #[must_use]
    pub const fn open_size(&self) -> u64 {
        self.open_size
    }
}

/// The CRC-32 of two stretches one after another, from that of each and the length of the second. A checksum is the remainder
/// of a polynomial; whatever follows moves it up by eight powers per byte, and moving is multiplying.
fn joined(first: u32, second: u32, mut length: u64) -> u32 {
    // The powers 0 and 8; the highest bit stands for the lowest power.
    let (mut moved, mut step) = (first, 1 << (31 - 8));
    while length > 0 {
        if length & 1 == 1 {
            moved = product(moved, step);
        }
        step = product(step, step);
        length >>= 1;
    }
    moved ^ second
}

/// The product of two polynomials, modulo that of CRC-32.
fn product(mut a: u32, mut b: u32) -> u32 {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    let mut product = 0;
    while a != 0 {
        if a & 0x8000_0000 != 0 {
            product ^= b;
        }
        a <<= 1;
        b = (b >> 1) ^ if b & 1 == 1 { POLYNOMIAL } else { 0 };
    }
    product
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn join(pieces: &[Vec<u8>]) -> Vec<u8> {
        let (mut member, mut file) = (OneMember::new(), OneMember::head().to_vec());
        for piece in pieces {
            file.extend_from_slice(member.add(piece).expect("a piece"));
        }
        file.extend_from_slice(&member.tail());
        file
    }

    /// Opens the first member, and insists that nothing follows it.
    fn open(file: &[u8]) -> Vec<u8> {
        let (mut reader, mut open) = (flate2::bufread::GzDecoder::new(file), Vec::new());
        reader.read_to_end(&mut open).expect("a sound member");
        assert!(reader.into_inner().is_empty(), "something follows");
        open
    }

    #[test]
    fn pieces_join_to_one_member_and_are_members_themselves() {
        let mixed: Vec<u8> = (0..200_000_u32).flat_map(|n| (n ^ n.wrapping_mul(77) >> 9).to_le_bytes()).collect();
        let texts: [&[u8]; 7] = [b"", b"a", &mixed, b"", &[7; 70_000], b"end", &mixed[..12_345]];
        for effort in [0, 1, 6, 9] {
            let pieces: Vec<_> = texts.iter().map(|text| gzip_piece(text, effort).expect("short")).collect();
            for (piece, text) in pieces.iter().zip(texts) {
                assert_eq!(open(piece), text, "alone");
            }
            for count in 0..=pieces.len() {
                assert_eq!(open(&join(&pieces[..count])), texts[..count].concat(), "{count} with effort {effort}");
            }
        }
    }

    #[test]
    fn a_piece_that_is_known_need_not_be_seen() {
        let text = [7; 70_000];
        let piece = gzip_piece(&text, 6).expect("short");
        let (mut seen, mut known) = (OneMember::new(), OneMember::new());
        let mut sum = flate2::Crc::new();
        sum.update(&text);
        for _ in 0..3 {
            let blocks = seen.add(&piece).expect("a piece");
            let range = known.add_known((70_000, sum.sum()), piece.len() as u64).expect("a piece");
            assert_eq!(range, 10..10 + blocks.len() as u64);
        }
        assert_eq!(seen.tail(), known.tail());
        assert!(known.add_known((0, 0), 20).is_err());
        // Longer than gzip's own word for it.
        known.add_known(((1 << 32) + 5, 0), 100).expect("a piece");
        assert_eq!(known.open_size(), 210_000 + (1 << 32) + 5);
    }

    #[test]
    fn what_is_no_piece_is_refused() {
        let piece = gzip_piece(b"some text", 6).expect("short");
        let mut usual = GzEncoder::new(Vec::new(), Compression::default());
        usual.write_all(b"some text").expect("in memory");
        let named = flate2::GzBuilder::new().filename("x").write(Vec::new(), Compression::default());
        for (what, file) in [
            ("a usual member", usual.finish().expect("in memory")),
            ("one with a name", named.finish().expect("in memory")),
            ("nothing", Vec::new()),
            ("a stub", piece[..19].to_vec()),
            ("cut", piece[..piece.len() - 1].to_vec()),
            ("no gzip", vec![3; 40]),
        ] {
            assert!(OneMember::new().add(&file).is_err(), "{what}");
        }
    }
}
