//! Moving an upstream body into a spool: batches, declared length, and resuming what broke.
//!
//! A body that breaks off is asked for again from where it broke, with `If-Range` so that upstream sends the rest only if
//! it is still the same content. Anything but exactly that rest makes the transfer fail; no two contents are ever
//! spliced. An upstream that is in trouble is not helped by being asked at once and for ever: there is a pause before each try, which
//! grows as long as little comes of them, and an end to them.

use std::sync::Arc;
use std::time::Duration;

use super::fill::{FillError, FillSender, Head, Order};
use crate::spool::{SpoolReader, SpoolWriter};
use crate::upstream::{Answer, Ask, Body, How, Sent, Sources, Upstream, UpstreamError, UpstreamErrorKind};

/// How often in a row a broken body is resumed without having got any further.
const RESUMES: u32 = 3;

/// How often in a row it is resumed for little: with the pauses between, readers are kept in hope for half a minute.
const RESUMES_FOR_LITTLE: u32 = 10;

/// How often a body is resumed in all, however far each time got.
const RESUMES_IN_ALL: u32 = 100;

/// The pause before the first try to resume; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause before a try.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A try that brought as many bytes was worth it: the next pause is the first one again.
const WORTH_IT: u64 = 1 << 20;

/// The tries to resume one body.
#[derive(Debug, Default)]
struct Tries {
    in_all: u32,
    /// Since something came at all.
    in_vain: u32,
    /// Since it was worth it.
    of_little_use: u32,
}

impl Tries {
    /// Notes that the body broke after so many bytes more. How long to wait before it is resumed, if it is to be.
    fn next(&mut self, brought: u64) -> Option<Duration> {
        if brought > 0 {
            self.in_vain = 0;
        }
        if brought >= WORTH_IT {
            self.of_little_use = 0;
        }
        let is_enough =
            self.in_vain >= RESUMES || self.of_little_use >= RESUMES_FOR_LITTLE || self.in_all >= RESUMES_IN_ALL;
        if is_enough {
            return None;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.of_little_use.min(16)).min(LONGEST_PAUSE);
        self.in_all += 1;
        self.in_vain += 1;
        self.of_little_use += 1;
        Some(pause)
    }
}

/// What came of asking for the rest.
enum Rest {
    /// This is it, and how long the whole is.
    Here(Body, u64),
    /// There is no rest of that content to be had.
    Gone,
    /// Upstream is in trouble; it may be over in a moment.
    Trouble(UpstreamError),
}

/// One transfer.
pub(super) struct Transfer<'a> {
    pub(super) upstream: &'a Upstream,
    pub(super) remote: &'a Sources,
    pub(super) order: &'a Order,
    /// Told when readers may follow; `None` keeps them waiting for the outcome.
    pub(super) readers: Option<(&'a FillSender, Arc<Head>, SpoolReader)>,
}

