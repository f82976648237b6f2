//! What is on the shelf, and what does not come back to it.

use artifactapi_formats::{RepoPath, Sha256};

use super::*;
use crate::spool::SpoolFolder;
use crate::store::blobs::files::FileBlobs;
use crate::store::blobs::hot_tier::HotTier;
use crate::store::blobs::hot_tier::distant::Distant;
use crate::store::blobs::{BlobAbout, Written};
use crate::store::catalog::sqlite::SqliteCatalog;

pub(crate) async fn shelf(folder: &std::path::Path, budget: u64) -> Shelf {
    let catalog = SqliteCatalog::open(&folder.join("catalog.sqlite")).await.expect("a catalog");
    let blobs = FileBlobs::open(folder).expect("blobs");
    Shelf::new(ShelfBudget(budget), Arc::new(catalog), Arc::new(blobs))
}

pub(crate) fn held(name: &str, revision: i64, size: usize) -> Arc<Held> {
    let target = Target::new("files".parse().expect("a name"), RepoPath::new(name).expect("a path"));
    let (sha256, at) = (Sha256::of(name.as_bytes()), SystemTime::UNIX_EPOCH);
    let artifact = Artifact {
        revision: Revision(revision),
        ..Artifact::unpublished(target, size as u64, sha256, "text/plain", at)
    };
    let body = HeldBody::Memory(Bytes::from(vec![0; size]));
    Arc::new(Held::new(artifact, Role::File, Mutability::ByConvention, body))
}

#[tokio::test]
async fn what_is_removed_while_it_is_looked_up_does_not_come_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let shelf = shelf(folder.path(), 1 << 20).await;
    let late = held("a", 1, 10);
    let target = late.artifact.target.clone();
    let removals = shelf.removals(&target);
    shelf.forget(&target);
    shelf.put_looked_up(removals, &late);
    assert!(shelf.peek(&target).is_none() && !late.is_current());
    let next = held("a", 2, 10);
    shelf.put_looked_up(shelf.removals(&target), &next);
    assert!(shelf.peek(&target).is_some() && next.is_current());
    let removals = shelf.removals(&target);
    shelf.forget_all(None);
    shelf.put_looked_up(removals, &held("a", 3, 10));
    assert!(shelf.peek(&target).is_none(), "all of them were removed");
}

#[tokio::test]
async fn whatever_leaves_is_superseded_and_its_uses_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let shelf = shelf(folder.path(), 1 << 20).await;
    let first = held("first", 1, 1_000);
    shelf.put(&first);
    first.used();
    first.used();
    let others: Vec<_> = (0..64).map(|number| held(&format!("other-{number}"), 1, 50_000)).collect();
    // Each is asked for more than once, and so worth more than the first.
    for other in others.iter().chain(&others) {
        shelf.put(other);
        let _ = shelf.peek(&other.artifact.target);
    }
    let (bytes, _) = shelf.fullness();
    assert!(bytes <= 1 << 20, "{bytes} bytes");
    for all in others.iter().chain([&first]) {
        let on_shelf = shelf.peek(&all.artifact.target).is_some();
        assert_eq!(all.is_current(), on_shelf, "{}", all.artifact.target);
    }
    assert!(!first.is_current(), "it made room");
    let uses = shelf.take_uses(SystemTime::UNIX_EPOCH);
    let of_first: Vec<_> = uses.iter().filter(|used| used.target == first.artifact.target).collect();
    assert_eq!(of_first.len(), 1);
    assert_eq!(of_first[0].count, 2);
    assert!(shelf.take_uses(SystemTime::UNIX_EPOCH).is_empty(), "once");
}

/// Writes a content as the first of a file, and what its record says.
async fn write(blobs: &dyn BlobStore, spool: &SpoolFolder, content: &[u8]) -> Artifact {
    let (mut writer, _) = spool.create(None, None).await.expect("a spool");
    writer.append(Bytes::copy_from_slice(content)).await.expect("appended");
    let spooled = writer.complete().await.expect("complete");
    let of = held("a", 1, 0);
    let record = Artifact { size: spooled.size, sha256: spooled.sha256, ..of.artifact.clone() };
    let about = BlobAbout {
        repository: Some(record.target.repository.clone()),
        path: record.target.path.to_string(),
        query: String::new(),
        size: record.size,
        sha256: record.sha256,
        content_type: record.content_type.clone(),
        upstream_etag: None,
        upstream_last_modified: None,
        stored_at: record.stored_at,
    };
    assert_eq!(blobs.write(&record.blob, &spooled, &about).await.expect("written"), Written::Stored);
    record
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_replica_put_under_a_key_is_found_behind_an_older_copy() {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = SpoolFolder::open(&folder.path().join("spool")).expect("a spool");
    let distant = Arc::new(Distant::new(folder.path()));
    let [here, other] = ["here", "other"].map(|name| {
        let tier = HotTier::open(Arc::clone(&distant), &folder.path().join(name), 1 << 30, spool.clone());
        Arc::new(tier.expect("a tier"))
    });
    let old = write(&*here, &spool, b"what was there").await;
    other.delete(std::slice::from_ref(&old.blob)).await.expect("deleted");
    let new = write(&*other, &spool, b"what is there now").await;
    let catalog = SqliteCatalog::open(&folder.path().join("catalog.sqlite")).await.expect("a catalog");
    catalog.publish(&new, None).await.expect("published");
    let shelf = Shelf::new(ShelfBudget(1 << 20), Arc::new(catalog), here);
    match shelf.find(&new.target, Role::File, &Mutability::ByConvention).await.expect("found") {
        Found::Held(held) => assert!(matches!(&held.body, HeldBody::Memory(bytes) if bytes == "what is there now")),
        found => panic!("{found:?}"),
    }
}
