//! What `POST /cache-artifact` answers, as JSON.

use serde::Serialize;

use crate::engine::batch::{Done, Report, Summary, Trouble};

/// The summary of a batch. Counts are of files; lists are cut, and say by how much.
#[derive(Debug, Serialize)]
pub(super) struct SummaryView<'a> {
    remote: &'a str,
    dry_run: bool,
    /// Whether every place to look was looked at and everything found there is done with.
    complete: bool,
    #[serde(flatten)]
    counts: Counts,
    bytes: Bytes,
    failures: Vec<Item<'a>>,
    failures_left_out: u64,
    refusals: Vec<Item<'a>>,
    refusals_left_out: u64,
    troubles: Vec<Place<'a>>,
    troubles_left_out: u64,
    /// What a dry run found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<Item<'a>>,
    files_left_out: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Counts {
    matched: u64,
    cached: u64,
    already: u64,
    would_cache: u64,
    refused: u64,
    failed: u64,
}

/// As far as they are known.
#[derive(Debug, Serialize)]
pub(super) struct Bytes {
    matched: u64,
    cached: u64,
    already: u64,
    would_cache: u64,
}

/// A file.
#[derive(Debug, Serialize)]
pub(super) struct Item<'a> {
    path: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    query: &'a str,
    result: &'static str,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// A place that could not be looked at.
#[derive(Debug, Serialize)]
pub(super) struct Place<'a> {
    path: &'a str,
    reason: &'a str,
}

/// One line of a stream.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Line<'a> {
    Item(Item<'a>),
    Trouble(Place<'a>),
    Progress(Counts),
    Summary(SummaryView<'a>),
}

impl<'a> Item<'a> {
    fn of(done: &'a Done) -> Self {
        Self {
            path: done.target.path.as_str(),
            query: &done.target.query,
            result: done.fate.name(),
            bytes: done.bytes,
            reason: done.fate.reason().map(ToString::to_string),
        }
    }
}

impl<'a> Place<'a> {
    fn of(trouble: &'a Trouble) -> Self {
        Self { path: &trouble.path, reason: &trouble.why }
    }
}

impl Counts {
    fn of(summary: &Summary) -> Self {
        Self {
            matched: summary.matched.files,
            cached: summary.cached.files,
            already: summary.already.files,
            would_cache: summary.would_cache.files,
            refused: summary.refused.files,
            failed: summary.failed.files,
        }
    }
}

impl<'a> SummaryView<'a> {
    pub(super) fn of(remote: &'a str, dry_run: bool, summary: &'a Summary) -> Self {
        Self {
            remote,
            dry_run,
            complete: summary.is_complete(),
            counts: Counts::of(summary),
            bytes: Bytes {
                matched: summary.matched.bytes,
                cached: summary.cached.bytes,
                already: summary.already.bytes,
                would_cache: summary.would_cache.bytes,
            },
            failures: summary.failures.first.iter().map(Item::of).collect(),
            failures_left_out: summary.failures.left_out,
            refusals: summary.refusals.first.iter().map(Item::of).collect(),
            refusals_left_out: summary.refusals.left_out,
            troubles: summary.troubles.first.iter().map(Place::of).collect(),
            troubles_left_out: summary.troubles.left_out,
            files: summary.found.first.iter().map(Item::of).collect(),
            files_left_out: summary.found.left_out,
        }
    }
}

impl<'a> Line<'a> {
    /// The line for a report; the end of a batch has none of its own.
    pub(super) fn of(report: &'a Report) -> Option<Self> {
        match report {
            Report::Item(done) => Some(Self::Item(Item::of(done))),
            Report::Trouble(trouble) => Some(Self::Trouble(Place::of(trouble))),
            Report::Finished => None,
        }
    }

    pub(super) fn progress(summary: &Summary) -> Self {
        Self::Progress(Counts::of(summary))
    }
}
