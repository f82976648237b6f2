//! The tier in front of a store that counts, waits, breaks and lies as told, and in front of a real S3.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use artifactapi_formats::Sha256;

use super::distant::Bench;
use super::*;
use crate::store::blobs::conformance::{self, Traits, about, bytes, collect, follow, spooled, target};
use crate::store::blobs::files::FileBlobs;
use crate::store::blobs::read_this;
use crate::store::blobs::s3::{tests::store as s3_store, weed::Weed};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

fn content(seed: u8, size: usize) -> Vec<u8> {
    let blocks = (0..=u8::MAX).cycle().flat_map(|block| [seed.wrapping_add(block); 251]);
    blocks.take(size).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_over_files() {
    let bench = Bench::new(8 * MIB);
    let traits = Traits { decides_races: true, large: 3 << 20, many: 300 };
    conformance::suite(&bench.tier, &bench.spool, traits).await;
    let folder = tempfile::tempdir().expect("folder");
    let files = FileBlobs::open(folder.path()).expect("store");
    let tier = HotTier::open(files, &folder.path().join("hot"), 1 << 20, bench.spool.clone()).expect("tier");
    conformance::suite(&tier, &bench.spool, traits).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_over_s3() {
    let weed = Weed::start();
    let folder = tempfile::tempdir().expect("folder");
    let spool = SpoolFolder::open(&folder.path().join("spool")).expect("spool");
    let store = s3_store(&weed, "hot").await;
    let tier = HotTier::open(store, &folder.path().join("hot"), 1 << 30, spool.clone()).expect("tier");
    let traits = Traits { decides_races: false, large: (64 << 20) + (5 << 20), many: 50 };
    conformance::suite(&tier, &spool, traits).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_readers_of_one_cold_key_ask_once() {
    let bench = Bench::new(64 * MIB);
    let expected = content(1, 3 * MIB);
    let key = bench.cold("f", &expected).await;
    let readers = (0..100).map(|_| bytes(&bench.tier, &key));
    for read in futures_util::future::join_all(readers).await {
        assert!(read == expected);
    }
    bench.warm(&key).await;
    assert_eq!(bench.distant.asked(), (1, 0));
    let read = bench.tier.read(&key, None).await.expect("read").expect("present");
    assert!(matches!(read.body, BlobBody::File(_)));
    assert_eq!(read.sha256, Some(Sha256::of(&expected)));
    assert_eq!(bench.distant.asked(), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_follow_a_fill_and_may_leave_it() {
    let bench = Bench::new(64 * MIB);
    let key = bench.cold("f", &content(1, 2 * MIB)).await;
    let distant = Arc::clone(&bench.distant);
    distant.hold();
    let read = bench.tier.read(&key, None).await.expect("read").expect("present");
    let BlobBody::Growing(mut reader) = read.body else { panic!("{:?}", read.body) };
    distant.pieces.add_permits(10);
    assert!(reader.readable_past(0).await.expect("bytes") > 0, "bytes are handed on while the store sends more");
    drop(reader);
    distant.pieces.add_permits(1_000);
    bench.settled(|bench| bench.tier.usage().entries == 1).await;
    bench.warm(&key).await;
    assert_eq!(distant.asked(), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn stays_within_its_budget_under_concurrent_reads() {
    let budget = 2 * MIB;
    let bench = Arc::new(Bench::new(budget));
    let mut keys = Vec::new();
    for number in 0..40_u8 {
        let content = content(number, 100 * KIB + usize::from(number) * KIB);
        keys.push((bench.cold(&format!("f{number}"), &content).await, content));
    }
    let keys = Arc::new(keys);
    let readers = (0..8).map(|reader| {
        let (bench, keys) = (Arc::clone(&bench), Arc::clone(&keys));
        tokio::spawn(async move {
            for step in 0..60 {
                let (key, expected) = &keys[(reader * 7 + step * (reader + 1)) % keys.len()];
                assert!(bytes(&bench.tier, key).await == *expected);
                assert!(bench.tier.usage().bytes <= budget as u64);
            }
        })
    });
    for reader in readers.collect::<Vec<_>>() {
        reader.await.expect("reader");
    }
    let entries = |bench: &Bench| (bench.files().len(), bench.bytes_on_disk());
    // What was read last may still be on its way to the disk.
    bench.settled(|bench| entries(bench).0 > 5 && entries(bench).0 == bench.tier.usage().entries).await;
    let (files, on_disk) = entries(&bench);
    assert!(on_disk <= budget as u64, "{files} files, {on_disk} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_stays_readable_when_it_is_evicted() {
    let bench = Bench::new(MIB);
    let expected = content(0, 200 * KIB);
    let key = bench.cold("first", &expected).await;
    bench.warm(&key).await;
    let read = bench.tier.read(&key, None).await.expect("read").expect("present");
    for number in 1..10 {
        let key = bench.cold(&format!("f{number}"), &content(number, 200 * KIB)).await;
        bench.warm(&key).await;
    }
    assert!(!bench.tier.fills.shelf.has(Id::of(&key)), "evicted");
    assert!(collect(read).await.1 == expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_or_no_room_is_streamed() {
    let bench = Bench::new(MIB);
    let large = content(1, 300 * KIB);
    let key = bench.cold("large", &large).await;
    let read = bench.tier.read(&key, None).await.expect("read").expect("present");
    assert!(matches!(read.body, BlobBody::Stream { .. }));
    assert!(collect(read).await.1 == large);
    assert_eq!(bench.distant.asked(), (1, 0), "the answer that was open is handed on");
    assert!(futures_util::future::join_all((0..5).map(|_| bytes(&bench.tier, &key))).await.iter().all(|b| *b == large));
    // Nor is a part of it a reason to fetch the whole.
    let (wholes, _) = bench.distant.asked();
    bench.tier.read(&key, Some(0..10)).await.expect("read").expect("present");
    assert_eq!(bench.distant.asked(), (wholes, 1));
    assert_eq!(bench.tier.usage().entries, 0);
    // A disk that cannot take what the budget allows: a petabyte.
    let small = bench.cold("small", b"small").await;
    *bench.distant.size.lock() = Some(1 << 50);
    let tier =
        HotTier::open(Arc::clone(&bench.distant), &bench.folder.path().join("vast"), 1 << 60, bench.spool.clone());
    let tier = tier.expect("tier");
    let read = tier.read(&small, None).await.expect("read").expect("present");
    assert!(matches!(read.body, BlobBody::Stream { .. }));
    assert_eq!(tier.usage().bytes, 0, "the room is given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts() {
    let bench = Bench::new(256 * MIB);
    let expected = content(1, 20 * MIB);
    let key = bench.cold("f", &expected).await;
    bench.distant.hold();
    // Of a cold blob: straight from the store, which begins a fill of the whole.
    let far = 15 * MIB..15 * MIB + 10;
    let part = |range: &Range<usize>| bench.tier.read(&key, Some(range.start as u64..range.end as u64));
    let cold = part(&far).await.expect("read").expect("present");
    assert!(matches!(cold.body, BlobBody::Stream { .. }));
    bench.settled(|bench| bench.distant.asked() == (1, 1)).await;
    // Near the start of the fill it is worth waiting; far ahead of it, not.
    let near = part(&(5..10)).await.expect("read").expect("present");
    assert!(matches!(near.body, BlobBody::Growing(_)));
    let ahead = part(&far).await.expect("read").expect("present");
    assert!(matches!(ahead.body, BlobBody::Stream { .. }));
    assert_eq!(bench.distant.asked(), (1, 2));
    bench.distant.pieces.add_permits(1_000);
    for read in [cold, ahead] {
        assert_eq!(collect(read).await, (far.start, expected[far.clone()].to_vec()));
    }
    bench.warm(&key).await;
    let warm = part(&far).await.expect("read").expect("present");
    assert!(matches!(warm.body, BlobBody::File(_)));
    assert_eq!(bench.distant.asked(), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn written_blobs_are_hot_and_served_while_the_store_is_away() {
    let bench = Bench::new(MIB);
    let (hot, cold) = (target("r", "hot"), bench.cold("cold", b"cold").await);
    let key = hot.first_blob_key();
    let spooled_hot = spooled(&bench.spool, b"hot").await;
    let written = bench.tier.write(&key, &spooled_hot, &about(&hot, b"hot")).await.expect("write");
    assert_eq!(written, Written::Stored);
    bench.distant.away.store(true, Ordering::Relaxed);
    assert_eq!(bytes(&bench.tier, &key).await, b"hot");
    assert_eq!(bench.distant.asked(), (0, 0));
    for error in [
        bench.tier.read(&cold, None).await.map(drop).expect_err("away"),
        bench.tier.read(&cold, Some(0..1)).await.map(drop).expect_err("away"),
        bench.tier.write(&cold, &spooled_hot, &about(&hot, b"hot")).await.map(drop).expect_err("away"),
        bench.tier.ping().await.expect_err("away"),
    ] {
        assert_eq!(error.kind, BlobErrorKind::Unavailable);
    }
    bench.distant.away.store(false, Ordering::Relaxed);
    assert_eq!(bytes(&bench.tier, &cold).await, b"cold");
    // What another replica put there in the meantime is not covered by what this one holds.
    bench.distant.files.delete(std::slice::from_ref(&key)).await.expect("delete");
    let other = spooled(&bench.spool, b"new").await;
    assert_eq!(bench.tier.write(&key, &other, &about(&hot, b"new")).await.expect("write"), Written::Stored);
    assert_eq!(bytes(&bench.tier, &key).await, b"new");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_is_not_what_it_says_never_ends_well_and_is_not_kept() {
    let bench = Bench::new(64 * MIB);
    let expected = content(1, MIB);
    let key = bench.cold("f", &expected).await;
    *bench.distant.last_byte.lock() = Some(0xff);
    let read = bench.tier.read(&key, None).await.expect("read").expect("present");
    let BlobBody::Growing(reader) = read.body else { panic!("{:?}", read.body) };
    let error = follow(reader).await.expect_err("mismatch").to_string();
    assert!(error.contains(&Sha256::of(&expected).hex()), "{error}");
    bench.settled(|bench| bench.tier.fills.running(&key).is_none()).await;
    assert_eq!((bench.tier.usage().entries, bench.tier.usage().bytes), (0, 0));
    *bench.distant.last_byte.lock() = None;
    assert!(bytes(&bench.tier, &key).await == expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_breaks_off_is_taken_up_again_or_noticed() {
    let bench = Bench::new(64 * MIB);
    let expected = content(1, MIB);
    let key = bench.cold("f", &expected).await;
    bench.distant.breaks.store(3, Ordering::Relaxed);
    assert!(bytes(&bench.tier, &key).await == expected);
    assert_eq!(bench.distant.asked(), (1, 3));
    let key = bench.cold("g", &expected).await;
    bench.distant.breaks.store(usize::MAX, Ordering::Relaxed);
    let read = bench.tier.read(&key, None).await.expect("read").expect("present");
    let BlobBody::Growing(reader) = read.body else { panic!("{:?}", read.body) };
    assert!(follow(reader).await.is_err());
    assert_eq!(bench.distant.asked(), (2, 6));
    bench.settled(|bench| bench.tier.usage().entries == 1 && bench.tier.fills.running(&key).is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_means_gone_also_while_it_is_on_its_way() {
    let bench = Bench::new(64 * MIB);
    let key = bench.cold("f", &content(1, MIB)).await;
    bench.warm(&key).await;
    bench.tier.delete(std::slice::from_ref(&key)).await.expect("delete");
    assert!(bench.tier.read(&key, None).await.expect("read").is_none());
    let key = bench.cold("f", &content(2, MIB)).await;
    bench.distant.hold();
    let read = bench.tier.read(&key, None).await.expect("read").expect("present");
    bench.tier.delete(std::slice::from_ref(&key)).await.expect("delete");
    bench.distant.pieces.add_permits(1_000);
    assert!(collect(read).await.1 == content(2, MIB), "whoever reads it already reads on");
    bench.settled(|bench| bench.tier.usage().bytes == 0).await;
    assert!(bench.files().is_empty());
    assert!(bench.tier.read(&key, None).await.expect("read").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_older_than_the_store_does_not_hide_what_is_there() {
    let bench = Bench::new(64 * MIB);
    let (old, new) = (content(1, 200 * KIB), content(2, 200 * KIB));
    let key = bench.cold("f", &old).await;
    bench.warm(&key).await;
    // Another replica deletes it, and later has something else to keep under the key.
    let folder = bench.folder.path().join("other");
    let other = HotTier::open(Arc::clone(&bench.distant), &folder, 64 << 20, bench.spool.clone()).expect("tier");
    other.delete(std::slice::from_ref(&key)).await.expect("delete");
    let spooled = spooled(&bench.spool, &new).await;
    let written = other.write(&key, &spooled, &about(&target("r", "f"), &new)).await.expect("write");
    assert_eq!(written, Written::Stored);
    assert!(bytes(&bench.tier, &key).await == old, "nobody has told this one");

    let this = (new.len() as u64, &Sha256::of(&new));
    let part = read_this(&bench.tier, &key, Some(5..10), this).await.expect("read").expect("present");
    let (start, got) = collect(part).await;
    assert_eq!(got[5 - start..10 - start], new[5..10]);
    let whole = read_this(&bench.tier, &key, None, this).await.expect("read").expect("present");
    assert!(collect(whole).await.1 == new);
    bench.warm(&key).await;
    assert!(bytes(&bench.tier, &key).await == new, "the right one is kept");
    let gone = (old.len() as u64, &Sha256::of(&old));
    assert!(read_this(&bench.tier, &key, None, gone).await.expect("read").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn survives_restarts_and_crashes() {
    let mut bench = Bench::new(4 * MIB);
    let mut keys = Vec::new();
    for number in 0..6_u8 {
        let content = content(number, 100 * KIB);
        let key = bench.cold(&format!("f{number}"), &content).await;
        bench.warm(&key).await;
        keys.push((key, content));
    }
    // What a crash or a stranger can leave: half a copy, a file that is too short, a name that means nothing.
    std::fs::write(bench.folder.path().join("hot/incoming/3"), b"half").expect("write");
    let files: BTreeSet<_> = bench.files().into_iter().collect();
    let short = files.first().expect("file");
    std::fs::File::options().write(true).open(short).expect("open").set_len(10).expect("truncate");
    std::fs::write(short.with_file_name("stranger"), b"?").expect("write");
    bench.distant.wholes.store(0, Ordering::Relaxed);
    bench.reopen(4 * MIB);
    assert_eq!(bench.tier.usage().entries, 5);
    assert_eq!(bench.files().len(), 5);
    for (key, content) in &keys {
        assert!(bytes(&bench.tier, key).await == *content);
    }
    assert_eq!(bench.distant.asked().0, 1, "only what was damaged is fetched again");
    bench.settled(|bench| bench.tier.usage().entries == 6).await;
    // A smaller budget keeps what was used last. The order survives as access times, which are set here by hand.
    for (age, (key, _)) in keys.iter().enumerate() {
        let read = bench.tier.read(key, None).await.expect("read").expect("present");
        let BlobBody::File(file) = read.body else { panic!("not hot") };
        let then = std::time::SystemTime::now() - Duration::from_secs(300 + 60 * age as u64);
        file.set_times(std::fs::FileTimes::new().set_accessed(then).set_modified(then)).expect("times");
    }
    bench.reopen(512 * KIB);
    let kept = keys.iter().map(|(key, _)| bench.tier.fills.shelf.has(Id::of(key)));
    assert_eq!(kept.collect::<Vec<_>>(), [true, true, true, true, true, false]);
    // A file that disappears is fetched again.
    for path in bench.files() {
        std::fs::remove_file(path).expect("remove");
    }
    for (key, content) in &keys {
        assert!(bytes(&bench.tier, key).await == *content);
    }
}
