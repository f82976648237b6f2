//! Gzip members one after another, told apart as they are pushed in.
//!
//! An apk file and an apk index are several gzip members in a row, and digests and signatures cover single members as
//! stored (FORMATS 1.2, 1.5). Where one ends is known only to the inflater, which says how much input it used; a search
//! for the magic number would find it inside compressed data too. [`Members`] promises exact boundaries, a checked CRC
//! and length for each member, and constant memory.

use flate2::{Decompress, FlushDecompress, Status};

use crate::Invalid;

/// Open bytes handed out at once.
const OPEN: usize = 64 << 10;
const WINDOW_BITS: u8 = 15;

/// The splitter.
pub(super) struct Members {
    what: &'static str,
    /// `None` between two members.
    inflater: Option<Decompress>,
    open: Box<[u8]>,
}

/// What one step took and gave.
pub(super) struct Step<'m> {
    /// How much of the input belongs to what was read so far.
    pub taken: usize,
    /// What it opened to.
    pub open: &'m [u8],
    /// The member ended with the last byte taken.
    pub ended: bool,
    /// More would come out without more going in.
    pub more: bool,
}

impl Members {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, inflater: None, open: vec![0; OPEN].into_boxed_slice() }
    }

    /// Whether everything taken so far is whole members.
    pub(super) fn is_between(&self) -> bool {
        self.inflater.is_none()
    }

    /// Takes some of `input`, at most to the end of the current member.
    pub(super) fn step(&mut self, input: &[u8]) -> Result<Step<'_>, Invalid> {
        let inflater = self.inflater.get_or_insert_with(|| Decompress::new_gzip(WINDOW_BITS));
        let (taken_before, open_before) = (inflater.total_in(), inflater.total_out());
        let status = inflater
            .decompress(input, &mut self.open, FlushDecompress::None)
            .map_err(|error| Invalid::malformed(self.what, format!("not a gzip member, or a damaged one ({error})")))?;
        let taken = length(inflater.total_in() - taken_before);
        let open = length(inflater.total_out() - open_before);
        let ended = status == Status::StreamEnd;
        if taken == 0 && open == 0 && !input.is_empty() && !ended {
            return Err(Invalid::malformed(self.what, "a gzip member that cannot be read on"));
        }
        if ended {
            self.inflater = None;
        }
        Ok(Step { taken, open: self.open.get(..open).unwrap_or_default(), ended, more: open == OPEN && !ended })
    }
}

/// A difference of two positions within one buffer.
fn length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).expect("in memory");
        encoder.finish().expect("in memory")
    }

    /// Each member as (stored length, open bytes), fed `piece` bytes at a time.
    fn split(file: &[u8], piece: usize) -> Result<Vec<(usize, Vec<u8>)>, Invalid> {
        let mut members = Members::new("sample");
        let (mut all, mut stored, mut open) = (Vec::new(), 0, Vec::new());
        for mut input in file.chunks(piece) {
            loop {
                let step = members.step(input)?;
                stored += step.taken;
                open.extend_from_slice(step.open);
                input = &input[step.taken..];
                if step.ended {
                    all.push((std::mem::take(&mut stored), std::mem::take(&mut open)));
                }
                if input.is_empty() && !step.more {
                    break;
                }
            }
        }
        if members.is_between() { Ok(all) } else { Err(Invalid::Truncated { what: "sample" }) }
    }

    #[test]
    fn boundaries_are_exact_however_the_bytes_arrive() {
        let large: Vec<u8> = (0..100_000_u32).flat_map(|n| (n ^ (n >> 3)).to_le_bytes()).collect();
        let open = [b"first".to_vec(), Vec::new(), large, vec![0; 300_000]];
        let stored: Vec<_> = open.iter().map(|bytes| gzip(bytes)).collect();
        let expected: Vec<_> = stored.iter().zip(open).map(|(stored, open)| (stored.len(), open)).collect();
        let file = stored.concat();
        for piece in [1, 7, 511, 4096, file.len()] {
            assert_eq!(split(&file, piece).expect("valid"), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn cuts_tails_and_flips_are_noticed() {
        let file = [gzip(b"one"), gzip(b"two two two")].concat();
        let first = gzip(b"one").len();
        for cut in 1..file.len() {
            assert!(cut == first || split(&file[..cut], 5).is_err(), "cut at {cut}");
        }
        assert!(split(&[&file[..], b"\0"].concat(), 64).is_err());
        assert!(split(b"<!DOCTYPE html>", 64).is_err());
        for at in first + 10..file.len() {
            let mut flipped = file.clone();
            flipped[at] ^= 1;
            assert!(split(&flipped, 64).is_err(), "flipped at {at}");
        }
    }
}
