//! Reading through a virtual repository: from the first of its members that has the path.
//!
//! Members are asked in their order, each as if it were asked itself: its patterns hold, its cache serves, its own rules say when
//! its upstream is asked. One that is away is passed over as long as a later one has the path; if none has it, its trouble is
//! the answer, for the path may well be there. Who may read is decided for the virtual repository alone, before this.
//!
//! Formats with indexes have merged ones ([`super::merged`]); a package is then asked of a member whose index says the same of it.
//! It must be what the merged index that the client was given names, or the answer is an error.
//!
//! It keeps nothing itself, and never asks two members at once: what a later one has is only wanted if no earlier one has it.

use std::sync::Arc;

use artifactapi_formats::{Identity, IndexRoot, Role};

use super::super::generations::When;
use super::super::past::{self, Then};
use super::super::shelf::ShelfError;
use super::local::public_key;
use super::{ReadError, Reader, Reading, Wish};
use crate::config::{Admission, Repository, Virtual};
use crate::store::catalog::snapshots::{Generation, NamedPackage};
use crate::store::key::Target;

impl Reader {
    pub(super) async fn read_virtual(&self, wish: &Wish, all: &Virtual) -> Result<Reading, ReadError> {
        let Some(format) = wish.repository.format.publish() else {
            return self.read_first(wish, all).await;
        };
        if let Some(reading) = public_key(wish) {
            return Ok(reading);
        }
        match wish.repository.root_of(&wish.target.path) {
            Some(root) if format.writes(&IndexRoot { entry: root.path.clone() }) => {
                self.read_merged(wish, all, &root).await
            }
            Some(root) => Err(ReadError::Absent(format!("indexes under the name {} are not merged", root.path))),
            None if wish.role == Role::Package => self.read_package(wish, all).await,
            None => self.read_first(wish, all).await,
        }
    }

    /// A package, from a member that names it as the merged index does.
    async fn read_package(&self, wish: &Wish, all: &Virtual) -> Result<Reading, ReadError> {
        let snapshots = self.generations.snapshots();
        let when = match &wish.when {
            Some(when) => Some(when.clone()),
            None => self.pinned(wish).await?.map(When::Number),
        };
        let mut roots = Vec::new();
        let meant: Vec<Identity> = match when {
            Some(when) => match self.past.then(wish, &when).await? {
                Then::Held(held) => return Ok(past::reading(held)),
                Then::Named(named) => vec![named.package.identity],
                Then::Timeless => Vec::new(),
            },
            None => {
                let named = snapshots.named(&wish.target.repository, &wish.target.path, Generation::Current).await;
                let named = named.map_err(ShelfError::from)?;
                if named.is_empty() {
                    // Whoever was given the index that still named it finds it, even if word of its removal has not come yet.
                    let noticing = self.switches.notice_removal(&wish.repository, &wish.target).await;
                    noticing.map_err(ShelfError::from)?;
                    if self.pinned(wish).await?.is_some() {
                        return Box::pin(self.read_package(wish, all)).await;
                    }
                }
                roots.extend(named.iter().map(|named| named.root.clone()));
                self.of_the_clients_index(wish, named)?
            }
        };
        // What no index names contradicts none.
        let Some(first) = meant.first() else {
            return self.read_first(&Wish { when: None, ..wish.clone() }, all).await;
        };
        let mut trouble = None;
        for member in &all.members {
            let Some(wish) = of_member(wish, member) else { continue };
            let rows = snapshots.named(&member.name, &wish.target.path, Generation::Any).await;
            let rows = rows.map_err(ShelfError::from)?;
            let mut rows = rows.into_iter().filter(|row| meant.contains(&row.package.identity)).collect::<Vec<_>>();
            rows.sort_by_key(|row| row.last.is_some());
            let Some(row) = rows.first() else { continue };
            // Of an earlier generation of the member's, unless the current one says the same.
            let when = row.last.map(When::Number);
            match Box::pin(self.read(&Wish { when, client: None, ..wish })).await {
                Ok(reading) if is_meant(&reading, &meant) => return Ok(reading),
                Ok(_) | Err(ReadError::Absent(_)) => {}
                Err(error) => drop(trouble.get_or_insert(error)),
            }
        }
        // An index that names what cannot be had is looked at again for whoever asks next.
        for root in &roots {
            self.asked.remove(root);
        }
        Err(trouble.unwrap_or_else(|| {
            ReadError::Absent(format!("the index names it with {first}, and no member has that now ({})", names(all)))
        }))
    }

    /// What a package must be, by the indexes that name it. Where two of them name one path and mean different packages (apk: of
    /// version 2 and of version 3, from different members), it is what the one says that the client was given.
    fn of_the_clients_index(&self, wish: &Wish, named: Vec<NamedPackage>) -> Result<Vec<Identity>, ReadError> {
        let identities =
            |named: Vec<NamedPackage>| named.into_iter().map(|named| named.package.identity).collect::<Vec<_>>();
        let agree =
            |named: &[NamedPackage]| named.windows(2).all(|two| two[0].package.identity == two[1].package.identity);
        if agree(&named) {
            return Ok(identities(named));
        }
        let given = wish.client.map(|client| self.pins.roots_of(client, &wish.target.repository)).unwrap_or_default();
        let named: Vec<_> = named.into_iter().filter(|named| given.contains(&named.root)).collect();
        if named.is_empty() || !agree(&named) {
            let why =
                "two indexes name it and mean different packages; leave one out by `exclude_patterns` of its member";
            return Err(ReadError::Absent(why.to_owned()));
        }
        Ok(identities(named))
    }

    /// What the first member has that has anything.
    async fn read_first(&self, wish: &Wish, all: &Virtual) -> Result<Reading, ReadError> {
        let mut trouble = None;
        for member in &all.members {
            let Some(wish) = of_member(wish, member) else { continue };
            match Box::pin(self.read(&wish)).await {
                Ok(reading) => return Ok(reading),
                Err(ReadError::Absent(_)) => {}
                Err(error) => {
                    tracing::debug!(path = %wish.target, %error, "passed over");
                    trouble.get_or_insert(error);
                }
            }
        }
        Err(trouble.unwrap_or_else(|| ReadError::Absent(format!("no member has it ({})", names(all)))))
    }
}

/// Whether what is about to be served is what an index names. What is on its way is compared as it comes, by the member's own rule.
fn is_meant(reading: &Reading, meant: &[Identity]) -> bool {
    let Reading::Held { held, .. } = reading else { return true };
    let sha256 = Some(held.artifact.sha256);
    meant.iter().any(|meant| match &held.artifact.identity {
        Some(identity) => identity == meant || meant.sha256() == sha256,
        // Kept before its index was known: where that tells no digest of the whole, the member's own check has to do.
        None => meant.sha256().is_none_or(|meant| Some(meant) == sha256),
    })
}

/// The same wish to a member; `None` if the member's patterns do not let anybody have it.
pub(super) fn of_member(wish: &Wish, member: &Arc<Repository>) -> Option<Wish> {
    let path = &wish.target.path;
    let is_admitted = matches!(member.patterns.admits(path.as_str(), wish.role), Admission::Admitted);
    is_admitted.then(|| Wish {
        repository: Arc::clone(member),
        target: Target::with_query(member.name.clone(), path.clone(), &wish.target.query),
        ..wish.clone()
    })
}

fn names(all: &Virtual) -> String {
    all.members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>().join(", ")
}
