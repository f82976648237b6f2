//! What a batch tells while it runs, and what it comes to in the end.
//!
//! Reports arrive one by one; [`Summary`] adds them up. Counts are exact whatever the size of the batch, lists are cut at
//! [`LISTED`] and say by how much.

use crate::config::Admission;
use crate::engine::fill::FillError;
use crate::engine::read::ReadError;
use crate::spool::SpoolError;
use crate::store::key::Target;
use crate::upstream::{UpstreamError, UpstreamErrorKind};

/// The most entries of each list of a [`Summary`].
pub const LISTED: usize = 1_000;

/// The most files that a [`Summary`] lists because the repository does not admit them: an index may name very many of these, and the
/// first few say which pattern it is.
const REFUSED_LISTED: usize = 100;

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Report {
    /// A file is done with.
    Item(Done),
    /// Something kept the batch from looking everywhere.
    Trouble(Trouble),
    /// Everything that was found is done with. Without it, a batch was cut short.
    Finished,
}

/// A file that is done with.
#[derive(Debug, Clone)]
pub struct Done {
    /// Which.
    pub target: Target,
    /// How it ended.
    pub fate: Fate,
    /// Its length in bytes, as far as it is known; 0 otherwise.
    pub bytes: u64,
    /// Whether the request named it, in contrast to its having been found.
    pub named: bool,
}

/// How a file ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Fetched and kept.
    Cached,
    /// It was held already.
    Already,
    /// It would be fetched, were this no dry run.
    WouldCache,
    /// The repository's patterns do not admit it.
    Refused(Reason),
    /// It is not held now.
    Failed(Reason),
}

impl Fate {
    /// The word for it in answers.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::Already => "already",
            Self::WouldCache => "would_cache",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
        }
    }

    /// Why, where there is something to explain.
    #[must_use]
    pub const fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Refused(reason) | Self::Failed(reason) => Some(reason),
            Self::Cached | Self::Already | Self::WouldCache => None,
        }
    }
}

/// Why a file or an index is not to be had. Reads well on its own; never holds an inner error of this server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The repository's patterns.
    #[error("the repository does not admit it: {0}")]
    NotAdmitted(String),
    /// Upstream says that there is none.
    #[error("there is none: {0}")]
    Absent(String),
    /// Upstream cannot be asked, or broke off.
    #[error("upstream cannot be used: {0}")]
    Upstream(String),
    /// What upstream sent is not what it should be.
    #[error("what upstream has was refused: {0}")]
    Unfit(String),
    /// It was fetched, but nothing of it stays.
    #[error(
        "it was fetched, but not kept: a page came in its place, or a part of the server is away or full (GET /ready)"
    )]
    NotKept,
    /// A part of this server is away.
    #[error("it cannot be looked up or kept now; GET /ready says what is away")]
    Away,
    /// Its transfer ended without an outcome.
    #[error("the server is stopping, or its log says what broke")]
    Stopping,
}

impl Reason {
    /// What an admission that is none says.
    #[must_use]
    pub fn not_admitted(admission: &Admission) -> Self {
        Self::NotAdmitted(match admission {
            Admission::Excluded { pattern } => format!("its exclude_patterns refuse it by {pattern:?}"),
            _ => "none of its include_patterns matches from the start".to_owned(),
        })
    }
}

impl From<&UpstreamError> for Reason {
    fn from(error: &UpstreamError) -> Self {
        match &error.kind {
            UpstreamErrorKind::Absent(_) => Self::Absent(error.to_string()),
            UpstreamErrorKind::Unfit(_) | UpstreamErrorKind::WrongLength { .. } => Self::Unfit(error.to_string()),
            _ => Self::Upstream(error.to_string()),
        }
    }
}

impl From<&FillError> for Reason {
    fn from(error: &FillError) -> Self {
        match error {
            FillError::Upstream(error) => error.into(),
            FillError::Spool(SpoolError::Invalid(why)) => Self::Unfit(why.to_string()),
            FillError::Spool(_) | FillError::NotPublished(_) => Self::NotKept,
            FillError::GivenUp => Self::Stopping,
        }
    }
}

impl From<&ReadError> for Reason {
    fn from(error: &ReadError) -> Self {
        match error {
            ReadError::Absent(why) => Self::Absent(why.clone()),
            ReadError::Fill(error) => error.into(),
            ReadError::Store(_) | ReadError::Later(_) | ReadError::Unreadable(_) => Self::Away,
        }
    }
}

/// Something that kept a batch from looking everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The path of the index or listing; empty for the top.
    pub path: String,
    /// What happened there.
    pub why: String,
}

