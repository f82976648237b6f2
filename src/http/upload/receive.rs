//! Receiving a body into the spool.
//!
//! How slow a client may be is the body's own affair ([`crate::patience`]). What it holds meanwhile is little: what came is
//! written down when nothing follows, and room on the disk is taken as bytes come, whatever was declared. So thousands that
//! declare much and send little keep nobody else from uploading.

use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};

use super::super::error::Problem;
use super::super::heard;
use crate::spool::{SpoolError, SpoolFolder, Spooled};

/// What came is kept in memory for so long at most, waiting for more to be written with it.
const HELD: Duration = Duration::from_secs(1);

/// Spools a whole body. `count` is told of the length of what has come, before it is kept, and may refuse it.
///
/// # Errors
/// 400 when it breaks off, 408 when it is too slow, 507 when there is no room on the disk, and what `count` says.
pub(super) async fn receive(
    spool: &SpoolFolder,
    body: Body,
    declared: Option<u64>,
    count: impl FnMut(u64) -> Result<(), Problem>,
) -> Result<Spooled, Problem> {
    let stream = body.into_data_stream().map(|frame| frame.map_err(|error| unheard(&error)));
    receive_stream(spool, stream, declared, count).await
}

/// The same of any stream of frames.
pub(super) async fn receive_stream(
    spool: &SpoolFolder,
    stream: impl Stream<Item = Result<Bytes, Problem>>,
    declared: Option<u64>,
    mut count: impl FnMut(u64) -> Result<(), Problem>,
) -> Result<Spooled, Problem> {
    let mut writer = spool.create_declared(declared).await.map_err(|error| no_room(&error))?;
    let mut stream = std::pin::pin!(stream);
    let trouble = loop {
        let next = match tokio::time::timeout(HELD, stream.next()).await {
            Ok(next) => next,
            Err(_) => match writer.flush().await {
                Ok(()) => stream.next().await,
                Err(error) => break no_room(&error),
            },
        };
        let frame = match next {
            None => return writer.complete().await.map_err(|error| no_room(&error)),
            Some(Err(trouble)) => break trouble,
            Some(Ok(frame)) => frame,
        };
        if let Err(trouble) = count(frame.len() as u64) {
            break trouble;
        }
        if let Err(error) = writer.append(frame).await {
            break no_room(&error);
        }
    };
    writer.abandon("the upload was not completed");
    Err(trouble)
}

/// Why a body has no further frame.
pub(super) fn unheard(error: &(dyn std::error::Error + 'static)) -> Problem {
    match heard::too_slow(error) {
        Some(why) => Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "The upload is too slow",
            format!("Of the body, {why}. Nothing was kept; send it again."),
        ),
        None => {
            tracing::debug!(why = %error, "an upload broke off");
            Problem::bad_request("The body broke off before its end; nothing was kept. Send it again.")
        }
    }
}

fn no_room(error: &SpoolError) -> Problem {
    match error {
        SpoolError::Full => Problem::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "The disk is full",
            "There is no room for the file; nothing was kept.",
        ),
        error => Problem::unavailable("The file could not be written; nothing was kept.", error),
    }
}
