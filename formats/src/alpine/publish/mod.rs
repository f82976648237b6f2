//! Writing indexes of packages that were uploaded: `APKINDEX.tar.gz` of those of version 2, `Packages.adb` of those of
//! version 3 (FORMATS 1.2 to 1.5, 2.3, 5).
//!
//! An apk index has one list. In version 2 that is the text `APKINDEX`, and a package contributes one stanza to it. Around the stanzas
//! goes the frame of a tar archive (`archive.rs`), around that gzip, and in front of it the signatures, in a member of their own
//! (`seals.rs`). A stanza is written from the package's own words (`control.rs`, `facts.rs`) in the order of `apk index`
//! (`lines.rs`), so that the index is the one that `apk index --rewrite-arch` would have made of the same folder. In version 3 a
//! package contributes a block of values (`newer.rs`), and the index is composed of them.
//!
//! Which version a package is of, its first bytes say. Either index is a root of its own, and both may be in one folder; a path
//! is listed in one of them at most, for it is one file.
//!
//! The folder of an architecture that holds a package is the root that lists it: clients look for the index there and, since
//! they make the path of a package from its architecture, for the package too. A package for every architecture (`noarch`)
//! is therefore listed as one of the folder's. What lies where no client would look is refused, and so is a package that
//! could harm the others: all of an index is lost to apk if one line of it is too long.

mod archive;
mod control;
mod facts;
mod lines;
mod newer;
mod seals;

use std::io::{Read, Write};
use std::ops::ControlFlow;

use self::facts::Facts;
use super::names::is_v2_entry;
use super::package::PackageChecker;
use super::pkginfo::PkgInfo;
use super::place::Place;
use super::{Alpine, adb, index, names};
use crate::decompress::pieces;
use crate::publish::{Compression, Cut, Described, Finished, FinishedContent, Index, Totals, Upload};
use crate::{
    Checker, Digest, Expected, Identity, IndexRoot, Invalid, Limits, PackageEntry, PublishFormat, ReadSeek, RepoPath,
    SigningKeys,
};

const PLACE: &str = "path of an apk package";
/// What apk calls the architecture of a package that fits all.
const NOARCH: &str = "noarch";

