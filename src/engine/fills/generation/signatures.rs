//! Whose signature an entry has, and whether it is about this entry at all.
//!
//! With keys configured, nothing of an index is shown before one of them is known to have signed it. For a root that is held that
//! is part of building the next generation. For one that never was, only the signatures are fetched beside the entry
//! ([`Build::signatures`]): they prove that the two belong together, so the entry may be shown at once, and its members follow
//! as those of any new root do.

use std::time::{Duration, SystemTime};

use artifactapi_formats::{RepoPath, Role};

use super::super::super::content::Content;
use super::super::super::fill::{FillError, Order};
use super::super::super::held::now;
use super::super::Fills;
use super::super::receive::Arrived;
use super::gather::Gathered;
use super::{Build, NotBuilt};
use crate::store::catalog::snapshots::Snapshot;
use crate::store::key::Target;
use crate::upstream::UpstreamErrorKind;

impl Build<'_> {
    /// A signature that was right for another entry cannot be right for this one: upstream has replaced one and not yet the other.
    pub(super) fn refuse_old_signatures(
        &self,
        current: Option<&Snapshot>,
        gathered: &Gathered,
    ) -> Result<(), NotBuilt> {
        let is_of_another =
            |current: &&Snapshot| current.files.first().is_some_and(|before| before.sha256 != self.entry.record.sha256);
        let Some(current) = current.filter(is_of_another) else {
            return Ok(());
        };
        for file in gathered.pieces.iter().map(|piece| &piece.record) {
            let path = &file.target.path;
            if self.index.is_signature(path) && current.file(path).is_some_and(|before| before.sha256 == file.sha256) {
                let why = format!("a new index with the signature of the one before, {path}");
                return Err(self.entry.contradicts(why));
            }
        }
        Ok(())
    }

    /// Fetches the signatures of an entry that nothing was held of before, from where it came from, and answers with them when a
    /// trusted key made one.
    pub(in crate::engine::fills) async fn signatures(&self) -> Result<Vec<(Order, Arrived)>, NotBuilt> {
        let Self { fills, order, sources, index, .. } = *self;
        let giver = &self.entry.giver;
        let mut signatures = Vec::new();
        for path in index.layout(&self.root).companions.into_iter().filter(|path| index.is_signature(path)) {
            let target = Target::new(order.target.repository.clone(), path);
            let mutability = order.repository.format.mutability(&target.path);
            let ask = Order { target, role: Role::IndexCompanion, mutability, expected: None, ..order.clone() };
            match fills.arrive(&ask, sources, Some(giver.number)).await {
                Ok(mut arrived) if arrived.giver.number == giver.number => {
                    // Times have whole milliseconds, and this one came after the entry: so whoever completes the root takes it.
                    let after = self.entry.record.stored_at + Duration::from_millis(1);
                    arrived.record.checked_at = arrived.record.checked_at.max(after);
                    signatures.push((ask, arrived));
                }
                // What another has is not about this entry; without a signature the verdict says so.
                Ok(_) => {}
                Err(FillError::Upstream(error)) if matches!(error.kind, UpstreamErrorKind::Absent(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let contents = signatures.iter().map(|(ask, arrived)| (ask.target.path.clone(), arrived.content())).collect();
        let text = self.entry.text(&fills.limits).await?;
        self.verify(contents, &text).await?;
        Ok(signatures)
    }

    /// The companions must be about this entry, whose text this is; and with keys configured, an index that none of them signed is never
    /// published.
    pub(super) async fn verify(&self, companions: Vec<(RepoPath, Content)>, text: &[u8]) -> Result<(), NotBuilt> {
        let companions = self.fills.texts_of(companions).await?;
        self.refuse_signatures_of_another(&companions, text)?;
        if self.sources.trusted_keys.is_empty() {
            return Ok(());
        }
        let (index, root, keys) = (self.index, self.root.clone(), self.sources.trusted_keys.clone());
        let (mut reader, limits) = (self.entry.content().reader(), self.fills.limits.clone());
        let seconds = now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let verifying = tokio::task::spawn_blocking(move || {
            let verdict = index.verify(&root, &mut *reader, &companions, &keys, seconds, &limits);
            verdict.map_err(|why| why.to_string())
        });
        let root = &self.order.target;
        match verifying.await.unwrap_or_else(|_| Err("the thread that verified it failed".to_owned())) {
            Ok(signed_by) => {
                tracing::debug!(target: "artifactapi::snapshot", %root, %signed_by, "signature verified");
                Ok(())
            }
            Err(why) => {
                self.fills.counts.untrusted.inc();
                let source = &self.entry.giver.host;
                tracing::warn!(target: "artifactapi::snapshot", %root, %source, %why, "index not trusted");
                let error = self.entry.giver.unfit(format!("an index that is not trusted: {why}"));
                Err(NotBuilt::Untrusted { error, why })
            }
        }
    }

    /// Upstream has replaced one of the two and not yet the other.
    fn refuse_signatures_of_another(&self, companions: &[(RepoPath, Vec<u8>)], text: &[u8]) -> Result<(), NotBuilt> {
        let is_of_another = |(path, companion): &&(RepoPath, Vec<u8>)| {
            self.index.is_about_another(path, companion, text, &self.fills.limits)
        };
        match companions.iter().find(is_of_another) {
            Some((path, _)) => {
                Err(self.entry.contradicts(format!("a {path} that signs something else than its index")))
            }
            None => Ok(()),
        }
    }
}

impl Fills {
    /// The companions' bytes. They are small: what is cut off here is no signature.
    async fn texts_of(&self, companions: Vec<(RepoPath, Content)>) -> Result<Vec<(RepoPath, Vec<u8>)>, NotBuilt> {
        let limit = self.limits.entry_bytes;
        let reading = tokio::task::spawn_blocking(move || {
            let read = companions.into_iter().map(|(path, content)| match content.read(limit) {
                Ok(bytes) => Ok((path, bytes)),
                Err(error) => Err(NotBuilt::Ours(format!("{path} cannot be read: {error}"))),
            });
            read.collect()
        });
        reading.await.unwrap_or_else(|_| Err(NotBuilt::Ours("the thread that read the companions failed".to_owned())))
    }

    /// Whether a companion that just came is certainly not about the entry that is held: upstream has the next generation
    /// already, and the entry is to be asked for again.
    pub(in crate::engine::fills) async fn is_about_another(&self, order: &Order, arrived: &Arrived) -> bool {
        let path = &order.target.path;
        let Some((index, root)) = order.repository.format.index().and_then(|index| Some((index, index.root_of(path)?)))
        else {
            return false;
        };
        let held = self.shelf.peek(&Target::new(order.target.repository.clone(), root.entry.clone()));
        let Some((held, entry)) = held.and_then(|held| Content::of(&held.body).map(|content| (held, content))) else {
            return false;
        };
        let Ok(read) = self.texts_of(vec![(root.entry, entry), (path.clone(), arrived.content())]).await else {
            return false;
        };
        let is_another = index.is_about_another(path, &read[1].1, &read[0].1, &self.limits);
        if is_another {
            held.doubt();
        }
        is_another
    }
}
