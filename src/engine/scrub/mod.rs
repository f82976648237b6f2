//! Comparing what the store holds with what the catalog and the indexes say of it.
//!
//! A record says how long a blob is and what its SHA-256 is; the current index says what a package must be. [`Scrub::run`]
//! goes through the records of repositories a page at a time, reads each blob whole ([`mod@examine`]) and tells of each one that
//! is missing, is not what its record says, or is not what the index says. Memory does not grow with what is held: one frame
//! for each of [`AT_ONCE`] blobs.
//!
//! With `repair`, a bad record is removed by its revision, so that the next request fetches the file anew and a content that
//! became current meanwhile stays. When nobody else uses the store, the bad bytes go with it: a snapshot that names them
//! says that they are missing then, instead of serving them. It may run beside a server that shares the stores (S3); what changes
//! under its hands is looked at no further.
//!
//! What keeps a blob from being read now says nothing about it: a store that breaks off, or a full disk here, ends the run with an
//! error, and nothing is removed for it.
//!
//! It looks at current records. Bytes that only earlier snapshots name are not read.

mod aside;
pub mod examine;
mod finding;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use artifactapi_formats::{Expected, Limits, Role};
use futures_util::StreamExt as _;

use self::aside::Aside;
use self::examine::{Examined, Unexamined, examine};
pub use self::finding::{Fault, Finding, ScrubError, Scrubbed};
use super::held::now;
use super::publish::may_be_only_promised;
use crate::config::{Kind, Repository, Verify};
use crate::spool::SpoolFolder;
use crate::store::blobs::{BlobError, BlobErrorKind, BlobStore};
use crate::store::catalog::snapshots::{Generation, Snapshots};
use crate::store::catalog::{Artifact, Catalog, ListQuery};

/// Blobs read at once.
pub const AT_ONCE: usize = 4;

/// Records taken from the catalog at once.
const PAGE: u32 = 500;

/// What a scrub works with.
pub struct Scrub<'a> {
    /// Where the bytes are.
    pub blobs: &'a Arc<dyn BlobStore>,
    /// What says what they are.
    pub catalog: &'a dyn Catalog,
    /// What the indexes say that packages are.
    pub snapshots: &'a dyn Snapshots,
    /// What is gone through.
    pub repositories: &'a [Arc<Repository>],
    /// Below which it makes a folder of its own for blobs that are not files here; removed afterwards.
    pub aside: &'a Path,
    /// Whether what is bad is removed.
    pub repair: bool,
    /// Whether nobody else uses the store.
    pub is_alone: bool,
}

/// What came of one record.
struct Looked {
    bytes: u64,
    finding: Option<Finding>,
}

