//! A package, opened: found to be whole, and its headers at hand.
//!
//! Before anything in a package is believed, the whole of it is held against the digests it carries
//! ([`PackageChecker`]): what was damaged on its way here must not get into an index.

use std::io::{BufReader, ErrorKind, Read};
use std::ops::ControlFlow;

use crate::decompress::pieces;
use crate::rpm::package::{LEAD, PackageChecker, is_lead};
use crate::rpm::whole_header::WholeHeader;
use crate::{Checker, Invalid, Limits, ReadSeek, Sha256};

const WHAT: &str = "rpm package";

/// Tags of the signature header: the payload's length when it is not compressed.
const LONG_ARCHIVE_SIZE: u32 = 271;
const PAYLOAD_SIZE: u32 = 1007;
/// And of the main header, in packages that are older than that.
const ARCHIVE_SIZE: u32 = 1046;

/// What is known of a package besides its main header.
pub(super) struct Opened {
    pub(super) header: WholeHeader,
    /// The first byte of the main header, and the one behind it.
    pub(super) range: (u64, u64),
    /// The payload's length when it is not compressed; 0 if it does not say.
    pub(super) archive: u64,
    /// Whether the lead calls it a source package.
    pub(super) is_source_by_lead: bool,
}

/// Checks a package of `size` bytes, and opens it.
pub(super) fn open(whole: &mut dyn ReadSeek, size: u64, sha256: &Sha256, limits: &Limits) -> Result<Opened, Invalid> {
    check(whole, size, sha256, limits)?;
    whole.rewind().map_err(Invalid::Read)?;
    let mut from = BufReader::with_capacity(64 << 10, whole);
    let mut lead = [0; LEAD];
    fill(&mut from, &mut lead)?;
    is_lead(WHAT, &lead)?;
    // The one kind of signature that librpm takes: a header.
    if lead.get(78..80) != Some(&[0, 5]) {
        return Err(Invalid::malformed(WHAT, "its lead announces no signature header"));
    }
    let signature = WholeHeader::read("rpm signature header", &mut from, limits)?;
    let mut padding = [0; 8];
    let padding = usize::try_from(signature.intro().padding()).ok().and_then(|length| padding.get_mut(..length));
    fill(&mut from, padding.unwrap_or_default())?;
    let header = WholeHeader::read("rpm header", &mut from, limits)?;
    header.check_region()?;

    let start = LEAD as u64 + signature.intro().length() + signature.intro().padding();
    let archive = match signature.number(LONG_ARCHIVE_SIZE)? {
        None => signature.number(PAYLOAD_SIZE)?,
        long => long,
    };
    let archive = match archive {
        None => header.number(ARCHIVE_SIZE)?,
        said => said,
    };
    Ok(Opened {
        range: (start, start + header.intro().length()),
        archive: archive.unwrap_or(0),
        is_source_by_lead: lead.get(6..8) == Some(&[0, 1]),
        header,
    })
}

/// Holds the whole of a package against the digests in it, and against its length.
fn check(whole: &mut dyn ReadSeek, size: u64, sha256: &Sha256, limits: &Limits) -> Result<(), Invalid> {
    whole.rewind().map_err(Invalid::Read)?;
    let mut checker = Box::new(PackageChecker::new(limits));
    let mut length = 0;
    pieces(whole, |piece| {
        length += piece.len() as u64;
        checker.update(piece).map(ControlFlow::Continue)
    })?;
    checker.finish(whole, sha256)?;
    if length == size {
        Ok(())
    } else {
        Err(Invalid::malformed(WHAT, format!("it has {length} bytes where {size} were uploaded")))
    }
}

fn fill(from: &mut dyn Read, piece: &mut [u8]) -> Result<(), Invalid> {
    from.read_exact(piece).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => Invalid::Truncated { what: WHAT },
        _ => Invalid::Read(error),
    })
}
