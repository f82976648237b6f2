//! Reading a generation that is not the current one: because the client says which, because the repository is held back, or
//! because a switch came between two requests of a client.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use artifactapi_formats::{Mutability, Role, Sha256};

use super::super::fill::Outcome;
use super::super::generations::When;
use super::super::held::now;
use super::super::past::{self, Then};
use super::super::pins::{ClientId, Pins, is_pinned};
use super::super::shelf::{Found, ShelfError};
use super::super::switches::Standing;
use super::{Order, ReadError, Reader, Reading, Source, Wish};
use crate::config::Remote;
use crate::store::catalog::snapshots::{Generation, NamedPackage, SnapshotId};
use crate::store::coordinator::{Coordinator, Event, Handout};
use crate::store::key::Target;

impl Reader {
    /// Reads the generation that the wish or the repository names. `None` when that is the current one, or the path has no
    /// generations.
    pub(super) async fn read_generation(&self, wish: &Wish, remote: &Remote) -> Result<Option<Reading>, ReadError> {
        let when = match (&wish.when, remote.hold) {
            (Some(when), _) => when.clone(),
            (None, Some(hold)) if !hold.is_zero() => {
                if wish.role == Role::Index {
                    // The newest is collected all the same, so that it is there when its time comes.
                    let _ = Box::pin(self.read_current(wish, remote)).await;
                }
                When::HeldBack(hold)
            }
            _ => match self.pinned(wish).await? {
                Some(id) => When::Number(id),
                None => return Ok(None),
            },
        };
        match self.past.then(wish, &when).await? {
            Then::Held(held) => Ok(Some(past::reading(held))),
            Then::Named(named) => self.fetch_named(wish, remote, &named).await.map(Some),
            Then::Timeless => Ok(None),
        }
    }

    /// The snapshot whose entry the client was given or told of, if another is current by now and the pin lasts.
    pub(super) async fn pinned(&self, wish: &Wish) -> Result<Option<SnapshotId>, ReadError> {
        let Some(client) = wish.client else {
            return Ok(None);
        };
        if wish.role == Role::Index {
            return self.promised(wish, client).await;
        }
        let is_plain = !matches!(wish.repository.format.mutability(&wish.target.path), Mutability::Addressed(_));
        let roots = match wish.role {
            Role::IndexCompanion | Role::IndexMember if is_plain => {
                wish.repository.root_of(&wish.target.path).into_iter().collect()
            }
            Role::Package if self.pins.has_changed(&wish.target) => self.pins.roots_of(client, &wish.repository.name),
            _ => return Ok(None),
        };
        for root in roots {
            let Some(given) = self.pins.entry_of(client, &root) else { continue };
            let mutability = wish.repository.format.mutability(&root.path);
            let find = async || self.shelf.find(&root, Role::Index, &mutability).await;
            let Ok(Found::Held(mut current)) = find().await else { continue };
            if current.artifact.sha256 == given && wish.role == Role::Package {
                self.settle_credit(wish, &current).await?;
                // Another may have come in its place meanwhile.
                if let Ok(Found::Held(now)) = find().await {
                    current = now;
                }
            }
            let lasts = is_pinned(current.artifact.stored_at, wish.repository.cache.pin, now());
            if current.artifact.sha256 == given || !lasts {
                continue;
            }
            let given = self.generations.with_entry(&root, &given).await.map_err(ShelfError::from)?;
            if wish.role == Role::Package && !self.is_named(wish, &root, given).await? {
                continue;
            }
            return match given {
                Some(id) => Ok(Some(id)),
                None => Err(ReadError::Absent(format!(
                    "the index {} was replaced, and what the one you were given names is not kept; ask for the index again",
                    root.path
                ))),
            };
        }
        Ok(None)
    }

    /// Whether an index names a package: in this generation of it, or in any if that is not known. A client may have been given
    /// several indexes, and not every one of them is about what it asks for.
    async fn is_named(&self, wish: &Wish, root: &Target, id: Option<SnapshotId>) -> Result<bool, ReadError> {
        let (repository, path) = (&wish.target.repository, &wish.target.path);
        let generation = id.map_or(Generation::Any, Generation::Of);
        let rows = self.generations.snapshots().named(repository, path, generation).await;
        Ok(rows.map_err(ShelfError::from)?.iter().any(|row| row.root == *root))
    }

    /// The snapshot whose entry a metalink of ours promised the client, if another is current by now.
    async fn promised(&self, wish: &Wish, client: ClientId) -> Result<Option<SnapshotId>, ReadError> {
        let Some(promised) = self.pins.promised_to(client, &wish.target) else {
            return Ok(None);
        };
        let mutability = wish.repository.format.mutability(&wish.target.path);
        match self.shelf.find(&wish.target, Role::Index, &mutability).await {
            // One that is not kept any more is no reason to refuse the current one: the client compares.
            Ok(Found::Held(current)) if current.artifact.sha256 != promised => {
                Ok(self.generations.with_entry(&wish.target, &promised).await.map_err(ShelfError::from)?)
            }
            _ => Ok(None),
        }
    }

