//! What tests of blob stores need: things to write, and ways to read whatever comes back.

use std::os::unix::fs::FileExt as _;
use std::time::{Duration, SystemTime};

use artifactapi_formats::{RepoPath, Sha256};
use bytes::Bytes;
use futures_util::stream::TryStreamExt as _;

use crate::spool::{SpoolError, SpoolFolder, SpoolReader, Spooled};
use crate::store::blobs::{BlobAbout, BlobBody, BlobRead, BlobStore};
use crate::store::key::{BlobKey, Target};

/// A path of a repository.
pub(in crate::store::blobs) fn target(repository: &str, path: &str) -> Target {
    Target::new(repository.parse().expect("name"), RepoPath::new(path).expect("path"))
}

/// What is recorded with `bytes` under `target`.
pub(in crate::store::blobs) fn about(target: &Target, bytes: &[u8]) -> BlobAbout {
    BlobAbout {
        repository: Some(target.repository.clone()),
        path: target.path.to_string(),
        query: target.query.to_string(),
        size: bytes.len() as u64,
        sha256: Sha256::of(bytes),
        content_type: "text/x-test; charset=utf-8".to_owned(),
        upstream_etag: Some("W/\"é 1%\"".to_owned()),
        upstream_last_modified: None,
        stored_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
    }
}

/// A spool that holds `bytes`.
pub(in crate::store::blobs) async fn spooled(folder: &SpoolFolder, bytes: &[u8]) -> Spooled {
    let (mut writer, _reader) = folder.create(None, None).await.expect("spool");
    writer.append(Bytes::copy_from_slice(bytes)).await.expect("append");
    writer.complete().await.expect("complete")
}

/// The whole blob under `key`, checked against what the store says of it.
pub(in crate::store::blobs) async fn bytes(store: &dyn BlobStore, key: &BlobKey) -> Vec<u8> {
    let read = store.read(key, None).await.expect("read").expect("present");
    let (size, sha256) = (read.size, read.sha256);
    let (start, bytes) = collect(read).await;
    assert_eq!((start, bytes.len() as u64), (0, size));
    assert!(sha256.is_none_or(|sha256| sha256 == Sha256::of(&bytes)), "{key}: the digest is another blob's");
    bytes
}

/// What a read hands out, and the offset it begins at.
pub(in crate::store::blobs) async fn collect(read: BlobRead) -> (usize, Vec<u8>) {
    match read.body {
        BlobBody::Memory(bytes) => (0, bytes.to_vec()),
        BlobBody::File(file) => {
            let mut bytes = vec![0; usize::try_from(read.size).expect("size")];
            file.read_exact_at(&mut bytes, 0).expect("file");
            assert_eq!(file.metadata().expect("metadata").len(), read.size);
            (0, bytes)
        }
        BlobBody::Growing(reader) => (0, follow(reader).await.expect("growing")),
        BlobBody::Stream { range, bytes } => {
            let pieces: Vec<Bytes> = bytes.try_collect().await.expect("stream");
            let bytes = pieces.concat();
            assert_eq!(bytes.len() as u64, range.end - range.start);
            (usize::try_from(range.start).expect("offset"), bytes)
        }
    }
}

/// Reads a spool to its end.
pub(in crate::store::blobs) async fn follow(mut reader: SpoolReader) -> Result<Vec<u8>, SpoolError> {
    let mut bytes = Vec::new();
    loop {
        let readable = reader.readable_past(bytes.len() as u64).await?;
        let at = bytes.len();
        if readable == at as u64 {
            return Ok(bytes);
        }
        bytes.resize(usize::try_from(readable).expect("size"), 0);
        reader.file().read_exact_at(&mut bytes[at..], at as u64).expect("file");
    }
}
