//! Lists and deletes objects, a page at a time.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::{Delete, Object, ObjectIdentifier};
use futures_util::stream::{self, BoxStream, StreamExt as _};

use super::error::{failed, is_absent, kind_of_code, status_of};
use super::{Bucket, lookup, metadata};
use crate::store::blobs::{BlobError, BlobErrorKind, BlobListing, Undeleted, names};
use crate::store::key::BlobKey;

/// How many keys one request deletes. Each is two names, its object's and that of a record aside. A thousand are allowed,
/// but some servers take seconds for so many.
pub(super) const DELETED_AT_ONCE: usize = 200;

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

/// Deletes a batch of blobs and their records; what was refused of it.
pub(super) async fn delete(bucket: &Bucket, keys: &[BlobKey], during: &str) -> Result<Option<Undeleted>, BlobError> {
    let invalid = |error| BlobError::new(BlobErrorKind::Other, during, error);
    let names = keys.iter().map(names::name_of).flat_map(|name| [metadata::aside_name(&name), name]);
    let names: Vec<String> = names.collect();
    let objects = names.iter().map(|name| ObjectIdentifier::builder().key(name).build()).collect::<Result<_, _>>();
    let batch = Delete::builder().set_objects(Some(objects.map_err(invalid)?)).quiet(true).build().map_err(invalid)?;
    let answer = match bucket.client.delete_objects().bucket(&bucket.name).delete(batch).send().await {
        Ok(answer) => answer,
        // Some servers have no such request, and older ones want a digest with it that is not sent any more.
        Err(error) if matches!(status_of(&error), Some(400 | 405 | 501)) => {
            let refused = delete_each(bucket, &names, during).await?;
            return Ok(undeleted(keys, refused));
        }
        Err(error) => return Err(failed(during, error)),
    };
    let refused = answer.errors().iter().filter(|error| error.code() != Some("NoSuchKey")).map(|refused| {
        let (code, message) = (refused.code().unwrap_or("?"), refused.message().unwrap_or_default());
        let name = refused.key().unwrap_or_default();
        (name.to_owned(), BlobError::new(kind_of_code(code), during, format!("{name}: {code} {message}")))
    });
    Ok(undeleted(keys, refused.collect()))
}

/// Deletes one object after the other; which were refused, and why. Without an answer to one the rest is not tried.
async fn delete_each(bucket: &Bucket, names: &[String], during: &str) -> Result<Vec<(String, BlobError)>, BlobError> {
    let delete =
        |name: String| async { (bucket.client.delete_object().bucket(&bucket.name).key(&name).send().await, name) };
    let mut answers = stream::iter(names.to_vec()).map(delete).buffer_unordered(DELETES_AT_ONCE);
    let mut refused = Vec::new();
    while let Some((answer, name)) = answers.next().await {
        match answer {
            Err(error) if status_of(&error).is_none() => return Err(failed(during, error)),
            Err(error) if !is_absent(&error) => refused.push((name, failed(during, error))),
            _ => {}
        }
    }
    Ok(refused)
}

/// The blobs of a batch whose objects were refused. All of them, if one was refused under a name that is none of theirs.
fn undeleted(keys: &[BlobKey], refused: Vec<(String, BlobError)>) -> Option<Undeleted> {
    let mut left: BTreeSet<&str> = refused.iter().map(|(name, _)| name.as_str()).collect();
    let is_left = |key: &&BlobKey| {
        let name = names::name_of(key);
        // Both are looked for, whatever the first look says.
        left.remove(&*metadata::aside_name(&name)) | left.remove(&*name)
    };
    let refused_keys: Vec<BlobKey> = keys.iter().filter(is_left).cloned().collect();
    let keys = if left.is_empty() { refused_keys } else { keys.to_vec() };
    let (_, error) = refused.into_iter().next()?;
    Some(Undeleted { keys, error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_keeps_no_other() {
        let keys: Vec<BlobKey> = ["r/a", "r/b", "r/c"].map(|key| key.parse().expect("a key")).to_vec();
        let refused = |names: &[&str]| {
            let error = || BlobError::new(BlobErrorKind::Denied, "testing", "refused");
            let refused = names.iter().map(|name| ((*name).to_owned(), error())).collect();
            undeleted(&keys, refused).map(|undeleted| undeleted.keys)
        };
        assert_eq!(refused(&[]), None);
        assert_eq!(refused(&[&names::name_of(&keys[1])]), Some(keys[1..2].to_vec()));
        let aside = metadata::aside_name(&names::name_of(&keys[2]));
        assert_eq!(refused(&[&aside, &names::name_of(&keys[2])]), Some(keys[2..].to_vec()), "or its record");
        assert_eq!(refused(&[&aside, "another"]), Some(keys.clone()), "nobody knows whose it is");
    }
}
