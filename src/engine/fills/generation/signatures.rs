//! Whose signature an entry has, and whether it is about this entry at all.
//!
//! With keys configured, nothing of an index is shown before one of them is known to have signed it. For a root that is held that
//! is part of building the next generation. For one that never was, only the signatures are fetched beside the entry
//! ([`Fills::signed_at_first`]): they prove that the two belong together, so the entry may be shown at once, and its members follow
//! as those of any new root do.

use std::io::Read as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use artifactapi_formats::{IndexFormat, IndexRoot, RepoPath, Role};

use super::super::super::fill::{FillError, Order};
use super::super::super::held::now;
use super::super::Fills;
use super::super::fetch::Arrived;
use super::gather::not_built;
use super::{Content, Entry, NotBuilt, entry_of};
use crate::config::Remote;
use crate::store::catalog::Artifact;
use crate::store::catalog::snapshots::Snapshot;
use crate::store::key::Target;
use crate::upstream::{Sources, UpstreamErrorKind};

/// A signature that was right for another entry cannot be right for this one: upstream has replaced one and not yet the other.
pub(super) fn refuse_old_signatures(
    index: &dyn IndexFormat,
    entry: &Entry,
    current: Option<&Snapshot>,
    files: &[Artifact],
) -> Result<(), NotBuilt> {
    let Some(current) =
        current.filter(|current| current.files.first().is_some_and(|before| before.sha256 != entry.artifact.sha256))
    else {
        return Ok(());
    };
    for file in files.iter().filter(|file| index.is_signature(&file.target.path)) {
        if current.file(&file.target.path).is_some_and(|before| before.sha256 == file.sha256) {
            return Err(
                entry.contradicts(format!("a new index with the signature of the one before, {}", file.target.path))
            );
        }
    }
    Ok(())
}

impl Fills {
    /// Fetches the signatures of an entry that nothing was held of before, from where it came from, and answers with them when a
    /// trusted key made one.
    pub(in super::super) async fn signed_at_first(
        &self,
        order: &Order,
        remote: &Sources,
        entry: &Entry,
    ) -> Result<Vec<(Order, Arrived)>, NotBuilt> {
        let Some((index, root)) = entry_of(order) else {
            return Err(NotBuilt::Ours("it is no index".to_owned()));
        };
        let mut signatures = Vec::new();
        for path in index.layout(&root).companions.into_iter().filter(|path| index.is_signature(path)) {
            let target = Target::new(order.target.repository.clone(), path);
            let mutability = order.repository.format.mutability(&target.path);
            let ask = Order { target, role: Role::IndexCompanion, mutability, expected: None, ..order.clone() };
            match self.arrive(&ask, remote, Some(entry.source)).await {
                Ok(mut arrived) if arrived.source == entry.source => {
                    // Times have whole milliseconds, and this one came after the entry: so whoever completes the root takes it.
                    let after = entry.artifact.stored_at + Duration::from_millis(1);
                    arrived.draft.checked_at = arrived.draft.checked_at.max(after);
                    signatures.push((ask, arrived));
                }
                // What another has is not about this entry; without a signature the verdict says so.
                Ok(_) => {}
                Err(FillError::Upstream(error)) if matches!(error.kind, UpstreamErrorKind::Absent(_)) => {}
                Err(error) => return Err(not_built(error)),
            }
        }
        let contents = signatures
            .iter()
            .map(|(ask, arrived)| (ask.target.path.clone(), Content::File(Arc::clone(arrived.spooled.file()))));
        let contents = self.bytes_of(contents.collect()).await?;
        self.refuse_signatures_of_another(index, entry, &contents, &self.entry_bytes(entry).await?)?;
        self.verify(order, remote, index, &root, entry, contents).await?;
        Ok(signatures)
    }

    /// Upstream has replaced one of the two and not yet the other.
    pub(super) fn refuse_signatures_of_another(
        &self,
        index: &dyn IndexFormat,
        entry: &Entry,
        companions: &[(RepoPath, Vec<u8>)],
        bytes: &[u8],
    ) -> Result<(), NotBuilt> {
        let is_of_another =
            |(path, content): &&(RepoPath, Vec<u8>)| index.is_about_another(path, content, bytes, &self.limits);
        match companions.iter().find(is_of_another) {
            Some((path, _)) => Err(entry.contradicts(format!("a {path} that signs something else than its index"))),
            None => Ok(()),
        }
    }

    /// The companions' bytes. They are small: what is cut off here is no signature.
    pub(super) async fn bytes_of(
        &self,
        companions: Vec<(RepoPath, Content)>,
    ) -> Result<Vec<(RepoPath, Vec<u8>)>, NotBuilt> {
        let limit = self.limits.entry_bytes;
        let reading = tokio::task::spawn_blocking(move || {
            let read = companions.into_iter().map(|(path, content)| {
                let mut bytes = Vec::new();
                let read = content.reader().take(limit).read_to_end(&mut bytes);
                read.map_err(|error| NotBuilt::Ours(format!("{path} cannot be read: {error}")))?;
                Ok((path, bytes))
            });
            read.collect()
        });
        reading.await.unwrap_or_else(|_| Err(NotBuilt::Ours("the thread that read the companions failed".to_owned())))
    }

    /// Whether a companion that just came is certainly not about the entry that is held: upstream has the next generation
    /// already, and the entry is to be asked for again.
    pub(in super::super) async fn is_about_another(&self, order: &Order, arrived: &Arrived) -> bool {
        let path = &order.target.path;
        let Some((index, root)) = order.repository.format.index().and_then(|index| Some((index, index.root_of(path)?)))
        else {
            return false;
        };
        let held = self.shelf.peek(&Target::new(order.target.repository.clone(), root.entry.clone()));
        let Some((held, content)) = held.and_then(|held| Content::of(&held).map(|content| (held, content))) else {
            return false;
        };
        let companion = Content::File(Arc::clone(arrived.spooled.file()));
        let Ok(read) = self.bytes_of(vec![(root.entry, content), (path.clone(), companion)]).await else {
            return false;
        };
        let is_another = index.is_about_another(path, &read[1].1, &read[0].1, &self.limits);
        if is_another {
            held.doubt();
        }
        is_another
    }

    /// With keys configured, an index that none of them signed is never published.
    pub(super) async fn verify(
        &self,
        order: &Order,
        remote: &Remote,
        index: &'static dyn IndexFormat,
        root: &IndexRoot,
        entry: &Entry,
        companions: Vec<(RepoPath, Vec<u8>)>,
    ) -> Result<(), NotBuilt> {
        if remote.trusted_keys.is_empty() {
            return Ok(());
        }
        let (mut reader, root, keys, limits) =
            (entry.content.reader(), root.clone(), remote.trusted_keys.clone(), self.limits.clone());
        let seconds = now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let verifying = tokio::task::spawn_blocking(move || {
            let verdict = index.verify(&root, &mut *reader, &companions, &keys, seconds, &limits);
            verdict.map_err(|why| why.to_string())
        });
        match verifying.await.unwrap_or_else(|_| Err("the thread that verified it failed".to_owned())) {
            Ok(signed_by) => {
                tracing::debug!(target: "artifactapi::snapshot", root = %order.target, %signed_by, "signature verified");
                Ok(())
            }
            Err(why) => {
                self.counts.untrusted.inc();
                tracing::warn!(target: "artifactapi::snapshot", root = %order.target, source = %entry.host, %why, "index not trusted");
                let error = entry.unfit(format!("an index that is not trusted: {why}"));
                Err(NotBuilt::Untrusted { error, why })
            }
        }
    }
}
