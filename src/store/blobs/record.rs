//! A blob's record as JSON: what [`BlobAbout`] says, and the key.
//!
//! The file store writes one beside every blob; the S3 store only where it does not fit into an object's metadata. It
//! is read by operators and by later versions of this server, so fields may be added and never change their meaning.

use std::time::{Duration, SystemTime};

use artifactapi_formats::Sha256;
use serde::{Deserialize, Serialize};

use super::BlobAbout;
use crate::store::key::{BlobKey, RepositoryName};

/// The largest record read back, in bytes. One that was written is far smaller: it holds one path and one query.
pub(super) const MAX_RECORD: u64 = 256 << 10;

#[derive(Serialize, Deserialize)]
struct Record {
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    repository: Option<String>,
    path: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    query: String,
    size: u64,
    sha256: String,
    content_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upstream_etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upstream_last_modified: Option<String>,
    stored_at_ms: u64,
}

/// The record of a blob.
pub(super) fn write(key: &BlobKey, about: &BlobAbout) -> Vec<u8> {
    let record = Record {
        key: key.to_string(),
        repository: about.repository.as_ref().map(ToString::to_string),
        path: about.path.clone(),
        query: about.query.clone(),
        size: about.size,
        sha256: about.sha256.hex(),
        content_type: about.content_type.clone(),
        upstream_etag: about.upstream_etag.clone(),
        upstream_last_modified: about.upstream_last_modified.clone(),
        stored_at_ms: milliseconds(about.stored_at),
    };
    // Strings and numbers only: there is nothing in it that JSON could refuse.
    serde_json::to_vec_pretty(&record).unwrap_or_default()
}

/// What a record says.
pub(super) fn read(json: &[u8]) -> Result<(BlobKey, BlobAbout), InvalidRecord> {
    let record: Record = serde_json::from_slice(json)?;
    let repository = record.repository.as_deref().map(str::parse::<RepositoryName>).transpose();
    let about = BlobAbout {
        repository: repository.map_err(|_| InvalidRecord::Field("repository"))?,
        path: record.path,
        query: record.query,
        size: record.size,
        sha256: record.sha256.parse::<Sha256>().map_err(|_| InvalidRecord::Field("sha256"))?,
        content_type: record.content_type,
        upstream_etag: record.upstream_etag,
        upstream_last_modified: record.upstream_last_modified,
        stored_at: at_milliseconds(record.stored_at_ms),
    };
    Ok((record.key.parse().map_err(|_| InvalidRecord::Field("key"))?, about))
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidRecord {
    #[error("the blob's record is not what this server writes: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the blob's record has an unusable `{0}`")]
    Field(&'static str),
}

/// Whole milliseconds since 1970; earlier times are 1970.
pub(super) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The inverse of [`milliseconds`]. A time that no clock can hold is 1970.
pub(super) fn at_milliseconds(milliseconds: u64) -> SystemTime {
    let since = Duration::from_millis(milliseconds);
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}
