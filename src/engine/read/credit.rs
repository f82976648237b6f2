//! Packages of an index that was shown before its snapshot was recorded.
//!
//! The first index of a root is shown as soon as it comes ([`Standing::OnCredit`]), and what it names is written down beside that.
//! Whoever was given it and asks for a package must not be given what upstream has under that name by now, for it may have gone on
//! since. So such a package waits until it is known what the index says of it, for as long as clients bear it.
//!
//! It may never be known: an upstream that goes on in the middle of it has no second copy of what the index names. Then it is asked
//! for its index again. If that is another by now, whoever has the one before is told to ask again. If it is the same, and still
//! cannot be completed when an update would long be over, upstream is like that: it names what it does not have, and what else it has
//! is worth having, each package checked in itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use artifactapi_formats::Sha256;

use super::super::fill::{FillError, Order, Outcome};
use super::super::fills::{MID_UPDATE, PATIENCE, may_name};
use super::super::held::{Held, now};
use super::super::switches::Standing;
use super::{ReadError, Reader, Wish};
use crate::config::{Kind, Remote, Verify};
use crate::store::catalog::snapshots::Generation;
use crate::store::key::Target;
use crate::upstream::{UpstreamError, UpstreamErrorKind};

/// How many entries are remembered that could not be completed.
const REMEMBERED: usize = 1_024;

/// Entries that were shown and could not be completed, though upstream stands by them.
pub(super) struct Credit {
    entries: quick_cache::sync::Cache<(Target, Sha256), Spent>,
}

/// What is thought of such an entry.
#[derive(Debug, Clone, Copy)]
enum Spent {
    /// Its upstream may be in the middle of an update, since then.
    Since(Instant),
    /// Its upstream is like that.
    ForGood,
}

impl Default for Credit {
    fn default() -> Self {
        Self { entries: quick_cache::sync::Cache::new(REMEMBERED) }
    }
}

impl Credit {
    fn is_spent_for_good(&self, entry: &(Target, Sha256)) -> bool {
        matches!(self.entries.get(entry), Some(Spent::ForGood))
    }

    /// Upstream stands by an entry, and it could not be completed. Whether it never will be.
    fn spend(&self, entry: (Target, Sha256), now: Instant) -> bool {
        let an_update: Duration = MID_UPDATE.iter().sum();
        let spent = match self.entries.get(&entry) {
            Some(Spent::ForGood) => return true,
            Some(Spent::Since(since)) if now.saturating_duration_since(since) >= an_update => Spent::ForGood,
            Some(since) => since,
            None => Spent::Since(now),
        };
        self.entries.insert(entry, spent);
        matches!(spent, Spent::ForGood)
    }
}

impl Reader {
    /// Waits for an index that is being shown to more and more clients and may name a package, unless it is known already what the
    /// package must be.
    pub(super) async fn await_index_of(&self, wish: &Wish, remote: &Remote) {
        if !self.fills.is_completing_index_of(&wish.repository, &wish.target) {
            return;
        }
        let (snapshots, Wish { target, .. }) = (self.generations.snapshots(), wish);
        let named = snapshots.named(&target.repository, &target.path, Generation::Current).await;
        if named.is_ok_and(|named| named.is_empty()) {
            self.fills.await_index_of(&wish.repository, remote, target).await;
        }
    }

    /// Waits until it is known what an entry that a client was given says of packages, if that is not known yet.
    ///
    /// # Errors
    /// [`ReadError::Later`] when upstream has gone on, or is just about to: the client is to ask for its index again.
    pub(super) async fn settle_credit(&self, wish: &Wish, entry: &Arc<Held>) -> Result<(), ReadError> {
        match &wish.repository.kind {
            Kind::Remote(remote) if remote.verify == Verify::Strict => {}
            _ => return Ok(()),
        }
        if !may_name(&wish.repository, &entry.artifact.target, &wish.target.path) {
            return Ok(());
        }
        if self.credit.is_spent_for_good(&name_of(entry)) {
            return Ok(());
        }
        tokio::time::timeout(PATIENCE, self.complete(wish, entry)).await.unwrap_or(Ok(()))
    }

    async fn complete(&self, wish: &Wish, entry: &Arc<Held>) -> Result<(), ReadError> {
        let root = &entry.artifact.target;
        if self.is_recorded(wish, entry).await {
            return Ok(());
        }
        // What takes longer than clients wait is given out as it is: a root may be large, and its upstream slow.
        let is_over = self.fills.await_completion_of(root, entry.artifact.stored_at).await;
        if !is_over || self.is_recorded(wish, entry).await {
            return Ok(());
        }
        let order = Order {
            repository: Arc::clone(&wish.repository),
            target: root.clone(),
            role: entry.role,
            mutability: entry.mutability.clone(),
            expected: None,
            confirmed_after: now(),
        };
        match self.fills.join(order.clone(), Some(Arc::clone(entry))).settled().await {
            Outcome::Held(held, _) if held.artifact.sha256 == entry.artifact.sha256 => {}
            Outcome::Failed(FillError::Upstream(UpstreamError { kind: UpstreamErrorKind::Unfit(_), .. })) => {
                return Err(in_an_update(root));
            }
            // Another has come in its place; or upstream is away, and what is held is the best there is (DESIGN 7).
            _ => return Ok(()),
        }
        let is_over = self.fills.await_completion_of(root, order.confirmed_after).await;
        if !is_over || self.is_recorded(wish, entry).await || self.credit.spend(name_of(entry), Instant::now()) {
            return Ok(());
        }
        Err(in_an_update(root))
    }

    async fn is_recorded(&self, wish: &Wish, entry: &Held) -> bool {
        let Held { artifact, .. } = entry;
        self.switches.notice_entry(&wish.repository, &artifact.target, &artifact.sha256).await == Standing::Recorded
    }
}

fn name_of(entry: &Held) -> (Target, Sha256) {
    (entry.artifact.target.clone(), entry.artifact.sha256)
}

fn in_an_update(root: &Target) -> ReadError {
    ReadError::Later(format!(
        "its upstream is in the middle of an update: it does not have all that its index {} names; ask for the index again",
        root.path
    ))
}

#[cfg(test)]
mod tests {
    use artifactapi_formats::RepoPath;

    use super::*;

    #[test]
    fn an_entry_is_given_up_when_an_update_would_be_over() {
        let entry = |text: &[u8]| {
            let path = RepoPath::new("repodata/repomd.xml").expect("a path");
            (Target::new("r".parse().expect("a name"), path), Sha256::of(text))
        };
        let (credit, first) = (Credit::default(), Instant::now());
        let an_update: Duration = MID_UPDATE.iter().sum();
        assert!(!credit.spend(entry(b"one"), first));
        assert!(!credit.spend(entry(b"one"), first + an_update - Duration::from_millis(1)), "since the first time");
        assert!(!credit.is_spent_for_good(&entry(b"one")));
        assert!(credit.spend(entry(b"one"), first + an_update));
        assert!(!credit.spend(entry(b"another"), first + an_update));
        assert!(credit.is_spent_for_good(&entry(b"one")) && !credit.is_spent_for_good(&entry(b"another")));
        assert!(credit.spend(entry(b"one"), first), "for good");
    }
}
