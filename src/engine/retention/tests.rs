use std::time::Duration;

use artifactapi_formats::{RepoPath, Sha256};
use bytes::Bytes;
use sqlx::Connection as _;

use super::*;
use crate::config::Source;
use crate::engine::held::now;
use crate::engine::keep::{Keeper, Kept};
use crate::engine::tend::sweep_now;
use crate::spool::SpoolFolder;
use crate::store::blobs::BlobStore;
use crate::store::blobs::files::FileBlobs;
use crate::store::catalog::snapshots::{Snapshot, SnapshotPublished};
use crate::store::catalog::sqlite::SqliteCatalog;
use crate::store::catalog::{Artifact, Use};
use crate::store::coordinator::in_process::InProcessCoordinator;
use crate::store::key::Target;

const REPOSITORIES: &str = r#"
remotes:
  files: { base_url: "https://example.com", type: remote, package: generic, cache: { max_bytes: 5000 } }
  other: { base_url: "https://example.com", type: remote, package: generic }
  ours: { type: local, package: generic }
  index: { base_url: "https://example.com", type: remote, package: rpm, cache: { snapshot_keep: 1m, max_bytes: 1kB } }
"#;

struct House {
    folder: tempfile::TempDir,
    spool: SpoolFolder,
    blobs: Arc<FileBlobs>,
    catalog: Arc<SqliteCatalog>,
    coordinator: Arc<InProcessCoordinator>,
    counts: Arc<Counts>,
    repositories: Repositories,
}

impl House {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("remotes.yaml");
        std::fs::write(&file, REPOSITORIES).expect("written");
        let source = Source::find(Some(&file), folder.path(), artifactapi_formats::FORMATS, Arc::new(|_: &str| None));
        let catalog = SqliteCatalog::open(&folder.path().join("catalog.sqlite")).await.expect("a catalog");
        Self {
            spool: SpoolFolder::open(&folder.path().join("spool")).expect("a spool"),
            blobs: Arc::new(FileBlobs::open(folder.path()).expect("blobs")),
            catalog: Arc::new(catalog),
            coordinator: Arc::default(),
            counts: Arc::default(),
            repositories: source.and_then(|source| source.load()).expect("repositories"),
            folder,
        }
    }

    fn retention(&self, overall: Option<u64>) -> Retention {
        Retention::new(RetentionParts {
            catalog: Arc::clone(&self.catalog) as Arc<dyn Catalog>,
            snapshots: Arc::clone(&self.catalog) as Arc<dyn Snapshots>,
            coordinator: Arc::clone(&self.coordinator) as Arc<dyn Coordinator>,
            counts: Arc::clone(&self.counts),
            overall,
        })
    }

    /// Keeps so many bytes as the engine does, so many seconds after the beginning of time.
    async fn keep(&self, target: &Target, bytes: usize, second: u64) -> Artifact {
        let (mut writer, _) = self.spool.create(None, None).await.expect("a spool");
        writer.append(Bytes::from(vec![b'x'; bytes])).await.expect("appended");
        let spooled = writer.complete().await.expect("complete");
        let blobs = Arc::clone(&self.blobs) as Arc<dyn BlobStore>;
        let coordinator = Arc::clone(&self.coordinator) as Arc<dyn Coordinator>;
        let keeper = Keeper::new(
            blobs,
            Arc::clone(&self.catalog) as Arc<dyn Catalog>,
            Arc::clone(&self.catalog) as Arc<dyn Snapshots>,
            coordinator,
        );
        match keeper.keep(&spooled, draft(target, second), None).await.expect("kept") {
            Kept::Current(artifact) => artifact,
            Kept::Beaten(_) => panic!("beaten"),
        }
    }

    /// So many files of 1000 bytes, each a second younger than the one before.
    async fn fill(&self, repository: &str, count: u64) -> Vec<Artifact> {
        let mut all = Vec::new();
        for second in 1..=count {
            all.push(self.keep(&target(repository, &format!("{second}")), 1_000, second).await);
        }
        all
    }

    async fn used(&self, artifact: &Artifact, second: u64) {
        let used = Use { target: artifact.target.clone(), count: 1, last: at(second) };
        self.catalog.record_uses(&[used]).await.expect("recorded");
    }

    async fn holds(&self, artifact: &Artifact) -> bool {
        self.catalog.lookup(&artifact.target).await.expect("looked up").is_some()
    }

    /// Publishes the next snapshot of the only root, with an entry of so many bytes.
    async fn publish(&self, bytes: u64, second: u64) -> Snapshot {
        self.publish_of(root(), bytes, second).await
    }

    async fn publish_of(&self, root: Target, bytes: u64, second: u64) -> Snapshot {
        let begun = self.catalog.begin(&root, at(second)).await.expect("a draft");
        let mut entry = draft(&root, second);
        (entry.size, entry.sha256) = (bytes, Sha256::of(&second.to_be_bytes()));
        entry.blob = root.later_blob_key(&entry.sha256);
        let snapshot = Snapshot {
            id: begun.id,
            root,
            published_at: at(second),
            made_at: None,
            source: String::new(),
            packages: 0,
            tags: Vec::new(),
            files: vec![entry],
        };
        match self.catalog.publish_snapshot(&snapshot, begun.follows, &[]).await.expect("an answer") {
            SnapshotPublished::Won { snapshot, .. } => *snapshot,
            lost => panic!("{lost:?}"),
        }
    }
}

fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

fn target(repository: &str, path: &str) -> Target {
    Target::new(repository.parse().expect("a name"), RepoPath::new(path).expect("a path"))
}

fn root() -> Target {
    target("index", "a/repodata/repomd.xml")
}

fn draft(target: &Target, second: u64) -> Artifact {
    Artifact::unpublished(target.clone(), 0, Sha256::of(b""), "text/plain", at(second))
}

fn gone(report: &Report, repository: &str) -> (u64, u64) {
    report.repositories.get(repository).map_or((0, 0), |gone| (gone.files, gone.bytes))
}

#[tokio::test]
async fn a_budget_takes_the_coldest_and_readers_keep_theirs() {
    let house = House::new().await;
    let files = house.fill("files", 10).await;
    house.used(&files[0], 100).await;
    let retention = house.retention(None);
    assert!(retention.is_over(&house.repositories).await.expect("an answer"));
    let mut events = house.coordinator.events();

    let shown = retention.run(&house.repositories, now(), Mode::Show).await.expect("a report");
    assert_eq!((gone(&shown, "files"), shown.over), ((6, 6_000), 0));
    assert!(events.try_recv().is_err(), "nothing happened yet");
    assert_eq!(house.counts.evicted_files.get(), 0);

    let done = retention.run(&house.repositories, now(), Mode::Remove).await.expect("a report");
    assert_eq!(done, shown);
    for (at, file) in files.iter().enumerate() {
        assert_eq!(house.holds(file).await, !(1..=6).contains(&at), "{at}");
        let read = house.blobs.read(&file.blob, None).await.expect("an answer");
        assert!(read.is_some(), "its bytes wait for readers");
    }
    let mut evicted = Vec::new();
    while let Ok(Event::Evicted(target, revision)) = events.try_recv() {
        evicted.push((target, revision));
    }
    evicted.sort();
    let mut expected: Vec<_> = files[1..=6].iter().map(|file| (file.target.clone(), file.revision)).collect();
    expected.sort();
    assert_eq!(evicted, expected);
    assert_eq!((house.counts.evicted_files.get(), house.counts.evicted_bytes.get()), (6, 6_000));
    assert!(!retention.is_over(&house.repositories).await.expect("an answer"));
    assert_eq!(sweep_now(&*house.catalog, &*house.blobs).await.expect("swept"), 0, "the grace is not over");
}

#[tokio::test]
async fn bytes_go_after_the_grace_and_not_from_under_a_reader() {
    let house = House::new().await;
    let files = house.fill("files", 6).await;
    let reading = house.blobs.read(&files[0].blob, None).await.expect("an answer").expect("a blob");
    // As if it had been evicted long ago.
    house.retention(None).run(&house.repositories, at(1_000), Mode::Remove).await.expect("a report");
    // Fetched again, it is no garbage any more.
    let again = house.keep(&files[1].target, 1_000, 2_000).await;
    assert_eq!(sweep_now(&*house.catalog, &*house.blobs).await.expect("swept"), 1);
    assert!(house.blobs.read(&files[0].blob, None).await.expect("an answer").is_none());
    assert!(house.blobs.read(&again.blob, None).await.expect("an answer").is_some());
    let crate::store::blobs::BlobBody::File(file) = reading.body else { panic!("a file") };
    let whole = crate::engine::content::Content::File(file).whole(1_000).await.expect("whole");
    assert_eq!(whole, vec![b'x'; 1_000]);
}

