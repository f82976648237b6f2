//! The parts of a form, bounded: what stands before and between files is small, and comes in time.
//!
//! The library that takes a form apart reads on until it has found what it looks for, and keeps what it has read. So the body is
//! handed to it one frame at a time, and no more of them than fit within [`MAX_HEAD`] while it looks for the next part. What is
//! within a file is read as it comes, and bounded by who receives it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, Bytes};
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest as _, Multipart, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use futures_util::{Stream, StreamExt as _};

use super::receive::unheard;
use crate::http::error::Problem;
use crate::http::heard::too_slow;

/// The longest that may come before the content of a part: the line between parts and the part's own headers. In bytes.
const MAX_HEAD: u64 = 64 << 10;

/// The longest text of a field that is no file, in bytes. Nothing is made of such fields; forms of browsers have them.
const MAX_TEXT: u64 = 64 << 10;

/// The most parts of a form, files and others.
const MAX_PARTS: usize = 512;

/// How long a client may take for what comes before a part's content, and for a field that is no file.
const PATIENCE: Duration = Duration::from_secs(30);

/// A form that is being read.
pub(super) struct Parts {
    form: Multipart,
    meter: Arc<Meter>,
    seen: usize,
}

/// A part of which the headers have been read.
pub(super) struct Part<'p> {
    field: Field<'p>,
    meter: Arc<Meter>,
}

impl Parts {
    /// The form in the body of a request.
    ///
    /// # Errors
    /// 415 when the headers do not say that there is one, 400 when they do not say where its parts end.
    pub(super) async fn of(request: Request) -> Result<Self, Problem> {
        if !is_form(request.headers()) {
            let detail =
                "What is POSTed to a folder is a form: send one (curl -F file=@FILE), or PUT the file (curl -T FILE).";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body is no form", detail));
        }
        let meter = Arc::new(Meter::default());
        let metered = Arc::clone(&meter);
        let form = Multipart::from_request(request.map(|body| one_at_a_time(body, metered)), &()).await;
        let form =
            form.map_err(|why| Problem::new(why.status(), "The body is no form", format!("{}.", why.body_text())))?;
        Ok(Self { form, meter, seen: 0 })
    }

    /// The next part; `None` at the end of the form.
    ///
    /// # Errors
    /// 400 when the form breaks off or has too many parts, 408 when the part does not come, 413 when its headers are too long.
    pub(super) async fn next(&mut self) -> Result<Option<Part<'_>>, Problem> {
        self.meter.allow(MAX_HEAD);
        let found = in_time(self.form.next_field()).await?;
        let found = found.map_err(|why| self.meter.trouble(&why, "What comes before a part's content", MAX_HEAD))?;
        self.seen += 1;
        if self.seen > MAX_PARTS {
            return Err(Problem::bad_request(format!(
                "A form may have up to {MAX_PARTS} parts; send the rest in another."
            )));
        }
        Ok(found.map(|field| Part { field, meter: Arc::clone(&self.meter) }))
    }
}

impl Part<'_> {
    /// What the file is called, if it is one.
    pub(super) fn file_name(&self) -> Option<&str> {
        self.field.file_name()
    }

    /// What is said of it alone.
    pub(super) fn headers(&self) -> &HeaderMap {
        self.field.headers()
    }

    /// The content of a file, however long.
    pub(super) fn content(self) -> impl Stream<Item = Result<Bytes, Problem>> {
        self.meter.allow(u64::MAX);
        self.field.map(|frame| frame.map_err(|why| unheard(&why)))
    }

    /// Reads what is no file, and forgets it.
    ///
    /// # Errors
    /// 400 when the form breaks off, 408 when it does not come, 413 when it is too long.
    pub(super) async fn pass_over(mut self) -> Result<(), Problem> {
        self.meter.allow(MAX_TEXT);
        let reading = async {
            while self.field.chunk().await?.is_some() {}
            Ok(())
        };
        in_time(reading).await?.map_err(|why| self.meter.trouble(&why, "A field that is no file", MAX_TEXT))
    }
}

/// Whether the body is declared to be a form with parts; media types are the same in small and in large letters.
fn is_form(headers: &HeaderMap) -> bool {
    let declared = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    declared.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("multipart/form-data")
}

/// How many bytes have been handed on since the last of these began, and how many may be.
#[derive(Debug, Default)]
struct Meter {
    given: AtomicU64,
    most: AtomicU64,
}

impl Meter {
    fn allow(&self, most: u64) {
        self.given.store(0, Ordering::Relaxed);
        self.most.store(most, Ordering::Relaxed);
    }

    fn is_used_up(&self) -> bool {
        self.given.load(Ordering::Relaxed) >= self.most.load(Ordering::Relaxed)
    }

    fn trouble(&self, why: &MultipartError, what: &str, most: u64) -> Problem {
        if too_slow(why).is_some() {
            return unheard(why);
        }
        if !self.is_used_up() {
            let why = why.body_text();
            return Problem::bad_request(format!("The form breaks off or cannot be read: {why}."));
        }
        let detail = format!("{what} may have up to {most} bytes.");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "A part of the form is too large", detail)
    }
}

/// A body that gives one frame and then lets its reader look at it: the library would else take all that there is.
fn one_at_a_time(body: Body, meter: Arc<Meter>) -> Body {
    let (mut frames, mut rests) = (body.into_data_stream(), false);
    Body::from_stream(futures_util::stream::poll_fn(move |context| {
        if std::mem::replace(&mut rests, false) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if meter.is_used_up() {
            return Poll::Ready(Some(Err::<Bytes, BoxError>("it is too long".into())));
        }
        let next = frames.poll_next_unpin(context);
        if let Poll::Ready(Some(Ok(frame))) = &next {
            meter.given.fetch_add(frame.len() as u64, Ordering::Relaxed);
            rests = true;
        }
        next.map_err(Into::into)
    }))
}

async fn in_time<T>(work: impl Future<Output = T>) -> Result<T, Problem> {
    tokio::time::timeout(PATIENCE, work).await.map_err(|_| {
        let detail =
            format!("The next part of the form was not there after {} seconds; nothing was kept.", PATIENCE.as_secs());
        Problem::new(StatusCode::REQUEST_TIMEOUT, "The upload is too slow", detail)
    })
}
