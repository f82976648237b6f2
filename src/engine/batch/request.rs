//! What a batch is asked to cache, checked before anything is fetched.
//!
//! Whatever is wrong with the request itself (a pattern that is none, a path that escapes, a URL of somebody else) is
//! found here and names its field, so that a batch either starts as asked or not at all. What is wrong with the *world*,
//! such as a file that upstream does not have, shows in the reports instead.

use std::sync::Arc;

use artifactapi_formats::{RepoPath, Role};

use super::literal::{folder_of, literal_start};
use super::origin;
use crate::config::{Kind, Remote, Repository};
use crate::engine::pattern::RequestPattern;
use crate::store::key::Target;

/// The most paths and URLs that one request names, together.
pub const MAX_NAMED: usize = 10_000;

/// What a request says, as it came.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Only paths that match this, besides the repository's own patterns.
    pub include_pattern: Option<String>,
    /// The folder below which to look, or the entry file of an index.
    pub path: Option<String>,
    /// Decoded paths, one by one.
    pub paths: Vec<String>,
    /// Absolute URLs below the remote's base URL or mirrors, one by one.
    pub urls: Vec<String>,
    /// Find out, and fetch nothing but indexes and listings.
    pub dry_run: bool,
}

/// A checked request.
#[derive(Debug, Clone)]
pub struct Batch {
    pub(super) repository: Arc<Repository>,
    pub(super) pattern: Option<RequestPattern>,
    pub(super) named: Vec<Target>,
    /// `None` when only what is named is wanted.
    pub(super) look: Option<Look>,
    pub(super) dry_run: bool,
}

/// Where to look for what matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Look {
    /// Without a trailing slash; `""` is the top.
    pub(super) below: String,
    /// What every match of the request's pattern begins with.
    pub(super) literal: String,
}

/// Why a request is refused: a field, and the rest of a sentence that begins with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {why}")]
pub struct InvalidBatch {
    /// As in the request: `urls[3]`.
    pub field: String,
    /// What is wrong with it and what to do.
    pub why: String,
}

impl InvalidBatch {
    fn new(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self { field: field.into(), why: why.into() }
    }
}

impl Batch {
    /// Checks a request. May take milliseconds (the pattern): call it where that stalls nobody.
    ///
    /// # Errors
    /// [`InvalidBatch`] names the first field that is wrong.
    pub fn new(repository: Arc<Repository>, wanted: &Wanted) -> Result<Self, InvalidBatch> {
        let Kind::Remote(remote) = &repository.kind else {
            let kind = repository.kind.name();
            let why = format!("names a {kind} repository, which has no upstream to cache from; name a remote one");
            return Err(InvalidBatch::new("remote", why));
        };
        if wanted.paths.len() + wanted.urls.len() > MAX_NAMED {
            let why = format!("and urls name more than {MAX_NAMED} files together; send them in several requests");
            return Err(InvalidBatch::new("paths", why));
        }
        let pattern = match &wanted.include_pattern {
            Some(text) => match RequestPattern::compile(text) {
                Ok(pattern) => Some(pattern),
                Err(why) => return Err(InvalidBatch::new("include_pattern", why.to_string())),
            },
            None => None,
        };
        let named = named(wanted, &repository, remote)?;
        let look = look(wanted, &repository)?;
        Ok(Self { repository, pattern, named, look, dry_run: wanted.dry_run })
    }

    /// The repository.
    #[must_use]
    pub fn repository(&self) -> &Arc<Repository> {
        &self.repository
    }

    /// Whether nothing is to be fetched.
    #[must_use]
    pub const fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Whether the request's own pattern lets `path` through.
    pub(super) fn wants(&self, path: &RepoPath) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| pattern.matches(path.as_str()))
    }
}

