//! Reading a package once, for all that its index has to say of it.
//!
//! What reading takes of memory no one knows before: a short header may stand for long lists. So [`READING`](super::READING)
//! packages are read beside each other within limits that hardly any package reaches ([`usual`]); one that does is read again within
//! the format's own, and of these one at a time. What was read is held, as it is packed, until it is kept: [`DESCRIBED_BYTES`] of all
//! uploads together, or one that is longer.

use std::io::Read as _;
use std::sync::Arc;
use std::time::SystemTime;

use artifactapi_formats::publish::{Described, HEAD, PublishFormat, Upload};
use artifactapi_formats::{IndexRoot, Invalid, Limits, ReadSeek, RepoPath, Sha256};

use super::budget::Claim;
use super::{PublishError, Publisher, chunks};
use crate::engine::threads::{Pace, on_its_own};

/// The most bytes of fragments, as they are kept, that are held for uploads that have been read.
pub(super) const DESCRIBED_BYTES: u64 = 64 << 20;

/// The most bytes of a header, or of what stands for one, of a package that is read beside others.
const USUAL_BYTES: u64 = 16 << 20;

/// The most bytes that such a package contributes to one list.
const USUAL_FRAGMENT: u64 = 4 << 20;

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
    /// For as long as they are held.
    pub(super) claim: Claim,
}

impl Publisher {
    /// Reads a package, when its turn has come.
    pub(super) async fn describe(
        &self,
        format: &'static dyn PublishFormat,
        root_depth: usize,
        unread: Unread,
        bytes: impl ReadSeek + Send + 'static,
    ) -> Result<Read, PublishError> {
        let invalid = |why: Invalid| PublishError::Invalid(Arc::new(why));
        let died = || PublishError::Unreadable("the thread that read it died".to_owned());
        let desk = format.root_for(&unread.path, root_depth).map_err(invalid)?;
        let usual = usual(&self.limits);
        let job = {
            let _turn = self.reading.acquire().await.map_err(|_| PublishError::Contended)?;
            let job = Job { format, desk, unread, bytes };
            let (job, read) = job.on_a_thread(usual.clone()).await.ok_or_else(died)?;
            match read {
                Err(why) if is_unusual(&why, &usual, &self.limits) => job,
                read => return self.holding(read.map_err(invalid)?).await,
            }
        };
        let _turn = self.reading_large.acquire().await.map_err(|_| PublishError::Contended)?;
        let (_, read) = job.on_a_thread(self.limits.clone()).await.ok_or_else(died)?;
        self.holding(read.map_err(invalid)?).await
    }

    /// Whoever reads another waits until there is room for what was read.
    async fn holding(&self, (root, desk, described, fragments): Told) -> Result<Read, PublishError> {
        let claim = self.described.claim(fragments.len() as u64).await?;
        Ok(Read { desk, root, described, fragments, claim })
    }
}

/// A root and its desk, and what a package contributes.
type Told = (IndexRoot, IndexRoot, Described, Vec<u8>);

/// A package that is to be read.
struct Job<B> {
    format: &'static dyn PublishFormat,
    desk: IndexRoot,
    unread: Unread,
    bytes: B,
}

impl<B: ReadSeek + Send + 'static> Job<B> {
    async fn on_a_thread(mut self, limits: Limits) -> Option<(Self, Result<Told, Invalid>)> {
        on_its_own(Pace::Usual, move || {
            let read = self.read(&limits);
            (self, read)
        })
        .await
    }

    fn read(&mut self, limits: &Limits) -> Result<Told, Invalid> {
        let Self { format, desk, unread, bytes } = self;
        let Unread { path, size, sha256, uploaded_at } = unread;
        let uploaded_at = uploaded_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        // Of which kind it is, no path tells.
        let mut head = Vec::with_capacity(HEAD);
        bytes.rewind().map_err(Invalid::Read)?;
        bytes.by_ref().take(HEAD as u64).read_to_end(&mut head).map_err(Invalid::Read)?;
        bytes.rewind().map_err(Invalid::Read)?;
        let root = format.root_by_content(desk.clone(), &head);
        let upload = Upload { root: &root, path, size: *size, sha256: *sha256, uploaded_at };
        let mut described = format.describe(&upload, bytes, limits)?;
        // They are kept as they are packed; those who wait to be published need not hold them, too.
        let fragments = chunks::packed(&std::mem::take(&mut described.fragments)).map_err(Invalid::Read)?;
        Ok((root, desk.clone(), described, fragments))
    }
}

/// The limits within which packages are read beside each other.
fn usual(limits: &Limits) -> Limits {
    Limits {
        header_bytes: limits.header_bytes.min(USUAL_BYTES),
        control_bytes: limits.control_bytes.min(USUAL_BYTES),
        adb_bytes: limits.adb_bytes.min(USUAL_BYTES),
        fragment_bytes: limits.fragment_bytes.min(USUAL_FRAGMENT),
        ..limits.clone()
    }
}

/// Whether a package is over the usual limits and may be within the others.
fn is_unusual(why: &Invalid, usual: &Limits, limits: &Limits) -> bool {
    let Invalid::OverLimit { limit, .. } = why else { return false };
    let is_lowered = |usual: u64, full: u64| usual < full;
    match *limit {
        "header_bytes" => is_lowered(usual.header_bytes, limits.header_bytes),
        "control_bytes" => is_lowered(usual.control_bytes, limits.control_bytes),
        "adb_bytes" => is_lowered(usual.adb_bytes, limits.adb_bytes),
        "fragment_bytes" => is_lowered(usual.fragment_bytes, limits.fragment_bytes),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_the_usual_limits_is_read_again_within_the_others() {
        let limits = Limits::default();
        let usual = usual(&limits);
        let over = |limit| Invalid::OverLimit { what: "a package", limit, value: 1 };
        for limit in ["header_bytes", "control_bytes", "adb_bytes", "fragment_bytes"] {
            assert!(is_unusual(&over(limit), &usual, &limits), "{limit}");
            assert!(!is_unusual(&over(limit), &limits, &limits), "{limit}");
        }
        assert!(!is_unusual(&over("text_bytes"), &usual, &limits));
        assert!(!is_unusual(&Invalid::malformed("a package", "fragment_bytes"), &usual, &limits));
    }
}
