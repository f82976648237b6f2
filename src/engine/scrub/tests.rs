use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use artifactapi_formats::{Identity, PackageEntry, RepoPath, Sha256};
use bytes::Bytes;

use super::*;
use crate::config::{Repositories, Source};
use crate::engine::keep::{Keeper, Kept};
use crate::store::blobs::files::FileBlobs;
use crate::store::blobs::hot_tier::distant::Distant;
use crate::store::catalog::snapshots::{Snapshot, SnapshotPublished};
use crate::store::catalog::sqlite::SqliteCatalog;
use crate::store::coordinator::in_process::InProcessCoordinator;
use crate::store::key::Target;

const REPOSITORIES: &str = r#"
remotes:
  files: { base_url: "https://example.com", package: generic }
  rpms: { base_url: "https://example.com", package: rpm }
  ours: { type: local, package: generic }
"#;

const PACKAGE: &str = "rpms/hello-1.0-1.el9.x86_64.rpm";

struct Stores {
    folder: tempfile::TempDir,
    spool: SpoolFolder,
    blobs: Arc<dyn BlobStore>,
    catalog: Arc<SqliteCatalog>,
    repositories: Repositories,
}

impl Stores {
    async fn new() -> Self {
        Self::over(|folder| Arc::new(FileBlobs::open(folder).expect("blobs"))).await
    }

    async fn over(blobs: impl FnOnce(&Path) -> Arc<dyn BlobStore>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("remotes.yaml");
        std::fs::write(&file, REPOSITORIES).expect("written");
        let source = Source::find(Some(&file), folder.path(), artifactapi_formats::FORMATS, Arc::new(|_: &str| None));
        let catalog = SqliteCatalog::open(&folder.path().join("catalog.sqlite")).await.expect("a catalog");
        Self {
            spool: SpoolFolder::open(&folder.path().join("spool")).expect("a spool"),
            blobs: blobs(folder.path()),
            catalog: Arc::new(catalog),
            repositories: source.and_then(|source| source.load()).expect("repositories"),
            folder,
        }
    }

    /// Keeps a content as the engine does.
    async fn keep(&self, target: &Target, content: &[u8]) -> Artifact {
        let (mut writer, _) = self.spool.create(None, None).await.expect("a spool");
        writer.append(Bytes::copy_from_slice(content)).await.expect("appended");
        let spooled = writer.complete().await.expect("complete");
        let catalog: Arc<dyn Catalog> = Arc::clone(&self.catalog) as _;
        let keeper = Keeper::new(
            Arc::clone(&self.blobs),
            catalog,
            Arc::clone(&self.catalog) as _,
            Arc::new(InProcessCoordinator::new()),
        );
        match keeper.keep(&spooled, draft(target), None).await.expect("kept") {
            Kept::Current(artifact) => artifact,
            Kept::Beaten(_) => panic!("beaten"),
        }
    }

    /// An index that says what a package is.
    async fn name(&self, target: &Target, content: &[u8]) {
        let entry = Target::new(target.repository.clone(), path("repodata/repomd.xml"));
        let file = self.keep(&entry, b"<repomd/>").await;
        let draft = self.catalog.begin(&entry, time(20)).await.expect("a draft");
        let package = PackageEntry {
            name: "hello".to_owned(),
            version: "1.0-1.el9".to_owned(),
            arch: "x86_64".to_owned(),
            path: target.path.clone(),
            size: content.len() as u64,
            identity: Identity::File(Sha256::of(content).into()),
        };
        self.catalog.add_packages(draft.id, &[package]).await.expect("added");
        let snapshot = Snapshot {
            id: draft.id,
            root: entry,
            published_at: time(20),
            made_at: None,
            source: String::new(),
            packages: 1,
            tags: Vec::new(),
            files: vec![file],
        };
        let published = self.catalog.publish_snapshot(&snapshot, None, &[]).await.expect("an answer");
        assert!(matches!(published, SnapshotPublished::Won { .. }), "{published:?}");
    }

    fn file_of(&self, record: &Artifact) -> PathBuf {
        self.folder.path().join("blobs").join(record.blob.as_str())
    }

    async fn scrub(&self, repair: bool) -> (Scrubbed, Vec<Finding>) {
        let (scrubbed, findings) = self.run(repair).await;
        (scrubbed.expect("scrubbed"), findings)
    }

    async fn run(&self, repair: bool) -> (Result<Scrubbed, ScrubError>, Vec<Finding>) {
        let repositories: Vec<_> = self.repositories.iter().cloned().collect();
        let aside = self.folder.path().join("scrub");
        let scrub = Scrub {
            blobs: &self.blobs,
            catalog: &*self.catalog,
            snapshots: &*self.catalog,
            repositories: &repositories,
            aside: &aside,
            repair,
            is_alone: true,
        };
        let (mut findings, mut told) = (Vec::new(), Scrubbed::default());
        let mut found = |finding: &Finding| findings.push(finding.clone());
        let scrubbed = scrub.run(&mut found, &mut |so_far| told = *so_far).await;
        if let Ok(scrubbed) = &scrubbed {
            assert_eq!(told, *scrubbed);
        }
        assert!(!aside.exists(), "its folder is gone");
        findings.sort_by(|a, b| a.target.cmp(&b.target));
        (scrubbed, findings)
    }
}

