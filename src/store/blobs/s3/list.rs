//! Lists and deletes objects, a page at a time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::{Delete, Object, ObjectIdentifier};
use futures_util::stream::{self, BoxStream, StreamExt as _};

use super::error::{failed, is_absent, kind_of_code, status_of};
use super::{Bucket, lookup, metadata};
use crate::store::blobs::{BlobError, BlobErrorKind, BlobListing, names};
use crate::store::key::BlobKey;

/// How many keys one request deletes. Each is two names, its object's and that of a record aside. A thousand are allowed,
/// but some servers take seconds for so many.
const DELETED_AT_ONCE: usize = 200;

/// How many single deletes are on their way at once, at servers that have nothing better.
const DELETES_AT_ONCE: usize = 8;

/// Every blob whose key starts with `prefix`.
pub(super) fn list<'a>(bucket: &Arc<Bucket>, prefix: &'a str) -> BoxStream<'a, Result<BlobListing, BlobError>> {
    let listing = Listing { bucket: Arc::clone(bucket), prefix, next_page: Some(None), objects: VecDeque::new() };
    stream::unfold(listing, |mut listing| async move { Some((listing.next().await?, listing)) }).boxed()
}

struct Listing<'a> {
    bucket: Arc<Bucket>,
    prefix: &'a str,
    /// Where the next page begins: at the start, or where the last one says. `None` after the last page or an error.
    next_page: Option<Option<String>>,
    objects: VecDeque<Object>,
}

impl Listing<'_> {
    async fn next(&mut self) -> Option<Result<BlobListing, BlobError>> {
        loop {
            match self.objects.pop_front() {
                Some(object) => match self.row(&object).await {
                    Ok(None) => {}
                    Ok(Some(row)) => return Some(Ok(row)),
                    Err(error) => return Some(Err(self.ended_by(error))),
                },
                None => {
                    let token = self.next_page.take()?;
                    match self.page(token).await {
                        Ok(page) => {
                            // A page may be empty and not the last.
                            self.next_page = page.next_continuation_token.map(Some);
                            self.objects = page.contents.unwrap_or_default().into();
                        }
                        Err(error) => return Some(Err(error)),
                    }
                }
            }
        }
    }

    fn ended_by(&mut self, error: BlobError) -> BlobError {
        self.objects.clear();
        self.next_page = None;
        error
    }

    async fn page(&self, token: Option<String>) -> Result<ListObjectsV2Output, BlobError> {
        let folder = names::folder_of_prefix(self.prefix);
        let request = self.bucket.client.list_objects_v2().bucket(&self.bucket.name).prefix(folder);
        let during = format!("listing {:?} in {}", self.prefix, self.bucket.place);
        let page = async { request.set_continuation_token(token).send().await.map_err(|error| failed(&during, error)) };
        self.bucket.gate.guard(&during, page).await
    }

    /// The row for an object; `None` if it is none of ours or its key does not start as asked.
    async fn row(&self, object: &Object) -> Result<Option<BlobListing>, BlobError> {
        let Some(name) = object.key().filter(|name| !name.starts_with(metadata::ASIDE)) else {
            return Ok(None);
        };
        let key = if names::is_escaped(name) {
            let during = format!("looking up the key of {name} in {}", self.bucket.place);
            lookup::record(&self.bucket, name, &during).await?.map(|(key, _)| key)
        } else {
            names::key_of(name)
        };
        let Some(key) = key.filter(|key| key.as_str().starts_with(self.prefix)) else {
            return Ok(None);
        };
        let size = object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
        let modified = object.last_modified().and_then(|time| SystemTime::try_from(*time).ok());
        Ok(Some(BlobListing { key, size, modified: modified.unwrap_or(SystemTime::UNIX_EPOCH) }))
    }
}

/// Deletes blobs and their records, in batches.
pub(super) async fn delete(bucket: &Bucket, keys: &[BlobKey], during: &str) -> Result<(), BlobError> {
    for batch in keys.chunks(DELETED_AT_ONCE) {
        delete_batch(bucket, batch, during).await?;
    }
    Ok(())
}

async fn delete_batch(bucket: &Bucket, keys: &[BlobKey], during: &str) -> Result<(), BlobError> {
    let invalid = |error| BlobError::new(BlobErrorKind::Other, during, error);
    let names: Vec<String> =
        keys.iter().map(names::name_of).flat_map(|name| [metadata::aside_name(&name), name]).collect();
    let objects = names.iter().map(|name| ObjectIdentifier::builder().key(name).build()).collect::<Result<_, _>>();
    let batch = Delete::builder().set_objects(Some(objects.map_err(invalid)?)).quiet(true).build().map_err(invalid)?;
    let answer = match bucket.client.delete_objects().bucket(&bucket.name).delete(batch).send().await {
        Ok(answer) => answer,
        // Some servers have no such request, and older ones want a digest with it that is not sent any more.
        Err(error) if matches!(status_of(&error), Some(400 | 405 | 501)) => {
            return delete_each(bucket, &names, during).await;
        }
        Err(error) => return Err(failed(during, error)),
    };
    match answer.errors().iter().find(|error| error.code() != Some("NoSuchKey")) {
        None => Ok(()),
        Some(refused) => {
            let (code, message) = (refused.code().unwrap_or("?"), refused.message().unwrap_or_default());
            let why = format!("{}: {code} {message}", refused.key().unwrap_or_default());
            Err(BlobError::new(kind_of_code(code), during, why))
        }
    }
}

async fn delete_each(bucket: &Bucket, names: &[String], during: &str) -> Result<(), BlobError> {
    let delete = |name: String| bucket.client.delete_object().bucket(&bucket.name).key(name).send();
    let mut answers = stream::iter(names.to_vec()).map(delete).buffer_unordered(DELETES_AT_ONCE);
    while let Some(answer) = answers.next().await {
        match answer {
            Err(error) if !is_absent(&error) => return Err(failed(during, error)),
            _ => {}
        }
    }
    Ok(())
}
