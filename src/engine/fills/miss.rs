//! Why a source, or a round of asking all of them, gave nothing; and what that means for the next try.

use super::super::fill::{FillError, Outcome};
use super::generation::NotBuilt;
use crate::upstream::{Answer, UpstreamError, UpstreamErrorKind};

/// Why asking for something gave nothing.
pub(super) enum Miss {
    /// One source is at fault; another may do better.
    Source(Fault),
    /// No source can help, or the trouble is ours.
    Everywhere(FillError),
}

/// What is wrong with one source.
pub(super) struct Fault {
    /// Which.
    pub(super) source: usize,
    /// What is said of it.
    pub(super) error: UpstreamError,
    /// What is made of it.
    pub(super) flaw: Flaw,
}

/// What is wrong with what a source has.
pub(super) enum Flaw {
    /// It is unfit, or broke off.
    Unfit,
    /// It does not belong together (yet).
    Contradiction,
    /// No trusted key signed it (yet), for this reason.
    Untrusted(String),
    /// The list of mirrors does not know it; a newer list may help, too.
    Unlisted,
}

impl Fault {
    /// Whether it is what an upstream in the middle of an update looks like.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self.flaw, Flaw::Contradiction | Flaw::Untrusted(_))
    }
}

impl Miss {
    /// This source is at fault.
    pub(super) fn source(source: usize, error: UpstreamError, flaw: Flaw) -> Self {
        Self::Source(Fault { source, error, flaw })
    }

    /// No generation could be built around an entry of this source.
    pub(super) fn not_built(source: usize, error: NotBuilt) -> Self {
        match error {
            NotBuilt::Untrusted { error, why } => Self::source(source, error, Flaw::Untrusted(why)),
            NotBuilt::Contradiction(error) => Self::source(source, error, Flaw::Contradiction),
            NotBuilt::Ours(_) | NotBuilt::Lost => Self::Everywhere(error.into()),
        }
    }

    pub(super) fn error(self) -> FillError {
        match self {
            Self::Source(fault) => fault.error.into(),
            Self::Everywhere(error) => error,
        }
    }
}

/// The source of this answer sent something unfit, for this reason.
pub(super) fn unfit(answer: &Answer, why: impl Into<String>) -> Miss {
    Miss::source(answer.source, answer.body.error(UpstreamErrorKind::Unfit(why.into())), Flaw::Unfit)
}

/// Why one round of asking gave nothing.
#[derive(Default)]
pub(super) struct Misses {
    /// The one that is told of, and that decides what is done.
    told: Option<Fault>,
    /// Whether a newer list may help.
    pub(super) any_unlisted: bool,
    /// The first source whose index was refused for its signature, and why.
    pub(super) untrusted: Option<(String, String)>,
    /// What ended the round, if not that all sources were asked.
    ended_by: Option<FillError>,
}

impl Misses {
    /// One more.
    pub(super) fn add(&mut self, fault: Fault) {
        if let Flaw::Untrusted(why) = &fault.flaw {
            self.untrusted.get_or_insert_with(|| (fault.error.host.clone(), why.clone()));
        }
        self.any_unlisted |= matches!(fault.flaw, Flaw::Unlisted);
        // Of one that lags behind nothing is to be expected; of one that is being updated something is.
        let is_worth_telling = match &self.told {
            None => true,
            Some(told) => matches!(told.flaw, Flaw::Unlisted) && fault.may_pass(),
        };
        if is_worth_telling {
            self.told = Some(fault);
        }
    }

    /// Nobody else is asked.
    pub(super) fn ended_by(self, error: FillError) -> Self {
        Self { ended_by: Some(error), ..self }
    }

    /// Whether it is what an upstream in the middle of an update looks like.
    pub(super) fn may_pass(&self) -> bool {
        self.told.as_ref().is_some_and(Fault::may_pass)
    }

    /// What is told.
    pub(super) fn error(self) -> FillError {
        match self.told {
            Some(fault) => fault.error.into(),
            None => self.ended_by.unwrap_or(FillError::GivenUp),
        }
    }

    /// The same as the end of a fill.
    pub(super) fn outcome(self) -> Outcome {
        match self.error() {
            FillError::Upstream(error) if matches!(error.kind, UpstreamErrorKind::Absent(_)) => Outcome::Absent(error),
            error => Outcome::Failed(error),
        }
    }
}
