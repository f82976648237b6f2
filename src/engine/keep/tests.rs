use std::time::{Duration, SystemTime};

use artifactapi_formats::{RepoPath, Sha256};
use async_trait::async_trait;
use bytes::Bytes;

use super::*;
use crate::spool::SpoolFolder;
use crate::store::blobs::files::FileBlobs;
use crate::store::catalog::sqlite::SqliteCatalog;
use crate::store::catalog::{CatalogErrorKind, ListQuery, Totals, Use, Validators};
use crate::store::coordinator::in_process::InProcessCoordinator;
use crate::store::key::{BlobKey, RepositoryName, Target};

/// A catalog that goes away just when a record is to be written.
struct Leaving(Arc<SqliteCatalog>);

#[async_trait]
impl Catalog for Leaving {
    async fn publish(&self, _: &Artifact, _: Option<Revision>) -> Result<Published, CatalogError> {
        Err(CatalogError { kind: CatalogErrorKind::Unavailable, during: "a test", source: None })
    }

    async fn lookup(&self, target: &Target) -> Result<Option<Artifact>, CatalogError> {
        self.0.lookup(target).await
    }

    async fn touch(
        &self,
        target: &Target,
        revision: Revision,
        checked_at: SystemTime,
        validators: &Validators,
    ) -> Result<bool, CatalogError> {
        self.0.touch(target, revision, checked_at, validators).await
    }

    async fn remove(&self, target: &Target, revision: Revision, now: SystemTime) -> Result<bool, CatalogError> {
        self.0.remove(target, revision, now).await
    }

    async fn list(&self, repository: &RepositoryName, page: &ListQuery) -> Result<Vec<Artifact>, CatalogError> {
        self.0.list(repository, page).await
    }

    async fn repositories(&self) -> Result<Vec<RepositoryName>, CatalogError> {
        self.0.repositories().await
    }

    async fn totals(&self, repository: &RepositoryName) -> Result<Totals, CatalogError> {
        self.0.totals(repository).await
    }

    async fn record_uses(&self, uses: &[Use]) -> Result<(), CatalogError> {
        self.0.record_uses(uses).await
    }

    async fn take_garbage(&self, before: SystemTime, limit: u32) -> Result<Vec<BlobKey>, CatalogError> {
        self.0.take_garbage(before, limit).await
    }

    async fn is_garbage(&self, blob: &BlobKey) -> Result<bool, CatalogError> {
        self.0.is_garbage(blob).await
    }

    async fn garbage_deleted(&self, blobs: &[BlobKey]) -> Result<(), CatalogError> {
        self.0.garbage_deleted(blobs).await
    }

    async fn ping(&self) -> Result<(), CatalogError> {
        self.0.ping().await
    }
}

fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

fn draft(target: &Target, second: u64) -> Artifact {
    Artifact::unpublished(target.clone(), 0, Sha256::of(b""), "", at(second))
}

#[tokio::test]
async fn what_gets_no_record_is_garbage_unless_its_path_finds_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = SpoolFolder::open(&folder.path().join("spool")).expect("a spool");
    let blobs: Arc<dyn BlobStore> = Arc::new(FileBlobs::open(folder.path()).expect("blobs"));
    let catalog = SqliteCatalog::open(&folder.path().join("catalog.sqlite")).await.expect("a catalog");
    let catalog = Arc::new(catalog);
    let keeper = |records: Arc<dyn Catalog>| {
        Keeper::new(Arc::clone(&blobs), records, Arc::clone(&catalog) as _, Arc::new(InProcessCoordinator::new()))
    };
    let there = keeper(Arc::clone(&catalog) as _);
    let leaving = keeper(Arc::new(Leaving(Arc::clone(&catalog))));
    let spooled = async |content: &'static str| {
        let (mut writer, _) = spool.create(None, None).await.expect("a spool");
        writer.append(Bytes::from_static(content.as_bytes())).await.expect("appended");
        writer.complete().await.expect("complete")
    };
    let garbage = async || {
        let mut garbage = catalog.take_garbage(now() + Duration::from_secs(1), 100).await.expect("taken");
        catalog.garbage_deleted(&garbage).await.expect("noted");
        garbage.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        garbage
    };
    let path = |name: &str| Target::new("files".parse().expect("a name"), RepoPath::new(name).expect("a path"));

    // Replacing: the new bytes are under a key that only a record would name.
    let replaced = path("replaced");
    let Kept::Current(first) = there.keep(&spooled("1").await, draft(&replaced, 10), None).await.expect("kept") else {
        panic!("beaten")
    };
    assert_eq!(garbage().await, []);
    let second = spooled("2").await;
    let failed = leaving.keep(&second, draft(&replaced, 20), Some(first.revision)).await;
    assert!(matches!(failed, Err(KeepError::Catalog(_))), "{failed:?}");
    assert_eq!(garbage().await, [replaced.later_blob_key(&second.sha256)]);

    // New: the first key is found by its path, and is garbage once other bytes have come.
    let new = path("new");
    leaving.keep(&spooled("1").await, draft(&new, 30), None).await.expect_err("no record");
    assert_eq!(garbage().await, []);
    let Kept::Current(current) = there.keep(&spooled("2").await, draft(&new, 40), None).await.expect("kept") else {
        panic!("beaten")
    };
    assert_ne!(current.blob, new.first_blob_key());
    assert_eq!(garbage().await, [new.first_blob_key()]);

    // The same bytes again: they are taken as they lie there.
    let again = path("again");
    leaving.keep(&spooled("1").await, draft(&again, 50), None).await.expect_err("no record");
    there.keep(&spooled("1").await, draft(&again, 60), None).await.expect("kept");
    assert_eq!(garbage().await, []);
}

