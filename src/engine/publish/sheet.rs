//! Which packages an index of ours lists, and how they are divided into pieces.
//!
//! A [`Sheet`] is a snapshot's package list as far as writing it needs: paths and marks, in the order of the index. It is
//! divided into *chunks* of neighbours where their marks say so, not where a count does: a package more or less changes the
//! chunk it is in and its neighbour at most, and every other chunk is the same piece of every list as before.

use std::cmp::Ordering;
use std::collections::HashSet;

use artifactapi_formats::{Algorithm, PackageEntry, RepoPath};

use crate::store::catalog::snapshots::PackageMark;

/// A chunk ends after a package whose mark begins with that many zero bits: 64 packages on average.
const CHUNK_BITS: u32 = 6;

/// A chunk has no more packages than this, whatever their marks are.
const MAX_CHUNK: usize = 512;

/// One package of a sheet. About 100 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) path: RepoPath,
    pub(super) mark: PackageMark,
}

impl Listed {
    pub(super) fn of(package: &PackageEntry) -> Self {
        Self { path: package.path.clone(), mark: PackageMark::of(package) }
    }
}

/// The name of a chunk: what is in it and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ChunkKey(pub(super) [u8; 16]);

/// The packages of one index, in the byte order of their paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sheet(Vec<Listed>);

impl Sheet {
    /// Of packages in any order. Of several under one path the last counts.
    pub(super) fn of(mut packages: Vec<Listed>) -> Self {
        packages.reverse();
        packages.sort_by(|a, b| a.path.as_str().cmp(b.path.as_str()));
        packages.dedup_by(|later, kept| later.path == kept.path);
        Self(packages)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The paths, in order.
    pub(super) fn paths(&self) -> impl Iterator<Item = &RepoPath> {
        self.0.iter().map(|listed| &listed.path)
    }

    /// The mark of the package under a path.
    pub(super) fn mark_of(&self, path: &RepoPath) -> Option<PackageMark> {
        let found = self.0.binary_search_by(|listed| listed.path.as_str().cmp(path.as_str()));
        found.ok().and_then(|at| self.0.get(at)).map(|listed| listed.mark)
    }

    /// The sheet with packages put (in place of what was under their paths) and paths removed, in one pass.
    pub(super) fn with(&self, put: Vec<Listed>, removed: &[RepoPath]) -> Self {
        let Self(put) = Self::of(put);
        let removed: HashSet<&RepoPath> = removed.iter().collect();
        let mut merged = Vec::with_capacity(self.0.len() + put.len());
        let (mut old, mut new) = (self.0.iter().peekable(), put.into_iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (Some(old), Some(new)) => old.path.as_str().cmp(new.path.as_str()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => break,
            };
            match order {
                Ordering::Less => merged.extend(old.next().filter(|listed| !removed.contains(&listed.path)).cloned()),
                Ordering::Equal => {
                    old.next();
                    merged.extend(new.next());
                }
                Ordering::Greater => merged.extend(new.next()),
            }
        }
        Self(merged)
    }

    /// The chunks, in order.
    pub(super) fn chunks(&self) -> impl Iterator<Item = (ChunkKey, &[Listed])> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let ends = |listed: &Listed| {
                let begin =
                    u32::from_be_bytes([listed.mark.0[0], listed.mark.0[1], listed.mark.0[2], listed.mark.0[3]]);
                begin.leading_zeros() >= CHUNK_BITS
            };
            let length = rest.iter().take(MAX_CHUNK).position(ends).map_or(rest.len().min(MAX_CHUNK), |at| at + 1);
            let (chunk, after) = rest.split_at(length);
            rest = after;
            (!chunk.is_empty()).then(|| (key_of(chunk), chunk))
        })
    }
}

fn key_of(chunk: &[Listed]) -> ChunkKey {
    let mut hasher = Algorithm::Sha256.hasher();
    for listed in chunk {
        hasher.update(&listed.mark.0);
    }
    let mut key = [0; 16];
    key.iter_mut().zip(hasher.finish().bytes()).for_each(|(to, from)| *to = *from);
    ChunkKey(key)
}

#[cfg(test)]
mod tests {
    use artifactapi_formats::Sha256;

    use super::*;

    fn listed(name: &str, content: &str) -> Listed {
        let mut mark = [0; 16];
        let digest = Sha256::of(format!("{name}{content}").as_bytes());
        mark.copy_from_slice(&digest.as_bytes()[..16]);
        Listed { path: RepoPath::new(&format!("{name}.rpm")).expect("a path"), mark: PackageMark(mark) }
    }

    fn sheet(names: impl Iterator<Item = u32>) -> Sheet {
        Sheet::of(names.map(|name| listed(&format!("p{name:05}"), "1")).collect())
    }

    #[test]
    fn a_change_changes_few_chunks() {
        let before = sheet((0..10_000).filter(|name| *name != 4_711));
        let keys: HashSet<_> = before.chunks().map(|(key, _)| key).collect();
        assert!((100..220).contains(&keys.len()), "{} chunks", keys.len());
        let after = before
            .with(vec![listed("p04711", "1"), listed("p00007", "2")], &[RepoPath::new("p09000.rpm").expect("a path")]);
        assert_eq!(after.len(), 9_999);
        let new = after.chunks().filter(|(key, _)| !keys.contains(key)).count();
        assert!((1..=6).contains(&new), "{new} chunks are others");
        let joined: Vec<_> = after.chunks().flat_map(|(_, chunk)| chunk.iter().cloned()).collect();
        assert_eq!(Sheet(joined), after);
    }

    #[test]
    fn merging_is_what_building_anew_gives() {
        let before = sheet(0..300);
        let put =
            vec![listed("p00100x", "1"), listed("a", "1"), listed("p00005", "2"), listed("z", "1"), listed("z", "2")];
        let removed: Vec<RepoPath> =
            ["p00299.rpm", "p00000.rpm", "nothing.rpm"].map(|path| RepoPath::new(path).expect("a path")).into();
        let mut whole: Vec<Listed> =
            before.0.iter().filter(|listed| !removed.contains(&listed.path)).cloned().collect();
        whole.extend(put.clone());
        let after = before.with(put, &removed);
        assert_eq!(after, Sheet::of(whole));
        assert_eq!(after.mark_of(&listed("z", "").path), Some(listed("z", "2").mark));
        assert_eq!(after.mark_of(&removed[0]), None);
        assert!(after.0.is_sorted_by(|a, b| a.path.as_str() < b.path.as_str()));
    }
}
