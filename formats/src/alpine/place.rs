//! Where the packages of an index lie: the index gives no paths, only names (FORMATS 1.1, 2.2).
//!
//! Clients make the path from a package's own architecture, not from the folder the index was found in. So a package of
//! another architecture than the index's folder (`noarch`) lies in a folder beside that one. An index under a name of its
//! own (`ndx` lines: `packages.adb`) has its packages beside it, whatever their architecture.

use std::fmt::Write as _;

use crate::{IndexRoot, RepoPath};

/// The rule for one index.
pub(super) struct Place {
    /// With its slash: `v3.22/main/`, or for an index whose packages lie beside it that very folder. May be empty.
    above: String,
    /// The architecture that the index's folder is named for; `None` when packages lie beside the index in any case.
    own: Option<String>,
    /// Reused from package to package.
    path: String,
}

impl Place {
    pub(super) fn new(root: &IndexRoot) -> Self {
        let folder = root.entry.folder();
        let by_arch = by_arch(root) && !folder.is_empty();
        let (above, own) = match folder.rsplit_once('/') {
            _ if !by_arch => (folder, None),
            Some((above, own)) => (above, Some(own)),
            None => ("", Some(folder)),
        };
        let above = if above.is_empty() { String::new() } else { format!("{above}/") };
        Self { above, own: own.map(str::to_owned), path: String::new() }
    }

    /// The path of a package; `None` when the fields make none.
    pub(super) fn of(&mut self, name: &str, version: &str, arch: &str) -> Option<RepoPath> {
        self.path.clear();
        self.path.push_str(&self.above);
        if let Some(own) = &self.own {
            self.path.push_str(if arch.is_empty() { own } else { arch });
            self.path.push('/');
        }
        // Writing to a string cannot fail.
        let _ = write!(self.path, "{name}-{version}.apk");
        RepoPath::new(&self.path).ok()
    }
}

/// The folder that a v3 index's own rule for paths starts from.
pub(super) fn base(root: &IndexRoot) -> &str {
    let folder = root.entry.folder();
    if by_arch(root) { folder.rsplit_once('/').map_or("", |(above, _)| above) } else { folder }
}

/// Whether the index has the name that clients look for below `<arch>/`.
fn by_arch(root: &IndexRoot) -> bool {
    matches!(root.entry.file_name(), "APKINDEX.tar.gz" | "Packages.adb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule() {
        let table = [
            ("v3.22/main/x86_64/APKINDEX.tar.gz", "x86_64", "v3.22/main/x86_64/a-1.apk"),
            ("v3.22/main/x86_64/APKINDEX.tar.gz", "", "v3.22/main/x86_64/a-1.apk"),
            ("v3.22/main/x86_64/APKINDEX.tar.gz", "noarch", "v3.22/main/noarch/a-1.apk"),
            ("x86_64/APKINDEX.tar.gz", "noarch", "noarch/a-1.apk"),
            ("x86_64/Packages.adb", "noarch", "noarch/a-1.apk"),
            ("APKINDEX.tar.gz", "x86_64", "a-1.apk"),
            ("packages/x86_64/base/packages.adb", "noarch", "packages/x86_64/base/a-1.apk"),
        ];
        for (entry, arch, path) in table {
            let root = IndexRoot { entry: RepoPath::new(entry).expect(entry) };
            let found = Place::new(&root).of("a", "1", arch).map(|path| path.to_string());
            assert_eq!(found.as_deref(), Some(path), "{entry} {arch}");
        }
    }

    #[test]
    fn fields_cannot_leave_the_repository() {
        let root = IndexRoot { entry: RepoPath::new("main/x86_64/APKINDEX.tar.gz").expect("valid") };
        for (name, version, arch) in [("../../a", "1", ""), ("a", "1/../../b", ""), ("a", "1", ".."), ("a\r", "1", "")]
        {
            assert_eq!(Place::new(&root).of(name, version, arch), None, "{name} {version} {arch}");
        }
    }
}
