//! From an OpenPGP certificate to the keys in it that sign, each with what its owner said of it.
//!
//! Nothing in a certificate is believed that its primary key did not sign: that it is for signing, how long it lasts, that
//! it is revoked, that a subkey belongs to it. A subkey for signing must say the same back. Such self-signatures may be over SHA-1:
//! the operator vouches for the file as a whole, and many distributions' keys are of that age. What is over SHA-1 and
//! comes from a mirror is refused (see [`super`]).

use pgp::composed::{Deserializable as _, SignedPublicKey, SignedPublicSubKey};
use pgp::packet::{Packet, PacketParser, PublicKey, PublicSubkey, Signature, SignatureType, SubpacketData};
use pgp::types::{
    EcdsaPublicParams, EddsaLegacyPublicParams, Fingerprint, KeyDetails, KeyId, KeyVersion, PublicParams, Tag,
};
use rsa::traits::PublicKeyParts as _;

use super::standing::{Standing, Statement};
use super::{brief, guarded};
use crate::trust::keys::InvalidKey;
use crate::trust::public_key::RSA_BYTES;
use crate::trust::verdict::Untrusted;

/// One certificate.
pub(in crate::trust) struct Certificate {
    /// Of the primary key: what people know the certificate by.
    pub(in crate::trust) fingerprint: String,
    pub(in crate::trust) signers: Vec<Signer>,
}

/// A key that may sign, now or at another time.
#[derive(Clone)]
pub(in crate::trust) struct Signer {
    /// Its fingerprint, and its primary key's if it is a subkey.
    pub(super) name: String,
    pub(super) algorithm: String,
    /// Of the primary key.
    certificate: String,
    fingerprint: Fingerprint,
    id: KeyId,
    key: Key,
    primary: Standing,
    /// Of a subkey, beside that of its primary key.
    own: Option<Standing>,
}

#[derive(Clone)]
enum Key {
    Primary(Box<PublicKey>),
    Subkey(Box<PublicSubkey>),
}

impl Signer {
    pub(in crate::trust) fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Whether the signature names this key, or nobody.
    pub(super) fn may_have_made(&self, signature: &Signature) -> bool {
        let (prints, ids) = (signature.issuer_fingerprint(), signature.issuer_key_id());
        (prints.is_empty() && ids.is_empty())
            || prints.contains(&&self.fingerprint)
            || ids.iter().any(|id| **id == self.id)
    }

    /// Whether the mathematics are right; says nothing of time.
    pub(super) fn verifies(&self, signature: &Signature, content: &[u8]) -> bool {
        match &self.key {
            Key::Primary(key) => signature.verify(&**key, content).is_ok(),
            Key::Subkey(key) => signature.verify(&**key, content).is_ok(),
        }
    }

    /// Whether the key is good now, for a signature made at `made`.
    pub(in crate::trust) fn stands(&self, made: u64, now: u64) -> Result<(), Untrusted> {
        let mut statement = self.primary.at(now, &self.name)?;
        let mut created = self.primary.created;
        if let Some(own) = &self.own {
            statement = own.at(now, &self.name)?;
            created = created.max(own.created);
        }
        if !statement.may_sign {
            return Err(Untrusted::KeyMayNotSign { key: self.name.clone() });
        }
        if made < created {
            return Err(Untrusted::NotYet { key: self.name.clone(), at: created });
        }
        Ok(())
    }
}

/// Adds keys to others. The same certificate in two files is one: whichever file prolongs or revokes it counts.
pub(in crate::trust) fn merge(known: &mut Vec<Signer>, more: Vec<Signer>) {
    for mut signer in more {
        for other in known.iter_mut().filter(|other| other.certificate == signer.certificate) {
            other.primary.merge(&signer.primary);
            signer.primary.merge(&other.primary);
        }
        match known.iter_mut().find(|other| other.name == signer.name) {
            None => known.push(signer),
            Some(other) => {
                if let (Some(own), Some(more)) = (&mut other.own, &signer.own) {
                    own.merge(more);
                }
            }
        }
    }
}

