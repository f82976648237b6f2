//! One chunk as a file.
//!
//! A head, then for each list its text and the same compressed. The head has their lengths and a checksum of each part, and one of
//! itself. Files are not synced: that would cost every upload a wait for the disk, and a chunk can be made again. So one that a
//! power loss left with the right length and zeros in it must not be taken for what it was: whatever is read is compared with
//! its checksum, which costs a fraction of the digests that are made of the same bytes. What does not agree, or is not there any
//! more, is [`Lost`].

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// What a file begins with. Another number for another layout.
const MAGIC: [u8; 8] = *b"chunk 2\n";

/// For each list two lengths and two checksums.
const ROW: usize = 24;

/// A chunk cannot be read any more, and is to be made again.
#[derive(Debug, thiserror::Error)]
#[error("a piece of the index is gone or damaged")]
pub(in crate::engine::publish) struct Lost;

/// Where the parts of a chunk's file are.
#[derive(Debug, Clone)]
pub(in crate::engine::publish) struct Chunk {
    path: PathBuf,
    sections: Vec<Section>,
    bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Section {
    text: Part,
    packed: Part,
}

#[derive(Debug, Clone, Copy)]
struct Part {
    at: u64,
    length: u64,
    checksum: u32,
}

impl Part {
    fn read(self, file: &File, bytes: &mut Vec<u8>) -> io::Result<()> {
        bytes.resize(usize::try_from(self.length).map_err(io::Error::other)?, 0);
        file.read_exact_at(bytes, self.at)?;
        if checksum(bytes) == self.checksum { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}

impl Chunk {
    /// The length of a list's text, in bytes.
    pub(in crate::engine::publish) fn text(&self, list: usize) -> u64 {
        self.sections.get(list).map_or(0, |section| section.text.length)
    }

    /// The length of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads where things are, and notes that it is used. `None` if there is no such chunk, or one of another length than its head
    /// says.
    pub(in crate::engine::publish) fn open(path: PathBuf, lists: usize) -> Option<Self> {
        let mut file = File::open(&path).ok()?;
        let mut head = vec![0; MAGIC.len() + ROW * lists];
        let mut sum = [0; 4];
        file.read_exact(&mut head).and_then(|()| file.read_exact(&mut sum)).ok()?;
        let rows = head.strip_prefix(&MAGIC).filter(|_| checksum(&head) == u32::from_be_bytes(sum))?;
        let (mut sections, mut at) = (Vec::with_capacity(lists), (head.len() + sum.len()) as u64);
        let mut part = |length: &[u8], checksum: &[u8]| {
            let part = Part {
                at,
                length: u64::from_be_bytes(length.try_into().ok()?),
                checksum: u32::from_be_bytes(checksum.try_into().ok()?),
            };
            at = at.checked_add(part.length)?;
            Some(part)
        };
        for row in rows.chunks_exact(ROW) {
            let (lengths, sums) = row.split_at_checked(16)?;
            let ((text, packed), (text_sum, packed_sum)) = (lengths.split_at_checked(8)?, sums.split_at_checked(4)?);
            sections.push(Section { text: part(text, text_sum)?, packed: part(packed, packed_sum)? });
        }
        // The order of use outlives a restart. Without it a chunk goes a little sooner.
        let _ = file.set_modified(SystemTime::now());
        (file.metadata().ok()?.len() == at).then_some(Self { path, sections, bytes: at })
    }

    /// Whether everything in it is what was written.
    pub(super) fn is_whole(&self) -> bool {
        let (mut packed, mut text) = (Vec::new(), Vec::new());
        (0..self.sections.len()).all(|list| self.read(list, &mut packed, Some(&mut text)).is_ok())
    }

    /// Reads what a list has of the chunk, compressed, and its text if that is asked for. Buffers are used again.
    ///
    /// # Errors
    /// One that has [`Lost`] in it when the chunk is to be made again.
    pub(in crate::engine::publish) fn read(
        &self,
        list: usize,
        packed: &mut Vec<u8>,
        text: Option<&mut Vec<u8>>,
    ) -> io::Result<()> {
        let Some(section) = self.sections.get(list) else {
            return Err(io::Error::other("a chunk has no such list"));
        };
        let reading = || {
            let file = File::open(&self.path)?;
            if let Some(text) = text {
                section.text.read(&file, text)?;
            }
            section.packed.read(&file, packed)
        };
        reading().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
                io::Error::other(Lost)
            }
            _ => error,
        })
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    sum.sum()
}

/// Tells apart two that make the same chunk at once.
static UNFINISHED: AtomicU64 = AtomicU64::new(0);

/// A name that nobody else in this process uses, for a file that is not whole yet.
pub(super) fn unfinished(path: &Path) -> PathBuf {
    path.with_extension(format!("{}.new", UNFINISHED.fetch_add(1, Ordering::Relaxed)))
}

/// Writes a chunk: for each list its text and the same compressed.
pub(super) fn write(path: &Path, lists: &[(&Vec<u8>, Vec<u8>)]) -> io::Result<()> {
    let mut head = MAGIC.to_vec();
    for (text, packed) in lists {
        head.extend((text.len() as u64).to_be_bytes());
        head.extend((packed.len() as u64).to_be_bytes());
        head.extend(checksum(text).to_be_bytes());
        head.extend(checksum(packed).to_be_bytes());
    }
    head.extend(checksum(&head).to_be_bytes());
    let unfinished = unfinished(path);
    let mut file = io::BufWriter::new(File::create_new(&unfinished)?);
    file.write_all(&head)?;
    for (text, packed) in lists {
        file.write_all(text)?;
        file.write_all(packed)?;
    }
    file.flush()?;
    std::fs::rename(&unfinished, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_lost(read: io::Result<()>) -> bool {
        read.is_err_and(|error| error.get_ref().is_some_and(|inner| inner.is::<Lost>()))
    }

    #[test]
    fn a_chunk_is_what_was_written_or_lost() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("chunk");
        let lists =
            [(b"text".to_vec(), b"packed".to_vec()), (Vec::new(), Vec::new()), (vec![b'x'; 9_000], vec![7; 900])];
        let borrowed: Vec<_> = lists.iter().map(|(text, packed)| (text, packed.clone())).collect();
        write(&path, &borrowed).expect("written");
        let whole = std::fs::read(&path).expect("read");
        let (mut packed, mut text) = (Vec::new(), Vec::new());
        let chunk = Chunk::open(path.clone(), 3).expect("a chunk");
        assert_eq!(chunk.bytes(), whole.len() as u64);
        for (number, list) in lists.iter().enumerate() {
            chunk.read(number, &mut packed, Some(&mut text)).expect("read");
            assert_eq!((&text, &packed), (&list.0, &list.1));
            assert_eq!(chunk.text(number), list.0.len() as u64);
        }
        assert!(chunk.is_whole());
        assert!(Chunk::open(path.clone(), 2).is_none() && Chunk::open(path.clone(), 4).is_none());

        // As a power loss leaves a file: its length is right, and from some page on there are zeros.
        for from in [0, 20, 90, 4_096, whole.len() - 1] {
            let mut holed = whole.clone();
            holed[from..].fill(0);
            std::fs::write(&path, &holed).expect("written");
            let opened = Chunk::open(path.clone(), 3);
            assert!(opened.is_none_or(|chunk| !chunk.is_whole()), "zeros from {from} on");
            assert!(is_lost(chunk.read(2, &mut packed, Some(&mut text))), "zeros from {from} on");
        }
        std::fs::write(&path, &whole[..whole.len() - 1]).expect("written");
        assert!(Chunk::open(path.clone(), 3).is_none());
        assert!(is_lost(chunk.read(2, &mut packed, None)), "cut short");
        std::fs::remove_file(&path).expect("removed");
        assert!(is_lost(chunk.read(0, &mut packed, None)), "gone");
    }
}
