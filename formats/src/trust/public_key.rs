//! A plain public key, as apk has them below `/etc/apk/keys`: a PEM `PUBLIC KEY` (SubjectPublicKeyInfo).
//!
//! [`PublicKey`] checks signatures over digests: RSA with PKCS#1 v1.5 padding, ECDSA on P-256 in DER. It knows the id by
//! which v3 files name it (FORMATS 2.3) and the SHA-256 of its DER form, by which people compare keys.

use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use p256::ecdsa::{DerSignature, VerifyingKey};
use rsa::RsaPublicKey;
use rsa::pkcs1v15::Pkcs1v15Sign;
use rsa::pkcs8::SubjectPublicKeyInfoRef;
use rsa::traits::{PublicKeyParts as _, SignatureScheme as _};

use crate::{Algorithm, Digest, Sha256};

/// What is wrong with a key, as the rest of a sentence.
pub(super) type Why = &'static str;

/// The id of a key in v3 files.
pub(crate) type KeyId = [u8; 16];

/// Shorter RSA keys can be broken.
pub(super) const RSA_BYTES: usize = 256;

/// One key.
#[derive(Debug, Clone)]
pub(crate) struct PublicKey {
    material: Material,
    id: KeyId,
    digest: Sha256,
}

#[derive(Debug, Clone)]
enum Material {
    Rsa(Box<RsaPublicKey>),
    P256(Box<VerifyingKey>),
}

impl PublicKey {
    /// Reads the DER form.
    pub(super) fn read(der: &[u8]) -> Result<Self, Why> {
        let info = SubjectPublicKeyInfoRef::try_from(der).map_err(|_| "it is not a SubjectPublicKeyInfo")?;
        let bits = info.subject_public_key.as_bytes().ok_or("its key is not whole bytes")?;
        let digest = Algorithm::Sha512.digest(bits);
        let mut id = KeyId::default();
        id.iter_mut().zip(digest.bytes()).for_each(|(to, from)| *to = *from);
        let material = if info.algorithm.oid == rsa::pkcs1::ALGORITHM_OID {
            let key = RsaPublicKey::try_from(info).map_err(|_| "its RSA numbers cannot be used (4096 bits at most)")?;
            if key.size() < RSA_BYTES {
                return Err("it has less than 2048 bits, which can be broken");
            }
            Material::Rsa(Box::new(key))
        } else {
            let key = VerifyingKey::try_from(info);
            Material::P256(Box::new(key.map_err(|_| "it is neither RSA nor on the curve P-256")?))
        };
        Ok(Self { material, id, digest: Sha256::of(der) })
    }

    /// The id that v3 files give: of the key's own bytes, whatever it is wrapped in.
    pub(crate) const fn id(&self) -> &KeyId {
        &self.id
    }

    /// The digest by which people know it.
    pub(super) const fn digest(&self) -> &Sha256 {
        &self.digest
    }

    /// Whether `signature` is one by this key over content that has `digest`.
    pub(crate) fn verifies(&self, digest: &Digest, signature: &[u8]) -> bool {
        match &self.material {
            Material::Rsa(key) => padding(digest.algorithm())
                .is_some_and(|padding| padding.verify(key, digest.bytes(), signature).is_ok()),
            Material::P256(key) => DerSignature::try_from(signature)
                .is_ok_and(|signature| key.verify_prehash(digest.bytes(), &signature).is_ok()),
        }
    }

    /// For people.
    pub(crate) fn algorithm(&self) -> String {
        match &self.material {
            Material::Rsa(key) => format!("RSA {}", key.size() * 8),
            Material::P256(_) => "ECDSA P-256".to_owned(),
        }
    }
}

/// The padding: the DER head of a `DigestInfo` for each digest that signatures are made over (RFC 8017, 9.2).
pub(super) fn padding(algorithm: Algorithm) -> Option<Pkcs1v15Sign> {
    const SHA1: &[u8] = b"\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14";
    const SHA256: &[u8] = b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";
    const SHA512: &[u8] = b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40";
    let prefix = match algorithm {
        Algorithm::Sha1 => SHA1,
        Algorithm::Sha256 => SHA256,
        Algorithm::Sha512 => SHA512,
        Algorithm::Md5 | Algorithm::Sha224 | Algorithm::Sha384 => return None,
    };
    Some(Pkcs1v15Sign { hash_len: Some(algorithm.digest_len()), prefix: prefix.into() })
}
