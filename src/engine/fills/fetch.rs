//! One fill's work: the sources are asked in turn, and all of them again as long as there is hope.
//!
//! A source that sends something unfit, or breaks off for good, is remembered, and another is asked first the next time.
//! While no reader has seen a byte the next source is asked at once; after that, no other source may continue. What is received of
//! one source is [`super::receive`]'s, and what becomes of it [`super::settle`]'s.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::fill::{FillSender, Order, Outcome};
use super::super::held::{Held, now};
use super::Fills;
use super::generation::{MID_UPDATE, entry_of};
use super::miss::{Fault, Miss, Misses};
use super::receive::{Try, must_be_signed};
use crate::upstream::Sources;

/// How many of the pauses of [`MID_UPDATE`] a root has that nothing is held of, when its signature is wrong. Its client waits with
/// nothing in its hands, and an index and its signature are replaced within a moment of each other.
const SIGNATURE_BEHIND: usize = 1;

impl Fills {
    /// Asks the sources in turn until one sends something fit. Sources that are caught in the middle of an update are
    /// asked again after a while; a list of mirrors that knows nothing of what they all have is read again, once.
    pub(super) async fn fetch(
        self: &Arc<Self>,
        order: &Order,
        mut sources: Sources,
        held: Option<&Arc<Held>>,
        readers: &FillSender,
    ) -> Outcome {
        let (began, mut list_is_new) = (Instant::now(), false);
        let mut pauses = pauses(held.is_none() && must_be_signed(order, &sources)).iter();
        let mut pause = pauses.next();
        loop {
            let is_last = pause.is_none();
            let round = Try { fills: self, order, sources: &sources, held, readers: Some(readers), is_last };
            let misses = match round.ask_in_turn().await {
                Ok(outcome) => return outcome,
                Err(misses) => misses,
            };
            if let Some((source, why)) = &misses.untrusted {
                self.distrust.refused(&order.target, source, why, now());
            }
            if misses.any_unlisted && !list_is_new {
                list_is_new = true;
                sources = match self.sources_since(&order.repository, began).await {
                    Ok(sources) => sources,
                    Err(error) => return Outcome::Failed(error),
                };
                continue;
            }
            let may_pass = misses.may_pass() && entry_of(order).is_some();
            let Some(pause_for) = pause.filter(|_| may_pass) else {
                return misses.outcome();
            };
            let error = misses.error();
            tracing::info!(
                target: "artifactapi::snapshot",
                root = %order.target, %error, wait_seconds = pause_for.as_secs(), "upstream is in the middle of an update"
            );
            tokio::time::sleep(*pause_for).await;
            pause = pauses.next();
        }
    }
}

impl Try<'_> {
    /// One round.
    async fn ask_in_turn(&self) -> Result<Outcome, Misses> {
        let Self { fills, order, sources, .. } = *self;
        let mut source = fills.suspects.get(&order.target).and_then(|url| sources.number_of(&url));
        let mut misses = Misses::default();
        for _ in 0..sources.urls().len() {
            let fault = match self.settle(source).await {
                Ok(outcome) => {
                    fills.suspects.remove(&order.target);
                    return Ok(outcome);
                }
                Err(Miss::Everywhere(error)) => return Err(misses.ended_by(error)),
                Err(Miss::Source(fault)) => fault,
            };
            source = Some(self.next_after(&fault));
            misses.add(fault);
            // Once readers have bytes of one source, no other can continue them.
            if self.readers.is_some_and(FillSender::is_streaming) {
                break;
            }
        }
        Err(misses)
    }

    /// Notes what a source is at fault for. Which is asked next, by this fill and by the next one.
    fn next_after(&self, fault: &Fault) -> usize {
        let Self { fills, order, sources, .. } = *self;
        fills.counts.unfit.inc();
        if !fault.may_pass() {
            fills.upstream.blame(sources, fault.source);
        }
        let next = (fault.source + 1) % sources.urls().len();
        if let Some(url) = sources.url(next) {
            fills.suspects.insert(order.target.clone(), url.clone());
        }
        next
    }
}

/// How long is waited between the rounds.
fn pauses(is_waited_for_with_nothing: bool) -> &'static [Duration] {
    if is_waited_for_with_nothing { &MID_UPDATE[..SIGNATURE_BEHIND] } else { &MID_UPDATE }
}
