//! Alpine repositories: apk v2 (`APKINDEX.tar.gz`) and v3 (`*.adb`) indexes and their packages (FORMATS 1 and 2).
//!
//! An index here is one file: no companions and no members, because its signature lies inside it. It names packages by
//! name, version and architecture only; where they lie follows from those ([`index`]), and what they must be from a
//! digest over a *part* of the package ([`package`]).

mod names;

use std::io::Read;
use std::ops::ControlFlow;

use crate::{
    Checker, Expected, Format, IndexFormat, IndexLayout, IndexRoot, Invalid, Limits, Member, Mutability, PackageEntry,
    RepoPath, Role,
};

/// The format of `package: "alpine"`.
#[derive(Debug, Clone, Copy)]
pub struct Alpine;

impl Format for Alpine {
    fn name(&self) -> &'static str {
        "alpine"
    }

    fn classify(&self, path: &RepoPath) -> Role {
        names::classify(path)
    }

    fn mutability(&self, path: &RepoPath) -> Mutability {
        names::mutability(path)
    }

    fn checker(&self, _path: &RepoPath, _expected: Option<&Expected>, _limits: &Limits) -> Option<Box<dyn Checker>> {
        None
    }

    fn index(&self) -> Option<&dyn IndexFormat> {
        Some(self)
    }
}

impl IndexFormat for Alpine {
    fn root_of(&self, path: &RepoPath) -> Option<IndexRoot> {
        names::is_entry(path.file_name()).then(|| IndexRoot { entry: path.clone() })
    }

    fn layout(&self, root: &IndexRoot) -> IndexLayout {
        IndexLayout { folder: root.entry.folder().to_owned(), entry: root.entry.clone(), companions: Vec::new() }
    }

    fn members(&self, _root: &IndexRoot, _entry: &[u8], _limits: &Limits) -> Result<Vec<Member>, Invalid> {
        Ok(Vec::new())
    }

    fn package_list(&self, root: &IndexRoot, _members: &[Member]) -> Option<RepoPath> {
        names::is_v2_entry(root.entry.file_name()).then(|| root.entry.clone())
    }

    fn packages(
        &self,
        _root: &IndexRoot,
        _from: &mut dyn Read,
        _limits: &Limits,
        _each: &mut dyn FnMut(PackageEntry) -> ControlFlow<()>,
    ) -> Result<(), Invalid> {
        Ok(())
    }
}
