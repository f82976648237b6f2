//! A publisher over real stores in a folder, with faults where tests want them.

mod elsewhere;
mod files;
mod lost;
mod memory;
mod pieces;
mod promises;
mod terms;

use std::io::Read as _;
use std::time::SystemTime;

use artifactapi_formats::publish::Compression;
use artifactapi_formats::{Identity, PackageEntry, Sha256};
use async_trait::async_trait;
use bytes::Bytes;
use sqlx::Connection as _;

use super::chunks::{Shape, Trust};
use super::sheet::Listed;
use super::*;
use crate::config::Source;
use crate::engine::content::open as open_body;
use crate::engine::identities::Identities;
use crate::engine::pins::Pins;
use crate::engine::shelf::{Found, ShelfBudget};
use crate::store::blobs::files::FileBlobs;
use crate::store::catalog::snapshots::{Generation, SnapshotPublished};
use crate::store::catalog::sqlite::SqliteCatalog;
use crate::store::catalog::{CatalogError, CatalogErrorKind};
use crate::store::coordinator::Entered;
use crate::store::coordinator::in_process::InProcessCoordinator;

const PACKAGE: &str = "el9/x86_64/p-1-1.noarch.rpm";
const COMPS: &str = "el9/x86_64/repodata/comps.xml";
const APK: &str = "x86_64/p-1.apk";

/// What goes wrong when the past of a package is to be kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    Fails,
    Panics,
}

struct Faulty {
    inner: Arc<SqliteCatalog>,
    fault: Mutex<Fault>,
    /// Where whoever next makes a piece is held up.
    gate: Mutex<Option<Arc<Gate>>>,
}

struct Gate {
    reached: tokio::sync::Semaphore,
    open: tokio::sync::Semaphore,
}

#[async_trait]
impl Fragments for Faulty {
    async fn put_fragments(
        &self,
        root: &Target,
        fragments: &[(PackageMark, Vec<u8>)],
        at: SystemTime,
    ) -> Result<(), CatalogError> {
        self.inner.put_fragments(root, fragments, at).await
    }

    async fn fragment_lengths(
        &self,
        root: &Target,
        marks: &[PackageMark],
    ) -> Result<Vec<(PackageMark, u64)>, CatalogError> {
        self.inner.fragment_lengths(root, marks).await
    }

    async fn fragments(
        &self,
        root: &Target,
        marks: &[PackageMark],
    ) -> Result<Vec<(PackageMark, Vec<u8>)>, CatalogError> {
        let gate = self.gate.lock().take();
        if let Some(gate) = gate {
            gate.reached.add_permits(1);
            gate.open.acquire().await.expect("open").forget();
        }
        self.inner.fragments(root, marks).await
    }

    async fn sweep_fragments(&self, before: SystemTime) -> Result<u64, CatalogError> {
        self.inner.sweep_fragments(before).await
    }

    async fn naming(&self, file: &Target) -> Result<Option<SnapshotId>, CatalogError> {
        self.inner.naming(file).await
    }

    async fn keep_past(&self, package: &Target, at: SystemTime) -> Result<(), CatalogError> {
        let fault = *self.fault.lock();
        match fault {
            Fault::Nothing => self.inner.keep_past(package, at).await,
            Fault::Fails => Err(CatalogError { kind: CatalogErrorKind::Unavailable, during: "a test", source: None }),
            Fault::Panics => panic!("as the test wants"),
        }
    }
}

struct House {
    folder: tempfile::TempDir,
    spool: SpoolFolder,
    catalog: Arc<SqliteCatalog>,
    blobs: Arc<dyn BlobStore>,
    faulty: Arc<Faulty>,
    coordinator: Arc<InProcessCoordinator>,
    repositories: Arc<LiveRepositories>,
    publisher: Arc<Publisher>,
    shelf: Arc<Shelf>,
}

fn configured(folder: &Path, overwrite: bool) -> crate::config::Repositories {
    configured_with(folder, 2, overwrite)
}