#[tokio::test]
async fn a_blob_that_cannot_be_deleted_keeps_no_other() {
    let house = House::new().await;
    let files = house.fill("other", 300).await;
    for file in &files {
        assert!(house.catalog.remove(&file.target, file.revision, at(1_000)).await.expect("an answer"));
    }
    let stuck = house.folder.path().join("blobs").join(files[0].blob.as_str());
    std::fs::remove_file(&stuck).expect("removed");
    std::fs::create_dir_all(stuck.join("inside")).expect("a folder in its place");
    sweep_now(&*house.catalog, &*house.blobs).await.expect_err("it says so");
    for file in &files[1..] {
        assert!(house.blobs.read(&file.blob, None).await.expect("an answer").is_none(), "{}", file.target);
    }
    // And only this one is still to be deleted.
    let left = house.catalog.take_garbage(now() + Duration::from_secs(3_600), 100).await.expect("taken");
    assert_eq!(left, [files[0].blob.clone()]);
}

#[tokio::test]
async fn more_than_a_batch_and_more_than_a_page() {
    let house = House::new().await;
    let count = BATCH as u64 * 2 + 40;
    let files = house.fill("other", count).await;
    let retention = house.retention(Some(20_000));
    let shown = retention.run(&house.repositories, now(), Mode::Show).await.expect("a report");
    let done = retention.run(&house.repositories, now(), Mode::Remove).await.expect("a report");
    assert_eq!(gone(&done, "other"), (count - 19, (count - 19) * 1_000));
    assert_eq!(done, shown);
    assert!(house.holds(files.last().expect("a file")).await);
}

#[tokio::test]
async fn the_overall_budget_takes_whoevers_but_no_uploads() {
    let house = House::new().await;
    let uploads = house.fill("ours", 4).await;
    let (files, other) = (house.fill("files", 4).await, house.fill("other", 4).await);
    house.used(&files[0], 100).await;
    let done = house.retention(Some(9_500)).run(&house.repositories, now(), Mode::Remove).await.expect("a report");
    // 9025 are left to be held: the three coldest of the remotes go.
    assert_eq!((gone(&done, "files"), gone(&done, "other"), done.over), ((1, 1_000), (2, 2_000), 0));
    assert!(house.holds(&files[0]).await && !house.holds(&files[1]).await && !house.holds(&other[1]).await);

    let done = house.retention(Some(1_000)).run(&house.repositories, now(), Mode::Remove).await.expect("a report");
    assert_eq!((gone(&done, "files"), gone(&done, "other"), gone(&done, "ours")), ((3, 3_000), (2, 2_000), (0, 0)));
    assert_eq!(done.over, 3_000, "of uploads");
    for upload in &uploads {
        assert!(house.holds(upload).await);
    }
}

#[tokio::test]
async fn snapshots_stay_for_their_time_and_while_they_are_tagged() {
    let house = House::new().await;
    let mut all = Vec::new();
    for second in [10, 20, 30, 40] {
        all.push(house.publish(3_000, second).await);
    }
    let tag = "stable".parse().expect("a tag");
    assert!(house.catalog.tag(all[0].id, &tag).await.expect("an answer"));
    let retention = house.retention(None);
    // Followed at 20, 30 and 40; a minute is kept.
    for (second, expected) in [(90, 0), (95, 1), (200, 1), (300, 0)] {
        let shown = retention.run(&house.repositories, at(second), Mode::Show).await.expect("a report");
        let done = retention.run(&house.repositories, at(second), Mode::Remove).await.expect("a report");
        assert_eq!([shown.sum().expired.snapshots, done.sum().expired.snapshots], [expected; 2], "at {second}");
        // What the current one needs stays, whatever the budget says.
        assert_eq!((done.sum().files, done.over), (0, 2_000));
    }
    assert_eq!(house.counts.snapshots_expired.get(), 2);
    for (snapshot, is_kept) in all.iter().zip([true, false, false, true]) {
        let found = house.catalog.snapshot(snapshot.id).await.expect("an answer");
        assert_eq!(found.is_some(), is_kept);
    }
    assert!(house.catalog.lookup(&root()).await.expect("looked up").is_some());
    // Without its tag it is as old as it is.
    assert!(house.catalog.untag(&root(), &tag).await.expect("an answer"));
    let done = retention.run(&house.repositories, at(300), Mode::Remove).await.expect("a report");
    assert_eq!(done.sum().expired.snapshots, 1);
}

