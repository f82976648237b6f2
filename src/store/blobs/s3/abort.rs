//! Gives up uploads in parts. What is not given up lies in the bucket, invisible and paid for.

use std::sync::Arc;
use std::time::SystemTime;

use super::Bucket;
use super::error::failed;
use crate::store::blobs::{BlobError, names};

/// An upload in parts that has not ended. Dropped, it is given up in the background: whoever wanted it is gone.
pub(super) struct Unfinished {
    bucket: Arc<Bucket>,
    name: String,
    id: String,
    given_up: bool,
}

impl Unfinished {
    pub(super) fn new(bucket: &Arc<Bucket>, name: &str, id: String) -> Self {
        Self { bucket: Arc::clone(bucket), name: name.to_owned(), id, given_up: false }
    }

    /// How the server calls it.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// There is nothing to give up any more.
    pub(super) fn finished(mut self) {
        self.given_up = true;
    }

    /// Gives it up now. A server that is away keeps it; [`before`] finds it later.
    pub(super) async fn abort(mut self) {
        abort(&self.bucket, &self.name, &self.id).await;
        // Not before: whoever waits for this may leave meanwhile.
        self.given_up = true;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if !self.given_up {
            let (bucket, name, id) = (Arc::clone(&self.bucket), self.name.clone(), self.id.clone());
            runtime.spawn(async move { abort(&bucket, &name, &id).await });
        }
    }
}

async fn abort(bucket: &Bucket, name: &str, id: &str) {
    let request = bucket.client.abort_multipart_upload().bucket(&bucket.name).key(name).upload_id(id);
    if let Err(error) = request.send().await {
        let error = failed("giving up an upload", error);
        tracing::warn!(name, place = bucket.place, %error, "an unfinished upload stays in the bucket for now");
    }
}

/// Gives up all uploads of ours that began before `moment`. Returns how many. The bucket may hold what others upload.
pub(super) async fn before(bucket: &Bucket, moment: SystemTime) -> Result<usize, BlobError> {
    let (mut key, mut id, mut given_up) = (None, None, 0);
    loop {
        let request = bucket.client.list_multipart_uploads().bucket(&bucket.name);
        let page = request.set_key_marker(key).set_upload_id_marker(id).send().await;
        let page = page.map_err(|error| failed(format!("listing unfinished uploads in {}", bucket.place), error))?;
        for upload in page.uploads() {
            let began = upload.initiated().and_then(|time| SystemTime::try_from(*time).ok());
            let old = began.is_some_and(|began| began < moment);
            let name = upload.key().filter(|name| names::is_ours(name));
            if let (true, Some(name), Some(id)) = (old, name, upload.upload_id()) {
                abort(bucket, name, id).await;
                given_up += 1;
            }
        }
        (key, id) = (page.next_key_marker, page.next_upload_id_marker);
        if page.is_truncated != Some(true) || key.is_none() {
            return Ok(given_up);
        }
    }
}
