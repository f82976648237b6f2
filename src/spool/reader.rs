//! Following a spool while it grows.

use std::fs::File;
use std::sync::Arc;

use tokio::sync::watch;

use super::file::SpoolFile;
use super::{Progress, SpoolError};

/// One that follows a spool. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SpoolReader {
    pub(super) file: Arc<SpoolFile>,
    pub(super) progress: watch::Receiver<Progress>,
}

impl SpoolReader {
    /// The file, of which only the readable part may be looked at.
    #[must_use]
    pub fn file(&self) -> &Arc<File> {
        &self.file.file
    }

    /// How many bytes are readable now.
    #[must_use]
    pub fn readable(&self) -> u64 {
        self.progress.borrow().readable
    }

    /// Whether it is complete or has failed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.progress.borrow().end.is_some()
    }

    /// Whether the spool has failed: what is readable will never become whole.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        matches!(self.progress.borrow().end, Some(Err(_)))
    }

    /// Waits until more than `offset` bytes are readable, or the spool is complete. Returns how many are readable: no
    /// more than `offset` only at the end.
    ///
    /// # Errors
    /// Why the spool failed. What became readable before that may still be read, and must not be ended cleanly.
    pub async fn readable_past(&mut self, offset: u64) -> Result<u64, SpoolError> {
        let progress = self
            .progress
            .wait_for(|p| p.readable > offset || p.end.is_some())
            .await
            .map_err(|_| SpoolError::Abandoned("the transfer was abandoned".into()))?;
        match &progress.end {
            Some(Err(error)) if progress.readable <= offset => Err(error.clone()),
            _ => Ok(progress.readable),
        }
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// Why the spool failed.
    pub async fn finished(&mut self) -> Result<u64, SpoolError> {
        let progress = self
            .progress
            .wait_for(|p| p.end.is_some())
            .await
            .map_err(|_| SpoolError::Abandoned("the transfer was abandoned".into()))?;
        match &progress.end {
            Some(Err(error)) => Err(error.clone()),
            _ => Ok(progress.readable),
        }
    }
}
