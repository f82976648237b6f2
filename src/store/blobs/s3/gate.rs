//! Keeps requests from a server that does not answer.
//!
//! Finding out that a server is gone takes seconds: a connection must time out, more than once. Only one request pays
//! for that. After it, all others are refused at once for [`CLOSED`], so that what can be served without the store is
//! served without delay; then one request tries again. Any answer, a refusal too, opens the gate.

use std::future::Future;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::store::blobs::{BlobError, BlobErrorKind};

/// How long the server is left alone.
const CLOSED: Duration = Duration::from_secs(5);

/// Stands in an error's chain of causes where there was no answer at all.
#[derive(Debug, thiserror::Error)]
#[error("the server does not answer")]
pub(super) struct NoAnswer(#[source] pub(super) Box<dyn std::error::Error + Send + Sync>);

/// Stands in an error where the server was not even asked.
#[derive(Debug, thiserror::Error)]
#[error("the server did not answer a moment ago; it is asked again within {} s", CLOSED.as_secs())]
struct LeftAlone;

/// The gate. Open at first.
#[derive(Debug, Default)]
pub(super) struct Gate {
    closed_until: Mutex<Option<Instant>>,
}

impl Gate {
    /// Does `request` if the gate is open, and takes note of how it went.
    pub(super) async fn guard<T>(
        &self,
        during: &str,
        request: impl Future<Output = Result<T, BlobError>>,
    ) -> Result<T, BlobError> {
        if !self.lets_pass(Instant::now()) {
            return Err(BlobError::new(BlobErrorKind::Unavailable, during, LeftAlone));
        }
        let result = request.await;
        self.note(&result, Instant::now());
        result
    }

    /// Whether a request may go now. The first one after the wait is the trial; the gate stays closed behind it.
    fn lets_pass(&self, now: Instant) -> bool {
        let mut closed_until = self.closed_until.lock();
        match *closed_until {
            Some(until) if now < until => false,
            Some(_) => {
                *closed_until = Some(now + CLOSED);
                true
            }
            None => true,
        }
    }

    /// What came of a request.
    pub(super) fn note<T>(&self, result: &Result<T, BlobError>, now: Instant) {
        let cause = result.as_ref().err().and_then(|error| error.source.as_deref());
        let silent = cause.is_some_and(|cause| cause.is::<NoAnswer>());
        *self.closed_until.lock() = silent.then_some(now + CLOSED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Result<(), BlobError> {
        Err(BlobError::new(BlobErrorKind::Unavailable, "testing", cause))
    }

    #[test]
    fn one_request_at_a_time_asks_a_silent_server() {
        let (gate, start) = (Gate::default(), Instant::now());
        assert!(gate.lets_pass(start) && gate.lets_pass(start));
        gate.note(&failed(NoAnswer("refused".into())), start);
        assert!(!gate.lets_pass(start));
        let later = start + CLOSED;
        assert!(gate.lets_pass(later), "the trial");
        assert!(!gate.lets_pass(later), "everybody else");
        gate.note(&failed("503"), later);
        assert!(gate.lets_pass(later), "an answer is an answer");
    }
}