/// A list that is cut at [`LISTED`].
#[derive(Debug, Clone)]
pub struct Listed<T> {
    /// The first ones.
    pub first: Vec<T>,
    /// How many more there were.
    pub left_out: u64,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self { first: Vec::new(), left_out: 0 }
    }
}

impl<T> Listed<T> {
    fn push(&mut self, one: T) {
        self.push_within(LISTED, one);
    }

    fn push_within(&mut self, most: usize, one: T) {
        if self.first.len() < most { self.first.push(one) } else { self.left_out += 1 }
    }
}

/// How many files, and how many bytes as far as they are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Files.
    pub files: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Tally {
    const fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What a batch comes to.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// All that matched.
    pub matched: Tally,
    /// [`Fate::Cached`].
    pub cached: Tally,
    /// [`Fate::Already`].
    pub already: Tally,
    /// [`Fate::WouldCache`].
    pub would_cache: Tally,
    /// [`Fate::Refused`].
    pub refused: Tally,
    /// [`Fate::Failed`].
    pub failed: Tally,
    /// Those that failed, and those that were asked for by name and refused.
    pub failures: Listed<Done>,
    /// The others that were refused, cut sooner than the other lists.
    pub refusals: Listed<Done>,
    /// In a dry run: those held and those that would be fetched.
    pub found: Listed<Done>,
    /// Where looking went wrong.
    pub troubles: Listed<Trouble>,
    finished: bool,
}

impl Summary {
    /// Adds a report. `list_found` is for dry runs.
    pub fn add(&mut self, report: Report, list_found: bool) {
        let done = match report {
            Report::Finished => {
                self.finished = true;
                return;
            }
            Report::Trouble(trouble) => return self.troubles.push(trouble),
            Report::Item(done) => done,
        };
        self.matched.add(done.bytes);
        let tally = match &done.fate {
            Fate::Cached => &mut self.cached,
            Fate::Already => &mut self.already,
            Fate::WouldCache => &mut self.would_cache,
            Fate::Refused(_) => &mut self.refused,
            Fate::Failed(_) => &mut self.failed,
        };
        tally.add(done.bytes);
        match &done.fate {
            Fate::Failed(_) => self.failures.push(done),
            Fate::Refused(_) if done.named => self.failures.push(done),
            Fate::Refused(_) => self.refusals.push_within(REFUSED_LISTED, done),
            Fate::Cached | Fate::Already | Fate::WouldCache if list_found => self.found.push(done),
            Fate::Cached | Fate::Already | Fate::WouldCache => {}
        }
    }

    /// Whether every place to look was looked at, and everything found there is done with.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.finished && self.troubles.first.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use artifactapi_formats::RepoPath;

    use super::*;

    fn done(fate: Fate, bytes: u64, named: bool) -> Report {
        let target = Target::new("r".parse().expect("name"), RepoPath::new("a").expect("path"));
        Report::Item(Done { target, fate, bytes, named })
    }

    #[test]
    fn counts_are_exact_and_lists_are_cut() {
        let mut summary = Summary::default();
        for _ in 0..=LISTED {
            summary.add(done(Fate::Failed(Reason::Away), 1, false), false);
        }
        summary.add(done(Fate::Cached, 7, false), false);
        summary.add(done(Fate::Refused(Reason::Away), 1, false), false);
        assert_eq!((summary.failed.files, summary.failures.first.len(), summary.failures.left_out), (1_001, 1_000, 1));
        assert_eq!(summary.cached, Tally { files: 1, bytes: 7 });
        assert_eq!(summary.matched.files, 1_003);
        assert!(summary.found.first.is_empty());
        assert_eq!((summary.refusals.first.len(), summary.refusals.left_out), (1, 0));
        for _ in 0..REFUSED_LISTED {
            summary.add(done(Fate::Refused(Reason::Away), 1, false), false);
        }
        assert_eq!((summary.refusals.first.len(), summary.refusals.left_out), (100, 1));
        assert!(!summary.is_complete());
        summary.add(Report::Finished, false);
        assert!(summary.is_complete());
    }

    #[test]
    fn trouble_makes_it_incomplete() {
        let mut summary = Summary::default();
        summary.add(Report::Trouble(Trouble { path: String::new(), why: "x".into() }), true);
        summary.add(done(Fate::Refused(Reason::Away), 0, true), true);
        summary.add(done(Fate::WouldCache, 3, false), true);
        summary.add(Report::Finished, true);
        assert!(!summary.is_complete());
        assert_eq!((summary.failures.first.len(), summary.found.first.len()), (1, 1));
    }
}