#[tokio::test]
async fn a_repository_that_fails_keeps_no_other() {
    let house = House::new().await;
    let files = house.fill("files", 10).await;
    let ours = target("ours", "repodata/repomd.xml");
    let (stuck, after) = (house.publish(10, 10).await, house.publish_of(ours.clone(), 10, 10).await);
    house.publish(10, 20).await;
    house.publish_of(ours, 10, 20).await;
    let file = format!("sqlite://{}", house.folder.path().join("catalog.sqlite").display());
    let mut database = sqlx::SqliteConnection::connect(&file).await.expect("a database");
    sqlx::raw_sql(
        "CREATE TRIGGER stuck BEFORE DELETE ON snapshot
         WHEN old.root = (SELECT id FROM index_root WHERE repository = 'index')
         BEGIN SELECT RAISE(ABORT, 'stuck'); END",
    )
    .execute(&mut database)
    .await
    .expect("a trigger");

    house.retention(None).run(&house.repositories, now(), Mode::Remove).await.expect_err("it says so");
    let is_kept = async |id| house.catalog.snapshot(id).await.expect("an answer").is_some();
    assert!(is_kept(stuck.id).await);
    assert!(!is_kept(after.id).await, "one that comes after it");
    assert!(!house.holds(&files[0]).await, "and budgets are kept, too");
}

/// `other` is taken out of the file: what it holds counts, and goes when somebody says so.
#[tokio::test]
async fn what_is_left_behind_counts_and_goes_by_name() {
    let house = House::new().await;
    let (files, other) = (house.fill("files", 4).await, house.fill("gone", 4).await);
    let name = other[0].target.repository.clone();
    let retention = house.retention(Some(6_000));
    let left = retention.left_behind(&house.repositories).await.expect("an answer");
    assert_eq!(left.iter().map(|(name, totals)| (name.as_str(), totals.bytes)).collect::<Vec<_>>(), [("gone", 4_000)]);
    assert!(retention.is_over(&house.repositories).await.expect("an answer"));

    // By itself, only what can be had again goes.
    let done = retention.run(&house.repositories, now(), Mode::Remove).await.expect("a report");
    assert_eq!((gone(&done, "files"), gone(&done, "gone"), done.over), ((3, 3_000), (0, 0), 0));
    assert!(house.holds(&files[3]).await && house.holds(&other[0]).await);

    let shown = retention.purge(&name, now(), Mode::Show).await.expect("a report");
    assert!(house.holds(&other[0]).await, "it was only said");
    let purged = retention.purge(&name, now(), Mode::Remove).await.expect("a report");
    assert_eq!((purged, shown.files, shown.bytes), (shown, 4, 4_000));
    assert!(retention.left_behind(&house.repositories).await.expect("an answer").is_empty());
    for record in &other {
        assert!(!house.holds(record).await);
    }
    assert!(house.holds(&files[3]).await);
}

#[tokio::test]
async fn what_is_purged_leaves_no_index_behind() {
    let house = House::new().await;
    let first = house.publish(3_000, 10).await;
    assert!(house.catalog.tag(first.id, &"stable".parse().expect("a tag")).await.expect("an answer"));
    house.publish(3_000, 20).await;
    let retention = house.retention(None);
    let shown = retention.purge(&root().repository, now(), Mode::Show).await.expect("a report");
    assert!(house.catalog.current(&root()).await.expect("asked").is_some(), "it was only said");
    let purged = retention.purge(&root().repository, now(), Mode::Remove).await.expect("a report");
    assert_eq!((purged, shown.expired.snapshots), (shown, 2));
    assert_eq!(house.catalog.current(&root()).await.expect("asked"), None);
    assert_eq!(house.catalog.snapshot(first.id).await.expect("asked"), None);
}
