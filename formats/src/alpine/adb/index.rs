//! A v3 index: the packages it names and where they lie (FORMATS 2.2, 2.3).
//!
//! The values point at one another all over their block, so the block is held whole, within [`Limits::adb_bytes`]; the
//! packages are then handed out one by one. An index that says itself where its packages lie (`pkgname-spec`) is
//! believed as far as the result is a path of this repository; packages that lie elsewhere are not handed out, since
//! clients fetch those without us.

use std::io::Read;
use std::ops::ControlFlow;

use super::blocks::{Blocks, INDEX, Piece, hold};
use super::container::Container;
use super::info::Info;
use super::value::{Block, Table, Value, Why};
use crate::alpine::place::{Place, base};
use crate::decompress::Expansion;
use crate::{
    Algorithm, Checker, Digest, Identity, IndexRoot, Invalid, Limits, PackageEntry, ReadSeek, RepoPath, Sha256,
};

const WHAT: &str = "apk index (v3)";

/// The slots of the root and of a package, by number.
const PACKAGES: usize = 2;
const PKGNAME_SPEC: usize = 3;
const NAME: usize = 1;
const VERSION: usize = 2;
const HASHES: usize = 3;
const ARCH: usize = 5;
const FILE_SIZE: usize = 13;

/// The bytes of an index on their way to its block of values.
struct Opening {
    container: Container,
    blocks: Blocks,
    values: Vec<u8>,
    adb_bytes: u64,
}

impl Opening {
    fn new(limits: &Limits) -> Self {
        Self {
            container: Container::new(WHAT, limits),
            blocks: Blocks::new(WHAT, INDEX),
            values: Vec::new(),
            adb_bytes: limits.adb_bytes,
        }
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
        let Self { container, blocks, values, adb_bytes } = self;
        container.push(bytes, &mut |open| {
            blocks.push(open, &mut |piece| match piece {
                Piece::Values(bytes) => hold(WHAT, values, bytes, *adb_bytes),
                _ => Ok(()),
            })
        })
    }

    fn finish(self) -> Result<Vec<u8>, Invalid> {
        self.container.finish()?;
        self.blocks.finish()?;
        Ok(self.values)
    }
}

/// Streams the packages of an index.
pub(in crate::alpine) fn packages(
    root: &IndexRoot,
    from: &mut dyn Read,
    limits: &Limits,
    each: &mut dyn FnMut(PackageEntry) -> ControlFlow<()>,
) -> Result<(), Invalid> {
    read(root, &open(from, limits)?, limits, &mut |package, _, _| Ok(each(package)))
}

/// Streams the packages of an index, each as a fragment for an index of ours.
pub(in crate::alpine) fn fragments(
    root: &IndexRoot,
    from: &mut dyn Read,
    limits: &Limits,
    each: &mut dyn FnMut(PackageEntry, &[u8]) -> ControlFlow<()>,
) -> Result<(), Invalid> {
    let values = open(from, limits)?;
    let malformed = |why: Why| Invalid::malformed(WHAT, why);
    let (block, table) = Block::open(&values).map_err(malformed)?;
    if !block.blob(table.slot(PKGNAME_SPEC)).map_err(malformed)?.is_empty() {
        return Err(malformed("it says itself where its packages lie, so they mean nothing in another index"));
    }
    // Packages may share their values, so that a small index could be cut into large fragments without end.
    let mut expansion = Expansion::new(WHAT, limits);
    read(root, &values, limits, &mut |package, block, table| {
        let info = Info::read(block, table, limits).map_err(malformed)?;
        let fragment = info.fragment(limits)?;
        expansion.add(fragment.len(), values.len() as u64)?;
        Ok(each(package, &fragment))
    })
}

fn open(from: &mut dyn Read, limits: &Limits) -> Result<Vec<u8>, Invalid> {
    let mut opening = Opening::new(limits);
    crate::decompress::pieces(from, |bytes| opening.push(bytes).map(|()| ControlFlow::Continue(())))?;
    opening.finish()
}

/// Told of each package, with the values that describe it.
type Each<'e> = dyn FnMut(PackageEntry, Block<'_>, Table<'_>) -> Result<ControlFlow<()>, Invalid> + 'e;

