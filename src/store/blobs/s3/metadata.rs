//! A blob's record as the metadata of its object.
//!
//! Metadata travels as HTTP headers: ASCII, and at most 2 KiB of it on AWS. Values are therefore percent-encoded, and a
//! record that is too long for that goes into an object of its own below [`ASIDE`], written first. Only the digest,
//! which must arrive with the very bytes, is then left in the metadata.

use std::collections::HashMap;
use std::time::SystemTime;

use artifactapi_formats::Sha256;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::store::blobs::BlobAbout;
use crate::store::blobs::record::{at_milliseconds, milliseconds};
use crate::store::key::BlobKey;

/// Where records lie that are too long for metadata. No name of a blob starts with a dot.
pub(super) const ASIDE: &str = ".about/";

/// How long metadata may be, in bytes, names and prefixes included. AWS takes 2,048.
const MAX_METADATA: usize = 1_900;

/// What each field costs beside its name and value: `x-amz-meta-`.
const FIELD_PREFIX: usize = 11;

/// A space at either end is lost in a header, and `=?` in one may be taken for an encoded word.
const VALUE: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'?');

const SHA256: &str = "sha256";
const KEY: &str = "key";
const REPOSITORY: &str = "repository";
const PATH: &str = "path";
const QUERY: &str = "query";
const ETAG: &str = "upstream-etag";
const LAST_MODIFIED: &str = "upstream-last-modified";
const STORED_AT: &str = "stored-at";
const RECORD: &str = "record";
const RECORD_ASIDE: &str = "aside";

/// The metadata of an object, as the SDK has it.
pub(super) type Metadata = HashMap<String, String>;

/// The metadata for a blob, and whether its record must be written aside.
pub(super) fn of(key: &BlobKey, about: &BlobAbout, key_is_escaped: bool) -> (Metadata, bool) {
    let stored_at = milliseconds(about.stored_at).to_string();
    let fields = [
        (SHA256, Some(about.sha256.hex())),
        (KEY, key_is_escaped.then(|| key.to_string())),
        (REPOSITORY, about.repository.as_ref().map(ToString::to_string)),
        (PATH, Some(about.path.clone())),
        (QUERY, Some(about.query.clone())),
        (ETAG, about.upstream_etag.clone()),
        (LAST_MODIFIED, about.upstream_last_modified.clone()),
        (STORED_AT, Some(stored_at)),
    ];
    let encoded = fields.into_iter().filter_map(|(name, value)| {
        let value = value.filter(|value| !value.is_empty())?;
        Some((name.to_owned(), utf8_percent_encode(&value, VALUE).to_string()))
    });
    let mut metadata: Metadata = encoded.collect();
    let length: usize = metadata.iter().map(|(name, value)| FIELD_PREFIX + name.len() + value.len()).sum();
    let aside = length > MAX_METADATA;
    if aside {
        metadata.retain(|name, _| name == SHA256);
        metadata.insert(RECORD.to_owned(), RECORD_ASIDE.to_owned());
    }
    (metadata, aside)
}

/// Where the record of the blob called `name` lies if it is aside.
pub(super) fn aside_name(name: &str) -> String {
    format!("{ASIDE}{}.json", Sha256::of(name.as_bytes()))
}

/// The digest of the object's bytes. `None` for an object that we did not write.
pub(super) fn sha256(metadata: Option<&Metadata>) -> Option<Sha256> {
    metadata?.get(SHA256)?.parse().ok()
}

/// The key, of an object whose name does not tell it.
pub(super) fn key(metadata: Option<&Metadata>) -> Option<BlobKey> {
    field(metadata?, KEY)?.parse().ok()
}

/// Whether the record is aside.
pub(super) fn is_aside(metadata: Option<&Metadata>) -> bool {
    metadata.is_some_and(|metadata| metadata.get(RECORD).is_some_and(|value| value == RECORD_ASIDE))
}

/// What the metadata says. `None` for an object that we did not write.
pub(super) fn about(metadata: Option<&Metadata>, size: u64, content_type: Option<&str>) -> Option<BlobAbout> {
    let metadata = metadata?;
    let stored_at = metadata.get(STORED_AT).and_then(|value| value.parse().ok());
    Some(BlobAbout {
        repository: field(metadata, REPOSITORY).and_then(|name| name.parse().ok()),
        path: field(metadata, PATH)?,
        query: field(metadata, QUERY).unwrap_or_default(),
        size,
        sha256: sha256(Some(metadata))?,
        content_type: content_type.unwrap_or("application/octet-stream").to_owned(),
        upstream_etag: field(metadata, ETAG),
        upstream_last_modified: field(metadata, LAST_MODIFIED),
        stored_at: stored_at.map_or(SystemTime::UNIX_EPOCH, at_milliseconds),
    })
}

fn field(metadata: &Metadata, name: &str) -> Option<String> {
    percent_decode_str(metadata.get(name)?).decode_utf8().ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(path: &str, query: &str) -> (BlobKey, BlobAbout) {
        let about = BlobAbout {
            repository: "r".parse().ok(),
            path: path.to_owned(),
            query: query.to_owned(),
            size: 7,
            sha256: Sha256::of(b"content"),
            content_type: "text/plain".to_owned(),
            upstream_etag: Some("W/\" é=?\"".to_owned()),
            upstream_last_modified: None,
            stored_at: at_milliseconds(1_700_000_000_123),
        };
        ("r/0123456789abcdef/f".parse().expect("key"), about)
    }

    #[test]
    fn survives_the_journey() {
        let (key, written) = example("a b/100%/ünï?=?/日本 ", "x=1&y=%20 ");
        let (metadata, aside) = of(&key, &written, true);
        assert!(!aside);
        for value in metadata.values() {
            assert!(value.bytes().all(|b| b.is_ascii_graphic()), "{value}");
        }
        assert_eq!(super::key(Some(&metadata)), Some(key));
        assert_eq!(about(Some(&metadata), 7, Some("text/plain")), Some(written));
    }

    #[test]
    fn too_long_a_record_goes_aside() {
        let (key, written) = example(&"日".repeat(300), "");
        let (metadata, aside) = of(&key, &written, false);
        assert!(aside && is_aside(Some(&metadata)));
        assert_eq!(sha256(Some(&metadata)), Some(written.sha256));
        assert_eq!(about(Some(&metadata), 7, None), None);
    }
}