impl Scrub<'_> {
    /// Goes through everything. `found` is told of each bad file, `progress` how far it is after each file.
    ///
    /// # Errors
    /// [`ScrubError`] when store or catalog stop answering.
    pub async fn run(
        &self,
        found: &mut (dyn FnMut(&Finding) + Send),
        progress: &mut (dyn FnMut(&Scrubbed) + Send),
    ) -> Result<Scrubbed, ScrubError> {
        let aside = Aside::open(self.aside).map_err(ScrubError::Aside)?;
        let scrubbed = self.all(aside.spool(), found, progress).await;
        drop(aside);
        scrubbed
    }

    async fn all(
        &self,
        aside: &SpoolFolder,
        found: &mut (dyn FnMut(&Finding) + Send),
        progress: &mut (dyn FnMut(&Scrubbed) + Send),
    ) -> Result<Scrubbed, ScrubError> {
        let mut scrubbed = Scrubbed::default();
        for repository in self.repositories {
            let mut after = None;
            loop {
                let query = ListQuery { prefix: String::new(), after, limit: PAGE };
                let page = self.catalog.list(&repository.name, &query).await?;
                let Some(last) = page.last() else { break };
                after = Some((last.target.path.to_string(), last.target.query.to_string()));
                let looks = futures_util::stream::iter(page).map(|record| self.look_at(repository, record, aside));
                let mut looks = std::pin::pin!(looks.buffer_unordered(AT_ONCE));
                while let Some(looked) = looks.next().await {
                    let Looked { bytes, finding } = looked?;
                    scrubbed.files += 1;
                    scrubbed.bytes += bytes;
                    if let Some(finding) = finding {
                        scrubbed.bad += 1;
                        scrubbed.repaired += u64::from(finding.is_repaired);
                        found(&finding);
                    }
                    progress(&scrubbed);
                }
            }
        }
        Ok(scrubbed)
    }

    async fn look_at(
        &self,
        repository: &Repository,
        record: Artifact,
        aside: &SpoolFolder,
    ) -> Result<Looked, ScrubError> {
        let (fault, bytes) = self.fault_of(repository, &record, aside).await?;
        let Some(fault) = fault else {
            return Ok(Looked { bytes, finding: None });
        };
        // Beside a server, the file may have been replaced while it was read.
        let is_current = |now: Option<Artifact>| now.is_some_and(|now| now.revision == record.revision);
        if !is_current(self.catalog.lookup(&record.target).await?) {
            return Ok(Looked { bytes, finding: None });
        }
        // What people put in is nowhere else: a disk that cannot read it today may tomorrow, or somebody can who mends it.
        let is_hopeless = !matches!((&repository.kind, &fault), (Kind::Local(_), Fault::Unreadable(_)));
        let is_repaired = self.repair && is_hopeless && self.remove(&record).await?;
        Ok(Looked { bytes, finding: Some(Finding { target: record.target, fault, is_repaired }) })
    }

    /// What is wrong with a record, and how much was read to find out.
    async fn fault_of(
        &self,
        repository: &Repository,
        record: &Artifact,
        aside: &SpoolFolder,
    ) -> Result<(Option<Fault>, u64), ScrubError> {
        let read = match self.blobs.read(&record.blob, None).await {
            Ok(Some(read)) => read,
            // A list of our own index is written when somebody asks for it; until then there is nothing that could be bad.
            Ok(None) if may_be_only_promised(repository, &record.target.path) => return Ok((None, 0)),
            Ok(None) => return Ok((Some(Fault::Missing), 0)),
            Err(error) if error.kind == BlobErrorKind::Damaged => {
                return Ok((Some(Fault::Unreadable(error.to_string())), 0));
            }
            Err(error) => return Err(error.into()),
        };
        let expected = self.expected(repository, record).await?;
        let checker = match repository.format.classify(&record.target.path) {
            Role::Package => repository.format.checker(&record.target.path, expected.as_ref(), &Limits::default()),
            _ => None,
        };
        let Examined { size, sha256, objection } = match examine(read.body, checker, aside).await {
            Ok(examined) => examined,
            Err(Unexamined::Unreadable(why)) => return Ok((Some(Fault::Unreadable(why)), 0)),
            Err(why) => return Err(ScrubError::Examine { target: record.target.clone(), why }),
        };
        let fault = if size != record.size {
            Some(Fault::Size { is: size, should_be: record.size })
        } else if sha256 != record.sha256 {
            Some(Fault::Digest { is: sha256, should_be: record.sha256 })
        } else {
            objection.map(|why| match expected {
                Some(expected) => Fault::Contradicted { why, identity: expected.identity },
                None => Fault::Unfit(why),
            })
        };
        Ok((fault, size))
    }

    /// What the current indexes say of a package, as far as they agree and the repository asks them.
    async fn expected(&self, repository: &Repository, record: &Artifact) -> Result<Option<Expected>, ScrubError> {
        let is_asked = match &repository.kind {
            Kind::Remote(remote) => remote.verify != Verify::Off,
            Kind::Local(_) | Kind::Virtual(_) => true,
        };
        if !is_asked || repository.format.classify(&record.target.path) != Role::Package {
            return Ok(None);
        }
        let target = &record.target;
        let named = self.snapshots.named(&target.repository, &target.path, Generation::Current).await?;
        let Some(first) = named.first() else {
            return Ok(None);
        };
        let agree = named.iter().all(|named| named.package.identity == first.package.identity);
        Ok(agree.then(|| first.package.expected()))
    }

    /// Removes a record, if it is still that one, and its bytes, if nobody else may be reading or writing them.
    async fn remove(&self, record: &Artifact) -> Result<bool, ScrubError> {
        let is_removed = self.catalog.remove(&record.target, record.revision, now()).await?;
        if is_removed && self.is_alone {
            self.blobs.delete(std::slice::from_ref(&record.blob)).await.map_err(BlobError::from)?;
        }
        Ok(is_removed)
    }
}
