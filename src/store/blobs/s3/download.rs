//! Reads an object, or a part of one.
//!
//! Size and digest are taken from the answer that carries the bytes, never from an earlier question: between two
//! requests the object may have become another one.

use std::ops::Range;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use tokio::time::timeout;

use super::body::{IDLE_TIMEOUT, Stalled};
use super::error::{failed, is_absent};
use super::{Bucket, lookup, metadata};
use crate::store::blobs::record::MAX_RECORD;
use crate::store::blobs::{BlobBody, BlobError, BlobErrorKind, BlobRead, names};
use crate::store::key::BlobKey;

/// Opens the blob under `key`.
pub(super) async fn read(
    bucket: &Bucket,
    key: &BlobKey,
    range: Option<Range<u64>>,
    during: &str,
) -> Result<Option<BlobRead>, BlobError> {
    let name = names::name_of(key);
    if let Some(nothing) = range.clone().filter(Range::is_empty) {
        // HTTP has no way to ask for no bytes.
        let found = lookup::find(bucket, &name, during).await?;
        let body = || BlobBody::Stream { range: nothing, bytes: stream::empty().boxed() };
        return Ok(found.map(|found| BlobRead { size: found.size, sha256: found.sha256, body: body() }));
    }
    let Some(answer) = get(bucket, &name, range.as_ref(), during).await? else {
        return Ok(None);
    };
    let sha256 = metadata::sha256(answer.metadata());
    let length = answer.content_length().and_then(|length| u64::try_from(length).ok());
    // A server that does not know ranges sends the whole, without a Content-Range.
    let covered = match (answer.content_range(), length) {
        (Some(text), _) => content_range(text),
        (None, Some(length)) => Some((0..length, length)),
        (None, None) => None,
    };
    let Some((range, size)) = covered else {
        let why = "the answer does not say how long the object is";
        return Err(BlobError::new(BlobErrorKind::Other, during, why));
    };
    let bytes = transfer(answer.body, during.to_owned());
    Ok(Some(BlobRead { size, sha256, body: BlobBody::Stream { range, bytes } }))
}

/// Reads a record that lies aside.
pub(super) async fn small(bucket: &Bucket, name: &str, during: &str) -> Result<Option<Vec<u8>>, BlobError> {
    let Some(answer) = get(bucket, name, None, during).await? else {
        return Ok(None);
    };
    let (mut body, mut whole) = (answer.body, Vec::new());
    while let Some(piece) = next(&mut body, during).await {
        whole.extend_from_slice(&piece?);
        if whole.len() as u64 > MAX_RECORD {
            return Err(BlobError::new(BlobErrorKind::Damaged, during, "the record is longer than any we write"));
        }
    }
    Ok(Some(whole))
}

async fn get(
    bucket: &Bucket,
    name: &str,
    range: Option<&Range<u64>>,
    during: &str,
) -> Result<Option<GetObjectOutput>, BlobError> {
    let range = range.map(|range| format!("bytes={}-{}", range.start, range.end - 1));
    match bucket.client.get_object().bucket(&bucket.name).key(name).set_range(range).send().await {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(failed(during, error)),
    }
}

/// The body as a stream that ends after its first error. A body that is shorter than announced is an error, too.
fn transfer(body: ByteStream, during: String) -> BoxStream<'static, Result<Bytes, BlobError>> {
    stream::unfold(Some(body), move |body| {
        let during = during.clone();
        async move {
            let mut body = body?;
            let piece = next(&mut body, &during).await?;
            let rest = piece.is_ok().then_some(body);
            Some((piece, rest))
        }
    })
    .boxed()
}

async fn next(body: &mut ByteStream, during: &str) -> Option<Result<Bytes, BlobError>> {
    match timeout(IDLE_TIMEOUT, body.next()).await {
        Ok(None) => None,
        Ok(Some(Ok(piece))) => Some(Ok(piece)),
        Ok(Some(Err(error))) => Some(Err(BlobError::new(BlobErrorKind::Unavailable, during, error))),
        Err(_) => Some(Err(BlobError::new(BlobErrorKind::Unavailable, during, Stalled))),
    }
}

/// What `bytes 5-9/20` covers, and the length of the whole.
fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let range = first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?;
    (!range.is_empty()).then_some((range, size.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        assert_eq!(content_range("bytes 5-9/20"), Some((5..10, 20)));
        for bad in ["", "bytes */20", "bytes 5-9/*", "bytes 9-5/20", "5-9/20", "bytes 0-18446744073709551615/20"] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
