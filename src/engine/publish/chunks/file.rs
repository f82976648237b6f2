//! One chunk as a file.
//!
//! A head, then for each list its text and the same compressed. The head has their lengths and a checksum of each part, and one of
//! itself. Files are not synced: that would cost every upload a wait for the disk, and a chunk can be made again. So one that a
//! power loss left with the right length and zeros in it must not be taken for what it was: whatever is read is compared with
//! its checksum, which costs a fraction of the digests that are made of the same bytes. What does not agree, or is not there any
//! more, is [`Lost`].

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// What a file begins with. Another number for another layout.
const MAGIC: [u8; 8] = *b"chunk 2\n";

/// For each list two lengths and two checksums.
const ROW: usize = 24;

/// Bytes of a part that are held while it is read. Nearly every part has fewer.
const FRAME: u64 = 256 << 10;

/// Bytes that are written at once.
const WRITTEN_AT_ONCE: usize = 256 << 10;

/// The length of a head, with its checksum.
const fn head_length(lists: usize) -> u64 {
    (MAGIC.len() + ROW * lists + 4) as u64
}

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
    /// Hands out the part, frame by frame; the last one only if all of it is what was written.
    fn read(self, file: &File, frame: &mut Vec<u8>, each: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let (mut sum, mut left) = (flate2::Crc::new(), self.length);
        while left > 0 {
            frame.resize(usize::try_from(left.min(FRAME)).map_err(io::Error::other)?, 0);
            file.read_exact_at(frame, self.at + (self.length - left)).map_err(lost)?;
            sum.update(frame);
            left -= frame.len() as u64;
            if left == 0 && sum.sum() != self.checksum {
                return Err(io::Error::other(Lost));
            }
            each(frame)?;
        }
        Ok(())
    }
}

/// What a list has of a chunk, to be read.
pub(in crate::engine::publish) struct Stretch {
    file: File,
    section: Section,
}

impl Stretch {
    /// Length and checksum of the text.
    pub(in crate::engine::publish) fn about_text(&self) -> (u64, u32) {
        (self.section.text.length, self.section.text.checksum)
    }

    /// Length of the text as it is compressed.
    pub(in crate::engine::publish) fn packed_length(&self) -> u64 {
        self.section.packed.length
    }

    /// Hands out what is compressed, through a buffer that is used again. Before the last frame nobody knows whether it is what was
    /// written.
    ///
    /// # Errors
    /// One that has [`Lost`] in it when the chunk is to be made again; and those of `each`.
    pub(in crate::engine::publish) fn packed(
        &self,
        frame: &mut Vec<u8>,
        each: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        self.section.packed.read(&self.file, frame, each)
    }

    /// The same of the text.
    ///
    /// # Errors
    /// As for [`Stretch::packed`].
    pub(in crate::engine::publish) fn text(
        &self,
        frame: &mut Vec<u8>,
        each: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        self.section.text.read(&self.file, frame, each)
    }

    /// The text as a stream, of which it is known that it is what was written: it has been read once by then.
    ///
    /// # Errors
    /// As for [`Stretch::packed`].
    pub(in crate::engine::publish) fn into_text(self) -> io::Result<impl io::Read + Send> {
        let mut frame = Vec::new();
        self.text(&mut frame, &mut |_| Ok(()))?;
        drop(frame);
        let mut file = self.file;
        file.seek(SeekFrom::Start(self.section.text.at))?;
        let text = file.take(self.section.text.length);
        Ok(io::BufReader::with_capacity(usize::try_from(FRAME).map_err(io::Error::other)?, text))
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
        let (mut sections, mut at) = (Vec::with_capacity(lists), head_length(lists));
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
        let mut frame = Vec::new();
        (0..self.sections.len()).all(|list| {
            let whole = self.list(list).and_then(|list| {
                list.text(&mut frame, &mut |_| Ok(()))?;
                list.packed(&mut frame, &mut |_| Ok(()))
            });
            whole.is_ok()
        })
    }

    /// What a list has of it.
    ///
    /// # Errors
    /// One that has [`Lost`] in it when the chunk is to be made again.
    pub(in crate::engine::publish) fn list(&self, list: usize) -> io::Result<Stretch> {
        let Some(section) = self.sections.get(list) else {
            return Err(io::Error::other("a chunk has no such list"));
        };
        Ok(Stretch { file: File::open(&self.path).map_err(lost)?, section: *section })
    }
}

