//! Not waiting, request after request, for something that is away.
//!
//! After a failure the circuit is open: callers are turned away at once, except one every [`RETRY_AFTER`], who tries. The
//! first success closes it. It knows nothing of what it guards and never delays anybody.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How often something that is away is tried again.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Open while something is away.
#[derive(Debug, Default)]
pub(crate) struct Circuit {
    /// When the next caller may try; `None` while closed.
    next_try: Mutex<Option<Instant>>,
}

impl Circuit {
    /// Whether this caller may try now.
    pub(crate) fn admits(&self, now: Instant) -> bool {
        let mut next_try = self.next_try.lock();
        match *next_try {
            None => true,
            Some(due) if now < due => false,
            Some(_) => {
                *next_try = Some(now + RETRY_AFTER);
                true
            }
        }
    }

    /// It answers.
    pub(crate) fn succeeded(&self) {
        *self.next_try.lock() = None;
    }

    /// It does not.
    pub(crate) fn failed(&self, now: Instant) {
        *self.next_try.lock() = Some(now + RETRY_AFTER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_tries_while_it_is_open() {
        let circuit = Circuit::default();
        let start = Instant::now();
        assert!(circuit.admits(start) && circuit.admits(start));
        circuit.failed(start);
        assert!(!circuit.admits(start));
        let due = start + RETRY_AFTER;
        assert!(circuit.admits(due), "one tries");
        assert!(!circuit.admits(due), "the others do not wait for it");
        circuit.succeeded();
        assert!(circuit.admits(due) && circuit.admits(due));
    }
}