    /// A package that is about to be fetched, as the index says that the client was given, if the catalog knows a newer one.
    /// Another replica may have published that a moment ago, before we were told.
    pub(super) async fn of_the_clients_generation(
        &self,
        wish: &Wish,
        remote: &Remote,
    ) -> Result<Option<Reading>, ReadError> {
        let (Some(client), Role::Package, None) = (wish.client, wish.role, &wish.when) else {
            return Ok(None);
        };
        for root in self.pins.roots_of(client, &wish.repository.name) {
            let Some(given) = self.pins.entry_of(client, &root) else { continue };
            // Without the catalog nothing newer can be known either.
            let Ok(Some(current)) = self.generations.snapshots().current(&root).await else { continue };
            let is_current = current.files.first().is_none_or(|entry| entry.sha256 == given);
            if is_current || !is_pinned(current.published_at, wish.repository.cache.pin, now()) {
                continue;
            }
            let Some(id) = self.generations.with_entry(&root, &given).await.map_err(ShelfError::from)? else {
                continue;
            };
            return match self.past.then(wish, &When::Number(id)).await {
                Ok(Then::Held(held)) => Ok(Some(past::reading(held))),
                Ok(Then::Named(named)) => {
                    let now = self.roots.of_package(&wish.repository, &wish.target).await;
                    let expected = now.and_then(|bond| bond.expected);
                    if expected.is_some_and(|expected| expected.identity == named.package.identity) {
                        return Ok(None);
                    }
                    self.fetch_named(wish, remote, &named).await.map(Some)
                }
                // That generation does not name it: it is another root's.
                Ok(Then::Timeless) | Err(ReadError::Absent(_)) => continue,
                Err(error) => Err(error),
            };
        }
        Ok(None)
    }

    /// A package of another generation that is not held with the identity it had: upstream may still have it.
    async fn fetch_named(&self, wish: &Wish, remote: &Remote, named: &NamedPackage) -> Result<Reading, ReadError> {
        let bond = self.roots.of_package(&wish.repository, &wish.target).await;
        let is_current = bond
            .as_ref()
            .and_then(|bond| bond.expected.as_ref())
            .is_some_and(|expected| expected.identity == named.package.identity);
        if is_current {
            return Box::pin(self.read_current(wish, remote)).await;
        }
        let order = Order {
            repository: Arc::clone(&wish.repository),
            target: wish.target.clone(),
            role: wish.role,
            mutability: wish.repository.format.mutability(&wish.target.path),
            expected: Some(named.package.expected()),
            confirmed_after: SystemTime::UNIX_EPOCH,
        };
        match self.fills.fetch_beside(&order).await {
            Ok(held) => Ok(Reading::Held { held, source: Source::Unkept, fresh_for: Some(Duration::ZERO) }),
            Err(error) => {
                tracing::debug!(path = %wish.target, %error, "a package of an earlier snapshot cannot be had any more");
                Err(ReadError::Absent(format!(
                    "snapshot {} names it with {}, which is not kept here and not to be had from upstream any more",
                    named.first.0, named.package.identity
                )))
            }
        }
    }

    /// The entry that a client is being given, if that is known by now; if not, it is noted once it is.
    pub(super) fn given(&self, wish: &Wish, reading: &Reading) -> Option<Sha256> {
        let (Some(client), Role::Index) = (wish.client, wish.role) else {
            return None;
        };
        wish.repository.format.index()?;
        match reading {
            Reading::Held { held, .. } => Some(held.artifact.sha256),
            Reading::Growing { fill, .. } => {
                let (pins, coordinator) = (Arc::clone(&self.pins), Arc::clone(&self.coordinator));
                let (switches, repository) = (Arc::clone(&self.switches), Arc::clone(&wish.repository));
                let (mut fill, target) = (fill.clone(), wish.target.clone());
                tokio::spawn(async move {
                    if let Outcome::Held(held, _) = fill.settled().await {
                        let entry = held.artifact.sha256;
                        let standing = switches.notice_entry(&repository, &target, &entry).await;
                        let given = Given { root: &target, entry, standing, promised_for: None };
                        note(&pins, &*coordinator, client, given).await;
                    }
                });
                None
            }
            Reading::Through { .. } | Reading::Head(_) => None,
        }
    }

    /// Notes that a client is given an entry, and that it is in force.
    pub(super) async fn hand_out(&self, wish: &Wish, entry: Option<Sha256>) {
        if let (Some(entry), Some(client)) = (entry, wish.client) {
            let standing = self.switches.notice_entry(&wish.repository, &wish.target, &entry).await;
            self.note_handout(client, Given { root: &wish.target, entry, standing, promised_for: None }).await;
        }
    }

    /// Notes that a client is given an entry that need not be in force.
    pub(super) async fn hand_out_earlier(&self, wish: &Wish, entry: Option<Sha256>) {
        if let (Some(entry), Some(client)) = (entry, wish.client) {
            let standing = Standing::Recorded;
            self.note_handout(client, Given { root: &wish.target, entry, standing, promised_for: None }).await;
        }
    }

    /// Notes, here and on every replica, that a client is given an entry, or told of it for some time.
    pub(super) async fn note_handout(&self, client: ClientId, given: Given<'_>) {
        note(&self.pins, &*self.coordinator, client, given).await;
    }
}

/// What a client is given, or told of.
pub(super) struct Given<'a> {
    pub(super) root: &'a Target,
    pub(super) entry: Sha256,
    pub(super) standing: Standing,
    /// For how long it is to be given this entry again, if it is only told of it.
    pub(super) promised_for: Option<Duration>,
}

async fn note(pins: &Pins, coordinator: &dyn Coordinator, client: ClientId, given: Given<'_>) {
    let Given { root, entry, standing, promised_for } = given;
    let at = SystemTime::now();
    let is_news = pins.hand_out(client, root, entry, at);
    if let Some(lasts) = promised_for {
        pins.promise(client, root, entry, at, lasts);
    }
    if is_news || promised_for.is_some() {
        let on_credit = standing == Standing::OnCredit;
        let handout = Handout { agent: client.agent, root: root.clone(), entry, at, on_credit, promised_for };
        coordinator.announce(Event::HandedOut(handout)).await;
    }
}
