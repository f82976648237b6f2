//! `PUT|DELETE /api/{repository}/{path}` and `POST /api/{repository}/{folder}`: what people put in (DESIGN 8).
//!
//! A request goes through the same steps in the same order: who asks, whether the repository takes uploads (which comes first for
//! those that no token would help), whether the path
//! may be used, whether its conditions hold, whether the declared size fits; only then is a byte of the body read (a client
//! that sent `Expect: 100-continue` sends none before that). The body is spooled whole, its digest compared with what the
//! client said of it, and handed to the [`Publisher`]. What is answered with 201 or 200 is durable, in the index, and there for the next
//! client on whichever replica.
//!
//! A virtual repository with `deploy_to` is another way into that local repository and nothing else: its files change, so the
//! token needs its grants there, and the answer and the audit name it. The patterns of both must admit the path.
//!
//! It never keeps a part of a body, and never waits for one for ever ([`crate::patience`]).

mod allowed;
mod conditions;
mod digest;
mod form;
mod parts;
mod receive;

use std::sync::Arc;

use artifactapi_formats::Role;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CONTENT_LENGTH, ETAG, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use self::allowed::authorize;
pub use self::allowed::options;
use self::conditions::{condition, is_about_all};
use self::digest::expected;
pub use self::form::post;
use self::receive::receive;
use super::access::Gate;
use super::artifact::{Named, resolve};
use super::error::Problem;
use super::headers::etag;
use crate::access::Grant;
use crate::config::{Admission, Kind, LiveRepositories, Local, Repository};
use crate::engine::generations::When;
use crate::engine::publish::{Done, Outcome, PublishError, Publisher, Terms};
use crate::spool::{SpoolFolder, Spooled};
use crate::store::key::Target;

/// What uploading is done with.
#[derive(Clone)]
#[allow(missing_docs, reason = "the types say it")]
pub struct Uploads {
    pub repositories: Arc<LiveRepositories>,
    pub publisher: Arc<Publisher>,
    pub spool: SpoolFolder,
    pub gate: Arc<Gate>,
}

/// Takes one file.
///
/// # Errors
/// [`Problem`]; nothing is then visible that was not before.
pub async fn put(State(uploads): State<Uploads>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let Addressed { named, repository, target, when } = addressed(&uploads.repositories, &parts.uri)?;
    let entry = authorize(&uploads, &parts, &repository, Grant::Write).await?;
    let work = async {
        if when.is_some() {
            return Err(Problem::bad_request("An earlier generation is as it was; upload without the '@'."));
        }
        let local = takes_uploads(&repository)?;
        may_lie_there(&named, &target)?;
        may_lie_there(&repository, &target)?;
        let declared = declared_length(&parts)?;
        within_bounds(local, declared)?;
        is_about_all(&parts.headers)?;
        let expected = expected(&parts.headers)?;
        let failed = |error: PublishError| from_publish(&error, &repository, &target);
        let terms = uploads.publisher.terms(&repository, &target, declared, condition(&parts.headers)).await;
        let mut terms = terms.map_err(failed)?;
        let spooled = receive(&uploads.spool, body, declared, counting(local, &mut terms, failed)).await?;
        expected.compare(&spooled)?;
        let done = uploads.publisher.put(&repository, &target, &spooled, terms).await.map_err(failed)?;
        answer(&target, &spooled, done)
    };
    entry.audited("upload", target.path.as_str(), work).await
}

/// Removes one file.
///
/// # Errors
/// [`Problem`]; it is then still there, as far as one can tell.
pub async fn delete(State(uploads): State<Uploads>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let Addressed { repository, target, when, .. } = addressed(&uploads.repositories, &parts.uri)?;
    let entry = authorize(&uploads, &parts, &repository, Grant::Delete).await?;
    let work =
        async {
            if when.is_some() {
                return Err(Problem::bad_request("An earlier generation is as it was; delete without the '@'."));
            }
            takes_uploads(&repository)?;
            is_no_key(&repository, &target)?;
            is_about_all(&parts.headers)?;
            let done = uploads.publisher.remove(&repository, &target, condition(&parts.headers)).await;
            let done = done.map_err(|error| from_publish(&error, &repository, &target))?;
            match done.outcome {
                Outcome::Absent => Err(Problem::not_found(format!(
                    "There is no {:?} in repository {:?}.",
                    target.path.as_str(),
                    repository.name.as_str()
                ))),
                _ => Ok(Json(json!({ "path": target.path.as_str(), "snapshot": done.snapshot.map(|id| id.0) }))
                    .into_response()),
            }
        };
    entry.audited("delete", target.path.as_str(), work).await
}

