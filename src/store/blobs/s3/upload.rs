//! Sends a spooled file: in one request, or in parts when it is large.
//!
//! Either way the object appears when the last request is answered, and not before. Every request with a body carries
//! the SHA-256 of that body, so that a byte that changed on the way is refused by the server. An upload in parts that
//! cannot be ended is given up, also when whoever wanted it is gone.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use artifactapi_formats::Sha256;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use sha2::Digest as _;

use super::abort::Unfinished;
use super::body::{Moved, Stalled, body, watched};
use super::error::{failed, status_of};
use super::metadata::{self, Metadata};
use super::{Bucket, lookup};
use crate::spool::{FileReader, Spooled};
use crate::store::blobs::error::blocking;
use crate::store::blobs::{BlobAbout, BlobError, BlobErrorKind, Written, names, record};
use crate::store::key::BlobKey;

/// Above this many bytes a file is sent in parts.
pub(super) const PARTS_ABOVE: u64 = 64 << 20;

/// The smallest part, in bytes. Larger files have larger parts.
const PART: u64 = 16 << 20;

/// How many parts an upload may have.
const MAX_PARTS: u64 = 10_000;

/// How many parts of one file are on their way at once.
const PARTS_AT_ONCE: usize = 4;

/// How often a write looks again when others write and delete the same key meanwhile.
const TRIES: usize = 4;

/// How much is read at a time to hash a part, in bytes.
const HASH_BUFFER: usize = 256 << 10;

/// How an upload ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Uploaded {
    /// The object is there.
    Done,
    /// Somebody else's object may be there: look.
    Overtaken,
}

/// One blob on its way.
#[derive(Clone, Copy)]
pub(super) struct Upload<'a> {
    pub(super) bucket: &'a Arc<Bucket>,
    pub(super) key: &'a BlobKey,
    pub(super) name: &'a str,
    pub(super) spooled: &'a Spooled,
    pub(super) about: &'a BlobAbout,
    pub(super) during: &'a str,
}

