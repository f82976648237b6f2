//! Files whose clients leave while they come or go.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;

use super::*;
use crate::store::catalog::{ListQuery, Published, Revision, Totals, Use, Validators};
use crate::store::key::{BlobKey, RepositoryName};

const FILE: &str = "README";

/// A catalog that is slow to say what it has done.
struct Slow {
    inner: Arc<dyn Catalog>,
    has_done: Semaphore,
    may_say: Semaphore,
    /// Whether it goes away before it says so.
    goes_away: AtomicBool,
}

impl Slow {
    async fn say<T>(&self, done: Result<T, CatalogError>) -> Result<T, CatalogError> {
        self.has_done.add_permits(1);
        self.may_say.acquire().await.expect("open").forget();
        if self.goes_away.load(Ordering::Relaxed) {
            return Err(CatalogError { kind: CatalogErrorKind::Unavailable, during: "a test", source: None });
        }
        done
    }
}

#[async_trait]
impl Catalog for Slow {
    async fn publish(&self, artifact: &Artifact, replaces: Option<Revision>) -> Result<Published, CatalogError> {
        let done = self.inner.publish(artifact, replaces).await;
        self.say(done).await
    }

    async fn remove(&self, target: &Target, revision: Revision, now: SystemTime) -> Result<bool, CatalogError> {
        let done = self.inner.remove(target, revision, now).await;
        self.say(done).await
    }

    async fn lookup(&self, target: &Target) -> Result<Option<Artifact>, CatalogError> {
        self.inner.lookup(target).await
    }

    async fn touch(
        &self,
        target: &Target,
        revision: Revision,
        checked_at: SystemTime,
        validators: &Validators,
    ) -> Result<bool, CatalogError> {
        self.inner.touch(target, revision, checked_at, validators).await
    }

    async fn list(&self, repository: &RepositoryName, page: &ListQuery) -> Result<Vec<Artifact>, CatalogError> {
        self.inner.list(repository, page).await
    }

    async fn repositories(&self) -> Result<Vec<RepositoryName>, CatalogError> {
        self.inner.repositories().await
    }

    async fn totals(&self, repository: &RepositoryName) -> Result<Totals, CatalogError> {
        self.inner.totals(repository).await
    }

    async fn record_uses(&self, uses: &[Use]) -> Result<(), CatalogError> {
        self.inner.record_uses(uses).await
    }

    async fn take_garbage(&self, before: SystemTime, limit: u32) -> Result<Vec<BlobKey>, CatalogError> {
        self.inner.take_garbage(before, limit).await
    }

    async fn is_garbage(&self, blob: &BlobKey) -> Result<bool, CatalogError> {
        self.inner.is_garbage(blob).await
    }

    async fn garbage_deleted(&self, blobs: &[BlobKey]) -> Result<(), CatalogError> {
        self.inner.garbage_deleted(blobs).await
    }

    async fn ping(&self) -> Result<(), CatalogError> {
        self.inner.ping().await
    }
}

/// A house with a file that somebody has just read, and the catalog in it.
async fn house() -> (Arc<House>, Arc<Slow>) {
    let mut slow = None;
    let house = House::with_records(|inner| {
        let made = Arc::new(Slow {
            inner,
            has_done: Semaphore::new(0),
            may_say: Semaphore::new(1),
            goes_away: AtomicBool::new(false),
        });
        slow = Some(Arc::clone(&made));
        made
    });
    let (house, slow) = (Arc::new(house.await), slow.expect("made"));
    assert_eq!(house.put("ours", FILE, "one", Condition::default()).await.expect("put"), Outcome::Created);
    slow.has_done.acquire().await.expect("open").forget();
    shelved(&house).await;
    (house, slow)
}

/// Reads the file, so that it is on the shelf.
async fn shelved(house: &House) {
    let (repository, target) = (house.repository("ours"), target("ours", FILE));
    let mutability = repository.format.mutability(&target.path);
    let found = house.shelf.find(&target, Role::File, &mutability).await;
    assert!(matches!(found, Ok(Found::Held(_))));
    assert!(is_shelved(house));
}

fn is_shelved(house: &House) -> bool {
    house.shelf.peek(&target("ours", FILE)).is_some()
}

/// Begins a change, and has its client leave when the catalog has made it and not yet said so.
async fn leaving<T: Send + 'static>(slow: &Slow, change: impl Future<Output = T> + Send + 'static) {
    let client = tokio::spawn(change);
    slow.has_done.acquire().await.expect("open").forget();
    client.abort();
    assert!(client.await.is_err(), "it has left");
}

async fn is_forgotten(house: &House) {
    let forgotten = async {
        while is_shelved(house) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), forgotten).await.expect("the old bytes go");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_catalog_has_done_becomes_known_though_the_client_has_left() {
    let (house, slow) = house().await;
    let replacing = Arc::clone(&house);
    leaving(&slow, async move { replacing.put("ours", FILE, "two", Condition::default()).await }).await;
    slow.may_say.add_permits(1);
    is_forgotten(&house).await;

    shelved(&house).await;
    let removing = Arc::clone(&house);
    leaving(&slow, async move { removing.remove("ours", FILE).await }).await;
    slow.may_say.add_permits(1);
    is_forgotten(&house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_it_done_tells_it_again() {
    let (house, slow) = house().await;
    let replacing = Arc::clone(&house);
    leaving(&slow, async move { replacing.put("ours", FILE, "two", Condition::default()).await }).await;
    assert!(is_shelved(&house), "nobody was told yet");
    assert_eq!(house.put("ours", FILE, "two", Condition::default()).await.expect("put"), Outcome::Unchanged);
    assert!(!is_shelved(&house));

    let (house, slow) = self::house().await;
    let removing = Arc::clone(&house);
    leaving(&slow, async move { removing.remove("ours", FILE).await }).await;
    assert!(is_shelved(&house), "nobody was told yet");
    assert_eq!(house.remove("ours", FILE).await.expect("asked"), Outcome::Absent);
    assert!(!is_shelved(&house));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_claims_to_know_what_the_catalog_did_not_say() {
    let (house, slow) = house().await;
    slow.may_say.add_permits(10);
    slow.goes_away.store(true, Ordering::Relaxed);
    let put = house.put("ours", FILE, "two", Condition::default()).await;
    assert!(matches!(put, Err(PublishError::Unknown(_))), "{put:?}");
    assert_eq!(house.content(FILE).await, Some(Sha256::of(b"two")), "this time it was kept");
    slow.goes_away.store(false, Ordering::Relaxed);
    assert_eq!(house.put("ours", FILE, "two", Condition::default()).await.expect("put"), Outcome::Unchanged);

    slow.goes_away.store(true, Ordering::Relaxed);
    let removed = house.remove("ours", FILE).await;
    assert!(matches!(removed, Err(PublishError::Unknown(_))), "{removed:?}");
    slow.goes_away.store(false, Ordering::Relaxed);
    assert_eq!(house.remove("ours", FILE).await.expect("asked"), Outcome::Absent);
}