/// What a request to change something is about.
struct Addressed {
    /// The repository of the URI.
    named: Arc<Repository>,
    /// The one that changes: where that one's uploads go, or itself.
    repository: Arc<Repository>,
    /// The path, below the repository that changes.
    target: Target,
    when: Option<When>,
}

fn addressed(repositories: &LiveRepositories, uri: &Uri) -> Result<Addressed, Problem> {
    has_no_query(uri)?;
    let Named { repository: named, target, when } = resolve(repositories, uri)?;
    let repository = destination(&named).unwrap_or_else(|| Arc::clone(&named));
    let target = Target { repository: repository.name.clone(), ..target };
    Ok(Addressed { named, repository, target, when })
}

/// A query may be part of what an upstream calls a file, but people's files are known by their paths alone: what was put under one
/// with a query could not be had again.
fn has_no_query(uri: &Uri) -> Result<(), Problem> {
    match uri.query() {
        None | Some("") => Ok(()),
        Some(_) => Err(Problem::bad_request(
            "Files are uploaded to and deleted by their path alone, without a query; a '?' in a name is written %3F.",
        )),
    }
}

/// The local repository that takes what is uploaded to `named`, if any does.
fn destination(named: &Arc<Repository>) -> Option<Arc<Repository>> {
    match &named.kind {
        Kind::Local(_) => Some(Arc::clone(named)),
        Kind::Virtual(all) => all.deploy_to.clone(),
        Kind::Remote(_) => None,
    }
}

/// What a local repository says of its uploads; 405 for others.
fn takes_uploads(repository: &Repository) -> Result<&Local, Problem> {
    match &repository.kind {
        Kind::Local(local) => Ok(local),
        Kind::Remote(_) | Kind::Virtual(_) => Err(Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "Method not allowed",
            format!(
                "Repository {:?} is of type {}, which takes no uploads{}.",
                repository.name.as_str(),
                repository.kind.name(),
                match &repository.kind {
                    Kind::Virtual(_) => " unless deploy_to names a member for them; upload to one of type local",
                    _ => "; upload to one of type local",
                }
            ),
        )
        .with(ALLOW, allowed::READING)),
    }
}

fn may_lie_there(repository: &Repository, target: &Target) -> Result<(), Problem> {
    let role = repository.format.classify(&target.path);
    if role == Role::Listing {
        return Err(Problem::bad_request(
            "A path that ends in '/' is a folder; give the file a name, or POST a form to the folder.",
        ));
    }
    is_no_key(repository, target)?;
    match repository.patterns.admits(target.path.as_str(), role) {
        Admission::Admitted => Ok(()),
        refused => Err(Problem::not_admitted(repository, target.path.as_str(), &refused)),
    }
}

/// What clients trust this repository by is the configuration's alone to change.
fn is_no_key(repository: &Repository, target: &Target) -> Result<(), Problem> {
    match repository.public_key(target.path.as_str()) {
        None => Ok(()),
        Some(_) => Err(Problem::new(
            StatusCode::CONFLICT,
            "The repository's key is there",
            format!(
                "{:?} of repository {:?} is the public key that clients check its indexes with; it is what signing_keys or \
                 retired_keys says, and cannot be uploaded or deleted. Give the file another name.",
                target.path.as_str(),
                repository.name.as_str()
            ),
        )),
    }
}