fn read(root: &IndexRoot, values: &[u8], limits: &Limits, each: &mut Each<'_>) -> Result<(), Invalid> {
    let malformed = |why: Why| Invalid::malformed(WHAT, why);
    let (block, table) = Block::open(values).map_err(malformed)?;
    let spec = block.text(table.slot(PKGNAME_SPEC)).map_err(malformed)?;
    let mut place = Place::new(root);
    let packages = block.table(table.slot(PACKAGES)).map_err(malformed)?;
    for (number, value) in (1_u64..).zip(packages.iter()) {
        if number > limits.packages {
            return Err(Invalid::OverLimit { what: WHAT, limit: "packages", value: limits.packages });
        }
        let package = |why: Why| Invalid::malformed(WHAT, format!("package {number}: {why}"));
        let Some(found) = Package::read(block, value).map_err(package)? else {
            continue;
        };
        let path = if spec.is_empty() {
            place.of(found.name, found.version, found.arch)
        } else {
            specified(root, spec, &found).map_err(package)?
        };
        let Some(path) = path else { continue };
        let table = block.table(value).map_err(package)?;
        if each(found.entry(path), block, table)?.is_break() {
            return Ok(());
        }
    }
    Ok(())
}

/// A package as far as it matters.
struct Package<'b> {
    name: &'b str,
    version: &'b str,
    arch: &'b str,
    size: u64,
    identity: Identity,
    hash: &'b [u8],
}

impl<'b> Package<'b> {
    /// `None` for a package without name or version: apk lists what it cannot read so, and nobody can install it.
    fn read(block: Block<'b>, value: Value) -> Result<Option<Self>, Why> {
        let table: Table<'b> = block.table(value)?;
        let field = |slot| match block.blob(table.slot(slot))? {
            // Texts may overlap, so that a small block could hold large ones without end.
            bytes if bytes.len() > RepoPath::MAX_BYTES => Err("a field longer than any path"),
            bytes => std::str::from_utf8(bytes).map_err(|_| "a text that is not UTF-8"),
        };
        let (name, version) = (field(NAME)?, field(VERSION)?);
        if name.is_empty() || version.is_empty() {
            return Ok(None);
        }
        let hash = block.blob(table.slot(HASHES))?;
        // Twenty bytes may be a SHA-256 cut short too; the check of a package takes either.
        let algorithm = if hash.len() == Algorithm::Sha1.digest_len() { Algorithm::Sha1 } else { Algorithm::Sha256 };
        let identity = Digest::from_bytes(algorithm, hash);
        Ok(Some(Self {
            name,
            version,
            arch: field(ARCH)?,
            size: block.number(table.slot(FILE_SIZE))?,
            identity: Identity::Part(identity.map_err(|_| "its identity is not as long as a digest")?),
            hash,
        }))
    }

    fn entry(&self, path: RepoPath) -> PackageEntry {
        PackageEntry {
            name: self.name.to_owned(),
            version: self.version.to_owned(),
            arch: self.arch.to_owned(),
            path,
            size: self.size,
            identity: self.identity.clone(),
        }
    }
}

/// The path that the index's own rule gives: text with `${name}` `${version}` `${arch}` `${hash}`, each also `${x:N}` for
/// its first N characters. `None` when that is no path of this repository.
fn specified(root: &IndexRoot, spec: &str, package: &Package<'_>) -> Result<Option<RepoPath>, Why> {
    const UNKNOWN: Why = "the index's pkgname-spec cannot be read";
    let hash = package.hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (mut path, mut rest) = (String::new(), spec);
    while let Some((before, after)) = rest.split_once("${") {
        let (variable, tail) = after.split_once('}').ok_or(UNKNOWN)?;
        let (variable, most) = match variable.split_once(':') {
            Some((variable, most)) => (variable, most.parse().map_err(|_| UNKNOWN)?),
            None => (variable, usize::MAX),
        };
        let value = match variable {
            "name" => package.name,
            "version" => package.version,
            "arch" => package.arch,
            "hash" => &hash,
            _ => return Err(UNKNOWN),
        };
        path.push_str(before);
        path.extend(value.chars().take(most));
        rest = tail;
        if path.len() > RepoPath::MAX_BYTES {
            return Ok(None);
        }
    }
    path.push_str(rest);
    let is_elsewhere = path.contains("://") || path.starts_with('/');
    Ok(if is_elsewhere { None } else { RepoPath::join(base(root), &path).ok().filter(|path| !path.is_directory()) })
}

/// The check of an index file: everything in it can be read.
pub(in crate::alpine) struct IndexCheck {
    root: IndexRoot,
    limits: Limits,
    opening: Opening,
}

impl IndexCheck {
    pub(in crate::alpine) fn new(root: IndexRoot, limits: &Limits) -> Self {
        Self { root, limits: limits.clone(), opening: Opening::new(limits) }
    }
}

impl Checker for IndexCheck {
    fn update(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
        self.opening.push(bytes)
    }

    fn finish(self: Box<Self>, _whole: &mut dyn ReadSeek, _sha256: &Sha256) -> Result<(), Invalid> {
        let Self { root, limits, opening } = *self;
        read(&root, &opening.finish()?, &limits, &mut |_, _, _| Ok(ControlFlow::Continue(())))
    }
}
