//! `/snapshots/{repository}` and `/snapshots/{repository}/{root}`: the generations of a repository's indexes, what differs between
//! two of them, and the tags people give them.
//!
//! A root is named by its entry file (`v3.22/main/x86_64/APKINDEX.tar.gz`) or by the folder it describes
//! (`v3.22/main/x86_64`, `el9/x86_64`). Generations are written as after the `@` in `/api/{repository}@{when}/…`.

use std::sync::Arc;

use artifactapi_formats::PackageEntry;
use axum::extract::{RawQuery, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use super::asked::Asked;
use super::named::Named;
use crate::access::Grant;
use crate::calendar::rfc3339;
use crate::config::{LiveRepositories, Repository};
use crate::engine::generations::{GenerationError, Generations, When};
use crate::http::access::{Entry, Gate};
use crate::http::error::Problem;
use crate::store::catalog::CatalogError;
use crate::store::catalog::snapshots::{Snapshot, SnapshotId, Snapshots, Tag};
use crate::store::key::Target;

/// What these routes use.
#[derive(Clone)]
#[allow(missing_docs, reason = "the types say it")]
pub struct SnapshotRoutes {
    pub repositories: Arc<LiveRepositories>,
    pub generations: Generations,
    pub gate: Arc<Gate>,
}

/// `/snapshots/…`.
pub fn routes(state: SnapshotRoutes) -> Router {
    Router::new()
        .route("/snapshots/{repository}", get(roots))
        .route("/snapshots/{repository}/{*root}", get(list_or_diff).put(tag).delete(untag))
        .with_state(state)
}

#[derive(Serialize)]
struct Roots<'a> {
    repository: &'a str,
    roots: Vec<String>,
    next: Option<String>,
}

#[derive(Serialize)]
struct Listed<'a> {
    repository: &'a str,
    root: &'a str,
    snapshots: Vec<Row>,
    next: Option<String>,
}

#[derive(Serialize)]
struct Row {
    id: i64,
    published_at: String,
    made_at: Option<String>,
    source: String,
    packages: u64,
    tags: Vec<String>,
}

impl From<Snapshot> for Row {
    fn from(snapshot: Snapshot) -> Self {
        Self {
            id: snapshot.id.0,
            published_at: rfc3339(snapshot.published_at),
            made_at: snapshot.made_at.map(rfc3339),
            source: snapshot.source,
            packages: snapshot.packages,
            tags: snapshot.tags.iter().map(Tag::to_string).collect(),
        }
    }
}

#[derive(Serialize)]
struct Diff<'a> {
    repository: &'a str,
    root: &'a str,
    from: i64,
    to: i64,
    changes: Vec<Change>,
    next: Option<String>,
}

#[derive(Serialize)]
struct Change {
    change: &'static str,
    path: String,
    from: Option<Described>,
    to: Option<Described>,
}

#[derive(Serialize)]
struct Described {
    name: String,
    version: String,
    arch: String,
    size: u64,
    identity: String,
}

impl From<PackageEntry> for Described {
    fn from(package: PackageEntry) -> Self {
        let PackageEntry { name, version, arch, size, identity, .. } = package;
        Self { name, version, arch, size, identity: identity.to_string() }
    }
}

async fn roots(
    State(state): State<SnapshotRoutes>,
    parts: Parts,
    Named(remote): Named<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let (repository, _) = state.repository(&parts, &remote, Grant::Read).await?;
    has_indexes(&repository)?;
    let asked = Asked::parse(query.as_deref(), &["limit", "after"])?;
    let limit = asked.limit()?;
    let found = state.snapshots().roots(&repository.name, asked.path("after")?.as_ref(), limit).await;
    let found = found.map_err(|error| away(&error))?;
    let roots: Vec<String> = found.into_iter().map(|root| root.path.as_str().to_owned()).collect();
    let next = (roots.len() == limit as usize).then(|| roots.last().cloned()).flatten();
    Ok(answer(Roots { repository: &remote, roots, next }))
}

async fn list_or_diff(
    State(state): State<SnapshotRoutes>,
    parts: Parts,
    Named((remote, root)): Named<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let (repository, _) = state.repository(&parts, &remote, Grant::Read).await?;
    let root = state.root(&repository, &root).await?;
    let asked = Asked::parse(query.as_deref(), &["limit", "before", "from", "to", "after"])?;
    let (limit, path) = (asked.limit()?, root.path.as_str());
    match (asked.when("from")?, asked.when("to")?) {
        (None, None) => {
            let before = asked.number("before")?.map(SnapshotId);
            let found = state.snapshots().snapshots(&root, before, limit).await.map_err(|error| away(&error))?;
            if found.is_empty() {
                // The page after the last is empty; a root that there is not has no pages.
                state.generations.newest(&root).await.map_err(|error| not_found(&error))?;
            }
            let next =
                (found.len() == limit as usize).then(|| found.last().map(|last| last.id.0.to_string())).flatten();
            let snapshots = found.into_iter().map(Row::from).collect();
            Ok(answer(Listed { repository: &remote, root: path, snapshots, next }))
        }
        (Some(from), to) => {
            let from = state.generation(&root, &from).await?.id;
            let to = match to {
                Some(to) => state.generation(&root, &to).await?,
                None => state.generation(&root, &When::At(std::time::SystemTime::now())).await?,
            };
            let after = asked.path("after")?;
            let changes = state.snapshots().diff(from, to.id, after.as_ref(), limit).await;
            let changes = changes.map_err(|error| away(&error))?;
            let is_full = changes.len() == limit as usize;
            let changes: Vec<Change> =
                changes.into_iter().filter_map(|change| Change::of(change.from, change.to)).collect();
            let next = is_full.then(|| changes.last().map(|last| last.path.clone())).flatten();
            Ok(answer(Diff { repository: &remote, root: path, from: from.0, to: to.id.0, changes, next }))
        }
        (None, Some(_)) => Err(Problem::unprocessable("to needs a from: which two snapshots are to be compared?")),
    }
}

