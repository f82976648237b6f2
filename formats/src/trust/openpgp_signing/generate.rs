//! A new key: one that certifies and signs, says so of itself, and has no subkeys, for old readers know no signatures by those.

use pgp::composed::{KeyType, SignedKeyDetails, SignedSecretKey};
use pgp::packet::{
    KeyFlags, PacketTrait as _, PubKeyInner, PublicKey, SecretKey, SignatureConfig, SignatureType, Subpacket,
    SubpacketData, UserId,
};
use pgp::types::{KeyDetails as _, KeyVersion, PacketHeaderVersion, Password, Timestamp};
use rsa::rand_core::{CryptoRng, RngCore};

use super::{DIGEST, OpenPgpKind};

/// Makes a key for `user_id`, as made at `at`.
pub(super) fn make(
    kind: OpenPgpKind,
    user_id: &str,
    at: Timestamp,
    random: &mut dyn FnMut(&mut [u8]),
) -> pgp::errors::Result<SignedSecretKey> {
    const RSA_BITS: u32 = 3072;
    let kind = match kind {
        OpenPgpKind::Rsa => KeyType::Rsa(RSA_BITS),
        OpenPgpKind::Ed25519 => KeyType::Ed25519Legacy,
    };
    let (public, secret) = kind.generate(Random(random))?;
    let public = PublicKey::from_inner(PubKeyInner::new(KeyVersion::V4, kind.to_alg(), at, None, public)?)?;
    let secret = SecretKey::new(public.clone(), secret)?;

    let mut flags = KeyFlags::default();
    flags.set_certify(true);
    flags.set_sign(true);
    let mut config = SignatureConfig::v4(SignatureType::CertPositive, kind.to_alg(), DIGEST);
    config.hashed_subpackets = vec![
        Subpacket::regular(SubpacketData::SignatureCreationTime(at))?,
        Subpacket::regular(SubpacketData::IssuerFingerprint(public.fingerprint()))?,
        Subpacket::regular(SubpacketData::KeyFlags(flags))?,
        Subpacket::regular(SubpacketData::IsPrimary(true))?,
    ];
    config.unhashed_subpackets = vec![Subpacket::regular(SubpacketData::IssuerKeyId(public.legacy_key_id()))?];
    let user_id = UserId::from_str(PacketHeaderVersion::default(), user_id)?;
    let signature = config.sign_certification(&secret, &public, &Password::empty(), user_id.tag(), &user_id)?;
    let details = SignedKeyDetails::new(Vec::new(), Vec::new(), vec![user_id.into_signed(signature)], Vec::new());
    Ok(SignedSecretKey::new(secret, details, Vec::new(), Vec::new()))
}

/// The caller's randomness, as rPGP asks for it.
struct Random<'r>(&'r mut dyn FnMut(&mut [u8]));

impl RngCore for Random<'_> {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        (self.0)(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for Random<'_> {}
