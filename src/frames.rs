//! A local file in frames, without copying more than once and without blocking an async thread.
//!
//! [`Frames::next_cached`] reads with `RWF_NOWAIT`: what is in the page cache is copied at once, on the spot; what is not
//! is read on a blocking thread. So a warm file costs no thread hop, and a cold one stalls nobody else.
//!
//! Memory is bounded: frames in flight share [`BUDGET`], so a frame is large when few clients read and small when many
//! do. A frame is one buffer, given back when the connection has written it. Buffers are recycled, and those that are too
//! many go back to the system at once: they are mappings of their own, for an allocator would hold on to what a herd of
//! readers once took.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use memmap2::MmapMut;
use parking_lot::Mutex;
use rustix::io::{Errno, ReadWriteFlags};

/// What all frames in flight together aim to stay under, in bytes.
pub const BUDGET: usize = 64 << 20;

/// How many frames a client has in flight at most: one that the connection has almost written, and the next.
const IN_FLIGHT: usize = 2;

/// The largest frame, in bytes, a power of two. Larger ones gain nothing and fall out of the CPU's second-level cache.
pub const LARGEST: usize = 256 << 10;

/// The smallest frame, in bytes, a power of two: with more clients than the budget has room for, each still gets this.
pub const SMALLEST: usize = 16 << 10;

/// How many bytes of each size of buffer are kept for reuse.
const RECYCLED: usize = 2 << 20;

/// The sizes of buffers: the powers of two from [`SMALLEST`] to [`LARGEST`].
const SIZES: usize = (LARGEST.ilog2() - SMALLEST.ilog2()) as usize + 1;

static READERS: AtomicUsize = AtomicUsize::new(0);
static POOL: [Mutex<Vec<MmapMut>>; SIZES] = [const { Mutex::new(Vec::new()) }; SIZES];

/// How many files are being read for clients now.
#[must_use]
pub fn readers() -> usize {
    READERS.load(Ordering::Relaxed)
}

/// A range of a file, frame by frame.
#[derive(Debug)]
pub struct Frames {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Frames {
    /// The bytes of `range`, which must lie within the file.
    #[must_use]
    pub fn new(file: Arc<File>, range: Range<u64>) -> Self {
        READERS.fetch_add(1, Ordering::Relaxed);
        Self { file, at: range.start, end: range.end }
    }

    /// How many bytes are still to come.
    #[must_use]
    pub const fn remaining(&self) -> u64 {
        self.end - self.at
    }

    /// The next frame, if it can be had without waiting for the disk.
    ///
    /// # Errors
    /// When the file cannot be read, or ends before the range does.
    pub fn next_cached(&mut self) -> io::Result<Option<Bytes>> {
        let mut buffer = Buffer::take(self.frame_length())?;
        let read = rustix::io::preadv2(
            &*self.file,
            &mut [io::IoSliceMut::new(buffer.as_mut())],
            self.at,
            ReadWriteFlags::NOWAIT,
        );
        match read {
            Ok(0) => Err(ended_early()),
            Ok(length) => Ok(Some(self.advance(buffer, length))),
            // Not in the page cache; or the file system does not know how to say so.
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Begins to read the next frame on a blocking thread; hand the result to [`Frames::loaded`].
    pub fn load(&self) -> tokio::task::JoinHandle<io::Result<(Buffer, usize)>> {
        let (file, at, length) = (Arc::clone(&self.file), self.at, self.frame_length());
        tokio::task::spawn_blocking(move || {
            let mut buffer = Buffer::take(length)?;
            let read = file.read_at(buffer.as_mut(), at)?;
            Ok((buffer, read))
        })
    }

    /// The frame that [`Frames::load`] read.
    ///
    /// # Errors
    /// When the file ends before the range does.
    pub fn loaded(&mut self, buffer: Buffer, length: usize) -> io::Result<Bytes> {
        if length == 0 { Err(ended_early()) } else { Ok(self.advance(buffer, length)) }
    }

    fn frame_length(&self) -> usize {
        let fair = BUDGET / IN_FLIGHT / READERS.load(Ordering::Relaxed).max(1);
        let frame = 1 << fair.clamp(SMALLEST, LARGEST).ilog2();
        usize::try_from(self.remaining()).map_or(frame, |rest| rest.min(frame))
    }

    fn advance(&mut self, mut buffer: Buffer, length: usize) -> Bytes {
        self.at += length as u64;
        buffer.used = length;
        Bytes::from_owner(buffer)
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        READERS.fetch_sub(1, Ordering::Relaxed);
    }
}

fn ended_early() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than its record says")
}

/// A frame's memory, recycled when dropped.
#[derive(Debug)]
pub struct Buffer {
    /// Empty only while it is dropped.
    memory: Option<MmapMut>,
    used: usize,
}

impl Buffer {
    /// Room for `length` bytes, at most [`LARGEST`].
    fn take(length: usize) -> io::Result<Self> {
        let size = length.clamp(SMALLEST, LARGEST).next_power_of_two();
        let recycled = pool(size).lock().pop();
        let memory = recycled.map_or_else(|| MmapMut::map_anon(size), Ok)?;
        Ok(Self { memory: Some(memory), used: length.min(size) })
    }
}

/// Where buffers of this size wait to be used again.
fn pool(size: usize) -> &'static Mutex<Vec<MmapMut>> {
    &POOL[(size.ilog2() - SMALLEST.ilog2()) as usize]
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        self.memory.as_deref_mut().map_or(&mut [], |memory| &mut memory[..self.used])
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.memory.as_deref().map_or(&[], |memory| &memory[..self.used])
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            let (size, mut pool) = (memory.len(), pool(memory.len()).lock());
            if pool.len() < RECYCLED / size {
                pool.push(memory);
            } else {
                // Unmapping takes a while; others need not wait for it.
                drop(pool);
                drop(memory);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(mut frames: Frames) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while frames.remaining() > 0 {
            let frame = match frames.next_cached()? {
                Some(frame) => frame,
                None => {
                    let (buffer, length) = frames.load().await.expect("joined")?;
                    frames.loaded(buffer, length)?
                }
            };
            bytes.extend_from_slice(&frame);
        }
        Ok(bytes)
    }

    #[tokio::test]
    async fn reads_a_range_exactly() {
        let content: Vec<u8> = (0..1_000_003u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
        let file = tempfile::tempfile().expect("file");
        file.write_all_at(&content, 0).expect("written");
        let file = Arc::new(file);
        for range in [0..1_000_003u64, 0..0, 5..6, 999_999..1_000_003, 262_143..786_433] {
            let (from, to) = (usize::try_from(range.start).expect("small"), usize::try_from(range.end).expect("small"));
            let read = all(Frames::new(Arc::clone(&file), range)).await.expect("read");
            assert!(read == content[from..to]);
        }
        let short = all(Frames::new(file, 1_000_000..1_000_004)).await.expect_err("too short");
        assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
    }
}
