//! Getting the files that belong to an entry: reused where they are the same, fetched beside the current ones where not.
//!
//! A member says what it must be through the entry, so any mirror may give it. A companion (a signature, a key) has no
//! digest: it must come from the source that the entry came from, and the entry must still be the same there afterwards.

use std::sync::Arc;

use artifactapi_formats::{Algorithm, Expected, Identity, IndexFormat, IndexRoot, Mutability, RepoPath, Role, Sha256};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::super::super::fill::{FillError, Order, Outcome, Via};
use super::super::super::held::now;
use super::super::Fills;
use super::super::fetch::Arrived;
use super::{Content, Entry, NotBuilt};
use crate::spool::Spooled;
use crate::store::blobs::BlobBody;
use crate::store::catalog::Artifact;
use crate::store::key::Target;
use crate::upstream::{Sources, UpstreamError, UpstreamErrorKind};

/// Members fetched at once for one generation.
const AT_ONCE: usize = 3;

/// The files of the next generation.
pub(super) struct Gathered {
    /// Their records, the entry first; every blob is durable.
    pub(super) files: Vec<Artifact>,
    /// The package list, if the entry names one.
    pub(super) list: Option<Content>,
    /// The companions that there are.
    pub(super) companions: Vec<(RepoPath, Content)>,
    /// What was written beside the current records, for writing it again elsewhere.
    pub(super) aside: Vec<(Target, Spooled)>,
}

/// One file on its way into [`Gathered`].
struct Piece {
    record: Artifact,
    spooled: Option<Spooled>,
}

/// A file to get.
struct Wanted {
    path: RepoPath,
    role: Role,
    expected: Option<Expected>,
}

impl Fills {
    pub(super) async fn gather(
        self: &Arc<Self>,
        order: &Order,
        remote: &Sources,
        index: &'static dyn IndexFormat,
        root: &IndexRoot,
        entry: &Entry,
        bytes: &[u8],
    ) -> Result<Gathered, NotBuilt> {
        let members = index
            .members(root, bytes, &self.limits)
            .map_err(|why| entry.contradicts(format!("an index that cannot be read: {why}")))?;
        let list = index.package_list(root, &members);
        let companions = index.layout(root).companions;
        let member = |member: artifactapi_formats::Member| Wanted {
            path: member.path,
            role: Role::IndexMember,
            expected: Some(member.expected),
        };
        let companion = |path| Wanted { path, role: Role::IndexCompanion, expected: None };
        let companion_count = companions.len();
        let wanted: Vec<Wanted> =
            companions.into_iter().map(companion).chain(members.into_iter().map(member)).collect();

        let mut pieces = vec![self.entry_piece(entry).await?];
        let getting = stream::iter(wanted).map(|wanted| {
            let is_list = list.as_ref() == Some(&wanted.path);
            async move { self.get(order, remote, entry, wanted, is_list).await }
        });
        let got: Vec<Option<Piece>> = getting.buffered(AT_ONCE).try_collect().await?;
        let has_companions = got.iter().take(companion_count).any(Option::is_some);
        pieces.extend(got.into_iter().flatten());
        if has_companions {
            self.still_the_same(order, remote, entry).await?;
        }

        let list = match list {
            Some(path) if path == root.entry => Some(entry.content.clone()),
            Some(path) => Some(self.content_of(&pieces, &path, entry).await?),
            None => None,
        };
        let mut companions = Vec::with_capacity(companion_count);
        for path in index.layout(root).companions {
            if pieces.iter().any(|piece| piece.record.target.path == path) {
                let content = self.content_of(&pieces, &path, entry).await?;
                companions.push((path, content));
            }
        }
        let (mut files, mut aside) = (Vec::with_capacity(pieces.len()), Vec::new());
        for piece in pieces {
            if let Some(spooled) = piece.spooled {
                aside.push((piece.record.target.clone(), spooled));
            }
            files.push(piece.record);
        }
        Ok(Gathered { files, list, companions, aside })
    }

    async fn entry_piece(&self, entry: &Entry) -> Result<Piece, NotBuilt> {
        match &entry.spooled {
            Some(spooled) => self.put_aside(entry.artifact.clone(), spooled.clone()).await,
            None => Ok(Piece { record: entry.artifact.clone(), spooled: None }),
        }
    }

