//! What the members of a virtual repository have at one place: their indexes, and the packages that those list.

use std::collections::HashMap;
use std::sync::Arc;

use artifactapi_formats::{PackageEntry, Role};

use super::Part;
use crate::config::{Admission, Kind, Repository, Virtual};
use crate::engine::changes::Changes;
use crate::engine::generations::{GenerationError, Generations, When};
use crate::engine::publish::choice::Choice;
use crate::engine::publish::{PublishError, Publisher};
use crate::store::catalog::snapshots::{PackageQuery, ROWS, Snapshot};
use crate::store::key::Target;

impl Publisher {
    /// The members' indexes at the place of a root; those that have none are left out. Of one that is held back it is the generation
    /// that its clients are given.
    pub(super) async fn parts(&self, all: &Virtual, root: &Target) -> Result<Vec<Part>, PublishError> {
        let mut parts = Vec::with_capacity(all.members.len());
        for member in &all.members {
            let at = Target::new(member.name.clone(), root.path.clone());
            let hold = match &member.kind {
                Kind::Remote(remote) => remote.hold.filter(|hold| !hold.is_zero()),
                Kind::Local(_) | Kind::Virtual(_) => None,
            };
            let snapshot = match hold {
                None => self.snapshots.current(&at).await?,
                Some(hold) => {
                    let generations = Generations::new(Arc::clone(&self.snapshots));
                    match generations.find(&at, &When::HeldBack(hold)).await {
                        Ok(snapshot) => Some(snapshot),
                        Err(GenerationError::None(_)) => None,
                        Err(GenerationError::Catalog(error)) => return Err(error.into()),
                    }
                }
            };
            parts.extend(snapshot.map(|snapshot| Part { member: Arc::clone(member), snapshot }));
        }
        Ok(parts)
    }

    /// Which packages win. `None` when an index changed while it was read.
    pub(super) async fn choose(&self, repository: &Repository, parts: &[Part]) -> Result<Option<Choice>, PublishError> {
        let mut choice = Choice::default();
        for (number, Part { member, snapshot }) in parts.iter().enumerate() {
            let offer = |package: PackageEntry| {
                // What nobody may have through this repository or from that member is not listed.
                let path = package.path.as_str();
                let is_admitted = [&member.patterns, &repository.patterns]
                    .iter()
                    .all(|patterns| matches!(patterns.admits(path, Role::Package), Admission::Admitted));
                if is_admitted {
                    choice.offer(number, package);
                }
            };
            if !self.packages_of(snapshot, offer).await? {
                return Ok(None);
            }
        }
        Ok(Some(choice))
    }

    /// Hands out the packages of a snapshot. `false` when another became current meanwhile: then they may be of both.
    async fn packages_of(&self, snapshot: &Snapshot, mut each: impl FnMut(PackageEntry)) -> Result<bool, PublishError> {
        let root = &snapshot.root;
        let current = self.snapshots.current(root).await?.map(|current| current.id);
        // An earlier one is the current one but for what differs.
        let mut instead = HashMap::new();
        if let Some(current) = current.filter(|current| *current != snapshot.id) {
            let mut changes = Changes::between(&*self.snapshots, snapshot.id, current);
            while let Some(page) = changes.page().await? {
                instead.extend(page.into_iter().filter_map(|change| Some((change.path()?.clone(), change.from))));
            }
        }
        let mut query = PackageQuery { root: Some(root.path.clone()), limit: ROWS, ..PackageQuery::default() };
        loop {
            let page = self.snapshots.search(&root.repository, &query).await?;
            let Some(last) = page.last() else { break };
            query.after = Some(last.row);
            page.into_iter()
                .filter(|named| !instead.contains_key(&named.package.path))
                .for_each(|one| each(one.package));
        }
        instead.into_values().flatten().for_each(each);
        Ok(self.snapshots.current(root).await?.map(|current| current.id) == current)
    }
}
