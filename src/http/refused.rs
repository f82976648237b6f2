//! Requests that hyper refuses before anybody sees them, answered as every other error is.
//!
//! A head that is too large or does not parse never reaches the router: hyper writes a bare status line and closes. Until
//! the first request of a connection has been taken, whatever hyper writes can only be such a refusal; [`Refusals`] then
//! writes a problem document with that status in its place, and the log has its request id. Afterwards every byte passes
//! untouched. A refusal later on a connection that served something stays bare.
//!
//! A client that still sends when it is refused, here or by whoever answers, is granted some time to see why: [`Linger`].

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::http::StatusCode;
use bytes::BytesMut;
use hyper::rt::{Read, ReadBufCursor, Write};

use super::error::Problem;
use super::linger::{Course, Linger};
use super::serve::{MAX_HEAD, MAX_HEADERS};

/// A connection whose refusals are problem documents.
pub(super) struct Refusals<T> {
    inner: T,
    /// Bytes that were read before hyper came.
    ahead: BytesMut,
    course: Arc<Course>,
    instead: Option<Instead>,
    linger: Option<Linger>,
}

/// What is written in place of hyper's refusal.
struct Instead {
    bytes: Vec<u8>,
    written: usize,
}

impl<T> Refusals<T> {
    /// Over a connection of which `ahead` has been read; whoever takes its requests says so to `course`.
    pub(super) fn over(inner: T, ahead: BytesMut, course: Arc<Course>) -> Self {
        Self { inner, ahead, course, instead: None, linger: None }
    }
}

/// What stands for hyper's refusal, if the bytes begin as one does.
fn problem(refusal: &[u8]) -> Option<Problem> {
    let status = refusal.strip_prefix(b"HTTP/1.1 ").or_else(|| refusal.strip_prefix(b"HTTP/1.0 "))?.get(..3)?;
    let status = StatusCode::from_bytes(status).ok()?;
    let (title, detail) = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => (
            "The request's head is too large",
            format!("A head may have {MAX_HEAD} bytes and {MAX_HEADERS} headers at most; send fewer or shorter ones."),
        ),
        StatusCode::URI_TOO_LONG => {
            ("The request's target is too long", format!("With its headers it may have {MAX_HEAD} bytes at most."))
        }
        _ => ("The request cannot be read", "Its head is not that of an HTTP/1.1 or HTTP/1.0 request.".to_owned()),
    };
    Some(Problem::new(status, title, detail))
}

impl<T: Read + Write + Unpin> Write for Refusals<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.course.has_begun() {
            return Pin::new(&mut self.inner).poll_write(cx, bytes);
        }
        let this = &mut *self;
        if this.instead.is_none() {
            this.instead = problem(bytes).map(|problem| Instead { bytes: problem.into_last_response(), written: 0 });
        }
        let Some(instead) = &mut this.instead else {
            return Pin::new(&mut this.inner).poll_write(cx, bytes);
        };
        while let Some(rest) = instead.bytes.get(instead.written..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut this.inner).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => instead.written += written,
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.course.has_begun() {
            return Pin::new(&mut self.inner).poll_write_vectored(cx, parts);
        }
        let first = parts.iter().find(|part| !part.is_empty()).map_or(&[][..], |part| part);
        self.poll_write(cx, first)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
        }
        if this.instead.is_none() && !this.course.is_left_unread() {
            return Poll::Ready(Ok(()));
        }
        this.linger.get_or_insert_with(Linger::begin).poll(&mut this.inner, cx)
    }
}

impl<T: Read + Unpin> Read for Refusals<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let count = self.ahead.len().min(into.remaining());
            into.put_slice(&self.ahead.split_to(count));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_read(cx, into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_is_replaced() {
        let status = |bytes: &[u8]| problem(bytes).map(|problem| problem.status());
        assert_eq!(
            status(b"HTTP/1.1 431 Request Header Fields Too Large\r\n"),
            Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
        );
        assert_eq!(status(b"HTTP/1.0 400 Bad Request\r\n"), Some(StatusCode::BAD_REQUEST));
        assert_eq!(status(b"HTTP/1.1"), None);
        assert_eq!(status(b"\x80 anything else, HTTP/1.1 400"), None);
    }
}
