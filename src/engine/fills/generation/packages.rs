//! The package list of the next generation, written down as what differs from the one before.
//!
//! The list is read once, as a stream, on a thread that may block; each package is looked for among the marks of the
//! current snapshot. Memory is the marks: about 40 bytes for each package, at most [`Limits::packages`] of them.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::ops::ControlFlow;

use artifactapi_formats::{IndexFormat, IndexRoot, Invalid, Limits, PackageEntry};
use tokio::sync::mpsc;

use super::{Content, Entry, NotBuilt};
use crate::engine::threads::{Pace, on_its_own};
use crate::store::catalog::CatalogError;
use crate::store::catalog::snapshots::{Draft, PackageMark, PackageRowId, ROWS, Snapshots};
use crate::store::key::Target;

/// Batches between the reading thread and the catalog.
const BATCHES_BETWEEN: usize = 2;

/// What the next generation's list has to do with the current one's.
pub(super) struct PackageDiff {
    met: HashMap<PackageMark, Met>,
}

enum Met {
    /// The current list has it; the next one was not seen to have it yet.
    Before(PackageRowId),
    /// The next list has it.
    Now,
}

impl PackageDiff {
    /// Against a list of these marks.
    pub(super) fn against(marks: Vec<(PackageMark, PackageRowId)>) -> Self {
        Self { met: marks.into_iter().map(|(mark, row)| (mark, Met::Before(row))).collect() }
    }

    /// Notes a package of the next list. `true` if the current one does not have it, the first time it is met.
    pub(super) fn is_new(&mut self, package: &PackageEntry) -> bool {
        match self.met.entry(PackageMark::of(package)) {
            Slot::Occupied(mut slot) => {
                slot.insert(Met::Now);
                false
            }
            Slot::Vacant(slot) => {
                slot.insert(Met::Now);
                true
            }
        }
    }

    /// What the current list has and the next one has not.
    pub(super) fn gone(self) -> Vec<PackageRowId> {
        let gone = self.met.into_values().filter_map(|met| match met {
            Met::Before(row) => Some(row),
            Met::Now => None,
        });
        gone.collect()
    }
}

/// Why a list could not be written down.
pub(super) enum NotWritten {
    /// It is no package list.
    Invalid(Invalid),
    /// The catalog is away.
    Catalog(CatalogError),
    /// The reading thread failed.
    Thread,
}

impl NotWritten {
    pub(super) fn at(self, entry: &Entry) -> NotBuilt {
        match self {
            Self::Invalid(why) => entry.contradicts(format!("a package list that cannot be read: {why}")),
            Self::Catalog(error) => error.into(),
            Self::Thread => NotBuilt::Ours("reading the package list failed".to_owned()),
        }
    }
}

impl From<CatalogError> for NotWritten {
    fn from(error: CatalogError) -> Self {
        Self::Catalog(error)
    }
}

/// Reads the list and writes what differs; answers how many packages it names.
pub(super) async fn write(
    snapshots: &dyn Snapshots,
    entry: &Target,
    draft: Draft,
    index: &'static dyn IndexFormat,
    root: &IndexRoot,
    list: Content,
    limits: &Limits,
) -> Result<u64, NotWritten> {
    let batch = usize::try_from(ROWS).unwrap_or(usize::MAX);
    let mut diff = PackageDiff::against(snapshots.marks(entry).await?);
    let (sender, mut batches) = mpsc::channel::<Vec<PackageEntry>>(BATCHES_BETWEEN);
    let (root, limits) = (root.clone(), limits.clone());
    let reading = tokio::spawn(on_its_own(Pace::Unhurried, move || {
        let mut collected = Vec::with_capacity(batch);
        index.packages(&root, &mut list.reader(), &limits, &mut |package| {
            collected.push(package);
            if collected.len() < batch {
                return ControlFlow::Continue(());
            }
            match sender.blocking_send(std::mem::replace(&mut collected, Vec::with_capacity(batch))) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        })?;
        // Whoever listened no longer does only when it failed, and then says so itself.
        let _ = sender.blocking_send(collected);
        Ok::<_, Invalid>(())
    }));
    let (mut count, mut added) = (0, Vec::new());
    while let Some(packages) = batches.recv().await {
        count += packages.len() as u64;
        added.extend(packages.into_iter().filter(|package| diff.is_new(package)));
        while added.len() >= batch {
            let rest = added.split_off(batch);
            snapshots.add_packages(draft.id, &added).await?;
            added = rest;
        }
    }
    let read = reading.await.ok().flatten().ok_or(NotWritten::Thread)?;
    read.map_err(NotWritten::Invalid)?;
    if !added.is_empty() {
        snapshots.add_packages(draft.id, &added).await?;
    }
    for rows in diff.gone().chunks(batch) {
        snapshots.drop_packages(draft.id, rows).await?;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use artifactapi_formats::{Identity, RepoPath, Sha256};

    use super::*;

    fn package(name: &str, content: &str) -> PackageEntry {
        PackageEntry {
            name: name.to_owned(),
            version: "1-r0".to_owned(),
            arch: "x86_64".to_owned(),
            path: RepoPath::new(&format!("{name}-1-r0.apk")).expect("a path"),
            size: 7,
            identity: Identity::File(Sha256::of(content.as_bytes()).into()),
        }
    }

    #[test]
    fn only_what_differs() {
        let before = [package("same", "a"), package("changed", "a"), package("gone", "a")];
        let marks = before.iter().zip(1..).map(|(package, row)| (PackageMark::of(package), PackageRowId(row)));
        let mut diff = PackageDiff::against(marks.collect());
        assert!(!diff.is_new(&package("same", "a")));
        assert!(!diff.is_new(&package("same", "a")), "named twice");
        assert!(diff.is_new(&package("changed", "b")));
        assert!(diff.is_new(&package("added", "a")));
        assert!(!diff.is_new(&package("added", "a")), "named twice");
        let mut gone = diff.gone();
        gone.sort();
        assert_eq!(gone, [PackageRowId(2), PackageRowId(3)]);
    }
}