/// Reads every certificate among `packets`, which the caller bounds.
pub(in crate::trust) fn read(packets: &[u8]) -> Result<Vec<Certificate>, InvalidKey> {
    let gave_up = || InvalidKey::Malformed { why: "it is not a sequence of OpenPGP packets".to_owned() };
    guarded(|| read_all(packets)).ok_or_else(gave_up)?
}

fn read_all(packets: &[u8]) -> Result<Vec<Certificate>, InvalidKey> {
    let malformed = |error: pgp::errors::Error| InvalidKey::Malformed { why: brief(&error) };
    // A revocation may come in a block of its own after everything else, where a certificate's reader passes it over.
    let revocations: Vec<Signature> = PacketParser::new(packets)
        .filter_map(|packet| match packet {
            Ok(Packet::Signature(signature)) if signature.typ() == Some(SignatureType::KeyRevocation) => {
                Some(signature)
            }
            _ => None,
        })
        .collect();
    let mut certificates = Vec::new();
    let mut why = None;
    for certificate in SignedPublicKey::from_bytes_many(packets).map_err(malformed)? {
        match certificate_of(&certificate.map_err(malformed)?, &revocations) {
            Ok(certificate) => certificates.push(certificate),
            Err(unusable) => why = Some(unusable),
        }
    }
    match (certificates.is_empty(), why) {
        (false, _) => Ok(certificates),
        (true, Some(why)) => Err(InvalidKey::Unusable { why }),
        (true, None) => {
            Err(InvalidKey::Malformed { why: "it breaks off, or holds no key of a known version".to_owned() })
        }
    }
}

/// Takes one certificate apart. The error is why nothing in it can sign.
fn certificate_of(whole: &SignedPublicKey, revocations: &[Signature]) -> Result<Certificate, String> {
    let key = &whole.primary_key;
    let fingerprint = format!("{:X}", key.fingerprint());
    if !matches!(key.version(), KeyVersion::V4 | KeyVersion::V6) {
        return Err(format!("the key {fingerprint} is of a version that is no longer used"));
    }
    let primary = primary_standing(whole, revocations);
    if primary.statements.is_empty() && !primary.revoked {
        return Err(format!("the key {fingerprint} has no valid signature by itself"));
    }
    let (mut signers, mut why) = (Vec::new(), None);
    let mut add = |name: String, key: Key, details: &dyn KeyDetails, own: Option<Standing>| match algorithm(
        details.public_params(),
    ) {
        Ok(algorithm) => signers.push(Signer {
            name,
            algorithm,
            certificate: fingerprint.clone(),
            fingerprint: details.fingerprint(),
            id: details.legacy_key_id(),
            key,
            primary: primary.clone(),
            own,
        }),
        Err(reason) => why = Some(format!("the key {name} {reason}")),
    };
    add(fingerprint.clone(), Key::Primary(Box::new(key.clone())), key, None);
    for subkey in &whole.public_subkeys {
        let standing = subkey_standing(key, subkey);
        if standing.revoked || standing.statements.iter().any(|statement| statement.may_sign) {
            let name = format!("{:X} of {fingerprint}", subkey.key.fingerprint());
            add(name, Key::Subkey(Box::new(subkey.key.clone())), &subkey.key, Some(standing));
        }
    }
    match (signers.is_empty(), why) {
        (true, Some(why)) => Err(why),
        _ => Ok(Certificate { fingerprint, signers }),
    }
}

/// What kind of key it is, for people; or why it is not taken.
fn algorithm(params: &PublicParams) -> Result<String, &'static str> {
    Ok(match params {
        PublicParams::RSA(params) if params.key.size() < RSA_BYTES => {
            return Err("is RSA with less than 2048 bits, which can be broken");
        }
        PublicParams::RSA(params) => format!("RSA {}", params.key.size() * 8),
        PublicParams::ECDSA(EcdsaPublicParams::P256 { .. }) => "ECDSA P-256".to_owned(),
        PublicParams::ECDSA(EcdsaPublicParams::P384 { .. }) => "ECDSA P-384".to_owned(),
        PublicParams::ECDSA(EcdsaPublicParams::P521 { .. }) => "ECDSA P-521".to_owned(),
        PublicParams::EdDSALegacy(EddsaLegacyPublicParams::Ed25519 { .. }) | PublicParams::Ed25519(_) => {
            "Ed25519".to_owned()
        }
        PublicParams::DSA(_) => return Err("is DSA, which is no longer taken"),
        _ => return Err("is of a kind that is not taken; RSA, ECDSA (P-256, P-384, P-521) and Ed25519 are"),
    })
}

