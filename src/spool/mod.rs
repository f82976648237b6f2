//! A file that is hashed and checked as it grows, and read by many while it does.
//!
//! Every byte that enters the server, from upstream or from a client, passes through a spool. One [`SpoolWriter`]
//! appends; any number of [`SpoolReader`]s follow it, each at its own pace. A slow reader costs the writer nothing, and
//! a reader that leaves is not noticed.
//!
//! It promises that a reader sees only bytes that were written, that the last [`HOLD_BACK`] bytes of a checked file are
//! not readable before its check has passed, and that a failed spool never ends cleanly for a reader. It never keeps a
//! file in memory: at most [`BATCH`] bytes wait for the disk and as many are on their way to it, in however small pieces they
//! came; the few large uploads that are written directly have 2 MiB of each and collect
//! another. A spool file lives as long as somebody holds it; what a killed process leaves behind is removed when the folder is
//! opened again.

mod batch;
mod direct;
mod file;
mod folder;
mod growing;
mod reader;
mod writer;

use std::io;
use std::sync::Arc;

use artifactapi_formats::Invalid;
use tokio::sync::watch;

pub use self::file::{FileReader, Spooled};
pub use self::folder::SpoolFolder;
pub use self::reader::SpoolReader;
pub use self::writer::{BATCH, HOLD_BACK, SpoolWriter};
use crate::disk;

/// What went wrong with a spool.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SpoolError {
    /// No space left for it, or nothing may be written there: bytes can be passed on and not be kept.
    #[error("no space left in the spool folder, or nothing may be written there")]
    Full,
    /// The bytes are not what they claim to be.
    #[error("{0}")]
    Invalid(Arc<Invalid>),
    /// The disk failed.
    #[error("the spool file cannot be written or read: {0}")]
    Io(Arc<io::Error>),
    /// The writer gave up, for this reason.
    #[error("{0}")]
    Abandoned(Arc<str>),
}

impl From<io::Error> for SpoolError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem => Self::Full,
            _ => Self::Io(Arc::new(error)),
        }
    }
}

/// How far a spool has come.
#[derive(Debug, Clone, Default)]
struct Progress {
    readable: u64,
    end: Option<Result<(), SpoolError>>,
}

impl Progress {
    /// Ends it with an error, unless it has ended.
    fn fail(progress: &watch::Sender<Self>, error: &SpoolError) {
        progress.send_if_modified(|p| {
            let first = p.end.is_none();
            if first {
                p.end = Some(Err(error.clone()));
            }
            first
        });
    }
}

/// Runs `work` where it may block. A panic there is an error here.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SpoolError> + Send + 'static,
) -> Result<T, SpoolError> {
    match disk::in_turn(work).await {
        Some(result) => result,
        None => Err(SpoolError::Abandoned("the writing thread failed".into())),
    }
}
