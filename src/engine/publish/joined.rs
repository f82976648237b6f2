//! Lists joined of chunks.
//!
//! A list is summed up at every publication and written when somebody wants it: what it is then was known before. Chunks are
//! read compressed, one after another, through one buffer of a bounded length; nothing is compressed again, and nothing but that
//! buffer is held.
//!
//! The digest of a list's *text* takes reading ten times as much as the list itself has, after every single upload. Formats say
//! it where they can, and no client needs it; so it is given for lists of up to [`OPEN_DIGEST_BYTES`] and left out of longer ones.

use std::io::{self, Cursor};
use std::sync::Arc;

use artifactapi_formats::Sha256;
use artifactapi_formats::pieces::OneMember;
use artifactapi_formats::publish::{Compression, WrittenList};
use sha1::Digest as _;

use super::PublishError;
use super::chunks::{Chunk, Stretch, pack};
use super::spooling::spooled;
use crate::engine::threads::{Pace, on_its_own};
use crate::spool::{SpoolFolder, Spooled};

/// The longest text that a digest is made of, in bytes: some thousand packages of a distribution.
pub(super) const OPEN_DIGEST_BYTES: u64 = 8 << 20;

/// A list, as what it is joined of.
#[derive(Debug, Clone)]
pub(super) struct Joined {
    pub(super) compression: Compression,
    /// Which of the format's lists.
    pub(super) number: usize,
    /// What comes before all chunks.
    pub(super) open: Vec<u8>,
    pub(super) chunks: Arc<[Arc<Chunk>]>,
    /// What comes after them.
    pub(super) close: Vec<u8>,
}

impl Joined {
    /// What the list is, without writing it.
    pub(super) async fn sum(&self) -> Result<WrittenList, PublishError> {
        let list = self.clone();
        let summing = on_its_own(Pace::Usual, move || list.join(&mut |_| Ok(())));
        Ok(summing.await.ok_or_else(|| io::Error::other("the thread that summed up a list died"))??)
    }

    /// Writes the list.
    pub(super) async fn write(&self, spool: &SpoolFolder) -> Result<Spooled, PublishError> {
        let list = self.clone();
        spooled(spool, move |into| list.join(&mut |piece| into.write_all(piece)).map(drop)).await
    }

    /// The text of the list, to be read on a thread that may block.
    pub(super) fn text(&self) -> Text {
        Text { piece: Box::new(Cursor::new(self.open.clone())), next: 0, list: self.clone() }
    }

    /// Hands out the pieces in order. On a thread that may block.
    fn join(&self, each: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<WrittenList> {
        let Self { compression, number, ref open, ref chunks, ref close } = *self;
        let texts: u64 = chunks.iter().map(|chunk| chunk.text(number)).sum();
        let open_size = open.len() as u64 + texts + close.len() as u64;
        let mut joint = Joint::new(compression, open_size);
        joint.begin(each)?;
        joint.add(open, &pack(open, compression)?, each)?;
        let mut frame = Vec::new();
        for chunk in &**chunks {
            joint.add_stretch(&chunk.list(number)?, &mut frame, each)?;
        }
        joint.add(close, &pack(close, compression)?, each)?;
        joint.end(each)
    }
}

/// The text of a list while it is read.
pub(super) struct Text {
    list: Joined,
    piece: Box<dyn io::Read + Send>,
    /// The next chunk; after all of them comes what closes the list.
    next: usize,
}

impl io::Read for Text {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.piece.read(into)?;
            if count > 0 || into.is_empty() {
                return Ok(count);
            }
            let Joined { chunks, close, number, .. } = &self.list;
            self.piece = match chunks.get(self.next) {
                Some(chunk) => Box::new(chunk.list(*number)?.into_text()?),
                None if self.next == chunks.len() => Box::new(Cursor::new(close.clone())),
                None => return Ok(0),
            };
            self.next += 1;
        }
    }
}

/// Pieces on their way into one list, and what is known of it so far.
struct Joint {
    compression: Compression,
    /// For gzip: what holds the pieces together.
    member: Option<OneMember>,
    open: Option<sha2::Sha256>,
    open_size: u64,
    sha256: sha2::Sha256,
    sha1: sha1::Sha1,
    size: u64,
}

type Each<'e> = dyn FnMut(&[u8]) -> io::Result<()> + 'e;

impl Joint {
    fn new(compression: Compression, open_size: u64) -> Self {
        let member = match compression {
            Compression::Gzip => Some(OneMember::new()),
            Compression::Zstd => None,
        };
        Self {
            compression,
            member,
            open: (open_size <= OPEN_DIGEST_BYTES).then(sha2::Sha256::new),
            open_size,
            sha256: sha2::Sha256::new(),
            sha1: sha1::Sha1::new(),
            size: 0,
        }
    }

