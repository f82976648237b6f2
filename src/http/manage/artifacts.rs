//! `GET /artifacts/{remote}`: what a repository holds, page by page, by prefix or pattern.
//!
//! A page costs a bounded amount of work whatever it is asked for: the catalog finds a prefix by itself, but a pattern is
//! tried on each record, and one that matches nothing would look at all of them. So after [`SCAN`] records a page ends,
//! full or not, and its `next` link goes on from there; a page may be empty and still have a next one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{RawQuery, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::sync::Semaphore;

use super::asked::{Asked, MAX_LIMIT};
use super::cursor;
use super::named::Named;
use crate::access::Grant;
use crate::calendar::rfc3339;
use crate::config::LiveRepositories;
use crate::engine::pattern::RequestPattern;
use crate::http::access::Gate;
use crate::http::error::Problem;
use crate::store::catalog::{Artifact, Catalog, ListQuery};
use crate::store::key::RepositoryName;

/// The most records that one request looks at.
pub const SCAN: usize = 10_000;

/// How long records of one batch are matched with a pattern; the page ends where that was over.
const MATCHING_TIME: Duration = Duration::from_millis(250);

/// How many requests match at once; the others wait their turn.
const MATCHING_AT_ONCE: usize = 2;

/// What lists are made from.
#[derive(Clone)]
#[allow(missing_docs, reason = "the types say it")]
pub struct Listing {
    pub repositories: Arc<LiveRepositories>,
    pub catalog: Arc<dyn Catalog>,
    pub gate: Arc<Gate>,
}

/// `/artifacts/{remote}`.
pub fn routes(listing: Listing) -> Router {
    Router::new().route("/artifacts/{remote}", get(list)).with_state(listing)
}

async fn list(
    State(listing): State<Listing>,
    parts: Parts,
    Named(remote): Named<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let repository = listing.repositories.get(&remote).ok_or_else(|| Problem::no_such_repository(&remote))?;
    listing.gate.authorize(&parts, &repository, Grant::Read).await?;
    let wanted = Wanted::parse(query.as_deref())?;
    let pattern = match wanted.pattern.clone() {
        None => None,
        Some(text) => {
            // A large pattern takes milliseconds to compile.
            let compiled = tokio::task::spawn_blocking(move || RequestPattern::compile(&text)).await;
            let compiled =
                compiled.map_err(|error| Problem::unavailable("The pattern could not be compiled.", &error))?;
            Some(compiled.map_err(|why| Problem::unprocessable(format!("pattern {why}.")))?)
        }
    };
    let page = Page::read(&*listing.catalog, &repository.name, &wanted, pattern.as_ref()).await?;
    let next = page.ended_at.as_ref().map(|(path, query)| wanted.next(&remote, path, query));
    let link = next.as_ref().and_then(|next| HeaderValue::try_from(format!("<{next}>; rel=\"next\"")).ok());
    let artifacts = page.rows.iter().map(Row::of).collect();
    let mut response = Json(Answer { repository: &remote, artifacts, next }).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(link) = link {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    limit: u32,
    prefix: String,
    pattern: Option<String>,
    after: Option<(String, String)>,
}

impl Wanted {
    fn parse(query: Option<&str>) -> Result<Self, Problem> {
        let asked = Asked::parse(query, &["limit", "prefix", "pattern", "after"])?;
        Ok(Self {
            limit: asked.limit()?,
            prefix: asked.prefix("prefix")?.to_owned(),
            pattern: asked.text("pattern").map(str::to_owned),
            after: asked.place("after")?,
        })
    }

    /// The URL of the page after this place.
    fn next(&self, repository: &str, path: &str, query: &str) -> String {
        let mut fields = url::form_urlencoded::Serializer::new(String::new());
        fields.append_pair("limit", &self.limit.to_string());
        if !self.prefix.is_empty() {
            fields.append_pair("prefix", &self.prefix);
        }
        if let Some(pattern) = &self.pattern {
            fields.append_pair("pattern", pattern);
        }
        fields.append_pair("after", &cursor::encode(path, query));
        format!("/artifacts/{repository}?{}", fields.finish())
    }
}

/// Rows that match, and where looking ended if there is more to look at.
struct Page {
    rows: Vec<Artifact>,
    ended_at: Option<(String, String)>,
}

impl Page {
    async fn read(
        catalog: &dyn Catalog,
        repository: &RepositoryName,
        asked: &Wanted,
        pattern: Option<&RequestPattern>,
    ) -> Result<Self, Problem> {
        let wanted = asked.limit as usize;
        let mut page = Self { rows: Vec::new(), ended_at: asked.after.clone() };
        let mut looked_at = 0;
        loop {
            // One row more than is wanted tells whether there is a next page. A pattern passes most rows over.
            let batch = if pattern.is_some() { MAX_LIMIT } else { asked.limit + 1 };
            let query = ListQuery { prefix: asked.prefix.clone(), after: page.ended_at.clone(), limit: batch };
            let records = catalog.list(repository, &query).await.map_err(|error| {
                Problem::unavailable(format!("What repository {repository:?} holds cannot be listed now."), &error)
            })?;
            let is_last = records.len() < batch as usize;
            let batch = match pattern {
                Some(pattern) => judged(records, pattern.clone()).await?,
                None => Batch { records: records.into_iter().map(|record| (record, true)).collect(), is_whole: true },
            };
            for (record, matches) in batch.records {
                if page.rows.len() == wanted {
                    return Ok(page);
                }
                page.ended_at = Some((record.target.path.to_string(), record.target.query.to_string()));
                looked_at += 1;
                if matches {
                    page.rows.push(record);
                }
            }
            let is_last = is_last && batch.is_whole;
            if is_last {
                page.ended_at = None;
            }
            if is_last || !batch.is_whole || looked_at >= SCAN {
                return Ok(page);
            }
        }
    }
}

/// Records and whether they match.
struct Batch {
    records: Vec<(Artifact, bool)>,
    /// Whether all that were asked about are here; else the pattern took too long for the rest.
    is_whole: bool,
}

/// Matches where that stalls nobody, a few at a time, and not for longer than a stranger's pattern may take.
async fn judged(records: Vec<Artifact>, pattern: RequestPattern) -> Result<Batch, Problem> {
    static MATCHING: Semaphore = Semaphore::const_new(MATCHING_AT_ONCE);
    let failed = |error: &dyn std::error::Error| Problem::unavailable("The pattern could not be matched.", error);
    let _turn = MATCHING.acquire().await.map_err(|error| failed(&error))?;
    let matching = tokio::task::spawn_blocking(move || {
        let (began, count) = (Instant::now(), records.len());
        let mut judged = Vec::with_capacity(count);
        for record in records {
            let matches = pattern.matches(record.target.path.as_str());
            judged.push((record, matches));
            if began.elapsed() > MATCHING_TIME {
                break;
            }
        }
        Batch { is_whole: judged.len() == count, records: judged }
    });
    matching.await.map_err(|error| failed(&error))
}

#[derive(Debug, Serialize)]
struct Answer<'a> {
    repository: &'a str,
    artifacts: Vec<Row<'a>>,
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    path: &'a str,
    query: &'a str,
    size: u64,
    sha256: String,
    content_type: &'a str,
    stored_at: String,
    checked_at: String,
    upstream: Upstream<'a>,
    url: String,
}

