//! Whether a record is what the current indexes say of its path: pure rules.

use artifactapi_formats::Identity;

use crate::config::{Kind, Repository, Verify};
use crate::store::catalog::Artifact;
use crate::store::catalog::snapshots::NamedPackage;

/// Whether one of those who name a package means these bytes, or nobody names it; `None` when only the bytes can tell. Two indexes of
/// our own in one folder must both mean them: they name one path only if they were written at once without a coordinator, and then
/// nobody is given what the other one contradicts. Who does not have packages checked has chosen to be given what there is.
pub(super) fn agrees(repository: &Repository, named: &[NamedPackage], record: &Artifact) -> Option<bool> {
    let is_checked = match &repository.kind {
        Kind::Remote(remote) => remote.verify == Verify::Strict,
        Kind::Local(_) | Kind::Virtual(_) => true,
    };
    if !is_checked || named.is_empty() {
        return Some(true);
    }
    let are_ours = matches!(repository.kind, Kind::Local(_));
    let are_beside = |one: &NamedPackage, other: &NamedPackage| {
        std::ptr::eq(one, other) || (are_ours && one.root.path.folder() == other.root.path.folder())
    };
    let of_its_folder = |one: &NamedPackage| {
        all(named.iter().filter(|other| are_beside(one, other)).map(|other| means(&other.package.identity, record)))
    };
    // One that agrees is enough: not all of them not.
    let none_agrees = all(named.iter().map(|one| of_its_folder(one).map(|agrees| !agrees)));
    none_agrees.map(|none| !none)
}

/// Whether an identity is that of these bytes, as far as the record says what they are.
pub(in crate::engine) fn means(identity: &Identity, record: &Artifact) -> Option<bool> {
    match &record.identity {
        Some(known) => Some(known == identity),
        None if identity.sha256() == Some(record.sha256) => Some(true),
        None => identity.sha256().is_some().then_some(false),
    }
}

/// Whether all of them are so: one that is not decides it, whatever else is unknown.
fn all(mut each: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    each.try_fold(Some(true), |all, one| match one {
        Some(false) => Err(()),
        Some(true) => Ok(all),
        None => Ok(None),
    })
    .unwrap_or(Some(false))
}