impl Transfer<'_> {
    /// Moves the whole body of `answer` into `writer`.
    pub(super) async fn run(&self, answer: Answer, writer: &mut SpoolWriter) -> Result<(), FillError> {
        let validator = answer.resume_validator().map(str::to_owned);
        let (mut declared, source) = (answer.length, answer.source);
        let mut body = answer.body;
        let mut got: u64 = 0;
        let mut tries = Tries::default();
        loop {
            let before = got;
            let trouble = match self.drain(&mut body, declared, &mut got, writer).await? {
                None => return Ok(()),
                // Whoever drips has had his time, and would have it again.
                Some(trouble) if matches!(trouble.kind, UpstreamErrorKind::TooSlow(_)) => return Err(trouble.into()),
                Some(trouble) => trouble,
            };
            let mut brought = got - before;
            body = loop {
                let Some(validator) = validator.as_deref().filter(|_| got > 0) else {
                    return Err(trouble.into());
                };
                let Some(pause) = tries.next(brought) else {
                    return Err(trouble.into());
                };
                brought = 0;
                tracing::debug!(target: "artifactapi::fill", path = %self.order.target, got, error = %trouble, "resuming");
                // Whoever follows has what came so far meanwhile.
                self.show(writer).await?;
                tokio::time::sleep(pause).await;
                match self.resume(got, declared, validator, source).await {
                    Rest::Here(rest, size) => {
                        declared = Some(size);
                        break rest.in_place_of(body);
                    }
                    Rest::Gone => return Err(trouble.into()),
                    // What broke the body is what is told of.
                    Rest::Trouble(error) => {
                        tracing::debug!(target: "artifactapi::fill", path = %self.order.target, %error, "not resumed");
                    }
                }
            };
        }
    }

    /// Lets readers have all that came so far.
    async fn show(&self, writer: &mut SpoolWriter) -> Result<(), FillError> {
        writer.flush().await?;
        writer.settle().await?;
        self.let_readers_follow();
        Ok(())
    }

    /// Reads until the end (`None`) or until the body breaks (`Some`).
    async fn drain(
        &self,
        body: &mut Body,
        declared: Option<u64>,
        got: &mut u64,
        writer: &mut SpoolWriter,
    ) -> Result<Option<UpstreamError>, FillError> {
        loop {
            let chunk = match body.try_next() {
                Some(chunk) => Some(chunk),
                None => {
                    // Upstream pauses: what has come so far goes out now.
                    self.show(writer).await?;
                    body.next().await
                }
            };
            match chunk {
                Some(Ok(bytes)) => {
                    *got += bytes.len() as u64;
                    writer.append(bytes).await?;
                    self.let_readers_follow();
                }
                Some(Err(trouble)) => return Ok(Some(trouble)),
                None => {
                    let Some(declared) = declared.filter(|declared| declared != got) else {
                        return Ok(None);
                    };
                    return Ok(Some(body.error(UpstreamErrorKind::WrongLength { got: *got, declared })));
                }
            }
            if let Some(declared) = declared.filter(|declared| *got > *declared) {
                return Err(body.error(UpstreamErrorKind::WrongLength { got: *got, declared }).into());
            }
        }
    }

    async fn resume(&self, got: u64, declared: Option<u64>, validator: &str, source: usize) -> Rest {
        let ask = Ask {
            remote: self.remote,
            path: &self.order.target.path,
            query: &self.order.target.query,
            how: How::Range { first: got, last: None, if_range: Some(validator) },
        };
        let answer = match self.upstream.ask_one(&ask, source).await {
            Ok(answer) => answer,
            Err(error) if error.kind.may_pass() => return Rest::Trouble(error),
            Err(_) => return Rest::Gone,
        };
        match size_with(got, declared, answer.sent) {
            Some(size) => Rest::Here(answer.body, size),
            None => Rest::Gone,
        }
    }

    fn let_readers_follow(&self) {
        if let Some((sender, head, reader)) = &self.readers
            && !sender.is_streaming()
            && reader.readable() > 0
        {
            sender.stream(Arc::clone(head), reader.clone());
        }
    }
}

/// How long a content is of which `got` bytes are here, if what was sent is all the rest of it. Of one whose length was not declared
/// only the total tells what all is.
fn size_with(got: u64, declared: Option<u64>, sent: Sent) -> Option<u64> {
    let Sent::Part { first, last, total } = sent else { return None };
    let end = last + 1;
    let is_all_the_rest = match declared {
        Some(declared) => end == declared && total.is_none_or(|total| total == declared),
        None => total == Some(end),
    };
    (first == got && is_all_the_rest).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_all_the_rest_is_the_rest() {
        let part = |first, last, total| Sent::Part { first, last, total };
        assert_eq!(size_with(1_000, Some(5_000), part(1_000, 4_999, Some(5_000))), Some(5_000));
        assert_eq!(size_with(1_000, Some(5_000), part(1_000, 4_999, None)), Some(5_000));
        assert_eq!(size_with(1_000, None, part(1_000, 4_999, Some(5_000))), Some(5_000));
        for (declared, sent) in [
            (None, part(1_000, 1_999, Some(5_000))),
            (None, part(1_000, 4_999, None)),
            (Some(5_000), part(1_000, 1_999, Some(5_000))),
            (Some(5_000), part(1_000, 4_999, Some(6_000))),
            (Some(5_000), part(999, 4_999, Some(5_000))),
            (Some(5_000), Sent::Whole),
            (None, Sent::Unchanged),
        ] {
            assert_eq!(size_with(1_000, declared, sent), None, "{declared:?} {sent:?}");
        }
    }

    #[test]
    fn tries_end_when_nothing_comes_of_them() {
        let mut tries = Tries::default();
        let pauses: Vec<_> = std::iter::repeat_with(|| tries.next(0)).map_while(|pause| pause).collect();
        assert_eq!(pauses, [1, 2, 4].map(|times| FIRST_PAUSE * times));
    }

    #[test]
    fn tries_of_little_use_are_further_and_further_apart_and_end() {
        let mut tries = Tries::default();
        let pauses: Vec<_> = std::iter::repeat_with(|| tries.next(4_096)).map_while(|pause| pause).collect();
        assert_eq!(pauses.len(), RESUMES_FOR_LITTLE as usize);
        assert!(pauses.iter().sum::<Duration>() < Duration::from_secs(30), "{pauses:?}");
        assert!(pauses.is_sorted() && pauses[0] == FIRST_PAUSE && pauses[pauses.len() - 1] == LONGEST_PAUSE);
    }

    #[test]
    fn tries_that_were_worth_it_begin_anew() {
        let mut tries = Tries::default();
        assert!((0..RESUMES_IN_ALL).all(|_| tries.next(WORTH_IT) == Some(FIRST_PAUSE)));
        assert_eq!(tries.next(WORTH_IT), None);
    }
}
