//! What is particular to S3, with a real server that is killed, frozen and lied to.

use std::future::Future;
use std::os::unix::fs::FileExt as _;

use artifactapi_formats::Sha256;
use futures_util::stream::{StreamExt as _, TryStreamExt as _};
use tempfile::TempDir;

use super::weed::Weed;
use super::*;
use crate::spool::SpoolFolder;
use crate::store::blobs::conformance::{self, Traits, about, bytes, spooled, target};
use crate::store::blobs::{BlobBody, BlobErrorKind};
use crate::store::key::Target;

/// Large enough to be sent in parts.
const LARGE: u64 = upload::PARTS_ABOVE + (16 << 20);

fn spool_folder() -> (TempDir, SpoolFolder) {
    let folder = tempfile::tempdir().expect("folder");
    let spool = SpoolFolder::open(folder.path()).expect("spool");
    (folder, spool)
}

/// The store for a bucket that exists.
pub(crate) async fn store(weed: &Weed, bucket: &str) -> S3Blobs {
    let store = S3Blobs::new(&weed.settings(bucket)).await.expect("settings");
    store.bucket.client.create_bucket().bucket(bucket).send().await.expect("bucket");
    store
}

async fn large(spool: &SpoolFolder) -> (Target, Spooled, BlobAbout) {
    let (mut writer, _reader) = spool.create(Some(LARGE), None).await.expect("spool");
    for number in 0..LARGE >> 20 {
        let block = bytes::Bytes::from(vec![u8::try_from(number).expect("number"); 1 << 20]);
        writer.append(block).await.expect("append");
    }
    let spooled = writer.complete().await.expect("complete");
    let target = target("r", "large");
    let about = BlobAbout { size: LARGE, sha256: spooled.sha256, ..about(&target, b"") };
    (target, spooled, about)
}

impl S3Blobs {
    async fn uploads_under_way(&self) -> usize {
        let request = self.bucket.client.list_multipart_uploads().bucket(&self.bucket.name);
        request.send().await.map_or(0, |page| page.uploads().len())
    }

    async fn begin_upload(&self, name: &str) {
        let request = self.bucket.client.create_multipart_upload().bucket(&self.bucket.name).key(name);
        request.send().await.expect("an upload");
    }
}

