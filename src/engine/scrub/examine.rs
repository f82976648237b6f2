//! Reading a blob whole, off the async threads: its length, its SHA-256, and what a format's checker says.
//!
//! A checker may read the file again at its end, so bytes that come as a stream are put into a spool file first.

use std::io::{self, Cursor};
use std::sync::Arc;

use artifactapi_formats::{Checker, Invalid, ReadSeek, Sha256};
use futures_util::StreamExt as _;
use sha2::Digest as _;

use crate::spool::{FileReader, SpoolFolder};
use crate::store::blobs::BlobBody;

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

/// Reads a blob to its end.
///
/// # Errors
/// What keeps it from being read.
pub async fn examine(
    body: BlobBody,
    checker: Option<Box<dyn Checker>>,
    aside: &SpoolFolder,
) -> Result<Examined, String> {
    let mut spooled = None;
    let mut bytes: Box<dyn ReadSeek + Send> = match body {
        BlobBody::Memory(bytes) => Box::new(Cursor::new(bytes)),
        BlobBody::File(file) => Box::new(FileReader::new(file)),
        BlobBody::Growing(mut reader) => {
            reader.finished().await.map_err(|error| error.to_string())?;
            Box::new(FileReader::new(Arc::clone(reader.file())))
        }
        BlobBody::Stream { mut bytes, .. } => {
            let (mut writer, _) = aside.create(None, None).await.map_err(|error| error.to_string())?;
            while let Some(piece) = bytes.next().await {
                let piece = piece.map_err(|error| error.to_string())?;
                writer.append(piece).await.map_err(|error| error.to_string())?;
            }
            let whole = writer.complete().await.map_err(|error| error.to_string())?;
            Box::new(spooled.insert(whole).reader())
        }
    };
    let reading = tokio::task::spawn_blocking(move || read(&mut *bytes, checker));
    let examined = reading.await.map_err(|_| "reading it failed".to_owned())?;
    examined.map_err(|error| error.to_string())
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
