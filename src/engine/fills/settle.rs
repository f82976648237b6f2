//! What becomes of what came: it is refused, begins a generation, is kept, or is only passed on.
//!
//! Bytes that are whole and fit in themselves may still not be what should be shown: a signature of another index, an index that the
//! list of mirrors does not know, or one that nobody trusted signed. Only what passes here becomes current.

use artifactapi_formats::Role;

use super::super::fill::{Outcome, Via};
use super::super::keep::Kept;
use super::super::shelf::Found;
use super::generation::{Build, entry_of};
use super::listed::is_in_a_list;
use super::miss::{Flaw, Miss};
use super::receive::{Arrived, Got, Try};
use crate::spool::SpoolError;

impl Try<'_> {
    /// Asks, beginning with `first`, and makes what comes current.
    pub(super) async fn settle(&self, first: Option<usize>) -> Result<Outcome, Miss> {
        let arrived = match self.get(first).await? {
            Got::Arrived(arrived) => *arrived,
            // Passing it through would show what nobody has looked at.
            Got::NoRoom(_) if self.must_be_looked_at() => return Err(Miss::Everywhere(SpoolError::Full.into())),
            Got::NoRoom(answer) => return Ok(Outcome::NoRoom(answer)),
            Got::Confirmed { held, by } => {
                // Its first snapshot could not be recorded when it came: a member was not there yet, or the server stopped.
                if entry_of(self.order).is_some() && self.lacks_a_snapshot().await {
                    self.complete_later(by, self.fills.completing.begin(&self.order.target));
                }
                return Ok(Outcome::Held(held, Via::Confirmed));
            }
        };
        self.refuse(&arrived).await?;
        match Build::of(self, &arrived) {
            Some(build) if arrived.is_worth_keeping => self.settle_entry(build, arrived).await,
            _ => Ok(self.store(arrived).await),
        }
    }

    /// Refuses what may be right in itself, but not in its place.
    async fn refuse(&self, arrived: &Arrived) -> Result<(), Miss> {
        let Self { fills, order, .. } = *self;
        let refused = |why: &str, flaw| Err(Miss::source(arrived.giver.number, arrived.giver.unfit(why), flaw));
        if order.role == Role::IndexCompanion && fills.is_about_another(order, arrived).await {
            return refused("a signature of another index than the one that is held", Flaw::Contradiction);
        }
        if is_in_a_list(order, self.sources) && !self.is_listed(arrived).await {
            fills.counts.unlisted.inc();
            tracing::info!(
                target: "artifactapi::snapshot",
                root = %order.target, source = %arrived.giver.host, "the metalink does not know this mirror's index"
            );
            return refused("an index that the metalink does not know", Flaw::Unlisted);
        }
        if self.must_be_signed() && !arrived.is_worth_keeping {
            return refused("what looks like a page in place of an index that must be signed", Flaw::Unfit);
        }
        Ok(())
    }

    /// An entry file of a root: the next generation is built around it, or it is shown and the first one follows.
    async fn settle_entry(&self, build: Build<'_>, mut arrived: Arrived) -> Result<Outcome, Miss> {
        let Self { fills, order, .. } = *self;
        let giver = arrived.giver.clone();
        let not_built = |error| Miss::not_built(giver.number, error);
        let must_be_signed = self.must_be_signed();
        let mut signatures = Vec::new();
        if self.held.is_some() || must_be_signed {
            let is_first = self.held.is_none() && !self.was_published().await;
            if !is_first {
                return build.next_generation().await.map_err(not_built);
            }
            signatures = build.signatures().await.map_err(not_built)?;
        }
        // From before the entry can be seen. What is on the shelf is looked at again, so that it waits, too.
        let completion = arrived.completion.take().unwrap_or_else(|| fills.show_on_credit(order));
        if must_be_signed {
            fills.shelf.doubt(&order.target.repository);
        }
        let outcome = self.store(arrived).await;
        if let Outcome::Held(_, Via::Fetched) = &outcome {
            for (ask, signature) in signatures {
                // Whoever asks for it next need not fetch it, and no harm is done if he must.
                let _ = Try { order: &ask, held: None, ..*self }.store(signature).await;
            }
            self.complete_later(giver, completion);
        }
        Ok(outcome)
    }

    /// Makes it current, if it is worth that and can be; else it is for those who asked for it.
    async fn store(&self, mut arrived: Arrived) -> Outcome {
        let Self { fills, order, .. } = *self;
        if arrived.is_worth_keeping {
            let replaces = self.held.map(|held| held.artifact.revision);
            match fills.keeper.keep(&arrived.spooled, arrived.record.clone(), replaces).await {
                Ok(Kept::Current(record)) => {
                    arrived.record = record;
                    let held = arrived.held(order).await;
                    fills.switches.shelve(&order.repository, &held).await;
                    return Outcome::Held(held, Via::Fetched);
                }
                Ok(Kept::Beaten(_)) => {
                    fills.shelf.forget(&order.target);
                    let found = fills.switches.find(&order.repository, &order.target, order.role, &order.mutability);
                    if let Ok(Found::Held(held)) = found.await {
                        return Outcome::Held(held, Via::Elsewhere);
                    }
                }
                Err(error) => {
                    fills.counts.unkept.inc();
                    tracing::warn!(target: "artifactapi::fill", path = %order.target, error = %error, "fetched, but not kept");
                }
            }
        }
        let held = arrived.held(order).await;
        // It is not what the next request finds.
        held.supersede();
        if !arrived.is_worth_keeping {
            held.let_nobody_keep();
        }
        Outcome::Held(held, Via::Unkept)
    }

    /// Whether it is known that no generation of this root was ever recorded.
    async fn lacks_a_snapshot(&self) -> bool {
        matches!(self.fills.snapshots.current(&self.order.target).await, Ok(None))
    }

    /// Whether a generation of this root is known although its entry is not held.
    async fn was_published(&self) -> bool {
        matches!(self.fills.snapshots.current(&self.order.target).await, Ok(Some(_)))
    }
}
