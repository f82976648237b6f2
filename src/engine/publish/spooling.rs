//! Into the spool what a thread writes that may block: lists that are joined, files that are merged.
//!
//! The thread is never more than some frames ahead of the disk. Whatever goes wrong on either side ends both.

use std::io::{self, Write};

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use super::PublishError;
use crate::engine::threads::{Pace, on_its_own};
use crate::spool::{SpoolFolder, Spooled};

/// Bytes of a frame, about.
const FRAME: usize = 128 << 10;

/// Frames that were written and wait for the disk.
const FRAMES_BETWEEN: usize = 4;

/// Spools everything that `write` writes.
pub(super) async fn spooled<E>(
    spool: &SpoolFolder,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E> + Send + 'static,
) -> Result<Spooled, PublishError>
where
    E: Into<PublishError> + Send + 'static,
{
    let (mut writer, _reader) = spool.create(None, None).await?;
    let (sender, mut frames) = mpsc::channel(FRAMES_BETWEEN);
    let writing = on_its_own(Pace::Usual, move || {
        let mut framed = Frames { gathered: BytesMut::new(), sender };
        write(&mut framed).map_err(Into::into)?;
        framed.flush().map_err(PublishError::from)
    });
    let spooling = async move {
        while let Some(frame) = frames.recv().await {
            writer.append(frame).await?;
        }
        Ok::<_, PublishError>(writer)
    };
    let (written, spooled) = tokio::join!(writing, spooling);
    let writer = spooled?;
    written.ok_or_else(|| io::Error::other("the thread that wrote a list died"))??;
    Ok(writer.complete().await?)
}

struct Frames {
    gathered: BytesMut,
    sender: mpsc::Sender<Bytes>,
}

impl Write for Frames {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= FRAME {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let gone = |_| io::Error::other("whoever wrote it to the spool has left");
        self.sender.blocking_send(self.gathered.split().freeze()).map_err(gone)
    }
}
