//! The bytes of something held or stored, for whoever wants to read them here: to parse, compare or hash them.
//!
//! They are reached in many ways: they lie in memory or in a file, are still on their way, or come as a stream from a distant store.
//! A [`Content`] is bytes that are here, whole, and can be read from the start any number of times; [`Opened`] gets there, and says why
//! not where there is no way. How bytes are served to clients is not decided here.
//!
//! It never reads more than it is asked to, and blocks only where it says so.

mod opened;
mod piped;

use std::fs::File;
use std::io::{self, Cursor, Read as _};
use std::sync::Arc;

use artifactapi_formats::ReadSeek;
use bytes::Bytes;

pub(super) use self::opened::{Opened, Unopened, open};
use super::held::HeldBody;
use crate::spool::{FileReader, Spooled};

/// The most room that is made for bytes before they are read, in bytes.
const MOST_FORESEEN: u64 = 1 << 20;

/// Bytes that are here.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// In memory.
    Memory(Bytes),
    /// In a file.
    File(Arc<File>),
}

impl From<&Spooled> for Content {
    fn from(spooled: &Spooled) -> Self {
        Self::File(Arc::clone(spooled.file()))
    }
}

impl Content {
    /// What is held, if all of it is here already.
    pub(super) fn of(held: &HeldBody) -> Option<Self> {
        match held {
            HeldBody::Memory(bytes) => Some(Self::Memory(bytes.clone())),
            HeldBody::File(file) => Some(Self::File(Arc::clone(file))),
            HeldBody::Growing(_) | HeldBody::Distant => None,
        }
    }

    /// From the start. Reading blocks.
    pub(super) fn reader(&self) -> Box<dyn ReadSeek + Send> {
        match self {
            Self::Memory(bytes) => Box::new(Cursor::new(bytes.clone())),
            Self::File(file) => Box::new(FileReader::new(Arc::clone(file))),
        }
    }

    /// The first `limit` bytes. Blocks.
    pub(super) fn read(&self, limit: u64) -> io::Result<Vec<u8>> {
        let there_are = match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(file) => file.metadata()?.len(),
        };
        let mut bytes = Vec::with_capacity(usize::try_from(there_are.min(limit).min(MOST_FORESEEN)).unwrap_or(0));
        self.reader().take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The same from an async thread.
    pub(super) async fn bytes(&self, limit: u64) -> io::Result<Bytes> {
        if let Self::Memory(bytes) = self {
            let length = usize::try_from(limit).unwrap_or(usize::MAX).min(bytes.len());
            return Ok(bytes.slice(..length));
        }
        let content = self.clone();
        let reading = tokio::task::spawn_blocking(move || content.read(limit));
        Ok(reading.await.map_err(io::Error::other)??.into())
    }

    /// All of it; `None` if it is not as long as it should be, or cannot be read.
    pub(super) async fn whole(&self, size: u64) -> Option<Bytes> {
        let bytes = self.bytes(size).await.ok()?;
        (bytes.len() as u64 == size).then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_cannot_be_read_is_not_taken_for_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("entry");
        std::fs::write(&file, "an entry").expect("written");
        let whole = Content::File(Arc::new(File::open(&file).expect("opened")));
        assert_eq!(whole.bytes(8).await.expect("read"), "an entry");
        // It can be opened, and every read of it fails, as of a bad sector.
        let broken = Content::File(Arc::new(File::open(folder.path()).expect("opened")));
        assert!(broken.bytes(8).await.is_err());
    }
}
