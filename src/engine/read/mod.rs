//! Reading: what a request for one target is answered with.
//!
//! The order is: a negative answer still remembered, then what is held and fresh, then a fill, then what is held and
//! stale. Whatever part is away, the next best is tried (DESIGN 7): without the catalog the predictable key, without the
//! store upstream directly, without upstream what we hold.

mod answer;
mod away;
mod due;
mod generation;
mod local;
mod members;
mod merged;
mod mirrors;
mod remembered;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use artifactapi_formats::{Mutability, Role, Sha256};

pub use self::answer::{ReadError, Reading, Source, Wish};
use self::due::is_right_stale;
pub use self::mirrors::{Listing, Offer};
use self::remembered::{Asked, Negatives};
use super::counts::Counts;
use super::fill::{Fill, FillError, Head, Order, Origin, Outcome, State};
use super::fills::Fills;
use super::freshness::{Decision, Lifetime, confirmed_after, decide, lifetime};
use super::generations::Generations;
use super::held::{Held, HeldBody, now};
use super::past::Past;
use super::pins::Pins;
use super::publish::{PublishError, Publisher};
use super::roots::{Bond, Roots};
use super::shelf::{Found, Shelf};
use super::switches::Switches;
use crate::config::{FileTtl, Kind, Remote, Verify};
use crate::spool::SpoolReader;
use crate::store::blobs::BlobStore;
use crate::store::catalog::{Artifact, Revision, Validators};
use crate::store::coordinator::Coordinator;
use crate::store::key::Target;
use crate::upstream::{Answer, Ask, How, Sent, UpstreamError, UpstreamErrorKind};

