//! Blobs in a bucket of an S3-compatible store.
//!
//! An object's name is the blob's key (see the module `names` for the exceptions), its metadata the blob's record. What
//! is assumed of the server is what all of them have in common: an object appears whole or not at all, and the metadata
//! of an answer belongs to the bytes of that answer. What is *not* assumed:
//! - **that If-None-Match is honoured.** It is sent where the server takes it, and saves an upload when somebody was
//!   faster. A server that ignores it lets the later of two racing writers win; the digest in the metadata of each
//!   answer then tells every reader which bytes it was given.
//! - **that the server compares the body with a signature.** Each request with a body carries the SHA-256 of that body.
//!
//! No request is bounded in its whole length, only in connecting, in waiting and in standing still. Nothing is cached
//! here, and no more than a few pieces of a file are in memory per transfer.

mod abort;
mod body;
mod download;
mod error;
mod gate;
mod list;
mod lookup;
mod metadata;
#[cfg(test)]
mod other_servers;
mod settings;
#[cfg(test)]
pub(super) mod tests;
mod upload;
#[cfg(test)]
pub(super) mod weed;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use futures_util::stream::BoxStream;

use self::error::failed;
pub use self::error::lacks_credentials;
use self::gate::Gate;
pub use self::settings::{InvalidSettings, S3Keys, S3Settings};
use self::upload::Upload;
use super::{BlobAbout, BlobError, BlobListing, BlobRead, BlobStore, Undeleted, Written, names};
use crate::spool::Spooled;
use crate::store::key::BlobKey;

/// A download that began is the server's to finish or to cut when its object is deleted; few take as long as this.
const GRACE: Duration = Duration::from_secs(3_600);

/// A [`BlobStore`] in a bucket. Cheap to clone.
#[derive(Debug, Clone)]
pub struct S3Blobs {
    bucket: Arc<Bucket>,
}

/// The bucket and how to talk to it.
#[derive(Debug)]
struct Bucket {
    /// For requests whose answer begins soon.
    client: Client,
    /// For requests with a body, which are watched instead.
    uploads: Client,
    name: String,
    /// `bucket x at http://…`, for messages.
    place: String,
    /// Whether the server takes If-None-Match. It does until it says that it does not.
    conditional: AtomicBool,
    gate: Gate,
}

impl S3Blobs {
    /// Prepares the client. Sends nothing yet: the store may be away when the server starts. [`BlobStore::ping`] asks.
    ///
    /// # Errors
    /// When the settings cannot be right.
    pub async fn new(settings: &S3Settings) -> Result<Self, InvalidSettings> {
        let endpoint = settings.endpoint_url()?;
        let config = settings.client_config(endpoint.as_deref()).await;
        let bucket = Bucket {
            uploads: Client::from_conf(settings::for_uploads(&config)),
            client: Client::from_conf(config),
            name: settings.bucket.clone(),
            place: format!("bucket {} at {}", settings.bucket, endpoint.as_deref().unwrap_or("AWS")),
            conditional: AtomicBool::new(true),
            gate: Gate::default(),
        };
        Ok(Self { bucket: Arc::new(bucket) })
    }
}

#[async_trait]
impl BlobStore for S3Blobs {
    async fn read(&self, key: &BlobKey, range: Option<Range<u64>>) -> Result<Option<BlobRead>, BlobError> {
        let during = self.bucket.during("reading", key);
        self.bucket.gate.guard(&during, download::read(&self.bucket, key, range, &during)).await
    }

    async fn about(&self, key: &BlobKey) -> Result<Option<BlobAbout>, BlobError> {
        let during = self.bucket.during("reading the record of", key);
        let name = names::name_of(key);
        let recorded = self.bucket.gate.guard(&during, lookup::record(&self.bucket, &name, &during)).await?;
        Ok(recorded.map(|(_, about)| about))
    }

    async fn write(&self, key: &BlobKey, spooled: &Spooled, about: &BlobAbout) -> Result<Written, BlobError> {
        let (during, name) = (self.bucket.during("writing", key), names::name_of(key));
        let upload = Upload { bucket: &self.bucket, key, name: &name, spooled, about, during: &during };
        self.bucket.gate.guard(&during, Box::pin(upload.run())).await
    }

    async fn delete(&self, keys: &[BlobKey]) -> Result<(), Undeleted> {
        let during = format!("deleting {} blobs from {}", keys.len(), self.bucket.place);
        let mut undeleted = None;
        for batch in keys.chunks(list::DELETED_AT_ONCE) {
            let deleting = self.bucket.gate.guard(&during, list::delete(&self.bucket, batch, &during));
            let refused = deleting.await.unwrap_or_else(|error| Some(Undeleted::all(batch, error)));
            undeleted = refused.map(|refused| refused.after(undeleted.take())).or(undeleted);
        }
        undeleted.map_or(Ok(()), Err)
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobListing, BlobError>> {
        list::list(&self.bucket, prefix)
    }

    fn grace(&self) -> Duration {
        GRACE
    }

    /// Gives up multipart uploads: what killed processes left, which costs space and is invisible.
    async fn tidy(&self, age: Duration) -> Result<usize, BlobError> {
        let before = SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
        // Beside the gate: nobody waits for it.
        abort::before(&self.bucket, before).await
    }

    /// Asks even when the gate is closed, and opens it if there is an answer.
    async fn ping(&self) -> Result<(), BlobError> {
        let asked = self.bucket.client.head_bucket().bucket(&self.bucket.name).send().await;
        let asked = asked.map(drop).map_err(|error| failed(format!("asking for {}", self.bucket.place), error));
        self.bucket.gate.note(&asked, Instant::now());
        asked
    }
}

impl Bucket {
    /// `reading github/ab12…/x.tar.gz in bucket b at http://…`
    fn during(&self, what: &str, key: &BlobKey) -> String {
        format!("{what} {key} in {}", self.place)
    }
}
