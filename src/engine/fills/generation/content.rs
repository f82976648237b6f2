//! What the files of a generation are read from while it is built.

use std::fs::File;
use std::io::{self, Cursor, Read as _};
use std::sync::Arc;

use artifactapi_formats::ReadSeek;
use bytes::Bytes;

use super::super::super::held::{Held, HeldBody};
use crate::spool::FileReader;

/// Bytes that can be read from the start, any number of times.
#[derive(Clone)]
pub(in crate::engine::fills) enum Content {
    /// In memory.
    Memory(Bytes),
    /// In a file.
    File(Arc<File>),
}

impl Content {
    pub(in crate::engine::fills) fn of(held: &Held) -> Option<Self> {
        match &held.body {
            HeldBody::Memory(bytes) => Some(Self::Memory(bytes.clone())),
            HeldBody::File(file) => Some(Self::File(Arc::clone(file))),
            HeldBody::Growing(_) | HeldBody::Distant => None,
        }
    }

    pub(in crate::engine::fills) fn reader(&self) -> Box<dyn ReadSeek + Send> {
        match self {
            Self::Memory(bytes) => Box::new(Cursor::new(bytes.clone())),
            Self::File(file) => Box::new(FileReader::new(Arc::clone(file))),
        }
    }

    /// The first `limit` bytes.
    pub(super) async fn bytes(&self, limit: u64) -> io::Result<Bytes> {
        if let Self::Memory(bytes) = self {
            return Ok(bytes.clone());
        }
        let mut reader = self.reader();
        let reading = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            (&mut reader).take(limit).read_to_end(&mut bytes).map(|_| bytes)
        });
        Ok(reading.await.map_err(io::Error::other)??.into())
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