fn named(wanted: &Wanted, repository: &Repository, remote: &Remote) -> Result<Vec<Target>, InvalidBatch> {
    let is_file = |path: &RepoPath| repository.format.classify(path) != Role::Listing;
    let mut named = Vec::with_capacity(wanted.paths.len() + wanted.urls.len());
    for (at, text) in wanted.paths.iter().enumerate() {
        let path = RepoPath::new(text)
            .map_err(|why| InvalidBatch::new(format!("paths[{at}]"), format!("cannot be used: {why}")))?;
        if !is_file(&path) {
            return Err(InvalidBatch::new(format!("paths[{at}]"), "names a folder; give it as path to look below it"));
        }
        named.push(Target::new(repository.name.clone(), path));
    }
    for (at, url) in wanted.urls.iter().enumerate() {
        let target =
            origin::target_of(url, repository, remote).map_err(|why| InvalidBatch::new(format!("urls[{at}]"), why))?;
        if !is_file(&target.path) {
            return Err(InvalidBatch::new(format!("urls[{at}]"), "names a folder; give it as path to look below it"));
        }
        named.push(target);
    }
    Ok(named)
}

/// A request that names files and no folder wants just those.
fn look(wanted: &Wanted, repository: &Repository) -> Result<Option<Look>, InvalidBatch> {
    let literal = wanted.include_pattern.as_deref().map(literal_start).unwrap_or_default();
    match &wanted.path {
        None if !wanted.paths.is_empty() || !wanted.urls.is_empty() => Ok(None),
        // An index at the top names everything below; a crawl is better begun as far down as the pattern allows.
        None if repository.format.index().is_some() => Ok(Some(Look { below: String::new(), literal })),
        None => Ok(Some(Look { below: folder_of(&literal).to_owned(), literal })),
        Some(path) => {
            let below = path.trim_matches('/');
            if !below.is_empty() {
                RepoPath::new(below).map_err(|why| InvalidBatch::new("path", format!("cannot be used: {why}")))?;
            }
            Ok(Some(Look { below: below.to_owned(), literal }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn check(format: &str, wanted: &Wanted) -> Result<Batch, String> {
        let repository = samples::remote(format, "https://h/pub/", &[], None);
        Batch::new(repository, wanted).map_err(|error| error.to_string())
    }

    fn wanted(change: impl FnOnce(&mut Wanted)) -> Wanted {
        let mut wanted = Wanted::default();
        change(&mut wanted);
        wanted
    }

    #[test]
    fn where_to_look() {
        let below = |format: &str, wanted: &Wanted| check(format, wanted).expect("valid").look.map(|look| look.below);
        assert_eq!(below("generic", &wanted(|w| w.path = Some("/a/b/".into()))).as_deref(), Some("a/b"));
        assert_eq!(below("generic", &wanted(|w| w.path = Some("/".into()))).as_deref(), Some(""));
        assert_eq!(below("generic", &wanted(|w| w.include_pattern = Some("a/b/c.*".into()))).as_deref(), Some("a/b"));
        assert_eq!(below("rpm", &wanted(|w| w.include_pattern = Some("a/b/c.*".into()))).as_deref(), Some(""));
        assert_eq!(below("generic", &wanted(|w| w.paths = vec!["a".into()])), None);
        let both = wanted(|w| (w.paths, w.path) = (vec!["a".into()], Some("b".into())));
        assert_eq!(below("generic", &both).as_deref(), Some("b"));
    }

    #[test]
    fn refusals_name_the_field() {
        let table = [
            (wanted(|w| w.include_pattern = Some("(".into())), "include_pattern is not a regular expression"),
            (wanted(|w| w.path = Some("a/../b".into())), "path cannot be used: the path holds a '.' or '..' segment"),
            (wanted(|w| w.paths = vec!["a".into(), "/b".into()]), "paths[1] cannot be used"),
            (wanted(|w| w.paths = vec!["a/".into()]), "paths[0] names a folder"),
            (wanted(|w| w.urls = vec!["https://x/".into()]), "urls[0] does not lie below https://h/pub/"),
            (wanted(|w| w.urls = vec!["https://h/pub/a/".into()]), "urls[0] names a folder"),
            (wanted(|w| w.paths = vec!["a".into(); MAX_NAMED + 1]), "paths and urls name more than 10000"),
        ];
        for (wanted, why) in table {
            let error = check("generic", &wanted).expect_err(why);
            assert!(error.starts_with(why), "{error} / {why}");
        }
        let local = Batch::new(samples::local("generic"), &Wanted::default()).expect_err("local");
        assert!(local.to_string().starts_with("remote names a local repository"), "{local}");
    }
}