fn configured_with(folder: &Path, depth: usize, overwrite: bool) -> crate::config::Repositories {
    let file = folder.join("remotes.yaml");
    let text = format!(
        "remotes:\n  ours: {{ type: local, package: rpm, root_depth: {depth}, overwrite: {overwrite} }}\n  \
         twin: {{ type: local, package: rpm, root_depth: 2 }}\n  apks: {{ type: local, package: alpine, overwrite: {overwrite} }}\n  \
         small: {{ type: local, package: generic, overwrite: true, quota: 10 }}\n  \
         all: {{ type: virtual, package: rpm, members: [ours] }}\n"
    );
    std::fs::write(&file, text).expect("written");
    let source = Source::find(Some(&file), folder, artifactapi_formats::FORMATS, Arc::new(|_: &str| None));
    source.and_then(|source| source.load()).expect("repositories")
}

impl House {
    async fn new() -> Self {
        Self::with_records(|catalog| catalog).await
    }

    /// With another catalog of records before the real one.
    async fn with_records(records: impl FnOnce(Arc<dyn Catalog>) -> Arc<dyn Catalog>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let repositories = Arc::new(LiveRepositories::new(configured(folder.path(), true)));
        let spool = SpoolFolder::open(&folder.path().join("spool")).expect("a spool");
        let blobs: Arc<dyn BlobStore> = Arc::new(FileBlobs::open(folder.path()).expect("blobs"));
        let catalog = SqliteCatalog::open(&folder.path().join("catalog.sqlite")).await.expect("a catalog");
        let catalog = Arc::new(catalog);
        let records = records(Arc::clone(&catalog) as _);
        let faulty =
            Arc::new(Faulty { inner: Arc::clone(&catalog), fault: Mutex::new(Fault::Nothing), gate: Mutex::default() });
        let coordinator = Arc::new(InProcessCoordinator::new());
        let parts = PublisherParts {
            fragments: Arc::clone(&faulty) as _,
            coordinator: Arc::clone(&coordinator) as _,
            ..parts(&catalog, &blobs, &spool, &repositories, records)
        };
        let shelf = Arc::clone(&parts.shelf);
        let publisher = Arc::new(Publisher::open(&folder.path().join("publish"), parts).expect("a publisher"));
        Self { folder, spool, catalog, blobs, faulty, coordinator, repositories, publisher, shelf }
    }

    /// A publisher over the same stores that has never heard of the first one.
    fn another(&self) -> Arc<Publisher> {
        let records = Arc::clone(&self.catalog) as _;
        let parts = parts(&self.catalog, &self.blobs, &self.spool, &self.repositories, records);
        Arc::new(Publisher::open(&self.folder.path().join("another"), parts).expect("a publisher"))
    }

    fn repository(&self, name: &str) -> Arc<Repository> {
        self.repositories.get(name).expect("a repository")
    }

    async fn spooled(&self, content: &str) -> Spooled {
        let (mut writer, _) = self.spool.create(None, None).await.expect("a spool");
        writer.append(Bytes::from(content.to_owned())).await.expect("appended");
        writer.complete().await.expect("complete")
    }

    /// Uploads groups that the index carries, told from others by a word.
    async fn carry(&self, content: &str) -> Result<Outcome, PublishError> {
        self.put("ours", COMPS, &groups(content), Condition::default()).await
    }

    /// Uploads a file as clients do.
    async fn put(
        &self,
        repository: &str,
        path: &str,
        content: &str,
        condition: Condition,
    ) -> Result<Outcome, PublishError> {
        let (repository, target) = (self.repository(repository), target(repository, path));
        let mut terms = self.publisher.terms(&repository, &target, None, condition).await?;
        terms.take(content.len() as u64)?;
        let spooled = self.spooled(content).await;
        let done = self.publisher.put(&repository, &target, &spooled, terms).await;
        done.map(|done| done.outcome)
    }

    async fn remove(&self, repository: &str, path: &str) -> Result<Outcome, PublishError> {
        let (repository, target) = (self.repository(repository), target(repository, path));
        let done = self.publisher.remove(&repository, &target, Condition::default()).await;
        done.map(|done| done.outcome)
    }

