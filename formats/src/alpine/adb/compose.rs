//! Writing a v3 index: `Packages.adb` of the fragments of its packages (FORMATS 2.3, 5).
//!
//! Values point at one another by where they are in their block, so an index cannot be joined of pieces as a text can: it is
//! composed anew of all its fragments each time ([`mod@super::info`]), held whole within [`Limits::adb_bytes`], and handed out compressed.
//! Packages are in the order of apk, by name and version. What is the same in several packages is there once.
//!
//! It is compressed with deflate, as `apk mkndx` does unless it is told otherwise: every apk that reads v3 files reads that,
//! while zstd is left out of some builds. Signatures follow the values and cover them alone, so compression is nobody's
//! concern ([`super::signature`]).

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::blocks::{INDEX, SIGNATURE, VALUES, header, padding};
use super::info::Info;
use super::signature::signatures;
use super::value::{Block, Value};
use super::writer::Writer;
use crate::alpine::version;
use crate::{Invalid, Limits, SigningKeys};

const WHAT: &str = "apk index (v3)";
/// The slot of an index with its packages, after its description, which it has none of.
const BEFORE_PACKAGES: [Value; 1] = [Value::NULL];
/// deflate's own measure of how hard to compress.
const EFFORT: u32 = 6;

/// A package that was written, and what it is listed by.
struct Listed {
    name: Box<str>,
    version: Box<str>,
    value: Value,
}

/// Writes the index of these fragments, one after another, signed by these keys.
pub(in crate::alpine) fn compose(
    from: &mut dyn Read,
    keys: &SigningKeys,
    limits: &Limits,
    into: &mut dyn Write,
) -> Result<(), Invalid> {
    let values = values(from, limits)?;
    let signatures = signatures(&values, keys)?;
    let written = write(&values, &signatures, into);
    written.map_err(Invalid::Read)
}

fn values(from: &mut dyn Read, limits: &Limits) -> Result<Vec<u8>, Invalid> {
    let mut writer = Writer::new(WHAT, "adb_bytes", limits.adb_bytes);
    let (mut listed, mut fragment) = (Vec::new(), Vec::new());
    while let Some(length) = length(from)? {
        if u64::from(length) > limits.fragment_bytes {
            return Err(Invalid::OverLimit { what: WHAT, limit: "fragment_bytes", value: limits.fragment_bytes });
        }
        if listed.len() as u64 >= limits.packages {
            return Err(Invalid::OverLimit { what: WHAT, limit: "packages", value: limits.packages });
        }
        fragment.clear();
        let read = from.take(length.into()).read_to_end(&mut fragment).map_err(Invalid::Read)?;
        if read as u64 != u64::from(length) {
            return Err(Invalid::Truncated { what: WHAT });
        }
        let malformed = |why| Invalid::malformed(WHAT, why);
        let (block, table) = Block::open(&fragment).map_err(malformed)?;
        let info = Info::read(block, table, limits).map_err(malformed)?;
        listed.push(Listed { name: info.name.into(), version: info.version.into(), value: info.write(&mut writer)? });
    }
    let order = |a: &Listed, b: &Listed| {
        a.name.as_bytes().cmp(b.name.as_bytes()).then_with(|| version::compare(&a.version, &b.version))
    };
    listed.sort_by(order);
    let packages: Vec<Value> = listed.into_iter().map(|listed| listed.value).collect();
    let packages = writer.table(&packages)?;
    // An index of nothing has a root all the same.
    let root = writer.root(&[&BEFORE_PACKAGES[..], &[packages]].concat())?;
    Ok(writer.finish(root))
}

/// The length of the next fragment; `None` after the last.
fn length(from: &mut dyn Read) -> Result<Option<u32>, Invalid> {
    let mut length = Vec::with_capacity(size_of::<u32>());
    from.take(size_of::<u32>() as u64).read_to_end(&mut length).map_err(Invalid::Read)?;
    match length.as_slice().try_into() {
        Ok(length) => Ok(Some(u32::from_le_bytes(length))),
        Err(_) if length.is_empty() => Ok(None),
        Err(_) => Err(Invalid::Truncated { what: WHAT }),
    }
}

/// The container around values and signatures.
fn write(values: &[u8], signatures: &[Vec<u8>], into: &mut dyn Write) -> io::Result<()> {
    into.write_all(b"ADBd")?;
    let mut encoder = DeflateEncoder::new(into, Compression::new(EFFORT));
    encoder.write_all(b"ADB.")?;
    encoder.write_all(&INDEX)?;
    let blocks = std::iter::once((VALUES, values)).chain(signatures.iter().map(|bytes| (SIGNATURE, &bytes[..])));
    for (kind, content) in blocks {
        encoder.write_all(&header(kind, content.len()))?;
        encoder.write_all(content)?;
        encoder.write_all(padding(content.len()))?;
    }
    encoder.finish().map(drop)
}
