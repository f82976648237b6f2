//! How much was kept since budgets were last looked at, so that a burst is noticed while it lasts.
//!
//! Looking at budgets costs look-ups in the catalog, and doing it for every file that is kept would put them on the way of
//! every fill. So the keeper only adds up bytes, and whoever looks after budgets says how many are worth another look.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Bytes kept since the last look.
#[derive(Debug)]
pub struct Growth {
    bytes: AtomicU64,
    enough: AtomicU64,
    due: Notify,
}

impl Default for Growth {
    /// Nothing kept, and no look is due however much is.
    fn default() -> Self {
        Self { bytes: AtomicU64::new(0), enough: AtomicU64::new(u64::MAX), due: Notify::new() }
    }
}

impl Growth {
    /// So many bytes more are kept.
    pub fn add(&self, bytes: u64) {
        let sum = self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if sum >= self.enough.load(Ordering::Relaxed) {
            self.due.notify_one();
        }
    }

    /// Begins to count anew: another look is due after `enough` bytes, or never.
    pub fn begin(&self, enough: Option<u64>) {
        self.enough.store(enough.unwrap_or(u64::MAX), Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
    }

    /// Waits until enough was kept. One that became so before this was called is not missed.
    pub async fn due(&self) {
        self.due.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_look_is_due_after_enough() {
        let growth = Growth::default();
        let is_due = || growth.due().now_or_never().is_some();
        growth.add(u64::MAX / 2);
        assert!(!is_due(), "there is no budget");
        growth.begin(Some(100));
        growth.add(99);
        assert!(!is_due());
        growth.add(1);
        growth.add(1);
        assert!(is_due() && !is_due(), "once");
        growth.begin(Some(100));
        growth.add(99);
        assert!(!is_due(), "counted anew");
        growth.begin(None);
        growth.add(1_000);
        assert!(!is_due());
    }
}