    /// A package that was read, and of which only its name and this content are known.
    async fn package(&self, repository: &str, path: &str, content: &str) -> Change {
        let fragments = vec![format!("<package>{repository} {content}</package>\n").into_bytes(); 3];
        self.package_of(repository, path, content, chunks::packed(&fragments).expect("packed")).await
    }

    /// The same with these fragments, as they are kept.
    async fn package_of(&self, repository: &str, path: &str, content: &str, packed: Vec<u8>) -> Change {
        let target = target(repository, path);
        let spooled = self.spooled(content).await;
        let draft = self.publisher.draft(&self.repository(repository), target.clone(), Role::Package, &spooled);
        let record = self.publisher.put_aside(draft, &spooled).await.expect("put aside");
        let entry = PackageEntry {
            name: "p".to_owned(),
            version: "1-1".to_owned(),
            arch: "noarch".to_owned(),
            path: target.path,
            size: spooled.size,
            identity: Identity::File(Sha256::of(content.as_bytes()).into()),
        };
        let fragment = (PackageMark::of(&entry), packed);
        self.catalog.put_fragments(&root(repository), &[fragment], now()).await.expect("kept");
        Change::Put { record, described: Described { entry, fragments: Vec::new() } }
    }

    /// A package for apk, in one of the indexes of its folder, of which only its name and this content are known.
    async fn apk(&self, root: &Target, content: &str) -> Change {
        let (target, spooled) = (target("apks", APK), self.spooled(content).await);
        let draft = self.publisher.draft(&self.repository("apks"), target.clone(), Role::Package, &spooled);
        let record = self.publisher.put_aside(draft, &spooled).await.expect("put aside");
        let entry = PackageEntry {
            name: "p".to_owned(),
            version: "1".to_owned(),
            arch: "x86_64".to_owned(),
            path: target.path,
            size: spooled.size,
            identity: Identity::Part(Sha256::of(content.as_bytes()).into()),
        };
        let record = Artifact { identity: Some(entry.identity.clone()), ..record };
        // Of an index that is no text only the empty one is made here.
        let is_text = root.path.as_str().ends_with(".gz");
        let fragments = vec![if is_text { format!("P:{content}\n\n").into_bytes() } else { Vec::new() }];
        let fragment = (PackageMark::of(&entry), chunks::packed(&fragments).expect("packed"));
        self.catalog.put_fragments(root, &[fragment], now()).await.expect("kept");
        Change::Put { record, described: Described { entry, fragments } }
    }

    /// Publishes changes as one batch.
    async fn publish(&self, repository: &str, changes: &[Change]) -> Result<Vec<Outcome>, PublishError> {
        let found = self.repository(repository);
        let local = local_of(&found)?;
        let done = self.publisher.publish(&found, local, &root(repository), changes).await?;
        Ok(done.into_iter().map(|done| done.outcome).collect())
    }

    /// The content that a path has for clients.
    async fn content(&self, path: &str) -> Option<Sha256> {
        self.catalog.lookup(&target("ours", path)).await.expect("asked").map(|record| record.sha256)
    }

    /// The text of the first list of the current index.
    async fn listed(&self, name: &str) -> String {
        let repository = self.repository(name);
        let snapshot = self.catalog.current(&root(name)).await.expect("asked").expect("a snapshot");
        let file = snapshot.files.iter().find(|file| file.target.path.as_str().ends_with("-primary.xml.gz"));
        let target = &file.expect("a list").target;
        let mutability = repository.format.mutability(&target.path);
        let found = self.publisher.file_of_a_snapshot(&repository, target, Role::IndexMember, &mutability).await;
        let Ok(Some(Found::Held(held))) = found else { panic!("not written") };
        let mut reader = open_body(&held, &self.blobs).await.unwrap_or_else(|_| panic!("not opened"));
        let mut packed = Vec::new();
        reader.read_to_end(&mut packed).expect("read");
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(&*packed).read_to_string(&mut text).expect("a list");
        text
    }

    fn pieces(&self) -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(self.folder.path().join("publish")).expect("read");
        entries.map(|entry| entry.expect("an entry").path()).collect()
    }
}

