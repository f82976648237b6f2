//! Finds what is recorded with an object, wherever it is recorded.

use artifactapi_formats::Sha256;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;

use super::error::{failed, is_absent};
use super::{Bucket, download, metadata};
use crate::store::blobs::{BlobAbout, BlobError, BlobErrorKind, names, record};
use crate::store::key::BlobKey;

/// What a HEAD says of an object.
pub(super) struct Found {
    pub(super) size: u64,
    /// `None` for an object that we did not write.
    pub(super) sha256: Option<Sha256>,
    head: HeadObjectOutput,
}

/// Looks for the object called `name`.
pub(super) async fn find(bucket: &Bucket, name: &str, during: &str) -> Result<Option<Found>, BlobError> {
    match bucket.client.head_object().bucket(&bucket.name).key(name).send().await {
        Ok(head) => {
            let size = head.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or(0);
            Ok(Some(Found { size, sha256: metadata::sha256(head.metadata()), head }))
        }
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(failed(during, error)),
    }
}

/// The key and the record of the object called `name`. `None` if there is no such object, or not one of ours.
pub(super) async fn record(
    bucket: &Bucket,
    name: &str,
    during: &str,
) -> Result<Option<(BlobKey, BlobAbout)>, BlobError> {
    let Some(found) = find(bucket, name, during).await? else {
        return Ok(None);
    };
    let recorded = if metadata::is_aside(found.head.metadata()) {
        aside(bucket, name, &found, during).await?
    } else {
        let key = metadata::key(found.head.metadata()).or_else(|| names::key_of(name));
        key.zip(metadata::about(found.head.metadata(), found.size, found.head.content_type()))
    };
    Ok(recorded.filter(|(key, _)| names::name_of(key) == name))
}

async fn aside(
    bucket: &Bucket,
    name: &str,
    found: &Found,
    during: &str,
) -> Result<Option<(BlobKey, BlobAbout)>, BlobError> {
    let Some(json) = download::small(bucket, &metadata::aside_name(name), during).await? else {
        return Ok(None);
    };
    let damaged = |source| BlobError::new(BlobErrorKind::Damaged, during, source);
    let (key, about) = record::read(&json).map_err(damaged)?;
    let Some(sha256) = found.sha256 else {
        return Ok(None);
    };
    if about.sha256 == sha256 && about.size == found.size {
        return Ok(Some((key, about)));
    }
    // Two writers raced; one won with its bytes and the other with its record. Path and query follow from the key, so
    // they are right; what upstream said belongs to the other's bytes.
    let (upstream_etag, upstream_last_modified) = (None, None);
    Ok(Some((key, BlobAbout { sha256, size: found.size, upstream_etag, upstream_last_modified, ..about })))
}
