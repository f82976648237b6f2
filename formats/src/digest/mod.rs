//! Digests that know their algorithm.
//!
//! A [`Sha256`] names content everywhere in the server: ETags, blob keys, catalog rows. A [`Digest`] is what an index
//! says of a file, in whichever algorithm it chose (FORMATS 3.2). A [`Hasher`] computes any of them in one pass.

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;

/// The SHA-256 of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// A digest computed elsewhere.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        to_hex(&self.0)
    }

    /// The first 16 hexadecimal digits: what storage keys use (DESIGN 7).
    #[must_use]
    pub fn hex16(&self) -> String {
        to_hex(&self.0[..8])
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl FromStr for Sha256 {
    type Err = InvalidDigest;

    fn from_str(hex: &str) -> Result<Self, InvalidDigest> {
        let bytes = from_hex(hex)?;
        bytes.try_into().map(Self).map_err(|_| InvalidDigest)
    }
}

/// Not the hexadecimal form of a digest of the length its algorithm has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a hexadecimal digest of the right length")]
pub struct InvalidDigest;

/// The algorithms that indexes use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the standard's")]
pub enum Algorithm {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    /// By the name rpm metadata uses, without case; `sha` means SHA-1 (FORMATS 3.2).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "md5" => Self::Md5,
            "sha" | "sha1" => Self::Sha1,
            "sha224" => Self::Sha224,
            "sha256" => Self::Sha256,
            "sha384" => Self::Sha384,
            "sha512" => Self::Sha512,
            _ => return None,
        })
    }

    /// By the number of hexadecimal digits: how a hash-named file says which it is (FORMATS 4).
    #[must_use]
    pub const fn from_hex_length(digits: usize) -> Option<Self> {
        Some(match digits {
            32 => Self::Md5,
            40 => Self::Sha1,
            56 => Self::Sha224,
            64 => Self::Sha256,
            96 => Self::Sha384,
            128 => Self::Sha512,
            _ => return None,
        })
    }

    /// The length of a digest in bytes.
    #[must_use]
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The name rpm metadata uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// The digest of `bytes`.
    #[must_use]
    pub fn digest(self, bytes: &[u8]) -> Digest {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.finish()
    }

    /// A hasher of this algorithm.
    #[must_use]
    pub fn hasher(self) -> Hasher {
        match self {
            Self::Md5 => Hasher::Md5(md5::Md5::new()),
            Self::Sha1 => Hasher::Sha1(sha1::Sha1::new()),
            Self::Sha224 => Hasher::Sha224(sha2::Sha224::new()),
            Self::Sha256 => Hasher::Sha256(sha2::Sha256::new()),
            Self::Sha384 => Hasher::Sha384(sha2::Sha384::new()),
            Self::Sha512 => Hasher::Sha512(sha2::Sha512::new()),
        }
    }
}

/// A digest together with its algorithm.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    bytes: Box<[u8]>,
}

impl Digest {
    /// From the algorithm and the hexadecimal form.
    ///
    /// # Errors
    /// [`InvalidDigest`] when the text is not hexadecimal or not of the algorithm's length.
    pub fn from_hex(algorithm: Algorithm, hex: &str) -> Result<Self, InvalidDigest> {
        let bytes = from_hex(hex)?;
        if bytes.len() == algorithm.digest_len() {
            Ok(Self { algorithm, bytes: bytes.into() })
        } else {
            Err(InvalidDigest)
        }
    }

    /// From the algorithm and the raw bytes.
    ///
    /// # Errors
    /// [`InvalidDigest`] when the number of bytes is not the algorithm's.
    pub fn from_bytes(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, InvalidDigest> {
        if bytes.len() == algorithm.digest_len() {
            Ok(Self { algorithm, bytes: bytes.into() })
        } else {
            Err(InvalidDigest)
        }
    }

    /// Which algorithm made it.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The raw bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Lower-case hexadecimal.
    #[must_use]
    pub fn hex(&self) -> String {
        to_hex(&self.bytes)
    }
}

impl From<Sha256> for Digest {
    fn from(sha256: Sha256) -> Self {
        Self { algorithm: Algorithm::Sha256, bytes: sha256.0.into() }
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    /// `<algorithm>:<hex>`, as it is displayed.
    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let (algorithm, hex) = text.split_once(':').ok_or(InvalidDigest)?;
        Self::from_hex(Algorithm::from_name(algorithm).ok_or(InvalidDigest)?, hex)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Computes a [`Digest`] over bytes that arrive in pieces.
#[derive(Clone)]
#[allow(missing_docs, reason = "the names are the standard's")]
pub enum Hasher {
    Md5(md5::Md5),
    Sha1(sha1::Sha1),
    Sha224(sha2::Sha224),
    Sha256(sha2::Sha256),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
}

impl Hasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Md5(h) => h.update(bytes),
            Self::Sha1(h) => h.update(bytes),
            Self::Sha224(h) => h.update(bytes),
            Self::Sha256(h) => h.update(bytes),
            Self::Sha384(h) => h.update(bytes),
            Self::Sha512(h) => h.update(bytes),
        }
    }

    /// The digest of everything taken.
    #[must_use]
    pub fn finish(self) -> Digest {
        let (algorithm, bytes): (_, Box<[u8]>) = match self {
            Self::Md5(h) => (Algorithm::Md5, h.finalize().as_slice().into()),
            Self::Sha1(h) => (Algorithm::Sha1, h.finalize().as_slice().into()),
            Self::Sha224(h) => (Algorithm::Sha224, h.finalize().as_slice().into()),
            Self::Sha256(h) => (Algorithm::Sha256, h.finalize().as_slice().into()),
            Self::Sha384(h) => (Algorithm::Sha384, h.finalize().as_slice().into()),
            Self::Sha512(h) => (Algorithm::Sha512, h.finalize().as_slice().into()),
        };
        Digest { algorithm, bytes }
    }
}

fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        hex.push(char::from(DIGITS[usize::from(byte >> 4)]));
        hex.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    hex
}

fn from_hex(hex: &str) -> Result<Vec<u8>, InvalidDigest> {
    if !hex.len().is_multiple_of(2) || hex.len() > 128 {
        return Err(InvalidDigest);
    }
    hex.as_bytes()
        .chunks_exact(2)
        .map(|pair| {
            let high = char::from(pair[0]).to_digit(16).ok_or(InvalidDigest)?;
            let low = char::from(pair[1]).to_digit(16).ok_or(InvalidDigest)?;
            u8::try_from(high << 4 | low).map_err(|_| InvalidDigest)
        })
        .collect()
}

#[cfg(test)]
mod tests;
