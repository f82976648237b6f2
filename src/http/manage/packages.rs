//! `GET /packages/{repository}`: packages that the current indexes of a repository name, by name, version, architecture, file
//! name and root. Answered from the catalog's rows; no index is read for it.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use super::asked::Asked;
use super::named::Named;
use crate::access::Grant;
use crate::config::LiveRepositories;
use crate::http::access::Gate;
use crate::http::error::Problem;
use crate::store::catalog::snapshots::{NamedPackage, PackageQuery, PackageRowId, Snapshots};

/// What this route uses.
#[derive(Clone)]
#[allow(missing_docs, reason = "the types say it")]
pub struct Packages {
    pub repositories: Arc<LiveRepositories>,
    pub snapshots: Arc<dyn Snapshots>,
    pub gate: Arc<Gate>,
}

/// `/packages/{repository}`.
pub fn routes(packages: Packages) -> Router {
    Router::new().route("/packages/{repository}", get(search)).with_state(packages)
}

#[derive(Serialize)]
struct Found<'a> {
    repository: &'a str,
    packages: Vec<Row>,
    next: Option<String>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    version: String,
    arch: String,
    path: String,
    size: u64,
    identity: String,
    root: String,
    /// The snapshot that was the first to name it so.
    since: i64,
}

impl From<NamedPackage> for Row {
    fn from(named: NamedPackage) -> Self {
        let NamedPackage { root, package, first, .. } = named;
        Self {
            name: package.name,
            version: package.version,
            arch: package.arch,
            path: package.path.as_str().to_owned(),
            size: package.size,
            identity: package.identity.to_string(),
            root: root.path.as_str().to_owned(),
            since: first.0,
        }
    }
}

async fn search(
    State(packages): State<Packages>,
    parts: Parts,
    Named(remote): Named<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let repository = packages.repositories.get(&remote).ok_or_else(|| Problem::no_such_repository(&remote))?;
    packages.gate.authorize(&parts, &repository, Grant::Read).await?;
    if repository.format.index().is_none() {
        return Err(Problem::not_found(format!(
            "Repository {remote:?} is of a format without indexes, and so without packages that one names; GET /artifacts/{remote} \
             lists its files."
        )));
    }
    let asked = Asked::parse(query.as_deref(), &["name", "version", "arch", "file", "root", "limit", "after"])?;
    let text = |name| asked.text(name).map(str::to_owned);
    let limit = asked.limit()?;
    let query = PackageQuery {
        name: text("name"),
        version: text("version"),
        arch: text("arch"),
        file: text("file"),
        root: asked.path("root")?,
        after: asked.number("after")?.map(PackageRowId),
        limit,
    };
    let found = packages.snapshots.search(&repository.name, &query).await;
    let found = found.map_err(|error| {
        Problem::unavailable("The catalog does not answer now; GET /ready says what is away.", &error)
    })?;
    let next = (found.len() == limit as usize).then(|| found.last().map(|last| last.row.0.to_string())).flatten();
    let rows = found.into_iter().map(Row::from).collect();
    let mut response = Json(Found { repository: &remote, packages: rows, next }).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
