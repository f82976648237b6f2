//! Something held or stored, opened for reading wherever its bytes are.

use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;

use super::super::held::{Held, HeldBody};
use super::Content;
use super::piped::Piped;
use crate::spool::{SpoolError, SpoolFolder, SpoolReader};
use crate::store::blobs::{self, BlobBody, BlobError, BlobStore};

/// Bytes that can be read now.
pub(in crate::engine) enum Opened {
    /// All of them are here.
    Here(Content),
    /// These of them come from a distant store, once.
    Stream {
        /// Which.
        range: Range<u64>,
        /// The bytes.
        bytes: BoxStream<'static, Result<Bytes, BlobError>>,
    },
}

/// Why something cannot be read now.
#[derive(Debug, thiserror::Error)]
pub(in crate::engine) enum Unopened {
    /// The store does not answer, or stopped sending.
    #[error(transparent)]
    Store(#[from] BlobError),
    /// It did not come whole, or there is no room for it here.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// Its bytes are gone, or are not what its record says.
    #[error("its bytes are gone")]
    Gone,
}

impl Opened {
    /// What is held: exactly that.
    pub(in crate::engine) async fn held(held: &Held, blobs: &dyn BlobStore) -> Result<Self, Unopened> {
        match &held.body {
            HeldBody::Memory(bytes) => Ok(Self::Here(Content::Memory(bytes.clone()))),
            HeldBody::File(file) => Ok(Self::Here(Content::File(Arc::clone(file)))),
            HeldBody::Growing(reader) => Ok(Self::Here(grown(reader.clone()).await?)),
            HeldBody::Distant => {
                let record = &held.artifact;
                let this = (record.size, &record.sha256);
                let read = blobs::read_this(blobs, &record.blob, None, this).await?.ok_or(Unopened::Gone)?;
                Ok(Self::stored(read.body).await?)
            }
        }
    }

    /// What a store gave, waited for if it is on its way.
    ///
    /// # Errors
    /// [`SpoolError`] when it broke off on its way.
    pub(in crate::engine) async fn stored(body: BlobBody) -> Result<Self, SpoolError> {
        Ok(match body {
            BlobBody::Memory(bytes) => Self::Here(Content::Memory(bytes)),
            BlobBody::File(file) => Self::Here(Content::File(file)),
            BlobBody::Growing(reader) => Self::Here(grown(reader).await?),
            BlobBody::Stream { range, bytes } => Self::Stream { range, bytes },
        })
    }

    /// The bytes, if they are here.
    pub(in crate::engine) fn content(self) -> Option<Content> {
        match self {
            Self::Here(content) => Some(content),
            Self::Stream { .. } => None,
        }
    }

    /// The bytes, brought into a spool file if they are not here.
    pub(in crate::engine) async fn brought(self, aside: &SpoolFolder) -> Result<Content, Unopened> {
        match self {
            Self::Here(content) => Ok(content),
            Self::Stream { mut bytes, .. } => {
                let (mut writer, _) = aside.create(None, None).await?;
                while let Some(piece) = bytes.next().await {
                    writer.append(piece?).await?;
                }
                Ok(Content::from(&writer.complete().await?))
            }
        }
    }
}

/// Opens held content for reading from its start, on a thread that may block. What the reader gets is exactly what is held, or an
/// error.
///
/// # Errors
/// [`Unopened`] when it cannot be had now.
pub(in crate::engine) async fn open(held: &Held, blobs: &Arc<dyn BlobStore>) -> Result<Box<dyn Read + Send>, Unopened> {
    match Opened::held(held, &**blobs).await? {
        Opened::Here(content) => Ok(Box::new(content.reader())),
        Opened::Stream { range, bytes } if range == (0..held.artifact.size) => Ok(Box::new(Piped::from(bytes))),
        Opened::Stream { .. } => Err(Unopened::Gone),
    }
}

/// What was on its way, once it is here.
async fn grown(mut reader: SpoolReader) -> Result<Content, SpoolError> {
    reader.finished().await?;
    Ok(Content::File(Arc::clone(reader.file())))
}
