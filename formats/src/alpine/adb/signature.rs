//! Signatures of a v3 index: blocks after the values, which cover the values and the kind of file (FORMATS 2.3).
//!
//! A signature names its key by an id, a digest of the key itself, so names of files are of no matter. What is signed is a
//! short message that holds the SHA-512 of the values; compression is not covered and need not be. Of several signatures
//! one by a trusted key is enough, as it is for apk; so while one key takes over from another, an index of ours has one by each.

use std::ops::ControlFlow;

use super::blocks::{Blocks, INDEX, Piece};
use super::container::Container;
use crate::{Algorithm, Digest, Invalid, Limits, ReadSeek, SignedBy, SigningKeys, TrustedKeys, Untrusted};

const WHAT: &str = "apk index (v3)";

/// Version, digest, id of the key: the head of a signature, part of what is signed.
const HEAD: usize = 18;
const VERSION: u8 = 0;
const SHA512: u8 = 4;

/// Whether a trusted key signed an index.
pub(in crate::alpine) fn verify(
    from: &mut dyn ReadSeek,
    keys: &TrustedKeys,
    limits: &Limits,
) -> Result<SignedBy, Untrusted> {
    let (mut container, mut blocks) = (Container::new(WHAT, limits), Blocks::new(WHAT, INDEX));
    let mut values = Algorithm::Sha512.hasher();
    let (mut open, mut signatures) = (Vec::new(), Vec::new());
    let over = |limit, value| Err(Invalid::OverLimit { what: WHAT, limit, value });
    from.rewind().map_err(Invalid::Read)?;
    crate::decompress::pieces(from, |bytes| {
        container.push(bytes, &mut |bytes| {
            blocks.push(bytes, &mut |piece| {
                match piece {
                    Piece::Values(bytes) => values.update(bytes),
                    Piece::Signature(bytes) if (open.len() + bytes.len()) as u64 > limits.signature_bytes => {
                        return over("signature_bytes", limits.signature_bytes);
                    }
                    Piece::Signature(bytes) => open.extend_from_slice(bytes),
                    Piece::SignatureEnds if signatures.len() as u64 >= limits.signatures => {
                        return over("signatures", limits.signatures);
                    }
                    Piece::SignatureEnds => signatures.push(std::mem::take(&mut open)),
                    Piece::FileBegins | Piece::File(_) | Piece::FileEnds => {}
                }
                Ok(())
            })
        })?;
        Ok(ControlFlow::Continue(()))
    })?;
    container.finish()?;
    blocks.finish()?;
    verdict(&values.finish(), &signatures, keys)
}

fn verdict(values: &Digest, signatures: &[Vec<u8>], keys: &TrustedKeys) -> Result<SignedBy, Untrusted> {
    let (mut bad, mut unknown, mut other) = (None, Vec::new(), false);
    for signature in signatures {
        let Some((head, signature)) = signature.split_first_chunk::<HEAD>().filter(|(head, _)| is_known(head)) else {
            other = true;
            continue;
        };
        let id = &head[2..];
        let mut known = keys.plain().iter().filter(|named| named.key.id() == id).peekable();
        if known.peek().is_none() {
            unknown.push(id.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        }
        for named in known {
            if named.key.verifies(&message(head, values), signature) {
                let algorithm = format!("{}, {}", named.key.algorithm(), Algorithm::Sha512.name());
                return Ok(SignedBy { key: named.to_string(), algorithm });
            }
            bad = Some(Untrusted::BadSignature { what: WHAT, key: named.to_string() });
        }
    }
    Err(match bad {
        Some(bad) => bad,
        None if !unknown.is_empty() => {
            Untrusted::UnknownKey { what: WHAT, keys: format!("key id {}", unknown.join(", ")) }
        }
        None if other => {
            Untrusted::Unsupported { what: WHAT, why: "it is of a version or digest that is not known".to_owned() }
        }
        None => Untrusted::Unsigned { what: WHAT },
    })
}

/// The digest of what is signed.
fn message(head: &[u8; HEAD], values: &Digest) -> Digest {
    let mut message = Algorithm::Sha512.hasher();
    message.update(&INDEX);
    message.update(head);
    message.update(values.bytes());
    message.finish()
}

/// A signature of these values by each of the keys that apk knows; none when nobody signs.
pub(super) fn signatures(values: &[u8], keys: &SigningKeys) -> Result<Vec<Vec<u8>>, Invalid> {
    let digest = Algorithm::Sha512.digest(values);
    let signing = keys.rsa().map(|key| {
        let mut head = [VERSION, SHA512].iter().chain(key.id());
        let head: [u8; HEAD] = std::array::from_fn(|_| head.next().copied().unwrap_or_default());
        let signature = key.sign(&message(&head, &digest));
        let signature = signature.map_err(|why| Invalid::malformed(WHAT, format!("{}: {why}", key.name())))?;
        Ok([&head[..], &signature].concat())
    });
    let signatures = signing.collect::<Result<Vec<_>, Invalid>>()?;
    match signatures.is_empty() && !keys.is_empty() {
        true => Err(Invalid::malformed(WHAT, "none of the keys is one that apk knows")),
        false => Ok(signatures),
    }
}

const fn is_known(head: &[u8; HEAD]) -> bool {
    head[0] == VERSION && head[1] == SHA512
}
