//! Which check a path of an RPM repository gets.
//!
//! What an index says decides. Without that a digest in the name does, and without either the first bytes must at least
//! fit the name: enough to keep a web page from being kept as metadata, which dnf would call a broken repository for as
//! long as the cache believes in it (FORMATS 3.7).

use super::package::{PackageChecker, is_lead};
use super::{names, repomd};
use crate::check::{Opening, Parsed, WholeFile, first_element, is_not_a_page};
use crate::decompress::Compression;
use crate::{Checker, Expected, Identity, IndexRoot, Invalid, Limits, Mutability, RepoPath, Role};

/// The checker for a path, if there is one.
pub(super) fn checker(path: &RepoPath, expected: Option<&Expected>, limits: &Limits) -> Option<Box<dyn Checker>> {
    let whole = match expected {
        Some(Expected { size, identity: Identity::File(digest) }) => {
            Some(WholeFile::new("file", *size, [digest.clone()]))
        }
        _ => None,
    };
    if names::is_entry(path) {
        let layout = names::layout(&IndexRoot { entry: path.clone() });
        let read = move |entry: &[u8], limits: &Limits| repomd::read(&layout, entry, limits).map(|_| ());
        return Some(Box::new(Parsed::new("repomd.xml", whole, limits, read)));
    }
    match whole {
        Some(whole) => Some(Box::new(whole)),
        None => unexpected(path, limits),
    }
}

/// The checker for a path of which no index says anything.
fn unexpected(path: &RepoPath, limits: &Limits) -> Option<Box<dyn Checker>> {
    let name = path.file_name();
    Some(match (names::classify(path), names::mutability(path)) {
        (Role::Package, _) if name.ends_with(".drpm") => Box::new(Opening::new("drpm package", is_drpm)),
        (Role::Package, _) => Box::new(PackageChecker::new(limits)),
        (_, Mutability::Addressed(digest)) => Box::new(WholeFile::new("repodata file", None, [digest])),
        (Role::IndexCompanion, _) => {
            let what = "signature or key";
            Box::new(Parsed::new(what, None, limits, move |bytes, _| is_armored(what, bytes)))
        }
        (Role::IndexMember, _) => {
            let kind = Compression::of_name(name);
            Box::new(Opening::new("repodata file", move |what, head| fits(kind, what, head)))
        }
        (Role::Index, _) if names::is_mirror_list(name) => Box::new(Opening::new("mirror list", is_mirror_list)),
        (Role::Index, _) => Box::new(Opening::new("file", is_not_a_page)),
        _ => return None,
    })
}

/// Whether a metadata file begins like its name says. A name that says nothing allows anything but a page.
fn fits(kind: Compression, what: &'static str, head: &[u8]) -> Result<(), Invalid> {
    match kind {
        Compression::None => is_not_a_page(what, head),
        kind if Compression::of(head) == kind => Ok(()),
        kind => Err(Invalid::malformed(what, format!("by its name it is {}, by its first bytes not", kind.name()))),
    }
}

/// An armored block has a first and a last line, so one that was cut short is known by that.
fn is_armored(what: &'static str, whole: &[u8]) -> Result<(), Invalid> {
    let whole = whole.trim_ascii();
    let last = whole.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    if !whole.starts_with(b"-----BEGIN PGP ") {
        return Err(Invalid::malformed(what, "it is not an armored OpenPGP block"));
    }
    let is_whole = last.starts_with(b"-----END PGP ") && last.ends_with(b"-----");
    if is_whole { Ok(()) } else { Err(Invalid::Truncated { what }) }
}

/// A plain list, or a metalink about any file: whether it is of use is for [`super::mirrors`] to say.
fn is_mirror_list(what: &'static str, head: &[u8]) -> Result<(), Invalid> {
    match first_element(head) {
        Some(first) if !first.starts_with(b"metalink") => Err(Invalid::malformed(what, "it is another document")),
        _ => Ok(()),
    }
}

/// A delta looks like a package, or is of the kind that has its own magic.
fn is_drpm(what: &'static str, head: &[u8]) -> Result<(), Invalid> {
    if head.len() >= 4 && (head.starts_with(b"drpm") || is_lead(what, head).is_ok()) {
        Ok(())
    } else {
        Err(Invalid::malformed(what, "it begins like no drpm package does"))
    }
}
