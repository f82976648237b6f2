//! What a blob store says when it cannot do what it was asked: by what the caller does about it, not by where it broke.
//!
//! The display of a [`BlobError`] is one sentence for an operator. It never holds a secret, and it is never shown to a
//! client: the HTTP layer answers with a status and a request id.

use std::io;

use crate::store::key::BlobKey;

/// Why a blob store cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("blob store: {kind} ({during})")]
pub struct BlobError {
    /// What kind of trouble.
    pub kind: BlobErrorKind,
    /// What was being done, with the key: `reading github/ab12…/x.tar.gz`.
    pub during: String,
    /// The store's own error.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Kinds of [`BlobError`], by what the caller does about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlobErrorKind {
    /// Not reachable, or it answers with server errors: degrade, try again later.
    #[error("the store is not reachable")]
    Unavailable,
    /// No space left: reads go on, nothing new is kept.
    #[error("the store is full")]
    Full,
    /// Credentials or permissions: an operator must act.
    #[error("the store refuses access; check the credentials and the bucket's policy")]
    Denied,
    /// The same of files on this machine.
    #[error("the store's files may not be read or written; check who owns the data folder")]
    Forbidden,
    /// The bucket or folder is missing: an operator must act.
    #[error("the bucket or folder does not exist")]
    Missing,
    /// The stored bytes are damaged.
    #[error("the stored bytes are damaged")]
    Damaged,
    /// Anything else.
    #[error("unexpected answer")]
    Other,
}

/// Blobs that could not be deleted. Whatever else was to be deleted with them is gone.
#[derive(Debug, thiserror::Error)]
#[error("{} blobs are not deleted: {error}", keys.len())]
pub struct Undeleted {
    /// Which; of some it may only be unknown whether they are gone.
    pub keys: Vec<BlobKey>,
    /// Why the first of them is not.
    #[source]
    pub error: BlobError,
}

impl Undeleted {
    /// None of these is deleted.
    pub(super) fn all(keys: &[BlobKey], error: BlobError) -> Self {
        Self { keys: keys.to_vec(), error }
    }

    /// The same with what could not be deleted before.
    pub(super) fn after(self, earlier: Option<Self>) -> Self {
        let Some(mut earlier) = earlier else { return self };
        earlier.keys.extend(self.keys);
        earlier
    }
}

impl From<Undeleted> for BlobError {
    fn from(undeleted: Undeleted) -> Self {
        undeleted.error
    }
}

impl BlobError {
    /// An error of this kind with the store's own error below it.
    pub(super) fn new(
        kind: BlobErrorKind,
        during: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { kind, during: during.into(), source: Some(source.into()) }
    }

    /// What the local file system said.
    pub(super) fn io(during: impl Into<String>, error: io::Error) -> Self {
        Self::new(kind_of_io(&error), during, error)
    }
}

/// What a caller does about an error of the local file system.
fn kind_of_io(error: &io::Error) -> BlobErrorKind {
    use io::ErrorKind as E;
    match error.kind() {
        E::StorageFull | E::QuotaExceeded => BlobErrorKind::Full,
        E::PermissionDenied | E::ReadOnlyFilesystem => BlobErrorKind::Forbidden,
        E::NotFound => BlobErrorKind::Missing,
        // A network file system that went away, or a disk that fails: nothing here mends it, trying later may.
        E::StaleNetworkFileHandle | E::HostUnreachable | E::NetworkUnreachable | E::TimedOut | E::NotConnected => {
            BlobErrorKind::Unavailable
        }
        _ if rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::IO) => BlobErrorKind::Unavailable,
        _ => BlobErrorKind::Other,
    }
}

/// Runs `work` where it may block. A panic there is an error here.
pub(super) async fn blocking<T: Send + 'static>(
    during: &str,
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(failed) => Err(BlobError::new(BlobErrorKind::Other, during, failed)),
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn what_a_disk_says() {
        for (errno, kind) in [
            (Errno::NOSPC, BlobErrorKind::Full),
            (Errno::DQUOT, BlobErrorKind::Full),
            (Errno::ACCESS, BlobErrorKind::Forbidden),
            (Errno::ROFS, BlobErrorKind::Forbidden),
            (Errno::NOENT, BlobErrorKind::Missing),
            (Errno::STALE, BlobErrorKind::Unavailable),
            (Errno::IO, BlobErrorKind::Unavailable),
            (Errno::NAMETOOLONG, BlobErrorKind::Other),
        ] {
            assert_eq!(BlobError::io("testing", errno.into()).kind, kind, "{errno}");
        }
    }
}
