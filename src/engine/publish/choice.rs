//! Which of the packages that several indexes list a merged one lists.
//!
//! A pure rule: indexes are offered one after another, the most wanted first, and a package is taken unless an earlier index has
//! given another one the same path, or has one of the same name, version and architecture: the same build, as far as a client
//! can tell them apart. Within one index nothing stands in the way of anything but by its path: what clients make of two builds
//! there is its publisher's affair.

use std::collections::HashMap;

use artifactapi_formats::{Algorithm, PackageEntry, RepoPath};

use crate::store::catalog::snapshots::PackageMark;

/// A package that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    /// As its index describes it.
    pub(super) package: PackageEntry,
    /// What tells it from every other.
    pub(super) mark: PackageMark,
    /// Which index it is from.
    pub(super) from: usize,
}

/// What was taken so far. About 500 bytes for each package.
#[derive(Debug, Default)]
pub(super) struct Choice {
    chosen: HashMap<RepoPath, Chosen>,
    /// Which index has a build; a digest stands for it.
    builds: HashMap<[u8; 16], usize>,
}

impl Choice {
    /// Offers a package of an index. Indexes come in their order.
    pub(super) fn offer(&mut self, from: usize, package: PackageEntry) {
        if self.chosen.contains_key(&package.path) || *self.builds.entry(build(&package)).or_insert(from) != from {
            return;
        }
        let mark = PackageMark::of(&package);
        self.chosen.insert(package.path.clone(), Chosen { package, mark, from });
    }

    /// Everything that was taken, by its path.
    pub(super) fn chosen(&self) -> &HashMap<RepoPath, Chosen> {
        &self.chosen
    }
}

fn build(package: &PackageEntry) -> [u8; 16] {
    let mut hasher = Algorithm::Sha256.hasher();
    for part in [&package.name, &package.version, &package.arch] {
        hasher.update(part.as_bytes());
        hasher.update(b"\0");
    }
    let mut build = [0; 16];
    build.iter_mut().zip(hasher.finish().bytes()).for_each(|(to, from)| *to = *from);
    build
}

#[cfg(test)]
mod tests {
    use artifactapi_formats::{Identity, Sha256};

    use super::*;

    fn package(path: &str, name: &str, version: &str, content: &str) -> PackageEntry {
        PackageEntry {
            name: name.to_owned(),
            version: version.to_owned(),
            arch: "x86_64".to_owned(),
            path: RepoPath::new(path).expect(path),
            size: 7,
            identity: Identity::File(Sha256::of(content.as_bytes()).into()),
        }
    }

    #[test]
    fn earlier_indexes_win() {
        let mut choice = Choice::default();
        for (from, package) in [
            (0, package("p/a-1.rpm", "a", "1", "ours")),
            (0, package("p/again/a-1.rpm", "a", "1", "ours")),
            (0, package("p/b-1.rpm", "b", "1", "ours")),
            (1, package("p/a-1.rpm", "a", "1", "theirs")),
            (1, package("q/b-1.rpm", "b", "1", "theirs")),
            (1, package("q/b-2.rpm", "b", "2", "theirs")),
            (1, package("p/b-1.rpm", "c", "1", "theirs")),
            (2, package("r/b-2.rpm", "b", "2", "others'")),
        ] {
            choice.offer(from, package);
        }
        let mut taken: Vec<_> = choice.chosen().values().map(|one| (one.package.path.as_str(), one.from)).collect();
        taken.sort_unstable();
        assert_eq!(taken, [("p/a-1.rpm", 0), ("p/again/a-1.rpm", 0), ("p/b-1.rpm", 0), ("q/b-2.rpm", 1)]);
    }
}
