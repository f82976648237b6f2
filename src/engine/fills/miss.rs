//! Why a source, or a round of asking all of them, gave nothing; and what that means for the next try.

use super::super::fill::{FillError, Outcome};
use super::generation::NotBuilt;
use crate::upstream::{Answer, UpstreamError, UpstreamErrorKind};

/// Why one round of asking gave nothing.
pub(super) struct Misses {
    /// The one that is told of, and that decides what is done.
    pub(super) told: Miss,
    /// Whether a newer list may help.
    pub(super) any_unlisted: bool,
    /// The first source whose index was refused for its signature, and why.
    pub(super) untrusted: Option<(String, String)>,
}

/// Why asking one source gave nothing.
pub(super) enum Miss {
    /// This source sent something unfit or broke off; another may do better.
    Source(usize, FillError),
    /// What this source has does not belong together (yet).
    Contradiction(usize, FillError),
    /// No trusted key signed what this source has (yet), for this reason.
    Untrusted(usize, UpstreamError, String),
    /// What this source has is nothing that the list of mirrors knows; another, or a newer list, may help.
    Unlisted(usize, FillError),
    /// No source can help, or the trouble is ours.
    Everywhere(FillError),
}

impl Miss {
    pub(super) fn of(source: usize, error: NotBuilt) -> Self {
        match error {
            NotBuilt::Untrusted { error, why } => Self::Untrusted(source, error, why),
            NotBuilt::Contradiction(_) => Self::Contradiction(source, error.into()),
            NotBuilt::Ours(_) | NotBuilt::Lost => Self::Everywhere(error.into()),
        }
    }

    /// Whether it is what an upstream in the middle of an update looks like.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Contradiction(..) | Self::Untrusted(..))
    }

    pub(super) fn error(self) -> FillError {
        match self {
            Self::Untrusted(_, error, _) => error.into(),
            Self::Source(_, error)
            | Self::Contradiction(_, error)
            | Self::Unlisted(_, error)
            | Self::Everywhere(error) => error,
        }
    }

    pub(super) fn outcome(self) -> Outcome {
        match self.error() {
            FillError::Upstream(error) if matches!(error.kind, UpstreamErrorKind::Absent(_)) => Outcome::Absent(error),
            error => Outcome::Failed(error),
        }
    }
}

/// The source of this answer sent something unfit, for this reason.
pub(super) fn unfit(answer: &Answer, why: impl Into<String>) -> Miss {
    Miss::Source(answer.source, answer.body.error(UpstreamErrorKind::Unfit(why.into())).into())
}
