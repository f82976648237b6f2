//! Getting the files that belong to an entry: reused where they are the same, fetched beside the current ones where not.
//!
//! A member says what it must be through the entry, so any mirror may give it. A companion (a signature, a key) has no
//! digest: it must come from the source that the entry came from, and the entry must still be the same there afterwards.

use std::sync::Arc;

use artifactapi_formats::{Algorithm, Expected, Identity, Member, Mutability, RepoPath, Role, Sha256};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::super::super::content::{Content, Opened};
use super::super::super::fill::{FillError, Order, Outcome, Via};
use super::super::super::held::now;
use super::super::receive::Arrived;
use super::entry::EntryBytes;
use super::{Build, NotBuilt};
use crate::spool::Spooled;
use crate::store::blobs;
use crate::store::catalog::Artifact;
use crate::store::key::Target;
use crate::upstream::{UpstreamError, UpstreamErrorKind};

/// Members fetched at once for one generation.
const AT_ONCE: usize = 3;

/// The files of the next generation.
pub(super) struct Gathered {
    /// The entry first; every blob is durable.
    pub(super) pieces: Vec<Piece>,
    /// The package list, if the entry names one.
    pub(super) list: Option<Content>,
    /// The companions that there are.
    pub(super) companions: Vec<(RepoPath, Content)>,
}

/// One of the files.
pub(super) struct Piece {
    pub(super) record: Artifact,
    /// What was written beside the current record, for writing it again elsewhere; `None` if the current one is it.
    pub(super) spooled: Option<Spooled>,
}

/// A file to get.
struct Wanted {
    path: RepoPath,
    role: Role,
    expected: Option<Expected>,
    /// Whether it is the package list, without which there is no generation.
    is_list: bool,
}

