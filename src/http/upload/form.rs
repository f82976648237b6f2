//! Several files in one request: `POST` of a form (`multipart/form-data`, as `curl -F` sends it) to a folder.
//!
//! Each part that has a file name becomes the file of that name in the folder. They are received one after another, for that
//! is how they come, and published together. Parts are taken for themselves: the answer says of each what became of it,
//! and is a problem if any was refused. Each is held to what a `PUT` of it would be: what its part says of its digest, the bounds and
//! the room of the repository, a line of the audit.

use std::sync::Arc;

use artifactapi_formats::RepoPath;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::allowed::authorize;
use super::conditions::{asks_nothing, is_about_all};
use super::digest::expected;
use super::parts::Parts;
use super::receive::receive_stream;
use super::{Uploads, conflict, counting, destination, from_publish, has_no_query, may_lie_there, takes_uploads, told};
use crate::access::Grant;
use crate::config::Repository;
use crate::engine::publish::{Condition, Outcome, PublishError, Terms};
use crate::http::artifact::{Named, folder_of, resolve};
use crate::http::error::Problem;
use crate::spool::Spooled;
use crate::store::key::Target;

/// The most files in one request.
const MAX_FILES: usize = 256;

/// A file of a form, whole.
struct Received {
    target: Target,
    spooled: Spooled,
    terms: Terms,
}

/// Takes the files of a form.
///
/// # Errors
/// [`Problem`] of the first file that was not taken; its detail says which were.
pub async fn post(State(uploads): State<Uploads>, request: Request) -> Result<Response, Problem> {
    has_no_query(request.uri())?;
    let (named, folder, when) = match folder_of(&uploads.repositories, request.uri(), |_| true)? {
        Some((named, folder)) => (named, folder, None),
        None => {
            let Named { repository, target, when } = resolve(&uploads.repositories, request.uri())?;
            (repository, target.path.as_str().to_owned(), when)
        }
    };
    let repository = destination(&named).unwrap_or_else(|| Arc::clone(&named));
    let (parts, body) = request.into_parts();
    let entry = authorize(&uploads, &parts, &repository, Grant::Write).await?;
    let request = Request::from_parts(parts, body);
    let receiving = async {
        if when.is_some() {
            return Err(Problem::bad_request("An earlier generation is as it was; upload without the '@'."));
        }
        received(&uploads, [&named, &repository], &folder, request).await
    };
    let received = entry.audited_unless_done("upload", &folder, receiving).await?;
    let publishing = received.into_iter().map(|Received { target, spooled, terms }| {
        let (entry, uploads, repository) = (&entry, &uploads, &repository);
        async move {
            let publishing = async {
                match uploads.publisher.put(repository, &target, &spooled, terms).await {
                    Ok(done) if done.outcome == Outcome::Conflict => Err(conflict(&target)),
                    Ok(done) => Ok((done.outcome, told(&target, &spooled, done))),
                    Err(error) => Err(from_publish(&error, repository, &target)),
                }
            };
            entry.audited("upload", target.path.as_str(), publishing).await
        }
    });
    let published = futures_util::future::join_all(publishing).await;
    let taken: Vec<_> = published.iter().filter_map(|result| result.as_ref().ok()).collect();
    if let Some(problem) = published.iter().find_map(|result| result.as_ref().err()) {
        let names: Vec<_> = taken.iter().filter_map(|(_, told)| told["path"].as_str()).collect();
        return Err(problem.clone().also(&match &names[..] {
            [] => "None of the other files was taken either.".to_owned(),
            names => format!("These were taken: {}.", names.join(", ")),
        }));
    }
    let is_news = taken.iter().any(|(outcome, _)| *outcome != Outcome::Unchanged);
    let status = if is_news { StatusCode::CREATED } else { StatusCode::OK };
    let files: Vec<_> = taken.iter().map(|(_, told)| told).collect();
    Ok((status, Json(json!({ "files": files }))).into_response())
}

/// The files of a form, all of them whole; `[named, repository]` are the repository of the URI and the one that changes.
async fn received(
    uploads: &Uploads,
    [named, repository]: [&Arc<Repository>; 2],
    folder: &str,
    request: Request,
) -> Result<Vec<Received>, Problem> {
    let local = takes_uploads(repository)?;
    is_about_all(request.headers())?;
    asks_nothing(request.headers())?;
    let of_all = expected(request.headers())?;
    let mut form = Parts::of(request).await?;
    let mut received = Vec::<Received>::new();
    while let Some(part) = form.next().await? {
        let Some(name) = part.file_name().map(str::to_owned) else {
            part.pass_over().await?;
            continue;
        };
        if received.len() == MAX_FILES {
            return Err(Problem::bad_request(format!(
                "A form may have up to {MAX_FILES} files; send the rest in another."
            )));
        }
        if !of_all.is_nothing() && !received.is_empty() {
            return Err(Problem::bad_request(
                "The request says one digest, and the form has several files; give each part a digest of its own.",
            ));
        }
        let path = match folder.trim_end_matches('/') {
            "" => RepoPath::new(&name),
            folder => RepoPath::new(&format!("{folder}/{name}")),
        };
        let path =
            path.map_err(|why| Problem::bad_request(format!("The file name {name:?} cannot be used: {why}.")))?;
        let target = Target::new(repository.name.clone(), path);
        may_lie_there(named, &target)?;
        may_lie_there(repository, &target)?;
        is_about_all(part.headers())?;
        let expected = expected(part.headers())?;
        let failed = |error: PublishError| from_publish(&error, repository, &target);
        let terms = uploads.publisher.terms(repository, &target, None, Condition::default()).await;
        let mut terms = terms.map_err(failed)?;
        let count = counting(local, &mut terms, failed);
        let spooled = receive_stream(&uploads.spool, part.content(), None, count).await?;
        expected.compare(&spooled)?;
        of_all.compare(&spooled)?;
        received.push(Received { target, spooled, terms });
    }
    if received.is_empty() {
        return Err(Problem::bad_request("The form has no files; name one with -F file=@FILE."));
    }
    Ok(received)
}
