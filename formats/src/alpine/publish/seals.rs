//! What goes in front of an index: a gzip member with a signature by each key (FORMATS 1.2).
//!
//! The member holds a tar stream that is cut, without its end, so that the index goes on with the same archive. apk looks for
//! the first entry whose key it has and checks that one only; so while one key takes over from another, an index carries a
//! signature by each, and clients that know either key are content. Signed is the index as stored: all that follows.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::archive;
use crate::publish::WrittenList;
use crate::trust::RsaDigest;
use crate::{Algorithm, Digest, Invalid, SigningKeys};

const WHAT: &str = "signature of APKINDEX.tar.gz";

/// The member; nothing when nobody signs.
pub(super) fn prefix(list: &WrittenList, keys: &SigningKeys, time: u64) -> Result<Vec<u8>, Invalid> {
    let mut entries = Vec::new();
    for key in keys.rsa() {
        let refused = |why: &str| Invalid::malformed(WHAT, format!("{}: {why}", key.name()));
        let (kind, digest) = match key.digest() {
            RsaDigest::Sha1 => ("RSA", Digest::from_bytes(Algorithm::Sha1, &list.sha1)),
            RsaDigest::Sha256 => ("RSA256", Ok(list.sha256.into())),
        };
        let digest = digest.map_err(|why| refused(&why.to_string()))?;
        let signature = key.sign(&digest).map_err(refused)?;
        entries.extend(archive::entry(&format!(".SIGN.{kind}.{}", key.name()), time, &signature));
    }
    if entries.is_empty() {
        let why = "none of the keys is one that apk knows";
        return if keys.is_empty() { Ok(Vec::new()) } else { Err(Invalid::malformed(WHAT, why)) };
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&entries).and_then(|()| encoder.finish()).map_err(Invalid::Read)
}
