//! The contract of [`BlobStore`] as one suite. Every implementation passes it; what is particular to one is tested
//! there.

mod support;

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, SystemTime};

use artifactapi_formats::{RepoPath, Sha256};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

pub(super) use self::support::{about, bytes, collect, follow, spooled, target};
use super::{BlobAbout, BlobStore, Written};
use crate::spool::{SpoolFolder, Spooled};
use crate::store::key::{BlobKey, RepositoryName, Target};

/// What is different between implementations.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traits {
    /// Whether of several racing writers exactly one is told that its bytes are stored.
    pub(super) decides_races: bool,
    /// A size in bytes that the implementation treats as large.
    pub(super) large: u64,
    /// How many blobs make a listing of several pages.
    pub(super) many: usize,
}

/// Runs everything. The store must be empty.
pub(super) async fn suite(store: &dyn BlobStore, spool: &SpoolFolder, traits: Traits) {
    store.ping().await.expect("ping");
    let with = With { store, spool };
    with.absent().await;
    with.written_is_read().await;
    with.never_replaced().await;
    with.ranges().await;
    with.odd_keys().await;
    with.long_records().await;
    with.deleted().await;
    with.tidied().await;
    with.listed(traits.many).await;
    with.raced(traits.decides_races).await;
    with.siblings_come_and_go().await;
    with.large(traits.large).await;
}

struct With<'a> {
    store: &'a dyn BlobStore,
    spool: &'a SpoolFolder,
}

