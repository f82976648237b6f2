//! Where fills may ask, and what a list of mirrors says of an index.
//!
//! A metalink names the digests of the index that mirrors should have. A mirror with another one lags behind, or worse: nothing
//! of it is shown, and the next is asked. The word of the list is about the index at the top of the repository and no other,
//! and about nothing that this server made or was told itself.

use std::time::{Duration, Instant};

use artifactapi_formats::Role;

use super::super::content::Content;
use super::super::fill::{FillError, Order};
use super::super::held::Held;
use super::Fills;
use super::generation::entry_of;
use super::receive::{Arrived, Try};
use crate::config::{Kind, Repository};
use crate::upstream::{Freshness, Sources};

/// For packages and the like, a list of mirrors this young is good enough, whatever the time to live of indexes: what comes is
/// checked against the index, wherever it comes from.
const YOUNG: Duration = Duration::from_secs(60);

/// Whether what is ordered is the entry of an index whose digests the list gives.
pub(super) fn is_in_a_list(order: &Order, sources: &Sources) -> bool {
    sources.promises() && entry_of(order).is_some_and(|(index, root)| index.entries_in("").contains(&root.entry))
}

impl Fills {
    /// Where something of this role may be had from now.
    ///
    /// # Errors
    /// [`FillError`] when a list must say it, and there is none.
    pub async fn sources(&self, repository: &Repository, role: Role) -> Result<Sources, FillError> {
        let age = repository.cache.index_ttl;
        let age = if role == Role::Index { age } else { age.max(YOUNG) };
        self.sources_as_of(repository, Freshness::Within(age)).await
    }

    /// The same by a list that was asked for after a moment.
    pub(super) async fn sources_since(&self, repository: &Repository, moment: Instant) -> Result<Sources, FillError> {
        self.sources_as_of(repository, Freshness::Since(moment)).await
    }

    async fn sources_as_of(&self, repository: &Repository, freshness: Freshness) -> Result<Sources, FillError> {
        let Kind::Remote(remote) = &repository.kind else {
            return Err(FillError::GivenUp);
        };
        Ok(self.upstream.sources(repository, remote, freshness).await?)
    }
}

impl Try<'_> {
    /// Whether the list knows an entry that just came.
    pub(super) async fn is_listed(&self, arrived: &Arrived) -> bool {
        self.knows(arrived.content(), arrived.spooled.size).await
    }

    /// Whether it knows the entry that is held. What cannot be read here is fetched anew.
    pub(super) async fn is_held_listed(&self, held: &Held) -> bool {
        match Content::of(&held.body) {
            Some(content) => self.knows(content, held.artifact.size).await,
            None => false,
        }
    }

    async fn knows(&self, content: Content, size: u64) -> bool {
        if size > self.fills.limits.entry_bytes {
            return false;
        }
        let sources = self.sources.clone();
        let comparing =
            tokio::task::spawn_blocking(move || content.read(size).is_ok_and(|entry| sources.knows(&entry)));
        comparing.await.unwrap_or(false)
    }
}
