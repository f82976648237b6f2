//! Compressed streams, told apart by their first bytes and kept within bounds.
//!
//! [`open`] promises that what comes out is at most [`Limits::open_bytes`] long, at most [`Limits::ratio`] times as long
//! as what went in, and complete: a stream that breaks off is an error, never a short file. Members one after another
//! are one stream, as dnf and libsolv read them (FORMATS 5). It never trusts a name or a length from the wire.
//!
//! Readers speak `io::Error`. An [`Invalid`] travels inside one unharmed and is taken out again by [`into_invalid`].

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::ops::ControlFlow;
use std::rc::Rc;

use liblzma::stream as xz;

use crate::{Invalid, Limits};

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all, as far as its first bytes tell.
    None,
    /// gzip.
    Gzip,
    /// xz.
    Xz,
    /// Zstandard.
    Zstd,
    /// bzip2.
    Bzip2,
    /// zchunk: a container of its own (FORMATS 3.8), kept and served but not opened here.
    Zchunk,
}

impl Compression {
    /// By the first bytes of a file.
    #[must_use]
    pub fn of(head: &[u8]) -> Self {
        const MAGICS: [(&[u8], Compression); 5] = [
            (b"\x1f\x8b", Compression::Gzip),
            (b"\xfd7zXZ\0", Compression::Xz),
            (b"\x28\xb5\x2f\xfd", Compression::Zstd),
            (b"BZh", Compression::Bzip2),
            (b"\0ZCK1", Compression::Zchunk),
        ];
        MAGICS.iter().find(|(magic, _)| head.starts_with(magic)).map_or(Self::None, |(_, kind)| *kind)
    }

    /// By the end of a file's name.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        const ENDS: [(&str, Compression); 5] = [
            (".gz", Compression::Gzip),
            (".xz", Compression::Xz),
            (".zst", Compression::Zstd),
            (".bz2", Compression::Bzip2),
            (".zck", Compression::Zchunk),
        ];
        ENDS.iter().find(|(end, _)| name.ends_with(end)).map_or(Self::None, |(_, kind)| *kind)
    }

    /// The word for messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Zchunk => "zchunk",
        }
    }
}

/// Long enough to tell every kind apart.
const HEAD: usize = 8;
/// Large enough that the cost of a call through `dyn` does not show.
const BUFFER: usize = 64 << 10;

/// The open form of `from`, whatever it is compressed with.
///
/// # Errors
/// [`Invalid`] when the first bytes cannot be read, or are zchunk.
pub fn open<'r>(what: &'static str, from: &'r mut dyn Read, limits: &Limits) -> Result<Box<dyn BufRead + 'r>, Invalid> {
    let taken = Rc::new(Cell::new(0));
    let mut source = Source { inner: from, taken: Rc::clone(&taken) };
    let mut head = Vec::with_capacity(HEAD);
    (&mut source).take(HEAD as u64).read_to_end(&mut head).map_err(|error| into_invalid(what, error))?;
    let kind = Compression::of(&head);
    let whole = BufReader::with_capacity(BUFFER, Cursor::new(head).chain(source));
    let open: Box<dyn Read + 'r> = match kind {
        Compression::None => Box::new(whole),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(whole)),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(whole)),
        Compression::Xz => {
            let stream = xz::Stream::new_stream_decoder(limits.decompressor_bytes, xz::CONCATENATED);
            let stream = stream.map_err(|error| Invalid::malformed(what, error.to_string()))?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(whole, stream))
        }
        Compression::Zstd => {
            let window = limits.decompressor_bytes.checked_ilog2().unwrap_or(0);
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(whole).map_err(|error| into_invalid(what, error))?;
            decoder.window_log_max(window).map_err(|error| into_invalid(what, error))?;
            Box::new(decoder)
        }
        Compression::Zchunk => {
            return Err(Invalid::malformed(what, "it is a zchunk file; the index names an ordinary one beside it"));
        }
    };
    let expansion = Expansion::new(what, limits);
    let bounded = Bounded { what, inner: open, taken, expansion, decompressor_bytes: limits.decompressor_bytes };
    Ok(Box::new(BufReader::with_capacity(BUFFER, bounded)))
}

/// Reads `from` to its end in pieces, as stored. Stops early when `each` breaks.
pub(crate) fn pieces(
    from: &mut dyn Read,
    mut each: impl FnMut(&[u8]) -> Result<ControlFlow<()>, Invalid>,
) -> Result<(), Invalid> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                if each(buffer.get(..read).unwrap_or_default())?.is_break() {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Invalid::Read(error)),
        }
    }
}

/// Takes the [`Invalid`] out of an error of a reader made by [`open`]; an error of a decompressor becomes one.
#[must_use]
pub fn into_invalid(what: &'static str, error: io::Error) -> Invalid {
    match error.downcast::<Invalid>() {
        Ok(invalid) => invalid,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Invalid::Truncated { what },
        Err(error) => Invalid::malformed(what, error.to_string()),
    }
}

/// How much came out of how much: the guard against files that expand without end.
#[derive(Debug, Clone)]
pub(crate) struct Expansion {
    what: &'static str,
    open_bytes: u64,
    ratio: u64,
    ratio_free_bytes: u64,
    produced: u64,
}

impl Expansion {
    pub(crate) fn new(what: &'static str, limits: &Limits) -> Self {
        Self {
            what,
            open_bytes: limits.open_bytes,
            ratio: limits.ratio,
            ratio_free_bytes: limits.ratio_free_bytes,
            produced: 0,
        }
    }

    /// Counts `more` bytes that came out when `taken` had gone in.
    pub(crate) fn add(&mut self, more: usize, taken: u64) -> Result<(), Invalid> {
        self.produced = self.produced.saturating_add(more as u64);
        let over = |limit, value| Err(Invalid::OverLimit { what: self.what, limit, value });
        if self.produced > self.open_bytes {
            return over("open_bytes", self.open_bytes);
        }
        if self.produced > self.ratio_free_bytes && self.produced > taken.saturating_mul(self.ratio) {
            return over("ratio", self.ratio);
        }
        Ok(())
    }
}

/// The compressed side: counts, and marks its own errors as not being about the bytes.
struct Source<'r> {
    inner: &'r mut dyn Read,
    taken: Rc<Cell<u64>>,
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.inner.read(buffer) {
                Ok(read) => {
                    self.taken.set(self.taken.get().saturating_add(read as u64));
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io::Error::other(Invalid::Read(error))),
            }
        }
    }
}

/// The open side.
struct Bounded<'r> {
    what: &'static str,
    inner: Box<dyn Read + 'r>,
    taken: Rc<Cell<u64>>,
    expansion: Expansion,
    decompressor_bytes: u64,
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer).map_err(|error| {
            if asks_for_too_much_memory(&error) {
                let value = self.decompressor_bytes;
                io::Error::other(Invalid::OverLimit { what: self.what, limit: "decompressor_bytes", value })
            } else {
                error
            }
        })?;
        self.expansion.add(read, self.taken.get()).map_err(io::Error::other)?;
        Ok(read)
    }
}

/// Whether a decompressor refused the window that the file asks for. liblzma says so by type, zstd only by text.
fn asks_for_too_much_memory(error: &io::Error) -> bool {
    const ZSTD_SAYS: &str = "Frame requires too much memory for decoding";
    let by_type = error.get_ref().and_then(|inner| inner.downcast_ref::<xz::Error>());
    by_type == Some(&xz::Error::MemLimit) || error.to_string() == ZSTD_SAYS
}

#[cfg(test)]
mod tests;