/// What the primary key says of itself: over itself, and over itself together with each name.
fn primary_standing(whole: &SignedPublicKey, revocations: &[Signature]) -> Standing {
    let key = &whole.primary_key;
    let created = u64::from(key.created_at().as_secs());
    let details = &whole.details;
    let revoked = revocations.iter().any(|signature| signature.verify_key(key).is_ok());
    let mut statements = Vec::new();
    for signature in details.direct_signatures.iter().filter(|signature| says_something(signature, key)) {
        if signature.typ() == Some(SignatureType::Key) && signature.verify_key(key).is_ok() {
            statements.extend(statement(signature, created, true));
        }
    }
    // Version 6 says everything directly; its names carry nothing of this.
    if key.version() == KeyVersion::V6 {
        return Standing { created, revoked, statements };
    }
    for user in &details.users {
        let own = user.signatures.iter().filter(|one| one.verify_certification(key, Tag::UserId, &user.id).is_ok());
        let (revocations, certifications): (Vec<_>, Vec<_>) =
            own.partition(|signature| signature.typ() == Some(SignatureType::CertRevocation));
        let taken_back = revocations.iter().filter_map(|signature| signature.created()).max();
        let stands =
            |signature: &&&Signature| taken_back.is_none_or(|at| signature.created().is_some_and(|made| made > at));
        statements
            .extend(certifications.iter().filter(stands).filter_map(|signature| statement(signature, created, true)));
    }
    Standing { created, revoked, statements }
}

/// Whether a signature over a key says anything of what is asked here. In version 4 most say something else, such as who
/// may revoke the key.
fn says_something(signature: &Signature, key: &PublicKey) -> bool {
    key.version() == KeyVersion::V6 || signature.key_expiration_time().is_some() || flags_of(signature).is_some()
}

/// What the primary key says of a subkey.
fn subkey_standing(primary: &PublicKey, subkey: &SignedPublicSubKey) -> Standing {
    let key = &subkey.key;
    let created = u64::from(key.created_at().as_secs());
    let mut standing = Standing { created, ..Standing::default() };
    for signature in &subkey.signatures {
        if signature.verify_subkey_binding(primary, key).is_err() {
            continue;
        }
        if signature.typ() == Some(SignatureType::SubkeyRevocation) {
            standing.revoked = true;
            continue;
        }
        let answers = signature.embedded_signature().is_some_and(|back| {
            // Over nothing but the two keys, so its time is of no matter.
            back.verify_primary_key_binding(key, primary).is_ok()
        });
        standing.statements.extend(
            statement(signature, created, false)
                .map(|statement| Statement { may_sign: statement.may_sign && answers, ..statement }),
        );
    }
    standing
}

/// Reads a self-signature. `unsaid` is what holds when it does not say what the key is for. `None` for one without a date.
fn statement(signature: &Signature, key_created: u64, unsaid: bool) -> Option<Statement> {
    let made = u64::from(signature.created()?.as_secs());
    let end = |from: u64, lasts: Option<pgp::types::Duration>| {
        lasts.map(|lasts| u64::from(lasts.as_secs())).filter(|lasts| *lasts > 0).map(|lasts| from + lasts)
    };
    Some(Statement {
        made,
        expires: end(made, signature.signature_expiration_time()),
        key_expires: end(key_created, signature.key_expiration_time()),
        may_sign: flags_of(signature).unwrap_or(unsaid),
    })
}

/// Whether the key is for signing, if the signature says what it is for.
fn flags_of(signature: &Signature) -> Option<bool> {
    signature.config()?.hashed_subpackets().find_map(|part| match &part.data {
        SubpacketData::KeyFlags(flags) => Some(flags.sign()),
        _ => None,
    })
}
