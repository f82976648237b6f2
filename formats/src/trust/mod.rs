//! Who signed an index, and whether that is somebody the operator trusts.
//!
//! A format says where its signatures are and which bytes they cover ([`crate::IndexFormat::verify`]); this module holds
//! the keys and does the sums. It promises that [`SignedBy`] exists only for bytes that a trusted key signed, that the key
//! was good at the time passed in, and that everything else is an [`Untrusted`] that says why in one sentence.
//!
//! Two kinds of keys are in use (FORMATS 1.2, 2.3, 3.5): plain public keys in PEM, found by file name or key id, which
//! know neither time nor revocation; and OpenPGP certificates, which know both. Digests are computed by this crate as the
//! index streams by, so a signature is always checked over a digest: `ring`, which the TLS stack brings, wants the whole
//! message in memory and so cannot do this for an index of many megabytes. The `rsa` crate can; its known weakness (time
//! tells about the private key, RUSTSEC-2023-0071) is of no matter where there is no private key. Where there is one, to sign
//! indexes of our own ([`SigningKeys`]), every use of it is blinded.

mod armor;
mod keys;
mod openpgp;
mod openpgp_signing;
mod public_key;
mod rsa_signing;
mod signing;
mod verdict;

pub(crate) use keys::Named;
pub use keys::{InvalidKey, KeyKind, TrustedKeys};
pub(crate) use openpgp::is_over_something_else;
pub use openpgp_signing::{OpenPgpKey, OpenPgpKind};
/// Random numbers that keys are made with.
pub use rsa::rand_core::{CryptoRngCore, OsRng};
pub use rsa_signing::{RsaDigest, RsaKey, RsaKeyPair, generate_rsa};
pub use signing::{SigningKey, SigningKeys};
pub use verdict::{SignedBy, Untrusted};
