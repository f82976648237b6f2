//! Who fetches: one of all replicas, after a look whether the work was done meanwhile.
//!
//! The coordinator gives the lead to one of those who want the same target and wakes the others when that one is done. Without it,
//! or when it takes too long, more than one fetch: that costs work and nothing else, for the catalog's compare-and-set decides.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use artifactapi_formats::Role;

use super::super::fill::{FillSender, Order, Outcome, Via};
use super::super::freshness::is_ahead;
use super::super::held::{Held, now};
use super::super::shelf::Found;
use super::Fills;
use crate::store::catalog::Artifact;
use crate::store::coordinator::Entered;

/// How long a replica waits for another that fetches the same target, before it fetches too. Shorter than the 30 s
/// after which dnf gives up on a silent server (FORMATS 3.7).
pub const PATIENCE: Duration = Duration::from_secs(20);

impl Fills {
    /// Fetches what is ordered, unless another replica does or has done. Those who follow hear of it by `sender`.
    pub(super) async fn run(
        self: &Arc<Self>,
        order: &Order,
        mut held: Option<Arc<Held>>,
        sender: &FillSender,
    ) -> Outcome {
        let mut patience = PATIENCE;
        let started = Instant::now();
        // What is held and doubted is not saved by a confirmation from before the doubt.
        let is_doubted = held.as_ref().is_some_and(|held| held.confirmed_at() == SystemTime::UNIX_EPOCH);
        let wanted_after = if is_doubted { now() } else { order.confirmed_after };
        let lease = loop {
            match self.coordinator.enter(&order.target, patience).await {
                Entered::Lead(lease) => break Some(lease),
                Entered::Settled => {
                    if let Some(outcome) = self.done_elsewhere(order, held.as_ref(), wanted_after).await {
                        return outcome;
                    }
                    patience = PATIENCE.saturating_sub(started.elapsed());
                }
                Entered::OutOfPatience => break None,
            }
        };
        if let Some(outcome) = self.done_elsewhere(order, held.as_ref(), wanted_after).await {
            return outcome;
        }
        // The record may have changed since the request looked; what is confirmed or replaced is the current one.
        if let Some(current) = self.shelf.peek(&order.target).filter(|current| is_wanted(order, &current.artifact)) {
            held = Some(current);
        }
        let outcome = match self.sources(&order.repository, order.role).await {
            Ok(sources) => self.fetch(order, sources, held.as_ref(), sender).await,
            Err(error) => Outcome::Failed(error),
        };
        drop(lease);
        outcome
    }

    /// What the catalog has, if another replica made it what is wanted: the content that was held, confirmed meanwhile, or
    /// another, new enough.
    async fn done_elsewhere(
        &self,
        order: &Order,
        held: Option<&Arc<Held>>,
        wanted_after: SystemTime,
    ) -> Option<Outcome> {
        let current = self.catalog.lookup(&order.target).await.ok()?.filter(|current| is_wanted(order, current))?;
        let is_wanted = current.checked_at > wanted_after && !is_ahead(current.checked_at, now());
        match held {
            Some(held) if current.revision == held.artifact.revision => {
                if !is_wanted || current.checked_at <= held.confirmed_at() {
                    return None;
                }
                held.confirm(current.checked_at);
                return Some(Outcome::Held(Arc::clone(held), Via::Elsewhere));
            }
            Some(_) => self.shelf.forget(&order.target),
            None => {}
        }
        match self.switches.find(&order.repository, &order.target, order.role, &order.mutability).await {
            Ok(Found::Held(held)) if is_wanted => Some(Outcome::Held(held, Via::Elsewhere)),
            // Newer than what was known and still not new enough: on the shelf now, and asked about from here on.
            _ => None,
        }
    }
}

/// Whether some content is not known to be another package than the one that is ordered.
fn is_wanted(order: &Order, artifact: &Artifact) -> bool {
    match (&order.expected, &artifact.identity) {
        (Some(expected), Some(identity)) if order.role == Role::Package => expected.identity == *identity,
        _ => true,
    }
}
