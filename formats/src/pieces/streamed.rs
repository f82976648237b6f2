//! A piece that is compressed as its text comes.
//!
//! The same text makes the same piece, in however many parts it comes: otherwise the digest of a list would depend on who joined it,
//! and a list is published before it is written. deflate promises that of no compressor. What ours makes depends on where its input
//! ends and where its output is full, so neither is left to whoever writes: the text is fed in blocks of [`BLOCK`] bytes, and output is
//! taken away when [`FULL`] bytes of it are there and at no other time. With these two numbers a piece is, byte for byte, what
//! `GzEncoder` makes of a text that it is given whole; lists that were published before there was this are written again as they were.

use std::io::{self, Write};

use flate2::{Compress, Compression, Crc, FlushCompress};

use super::HEAD;

/// What is compressed at once, in bytes. The compressor reads twice its window and then its window again and again, and does so too
/// when it is given everything: that is where a block may end.
const BLOCK: usize = 64 << 10;

/// How much is compressed before any of it is handed on, in bytes.
const FULL: usize = 32 << 10;

/// A piece that is written as its text comes.
#[derive(Debug)]
pub struct GzipPiece<W: Write> {
    into: W,
    effort: u32,
    deflate: Compress,
    /// Of the text, what was not compressed yet.
    block: Vec<u8>,
    packed: Vec<u8>,
    sum: Crc,
    has_begun: bool,
}

impl<W: Write> GzipPiece<W> {
    /// With `effort` as for [`super::gzip_piece`].
    pub fn new(into: W, effort: u32) -> Self {
        let effort = effort.clamp(1, 9);
        Self {
            into,
            effort,
            deflate: Compress::new(Compression::new(effort), false),
            block: Vec::with_capacity(BLOCK),
            packed: Vec::with_capacity(FULL),
            sum: Crc::new(),
            has_begun: false,
        }
    }

    /// Ends the piece. One of 4 GiB or more can be joined if its length is known: [`super::OneMember::add_known`].
    ///
    /// # Errors
    /// Those of the writer.
    pub fn finish(mut self) -> io::Result<W> {
        self.compress()?;
        // Its blocks end on a byte boundary, then comes the empty last one.
        loop {
            self.gives_more(FlushCompress::Sync)?;
            // A full buffer may not have had room for all of it.
            if self.packed.len() < self.packed.capacity() {
                break;
            }
        }
        while self.gives_more(FlushCompress::Finish)? {}
        self.into.write_all(&self.sum.sum().to_le_bytes())?;
        // Of the length, gzip keeps the lower half only.
        self.into.write_all(&self.sum.amount().to_le_bytes())?;
        Ok(self.into)
    }

    /// Compresses the block.
    fn compress(&mut self) -> io::Result<()> {
        if !self.has_begun {
            self.has_begun = true;
            let mut head = HEAD;
            // As every gzip says it: the least effort, or the most.
            head[8] = match self.effort {
                9 => 2,
                1 => 4,
                _ => 0,
            };
            self.into.write_all(&head)?;
        }
        self.sum.update(&self.block);
        let mut read = 0;
        while let Some(rest) = self.block.get(read..).filter(|rest| !rest.is_empty()) {
            let before = self.deflate.total_in();
            self.deflate.compress_vec(rest, &mut self.packed, FlushCompress::None).map_err(io::Error::other)?;
            read += usize::try_from(self.deflate.total_in() - before).map_err(io::Error::other)?;
            if self.packed.len() == self.packed.capacity() {
                self.hand_on()?;
            }
        }
        self.block.clear();
        Ok(())
    }

    fn gives_more(&mut self, flush: FlushCompress) -> io::Result<bool> {
        self.hand_on()?;
        let before = self.deflate.total_out();
        self.deflate.compress_vec(&[], &mut self.packed, flush).map_err(io::Error::other)?;
        Ok(self.deflate.total_out() > before)
    }

    fn hand_on(&mut self) -> io::Result<()> {
        self.into.write_all(&self.packed)?;
        self.packed.clear();
        Ok(())
    }
}

impl<W: Write> Write for GzipPiece<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.block.len() == BLOCK {
            self.compress()?;
        }
        let taken = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        Ok(taken)
    }

    /// Nothing: where blocks end depends on the text alone.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flate2::write::GzEncoder;

    use super::super::gzip_piece;
    use super::*;

    #[test]
    fn a_piece_is_the_same_however_its_text_comes() {
        let lines =
            (0..150_000_u32).map(|n| format!("<file>/usr/{:x}/{}.h</file>\n", n.wrapping_mul(2_654_435_761), n % 97));
        let text = lines.collect::<String>().into_bytes();
        for effort in [1, 6, 9] {
            for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 77, text.len()] {
                let text = &text[..length];
                // Fed at once, and as pieces were before they could be fed otherwise.
                let mut encoder = GzEncoder::new(Vec::new(), Compression::new(effort));
                encoder.write_all(text).and_then(|()| encoder.flush()).expect("in memory");
                let whole = encoder.finish().expect("in memory");
                assert!(gzip_piece(text, effort).expect("short") == whole, "{length} with effort {effort}");
                for step in [7, 4_096, 100_000] {
                    let mut piece = GzipPiece::new(Vec::new(), effort);
                    text.chunks(step).for_each(|part| piece.write_all(part).expect("in memory"));
                    assert!(
                        piece.finish().expect("in memory") == whole,
                        "{length} in steps of {step}, effort {effort}"
                    );
                }
            }
        }
    }
}
