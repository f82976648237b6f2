//! Moving an upstream body into a spool: batches, declared length, and resuming what broke.
//!
//! A body that breaks off is asked for again from where it broke, with `If-Range` so that upstream sends the rest only if
//! it is still the same content. Anything but exactly that rest makes the transfer fail; no two contents are ever
//! spliced.

use std::sync::Arc;

use reqwest::StatusCode;

use super::fill::{FillError, FillSender, Head, Order};
use crate::spool::{SpoolReader, SpoolWriter};
use crate::upstream::{Answer, Ask, Body, How, Sources, Upstream, UpstreamError, UpstreamErrorKind};

/// How often in a row a broken body is resumed without having got any further.
const RESUMES: u32 = 3;

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
        let (declared, source) = (answer.length, answer.source);
        let mut body = answer.body;
        let mut got: u64 = 0;
        let mut broken_in_a_row = 0;
        loop {
            let before = got;
            let trouble = match self.drain(&mut body, declared, &mut got, writer).await? {
                None => return Ok(()),
                Some(trouble) => trouble,
            };
            broken_in_a_row = if got > before { 1 } else { broken_in_a_row + 1 };
            let Some(validator) = validator.as_deref().filter(|_| got > 0 && broken_in_a_row <= RESUMES) else {
                return Err(trouble.into());
            };
            tracing::debug!(target: "artifactapi::fill", path = %self.order.target, got, error = %trouble, "resuming");
            match self.resume(got, declared, validator, source).await {
                Some(rest) => body = rest,
                None => return Err(trouble.into()),
            }
        }
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
                    writer.flush().await?;
                    writer.settle().await?;
                    self.let_readers_follow();
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

    async fn resume(&self, got: u64, declared: Option<u64>, validator: &str, source: usize) -> Option<Body> {
        let ask = Ask {
            remote: self.remote,
            path: &self.order.target.path,
            query: &self.order.target.query,
            how: How::Range { first: got, last: None, if_range: Some(validator) },
        };
        let answer = self.upstream.ask(&ask, Some(source)).await.ok()?;
        let (first, last, total) = answer.range?;
        let is_the_rest = answer.status == StatusCode::PARTIAL_CONTENT
            && answer.source == source
            && first == got
            && declared.is_none_or(|declared| last + 1 == declared)
            && (total.is_none() || declared.is_none() || total == declared);
        is_the_rest.then_some(answer.body)
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
