//! The package list of the next generation, written down as what differs from the one before.
//!
//! The list is read once, as a stream, on a thread that may block; each package is looked for among the marks of the
//! current snapshot. Memory is the marks: about 40 bytes for each package, at most [`Limits::packages`] of them.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::ops::ControlFlow;

use artifactapi_formats::{IndexFormat, IndexRoot, Invalid, Limits, PackageEntry};
use tokio::sync::mpsc;

use super::super::super::content::Content;
use super::super::super::threads::{Pace, on_its_own};
use super::{Build, NotBuilt};
use crate::store::catalog::snapshots::{Draft, PackageMark, PackageRowId, ROWS};

/// How many packages are handed on at once.
const BATCH: usize = ROWS as usize;

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

impl Build<'_> {
    /// Reads the list and writes into `draft` what differs; answers how many packages it names.
    pub(super) async fn write_packages(&self, draft: Draft, list: Content) -> Result<u64, NotBuilt> {
        let snapshots = &*self.fills.snapshots;
        let mut diff = PackageDiff::against(snapshots.marks(&self.order.target).await?);
        let (sender, mut batches) = mpsc::channel(BATCHES_BETWEEN);
        let (index, root, limits) = (self.index, self.root.clone(), self.fills.limits.clone());
        let reading = tokio::spawn(on_its_own(Pace::Unhurried, move || read(index, &root, &list, &limits, &sender)));
        let (mut count, mut added) = (0, Vec::new());
        while let Some(packages) = batches.recv().await {
            count += packages.len() as u64;
            added.extend(packages.into_iter().filter(|package| diff.is_new(package)));
            while added.len() >= BATCH {
                let rest = added.split_off(BATCH);
                snapshots.add_packages(draft.id, &added).await?;
                added = rest;
            }
        }
        let failed = || NotBuilt::Ours("reading the package list failed".to_owned());
        let read = reading.await.ok().flatten().ok_or_else(failed)?;
        read.map_err(|why| self.entry.contradicts(format!("a package list that cannot be read: {why}")))?;
        if !added.is_empty() {
            snapshots.add_packages(draft.id, &added).await?;
        }
        for rows in diff.gone().chunks(BATCH) {
            snapshots.drop_packages(draft.id, rows).await?;
        }
        Ok(count)
    }
}

/// Hands out the packages of a list in batches.
fn read(
    index: &dyn IndexFormat,
    root: &IndexRoot,
    list: &Content,
    limits: &Limits,
    sender: &mpsc::Sender<Vec<PackageEntry>>,
) -> Result<(), Invalid> {
    let mut collected = Vec::with_capacity(BATCH);
    index.packages(root, &mut list.reader(), limits, &mut |package| {
        collected.push(package);
        if collected.len() < BATCH {
            return ControlFlow::Continue(());
        }
        match sender.blocking_send(std::mem::replace(&mut collected, Vec::with_capacity(BATCH))) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    // Whoever listened no longer does only when it failed, and then says so itself.
    let _ = sender.blocking_send(collected);
    Ok(())
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
