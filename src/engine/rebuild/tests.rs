use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use artifactapi_formats::{Limits, Sha256};
use bytes::Bytes;
use sqlx::Connection as _;

use super::*;
use crate::config::{LiveRepositories, Source};
use crate::engine::identities::Identities;
use crate::engine::keep::{Keeper, Kept};
use crate::engine::publish::PublisherParts;
use crate::engine::shelf::{Shelf, ShelfBudget};
use crate::engine::switches::Switches;
use crate::spool::{SpoolFolder, Spooled};
use crate::store::blobs::files::FileBlobs;
use crate::store::catalog::sqlite::SqliteCatalog;
use crate::store::catalog::{ListQuery, Revision};
use crate::store::coordinator::in_process::InProcessCoordinator;
use crate::store::key::RepositoryName;

const REPOSITORIES: &str = r#"
remotes:
  files: { base_url: "https://example.com", type: remote, package: generic, exclude_patterns: ["secret/"] }
  twin: { base_url: "https://example.com/twice/", type: remote, package: generic }
  ours: { type: local, package: generic }
"#;

struct Stores {
    folder: tempfile::TempDir,
    spool: SpoolFolder,
    blobs: Arc<FileBlobs>,
    catalog: Arc<SqliteCatalog>,
    repositories: Repositories,
}

impl Stores {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("remotes.yaml");
        std::fs::write(&file, REPOSITORIES).expect("written");
        let source = Source::find(Some(&file), folder.path(), artifactapi_formats::FORMATS, Arc::new(|_: &str| None));
        Self {
            spool: SpoolFolder::open(&folder.path().join("spool")).expect("a spool"),
            blobs: Arc::new(FileBlobs::open(folder.path()).expect("blobs")),
            catalog: catalog(folder.path(), "first").await,
            repositories: source.and_then(|source| source.load()).expect("repositories"),
            folder,
        }
    }

    async fn spooled(&self, content: &str) -> Spooled {
        let (mut writer, _) = self.spool.create(None, None).await.expect("a spool");
        writer.append(Bytes::from(content.to_owned())).await.expect("appended");
        writer.complete().await.expect("complete")
    }

    /// Keeps a content as the engine does, so many seconds after the beginning of time.
    async fn keep(&self, target: &Target, content: &str, second: u64) -> Artifact {
        let draft = Artifact {
            validators: Validators { etag: Some(format!("\"{content}\"")), last_modified: Some(DATE.to_owned()) },
            last_modified: httpdate::parse_http_date(DATE).expect("a date"),
            ..Artifact::unpublished(target.clone(), 0, Sha256::of(b""), "text/plain", time(second))
        };
        let replaces = self.catalog.lookup(target).await.expect("looked up").map(|current| current.revision);
        let blobs: Arc<dyn BlobStore> = Arc::clone(&self.blobs) as Arc<dyn BlobStore>;
        let keeper = Keeper::new(
            blobs,
            Arc::clone(&self.catalog) as Arc<dyn Catalog>,
            Arc::clone(&self.catalog) as _,
            coordinator(),
        );
        match keeper.keep(&self.spooled(content).await, draft, replaces).await.expect("kept") {
            Kept::Current(artifact) => artifact,
            Kept::Beaten(_) => panic!("beaten"),
        }
    }

    fn publisher(&self, catalog: &Arc<SqliteCatalog>) -> Publisher {
        let (blobs, records) = (Arc::clone(&self.blobs) as Arc<dyn BlobStore>, Arc::clone(catalog) as Arc<dyn Catalog>);
        let shelf = Arc::new(Shelf::new(ShelfBudget(1 << 20), Arc::clone(&records), Arc::clone(&blobs)));
        let parts = PublisherParts {
            limits: Limits::default(),
            spool: self.spool.clone(),
            keeper: Arc::new(Keeper::new(
                Arc::clone(&blobs),
                Arc::clone(&records),
                Arc::clone(catalog) as _,
                coordinator(),
            )),
            switches: Arc::new(Switches::new(
                Arc::clone(&shelf),
                Arc::clone(catalog) as _,
                Arc::default(),
                Identities::new(Arc::clone(&blobs), Arc::clone(&records), coordinator(), self.spool.clone()),
            )),
            repositories: Arc::new(LiveRepositories::new(self.repositories.clone())),
            fragments: Arc::clone(catalog) as _,
            snapshots: Arc::clone(catalog) as _,
            coordinator: coordinator(),
            catalog: records,
            shelf,
            blobs,
        };
        Publisher::open(&self.folder.path().join("publish"), parts).expect("a publisher")
    }

    async fn rebuild(&self, catalog: &Arc<SqliteCatalog>) -> Rebuilt {
        let publisher = self.publisher(catalog);
        let (publisher, repositories) = (&publisher, &self.repositories);
        let rebuild =
            Rebuild { blobs: &*self.blobs, catalog: &**catalog, snapshots: &**catalog, publisher, repositories };
        let mut told = 0;
        let rebuilt = rebuild.run(&mut |so_far| told = so_far.blobs).await.expect("rebuilt");
        assert_eq!(told, rebuilt.blobs);
        rebuilt
    }
}

