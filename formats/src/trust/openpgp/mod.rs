//! OpenPGP: detached signatures, and the certificates of those who make them.
//!
//! Packets and mathematics are rPGP's (the crate `pgp`). What it leaves to its users is here and in the two files below:
//! which keys of a certificate may sign ([`certificate`]), when ([`standing`]), and which signatures count at all. A
//! signature counts if it is over binary content (one over text leaves line ends open), over a digest that cannot be
//! forged, not expired, not from the future, and made by a key that stands good now. Of several signatures one that counts
//! is enough.
//!
//! Signatures of version 3 are taken, for old keys go on making them. They cover the kind of signature and the time beside the content,
//! and no more: they know no end of their own and no notations, and name their key by an id that nobody signed, which only says
//! which key to try. What is hashed for one can never be what is hashed for another version: there a byte 0xFF stands where here
//! the kind does. All else holds for them as for any other; one over MD5 or SHA-1, as most are, is refused as such.
//!
//! What comes from a mirror is bounded before it gets to rPGP, and a panic in there would be a malformed signature here and
//! nothing worse.

mod certificate;
mod standing;

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{
    Packet, PacketParser, Signature, SignatureType, SignatureVersion, SignatureVersionSpecific, SubpacketData,
};

pub(super) use self::certificate::{Signer, merge, read};
use self::standing::SKEW;
use super::armor;
use super::verdict::{SignedBy, Untrusted};
use crate::{Invalid, Limits};

/// Whether bytes are OpenPGP packets rather than armor: the first bit of a packet is set.
pub(super) fn is_binary(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first & 0x80 != 0)
}

/// The kind of the first packet; `None` if there is none.
pub(super) fn tag(packets: &[u8]) -> Option<u8> {
    let first = packets.first().filter(|first| **first & 0x80 != 0)?;
    Some(if first & 0x40 == 0 { first >> 2 & 0x0f } else { first & 0x3f })
}

/// Whether a detached signature is certainly one over something else than `content`: every signature in it says how the
/// digest it signs begins (RFC 9580, 5.2.4), and none of them says what `content` gives. Needs no key, and proves nothing by a
/// `false`; what cannot be read or is not known to us gets one, too.
pub(crate) fn is_over_something_else(content: &[u8], signature: &[u8], limits: &Limits) -> bool {
    if signature.len() as u64 > limits.signature_bytes {
        return false;
    }
    let Ok(packets) = packets(signature) else { return false };
    let judged = guarded(|| {
        let mut others = 0;
        for packet in PacketParser::new(&packets[..]).take(usize::try_from(limits.signatures).unwrap_or(usize::MAX)) {
            match packet {
                Ok(Packet::Signature(signature)) if begins_otherwise(&signature, content) == Some(true) => others += 1,
                Ok(Packet::Marker(_) | Packet::Padding(_)) => {}
                _ => return false,
            }
        }
        others > 0
    });
    judged.unwrap_or(false)
}

/// Whether the digest of `content` begins otherwise than a signature says; `None` if the signature is of a kind we do not know.
fn begins_otherwise(signature: &Signature, content: &[u8]) -> Option<bool> {
    let (config, said) = (signature.config()?, signature.signed_hash_value()?);
    if config.typ != SignatureType::Binary {
        return None;
    }
    let mut hasher = config.hash_alg.new_hasher().ok()?;
    if let SignatureVersionSpecific::V6 { salt } = &config.version_specific {
        hasher.update(salt);
    }
    config.hash_data_to_sign(&mut hasher, content).ok()?;
    let length = config.hash_signature_data(&mut hasher).ok()?;
    hasher.update(&config.trailer(length).ok()?);
    Some(!hasher.finalize().starts_with(&said))
}

/// The packets of a signature file, armored or not.
fn packets(signature: &[u8]) -> Result<Vec<u8>, &'static str> {
    if is_binary(signature) {
        return Ok(signature.to_vec());
    }
    let blocks = armor::blocks(signature)?;
    let mut signatures = blocks.into_iter().filter(|block| block.label == "PGP SIGNATURE").peekable();
    if signatures.peek().is_none() {
        return Err("it is not an OpenPGP signature");
    }
    Ok(signatures.flat_map(|block| block.content).collect())
}

/// Checks a detached signature over `content`.
pub(super) fn verify(
    signers: &[Signer],
    what: &'static str,
    content: &[u8],
    signature: &[u8],
    now: u64,
    limits: &Limits,
) -> Result<SignedBy, Untrusted> {
    let malformed = |why: String| Untrusted::Malformed { what, why };
    if signature.len() as u64 > limits.signature_bytes {
        return Err(Invalid::OverLimit { what, limit: "signature_bytes", value: limits.signature_bytes }.into());
    }
    if signature.trim_ascii().is_empty() {
        return Err(Untrusted::Unsigned { what });
    }
    let packets = packets(signature).map_err(|why| malformed(why.to_owned()))?;
    let judged = guarded(|| judge_all(signers, what, content, &packets, now, limits));
    judged.unwrap_or_else(|| Err(malformed("it cannot be read".to_owned())))
}