/// What a publisher works with, over these stores.
fn parts(
    catalog: &Arc<SqliteCatalog>,
    blobs: &Arc<dyn BlobStore>,
    spool: &SpoolFolder,
    repositories: &Arc<LiveRepositories>,
    records: Arc<dyn Catalog>,
) -> PublisherParts {
    let snapshots: Arc<dyn Snapshots> = Arc::clone(catalog) as _;
    let coordinator: Arc<dyn Coordinator> = Arc::new(InProcessCoordinator::new());
    let shelf = Arc::new(Shelf::new(ShelfBudget(1 << 20), Arc::clone(&records), Arc::clone(blobs)));
    let keeper = Keeper::new(Arc::clone(blobs), Arc::clone(&records), Arc::clone(&snapshots), Arc::clone(&coordinator));
    let identities = Identities::new(Arc::clone(blobs), Arc::clone(&records), Arc::clone(&coordinator), spool.clone());
    let switches = Switches::new(Arc::clone(&shelf), Arc::clone(&snapshots), Arc::new(Pins::default()), identities);
    PublisherParts {
        limits: Limits::default(),
        spool: spool.clone(),
        shelf,
        blobs: Arc::clone(blobs),
        keeper: Arc::new(keeper),
        catalog: records,
        snapshots,
        fragments: Arc::clone(catalog) as _,
        coordinator,
        switches: Arc::new(switches),
        repositories: Arc::clone(repositories),
    }
}

fn groups(word: &str) -> String {
    format!("<comps><!-- {word} --></comps>")
}

fn target(repository: &str, path: &str) -> Target {
    Target::new(repository.parse().expect("a name"), RepoPath::new(path).expect("a path"))
}

fn root(repository: &str) -> Target {
    target(repository, "el9/x86_64/repodata/repomd.xml")
}

fn remove(path: &str) -> Change {
    Change::Remove { path: RepoPath::new(path).expect("a path") }
}

#[tokio::test]
async fn what_is_removed_and_put_again_in_one_batch_is_there() {
    let house = House::new().await;
    let put = house.package("ours", PACKAGE, "first").await;
    assert_eq!(house.publish("ours", &[put]).await.expect("published"), [Outcome::Created]);
    let put = house.package("ours", PACKAGE, "second").await;
    let outcomes = house.publish("ours", &[remove(PACKAGE), put]).await.expect("published");
    assert_eq!(outcomes, [Outcome::Removed, Outcome::Created]);
    assert_eq!(house.content(PACKAGE).await, Some(Sha256::of(b"second")));
    let first = Identity::File(Sha256::of(b"first").into());
    let past = house.catalog.content(&target("ours", PACKAGE), &first, None).await.expect("asked");
    assert!(past.is_some(), "the snapshot before still has it");
    assert!(house.listed("ours").await.contains("second"));

    assert_eq!(house.carry("a").await.expect("carried"), Outcome::Created);
    let Some(record) = house.catalog.lookup(&target("ours", COMPS)).await.expect("asked") else { panic!("no record") };
    let outcomes = house.publish("ours", &[remove(COMPS), Change::Carry { record }]).await.expect("published");
    assert_eq!(outcomes, [Outcome::Removed, Outcome::Created]);
    assert_eq!(house.content(COMPS).await, Some(Sha256::of(groups("a").as_bytes())));

    let outcomes = house.publish("ours", &[remove(PACKAGE), remove(COMPS)]).await.expect("published");
    assert_eq!(outcomes, [Outcome::Removed, Outcome::Removed]);
    assert_eq!((house.content(PACKAGE).await, house.content(COMPS).await), (None, None));
}

