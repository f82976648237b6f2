//! One ordinary read of the engine, waited for to its end.
//!
//! A batch has no way of its own to fetch: it asks as a client would, so freshness, checks, leases and the single fill per
//! path hold for it too, and clients that want the same file follow the same fill. What it adds is patience: it waits until
//! the file is kept, not just on its way, and no byte of a body passes through it.

use std::sync::Arc;

use super::report::Reason;
use crate::config::Repository;
use crate::engine::fill::{Outcome, Via};
use crate::engine::fills::Fills;
use crate::engine::held::Held;
use crate::engine::read::{Reader, Reading, Source, Wish};
use crate::store::key::Target;

/// What came of a read.
#[derive(Debug)]
pub(super) struct Settled {
    /// The content.
    pub(super) held: Arc<Held>,
    /// How it came.
    pub(super) came: Came,
}

/// How content came to be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// It was there, or another replica put it there.
    Already,
    /// It was fetched and kept.
    Fetched,
    /// It was fetched; nothing stays of it but what we have in hand.
    Unkept,
}

/// Reads `target` and waits until its fill, if it takes one, is over.
pub(super) async fn settle(
    reader: &Reader,
    fills: &Fills,
    repository: &Arc<Repository>,
    target: &Target,
) -> Result<Settled, Reason> {
    let wish = Wish {
        repository: Arc::clone(repository),
        target: target.clone(),
        role: repository.format.classify(&target.path),
        head_only: false,
        no_cache: false,
        when: None,
        client: None,
        range: None,
    };
    let reading = Box::pin(reader.read(&wish)).await.map_err(|error| Reason::from(&error))?;
    match reading {
        // A client is not made to wait for a slow refresh. We are no client.
        Reading::Held { held, source: Source::Stale, .. } => match fills.running(target) {
            Some(mut fill) => Ok(outcome(fill.settled().await).unwrap_or(Settled { held, came: Came::Already })),
            None => Ok(Settled { held, came: Came::Already }),
        },
        Reading::Held { held, source, .. } => {
            let came = match source {
                Source::Fetched => Came::Fetched,
                Source::Unkept => Came::Unkept,
                Source::Hit | Source::Confirmed | Source::Stale => Came::Already,
            };
            Ok(Settled { held, came })
        }
        Reading::Growing { mut fill, .. } => outcome(fill.settled().await),
        Reading::Through { .. } | Reading::Head(_) => Err(Reason::NotKept),
    }
}

fn outcome(outcome: Outcome) -> Result<Settled, Reason> {
    match outcome {
        Outcome::Held(held, via) => {
            let came = match via {
                Via::Fetched => Came::Fetched,
                Via::Unkept => Came::Unkept,
                Via::Confirmed | Via::Elsewhere => Came::Already,
            };
            Ok(Settled { held, came })
        }
        Outcome::Absent(error) => Err((&error).into()),
        Outcome::NoRoom(_) => Err(Reason::NotKept),
        Outcome::Failed(error) => Err((&error).into()),
    }
}
