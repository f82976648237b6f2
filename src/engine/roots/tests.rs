//! What indexes say of their members, over a store that sends when it is told to.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::super::keep::{Keeper, Kept};
use super::super::shelf::ShelfBudget;
use super::*;
use crate::config::Source;
use crate::spool::SpoolFolder;
use crate::store::blobs::hot_tier::HotTier;
use crate::store::blobs::hot_tier::distant::Distant;
use crate::store::catalog::sqlite::SqliteCatalog;
use crate::store::catalog::{Artifact, Catalog};
use crate::store::coordinator::in_process::InProcessCoordinator;

const MEMBER: &[u8] = b"the list";

/// An index with one member, which lies beside it.
fn entry() -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<repomd xmlns=\"http://linux.duke.edu/metadata/repo\">\n\
         <revision>1700000000</revision>\n<data type=\"primary\"><checksum type=\"sha256\">{}</checksum>\
         <location href=\"repodata/primary.xml.gz\"/><timestamp>1700000000</timestamp><size>{}</size></data>\n\
         </repomd>\n",
        Sha256::of(MEMBER).hex(),
        MEMBER.len(),
    )
}

struct House {
    repository: Arc<Repository>,
    distant: Arc<Distant>,
    keeper: Keeper,
    spool: SpoolFolder,
    roots: Arc<Roots>,
    _folder: tempfile::TempDir,
}

impl House {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("remotes.yaml");
        std::fs::write(&file, "remotes:\n  r: { base_url: \"http://up.example\", package: rpm }\n").expect("written");
        let source = Source::find(Some(&file), folder.path(), artifactapi_formats::FORMATS, Arc::new(|_: &str| None));
        let repositories = source.and_then(|source| source.load()).expect("repositories");
        let spool = SpoolFolder::open(&folder.path().join("spool")).expect("a spool");
        let distant = Arc::new(Distant::new(folder.path()));
        let tier = HotTier::open(Arc::clone(&distant), &folder.path().join("hot"), 1 << 30, spool.clone());
        let catalog = SqliteCatalog::open(&folder.path().join("catalog.sqlite")).await.expect("a catalog");
        let catalog = Arc::new(catalog);
        let records: Arc<dyn Catalog> = Arc::clone(&catalog) as _;
        // Behind the tier, which has it all to fetch.
        let behind = Arc::new(Arc::clone(&distant));
        let coordinator = Arc::new(InProcessCoordinator::new());
        let keeper = Keeper::new(behind, Arc::clone(&records), Arc::clone(&catalog) as _, coordinator);
        let shelf = Arc::new(Shelf::new(ShelfBudget(1 << 20), records, Arc::new(tier.expect("a tier"))));
        let roots = Arc::new(Roots::new(shelf, catalog, Limits::default()));
        let repository = Arc::clone(repositories.get("r").expect("the repository"));
        Self { repository, distant, keeper, spool, roots, _folder: folder }
    }

    async fn keep(&self, path: &str, content: &str) {
        let (mut writer, _) = self.spool.create(None, None).await.expect("a spool");
        writer.append(Bytes::copy_from_slice(content.as_bytes())).await.expect("appended");
        let spooled = writer.complete().await.expect("complete");
        let draft = Artifact::unpublished(target(path), 0, Sha256::of(b""), "text/xml", SystemTime::UNIX_EPOCH);
        let kept = self.keeper.keep(&spooled, draft, None).await.expect("kept");
        assert!(matches!(kept, Kept::Current(_)));
    }

    async fn bond(&self, member: &str) -> Option<Bond> {
        self.roots.of(&self.repository, &target(member), Role::IndexMember).await
    }
}

fn target(path: &str) -> Target {
    Target::new("r".parse().expect("a name"), RepoPath::new(path).expect("a path"))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_roots_with_equal_entries_each_name_their_own_members() {
    let house = House::new().await;
    for folder in ["one", "two"] {
        house.keep(&format!("{folder}/repodata/repomd.xml"), &entry()).await;
    }
    for folder in ["one", "two", "one"] {
        let bond = house.bond(&format!("{folder}/repodata/primary.xml.gz")).await.expect("a bond");
        let expected = bond.expected.unwrap_or_else(|| panic!("{folder}: its index names it"));
        assert_eq!(expected.size, Some(MEMBER.len() as u64), "{folder}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_on_its_way_from_the_store_is_waited_for() {
    let house = Arc::new(House::new().await);
    house.keep("one/repodata/repomd.xml", &entry()).await;
    house.distant.hold();
    let asking = tokio::spawn({
        let house = Arc::clone(&house);
        async move { house.bond("one/repodata/primary.xml.gz").await }
    });
    while house.distant.wholes.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!asking.is_finished(), "it has no byte of the index yet");
    house.distant.pieces.add_permits(1_000);
    let bond = asking.await.expect("an answer").expect("the index is held");
    assert!(bond.expected.is_some(), "the index names it");
}
