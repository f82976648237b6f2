//! A package that no index describes: does it agree with itself? (FORMATS 3.10)
//!
//! A package carries digests of its own: the signature header has one of the main header, the main header one of the
//! payload, and old packages one MD5 of both. Held together in one pass they find a file that broke off or was damaged;
//! they say nothing about who made it. Where primary.xml is held, its digest of the whole file decides instead. The lead
//! and the signature header itself are covered by nothing.

use super::header::{BINARY, HeaderReader, INT32, INT64, STRING, STRING_ARRAY, Wanted};
use crate::check::same;
use crate::{Algorithm, Checker, Digest, Hasher, Invalid, Limits, ReadSeek, Sha256};

const WHAT: &str = "rpm package";
pub(super) const LEAD: usize = 96;

/// Tags of the signature header.
const HEADER_SHA1: u32 = 269;
const LONG_SIZE: u32 = 270;
const HEADER_SHA256: u32 = 273;
const SIZE: u32 = 1000;
const MD5: u32 = 1004;
/// Tags of the main header.
const PAYLOAD_DIGEST: u32 = 5092;
const PAYLOAD_ALGORITHM: u32 = 5093;
const PAYLOAD_SIZE: u32 = 5112;

/// The longest digest in hexadecimal, and the NUL behind it.
const HEX: usize = 129;

static SIGNATURE: &[Wanted] = &[
    (HEADER_SHA1, STRING, HEX),
    (LONG_SIZE, INT64, 8),
    (HEADER_SHA256, STRING, HEX),
    (SIZE, INT32, 4),
    (MD5, BINARY, 16),
];
static MAIN: &[Wanted] =
    &[(PAYLOAD_DIGEST, STRING_ARRAY, HEX), (PAYLOAD_ALGORITHM, INT32, 4), (PAYLOAD_SIZE, INT64, 8)];

/// OpenPGP's numbers for digests, which the main header uses.
const SHA256: u64 = 8;
static ALGORITHMS: &[(u64, Algorithm)] = &[
    (1, Algorithm::Md5),
    (2, Algorithm::Sha1),
    (SHA256, Algorithm::Sha256),
    (9, Algorithm::Sha384),
    (10, Algorithm::Sha512),
    (11, Algorithm::Sha224),
];

/// The check of one package.
pub(super) struct PackageChecker {
    part: Part,
    limits: Limits,
    lead: Vec<u8>,
    reader: HeaderReader,
    /// Over the main header, from the signature header.
    header: Option<Promise>,
    /// Over main header and payload, for packages that have nothing better.
    both: Option<Promise>,
    /// Over the payload, from the main header.
    payload: Option<Promise>,
    /// Main header and payload together, as the signature header says, and as they came.
    size: Option<u64>,
    came: u64,
}

/// A digest that bytes to come must have.
struct Promise {
    digest: Digest,
    hasher: Hasher,
}

impl Promise {
    fn new(digest: Digest) -> Self {
        let hasher = digest.algorithm().hasher();
        Self { digest, hasher }
    }

    fn keep(self, what: &'static str) -> Result<(), Invalid> {
        same(what, &self.digest, &self.hasher.finish())
    }
}

#[derive(Clone, Copy)]
enum Part {
    Lead,
    Signature,
    /// This much of it is still to come.
    Padding(u64),
    Header,
    Payload,
}