fn lost(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => io::Error::other(Lost),
        _ => error,
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

/// A chunk that is being written: for each list its text, then the same compressed. Nothing is left of one that is not finished.
pub(super) struct Writing {
    path: PathBuf,
    unfinished: PathBuf,
    file: io::BufWriter<File>,
    /// Length and checksum of each part so far.
    parts: Vec<(u64, u32)>,
}

impl Writing {
    pub(super) fn begin(path: &Path, lists: usize) -> io::Result<Self> {
        let unfinished = unfinished(path);
        let file = io::BufWriter::with_capacity(WRITTEN_AT_ONCE, File::create_new(&unfinished)?);
        let mut writing = Self { path: path.into(), unfinished, file, parts: Vec::with_capacity(2 * lists) };
        writing.file.seek(SeekFrom::Start(head_length(lists)))?;
        Ok(writing)
    }

    /// The text of the next list.
    pub(super) fn text(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        self.part(write)
    }

    /// The same compressed.
    pub(super) fn packed(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        self.part(write)
    }

    fn part(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let mut summed = Summed { into: &mut self.file, length: 0, sum: flate2::Crc::new() };
        write(&mut summed)?;
        let part = (summed.length, summed.sum.sum());
        self.parts.push(part);
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        let mut head = MAGIC.to_vec();
        for list in self.parts.chunks(2) {
            list.iter().for_each(|(length, _)| head.extend(length.to_be_bytes()));
            list.iter().for_each(|(_, checksum)| head.extend(checksum.to_be_bytes()));
        }
        head.extend(checksum(&head).to_be_bytes());
        self.file.flush()?;
        self.file.get_ref().write_all_at(&head, 0)?;
        std::fs::rename(&self.unfinished, &self.path)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        // One that is finished has another name by now.
        let _ = std::fs::remove_file(&self.unfinished);
    }
}

/// What was written, and what is known of it.
struct Summed<W> {
    into: W,
    length: u64,
    sum: flate2::Crc,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.into.write(bytes)?;
        self.sum.update(bytes.get(..count).unwrap_or_default());
        self.length += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.into.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_lost<T>(read: io::Result<T>) -> bool {
        read.is_err_and(|error| error.get_ref().is_some_and(|inner| inner.is::<Lost>()))
    }

    /// The text of a list, and what it is compressed to.
    fn read(chunk: &Chunk, list: usize) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let (list, mut frame) = (chunk.list(list)?, Vec::new());
        let (mut text, mut packed, mut streamed) = (Vec::new(), Vec::new(), Vec::new());
        list.text(&mut frame, &mut |part| text.write_all(part))?;
        list.packed(&mut frame, &mut |part| packed.write_all(part))?;
        assert!(frame.capacity() as u64 <= FRAME, "{} bytes are held", frame.capacity());
        assert_eq!(list.about_text(), (text.len() as u64, checksum(&text)));
        assert_eq!(list.packed_length(), packed.len() as u64);
        list.into_text()?.read_to_end(&mut streamed)?;
        assert!(streamed == text);
        Ok((text, packed))
    }

    fn write(path: &Path, lists: &[(Vec<u8>, Vec<u8>)]) {
        let mut writing = Writing::begin(path, lists.len()).expect("begun");
        for (text, packed) in lists {
            writing.text(|into| into.write_all(text)).expect("written");
            writing.packed(|into| into.write_all(packed)).expect("written");
        }
        writing.finish().expect("finished");
    }

    #[test]
    fn a_chunk_is_what_was_written_or_lost() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("chunk");
        let long: Vec<u8> = (0..=255).cycle().take(1_000_003).collect();
        let lists = [
            (b"text".to_vec(), b"packed".to_vec()),
            (Vec::new(), Vec::new()),
            (vec![b'x'; 9_000], vec![7; 900]),
            (long.clone(), long[1..].to_vec()),
        ];
        write(&path, &lists);
        let whole = std::fs::read(&path).expect("read");
        let chunk = Chunk::open(path.clone(), 4).expect("a chunk");
        assert_eq!(chunk.bytes(), whole.len() as u64);
        for (number, list) in lists.iter().enumerate() {
            assert!(read(&chunk, number).expect("read") == *list);
            assert_eq!(chunk.text(number), list.0.len() as u64);
        }
        assert!(chunk.is_whole());
        assert!(Chunk::open(path.clone(), 3).is_none() && Chunk::open(path.clone(), 5).is_none());

        // As a power loss leaves a file: its length is right, and from some page on there are zeros.
        for from in [0, 20, 90, 4_096, 1_000_000, whole.len() - 1] {
            let mut holed = whole.clone();
            holed[from..].fill(0);
            std::fs::write(&path, &holed).expect("written");
            let opened = Chunk::open(path.clone(), 4);
            assert!(opened.is_none_or(|chunk| !chunk.is_whole()), "zeros from {from} on");
            assert!(is_lost(read(&chunk, 3)), "zeros from {from} on");
        }
        std::fs::write(&path, &whole[..whole.len() - 1]).expect("written");
        assert!(Chunk::open(path.clone(), 4).is_none());
        assert!(is_lost(read(&chunk, 3)), "cut short");
        std::fs::remove_file(&path).expect("removed");
        assert!(is_lost(chunk.list(0)), "gone");
    }

    #[test]
    fn nothing_is_left_of_a_chunk_that_is_not_finished() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut writing = Writing::begin(&folder.path().join("chunk"), 1).expect("begun");
        writing.text(|into| into.write_all(b"text")).expect("written");
        assert!(writing.packed(|_| Err(io::ErrorKind::StorageFull.into())).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).expect("read").count(), 1);
        drop(writing);
        assert_eq!(std::fs::read_dir(folder.path()).expect("read").count(), 0);
    }
}