    /// One file: the record we have, if that is it; else fetched. `None` for one that upstream does not have.
    async fn get(
        self: &Arc<Self>,
        order: &Order,
        remote: &Sources,
        entry: &Entry,
        wanted: Wanted,
        is_list: bool,
    ) -> Result<Option<Piece>, NotBuilt> {
        let target = Target::new(order.target.repository.clone(), wanted.path.clone());
        let mutability = order.repository.format.mutability(&target.path);
        if let Some(record) = self.catalog.lookup(&target).await?
            && wanted.expected.as_ref().is_some_and(|expected| is_it(expected, &record))
        {
            let record = Artifact { checked_at: now(), ..record };
            return Ok(Some(Piece { record, spooled: None }));
        }
        let ask = Order {
            repository: Arc::clone(&order.repository),
            target,
            role: wanted.role,
            mutability,
            expected: wanted.expected,
            confirmed_after: entry.artifact.stored_at,
        };
        // What carries its digest in its name contradicts no generation, and clients may be asking for it right now: one
        // transfer for all of them. So may those who were given a new root's first entry.
        if entry.spooled.is_none() || matches!(ask.mutability, Mutability::Addressed(_)) {
            return match self.join(ask, None).settled().await {
                // A snapshot would name bytes that nobody has.
                Outcome::Held(_, Via::Unkept) => {
                    Err(NotBuilt::Ours(format!("{} came and could not be kept: see the log", wanted.path)))
                }
                Outcome::Held(held, _) => Ok(Some(Piece { record: held.artifact.clone(), spooled: None })),
                Outcome::Absent(error) => absent(&wanted.path, wanted.role, entry, is_list, error),
                Outcome::NoRoom(_) => Err(NotBuilt::Ours("there is no room for the spool".to_owned())),
                Outcome::Failed(error) => Err(not_built(error)),
            };
        }
        match self.arrive(&ask, remote, Some(entry.source)).await {
            Ok(Arrived { source, .. }) if wanted.role == Role::IndexCompanion && source != entry.source => {
                Err(entry.contradicts(format!("no {} although another mirror has one", wanted.path)))
            }
            Ok(Arrived { draft, spooled, .. }) => self.put_aside(draft, spooled).await.map(Some),
            Err(FillError::Upstream(error)) if matches!(error.kind, UpstreamErrorKind::Absent(_)) => {
                absent(&wanted.path, wanted.role, entry, is_list, error)
            }
            Err(error) => Err(not_built(error)),
        }
    }

    /// Makes spooled bytes durable without making them current.
    async fn put_aside(&self, draft: Artifact, spooled: Spooled) -> Result<Piece, NotBuilt> {
        let record = self.keeper.put_aside(&spooled, draft).await?;
        Ok(Piece { record, spooled: Some(spooled) })
    }

    /// Whether the entry's source still has the entry that its companions were fetched for.
    async fn still_the_same(&self, order: &Order, remote: &Sources, entry: &Entry) -> Result<(), NotBuilt> {
        let again = Order { expected: None, ..order.clone() };
        let arrived = self.arrive(&again, remote, Some(entry.source)).await.map_err(not_built)?;
        if arrived.source == entry.source && arrived.spooled.sha256 == entry.artifact.sha256 {
            return Ok(());
        }
        Err(entry.contradicts("another index already than the one whose signature was asked for"))
    }

    async fn content_of(&self, pieces: &[Piece], path: &RepoPath, entry: &Entry) -> Result<Content, NotBuilt> {
        let Some(piece) = pieces.iter().find(|piece| piece.record.target.path == *path) else {
            return Err(entry.contradicts(format!("no {path}, which its index names")));
        };
        if let Some(spooled) = &piece.spooled {
            return Ok(Content::File(Arc::clone(spooled.file())));
        }
        let unreadable = |why: String| NotBuilt::Ours(format!("{path} cannot be read: {why}"));
        let read = self.blobs.read(&piece.record.blob, None).await.map_err(|error| unreadable(error.to_string()))?;
        match read.map(|read| read.body) {
            Some(BlobBody::Memory(bytes)) => Ok(Content::Memory(bytes)),
            Some(BlobBody::File(file)) => Ok(Content::File(file)),
            Some(BlobBody::Growing(mut reader)) => {
                reader.finished().await.map_err(|error| unreadable(error.to_string()))?;
                Ok(Content::File(Arc::clone(reader.file())))
            }
            Some(BlobBody::Stream { .. }) | None => Err(unreadable("the store does not give it whole".to_owned())),
        }
    }
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

/// Upstream does not have a file. Companions may be absent. A member is on its way there, most likely; but there are
/// repositories that name what they never publish, so a gap is taken for good in the end if nothing here needs the file.
fn absent(
    path: &RepoPath,
    role: Role,
    entry: &Entry,
    is_list: bool,
    error: UpstreamError,
) -> Result<Option<Piece>, NotBuilt> {
    match role {
        Role::IndexMember if is_list || !entry.may_have_gaps => Err(NotBuilt::Contradiction(error)),
        Role::IndexMember => {
            tracing::info!(target: "artifactapi::snapshot", %path, %error, "the index names a file that upstream does not have");
            Ok(None)
        }
        _ => Ok(None),
    }
}

pub(super) fn not_built(error: FillError) -> NotBuilt {
    match error {
        FillError::Upstream(error) => NotBuilt::Contradiction(error),
        other => NotBuilt::Ours(other.to_string()),
    }
}
