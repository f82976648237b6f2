//! Reading: what a request for one target is answered with.
//!
//! The order is: a negative answer still remembered, then what is held and fresh, then a fill, then what is held and
//! stale. Whatever part is away, the next best is tried (DESIGN 7): without the catalog the predictable key, without the
//! store upstream directly, without upstream what we hold.

mod answer;
mod away;
mod credit;
mod due;
mod fetch;
mod generation;
mod local;
mod members;
mod merged;
mod mirrors;
mod remembered;
mod through;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use artifactapi_formats::{Mutability, Role, Sha256};

pub use self::answer::{ReadError, Reading, Source, Wish};
use self::due::is_right_stale;
pub use self::mirrors::{Listing, Offer};
use self::remembered::{Asked, Negatives};
pub use self::through::FAR_AHEAD;
use super::counts::Counts;
use super::fill::Order;
use super::fills::Fills;
use super::freshness::{Decision, Lifetime, confirmed_after, decide, file_ttl, lifetime};
use super::generations::Generations;
use super::held::{Held, HeldBody, now};
use super::past::{self, Past};
use super::pins::Pins;
use super::publish::{PublishError, Publisher};
use super::roots::{Bond, Roots};
use super::shelf::{Found, Shelf};
use super::switches::Switches;
use crate::config::{Kind, Remote, Verify};
use crate::store::blobs::BlobStore;
use crate::store::catalog::{Artifact, Revision, Validators};
use crate::store::coordinator::Coordinator;
use crate::store::key::Target;

/// How many switches may come between the steps of one read.
const SWITCHES_MEANWHILE: usize = 8;

/// How many pairs of an entry and a younger file are remembered.
const CONTEMPORARIES: usize = 4_096;

/// Answers requests.
pub struct Reader {
    shelf: Arc<Shelf>,
    fills: Arc<Fills>,
    roots: Roots,
    generations: Generations,
    past: Past,
    pins: Arc<Pins>,
    switches: Arc<Switches>,
    publisher: Arc<Publisher>,
    blobs: Arc<dyn BlobStore>,
    coordinator: Arc<dyn Coordinator>,
    negatives: Negatives,
    /// Entries and younger files of which the catalog said that they are current together.
    contemporaries: quick_cache::sync::Cache<(Revision, Revision), ()>,
    /// Entries that were shown and could not be completed.
    credit: credit::Credit,
    /// When the members of a virtual root were asked last.
    asked: quick_cache::sync::Cache<Target, Asked>,
    counts: Arc<Counts>,
}

/// What [`Reader::new`] is handed.
#[allow(missing_docs, reason = "the types say it")]
pub struct ReaderParts {
    pub shelf: Arc<Shelf>,
    pub fills: Arc<Fills>,
    pub roots: Roots,
    pub generations: Generations,
    pub pins: Arc<Pins>,
    pub switches: Arc<Switches>,
    pub publisher: Arc<Publisher>,
    pub blobs: Arc<dyn BlobStore>,
    pub coordinator: Arc<dyn Coordinator>,
    pub counts: Arc<Counts>,
}

impl Reader {
    /// Over the parts it uses.
    #[must_use]
    pub fn new(parts: ReaderParts) -> Self {
        let ReaderParts { shelf, fills, roots, generations, pins, switches, publisher, .. } = parts;
        let past = Past::new(generations.clone(), Arc::clone(&shelf));
        Self {
            shelf,
            fills,
            roots,
            generations,
            past,
            pins,
            switches,
            publisher,
            blobs: parts.blobs,
            coordinator: parts.coordinator,
            negatives: remembered::negatives(),
            contemporaries: quick_cache::sync::Cache::new(CONTEMPORARIES),
            credit: credit::Credit::default(),
            asked: quick_cache::sync::Cache::new(CONTEMPORARIES),
            counts: parts.counts,
        }
    }

    /// The counters.
    #[must_use]
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// Answers one request.
    ///
    /// # Errors
    /// [`ReadError`] when there is nothing to answer with.
    pub async fn read(&self, wish: &Wish) -> Result<Reading, ReadError> {
        let remote = match &wish.repository.kind {
            Kind::Remote(remote) => remote,
            Kind::Local(_) => return self.read_local(wish).await,
            Kind::Virtual(all) => return self.read_virtual(wish, all).await,
        };
        for _ in 0..SWITCHES_MEANWHILE {
            if let Some(earlier) = self.read_generation(wish, remote).await? {
                let given = self.given(wish, &earlier);
                self.hand_out_earlier(wish, given).await;
                return Ok(earlier);
            }
            let reading = self.read_current(wish, remote).await?;
            // A switch between the two steps would answer with the files of an index that this client was not given.
            if self.pinned(wish).await?.is_none() {
                let given = self.given(wish, &reading);
                self.hand_out(wish, given).await;
                return Ok(reading);
            }
        }
        Err(ReadError::Unreadable("its index changes faster than it can be read; try again".to_owned()))
    }

    async fn read_current(&self, wish: &Wish, remote: &Remote) -> Result<Reading, ReadError> {
        let mutability = wish.repository.format.mutability(&wish.target.path);
        if wish.role == Role::Package && (remote.verify != Verify::Off || !remote.trusted_keys.is_empty()) {
            self.await_index_of(wish, remote).await;
        }
        match self.switches.find(&wish.repository, &wish.target, wish.role, &mutability).await {
            Ok(Found::Held(held)) => self.read_held(wish, remote, held).await,
            Ok(Found::Bodiless(artifact)) => {
                let husk = husk(*artifact, wish.role, &mutability);
                self.fetch(wish, remote, mutability, Some(husk)).await
            }
            Ok(Found::Nothing) => {
                // Whoever has an index of last week may ask for what it names when upstream has it no more, and budgets neither.
                if matches!((wish.role, &mutability), (Role::IndexMember, Mutability::Addressed(_)))
                    && let Ok(Some(held)) = self.past.member(wish).await
                {
                    return Ok(past::reading(held));
                }
                self.fetch(wish, remote, mutability, None).await
            }
            Err(trouble) => self.read_without_records(wish, remote, mutability, trouble).await,
        }
    }

