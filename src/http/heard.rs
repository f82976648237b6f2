//! The body of a request, as whoever answers reads it.
//!
//! It does not wait for ever ([`Patience`]), whatever the route, and it tells the connection when nobody reads it to its
//! end ([`Course`]).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep_until};

use super::linger::Course;
use crate::patience::{Patience, Rule, TooSlow};

/// How slow a client may be. [`super::upload`]'s largest file takes a day at 125 kB a second.
const OF_CLIENTS: Rule = Rule { span: Duration::from_secs(30), longest: Some(Duration::from_secs(24 * 3_600)) };

/// Why a body has no further frame.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unheard {
    /// The connection broke, or what came is no body.
    #[error(transparent)]
    BrokeOff(#[from] hyper::Error),
    /// The client takes too long.
    #[error("the request is too slow")]
    TooSlow(#[source] TooSlow),
}

/// The body of a request.
pub(super) struct Heard {
    body: Incoming,
    is_over: bool,
    course: Arc<Course>,
    patience: Patience,
    /// Only a body that is waited for needs one.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Heard {
    pub(super) fn new(body: Incoming, course: Arc<Course>) -> Self {
        Self { body, is_over: false, course, patience: Patience::new(OF_CLIENTS), timer: None }
    }

    /// Nothing has come yet. Ready when that went on for too long.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<TooSlow> {
        loop {
            let until = self.patience.wait(Instant::now());
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until.into())));
            if timer.deadline() != until.into() {
                timer.as_mut().reset(until.into());
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if let Err(too_slow) = self.patience.heard(0, Instant::now().max(until)) {
                return Poll::Ready(too_slow);
            }
        }
    }
}

impl Body for Heard {
    type Data = Bytes;
    type Error = Unheard;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Unheard>>> {
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => return self.poll_patience(cx).map(|too_slow| Some(Err(Unheard::TooSlow(too_slow)))),
            Poll::Ready(frame) => frame,
        };
        let Some(Ok(frame)) = frame else {
            // A chunked body does not know that it is over before it was asked again.
            self.is_over = true;
            return Poll::Ready(frame.map(|frame| frame.map_err(Unheard::from)));
        };
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        let heard = self.patience.heard(bytes, Instant::now());
        Poll::Ready(Some(heard.map(|()| frame).map_err(Unheard::TooSlow)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        if !self.is_over && !self.body.is_end_stream() {
            self.course.leave_unread();
        }
    }
}

/// Whether this, or what it came of, is that a client was too slow.
pub(super) fn too_slow<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e TooSlow> {
    std::iter::successors(Some(error), |error| error.source()).find_map(|error| error.downcast_ref())
}