fn time(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

fn path(path: &str) -> RepoPath {
    RepoPath::new(path).expect("a path")
}

fn target(name: &str) -> Target {
    let (repository, below) = name.split_once('/').expect("a repository");
    Target::new(repository.parse().expect("a name"), path(below))
}

fn draft(target: &Target) -> Artifact {
    Artifact::unpublished(target.clone(), 0, Sha256::of(b""), "application/octet-stream", time(10))
}

fn rpm(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/small/rpm");
    std::fs::read(folder.join(name)).expect("a fixture")
}

#[tokio::test]
async fn what_is_whole_is_left_alone() {
    let stores = Stores::new().await;
    let hello = rpm("hello-1.0-1.el9.x86_64.rpm");
    stores.keep(&target(PACKAGE), &hello).await;
    stores.name(&target(PACKAGE), &hello).await;
    for number in 0..600 {
        stores.keep(&target(&format!("files/{number}")), format!("content {number}").as_bytes()).await;
    }
    let (scrubbed, findings) = stores.scrub(true).await;
    assert_eq!((scrubbed.files, scrubbed.bad, findings), (602, 0, Vec::new()));
    assert!(scrubbed.bytes > hello.len() as u64);
}

#[tokio::test]
async fn what_is_bad_is_found_and_removed() {
    let stores = Stores::new().await;
    let flipped = stores.keep(&target("files/flipped"), &[7; 300_000]).await;
    let truncated = stores.keep(&target("files/truncated"), b"shorter than it was").await;
    let missing = stores.keep(&target("files/missing"), b"gone").await;
    stores.keep(&target("files/whole"), b"whole").await;
    let mut bytes = vec![7; 300_000];
    bytes[299_999] = 8;
    std::fs::write(stores.file_of(&flipped), bytes).expect("written");
    std::fs::write(stores.file_of(&truncated), b"shorter").expect("written");
    std::fs::remove_file(stores.file_of(&missing)).expect("removed");

    let (scrubbed, findings) = stores.scrub(false).await;
    assert_eq!((scrubbed.files, scrubbed.bad, scrubbed.repaired), (4, 3, 0));
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(lines[0].starts_with("files/flipped: its SHA-256 is "), "{lines:?}");
    assert_eq!(
        lines[1..],
        ["files/missing: its blob is missing", "files/truncated: it has 7 bytes and should have 19"]
    );
    for record in [&flipped, &truncated, &missing] {
        assert!(stores.catalog.lookup(&record.target).await.expect("looked up").is_some(), "left as it is");
    }

    let (scrubbed, findings) = stores.scrub(true).await;
    assert_eq!((scrubbed.bad, scrubbed.repaired), (3, 3), "{findings:?}");
    for record in [&flipped, &truncated, &missing] {
        assert_eq!(stores.catalog.lookup(&record.target).await.expect("looked up"), None);
        assert!(!stores.file_of(record).exists());
        stores.keep(&record.target, b"fetched anew").await;
    }
    assert_eq!(stores.scrub(true).await.0.bad, 0);
}

#[tokio::test]
async fn a_package_that_contradicts_its_index() {
    let stores = Stores::new().await;
    let hello = rpm("hello-1.0-1.el9.x86_64.rpm");
    let kept = stores.keep(&target(PACKAGE), &hello).await;
    stores.name(&target(PACKAGE), &hello).await;
    // Bytes and record agree, and are another package than the one that the index names.
    let other = rpm("hello-doc-1.0-1.el9.noarch.rpm");
    assert!(stores.catalog.remove(&kept.target, kept.revision, time(30)).await.expect("removed"));
    stores.keep(&kept.target, &other).await;
    let (scrubbed, findings) = stores.scrub(false).await;
    assert_eq!(scrubbed.bad, 1, "{findings:?}");
    assert!(matches!(&findings[0].fault, Fault::Contradicted { .. }), "{findings:?}");
    assert_eq!(stores.scrub(true).await.0.repaired, 1);
    assert_eq!(stores.catalog.lookup(&kept.target).await.expect("looked up"), None);
}

#[tokio::test]
async fn what_is_no_package_is_found_without_an_index() {
    let stores = Stores::new().await;
    stores.keep(&target(PACKAGE), b"<html>Sign in</html>").await;
    let (_, findings) = stores.scrub(false).await;
    assert!(matches!(&findings[..], [Finding { fault: Fault::Unfit(_), .. }]), "{findings:?}");
}

#[tokio::test]
async fn a_store_that_breaks_off_costs_no_record() {
    let mut distant = None;
    let stores = Stores::over(|folder| {
        let store = distant.insert(Arc::new(Distant::new(folder)));
        Arc::new(Arc::clone(store))
    })
    .await;
    let kept = stores.keep(&target("files/large"), &[7; 300_000]).await;
    distant.expect("the store").breaks.store(1, Ordering::Relaxed);
    let (scrubbed, findings) = stores.run(true).await;
    let error = scrubbed.expect_err("it did not come to the end").to_string();
    assert!(error.starts_with("files/large could not be read, and nothing is known against it: "), "{error}");
    assert_eq!(findings, []);
    assert_eq!(stores.catalog.lookup(&kept.target).await.expect("looked up"), Some(kept));
    assert_eq!(stores.scrub(true).await.0.bad, 0, "it was never bad");
}

#[tokio::test]
async fn what_was_uploaded_and_cannot_be_read_is_told_of_and_stays() {
    let stores = Stores::new().await;
    let kept = stores.keep(&target("ours/file"), b"nowhere else").await;
    // It can be opened, and every read of it fails, as of a bad sector.
    std::fs::remove_file(stores.file_of(&kept)).expect("removed");
    std::fs::create_dir(stores.file_of(&kept)).expect("a folder");
    let (scrubbed, findings) = stores.scrub(true).await;
    assert_eq!((scrubbed.bad, scrubbed.repaired), (1, 0), "{findings:?}");
    assert!(matches!(findings[0].fault, Fault::Unreadable(_)), "{findings:?}");
    assert_eq!(stores.catalog.lookup(&kept.target).await.expect("looked up"), Some(kept));
}
