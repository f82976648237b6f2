//! Receiving a body into the spool.
//!
//! An honest client is never cut off for being slow, and nobody holds a spool for ever: there is a bound for silence, and
//! after a while one for the average rate.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::StatusCode;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};

use super::super::error::Problem;
use super::too_large;
use crate::spool::{SpoolError, SpoolFolder, Spooled};

/// How long a client may send nothing.
const SILENCE: Duration = Duration::from_secs(30);

/// How long a client may be slower than [`SLOWEST`].
const SLOW_START: Duration = Duration::from_secs(60);

/// The slowest average rate after that, in bytes a second.
const SLOWEST: u64 = 1 << 10;

/// Spools a whole body of up to `limit` bytes.
///
/// # Errors
/// 400 when it breaks off, 408 when it is too slow, 413 when it is too long, 507 when there is no room.
pub(super) async fn receive(
    spool: &SpoolFolder,
    body: Body,
    declared: Option<u64>,
    limit: u64,
) -> Result<Spooled, Problem> {
    let stream = body.into_data_stream().map(|frame| frame.map_err(|error| error.to_string()));
    receive_stream(spool, stream, declared, limit).await
}

/// The same of any stream of frames.
pub(super) async fn receive_stream(
    spool: &SpoolFolder,
    stream: impl Stream<Item = Result<Bytes, String>>,
    declared: Option<u64>,
    limit: u64,
) -> Result<Spooled, Problem> {
    let (mut writer, _reader) = spool.create(declared, None).await.map_err(|error| no_room(&error))?;
    let (began, mut received) = (Instant::now(), 0_u64);
    let mut stream = std::pin::pin!(stream);
    let trouble = loop {
        let frame = match tokio::time::timeout(SILENCE, stream.next()).await {
            Err(_) => break too_slow(&format!("Nothing came for {} seconds", SILENCE.as_secs())),
            Ok(None) => return writer.complete().await.map_err(|error| no_room(&error)),
            Ok(Some(Err(why))) => break broke_off(&why),
            Ok(Some(Ok(frame))) => frame,
        };
        received += frame.len() as u64;
        if received > limit {
            break too_large(received, limit);
        }
        let elapsed = began.elapsed();
        if elapsed > SLOW_START && received / elapsed.as_secs().max(1) < SLOWEST {
            break too_slow(&format!("{received} bytes came in {} seconds", elapsed.as_secs()));
        }
        if let Err(error) = writer.append(frame).await {
            break no_room(&error);
        }
    };
    writer.abandon("the upload was not completed");
    Err(trouble)
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

fn too_slow(what: &str) -> Problem {
    Problem::new(
        StatusCode::REQUEST_TIMEOUT,
        "The upload is too slow",
        format!("{what}; nothing was kept. Send it again."),
    )
}

fn broke_off(why: &str) -> Problem {
    tracing::debug!(why, "an upload broke off");
    Problem::bad_request("The body broke off before its end; nothing was kept. Send it again.")
}