impl PublishFormat for Alpine {
    fn lists(&self) -> &'static [&'static str] {
        &["APKINDEX"]
    }

    fn compressions(&self) -> &'static [Compression] {
        &[Compression::Gzip]
    }

    /// Those that clients look for in the folder of an architecture. Others they know by a URL of their own (`ndx`).
    fn writes(&self, root: &IndexRoot) -> bool {
        names::ENTRIES.contains(&root.entry.file_name())
    }

    /// A stanza is complete in itself, and clients make the path of a package of what it says: it means the same in any index at the
    /// same place. So does what an index of version 3 says of a package.
    fn cut(
        &self,
        root: &IndexRoot,
        _list: usize,
        from: &mut dyn Read,
        limits: &Limits,
        each: &mut dyn FnMut(Cut<'_>) -> ControlFlow<()>,
    ) -> Result<(), Invalid> {
        let mut cut = |package: PackageEntry, text: &[u8]| {
            let key = package.identity.digest().hex();
            each(Cut { package: Some(package), key: &key, text })
        };
        if is_v2_entry(root.entry.file_name()) {
            index::stanzas(root, from, limits, &mut cut)
        } else {
            adb::fragments(root, from, limits, &mut cut)
        }
    }

    fn check_fragment(&self, root: &IndexRoot, _list: usize, text: &[u8], _limits: &Limits) -> Result<(), Invalid> {
        if is_v2_entry(root.entry.file_name()) { lines::check(text) } else { Ok(()) }
    }

    /// The root is the folder of the package. A `depth` of 0 does not ask how deep that is: branches and repositories may be
    /// nested as people like.
    fn root_for(&self, path: &RepoPath, depth: usize) -> Result<IndexRoot, Invalid> {
        let refuse = |why: String| Err(Invalid::malformed(PLACE, why));
        if !path.file_name().ends_with(".apk") {
            return refuse("its name does not end with .apk".to_owned());
        }
        let folder = path.folder();
        let folders = folder.split('/').filter(|name| !name.is_empty()).count();
        if folders == 0 {
            return refuse("it needs the folder of an architecture, such as x86_64/".to_owned());
        }
        if depth != 0 && folders != depth {
            return refuse(format!("it lies in {folders} folders; packages of this repository lie in {depth}"));
        }
        if arch_of(folder) == NOARCH {
            let why =
                "no client reads an index of noarch; upload the package below each architecture that is to offer it";
            return refuse(why.to_owned());
        }
        let [name, _] = names::ENTRIES;
        let entry = RepoPath::join(folder, name).map_err(|why| Invalid::malformed(PLACE, why.to_string()))?;
        Ok(IndexRoot { entry })
    }

    fn roots_beside(&self, usual: &IndexRoot) -> Vec<IndexRoot> {
        let [_, newer] = names::ENTRIES;
        RepoPath::join(usual.entry.folder(), newer).map(|entry| IndexRoot { entry }).into_iter().collect()
    }

    fn root_by_content(&self, usual: IndexRoot, head: &[u8]) -> IndexRoot {
        if !head.starts_with(b"ADB") {
            return usual;
        }
        self.roots_beside(&usual).pop().unwrap_or(usual)
    }

    fn describe(&self, upload: &Upload<'_>, whole: &mut dyn ReadSeek, limits: &Limits) -> Result<Described, Invalid> {
        if !is_v2_entry(upload.root.entry.file_name()) {
            return newer::describe(upload, whole, limits);
        }
        let control = control::read(whole, limits)?;
        // The check reads the same bytes in its own way: what was taken for the control member must be one to it too.
        check(upload, whole, &control.identity, limits)?;
        let facts = Facts::read(&control.info)?;
        if facts.datahash()? != PkgInfo::parse(&control.info)?.datahash {
            return Err(Invalid::malformed(".PKGINFO", "it has two datahashes"));
        }
        let entry = entry(upload, &facts, control.identity.clone())?;
        let stanza = lines::stanza(&facts, &entry.arch, upload.size, &control.identity, limits)?;
        Ok(Described { entry, fragments: vec![stanza] })
    }

    fn usual_folder(&self, file_name: &str) -> Result<String, &'static str> {
        // A package says for which architecture it is, and not of which branch and repository; if it is for all, not even that.
        if file_name.ends_with(".apk") { Err("v3.22/main/x86_64") } else { Ok(String::new()) }
    }

    fn open(&self, root: &IndexRoot, _list: usize, totals: &Totals) -> Vec<u8> {
        if !is_v2_entry(root.entry.file_name()) {
            return Vec::new();
        }
        let description = format!("{} packages", totals.packages);
        [
            archive::entry("DESCRIPTION", totals.written_at, description.as_bytes()),
            archive::head("APKINDEX", totals.written_at, totals.bytes).to_vec(),
        ]
        .concat()
    }

    fn close(&self, root: &IndexRoot, _list: usize, totals: &Totals) -> Vec<u8> {
        if !is_v2_entry(root.entry.file_name()) {
            return Vec::new();
        }
        [archive::padding(totals.bytes), &archive::END].concat()
    }

    fn compose(
        &self,
        _root: &IndexRoot,
        from: &mut dyn Read,
        keys: &SigningKeys,
        limits: &Limits,
        into: &mut dyn Write,
    ) -> Result<(), Invalid> {
        adb::compose(from, keys, limits, into)
    }

    fn finish(&self, index: &Index<'_>) -> Result<Vec<Finished>, Invalid> {
        if !is_v2_entry(index.root.entry.file_name()) {
            return Ok(vec![Finished {
                path: index.root.entry.clone(),
                content: FinishedContent::Composed { list: 0 },
            }]);
        }
        let list = index.lists.first().filter(|list| list.compression == Compression::Gzip);
        let list =
            list.ok_or_else(|| Invalid::malformed("APKINDEX.tar.gz", "it takes one list, compressed with gzip"))?;
        let prefix = seals::prefix(list, index.keys, index.written_at)?;
        Ok(vec![Finished { path: index.root.entry.clone(), content: FinishedContent::List { prefix, list: 0 } }])
    }
}

/// The architecture that a root is for.
fn arch_of(folder: &str) -> &str {
    folder.rsplit_once('/').map_or(folder, |(_, arch)| arch)
}

/// A package as it is listed, if it says what its path says.
fn entry(upload: &Upload<'_>, facts: &Facts<'_>, identity: Digest) -> Result<PackageEntry, Invalid> {
    let arch = arch_of(upload.root.entry.folder());
    let (name, version) = (facts.name()?, facts.version()?);
    if let Some(other) = facts.arch().filter(|own| *own != arch && *own != NOARCH) {
        return Err(mismatch("architecture of the apk package", arch, other));
    }
    let place = Place::new(upload.root).of(name, version, arch);
    if place.as_ref() != Some(upload.path) {
        let found = format!("{name}-{version}.apk");
        return Err(mismatch("file name of the apk package", upload.path.file_name(), &found));
    }
    Ok(PackageEntry {
        name: name.to_owned(),
        version: version.to_owned(),
        arch: arch.to_owned(),
        path: upload.path.clone(),
        size: upload.size,
        identity: Identity::Part(identity),
    })
}

/// Whether the package is whole, undamaged and of the length it is said to have.
fn check(upload: &Upload<'_>, whole: &mut dyn ReadSeek, identity: &Digest, limits: &Limits) -> Result<(), Invalid> {
    let expected = Expected { size: Some(upload.size), identity: Identity::Part(identity.clone()) };
    let mut checker = Box::new(PackageChecker::new(Some(&expected), limits));
    whole.rewind().map_err(Invalid::Read)?;
    pieces(whole, |bytes| checker.update(bytes).map(ControlFlow::Continue))?;
    checker.finish(whole, &upload.sha256)
}

fn mismatch(what: &'static str, expected: &str, found: &str) -> Invalid {
    Invalid::Mismatch { what, expected: expected.to_owned(), found: found.to_owned() }
}