impl Build<'_> {
    /// Gets all files of an entry with this text.
    pub(super) async fn gather(&self, text: &[u8]) -> Result<Gathered, NotBuilt> {
        let Self { index, root, entry, .. } = self;
        let members = index
            .members(root, text, &self.fills.limits)
            .map_err(|why| entry.contradicts(format!("an index that cannot be read: {why}")))?;
        let list = index.package_list(root, &members);
        let companions = index.layout(root).companions;

        let mut pieces = vec![self.entry_piece().await?];
        let wanted: Vec<Wanted> = wanted(companions.clone(), members, list.as_ref());
        let getting = stream::iter(wanted).map(|wanted| self.get(wanted));
        let got: Vec<Option<Piece>> = getting.buffered(AT_ONCE).try_collect().await?;
        let has_companions = got.iter().take(companions.len()).any(Option::is_some);
        pieces.extend(got.into_iter().flatten());
        if has_companions {
            self.still_the_same().await?;
        }

        let list = match list {
            Some(path) if path == root.entry => Some(entry.content()),
            Some(path) => Some(self.content_of(&pieces, &path).await?),
            None => None,
        };
        let mut there_are = Vec::with_capacity(companions.len());
        for path in companions {
            if pieces.iter().any(|piece| piece.record.target.path == path) {
                let content = self.content_of(&pieces, &path).await?;
                there_are.push((path, content));
            }
        }
        Ok(Gathered { pieces, list, companions: there_are })
    }

    async fn entry_piece(&self) -> Result<Piece, NotBuilt> {
        match &self.entry.bytes {
            EntryBytes::New(spooled) => self.put_aside(self.entry.record.clone(), spooled.clone()).await,
            EntryBytes::Kept(_) => Ok(Piece { record: self.entry.record.clone(), spooled: None }),
        }
    }

    /// One file: the record we have, if that is it; else fetched. `None` for one that upstream does not have.
    async fn get(&self, wanted: Wanted) -> Result<Option<Piece>, NotBuilt> {
        let Self { fills, order, sources, .. } = *self;
        let target = Target::new(order.target.repository.clone(), wanted.path.clone());
        if let Some(record) = fills.catalog.lookup(&target).await?
            && wanted.expected.as_ref().is_some_and(|expected| is_it(expected, &record))
        {
            let record = Artifact { checked_at: now(), ..record };
            return Ok(Some(Piece { record, spooled: None }));
        }
        let ask = Order {
            repository: Arc::clone(&order.repository),
            mutability: order.repository.format.mutability(&target.path),
            target,
            role: wanted.role,
            expected: wanted.expected.clone(),
            confirmed_after: self.entry.record.stored_at,
        };
        // What carries its digest in its name contradicts no generation, and clients may be asking for it right now: one
        // transfer for all of them. So may those who were given a new root's first entry.
        if self.entry.is_shown() || matches!(ask.mutability, Mutability::Addressed(_)) {
            return self.join(ask, &wanted).await;
        }
        let giver = &self.entry.giver;
        match fills.arrive(&ask, sources, Some(giver.number)).await {
            Ok(arrived) if wanted.role == Role::IndexCompanion && arrived.giver.number != giver.number => {
                Err(self.entry.contradicts(format!("no {} although another mirror has one", wanted.path)))
            }
            Ok(Arrived { record, spooled, .. }) => self.put_aside(record, spooled).await.map(Some),
            Err(FillError::Upstream(error)) if matches!(error.kind, UpstreamErrorKind::Absent(_)) => {
                self.absent(&wanted, error)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A file that clients may be asking for, too.
    async fn join(&self, ask: Order, wanted: &Wanted) -> Result<Option<Piece>, NotBuilt> {
        match self.fills.join(ask, None).settled().await {
            // A snapshot would name bytes that nobody has.
            Outcome::Held(_, Via::Unkept) => {
                Err(NotBuilt::Ours(format!("{} came and could not be kept: see the log", wanted.path)))
            }
            Outcome::Held(held, _) => Ok(Some(Piece { record: held.artifact.clone(), spooled: None })),
            Outcome::Absent(error) => self.absent(wanted, error),
            Outcome::NoRoom(_) => Err(NotBuilt::Ours("there is no room for the spool".to_owned())),
            Outcome::Failed(error) => Err(error.into()),
        }
    }

    /// Upstream does not have a file. Companions may be absent. A member is on its way there, most likely; but there are
    /// repositories that name what they never publish, so a gap is taken for good in the end if nothing here needs the file.
    fn absent(&self, wanted: &Wanted, error: UpstreamError) -> Result<Option<Piece>, NotBuilt> {
        if wanted.role != Role::IndexMember {
            return Ok(None);
        }
        if wanted.is_list || !self.entry.may_have_gaps {
            return Err(NotBuilt::Contradiction(error));
        }
        tracing::info!(
            target: "artifactapi::snapshot",
            path = %wanted.path, %error, "the index names a file that upstream does not have"
        );
        Ok(None)
    }

    /// Makes spooled bytes durable without making them current.
    async fn put_aside(&self, draft: Artifact, spooled: Spooled) -> Result<Piece, NotBuilt> {
        let record = self.fills.keeper.put_aside(&spooled, draft).await?;
        Ok(Piece { record, spooled: Some(spooled) })
    }

    /// Whether the entry's source still has the entry that its companions were fetched for.
    async fn still_the_same(&self) -> Result<(), NotBuilt> {
        let Self { order, entry, .. } = self;
        let again = Order { expected: None, ..(*order).clone() };
        let arrived = self.fills.arrive(&again, self.sources, Some(entry.giver.number)).await?;
        if arrived.giver.number == entry.giver.number && arrived.spooled.sha256 == entry.record.sha256 {
            return Ok(());
        }
        Err(entry.contradicts("another index already than the one whose signature was asked for"))
    }

    async fn content_of(&self, pieces: &[Piece], path: &RepoPath) -> Result<Content, NotBuilt> {
        let Some(piece) = pieces.iter().find(|piece| piece.record.target.path == *path) else {
            return Err(self.entry.contradicts(format!("no {path}, which its index names")));
        };
        if let Some(spooled) = &piece.spooled {
            return Ok(Content::from(spooled));
        }
        let unreadable = |why: String| NotBuilt::Ours(format!("{path} cannot be read: {why}"));
        let (record, blobs) = (&piece.record, &*self.fills.blobs);
        let read = blobs::read_this(blobs, &record.blob, None, (record.size, &record.sha256)).await;
        let opened = match read.map_err(|error| unreadable(error.to_string()))? {
            Some(read) => Opened::stored(read.body).await.map_err(|error| unreadable(error.to_string()))?.content(),
            None => None,
        };
        opened.ok_or_else(|| unreadable("the store does not give it whole".to_owned()))
    }
}

/// What an entry names, its companions first.
fn wanted(companions: Vec<RepoPath>, members: Vec<Member>, list: Option<&RepoPath>) -> Vec<Wanted> {
    let companion = |path| Wanted { is_list: list == Some(&path), path, role: Role::IndexCompanion, expected: None };
    let member = |Member { path, expected, .. }| Wanted {
        is_list: list == Some(&path),
        path,
        role: Role::IndexMember,
        expected: Some(expected),
    };
    companions.into_iter().map(companion).chain(members.into_iter().map(member)).collect()
}

/// Whether a record is what the entry names. A digest that we do not compute for every file (SHA-1, SHA-512) is compared with
/// the identity that the file was checked against when it came.
fn is_it(expected: &Expected, record: &Artifact) -> bool {
    if expected.size.is_some_and(|size| size != record.size) {
        return false;
    }
    match &expected.identity {
        Identity::File(digest) if digest.algorithm() == Algorithm::Sha256 => {
            digest.bytes() == Sha256::as_bytes(&record.sha256)
        }
        identity => record.identity.as_ref() == Some(identity),
    }
}
