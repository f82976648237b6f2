//! `GET /artifacts/{remote}`: what a repository holds, page by page, by prefix or pattern.
//!
//! A page costs a bounded amount of work whatever it is asked for: the catalog finds a prefix by itself, but a pattern is
//! tried on each record, and one that matches nothing would look at all of them. So after [`SCAN`] records a page ends,
//! full or not, and its `next` link goes on from there; a page may be empty and still have a next one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use artifactapi_formats::RepoPath;
use axum::extract::{Path, RawQuery, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::sync::Semaphore;

use super::cursor;
use crate::access::Grant;
use crate::calendar::rfc3339;
use crate::config::LiveRepositories;
use crate::engine::pattern::RequestPattern;
use crate::http::access::Gate;
use crate::http::error::Problem;
use crate::store::catalog::{Artifact, Catalog, ListQuery};
use crate::store::key::RepositoryName;

/// The most rows of one page.
pub const MAX_LIMIT: u32 = 1_000;

/// Rows of a page unless it is said how many.
pub const DEFAULT_LIMIT: u32 = 100;

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
    Path(remote): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let repository = listing.repositories.get(&remote).ok_or_else(|| Problem::no_such_repository(&remote))?;
    listing.gate.authorize(&parts, &repository, Grant::Read).await?;
    let asked = Asked::parse(query.as_deref().unwrap_or_default())?;
    let pattern = match asked.pattern.clone() {
        None => None,
        Some(text) => {
            // A large pattern takes milliseconds to compile.
            let compiled = tokio::task::spawn_blocking(move || RequestPattern::compile(&text)).await;
            let compiled =
                compiled.map_err(|error| Problem::unavailable("The pattern could not be compiled.", &error))?;
            Some(compiled.map_err(|why| Problem::unprocessable(format!("pattern {why}.")))?)
        }
    };
    let page = Page::read(&*listing.catalog, &repository.name, &asked, pattern.as_ref()).await?;
    let next = page.ended_at.as_ref().map(|(path, query)| asked.next(&remote, path, query));
    let link = next.as_ref().and_then(|next| HeaderValue::try_from(format!("<{next}>; rel=\"next\"")).ok());
    let artifacts = page.rows.iter().map(Row::of).collect();
    let mut response = Json(Answer { repository: &remote, artifacts, next }).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(link) = link {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

/// The query of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    limit: u32,
    prefix: String,
    pattern: Option<String>,
    after: Option<(String, String)>,
}

impl Asked {
    fn parse(query: &str) -> Result<Self, Problem> {
        let mut asked = Self { limit: DEFAULT_LIMIT, prefix: String::new(), pattern: None, after: None };
        let mut seen = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let wrong = |why: String| Err(Problem::unprocessable(format!("{name} {why}.")));
            if seen.contains(&name) {
                return wrong("is given twice".to_owned());
            }
            match &*name {
                "limit" => match value.parse() {
                    Ok(limit @ 1..=MAX_LIMIT) => asked.limit = limit,
                    _ => return wrong(format!("must be a number from 1 to {MAX_LIMIT}")),
                },
                "prefix" if value.len() > RepoPath::MAX_BYTES => {
                    return wrong(format!("is longer than any path, {} bytes", RepoPath::MAX_BYTES));
                }
                "prefix" if value.contains('\0') => return wrong("holds a character that no path has".to_owned()),
                "prefix" => asked.prefix = value.into_owned(),
                "pattern" => asked.pattern = Some(value.into_owned()),
                "after" => match cursor::decode(&value) {
                    Some(place) => asked.after = Some(place),
                    None => return wrong("is not from the next link of an earlier page".to_owned()),
                },
                _ => return wrong("is not known here; there are limit, prefix, pattern and after".to_owned()),
            }
            seen.push(name);
        }
        Ok(asked)
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
        asked: &Asked,
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
        let asked = Asked::parse("limit=7&prefix=a%2Fb&pattern=a%2F.*&after=YQA").expect("valid");
        let place = Some(("a".to_owned(), String::new()));
        assert_eq!(asked, Asked { limit: 7, prefix: "a/b".into(), pattern: Some("a/.*".into()), after: place });
        assert_eq!(Asked::parse("").expect("valid").limit, DEFAULT_LIMIT);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for query in [
            "limit=0",
            "limit=1001",
            "limit=x",
            "limit=-1",
            "after=x",
            "after=",
            "prefix=%00",
            "offset=3",
            "limit=1&limit=2",
        ] {
            let name = query.split('=').next().expect("a name");
            let problem = format!("{:?}", Asked::parse(query).expect_err(query));
            assert!(problem.contains(&format!("{name} ")) && problem.contains("422"), "{query}: {problem}");
        }
        assert!(Asked::parse(&format!("prefix={}", "a".repeat(901))).is_err());
    }

    #[test]
    fn the_next_page_asks_for_the_same() {
        let asked = Asked::parse("limit=7&prefix=a%2Bb&pattern=%5Ba-z%5D%2B%26").expect("valid");
        let next = asked.next("r", "a+b/c", "x=1");
        let query = next.strip_prefix("/artifacts/r?").expect("a path");
        let again = Asked::parse(query).expect("valid");
        assert_eq!(again.after, Some(("a+b/c".to_owned(), "x=1".to_owned())));
        assert_eq!((again.limit, &again.prefix, &again.pattern), (asked.limit, &asked.prefix, &asked.pattern));
    }
}
