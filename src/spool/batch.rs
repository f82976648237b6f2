//! What was appended and waits to be written: large pieces as they came, small ones copied together.

use bytes::Bytes;

/// What comes in smaller pieces than this, in bytes, is copied together. A piece that is kept as it came costs some memory of its
/// own, which is nothing beside its bytes, unless these are few.
const SMALL: usize = 4 << 10;

/// What waits to be written.
#[derive(Default)]
pub(super) struct Batch {
    pieces: Vec<Bytes>,
    /// What came after those, in small pieces.
    small: Vec<u8>,
    /// How much waits, in bytes.
    pub(super) bytes: usize,
}

impl Batch {
    pub(super) fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        if piece.len() < SMALL {
            self.small.extend_from_slice(&piece);
        } else {
            self.close();
            self.pieces.push(piece);
        }
    }

    fn close(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push(std::mem::take(&mut self.small).into());
        }
    }

    /// All of it; nothing is left.
    pub(super) fn take(&mut self) -> Vec<Bytes> {
        self.close();
        std::mem::take(self).pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::BATCH;

    #[test]
    fn small_pieces_are_copied_together_and_large_ones_are_not() {
        let mut batch = Batch::default();
        let large = Bytes::from(vec![1; SMALL]);
        for _ in 0..BATCH / 2 {
            batch.push(Bytes::from_static(b"a"));
        }
        batch.push(large.clone());
        batch.push(Bytes::new());
        batch.push(Bytes::from_static(b"b"));
        batch.push(Bytes::from(vec![b'c'; SMALL - 1]));
        assert_eq!(batch.bytes, BATCH / 2 + 2 * SMALL);
        let pieces = batch.take();
        assert_eq!(pieces.iter().map(Bytes::len).collect::<Vec<_>>(), [BATCH / 2, SMALL, SMALL]);
        assert_eq!(pieces[1].as_ptr(), large.as_ptr(), "copied");
        assert!(pieces[0].iter().all(|byte| *byte == b'a') && pieces[2].starts_with(b"bcc"), "in another order");
        assert_eq!((batch.bytes, batch.take().len()), (0, 0));
    }

    /// What a batch costs beside its bytes is bounded, however they come.
    #[test]
    fn a_batch_has_few_pieces() {
        let mut batch = Batch::default();
        for number in 1..BATCH {
            batch.push(Bytes::copy_from_slice(b"a"));
            assert!(batch.pieces.is_empty() && batch.small.len() == number);
        }
        assert_eq!(batch.take().len(), 1);
    }
}
