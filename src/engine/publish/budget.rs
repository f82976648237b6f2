//! How many bytes may be held at once, of whatever it is.
//!
//! Who wants to hold something claims its length before, and waits as long as there is no room; those who came first are first.
//! Something longer than all there is waits until nothing else is held, and is then the only one. So what is held is never more
//! than the budget, or one thing.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::PublishError;

/// Bytes are counted in so many.
const UNIT: u64 = 1 << 10;

/// So many bytes at once.
pub(super) struct Budget {
    units: Arc<Semaphore>,
    all: u32,
}

/// Bytes that may be held until this goes.
#[derive(Debug)]
pub(super) struct Claim(#[allow(dead_code, reason = "it ends with it")] OwnedSemaphorePermit);

impl Budget {
    pub(super) fn of(bytes: u64) -> Self {
        let all = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX);
        Self { units: Arc::new(Semaphore::new(all as usize)), all }
    }

    /// Waits for so many bytes.
    pub(super) async fn claim(&self, bytes: u64) -> Result<Claim, PublishError> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(self.all).min(self.all);
        let permit = Arc::clone(&self.units).acquire_many_owned(units).await;
        permit.map(Claim).map_err(|_| PublishError::Contended)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn no_more_is_held_than_there_is_room_for() {
        let budget = Budget::of(10 * UNIT);
        let waits = async |bytes| tokio::time::timeout(Duration::from_millis(20), budget.claim(bytes)).await.is_err();
        let (six, four) = (budget.claim(6 * UNIT - 1).await, budget.claim(4 * UNIT).await);
        assert!(six.is_ok() && waits(1).await && !waits(0).await);
        drop(four);
        assert!(waits(4 * UNIT + 1).await && !waits(4 * UNIT).await && waits(1_000 * UNIT).await);
        drop(six);
        let huge = budget.claim(1_000 * UNIT).await;
        assert!(huge.is_ok() && waits(1).await, "it is the only one");
    }
}
