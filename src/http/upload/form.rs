//! Several files in one request: `POST` of a form (`multipart/form-data`, as `curl -F` sends it) to a folder.
//!
//! Each part that has a file name becomes the file of that name in the folder. They are received one after another, for that
//! is how they come, and published together. Parts are taken for themselves: the answer says of each what became of it,
//! and is a problem if any was refused.

use std::sync::Arc;

use artifactapi_formats::RepoPath;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::parts::Parts;
use super::receive::receive_stream;
use super::{Uploads, conflict, destination, from_publish, has_no_query, may_lie_there, takes_uploads, told};
use crate::access::Grant;
use crate::engine::publish::Outcome;
use crate::http::artifact::{Named, folder_of, resolve};
use crate::http::error::Problem;
use crate::store::key::Target;

/// The most files in one request.
const MAX_FILES: usize = 256;

/// Takes the files of a form.
///
/// # Errors
/// [`Problem`] of the first file that was not taken; its detail says which were.
pub async fn post(State(uploads): State<Uploads>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    has_no_query(&parts.uri)?;
    let (named, what) = match folder_of(&uploads.repositories, &parts.uri, |named| destination(named).is_some())? {
        Some(folder) => folder,
        None => {
            let Named { repository, target, .. } = resolve(&uploads.repositories, &parts.uri)?;
            (repository, target.path.as_str().to_owned())
        }
    };
    let repository = destination(&named).unwrap_or_else(|| Arc::clone(&named));
    let entry = uploads.gate.authorize(&parts, &repository, Grant::Write).await?;
    let work = async {
        let local = takes_uploads(&repository)?;
        let mut form = Parts::of(Request::from_parts(parts, body)).await?;
        let mut received = Vec::new();
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
            let path = match what.trim_end_matches('/') {
                "" => RepoPath::new(&name),
                folder => RepoPath::new(&format!("{folder}/{name}")),
            };
            let path =
                path.map_err(|why| Problem::bad_request(format!("The file name {name:?} cannot be used: {why}.")))?;
            let target = Target::new(repository.name.clone(), path);
            may_lie_there(&named, &target)?;
            may_lie_there(&repository, &target)?;
            let spooled = receive_stream(&uploads.spool, part.content(), None, local.max_file_bytes).await?;
            received.push((target, spooled));
        }
        if received.is_empty() {
            return Err(Problem::bad_request("The form has no files; name one with -F file=@FILE."));
        }
        let publishing = received.iter().map(|(target, spooled)| async {
            let done = uploads.publisher.put(&repository, target, spooled).await;
            match done {
                Ok(done) if done.outcome == Outcome::Conflict => Err(conflict(target)),
                Ok(done) => Ok((done.outcome, told(target, spooled, done))),
                Err(error) => Err(from_publish(&error, &repository, target)),
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
    };
    entry.audited("upload", &what, work).await
}
