//! The coordinator of one process: nobody else to ask, nobody else to tell.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{broadcast, oneshot};

use super::table::{Place, Table, deadline};
use super::{Coordinator, CoordinatorError, EVENTS_KEPT, Entered, Event, Lease};
use crate::store::key::Target;

/// Leases and events within this process. The module of the trait is the contract.
#[derive(Debug)]
pub struct InProcessCoordinator {
    table: Arc<Table>,
    events: broadcast::Sender<Event>,
}

impl Default for InProcessCoordinator {
    fn default() -> Self {
        Self { table: Arc::default(), events: broadcast::channel(EVENTS_KEPT).0 }
    }
}

impl InProcessCoordinator {
    /// A coordinator that nobody leads anything in.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl Coordinator for InProcessCoordinator {
    async fn enter(&self, target: &Target, patience: Duration) -> Entered {
        match self.table.enter(target, deadline(patience)).await {
            Place::Settled => Entered::Settled,
            Place::OutOfPatience => Entered::OutOfPatience,
            Place::Lead(seat) => {
                let (release, released) = oneshot::channel();
                tokio::spawn(async move {
                    // An error means the same: nobody holds the lease any more.
                    let _ = released.await;
                    seat.settle();
                });
                Entered::Lead(Lease::new(release))
            }
        }
    }

    async fn announce(&self, event: Event) {
        // Nobody listening is nobody to tell.
        let _ = self.events.send(event);
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    async fn ping(&self) -> Result<(), CoordinatorError> {
        Ok(())
    }
}