/// Runs what calls rPGP on bytes from elsewhere.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// What rPGP says of an error, as much as fits in a line.
pub(super) fn brief(error: &pgp::errors::Error) -> String {
    const MOST: usize = 120;
    let text = error.to_string();
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST).collect()
}

fn judge_all(
    signers: &[Signer],
    what: &'static str,
    content: &[u8],
    packets: &[u8],
    now: u64,
    limits: &Limits,
) -> Result<SignedBy, Untrusted> {
    let mut refused = Untrusted::Unsigned { what };
    for (number, packet) in (1_u64..).zip(PacketParser::new(packets)) {
        if number > limits.signatures {
            return Err(Invalid::OverLimit { what, limit: "signatures", value: limits.signatures }.into());
        }
        let judged = match packet {
            Ok(Packet::Signature(signature)) => judge(&signature, signers, what, content, now),
            Ok(Packet::Marker(_) | Packet::Padding(_)) => continue,
            Ok(_) => Err(Untrusted::Malformed { what, why: "it holds other things than signatures".to_owned() }),
            Err(error) => Err(Untrusted::Malformed { what, why: brief(&error) }),
        };
        match judged {
            Ok(signed) => return Ok(signed),
            Err(why) if why.weight() > refused.weight() => refused = why,
            Err(_) => {}
        }
    }
    Err(refused)
}

/// Judges one signature.
fn judge(
    signature: &Signature,
    signers: &[Signer],
    what: &'static str,
    content: &[u8],
    now: u64,
) -> Result<SignedBy, Untrusted> {
    let unsupported = |why: &str| Untrusted::Unsupported { what, why: why.to_owned() };
    let version = signature.version();
    let (SignatureVersion::V3 | SignatureVersion::V4 | SignatureVersion::V6, Some(config)) =
        (version, signature.config())
    else {
        let version = u8::from(version);
        return Err(unsupported(&format!("it is of version {version}, and 3, 4 and 6 are taken")));
    };
    if config.typ != SignatureType::Binary {
        return Err(unsupported("it is not one over binary content"));
    }
    // rPGP refuses what else is critical and not known to it.
    if config.hashed_subpackets().any(|part| part.is_critical && matches!(part.data, SubpacketData::Notation(_))) {
        return Err(unsupported("it says that a notation must be understood, and it is not"));
    }
    let mut refused = Untrusted::UnknownKey { what, keys: issuers(signature) };
    for signer in signers.iter().filter(|signer| signer.may_have_made(signature)) {
        match by(signature, config.hash_alg, signer, what, content, now) {
            Ok(signed) => return Ok(signed),
            Err(why) if why.weight() > refused.weight() => refused = why,
            Err(_) => {}
        }
    }
    Err(refused)
}

/// Judges one signature as one by `signer`.
fn by(
    signature: &Signature,
    digest: HashAlgorithm,
    signer: &Signer,
    what: &'static str,
    content: &[u8],
    now: u64,
) -> Result<SignedBy, Untrusted> {
    let key = || signer.name.clone();
    if !is_strong(digest) {
        return Err(Untrusted::WeakDigest { key: key(), digest: digest.to_string() });
    }
    if !signer.verifies(signature, content) {
        return Err(Untrusted::BadSignature { what, key: key() });
    }
    // From here on it is the owner's own word, and only its time can be wrong.
    let made = signature.created().map(|time| u64::from(time.as_secs()));
    let made = made.ok_or_else(|| Untrusted::Malformed { what, why: "it does not say when it was made".to_owned() })?;
    if made > now.saturating_add(SKEW) {
        return Err(Untrusted::NotYet { key: key(), at: made });
    }
    let lasts = signature.signature_expiration_time().map_or(0, |time| u64::from(time.as_secs()));
    if lasts > 0 && made + lasts <= now {
        return Err(Untrusted::SignatureExpired { key: key(), at: made + lasts });
    }
    signer.stands(made, now)?;
    Ok(SignedBy { key: key(), algorithm: format!("{}, {}", signer.algorithm, digest.to_string().to_lowercase()) })
}

/// Whether two contents with one value are out of reach.
const fn is_strong(digest: HashAlgorithm) -> bool {
    matches!(
        digest,
        HashAlgorithm::Sha256
            | HashAlgorithm::Sha384
            | HashAlgorithm::Sha512
            | HashAlgorithm::Sha3_256
            | HashAlgorithm::Sha3_512
    )
}

/// Who a signature says made it, for people.
fn issuers(signature: &Signature) -> String {
    let mut names = String::new();
    let mut add = |name: &dyn std::fmt::Display| {
        if !names.is_empty() {
            names.push_str(", ");
        }
        // Writing to a string cannot fail.
        let _ = write!(names, "{name}");
    };
    signature.issuer_fingerprint().iter().take(2).for_each(|fingerprint| add(&format_args!("{fingerprint:X}")));
    if signature.issuer_fingerprint().is_empty() {
        signature.issuer_key_id().iter().take(2).for_each(|id| add(&id.to_string().to_uppercase()));
    }
    if names.is_empty() { "somebody it does not name".to_owned() } else { names }
}