    fn begin(&mut self, each: &mut Each<'_>) -> io::Result<()> {
        match self.member {
            Some(_) => self.wrote(&OneMember::head(), each),
            None => Ok(()),
        }
    }

    /// Takes a piece, or the part of it that fits between others.
    fn add(&mut self, text: &[u8], packed: &[u8], each: &mut Each<'_>) -> io::Result<()> {
        if let Some(open) = &mut self.open {
            open.update(text);
        }
        let written = match &mut self.member {
            Some(member) if !packed.is_empty() => member.add(packed).map_err(io::Error::other)?,
            _ => packed,
        };
        self.wrote(written, each)
    }

    /// Takes what the list has of a chunk.
    fn add_stretch(&mut self, stretch: &Stretch, frame: &mut Vec<u8>, each: &mut Each<'_>) -> io::Result<()> {
        if let Some(open) = &mut self.open {
            stretch.text(frame, &mut |text| {
                open.update(text);
                Ok(())
            })?;
        }
        let (text, packed) = (stretch.about_text(), stretch.packed_length());
        let fits = match &mut self.member {
            Some(member) if packed > 0 => member.add_known(text, packed).map_err(io::Error::other)?,
            _ => 0..packed,
        };
        let mut at = 0;
        stretch.packed(frame, &mut |part| {
            let within = |position: u64| position.saturating_sub(at).min(part.len() as u64);
            let [from, to] =
                [fits.start, fits.end].map(|position| usize::try_from(within(position)).unwrap_or(part.len()));
            at += part.len() as u64;
            self.wrote(part.get(from..to).unwrap_or_default(), each)
        })
    }

    fn wrote(&mut self, bytes: &[u8], each: &mut Each<'_>) -> io::Result<()> {
        self.sha256.update(bytes);
        self.sha1.update(bytes);
        self.size += bytes.len() as u64;
        if bytes.is_empty() { Ok(()) } else { each(bytes) }
    }

    fn end(mut self, each: &mut Each<'_>) -> io::Result<WrittenList> {
        if let Some(tail) = self.member.as_ref().map(OneMember::tail) {
            self.wrote(&tail, each)?;
        }
        Ok(WrittenList {
            compression: self.compression,
            size: self.size,
            sha256: Sha256::from_bytes(self.sha256.finalize().into()),
            sha1: self.sha1.finalize().into(),
            open_size: self.open_size,
            open_sha256: self.open.map(|open| Sha256::from_bytes(open.finalize().into())),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::super::chunks::write_texts;
    use super::*;

    /// A list of two chunks, each with this text; what it is joined to, what is said of it, and its own text.
    fn joined(text: &[u8], compression: Compression) -> (Vec<u8>, WrittenList, Vec<u8>) {
        let folder = tempfile::tempdir().expect("a folder");
        let chunk = |name: &str| {
            let path = folder.path().join(name);
            Arc::new(write_texts(&path, &[b"of another list".to_vec(), text.to_vec()], compression).expect("written"))
        };
        let chunks = [chunk("a"), chunk("b")].into();
        let list = Joined { compression, number: 1, open: b"<list>".to_vec(), chunks, close: b"</list>".to_vec() };
        let mut whole = Vec::new();
        let written = list.join(&mut |piece| {
            whole.extend_from_slice(piece);
            Ok(())
        });
        let mut read = Vec::new();
        list.text().read_to_end(&mut read).expect("readable");
        (whole, written.expect("joined"), read)
    }

    fn check(text: &[u8], compression: Compression) -> WrittenList {
        let (whole, written, read) = joined(text, compression);
        assert!(read == [b"<list>", text, text, b"</list>"].concat());
        let mut open = Vec::new();
        match compression {
            Compression::Gzip => flate2::read::GzDecoder::new(&*whole).read_to_end(&mut open).expect("one member"),
            Compression::Zstd => zstd::Decoder::new(&*whole).expect("zstd").read_to_end(&mut open).expect("frames"),
        };
        assert!(open == [b"<list>", text, text, b"</list>"].concat());
        assert_eq!((written.size, written.open_size), (whole.len() as u64, open.len() as u64));
        assert_eq!(written.sha256, Sha256::of(&whole));
        if let Some(said) = written.open_sha256 {
            assert_eq!(said, Sha256::of(&open));
        }
        written
    }

    #[test]
    fn what_is_said_of_a_list_is_so() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            assert!(check(b"<package/>", compression).open_sha256.is_some());
            let long = b"x".repeat(usize::try_from(OPEN_DIGEST_BYTES / 2).expect("small"));
            assert_eq!(check(&long, compression).open_sha256, None);
            assert!(check(&long[16..], compression).open_sha256.is_some());
        }
    }
}
