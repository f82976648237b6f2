//! What is particular to files: crashes, other file systems, damage.

use std::os::unix::fs::MetadataExt as _;

use super::*;
use crate::spool::SpoolFolder;
use crate::store::blobs::conformance::{self, Traits, about, bytes, spooled, target};
use crate::store::key::Target;

fn open(folder: &Path) -> (FileBlobs, SpoolFolder) {
    let store = FileBlobs::open(folder).expect("store");
    (store, SpoolFolder::open(&folder.join("spool")).expect("spool"))
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms() {
    let folder = tempfile::tempdir().expect("folder");
    let (store, spool) = open(folder.path());
    conformance::suite(&store, &spool, Traits { decides_races: true, large: 3 << 20, many: 600 }).await;
    let left = files_below(&folder.path().join("incoming"));
    assert!(left.is_empty(), "{left:?}");
}

/// `/dev/shm` is a file system of its own wherever these tests run, so a link from there cannot be made.
#[tokio::test(flavor = "multi_thread")]
async fn conforms_with_the_spool_on_another_file_system() {
    let folder = tempfile::tempdir().expect("folder");
    let elsewhere = tempfile::tempdir_in("/dev/shm").expect("a second file system");
    let device = |path: &Path| fs::metadata(path).expect("metadata").dev();
    assert_ne!(device(folder.path()), device(elsewhere.path()));
    let store = FileBlobs::open(folder.path()).expect("store");
    let spool = SpoolFolder::open(elsewhere.path()).expect("spool");
    conformance::suite(&store, &spool, Traits { decides_races: true, large: 3 << 20, many: 300 }).await;
    let left = files_below(&folder.path().join("incoming"));
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_blob_is_the_spool_file_itself_where_it_can_be() {
    let folder = tempfile::tempdir().expect("folder");
    let (store, spool) = open(folder.path());
    let (target, spooled) = (target("r", "f"), spooled(&spool, b"bytes").await);
    store.write(&target.first_blob_key(), &spooled, &about(&target, b"bytes")).await.expect("write");
    let inode = spooled.file().metadata().expect("metadata").ino();
    let path = folder.path().join("blobs").join(target.first_blob_key().as_str());
    assert_eq!(fs::metadata(&path).expect("metadata").ino(), inode);
    drop(spooled);
    assert_eq!(fs::metadata(&path).expect("metadata").nlink(), 1);
}

#[tokio::test]
async fn a_crash_between_blob_and_record_heals() {
    let folder = tempfile::tempdir().expect("folder");
    let (store, spool) = open(folder.path());
    let target = target("r", "f");
    let key = target.first_blob_key();
    let spooled_first = spooled(&spool, b"first").await;
    store.write(&key, &spooled_first, &about(&target, b"first")).await.expect("write");
    for record in [None, Some(&b"{ half a rec"[..])] {
        // What the crash leaves: the blob, and no record; or one that a bad disk damaged.
        let path = files_below(&folder.path().join("about")).pop().expect("record");
        match record {
            None => fs::remove_file(&path).expect("remove"),
            Some(half) => fs::write(&path, half).expect("write"),
        }
        let (store, spool) = open(folder.path());
        assert_eq!(bytes(&store, &key).await, b"first");
        match (record, store.about(&key).await) {
            (None, Ok(None)) => {}
            (Some(_), Err(error)) => assert_eq!(error.kind, BlobErrorKind::Damaged),
            (_, other) => panic!("{other:?}"),
        }
        let other = spooled(&spool, b"other").await;
        assert_eq!(store.write(&key, &other, &about(&target, b"other")).await.expect("write"), Written::Occupied);
        let again = spooled(&spool, b"first").await;
        assert_eq!(store.write(&key, &again, &about(&target, b"first")).await.expect("write"), Written::Stored);
        assert_eq!(store.about(&key).await.expect("about"), Some(about(&target, b"first")));
    }
}

#[tokio::test]
async fn what_a_killed_process_left_is_removed() {
    let folder = tempfile::tempdir().expect("folder");
    drop(open(folder.path()));
    fs::write(folder.path().join("incoming/17"), b"half").expect("write");
    drop(open(folder.path()));
    assert!(files_below(&folder.path().join("incoming")).is_empty());
}

#[tokio::test]
async fn damage_on_disk_is_not_taken_for_the_blob() {
    let folder = tempfile::tempdir().expect("folder");
    let (store, spool) = open(folder.path());
    let target = target("r", "f");
    let key = target.first_blob_key();
    let first = spooled(&spool, b"first").await;
    store.write(&key, &first, &about(&target, b"first")).await.expect("write");
    drop(first);
    fs::write(folder.path().join("blobs").join(key.as_str()), b"f1rst").expect("damage");
    let again = spooled(&spool, b"first").await;
    assert_eq!(store.write(&key, &again, &about(&target, b"first")).await.expect("write"), Written::Occupied);
}

#[tokio::test]
async fn empty_folders_go_with_their_last_blob() {
    let folder = tempfile::tempdir().expect("folder");
    let (store, spool) = open(folder.path());
    let keys = ["a", "b"].map(|path| target("r", path).later_blob_key(&Sha256::of(b"x")));
    for key in &keys {
        let spooled = spooled(&spool, b"x").await;
        store.write(key, &spooled, &about(&target("r", "a"), b"x")).await.expect("write");
    }
    store.delete(&keys[..1]).await.expect("delete");
    assert!(folder.path().join("blobs/r").exists());
    store.delete(&keys).await.expect("delete");
    for tree in ["blobs", "about"] {
        assert_eq!(fs::read_dir(folder.path().join(tree)).expect("root stays").count(), 0);
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_removed_keeps_no_other() {
    let folder = tempfile::tempdir().expect("folder");
    let (store, spool) = open(folder.path());
    let targets = ["a", "b", "c"].map(|path| target("r", path));
    let keys = targets.each_ref().map(Target::first_blob_key);
    for (key, target) in keys.iter().zip(&targets) {
        store.write(key, &spooled(&spool, b"x").await, &about(target, b"x")).await.expect("write");
    }
    // Not even root can remove a folder as a file.
    let stuck = folder.path().join("blobs").join(keys[1].as_str());
    fs::remove_file(&stuck).expect("remove");
    fs::create_dir_all(stuck.join("inside")).expect("a folder");
    let undeleted = store.delete(&keys).await.expect_err("one is still there");
    assert_eq!(undeleted.keys, keys[1..2]);
    assert!(undeleted.error.during.contains(keys[1].as_str()), "{undeleted}");
    for key in [&keys[0], &keys[2]] {
        assert!(store.read(key, None).await.expect("read").is_none(), "{key}");
    }
}

#[tokio::test]
async fn says_what_is_wrong() {
    let folder = tempfile::tempdir().expect("folder");
    let (store, _spool) = open(folder.path());
    fs::remove_dir_all(folder.path()).expect("remove");
    let error = store.ping().await.expect_err("no folder");
    assert_eq!(error.kind, BlobErrorKind::Missing);
    assert!(error.to_string().contains("does not exist"), "{error}");
}

#[tokio::test]
async fn a_write_that_fails_half_way_leaves_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let (store, spool) = open(folder.path());
    let target = target("r", "f");
    let key = target.first_blob_key();
    let spooled = spooled(&spool, b"bytes").await;
    // The blob can be placed, its record cannot.
    fs::write(folder.path().join("about/r"), b"in the way").expect("write");
    store.write(&key, &spooled, &about(&target, b"bytes")).await.expect_err("in the way");
    assert!(store.read(&key, None).await.expect("read").is_none());
    assert!(files_below(&folder.path().join("incoming")).is_empty());
    fs::remove_file(folder.path().join("about/r")).expect("remove");
    assert_eq!(store.write(&key, &spooled, &about(&target, b"bytes")).await.expect("write"), Written::Stored);
}
