//! What a server's refusal means to us.
//!
//! Servers differ in codes and agree in status, and the answer to a HEAD has no code at all. So codes are looked at
//! where they say more, and the status decides the rest.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::gate::NoAnswer;
use crate::store::blobs::{BlobError, BlobErrorKind};

/// A failed request as an error of ours.
pub(super) fn failed<E>(during: impl Into<String>, error: SdkError<E, HttpResponse>) -> BlobError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match kind_of(&error) {
        kind @ BlobErrorKind::Unavailable if status_of(&error).is_none() => {
            BlobError::new(kind, during, NoAnswer(Box::new(error)))
        }
        kind => BlobError::new(kind, during, error),
    }
}

/// The HTTP status, if there was an answer.
pub(super) fn status_of<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// Whether the answer says that there is no such object. A missing bucket is something else, where the server says so.
pub(super) fn is_absent<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    status_of(error) == Some(404) && error.code() != Some("NoSuchBucket")
}

fn kind_of<E>(error: &SdkError<E, HttpResponse>) -> BlobErrorKind
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error {
        SdkError::TimeoutError(_) => BlobErrorKind::Unavailable,
        // Before a connection is asked for, keys are; a chain that yields none ends here too.
        SdkError::DispatchFailure(failure) if failure.is_io() || failure.is_timeout() => BlobErrorKind::Unavailable,
        SdkError::DispatchFailure(_) if mentions_credentials(error) => BlobErrorKind::Denied,
        SdkError::DispatchFailure(_) => BlobErrorKind::Unavailable,
        _ => match status_of(error) {
            Some(status) => kind_of_answer(status, error.code()),
            None => BlobErrorKind::Other,
        },
    }
}

fn kind_of_answer(status: u16, code: Option<&str>) -> BlobErrorKind {
    match (code.map_or(BlobErrorKind::Other, kind_of_code), status) {
        (BlobErrorKind::Other, 401 | 403) => BlobErrorKind::Denied,
        (BlobErrorKind::Other, 404) => BlobErrorKind::Missing,
        (BlobErrorKind::Other, 507) => BlobErrorKind::Full,
        (BlobErrorKind::Other, 408 | 429 | 500..=599) => BlobErrorKind::Unavailable,
        (kind, _) => kind,
    }
}

/// What an error code means, as far as it is not clear from the status it comes with.
pub(super) fn kind_of_code(code: &str) -> BlobErrorKind {
    match code {
        "NoSuchBucket" => BlobErrorKind::Missing,
        "AccessDenied" => BlobErrorKind::Denied,
        "InternalError" | "SlowDown" | "RequestTimeout" | "ServiceUnavailable" => BlobErrorKind::Unavailable,
        "QuotaExceeded" | "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded" | "InsufficientCapacity" => {
            BlobErrorKind::Full
        }
        _ => BlobErrorKind::Other,
    }
}

/// Whether nothing was asked, because there were no keys to ask with.
#[must_use]
pub fn lacks_credentials(error: &BlobError) -> bool {
    error.kind == BlobErrorKind::Denied && mentions_credentials(error)
}

/// Whether this is about keys that the AWS chain did not find. The SDK has no kind for it, only words.
fn mentions_credentials(error: &dyn std::error::Error) -> bool {
    let mut causes = std::iter::successors(error.source(), |error| error.source());
    causes.any(|cause| cause.to_string().contains("credential"))
}