impl With<'_> {
    async fn absent(&self) {
        let key = target("empty", "nothing").first_blob_key();
        assert!(self.store.read(&key, None).await.expect("read").is_none());
        assert!(self.store.read(&key, Some(0..1)).await.expect("read").is_none());
        assert!(self.store.read(&key, Some(0..0)).await.expect("read").is_none());
        assert!(self.store.about(&key).await.expect("about").is_none());
        self.store.delete(&[key]).await.expect("delete");
        self.store.delete(&[]).await.expect("delete");
        assert_eq!(self.list("").await, []);
    }

    async fn written_is_read(&self) {
        for (path, bytes) in
            [("a.txt", &b"some bytes"[..]), ("empty", b""), ("ü/日本 +%~.rpm", b"x"), (".treeinfo", b"[]")]
        {
            let target = target("reads", path);
            let key = target.first_blob_key();
            self.write(&key, bytes, &about(&target, bytes)).await;
            assert_eq!(self.bytes(&key).await, bytes, "{path}");
            let recorded = self.store.about(&key).await.expect("about");
            assert_eq!(recorded, Some(about(&target, bytes)), "{path}");
        }
    }

    async fn tidied(&self) {
        let target = target("tidied", "a.txt");
        let key = target.first_blob_key();
        self.write(&key, b"whole", &about(&target, b"whole")).await;
        assert_eq!(self.store.tidy(Duration::ZERO).await.expect("tidy"), 0, "nothing was left behind");
        assert_eq!(self.bytes(&key).await, b"whole");
        self.store.delete(&[key]).await.expect("delete");
    }

    async fn never_replaced(&self) {
        let target = target("never", "replaced");
        let key = target.first_blob_key();
        let first = about(&target, b"first");
        assert_eq!(self.put(&key, b"first", &first).await, Written::Stored);
        let again = BlobAbout { upstream_etag: Some("later".into()), ..first.clone() };
        assert_eq!(self.put(&key, b"first", &again).await, Written::Stored);
        assert_eq!(self.put(&key, b"other", &about(&target, b"other")).await, Written::Occupied);
        assert_eq!(self.put(&key, b"", &about(&target, b"")).await, Written::Occupied);
        assert_eq!(self.bytes(&key).await, b"first");
        assert_eq!(self.store.about(&key).await.expect("about"), Some(first));
        // The later content has a place of its own.
        let later = target.later_blob_key(&Sha256::of(b"other"));
        self.write(&later, b"other", &about(&target, b"other")).await;
        assert_eq!(self.bytes(&later).await, b"other");
        assert_eq!(self.bytes(&key).await, b"first");
    }

    async fn ranges(&self) {
        let bytes: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let target = target("ranges", "f");
        let key = target.first_blob_key();
        self.write(&key, &bytes, &about(&target, &bytes)).await;
        for range in [0..1, 0..bytes.len(), 5..300_000, bytes.len() - 1..bytes.len(), 7..7] {
            let asked = range.start as u64..range.end as u64;
            let read = self.store.read(&key, Some(asked)).await.expect("read").expect("present");
            assert_eq!(read.size, bytes.len() as u64);
            assert!(read.sha256.is_none_or(|sha256| sha256 == Sha256::of(&bytes)));
            let (start, got) = collect(read).await;
            let got = &got[range.start - start..range.end - start];
            assert_eq!(got, &bytes[range.clone()], "{range:?}");
        }
    }

    async fn odd_keys(&self) {
        // A file that is called like the folder a later content of the same path goes into, in both orders.
        for swap in [false, true] {
            let later = format!("later {swap}");
            let name = Sha256::of(later.as_bytes()).hex16();
            let target = target("odd", &format!("{swap}/{name}"));
            let contents = [
                (target.first_blob_key(), "first".to_owned()),
                (target.later_blob_key(&Sha256::of(later.as_bytes())), later),
            ];
            assert!(contents[1].0.as_str().starts_with(&format!("{}/", contents[0].0)));
            let order = if swap { [1, 0] } else { [0, 1] };
            for (key, bytes) in order.map(|at| &contents[at]) {
                self.write(key, bytes.as_bytes(), &about(&target, bytes.as_bytes())).await;
            }
            for (key, bytes) in &contents {
                assert_eq!(self.bytes(key).await, bytes.as_bytes());
            }
        }
        let long = "x".repeat(RepoPath::MAX_BYTES);
        let keys = ["odd/a/b", "odd/a/b/c", "odd/a/b/c/d", "odd/a", "odd/h/@f", "odd/h/@f/@d", "odd/h/a&b=c#d?e;f:g"];
        let mut keys: Vec<BlobKey> = keys.iter().map(|key| key.parse().expect("key")).collect();
        keys.push(target("odd", &long).first_blob_key());
        keys.push(target("odd", &"é".repeat(RepoPath::MAX_BYTES / 2)).first_blob_key());
        for key in &keys {
            let bytes = key.as_str().as_bytes();
            self.write(key, bytes, &about(&target("odd", "any"), bytes)).await;
        }
        let listed: BTreeSet<_> = self.list("odd/").await.into_iter().collect();
        for key in &keys {
            assert_eq!(self.bytes(key).await, key.as_str().as_bytes());
            assert!(listed.contains(key), "{key} is not listed");
        }
        assert_eq!(listed.len(), keys.len() + 4);
        self.store.delete(&keys).await.expect("delete");
        assert_eq!(self.list("odd/").await.len(), 4);
        assert!(self.store.read(&keys[0], None).await.expect("read").is_none());
    }

    async fn long_records(&self) {
        let path = "日".repeat(RepoPath::MAX_BYTES / 3);
        let name: RepositoryName = "long".parse().expect("name");
        let target = Target::with_query(name, RepoPath::new(&path).expect("path"), &"q=%20&".repeat(1_000));
        let key = target.first_blob_key();
        let about = about(&target, b"long");
        self.write(&key, b"long", &about).await;
        assert_eq!(self.store.about(&key).await.expect("about"), Some(about));
        assert_eq!(self.list("long/").await, std::slice::from_ref(&key));
        self.store.delete(std::slice::from_ref(&key)).await.expect("delete");
        assert_eq!(self.store.about(&key).await.expect("about"), None);
        assert_eq!(self.list("").await.iter().filter(|key| key.as_str().starts_with("long")).count(), 0);
    }

    async fn deleted(&self) {
        let (gone, stays) = (target("deletes", "gone"), target("deletes", "stays"));
        for target in [&gone, &stays] {
            self.write(&target.first_blob_key(), b"old", &about(target, b"old")).await;
        }
        let key = gone.first_blob_key();
        self.store.delete(&[key.clone(), target("deletes", "absent").first_blob_key()]).await.expect("delete");
        assert!(self.store.read(&key, None).await.expect("read").is_none());
        assert!(self.store.about(&key).await.expect("about").is_none());
        assert_eq!(self.list("deletes/").await, [stays.first_blob_key()]);
        self.write(&key, b"new", &about(&gone, b"new")).await;
        assert_eq!(self.bytes(&key).await, b"new");
        assert_eq!(self.store.about(&key).await.expect("about"), Some(about(&gone, b"new")));
    }

    async fn listed(&self, many: usize) {
        let targets: Vec<_> = (0..many).map(|number| target("lists", &format!("f{number}"))).collect();
        let spooled = self.spooled(b"listed").await;
        let writes = targets.iter().map(|target| {
            let spooled = &spooled;
            async move { self.store.write(&target.first_blob_key(), spooled, &about(target, b"listed")).await }
        });
        let written: Vec<_> = stream::iter(writes).buffer_unordered(16).try_collect().await.expect("writes");
        assert!(written.iter().all(|written| *written == Written::Stored));
        let expected: BTreeSet<_> = targets.iter().map(Target::first_blob_key).collect();
        for prefix in ["lists/", "lists", "list", ""] {
            let listed = self.list(prefix).await;
            let listed: BTreeSet<_> = listed.into_iter().filter(|key| key.as_str().starts_with("lists/")).collect();
            assert_eq!(listed, expected, "{prefix:?}");
        }
        let one = targets[0].first_blob_key();
        for prefix in
            [one.as_str(), &one.as_str()[..one.as_str().len() - 1], one.as_str().rsplit_once('/').expect("/").0]
        {
            assert_eq!(self.list(prefix).await, std::slice::from_ref(&one), "{prefix:?}");
        }
        assert_eq!(self.list("lists/nothing").await, []);
        let rows: Vec<_> = self.store.list(one.as_str()).try_collect().await.expect("list");
        assert_eq!((rows.len(), rows[0].size), (1, 6));
        let age = SystemTime::now().duration_since(rows[0].modified).unwrap_or_default();
        assert!(age < Duration::from_secs(600), "{age:?}");
        let keys: Vec<_> = expected.into_iter().collect();
        self.store.delete(&keys).await.expect("delete");
        assert_eq!(self.list("lists/").await, []);
    }

    async fn raced(&self, decides: bool) {
        for round in 0..4 {
            let target = target("races", &format!("{round}"));
            let key = target.first_blob_key();
            let contents: Vec<_> = (0..8).map(|writer| format!("writer {}", writer / 2)).collect();
            let writes = contents.iter().map(|bytes| {
                let (bytes, key, target) = (bytes.as_bytes(), &key, &target);
                async move { self.put(key, bytes, &about(target, bytes)).await }
            });
            let written = futures_util::future::join_all(writes.collect::<Vec<_>>()).await;
            let stored: BTreeSet<_> =
                contents.iter().zip(&written).filter(|(_, w)| **w == Written::Stored).map(|(c, _)| c.clone()).collect();
            let held = String::from_utf8(self.bytes(&key).await).expect("text");
            assert!(stored.contains(&held), "nobody was told that {held} is stored");
            assert!(!decides || stored.len() == 1, "{stored:?} are all said to be stored");
            let recorded = self.store.about(&key).await.expect("about").expect("recorded");
            assert_eq!(recorded.sha256, Sha256::of(held.as_bytes()));
        }
    }

    /// Blobs in one folder are written and deleted at the same time: no write is lost to a folder that was swept away.
    async fn siblings_come_and_go(&self) {
        let target = target("siblings", "f");
        let rounds = (0..12).map(|number| {
            let bytes = format!("content {number}").into_bytes();
            let key = target.later_blob_key(&Sha256::of(&bytes));
            let target = &target;
            async move {
                for _ in 0..4 {
                    self.write(&key, &bytes, &about(target, &bytes)).await;
                    assert_eq!(self.bytes(&key).await, bytes);
                    self.store.delete(std::slice::from_ref(&key)).await.expect("delete");
                }
            }
        });
        futures_util::future::join_all(rounds.collect::<Vec<_>>()).await;
        assert_eq!(self.list("siblings/").await, []);
    }

    async fn large(&self, size: u64) {
        let (mut writer, _reader) = self.spool.create(Some(size), None).await.expect("spool");
        // Each 64 KiB differ from the others, in their number.
        let mut block = vec![0x5a; 64 << 10];
        for (number, at) in (0..size).step_by(block.len()).enumerate() {
            block[..8].copy_from_slice(&number.to_le_bytes());
            let length = block.len().min(usize::try_from(size - at).expect("size"));
            writer.append(Bytes::copy_from_slice(&block[..length])).await.expect("append");
        }
        let spooled = writer.complete().await.expect("complete");
        let target = target("large", "f");
        let key = target.first_blob_key();
        let about = BlobAbout { size, sha256: spooled.sha256, ..about(&target, b"") };
        assert_eq!(self.store.write(&key, &spooled, &about).await.expect("write"), Written::Stored);
        assert_eq!(self.store.write(&key, &spooled, &about).await.expect("write"), Written::Stored);
        assert_eq!(self.store.about(&key).await.expect("about"), Some(about));
        assert_eq!(Sha256::of(&self.bytes(&key).await), spooled.sha256);
        let middle = size / 2..size / 2 + 16;
        let read = self.store.read(&key, Some(middle.clone())).await.expect("read").expect("present");
        let (start, got) = collect(read).await;
        let at = usize::try_from(middle.start).expect("offset") - start;
        let mut expected = [0; 16];
        spooled.file().read_exact_at(&mut expected, middle.start).expect("spool");
        assert_eq!(got[at..at + 16], expected);
        self.store.delete(&[key]).await.expect("delete");
    }

    async fn spooled(&self, bytes: &[u8]) -> Spooled {
        spooled(self.spool, bytes).await
    }

    async fn put(&self, key: &BlobKey, bytes: &[u8], about: &BlobAbout) -> Written {
        self.store.write(key, &self.spooled(bytes).await, about).await.expect("write")
    }

    async fn write(&self, key: &BlobKey, bytes: &[u8], about: &BlobAbout) {
        assert_eq!(self.put(key, bytes, about).await, Written::Stored, "{key}");
    }

    async fn bytes(&self, key: &BlobKey) -> Vec<u8> {
        bytes(self.store, key).await
    }

    async fn list(&self, prefix: &str) -> Vec<BlobKey> {
        self.store.list(prefix).map_ok(|row| row.key).try_collect().await.expect("list")
    }
}
