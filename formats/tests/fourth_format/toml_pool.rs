//! The fourth format: a pool of packages under one index, `pool.toml`, of lines `name version file size sha256`.
//!
//! Nobody uses it. It stands for the next real one: it has an entry, a companion and packages, and is written with nothing
//! but what the crate makes public.

use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;

use artifactapi_formats::{
    Algorithm, Checker, Digest, Expected, Format, Hasher, Identity, IndexFormat, IndexLayout, IndexRoot, Invalid,
    Limits, Member, Mutability, PackageEntry, ReadSeek, RepoPath, Role, Sha256,
};

const ENTRY: &str = "pool.toml";
const COMPANION: &str = "pool.toml.sig";

pub(crate) struct TomlPool;

impl Format for TomlPool {
    fn name(&self) -> &'static str {
        "toml-pool"
    }

    fn classify(&self, path: &RepoPath) -> Role {
        match path.file_name() {
            _ if path.is_directory() => Role::Listing,
            ENTRY => Role::Index,
            COMPANION => Role::IndexCompanion,
            name if name.ends_with(".pkg") => Role::Package,
            _ => Role::File,
        }
    }

    fn mutability(&self, path: &RepoPath) -> Mutability {
        match self.classify(path) {
            Role::Package => Mutability::ByConvention,
            _ => Mutability::Mutable,
        }
    }

    fn checker(&self, _path: &RepoPath, expected: Option<&Expected>, _limits: &Limits) -> Option<Box<dyn Checker>> {
        match expected {
            Some(Expected { identity: Identity::File(digest), .. }) => {
                Some(Box::new(Whole { digest: digest.clone(), hasher: digest.algorithm().hasher() }))
            }
            _ => None,
        }
    }

    fn index(&self) -> Option<&dyn IndexFormat> {
        Some(self)
    }
}

impl IndexFormat for TomlPool {
    fn root_of(&self, path: &RepoPath) -> Option<IndexRoot> {
        let is_of_root = matches!(self.classify(path), Role::Index | Role::IndexCompanion);
        let entry = RepoPath::join(path.folder(), ENTRY).ok().filter(|_| is_of_root)?;
        Some(IndexRoot { entry })
    }

    fn layout(&self, root: &IndexRoot) -> IndexLayout {
        let folder = root.entry.folder();
        let companions = RepoPath::join(folder, COMPANION).into_iter().collect();
        IndexLayout { folder: folder.to_owned(), entry: root.entry.clone(), companions }
    }

    fn members(&self, _root: &IndexRoot, _entry: &[u8], _limits: &Limits) -> Result<Vec<Member>, Invalid> {
        Ok(Vec::new())
    }

    fn package_list(&self, root: &IndexRoot, _members: &[Member]) -> Option<RepoPath> {
        Some(root.entry.clone())
    }

    fn packages(
        &self,
        root: &IndexRoot,
        from: &mut dyn Read,
        limits: &Limits,
        each: &mut dyn FnMut(PackageEntry) -> ControlFlow<()>,
    ) -> Result<(), Invalid> {
        let malformed = |why: &str| Invalid::malformed(ENTRY, why);
        for line in BufReader::new(from.take(limits.entry_bytes)).lines() {
            let line = line.map_err(Invalid::Read)?;
            let [name, version, file, size, sha256] = line.split(' ').collect::<Vec<_>>()[..] else {
                return Err(malformed("a line that has not five words"));
            };
            let digest = Digest::from_hex(Algorithm::Sha256, sha256).map_err(|_| malformed("not a digest"))?;
            let package = PackageEntry {
                name: name.into(),
                version: version.into(),
                arch: String::new(),
                path: RepoPath::join(root.entry.folder(), file).map_err(|why| malformed(&why.to_string()))?,
                size: size.parse().map_err(|_| malformed("not a size"))?,
                identity: Identity::File(digest),
            };
            if each(package).is_break() {
                break;
            }
        }
        Ok(())
    }
}

struct Whole {
    digest: Digest,
    hasher: Hasher,
}

impl Checker for Whole {
    fn update(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
        self.hasher.update(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>, _whole: &mut dyn ReadSeek, _sha256: &Sha256) -> Result<(), Invalid> {
        let found = self.hasher.finish();
        if found == self.digest {
            return Ok(());
        }
        Err(Invalid::Mismatch { what: "file", expected: self.digest.to_string(), found: found.to_string() })
    }
}

/// A repository of one package.
pub(crate) fn sample() -> super::Files {
    let package = b"anything at all".to_vec();
    let line = format!("sample 1.0 sample-1.0.pkg {} {}\n", package.len(), super::samples::sha256(&package));
    vec![("stable/pool.toml".into(), line.into_bytes()), ("stable/sample-1.0.pkg".into(), package)]
}
