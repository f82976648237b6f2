//! Which of the sources gave something.
//!
//! What belongs together must come from one source, and whoever gave something unfit is named and asked last: so it is remembered of
//! everything that came.

use crate::upstream::{Answer, UpstreamError, UpstreamErrorKind};

/// A source of which something came.
#[derive(Debug, Clone)]
pub(super) struct Giver {
    /// Which of [`Sources`](crate::upstream::Sources) it is.
    pub(super) number: usize,
    /// Its host.
    pub(super) host: String,
}

impl Giver {
    /// Of an answer.
    pub(super) fn of(answer: &Answer) -> Self {
        Self { number: answer.source, host: answer.body.host().to_owned() }
    }

    /// What it gave is of no use, for this reason.
    pub(super) fn unfit(&self, why: impl Into<String>) -> UpstreamError {
        UpstreamError { host: self.host.clone(), kind: UpstreamErrorKind::Unfit(why.into()) }
    }
}
