//! The signature of `repomd.xml`: `repomd.xml.asc` beside it, a detached OpenPGP signature over its exact bytes (FORMATS 3.5).
//!
//! `repomd.xml.key` is not looked at: whoever can change the index can change the key that lies beside it. Members need no
//! signature of their own, since repomd.xml binds them by digest.

use std::io::Read as _;

use crate::{IndexRoot, Invalid, Limits, ReadSeek, RepoPath, SignedBy, TrustedKeys, Untrusted};

const WHAT: &str = "repomd.xml";

/// Whether a trusted key signed the entry.
pub(super) fn verify(
    root: &IndexRoot,
    entry: &mut dyn ReadSeek,
    companions: &[(RepoPath, Vec<u8>)],
    keys: &TrustedKeys,
    now: u64,
    limits: &Limits,
) -> Result<SignedBy, Untrusted> {
    let is_signature = |path: &RepoPath| path.as_str().strip_suffix(".asc") == Some(root.entry.as_str());
    let signature = companions.iter().find(|(path, _)| is_signature(path)).map(|(_, bytes)| bytes);
    let signature = signature.ok_or(Untrusted::Unsigned { what: WHAT })?;
    let (most, mut content) = (limits.entry_bytes, Vec::new());
    entry
        .rewind()
        .and_then(|()| entry.take(most.saturating_add(1)).read_to_end(&mut content))
        .map_err(Invalid::Read)?;
    if content.len() as u64 > most {
        return Err(Invalid::OverLimit { what: WHAT, limit: "entry_bytes", value: most }.into());
    }
    keys.verify_detached(WHAT, &content, signature, now, limits)
}
