//! A stream that a blocking thread reads, while a task feeds it.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::sync::mpsc;

use crate::store::blobs::BlobError;

/// Pieces that wait for the thread that reads them.
const AHEAD: usize = 4;

/// Such a stream.
pub(super) struct Piped {
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
