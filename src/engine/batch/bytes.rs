//! Held content as something that a blocking thread reads, wherever its bytes are.

use std::io::{self, Cursor, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::sync::mpsc;

use super::report::Reason;
use crate::engine::held::{Held, HeldBody};
use crate::spool::{FileReader, SpoolReader};
use crate::store::blobs::{self, BlobBody, BlobError, BlobStore};

/// Pieces of a distant blob that wait for the thread that reads it.
const AHEAD: usize = 4;

/// Opens held content for reading from its start. What the reader gets is exactly what is held, or an error.
pub(in crate::engine) async fn open(held: &Held, blobs: &Arc<dyn BlobStore>) -> Result<Box<dyn Read + Send>, Reason> {
    match &held.body {
        HeldBody::Memory(bytes) => Ok(memory(bytes.clone())),
        HeldBody::File(file) => Ok(Box::new(FileReader::new(Arc::clone(file)))),
        HeldBody::Growing(reader) => grown(reader.clone()).await,
        HeldBody::Distant => distant(held, blobs).await,
    }
}

fn memory(bytes: Bytes) -> Box<dyn Read + Send> {
    Box::new(Cursor::new(bytes))
}

async fn grown(mut reader: SpoolReader) -> Result<Box<dyn Read + Send>, Reason> {
    let size = reader.finished().await.map_err(|_| Reason::Away)?;
    Ok(Box::new(FileReader::new(Arc::clone(reader.file())).take(size)))
}

async fn distant(held: &Held, store: &Arc<dyn BlobStore>) -> Result<Box<dyn Read + Send>, Reason> {
    let (key, this) = (&held.artifact.blob, (held.artifact.size, &held.artifact.sha256));
    let read = blobs::read_this(&**store, key, None, this).await.map_err(|_| Reason::Away)?.ok_or(Reason::Away)?;
    match read.body {
        BlobBody::Memory(bytes) => Ok(memory(bytes)),
        BlobBody::File(file) => Ok(Box::new(FileReader::new(file))),
        BlobBody::Growing(reader) => grown(reader).await,
        BlobBody::Stream { range, bytes } if range == (0..read.size) => Ok(Box::new(Piped::from(bytes))),
        BlobBody::Stream { .. } => Err(Reason::Away),
    }
}

/// A stream, read by a blocking thread while a task feeds it.
struct Piped {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl From<BoxStream<'static, Result<Bytes, BlobError>>> for Piped {
    fn from(mut stream: BoxStream<'static, Result<Bytes, BlobError>>) -> Self {
        let (sender, pieces) = mpsc::channel(AHEAD);
        tokio::spawn(async move {
            while let Some(piece) = stream.next().await {
                if sender.send(piece.map_err(io::Error::other)).await.is_err() {
                    return;
                }
            }
        });
        Self { pieces, current: Bytes::new() }
    }
}

impl Read for Piped {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => return Ok(0),
            }
        }
        let length = into.len().min(self.current.len());
        self.current.copy_to_slice(&mut into[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_is_read_in_order() {
        let pieces = ["ab", "", "cde"].map(|piece| Ok(Bytes::from_static(piece.as_bytes())));
        let mut piped = Piped::from(futures_util::stream::iter(pieces).boxed());
        let read = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            piped.read_to_string(&mut text).map(|_| text)
        });
        assert_eq!(read.await.expect("no panic").expect("read"), "abcde");
    }
}
