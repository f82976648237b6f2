//! Packages as an earlier snapshot names them, for clients that were given its index and for nobody else.
//!
//! Right after a switch many of them come at once, and what they ask for is not kept: it is nothing that the current index
//! names. So they share one transfer for each package and identity, and what it brought goes when the last of them has it.

use std::collections::HashMap;
use std::sync::Arc;

use artifactapi_formats::Identity;
use parking_lot::Mutex;

use super::super::fill::{Fill, FillError, Order, Outcome, Via};
use super::super::held::Held;
use super::Fills;
use crate::store::key::Target;

/// What is fetched beside what is current: a path, and what is expected there.
type Wanted = (Target, Option<Identity>);

/// The transfers that run now.
#[derive(Default)]
pub(super) struct Beside {
    running: Mutex<HashMap<Wanted, Fill>>,
}

/// Makes room for the next transfer however this one ends.
struct Ending<'a> {
    beside: &'a Beside,
    wanted: Wanted,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.beside.running.lock().remove(&self.wanted);
    }
}

impl Fills {
    /// The whole content without making it current: a package as an earlier snapshot names it.
    ///
    /// # Errors
    /// [`FillError`] when no source has just that.
    pub async fn fetch_beside(self: &Arc<Self>, order: &Order) -> Result<Arc<Held>, FillError> {
        match self.join_beside(order).settled().await {
            Outcome::Held(held, _) => Ok(held),
            Outcome::Failed(error) => Err(error),
            Outcome::Absent(error) => Err(error.into()),
            Outcome::NoRoom(_) => Err(FillError::GivenUp),
        }
    }

    fn join_beside(self: &Arc<Self>, order: &Order) -> Fill {
        let wanted = (order.target.clone(), order.expected.as_ref().map(|expected| expected.identity.clone()));
        let mut running = self.beside.running.lock();
        if let Some(fill) = running.get(&wanted) {
            return fill.clone();
        }
        let (sender, fill) = Fill::new();
        running.insert(wanted.clone(), fill.clone());
        drop(running);
        let (fills, order) = (Arc::clone(self), order.clone());
        tokio::spawn(async move {
            let ending = Ending { beside: &fills.beside, wanted };
            let outcome = match fills.bring(&order).await {
                Ok(held) => Outcome::Held(held, Via::Unkept),
                Err(error) => Outcome::Failed(error),
            };
            drop(ending);
            sender.settle(outcome);
        });
        fill
    }

    async fn bring(self: &Arc<Self>, order: &Order) -> Result<Arc<Held>, FillError> {
        let sources = self.sources(&order.repository, order.role).await?;
        Ok(self.arrive(order, &sources, None).await?.held(order).await)
    }
}
