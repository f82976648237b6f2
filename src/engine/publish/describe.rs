//! Reading a package once, for all that its index has to say of it.

use std::io::Read as _;
use std::time::SystemTime;

use artifactapi_formats::publish::{Described, HEAD, PublishFormat, Upload};
use artifactapi_formats::{IndexRoot, Invalid, ReadSeek, RepoPath, Sha256};

use super::{PublishError, Publisher, chunks};
use crate::engine::threads::{Pace, on_its_own};

/// What is known of a package before it is read.
pub(super) struct Unread {
    pub(super) path: RepoPath,
    pub(super) size: u64,
    pub(super) sha256: Sha256,
    pub(super) uploaded_at: SystemTime,
}

/// What reading it told.
pub(super) struct Read {
    /// Where changes of its folder wait.
    pub(super) desk: IndexRoot,
    /// The index that it belongs to: that of the desk, or one beside it.
    pub(super) root: IndexRoot,
    pub(super) described: Described,
    /// What it contributes to each list, as it is kept.
    pub(super) fragments: Vec<u8>,
}

impl Publisher {
    /// Reads a package. Whoever asks has a turn of [`Publisher::reading`](super::READING).
    pub(super) async fn describe(
        &self,
        format: &'static dyn PublishFormat,
        root_depth: usize,
        unread: Unread,
        mut bytes: impl ReadSeek + Send + 'static,
    ) -> Result<Read, PublishError> {
        let invalid = |why: Invalid| PublishError::Invalid(std::sync::Arc::new(why));
        let Unread { path, size, sha256, uploaded_at } = unread;
        let desk = format.root_for(&path, root_depth).map_err(invalid)?;
        let limits = self.limits.clone();
        let uploaded_at = uploaded_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let reading = on_its_own(Pace::Usual, move || {
            // Of which kind it is, no path tells.
            let mut head = Vec::with_capacity(HEAD);
            bytes.by_ref().take(HEAD as u64).read_to_end(&mut head).map_err(Invalid::Read)?;
            bytes.rewind().map_err(Invalid::Read)?;
            let root = format.root_by_content(desk.clone(), &head);
            let upload = Upload { root: &root, path: &path, size, sha256, uploaded_at };
            let mut described = format.describe(&upload, &mut bytes, &limits)?;
            // They are kept as they are packed; those who wait to be published need not hold them, too.
            let fragments = chunks::packed(&std::mem::take(&mut described.fragments)).map_err(Invalid::Read)?;
            Ok(Read { desk, root, described, fragments })
        });
        let read = reading.await;
        read.ok_or_else(|| PublishError::Unreadable("the thread that read it died".to_owned()))?.map_err(invalid)
    }
}