impl Upload<'_> {
    /// Looks first: what is there already need not be sent, and stays.
    pub(super) async fn run(&self) -> Result<Written, BlobError> {
        for _ in 0..TRIES {
            if let Some(found) = lookup::find(self.bucket, self.name, self.during).await? {
                let same = found.sha256 == Some(self.spooled.sha256) && found.size == self.spooled.size;
                return Ok(if same { Written::Stored } else { Written::Occupied });
            }
            if self.send().await? == Uploaded::Done {
                return Ok(Written::Stored);
            }
        }
        let why = "others write and delete the same key all the time";
        Err(BlobError::new(BlobErrorKind::Unavailable, self.during, why))
    }

    async fn send(&self) -> Result<Uploaded, BlobError> {
        let (metadata, aside) = metadata::of(self.key, self.about, names::is_escaped(self.name));
        if aside {
            // Before the object, so that an object never refers to nothing.
            self.put_aside().await?;
        }
        if self.spooled.size > PARTS_ABOVE { self.in_parts(metadata).await } else { self.whole(metadata).await }
    }

    async fn put_aside(&self) -> Result<(), BlobError> {
        let json = record::write(self.key, self.about);
        let request = self.bucket.uploads.put_object().bucket(&self.bucket.name).key(metadata::aside_name(self.name));
        let request = request.checksum_sha256(base64(&Sha256::of(&json))).content_type("application/json");
        let sent = watched(&Moved::default(), Box::pin(request.body(ByteStream::from(json)).send())).await;
        sent.map_err(|stalled| self.stalled(stalled))?.map(|_| ()).map_err(|error| self.failed(error))
    }

    async fn whole(&self, metadata: Metadata) -> Result<Uploaded, BlobError> {
        loop {
            let condition = self.condition();
            let moved = Moved::default();
            let length = self.spooled.size;
            let request = self.bucket.uploads.put_object().bucket(&self.bucket.name).key(self.name);
            let request = request
                .body(ByteStream::new(body(self.spooled.file(), 0..length, &moved)))
                .set_content_length(i64::try_from(length).ok())
                .content_type(self.content_type())
                .set_metadata(Some(metadata.clone()))
                .checksum_sha256(base64(&self.spooled.sha256))
                .set_if_none_match(condition.clone());
            match watched(&moved, Box::pin(request.send())).await.map_err(|stalled| self.stalled(stalled))? {
                Ok(_) => return Ok(Uploaded::Done),
                Err(error) if condition.is_some() && self.takes_no_condition(&error) => {}
                Err(error) if is_overtaken(&error) => return Ok(Uploaded::Overtaken),
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    async fn in_parts(&self, metadata: Metadata) -> Result<Uploaded, BlobError> {
        let request = self.bucket.client.create_multipart_upload().bucket(&self.bucket.name).key(self.name);
        let request = request
            .content_type(self.content_type())
            .set_metadata(Some(metadata))
            .checksum_algorithm(ChecksumAlgorithm::Sha256);
        let begun = request.send().await.map_err(|error| self.failed(error))?;
        let Some(id) = begun.upload_id else {
            return Err(BlobError::new(BlobErrorKind::Other, self.during, "the server began an upload without a name"));
        };
        let unfinished = Unfinished::new(self.bucket, self.name, id);
        let ended = match self.send_parts(unfinished.id()).await {
            Ok(parts) => self.complete(unfinished.id(), parts).await,
            Err(error) => Err(error),
        };
        match ended {
            Ok(Uploaded::Done) => unfinished.finished(),
            _ => unfinished.abort().await,
        }
        ended
    }

    async fn send_parts(&self, id: &str) -> Result<Vec<CompletedPart>, BlobError> {
        let ranges = parts(self.spooled.size).zip(1..);
        let sending = stream::iter(ranges.map(|(range, number)| self.send_part(id, number, range)));
        sending.buffered(PARTS_AT_ONCE).try_collect().await
    }

    async fn send_part(&self, id: &str, number: i32, range: Range<u64>) -> Result<CompletedPart, BlobError> {
        let mut reader = FileReader::new(Arc::clone(self.spooled.file()));
        let (hashed, during) = (range.clone(), self.during.to_owned());
        let hash = move || hash(&mut reader, &hashed).map_err(|error| BlobError::io(during, error));
        let checksum = base64(&blocking(self.during, hash).await?);
        let moved = Moved::default();
        let request = self.bucket.uploads.upload_part().bucket(&self.bucket.name).key(self.name);
        let request = request
            .upload_id(id)
            .part_number(number)
            .set_content_length(i64::try_from(range.end - range.start).ok())
            .body(ByteStream::new(body(self.spooled.file(), range, &moved)))
            .checksum_sha256(&checksum);
        let sent = watched(&moved, Box::pin(request.send())).await.map_err(|stalled| self.stalled(stalled))?;
        let sent = sent.map_err(|error| self.failed(error))?;
        let part = CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).checksum_sha256(checksum);
        Ok(part.build())
    }

    async fn complete(&self, id: &str, parts: Vec<CompletedPart>) -> Result<Uploaded, BlobError> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        loop {
            let condition = self.condition();
            let request = self.bucket.uploads.complete_multipart_upload().bucket(&self.bucket.name).key(self.name);
            let request =
                request.upload_id(id).multipart_upload(parts.clone()).set_if_none_match(condition.clone()).send();
            match watched(&Moved::default(), Box::pin(request)).await.map_err(|stalled| self.stalled(stalled))? {
                Ok(_) => return Ok(Uploaded::Done),
                Err(error) if condition.is_some() && self.takes_no_condition(&error) => {}
                // An attempt whose answer was lost may have done it: then there is no upload any more, but an object.
                Err(error) if is_overtaken(&error) || error.code() == Some("NoSuchUpload") => {
                    return Ok(Uploaded::Overtaken);
                }
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    /// If-None-Match, where the server takes it.
    fn condition(&self) -> Option<String> {
        self.bucket.conditional.load(Ordering::Relaxed).then(|| "*".to_owned())
    }

    /// Whether the server answers that it does not know conditions; it is not asked again.
    fn takes_no_condition<E>(&self, error: &SdkError<E, HttpResponse>) -> bool {
        let refused = status_of(error) == Some(501);
        if refused {
            self.bucket.conditional.store(false, Ordering::Relaxed);
        }
        refused
    }

    /// The media type, if it can be a header.
    fn content_type(&self) -> &str {
        let fit = http::HeaderValue::from_str(&self.about.content_type).is_ok_and(|value| value.to_str().is_ok());
        if fit && !self.about.content_type.is_empty() { &self.about.content_type } else { "application/octet-stream" }
    }

    fn failed<E>(&self, error: SdkError<E, HttpResponse>) -> BlobError
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        failed(self.during, error)
    }

    fn stalled(&self, stalled: Stalled) -> BlobError {
        BlobError::new(BlobErrorKind::Unavailable, self.during, stalled)
    }
}

/// The stretches of a file of `size` bytes that are sent as parts.
fn parts(size: u64) -> impl Iterator<Item = Range<u64>> {
    let part = PART.max(size.div_ceil(MAX_PARTS));
    (0..size.div_ceil(part)).map(move |number| number * part..size.min((number + 1) * part))
}

/// Whether the server says that somebody was faster: 412 there is an object, 409 there is about to be one.
fn is_overtaken<E>(error: &SdkError<E, HttpResponse>) -> bool {
    matches!(status_of(error), Some(409 | 412))
}

fn base64(sha256: &Sha256) -> String {
    BASE64.encode(sha256.as_bytes())
}

/// The digest of a stretch of a file.
fn hash(reader: &mut FileReader, range: &Range<u64>) -> std::io::Result<Sha256> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    reader.seek(SeekFrom::Start(range.start))?;
    let mut rest = reader.take(range.end - range.start);
    let mut sha256 = sha2::Sha256::new();
    let mut buffer = vec![0; HASH_BUFFER];
    loop {
        match rest.read(&mut buffer)? {
            0 => return Ok(Sha256::from_bytes(sha256.finalize().into())),
            read => sha256.update(&buffer[..read]),
        }
    }
}