#[tokio::test]
async fn what_is_removed_is_gone_with_its_publication() {
    let house = House::new().await;
    let put = house.package("ours", PACKAGE, "first").await;
    house.publish("ours", &[put]).await.expect("published");
    // Nothing that comes after the publication may be needed for it.
    let (base, changes) = (house.publisher.base(&root("ours")).await.expect("a base"), [remove(PACKAGE)]);
    let repository = house.repository("ours");
    let local = local_of(&repository).expect("a local repository");
    let plan =
        house.publisher.plan(local, &root("ours"), &base, &changes.iter().collect::<Vec<_>>()).await.expect("a plan");
    let format = repository.format.publish().expect("an index");
    let won =
        house.publisher.attempt(&repository, local, format, &root("ours"), &base, &plan).await.expect("published");
    assert!(matches!(won, SnapshotPublished::Won { .. }), "{won:?}");
    assert_eq!(house.content(PACKAGE).await, None);
    let first = Identity::File(Sha256::of(b"first").into());
    let past = house.catalog.content(&target("ours", PACKAGE), &first, None).await.expect("asked");
    assert!(past.is_some(), "the snapshot before still has it");
}

#[tokio::test]
async fn a_task_that_dies_locks_no_root() {
    let house = House::new().await;
    let put = house.package("ours", PACKAGE, "first").await;
    house.publish("ours", &[put]).await.expect("published");
    *house.faulty.fault.lock() = Fault::Panics;
    let again = house.package("ours", PACKAGE, "second").await;
    let (ours, here) = (house.repository("ours"), root("ours"));
    let submitted = house.publisher.submit(&ours, here.clone(), Some(here), again, Condition::default()).await;
    assert!(matches!(submitted, Err(PublishError::Unanswered)), "{submitted:?}");
    *house.faulty.fault.lock() = Fault::Nothing;
    let carried = tokio::time::timeout(Duration::from_secs(20), house.carry("b")).await;
    assert!(carried.expect("in time").is_ok());
    // The task that answered may be about to look whether there is more.
    let free = async {
        while !house.publisher.waiting.lock().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), free).await.expect("nobody holds the root");
}

