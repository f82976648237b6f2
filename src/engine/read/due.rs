//! What is held and was confirmed too long ago: confirmed anew, replaced, or served all the same.
//!
//! Of a package the held index says what it must be, and that is asked first: upstream may have built it again under its name, and
//! clients of our index must not be given that. Everything else is asked of upstream, and what is held waits beside it.

use std::sync::Arc;

use artifactapi_formats::Role;

use super::super::fill::{FillError, Outcome, State};
use super::super::held::{Held, now};
use super::super::roots::Bond;
use super::through::through;
use super::{ReadError, Reader, Reading, Source, Wish, hit, husk, order, stale};
use crate::config::{Remote, Verify};

impl Reader {
    /// A package whose time is over. As long as an index that we hold means it, clients of that index must be given it, whatever
    /// upstream has under its name by now: its time begins anew.
    pub(super) async fn read_due_package(
        &self,
        wish: &Wish,
        remote: &Remote,
        held: Arc<Held>,
    ) -> Result<Reading, ReadError> {
        let Ok(bond) = self.roots.of_held_package(&wish.repository, &held).await else {
            // An index may name it, and what is held was right when that was known.
            return Ok(stale(held));
        };
        match bond.as_ref().and_then(|bond| bond.means(&held)) {
            Some(true) => {
                held.confirm(now());
                let fresh_for = self.fresh_for(wish, &held);
                Ok(hit(held, fresh_for))
            }
            Some(false) if remote.verify == Verify::Strict => {
                self.shelf.forget(&wish.target);
                let husk = husk(held.artifact.clone(), wish.role, &held.mutability);
                self.fetch(wish, remote, held.mutability.clone(), Some(husk)).await
            }
            _ => self.revalidate(wish, held, bond).await,
        }
    }

    /// Asks upstream about what is held. Whatever comes of it, there is an answer, unless what is held belongs to an
    /// index that was replaced since: then it would contradict what the client was given (DESIGN 4.1).
    pub(super) async fn revalidate(
        &self,
        wish: &Wish,
        held: Arc<Held>,
        bond: Option<Bond>,
    ) -> Result<Reading, ReadError> {
        let order = order(wish, held.mutability.clone(), bond.as_ref());
        let mut fill = self.fills.join(order, Some(Arc::clone(&held)));
        let patience = wish.repository.cache.refresh_wait;
        let state = match tokio::time::timeout(patience, fill.ready()).await {
            Ok(State::Streaming(head, body)) => {
                return Ok(Reading::Growing { head, body, fill, was_stale: true });
            }
            Ok(state) => state,
            Err(_) if is_right_stale(bond.as_ref(), &held) => return Ok(stale(held)),
            Err(_) => fill.ready().await,
        };
        let is_right_stale = is_right_stale(bond.as_ref(), &held);
        match state {
            State::Settled(Outcome::Held(now_held, via)) => Ok(Reading::Held {
                fresh_for: self.fresh_for(wish, &now_held),
                held: now_held,
                source: Source::from(via),
            }),
            State::Settled(Outcome::NoRoom(unread)) if !is_right_stale => match unread.take() {
                Some(answer) => Ok(through(wish, held.mutability.clone(), answer)),
                None => self.pass_through(wish, held.mutability.clone()).await,
            },
            _ => {
                if let Some(bond) = bond {
                    bond.entry.doubt();
                }
                match state {
                    _ if is_right_stale => Ok(stale(held)),
                    State::Settled(Outcome::Absent(error)) => Err(self.absent(wish, &error)),
                    State::Settled(Outcome::Failed(error)) => Err(error.into()),
                    _ => Err(FillError::GivenUp.into()),
                }
            }
        }
    }
}

/// Whether some content may be served although upstream did not confirm it. What an index says of a package has no date: it may
/// be older than the index and still be the one.
pub(super) fn is_right_stale(bond: Option<&Bond>, held: &Held) -> bool {
    bond.is_none_or(|bond| held.role == Role::Package || bond.is_of_its_time(held))
}
