//! Signatures in front of an index: entries `.SIGN.<kind>.<key>` in gzip members of their own (FORMATS 1.2).
//!
//! They cover every stored byte after the last such member, to the end of the file. Which entry counts is decided as apk
//! decides it: the first one whose key is known by its name, and no other, so that what is trusted here is installed
//! there. Keys without a name, which apk does not have, are asked about names that nobody knows.

use super::tar::Event;
use crate::trust::Named;
use crate::{Algorithm, Digest, Hasher, Invalid, Limits, SignedBy, TrustedKeys, Untrusted};

const WHAT: &str = "signature of an index";

/// One signature.
struct Seal {
    algorithm: Algorithm,
    /// The file name of the key.
    key: String,
    bytes: Vec<u8>,
}

/// The signatures of an index while it streams by, and the digests of what they cover.
pub(super) struct Seals {
    found: Vec<Seal>,
    /// The kind of an entry that is not checked: `DSA`.
    other: Option<String>,
    /// Whether the last one's content is being read.
    open: bool,
    /// One for each algorithm, over all since the current member began.
    hashers: Vec<(Algorithm, Hasher)>,
    most: u64,
    most_bytes: u64,
}

impl Seals {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            found: Vec::new(),
            other: None,
            open: false,
            hashers: Vec::new(),
            most: limits.signatures,
            most_bytes: limits.signature_bytes,
        }
    }

    /// A gzip member begins, and as far as is known it is the one that is signed.
    pub(super) fn member_begins(&mut self) {
        self.hashers.clear();
        for seal in &self.found {
            if !self.hashers.iter().any(|(algorithm, _)| *algorithm == seal.algorithm) {
                self.hashers.push((seal.algorithm, seal.algorithm.hasher()));
            }
        }
    }

    /// The next bytes as stored.
    pub(super) fn stored(&mut self, bytes: &[u8]) {
        self.hashers.iter_mut().for_each(|(_, hasher)| hasher.update(bytes));
    }

    /// The next of the tar stream, before the index begins.
    pub(super) fn entry(&mut self, event: &Event<'_>) -> Result<(), Invalid> {
        match event {
            Event::Entry(entry) if entry.is_file => self.begins(entry.name)?,
            Event::Content(bytes) if self.open => {
                let seal =
                    self.found.last_mut().filter(|seal| (seal.bytes.len() + bytes.len()) as u64 <= self.most_bytes);
                match seal {
                    Some(seal) => seal.bytes.extend_from_slice(bytes),
                    None => {
                        // apk passes over what is too long to be a signature.
                        self.found.pop();
                        self.open = false;
                    }
                }
            }
            Event::End => self.open = false,
            Event::Entry(_) | Event::Content(_) => {}
        }
        Ok(())
    }

    fn begins(&mut self, name: &[u8]) -> Result<(), Invalid> {
        let name = String::from_utf8_lossy(name);
        let Some((kind, key)) = name.strip_prefix(".SIGN.").and_then(|rest| rest.split_once('.')) else {
            return Ok(());
        };
        let algorithm = match kind {
            "RSA" => Algorithm::Sha1,
            "RSA256" => Algorithm::Sha256,
            "RSA512" => Algorithm::Sha512,
            _ => {
                self.other = Some(kind.to_owned());
                return Ok(());
            }
        };
        if self.found.len() as u64 >= self.most {
            return Err(Invalid::OverLimit { what: WHAT, limit: "signatures", value: self.most });
        }
        self.found.push(Seal { algorithm, key: key.to_owned(), bytes: Vec::new() });
        self.open = true;
        Ok(())
    }

    /// The index is over.
    pub(super) fn verdict(self, what: &'static str, keys: &TrustedKeys) -> Result<SignedBy, Untrusted> {
        let Self { found, other, hashers, .. } = self;
        let digests: Vec<Digest> = hashers.into_iter().map(|(_, hasher)| hasher.finish()).collect();
        for seal in &found {
            let digest = digests.iter().find(|digest| digest.algorithm() == seal.algorithm).ok_or_else(|| {
                let why = format!("that by {} is in the very member it should cover", seal.key);
                Untrusted::Malformed { what, why }
            })?;
            if let Some(named) = keys.named(&seal.key) {
                return seal.by(named, digest).ok_or_else(|| Untrusted::BadSignature { what, key: seal.key.clone() });
            }
            let nameless = keys.plain().iter().filter(|key| key.name.is_none());
            if let Some(signed) = nameless.filter_map(|key| seal.by(key, digest)).next() {
                return Ok(signed);
            }
        }
        Err(match (found.is_empty(), other) {
            (false, _) => {
                let keys: Vec<_> = found.into_iter().map(|seal| seal.key).collect();
                Untrusted::UnknownKey { what, keys: keys.join(", ") }
            }
            (true, Some(kind)) => Untrusted::Unsupported { what, why: format!("it is of kind {kind}") },
            (true, None) => Untrusted::Unsigned { what },
        })
    }
}

impl Seal {
    fn by(&self, named: &Named, digest: &Digest) -> Option<SignedBy> {
        let signed = named.key.verifies(digest, &self.bytes);
        let algorithm = format!("{}, {}", named.key.algorithm(), digest.algorithm().name());
        signed.then(|| SignedBy { key: named.to_string(), algorithm })
    }
}