impl PackageChecker {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            part: Part::Lead,
            limits: limits.clone(),
            lead: Vec::with_capacity(LEAD),
            reader: HeaderReader::new("rpm signature header", SIGNATURE, limits),
            header: None,
            both: None,
            payload: None,
            size: None,
            came: 0,
        }
    }

    /// Takes some bytes of the current part and returns the rest.
    fn step<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], Invalid> {
        match self.part {
            Part::Lead => {
                let missing = LEAD.saturating_sub(self.lead.len());
                let (now, rest) = bytes.split_at_checked(missing).unwrap_or((bytes, &[]));
                self.lead.extend_from_slice(now);
                is_lead(WHAT, &self.lead)?;
                if self.lead.len() == LEAD {
                    self.part = Part::Signature;
                }
                Ok(rest)
            }
            Part::Signature => {
                let rest = self.reader.push(bytes)?;
                if self.reader.is_complete() {
                    self.signature_ended()?;
                }
                Ok(rest)
            }
            Part::Padding(0) => {
                self.part = Part::Header;
                Ok(bytes)
            }
            Part::Padding(left) => {
                let (now, rest) =
                    usize::try_from(left).ok().and_then(|left| bytes.split_at_checked(left)).unwrap_or((bytes, &[]));
                self.part = Part::Padding(left - now.len() as u64);
                Ok(rest)
            }
            Part::Header => {
                let rest = self.reader.push(bytes)?;
                let now = bytes.get(..bytes.len() - rest.len()).unwrap_or_default();
                for promise in [&mut self.header, &mut self.both].into_iter().flatten() {
                    promise.hasher.update(now);
                }
                self.count(now)?;
                if self.reader.is_complete() {
                    self.header_ended()?;
                }
                Ok(rest)
            }
            Part::Payload => {
                for promise in [&mut self.payload, &mut self.both].into_iter().flatten() {
                    promise.hasher.update(bytes);
                }
                self.count(bytes)?;
                Ok(&[])
            }
        }
    }

    fn signature_ended(&mut self) -> Result<(), Invalid> {
        let reader = &self.reader;
        self.size = reader.number(LONG_SIZE).or_else(|| reader.number(SIZE));
        let sha256 = hex(reader, HEADER_SHA256, Algorithm::Sha256)?;
        let is_old = sha256.is_none();
        self.header = sha256.or(hex(reader, HEADER_SHA1, Algorithm::Sha1)?).map(Promise::new);
        // Packages that have a SHA-256 of their header have a digest of their payload too; MD5 would be for nothing.
        let md5 = reader.binary(MD5).filter(|_| is_old);
        self.both = md5.and_then(|bytes| Digest::from_bytes(Algorithm::Md5, bytes).ok()).map(Promise::new);
        self.part = Part::Padding(self.reader.padding());
        self.reader = HeaderReader::new("rpm header", MAIN, &self.limits);
        Ok(())
    }

    fn header_ended(&mut self) -> Result<(), Invalid> {
        if let Some(promise) = self.header.take() {
            promise.keep("rpm header")?;
        }
        // Version 6 writes no algorithm and means SHA-256, and has its sizes here.
        let number = self.reader.number(PAYLOAD_ALGORITHM).unwrap_or(SHA256);
        if let Some((_, algorithm)) = ALGORITHMS.iter().find(|(known, _)| *known == number) {
            self.payload = hex(&self.reader, PAYLOAD_DIGEST, *algorithm)?.map(Promise::new);
        }
        let size = self.reader.number(PAYLOAD_SIZE).map(|payload| payload.saturating_add(self.came));
        self.size = self.size.or(size);
        self.part = Part::Payload;
        Ok(())
    }

    fn count(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
        self.came += bytes.len() as u64;
        match self.size {
            Some(size) if self.came > size => Err(Invalid::malformed(WHAT, "it is longer than it says")),
            _ => Ok(()),
        }
    }
}

impl Checker for PackageChecker {
    fn update(&mut self, mut bytes: &[u8]) -> Result<(), Invalid> {
        while !bytes.is_empty() {
            bytes = self.step(bytes)?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>, _whole: &mut dyn ReadSeek, _sha256: &Sha256) -> Result<(), Invalid> {
        let is_short = self.size.is_some_and(|size| self.came < size);
        if !matches!(self.part, Part::Payload) || is_short {
            return Err(Invalid::Truncated { what: WHAT });
        }
        self.payload.map_or(Ok(()), |promise| promise.keep("rpm payload"))?;
        self.both.map_or(Ok(()), |promise| promise.keep("rpm header and payload"))
    }
}

/// A digest in hexadecimal; one that cannot be read is damage.
fn hex(reader: &HeaderReader, tag: u32, algorithm: Algorithm) -> Result<Option<Digest>, Invalid> {
    let Some(text) = reader.text(tag) else {
        return Ok(None);
    };
    let digest = Digest::from_hex(algorithm, text);
    digest.map(Some).map_err(|_| Invalid::malformed(WHAT, format!("the digest of tag {tag} cannot be read")))
}

/// The first bytes of a package, as far as they have come: magic and major version.
pub(super) fn is_lead(what: &'static str, lead: &[u8]) -> Result<(), Invalid> {
    const MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];
    let major_fits = lead.get(MAGIC.len()).is_none_or(|major| matches!(major, 3 | 4));
    let starts_right = lead.iter().zip(MAGIC).all(|(found, magic)| *found == magic);
    if starts_right && major_fits {
        Ok(())
    } else {
        Err(Invalid::malformed(what, "it begins like no rpm package does"))
    }
}

#[cfg(test)]
mod tests;