/// A range that begins further than this beyond what a fill has, in bytes, is passed through beside the fill.
pub const FAR_AHEAD: u64 = 8 << 20;

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
        if wish.role == Role::Package && !remote.trusted_keys.is_empty() {
            self.fills.await_index_of(&wish.repository, &wish.target).await;
        }
        match self.switches.find(&wish.repository, &wish.target, wish.role, &mutability).await {
            Ok(Found::Held(held)) => self.read_held(wish, remote, held).await,
            Ok(Found::Bodiless(artifact)) => {
                let husk = husk(*artifact, wish.role, &mutability);
                self.fetch(wish, remote, mutability, Some(husk)).await
            }
            Ok(Found::Nothing) => self.fetch(wish, remote, mutability, None).await,
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

    /// Nothing (usable) is held: follow a fill, or start one.
    async fn fetch(
        &self,
        wish: &Wish,
        remote: &Remote,
        mutability: Mutability,
        husk: Option<Arc<Held>>,
    ) -> Result<Reading, ReadError> {
        if let Some(why) = self.known_absent(wish).await {
            return Err(ReadError::Absent(why));
        }
        let running = self.fills.running(&wish.target);
        if wish.head_only && !wish.role.is_metadata() {
            match running.as_ref().and_then(Fill::streaming) {
                Some((head, _)) => return Ok(Reading::Head(Head::clone(&head))),
                None => return self.head(wish, mutability).await,
            }
        }
        if wish.role == Role::Listing {
            return self.pass_through(wish, mutability).await;
        }
        let bond = match wish.role {
            Role::Package if remote.verify != Verify::Off => {
                self.roots.of_package(&wish.repository, &wish.target).await
            }
            _ => self.roots.of(&wish.repository, &wish.target, wish.role).await,
        };
        // Only now: a switch after this question is one after the index was asked what the package must be.
        if let Some(earlier) = self.of_the_clients_generation(wish, remote).await? {
            return Ok(earlier);
        }
        let order = order(wish, mutability.clone(), bond.as_ref());
        let mut fill = self.fills.join(order.clone(), husk.clone());
        // A HEAD of metadata waits for the whole, so that its ETag is the one that a GET will have (FORMATS 1.6).
        if wish.head_only {
            let _ = fill.settled_within(wish.repository.cache.refresh_wait).await;
        }
        let mut state = fill.ready().await;
        // It broke off before this request gave anything away: another source may have it whole.
        if matches!(state, State::Settled(Outcome::Failed(_))) && fill.has_streamed() && remote.has_mirrors() {
            fill = self.fills.join(order, husk);
            state = fill.ready().await;
        }
        match state {
            State::Streaming(head, body) if is_far_ahead(wish, &head, &body) => {
                match self.pass_range_through(wish, mutability, &head).await {
                    Some(through) => Ok(through),
                    None => Ok(Reading::Growing { head, body, fill, was_stale: false }),
                }
            }
            State::Streaming(head, body) => Ok(Reading::Growing { head, body, fill, was_stale: false }),
            State::Settled(Outcome::Held(held, via)) => {
                Ok(Reading::Held { fresh_for: self.fresh_for(wish, &held), held, source: Source::from(via) })
            }
            State::Settled(Outcome::NoRoom(unread)) => match unread.take() {
                Some(answer) => Ok(through(wish, mutability, answer)),
                None => self.pass_through(wish, mutability).await,
            },
            State::Settled(Outcome::Absent(error)) => match (wish.role, bond) {
                (Role::Package, Some(bond)) => {
                    self.ask_for_the_index(wish, bond);
                    let _ = self.absent(wish, &error);
                    let why = "although the index that is held names it; upstream is being asked for its index again";
                    Err(ReadError::Absent(format!("{error}, {why}")))
                }
                (_, bond) => {
                    if let Some(bond) = bond {
                        bond.entry.doubt();
                    }
                    Err(self.absent(wish, &error))
                }
            },
            State::Settled(Outcome::Failed(error)) => {
                if let (Some(bond), FillError::Upstream(UpstreamError { kind: UpstreamErrorKind::Unfit(_), .. })) =
                    (bond, &error)
                {
                    self.ask_for_the_index(wish, bond);
                }
                Err(error.into())
            }
            State::Waiting => Err(FillError::GivenUp.into()),
        }
    }

    /// The index that we hold and what upstream has contradict each other: one of them is out of date. Upstream is asked for
    /// its index at once; nobody waits for it.
    fn ask_for_the_index(&self, wish: &Wish, bond: Bond) {
        bond.entry.doubt();
        let order = Order {
            repository: Arc::clone(&wish.repository),
            target: bond.entry.artifact.target.clone(),
            role: bond.entry.role,
            mutability: bond.entry.mutability.clone(),
            expected: None,
            confirmed_after: now(),
        };
        let _ = self.fills.join(order, Some(bond.entry));
    }

    fn absent(&self, wish: &Wish, error: &UpstreamError) -> ReadError {
        let why = error.to_string();
        self.remember_absent(wish, &why);
        ReadError::Absent(why)
    }

    async fn head(&self, wish: &Wish, mutability: Mutability) -> Result<Reading, ReadError> {
        let answer = whole(self.ask(wish, How::Head).await?)?;
        Ok(Reading::Head(Head::of(&answer, &order(wish, mutability, None))))
    }

    async fn pass_through(&self, wish: &Wish, mutability: Mutability) -> Result<Reading, ReadError> {
        Ok(through(wish, mutability, Box::new(whole(self.ask(wish, How::Get).await?)?)))
    }

    /// A range of what a fill brings, from where the fill has it. `None` if it cannot be told that it is of the same content.
    async fn pass_range_through(&self, wish: &Wish, mutability: Mutability, of: &Head) -> Option<Reading> {
        let ((first, last), size) = (wish.range?, of.size?);
        let Origin { source, validator } = of.origin.as_ref()?;
        let sources = self.fills.sources(&wish.repository, wish.role).await.ok()?;
        let how = How::Range { first, last, if_range: Some(validator) };
        let ask = Ask { remote: &sources, path: &wish.target.path, query: &wish.target.query, how };
        let answer = self.fills.upstream().ask_one(&ask, sources.number_of(source)?).await.ok()?;
        let end = last.map_or(size, |last| last.saturating_add(1).min(size));
        let is_of_the_same = answer.sent == Sent::Part { first, last: end.checked_sub(1)?, total: Some(size) };
        let head = Head::of(&answer, &order(wish, mutability, None));
        is_of_the_same.then(|| Reading::Through { head, answer: Box::new(answer) })
    }

    async fn ask(&self, wish: &Wish, how: How<'_>) -> Result<Answer, ReadError> {
        let sources = self.fills.sources(&wish.repository, wish.role).await?;
        let ask = Ask { remote: &sources, path: &wish.target.path, query: &wish.target.query, how };
        match self.fills.upstream().ask(&ask, None).await {
            Ok(answer) => Ok(answer),
            Err(error) if matches!(error.kind, UpstreamErrorKind::Absent(_)) => Err(self.absent(wish, &error)),
            Err(error) => Err(FillError::Upstream(error).into()),
        }
    }

    fn fresh_for(&self, wish: &Wish, held: &Held) -> Option<Duration> {
        match decide(Some(held.confirmed_at()), lifetime_of(wish, &held.mutability, None), false, now()) {
            Decision::Serve { fresh_for } => fresh_for,
            Decision::Revalidate | Decision::Fetch => Some(Duration::ZERO),
        }
    }
}

/// An answer that is the whole, or its head, as it was asked for.
fn whole(answer: Answer) -> Result<Answer, ReadError> {
    let why = match answer.sent {
        Sent::Whole => return Ok(answer),
        Sent::Part { .. } => "a part although the whole was asked for",
        Sent::Unchanged => "304 to an unconditional request",
    };
    let error = answer.body.error(UpstreamErrorKind::Unfit(why.to_owned()));
    Err(FillError::Upstream(error).into())
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
    let file_ttl = match cache.file_ttl {
        FileTtl::Forever => Duration::ZERO,
        FileTtl::For(ttl) => ttl,
    };
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

fn through(wish: &Wish, mutability: Mutability, answer: Box<Answer>) -> Reading {
    let mut head = Head::of(&answer, &order(wish, mutability, None));
    if let (Role::Listing, Some(said)) = (wish.role, &answer.content_type) {
        head.content_type.clone_from(said);
    }
    Reading::Through { head, answer }
}

fn is_far_ahead(wish: &Wish, head: &Head, body: &SpoolReader) -> bool {
    wish.range.is_some_and(|(first, _)| {
        head.size.is_some_and(|size| first < size) && first > body.readable().saturating_add(FAR_AHEAD)
    })
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
