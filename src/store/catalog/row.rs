//! Between records and rows: the same columns in both databases.
//!
//! Times are whole milliseconds since 1970 in a `BIGINT`, digests are 32 raw bytes. A query that is too long for an index
//! is looked up by a shortened form that ends in its digest ([`query_key`]).

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use artifactapi_formats::{Identity, RepoPath, Sha256};

use super::snapshots::ROWS;
use super::{Artifact, CatalogError, CatalogErrorKind, KEY_REST, ListQuery, Revision, Validators};
use crate::store::key::{InvalidKey, RepositoryName, Target};

/// The longest query that is its own key, in bytes. With the longest repository name and path it fits into an index entry of
/// PostgreSQL, which ends at 2,704 bytes.
pub(super) const MAX_QUERY_KEY: usize = 1024;

/// One row of `artifact`.
#[derive(sqlx::FromRow)]
pub(super) struct ArtifactRow {
    repository: String,
    path: String,
    query: String,
    revision: i64,
    blob: String,
    size: i64,
    sha256: Vec<u8>,
    content_type: String,
    etag: Option<String>,
    upstream_last_modified: Option<String>,
    last_modified: i64,
    stored_at: i64,
    checked_at: i64,
    identity: Option<String>,
}

impl ArtifactRow {
    /// The record this row was written from.
    pub(super) fn read(self, during: &'static str) -> Result<Artifact, CatalogError> {
        let damaged = |source| CatalogError { kind: CatalogErrorKind::Damaged, during, source: Some(source) };
        let repository = self.repository.parse::<RepositoryName>().map_err(|error| damaged(error.into()))?;
        let path = RepoPath::new(&self.path).map_err(|error| damaged(error.into()))?;
        let sha256 = <[u8; 32]>::try_from(self.sha256).map_err(|_| damaged("a digest is not 32 bytes long".into()))?;
        Ok(Artifact {
            target: Target::with_query(repository, path, &self.query),
            revision: Revision(self.revision),
            blob: self.blob.parse().map_err(|error: InvalidKey| damaged(error.into()))?,
            size: u64::try_from(self.size).map_err(|error| damaged(error.into()))?,
            sha256: Sha256::from_bytes(sha256),
            content_type: self.content_type,
            validators: Validators { etag: self.etag, last_modified: self.upstream_last_modified },
            last_modified: from_millis(self.last_modified),
            stored_at: from_millis(self.stored_at),
            checked_at: from_millis(self.checked_at),
            identity: self
                .identity
                .map(|text| text.parse::<Identity>())
                .transpose()
                .map_err(|error| damaged(error.into()))?,
        })
    }
}

/// A span of time as times are kept.
pub(super) fn span_in_millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds since 1970; what lies beyond 292 million years is cut.
pub(super) fn to_millis(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis),
    }
}

/// The time of some milliseconds since 1970.
pub(super) fn from_millis(millis: i64) -> SystemTime {
    let distance = Duration::from_millis(millis.unsigned_abs());
    let time = if millis < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// So many rows of a page, and no more than a page has.
pub(super) fn limited(limit: u32) -> i64 {
    i64::from(limit.min(ROWS))
}

/// A key deleted before this has rested long enough ([`KEY_REST`]), in milliseconds.
pub(super) fn rested_since(now: SystemTime) -> i64 {
    to_millis(now.checked_sub(KEY_REST).unwrap_or(SystemTime::UNIX_EPOCH))
}

/// Blob keys as they were written.
pub(super) fn read_keys<K>(rows: Vec<String>, during: &'static str) -> Result<Vec<K>, CatalogError>
where
    K: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let damaged = |error: K::Err| CatalogError { kind: CatalogErrorKind::Damaged, during, source: Some(error.into()) };
    rows.into_iter().map(|key| key.parse().map_err(damaged)).collect()
}

/// A count as the databases hold it.
pub(super) fn to_i64(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// What a query is looked up by: itself, or its beginning and its digest when it is long.
pub(super) fn query_key(query: &str) -> Cow<'_, str> {
    if query.len() <= MAX_QUERY_KEY {
        return Cow::Borrowed(query);
    }
    // U+0001 is in no query of HTTP, so no short query can be made to look like a long one.
    let ending = format!("\u{1}{}", Sha256::of(query.as_bytes()).hex());
    let mut end = MAX_QUERY_KEY - ending.len();
    while !query.is_char_boundary(end) {
        end -= 1;
    }
    Cow::Owned(format!("{}{ending}", &query[..end]))
}

/// A page of a listing as a range of index entries: from (repository, path, query key), inclusive, to (repository, path),
/// exclusive. Two bounds in index order, so that neither database reads a row outside the page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PageRange {
    pub(super) from: (String, String),
    pub(super) to: (String, String),
}

impl PageRange {
    /// The range of a page; `None` when nothing can be in it.
    pub(super) fn of(repository: &RepositoryName, page: &ListQuery) -> Option<Self> {
        if page.prefix.contains('\0') {
            return None; // no path holds one, and PostgreSQL takes none in a text
        }
        let start = (page.prefix.clone(), String::new());
        let from = match &page.after {
            // U+0001 is the least character that a key may hold: what follows directly after the row before.
            Some((path, query)) => start.max((without_nul(path), format!("{}\u{1}", without_nul(&query_key(query))))),
            None => start,
        };
        let to = match successor(&page.prefix) {
            Some(end) => (repository.to_string(), end),
            None => (format!("{repository}\u{1}"), String::new()),
        };
        Some(Self { from, to })
    }
}

fn without_nul(text: &str) -> String {
    text.replace('\0', "")
}

/// The least text greater than everything that begins with `prefix`. Characters sort like their UTF-8 bytes, so the last
/// one that has a successor gets it.
fn successor(prefix: &str) -> Option<String> {
    let mut rest = prefix.to_owned();
    while let Some(last) = rest.pop() {
        if let Some(next) = (last..=char::MAX).nth(1) {
            rest.push(next);
            return Some(rest);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_milliseconds() {
        for millis in [0, 1, -1, 1_700_000_000_123, -62_135_596_800_000] {
            assert_eq!(to_millis(from_millis(millis)), millis);
        }
    }

    #[test]
    fn the_successor_of_a_prefix() {
        assert_eq!(successor("a/b"), Some("a/c".to_owned()));
        assert_eq!(successor("\u{d7ff}"), Some("\u{e000}".to_owned()), "surrogates are no characters");
        assert_eq!(successor("a\u{10ffff}"), Some("b".to_owned()));
        assert_eq!(successor("\u{10ffff}"), None);
        assert_eq!(successor(""), None);
    }

    #[test]
    fn a_long_query_has_a_short_key() {
        assert_eq!(query_key("a=b"), "a=b");
        let long = "é".repeat(MAX_QUERY_KEY);
        let key = query_key(&long);
        assert!(key.len() <= MAX_QUERY_KEY && key.starts_with("éé"));
        assert_ne!(key, query_key(&format!("{long}x")));
    }
}
