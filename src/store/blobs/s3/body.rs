//! A stretch of a file as the body of a request, and the watch over its transfer.
//!
//! The body is read in pieces on a blocking thread, one ahead of the connection, and can be begun again for another
//! attempt. An upload may take as long as it takes, but it must move: when no byte has gone to the connection for
//! [`IDLE_TIMEOUT`], or the answer is as long in coming after the last one, it is given up.

use std::fs::File;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aws_sdk_s3::primitives::SdkBody;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a transfer in either direction may stand still.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How much is read from the file at a time, in bytes.
const PIECE: u64 = 256 << 10;

/// How many bytes have gone to the connection, over all attempts.
#[derive(Debug, Default, Clone)]
pub(super) struct Moved(Arc<AtomicU64>);

/// Nothing moved for [`IDLE_TIMEOUT`].
#[derive(Debug, thiserror::Error)]
#[error("no byte moved for {} s", IDLE_TIMEOUT.as_secs())]
pub(super) struct Stalled;

/// The bytes of `range` in `file`.
pub(super) fn body(file: &Arc<File>, range: Range<u64>, moved: &Moved) -> SdkBody {
    let (file, moved) = (Arc::clone(file), moved.clone());
    SdkBody::retryable(move || {
        let (file, rest, moved) = (Arc::clone(&file), range.clone(), moved.clone());
        SdkBody::from_body_1_x(FileBody { file, rest, reading: None, moved })
    })
}

/// Waits for `transfer` for as long as bytes move.
pub(super) async fn watched<T>(moved: &Moved, transfer: impl Future<Output = T> + Unpin) -> Result<T, Stalled> {
    watched_for(IDLE_TIMEOUT, moved, transfer).await
}

async fn watched_for<T>(
    idle: Duration,
    moved: &Moved,
    mut transfer: impl Future<Output = T> + Unpin,
) -> Result<T, Stalled> {
    loop {
        let before = moved.0.load(Ordering::Relaxed);
        match timeout(idle, &mut transfer).await {
            Ok(done) => return Ok(done),
            Err(_) if moved.0.load(Ordering::Relaxed) == before => return Err(Stalled),
            Err(_) => {}
        }
    }
}

struct FileBody {
    file: Arc<File>,
    /// What has not been handed to the connection.
    rest: Range<u64>,
    /// The piece that is being read.
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    moved: Moved,
}

impl FileBody {
    /// Reads the piece at `from`, if the range goes so far.
    fn read_ahead(&self, from: u64) -> Option<JoinHandle<io::Result<Bytes>>> {
        let length = usize::try_from(PIECE.min(self.rest.end.saturating_sub(from))).unwrap_or(0);
        if length == 0 {
            return None;
        }
        let file = Arc::clone(&self.file);
        Some(tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; length];
            file.read_exact_at(&mut piece, from)?;
            Ok(piece.into())
        }))
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let body = &mut *self;
        if body.reading.is_none() {
            body.reading = body.read_ahead(body.rest.start);
        }
        let Some(reading) = &mut body.reading else {
            return Poll::Ready(None);
        };
        let piece = ready!(Pin::new(reading).poll(cx)).map_err(io::Error::other).flatten();
        body.reading = None;
        let piece = piece?;
        body.rest.start += piece.len() as u64;
        body.reading = body.read_ahead(body.rest.start);
        body.moved.0.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.end - self.rest.start)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn reads_exactly_its_stretch_and_can_begin_again() {
        let bytes: Vec<u8> = (0..700_000_u32).flat_map(u32::to_le_bytes).collect();
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(folder.path().join("f"), &bytes).expect("write");
        let file = Arc::new(File::open(folder.path().join("f")).expect("open"));
        let moved = Moved::default();
        for range in [0..bytes.len(), 0..0, 1..2, 5..600_001, bytes.len() - 3..bytes.len()] {
            let body = body(&file, range.start as u64..range.end as u64, &moved);
            let again = body.try_clone().expect("retryable");
            for body in [body, again] {
                assert_eq!(body.content_length(), Some(range.len() as u64));
                assert_eq!(body.collect().await.expect("read").to_bytes(), bytes[range.clone()]);
            }
        }
    }

    #[tokio::test]
    async fn a_transfer_may_be_slow_but_not_idle() {
        let (moved, idle) = (Moved::default(), Duration::from_millis(200));
        let slow = Box::pin(async {
            for _ in 0..10 {
                tokio::time::sleep(idle / 4).await;
                moved.0.fetch_add(1, Ordering::Relaxed);
            }
        });
        assert!(watched_for(idle, &moved, slow).await.is_ok());
        assert!(watched_for(idle, &moved, std::future::pending::<()>()).await.is_err());
    }
}
