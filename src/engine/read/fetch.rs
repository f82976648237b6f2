//! Nothing that can be used is held: a fill brings it, and what has come of it is the answer.
//!
//! What upstream does not have, or has as something else than the index says, says something of the index, too: it is asked for
//! again, so that whoever comes next is told the truth.

use std::sync::Arc;

use artifactapi_formats::{Mutability, Role};

use super::super::fill::{Fill, FillError, Head, Order, Outcome, State};
use super::super::held::{Held, now};
use super::super::roots::Bond;
use super::through::{is_far_ahead, through};
use super::{ReadError, Reader, Reading, Source, Wish, order};
use crate::config::{Remote, Verify};
use crate::upstream::{UpstreamError, UpstreamErrorKind};

impl Reader {
    /// Nothing (usable) is held: follow a fill, or start one.
    pub(super) async fn fetch(
        &self,
        wish: &Wish,
        remote: &Remote,
        mutability: Mutability,
        husk: Option<Arc<Held>>,
    ) -> Result<Reading, ReadError> {
        if let Some(why) = self.known_absent(wish).await {
            return Err(ReadError::Absent(why));
        }
        let running = self.fills.running(&wish.target);
        if wish.head_only && !wish.role.is_metadata() {
            match running.as_ref().and_then(Fill::streaming) {
                Some((head, _)) => return Ok(Reading::Head(Head::clone(&head))),
                None => return self.head(wish, mutability).await,
            }
        }
        if wish.role == Role::Listing {
            return self.pass_through(wish, mutability).await;
        }
        let bond = match wish.role {
            Role::Package if remote.verify != Verify::Off => {
                self.roots.of_package(&wish.repository, &wish.target).await
            }
            _ => self.roots.of(&wish.repository, &wish.target, wish.role).await,
        };
        // Only now: a switch after this question is one after the index was asked what the package must be.
        if let Some(earlier) = self.of_the_clients_generation(wish, remote).await? {
            return Ok(earlier);
        }
        let order = order(wish, mutability.clone(), bond.as_ref());
        let mut fill = self.fills.join(order.clone(), husk.clone());
        // A HEAD of metadata waits for the whole, so that its ETag is the one that a GET will have (FORMATS 1.6).
        if wish.head_only {
            let _ = fill.settled_within(wish.repository.cache.refresh_wait).await;
        }
        let mut state = fill.ready().await;
        // It broke off before this request gave anything away: another source may have it whole.
        if matches!(state, State::Settled(Outcome::Failed(_))) && fill.has_streamed() && remote.has_mirrors() {
            fill = self.fills.join(order, husk);
            state = fill.ready().await;
        }
        match state {
            State::Streaming(head, body) if is_far_ahead(wish, &head, &body) => {
                match self.pass_range_through(wish, mutability, &head).await {
                    Some(through) => Ok(through),
                    None => Ok(Reading::Growing { head, body, fill, was_stale: false }),
                }
            }
            State::Streaming(head, body) => Ok(Reading::Growing { head, body, fill, was_stale: false }),
            State::Settled(Outcome::Held(held, via)) => {
                Ok(Reading::Held { fresh_for: self.fresh_for(wish, &held), held, source: Source::from(via) })
            }
            State::Settled(Outcome::NoRoom(unread)) => match unread.take() {
                Some(answer) => Ok(through(wish, mutability, answer)),
                None => self.pass_through(wish, mutability).await,
            },
            State::Settled(Outcome::Absent(error)) => match (wish.role, bond) {
                (Role::Package, Some(bond)) => {
                    self.ask_for_the_index(wish, bond);
                    let _ = self.absent(wish, &error);
                    let why = "although the index that is held names it; upstream is being asked for its index again";
                    Err(ReadError::Absent(format!("{error}, {why}")))
                }
                (_, bond) => {
                    if let Some(bond) = bond {
                        bond.entry.doubt();
                    }
                    Err(self.absent(wish, &error))
                }
            },
            State::Settled(Outcome::Failed(error)) => {
                if let (Some(bond), FillError::Upstream(UpstreamError { kind: UpstreamErrorKind::Unfit(_), .. })) =
                    (bond, &error)
                {
                    self.ask_for_the_index(wish, bond);
                }
                Err(error.into())
            }
            State::Waiting => Err(FillError::GivenUp.into()),
        }
    }

    /// The index that we hold and what upstream has contradict each other: one of them is out of date. Upstream is asked for
    /// its index at once; nobody waits for it.
    fn ask_for_the_index(&self, wish: &Wish, bond: Bond) {
        bond.entry.doubt();
        let order = Order {
            repository: Arc::clone(&wish.repository),
            target: bond.entry.artifact.target.clone(),
            role: bond.entry.role,
            mutability: bond.entry.mutability.clone(),
            expected: None,
            confirmed_after: now(),
        };
        let _ = self.fills.join(order, Some(bond.entry));
    }

    /// Upstream has nothing there, which is remembered.
    pub(super) fn absent(&self, wish: &Wish, error: &UpstreamError) -> ReadError {
        let why = error.to_string();
        self.remember_absent(wish, &why);
        ReadError::Absent(why)
    }
}
