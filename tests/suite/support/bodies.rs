//! Content that is made from a seed, so that two of them are never equal by chance and a failure can be repeated.

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{RngCore as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

/// `length` bytes that do not compress and that no other seed gives.
pub(crate) fn noise(seed: u64, length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    SmallRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes.into()
}

/// The digest of some bytes, in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Fails unless two contents are equal, without printing them.
#[track_caller]
pub(crate) fn assert_same(got: &[u8], expected: &[u8], what: &str) {
    if got == expected {
        return;
    }
    let differs_at = got.iter().zip(expected).position(|(a, b)| a != b).unwrap_or(got.len().min(expected.len()));
    let shown = String::from_utf8_lossy(&got[..got.len().min(200)]).into_owned();
    panic!(
        "{what}: {} bytes instead of {}, first difference at {differs_at}; it begins {shown:?}",
        got.len(),
        expected.len()
    );
}