async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    for _ in 0..2_000 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it does not happen: {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms() {
    let weed = Weed::start();
    let (_folder, spool) = spool_folder();
    let traits = Traits { decides_races: false, large: upload::PARTS_ABOVE + (5 << 20) + 17, many: 1_100 };
    conformance::suite(&store(&weed, "conforms").await, &spool, traits).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn says_what_is_wrong() {
    let weed = Weed::start();
    let good = store(&weed, "good").await;
    let (_folder, spool) = spool_folder();
    let (target, content) = (target("r", "f"), b"content");
    let (key, about, spooled) = (target.first_blob_key(), about(&target, content), spooled(&spool, content).await);

    let mut wrong_secret = weed.settings("good");
    wrong_secret.keys = Some(S3Keys { access_key: "testkey".into(), secret_key: "wrongsecret".into() });
    let mut nobody_there = weed.settings("good");
    nobody_there.endpoint = Some("127.0.0.1:1".into());
    for (settings, kind, sentence) in [
        (wrong_secret, BlobErrorKind::Denied, "the store refuses access"),
        (weed.settings("absent"), BlobErrorKind::Missing, "the bucket or folder does not exist"),
        (nobody_there, BlobErrorKind::Unavailable, "the store is not reachable"),
    ] {
        let store = S3Blobs::new(&settings).await.expect("settings");
        let place = format!("bucket {} at http://{}", settings.bucket, settings.endpoint.clone().expect("endpoint"));
        let errors = [
            store.ping().await.expect_err("ping"),
            store.read(&key, None).await.map(drop).expect_err("read"),
            store.write(&key, &spooled, &about).await.map(drop).expect_err("write"),
            store.delete(std::slice::from_ref(&key)).await.expect_err("delete").error,
            store.list("").try_collect::<Vec<_>>().await.map(drop).expect_err("list"),
        ];
        for error in errors {
            assert_eq!(error.kind, kind, "{error:?}");
            let (shown, debugged) = (error.to_string(), format!("{error:?}"));
            assert!(shown.contains(sentence) && shown.contains(&place), "{shown}");
            assert!(!shown.contains("secret") && !debugged.contains("wrongsecret"), "{debugged}");
        }
    }

    // Bytes that are not those of the digest, as if they had changed on their way.
    std::fs::File::options().write(true).open(spooled.path()).expect("open").write_at(b"C", 0).expect("damage");
    let error = good.write(&key, &spooled, &about).await.map(drop).expect_err("refused");
    assert!(format!("{error:?}").contains("BadDigest"), "{error:?}");
    assert!(good.read(&key, None).await.expect("read").is_none());
}

/// A bucket may be shared: what others are uploading to it is theirs.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_abandoned_is_tidied_and_what_is_others_is_not() {
    let weed = Weed::start();
    let store = store(&weed, "shared").await;
    let target = target("r", "large");
    let (first, later) = (target.first_blob_key(), target.later_blob_key(&Sha256::of(b"")));
    for name in [&names::name_of(&first), &names::name_of(&later), "backups/2026/database.tar"] {
        store.begin_upload(name).await;
    }
    assert_eq!(store.tidy(Duration::from_secs(3_600)).await.expect("tidy"), 0);
    // The server tells when an upload began in whole seconds.
    until("all that is ours to be old enough", async || {
        store.tidy(Duration::ZERO).await.expect("tidy");
        store.uploads_under_way().await == 1
    })
    .await;
    assert_eq!(store.tidy(Duration::ZERO).await.expect("tidy"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn interruptions() {
    let mut weed = Weed::start();
    let store = store(&weed, "interrupted").await;
    let (_folder, spool) = spool_folder();
    let (target, spooled, about) = large(&spool).await;
    let key = target.first_blob_key();
    let write = || {
        let (store, key, spooled, about) = (store.clone(), key.clone(), spooled.clone(), about.clone());
        tokio::spawn(async move { store.write(&key, &spooled, &about).await })
    };

    // Whoever wanted the upload leaves: it is given up.
    let writing = write();
    until("an upload begins", async || store.uploads_under_way().await == 1).await;
    writing.abort();
    until("it is given up", async || store.uploads_under_way().await == 0).await;
    assert!(store.read(&key, None).await.expect("read").is_none());

    // The server dies in the middle of one: nothing can be read, then or later, and the rest can be swept up.
    let writing = write();
    until("an upload begins", async || store.uploads_under_way().await == 1).await;
    weed.kill();
    let error = writing.await.expect("task").expect_err("interrupted");
    assert_eq!(error.kind, BlobErrorKind::Unavailable, "{error:?}");
    let asked = Instant::now();
    assert_eq!(store.read(&key, None).await.map(drop).expect_err("away").kind, BlobErrorKind::Unavailable);
    assert!(asked.elapsed() < Duration::from_millis(100), "known to be away: {:?}", asked.elapsed());
    weed.restart();
    store.ping().await.expect("back");
    assert!(store.read(&key, None).await.expect("read").is_none());
    assert!(store.about(&key).await.expect("about").is_none());
    assert_eq!(store.list("").count().await, 0);
    assert_eq!(store.tidy(Duration::from_secs(3600)).await.expect("sweep"), 0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(store.tidy(Duration::ZERO).await.expect("sweep"), 1);
    assert_eq!(store.uploads_under_way().await, 0);
    assert_eq!(write().await.expect("task").expect("write"), Written::Stored);
    assert_eq!(Sha256::of(&bytes(&store, &key).await), spooled.sha256);

    // It stands still: that is noticed, too, and costs time once.
    weed.freeze(true);
    let asked = Instant::now();
    for limit in [16_000, 100, 100] {
        let error = store.read(&key, None).await.map(drop).expect_err("frozen");
        assert_eq!(error.kind, BlobErrorKind::Unavailable);
        assert!(asked.elapsed() < Duration::from_secs(16) + Duration::from_millis(limit));
    }
    weed.freeze(false);
    store.ping().await.expect("back");

    // It dies while it sends: the stream ends with an error, never cleanly.
    let read = store.read(&key, None).await.expect("read").expect("present");
    let BlobBody::Stream { mut bytes, .. } = read.body else { panic!("{:?}", read.body) };
    bytes.next().await.expect("some").expect("bytes");
    weed.kill();
    let rest: Result<Vec<_>, _> = bytes.try_collect().await;
    assert_eq!(rest.map(drop).expect_err("cut").kind, BlobErrorKind::Unavailable);
}