#[tokio::test]
async fn a_content_whose_keys_are_being_deleted_finds_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = SpoolFolder::open(&folder.path().join("spool")).expect("a spool");
    let blobs: Arc<dyn BlobStore> = Arc::new(FileBlobs::open(folder.path()).expect("blobs"));
    let catalog = Arc::new(SqliteCatalog::open(&folder.path().join("catalog.sqlite")).await.expect("a catalog"));
    let coordinator = Arc::new(InProcessCoordinator::new());
    let keeper =
        Keeper::new(Arc::clone(&blobs), Arc::clone(&catalog) as _, Arc::clone(&catalog) as _, coordinator as _);
    let (mut writer, _) = spool.create(None, None).await.expect("a spool");
    writer.append(Bytes::from_static(b"content")).await.expect("appended");
    let spooled = writer.complete().await.expect("complete");
    let target = Target::new("files".parse().expect("a name"), RepoPath::new("file").expect("a path"));
    let deleted = async || {
        let garbage = catalog.take_garbage(now() + Duration::from_secs(1), 100).await.expect("taken");
        blobs.delete(&garbage).await.expect("deleted");
        catalog.garbage_deleted(&garbage).await.expect("noted");
        garbage
    };

    // Nobody published it, three times; it was the garbage that it said it was before it was written.
    let mut keys = Vec::new();
    for second in [10, 20, 30] {
        let aside = keeper.put_aside(&spooled, draft(&target, second)).await.expect("put aside");
        assert_eq!(deleted().await, std::slice::from_ref(&aside.blob), "that key, and no other, is deleted");
        assert!(target.may_be_kept_under(&aside.blob) && !keys.contains(&aside.blob), "{keys:?}");
        keys.push(aside.blob);
    }
    assert_eq!(keys[..2], [target.first_blob_key(), target.later_blob_key(&spooled.sha256)]);
    let aside = keeper.put_aside(&spooled, draft(&target, 40)).await.expect("put aside");
    assert!(matches!(catalog.publish(&aside, None).await.expect("published"), Published::Won(_)));
    assert_eq!(deleted().await, []);

    // The same of what was fetched.
    let current = catalog.lookup(&target).await.expect("asked").expect("a record");
    assert!(catalog.remove(&target, current.revision, at(50)).await.expect("removed"));
    assert_eq!(deleted().await, [aside.blob]);
    let Kept::Current(kept) = keeper.keep(&spooled, draft(&target, 60), None).await.expect("kept") else {
        panic!("nobody else keeps it")
    };
    assert!(!keys.contains(&kept.blob));
    assert_eq!(catalog.lookup(&target).await.expect("asked").expect("a record").blob, kept.blob);
}

/// Two at once, in a store that lets the later overwrite: neither may lie where the other does.
#[tokio::test]
async fn what_nobody_could_fetch_again_lies_where_nothing_else_can() {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = SpoolFolder::open(&folder.path().join("spool")).expect("a spool");
    let blobs = Arc::new(FileBlobs::open(folder.path()).expect("a store"));
    let catalog = Arc::new(SqliteCatalog::open(&folder.path().join("catalog.sqlite")).await.expect("a catalog"));
    let keeper = Keeper::new(blobs, Arc::clone(&catalog) as _, catalog, Arc::new(InProcessCoordinator::new()));
    let target = Target::new("files".parse().expect("a name"), RepoPath::new("file").expect("a path"));
    let mut keys = vec![target.first_blob_key()];
    for content in ["one", "another"] {
        let (mut writer, _) = spool.create(None, None).await.expect("a spool");
        writer.append(Bytes::from(content)).await.expect("appended");
        let spooled = writer.complete().await.expect("complete");
        let aside = keeper.put_by_content(&spooled, draft(&target, 10)).await.expect("put aside");
        assert!(target.may_be_kept_under(&aside.blob) && !keys.contains(&aside.blob), "{keys:?}");
        keys.push(aside.blob);
    }
}

#[tokio::test]
async fn grace_begins_when_bytes_are_written_however_long_they_were_on_their_way() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = Arc::new(SqliteCatalog::open(&folder.path().join("catalog.sqlite")).await.expect("a catalog"));
    let blobs: Arc<dyn BlobStore> = Arc::new(FileBlobs::open(folder.path()).expect("blobs"));
    let spool = SpoolFolder::open(&folder.path().join("spool")).expect("a spool");
    let (mut writer, _) = spool.create(None, None).await.expect("a spool");
    writer.append(Bytes::from("slow")).await.expect("appended");
    let spooled = writer.complete().await.expect("complete");
    let keeper =
        Keeper::new(blobs, Arc::clone(&catalog) as _, Arc::clone(&catalog) as _, Arc::new(InProcessCoordinator::new()));
    let target = Target::new("ours".parse().expect("a name"), RepoPath::new("a/b").expect("a path"));
    let before = now();
    let aside = keeper.put_aside(&spooled, draft(&target, 10)).await.expect("put aside");
    assert_eq!(catalog.take_garbage(before, 9).await.expect("asked"), [], "it came long ago, and is wanted now");
    let later = now() + Duration::from_secs(1);
    assert_eq!(catalog.take_garbage(later, 9).await.expect("asked"), [aside.blob]);
}