impl Change {
    fn of(from: Option<PackageEntry>, to: Option<PackageEntry>) -> Option<Self> {
        let change = match (&from, &to) {
            (None, _) => "added",
            (Some(_), None) => "removed",
            (Some(_), Some(_)) => "changed",
        };
        let path = to.as_ref().or(from.as_ref())?.path.as_str().to_owned();
        Some(Self { change, path, from: from.map(Described::from), to: to.map(Described::from) })
    }
}

async fn tag(
    State(state): State<SnapshotRoutes>,
    parts: Parts,
    Named((remote, root)): Named<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let (repository, entry) = state.repository(&parts, &remote, Grant::Write).await?;
    entry.audited("tag", &root, state.tag(&repository, &root, query.as_deref())).await
}

async fn untag(
    State(state): State<SnapshotRoutes>,
    parts: Parts,
    Named((remote, root)): Named<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let (repository, entry) = state.repository(&parts, &remote, Grant::Write).await?;
    entry.audited("untag", &root, state.untag(&repository, &root, query.as_deref())).await
}

fn wanted_tag(asked: &Asked<'_>) -> Result<Tag, Problem> {
    let text = asked.text("tag").ok_or_else(|| Problem::unprocessable("tag is missing."))?;
    text.parse().map_err(|why| Problem::unprocessable(format!("tag is {text:?}: {why}.")))
}

impl SnapshotRoutes {
    /// The repository of that name, for who may do to it what needs this grant.
    async fn repository(&self, parts: &Parts, name: &str, needed: Grant) -> Result<(Arc<Repository>, Entry), Problem> {
        let repository = self.repositories.get(name).ok_or_else(|| Problem::no_such_repository(name))?;
        let entry = self.gate.authorize(parts, &repository, needed).await?;
        Ok((repository, entry))
    }

    async fn root(&self, repository: &Repository, named: &str) -> Result<Target, Problem> {
        self.generations.root_named(repository, named).await.map_err(|error| not_found(&error))
    }

    async fn tag(&self, repository: &Repository, root: &str, query: Option<&str>) -> Result<Response, Problem> {
        let root = self.root(repository, root).await?;
        let asked = Asked::parse(query, &["tag", "snapshot"])?;
        let tag = wanted_tag(&asked)?;
        let when = asked.when("snapshot")?.unwrap_or_else(|| When::At(std::time::SystemTime::now()));
        let snapshot = self.generation(&root, &when).await?;
        if !self.snapshots().tag(snapshot.id, &tag).await.map_err(|error| away(&error))? {
            return Err(Problem::not_found("The snapshot went away while it was being tagged."));
        }
        let mut row = Row::from(snapshot);
        if !row.tags.iter().any(|known| *known == tag.as_str()) {
            row.tags.push(tag.to_string());
        }
        Ok(answer(row))
    }

    async fn untag(&self, repository: &Repository, root: &str, query: Option<&str>) -> Result<Response, Problem> {
        let root = self.root(repository, root).await?;
        let tag = wanted_tag(&Asked::parse(query, &["tag"])?)?;
        if self.snapshots().untag(&root, &tag).await.map_err(|error| away(&error))? {
            Ok(StatusCode::NO_CONTENT.into_response())
        } else {
            Err(Problem::not_found(format!("No snapshot of {} has the tag {tag}.", root.path)))
        }
    }

    async fn generation(&self, root: &Target, when: &When) -> Result<Snapshot, Problem> {
        self.generations.find(root, when).await.map_err(|error| not_found(&error))
    }

    fn snapshots(&self) -> &Arc<dyn Snapshots> {
        self.generations.snapshots()
    }
}

/// 404 for what can have no snapshots.
fn has_indexes(repository: &Repository) -> Result<(), Problem> {
    Generations::index_of(repository).map(drop).map_err(|error| not_found(&error))
}

fn not_found(error: &GenerationError) -> Problem {
    match error {
        GenerationError::None(why) => Problem::not_found(format!("{why}.")),
        GenerationError::Catalog(error) => away(error),
    }
}

fn away(error: &CatalogError) -> Problem {
    Problem::unavailable("The catalog does not answer now; GET /ready says what is away.", error)
}

fn answer(body: impl Serialize) -> Response {
    let mut response = Json(body).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
