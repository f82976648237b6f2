//! What is held of repositories that the configuration does not name any more.
//!
//! A name goes out of the file by a mistake as easily as on purpose, and with it goes what told uploads from what an upstream has.
//! So nothing is removed before somebody says which repository he means ([`Retention::purge`]). Until then it counts, because it
//! takes up the room, and is said.

use std::collections::BTreeMap;
use std::time::SystemTime;

use futures_util::future::try_join_all;

use super::{AT_ONCE, Gone, Mode, Retention, expiry, stored};
use crate::config::Repositories;
use crate::store::catalog::{CatalogError, ListQuery, Totals};
use crate::store::coordinator::Event;
use crate::store::key::RepositoryName;

/// Records looked at together.
const PAGE: u32 = 500;

impl Retention {
    /// The repositories that hold something and are not configured, with how much.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog does not answer.
    pub async fn left_behind(
        &self,
        repositories: &Repositories,
    ) -> Result<BTreeMap<RepositoryName, Totals>, CatalogError> {
        let mut found = BTreeMap::new();
        for name in self.catalog.repositories().await? {
            if !stored(repositories).any(|repository| repository.name == name) {
                let totals = self.catalog.totals(&name).await?;
                found.insert(name, totals);
            }
        }
        Ok(found)
    }

    /// Removes every record of a repository, and all that is known of its indexes, or says what would go: should the name be configured
    /// again, it begins with nothing.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog does not answer; what went until then is gone.
    pub async fn purge(&self, repository: &RepositoryName, now: SystemTime, mode: Mode) -> Result<Gone, CatalogError> {
        let mut gone = Gone::default();
        let mut after = None;
        loop {
            let page = self.catalog.list(repository, &ListQuery { prefix: String::new(), after, limit: PAGE }).await?;
            let Some(last) = page.last() else { break };
            after = Some((last.target.path.to_string(), last.target.query.to_string()));
            for some in page.chunks(AT_ONCE) {
                let removed = match mode {
                    Mode::Show => vec![true; some.len()],
                    Mode::Remove => {
                        try_join_all(some.iter().map(|one| self.catalog.remove(&one.target, one.revision, now))).await?
                    }
                };
                for (one, _) in some.iter().zip(removed).filter(|(_, removed)| *removed) {
                    gone.files += 1;
                    gone.bytes += one.size;
                    if mode == Mode::Remove {
                        self.coordinator.announce(Event::Evicted(one.target.clone(), one.revision)).await;
                    }
                }
            }
        }
        gone.expired = expiry::purge(&*self.snapshots, repository, now, mode).await?;
        Ok(gone)
    }
}
