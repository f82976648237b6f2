//! What a merged index carries beside its lists: of each kind what its members carry, joined if the format can, or else that of the
//! first member that has any.
//!
//! What is of which kind, the members' indexes say. What only one member has is carried as it is, as a record of the same blob, if its
//! name says what it is to readers of ours. Of a remote member each file is read before, as an upload would be: one that clients cannot
//! read is left out, and the others are not. A file that cannot be joined is no reason to have no index: then it is the first member's
//! alone.

use std::collections::HashMap;
use std::sync::Arc;

use artifactapi_formats::publish::PublishFormat;
use artifactapi_formats::{IndexRoot, Invalid, RepoPath, Role};

use super::Part;
use crate::config::{Kind, Repository};
use crate::engine::publish::carried::{OfMember, Verdict};
use crate::engine::publish::spooling::spooled;
use crate::engine::publish::{PublishError, Publisher};
use crate::engine::threads::{Pace, on_its_own};
use crate::store::catalog::{Artifact, Revision};
use crate::store::key::Target;

/// The files of one kind; a compressed form is of the same.
struct Files<'p> {
    kind: String,
    /// By member, in their order.
    of: Vec<(&'p Part, Vec<&'p Artifact>)>,
}

impl Publisher {
    pub(super) async fn carried(
        &self,
        repository: &Repository,
        root: &Target,
        parts: &[Part],
    ) -> Result<Vec<Artifact>, PublishError> {
        let Some(format) = repository.format.publish() else { return Ok(Vec::new()) };
        let mut carried = Vec::new();
        for files in self.by_kind(format, root, parts).await? {
            let files = self.readable(format, files).await?;
            let first = files.of.first().map_or(&[][..], |(_, files)| files);
            // Who reads our index later goes by the name.
            let is_named = |file: &&&Artifact| {
                format.carried_kind(&file.target.path).is_some_and(|kind| plain(&kind) == files.kind)
            };
            let needs_joining = files.of.len() > 1 || !first.iter().all(|file| is_named(&file));
            if let (Some(name), true, false) = (format.joined_name(&files.kind), needs_joining, first.is_empty()) {
                match self.joined(repository, format, root, &files, name).await {
                    Ok(joined) => {
                        carried.push(joined);
                        continue;
                    }
                    Err(PublishError::Invalid(why)) => tracing::warn!(
                        target: "artifactapi::publish",
                        %root, kind = %files.kind, %why, "not joined: it is the first member's alone"
                    ),
                    Err(error) => return Err(error),
                }
            }
            carried.extend(first.iter().filter(is_named).map(|file| Artifact {
                target: Target::new(repository.name.clone(), file.target.path.clone()),
                revision: Revision::UNPUBLISHED,
                identity: None,
                ..(*file).clone()
            }));
        }
        Ok(carried)
    }

    /// Those of a kind that clients can read.
    async fn readable<'p>(
        &self,
        format: &'static dyn PublishFormat,
        mut files: Files<'p>,
    ) -> Result<Files<'p>, PublishError> {
        for (part, of_part) in &mut files.of {
            // What was uploaded was read then, and what is joined is joined of such.
            if !matches!(part.member.kind, Kind::Remote(_)) {
                continue;
            }
            let mut readable = Vec::with_capacity(of_part.len());
            for file in of_part.drain(..) {
                match self.check(format, &files.kind, part, file).await? {
                    Ok(()) => readable.push(file),
                    Err(why) => tracing::warn!(
                        target: "artifactapi::publish",
                        path = %file.target, %why, "left out of a merged index: clients could not read it"
                    ),
                }
            }
            *of_part = readable;
        }
        files.of.retain(|(_, of_part)| !of_part.is_empty());
        Ok(files)
    }

    /// Reads a file as clients would, once: it may be a hundred times as long as what has changed since.
    async fn check(
        &self,
        format: &'static dyn PublishFormat,
        kind: &str,
        part: &Part,
        file: &Artifact,
    ) -> Result<Verdict, PublishError> {
        let of_member = OfMember { sha256: file.sha256, kind: kind.to_owned(), path: file.target.path.clone() };
        if let Some(verdict) = self.checked.get(&of_member) {
            return Ok(verdict);
        }
        let mut whole = self.open_list(&part.member, file).await?;
        let (kind, path, limits) = (kind.to_owned(), file.target.path.clone(), self.limits.clone());
        let checking = on_its_own(Pace::Usual, move || format.check_carried(&kind, &path, &mut *whole, &limits)).await;
        let checked = checking.ok_or_else(|| PublishError::Unreadable("the thread that read it died".to_owned()))?;
        let verdict = match checked.map_err(invalid) {
            Ok(()) => Ok(()),
            Err(PublishError::Invalid(why)) => Err(why),
            Err(error) => return Err(error),
        };
        self.checked.insert(of_member, verdict.clone());
        Ok(verdict)
    }

    async fn joined(
        &self,
        repository: &Repository,
        format: &'static dyn PublishFormat,
        root: &Target,
        files: &Files<'_>,
        name: &str,
    ) -> Result<Artifact, PublishError> {
        // Of a member, too: what it has twice, in two forms, is there once.
        let mut readers = Vec::with_capacity(files.of.len());
        for (part, files) in &files.of {
            for file in files {
                readers.push(self.open_list(&part.member, file).await?);
            }
        }
        let (kind, limits) = (files.kind.clone(), self.limits.clone());
        let joining =
            spooled(&self.spool, move |into| format.join(&kind, &mut readers, &limits, into).map_err(invalid));
        let joined = joining.await?;
        let path = RepoPath::join(root.path.folder(), &format!("{}-{name}", joined.sha256));
        let path = path.map_err(|_| PublishError::OwnIndex)?;
        let target = Target::new(root.repository.clone(), path);
        self.put_aside(self.draft(repository, target, Role::IndexMember, &joined), &joined).await
    }

    async fn by_kind<'p>(
        &self,
        format: &dyn PublishFormat,
        root: &Target,
        parts: &'p [Part],
    ) -> Result<Vec<Files<'p>>, PublishError> {
        let index_root = IndexRoot { entry: root.path.clone() };
        let mut all: Vec<Files<'p>> = Vec::new();
        // An entry alone names nothing beside it.
        for part in parts.iter().filter(|part| part.snapshot.files.len() > 1) {
            let members = self.members(part, &index_root).await?;
            let said: HashMap<&RepoPath, &str> =
                members.iter().map(|member| (&member.path, member.kind.as_str())).collect();
            for file in &part.snapshot.files {
                let Some(kind) = said.get(&file.target.path).filter(|kind| format.is_carried(kind)) else { continue };
                let kind = plain(kind);
                let at = all.iter().position(|files| files.kind == kind).unwrap_or_else(|| {
                    all.push(Files { kind: kind.to_owned(), of: Vec::new() });
                    all.len() - 1
                });
                let Some(files) = all.get_mut(at) else { continue };
                match files.of.last_mut().filter(|(last, _)| std::ptr::eq(*last, part)) {
                    Some((_, of_part)) => of_part.push(file),
                    None => files.of.push((part, vec![file])),
                }
            }
        }
        Ok(all)
    }
}

/// A kind without how it is compressed.
fn plain(kind: &str) -> &str {
    kind.split('_').next().unwrap_or_default()
}

fn invalid(error: Invalid) -> PublishError {
    match error {
        Invalid::Read(error) => error.into(),
        why => PublishError::Invalid(Arc::new(why)),
    }
}