/// What upstream said of it, verbatim.
#[derive(Debug, Serialize)]
struct Upstream<'a> {
    etag: Option<&'a str>,
    last_modified: Option<&'a str>,
}

impl<'a> Row<'a> {
    fn of(artifact: &'a Artifact) -> Self {
        let target = &artifact.target;
        let query = if target.query.is_empty() { String::new() } else { format!("?{}", target.query) };
        Self {
            path: target.path.as_str(),
            query: &target.query,
            size: artifact.size,
            sha256: artifact.sha256.hex(),
            content_type: &artifact.content_type,
            stored_at: rfc3339(artifact.stored_at),
            checked_at: rfc3339(artifact.checked_at),
            upstream: Upstream {
                etag: artifact.validators.etag.as_deref(),
                last_modified: artifact.validators.last_modified.as_deref(),
            },
            url: format!("/api/{}/{}{query}", target.repository, target.path.to_url_path()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query() {
        let wanted = Wanted::parse(Some("limit=7&prefix=a%2Fb&pattern=a%2F.*&after=YQA")).expect("valid");
        let place = Some(("a".to_owned(), String::new()));
        assert_eq!(wanted, Wanted { limit: 7, prefix: "a/b".into(), pattern: Some("a/.*".into()), after: place });
        let nothing = Wanted::parse(None).expect("valid");
        assert_eq!((nothing.prefix.as_str(), nothing.pattern, nothing.after), ("", None, None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for query in ["limit=0", "limit=1001", "limit=x", "limit=-1", "after=x", "prefix=%00", "limit=1&limit=2"] {
            let name = query.split('=').next().expect("a name");
            let problem = format!("{:?}", Wanted::parse(Some(query)).expect_err(query));
            assert!(problem.contains(&format!("{name} ")) && problem.contains("422"), "{query}: {problem}");
        }
        assert!(Wanted::parse(Some("offset=3")).is_err());
        assert!(Wanted::parse(Some(&format!("prefix={}", "a".repeat(901)))).is_err());
    }

    #[test]
    fn the_next_page_asks_for_the_same() {
        let wanted = Wanted::parse(Some("limit=7&prefix=a%2Bb&pattern=%5Ba-z%5D%2B%26")).expect("valid");
        // The longest place that there is.
        let (path, query) = ("p".repeat(900), "q".repeat(2 << 10));
        let next = wanted.next("r", &path, &query);
        let next = next.strip_prefix("/artifacts/r?").expect("a path");
        let again = Wanted::parse(Some(next)).expect("valid");
        assert_eq!(again.after, Some((path, query)));
        assert_eq!((again.limit, &again.prefix, &again.pattern), (wanted.limit, &wanted.prefix, &wanted.pattern));
    }
}