const DATE: &str = "Thu, 01 Jan 1970 00:00:05 GMT";

fn coordinator() -> Arc<InProcessCoordinator> {
    Arc::new(InProcessCoordinator::new())
}

async fn catalog(folder: &Path, name: &str) -> Arc<SqliteCatalog> {
    Arc::new(SqliteCatalog::open(&folder.join(format!("{name}.sqlite"))).await.expect("a catalog"))
}

fn time(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

fn files() -> RepositoryName {
    "files".parse().expect("a name")
}

fn target(path: &str, query: &str) -> Target {
    Target::with_query(files(), RepoPath::new(path).expect("a path"), query)
}

/// What a catalog holds, without the revisions, which are its own.
async fn held(catalog: &SqliteCatalog) -> Vec<Artifact> {
    let all = ListQuery { prefix: String::new(), after: None, limit: 1_000 };
    let mut rows = catalog.list(&files(), &all).await.expect("listed");
    rows.iter_mut().for_each(|row| row.revision = Revision::UNPUBLISHED);
    rows
}

#[tokio::test]
async fn a_lost_catalog_comes_back_as_it_was() {
    let stores = Stores::new().await;
    for number in 0..40 {
        stores.keep(&target(&format!("a/{number}.txt"), ""), &format!("content {number}"), 100 + number).await;
    }
    for second in [10, 30, 20] {
        stores.keep(&target("b+c~1.txt", "x=1&y=2"), &format!("of second {second}"), second).await;
    }
    let fresh = catalog(stores.folder.path(), "second").await;
    let rebuilt = stores.rebuild(&fresh).await;
    assert_eq!((rebuilt.blobs, rebuilt.foreign), (43, 0), "{rebuilt:?}");
    assert!(rebuilt.published >= 41 && rebuilt.published + rebuilt.older == 43, "{rebuilt:?}");
    let newest = fresh.lookup(&target("b+c~1.txt", "x=1&y=2")).await.expect("looked up").expect("a record");
    assert_eq!((newest.stored_at, newest.sha256), (time(30), Sha256::of(b"of second 30")));
    let others = |rows: Vec<Artifact>| rows.into_iter().filter(|row| row.target.query.is_empty()).collect::<Vec<_>>();
    assert_eq!(others(held(&fresh).await), others(held(&stores.catalog).await));
}

#[tokio::test]
async fn running_it_again_or_beside_a_live_server_changes_nothing() {
    let stores = Stores::new().await;
    let (first, second) = (target("first.txt", ""), target("second.txt", ""));
    stores.keep(&first, "old", 10).await;
    stores.keep(&first, "new", 20).await;
    stores.keep(&second, "only", 10).await;
    let before = held(&stores.catalog).await;
    let rebuilt = stores.rebuild(&stores.catalog).await;
    assert_eq!(
        rebuilt,
        Rebuilt { blobs: 3, published: 0, current: 2, older: 1, foreign: 0, damaged: 0, ..Rebuilt::default() }
    );
    assert_eq!(held(&stores.catalog).await, before);
}

#[tokio::test]
async fn what_is_not_ours_is_left_alone() {
    let stores = Stores::new().await;
    let kept = stores.keep(&target("mine.txt", ""), "mine", 10).await;
    let spooled = stores.spooled("stranger").await;
    let about = stores.blobs.about(&kept.blob).await.expect("read").expect("about");
    let about = BlobAbout { size: spooled.size, sha256: spooled.sha256, ..about };
    // One that lies where its own description does not put it, and one cached by a URL that nothing is fetched from.
    let elsewhere: BlobKey = "files/0123456789abcdef/mine.txt".parse().expect("a key");
    stores.blobs.write(&elsewhere, &spooled, &about).await.expect("written");
    let by_url = BlobKey::for_url("elsewhere.org", "https://elsewhere.org/x.zip", "x.zip");
    let of_nobody = BlobAbout { repository: None, path: "https://elsewhere.org/x.zip".to_owned(), ..about };
    stores.blobs.write(&by_url, &spooled, &of_nobody).await.expect("written");
    let fresh = catalog(stores.folder.path(), "second").await;
    assert_eq!(stores.rebuild(&fresh).await, Rebuilt { blobs: 3, published: 1, foreign: 2, ..Rebuilt::default() });
    assert_eq!(held(&fresh).await.len(), 1);
    // The next one to be cut short by a failing disk does not keep the others from coming back.
    let file = stores.folder.path().join("blobs").join(kept.blob.as_str());
    std::fs::write(file, "min").expect("written");
    assert_eq!(stores.rebuild(&fresh).await, Rebuilt { blobs: 3, foreign: 2, damaged: 1, ..Rebuilt::default() });
}

#[tokio::test]
async fn what_was_cached_by_its_url_becomes_the_remotes() {
    let stores = Stores::new().await;
    let kept = stores.keep(&target("a", ""), "a", 10).await;
    let spooled = stores.spooled("by url").await;
    let about = stores.blobs.about(&kept.blob).await.expect("read").expect("about");
    let urls = [
        ("https://example.com/v1/x%2B1.zip?y=1", "x+1.zip"),
        ("https://example.com/secret/x.zip", "x.zip"),
        ("https://example.com/twice/x.zip", "x.zip"),
        ("not a URL", "x.zip"),
    ];
    for (url, name) in urls {
        let key = BlobKey::for_url("example.com", url, name);
        let (path, size, sha256) = (url.to_owned(), spooled.size, spooled.sha256);
        let by_url = BlobAbout { repository: None, path, size, sha256, ..about.clone() };
        stores.blobs.write(&key, &spooled, &by_url).await.expect("written");
    }
    let fresh = catalog(stores.folder.path(), "second").await;
    // The others are not admitted, could be either of two remotes', or are no URL.
    assert_eq!(stores.rebuild(&fresh).await, Rebuilt { blobs: 5, published: 2, foreign: 3, ..Rebuilt::default() });
    let adopted = fresh.lookup(&target("v1/x+1.zip", "y=1")).await.expect("looked up").expect("a record");
    assert_eq!((adopted.sha256, adopted.blob), (spooled.sha256, BlobKey::for_url("example.com", urls[0].0, urls[0].1)));
}

fn uploaded(path: &str) -> Target {
    Target::new("ours".parse().expect("a name"), RepoPath::new(path).expect("a path"))
}

impl Stores {
    /// Bytes that came and have no record, as those of an upload that was refused.
    async fn put_aside(&self, target: &Target, content: &str, second: u64) -> Artifact {
        let draft = Artifact::unpublished(target.clone(), 0, Sha256::of(b""), "text/plain", time(second));
        let (blobs, records) = (Arc::clone(&self.blobs) as _, Arc::clone(&self.catalog) as _);
        let keeper = Keeper::new(blobs, records, Arc::clone(&self.catalog) as _, coordinator());
        keeper.put_by_content(&self.spooled(content).await, draft).await.expect("put aside")
    }
}

#[tokio::test]
async fn what_was_uploaded_is_replaced_by_nothing() {
    let stores = Stores::new().await;
    let (kept, gone, never) = (uploaded("kept.txt"), uploaded("gone.txt"), uploaded("never.txt"));
    let good = stores.keep(&kept, "good", 10).await;
    stores.put_aside(&kept, "refused", 20).await;
    stores.put_aside(&never, "refused", 20).await;
    let removed = stores.keep(&gone, "removed", 10).await;
    assert!(stores.catalog.remove(&gone, removed.revision, time(30)).await.expect("removed"));
    stores.rebuild(&stores.catalog).await;
    let current = stores.catalog.lookup(&kept).await.expect("asked").expect("a record");
    assert_eq!((current.sha256, current.revision), (good.sha256, good.revision));
    for path in [&gone, &never] {
        assert_eq!(stores.catalog.lookup(path).await.expect("asked"), None, "garbage stays garbage");
    }

    // Nor by what nobody knows of any more.
    let database = format!("sqlite://{}", stores.folder.path().join("first.sqlite").display());
    let mut database = sqlx::SqliteConnection::connect(&database).await.expect("a database");
    sqlx::query("DELETE FROM garbage").execute(&mut database).await.expect("forgotten");
    stores.rebuild(&stores.catalog).await;
    let current = stores.catalog.lookup(&kept).await.expect("asked").expect("a record");
    assert_eq!((current.sha256, current.revision), (good.sha256, good.revision));
}

#[tokio::test]
async fn of_what_was_uploaded_a_lost_catalog_gets_the_newest() {
    let stores = Stores::new().await;
    for path in 0..20 {
        for (content, second) in [("first", 10), ("third", 30), ("second", 20)] {
            stores.put_aside(&uploaded(&format!("{path}.txt")), content, second).await;
        }
    }
    let fresh = catalog(stores.folder.path(), "second").await;
    let rebuilt = stores.rebuild(&fresh).await;
    assert_eq!((rebuilt.published, rebuilt.older), (20, 40), "{rebuilt:?}");
    for path in 0..20 {
        let newest = fresh.lookup(&uploaded(&format!("{path}.txt"))).await.expect("asked").expect("a record");
        assert_eq!(newest.sha256, Sha256::of(b"third"));
    }
    let again = stores.rebuild(&fresh).await;
    assert_eq!((again.published, again.current, again.older), (0, 20, 40));
}