fn declared_length(parts: &Parts) -> Result<Option<u64>, Problem> {
    let Some(length) = parts.headers.get(CONTENT_LENGTH) else { return Ok(None) };
    let length = length.to_str().ok().and_then(|length| length.parse().ok());
    length.map(Some).ok_or_else(|| Problem::bad_request("Content-Length is not a number of bytes."))
}

fn within_bounds(local: &Local, declared: Option<u64>) -> Result<(), Problem> {
    match declared.filter(|declared| *declared > local.max_file_bytes) {
        None => Ok(()),
        Some(declared) => Err(too_large(declared, local.max_file_bytes)),
    }
}

/// Holds what comes of a body to the bound of one file, and to the room that the repository has.
fn counting(
    local: &Local,
    terms: &mut Terms,
    failed: impl Fn(PublishError) -> Problem,
) -> impl FnMut(u64) -> Result<(), Problem> {
    let mut received = 0_u64;
    move |more| {
        received = received.saturating_add(more);
        if received > local.max_file_bytes {
            return Err(too_large(received, local.max_file_bytes));
        }
        terms.take(more).map_err(&failed)
    }
}

fn too_large(size: u64, limit: u64) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "The file is too large",
        format!("{size} bytes or more, and this repository takes files of up to {limit} bytes (max_file_bytes)."),
    )
}

/// What became of one file.
fn told(target: &Target, spooled: &Spooled, done: Done) -> Value {
    json!({
        "path": target.path.as_str(),
        "size": spooled.size,
        "sha256": spooled.sha256.hex(),
        "snapshot": done.snapshot.map(|id| id.0),
        "result": match done.outcome {
            Outcome::Created => "created",
            Outcome::Replaced => "replaced",
            _ => "unchanged",
        },
    })
}

fn answer(target: &Target, spooled: &Spooled, done: Done) -> Result<Response, Problem> {
    let status = match done.outcome {
        Outcome::Created | Outcome::Replaced => StatusCode::CREATED,
        Outcome::Unchanged => StatusCode::OK,
        Outcome::Conflict | Outcome::Removed | Outcome::Absent => return Err(conflict(target)),
    };
    let mut response = (status, Json(told(target, spooled, done))).into_response();
    let location = format!("/api/{}/{}", target.repository.as_str(), target.path.to_url_path());
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    if let Ok(etag) = HeaderValue::try_from(etag(&spooled.sha256)) {
        response.headers_mut().insert(ETAG, etag);
    }
    Ok(response)
}

fn conflict(target: &Target) -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "Another file is there",
        format!(
            "{:?} of repository {:?} holds other bytes already, and stays; give the file another name or version, delete it \
             first, or set overwrite: true.",
            target.path.as_str(),
            target.repository.as_str()
        ),
    )
}

fn from_publish(error: &PublishError, repository: &Repository, target: &Target) -> Problem {
    let named = format!("{:?} of repository {:?}", target.path.as_str(), repository.name.as_str());
    match error {
        PublishError::NotLocal | PublishError::OwnIndex | PublishError::NotPublished => {
            Problem::bad_request(format!("{named} cannot be changed: {error}."))
        }
        PublishError::Invalid(why) => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "The file is not what it should be",
            format!("{named} was not taken: {why}."),
        ),
        PublishError::Precondition => Problem::new(
            StatusCode::PRECONDITION_FAILED,
            "A precondition failed",
            format!("{named} was left as it is: {error}. Ask for it again, and decide anew."),
        ),
        PublishError::Quota { .. } => Problem::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "The repository is full",
            format!("{named} was not taken: {error}; delete something first, or raise quota."),
        ),
        PublishError::Full => Problem::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "The disk is full",
            format!("{named} was not taken: {error}."),
        ),
        PublishError::Unanswered | PublishError::Unknown(_) => Problem::unavailable(
            format!("Nobody can say whether {named} was changed. Try again: nothing is done twice."),
            error,
        ),
        PublishError::Contended
        | PublishError::Late(_)
        | PublishError::Away(_)
        | PublishError::PieceLost
        | PublishError::Superseded(_)
        | PublishError::Unreadable(_) => {
            Problem::unavailable(format!("{named} could not be changed; nothing was kept. Try again."), error)
        }
    }
}