#[tokio::test]
async fn what_waited_until_it_was_taken_for_garbage_costs_the_others_nothing() {
    let house = Arc::new(House::new().await);
    let here = root("ours");
    let lease_on = Target::with_query(here.repository.clone(), here.path.clone(), "publish");
    let Entered::Lead(lease) = house.coordinator.enter(&lease_on, LEASE_PATIENCE).await else {
        panic!("somebody leads")
    };
    let late = house.package("ours", PACKAGE, "late").await;
    let taken = house.catalog.take_garbage(now() + Duration::from_secs(3_600), 100).await.expect("taken");
    assert_eq!(taken.first(), late.blob());
    let other = house.package("ours", "el9/x86_64/q-1-1.noarch.rpm", "in time").await;
    let mut answers = Vec::new();
    for change in [late, other] {
        let (asking, desk) = (Arc::clone(&house), here.clone());
        answers.push(tokio::spawn(async move {
            let ours = asking.repository("ours");
            asking.publisher.submit(&ours, desk.clone(), Some(desk), change, Condition::default()).await
        }));
        while house.publisher.waiting.lock().get(&here).map_or(0, Vec::len) < answers.len() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    drop(lease);
    let [late, other] = <[_; 2]>::try_from(answers).expect("two");
    assert!(matches!(late.await.expect("done"), Err(PublishError::Late(_))));
    assert_eq!(other.await.expect("done").expect("published").outcome, Outcome::Created);
    let again = house.package("ours", PACKAGE, "late").await;
    assert_eq!(house.publish("ours", &[again]).await.expect("published"), [Outcome::Created]);
}

#[tokio::test]
async fn the_configuration_in_force_decides_not_the_one_of_before() {
    let house = Arc::new(House::new().await);
    house.carry("a").await.expect("carried");
    let lease_on = Target::with_query(root("ours").repository, root("ours").path, "publish");
    let Entered::Lead(lease) = house.coordinator.enter(&lease_on, LEASE_PATIENCE).await else {
        panic!("somebody leads")
    };
    let uploading = tokio::spawn({
        let house = Arc::clone(&house);
        async move { house.carry("b").await }
    });
    while house.publisher.waiting.lock().values().all(Vec::is_empty) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    house.repositories.replace(configured(house.folder.path(), false));
    drop(lease);
    assert_eq!(uploading.await.expect("done").expect("answered"), Outcome::Conflict);
    assert_eq!(house.content(COMPS).await, Some(Sha256::of(groups("a").as_bytes())));
}

#[tokio::test]
async fn a_change_meets_what_those_before_it_leave_in_either_index_of_a_folder() {
    let house = Arc::new(House::new().await);
    house.repositories.replace(configured(house.folder.path(), false));
    let [v2, v3] = ["x86_64/APKINDEX.tar.gz", "x86_64/Packages.adb"].map(|entry| target("apks", entry));
    let lease_on = Target::with_query(v2.repository.clone(), v2.path.clone(), "publish");
    let Entered::Lead(lease) = house.coordinator.enter(&lease_on, LEASE_PATIENCE).await else {
        panic!("somebody leads")
    };
    let asked = [
        (Some(v2.clone()), house.apk(&v2, "first").await),
        (Some(v3.clone()), house.apk(&v3, "second").await),
        (None, remove(APK)),
        (None, remove(APK)),
        (Some(v2.clone()), house.apk(&v2, "third").await),
    ];
    let mut answers = Vec::new();
    for (root, change) in asked {
        let (asking, desk) = (Arc::clone(&house), v2.clone());
        answers.push(tokio::spawn(async move {
            asking.publisher.submit(&asking.repository("apks"), desk, root, change, Condition::default()).await
        }));
        while house.publisher.waiting.lock().get(&v2).map_or(0, Vec::len) < answers.len() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    drop(lease);
    let mut became = Vec::new();
    for answer in answers {
        became.push(answer.await.expect("done").expect("answered").outcome);
    }
    assert_eq!(
        became,
        [Outcome::Created, Outcome::Conflict, Outcome::Removed, Outcome::Absent, Outcome::Created],
        "the second was of another version, and the first stayed until it was removed"
    );
    let record = house.catalog.lookup(&target("apks", APK)).await.expect("asked").expect("a record");
    assert_eq!(record.sha256, Sha256::of(b"third"));
    assert!(house.catalog.current(&v3).await.expect("asked").is_none());
}

#[tokio::test]
async fn what_an_index_lists_is_removed_from_it_whatever_the_configuration_says_by_then() {
    let house = House::new().await;
    for path in [PACKAGE, "el9/x86_64/q-1-1.noarch.rpm"] {
        let put = house.package("ours", path, path).await;
        house.publish("ours", &[put]).await.expect("published");
    }
    for depth in [1, 3] {
        house.repositories.replace(configured_with(house.folder.path(), depth, true));
        let path = if depth == 1 { PACKAGE } else { "el9/x86_64/q-1-1.noarch.rpm" };
        assert!(house.listed("ours").await.contains(path));
        assert_eq!(house.remove("ours", path).await.expect("removed"), Outcome::Removed, "{depth}");
        assert!(!house.listed("ours").await.contains(path), "{depth}");
        assert_eq!(house.content(path).await, None);
        assert_eq!(house.remove("ours", path).await.expect("asked"), Outcome::Absent, "{depth}");
    }
    let groups = house.carry("a").await;
    assert!(matches!(groups, Err(PublishError::Invalid(_))), "there is no such index any more: {groups:?}");
}

#[tokio::test]
async fn a_draft_that_cannot_be_published_is_given_up() {
    let house = House::new().await;
    let put = house.package("ours", PACKAGE, "first").await;
    house.publish("ours", &[put]).await.expect("published");
    *house.faulty.fault.lock() = Fault::Fails;
    let put = house.package("ours", PACKAGE, "second").await;
    let published = house.publish("ours", &[put]).await;
    assert!(matches!(published, Err(PublishError::Away(_))), "{published:?}");
    let database = format!("sqlite://{}", house.folder.path().join("catalog.sqlite").display());
    let mut database = sqlx::SqliteConnection::connect(&database).await.expect("a database");
    let drafts: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM snapshot WHERE published_at IS NULL")
        .fetch_one(&mut database)
        .await
        .expect("asked");
    assert_eq!(drafts, 0);
    assert_eq!(house.content(PACKAGE).await, Some(Sha256::of(b"first")));
}
