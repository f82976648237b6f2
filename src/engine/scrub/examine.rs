//! Reading a blob whole, off the async threads: its length, its SHA-256, and what a format's checker says.
//!
//! A checker may read the file again at its end, so bytes that come as a stream are put into a spool file first.

use std::io;

use artifactapi_formats::{Checker, Invalid, ReadSeek, Sha256};
use sha2::Digest as _;

use super::super::content::{Opened, Unopened};
use crate::spool::{SpoolError, SpoolFolder};
use crate::store::blobs::{BlobBody, BlobError, BlobErrorKind};

/// How much is read at once, in bytes.
const FRAME: usize = 256 << 10;

/// What a blob is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// Its length in bytes.
    pub size: u64,
    /// The digest of its bytes.
    pub sha256: Sha256,
    /// What the checker has against it.
    pub objection: Option<String>,
}

/// Why a blob was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum Unexamined {
    /// It is not to be read, now or later: the disk or the store says so of these very bytes.
    #[error("{0}")]
    Unreadable(String),
    /// The store stopped sending. Nothing is known against the blob.
    #[error(transparent)]
    Store(BlobError),
    /// It could not be brought here to be read. Nothing is known against the blob.
    #[error("it could not be brought here: {0}")]
    Spool(SpoolError),
    /// What read it ended. Nothing is known against the blob.
    #[error("the thread that read it ended: {0}")]
    Thread(tokio::task::JoinError),
}

impl From<BlobError> for Unexamined {
    fn from(error: BlobError) -> Self {
        match error.kind {
            BlobErrorKind::Damaged => Self::Unreadable(error.to_string()),
            _ => Self::Store(error),
        }
    }
}

impl From<SpoolError> for Unexamined {
    fn from(error: SpoolError) -> Self {
        match error {
            // On its way it was compared with what the store says of it.
            SpoolError::Invalid(why) => Self::Unreadable(why.to_string()),
            error => Self::Spool(error),
        }
    }
}

impl From<Unopened> for Unexamined {
    fn from(error: Unopened) -> Self {
        match error {
            Unopened::Store(error) => error.into(),
            Unopened::Spool(error) => error.into(),
            Unopened::Gone => Self::Unreadable(error.to_string()),
        }
    }
}

/// Reads a blob to its end.
///
/// # Errors
/// [`Unexamined`], which says whether that is a fault of the blob.
pub async fn examine(
    body: BlobBody,
    checker: Option<Box<dyn Checker>>,
    aside: &SpoolFolder,
) -> Result<Examined, Unexamined> {
    let is_a_copy = !matches!(body, BlobBody::File(_));
    let mut bytes = Opened::stored(body).await?.brought(aside).await?.reader();
    let reading = tokio::task::spawn_blocking(move || read(&mut *bytes, checker));
    reading.await.map_err(Unexamined::Thread)?.map_err(|error| match is_a_copy {
        true => Unexamined::Spool(error.into()),
        false => Unexamined::Unreadable(error.to_string()),
    })
}

fn read(bytes: &mut dyn ReadSeek, mut checker: Option<Box<dyn Checker>>) -> io::Result<Examined> {
    let (mut size, mut sha256, mut objection) = (0, sha2::Sha256::new(), None);
    let mut frame = vec![0; FRAME];
    loop {
        let length = match bytes.read(&mut frame) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let read = &frame[..length];
        size += length as u64;
        sha256.update(read);
        // After an objection only the digest is of interest: it tells damaged bytes from the wrong ones.
        if let Some(Err(why)) = checker.as_mut().map(|checker| checker.update(read)) {
            objection = Some(why.to_string());
            checker = None;
        }
    }
    let sha256 = Sha256::from_bytes(sha256.finalize().into());
    if let Some(checker) = checker {
        bytes.rewind()?;
        match checker.finish(bytes, &sha256) {
            Ok(()) => {}
            Err(Invalid::Read(error)) => return Err(error),
            Err(why) => objection = Some(why.to_string()),
        }
    }
    Ok(Examined { size, sha256, objection })
}