    async fn read_held(&self, wish: &Wish, remote: &Remote, held: Arc<Held>) -> Result<Reading, ReadError> {
        let bond = self.roots.of(&wish.repository, &wish.target, wish.role).await;
        if let Some(bond) = bond.as_ref().filter(|bond| held.artifact.stored_at > bond.since) {
            // Newer than the index we know: either it came a little later, or another replica has published a generation
            // of which we have not been told.
            if self.is_outdated(&bond.entry, &held).await {
                self.shelf.forget(&bond.entry.artifact.target);
                if let Some(earlier) = self.read_generation(wish, remote).await? {
                    return Ok(earlier);
                }
                return Box::pin(self.read_current(wish, remote)).await;
            }
        }
        match bond.as_ref().and_then(|bond| bond.expects(&held)) {
            // What the index says of the bytes is worth more than what upstream says of them.
            Some(true) => return Ok(hit(held, Some(Duration::ZERO))),
            Some(false) => {
                self.shelf.forget(&wish.target);
                let husk = husk(held.artifact.clone(), wish.role, &held.mutability);
                return self.fetch(wish, remote, held.mutability.clone(), Some(husk)).await;
            }
            None => {}
        }
        let at = now();
        match decide(Some(held.confirmed_at()), lifetime_of(wish, &held.mutability, bond.as_ref()), wish.no_cache, at) {
            Decision::Serve { fresh_for } => Ok(hit(held, fresh_for)),
            _ if held.is_resting(at) && is_right_stale(bond.as_ref(), &held) => Ok(stale(held)),
            _ if wish.role == Role::Package && remote.verify != Verify::Off => {
                self.read_due_package(wish, remote, held).await
            }
            _ => self.revalidate(wish, held, bond).await,
        }
    }

    /// Whether the catalog has another record than this one.
    async fn is_outdated(&self, entry: &Held, file: &Held) -> bool {
        let pair = (entry.artifact.revision, file.artifact.revision);
        if self.contemporaries.get(&pair).is_some() {
            return false;
        }
        match self.shelf.record(&entry.artifact.target).await {
            Ok(Some(record)) if record.revision != entry.artifact.revision => true,
            Ok(_) => {
                self.contemporaries.insert(pair, ());
                false
            }
            Err(_) => false,
        }
    }

    fn fresh_for(&self, wish: &Wish, held: &Held) -> Option<Duration> {
        match decide(Some(held.confirmed_at()), lifetime_of(wish, &held.mutability, None), false, now()) {
            Decision::Serve { fresh_for } => fresh_for,
            Decision::Revalidate | Decision::Fetch => Some(Duration::ZERO),
        }
    }
}

/// A record without its bytes: what is fetched now replaces it, and its validators are not used.
fn husk(mut artifact: Artifact, role: Role, mutability: &Mutability) -> Arc<Held> {
    artifact.validators = Validators::default();
    Arc::new(Held::new(artifact, role, mutability.clone(), HeldBody::Distant))
}

fn hit(held: Arc<Held>, fresh_for: Option<Duration>) -> Reading {
    Reading::Held { held, source: Source::Hit, fresh_for }
}

fn stale(held: Arc<Held>) -> Reading {
    Reading::Held { held, source: Source::Stale, fresh_for: Some(Duration::ZERO) }
}

fn lifetime_of(wish: &Wish, mutability: &Mutability, bond: Option<&Bond>) -> Lifetime {
    let cache = &wish.repository.cache;
    let has_indexes = wish.repository.format.index().is_some();
    let file_ttl = file_ttl(cache.file_ttl, has_indexes, wish.role, mutability);
    lifetime(wish.role, mutability, bond.map(|bond| bond.since), cache.index_ttl, file_ttl)
}

fn order(wish: &Wish, mutability: Mutability, bond: Option<&Bond>) -> Order {
    let lifetime = lifetime_of(wish, &mutability, bond);
    Order {
        confirmed_after: confirmed_after(lifetime, wish.no_cache, now()),
        repository: Arc::clone(&wish.repository),
        target: wish.target.clone(),
        role: wish.role,
        mutability,
        expected: bond.and_then(|bond| bond.expected.clone()),
    }
}

/// The digest that a name promises, when it is a SHA-256.
#[must_use]
pub fn promised_sha256(mutability: &Mutability) -> Option<Sha256> {
    match mutability {
        Mutability::Addressed(digest) => digest.bytes().try_into().ok().map(Sha256::from_bytes),
        Mutability::Mutable | Mutability::ByConvention => None,
    }
}

/// The age of an answer for caches in front of us, which count it against the time that we give them. What is fresh for ever, and
/// what its index vouches for, nobody confirms again: it is as new in a year as on its first day.
#[must_use]
pub fn age_of(held: &Held, source: Source, fresh_for: Option<Duration>) -> Duration {
    match (source, fresh_for) {
        (_, None) | (Source::Hit, Some(Duration::ZERO)) => Duration::ZERO,
        _ => age(held.confirmed_at()),
    }
}

/// How long ago something was confirmed, on this server's clock; zero if a clock ahead of it says when.
#[must_use]
pub fn age(confirmed: SystemTime) -> Duration {
    SystemTime::now().duration_since(confirmed).unwrap_or_default()
}
